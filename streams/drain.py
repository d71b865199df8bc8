"""Draining the log into the store: read a batch, decode, lock, compute, write rows and offsets in one transaction.

What a crash interrupts has not happened: the next start reads from the stored offsets again.
"""

from __future__ import annotations

import gc
import random
import time
from collections.abc import Callable
from functools import partial
from hashlib import sha256

import msgspec

from edgeloop import sealing
from edgeloop.errors import EdgeloopError
from edgeloop.events import DEAD_LETTERS_TOPIC, STORED_TOPICS, TYPES_OF_TOPICS
from edgeloop.horizon import BeforeHorizonError, Horizon
from edgeloop.log.base import Chunk, Log, TopicPartition
from edgeloop.log.partitioner import SHARDS
from edgeloop.sealing import Sealer, readable_detail
from edgeloop.store.schema import Row
from edgeloop.store.sqlite import SqliteStore, StaleStateError, StoredOffset
from edgeloop.store.writes import Writes
from streams.attribution import Rules
from streams.batch import Batch
from streams.cache import Contexts, StateCache
from streams.passes import RULES, fingerprint, refuse_unfinished
from streams.prepare import UNREADABLE, Prepared, Refuse, prepare

TOPICS = (*STORED_TOPICS, DEAD_LETTERS_TOPIC)
MAX_RECORDS = 200_000
FIRST_BATCH_BYTES = 4 << 20
MAX_BATCH_BYTES = 20 << 20
"""Of records; in memory a batch takes about five times as much."""
_LONG_BATCH_S = 6.0
_COURIERS_AT_ONCE = 2_000
_RECORDS_BETWEEN_INBOXES = 400_000
_TRIES = 50
_LONGEST_PAUSE_S = 0.05

Progress = Callable[[int, int], None]
"""Called with (records drained so far, records to drain in all as known now)."""


class LogMismatchError(EdgeloopError):
    """Log and store do not belong together, or the log lost records that the store had seen."""


class RulesMismatchError(EdgeloopError):
    """The store's tables were made under other rules."""


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
        store: SqliteStore,
        rules: Rules,
        sealer: Sealer,
        *,
        max_records: int = MAX_RECORDS,
        lane: Lane = ONLY_LANE,
        horizon: Horizon | None = None,
    ) -> None:
        self._log = log
        self._store = store
        self._rules = rules
        self._sealer = sealer
        self._max_records = max_records
        self._lane = lane
        self._horizon = horizon
        self._batch_bytes = FIRST_BATCH_BYTES
        self._identities = {topic: (log.cluster_id, topic_id) for topic, topic_id in log.topic_ids().items()}
        self._states = StateCache(store, lane.shards)
        self._contexts = Contexts(store)
        self._dead_letters = 0

    def check(self) -> None:
        """Refuse to work on a store of other rules or another log, or where the log lost its end.

        Raises:
            UnfinishedPassError, RulesMismatchError, LogMismatchError: with what differs and what to do.
        """
        refuse_unfinished(self._store)
        now = fingerprint(self._rules)
        before = self._store.meta(RULES)
        if before is None:
            self._store.set_meta(RULES, now)
        elif before != now:
            raise RulesMismatchError(
                f"the tables in {self._store.path} were made under other rules: {_difference(before, now)}. Run "
                "`edgeloop recompute` to bring them under the rules in force, or put the setting back"
            )
        ends = self._log.end_offsets()
        for (topic, partition), stored in self._store.offsets().items():
            if (stored.cluster_id, stored.topic_id) != self._identities.get(topic):
                raise LogMismatchError(
                    f"{self._store.path} was filled from another log ({stored.cluster_id}, topic {topic}) than the one "
                    f"here ({self._log.cluster_id}). Put the right log back, or move the store away to fill it anew"
                )
            end = ends.get((topic, partition), 0)
            if stored.next_offset > end:
                raise LogMismatchError(
                    f"the log ends at {end} in {topic}/{partition}, but the store has seen up to {stored.next_offset}: "
                    f"records {end} to {stored.next_offset - 1} are gone from the log. Restore the log from its backup "
                    "before anything is appended"
                )
            self._check_last(topic, partition, stored)

    def _check_last(self, topic: str, partition: int, stored: StoredOffset) -> None:
        """A log that was set back and then went on is as long as before, and another."""
        last = stored.next_offset - 1
        chunk = self._log.read(topic, partition, last, 1, 1) if stored.last_sha256 is not None else None
        if chunk and chunk.offsets[0] == last and sha256(chunk.values[0]).digest() != stored.last_sha256:
            raise LogMismatchError(
                f"record {last} of {topic}/{partition} is not the one that was drained: the log was set back and went "
                f"on, so what now stands before {stored.next_offset} would never be seen. Restore the log from its "
                f"backup, or move {self._store.path} away to fill it anew from this log"
            )

    def run(self, progress: Progress | None = None) -> Drained:
        """Drain until nothing is left, couriers' keys included."""
        self.check()
        self._states.load()
        self._dead_letters = 0
        done = since_inbox = 0
        # A batch makes hundreds of thousands of objects and no cycles: looking for some costs a tenth of the time.
        collecting = gc.isenabled()
        gc.disable()
        try:
            while True:
                drained = self._retried(self._drain_batch)
                done += drained
                since_inbox += drained
                if progress is not None:
                    progress(done, done + self.lag())
                if drained == 0 or since_inbox >= _RECORDS_BETWEEN_INBOXES:
                    while self._retried(self._inbox):
                        pass
                    since_inbox = 0
                if self._states.full or (drained == 0 and self._states.unflushed):
                    self._flush()
                if drained == 0:
                    return Drained(done, self._dead_letters)
        finally:
            if collecting:
                gc.enable()

    def lag(self) -> int:
        """How many records of this lane wait to be drained."""
        stored = self._store.offsets()
        return sum(end - (stored[tp].next_offset if tp in stored else 0) for tp, end in self._ends().items())

    def _ends(self) -> dict[TopicPartition, int]:
        """The end of every partition of this lane."""
        ends = self._log.end_offsets()
        return {tp: end for tp, end in ends.items() if tp[0] in TOPICS and self._lane.has_partition(tp[1])}

    def _retried(self, action: Callable[[], int]) -> int:
        """Do it again where another lane wrote to a shard between our reading and our writing of it."""
        for tries in range(1, _TRIES + 1):
            try:
                return action()
            except StaleStateError:
                if tries == _TRIES:
                    raise
                time.sleep(random.uniform(0, _LONGEST_PAUSE_S))  # noqa: S311 - so that two do not meet again
        raise AssertionError

    def _drain_batch(self) -> int:
        """Drain one batch over all partitions; how many records it had."""
        stored = self._store.offsets()
        ends = self._ends()
        starts = {tp: stored[tp].next_offset if tp in stored else 0 for tp in ends}
        waiting = {tp: end - starts[tp] for tp, end in sorted(ends.items()) if starts[tp] < end}
        lag = sum(waiting.values())
        chunks: list[Chunk] = []
        for tp, behind in waiting.items():
            # By its part of what waits, so that topics that belong together move together.
            part = min(1.0, behind / lag)
            records = max(1, round(min(self._max_records, lag) * part))
            chunks.append(self._log.read(*tp, starts[tp], records, max(1, round(self._batch_bytes * part))))
        records = sum(len(chunk) for chunk in chunks)
        if records:
            begin = time.monotonic()
            self._write(chunks, starts)
            self._adapt(time.monotonic() - begin, lag > records)
        return records

    def _adapt(self, took_s: float, more: bool) -> None:
        """Large batches are faster per record, small ones sooner done."""
        if took_s > _LONG_BATCH_S:
            self._batch_bytes = max(FIRST_BATCH_BYTES, self._batch_bytes // 2)
        elif more and took_s < _LONG_BATCH_S / 2:
            self._batch_bytes = min(MAX_BATCH_BYTES, self._batch_bytes * 2)

    def _write(self, chunks: list[Chunk], starts: dict[TopicPartition, int]) -> None:
        by_key: dict[str, list[Prepared]] = {}
        dead: list[Row] = []
        refused: list[Row] = []
        next_offsets: dict[TopicPartition, int] = {}
        last_sha256: dict[TopicPartition, bytes] = {}
        while chunks:
            chunk = chunks.pop()  # so that its bytes are let go of
            if not len(chunk):
                continue
            origin = (chunk.topic, chunk.partition)
            next_offsets[origin] = chunk.offsets[-1] + 1
            last_sha256[origin] = sha256(chunk.values[-1]).digest()
            refuse = partial(self._refuse, chunk, refused)
            if chunk.topic == DEAD_LETTERS_TOPIC:
                dead += _letters(chunk, refuse)
                continue
            kind = TYPES_OF_TOPICS[chunk.topic]
            first_us = None if self._horizon is None else self._horizon.first_us(kind)
            for event in prepare(kind, chunk.values, origin, self._contexts.number, refuse, first_us):
                of_key = by_key.get(event.key)
                if of_key is None:
                    by_key[event.key] = [event]
                else:
                    of_key.append(event)
        try:
            states, versions = self._states.states(by_key)
            writes = Writes(self._store.new_batch())
            batch = Batch(self._rules, writes, self._contexts, self._store)
            packing = self._states.packing(writes)
            while by_key:  # each is let go of when it is taken
                key, events = by_key.popitem()
                batch.take(states[key], events)
                packing.add(states[key])
            batch.finish()
            packing.finish()
            writes.dead_letters += [*dead, *refused]
            for letter in writes.dead_letters:
                writes.counters["dead_letters", str(letter[1])] += 1
            writes.next_offsets, writes.last_sha256 = next_offsets, last_sha256
            self._commit(writes, versions, starts)
            self._dead_letters += len(refused)
        except BaseException:
            self._states.forget()
            raise

    def _commit(self, writes: Writes, versions: dict[int, int], starts: dict[TopicPartition, int] | None) -> None:
        with self._store.transaction(versions) as transaction:
            if starts is not None:
                self._check_starts(starts, writes)
            writes.counters["batches", ""] += 1
            writes.counters["shard_wait_us", ""] += transaction.waited_us
            transaction.apply(writes, self._identities)
            transaction.set_counter("last_commit_us", time.time_ns() // 1_000)
        self._states.committed(versions)

    def _check_starts(self, starts: dict[TopicPartition, int], writes: Writes) -> None:
        """Under the lock: the store must still be where this batch began."""
        stored = self._store.offsets()
        for tp in writes.next_offsets:
            now = stored[tp].next_offset if tp in stored else 0
            if now != starts[tp]:
                raise LogMismatchError(
                    f"{tp[0]}/{tp[1]} was drained by another process from {starts[tp]} to {now} meanwhile. "
                    "Run one `edgeloop process` per home at a time"
                )

    def _refuse(self, chunk: Chunk, refused: list[Row], place: int, error: Exception) -> None:
        letter = self._sealer.dead_letter(
            reason=error.reason if isinstance(error, BeforeHorizonError) else "undecodable",
            detail=readable_detail(error),
            source=f"log:{chunk.topic}/{chunk.partition}",
            place=f"offset {chunk.offsets[place]}",
            received_us=chunk.appended_us[place],
            raw=chunk.values[place],
        )
        refused.append(letter.row())

    def _inbox(self) -> int:
        """Work off what waits for some couriers' keys, under their own locks; how much there was."""
        items = self._store.waiting(self._lane.shards, _COURIERS_AT_ONCE)
        by_key: dict[str, list[bytes]] = {}
        for _, key, packed in items:
            by_key.setdefault(key, []).append(packed)
        if items:
            try:
                states, versions = self._states.states(by_key)
                writes = Writes(self._store.new_batch())
                writes.worked_off += [rowid for rowid, _, _ in items]
                batch = Batch(self._rules, writes, self._contexts, self._store)
                packing = self._states.packing(writes)
                for key, waiting in by_key.items():
                    batch.take_inbox(states[key], waiting)
                    packing.add(states[key])
                batch.finish()
                packing.finish()
                self._commit(writes, versions, None)
            except BaseException:
                self._states.forget()
                raise
        return len(items)

    def _flush(self) -> None:
        """Write the heads of all keys that have deltas."""
        for shards in self._states.held:
            self._retried(partial(self._flush_shards, shards))

    def _flush_shards(self, shards: list[int]) -> int:
        try:
            writes = Writes(self._store.new_batch())
            versions = self._states.flush(writes, shards)
            self._commit(writes, versions, None)
            return len(writes.heads)
        except BaseException:
            self._states.forget()
            raise


def _letters(chunk: Chunk, refuse: Refuse) -> list[Row]:
    """The rows of a door's dead letters; a damaged one is a dead letter in turn."""
    rows: list[Row] = []
    for place, value in enumerate(chunk.values):
        try:
            rows.append(sealing.decode(value).row())
        except UNREADABLE as error:
            refuse(place, error)
    return rows


def _difference(before: str, now: str) -> str:
    """The rules that differ, as ``name was … and is …``."""
    old, new = msgspec.json.decode(before), msgspec.json.decode(now)
    return ", ".join(
        f"{name} was {old.get(name)} and is {new.get(name)}"
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    )
