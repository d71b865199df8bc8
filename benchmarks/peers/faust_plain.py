"""Faust as it comes: one agent per topic, which decodes each message; nothing is joined.

Values are taken raw and decoded by msgspec, because Faust's own JSON models cost several times as much. The buffers
hold 16,384 messages and a commit is made every 2.8 s (the default) or 10,000 messages: smaller ones are slower.
``--cython`` turns on ``cython_optimizations``, which lets a stream take what waits in its queue without a trip
through the event loop; this program refuses to start where Faust's compiled extensions are missing. It changes nothing
here: the feeder hands over one message per turn of the loop, and the queue was empty each of the 100,000 times that it
was asked.
"""

from __future__ import annotations

import faust
from faust import streams
from faust.transport import conductor
from faust.utils.optin import cython_optimizations_enabled

from benchmarks.peers.meter import ENGAGEMENT, EXPOSURES, Arguments, Meter, arguments
from edgeloop.events import decode


def application(told: Arguments, store: str = "memory://") -> faust.App:
    """The settings that both Faust peers share."""
    app = faust.App(
        told.group,
        broker=f"kafka://{told.bootstrap}",
        store=store,
        datadir=str(told.folder),
        cython_optimizations=told.cython,
        consumer_auto_offset_reset="earliest",
        consumer_max_fetch_size=8 << 20,
        broker_max_poll_records=16_384,
        broker_commit_every=10_000,
        stream_buffer_maxsize=16_384,
        stream_wait_empty=False,
        producer_linger=0.05,
        topic_replication_factor=1,
        topic_partitions=4,
        topic_disable_leader=True,
        web_enabled=False,
    )
    if told.cython:
        compiled = (streams._CStreamIterator, conductor.ConductorHandler)  # type: ignore[attr-defined]
        if not cython_optimizations_enabled(app.conf) or None in compiled:
            raise SystemExit("--cython does nothing here: this Faust was built without its Cython extensions")
    return app


def run(app: faust.App) -> None:
    """Work until it is ended."""
    worker = faust.Worker(app, loglevel="WARNING")
    worker.spinner = None
    worker.execute_from_commandline()


def processed(meter: Meter, event: faust.EventT[bytes]) -> None:
    """One more."""
    message = event.message
    meter.positions[message.topic, message.partition] = message.offset + 1


def main(told: Arguments) -> None:
    """Two agents."""
    app = application(told)
    meter = Meter(told.expect)

    async def read(stream: faust.StreamT[bytes]) -> None:
        async for event in stream.events():
            decode(event.value)
            processed(meter, event)

    for name in (EXPOSURES, ENGAGEMENT):
        topic = app.topic(told.prefix + name, value_serializer="raw", key_serializer="raw", value_type=bytes)
        app.agent(topic, name=f"read-{name}")(read)
    run(app)


if __name__ == "__main__":
    main(arguments(__doc__))
