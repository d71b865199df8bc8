"""Runs the late scenario on each engine, and scores it."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.peers import late
from benchmarks.peers.late import Arrival, Score
from benchmarks.peers.load import append, create_topics, producer_of
from benchmarks.peers.ours import Workers
from benchmarks.peers.runners import KafkaStreams
from benchmarks.peers.running import EngineError, Runner, Running, Task, fresh_folder
from tests.real.kafka import Broker

_STEP_MS = 6 * 3_600_000
_STALLED_S = 90.0
GRACES_H = (24.0, 240.0)
"""A day, which was Kafka Streams' own until it had to be said; and longer than anything here is late."""


class LateRow(NamedTuple):
    """A line of the table."""

    name: str
    latest: Score
    last: Score
    repeats: int


def late_rows(engines: Sequence[Runner], broker: Broker, folder: Path) -> list[LateRow]:
    """Each engine in one process; Kafka Streams with each grace, the others with the longer."""
    arrivals = late.arrivals()
    true = late.truth(arrival.event for arrival in arrivals)
    rows = []
    for engine in engines:
        for grace_h in GRACES_H if isinstance(engine, KafkaStreams) else GRACES_H[-1:]:
            name = f"{engine.name}, grace {grace_h:.0f} h" if isinstance(engine, KafkaStreams) else engine.name
            print(f"late arrivals: {name} …", file=sys.stderr)
            own = fresh_folder(folder, f"late-{engine.name}")
            prefix = f"{own.name}."
            create_topics(broker, prefix)
            task = Task(broker.bootstrap, prefix, len(arrivals), 1, own, late.WINDOW_H, grace_h, own / "matches")
            try:
                rows.append(_row(name, engine, task, arrivals, true))
            except EngineError as error:
                print(error, file=sys.stderr)
    return rows


def _row(name: str, engine: Runner, task: Task, arrivals: Sequence[Arrival], true: set[late.Match]) -> LateRow:
    running = engine.start(task)
    try:
        asyncio.run(_live(running, task, arrivals))
    finally:
        running.end()
    if isinstance(running, Workers):
        found = late.score(true, running.matches())
        return LateRow(name, found, found, 0)
    pairs = late.read_pairs(task.folder / "matches")
    return LateRow(name, late.score(true, late.latest(pairs)), late.score(true, late.last(pairs)), late.repeats(pairs))


async def _live(running: Running, task: Task, arrivals: Sequence[Arrival]) -> None:
    """Append what arrives within each quarter of a day once the engine has taken in all that came before.

    The first record goes alone, so that the engine is there when the rest comes.
    """
    steps = [list(arrivals[:1])]
    for arrival in arrivals[1:]:
        if len(steps) == 1 or arrival.at_ms // _STEP_MS != steps[-1][-1].at_ms // _STEP_MS:
            steps.append([])
        steps[-1].append(arrival)
    producer = producer_of(task.bootstrap)
    await producer.start()
    sent = 0
    try:
        for step in steps:
            answers = await append(producer, task.prefix, [late.entry(arrival) for arrival in step])
            await asyncio.gather(*answers)
            sent += len(step)
            until = time.monotonic() + _STALLED_S
            while (found := await asyncio.to_thread(running.progress)).records < sent:
                running.check()
                if time.monotonic() > until:
                    raise running.stalled(found, task.expect)
                await asyncio.sleep(0.02)
            if found.records > sent:
                raise EngineError(f"{found.records:,} records were taken in where {sent:,} had been appended")
    finally:
        await producer.stop()
