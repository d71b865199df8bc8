"""Quix Streams: ``join_interval`` of exposures with engagement. Run by the Python of its own environment.

State is in RocksDB with changelog topics, the default; JSON goes through orjson, its default too. Both sides keep whole
events, as ours does; keeping four fields was no faster. A commit every 30 s, as Kafka Streams makes, and larger buffers
gave a third more than the defaults (5 s and 10,000 messages of a partition). Backward is 0, so that an exposure looks
for no engagement before it; an engagement looks back over the whole window.

Of this join each side looks back in time only. An exposure that arrives after its outcome therefore never finds it,
whatever the grace.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from quixstreams import Application  # type: ignore[import-not-found]

from benchmarks.peers.meter import ENGAGEMENT, EXPOSURES, Arguments, Meter, arguments


def _at_ms(value: Any, *_: Any) -> int:
    return int(datetime.fromisoformat(value["occurred_at"]).timestamp() * 1000)


def main(told: Arguments) -> None:
    """One dataframe."""
    meter = Meter(told.expect, told.matches)

    def processed(topic: str, partition: int, offset: int) -> None:
        meter.positions[topic, partition] = offset + 1

    def joined(match: dict[str, Any]) -> None:
        meter.match(match["outcome"], match["model"], match["exposure"], match["exposure_ms"])

    app = Application(
        broker_address=told.bootstrap,
        consumer_group=told.group,
        auto_offset_reset="earliest",
        state_dir=told.folder,
        loglevel="WARNING",
        on_message_processed=processed,
        commit_interval=30.0,
        max_partition_buffer_size=50_000,
        consumer_poll_timeout=0.1,
        consumer_extra_config={"fetch.min.bytes": 1, "queued.max.messages.kbytes": 65_536},
    )
    exposures, engagement = (
        app.dataframe(app.topic(told.prefix + name, timestamp_extractor=_at_ms)) for name in (EXPOSURES, ENGAGEMENT)
    )
    exposures.join_interval(
        engagement,
        on_merge=lambda exposure, outcome: {
            "outcome": outcome["event_id"],
            "model": exposure["model_id"],
            "exposure": exposure["exposure_id"],
            "exposure_ms": _at_ms(exposure),
        },
        forward_ms=round(told.window_h * 3_600_000),
        grace_ms=round((told.window_h + told.grace_h) * 3_600_000),
    ).update(joined)
    app.run()


if __name__ == "__main__":
    main(arguments(__doc__))
