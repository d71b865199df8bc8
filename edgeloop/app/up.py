"""``edgeloop up``: door, worker and schedule in one process, until it is told to stop."""

from __future__ import annotations

import logging
from contextlib import closing

import uvicorn

from edgeloop.app.door import create_app
from edgeloop.app.logs import configure, note
from edgeloop.app.schedule import Schedule
from edgeloop.app.serve import announce, listen, server_of, stopped_by_signals
from edgeloop.app.worker import Worker
from edgeloop.clock import Clock, SystemClock
from edgeloop.home import Home
from edgeloop.log.local import LocalLog
from edgeloop.settings import Settings

_log = logging.getLogger(__name__)

_BATCH_S = 30.0
"""How long a stop waits for the batch in flight, which takes a second or two; what is cut off is not lost."""


def up(home: Home, settings: Settings, host: str, port: int, clock: Clock | None = None) -> bool:
    """Run until stopped; whether it was, and did not end because the worker cannot go on."""
    home.create()
    configure(settings.service.log_format)
    with closing(listen(host, port)) as bound, closing(LocalLog(home.log, partitions=settings.log.partitions)) as log:
        now = clock or SystemClock()
        servers: list[uvicorn.Server] = []

        def end() -> None:
            for server in servers:
                server.should_exit = True

        worker = Worker(home, settings, end, now)
        schedule = Schedule(home, settings, now, worker.caught_up.is_set)
        servers.append(server_of(create_app(home, settings, log, now, worker), settings.door))
        with stopped_by_signals(end):
            worker.start()
            schedule.start()
            announce(home, settings, host, bound)
            servers[0].run(sockets=[bound])
            # From here on nothing new is taken; what was answered 202 is in the log.
            schedule.stop()
            if not worker.stop(_BATCH_S):
                note(_log, logging.WARNING, "stopped in the middle of a batch; the next start does it again")
    note(_log, logging.INFO, "stopped")
    return worker.failure is None
