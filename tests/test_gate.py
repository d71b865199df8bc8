"""Connections that do not finish: deadlines, a bound on their number, and few words about them."""

from __future__ import annotations

import logging
import resource
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from edgeloop.app import gate
from edgeloop.app.logs import Repeated, note
from edgeloop.app.seldom import Seldom
from edgeloop.app.serve import listen, server_of
from edgeloop.settings import DoorSettings

PATIENT = DoorSettings(header_s=30, body_s=30, max_connections=8)
HASTY = DoorSettings(header_s=0.3, body_s=0.3)
HEAD = b"POST /read HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
LIVE = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"


async def live(_request: Request) -> Response:
    return PlainTextResponse("ok")


async def read(request: Request) -> Response:
    return PlainTextResponse(str(len(await request.body())))


async def long(_request: Request) -> Response:
    return PlainTextResponse("x" * 50_000_000)


class Opened:
    def __init__(self, address: tuple[str, int], connections: set[object], stack: ExitStack) -> None:
        self._address = address
        self.connections = connections
        self._stack = stack

    def connect(self, *sent: bytes) -> socket.socket:
        connection = self._stack.enter_context(socket.create_connection(self._address, timeout=20))
        connection.sendall(b"".join(sent))
        return connection

    def until(self, count: int) -> None:
        """Wait until the server holds so many connections."""
        for _ in range(2_000):
            if len(self.connections) == count:
                return
            time.sleep(0.01)
        raise AssertionError(f"{len(self.connections)} connections, not {count}")


@contextmanager
def opened(door: DoorSettings) -> Iterator[Opened]:
    routes = [Route("/livez", live), Route("/read", read, methods=["POST"]), Route("/long", long)]
    server = server_of(Starlette(routes=routes), door)
    with listen("127.0.0.1", 0) as bound, ExitStack() as stack:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]}, daemon=True)
        thread.start()
        while not server.started:
            assert thread.is_alive()
        yield Opened(bound.getsockname(), server.server_state.connections, stack)  # type: ignore[arg-type]
        stack.close()
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive()


def answer(connection: socket.socket) -> bytes:
    """All that comes until the other side closes."""
    parts = []
    try:
        while part := connection.recv(65_536):
            parts.append(part)
    except ConnectionResetError:
        pass
    return b"".join(parts)


@pytest.mark.parametrize(
    "sent",
    [b"", b"GET /livez HT", HEAD % 10, HEAD % 10 + b"{", LIVE + b"GET /li"],
    ids=["nothing", "half a head", "no body", "half a body", "a second half a head"],
)
def test_what_is_not_finished_in_time_is_closed(sent: bytes) -> None:
    with opened(HASTY) as server:
        assert b"HTTP/1.1 408 " in answer(server.connect(sent))
        server.until(0)


def test_a_body_that_keeps_coming_may_take_longer() -> None:
    with opened(HASTY) as server:
        connection = server.connect(HEAD % 20_000)
        for _ in range(10):
            time.sleep(0.1)
            connection.sendall(b"x" * 2_000)
        assert connection.recv(65_536).startswith(b"HTTP/1.1 200 ")


def test_half_open_connections_do_not_make_the_door_deaf(caplog: pytest.LogCaptureFixture) -> None:
    with opened(PATIENT) as server, caplog.at_level(logging.WARNING):
        for n in range(60):
            server.connect(b"GET /" + b"x" * n)
        connection = server.connect(LIVE)
        assert connection.recv(65_536).startswith(b"HTTP/1.1 200 ")
        assert len(server.connections) <= PATIENT.max_connections + 1
    assert len(caplog.records) == 1
    assert "makes room" in caplog.text


def test_where_none_waits_the_next_one_is_sent_away() -> None:
    with opened(PATIENT) as server:
        busy = [server.connect(HEAD % 5 + b"1234") for _ in range(PATIENT.max_connections)]
        server.until(PATIENT.max_connections)
        time.sleep(0.2)  # their heads are read
        refused = answer(server.connect(LIVE))
        assert refused.startswith(b"HTTP/1.1 503 ")
        assert b"Retry-After: " in refused
        for connection in busy:
            connection.sendall(b"5")
            assert connection.recv(65_536).startswith(b"HTTP/1.1 200 ")


def test_an_answer_that_nobody_reads_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "UNREAD_S", 0.3)
    with opened(PATIENT) as server:
        server.connect(b"GET /long HTTP/1.1\r\nHost: x\r\n\r\n")
        server.until(1)
        server.until(0)


@pytest.mark.parametrize(
    ("limits", "most", "asked"),
    [
        ((4_096, 4_096), 1_000, []),
        ((256, 1_048_576), 1_000, [1_096]),
        ((256, 256), 160, [256]),
        ((64, 64), 8, [64]),
        ((resource.RLIM_INFINITY, resource.RLIM_INFINITY), 1_000, []),
    ],
)
def test_no_more_connections_than_descriptors(
    monkeypatch: pytest.MonkeyPatch, limits: tuple[int, int], most: int, asked: list[int]
) -> None:
    found: list[int] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: limits)
    monkeypatch.setattr(resource, "setrlimit", lambda _, wanted: found.append(wanted[0]))
    assert gate.Gate(DoorSettings()).most == most
    assert found == asked


def test_one_cause_is_told_once_a_minute_with_how_often(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    seldom, log = Seldom(lambda: now[0]), logging.getLogger("edgeloop.test")
    for second in (0, 1, 59, 61, 62):
        now[0] = second
        seldom.note(log, logging.WARNING, "it rains")
        seldom.note(log, logging.WARNING, "it snows")
    now[0] = 130
    seldom.note_failure(log, "it rains", ValueError("of a library"))
    told = [record.getMessage() for record in caplog.records]
    assert told[:4] == ["it rains", "it snows", "it rains failures=3", "it snows failures=3"]
    assert len(told) == 5
    assert "failures=2" in told[4]


def test_a_library_says_the_same_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    repeated = Repeated(lambda: now[0])
    asyncio_log = logging.getLogger("asyncio")
    for _ in range(3):
        asyncio_log.error("socket.accept() out of system resource")
        note(logging.getLogger("edgeloop.test"), logging.WARNING, "ours")
    shown = [repeated.filter(record) for record in caplog.records]
    assert shown == [True, True, False, True, False, True]
    now[0] = 61.0
    assert repeated.filter(caplog.records[2])


def test_a_library_with_another_failure_is_heard(caplog: pytest.LogCaptureFixture) -> None:
    repeated = Repeated(lambda: 0.0)
    for failure in (ValueError("a"), OSError("b"), ValueError("c")):
        logging.getLogger("uvicorn.error").error("Exception in ASGI application\n", exc_info=failure)
    assert [repeated.filter(record) for record in caplog.records] == [True, True, False]
