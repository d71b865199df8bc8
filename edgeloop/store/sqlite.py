"""The live store in one SQLite file: append-only tables by rowid, one packed state row per key and time bucket.

Everything a batch writes, its offsets included, is one transaction, so a crash anywhere leaves either all or nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw
import msgspec

from edgeloop.errors import HomeError
from edgeloop.log.base import TopicPartition
from edgeloop.log.partitioner import SHARDS, shard
from edgeloop.sqlite import connect, connect_read_only, transaction
from edgeloop.store.rows import Check, Estimate
from edgeloop.store.schema import (
    CHECKS,
    DEAD_LETTERS,
    ESTIMATES,
    SCHEMA_NUMBER,
    SUPERSEDED,
    TABLES,
    Cell,
    Kind,
    Row,
    Table,
)
from edgeloop.store.views import VIEWS
from edgeloop.store.writes import Writes

_TYPES: dict[Kind, str] = {
    "text": "TEXT",
    "int": "INTEGER",
    "real": "REAL",
    "bool": "INTEGER",
    "time": "INTEGER",
    "json": "TEXT",
    "blob": "BLOB",
}
# The engine's own tables. `state` is clustered by key, because a batch reads and writes whole keys.
_ENGINE = f"""
CREATE TABLE meta(name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE shards(shard INTEGER PRIMARY KEY, version INTEGER NOT NULL);
WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < {SHARDS - 1})
  INSERT INTO shards SELECT i, 0 FROM n;
CREATE TABLE state(key TEXT NOT NULL, bucket INTEGER NOT NULL, packed BLOB NOT NULL, PRIMARY KEY(key, bucket))
  WITHOUT ROWID;
CREATE TABLE dirty_keys(key TEXT NOT NULL, shard INTEGER NOT NULL, item BLOB NOT NULL);
"""
_KEYS: dict[str, str] = {
    "offsets": "CREATE UNIQUE INDEX offsets_key ON offsets(topic, partition)",
    "dead_letters": "CREATE UNIQUE INDEX dead_letters_key ON dead_letters(dead_letter_id)",
}


def _ddl(table: Table) -> str:
    columns = ", ".join(f'"{c.name}" {_TYPES[c.kind]}' for c in table.columns)
    return f"CREATE TABLE {table.name}({columns})"


class StoredOffset(msgspec.Struct, frozen=True):
    """How far one partition is drained."""

    next_offset: int
    cluster_id: str
    topic_id: str


class SqliteStore:
    """A writer's connection. One process drains at a time; other writers are short."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._db = connect(path, synchronous="NORMAL")
            with transaction(self._db):
                self._prepare()
        except apsw.Error as error:
            raise HomeError(
                f"cannot open the store {path}: {error}. Is the disk writable, and is this an Edgeloop store?"
            ) from error

    def _prepare(self) -> None:
        found = self._db.pragma("user_version")
        if found == SCHEMA_NUMBER:
            return
        if found != 0:
            raise HomeError(
                f"{self.path} has store schema {found}, this version of Edgeloop knows {SCHEMA_NUMBER}: "
                "install a newer one"
            )
        self._db.execute(_ENGINE)
        for table in TABLES:
            self._db.execute(_ddl(table))
            if table.name in _KEYS:
                self._db.execute(_KEYS[table.name])
        for view in VIEWS:
            self._db.execute(f"CREATE VIEW {view.name} AS {view.sql}")
        self._db.pragma("user_version", SCHEMA_NUMBER)

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
            (topic, partition): StoredOffset(next_offset, cluster_id, topic_id)
            for topic, partition, next_offset, cluster_id, topic_id in self._db.execute(
                "SELECT topic, partition, next_offset, cluster_id, topic_id FROM offsets"
            )
        }

    def dirty_keys(self, limit: int) -> list[str]:
        """Couriers' keys with something waiting, the longest waiting first."""
        rows = self._db.execute("SELECT key FROM dirty_keys GROUP BY key ORDER BY min(rowid) LIMIT ?", (limit,))
        return [str(key) for (key,) in rows]

    @contextmanager
    def transaction(self, keys: Collection[str]) -> Iterator[StoreTransaction]:
        """A transaction that holds the shards of these join keys; commits unless an exception leaves it."""
        with transaction(self._db):
            shards = sorted({shard(key) for key in keys})
            self._db.executemany("UPDATE shards SET version = version + 1 WHERE shard = ?", [(s,) for s in shards])
            yield StoreTransaction(self._db)

    def write_estimates(self, freeze_id: str, estimates: Sequence[Estimate], checks: Sequence[Check]) -> None:
        """Keep what analysis found for a freeze, in place of what it found before for the same one."""
        with transaction(self._db):
            for table, rows in ((ESTIMATES, estimates), (CHECKS, checks)):
                self._db.execute(f"DELETE FROM {table.name} WHERE freeze_id = ?", (freeze_id,))
                marks = ", ".join("?" * len(table.columns))
                self._db.executemany(
                    f"INSERT INTO {table.name} VALUES ({marks})", [msgspec.structs.astuple(r) for r in rows]
                )

    def close(self) -> None:
        """Close the connection."""
        self._db.close()


class StoreTransaction:
    """What a batch reads and writes under its locks."""

    def __init__(self, db: apsw.Connection) -> None:
        self._db = db

    def states(self, keys: Iterable[str]) -> dict[str, list[tuple[int, bytes]]]:
        """(bucket, packed) of each key that has any."""
        found: dict[str, list[tuple[int, bytes]]] = {}
        wanted = msgspec.json.encode(sorted(keys)).decode()
        for key, bucket, packed in self._db.execute(
            "SELECT key, bucket, packed FROM state WHERE key IN (SELECT value FROM json_each(?))", (wanted,)
        ):
            found.setdefault(key, []).append((bucket, packed))
        return found

    def inbox(self, keys: Iterable[str]) -> list[tuple[str, bytes]]:
        """Take everything that waits for these keys out of the inbox, oldest first."""
        wanted = msgspec.json.encode(sorted(keys)).decode()
        items = [
            (str(key), bytes(item))
            for key, item in self._db.execute(
                "SELECT key, item FROM dirty_keys WHERE key IN (SELECT value FROM json_each(?)) ORDER BY rowid",
                (wanted,),
            )
        ]
        self._db.execute("DELETE FROM dirty_keys WHERE key IN (SELECT value FROM json_each(?))", (wanted,))
        return items

    def writes(self) -> Writes:
        """An empty set of writes that knows the next rowids."""
        next_rowids: dict[str, int] = {}
        for table in TABLES:
            ((highest,),) = self._db.execute(f"SELECT coalesce(max(rowid), 0) FROM {table.name}")
            next_rowids[table.name] = highest + 1
        return Writes(next_rowids)

    def apply(self, writes: Writes, identities: Mapping[str, tuple[str, str]]) -> None:
        """Write everything; ``identities`` gives (cluster id, topic id) of each topic."""
        for name, rowids in writes.deleted.items():
            self._db.executemany(f"DELETE FROM {name} WHERE rowid = ?", [(r,) for r in rowids])
        for name, rows in writes.rows.items():
            if rows:
                width = len(next(iter(rows.values())))
                columns = ", ".join(f'"{c}"' for c in _NAMES[name])
                marks = ", ".join("?" * (width + 1))
                self._db.executemany(
                    f"INSERT OR REPLACE INTO {name}(rowid, {columns}) VALUES ({marks})",
                    [(rowid, *row) for rowid, row in rows.items()],
                )
        self._insert(SUPERSEDED, writes.superseded)
        self._insert(DEAD_LETTERS, writes.dead_letters, " ON CONFLICT DO NOTHING")
        self._db.executemany(
            "INSERT INTO state VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET packed = ?3",
            [item for item in writes.state if item[2] is not None],
        )
        self._db.executemany(
            "DELETE FROM state WHERE key = ? AND bucket = ?", [item[:2] for item in writes.state if item[2] is None]
        )
        self._db.executemany(
            "INSERT INTO dirty_keys VALUES (?, ?, ?)", [(key, shard(key), item) for key, item in writes.inbox]
        )
        self._db.executemany(
            "INSERT INTO offsets VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT(topic, partition)"
            " DO UPDATE SET next_offset = ?3, duplicates = duplicates + ?4, cluster_id = ?5, topic_id = ?6",
            [
                (topic, partition, offset, writes.duplicates.get((topic, partition), 0), *identities[topic])
                for (topic, partition), offset in writes.next_offsets.items()
            ],
        )

    def _insert(self, table: Table, rows: Sequence[Row], suffix: str = "") -> None:
        marks = ", ".join("?" * len(table.columns))
        self._db.executemany(f"INSERT INTO {table.name} VALUES ({marks}){suffix}", rows)


_NAMES = {table.name: table.names for table in TABLES}


class Reader:
    """A read-only connection for analysts, freezes and status pages."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            raise HomeError(f"there is no store at {path} yet: run `edgeloop process` first")
        self._db = connect_read_only(path)

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Everything read inside sees the store as of one moment."""
        self._db.execute("BEGIN")
        try:
            yield
        finally:
            self._db.execute("COMMIT")

    def query(self, sql: str, bindings: Sequence[Cell] = ()) -> tuple[list[str], list[tuple[Any, ...]]]:
        """Column names and rows of one statement.

        Raises:
            apsw.SQLError: the statement is wrong. apsw.ReadOnlyError: it would write.
        """
        names: list[str] = []

        def note_names(cursor: apsw.Cursor, _sql: str, _bindings: object) -> bool:
            names[:] = [column[0] for column in cursor.get_description()]
            return True

        cursor = self._db.cursor()
        cursor.exec_trace = note_names  # the only place where a statement without rows still tells its columns
        rows = cursor.execute(sql, bindings).fetchall()
        return names, rows

    def close(self) -> None:
        """Close the connection."""
        self._db.close()
