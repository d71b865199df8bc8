"""Who may hold a connection of the door, and for how long: without it some hundred that never finish make it deaf.

A request has its head within some seconds and its body at a least rate (as Apache's `mod_reqtimeout` asks it), and its
answer is read. Where all connections are taken, the one that has waited longest for a request makes room.
"""

from __future__ import annotations

import asyncio
import logging
import resource
from typing import Any, ClassVar

from uvicorn.protocols.http.h11_impl import H11Protocol

from edgeloop.app.seldom import Seldom
from edgeloop.settings import DoorSettings

_log = logging.getLogger(__name__)

LEAST_BYTES_A_S = 4_000
"""Of a body, once `body_s` are over: a device on a very slow line sends so much."""
UNREAD_S = 30.0
"""How long an answer may wait for the client to read it."""
_SURPLUS_BYTES = 20_000_000
"""Of a body that is still sent after its answer: most clients look at the answer only then."""
_LINGER_S = 5.0
_OTHER_FILES = 96
"""Descriptors that are no connections: log, store, brokers, the pages' files."""
_FEWEST = 8
_LATE = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
_FULL = b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 5\r\nContent-Length: 0\r\n\r\n"


class Gate:
    """The connections of one server."""

    def __init__(self, door: DoorSettings) -> None:
        self.header_s = door.header_s
        self.body_s = door.body_s
        self.most = _connections(door.max_connections)
        self.waiting: dict[GuardedProtocol, None] = {}
        """Those without a request, the longest waiting first."""
        self._seldom = Seldom()

    def tell(self, event: str) -> None:
        """Log it, once a minute."""
        self._seldom.note(_log, logging.WARNING, event)

    def protocol(self) -> type[asyncio.Protocol]:
        """The class whose objects uvicorn makes, one a connection."""
        return type("DoorProtocol", (GuardedProtocol,), {"gate": self})


class GuardedProtocol(H11Protocol):
    """One connection, with deadlines."""

    gate: ClassVar[Gate]

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self._deadline: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None
        self._phase: tuple[str, object] | None = None
        self._began = 0.0
        self._received = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self.gate.most:
            longest = next(iter(self.gate.waiting), None)
            self.gate.tell("all connections are taken: the one that waits longest for a request makes room")
            if longest is None:
                self._end(_FULL)
                return
            longest._end(b"")
        self._look()

    def connection_lost(self, exc: Exception | None) -> None:
        self._phase = None
        self.gate.waiting.pop(self, None)
        for timer in (self._deadline, self._unread):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._received += len(data)
        super().data_received(data)
        self._look()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._look()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unread = self.loop.call_later(UNREAD_S, self._is_unread)

    def resume_writing(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None
        super().resume_writing()

    def _look(self) -> None:
        """Which part of a request is awaited now; a new one has a new deadline."""
        if self.transport.is_closing():
            return
        cycle: Any = self.cycle  # None until the first request, whatever it is declared to be
        if cycle is not None and cycle.more_body:
            phase = "body", cycle
            if cycle.response_complete and self._received > _SURPLUS_BYTES:
                self.transport.abort()
                return
        elif cycle is None or cycle.response_complete:
            phase = "head", cycle
        else:
            phase = "work", cycle
        if phase == self._phase:
            return
        self._phase = phase
        self._began = self.loop.time()
        self._received = 0
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        if phase[0] == "head":
            self.gate.waiting[self] = None
            self._deadline = self.loop.call_later(self.gate.header_s, self._is_late)
        else:
            self.gate.waiting.pop(self, None)
            if phase[0] == "body":
                self._deadline = self.loop.call_later(self.gate.body_s, self._is_slow)

    def _is_late(self) -> None:
        self.gate.tell("a connection was closed on which no request came in time")
        self._end(_LATE)

    def _is_slow(self) -> None:
        left_s = self._began + self.gate.body_s + self._received / LEAST_BYTES_A_S - self.loop.time()
        if left_s > 0:
            self._deadline = self.loop.call_later(left_s, self._is_slow)
            return
        self.gate.tell("a connection was closed whose request came too slowly")
        self._end(b"" if self.cycle.response_started else _LATE)

    def _is_unread(self) -> None:
        self.gate.tell("a connection was closed whose client did not read its answer")
        self.transport.abort()

    def _end(self, answer: bytes) -> None:
        self.gate.waiting.pop(self, None)
        if answer:
            self.transport.write(answer)
        self.transport.close()
        self.loop.call_later(_LINGER_S, self.transport.abort)


def _connections(wanted: int) -> int:
    """How many this process may hold; it takes the descriptors that it needs, as far as it may have them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + _OTHER_FILES
    if soft != resource.RLIM_INFINITY and soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        return max(_FEWEST, soft - _OTHER_FILES)
    return wanted
