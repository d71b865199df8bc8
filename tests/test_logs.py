"""Log lines hold the fields of the list and nothing that a sender, a vendor or a library wrote."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import signal
import socket
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Route

from edgeloop.app import api_keys, logs
from edgeloop.app.logs import FIELDS, JsonLine, TextLine, note, note_failure
from edgeloop.app.serve import listen, server_of
from edgeloop.errors import EdgeloopError
from edgeloop.home import Home
from edgeloop.log.base import LogUnavailableError

SECRET = "C-42 said hello@example.com"
ALWAYS = {"time", "level", "event"}


class Captured:
    """What `configure` sends to stderr, line by line."""

    def __init__(self, stream: io.StringIO) -> None:
        self._stream = stream

    def lines(self) -> list[dict[str, Any]]:
        found = [json.loads(line) for line in self._stream.getvalue().splitlines()]
        for line in found:
            assert line.keys() >= ALWAYS
            assert line.keys() <= ALWAYS | FIELDS
        assert SECRET not in self._stream.getvalue()
        return found

    def only(self) -> dict[str, Any]:
        (line,) = self.lines()
        return line


@pytest.fixture
def captured(monkeypatch: pytest.MonkeyPatch) -> Iterator[Captured]:
    root, own = logging.getLogger(), logging.getLogger("edgeloop")
    before = (root.handlers[:], root.level, own.level, sys.excepthook, threading.excepthook)
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    logs.configure("auto")
    yield Captured(stream)
    root.handlers[:], root.level, own.level, sys.excepthook, threading.excepthook = before
    logging.captureWarnings(False)


def raised(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as caught:
        return caught


LOG = logging.getLogger("edgeloop.test")


def test_an_event_is_one_object_with_its_fields(captured: Captured) -> None:
    note(LOG, logging.INFO, "something happened", records=3, wait_s=0.5, month="2026-02")
    line = captured.only()
    assert line.pop("time").endswith("Z")
    assert line == {"level": "info", "event": "something happened", "records": 3, "wait_s": 0.5, "month": "2026-02"}


def test_a_field_that_is_not_on_the_list_is_dropped(captured: Captured) -> None:
    note(LOG, logging.INFO, "something happened", customer_id=SECRET, records=1)  # type: ignore[call-arg]
    note(LOG, logging.INFO, "something happened", records=[SECRET])  # type: ignore[arg-type]
    LOG.info("a record of the plain kind", extra={"customer_id": SECRET, "records": SECRET})
    assert [line.get("records") for line in captured.lines()] == [1, None, None]


def test_an_exception_shows_its_type_and_place_alone(captured: Captured) -> None:
    note_failure(LOG, "it failed", raised(ValueError(SECRET)), records=2)
    line = captured.only()
    assert (line["error"], line["records"]) == ("ValueError", 2)
    assert line["place"].startswith("test_logs.py:")
    assert line["place"].endswith(" raised")
    assert "detail" not in line


@pytest.mark.parametrize("error", [EdgeloopError("put it back"), LogUnavailableError("put it back")])
def test_the_words_of_our_own_errors_are_shown(captured: Captured, error: Exception) -> None:
    note_failure(LOG, "it failed", raised(error))
    assert captured.only()["detail"] == "put it back"


def test_the_place_is_the_innermost_of_ours(captured: Captured, tmp_path: Path) -> None:
    try:
        Home(tmp_path).write_secret("\0" + SECRET, "x")
    except ValueError as error:
        note_failure(LOG, "it failed", error)
    place = captured.only()["place"]
    assert place.startswith("edgeloop/home.py:")
    assert place.endswith(" write_secret")


@pytest.mark.parametrize("name", ["uvicorn.error", "asyncio", "httpx", "edgeloop.elsewhere"])
def test_text_of_others_never_gets_through(captured: Captured, name: str) -> None:
    logger = logging.getLogger(name)
    logger.warning(f"about {SECRET}")  # as asyncio does
    logger.warning("about %s", SECRET)
    logger.error(ValueError(SECRET))  # as uvicorn does
    try:
        raise ValueError(SECRET)
    except ValueError:
        logger.exception(SECRET, extra={"detail": SECRET})
    lines = captured.lines()
    assert {line["logger"] for line in lines} == {name}
    assert [line["event"] for line in lines] == ["a library's warning"] * 2 + ["a library's error"] * 2
    assert all(line["place"].startswith("test_logs.py:") for line in lines)
    assert lines[-1]["error"] == "ValueError"


def test_a_task_that_nobody_asked_for_its_exception(captured: Captured) -> None:
    async def fail() -> None:
        raise ValueError(SECRET)

    async def run() -> None:
        task = asyncio.create_task(fail())
        await asyncio.sleep(0.01)
        assert task.done()

    asyncio.run(run())
    line = captured.only()
    assert (line["logger"], line["error"]) == ("asyncio", "ValueError")


def test_what_nobody_caught_and_warnings_too(captured: Captured) -> None:
    def fail() -> None:
        raise ValueError(SECRET)

    sys.excepthook(ValueError, raised(ValueError(SECRET)), None)  # type: ignore[arg-type]
    hook = threading.excepthook
    thread = threading.Thread(target=fail)
    threading.excepthook = hook  # pytest puts its own in place
    thread.start()
    thread.join()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        warnings.warn(SECRET, stacklevel=1)
    first, second, third = captured.lines()
    assert first["error"] == second["error"] == "ValueError"
    assert third["logger"] == "py.warnings"


def test_values_that_json_or_utf_8_cannot_hold(captured: Captured) -> None:
    note(LOG, logging.INFO, "odd", detail="\udcff" + "x" * 5_000, seconds=float("nan"))
    line = captured.only()
    assert len(line["detail"]) == 500
    assert line["seconds"] is None


def test_a_message_that_does_not_fit_its_values_is_no_traceback(captured: Captured) -> None:
    (handler,) = [h for h in logging.getLogger().handlers if isinstance(h.formatter, JsonLine)]
    handler.handle(logging.LogRecord("x", logging.WARNING, __file__, 1, "%d records", (SECRET,), None))
    assert captured.only()["level"] == "warning"


def test_text_is_one_line_with_the_same_fields() -> None:
    record = logging.LogRecord("edgeloop", logging.INFO, __file__, 1, "x", None, None)
    setattr(record, logs._KEY, ("it\nhappened", {"detail": "two\r\nlines\x1b[2J", "customer_id": SECRET, "records": 2}))
    text = TextLine().format(record)
    assert text.endswith("Z info: it happened detail=two  lines [2J records=2")
    assert json.loads(JsonLine().format(record))["detail"] == "two\r\nlines\x1b[2J"


@pytest.mark.parametrize(("setting", "terminal", "as_json"), [
    ("auto", True, False), ("auto", False, True), ("json", True, True), ("text", False, False),
])  # fmt: skip
def test_json_unless_a_person_looks(
    captured: Captured, monkeypatch: pytest.MonkeyPatch, setting: Any, terminal: bool, as_json: bool
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    logs.configure(setting)
    (handler,) = logging.getLogger().handlers
    assert isinstance(handler.formatter, JsonLine) is as_json


def test_a_request_that_fails_inside_the_door(captured: Captured) -> None:
    async def fail(request: Request) -> None:
        raise ValueError(SECRET + (await request.body()).decode())

    bound = listen("127.0.0.1", 0)
    server = server_of(Starlette(routes=[Route("/hooks/zigpoll/{token}", fail, methods=["POST"])]))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]}, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
    port = bound.getsockname()[1]
    token = "path-token"
    answer = httpx.post(f"http://127.0.0.1:{port}/hooks/zigpoll/{token}", content=SECRET, trust_env=False)
    assert answer.status_code == 500
    with socket.create_connection(("127.0.0.1", port)) as raw:
        raw.sendall(f"{SECRET} {token}\r\n\r\n".encode())
        assert b"400" in raw.recv(100)
    server.should_exit = True
    thread.join(10)
    failed, no_http = captured.lines()
    assert failed["event"] == "a request failed inside the door"
    assert failed["error"] == "ValueError"
    assert no_http["event"] == "something came in that is no HTTP request"
    assert token not in json.dumps([failed, no_http])


@pytest.mark.slow
def test_a_door_in_a_process_of_its_own_writes_json_lines_only(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    home.create()
    key = api_keys.create(home, "test")
    command = [sys.executable, "-m", "edgeloop", "serve", "--port", "0", "--home", str(home.path)]
    secrets = {"EDGELOOP_TYPEFORM_SECRET": "typeform-secret", "EDGELOOP_ZIGPOLL_TOKEN": "zigpoll-token"}
    environment = {"PATH": "", "PYTHONPATH": "", **secrets}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as door:
        assert door.stderr is not None
        first = door.stderr.readline()
        address = json.loads(first)["address"]
        with httpx.Client(base_url=address, trust_env=False) as client:
            body = '[{"type":"engagement","customer_id":"C-42","event_id":"g","occurred_at":"x"}]'
            client.post("/v1/events", content=body, headers={"Authorization": f"Bearer {key}"})
            client.post("/hooks/zigpoll/zigpoll-token", content=body)
            client.post("/hooks/typeform", content=body)
            assert client.get("/metrics").status_code == 200
            home.log.unlink()
            assert client.get("/readyz").status_code == 503
        door.send_signal(signal.SIGTERM)
        rest = door.stderr.read()
    for line in (first + rest).splitlines():
        assert json.loads(line).keys() <= ALWAYS | FIELDS
    for secret in (key, *secrets.values(), "C-42"):
        assert secret not in first + rest


def test_the_server_of_the_door_writes_no_access_log() -> None:
    config = server_of(Starlette()).config
    assert isinstance(config, uvicorn.Config)
    assert config.access_log is False
    assert config.log_config is None
