"""Draining a log that is read from where the store says: the local one, or Kafka without a group of workers."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from hashlib import sha256

import msgspec

from edgeloop.horizon import Horizon
from edgeloop.log.base import Chunk, Log, TopicPartition
from edgeloop.log.partitioner import SHARDS
from edgeloop.sealing import Sealer
from edgeloop.store.base import Store, StoredOffset
from streams.attribution import Rules
from streams.steps import TOPICS, LogMismatchError, Steps

MAX_RECORDS = 200_000
FIRST_BATCH_BYTES = 4 << 20
MAX_BATCH_BYTES = 20 << 20
"""Of records; in memory a batch takes about five times as much."""
_LONG_BATCH_S = 6.0
_RECORD_BYTES = 600.0
"""About, before the first batch tells."""
_RECORDS_BETWEEN_INBOXES = 400_000

Progress = Callable[[int, int], None]
"""Called with (records drained so far, records to drain in all as known now)."""


class Lane(msgspec.Struct, frozen=True):
    """A part of the partitions, and the shards whose couriers' keys it works off.

    Partition and shard come from one hash, so that lanes seldom meet in a shard where ``of`` divides both counts. Where
    they do meet, the later one reads again: slower, never wrong.
    """

    number: int
    of: int

    @property
    def shards(self) -> range:
        """Those of this lane."""
        return range(self.number, SHARDS, self.of)

    def has_partition(self, partition: int) -> bool:
        """Whether a partition is this lane's."""
        return partition % self.of == self.number


ONLY_LANE = Lane(0, 1)


class Drained(msgspec.Struct, frozen=True):
    """What a run did."""

    records: int
    dead_letters: int


class Drain:
    """Moves what the log holds into the store: everything, or one lane of several (edgeloop/app/lanes.py)."""

    def __init__(
        self,
        log: Log,
        store: Store,
        rules: Rules,
        sealer: Sealer,
        *,
        max_records: int = MAX_RECORDS,
        lane: Lane = ONLY_LANE,
        horizon: Horizon | None = None,
        earliest_us: int | None = None,
    ) -> None:
        self._log = log
        self._store = store
        self._max_records = max_records
        self._lane = lane
        self._batch_bytes = FIRST_BATCH_BYTES
        self._record_bytes = _RECORD_BYTES
        self._identities = {topic: (log.cluster_id, topic_id) for topic, topic_id in log.topic_ids().items()}
        self._steps = Steps(
            store, rules, sealer, self._identities, shards=lane.shards, horizon=horizon, earliest_us=earliest_us
        )

    def check(self) -> None:
        """Refuse to work on a store of other rules or another log, or where the log lost its end.

        Raises:
            UnfinishedPassError, RulesMismatchError, LogMismatchError: with what differs and what to do.
        """
        self._steps.adopt_rules()
        ends, starts = self._log.end_offsets(), self._log.start_offsets()
        for (topic, partition), stored in self._store.offsets().items():
            if (stored.cluster_id, stored.topic_id) != self._identities.get(topic):
                raise LogMismatchError(
                    f"{self._store.name} was filled from another log ({stored.cluster_id}, topic {topic}) than the one "
                    f"here ({self._log.cluster_id}). Put the right log back, or move the store away to fill it anew"
                )
            end = ends.get((topic, partition), 0)
            if stored.next_offset > end:
                raise LogMismatchError(
                    f"the log ends at {end} in {topic}/{partition}, but the store has seen up to {stored.next_offset}: "
                    f"records {end} to {stored.next_offset - 1} are gone from the log. Restore the log from its backup "
                    "before anything is appended"
                )
            if starts.get((topic, partition), 0) < stored.next_offset:
                self._check_last(topic, partition, stored)

    def _check_last(self, topic: str, partition: int, stored: StoredOffset) -> None:
        """A log that was set back and then went on is as long as before, and another."""
        last = stored.next_offset - 1
        chunk = self._log.read(topic, partition, last, 1, 1) if stored.last_sha256 is not None else None
        if chunk and chunk.offsets[0] == last and sha256(chunk.values[0]).digest() != stored.last_sha256:
            raise LogMismatchError(
                f"record {last} of {topic}/{partition} is not the one that was drained: the log was set back and went "
                f"on, so what now stands before {stored.next_offset} would never be seen. Restore the log from its "
                f"backup, or move {self._store.name} away to fill it anew from this log"
            )

    def run(self, progress: Progress | None = None) -> Drained:
        """Drain until nothing is left, couriers' keys included."""
        self.check()
        steps = self._steps
        steps.load()
        steps.dead_letters = 0
        done = since_inbox = 0
        # A batch makes hundreds of thousands of objects and no cycles: looking for some costs a tenth of the time.
        collecting = gc.isenabled()
        gc.disable()
        try:
            while True:
                drained = self._drain_batch()
                done += drained
                since_inbox += drained
                if progress is not None:
                    progress(done, done + self.lag())
                if drained == 0 or since_inbox >= _RECORDS_BETWEEN_INBOXES:
                    while steps.work_off():
                        pass
                    since_inbox = 0
                if steps.full or (drained == 0 and steps.unflushed):
                    steps.flush()
                if drained == 0:
                    return Drained(done, steps.dead_letters)
        finally:
            if collecting:
                gc.enable()

    @property
    def partitions(self) -> int:
        """How many the exposures' topic has."""
        return self._log.partitions(TOPICS[0])

    def lag(self) -> int:
        """How many records of this lane wait to be drained."""
        stored = self._store.offsets()
        return sum(end - (stored[tp].next_offset if tp in stored else 0) for tp, end in self._ends().items())

    def _ends(self) -> dict[TopicPartition, int]:
        """The end of every partition of this lane."""
        ends = self._log.end_offsets()
        return {tp: end for tp, end in ends.items() if tp[0] in TOPICS and self._lane.has_partition(tp[1])}

    def _drain_batch(self) -> int:
        """Drain one batch over all partitions; how many records it had."""
        stored = self._store.offsets()
        ends = self._ends()
        # A topic that is new here may have lost its first records to its retention already.
        begins = {} if all(tp in stored for tp in ends) else self._log.start_offsets()
        starts = {tp: stored[tp].next_offset if tp in stored else begins[tp] for tp in ends}
        waiting = {tp: end - starts[tp] for tp, end in sorted(ends.items()) if starts[tp] < end}
        lag = sum(waiting.values())
        wanted = min(self._max_records, lag, max(1, round(self._batch_bytes / self._record_bytes)))
        chunks: list[Chunk] = []
        for tp, behind in waiting.items():
            # By its part of the records that wait, whatever their size: where outcomes run ahead of the exposures that
            # they belong to, all is computed twice.
            part = behind / lag
            chunks.append(self._log.read(*tp, starts[tp], max(1, round(wanted * part)), self._batch_bytes))
        records = sum(len(chunk) for chunk in chunks)
        if records:
            begin = time.monotonic()
            self._record_bytes = max(1.0, sum(map(len, (v for chunk in chunks for v in chunk.values))) / records)
            self._steps.take(chunks)
            self._adapt(time.monotonic() - begin, lag > records)
        return records

    def _adapt(self, took_s: float, more: bool) -> None:
        """Large batches are faster per record, small ones sooner done."""
        if took_s > _LONG_BATCH_S:
            self._batch_bytes = max(FIRST_BATCH_BYTES, self._batch_bytes // 2)
        elif more and took_s < _LONG_BATCH_S / 2:
            self._batch_bytes = min(MAX_BATCH_BYTES, self._batch_bytes * 2)
