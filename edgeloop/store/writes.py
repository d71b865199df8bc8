"""What one transaction of a worker writes, as plain data: rows by rowid, so that a replacement overwrites in place."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from operator import concat
from typing import Any, cast

import msgspec

from edgeloop.log.base import TopicPartition
from edgeloop.store.schema import Row

BATCH_BITS = 22
"""A rowid is the number of its batch and a number within: both workers of a store may make some at the same time."""
_MOST_ROWS = 1 << BATCH_BITS


class Head(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """The state row of one join key (streams/state.py says what is in it)."""

    slot: int
    key: str
    batch: int
    """The deltas of this batch and of those before it are in it."""
    n: int
    first_us: int
    last_us: int
    first_outcome_us: int | None
    last_outcome_us: int | None
    twins: bool
    ids: bytes
    directory: bytes
    entries: bytes


class TooManyRowsError(Exception):
    """One batch made more rows of one table than a batch has numbers for."""


class Writes:
    """Collects the rows, deletions and state of one transaction."""

    def __init__(self, batch: int) -> None:
        self.batch = batch
        self.first_rowid = batch << BATCH_BITS
        self.inserted: dict[str, list[Row | None]] = defaultdict(list)
        """table → rows, the first at ``first_rowid``; None where one was taken back."""
        self._with_gaps: set[str] = set()
        """Tables of which rows were taken back."""
        self.replaced: dict[str, dict[int, Row]] = defaultdict(dict)
        """table → rowid → row in the place of one that is stored."""
        self.deleted: dict[str, list[tuple[int, int]]] = defaultdict(list)
        """table → (first rowid, last rowid)."""
        self.superseded: list[Row] = []
        self.dead_letters: list[Row] = []
        self.heads: list[Head] = []
        self.deltas: list[tuple[int, bytes]] = []
        """(shard, packed): what the batch appended to keys whose state rows are written later."""
        self.settled: list[int] = []
        """Shards whose deltas are all in their heads now."""
        self.inbox: list[tuple[str, int, bytes]] = []
        """(courier's key, its shard, packed): worked off under that key's own lock."""
        self.worked_off: list[int] = []
        """Rowids of the inbox that this transaction worked off."""
        self.updates: list[tuple[int, str, bytes]] = []
        """(shard, key of the record, body): outcomes to be published as they are now."""
        self.published: list[int] = []
        """Rowids of the outbox that were."""
        self.duplicates: Counter[TopicPartition] = Counter()
        self.next_offsets: dict[TopicPartition, int] = {}
        self.last_sha256: dict[TopicPartition, bytes] = {}
        """Of the record before each next offset."""
        self.counters: Counter[tuple[str, str]] = Counter()
        """(name, label) → by how much it rises."""

    def insert(self, table: str, row: Row) -> int:
        """Append a row; its rowid."""
        rows = self.inserted[table]
        if len(rows) >= _MOST_ROWS:
            raise TooManyRowsError(f"one batch makes more than {_MOST_ROWS:,} rows of {table}")
        rows.append(row)
        return self.first_rowid + len(rows) - 1

    def adopt(self, rows: Mapping[str, list[Row]]) -> None:
        """Take over rows that are to be appended, as the first of their tables: in the order in which they were made.

        That order matters. A row's cells lie one behind the other in memory as they were decoded; written by key in
        place of that, each cell is a cache miss, and the insert takes half as long again.
        """
        for table, made in rows.items():
            if len(made) > _MOST_ROWS:
                raise TooManyRowsError(f"one batch makes more than {_MOST_ROWS:,} rows of {table}")
            if made:
                self.inserted[table] = [*made]

    def take_back(self, table: str, rowid: int) -> Row:
        """A row that this transaction was to append, which it now does not."""
        rows, place = self.inserted[table], rowid - self.first_rowid
        row, rows[place] = rows[place], None
        self._with_gaps.add(table)
        if row is None:
            raise LookupError(f"row {rowid} of {table} was taken back before")
        return row

    def replace(self, table: str, rowid: int, row: Row) -> None:
        """Write a row in the place of another."""
        if rowid >= self.first_rowid:
            self.inserted[table][rowid - self.first_rowid] = row
        else:
            self.replaced[table][rowid] = row

    def delete(self, table: str, rowid: int, count: int) -> None:
        """Delete rows that were inserted one after the other, in this transaction or before it."""
        if not count:
            return
        if rowid >= self.first_rowid:
            place = rowid - self.first_rowid
            self.inserted[table][place : place + count] = [None] * count
            self._with_gaps.add(table)
        else:
            self.deleted[table].append((rowid, rowid + count - 1))

    def pending(self, table: str, rowid: int) -> Row | None:
        """The row as this transaction would leave it, if it writes it."""
        if rowid >= self.first_rowid:
            return self.inserted[table][rowid - self.first_rowid]
        return self.replaced[table].get(rowid)

    def stored_rows(self, table: str) -> Iterator[Row]:
        """Every row to append, its rowid before its cells."""
        rows = self.inserted[table]
        if table in self._with_gaps:
            return ((rowid,) + row for rowid, row in enumerate(rows, self.first_rowid) if row is not None)  # noqa: RUF005
        # Not one step of Python a row.
        rowids = zip(range(self.first_rowid, self.first_rowid + len(rows)))
        numbered: Iterator[Any] = map(concat, rowids, cast("list[Row]", rows))
        return numbered
