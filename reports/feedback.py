"""Is the feedback used? From the answers collected to those that somebody acted on, and none counted twice.

Each step is a part of the one before (docs/meaning.md, "Use of feedback"): collected, joined, counted in an estimate,
named in a decision, acted on.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any
from urllib.parse import quote

import msgspec
import numpy as np
import pandas as pd

from analysis import Analysis
from edgeloop.months import Month
from edgeloop.store.freeze import FeedbackUse
from reports import foreign, numbers, people, words
from reports.findings import Ask, Feedback, Line, Unused, UseRow
from reports.language import t

DECIDING_ROLES = ("goal", "guardrail")
SIDES = ("customer", "agent")
MOST_QUESTIONS = 12
Naming = Mapping[tuple[str, int, str, str], str]
Done = Collection[tuple[str, str]]


def uses(
    answers: pd.DataFrame, attributions: pd.DataFrame, analysis: Analysis, month: Month, freeze_id: str
) -> tuple[FeedbackUse, ...]:
    """How far the month's answers got, one row for each question and set of changes whose decisions name them.

    Args:
        answers: the whole table, in the freeze's order, because the estimates name its rows by their place.
        attributions: the whole table, or its rows of answers.
    """
    inside = ((answers["occurred_at"] >= month.start_us) & (answers["occurred_at"] < month.end_us)).to_numpy(dtype=bool)
    joined = inside & joined_rows(answers, attributions)
    counted = np.zeros(len(answers), dtype=bool)
    naming = named_figures(analysis)
    by: dict[int, list[str]] = {}
    for figure in analysis.counted:
        counted[figure.rows] = True
        if (figure.change_id, figure.stage, figure.metric, figure.respondent) in naming:
            for row in figure.rows[joined[figure.rows]].tolist():
                by.setdefault(row, []).append(figure.change_id)
    counted &= joined
    own = answers[inside]
    rows = pd.DataFrame(
        {name: own[name].fillna("").astype(str) for name in ("respondent", "source", "survey_id", "question")}
    )
    places = np.flatnonzero(inside).tolist()
    sets = [tuple(sorted(set(by.get(place, ())))) for place in places]
    rows["changes"] = pd.Series(sets, index=rows.index, dtype=object)
    rows["joined"], rows["counted"] = joined[inside], counted[inside]
    made = []
    key: Any
    for key, group in rows.groupby(["respondent", "source", "survey_id", "question", "changes"], sort=True):
        respondent, source, survey, question, changes = key
        n = int(group["counted"].sum())
        made.append(
            FeedbackUse(
                freeze_id=freeze_id, month=month.name, respondent=respondent, source=source, survey_id=survey,
                question=question, changes=changes, collected=len(group),
                joined=int(group["joined"].sum()), counted=n, named=n if changes else 0,
            )
        )  # fmt: skip
    return tuple(made)


def joined_rows(answers: pd.DataFrame, attributions: pd.DataFrame) -> np.ndarray:
    """Which answers are credited to a version that their sender met; shape (answers,)."""
    a = attributions[attributions["outcome_type"] == "answer"]
    a = a[(a["model_id"].fillna("") != "") & (a["credit"] > 0)]
    credited = pd.MultiIndex.from_arrays([a["subject"].astype(str), a["outcome_id"].astype(str)])
    ids = pd.MultiIndex.from_arrays([answers["subject"].astype(str), _outcome_ids(answers)])
    return np.asarray(ids.isin(credited.unique()), dtype=bool)


def named_figures(analysis: Analysis) -> Naming:
    """(change, stage, metric, respondent) → verdict, of the figures that a decision weighed.

    Goals and guardrails that may decide, in the stage that does. *Repair the data first* rests on no answer, and
    neither does *keep testing* where there is nothing but before and after.
    """
    deciding = {(m.name, m.respondent) for m in analysis.metrics if m.role in DECIDING_ROLES}
    return {
        (e.change_id, e.stage, e.metric, e.respondent or "customer"): e.verdict
        for e in analysis.estimates
        if e.dimension == "all"
        and e.verdict is not None
        and e.verdict != "repair the data first"
        and not (e.verdict == "keep testing" and e.grade == "before_after")
        and e.decided_by is not None
        and (e.metric, e.respondent or "customer") in deciding
    }


def done_actions(actions: pd.DataFrame | None) -> Done | None:
    """(month, change) of every action that is done; None where a freeze holds no actions."""
    if actions is None:
        return None
    done = actions[actions["state"] == "done"]
    return frozenset(zip(done["month"].astype(str), done["change_id"].astype(str), strict=True))


def acted(found: Sequence[FeedbackUse], done: Done | None) -> int | None:
    """Answers named in a decision of which the action is done."""
    if done is None:
        return None
    return sum(use.named for use in found if any((use.month, change) in done for change in use.changes))


def feedback(
    found: Sequence[FeedbackUse],
    reported: Sequence[FeedbackUse],
    done: Done | None,
    titles: Mapping[str, str],
    month: Month,
    unused: Sequence[Unused],
    asks: Sequence[Ask],
    holders: Mapping[str, str],
    due: dt.date,
) -> Feedback:
    """The section.

    Args:
        found: this month's.
        reported: the month before, as its report counted it.
        done: (month, change) of the actions that are done.
        titles: of the changes.
        unused: with roles by their keys, as ``asks``.
        holders: role → name.
        due: by when what is asked here is to be done.
    """
    sides = tuple(row(side_title(side), [u for u in found if u.respondent == side], done) for side in SIDES)
    questions = _by(
        found, lambda u: (u.respondent, u.survey_id, u.question), lambda key: question_label(*key[1:]), done, titles
    )
    by = {"by": numbers.weekday_text(due), "due": due.isoformat()}
    notes = []
    if len(questions) > MOST_QUESTIONS:
        notes.append(
            t("The {n} questions with most answers are shown; the sums are of all.", n=numbers.count(MOST_QUESTIONS))
        )
    if done is None:
        notes.append(t("Actions are not recorded yet, so nobody can tell which answers were acted on."))
    return Feedback(
        headline=_headline(row("", found, done)),
        notes=tuple(notes),
        sides=sides,
        sources=_by(found, lambda u: (u.respondent, u.source), lambda key: foreign.name(key[1]), done),
        questions=questions[:MOST_QUESTIONS],
        last=_last(reported, done),
        last_summary=_last_summary(reported, done, month),
        unused=tuple(
            msgspec.structs.replace(u, role=people.who(u.role, holders), **(by if u.mend else {})) for u in unused
        ),
        asks=tuple(msgspec.structs.replace(a, role=people.who(a.role, holders), **by) for a in asks),
        dates_note=_dates_note() if asks or any(u.mend for u in unused) else "",
        definitions=_definitions(),
        uses=tuple(found),
    )


def untold(why: str) -> Feedback:
    """The section where it could not be made."""
    return Feedback(
        headline=why, notes=(), sides=(), sources=(), questions=(), last=(), last_summary="", unused=(), asks=(),
        definitions=(), uses=(),
    )  # fmt: skip


def side_title(side: str) -> str:
    """Customers, or delivery agents."""
    return t("Delivery agents") if side == "agent" else t("Customers")


def question_label(survey: str, question: str) -> str:
    """A question as the report calls it."""
    return words.capital(foreign.name(words.label(f"{survey}/{question}")))


def row(label: str, found: Sequence[FeedbackUse], done: Done | None, of: str = "", decisions: str = "") -> UseRow:
    """The sums of some uses."""
    return UseRow(
        label=label,
        of=of,
        collected=sum(u.collected for u in found),
        joined=sum(u.joined for u in found),
        counted=sum(u.counted for u in found),
        named=sum(u.named for u in found),
        acted=acted(found, done),
        decisions=decisions,
    )


def _by(
    found: Sequence[FeedbackUse],
    key: Callable[[FeedbackUse], tuple[str, ...]],
    label: Callable[[tuple[str, ...]], str],
    done: Done | None,
    titles: Mapping[str, str] | None = None,
) -> tuple[UseRow, ...]:
    """One row for each key (the side first), customers first, those with most answers first."""
    groups: dict[tuple[str, ...], list[FeedbackUse]] = {}
    for use in found:
        groups.setdefault(key(use), []).append(use)
    made = []
    for name, own in groups.items():
        named = sorted({change for use in own for change in use.changes if use.named})
        decisions = numbers.joined([foreign.quoted(titles.get(c, c)) for c in named]) if titles else ""
        made.append((name, row(label(name), own, done, side_title(name[0]), decisions)))
    made.sort(key=lambda pair: (SIDES.index(pair[0][0]), -pair[1].collected, pair[0]))
    return tuple(r for _, r in made)


def _headline(r: UseRow) -> str:
    if not r.collected:
        return t("No answers were collected this month.")
    return t(
        "Of {collected} answers, {joined} were tied to a version, {counted} counted in an estimate, {named} named in a "
        "decision.",
        collected=numbers.count(r.collected),
        joined=numbers.count(r.joined),
        counted=numbers.count(r.counted),
        named=numbers.count(r.named),
    )


def _last(reported: Sequence[FeedbackUse], done: Done | None) -> tuple[UseRow, ...]:
    return tuple(
        row(side_title(side), own, done) for side in SIDES if (own := [u for u in reported if u.respondent == side])
    )


def _last_summary(reported: Sequence[FeedbackUse], done: Done | None, month: Month) -> str:
    before = numbers.month(month.previous().name)
    if not reported:
        return t(
            "What became of the answers of {month} is not known: its report was not made from a final freeze here.",
            month=before,
        )
    whole = row("", reported, done)
    if whole.acted is None:
        return t(
            "Of the {named} answers that a decision of {month} named, nobody can tell which were acted on.",
            named=numbers.count(whole.named),
            month=before,
        )
    return t(
        "Of the {named} answers that a decision of {month} named, {acted} led to an action that is done.",
        named=numbers.count(whole.named),
        month=before,
        acted=numbers.count(whole.acted),
    )


def _dates_note() -> str:
    return t("What is asked here is due as a decision is: five working days after the data’s own date.")


def _definitions() -> tuple[Line, ...]:
    return (
        Line(t("Collected"), t("answers to one question each, sent in the month, from whichever survey tool")),
        Line(t("Tied to a version"), t("credited to a model version that their sender had met in the days before")),
        Line(
            t("Counted in an estimate"),
            t("of these, the ones inside a figure of “Did it help?”: a number, from somebody compared, in the window"),
        ),
        Line(
            t("Named in a decision"),
            t("of these, the ones to a goal or guardrail that had enough data to weigh in a decision asked above"),
        ),
        Line(t("Acted on"), t("of these, the ones of which such a decision’s action is done")),
    )


def _outcome_ids(answers: pd.DataFrame) -> pd.Series[str]:
    """As `attributions` names them: the response, the question, and which time it was asked in that response."""
    times = answers.groupby(["subject", "response_id", "question"], dropna=False, sort=False).cumcount() + 1
    quoted = {q: quote(str(q), safe="") for q in answers["question"].unique()}
    again = ("#" + times.astype(str)).where(times > 1, "")
    return "a:" + answers["response_id"].astype(str) + "/" + answers["question"].map(quoted).astype(str) + again
