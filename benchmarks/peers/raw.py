"""The limit: aiokafka's ``getmany`` and msgspec's decoding of every field; nothing is joined."""

from __future__ import annotations

import asyncio
import time

from aiokafka import AIOKafkaConsumer

from benchmarks.peers.meter import ENGAGEMENT, EXPOSURES, Arguments, Meter, arguments
from edgeloop.events import decode


async def _read(told: Arguments) -> None:
    consumer = AIOKafkaConsumer(
        told.prefix + EXPOSURES,
        told.prefix + ENGAGEMENT,
        bootstrap_servers=told.bootstrap,
        group_id=told.group,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        fetch_max_bytes=64 << 20,  # few large fetches: the round trips are most of what is left
        max_partition_fetch_bytes=8 << 20,
    )
    await consumer.start()
    meter = Meter(told.expect)
    while True:
        for (topic, partition), records in (await consumer.getmany(timeout_ms=500)).items():
            meter.first = meter.first or time.monotonic()
            for record in records:
                decode(record.value)
            meter.positions[topic, partition] = records[-1].offset + 1


if __name__ == "__main__":
    asyncio.run(_read(arguments(__doc__)))
