"""The real door in a process of its own, with a thin wrapper that sets its clock from a header of each request.

Started by the simulator only: ``python -m edgeloop.app.simulator.timed_door HOME SOCKET_FD``.
"""

from __future__ import annotations

import socket
import sys
from datetime import datetime
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from edgeloop.app.door import create_app
from edgeloop.app.simulator.cast import NOW_HEADER, START_US
from edgeloop.clock import SimulatedClock, to_us
from edgeloop.home import Home
from edgeloop.log.local import LocalLog
from edgeloop.settings import load


def on_simulated_time(app: ASGIApp, clock: SimulatedClock) -> ASGIApp:
    """The door as it is, but the time is what the request says."""

    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        for name, value in scope.get("headers", []):
            if name == NOW_HEADER.encode():
                clock.set_us(to_us(datetime.fromisoformat(value.decode())))
        await app(scope, receive, send)

    return wrapped


def main(home_path: str, descriptor: str) -> None:
    """Serve on an inherited socket until terminated."""
    home = Home(Path(home_path))
    if not home.simulated:
        raise SystemExit(f"{home.path} is not simulated")
    settings = load(home.path, {})
    clock = SimulatedClock(START_US)
    log = LocalLog(home.log, partitions=settings.log.partitions, clock=clock)
    app = on_simulated_time(create_app(home, settings, log, clock), clock)
    config = uvicorn.Config(app, log_level="warning", access_log=False, lifespan="off")
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=int(descriptor))])
    log.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
