"""The log on Apache Kafka, for all but the workers' hot loop: doors append, tools look and read.

Every topic's name on the brokers has the company's prefix; on this side of the interface there is none. Kafka stamps
each record by the brokers' clock, so none is needed here.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, NoReturn, TypeVar

from kafka import TopicPartition as KafkaTopicPartition
from kafka.errors import (
    AuthorizationError,
    CoordinatorNotAvailableError,
    GroupIdNotFoundError,
    KafkaError,
    MessageSizeTooLargeError,
    NodeNotReadyError,
    OffsetOutOfRangeError,
    RecordListTooLargeError,
    UnknownTopicOrPartitionError,
)

from edgeloop.errors import HomeError
from edgeloop.events import BACKFILL_TOPICS, DEAD_LETTERS_TOPIC, STORED_TOPICS
from edgeloop.log import clients
from edgeloop.log.base import Chunk, Entry, LogUnavailableError, OffsetsGoneError, TopicPartition
from edgeloop.log.partitioner import murmur2_of
from edgeloop.settings import KafkaSettings

LARGEST_BYTES = 2_000_000
"""Of one record's body; a sealed dead letter has at most 512 KB, as base64 some 700 KB."""
_METADATA_S = 5.0
_STALLED_S = 10.0
_POLL_MS = 500
_POLLED_RECORDS = 2_000
_REQUIRED = (*STORED_TOPICS, DEAD_LETTERS_TOPIC)
_TOPICS = (*_REQUIRED, *BACKFILL_TOPICS)

R = TypeVar("R")


class KeyedRecord(NamedTuple):
    """A record with its key, None where its producer gave it none."""

    offset: int
    key: str | None
    value: bytes
    appended_us: int


class KafkaLog:
    """A log whose records are on Kafka; for any number of threads. It connects when it is first asked something.

    Two locks, so that a door that appends does not wait for somebody who looks.
    """

    largest_bytes = LARGEST_BYTES

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._prefix = settings.topic_prefix
        self._lock = threading.RLock()
        self._admin: Any = None
        self._consumer: Any = None
        self._described: tuple[float, dict[str, tuple[str, int]]] | None = None
        self._cluster: tuple[float, str] | None = None
        self._at: tuple[Any, int] | None = None
        """Where the consumer reads on: the partition, and the first offset that was not given yet."""
        self._ahead: list[Any] = []
        """Records from there on that were fetched already."""
        self._producing = threading.Lock()
        self._producer: Any = None
        self._known: set[str] = set()
        """Topics that the producer has seen."""

    # Identity and places

    @property
    def cluster_id(self) -> str:
        with self._lock:
            now = time.monotonic()
            if self._cluster is None or now - self._cluster[0] > _METADATA_S:
                found = self._asked(lambda: self._the_admin().describe_cluster())
                self._cluster = (now, str(found["cluster_id"]))
            return self._cluster[1]

    def topic_ids(self) -> dict[str, str]:
        return {name: topic_id for name, (topic_id, _) in self._topics(0.0).items()}

    def partitions(self, topic: str) -> int:
        topics = self._topics(_METADATA_S)
        if topic not in topics:
            raise self._missing([topic])
        return topics[topic][1]

    def end_offsets(self) -> dict[TopicPartition, int]:
        """The next offset of every partition: what open transactions hold back lies behind it.

        Raises:
            HomeError: a topic is missing. LogUnavailableError: no broker answers.
        """
        return self._offsets(lambda consumer, tps: consumer.end_offsets(tps))

    def start_offsets(self) -> dict[TopicPartition, int]:
        return self._offsets(lambda consumer, tps: consumer.beginning_offsets(tps))

    def offset_at(self, topic: str, partition: int, appended_us: int) -> int:
        """The offset of the first record that was appended at or after a time; the end where none was."""
        tp = KafkaTopicPartition(self._prefix + topic, partition)

        def ask() -> int:
            consumer = self._the_consumer()
            end = int(consumer.end_offsets([tp])[tp])
            found = consumer.offsets_for_times({tp: max(0, -(-appended_us // 1_000))}).get(tp)
            return end if found is None else min(end, int(found.offset))

        return self._asked(ask)

    def brokers(self) -> tuple[tuple[int, ...], int]:
        """The brokers' version, e.g. (4, 3), and how many there are."""
        version = self._asked(lambda: tuple(self._the_consumer().config["api_version"]))
        return version, len(self._asked(lambda: self._the_admin().describe_cluster())["brokers"])

    def members(self, group: str) -> int:
        """How many consumers a group has now; 0 where there is no such group."""

        def ask() -> int:
            try:
                found = self._the_admin().describe_groups([group])
            except (CoordinatorNotAvailableError, GroupIdNotFoundError):
                return 0
            return len(found.get(group, {}).get("members") or ())

        return self._asked(ask)

    # Appending

    def append(self, entries: Sequence[Entry]) -> None:
        """Append all; every one is on all in-sync replicas when it returns.

        All or nothing cannot be had without transactions: where it fails, some may be in. The sender tries all of them
        again, and the same id again does no harm.

        Raises:
            HomeError: a topic is missing. LogUnavailableError: not all were appended, within some 12 s.
        """
        if not entries:
            return
        until = time.monotonic() + clients.APPEND_S
        with self._producing:
            unknown = {entry.topic for entry in entries} - self._known
            if unknown:
                missing = sorted(unknown - self._topics(0.0).keys())
                if missing:
                    raise self._missing(missing)
            try:
                if self._producer is None:
                    self._producer = clients.producer(self._settings)
                # Not flushed: in kafka-python 3.0.12 that fails where a batch was split, though all of it goes out.
                for future in self._send(self._producer, entries):
                    future.get(timeout=max(until - time.monotonic(), 0))
            except LogUnavailableError:
                raise
            except Exception as error:  # whatever it was, nobody may be told that they are in
                # A new one takes its place: this one's numbering of batches may be broken for good, and what it still
                # holds must not go out after its sender was told that it did not.
                if self._producer is not None:
                    clients.given_up(self._producer)
                self._producer, self._known = None, set()
                raise LogUnavailableError(
                    f"Kafka at {self._settings.bootstrap} did not take {len(entries)} records{_because(error)}"
                ) from error
            self._known |= unknown

    def _send(self, producer: Any, entries: Sequence[Entry]) -> list[Any]:
        """Hand all to the producer. The partition is told, because its own murmur2 takes one key at a time."""
        counts = {topic: len(producer.partitions_for(self._prefix + topic)) for topic in {e.topic for e in entries}}
        hashes = murmur2_of([entry.key for entry in entries])
        return [
            producer.send(
                self._prefix + entry.topic,
                key=entry.key.encode(),
                value=entry.value,
                partition=key_hash % counts[entry.topic],
            )
            for entry, key_hash in zip(entries, hashes, strict=True)
        ]

    # Reading

    def read(self, topic: str, partition: int, offset: int, max_records: int, max_bytes: int) -> Chunk:
        """Records from an offset on, in order; aborted transactions leave gaps.

        Raises:
            OffsetsGoneError: the topic no longer has that offset. LogUnavailableError: no broker answers.
        """
        records, next_offset = self._asked(lambda: self._read(topic, partition, offset, max_records, max_bytes))
        return Chunk(
            topic=topic,
            partition=partition,
            start=offset,
            next_offset=next_offset,
            offsets=[record.offset for record in records],
            appended_us=[_appended_us(record) for record in records],
            values=[record.value or b"" for record in records],
        )

    def keyed(self, topic: str, partition: int, offset: int, max_records: int) -> list[KeyedRecord]:
        """Records from an offset on, with their keys.

        Raises:
            As `read`.
        """
        records, _ = self._asked(lambda: self._read(topic, partition, offset, max_records, clients.FETCH_BYTES))
        return [
            KeyedRecord(
                record.offset,
                None if record.key is None else record.key.decode(errors="replace"),
                record.value or b"",
                _appended_us(record),
            )
            for record in records
        ]

    def keys(self, topic: str, partition: int, offsets: Sequence[int]) -> list[str]:
        """The join keys of records, in ascending order of their offsets; what is not there is left out."""
        wanted = deque(sorted(offsets))
        found: list[str] = []
        while wanted:
            for record in self.keyed(topic, partition, wanted[0], _POLLED_RECORDS):
                while wanted and wanted[0] < record.offset:
                    wanted.popleft()
                if wanted and wanted[0] == record.offset:
                    found.append(record.key or "")
                    wanted.popleft()
                if not wanted:
                    break
            else:
                # Nothing more was there up to the last that was read, or to the end.
                if wanted:
                    wanted.popleft()
        return found

    def _read(self, topic: str, partition: int, offset: int, max_records: int, max_bytes: int) -> tuple[list[Any], int]:
        """The records, and where reading goes on."""
        tp = KafkaTopicPartition(self._prefix + topic, partition)
        consumer = self._the_consumer()
        end = int(consumer.end_offsets([tp])[tp])
        ahead = deque(self._ahead) if self._at == (tp, offset) else None
        self._at, self._ahead = None, []
        if offset >= end:
            return [], offset
        if ahead is None:
            ahead = deque()
            consumer.assign([tp])
            consumer.seek(tp, offset)
        records: list[Any] = []
        size = 0
        position = consumer.position(tp, timeout_ms=clients.ANSWER_MS) or offset
        stalled_at = time.monotonic() + _STALLED_S
        while True:
            while ahead and len(records) < max_records and size < max_bytes:
                record = ahead.popleft()
                records.append(record)
                size += len(record.value or b"")
            if len(records) >= max_records or size >= max_bytes or position >= end:
                break
            try:
                ahead.extend(consumer.poll(timeout_ms=_POLL_MS, max_records=_POLLED_RECORDS).get(tp, ()))
            except OffsetOutOfRangeError:
                self._refuse_gone(consumer, topic, tp, position)
            before, position = position, consumer.position(tp, timeout_ms=clients.ANSWER_MS) or position
            if position > before:
                stalled_at = time.monotonic() + _STALLED_S
            elif time.monotonic() > stalled_at:
                raise LogUnavailableError(
                    f"Kafka at {self._settings.bootstrap} gives no more of {topic}/{partition} from {position} on, "
                    f"though it ends at {end}: does its leader answer? (`edgeloop doctor`)"
                )
        next_offset = ahead[0].offset if ahead else position
        if records and ahead:
            next_offset = records[-1].offset + 1
        self._at, self._ahead = (tp, next_offset), list(ahead)
        return records, next_offset

    def _refuse_gone(self, consumer: Any, topic: str, tp: Any, offset: int) -> NoReturn:
        begin = int(consumer.beginning_offsets([tp])[tp])
        if begin <= offset:
            raise LogUnavailableError(f"{topic}/{tp.partition} was cut at its end while it was read; try again")
        raise OffsetsGoneError(
            f"{topic}/{tp.partition} begins at {begin}: records {offset} to {begin - 1} were deleted by the topic's "
            f"retention. Where the tables shall go on without them, `edgeloop topics skip {topic}/{tp.partition} --to "
            f"{begin}` accepts the loss"
        )

    # Brokers

    def close(self) -> None:
        with self._producing:
            if self._producer is not None:
                clients.closed(self._producer)
            self._producer, self._known = None, set()
        with self._lock:
            self._drop_clients()

    def _topics(self, age_s: float) -> dict[str, tuple[str, int]]:
        """name → (topic id, partitions) of ours that are there, at most so old."""
        with self._lock:
            now = time.monotonic()
            if self._described is None or now - self._described[0] > age_s:
                names = {self._prefix + name: name for name in _TOPICS}
                found = self._asked(lambda: self._the_admin().describe_topics(list(names)))
                self._described = (
                    now,
                    {
                        names[topic["name"]]: (str(topic["topic_id"]), len(topic["partitions"]))
                        for topic in found
                        if topic["error_code"] == 0
                    },
                )
            return self._described[1]

    def _offsets(self, ask: Callable[[Any, list[Any]], dict[Any, int]]) -> dict[TopicPartition, int]:
        # Asked anew each time: for a topic that is gone, a consumer waits instead of saying so.
        topics = self._topics(0.0)
        missing = [name for name in _REQUIRED if name not in topics]
        if missing:
            raise self._missing(missing)
        tps = [KafkaTopicPartition(self._prefix + name, n) for name, (_, count) in topics.items() for n in range(count)]
        found = self._asked(lambda: ask(self._the_consumer(), tps))
        return {(tp.topic[len(self._prefix) :], tp.partition): int(offset) for tp, offset in found.items()}

    def _missing(self, topics: Iterable[str]) -> HomeError:
        names = ", ".join(self._prefix + topic for topic in topics)
        return HomeError(
            f"Kafka at {self._settings.bootstrap} has no topic {names}, or this user may not see it: "
            "run `edgeloop topics create`"
        )

    def _asked(self, ask: Callable[[], R]) -> R:
        """What brokers answer; a client that failed is made anew next time."""
        with self._lock:
            try:
                try:
                    return ask()
                except NodeNotReadyError:
                    # A client that lived through an outage has forgotten every broker: a new one knows where to begin.
                    self._drop_clients()
                    return ask()
            except UnknownTopicOrPartitionError as error:
                self._drop_clients()
                raise LogUnavailableError(f"a topic went away while it was read ({type(error).__name__})") from error
            except LogUnavailableError:
                self._drop_clients()
                raise
            except (KafkaError, OSError, RuntimeError) as error:
                self._drop_clients()
                raise LogUnavailableError(
                    f"Kafka at {self._settings.bootstrap} does not answer{_because(error)}"
                ) from error

    def _the_admin(self) -> Any:
        if self._admin is None:
            self._admin = clients.admin_client(self._settings)
        return self._admin

    def _the_consumer(self) -> Any:
        if self._consumer is None:
            self._consumer = clients.consumer(self._settings)
        return self._consumer

    def _drop_clients(self) -> None:
        for client in (self._consumer, self._admin):
            if client is not None:
                clients.closed(client)
        self._consumer = self._admin = self._described = self._cluster = self._at = None
        self._ahead = []


def _appended_us(record: Any) -> int:
    return max(0, int(record.timestamp or 0)) * 1_000


def _because(error: BaseException) -> str:
    """The type of an error alone, and what it means: its words may hold anything."""
    name = type(error).__name__
    if isinstance(error, MessageSizeTooLargeError | RecordListTooLargeError):
        return f" ({name}): a record is larger than its topic's max.message.bytes; see `edgeloop topics check`"
    if isinstance(error, AuthorizationError):
        return f" ({name}): the brokers do not let this user do that; grant it on topics with our prefix"
    return f" ({name}); see `edgeloop doctor`"
