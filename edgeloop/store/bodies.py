"""The hash of an event's canonical body, made only where somebody asks for it.

It tells apart the bodies that came under one id, and nearly every id comes once. So an event whose row holds every one
of its words is stored without the hash, which is half of the time of taking it in; when the id comes again, the body is
put together from the row, to the byte. What a row does not hold word for word is hashed when it comes.
"""

from __future__ import annotations

from datetime import UTC
from typing import Any

from edgeloop.clock import from_us
from edgeloop.events import EVENT_TYPES, Engagement, Event, Exposure, body_sha256
from edgeloop.store.schema import EVENT_TABLES, INSERT_COLUMNS, Row

_TOLD_BY_ROWS = ("exposure", "engagement")
"""The types that come by the million. (A response's answers are in rows of their own.)"""
_ESCAPED = 0x5C
"""A backslash: before it JSON writes what may be U+0000, which PostgreSQL's text cannot hold."""
_NOT_WORDS = frozenset({"occurred_at", "occurred_at_raw", "received_at", "body_sha256", "extra"})
_BOOLEAN = {
    kind: frozenset(column.name for column in EVENT_TABLES[kind].columns if column.kind == "bool")
    for kind in _TOLD_BY_ROWS
}


def told_by_row(event: Exposure | Engagement, body: bytes) -> bool:
    """Whether the event's row holds all of its canonical body; ``body`` is the record it was read from.

    It does not where the version is another, or there are fields unknown to the contract; where the time is not UTC
    (the row drops the zone); where a number may be -0.0 or a text may hold U+0000, which a store turns into others.
    """
    if (
        event.v != 1
        or event.extra
        or (event.occurred_at_raw or event.occurred_at).tzinfo is not UTC
        or _ESCAPED in body
    ):
        return False
    if type(event) is Exposure:
        return event.latency_ms != 0 and event.energy_mj != 0
    return event.value != 0  # type: ignore[union-attr]


def sha256_of(kind: str, row: Row) -> bytes:
    """The hash of the canonical body behind a row in the order of ``INSERT_COLUMNS``."""
    cells = dict(zip(INSERT_COLUMNS[EVENT_TABLES[kind].name], row, strict=True))
    found = cells["body_sha256"]
    return found if isinstance(found, bytes) else body_sha256(_event_of(kind, cells))


def _event_of(kind: str, cells: dict[str, Any]) -> Event:
    """The event as it came, without the door's stamps."""
    boolean = _BOOLEAN[kind]
    words = {
        name: bool(cell) if name in boolean else cell
        for name, cell in cells.items()
        if cell is not None and name not in _NOT_WORDS
    }
    made: type[Any] = EVENT_TYPES[kind]
    event: Event = made(occurred_at=from_us(cells["occurred_at_raw"]), **words)
    return event
