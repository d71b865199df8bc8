"""``edgeloop serve``: the door on an address, until it is told to stop."""

from __future__ import annotations

import socket

import uvicorn

from edgeloop.app.door import create_app
from edgeloop.app.output import say
from edgeloop.clock import SystemClock
from edgeloop.errors import EdgeloopError
from edgeloop.home import API_KEYS, Home
from edgeloop.log.local import LocalLog
from edgeloop.settings import Settings


def listen(host: str, port: int) -> socket.socket:
    """A bound socket; port 0 takes a free one.

    Raises:
        EdgeloopError: the address is taken or not ours.
    """
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        raise EdgeloopError(
            f"cannot listen on {host}:{port}: {error.strerror}. Choose another with --port, or see what listens there"
        ) from error
    return bound


def serve(home: Home, settings: Settings, host: str, port: int) -> None:
    """Serve until interrupted."""
    home.create()
    bound = listen(host, port)
    log = LocalLog(home.log, partitions=settings.log.partitions)
    try:
        app = create_app(home, settings, log, SystemClock())
        shown = f"[{host}]" if ":" in host else host
        say(f"the door is open at http://{shown}:{bound.getsockname()[1]} (stop with Ctrl-C)")
        if not (home.keys / API_KEYS).exists():
            say("no sender has a key yet: `edgeloop keys create` makes one, and it works at once")
        if not settings.typeform.secret:
            say("/hooks/typeform refuses everything until EDGELOOP_TYPEFORM_SECRET is set")
        # The access log would hold addresses of people, and says nothing that /metrics does not.
        config = uvicorn.Config(app, log_level="warning", access_log=False, server_header=False, lifespan="off")
        uvicorn.Server(config).run(sockets=[bound])
    finally:
        log.close()
        bound.close()
