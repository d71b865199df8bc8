"""The Faust worker: an application whose one service joins the streams, and whose agent hears the alerts.

Faust gives the process its life: services, timers, web pages, a graceful stop. The join itself is not an agent: a
message at a time costs more than the join, and a batch that raised would be acknowledged. So the service owns a
consumer of its own (streams/feed.py) and drains every stored topic through the steps that the local log goes through.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any, Protocol, TypeVar

import faust
import msgspec
from aiokafka.errors import KafkaError
from mode.utils.objects import cached_property

from edgeloop.errors import EdgeloopError
from edgeloop.events import BACKFILL_TOPICS, STORED_TOPICS
from edgeloop.log.base import Chunk, LogUnavailableError, TopicPartition
from edgeloop.log.partitioner import SHARDS
from edgeloop.store.base import Store, StoreUnavailableError
from streams.feed import Feed, Identities
from streams.passes import UnfinishedPassError
from streams.steps import TOPICS, PositionError, Steps

__all__ = ["Alert", "Counts", "Feed", "Identities", "Join", "Steps", "Tell"]

BATCH_BYTES = 16 << 20
FAR_BEHIND_BATCH_BYTES = 64 << 20
"""Large batches are faster per record and sooner is nothing done: for a worker with much before it."""
_FAR_BEHIND = 100_000
_MOST_FAILURES = 3
_REFUSED_IN_A_ROW = 1_000
"""From so many unreadable records in a row on, a partition is left alone until somebody has looked at it."""
_WORK_OFF_S = 1.0
_IDENTITIES_S = 10.0
_TELL_S = 5.0
_LAST_BATCH_S = 40.0
_WAITS_TOLD_S = 60.0
_COLLECT_S = 60.0
_OLD_LETTERS_S, _OLD_LETTERS_AGAIN_S = 86_400.0, 3_600.0
"""Between two looks for dead letters that were kept long enough, and after one that failed."""
_UPDATES_AT_ONCE = 5_000
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.5, 30.0

R = TypeVar("R")


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """A record of ``loop.alerts``."""

    alert: str
    """What happened, one of a few constants."""
    where: str
    do: str
    at_us: int


class Opened(Protocol):
    """What the join works with; opened and used in the store's own thread."""

    steps: Steps
    store: Store

    def identities(self) -> Identities:
        """(cluster id, topic id) of each topic, asked of the brokers now."""
        ...

    def partitions(self, topic: str) -> int:
        """How many a topic has, as `identities` found them."""
        ...

    def delete_old_letters(self) -> int:
        """Delete some of the dead letters that were kept long enough, in one short transaction; how many."""
        ...

    def close(self) -> None:
        """Close the connections."""
        ...


class Counts(msgspec.Struct):
    """What one worker counts since it started."""

    records: int = 0
    batches: int = 0
    failed: int = 0
    """Batches that raised and were read again."""
    unavailable: int = 0
    """Times that store or brokers did not answer."""
    assignments: int = 0
    alerts: int = 0
    updates: int = 0


class Tell(Protocol):
    """Hears what goes wrong: a constant text, our own words about it, and the exception if there is one."""

    def __call__(self, level: int, event: str, detail: str = "", failure: BaseException | None = None) -> None:
        """Pass it on."""
        ...


class Join(faust.Service):
    """Drains the partitions that the group gives this worker."""

    def __init__(
        self,
        open_all: Callable[[], Opened],
        feed: Feed,
        alert: Callable[[Alert], Awaitable[Any]],
        publish: Callable[[Sequence[tuple[str, bytes]]], Awaitable[Any]] | None = None,
        *,
        tell: Tell,
    ) -> None:
        """``publish`` sends records (key, body) of ``attribution.updates``, and returns when they are durable.

        ``tell`` is told what goes wrong.
        """
        super().__init__()
        self._tell = tell
        self._publish = publish
        self._closing: list[Callable[[], Awaitable[None]]] = []
        self._open = open_all
        self._feed = feed
        self._alert = alert
        self._opened: Opened | None = None
        self._batch = asyncio.Lock()
        """Held while a batch is worked in: partitions are given away, and the service ends, after it."""
        self._worked_off_at = self._told_at = self._identified_at = 0.0
        self._collected_at = time.monotonic()
        self._old_letters_at = 0.0
        """When to look for old dead letters, on the clock that only goes on."""
        self._to_flush: list[list[int]] = []
        self._failures = 0
        self._waits_told_at = 0.0
        self._gathering: asyncio.Task[list[Chunk]] | None = None
        """The next batch."""
        self._starting = asyncio.Lock()
        """Held while the store is opened and the group joined: a stop that comes then waits for it."""
        self._works = False
        self._ended = asyncio.Event()
        self.counts = Counts()
        self.failure: BaseException | None = None
        """Why it ended, where nobody told it to."""
        self.problem: str | None = None
        """What it waits for, where it cannot work now."""

    def add_closing(self, close: Callable[[], Awaitable[None]]) -> None:
        """Something to be closed when the join has ended."""
        self._closing.append(close)

    @cached_property
    def _thread(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(1, thread_name_prefix="store")

    async def _in_thread(self, action: Callable[[], R]) -> R:
        return await asyncio.get_running_loop().run_in_executor(self._thread, action)

    async def on_start(self) -> None:
        """Open the store before any partition is asked for: a worker that may not work takes none from the others."""
        # A batch makes hundreds of thousands of objects and no cycles: looking for some in every batch costs a tenth of
        # the time, once a minute nothing.
        gc.disable()
        async with self._starting:
            try:
                if not self.should_stop:
                    self._opened = await self._in_thread(self._open)
                if not self.should_stop:
                    topics = await self._in_thread(self._topics)
                    await self._feed.start(topics, self._end_of_batch)
            except Exception as error:
                self.failure = error
                raise

    def _topics(self) -> list[str]:
        there = self._opened.identities() if self._opened is not None else {}
        return [*TOPICS, *(name for name in BACKFILL_TOPICS if name in there)]

    async def _end_of_batch(self) -> None:
        async with self._batch:
            pass

    async def on_stop(self) -> None:
        """Finish the batch in flight, then give the partitions back at once."""
        try:
            async with asyncio.timeout(_LAST_BATCH_S):
                await self._starting.acquire()
                if self._works:
                    await self._ended.wait()
        except TimeoutError:  # brokers that went away in the middle of giving out partitions never answer
            self._tell(logging.WARNING, "stopped in the middle of a batch; the next worker does it again")
        await self._feed.close()
        for close in self._closing:
            await close()
        if self._opened is not None:
            await self._in_thread(self._opened.close)
        self._thread.shutdown()

    @faust.Service.task
    async def _work(self) -> None:
        self._works = True
        try:
            await self._work_on()
        finally:
            await self._drop_gathered()
            self._ended.set()

    async def _work_on(self) -> None:
        while not self.should_stop:
            try:
                await self._round()
            except asyncio.CancelledError:
                raise
            except UnfinishedPassError as error:
                await self._wait(str(error), error)
            except (StoreUnavailableError, LogUnavailableError) as error:
                self.counts.unavailable += 1
                await self._wait(str(error), error)
            except (KafkaError, OSError) as error:
                self.counts.unavailable += 1
                await self._wait(f"the brokers do not answer ({type(error).__name__})", error)
            except EdgeloopError as error:  # a person must mend it: trying again changes nothing
                await self._end(error)
                return
            except Exception as error:
                self.counts.failed += 1
                self._failures += 1
                self._tell(logging.ERROR, "a batch failed", f"for the {self._failures}. time in a row", error)
                if self._failures >= _MOST_FAILURES:
                    await self._end(error)
                    return
                await self._wait("a batch failed", error)
            else:
                if self.problem is not None:
                    self._tell(logging.INFO, "the worker goes on")
                self.problem = None

    async def _wait(self, problem: str, error: BaseException) -> None:
        """Read again from where the store is, a little later."""
        now = time.monotonic()
        if problem != self.problem or now - self._waits_told_at >= _WAITS_TOLD_S:
            self._waits_told_at = now
            self._tell(logging.WARNING, "the worker waits and tries again", problem, error)
        self.problem = problem
        self._feed.must_place = True
        tries = max(self._failures, 1)
        await self.sleep(min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2 ** (tries - 1)))

    async def _end(self, error: BaseException) -> None:
        self.failure = error
        await self.crash(error)

    async def _round(self) -> None:
        """One batch, and what is due beside it."""
        now = time.monotonic()
        if self._feed.must_place:
            await self._place()
            return
        if now - self._identified_at > _IDENTITIES_S:
            await self._check_identities()
        chunks = await (self._gathering or self._gather())
        # The next batch is fetched while this one is worked in: that takes the brokers' time and little of ours.
        self._gathering = self._gather()
        async with self._batch:
            if self._feed.must_place:  # given away while it was gathered
                return
            records = await self._in_thread(lambda: self._take(chunks))
        if records:
            self._failures = 0
            self.counts.records += records
            self.counts.batches += 1
            await self._look_at_refused()
        if self._publish is not None:
            await self._publish_updates(self._publish)
        if now > self._old_letters_at:
            self._old_letters_at = time.monotonic() + await self._in_thread(self._delete_old_letters)
        if now - self._told_at > _TELL_S:
            self._told_at = now
            try:
                await self._feed.tell_group()
            except KafkaError as error:  # only who watches from outside misses it
                self._tell(logging.DEBUG, "the group was not told", "", error)

    def _gather(self) -> asyncio.Task[list[Chunk]]:
        far = self._feed.lag() > _FAR_BEHIND
        return asyncio.create_task(self._feed.gather(FAR_BEHIND_BATCH_BYTES if far else BATCH_BYTES))

    async def _drop_gathered(self) -> None:
        """What was fetched ahead is fetched again, from where the store is."""
        if self._gathering is not None:
            gathering, self._gathering = self._gathering, None
            with suppress(KafkaError, OSError):
                await gathering

    async def _place(self) -> None:
        opened = self._the_opened()
        await self._drop_gathered()
        async with self._batch:
            identities = await self._in_thread(opened.identities)
            self._identified_at = time.monotonic()
            stored = await self._in_thread(opened.store.offsets)
            await self._feed.place(stored, identities)

            def begin() -> None:
                steps = opened.steps
                steps.identities = identities
                steps.adopt_rules()
                if self.counts.assignments != self._feed.assignments:
                    steps.forget()
                self._own_shards(opened)

            await self._in_thread(begin)
        self.counts.assignments = self._feed.assignments

    def _own_shards(self, opened: Opened) -> None:
        """In the store's thread: work off the couriers' keys of the shards of the exposures' partitions it has.

        Every shard is some worker's, whatever the number of partitions, as soon as all have noticed the same number.
        """
        topic = STORED_TOPICS[0]
        mine = {partition for name, partition in self._feed.partitions if name == topic}
        count = opened.partitions(topic)
        opened.steps.own([shard for shard in range(SHARDS) if shard % count in mine])
        opened.steps.load()

    async def _check_identities(self) -> None:
        opened = self._the_opened()
        identities = await self._in_thread(opened.identities)
        if any(opened.steps.identities.get(name, known) != known for name, known in identities.items()):
            self._feed.must_place = True
        else:
            await self._in_thread(partial(self._own_shards, opened))
        self._identified_at = time.monotonic()

    def _take(self, chunks: list[Chunk]) -> int:
        """In the store's thread: a batch, and what is due beside it."""
        steps = self._the_opened().steps
        records = 0
        if chunks:
            try:
                records = steps.take(chunks)
            except PositionError:
                self._feed.must_place = True
                return 0
        now = time.monotonic()
        if now - self._worked_off_at > _WORK_OFF_S:
            while steps.work_off() and not chunks:
                pass
            self._worked_off_at = now
        # A few shards after each batch: all heads at once would keep what comes meanwhile waiting for seconds.
        if not self._to_flush and (steps.full or (not chunks and steps.unflushed)):
            self._to_flush = steps.held
        if self._to_flush:
            steps.flush_shards(self._to_flush.pop())
        if now - self._collected_at > _COLLECT_S:
            self._collected_at = now
            gc.collect()
        return records

    def _delete_old_letters(self) -> float:
        """In the store's thread: delete some, between two batches; the seconds until the next try."""
        try:
            deleted = self._the_opened().delete_old_letters()
        except Exception as error:  # events are more urgent than what is to be deleted
            self._tell(logging.WARNING, "old dead letters could not be deleted: tried again later", "", error)
            return _OLD_LETTERS_AGAIN_S
        return 0.0 if deleted else _OLD_LETTERS_S

    async def _publish_updates(self, publish: Callable[[Sequence[tuple[str, bytes]]], Awaitable[Any]]) -> None:
        """Publish what the outbox holds, then take it out: a crash between the two publishes it again."""
        steps = self._the_opened().steps
        while updates := await self._in_thread(lambda: steps.to_publish(_UPDATES_AT_ONCE)):
            await publish([(key, body) for _, key, body in updates])
            numbers = [number for number, _, _ in updates]
            await self._in_thread(partial(steps.published, numbers))
            self.counts.updates += len(updates)
            if len(updates) < _UPDATES_AT_ONCE:
                return

    async def _look_at_refused(self) -> None:
        """Leave a partition in which nothing can be read any more, and say so."""
        for (topic, partition), n in list(self._the_opened().steps.refused_in_a_row.items()):
            if n >= _REFUSED_IN_A_ROW and (topic, partition) not in self._feed.unread:
                self._feed.stop_reading(topic, partition)
                await self._say(
                    "partition paused",
                    f"{topic}/{partition}",
                    f"{n:,} records in a row could not be read. See `edgeloop dead-letters list`, stop who produces "
                    "them, then restart this worker",
                )

    async def _say(self, alert: str, where: str, do: str) -> None:
        self.counts.alerts += 1
        try:
            await self._alert(Alert(alert=alert, where=where, do=do, at_us=time.time_ns() // 1_000))
        except (KafkaError, OSError) as error:
            self._tell(logging.ERROR, "an alert could not be published", f"{alert}: {where}. {do}", error)

    def _the_opened(self) -> Opened:
        if self._opened is None:
            raise RuntimeError("the join was not started")
        return self._opened

    @property
    def partitions(self) -> list[TopicPartition]:
        """Those of this worker."""
        return self._feed.partitions

    @property
    def refused(self) -> int:
        """Transactions that came too late and were done again."""
        return 0 if self._opened is None else self._opened.steps.refused

    @property
    def lag(self) -> int:
        """Records behind, in this worker's partitions."""
        return self._feed.lag()
