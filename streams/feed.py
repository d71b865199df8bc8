"""Kafka's records as the chunks that `Steps` takes: positions of our own, batches by bytes, gaps kept.

The consumer joins a group for its partitions only. Where to read is the store's to say, so the group's own offsets are
never used, and nothing resets by itself.
"""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Awaitable, Callable, Collection, Mapping
from operator import attrgetter
from typing import Any

import aiokafka
from aiokafka.abc import ConsumerRebalanceListener
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import NoOffsetForPartitionError, OffsetOutOfRangeError

from edgeloop.events import BACKFILL
from edgeloop.log.base import Chunk, TopicPartition
from edgeloop.store.base import StoredOffset
from streams.steps import LogMismatchError

_FETCH_BYTES = 4 << 20
"""Of one partition at a time; so much again is fetched ahead while a batch is worked in."""
_POLL_MS = 200
_SESSION_MS = 10_000
_LONGEST_BATCH_MS = 300_000
_NEW_PARTITIONS_MS = 10_000
"""How soon partitions that were added are noticed."""
_SMALL_LAG = 20_000
"""Records of today that may wait while a backfill is read."""

_value_bytes = attrgetter("serialized_value_size")
"""-1 where there is no value."""

Identities = Mapping[str, tuple[str, str]]
"""topic → (cluster id, topic id)"""


class Feed:
    """The partitions of one worker, and where it reads each."""

    def __init__(self, options: Mapping[str, Any], *, group: str, prefix: str, gather_ms: int) -> None:
        """``options`` are aiokafka's for the connection (edgeloop/log/connection.py)."""
        self._options = options
        self._group = group
        self._prefix = prefix
        self._consumer: Any = None
        self._gather_s = gather_ms / 1_000
        self._positions: dict[aiokafka.TopicPartition, int] = {}
        """Where each partition's next chunk begins; empty until `place`."""
        self._held: dict[aiokafka.TopicPartition, list[Any]] = {}
        """Records that were fetched and given to no batch yet; they begin at the position."""
        self._held_bytes: dict[aiokafka.TopicPartition, int] = {}
        self.must_place = True
        """Whether the partitions changed, or a batch failed: `place` comes before anything is read."""
        self.assignments = 0
        """How often the group gave this worker its partitions."""
        self._stopped: set[aiokafka.TopicPartition] = set()
        """Partitions not read until somebody has looked at them."""
        self._backfill_waits = False

    async def start(self, topics: Collection[str], before_leaving: Callable[[], Awaitable[None]]) -> None:
        """Join the group; ``before_leaving`` is awaited before partitions go to others."""
        # Made here, because a consumer belongs to the event loop that runs.
        self._consumer = aiokafka.AIOKafkaConsumer(
            group_id=self._group,
            isolation_level="read_committed",
            auto_offset_reset="none",
            enable_auto_commit=False,
            partition_assignment_strategy=(RangePartitionAssignor,),
            max_partition_fetch_bytes=_FETCH_BYTES,
            session_timeout_ms=_SESSION_MS,
            heartbeat_interval_ms=_SESSION_MS // 4,
            max_poll_interval_ms=_LONGEST_BATCH_MS,
            rebalance_timeout_ms=_LONGEST_BATCH_MS // 5,
            metadata_max_age_ms=_NEW_PARTITIONS_MS,
            **self._options,
        )
        self._consumer.subscribe([self._prefix + name for name in topics], listener=_Listener(self, before_leaving))
        await self._consumer.start()

    async def close(self) -> None:
        """Leave the group."""
        if self._consumer is not None:
            await self._consumer.stop()

    @property
    def partitions(self) -> list[TopicPartition]:
        """Those of this worker, by topic and number."""
        if self._consumer is None:  # it waits for store or brokers, and its metrics are asked all the same
            return []
        return sorted((self._name(tp), tp.partition) for tp in self._consumer.assignment())

    async def place(self, stored: Mapping[TopicPartition, StoredOffset], identities: Identities) -> None:
        """Go to where the store is, in every partition of this worker.

        Raises:
            LogMismatchError: the log is another one, or has lost what the store is about to need or has seen.
        """
        mine = sorted(self._consumer.assignment())
        begins = await self._consumer.beginning_offsets(mine) if mine else {}
        ends = await self._consumer.end_offsets(mine) if mine else {}
        if set(mine) != self._consumer.assignment():  # the group took its time meanwhile
            return
        positions: dict[aiokafka.TopicPartition, int] = {}
        for tp in mine:
            name = self._name(tp)
            known = stored.get((name, tp.partition))
            if known is not None:
                _refuse_other(name, tp.partition, known, identities)
                _refuse_lost(name, tp.partition, known.next_offset, begins[tp], ends[tp])
            positions[tp] = begins[tp] if known is None else known.next_offset
        self._drop_held()
        for tp, offset in positions.items():
            self._consumer.seek(tp, offset)
        self._positions = positions
        self.must_place = False

    async def gather(self, max_bytes: int) -> list[Chunk]:
        """The next batch: what comes until it is large enough, or for as long as a batch may be gathered.

        Topics move together, by the brokers' stamps: where outcomes ran ahead of the exposures that they belong to, all
        would be computed twice. What is ahead is held for the next batch.
        """
        self._hold_back()
        first_at = time.monotonic() if self._held else None
        while sum(self._held_bytes.values()) < max_bytes and not self.must_place:
            wait_ms = _POLL_MS
            if first_at is not None:
                wait_ms = round(1_000 * (first_at + self._gather_s - time.monotonic()))
                if wait_ms <= 0:
                    break
            most = max(_FETCH_BYTES, max_bytes // 4)
            wanted = [tp for tp in self._positions if self._held_bytes.get(tp, 0) < most]
            try:
                got = await self._consumer.getmany(*wanted, timeout_ms=wait_ms)
            except (NoOffsetForPartitionError, OffsetOutOfRangeError):
                # Before the first seek the consumer asks the group; out of range is for `place` to explain.
                self.must_place = True
                break
            if not got:
                break
            if first_at is None:
                first_at = time.monotonic()
            for tp, records in got.items():
                self._hold(tp, records)
        if self.must_place:
            return []
        frontier = self._frontier()
        chunks = [chunk for tp in self._positions if (chunk := await self._chunk(tp, frontier)) is not None]
        if self.must_place:
            return []
        for chunk in chunks:
            tp = aiokafka.TopicPartition(self._prefix + chunk.topic, chunk.partition)
            self._positions[tp] = chunk.next_offset
            self._let_go(tp, len(chunk))
        return chunks

    def _hold(self, tp: aiokafka.TopicPartition, records: list[Any]) -> None:
        size = _bytes_of(records)
        self._held.setdefault(tp, []).extend(records)
        self._held_bytes[tp] = self._held_bytes.get(tp, 0) + size

    def _let_go(self, tp: aiokafka.TopicPartition, n: int) -> None:
        left = self._held.pop(tp, [])[n:]
        if left:
            self._held[tp] = left
        self._held_bytes[tp] = _bytes_of(left)

    def _frontier(self) -> int | None:
        """Up to which stamp all partitions are here, or None where none has more to come."""
        limits = [
            int(held[-1].timestamp) for tp, held in self._held.items() if self._highwater(tp) > held[-1].offset + 1
        ]
        return min(limits, default=None)

    async def _chunk(self, tp: aiokafka.TopicPartition, frontier: int | None) -> Chunk | None:
        start = self._positions[tp]
        held = self._held.get(tp, [])
        n = len(held) if frontier is None else bisect_right(held, frontier, key=_stamp)
        records = held[:n]
        next_offset = records[-1].offset + 1 if records else start
        if n == len(held):  # and what is known to follow holds no records of ours
            next_offset = max(next_offset, await self._consumer.position(tp))
        if next_offset == start:
            return None
        return Chunk(
            topic=self._name(tp),
            partition=tp.partition,
            start=start,
            next_offset=next_offset,
            offsets=[record.offset for record in records],
            appended_us=[record.timestamp * 1_000 for record in records],
            # A record without a value is none of ours: it goes to the dead letters as no bytes.
            values=[record.value or b"" for record in records],
        )

    def _hold_back(self) -> None:
        """Read backfills only while little of today waits."""
        old = [tp for tp in self._positions if self._name(tp).startswith(BACKFILL) and tp not in self._stopped]
        if not old:
            return
        waits = self.lag(live=True) > _SMALL_LAG
        if waits != self._backfill_waits:
            self._backfill_waits = waits
            (self._consumer.pause if waits else self._consumer.resume)(*old)

    def lag(self, *, live: bool = False) -> int:
        """How many records of this worker's partitions are behind, as the last fetches told it."""
        return sum(
            max(0, self._highwater(tp) - position)
            for tp, position in self._positions.items()
            if not (live and self._name(tp).startswith(BACKFILL))
        )

    def stop_reading(self, topic: str, partition: int) -> None:
        """Leave a partition unread until this worker's partitions are given out anew."""
        tp = aiokafka.TopicPartition(self._prefix + topic, partition)
        self._stopped.add(tp)
        self._consumer.pause(tp)

    @property
    def unread(self) -> list[TopicPartition]:
        """The partitions that `stop_reading` left."""
        return sorted((self._name(tp), tp.partition) for tp in self._stopped)

    async def tell_group(self) -> None:
        """Tell the group how far this worker is, for those who watch it with Kafka's own tools; nobody reads by it."""
        if self._positions:
            await self._consumer.commit(dict(self._positions))

    def _highwater(self, tp: aiokafka.TopicPartition) -> int:
        """The end of a partition as the last fetch told it; 0 where it is being given to another."""
        return (self._consumer.highwater(tp) or 0) if tp in self._consumer.assignment() else 0

    def _name(self, tp: aiokafka.TopicPartition) -> str:
        return str(tp.topic)[len(self._prefix) :]

    def revoked(self) -> None:
        """Nothing more is read of what this worker had."""
        self.must_place = True
        self._drop_held()
        self._positions = {}
        self._stopped = set()
        self._backfill_waits = False

    def _drop_held(self) -> None:
        self._held = {}
        self._held_bytes = {}


def _bytes_of(records: list[Any]) -> int:
    return sum(map(_value_bytes, records))


def _stamp(record: Any) -> int:
    return int(record.timestamp)


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]
    def __init__(self, feed: Feed, before_leaving: Callable[[], Awaitable[None]]) -> None:
        self._feed = feed
        self._before_leaving = before_leaving

    async def on_partitions_revoked(self, _revoked: object) -> None:
        self._feed.revoked()
        await self._before_leaving()

    def on_partitions_assigned(self, _assigned: object) -> None:
        self._feed.must_place = True
        self._feed.assignments += 1


def _refuse_other(topic: str, partition: int, known: StoredOffset, identities: Identities) -> None:
    now = identities.get(topic)
    if now is None or (known.cluster_id, known.topic_id) == now:
        return
    what = "cluster" if known.cluster_id != now[0] else "topic: it was deleted and made anew"
    raise LogMismatchError(
        f"{topic}/{partition} was drained up to {known.next_offset} from another {what}. Records that the tables lack "
        "may be in it under offsets that were seen. Put the right brokers back, or fill a new database from this log"
    )


def _refuse_lost(topic: str, partition: int, offset: int, begin: int, end: int) -> None:
    if offset < begin:
        raise LogMismatchError(
            f"{topic}/{partition}: the tables hold records up to {offset - 1}, and the topic begins at {begin}: "
            f"records {offset} to {begin - 1} were deleted by the topic's retention before they were drained. Restore "
            f"them, or accept the loss with `edgeloop topics skip {topic}/{partition} --to {begin}`"
        )
    if offset > end:
        raise LogMismatchError(
            f"{topic}/{partition} ends at {end}, but the tables hold records up to {offset - 1}: records {end} to "
            f"{offset - 1} are gone from the topic. Restore the brokers' data before anything is appended"
        )
