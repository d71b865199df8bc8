"""What one transaction of a worker writes, as plain data: rows by rowid, so that a replacement overwrites in place."""

from __future__ import annotations

from collections import defaultdict

from edgeloop.log.base import TopicPartition
from edgeloop.store.schema import Row


class Writes:
    """Collects the rows, deletions and state of one transaction."""

    def __init__(self, next_rowids: dict[str, int]) -> None:
        self._next = dict(next_rowids)
        self.rows: dict[str, dict[int, Row]] = defaultdict(dict)
        """table → rowid → row without the rowid."""
        self.deleted: dict[str, list[int]] = defaultdict(list)
        self.superseded: list[Row] = []
        self.dead_letters: list[Row] = []
        self.state: list[tuple[str, int, bytes | None]] = []
        """(join key, bucket, packed; None deletes the bucket)."""
        self.inbox: list[tuple[str, bytes]] = []
        """(courier's key, what changed of an exposure it carried): worked off under that key's own lock."""
        self.duplicates: dict[TopicPartition, int] = defaultdict(int)
        self.next_offsets: dict[TopicPartition, int] = {}

    def insert(self, table: str, row: Row) -> int:
        """Append a row; its new rowid."""
        rowid = self._next[table]
        self._next[table] = rowid + 1
        self.rows[table][rowid] = row
        return rowid

    def replace(self, table: str, rowid: int, row: Row) -> None:
        """Write a row in the place of another."""
        self.rows[table][rowid] = row

    def delete(self, table: str, rowids: list[int]) -> None:
        """Delete rows, also ones that this transaction would have inserted."""
        fresh = self.rows[table]
        for rowid in rowids:
            # A fresh row may stand in the place of a stored one (a replacement), so both are undone.
            fresh.pop(rowid, None)
        self.deleted[table].extend(rowids)
