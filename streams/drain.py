"""Draining the log into the store: read a batch, decode, lock, compute, write rows and offsets in one transaction.

What a crash interrupts has not happened: the next start reads from the stored offsets again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

from edgeloop import sealing
from edgeloop.errors import EdgeloopError
from edgeloop.events import DEAD_LETTERS_TOPIC, STORED_TOPICS, Event, decode
from edgeloop.log.base import Log, Record, TopicPartition
from edgeloop.sealing import Sealer, readable_detail
from edgeloop.store.schema import Row
from edgeloop.store.sqlite import SqliteStore, StoreTransaction
from edgeloop.store.writes import Writes
from streams.attribution import Rules
from streams.batch import Batch
from streams.state import KeyState

TOPICS = (*STORED_TOPICS, DEAD_LETTERS_TOPIC)
MAX_RECORDS = 20_000
MAX_BYTES = 16 << 20
_COURIERS_AT_ONCE = 2_000
_RULES = "rules"

Progress = Callable[[int, int], None]
"""Called with (records drained so far, records to drain in all as known now)."""


class LogMismatchError(EdgeloopError):
    """Log and store do not belong together, or the log lost records that the store had seen."""


class RulesMismatchError(EdgeloopError):
    """The store's tables were made under other rules."""


class Drained(msgspec.Struct, frozen=True):
    """What a run did."""

    records: int
    dead_letters: int


class Drain:
    """Moves everything the log holds into the store."""

    def __init__(
        self, log: Log, store: SqliteStore, rules: Rules, sealer: Sealer, *, max_records: int = MAX_RECORDS
    ) -> None:
        self._max_records = max_records
        self._log = log
        self._store = store
        self._rules = rules
        self._sealer = sealer
        self._identities = {topic: (log.cluster_id, topic_id) for topic, topic_id in log.topic_ids().items()}
        self._dead_letters = 0

    def check(self) -> None:
        """Refuse to work on a store of other rules or another log, or where the log lost its end.

        Raises:
            RulesMismatchError, LogMismatchError: with what differs and what to do.
        """
        now = msgspec.json.encode(self._rules, order="sorted").decode()
        before = self._store.meta(_RULES)
        if before is None:
            self._store.set_meta(_RULES, now)
        elif before != now:
            raise RulesMismatchError(
                f"the tables in {self._store.path} were made under other rules: {_difference(before, now)}. Put the "
                "setting back, or move the store away and run `edgeloop process`: the log still holds every event"
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

    def run(self, progress: Progress | None = None) -> Drained:
        """Drain until nothing is left, couriers' keys included."""
        self.check()
        done = 0
        while True:
            drained = self._step()
            done += drained
            if progress is not None:
                progress(done, done + self._lag())
            if drained == 0 and not self._inbox():
                return Drained(done, self._dead_letters)

    def _lag(self) -> int:
        stored = self._store.offsets()
        return sum(
            end - (stored[tp].next_offset if tp in stored else 0)
            for tp, end in self._log.end_offsets().items()
            if tp[0] in TOPICS
        )

    def _step(self) -> int:
        """Drain one batch over all partitions; how many records it had."""
        stored = self._store.offsets()
        starts = {tp: stored[tp].next_offset if tp in stored else 0 for tp in self._log.end_offsets()}
        waiting = [tp for tp, end in sorted(self._log.end_offsets().items()) if starts[tp] < end and tp[0] in TOPICS]
        records: list[Record] = []
        for i, (topic, partition) in enumerate(waiting):
            # What one partition leaves of the batch is shared by the partitions after it.
            share = -(-(self._max_records - len(records)) // (len(waiting) - i))
            if share > 0:
                start = starts[(topic, partition)]
                records += self._log.read(topic, partition, start, share, max(1, MAX_BYTES // len(waiting)))
        if records:
            self._write(records, starts)
        return len(records)

    def _write(self, records: list[Record], starts: dict[TopicPartition, int]) -> None:
        events: list[tuple[Event, TopicPartition]] = []
        dead: list[Row] = []
        for record in records:
            if record.topic == DEAD_LETTERS_TOPIC:
                dead.append(sealing.decode(record.value).row())
                continue
            try:
                event = decode(record.value)
                if event.topic != record.topic:
                    raise msgspec.ValidationError(f"an event of topic {event.topic} in topic {record.topic}")
            except msgspec.DecodeError as error:
                dead.append(self._dead_letter(record, error))
                self._dead_letters += 1
                continue
            events.append((event, (record.topic, record.partition)))
        keys = {event.key for event, _ in events}
        with self._store.transaction(keys) as transaction:
            writes = transaction.writes()
            batch = Batch(self._rules, _states(transaction, keys), writes)
            for event, origin in events:
                batch.take(event, origin)
            batch.finish()
            writes.dead_letters.extend(dead)
            for record in records:
                writes.next_offsets[(record.topic, record.partition)] = record.offset + 1
            self._check_starts(starts, writes)
            transaction.apply(writes, self._identities)

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

    def _dead_letter(self, record: Record, error: msgspec.DecodeError) -> Row:
        letter = self._sealer.dead_letter(
            reason="undecodable",
            detail=readable_detail(error),
            source=f"log:{record.topic}/{record.partition}",
            place=f"offset {record.offset}",
            received_us=record.appended_us,
            raw=record.value,
        )
        return letter.row()

    def _inbox(self) -> int:
        """Work off what waits for couriers' keys, under their own locks; how many keys there were."""
        keys = self._store.dirty_keys(_COURIERS_AT_ONCE)
        if keys:
            with self._store.transaction(keys) as transaction:
                writes = transaction.writes()
                batch = Batch(self._rules, _states(transaction, keys), writes)
                for key, item in transaction.inbox(keys):
                    batch.take_inbox(key, item)
                batch.finish()
                transaction.apply(writes, self._identities)
        return len(keys)


def _states(transaction: StoreTransaction, keys: Iterable[str]) -> dict[str, KeyState]:
    stored = transaction.states(keys)
    return {key: KeyState(key, stored.get(key, ())) for key in keys}


def _difference(before: str, now: str) -> str:
    """The rules that differ, as ``name was … and is …``."""
    old, new = msgspec.json.decode(before), msgspec.json.decode(now)
    return ", ".join(
        f"{name} was {old.get(name)} and is {new.get(name)}"
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    )
