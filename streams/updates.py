"""What ``attribution.updates`` says of an outcome: all of its rows as they are now, with a revision.

The records wait in the store's outbox, written in the transaction of the rows themselves, and are published at least
once: a reader keeps, per key of a record, the highest revision (docs/contract.md, Events).
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from edgeloop.store.schema import ATTRIBUTIONS, Cell, Row
from streams.entries import Outcome

_encode = msgspec.json.Encoder().encode


class Update(msgspec.Struct, frozen=True):
    """A record of ``attribution.updates``."""

    outcome_id: str
    subject: str
    revision: int
    """Higher is later."""
    rows: list[dict[str, Cell]]
    """As in the table ``attributions``, times as µs; none where the outcome is no more."""


def outcome_id(entry: Outcome, suffix: str) -> str:
    """The id of one outcome of an event, as the tables have it."""
    return ("e:" if entry.outcome_type == "engagement" else "a:") + entry.id + suffix


def updates_of(shard: int, key: str, rows: Sequence[Row], revision: int) -> list[tuple[int, str, bytes]]:
    """(shard, record key, body) of each outcome that these rows are of."""
    of_outcome: dict[str, list[dict[str, Cell]]] = {}
    for row in rows:
        of_outcome.setdefault(str(row[0]), []).append(dict(zip(ATTRIBUTIONS.names, row, strict=True)))
    return [(shard, _key(key, name), _body(key, name, revision, told)) for name, told in of_outcome.items()]


def removals_of(shard: int, key: str, names: Sequence[str], revision: int) -> list[tuple[int, str, bytes]]:
    """The same of outcomes that are no more."""
    return [(shard, _key(key, name), _body(key, name, revision, [])) for name in names]


def _key(subject: str, name: str) -> str:
    return f"{subject}/{name}"


def _body(subject: str, name: str, revision: int, rows: list[dict[str, Cell]]) -> bytes:
    return _encode(Update(name, subject, revision, rows))
