"""Group commit: what waits while one append runs shares the next, and nobody is told too early."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import pytest

from edgeloop.app import append_queue
from edgeloop.app.append_queue import AppendQueue
from edgeloop.log.base import Entry, LogUnavailableError
from tests.fakes import MemoryLog


class GatedLog(MemoryLog):
    """A log whose appends wait until they are let through; keeps the size of each."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.sizes: list[int] = []
        self.threads: set[int] = set()

    def append(self, entries: Sequence[Entry]) -> None:
        self.threads.add(threading.get_ident())
        assert self.gate.wait(10)
        super().append(entries)
        self.sizes.append(len(entries))


def entries(name: str, count: int) -> list[Entry]:
    return [Entry("edge.exposures", name, f"{name}{n}".encode()) for n in range(count)]


async def _settled(tasks: Sequence[asyncio.Task[None]]) -> None:
    for _ in range(20):
        await asyncio.sleep(0)
    assert not any(task.done() for task in tasks), "told before the log has it"


def test_what_waits_shares_one_append_in_order() -> None:
    async def run(log: GatedLog) -> None:
        queue = AppendQueue(log)
        first = asyncio.create_task(queue.append(entries("a", 2)))
        await _settled([first])
        others = [asyncio.create_task(queue.append(entries(name, 3))) for name in "bcd"]
        await _settled([first, *others])
        log.gate.set()
        await asyncio.gather(first, *others)
        assert log.sizes == [2, 9]
        assert [entry.key for entry in log.entries] == ["a"] * 2 + ["b"] * 3 + ["c"] * 3 + ["d"] * 3
        assert threading.get_ident() not in log.threads, "the event loop may not block"

    asyncio.run(run(GatedLog()))


def test_who_goes_away_takes_nobody_along() -> None:
    async def run(log: GatedLog) -> None:
        queue = AppendQueue(log)
        first, gone, last = (asyncio.create_task(queue.append(entries(name, 1))) for name in "abc")
        await _settled([first, gone, last])
        gone.cancel()
        log.gate.set()
        await asyncio.gather(first, last)
        await queue.append(entries("d", 1))
        assert [entry.key for entry in log.entries] == ["a", "b", "c", "d"]

    asyncio.run(run(GatedLog()))


def test_a_failure_is_everybodys_of_that_append_and_the_next_works() -> None:
    async def run(log: MemoryLog) -> None:
        queue = AppendQueue(log)
        log.broken = True
        found = await asyncio.gather(*(queue.append(entries(n, 1)) for n in "ab"), return_exceptions=True)
        assert [type(error) for error in found] == [LogUnavailableError] * 2
        assert log.entries == []
        log.broken = False
        await queue.append(entries("c", 1))
        assert [entry.key for entry in log.entries] == ["c"]

    asyncio.run(run(MemoryLog()))


def test_too_much_waiting_is_refused_until_it_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(append_queue, "MAX_WAITING_ENTRIES", 4)

    async def run(log: GatedLog) -> None:
        queue = AppendQueue(log)
        running = asyncio.create_task(queue.append(entries("a", 4)))
        await _settled([running])
        waiting = asyncio.create_task(queue.append(entries("b", 4)))
        await _settled([running, waiting])
        with pytest.raises(LogUnavailableError):
            await queue.append(entries("c", 1))
        log.gate.set()
        await asyncio.gather(running, waiting)
        await queue.append(entries("d", 4))
        assert [entry.key for entry in log.entries] == ["a"] * 4 + ["b"] * 4 + ["d"] * 4

    asyncio.run(run(GatedLog()))


def test_too_many_bytes_waiting_are_refused_until_they_are_written() -> None:
    async def run(log: GatedLog) -> None:
        queue = AppendQueue(log, max_waiting_bytes=10)
        running = asyncio.create_task(queue.append(entries("a", 4)))
        await _settled([running])
        waiting = asyncio.create_task(queue.append(entries("b", 5)))  # of two bytes each
        await _settled([running, waiting])
        with pytest.raises(LogUnavailableError, match="too much is waiting"):
            await queue.append(entries("c", 1))
        log.gate.set()
        await asyncio.gather(running, waiting)
        await queue.append(entries("d", 1))
        assert [entry.key for entry in log.entries] == ["a"] * 4 + ["b"] * 5 + ["d"]

    asyncio.run(run(GatedLog()))


def test_one_request_alone_is_taken_whatever_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(append_queue, "MAX_WAITING_ENTRIES", 4)

    async def run(log: GatedLog) -> None:
        queue = AppendQueue(log, max_waiting_bytes=10)
        running = asyncio.create_task(queue.append(entries("a", 1)))
        await _settled([running])
        large = asyncio.create_task(queue.append(entries("b", 9)))
        await _settled([running, large])
        log.gate.set()
        await asyncio.gather(running, large)
        assert log.sizes == [1, 9]

    asyncio.run(run(GatedLog()))


def test_nothing_is_no_append() -> None:
    log = MemoryLog()
    asyncio.run(AppendQueue(log).append([]))
    assert log.appends == 0
