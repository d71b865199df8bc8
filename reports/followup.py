"""What became of what earlier reports asked? What people said, what the data shows, and what was measured afterwards.

An action is matched to the first change of its model and version that began after it was asked: a promotion to a switch
to that version or a stage that gives it everybody, a roll back to a change back or to the end of the rollout.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pandas as pd

from analysis import Analysis
from edgeloop.clock import from_us
from edgeloop.months import Month
from edgeloop.store.actions import Action
from edgeloop.store.rows import Estimate
from reports import foreign, numbers, reasons, words
from reports.findings import FollowState, FollowUp
from reports.gathered import ChangeRows, strength
from reports.language import speaking, t, tn
from reports.parts import part
from reports.settled import Settled, Version, settled
from reports.verdicts import TOLD

_MOST_MEASURED = 3
_MOST_REASON = 300
_ORDER: tuple[FollowState, ...] = ("late", "waiting", "accepted", "done", "dropped")


def followups(
    frame: pd.DataFrame | None, analysis: Analysis, gathered: Sequence[ChangeRows], month: Month, as_of_us: int
) -> list[FollowUp]:
    """Last month's actions, older ones that are open, and older ones whose change is still measured; late ones first.

    Args:
        frame: the freeze's ``actions``; None in freezes that were made before there were any.
        analysis: of the same freeze.
        gathered: its changes with their rows.
        month: the report's.
        as_of_us: up to when the freeze knows the world: later events and answers are not in it.
    """
    rows = {own.change.change_id: own for own in gathered}
    today = from_us(as_of_us).astimezone(ZoneInfo(month.timezone)).date().isoformat()
    headline = next((m.name for m in analysis.metrics if m.headline), None)
    made = []
    for action in _actions(frame):
        if action.month >= month.name:
            continue
        event = followed(action, analysis, as_of_us)
        own = None if event is None else rows.get(event.change.change_id)
        if action.month != month.previous().name and not action.open and (event is None or own is None):
            continue
        state = _state(action, event, today)
        made.append(
            part(
                foreign.name(action.title),
                partial(_followed_up, action, event, own, analysis, state, month, as_of_us, headline),
                partial(_untold, action, state),
                key="an action",
            )
        )
    return sorted(made, key=lambda f: (_ORDER.index(f.state), f.asked, f.title, f.action_id))


def _followed_up(
    action: Action,
    event: Settled | None,
    own: ChangeRows | None,
    analysis: Analysis,
    state: FollowState,
    month: Month,
    as_of_us: int,
    headline: str | None,
) -> FollowUp:
    return msgspec.structs.replace(
        _untold(action, state, _followed(action, event, analysis, month.timezone, as_of_us)),
        became=_became(action, month.timezone),
        measured=tuple(_measured(event, own, headline)),
        followed_by=None if event is None else event.change.change_id,
    )


def _untold(action: Action, state: FollowState, followed: str) -> FollowUp:
    return FollowUp(
        action_id=action.action_id,
        title=foreign.name(action.title),
        verdict=action.verdict,
        asked=numbers.month(action.month),
        owner=foreign.name(action.owner),
        by=numbers.date_text(dt.date.fromisoformat(action.due)),
        state=state,
        became="",
        followed=followed,
        measured=(),
    )


def state_text(state: FollowState) -> str:
    """What became of an action, with a sign that is not its colour alone."""
    return {
        "done": t("✓ done"),
        "late": t("✗ late"),
        "dropped": t("– dropped"),
        "accepted": t("● accepted, in time"),
        "waiting": t("? not answered yet, in time"),
    }[state]


def summary(found: Sequence[FollowUp]) -> str:
    """How many of each, in one sentence."""
    if not found:
        return t("No report before this one asked for anything, so there is nothing to follow up.")
    n = {state: sum(f.state == state for f in found) for state in _ORDER}
    still = n["accepted"] + n["waiting"]
    asked = tn("{n} action is followed up", "{n} actions are followed up", len(found), n=numbers.count(len(found)))
    return t(
        "{asked}: {done} done, {late} late, {still} in time, {dropped} dropped.",
        asked=asked,
        done=numbers.count(n["done"]),
        late=numbers.count(n["late"]),
        still=numbers.count(still),
        dropped=numbers.count(n["dropped"]),
    )


def followed(action: Action, analysis: Analysis, as_of_us: int) -> Settled | None:
    """The first change event after an action was asked that settles its version, or None."""
    version = Version(action.model_id, action.from_version, action.to_version)
    return settled(version, analysis.known, action.occurred_at, as_of_us)


def done_since(action: Action, analysis: Analysis, month: Month, as_of_us: int, locale: str) -> str | None:
    """That an open action is done, as the data shows, in the report's language; None where it is not."""
    event = followed(action, analysis, as_of_us)
    if event is None or not _as_asked(action, event):
        return None
    with speaking(locale):
        day = numbers.day(event.at_us, month.timezone)
        return {
            "promoted": t("promoted on {day}", day=day),
            "rolled back": t("rolled back on {day}", day=day),
            "ended": t("ended on {day}", day=day),
        }[event.what]


def _actions(frame: pd.DataFrame | None) -> list[Action]:
    if frame is None:
        return []
    rows: list[dict[str, Any]] = [{str(k): v for k, v in row.items()} for row in frame.to_dict("records")]
    for row in rows:
        for name, value in row.items():
            if pd.isna(value):
                row[name] = None
            elif name in ("occurred_at", "accepted_at", "closed_at"):
                row[name] = int(value)
    return [Action(**row) for row in rows]


def _state(action: Action, event: Settled | None, today: str) -> FollowState:
    if action.state in ("done", "dropped"):
        return "done" if action.state == "done" else "dropped"
    if event is not None and _as_asked(action, event):
        return "done"  # nobody said so, but the data shows it
    if action.late(today):
        return "late"
    return "accepted" if action.state == "accepted" else "waiting"


def _as_asked(action: Action, event: Settled) -> bool:
    return event.what in TOLD[action.verdict].done_by


def _became(action: Action, timezone: str) -> str:
    """What people said."""
    closed = "" if action.closed_at is None else numbers.day(action.closed_at, timezone)
    reason = foreign.name(action.reason or "", _MOST_REASON)
    if action.state == "done":
        if reason:
            return t("Done on {day}: {reason}", day=closed, reason=reason)
        return t("Done on {day}.", day=closed)
    if action.state == "dropped":
        return t("Dropped on {day}: {reason}", day=closed, reason=reason)
    if action.state == "accepted":
        return t("Accepted on {day}, not marked as done.", day=numbers.day(action.accepted_at or 0, timezone))
    return t("Not answered.")


def _followed(action: Action, event: Settled | None, analysis: Analysis, timezone: str, as_of_us: int) -> str:
    """What the data shows."""
    if action.verdict == "repair the data first":
        return _repaired(action, analysis)
    if event is not None:
        day, version = numbers.day(event.at_us, timezone), foreign.name(action.to_version)
        text = {
            "promoted": t("Version {version} went to everybody on {day}.", version=version, day=day),
            "rolled back": t("Version {version} was rolled back on {day}.", version=version, day=day),
            "ended": t("The rollout of version {version} ended on {day}.", version=version, day=day),
        }[event.what]
        if action.verdict != "keep testing" and not _as_asked(action, event):
            return t("{what} That is not what was asked.", what=text)
        return text
    if action.verdict == "keep testing":
        own = next((c for c in analysis.known if c.change_id == action.change_id), None)
        if own is None:
            return t("The data shows nothing of it any more.")
        if own.full_switch:  # whether anybody is held back is not a change
            return ""
        if own.end_us is None or own.end_us > as_of_us:
            return t("The test is still running.")
        return t("The test ended on {day}.", day=numbers.day(own.end_us, timezone))
    if action.state == "done":
        return t("No such change is seen in the data yet.")
    return ""


def _repaired(action: Action, analysis: Analysis) -> str:
    checks = [check for check in analysis.checks if check.change_id == action.change_id]
    if not checks:
        return t("This month has no checks of its data, so nothing shows whether it is repaired.")
    blocking = sum(check.state == "block" for check in checks)
    if blocking == 0:
        return t("Its data passes the checks now.")
    return tn(
        "{n} check of its data still fails.", "{n} checks of its data still fail.", blocking, n=numbers.count(blocking)
    )


def _measured(event: Settled | None, own: ChangeRows | None, headline: str | None) -> Iterator[str]:
    """What this month's estimates say of the change that followed: the headline, then what is clear."""
    if event is None or own is None:
        return
    if own.after is not None:  # the switch ends a change that was measured before
        yield reasons.promoted(own.after, own.metrics)
        return
    rows = [e for e in own.rows if own.direction(e) != "early"]
    first = [e for e in rows if e.metric == headline]
    clear = sorted(
        (e for e in rows if e.metric != headline and own.direction(e) in ("better", "worse")),
        key=strength,
        reverse=True,
    )
    chosen: list[Estimate] = [*first, *clear][:_MOST_MEASURED]
    if not chosen:
        yield t("Not enough data yet to say what it did.")
    for e in chosen:
        yield words.sentence(own.title, e, own.currency(e)) + "."
