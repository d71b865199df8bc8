"""What a worker does with the store, step by step, wherever its records come from.

Take a batch of records: decode, claim the shards, compute, write rows and offsets in one transaction. Work off what
waits for couriers' keys. Write the heads that only deltas hold. What a crash interrupts has not happened.
"""

from __future__ import annotations

import random
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from hashlib import sha256

from edgeloop import sealing
from edgeloop.errors import EdgeloopError
from edgeloop.events import DEAD_LETTERS_TOPIC, STORED_TOPICS, TYPES_OF_TOPICS
from edgeloop.horizon import Horizon
from edgeloop.log.base import Chunk, TopicPartition
from edgeloop.log.partitioner import SHARDS
from edgeloop.sealing import Sealer, readable_detail
from edgeloop.store.base import StaleStateError, Store, StoredOffset
from edgeloop.store.schema import DEAD_LETTERS, EVENT_TABLES, Row
from edgeloop.store.writes import Writes
from streams.attribution import Rules
from streams.batch import Batch
from streams.cache import CACHE_BYTES, UNFLUSHED_BYTES, Contexts, Packing, StateCache
from streams.fingerprint import RULES, difference, fingerprint
from streams.passes import refuse_unfinished
from streams.prepare import UNREADABLE, Prepared, Refuse, prepare

TOPICS = (*STORED_TOPICS, DEAD_LETTERS_TOPIC)
_COURIERS_AT_ONCE = 2_000
_SOURCE, _PLACE = DEAD_LETTERS.names.index("source"), DEAD_LETTERS.names.index("place")
_TRIES = 50
_LONGEST_PAUSE_S = 0.05


class LogMismatchError(EdgeloopError):
    """Log and store do not belong together, or the log lost records that the store had seen."""


class RulesMismatchError(EdgeloopError):
    """The store's tables were made under other rules."""


class PositionError(Exception):
    """Records were read from behind where the store is: those between would be lost. Read from the store's offsets."""


class Steps:
    """The steps of one worker over one store connection; all of them belong to one thread."""

    def __init__(
        self,
        store: Store,
        rules: Rules,
        sealer: Sealer,
        identities: Mapping[str, tuple[str, str]],
        *,
        shards: Collection[int] = range(SHARDS),
        horizon: Horizon | None = None,
        earliest_us: int | None = None,
        updates: bool = False,
        cache_bytes: int = CACHE_BYTES,
        unflushed_bytes: int = UNFLUSHED_BYTES,
    ) -> None:
        """``identities`` gives (cluster id, topic id) of each topic; ``shards`` are those worked off and flushed.

        ``earliest_us``: what happened before is a clock that was never set. ``updates``: whether changed outcomes are
        put into the outbox.
        """
        self._updates = updates
        self._store = store
        self._rules = rules
        self._sealer = sealer
        self.identities = identities
        """(cluster id, topic id) of each topic."""
        self._horizon = horizon
        self._earliest_us = earliest_us
        self._states = StateCache(store, shards, cache_bytes=cache_bytes, unflushed_bytes=unflushed_bytes)
        self._contexts = Contexts(store)
        self.dead_letters = 0
        """Records that could not be read, so far."""
        self.refused = 0
        """Transactions that came too late, because another worker had written to a shard, and were done again."""
        self.refused_in_a_row: dict[TopicPartition, int] = {}
        """Of each partition, how many of the last records drained could not be read."""

    def check_rules(self) -> None:
        """Refuse to work on a store of other rules, or in the middle of a pass over all keys.

        Raises:
            UnfinishedPassError, RulesMismatchError: with what differs and what to do.
        """
        refuse_unfinished(self._store)
        now = fingerprint(self._rules)
        before = self._store.meta(RULES)
        differ = None if before is None or before == now else difference(before, now)
        if differ is not None:
            raise RulesMismatchError(
                f"the tables in {self._store.name} were made under other rules: {differ.what}. "
                f"{differ.do[0].upper()}{differ.do[1:]}"
            )

    def adopt_rules(self) -> None:
        """`check_rules`, then note these in a store that has none yet or has them in the words of an older version."""
        self.check_rules()
        if self._store.meta(RULES) != fingerprint(self._rules):
            self._store.set_meta(RULES, fingerprint(self._rules))

    def load(self) -> None:
        """Read what a worker before this one left in deltas."""
        self._states.load()

    @property
    def full(self) -> bool:
        """Whether it is time to `flush`."""
        return self._states.full

    @property
    def unflushed(self) -> bool:
        """Whether anything stands in deltas only."""
        return self._states.unflushed

    def take(self, chunks: Sequence[Chunk]) -> int:
        """Work a batch of records in; how many it had that were not in before.

        Raises:
            PositionError: a chunk begins behind where the store is.
        """
        return self._retried(partial(self._take, chunks))

    def work_off(self) -> int:
        """Work off what waits for some couriers' keys, under their own locks; how much there was."""
        return self._retried(self._work_off)

    def flush(self) -> None:
        """Write the heads of all keys that have deltas."""
        for shards in self.held:
            self.flush_shards(shards)

    @property
    def held(self) -> list[list[int]]:
        """The shards that this worker knows, in groups to flush at a time."""
        return self._states.held

    def flush_shards(self, shards: list[int]) -> None:
        """Write the heads of the keys of some shards."""
        self._retried(partial(self._flush_shards, shards))

    def to_publish(self, limit: int) -> list[tuple[int, str, bytes]]:
        """(number, record key, body) of updates that are not published yet, oldest first."""
        return self._store.outbox(self._states.shards, limit) if self._updates else []

    def published(self, numbers: Sequence[int]) -> None:
        """Take updates out of the outbox."""
        writes = Writes(0)
        writes.published += numbers
        with self._store.transaction() as transaction:
            transaction.apply(writes, {})

    def own(self, shards: Collection[int]) -> None:
        """From now on work off and flush these shards, no others."""
        self._states.shards = frozenset(shards)

    def forget(self) -> None:
        """Drop what is in memory."""
        self._states.forget()

    def _retried(self, action: Callable[[], int]) -> int:
        """Do it again where another worker wrote to a shard between our reading and our writing of it."""
        for tries in range(1, _TRIES + 1):
            try:
                return action()
            except StaleStateError:
                self.refused += 1
                if tries == _TRIES:
                    raise
                time.sleep(random.uniform(0, _LONGEST_PAUSE_S))  # noqa: S311 - so that two do not meet again
        raise AssertionError

    def _take(self, given: Sequence[Chunk]) -> int:
        stored = self._store.offsets()
        chunks = [new for chunk in given if (new := self._new_part(chunk, stored)) is not None]
        starts = {(chunk.topic, chunk.partition): chunk.start for chunk in chunks}
        dead: list[Row] = []
        refused: list[Row] = []
        rows: dict[str, list[Row]] = {}
        lateness_us: list[int] = []
        by_key = self._decode(chunks, rows, lateness_us, dead, refused)
        if not starts:
            return 0
        shards = self._states.shards_of(by_key)
        with self._claimed(set(shards.values())) as waited_us:
            self._check_starts(starts)
            states, versions = self._states.states(shards)
            writes, batch, packing = self._begin()
            writes.adopt(rows)
            rows.clear()
            while by_key:  # each is let go of when it is taken
                key, events = by_key.popitem()
                batch.take(states[key], events)
                packing.add(states[key])
            batch.finish()
            batch.count_lateness(lateness_us)
            packing.finish()
            writes.dead_letters += [*dead, *refused]
            for letter in writes.dead_letters:
                writes.counters["dead_letters", str(letter[1])] += 1
            for chunk in chunks:
                origin = (chunk.topic, chunk.partition)
                writes.next_offsets[origin] = chunk.next_offset
                if len(chunk):
                    writes.last_sha256[origin] = sha256(chunk.values[-1]).digest()
            writes.counters["batches", ""] += 1
            self._commit(writes, versions, waited_us, starts)
        self.dead_letters += len(refused)
        self._count_refused(chunks, refused)
        return sum(len(chunk) for chunk in chunks)

    @contextmanager
    def _claimed(self, shards: Collection[int]) -> Iterator[int]:
        """Hold shards; where what is computed inside is not committed, memory is ahead of the store and forgotten."""
        try:
            with self._store.claim(shards) as waited_us:
                yield waited_us
        except BaseException:
            self._states.forget()
            raise

    def _begin(self) -> tuple[Writes, Batch, Packing]:
        writes = Writes(self._store.new_batch())
        batch = Batch(self._rules, writes, self._contexts, self._store, updates=self._updates)
        return writes, batch, self._states.packing(writes)

    def _count_refused(self, chunks: Sequence[Chunk], refused: Sequence[Row]) -> None:
        places = {(str(letter[_SOURCE]), str(letter[_PLACE])) for letter in refused}
        for chunk in chunks:
            source = f"log:{chunk.topic}/{chunk.partition}"
            n = 0
            while n < len(chunk) and (source, f"offset {chunk.offsets[-1 - n]}") in places:
                n += 1
            before = self.refused_in_a_row.get((chunk.topic, chunk.partition), 0) if n == len(chunk) else 0
            self.refused_in_a_row[chunk.topic, chunk.partition] = before + n

    def _new_part(self, chunk: Chunk, stored: Mapping[TopicPartition, StoredOffset]) -> Chunk | None:
        """What of a chunk the store has not seen."""
        origin = (chunk.topic, chunk.partition)
        seen = stored[origin].next_offset if origin in stored else None
        if seen is not None and chunk.start > seen:
            raise PositionError(
                f"{chunk.topic}/{chunk.partition} was read from {chunk.start}, the store is at {seen}: another worker "
                "had it meanwhile, or the store was restored from a backup"
            )
        if seen is not None and seen >= chunk.next_offset:
            return None
        return chunk if seen is None or seen == chunk.start else chunk.after(seen)

    def _decode(
        self,
        chunks: Sequence[Chunk],
        rows: dict[str, list[Row]],
        lateness_us: list[int],
        dead: list[Row],
        refused: list[Row],
    ) -> dict[str, list[Prepared]]:
        """The events of each join key, and their rows by table; what is no event goes to the dead letters."""
        by_key: dict[str, list[Prepared]] = defaultdict(list)
        for chunk in chunks:
            refuse = partial(self._refuse, chunk, refused)
            if chunk.topic == DEAD_LETTERS_TOPIC:
                dead += _letters(chunk, refuse)
                continue
            kind = TYPES_OF_TOPICS[chunk.topic]
            first_us = None if self._horizon is None else self._horizon.first_us(kind)
            origin = (chunk.topic, chunk.partition)
            of_table = rows.setdefault(EVENT_TABLES[kind].name, [])
            number_of = self._contexts.number
            events = prepare(
                kind, chunk.values, origin, number_of, refuse, of_table, lateness_us, first_us, self._earliest_us
            )
            for event in events:
                by_key[event.key].append(event)
        return by_key

    def _commit(
        self,
        writes: Writes,
        versions: dict[int, int],
        waited_us: int,
        starts: Mapping[TopicPartition, int] | None = None,
    ) -> None:
        with self._store.transaction(versions) as transaction:
            # Under the lock: rules may have been changed, or a pass begun, since this worker started.
            self.check_rules()
            if starts is not None:
                self._check_starts(starts)
            writes.counters["shard_wait_us", ""] += waited_us
            transaction.apply(writes, self.identities)
            transaction.set_counter("last_commit_us", time.time_ns() // 1_000)
        self._states.committed(versions)

    def _check_starts(self, starts: Mapping[TopicPartition, int]) -> None:
        """The store must still be where this batch begins: where it is not, somebody drained the same partition."""
        stored = self._store.offsets()
        for (topic, partition), start in starts.items():
            known = stored.get((topic, partition))
            if known is not None and known.next_offset != start:
                raise StaleStateError(f"{topic}/{partition} was drained by another worker meanwhile")

    def _refuse(self, chunk: Chunk, refused: list[Row], place: int, error: Exception) -> None:
        letter = self._sealer.dead_letter(
            reason=getattr(error, "reason", "undecodable") if isinstance(error, EdgeloopError) else "undecodable",
            detail=readable_detail(error),
            source=f"log:{chunk.topic}/{chunk.partition}",
            place=f"offset {chunk.offsets[place]}",
            received_us=chunk.appended_us[place],
            raw=chunk.values[place],
        )
        refused.append(letter.row())

    def _work_off(self) -> int:
        shards = self._store.waiting_shards(self._states.shards)
        if not shards:
            return 0
        with self._claimed(shards) as waited_us:
            items = self._store.waiting(shards, _COURIERS_AT_ONCE)
            by_key: dict[str, list[bytes]] = {}
            for _, key, packed in items:
                by_key.setdefault(key, []).append(packed)
            states, versions = self._states.states(self._states.shards_of(by_key))
            writes, batch, packing = self._begin()
            writes.worked_off += [rowid for rowid, _, _ in items]
            for key, waiting in by_key.items():
                batch.take_inbox(states[key], waiting)
                packing.add(states[key])
            batch.finish()
            packing.finish()
            self._commit(writes, versions, waited_us)
        return len(items)

    def _flush_shards(self, shards: list[int]) -> int:
        with self._claimed(shards) as waited_us:
            writes = Writes(self._store.new_batch())
            versions = self._states.flush(writes, shards)
            self._commit(writes, versions, waited_us)
        return len(writes.heads)


def _letters(chunk: Chunk, refuse: Refuse) -> list[Row]:
    """The rows of a door's dead letters; a damaged one is a dead letter in turn."""
    rows: list[Row] = []
    for place, value in enumerate(chunk.values):
        try:
            rows.append(sealing.decode(value).row())
        except UNREADABLE as error:
            refuse(place, error)
    return rows
