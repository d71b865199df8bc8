"""The log's interface: topics of partitions of records, each at an offset. Local file or Kafka, the same meaning."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

TopicPartition = tuple[str, int]


class Entry(msgspec.Struct, frozen=True):
    """Something to append. The join key decides the partition, by Kafka's murmur2: a team may produce itself."""

    topic: str
    key: str
    value: bytes


class Chunk(msgspec.Struct, frozen=True):
    """Some records of one partition, in order, by column: a worker reads hundreds of thousands a second."""

    topic: str
    partition: int
    offsets: Sequence[int]
    appended_us: Sequence[int]
    values: Sequence[bytes]

    def __len__(self) -> int:
        return len(self.values)


class LogUnavailableError(Exception):
    """The log cannot take (or give) records now; a door answers 503 and the sender tries again."""


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

    def close(self) -> None:
        """Release files and connections."""
        ...
