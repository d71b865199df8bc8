"""Actions, their history and notices in PostgreSQL; each function runs inside the caller's transaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edgeloop.clock import from_us
from edgeloop.store.actions import Action, Answer, NoSuchActionError, Notice, as_row, begun, moved
from edgeloop.store.postgres.copying import with_stored_text
from edgeloop.store.postgres.session import Connection
from edgeloop.store.schema import ACTION_HISTORY, ACTIONS, NOTICES, Row, Table

_NOTICE = "action_id = %s AND cause = %s AND rung = %s AND channel = %s"


def add(db: Connection, actions: Sequence[Action], who: str) -> list[Action]:
    """Keep those that are not there yet, as proposed; which these were."""
    added = []
    for action in actions:
        if not _insert(db, ACTIONS, as_row(action), " ON CONFLICT DO NOTHING"):
            continue
        proposed = Answer(action_id=action.action_id, occurred_at=action.occurred_at, state="proposed", who=who)
        _insert(db, ACTION_HISTORY, as_row(proposed))
        added.append(action)
    return added


def move(db: Connection, answer: Answer) -> Action:
    """Take an answer; the action after it."""
    rows = _rows(db, f"SELECT {', '.join(ACTIONS.names)} FROM {ACTIONS.name} WHERE action_id = %s FOR UPDATE",
                 (answer.action_id,))  # fmt: skip
    if not rows:
        raise NoSuchActionError(f"there is no action {answer.action_id}: `edgeloop actions` lists them")
    after = moved(Action(**dict(zip(ACTIONS.names, rows[0], strict=True))), answer)
    cells = dict(zip(ACTIONS.names, _cells(ACTIONS, as_row(after)), strict=True))
    changed = ("state", "accepted_at", "closed_at", "reason")
    db.execute(
        f"UPDATE {ACTIONS.name} SET {', '.join(f'{name} = %s' for name in changed)} WHERE action_id = %s",
        (*(cells[name] for name in changed), after.action_id),
    )
    _insert(db, ACTION_HISTORY, as_row(answer))
    return after


def begin_notice(db: Connection, wanted: Notice) -> bool:
    """Note that a notice is being sent; False where it must not be."""
    # Of two who find no row both would write one.
    db.execute(f"LOCK TABLE {NOTICES.name} IN SHARE ROW EXCLUSIVE MODE")
    rows = _rows(db, f"SELECT {', '.join(NOTICES.names)} FROM {NOTICES.name} WHERE {_NOTICE}", wanted.key)
    noted = begun(Notice(**dict(zip(NOTICES.names, rows[0], strict=True))) if rows else None, wanted)
    if noted is None:
        return False
    db.execute(f"DELETE FROM {NOTICES.name} WHERE {_NOTICE}", wanted.key)
    _insert(db, NOTICES, as_row(noted))
    return True


def end_notice(db: Connection, ended: Notice) -> None:
    """Note what became of it, unless another sender has sent it meanwhile."""
    db.execute(
        f"UPDATE {NOTICES.name} SET state = %s, occurred_at = %s WHERE {_NOTICE} AND state <> 'sent'",
        (ended.state, from_us(ended.occurred_at), *ended.key),
    )


def _rows(db: Connection, sql: str, bindings: Sequence[object]) -> list[Any]:
    with db.cursor(binary=True) as cursor:
        return cursor.execute(sql, bindings).fetchall()


def _insert(db: Connection, table: Table, row: Row, suffix: str = "") -> bool:
    marks = ", ".join(["%s"] * len(table.columns))
    sql = f"INSERT INTO {table.name}({', '.join(table.names)}) VALUES ({marks}){suffix}"
    return db.execute(sql, _cells(table, row)).rowcount == 1


def _cells(table: Table, row: Row) -> tuple[object, ...]:
    (stored,) = with_stored_text([row])
    return tuple(
        from_us(cell) if column.kind == "time" and isinstance(cell, int) else cell
        for column, cell in zip(table.columns, stored, strict=True)
    )
