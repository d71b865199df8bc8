"""Faust with a table: exposures are kept per customer, an engagement looks them up. Its own joins are not implemented.

The table is in memory with a changelog topic, Faust's default; RocksDB would be slower and lose nothing less. Of an
exposure the fields that a row of ours needs are kept, not the whole event, because each change writes the customer's
whole list to the changelog; what is older than the window and the grace is let go of then.

An exposure that arrives after its outcome finds nobody who looks for it: the match is lost. To mend that, a user would
keep the outcomes in a second table and look both ways, which is the half of a join that Faust leaves out.
"""

from __future__ import annotations

from bisect import insort
from typing import Any

import faust

from benchmarks.peers.faust_plain import application, processed, run
from benchmarks.peers.meter import ENGAGEMENT, EXPOSURES, Arguments, Meter, arguments
from edgeloop.clock import to_us
from edgeloop.events import Engagement, Exposure, decode


def main(told: Arguments) -> None:
    """Two agents around one table."""
    app = application(told)
    meter = Meter(told.expect, told.matches)
    window_ms, kept_ms = told.window_h * 3_600_000, (told.window_h + told.grace_h) * 3_600_000
    seen = app.Table("seen", default=list, partitions=4)
    topics = [
        app.topic(told.prefix + name, value_serializer="raw", key_serializer="raw", value_type=bytes)
        for name in (EXPOSURES, ENGAGEMENT)
    ]

    async def keep(stream: faust.StreamT[bytes]) -> None:
        async for came in stream.events():
            event = decode(came.value)
            if isinstance(event, Exposure):
                at = to_us(event.occurred_at) // 1000
                of_customer: list[Any] = seen[event.subject]
                latest = max(at, of_customer[-1][0]) if of_customer else at
                of_customer = [one for one in of_customer if latest - one[0] <= kept_ms]
                insort(of_customer, [at, event.exposure_id, event.model_id, event.model_version, event.arm or ""])
                seen[event.subject] = of_customer
            processed(meter, came)

    async def look_up(stream: faust.StreamT[bytes]) -> None:
        async for came in stream.events():
            event = decode(came.value)
            if isinstance(event, Engagement):
                at = to_us(event.occurred_at) // 1000
                for exposed, exposure, model, *_ in seen[event.subject]:
                    if at - window_ms <= exposed <= at:
                        meter.match(event.event_id, model, exposure, exposed)
            processed(meter, came)

    app.agent(topics[0], name="keep")(keep)
    app.agent(topics[1], name="look-up")(look_up)
    run(app)


if __name__ == "__main__":
    main(arguments(__doc__))
