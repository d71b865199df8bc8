"""The log as a SQLite file beside the store: same topics, partitions and offsets as on Kafka, nothing to install.

A record's place is one integer, ``(topic number, partition, offset)`` packed, so that every partition is a contiguous
range of the table and appending writes at its end. ``synchronous=FULL``: a commit is on disk before a door answers.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Sequence
from pathlib import Path

import apsw

from edgeloop.clock import Clock, SystemClock
from edgeloop.errors import HomeError
from edgeloop.events import DEAD_LETTERS_TOPIC, STORED_TOPICS
from edgeloop.log.base import Chunk, Entry, LogUnavailableError, TopicPartition
from edgeloop.log.partitioner import murmur2_of
from edgeloop.sqlite import connect, transaction

SCHEMA_NUMBER = 1
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


class LocalLog:
    """A log in one file; any number of processes may append and read."""

    def __init__(self, path: Path, *, partitions: int = 4, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._lock = threading.Lock()
        try:
            self._db = connect(path, synchronous="FULL")
            with transaction(self._db):
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
                raise LogUnavailableError(f"the log did not take {len(entries)} records: {error}") from error

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
        self._db.executemany("INSERT INTO records VALUES (?, ?, ?, ?)", rows)
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
        return Chunk(topic, partition, offsets, appended, values)

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
                raise LogUnavailableError(f"the log did not take {len(dead_letter_ids)} notes: {error}") from error

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

    def close(self) -> None:
        with self._lock:
            self._db.close()
