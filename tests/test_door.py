"""The door over a real socket: keys, signatures, gzip, limits, per-event results, and a log that takes nothing."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette

from connectors.typeform import sign
from edgeloop.app import api_keys
from edgeloop.app.door import create_app
from edgeloop.app.serve import listen
from edgeloop.events import DEAD_LETTERS_TOPIC, Response, stamped
from edgeloop.home import Home
from edgeloop.settings import DoorSettings, Settings, TypeformSettings, ZigpollSettings
from tests.fakes import FixedClock, MemoryLog, at, gzipped

SECRET = "topsecret"
TOKEN = "path-token-of-zigpoll"
NOW = at("2026-02-03T12:00:00Z")
SETTINGS = Settings(
    door=DoorSettings(max_body_mb=0.2),
    typeform=TypeformSettings(secret=SECRET, previous_secret="old", forms=("known",)),
    zigpoll=ZigpollSettings(token=TOKEN, previous_token="old/token"),
)


def exposure(n: int) -> dict[str, Any]:
    return {
        "type": "exposure", "exposure_id": f"x{n}", "customer_id": "C-42", "occurred_at": "2026-02-03T10:00:00Z",
        "touchpoint": "app", "model_id": "m", "model_version": "1",
    }  # fmt: skip


def typeform(form: str = "known", token: str = "t1") -> bytes:
    return json.dumps(
        {"event_id": "e", "event_type": "form_response", "form_response": {
            "form_id": form, "token": token, "submitted_at": "2026-02-03T10:00:00Z", "hidden": {"cid": "C-42"},
            "answers": [{"type": "text", "text": "I am C-42", "field": {"id": "1", "ref": "why"}}]}}
    ).encode()  # fmt: skip


class Served:
    """A door on a socket, its log and its client."""

    def __init__(self, home: Home, log: MemoryLog, address: str) -> None:
        self.home = home
        self.log = log
        self.key = api_keys.create(home, "test", FixedClock(NOW))
        self.client = httpx.Client(base_url=address, timeout=10, trust_env=False)

    def post(self, content: Any, **headers: str) -> httpx.Response:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        return self.client.post("/v1/events", content=body, headers={"Authorization": f"Bearer {self.key}"} | headers)

    def hook(self, body: bytes, secret: str = SECRET) -> httpx.Response:
        return self.client.post("/hooks/typeform", content=body, headers={"Typeform-Signature": sign(body, secret)})

    def zigpoll(self, body: Any, token: str = TOKEN) -> httpx.Response:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.client.post(f"/hooks/zigpoll/{token}", content=content)

    def metrics(self) -> str:
        return self.client.get("/metrics").text


@contextmanager
def listening(app: Starlette) -> Iterator[str]:
    """An application on a socket; its address."""
    bound = listen("127.0.0.1", 0)
    # As `edgeloop serve` does: an access log would hold the paths, and one of them is a secret.
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False, lifespan="off", log_config=None))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]}, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
    yield f"http://127.0.0.1:{bound.getsockname()[1]}"
    server.should_exit = True
    thread.join(10)
    bound.close()


@contextmanager
def serving(path: Path, settings: Settings) -> Iterator[Served]:
    home = Home(path)
    home.create()
    log = MemoryLog()
    with listening(create_app(home, settings, log, FixedClock(NOW))) as address:
        served = Served(home, log, address)
        yield served
        served.client.close()


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path / "home", SETTINGS) as served:
        yield served


def test_events_answer_one_by_one(door: Served) -> None:
    answer = door.post([exposure(1), {"type": "exposure"}, exposure(2)])
    assert answer.status_code == 202
    assert answer.json()["accepted"] == 2
    assert answer.json()["dead_letters"] == 1
    first, second, third = answer.json()["results"]
    assert first == {"index": 0, "status": "accepted", "id": "x1"}
    assert (second["index"], second["status"], second["reason"]) == (1, "dead_letter", "missing_id")
    assert third["id"] == "x2"
    assert len(door.log.events()) == 2
    assert door.log.appends == 1, "events and dead letters of one request are one append"


def test_ndjson_and_gzip(door: Served) -> None:
    body = b"\n".join(json.dumps(exposure(n)).encode() for n in range(3))
    assert door.post(body).json()["accepted"] == 3
    answer = door.post(gzipped(body + b"\nnonsense"), **{"Content-Encoding": "gzip"})
    assert answer.json()["results"][3]["line"] == 4
    assert answer.json()["accepted"] == 3


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer wrong", "Basic {key}", "{key}"])
def test_without_a_key_nothing_is_kept(door: Served, header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header.format(key=door.key)}
    answer = door.client.post("/v1/events", content=json.dumps([exposure(1)]), headers=headers)
    assert answer.status_code == 401
    assert "edgeloop keys create" in answer.json()["error"]
    assert door.log.entries == []
    assert 'refused_total{door="events",status="401"} 1' in door.metrics()


def test_a_new_key_works_at_once(door: Served) -> None:
    assert door.post([exposure(1)]).status_code == 202
    door.key = api_keys.create(door.home, "second", FixedClock(NOW))
    assert door.post([exposure(2)]).status_code == 202
    stored = (door.home.keys / "api-keys.json").read_text()
    assert door.key not in stored
    assert (door.home.keys / "api-keys.json").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("body", "headers", "status", "says"),
    [
        (b"", {}, 400, "empty"),
        (b"[{", {}, 400, ""),
        (b"x" * 300_000, {}, 413, "smaller"),
        (gzipped(b"x" * 300_000), {"Content-Encoding": "gzip"}, 413, "smaller"),
        (b"no gzip", {"Content-Encoding": "gzip"}, 400, "gzip"),
        (gzipped(b"[]" * 99)[:-9], {"Content-Encoding": "gzip"}, 400, "breaks off"),
        (b"[]", {"Content-Encoding": "br"}, 415, "gzip"),
        (b"[1]", {"Edgeloop-Sent-At": "yesterday"}, 400, "RFC 3339"),
        (b"[1]", {"Edgeloop-Sent-At": "2026-02-03T10:00:00"}, 400, "zone"),
    ],
)
def test_what_is_no_request(door: Served, body: bytes, headers: dict[str, str], status: int, says: str) -> None:
    answer = door.post(body, **headers)
    assert answer.status_code == status
    assert says in answer.text
    assert door.log.events() == []


def test_a_device_clock_is_corrected_from_the_header(door: Served) -> None:
    door.post([exposure(1)], **{"Edgeloop-Sent-At": "2026-02-03T11:00:00Z"})
    (event,) = door.log.events()
    assert event.occurred_at.isoformat() == "2026-02-03T11:00:00+00:00"
    assert stamped(event).raw_us == at("2026-02-03T10:00:00Z")


def test_a_log_that_takes_nothing_is_503_and_not_ready_until_it_takes_again(door: Served) -> None:
    door.log.broken = True
    answer = door.post([exposure(1)])
    assert answer.status_code == 503
    assert answer.headers["retry-after"]
    assert door.hook(typeform()).status_code == 503
    assert door.client.get("/readyz").status_code == 503
    assert door.client.get("/livez").status_code == 200
    door.log.broken = False
    assert door.post([exposure(1)]).status_code == 202
    assert door.client.get("/readyz").status_code == 200


def test_a_signed_response_is_taken_and_scrubbed(door: Served) -> None:
    assert door.hook(typeform()).status_code == 202
    assert door.hook(typeform(token="t2"), secret="old").status_code == 202
    event = door.log.events()[0]
    assert isinstance(event, Response)
    assert event.response_id == "typeform:known:t1"
    assert event.answers[0].text == "I am [id]"


def test_a_wrong_signature_is_401_counted_and_nothing_is_kept(door: Served) -> None:
    assert door.hook(typeform(), secret="wrong").status_code == 401
    assert door.client.post("/hooks/typeform", content=typeform()).status_code == 401
    assert door.log.entries == []
    assert 'refused_total{door="typeform",status="401"} 2' in door.metrics()


@pytest.mark.parametrize(
    ("body", "reason"), [(typeform("another"), "unknown_form"), (b"{}", "malformed"), (b"{", "malformed")]
)
def test_signed_content_that_can_never_succeed_is_202_and_a_dead_letter(door: Served, body: bytes, reason: str) -> None:
    answer = door.hook(body)
    assert answer.status_code == 202
    assert answer.json()["reason"] == reason
    (entry,) = door.log.entries
    assert entry.topic == DEAD_LETTERS_TOPIC


def test_no_vendor_ever_gets_404_or_410(door: Served) -> None:
    for path in ("/hooks/unknown", "/hooks/typeform/extra", "/hooks/", "/hooks/zigpoll", "/hooks/zigpoll/"):
        assert door.client.post(path, content=b"{}").status_code == 401


ZIGPOLL = {
    "pollId": "p1", "participantId": "u1", "metadata": {"customer_id": "C-42"},
    "responses": [{"slideId": "s1", "response": "I am C-42"}, {"slideId": "s2", "response": "4"}],
}  # fmt: skip


def test_answers_to_a_poll_are_taken_one_by_one_and_scrubbed(door: Served) -> None:
    answer = door.zigpoll(ZIGPOLL)
    assert (answer.status_code, answer.json()["accepted"]) == (202, 2)
    assert door.zigpoll(ZIGPOLL, "old/token").status_code == 202
    first, second, *_ = door.log.events()
    assert isinstance(first, Response)
    assert first.response_id == "zigpoll:p1/u1/s1/2026-02-03"
    assert first.occurred_at == first.received_at
    assert first.answers[0].text == "I am [id]"
    assert first.key == second.key
    assert door.log.appends == 2, "one for each request"
    assert 'accepted_total{door="zigpoll",type="response"} 4' in door.metrics()


def test_a_poll_without_rows_is_202_and_counted_as_awaiting_its_pull(door: Served) -> None:
    answer = door.zigpoll({"pollId": "p1"})
    assert answer.status_code == 202
    assert answer.json()["results"][0]["reason"] == "awaiting_pull"
    assert 'dead_letters_total{door="zigpoll",reason="awaiting_pull"} 1' in door.metrics()
    assert [entry.topic for entry in door.log.entries] == [DEAD_LETTERS_TOPIC]


@pytest.mark.parametrize("token", ["", "wrong", TOKEN[:-1], TOKEN + "/", TOKEN + "x", "%FF", "old%00/token"])
def test_a_wrong_path_token_is_401_counted_and_nothing_is_kept(door: Served, token: str) -> None:
    assert door.zigpoll(ZIGPOLL, token).status_code == 401
    assert door.log.entries == []
    assert 'refused_total{door="zigpoll",status="401"} 1' in door.metrics()


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"5", b"[" * 5_000, b'{"a":1}', b'{"pollId":{"a":[1]}}', b"\xff"])
def test_no_push_is_ever_an_error_to_the_vendor(door: Served, body: bytes) -> None:
    answer = door.zigpoll(body)
    assert answer.status_code == 202
    assert answer.json()["results"][0]["reason"] == "malformed"
    assert len(door.log.entries) == 1


def test_a_push_that_the_log_cannot_take_is_503(door: Served) -> None:
    door.log.broken = True
    assert door.zigpoll(ZIGPOLL).status_code == 503


def test_a_door_without_a_token_refuses_every_push(tmp_path: Path) -> None:
    with serving(tmp_path / "home", Settings()) as door:
        assert [door.zigpoll(ZIGPOLL, token).status_code for token in ("", "/", "x")] == [401] * 3
        assert door.log.entries == []


def test_concurrent_requests_share_appends_and_none_is_lost(door: Served) -> None:
    def post(n: int) -> int:
        with httpx.Client(base_url=door.client.base_url, trust_env=False) as client:
            headers = {"Authorization": f"Bearer {door.key}"}
            return client.post("/v1/events", content=json.dumps([exposure(n)]), headers=headers).status_code

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(post, range(60))) == {202}
    assert {event.id for event in door.log.events()} == {f"x{n}" for n in range(60)}


def test_the_status_page_counts_and_runs_no_script(door: Served) -> None:
    assert "Nothing has come in yet" in door.client.get("/").text
    door.post([exposure(1), 5])
    page = door.client.get("/")
    assert "<td>exposure</td><td>1</td>" in page.text
    assert "dead letter: malformed" in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "C-42" not in page.text


def test_every_member_of_a_gzip_body_is_taken(door: Served) -> None:
    body = b"".join(gzipped(json.dumps(exposure(n)).encode() + b"\n") for n in range(3))
    assert door.post(body, **{"Content-Encoding": "gzip"}).json()["accepted"] == 3


def test_an_empty_array_is_taken_and_holds_nothing(door: Served) -> None:
    answer = door.post(b"[]")
    assert (answer.status_code, answer.json()) == (202, {"accepted": 0, "dead_letters": 0, "results": []})


@pytest.mark.parametrize("body", [b"hello world", b"<xml/>\n<xml/>", b"[" * 5_000, b"\xff\xfe"])
def test_a_body_that_is_no_json_at_all_is_400_and_kept_sealed(door: Served, body: bytes) -> None:
    answer = door.post(body)
    assert answer.status_code == 400
    assert answer.json()["accepted"] == 0
    assert {entry.topic for entry in door.log.entries} == {DEAD_LETTERS_TOPIC}


def test_one_readable_line_makes_it_202(door: Served) -> None:
    assert door.post(b"hello\n" + json.dumps(exposure(1)).encode()).status_code == 202
    assert door.post(b"[5]").status_code == 202


def test_nesting_without_end_is_a_dead_letter_of_one_event(door: Served) -> None:
    deep = json.dumps(exposure(1))[:-1].encode() + b',"extra":{"a":' + b"[" * 700 + b"]" * 700 + b"}}"
    answer = door.post(deep + b"\n" + json.dumps(exposure(2)).encode())
    assert answer.status_code == 202
    assert [r["status"] for r in answer.json()["results"]] == ["dead_letter", "accepted"]


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 5_000,
        b'{"event_type":"form_response","form_response":[]}',
        typeform().replace(b'"hidden": {"cid": "C-42"}', b'"hidden": ["x"]'),
        typeform().replace(b'"I am C-42"', b"1" + b"0" * 400),
    ],
)
def test_no_signed_content_is_ever_5xx(door: Served, body: bytes) -> None:
    assert door.hook(body).status_code == 202
    assert len(door.log.entries) == 1


def test_a_failed_append_is_no_reason_to_stay_unready(door: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    door.log.broken = True
    assert door.post([exposure(1)]).status_code == 503
    assert door.client.get("/readyz").status_code == 503
    door.log.broken = False
    monkeypatch.setattr("edgeloop.app.door._UNREADY_S", 0.0)
    assert door.client.get("/readyz").status_code == 200, "without traffic nothing else would show that it works again"


def test_a_log_that_cannot_be_read_is_not_ready(door: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise OSError("gone")

    monkeypatch.setattr(door.log, "end_offsets", broken)
    assert door.client.get("/readyz").status_code == 503


def test_a_large_body_answers_the_same_in_order(door: Served) -> None:
    answer = door.post([exposure(n) for n in range(900)])
    assert answer.status_code == 202
    assert [r["id"] for r in answer.json()["results"]] == [f"x{n}" for n in range(900)]
    assert door.log.appends == 1


def test_a_failure_of_any_kind_is_503_and_its_words_stay_here(
    door: Served, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_entries: object) -> None:
        raise ValueError("C-42 is in this message")

    monkeypatch.setattr(door.log, "append", broken)
    answer = door.post([exposure(1)])
    assert answer.status_code == 503
    assert "C-42" not in answer.text
    assert "ValueError" in caplog.text
    assert "C-42" not in caplog.text


def test_logs_and_answers_hold_no_id_no_key_and_no_body(door: Served, caplog: pytest.LogCaptureFixture) -> None:
    for logger in ("edgeloop", "uvicorn.error", "uvicorn.asgi", "starlette"):
        caplog.set_level("DEBUG", logger=logger)
    answers = [
        door.post([exposure(1), exposure(2) | {"arm": "C-42 is here"}, exposure(3) | {"subject": "C-42"}]),
        door.hook(typeform(), secret="wrong"),
        door.hook(typeform("C-42")),
        door.zigpoll(ZIGPOLL | {"responses": [{"slideId": "s1", "response": "I am C-42", "createdAt": "C-42"}]}),
        door.zigpoll(ZIGPOLL, TOKEN + "C-42"),
        door.zigpoll(b"I am C-42"),
        door.client.get(f"/hooks/zigpoll/{TOKEN}"),
        door.client.get("/"),
        door.client.get("/metrics"),
    ]
    shown = caplog.text + "".join(answer.text for answer in answers[:2] + answers[3:])
    for secret in ("C-42", door.key, SECRET, TOKEN, "I am"):
        assert secret not in shown


def test_one_nan_in_an_array_costs_no_other_event(door: Served) -> None:
    one = (
        b'{"type":"engagement","event_id":"n-%d","customer_id":"C","occurred_at":"2026-02-03T10:00:00Z",'
        b'"name":"order","source":"app","value":%s}'
    )
    events = [one % (n, b"NaN" if n == 3 else b"1.5") for n in range(10)]
    answer = door.post(b"[" + b",".join(events) + b"]")
    assert answer.status_code == 202
    said = answer.json()
    assert (said["accepted"], said["dead_letters"], said["no_numbers"]) == (10, 0, 1)
