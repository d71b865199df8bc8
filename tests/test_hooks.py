"""Hooks and strangers: refused before anything of them is read, small, and signed over the bytes as they are sent."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from connectors import typeform as vendor
from connectors.typeform import sign
from edgeloop.settings import DoorSettings, Settings, TypeformSettings, ZigpollSettings
from tests.fakes import gzipped
from tests.test_door import SECRET, TOKEN, ZIGPOLL, Served, exposure, serving, typeform

SIGNED = "Typeform-Signature: " + sign(b"another body", SECRET)


@contextmanager
def raw(door: Served) -> Iterator[socket.socket]:
    """A connection on which a test writes what it likes."""
    where = urlsplit(str(door.client.base_url))
    with socket.create_connection((where.hostname or "", where.port or 0), timeout=10) as connection:
        yield connection


def head(path: str, *headers: str, length: int) -> bytes:
    return "\r\n".join([f"POST {path} HTTP/1.1", "Host: x", f"Content-Length: {length}", *headers, "", ""]).encode()


@pytest.mark.parametrize(
    ("path", "header", "settings"),
    [
        ("/hooks/typeform", SIGNED, Settings()),
        ("/hooks/typeform", "X: y", Settings(typeform=TypeformSettings(secret=SECRET))),
        ("/hooks/typeform", "Typeform-Signature: sha256=abc", Settings(typeform=TypeformSettings(secret=SECRET))),
        ("/hooks/typeform", "Typeform-Signature: " + "x" * 51, Settings(typeform=TypeformSettings(secret=SECRET))),
        ("/hooks/zigpoll/wrong", "X: y", Settings(zigpoll=ZigpollSettings(token=TOKEN))),
        ("/hooks/other", "X: y", Settings()),
        ("/v1/events", "Authorization: Bearer wrong", Settings()),
    ],
)
def test_a_stranger_is_refused_before_the_body(tmp_path: Path, path: str, header: str, settings: Settings) -> None:
    with serving(tmp_path / "home", settings) as door, raw(door) as connection:
        connection.sendall(head(path, header, length=900_000))  # and not a byte of it
        assert connection.recv(4096).startswith(b"HTTP/1.1 401 ")


@pytest.mark.parametrize("path", ["/hooks/typeform", f"/hooks/zigpoll/{TOKEN}"])
def test_a_hook_of_more_than_1_mb_is_413_as_soon_as_it_says_so(tmp_path: Path, path: str) -> None:
    settings = Settings(typeform=TypeformSettings(secret=SECRET), zigpoll=ZigpollSettings(token=TOKEN))
    with serving(tmp_path / "home", settings) as door:
        with raw(door) as connection:
            connection.sendall(head(path, SIGNED, length=1_000_001))
            assert connection.recv(4096).startswith(b"HTTP/1.1 413 ")
        bomb = gzipped(b" " * 1_000_001)
        headers = {"Typeform-Signature": sign(bomb, SECRET), "Content-Encoding": "gzip"}
        assert door.client.post(path, content=bomb, headers=headers).status_code == 413
        assert door.log.entries == []


def test_the_signature_is_of_the_bytes_as_they_are_sent(tmp_path: Path) -> None:
    with serving(tmp_path / "home", Settings(typeform=TypeformSettings(secret=SECRET))) as door:
        body, packed = typeform(), gzipped(typeform())
        headers = {"Content-Encoding": "gzip", "Typeform-Signature": sign(packed, SECRET)}
        assert door.client.post("/hooks/typeform", content=packed, headers=headers).status_code == 202
        headers["Typeform-Signature"] = sign(body, SECRET)
        assert door.client.post("/hooks/typeform", content=packed, headers=headers).status_code == 401


def test_a_large_body_is_verified_beside_the_event_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[str] = []
    signed = vendor.signed

    def noted(*given: object) -> bool:
        threads.append(threading.current_thread().name)
        return signed(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(vendor, "signed", noted)
    with serving(tmp_path / "home", Settings(typeform=TypeformSettings(secret=SECRET))) as door:
        assert door.hook(b"[" + b" " * 800_000 + b"]").status_code == 202
        assert door.hook(typeform()).status_code == 202
    large, small = threads
    assert large.startswith("aside")
    assert not small.startswith("aside")


def test_what_all_requests_hold_together_is_bounded_and_given_back(tmp_path: Path) -> None:
    with serving(tmp_path / "home", Settings(door=DoorSettings(max_in_flight_mb=0.2))) as door:
        body = json.dumps([exposure(1)]).encode() + b" " * 80_000
        with raw(door) as connection:
            connection.sendall(
                head("/v1/events", f"Authorization: Bearer {door.key}", length=190_000) + b"[" + b" " * 150_000
            )
            answer = door.post(body)
            for _ in range(100):  # until the first one's bytes are in
                if answer.status_code == 503:
                    break
                answer = door.post(body)
            assert answer.status_code == 503
            assert answer.headers["retry-after"]
            assert "other requests" in answer.json()["error"]
        for _ in range(100):  # until the door has seen that it is gone
            if (answer := door.post(body)).status_code == 202:
                break
        assert answer.status_code == 202


def test_one_request_alone_is_taken_whatever_its_size(tmp_path: Path) -> None:
    with serving(tmp_path / "home", Settings(door=DoorSettings(max_in_flight_mb=0.01))) as door:
        assert door.post(json.dumps([exposure(1)]).encode() + b" " * 80_000).status_code == 202


def test_a_push_of_almost_1_mb_is_taken(tmp_path: Path) -> None:
    rows = [{"slideId": f"s{n}", "response": "x" * 150} for n in range(4_900)]
    with serving(tmp_path / "home", Settings(zigpoll=ZigpollSettings(token=TOKEN))) as door:
        answer = door.zigpoll(ZIGPOLL | {"responses": rows})
        assert (answer.status_code, answer.json()["accepted"]) == (202, 4_900)
        assert len(door.log.events()) == 4_900
