"""Actions in a home: asked by a final report, listed, and answered by people."""

from __future__ import annotations

import getpass
from contextlib import closing
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from edgeloop.clock import Clock, SystemClock, from_us
from edgeloop.errors import EdgeloopError
from edgeloop.home import Home
from edgeloop.settings import Settings
from edgeloop.store.actions import Action, Answer, IllegalStepError, State, action_id, one_of
from edgeloop.store.base import StatementError
from edgeloop.store.freeze import Freeze, latest_received_us
from edgeloop.store.opening import open_reader, open_store
from edgeloop.store.schema import ACTION_HISTORY, ACTIONS

if TYPE_CHECKING:  # services answer about actions, and need none of the statistics
    from analysis import Analysis
    from reports import Findings

BY_REPORT = "report"
"""Who proposes, in the history."""


def ask(home: Home, settings: Settings, freeze: Freeze, analysis: Analysis, findings: Findings) -> list[Action]:
    """Keep what a final report asks as actions; those that are new. A look at a running month asks nobody.

    The same report again changes nothing: an action is known by its month, change and verdict. What was asked before
    and is done by now, as the freeze shows, is closed.
    """
    manifest = freeze.manifest
    if manifest.provisional:
        return []
    known = {change.change_id: change for change in analysis.changes}
    actions = [
        Action(
            action_id=action_id(manifest.month, decision.change_id, decision.verdict),
            month=manifest.month,
            change_id=decision.change_id,
            model_id=known[decision.change_id].model_id,
            from_version=known[decision.change_id].from_version,
            to_version=known[decision.change_id].to_version,
            verdict=decision.verdict,
            title=decision.title,
            asked=decision.action,
            why=decision.why,
            role=decision.role_key,
            owner=decision.owner,
            occurred_at=manifest.as_of_us,
            due=decision.due,
        )
        for decision in findings.decisions
    ]
    with closing(open_store(home, settings)) as store:
        made = store.add_actions(actions, BY_REPORT)
    _close_done(home, settings, freeze, analysis)
    return made


def _close_done(home: Home, settings: Settings, freeze: Freeze, analysis: Analysis) -> None:
    """Close the open actions of earlier months that the freeze shows as done; whoever answered first is not undone."""
    import reports

    manifest = freeze.manifest
    for action in listed(home, settings):
        if not action.open or action.month >= manifest.month:
            continue
        reason = reports.done_since(action, analysis, freeze.month, manifest.as_of_us, manifest.look.locale)
        if reason is None:
            continue
        steps: tuple[State, ...] = ("done",) if action.state == "accepted" else ("accepted", "done")
        for state in steps:
            try:
                answer(
                    home, settings, action.action_id, state, BY_REPORT,
                    reason=reason if state == "done" else None, whole=True,
                )  # fmt: skip
            except IllegalStepError:  # somebody answered meanwhile
                break


def listed(home: Home, settings: Settings, *, month: str | None = None, state: State | None = None) -> list[Action]:
    """The actions there are, the latest month first.

    Raises:
        HomeError: there is no store yet.
    """
    columns = ", ".join(ACTIONS.names)
    rows = _rows(home, settings, f"SELECT {columns} FROM {ACTIONS.name} ORDER BY month DESC, due, action_id")
    actions = [Action(**dict(zip(ACTIONS.names, row, strict=True))) for row in rows]
    return [a for a in actions if month in (None, a.month) and state in (None, a.state)]


def history(home: Home, settings: Settings) -> dict[str, list[Answer]]:
    """The steps of every action, oldest first."""
    names = ACTION_HISTORY.names
    rows = _rows(home, settings, f"SELECT {', '.join(names)} FROM {ACTION_HISTORY.name} ORDER BY occurred_at")
    found: dict[str, list[Answer]] = {}
    for row in rows:
        step = Answer(**dict(zip(names, row, strict=True)))
        found.setdefault(step.action_id, []).append(step)
    return found


def answer(
    home: Home,
    settings: Settings,
    wanted: str,
    state: State,
    who: str,
    *,
    reason: str | None = None,
    clock: Clock | None = None,
    whole: bool = False,
) -> Action:
    """Take somebody's answer to the action of an id, or (unless ``whole``) of the first characters of one.

    Raises:
        NoSuchActionError, IllegalStepError, UsageError: nothing changed.
    """
    step = Answer(
        action_id=wanted if whole else one_of(listed(home, settings), wanted).action_id,
        occurred_at=now_us(home, settings, clock),
        state=state,
        who=who,
        reason=(reason or "").strip() or None,
    )
    with closing(open_store(home, settings)) as store:
        return store.move_action(step)


def now_us(home: Home, settings: Settings, clock: Clock | None = None) -> int:
    """The time; of a home of simulated time the moment up to which it knows its world."""
    if clock is not None:
        return clock.now_us()
    if home.simulated:
        try:
            with closing(open_reader(home, settings)) as reader:
                return latest_received_us(reader)
        except EdgeloopError:  # nothing in it yet
            pass
    return SystemClock().now_us()


def today(settings: Settings, at_us: int) -> str:
    """The date of a moment in the company's zone, YYYY-MM-DD."""
    return from_us(at_us).astimezone(ZoneInfo(settings.timezone)).date().isoformat()


def me() -> str:
    """Who runs this command, by the system's name for them."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "somebody"


def _rows(home: Home, settings: Settings, sql: str) -> list[tuple[Any, ...]]:
    with closing(open_reader(home, settings)) as reader:
        try:
            return reader.query(sql)[1]
        except StatementError:  # the version before made it, and nothing has opened it for writing since
            open_store(home, settings).close()
            return reader.query(sql)[1]
