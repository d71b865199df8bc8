"""The load of the join benchmark: exposures and engagement as our door would append them, on Kafka, once for all peers.

The events are those of `benchmarks.events` (every column of the contract), taken in by the product's own intake. Two of
three are exposures; answers are left out, because the peers join two streams. So is the courier, unless it is asked
for: the peers join by customer alone, and a courier is a second key for ours.
"""

from __future__ import annotations

import asyncio
import random
import re
import tempfile
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaProducer

from benchmarks.events import lines
from connectors import Intake, native
from edgeloop.clock import SystemClock, to_us
from edgeloop.events import ALERTS_TOPIC, DEAD_LETTERS_TOPIC, STORED_TOPICS, Engagement, Exposure, decode
from edgeloop.home import Home
from edgeloop.log.base import Entry
from edgeloop.log.partitioner import murmur2_of
from tests.real.kafka import Broker

PARTITIONS = 4
MATCHES_TOPIC = "matches"
EVENTS_OF_A_CUSTOMER = 10
_KEPT = 0.8
"""Of the exposures: `benchmarks.events` makes five for two engagements."""
_COURIER = re.compile(rb',"courier_id":"[^"]*"')
_BLOCK = 1_000


def door_lines(events: int, *, couriers: bool = False) -> Iterator[bytes]:
    """So many exposures and engagements in door form, in order of event time, two to one."""
    chance = random.Random(7).random
    customers = max(events // EVENTS_OF_A_CUSTOMER, 1)

    def wanted() -> Iterator[bytes]:
        for line in lines(round(events * 1.27) + 1_000, customers):
            kind = line[9:19]
            if kind == b"engagement" or (kind.startswith(b"exposure") and chance() < _KEPT):
                yield line if couriers else _COURIER.sub(b"", line)

    return islice(wanted(), events)


def log_entries(door: Iterable[bytes]) -> Iterator[list[Entry]]:
    """Blocks of what our door appends for these lines."""
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder) / "home")
        home.create()
        intake = Intake(home, SystemClock())
        left = iter(door)
        while block := list(islice(left, _BLOCK)):
            taken, entries = intake.take(native.items_of_body(b"".join(block)), source="benchmark")
            refused = next((one.rejected for one in taken if one.rejected is not None), None)
            if refused is not None:
                raise ValueError(f"the load's own event was refused: {refused.detail}")
            yield entries


def create_topics(broker: Broker, prefix: str) -> None:
    """Every topic that a worker of ours subscribes to; the load goes to two of them. And where a peer's matches go."""
    for topic in (*STORED_TOPICS, DEAD_LETTERS_TOPIC, ALERTS_TOPIC, MATCHES_TOPIC):
        broker.create_topic(prefix + topic, PARTITIONS)


async def produce(bootstrap: str, prefix: str, blocks: Iterable[list[Entry]]) -> int:
    """Append the blocks in their order; how many records that were, once the brokers have them all.

    Each block is there before the next one is sent: engines that read two topics by time need the topics to have grown
    together.
    """
    producer = producer_of(bootstrap)
    await producer.start()
    sent = 0
    try:
        for block in blocks:
            await asyncio.gather(*await append(producer, prefix, block))
            sent += len(block)
    finally:
        await producer.stop()
    return sent


def producer_of(bootstrap: str) -> AIOKafkaProducer:
    """A producer that compresses as our door does."""
    return AIOKafkaProducer(
        bootstrap_servers=bootstrap, acks="all", compression_type="lz4", linger_ms=5, max_batch_size=1 << 18
    )


async def append(producer: AIOKafkaProducer, prefix: str, block: list[Entry]) -> list[Any]:
    """Hand one block over, to the partitions of Kafka's default partitioner; what to await for the brokers' answers."""
    hashes = murmur2_of([entry.key for entry in block])
    return [
        await producer.send(prefix + entry.topic, entry.value, entry.key.encode(), hashed % PARTITIONS)
        for entry, hashed in zip(block, hashes, strict=True)
    ]


class Pairs:
    """How many (exposure, engagement) of one customer lie within a window of each other, by brute force."""

    def __init__(self, window_h: float) -> None:
        self._window_us = round(window_h * 3_600_000_000)
        self._exposed: dict[str, list[int]] = {}
        self._engaged: dict[str, list[int]] = {}

    def watch(self, blocks: Iterable[list[Entry]]) -> Iterator[list[Entry]]:
        """The blocks, looked at while they pass."""
        for block in blocks:
            for entry in block:
                event = decode(entry.value)
                of = {Exposure: self._exposed, Engagement: self._engaged}[type(event)]
                of.setdefault(entry.key, []).append(to_us(event.occurred_at))
            yield block

    def count(self) -> int:
        """Of all that passed."""
        found = 0
        for key, engaged in self._engaged.items():
            exposed = sorted(self._exposed.get(key, ()))
            for at in engaged:
                found += bisect_right(exposed, at) - bisect_left(exposed, at - self._window_us)
        return found
