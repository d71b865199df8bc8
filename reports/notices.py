"""What does a notice about an action say? One subject and one text for each cause; no address, no figure of its own."""

from __future__ import annotations

import datetime as dt

from edgeloop.store.actions import Action, Cause
from reports import foreign, numbers
from reports.language import SOURCE, speaking, t
from reports.owners import role_title


def written(action: Action, cause: Cause, rung: str, locale: str = SOURCE) -> tuple[str, str]:
    """(subject, text) of a notice, in a language of the report's.

    Args:
        action: what it is about.
        cause: why it is sent.
        rung: who gets it: ``owner``, ``deputy`` or a role.
        locale: the language.
    """
    with speaking(locale):
        return _written(action, cause, rung)


def _written(action: Action, cause: Cause, rung: str) -> tuple[str, str]:
    by = numbers.date_text(dt.date.fromisoformat(action.due))
    month = numbers.month(action.month)
    asked = action.asked
    subject = {
        "asked": t("Asked by {by}: {asked}", asked=asked, by=by),
        "unanswered": t("Not answered yet: {asked}", asked=asked),
        "overdue": t("Late since {by}: {asked}", asked=asked, by=by),
    }[cause]
    why = {
        "asked": t("The report of {month} asks for this.", month=month),
        "unanswered": t("The report of {month} asks for this, and nobody has accepted or dropped it.", month=month),
        "overdue": t("The report of {month} asked for this. It was accepted, and is not marked as done.", month=month),
    }[cause]
    lines = [
        asked,
        "",
        why,
        t("Why: {why}", why=action.why),
        t("Owner: {owner}", owner=foreign.name(action.owner)),
        t("By: {by}", by=by),
    ]
    if rung == "deputy":
        lines.append(t("You get this as the deputy of the {role}.", role=role_title(action.role)))
    elif rung != "owner":
        lines.append(t("You get this as the {role}.", role=role_title(rung)))
    lines += ["", _what_to_do(action, cause)]
    return subject, "\n".join(lines)


def _what_to_do(action: Action, cause: Cause) -> str:
    if cause == "overdue":
        return t(
            "Say that it is done, or drop it and say why: on the page /actions of your Edgeloop, or with `edgeloop "
            "actions done {id}` or `edgeloop actions drop {id} --reason …`.",
            id=action.action_id,
        )
    return t(
        "Accept it, or drop it and say why: on the page /actions of your Edgeloop, or with `edgeloop actions accept "
        "{id}` or `edgeloop actions drop {id} --reason …`.",
        id=action.action_id,
    )
