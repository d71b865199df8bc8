"""What a batch writes in a transaction of PostgreSQL."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import msgspec
import psycopg

from edgeloop.log.base import TopicPartition
from edgeloop.store.base import StaleStateError
from edgeloop.store.postgres.copying import copy_rows, copy_typed, is_unstorable, with_stored_text
from edgeloop.store.postgres.session import ENGINE_SCHEMA, Connection, Session
from edgeloop.store.schema import DEAD_LETTERS, INSERT_COLUMNS, SUPERSEDED, Row
from edgeloop.store.writes import Head, Writes

_STATE_PAGES, _STATE_HEADS = "state_pages", "state_heads"
_NUMBERED_BY = {_STATE_HEADS: "slot"}
"""Tables whose row number has a name of its own."""
_HEAD_FIELDS = Head.__struct_fields__
_HEAD_TYPES = ("int8", "bytea", *["int8"] * 6, "int2", *["bytea"] * 3)
_ROOM = "room"
_MOVE_OFFSET = """
INSERT INTO offsets AS o (topic, partition, next_offset, duplicates, cluster_id, topic_id, last_sha256)
  VALUES (%(topic)s, %(partition)s, %(next_offset)s, %(duplicates)s, %(cluster_id)s, %(topic_id)s, %(last_sha256)s)
  ON CONFLICT (topic, partition) DO UPDATE SET next_offset = excluded.next_offset,
    duplicates = o.duplicates + excluded.duplicates, cluster_id = excluded.cluster_id, topic_id = excluded.topic_id,
    last_sha256 = excluded.last_sha256
  WHERE %(any)s OR o.next_offset = %(seen)s"""


class PostgresTransaction:
    """What a batch writes under its locks."""

    def __init__(self, session: Session, offsets_seen: Callable[[], Mapping[TopicPartition, int] | None]) -> None:
        """``offsets_seen`` gives the offsets as they were read in this transaction, if they were."""
        self._session = session
        self._offsets_seen = offsets_seen
        self._raised: Counter[tuple[str, str]] = Counter()
        self._put: dict[tuple[str, str], int] = {}
        self._applied = False

    def apply(self, writes: Writes, identities: Mapping[str, tuple[str, str]]) -> None:
        """Write everything; ``identities`` gives (cluster id, topic id) of each topic.

        Every transaction takes its locks in one order, so that none waits for another in a ring: shards, dead letters
        by id, offsets by partition, counters by name.
        """
        with self._session.connection() as db:
            if self._applied:
                db.execute("DELETE FROM heads_in; DELETE FROM dead_letters_in")
            self._applied = True
            self._delete(db, writes)
            for table in sorted(writes.inserted.keys() | writes.replaced.keys()):
                _append(db, table, _Numbered(writes, table))
            _append(db, SUPERSEDED.name, writes.superseded)
            _add_dead_letters(db, writes.dead_letters)
            _write_state(db, writes)
            self._move_offsets(db, writes, identities)
        self.count(writes.counters)

    def set_meta(self, name: str, value: str) -> None:
        """Remember a fact."""
        with self._session.connection() as db:
            put_meta(db, name, value)

    def drop_meta(self, name: str) -> None:
        """Forget a fact."""
        with self._session.connection() as db:
            db.execute(f"DELETE FROM {ENGINE_SCHEMA}.meta WHERE name = %s", (name,))

    def drop_superseded_index(self) -> None:
        """The inverse of `PostgresStore.index_superseded`."""
        with self._session.connection() as db:
            db.execute("DROP INDEX IF EXISTS superseded_key")

    def count(self, counters: Mapping[tuple[str, str], int]) -> None:
        """Raise counters by so much, when the transaction ends: other workers wait for these rows."""
        for counter, value in counters.items():
            self._raised[counter] += value

    def set_counter(self, name: str, value: int) -> None:
        """Put a counter that tells a moment, not a number of things, when the transaction ends."""
        self._put[name, ""] = value
        self._raised.pop((name, ""), None)

    def finish(self) -> None:
        """Write the counters; the commit comes right after."""
        rows = [
            (*counter, self._put.get(counter, 0) + self._raised[counter], counter in self._put)
            for counter in sorted(self._raised.keys() | self._put.keys())
            if counter in self._put or self._raised[counter]
        ]
        if not rows:
            return
        with self._session.connection() as db, db.cursor() as cursor:
            cursor.executemany(
                f"INSERT INTO {ENGINE_SCHEMA}.counters AS c VALUES (%s, %s, %s) ON CONFLICT (name, label) DO UPDATE"
                " SET value = excluded.value + CASE WHEN %s THEN 0 ELSE c.value END",
                rows,
            )

    def _move_offsets(self, db: Connection, writes: Writes, identities: Mapping[str, tuple[str, str]]) -> None:
        """Move the offsets, each only from where it was seen: of two workers that drain one partition, one is late.

        Shards alone do not keep them apart: records that cannot be read have none.
        """
        seen = self._offsets_seen()
        rows = [
            {
                "topic": tp[0],
                "partition": tp[1],
                "next_offset": offset,
                "duplicates": writes.duplicates.get(tp, 0),
                "cluster_id": identities[tp[0]][0],
                "topic_id": identities[tp[0]][1],
                "last_sha256": writes.last_sha256.get(tp),
                "any": seen is None,
                "seen": None if seen is None else seen.get(tp),
            }
            for tp, offset in sorted(writes.next_offsets.items())
        ]
        if not rows:
            return
        with db.cursor() as cursor:
            cursor.executemany(_MOVE_OFFSET, rows)
            if cursor.rowcount != len(rows):
                raise StaleStateError("another worker drained one of the partitions meanwhile")

    def _delete(self, db: Connection, writes: Writes) -> None:
        for table, ranges in sorted(writes.deleted.items()):
            if ranges:
                # Each number by itself: a join with ranges goes through the whole table for each, where the planner
                # takes it for smaller than it is.
                gone = [number for first, last in ranges for number in range(first, last + 1)]
                db.execute(f"DELETE FROM {table} WHERE {_NUMBERED_BY.get(table, 'rowid')} = ANY(%s)", (gone,))
        for table, rows in sorted(writes.replaced.items()):
            if rows:
                db.execute(f"DELETE FROM {table} WHERE rowid = ANY(%s)", (list(rows),))


class _Numbered(Iterable[Row]):
    """The rows to append to a table, each with its rowid before its cells; as often as asked for."""

    def __init__(self, writes: Writes, table: str) -> None:
        self._writes = writes
        self._table = table

    def __iter__(self) -> Iterator[Row]:
        yield from self._writes.stored_rows(self._table)
        for rowid, row in self._writes.replaced.get(self._table, {}).items():
            yield (rowid, *row)


def put_meta(db: Connection, name: str, value: str) -> None:
    """Remember a fact."""
    db.execute(
        f"INSERT INTO {ENGINE_SCHEMA}.meta VALUES (%s, %s) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        (name, value),
    )


def _append(db: Connection, table: str, rows: Iterable[Row], into: str | None = None) -> None:
    """Append rows; text that PostgreSQL cannot hold is found by its refusal, which a batch seldom meets."""
    numbered = isinstance(rows, _Numbered)
    columns = INSERT_COLUMNS[table]
    if not numbered and not rows:
        return
    if table == _STATE_PAGES:
        copy_typed(db, table, ("rowid", *columns), ("int8", "bytea"), rows)
        return
    target = into or table
    db.execute(f"SAVEPOINT {_ROOM}")
    try:
        copy_rows(db, table, columns, rows, numbered=numbered, into=target)
    except psycopg.DataError as error:
        if not is_unstorable(error):
            raise
        db.execute(f"ROLLBACK TO SAVEPOINT {_ROOM}")
        copy_rows(db, table, columns, with_stored_text(rows), numbered=numbered, into=target)
    db.execute(f"RELEASE SAVEPOINT {_ROOM}")


def _add_dead_letters(db: Connection, letters: Sequence[Row]) -> None:
    if letters:
        _append(db, DEAD_LETTERS.name, letters, into="dead_letters_in")
        names = ", ".join(DEAD_LETTERS.names)
        db.execute(
            f"INSERT INTO {DEAD_LETTERS.name}({names}) SELECT {names} FROM dead_letters_in ORDER BY dead_letter_id"
            " ON CONFLICT DO NOTHING"
        )


def _write_state(db: Connection, writes: Writes) -> None:
    if writes.heads:
        heads = sorted(writes.heads, key=lambda head: head.slot)
        rows = ((cells[0], cells[1].encode(), *cells[2:]) for cells in map(msgspec.structs.astuple, heads))
        copy_typed(db, "heads_in", _HEAD_FIELDS, _HEAD_TYPES, rows)
        update = ", ".join(f"{name} = excluded.{name}" for name in _HEAD_FIELDS[2:])
        names = ", ".join(_HEAD_FIELDS)
        db.execute(
            f"INSERT INTO {_STATE_HEADS}({names}) SELECT {names} FROM heads_in"
            f" ON CONFLICT (slot) DO UPDATE SET {update}"
        )
    if writes.settled:
        db.execute("DELETE FROM state_deltas WHERE shard = ANY(%s)", (writes.settled,))
    if writes.deltas:
        copy_typed(
            db,
            "state_deltas",
            ("shard", "batch", "packed"),
            ("int4", "int8", "bytea"),
            ((shard, writes.batch, packed) for shard, packed in writes.deltas),
        )
    if writes.updates:
        updates = ((shard, key.encode(), body) for shard, key, body in writes.updates)
        copy_typed(db, "outbox", ("shard", "key", "body"), ("int4", "bytea", "bytea"), updates)
    if writes.published:
        db.execute("DELETE FROM outbox WHERE rowid = ANY(%s)", (writes.published,))
    if writes.worked_off:
        db.execute("DELETE FROM dirty_keys WHERE rowid = ANY(%s)", (writes.worked_off,))
    if writes.inbox:
        copy_typed(
            db,
            "dirty_keys",
            ("key", "shard", "item"),
            ("bytea", "int4", "bytea"),
            ((key.encode(), shard, item) for key, shard, item in writes.inbox),
        )
