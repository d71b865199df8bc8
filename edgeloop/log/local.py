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
from edgeloop.log.base import Entry, LogUnavailableError, Record, TopicPartition
from edgeloop.log.partitioner import partition
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
        for entry in entries:
            number, count = self._topics[entry.topic]
            place = _place(number, partition(entry.key, count))
            offset = ends.get(place, 0)
            ends[place] = offset + 1
            rows.append((place + offset, now, entry.key, entry.value))
        self._db.executemany("INSERT INTO records VALUES (?, ?, ?, ?)", rows)
        self._db.executemany(
            "INSERT INTO ends VALUES (?1, ?2) ON CONFLICT DO UPDATE SET next_offset = ?2", ends.items()
        )

    def read(self, topic: str, partition: int, offset: int, max_records: int, max_bytes: int) -> list[Record]:
        number, _ = self._topics[topic]
        start = _place(number, partition)
        records: list[Record] = []
        size = 0
        with self._lock:
            for place, appended_us, key, value in self._db.execute(
                "SELECT place, appended_us, key, value FROM records WHERE place >= ? AND place < ?"
                " ORDER BY place LIMIT ?",
                (start + offset, _place(number, partition + 1), max_records),
            ):
                records.append(Record(topic, partition, place - start, appended_us, key.encode(), value))
                size += len(value)
                if size >= max_bytes:
                    break
        return records

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
