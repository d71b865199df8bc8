"""The store as a SQLite file: what a worker reads of its keys' state, and one transaction per batch."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw
import msgspec

from edgeloop.errors import HomeError
from edgeloop.log.base import TopicPartition
from edgeloop.sqlite import connect, free_bytes, transaction, wiping
from edgeloop.store import sqlite_actions
from edgeloop.store.actions import Action, Answer, Notice
from edgeloop.store.base import StaleStateError, StoredOffset, heads_of
from edgeloop.store.engine import prepare
from edgeloop.store.gone_letters import counters_of
from edgeloop.store.rows import Bar, Check, Estimate, cells
from edgeloop.store.schema import BRIDGE, CHECKS, DEAD_LETTERS, ESTIMATES, INSERT_COLUMNS, SUPERSEDED, Row, Table
from edgeloop.store.writes import Head, Writes

_CACHE_KIB = 64 << 10
_HEAD_FIELDS = Head.__struct_fields__
_LETTERS_AT_ONCE, _LETTERS_BYTES = 1_000, 8 << 20
"""Dead letters deleted in one transaction, for which other writers wait."""
_OUTBOX = """CREATE TABLE IF NOT EXISTS outbox(rowid INTEGER PRIMARY KEY AUTOINCREMENT, shard INTEGER NOT NULL,
  key TEXT NOT NULL, body BLOB NOT NULL)"""


class SqliteStore:
    """A worker's connection; other writers are short."""

    @property
    def name(self) -> str:
        """Its path."""
        return str(self.path)

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._db = connect(path, synchronous="NORMAL")
            self._db.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
            try:
                with transaction(self._db):
                    prepare(self._db, path)
            except BaseException:
                self._db.close()
                raise
        except apsw.Error as error:
            raise HomeError(
                f"cannot open the store {path}: {error}. Is the disk writable, and is this an Edgeloop store?"
            ) from error

    def meta(self, name: str) -> str | None:
        """A remembered fact, e.g. the rules' fingerprint."""
        rows = self._db.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchall()
        return str(rows[0][0]) if rows else None

    def set_meta(self, name: str, value: str) -> None:
        """Remember a fact."""
        with transaction(self._db):
            self._db.execute("INSERT INTO meta VALUES (?1, ?2) ON CONFLICT DO UPDATE SET value = ?2", (name, value))

    def offsets(self) -> dict[TopicPartition, StoredOffset]:
        """How far the log is drained."""
        return {
            (topic, partition): StoredOffset(*rest)
            for topic, partition, *rest in self._db.execute(
                "SELECT topic, partition, next_offset, cluster_id, topic_id, last_sha256 FROM offsets"
            )
        }

    def new_batch(self) -> int:
        """A number that no other batch of this store has or had, higher than all before."""
        with transaction(self._db):
            ((number,),) = self._db.execute(
                "INSERT INTO meta VALUES ('batch', '1') ON CONFLICT DO UPDATE SET value = value + 1 RETURNING value"
            )
        return int(number)

    def contexts(self) -> dict[int, bytes]:
        """number → packed context, of all known."""
        return {number: bytes(packed) for number, packed in self._db.execute("SELECT number, packed FROM contexts")}

    def new_context(self, packed: bytes) -> int:
        """The number of a context; remembered at once, so that a state that names it never lacks it."""
        with transaction(self._db):
            self._db.execute("INSERT INTO contexts(packed) VALUES (?) ON CONFLICT DO NOTHING", (packed,))
            ((number,),) = self._db.execute("SELECT number FROM contexts WHERE packed = ?", (packed,))
        return int(number)

    # What a batch reads. No transaction holds these together: `transaction` refuses what went stale meanwhile.

    def shard_versions(self) -> list[int]:
        """The version of each shard."""
        return [int(version) for (version,) in self._db.execute("SELECT version FROM shards ORDER BY shard")]

    def heads(self, keys: Mapping[str, int]) -> dict[str, Head | int]:
        """Of each key (with its shard) the head, or the slot for a new one."""
        columns = ", ".join(_HEAD_FIELDS)

        def read(slots: list[int]) -> list[Head]:
            rows = self._db.execute(
                f"SELECT {columns} FROM state_heads WHERE slot IN (SELECT value FROM json_each(?))",
                (msgspec.json.encode(slots).decode(),),
            )
            return [Head(*row) for row in rows]

        return heads_of(keys, read)

    def keys_after(self, slot: int, limit: int) -> list[tuple[int, str]]:
        """(slot, key) of the next heads, by slot."""
        return [
            (int(found), str(key))
            for found, key in self._db.execute(
                "SELECT slot, key FROM state_heads WHERE slot > ? ORDER BY slot LIMIT ?", (slot, limit)
            )
        ]

    def count_keys(self, slot: int) -> tuple[int, int]:
        """How many heads there are up to a slot, and in all."""
        ((upto, everything),) = self._db.execute(
            "SELECT coalesce(sum(slot <= ?), 0), count(*) FROM state_heads", (slot,)
        )
        return int(upto), int(everything)

    def has_slot(self, slot: int) -> bool:
        """Whether a head lies there."""
        return bool(self._db.execute("SELECT 1 FROM state_heads WHERE slot = ?", (slot,)).fetchall())

    def index_superseded(self) -> None:
        """Make bodies that lost findable by key; only a prune looks for them."""
        with transaction(self._db):
            self._db.execute("CREATE INDEX IF NOT EXISTS superseded_key ON superseded(key)")

    def superseded(self, key: str) -> list[tuple[int, str, str]]:
        """(rowid, event type, event id) of a key's bodies that lost."""
        rows = self._db.execute("SELECT rowid, event_type, event_id FROM superseded WHERE key = ?", (key,))
        return [(int(rowid), str(kind), str(event_id)) for rowid, kind, event_id in rows]

    def delete_dead_letters(self, before_us: int, stored_topics: Collection[str], timezone: str) -> int:
        """Delete some of those received before a time, in one short transaction; how many, 0 where none is left."""
        while rowids := self._letters_before(before_us):
            with self.transaction() as inner, wiping(self._db):
                # Somebody else may delete the same ones now: each is counted by the one who did.
                gone: list[tuple[Any, ...]] = self._db.execute(
                    "DELETE FROM dead_letters WHERE rowid IN (SELECT value FROM json_each(?))"
                    " RETURNING source, reason, received_at",
                    (str(rowids),),
                ).fetchall()
                inner.count(counters_of(gone, stored_topics, timezone))
            if gone:
                return len(gone)
        return 0

    def _letters_before(self, before_us: int) -> list[int]:
        """Some of those received before a time, outside any transaction: no other writer waits for the search."""
        size = 0
        rowids: list[int] = []
        for rowid, n in self._db.execute(
            "SELECT rowid, length(sealed) FROM dead_letters WHERE received_at < ? ORDER BY rowid LIMIT ?",
            (before_us, _LETTERS_AT_ONCE),
        ):
            rowids.append(rowid)
            size += n
            if size >= _LETTERS_BYTES:
                break
        return rowids

    def free_bytes(self) -> int:
        """How much of the file is free for new rows."""
        return free_bytes(self._db)

    def page(self, rowid: int) -> bytes:
        """A sealed page of a key's state."""
        ((entries,),) = self._db.execute("SELECT entries FROM state_pages WHERE rowid = ?", (rowid,))
        return bytes(entries)

    def deltas(self, shards: Collection[int]) -> list[tuple[int, bytes]]:
        """(batch, packed) of what is not yet in the heads of these shards, oldest first."""
        rows = self._db.execute(
            "SELECT batch, packed FROM state_deltas WHERE shard IN (SELECT value FROM json_each(?)) ORDER BY rowid",
            (msgspec.json.encode(sorted(shards)).decode(),),
        )
        return [(int(batch), bytes(packed)) for batch, packed in rows]

    def row(self, table: str, rowid: int) -> Row:
        """A stored row, in the order of ``INSERT_COLUMNS``."""
        columns = ", ".join(f'"{name}"' for name in INSERT_COLUMNS[table])
        (row,) = self._db.execute(f"SELECT {columns} FROM {table} WHERE rowid = ?", (rowid,))
        return tuple(row)

    def waiting_shards(self, shards: Collection[int]) -> list[int]:
        """Those of these shards for whose couriers' keys something waits, ascending."""
        of_shards = msgspec.json.encode(sorted(shards)).decode()
        rows = self._db.execute(
            "SELECT DISTINCT shard FROM dirty_keys WHERE shard IN (SELECT value FROM json_each(?)) ORDER BY shard",
            (of_shards,),
        )
        return [int(shard) for (shard,) in rows]

    def waiting(self, shards: Collection[int], limit: int) -> list[tuple[int, str, bytes]]:
        """(rowid, courier's key, packed) of what waits for couriers' keys in these shards: of some keys, all of it."""
        of_shards = msgspec.json.encode(sorted(shards)).decode()
        rows = self._db.execute(
            "SELECT rowid, key, item FROM dirty_keys WHERE key IN (SELECT DISTINCT key FROM dirty_keys"
            " WHERE shard IN (SELECT value FROM json_each(?)) LIMIT ?) ORDER BY rowid",
            (of_shards, limit),
        )
        return [(int(rowid), str(key), bytes(item)) for rowid, key, item in rows]

    def outbox(self, shards: Collection[int], limit: int) -> list[tuple[int, str, bytes]]:
        """(rowid, key of the record, body) of updates of these shards that are not published yet, oldest first."""
        if not self._db.execute("SELECT 1 FROM sqlite_schema WHERE name = 'outbox'").fetchall():
            return []
        rows = self._db.execute(
            "SELECT rowid, key, body FROM outbox WHERE shard IN (SELECT value FROM json_each(?))"
            " ORDER BY rowid LIMIT ?",
            (msgspec.json.encode(sorted(shards)).decode(), limit),
        )
        return [(int(rowid), str(key), bytes(body)) for rowid, key, body in rows]

    @contextmanager
    def claim(self, _shards: Collection[int]) -> Iterator[int]:
        """Nothing is held: one file has one writer at a time, which would have to wait for all that is computed."""
        yield 0

    @contextmanager
    def transaction(self, versions: Mapping[int, int] | None = None) -> Iterator[SqliteTransaction]:
        """A transaction that holds the shards and raises their versions; commits unless an exception leaves it.

        Args:
            versions: shard → the version at which its state was read.

        Raises:
            StaleStateError: a shard has another version by now; nothing was written.
        """
        with transaction(self._db):
            if versions:
                now = self.shard_versions()
                stale = [shard for shard, version in versions.items() if now[shard] != version]
                if stale:
                    raise StaleStateError(f"shards {stale} were written by another worker meanwhile")
                self._db.executemany(
                    "UPDATE shards SET version = version + 1 WHERE shard = ?", [(shard,) for shard in sorted(versions)]
                )
            yield SqliteTransaction(self._db)

    def write_estimates(
        self, freeze_id: str, estimates: Sequence[Estimate], checks: Sequence[Check], bridge: Sequence[Bar] = ()
    ) -> None:
        """Keep what analysis found for a freeze, in place of what it found before for the same one."""
        with transaction(self._db):
            for table, rows in ((ESTIMATES, estimates), (CHECKS, checks), (BRIDGE, bridge)):
                self._db.execute(f"DELETE FROM {table.name} WHERE freeze_id = ?", (freeze_id,))
                marks = ", ".join("?" * len(table.columns))
                self._db.executemany(f"INSERT INTO {table.name} VALUES ({marks})", [cells(r) for r in rows])

    def add_actions(self, actions: Sequence[Action], who: str) -> list[Action]:
        """Keep those that are not there yet, as proposed by ``who``; which these were."""
        with transaction(self._db):
            return sqlite_actions.add(self._db, actions, who)

    def move_action(self, answer: Answer) -> Action:
        """Take an answer; the action after it."""
        with transaction(self._db):
            return sqlite_actions.move(self._db, answer)

    def begin_notice(self, wanted: Notice) -> bool:
        """Note, before it is sent, that a notice is being sent; False where it must not be (again) now."""
        with transaction(self._db):
            return sqlite_actions.begin_notice(self._db, wanted)

    def end_notice(self, ended: Notice) -> None:
        """Note that it was sent, or that it waits because it was refused."""
        with transaction(self._db):
            sqlite_actions.end_notice(self._db, ended)

    def close(self) -> None:
        """Close the connection."""
        self._db.close()


class SqliteTransaction:
    """What a batch writes under its locks."""

    def __init__(self, db: apsw.Connection) -> None:
        self._db = db

    def apply(self, writes: Writes, identities: Mapping[str, tuple[str, str]]) -> None:
        """Write everything; ``identities`` gives (cluster id, topic id) of each topic."""
        for table, ranges in writes.deleted.items():
            self._db.executemany(f"DELETE FROM {table} WHERE rowid BETWEEN ? AND ?", ranges)
        for table in writes.inserted:
            self._db.executemany(_insert(table), writes.stored_rows(table))
        for table, rows in writes.replaced.items():
            self._db.executemany(
                _insert(table).replace("INSERT", "INSERT OR REPLACE", 1),
                [(rowid, *row) for rowid, row in rows.items()],
            )
        self._append(SUPERSEDED, writes.superseded)
        self._append(DEAD_LETTERS, writes.dead_letters, " ON CONFLICT DO NOTHING")
        self._write_state(writes)
        self._db.executemany(
            "INSERT INTO offsets VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT(topic, partition) DO UPDATE SET"
            " next_offset = ?3, duplicates = duplicates + ?4, cluster_id = ?5, topic_id = ?6, last_sha256 = ?7",
            [
                (*tp, offset, writes.duplicates.get(tp, 0), *identities[tp[0]], writes.last_sha256.get(tp))
                for tp, offset in writes.next_offsets.items()
            ],
        )
        self.count(writes.counters)

    def set_meta(self, name: str, value: str) -> None:
        """Remember a fact."""
        self._db.execute("INSERT INTO meta VALUES (?1, ?2) ON CONFLICT DO UPDATE SET value = ?2", (name, value))

    def drop_superseded_index(self) -> None:
        """The inverse of `SqliteStore.index_superseded`."""
        self._db.execute("DROP INDEX IF EXISTS superseded_key")

    def drop_meta(self, name: str) -> None:
        """Forget a fact."""
        self._db.execute("DELETE FROM meta WHERE name = ?", (name,))

    def count(self, counters: Mapping[tuple[str, str], int]) -> None:
        """Raise counters by so much."""
        self._db.executemany(
            "INSERT INTO counters VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET value = value + ?3",
            [(name, label, value) for (name, label), value in counters.items() if value],
        )

    def set_counter(self, name: str, value: int) -> None:
        """Put a counter that tells a moment, not a number of things."""
        self._db.execute("INSERT INTO counters VALUES (?1, '', ?2) ON CONFLICT DO UPDATE SET value = ?2", (name, value))

    def _write_state(self, writes: Writes) -> None:
        if writes.heads:
            marks = ", ".join("?" * len(_HEAD_FIELDS))
            update = ", ".join(f"{name} = excluded.{name}" for name in _HEAD_FIELDS[2:])
            self._db.executemany(
                f"INSERT INTO state_heads VALUES ({marks}) ON CONFLICT(slot) DO UPDATE SET {update}",
                # In the order of the file, so that a page is written once.
                [msgspec.structs.astuple(head) for head in sorted(writes.heads, key=lambda head: head.slot)],
            )
        self._db.executemany("DELETE FROM state_deltas WHERE shard = ?", [(shard,) for shard in writes.settled])
        self._db.executemany(
            "INSERT INTO state_deltas VALUES (?, ?, ?)",
            [(shard, writes.batch, packed) for shard, packed in writes.deltas],
        )
        if writes.updates:
            # Made at first use: most never publish, and an older version that opens this file does not miss it.
            self._db.execute(_OUTBOX)
            self._db.executemany("INSERT INTO outbox(shard, key, body) VALUES (?, ?, ?)", writes.updates)
        if writes.published:
            self._db.executemany("DELETE FROM outbox WHERE rowid = ?", [(rowid,) for rowid in writes.published])
        self._db.executemany("DELETE FROM dirty_keys WHERE rowid = ?", [(rowid,) for rowid in writes.worked_off])
        self._db.executemany("INSERT INTO dirty_keys VALUES (?, ?, ?)", writes.inbox)

    def _append(self, table: Table, rows: Iterable[Row], suffix: str = "") -> None:
        marks = ", ".join("?" * len(table.columns))
        self._db.executemany(f"INSERT INTO {table.name} VALUES ({marks}){suffix}", rows)


def _insert(table: str) -> str:
    names: Sequence[Any] = INSERT_COLUMNS[table]
    columns = ", ".join(f'"{name}"' for name in names)
    return f"INSERT INTO {table}(rowid, {columns}) VALUES ({', '.join('?' * (len(names) + 1))})"
