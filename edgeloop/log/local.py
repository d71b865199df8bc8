"""The log as a SQLite file beside the store: same topics, partitions and offsets as on Kafka, nothing to install.

A record's place is one integer, ``(topic number, partition, offset)`` packed, so that every partition is a contiguous
range of the table and appending writes at its end. ``synchronous=FULL``: a commit is on disk before a door answers.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Sequence
from contextlib import nullcontext
from functools import lru_cache
from itertools import chain
from pathlib import Path

import apsw
import msgspec

from edgeloop.clock import Clock, SystemClock
from edgeloop.errors import HomeError
from edgeloop.events import DEAD_LETTERS_TOPIC, STORED_TOPICS
from edgeloop.horizon import Horizon
from edgeloop.log.base import Chunk, Entry, LogUnavailableError, TopicPartition
from edgeloop.log.partitioner import murmur2_of
from edgeloop.sqlite import connect, connect_read_only, free_bytes, transaction, wiping

SCHEMA_NUMBER = 1
_HORIZON = "horizon"
_HORIZON_AGE_S = 1.0
"""For so long a horizon that was read is believed: another process may move it."""
_TRIMMED_AT_ONCE = 20_000
"""Records deleted in one transaction, for which every door waits."""
_ROWS_AT_ONCE = 500
"""In one statement. Between two steps of a statement other threads run, and beside a door that is busy each step waits
up to 5 ms for its turn: row by row an append took twice the time."""
_OFFSET_BITS = 40
_PARTITION_BITS = 12

_SCHEMA = """
CREATE TABLE meta(name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE topics(
  number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, topic_id TEXT NOT NULL, partitions INTEGER NOT NULL);
CREATE TABLE ends(place INTEGER PRIMARY KEY, next_offset INTEGER NOT NULL);
CREATE TABLE records(
  place INTEGER PRIMARY KEY, appended_us INTEGER NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL);
"""


def _place(topic: int, part: int, offset: int = 0) -> int:
    return ((topic << _PARTITION_BITS | part) << _OFFSET_BITS) + offset


@lru_cache(maxsize=_ROWS_AT_ONCE)
def _insert(rows: int) -> str:
    return "INSERT INTO records VALUES " + ",".join(["(?,?,?,?)"] * rows)


class LocalLog:
    """A log in one file; any number of processes may append and read."""

    def __init__(self, path: Path, *, partitions: int = 4, clock: Clock | None = None, read_only: bool = False) -> None:
        self._path = path
        self._clock = clock or SystemClock()
        self._lock = threading.Lock()
        self._horizon: tuple[float, Horizon | None] | None = None
        try:
            self._db = connect_read_only(path) if read_only else connect(path, synchronous="FULL")
            if not read_only and self._db.readonly("main"):  # what may not be written is opened for reading, silently
                raise apsw.ReadOnlyError("it may only be read")
            with nullcontext() if read_only else transaction(self._db):
                self._prepare(path, partitions)
        except apsw.Error as error:
            raise HomeError(
                f"cannot open the log {path}: {error}. Is the disk writable, and is this an Edgeloop log?"
            ) from error
        self._topics: dict[str, tuple[int, int]] = {
            name: (number, count)
            for name, number, count in self._db.execute("SELECT name, number, partitions FROM topics")
        }
        self._names = {number: name for name, (number, _) in self._topics.items()}
        ((cluster_id,),) = self._db.execute("SELECT value FROM meta WHERE name = 'cluster_id'")
        self._cluster_id = str(cluster_id)

    def _prepare(self, path: Path, partitions: int) -> None:
        found = self._db.pragma("user_version")
        if found == SCHEMA_NUMBER:
            return
        if found != 0:
            raise HomeError(
                f"{path} has log schema {found}, this version of Edgeloop knows {SCHEMA_NUMBER}: install a newer one"
            )
        self._db.execute(_SCHEMA)
        self._db.execute("INSERT INTO meta VALUES ('cluster_id', ?)", ("local-" + uuid.uuid4().hex,))
        for number, name in enumerate((*STORED_TOPICS, DEAD_LETTERS_TOPIC), start=1):
            self._db.execute("INSERT INTO topics VALUES (?, ?, ?, ?)", (number, name, uuid.uuid4().hex, partitions))
        self._db.pragma("user_version", SCHEMA_NUMBER)

    @property
    def cluster_id(self) -> str:
        return self._cluster_id

    def topic_ids(self) -> dict[str, str]:
        """Identity of each topic; a topic made anew has another."""
        with self._lock:
            return dict(self._db.execute("SELECT name, topic_id FROM topics"))

    def append(self, entries: Sequence[Entry]) -> None:
        if not entries:
            return
        now = self._clock.now_us()
        with self._lock:
            try:
                with transaction(self._db):
                    self._append(entries, now)
            except apsw.Error as error:
                raise LogUnavailableError(f"{self._path} did not take {len(entries)} records: {error}") from error

    def _append(self, entries: Sequence[Entry], now: int) -> None:
        ends: dict[int, int] = dict(self._db.execute("SELECT place, next_offset FROM ends"))
        rows = []
        hashes = murmur2_of([entry.key for entry in entries])
        for entry, key_hash in zip(entries, hashes, strict=True):
            number, count = self._topics[entry.topic]
            place = _place(number, key_hash % count)
            offset = ends.get(place, 0)
            ends[place] = offset + 1
            rows.append((place + offset, now, entry.key, entry.value))
        for begin in range(0, len(rows), _ROWS_AT_ONCE):
            some = rows[begin : begin + _ROWS_AT_ONCE]
            self._db.execute(_insert(len(some)), list(chain.from_iterable(some)))
        self._db.executemany(
            "INSERT INTO ends VALUES (?1, ?2) ON CONFLICT DO UPDATE SET next_offset = ?2", ends.items()
        )

    def read(self, topic: str, partition: int, offset: int, max_records: int, max_bytes: int) -> Chunk:
        number, _ = self._topics[topic]
        start = _place(number, partition)
        offsets: list[int] = []
        appended: list[int] = []
        values: list[bytes] = []
        size = 0
        with self._lock:
            for place, appended_us, value in self._db.execute(
                "SELECT place, appended_us, value FROM records WHERE place >= ? AND place < ? ORDER BY place LIMIT ?",
                (start + offset, _place(number, partition + 1), max_records),
            ):
                offsets.append(place - start)
                appended.append(appended_us)
                values.append(value)
                size += len(value)
                if size >= max_bytes:
                    break
        return Chunk(
            topic=topic,
            partition=partition,
            start=offset,
            next_offset=offsets[-1] + 1 if offsets else offset,
            offsets=offsets,
            appended_us=appended,
            values=values,
        )

    def keys(self, topic: str, partition: int, offsets: Sequence[int]) -> list[str]:
        """The join keys of records, in ascending order of their offsets; what is not there is left out."""
        if not offsets:
            return []
        number, _ = self._topics[topic]
        start = _place(number, partition)
        with self._lock:
            rows = self._db.execute(
                "SELECT key FROM records WHERE place IN (SELECT value FROM json_each(?)) ORDER BY place",
                (str([start + offset for offset in sorted(offsets)]),),
            )
            return [str(key) for (key,) in rows]

    def note_replayed(self, dead_letter_ids: Sequence[str], outcome: str) -> None:
        """Remember that these dead letters were replayed now; nothing of it is ever changed or taken back.

        Raises:
            LogUnavailableError: nothing was noted.
        """
        if not dead_letter_ids:
            return
        now = self._clock.now_us()
        with self._lock:
            try:
                with transaction(self._db):
                    # Made at first use: an older version that opens this file does not miss it.
                    self._db.execute(
                        "CREATE TABLE IF NOT EXISTS replays("
                        "dead_letter_id TEXT NOT NULL, replayed_us INTEGER NOT NULL, outcome TEXT NOT NULL)"
                    )
                    self._db.executemany(
                        "INSERT INTO replays VALUES (?, ?, ?)", [(name, now, outcome) for name in dead_letter_ids]
                    )
            except apsw.Error as error:
                raise LogUnavailableError(f"{self._path} did not take {len(dead_letter_ids)} notes: {error}") from error

    def replayed(self, outcome: str) -> dict[str, int]:
        """dead_letter_id → when it was last replayed with this outcome, in µs."""
        with self._lock:
            if not self._db.execute("SELECT 1 FROM sqlite_schema WHERE name = 'replays'").fetchall():
                return {}
            return dict(
                self._db.execute(
                    "SELECT dead_letter_id, max(replayed_us) FROM replays WHERE outcome = ? GROUP BY 1", (outcome,)
                )
            )

    def partitions(self, topic: str) -> int:
        return self._topics[topic][1]

    def end_offsets(self) -> dict[TopicPartition, int]:
        with self._lock:
            ends: dict[int, int] = dict(self._db.execute("SELECT place, next_offset FROM ends"))
        return {
            (name, part): ends.get(_place(number, part), 0)
            for name, (number, count) in self._topics.items()
            for part in range(count)
        }

    def horizon(self) -> Horizon | None:
        """How far the home was pruned; at most a second old."""
        now = time.monotonic()
        known = self._horizon
        if known is None or now - known[0] > _HORIZON_AGE_S:
            with self._lock:
                rows = self._db.execute("SELECT value FROM meta WHERE name = ?", (_HORIZON,)).fetchall()
            known = self._horizon = (now, msgspec.json.decode(str(rows[0][0]), type=Horizon) if rows else None)
        return known[1]

    def horizon_us(self) -> int | None:
        """The month's start up to which the home was pruned, in µs."""
        horizon = self.horizon()
        return None if horizon is None else horizon.us

    def set_horizon(self, horizon: Horizon) -> None:
        """Refuse what happened before, from now on; other processes do so within a second."""
        with self._lock, transaction(self._db):
            self._db.execute(
                "INSERT INTO meta VALUES (?1, ?2) ON CONFLICT DO UPDATE SET value = ?2",
                (_HORIZON, msgspec.json.encode(horizon).decode()),
            )
            self._horizon = None

    def offset_at(self, topic: str, partition: int, appended_us: int) -> int:
        """The offset of the first record that was appended at or after a time; the end where none was."""
        number, _ = self._topics[topic]
        start = _place(number, partition)
        with self._lock:
            for (place,) in self._db.execute(
                "SELECT place FROM records WHERE place >= ? AND place < ? AND appended_us >= ? ORDER BY place LIMIT 1",
                (start, _place(number, partition + 1), appended_us),
            ):
                return int(place) - start
        return self.end_offsets()[topic, partition]

    def trim(self, topic: str, partition: int, before_offset: int) -> int:
        """Delete the records before an offset; how many there were. No other record's offset changes."""
        number, _ = self._topics[topic]
        start = _place(number, partition)
        deleted = 0
        while True:
            with self._lock, transaction(self._db):
                self._db.execute(
                    "DELETE FROM records WHERE place IN"
                    " (SELECT place FROM records WHERE place >= ? AND place < ? ORDER BY place LIMIT ?)",
                    (start, start + before_offset, _TRIMMED_AT_ONCE),
                )
                n = self._db.changes()
            deleted += n
            if n < _TRIMMED_AT_ONCE:
                return deleted

    def drop(self, topic: str, partition: int, offsets: Sequence[int]) -> None:
        """Delete single records; nothing of them stays in the file."""
        number, _ = self._topics[topic]
        start = _place(number, partition)
        with self._lock, transaction(self._db), wiping(self._db):
            self._db.executemany("DELETE FROM records WHERE place = ?", [(start + offset,) for offset in offsets])

    def free_bytes(self) -> int:
        """How much of the file is free for new records."""
        with self._lock:
            return free_bytes(self._db)

    def start_offsets(self) -> dict[TopicPartition, int]:
        """The offset of the first record that is still there, of every partition; its end where none is."""
        found = self.end_offsets()
        with self._lock:
            for name, part in found:
                number, _ = self._topics[name]
                start = _place(number, part)
                for (place,) in self._db.execute(
                    "SELECT place FROM records WHERE place >= ? AND place < ? ORDER BY place LIMIT 1",
                    (start, _place(number, part + 1)),
                ):
                    found[name, part] = place - start
        return found

    def close(self) -> None:
        with self._lock:
            self._db.close()
