"""The log's interface: topics of partitions of records, each at an offset. Local file or Kafka, the same meaning."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Protocol

import msgspec

from edgeloop.errors import EdgeloopError

TopicPartition = tuple[str, int]


class Entry(msgspec.Struct, frozen=True):
    """Something to append. The join key decides the partition, by Kafka's murmur2: a team may produce itself."""

    topic: str
    key: str
    value: bytes


class Chunk(msgspec.Struct, frozen=True, kw_only=True):
    """Some records of one partition, in order, by column: a worker reads hundreds of thousands a second."""

    topic: str
    partition: int
    start: int
    """Where reading began; the first record may lie behind it, for offsets have gaps."""
    next_offset: int
    """Where reading goes on: behind the last record, and behind a gap that is known to follow it."""
    offsets: Sequence[int]
    appended_us: Sequence[int]
    values: Sequence[bytes]

    def __len__(self) -> int:
        return len(self.values)

    def after(self, offset: int) -> Chunk:
        """The part from an offset on."""
        place = bisect_left(self.offsets, offset)
        return Chunk(
            topic=self.topic,
            partition=self.partition,
            start=max(self.start, offset),
            next_offset=self.next_offset,
            offsets=self.offsets[place:],
            appended_us=self.appended_us[place:],
            values=self.values[place:],
        )


class LogUnavailableError(Exception):
    """The log cannot take (or give) records now; a door answers 503 and the sender tries again."""


class OffsetsGoneError(EdgeloopError):
    """Records that are asked for were deleted from the log."""


def largest_bytes_of(log: object) -> int | None:
    """Of the longest record that a log takes; None where it takes any. A longer event is a dead letter at the door."""
    found: int | None = getattr(log, "largest_bytes", None)
    return found


class Log(Protocol):
    """What doors append to and workers read from."""

    @property
    def cluster_id(self) -> str:
        """Identity of this log; offsets of one log mean nothing in another."""
        ...

    def topic_ids(self) -> dict[str, str]:
        """Identity of each topic; a topic made anew under the same name has another."""
        ...

    def append(self, entries: Sequence[Entry]) -> None:
        """Append all or nothing; durable when it returns.

        Raises:
            LogUnavailableError: nothing was appended.
        """
        ...

    def read(self, topic: str, partition: int, offset: int, max_records: int, max_bytes: int) -> Chunk:
        """Records from an offset on, in order, at least one where there is one; offsets may have gaps."""
        ...

    def partitions(self, topic: str) -> int:
        """How many partitions a topic has."""
        ...

    def end_offsets(self) -> dict[TopicPartition, int]:
        """The next offset of every partition of every topic."""
        ...

    def start_offsets(self) -> dict[TopicPartition, int]:
        """The offset of the first record that is still there, of every partition; its end where none is."""
        ...

    def close(self) -> None:
        """Release files and connections."""
        ...


class SearchableLog(Log, Protocol):
    """A log with what tools ask of it besides."""

    def offset_at(self, topic: str, partition: int, appended_us: int) -> int:
        """The offset of the first record that was appended at or after a time; the end where none was."""
        ...

    def keys(self, topic: str, partition: int, offsets: Sequence[int]) -> list[str]:
        """The join keys of records, in ascending order of their offsets; what is not there is left out."""
        ...
