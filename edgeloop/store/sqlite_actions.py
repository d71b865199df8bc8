"""Actions, their history and notices in a SQLite store; each function runs inside the caller's transaction."""

from __future__ import annotations

from collections.abc import Sequence

import apsw

from edgeloop.store.actions import Action, Answer, NoSuchActionError, Notice, as_row, begun, moved
from edgeloop.store.schema import ACTION_HISTORY, ACTIONS, NOTICES, Table

_NOTICE = "action_id = ? AND cause = ? AND rung = ? AND channel = ?"


def add(db: apsw.Connection, actions: Sequence[Action], who: str) -> list[Action]:
    """Keep those that are not there yet, as proposed; which these were."""
    added = []
    for action in actions:
        if db.execute(f"SELECT 1 FROM {ACTIONS.name} WHERE action_id = ?", (action.action_id,)).fetchall():
            continue
        _insert(db, ACTIONS, as_row(action))
        proposed = Answer(action_id=action.action_id, occurred_at=action.occurred_at, state="proposed", who=who)
        _insert(db, ACTION_HISTORY, as_row(proposed))
        added.append(action)
    return added


def move(db: apsw.Connection, answer: Answer) -> Action:
    """Take an answer; the action after it."""
    columns = ", ".join(ACTIONS.names)
    rows = db.execute(f"SELECT {columns} FROM {ACTIONS.name} WHERE action_id = ?", (answer.action_id,)).fetchall()
    if not rows:
        raise NoSuchActionError(f"there is no action {answer.action_id}: `edgeloop actions` lists them")
    after = moved(Action(**dict(zip(ACTIONS.names, rows[0], strict=True))), answer)  # type: ignore[arg-type]
    db.execute(
        f"UPDATE {ACTIONS.name} SET state = ?, accepted_at = ?, closed_at = ?, reason = ? WHERE action_id = ?",
        (after.state, after.accepted_at, after.closed_at, after.reason, after.action_id),
    )
    _insert(db, ACTION_HISTORY, as_row(answer))
    return after


def begin_notice(db: apsw.Connection, wanted: Notice) -> bool:
    """Note that a notice is being sent; False where it must not be."""
    columns = ", ".join(NOTICES.names)
    rows = db.execute(f"SELECT {columns} FROM {NOTICES.name} WHERE {_NOTICE}", wanted.key).fetchall()
    found = Notice(**dict(zip(NOTICES.names, rows[0], strict=True))) if rows else None  # type: ignore[arg-type]
    noted = begun(found, wanted)
    if noted is None:
        return False
    db.execute(f"DELETE FROM {NOTICES.name} WHERE {_NOTICE}", wanted.key)
    _insert(db, NOTICES, as_row(noted))
    return True


def end_notice(db: apsw.Connection, ended: Notice) -> None:
    """Note what became of it, unless another sender has sent it meanwhile."""
    db.execute(
        f"UPDATE {NOTICES.name} SET state = ?, occurred_at = ? WHERE {_NOTICE} AND state <> 'sent'",
        (ended.state, ended.occurred_at, *ended.key),
    )


def _insert(db: apsw.Connection, table: Table, row: tuple[object, ...]) -> None:
    marks = ", ".join("?" * len(table.columns))
    db.execute(f"INSERT INTO {table.name}({', '.join(table.names)}) VALUES ({marks})", row)
