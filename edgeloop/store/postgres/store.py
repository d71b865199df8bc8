"""The store as a PostgreSQL database: what a worker reads of its keys' state, and one transaction per batch."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from edgeloop.clock import to_us
from edgeloop.log.base import TopicPartition
from edgeloop.store.actions import Action, Answer, Notice
from edgeloop.store.base import StaleStateError, StoredOffset, heads_of
from edgeloop.store.gone_letters import counters_of
from edgeloop.store.postgres import actions as people
from edgeloop.store.postgres import ddl, migrations
from edgeloop.store.postgres.copying import stored_text
from edgeloop.store.postgres.moments import load_plain, moment
from edgeloop.store.postgres.session import ENGINE_SCHEMA, Address, Connection, Session
from edgeloop.store.postgres.writing import PostgresTransaction, put_meta
from edgeloop.store.rows import Bar, Check, Estimate, cells
from edgeloop.store.schema import BRIDGE, CHECKS, ESTIMATES, INSERT_COLUMNS, Row
from edgeloop.store.writes import Head

READER_ROLE = "edgeloop_reader"
IDLE_IN_TRANSACTION_S = 60
"""After so long a worker that stands still in a transaction loses it, and with it the shards that others wait for."""
_HEAD_FIELDS = Head.__struct_fields__
_LETTERS_AT_ONCE = 1_000


class PostgresStore:
    """A worker's connection; it belongs to one thread. Any call may raise `StoreUnavailableError`."""

    def __init__(
        self,
        url: str,
        *,
        reader_role: str = READER_ROLE,
        idle_in_transaction_s: float = IDLE_IN_TRANSACTION_S,
    ) -> None:
        """Open the database, and make the tables if it has none.

        Args:
            url: ``postgresql://user:password@host:port/database?sslmode=verify-full``.
            reader_role: the role that may read the tables; made if this user may make roles.
            idle_in_transaction_s: how long a transaction may stand still.

        Raises:
            HomeError: there is no such database for this user, or a newer version made its tables.
            StoreUnavailableError: the server does not answer.
        """
        self._address = Address(url)
        self._reader_role = reader_role
        settings = {
            "idle_in_transaction_session_timeout": str(round(idle_in_transaction_s * 1000)),
            "synchronous_commit": "on",
        }
        self._session = Session(self._address, settings, self._begin_session)
        self._aside = Session(self._address, settings)
        """What is committed at once in the middle of a claim."""
        self._claimed: dict[int, int] | None = None
        """shard → version, where a claim's transaction is open."""
        self._offsets_seen: dict[TopicPartition, int] | None = None
        """As they were read in the open transaction."""
        with self._session.connection():
            pass

    @property
    def name(self) -> str:
        """Its address, without the password."""
        return self._address.name

    def meta(self, name: str) -> str | None:
        """A remembered fact, e.g. the rules' fingerprint."""
        rows = self._rows(f"SELECT value FROM {ENGINE_SCHEMA}.meta WHERE name = %s", (name,))
        return str(rows[0][0]) if rows else None

    def set_meta(self, name: str, value: str) -> None:
        """Remember a fact."""
        with self._session.connection() as db:
            put_meta(db, name, value)

    def offsets(self) -> dict[TopicPartition, StoredOffset]:
        """How far the log is drained; in a transaction, the partitions it moves must be there still when it ends."""
        found = {
            (topic, partition): StoredOffset(*rest)
            for topic, partition, *rest in self._rows(
                "SELECT topic, partition, next_offset, cluster_id, topic_id, last_sha256 FROM offsets"
            )
        }
        if self._session.pinned:
            self._offsets_seen = {tp: stored.next_offset for tp, stored in found.items()}
        return found

    def new_batch(self) -> int:
        """A number that no other batch of this store has or had, higher than all before; never taken back."""
        ((number,),) = self._rows(f"SELECT nextval('{ENGINE_SCHEMA}.batches')")
        return int(number)

    def contexts(self) -> dict[int, bytes]:
        """number → packed context, of all known."""
        return dict(self._rows("SELECT number, packed FROM contexts"))

    def new_context(self, packed: bytes) -> int:
        """The number of a context; committed at once, inside a `claim` too."""
        session = self._aside if self._session.pinned else self._session
        with session.connection() as db:
            find = "SELECT number FROM contexts WHERE packed = %s"
            rows = db.execute(find, (packed,)).fetchall()
            if not rows:
                db.execute("INSERT INTO contexts(packed) VALUES (%s) ON CONFLICT DO NOTHING", (packed,))
                rows = db.execute(find, (packed,)).fetchall()
        return int(str(rows[0][0]))

    @contextmanager
    def claim(self, shards: Collection[int]) -> Iterator[int]:
        """Hold shards from here to the end of the `transaction` begun inside, or to the end of the block without one.

        Gives how long that took to get, in µs.
        """
        if self._session.pinned:
            raise RuntimeError("a transaction is open already")
        began = time.monotonic_ns()
        try:
            self._claimed = self._begin(shards)
            yield (time.monotonic_ns() - began) // 1_000
        finally:
            self._end()

    @contextmanager
    def transaction(self, versions: Mapping[int, int] | None = None) -> Iterator[PostgresTransaction]:
        """A transaction that holds the shards and raises their versions; commits unless an exception leaves it.

        Args:
            versions: shard → the version at which its state was read. Inside a `claim`, shards of it.

        Raises:
            StaleStateError: a shard has another version by now; nothing was written.
        """
        held = self._claimed
        if held is None and self._session.pinned:
            raise RuntimeError("a transaction is open already")
        try:
            if held is None:
                held = self._begin(versions or ())
            if versions:
                if not versions.keys() <= held.keys():
                    raise RuntimeError(f"shards {sorted(versions.keys() - held.keys())} were not claimed")
                stale = [shard for shard, version in versions.items() if held[shard] != version]
                if stale:
                    raise StaleStateError(f"shards {stale} were written by another worker meanwhile")
                with self._session.connection() as db:
                    db.execute("UPDATE shards SET version = version + 1 WHERE shard = ANY(%s)", (list(versions),))
            transaction = PostgresTransaction(self._session, lambda: self._offsets_seen)
            yield transaction
            transaction.finish()
            with self._session.connection() as db:
                db.execute("COMMIT")
            self._session.pinned = False
        finally:
            self._end()

    # What a batch reads: inside a claim, what is true until its end.

    def shard_versions(self) -> list[int]:
        """The version of each shard."""
        return [version for (version,) in self._rows("SELECT version FROM shards ORDER BY shard")]

    def heads(self, keys: Mapping[str, int]) -> dict[str, Head | int]:
        """Of each key (with its shard) the head, or the slot for a new one."""
        columns = ", ".join(_HEAD_FIELDS)

        def read(slots: list[int]) -> list[Head]:
            rows = self._rows(f"SELECT {columns} FROM state_heads WHERE slot = ANY(%s)", (slots,))
            return [Head(row[0], row[1].decode(), *row[2:]) for row in rows]

        return heads_of(keys, read)

    def page(self, rowid: int) -> bytes:
        """A sealed page of a key's state."""
        ((entries,),) = self._rows("SELECT entries FROM state_pages WHERE rowid = %s", (rowid,))
        return bytes(entries)

    def deltas(self, shards: Collection[int]) -> list[tuple[int, bytes]]:
        """(batch, packed) of what is not yet in the heads of these shards, oldest first."""
        return self._rows(
            "SELECT batch, packed FROM state_deltas WHERE shard = ANY(%s) ORDER BY rowid", (sorted(shards),)
        )

    def row(self, table: str, rowid: int) -> Row:
        """A stored row, in the order of ``INSERT_COLUMNS``; times are µs."""
        columns = ", ".join(f'"{name}"' for name in INSERT_COLUMNS[table])
        (row,) = self._rows(f"SELECT {columns} FROM {table} WHERE rowid = %s", (rowid,))
        return tuple(row)

    def waiting_shards(self, shards: Collection[int]) -> list[int]:
        """Those of these shards for whose couriers' keys something waits, ascending."""
        # One look into the index for each, not one at every row that waits.
        rows = self._rows(
            "SELECT s.shard FROM unnest(%s::int[]) AS s(shard)"
            " WHERE EXISTS (SELECT FROM dirty_keys AS d WHERE d.shard = s.shard) ORDER BY s.shard",
            (sorted(shards),),
        )
        return [shard for (shard,) in rows]

    def waiting(self, shards: Collection[int], limit: int) -> list[tuple[int, str, bytes]]:
        """(rowid, courier's key, packed) of what waits for couriers' keys in these shards: of some keys, all of it."""
        of_shards = sorted(shards)
        # Two statements, because the planner knows nothing of a table that fills and empties, and may join it badly.
        keys = [
            key
            for (key,) in self._rows(
                "SELECT DISTINCT key FROM dirty_keys WHERE shard = ANY(%s) LIMIT %s", (of_shards, limit)
            )
        ]
        rows = self._rows(
            "SELECT rowid, key, item FROM dirty_keys WHERE shard = ANY(%s) AND key = ANY(%s) ORDER BY rowid",
            (of_shards, keys),
        )
        return [(rowid, key.decode(), item) for rowid, key, item in rows]

    def outbox(self, shards: Collection[int], limit: int) -> list[tuple[int, str, bytes]]:
        """(rowid, key of the record, body) of updates of these shards that are not published yet, oldest first."""
        rows = self._rows(
            "SELECT rowid, key, body FROM outbox WHERE shard = ANY(%s) ORDER BY rowid LIMIT %s", (sorted(shards), limit)
        )
        return [(rowid, key.decode(), body) for rowid, key, body in rows]

    # What a pass over all keys reads and deletes.

    def keys_after(self, slot: int, limit: int) -> list[tuple[int, str]]:
        """(slot, key) of the next heads, by slot."""
        rows = self._rows("SELECT slot, key FROM state_heads WHERE slot > %s ORDER BY slot LIMIT %s", (slot, limit))
        return [(found, key.decode()) for found, key in rows]

    def count_keys(self, slot: int) -> tuple[int, int]:
        """How many heads there are up to a slot, and in all."""
        ((upto, everything),) = self._rows(
            "SELECT count(*) FILTER (WHERE slot <= %s), count(*) FROM state_heads", (slot,)
        )
        return upto, everything

    def has_slot(self, slot: int) -> bool:
        """Whether a head lies there."""
        return bool(self._rows("SELECT 1 FROM state_heads WHERE slot = %s", (slot,)))

    def index_superseded(self) -> None:
        """Make bodies that lost findable by key; only a prune looks for them."""
        with self._session.connection() as db:
            db.execute("CREATE INDEX IF NOT EXISTS superseded_key ON superseded(key)")

    def superseded(self, key: str) -> list[tuple[int, str, str]]:
        """(rowid, event type, event id) of a key's bodies that lost."""
        return self._rows("SELECT rowid, event_type, event_id FROM superseded WHERE key = %s", (stored_text(key),))

    def delete_dead_letters(self, before_us: int, stored_topics: Collection[str], timezone: str) -> int:
        """Delete some of those received before a time, in one short transaction; how many, 0 where none is left."""
        with self.transaction() as transaction, self._session.connection() as db:
            # What somebody else deletes now is theirs, and counted by them.
            gone: list[tuple[Any, ...]] = db.execute(
                "DELETE FROM dead_letters WHERE rowid = ANY(ARRAY(SELECT rowid FROM dead_letters"
                f" WHERE received_at < {moment(before_us)} ORDER BY rowid LIMIT %s FOR UPDATE SKIP LOCKED))"
                " RETURNING source, reason, received_at",
                (_LETTERS_AT_ONCE,),
            ).fetchall()
            letters = ((source, reason, to_us(received_at)) for source, reason, received_at in gone)
            transaction.count(counters_of(letters, stored_topics, timezone))
        return len(gone)

    def free_bytes(self) -> int:
        """Always 0: the database keeps house itself."""
        return 0

    def write_estimates(
        self, freeze_id: str, estimates: Sequence[Estimate], checks: Sequence[Check], bridge: Sequence[Bar] = ()
    ) -> None:
        """Keep what analysis found for a freeze, in place of what it found before for the same one."""
        with self.transaction(), self._session.connection() as db:
            # Two at once would each delete what was there before, and both leave theirs.
            db.execute(f"LOCK TABLE {ESTIMATES.name}, {CHECKS.name}, {BRIDGE.name} IN SHARE ROW EXCLUSIVE MODE")
            for table, found in ((ESTIMATES, estimates), (CHECKS, checks), (BRIDGE, bridge)):
                db.execute(f"DELETE FROM {table.name} WHERE freeze_id = %s", (freeze_id,))
                marks = ", ".join(["%s"] * len(table.columns))
                with db.cursor() as cursor:
                    cursor.executemany(f"INSERT INTO {table.name} VALUES ({marks})", [_cells(row) for row in found])

    def add_actions(self, actions: Sequence[Action], who: str) -> list[Action]:
        """Keep those that are not there yet, as proposed by ``who``; which these were."""
        with self.transaction(), self._session.connection() as db:
            return people.add(db, actions, who)

    def move_action(self, answer: Answer) -> Action:
        """Take an answer; the action after it."""
        with self.transaction(), self._session.connection() as db:
            return people.move(db, answer)

    def begin_notice(self, wanted: Notice) -> bool:
        """Note, before it is sent, that a notice is being sent; False where it must not be (again) now."""
        with self.transaction(), self._session.connection() as db:
            return people.begin_notice(db, wanted)

    def end_notice(self, ended: Notice) -> None:
        """Note that it was sent, or that it waits because it was refused."""
        with self.transaction(), self._session.connection() as db:
            people.end_notice(db, ended)

    def close(self) -> None:
        """Close the connection."""
        self._session.close()
        self._aside.close()

    def _begin_session(self, db: Connection) -> None:
        migrations.prepare(db, self.name, self._reader_role)
        db.execute(ddl.TEMPORARY)
        load_plain(db)

    def _begin(self, shards: Collection[int]) -> dict[int, int]:
        """Begin a transaction that holds shards; their versions."""
        with self._session.connection() as db:
            db.execute("BEGIN")
            self._session.pinned = True
            if not shards:
                return {}
            return dict(
                self._rows(
                    "SELECT shard, version FROM shards WHERE shard = ANY(%s) ORDER BY shard FOR UPDATE",
                    (sorted(shards),),
                )
            )

    def _end(self) -> None:
        """Roll back what was not committed."""
        self._claimed = self._offsets_seen = None
        if self._session.pinned:
            self._session.rollback()

    def _rows(self, sql: str, bindings: Sequence[object] = ()) -> list[Any]:
        with self._session.connection() as db, db.cursor(binary=True) as cursor:
            return cursor.execute(sql, bindings or None).fetchall()


def _cells(found: Estimate | Check | Bar) -> Row:
    """A row of what analysis found; NaN is no number here either, as in SQLite."""
    return tuple(None if cell != cell else cell for cell in cells(found))
