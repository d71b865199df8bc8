"""What keeps the door answering while a large request is worked on: work in slices, one large request at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from itertools import islice
from typing import ParamSpec, TypeVar

from connectors import Intake, Item, Scope, Taken
from edgeloop.log.base import Entry

P = ParamSpec("P")
T = TypeVar("T")
SLICE_ITEMS = 250
SLICE_BYTES = 32_000
"""Of free text, which is looked through for personal data, so much takes some 25 ms."""
IN_A_THREAD_BYTES = 100_000
"""What is worked out of more bytes would hold up every other request for more than a few milliseconds."""


class Aside:
    """One thread for what is large: with several, the event loop would wait its turn behind each of them."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="aside")

    async def work(self, size: int, work: Callable[P, T], *args: P.args, **named: P.kwargs) -> T:
        """What is worked out of so many bytes; of few at once."""
        if size <= IN_A_THREAD_BYTES:
            return work(*args, **named)
        inside = copy_context()
        return await asyncio.get_running_loop().run_in_executor(self._thread, lambda: inside.run(work, *args, **named))


class Turns:
    """Turns items into entries for an event loop, which answers others between two slices."""

    def __init__(self, intake: Intake, now_us: Callable[[], int]) -> None:
        self._intake = intake
        self._now_us = now_us
        self._large = asyncio.Lock()

    async def take(
        self, items: list[Item], source: str, sent_at_us: int | None, scope: Scope | None = None
    ) -> tuple[list[Taken], list[Entry]]:
        """What becomes of each item, and what to append."""
        slices = list(_slices(items)) if len(items) > 1 else [items]
        if len(slices) < 2 and all(len(item.raw) < SLICE_BYTES for item in items):
            return self._intake.take(items, source=source, sent_at_us=sent_at_us, scope=scope)
        now_us = self._now_us()
        taken: list[Taken] = []
        entries: list[Entry] = []

        def work(part: list[Item]) -> None:
            done, new = self._intake.take(part, source=source, sent_at_us=sent_at_us, now_us=now_us, scope=scope)
            taken.extend(done)
            entries.extend(new)

        async with self._large:
            for part in slices:
                if len(part) == 1 and len(part[0].raw) >= SLICE_BYTES:
                    await asyncio.to_thread(work, part)
                else:
                    work(part)
                    await asyncio.sleep(0)
        return taken, entries

    async def of_many(self, count: int, work: Callable[[], T]) -> T:
        """What is worked out of so many events at once; of many, when no other request's are, and others before it."""
        if count <= SLICE_ITEMS:
            return work()
        async with self._large:
            await asyncio.sleep(0)
            return work()


def _slices(items: list[Item]) -> Iterator[list[Item]]:
    left = iter(items)
    while part := list(islice(left, SLICE_ITEMS)):
        if sum(len(item.raw) for item in part) < SLICE_BYTES:
            yield part
            continue
        some: list[Item] = []
        size = 0
        for item in part:
            if some and size + len(item.raw) > SLICE_BYTES:
                yield some
                some, size = [], 0
            some.append(item)
            size += len(item.raw)
        yield some
