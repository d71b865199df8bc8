"""Stand-ins for tests of one part alone."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from functools import partial

from edgeloop.clock import to_us
from edgeloop.events import Event, decode
from edgeloop.log.base import Chunk, Entry, LogUnavailableError, TopicPartition

gzipped = partial(gzip.compress, mtime=0)
"""Without the time: it would be in the names of tests, which must be the same in every process."""


class FixedClock:
    """A clock that stands still where it is put."""

    def __init__(self, now_us: int) -> None:
        self.now = now_us

    def now_us(self) -> int:
        return self.now


class MemoryLog:
    """A log in memory, which can be made to refuse."""

    cluster_id = "memory"

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.appends = 0
        self.broken = False

    def append(self, entries: Sequence[Entry]) -> None:
        if self.broken:
            raise LogUnavailableError("disk full")
        self.appends += 1
        self.entries.extend(entries)

    def events(self) -> list[Event]:
        return [decode(e.value) for e in self.entries if e.topic != "dead.letters"]

    def topic_ids(self) -> dict[str, str]:
        return {}

    def read(self, topic: str, partition: int, offset: int, max_records: int, max_bytes: int) -> Chunk:
        raise NotImplementedError

    def partitions(self, topic: str) -> int:
        return 1

    def end_offsets(self) -> dict[TopicPartition, int]:
        return {}

    def close(self) -> None:
        pass


def at(text: str) -> int:
    """µs of an RFC 3339 time."""
    from datetime import datetime

    return to_us(datetime.fromisoformat(text))
