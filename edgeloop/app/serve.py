"""``edgeloop serve``: the door on an address, until it is told to stop."""

from __future__ import annotations

import logging
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from types import FrameType

import uvicorn
from starlette.applications import Starlette

from edgeloop.app.door import create_app
from edgeloop.app.gate import Gate
from edgeloop.app.logs import configure, note
from edgeloop.clock import SystemClock
from edgeloop.errors import EdgeloopError
from edgeloop.home import API_KEYS, Home
from edgeloop.log.opening import create_home, open_log
from edgeloop.settings import DoorSettings, Settings

_log = logging.getLogger(__name__)

_LAST_REQUESTS_S = 5
"""How long a stop waits for requests that have begun."""
_BACKLOG = 2_048


def listen(host: str, port: int) -> socket.socket:
    """A bound socket; port 0 takes a free one.

    Raises:
        EdgeloopError: the address is taken or not ours.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio sets TCP_NODELAY on connections of sockets that name their protocol; else each answer on a connection that
    # stays open waits for the client's delayed acknowledgement, 40 ms.
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
        bound.listen(_BACKLOG)  # before anyone is told that the door is open
    except OSError as error:
        bound.close()
        raise EdgeloopError(
            f"cannot listen on {host}:{port}: {error.strerror}. Choose another with --port, or see what listens there"
        ) from error
    return bound


def serve(home: Home, settings: Settings, host: str, port: int) -> None:
    """Serve until interrupted."""
    create_home(home, settings)
    configure(settings.service.log_format)
    with closing(listen(host, port)) as bound, closing(open_log(home, settings)) as log:
        server = server_of(create_app(home, settings, log, SystemClock()), settings.door)
        announce(home, settings, host, bound)
        with stopped_by_signals(lambda: setattr(server, "should_exit", True)):
            server.run(sockets=[bound])


def server_of(app: Starlette, door: DoorSettings | None = None) -> uvicorn.Server:
    """A server whose few words go through our own log, and whose connections are within the bounds of a door."""
    # The access log would hold addresses of people and paths that are secrets, and says nothing that /metrics does not.
    return uvicorn.Server(
        uvicorn.Config(
            app,
            http=Gate(door or DoorSettings()).protocol(),
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            lifespan="off",
            timeout_graceful_shutdown=_LAST_REQUESTS_S,
        )
    )


def announce(home: Home, settings: Settings, host: str, bound: socket.socket) -> None:
    """Say where the door is, and what it still lacks."""
    shown = f"[{host}]" if ":" in host else host
    note(_log, logging.INFO, "the door is open (stop with Ctrl-C)", address=f"http://{shown}:{bound.getsockname()[1]}")
    if not (home.keys / API_KEYS).exists():
        note(_log, logging.INFO, "no sender has a key yet: `edgeloop keys create` makes one, and it works at once")
    if not settings.typeform.secret:
        note(_log, logging.INFO, "/hooks/typeform refuses everything until EDGELOOP_TYPEFORM_SECRET is set")
    if not settings.zigpoll.token:
        note(_log, logging.INFO, "/hooks/zigpoll refuses everything until EDGELOOP_ZIGPOLL_TOKEN is set")


@contextmanager
def stopped_by_signals(end: Callable[[], None]) -> Iterator[None]:
    """SIGTERM and SIGINT end the server; it raises them again when it is done, and then they must not kill us."""

    def handle(_number: int, _frame: FrameType | None) -> None:
        end()

    before = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
