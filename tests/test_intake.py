"""The way in: pseudonyms, scrubbing, stamps, clock correction, and a clear dead letter for what cannot be taken."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from connectors.intake import Intake, Item, Taken
from edgeloop.clock import iso, to_us
from edgeloop.events import Event, Exposure, Response, body_hash, decode, door_schema
from edgeloop.home import PSEUDONYM_KEY, SEALING_KEY, Home
from edgeloop.sealing import Sealer
from edgeloop.sealing import decode as decode_letter
from tests.fakes import FixedClock, at

NOW = at("2026-02-03T12:00:00Z")
EXPOSURE: dict[str, Any] = {
    "type": "exposure", "exposure_id": "x1", "customer_id": "C-42", "occurred_at": "2026-02-03T10:00:00Z",
    "touchpoint": "app_card", "model_id": "eta", "model_version": "2",
}  # fmt: skip
RESPONSE: dict[str, Any] = {
    "type": "response", "response_id": "r1", "customer_id": "C-42", "occurred_at": "2026-02-03T10:00:00Z",
    "respondent": "customer", "survey_id": "s", "source": "app",
    "answers": [{"question": "q", "kind": "text", "text": "I am C-42, mail a@b.de"}],
}  # fmt: skip
ENGAGEMENT: dict[str, Any] = {
    "type": "engagement", "event_id": "g1", "customer_id": "C-42", "occurred_at": "2026-02-03T10:00:00Z",
    "name": "order", "source": "app",
}  # fmt: skip


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "home")
    home.create()
    return home


@pytest.fixture
def intake(home: Home) -> Intake:
    return Intake(home, FixedClock(NOW))


def take(intake: Intake, value: Any, sent_at: str | None = None) -> tuple[Taken, Event | None]:
    raw = json.dumps(value).encode()
    sent = None if sent_at is None else at(sent_at)
    (taken,), (entry,) = intake.take([Item(raw, "line 1", value=value)], source="test", sent_at_us=sent)
    if taken.rejected is not None:
        return taken, None
    event = decode(entry.value)
    assert entry.key == event.key
    assert entry.topic == event.topic
    return taken, event


def test_raw_ids_become_pseudonyms_and_are_nowhere_else(intake: Intake, home: Home) -> None:
    _, event = take(intake, EXPOSURE | {"courier_id": "K-7"})
    assert isinstance(event, Exposure)
    key = bytes.fromhex((home.keys / PSEUDONYM_KEY).read_text())

    def wanted(kind: bytes, raw: bytes) -> str:
        return base64.b32encode(hmac.new(key, kind + b"\0" + raw, hashlib.sha256).digest()).decode()[:26].lower()

    assert event.subject == wanted(b"customer", b"C-42")
    assert event.courier == wanted(b"courier", b"K-7")


def test_a_number_is_an_id_too(intake: Intake) -> None:
    _, text = take(intake, EXPOSURE | {"customer_id": "42"})
    _, number = take(intake, EXPOSURE | {"customer_id": 42})
    assert text is not None
    assert number is not None
    assert text.key == number.key


def test_an_agents_answer_joins_on_the_agent(intake: Intake) -> None:
    _, response = take(intake, RESPONSE | {"respondent": "agent", "courier_id": "K-7", "customer_id": "C-42"})
    _, exposure = take(intake, EXPOSURE | {"courier_id": "K-7"})
    assert isinstance(exposure, Exposure)
    assert response is not None
    assert response.key == exposure.courier


@pytest.mark.parametrize("nobody", [None, "", "undefined", "null", "{{cid}}", " ", "[object Object]"])
def test_without_a_usable_id_it_is_kept_under_a_name_of_its_own(intake: Intake, nobody: object) -> None:
    _, one = take(intake, EXPOSURE | {"customer_id": nobody})
    _, other = take(intake, EXPOSURE | {"customer_id": nobody, "exposure_id": "x2"})
    assert one is not None
    assert other is not None
    assert one.anonymous
    assert one.key != other.key


def test_a_pseudonym_is_taken_only_in_its_form(intake: Intake) -> None:
    bare = {k: v for k, v in EXPOSURE.items() if k != "customer_id"}
    _, event = take(intake, bare | {"subject": "a" * 26})
    assert event is not None
    assert event.key == "a" * 26
    taken, _ = take(intake, bare | {"subject": "C-42"})
    assert taken.rejected is not None
    assert "customer_id" in taken.rejected.detail
    assert "C-42" not in taken.rejected.detail


def test_free_text_is_scrubbed_wherever_it_stands(intake: Intake) -> None:
    _, event = take(intake, RESPONSE | {"comment": "call +49 151 23456789", "deep": [{"a@b.de": "C-42"}]})
    assert isinstance(event, Response)
    assert event.answers[0].text == "I am [id], mail [email]"
    assert event.extra == {"comment": "call [phone]", "deep": [{"[email]": "[id]"}]}


def test_the_senders_own_stamps_are_not_believed(intake: Intake) -> None:
    _, event = take(intake, EXPOSURE | {"received_at": "2020-01-01T00:00:00Z", "anonymous": True})
    assert event is not None
    assert event.received_at is not None
    assert to_us(event.received_at) == NOW
    assert not event.anonymous
    assert event.extra == {"received_at": "2020-01-01T00:00:00Z", "anonymous": True}


@pytest.mark.parametrize(
    ("sent_at", "stored"),
    [
        (None, "2026-02-03T10:00:00Z"),
        ("2026-02-03T11:59:31Z", "2026-02-03T10:00:00Z"),  # 29 s off may be the network
        ("2026-02-03T11:59:29Z", "2026-02-03T10:00:31Z"),
        ("2026-02-03T14:00:00Z", "2026-02-03T08:00:00Z"),
    ],
)
def test_a_device_clock_is_corrected_from_30_seconds_on(intake: Intake, sent_at: str | None, stored: str) -> None:
    _, event = take(intake, EXPOSURE, sent_at)
    assert event is not None
    assert iso(to_us(event.occurred_at)) == stored
    assert event.raw_us == at("2026-02-03T10:00:00Z")
    _, plain = take(intake, EXPOSURE)
    assert plain is not None
    assert body_hash(event) == body_hash(plain), "a correction does not make it another body"


def test_times_are_stored_in_utc(intake: Intake) -> None:
    _, event = take(intake, EXPOSURE | {"occurred_at": "2026-02-03T11:00:00.5+01:00"})
    assert event is not None
    assert event.occurred_at.isoformat() == "2026-02-03T10:00:00.500000+00:00"


REFUSED = [
    ({**EXPOSURE, "exposure_id": None}, "missing_id", "exposure_id"),
    ({**EXPOSURE, "exposure_id": ""}, "missing_id", "exposure_id"),
    ({**EXPOSURE, "type": "expsure"}, "unknown_type", "exposure, response"),
    ({k: v for k, v in EXPOSURE.items() if k != "type"}, "unknown_type", "`type`"),
    ({**EXPOSURE, "model_id": 5}, "invalid", "model_id"),
    ({k: v for k, v in EXPOSURE.items() if k != "model_id"}, "invalid", "model_id"),
    ({**EXPOSURE, "latency_ms": -1}, "invalid", "latency_ms"),
    ({**EXPOSURE, "arm": "no spaces"}, "invalid", "arm"),
    ({**EXPOSURE, "occurred_at": "yesterday"}, "invalid", "occurred_at"),
    ({**EXPOSURE, "occurred_at": "2026-02-03T10:00:00"}, "invalid", "occurred_at"),
    ({**EXPOSURE, "occurred_at": "2026-02-03T12:05:01Z"}, "future", "5 minutes"),
    ({**RESPONSE, "respondent": "dog"}, "invalid", "respondent"),
    ({**RESPONSE, "answers": [{"kind": "nps"}]}, "invalid", "question"),
    ({**ENGAGEMENT, "value": "12"}, "invalid", "value"),
    ({**ENGAGEMENT, "currency": "euro"}, "invalid", "currency"),
    (["no object"], "malformed", "JSON object"),
    (None, "malformed", "JSON object"),
]


@pytest.mark.parametrize(("value", "reason", "names"), REFUSED)
def test_what_cannot_be_taken_says_why_and_is_kept_sealed(
    home: Home, intake: Intake, value: Any, reason: str, names: str
) -> None:
    raw = json.dumps(value).encode()
    (taken,), (entry,) = intake.take([Item(raw, "line 7", value=value)], source="test")
    assert taken.rejected is not None
    assert taken.rejected.reason == reason
    assert names in taken.rejected.detail
    letter = decode_letter(entry.value)
    assert (letter.place, letter.source, letter.reason) == ("line 7", "test", reason)
    assert Sealer(home.secret(SEALING_KEY)).open(letter) == raw
    assert b"C-42" not in entry.value


def test_five_minutes_ahead_is_still_taken(intake: Intake) -> None:
    assert take(intake, EXPOSURE | {"occurred_at": "2026-02-03T12:05:00Z"})[1] is not None


@pytest.mark.parametrize("value", [EXPOSURE, RESPONSE, ENGAGEMENT, *[v for v, _, _ in REFUSED]])
def test_the_schema_and_the_door_agree(intake: Intake, value: Any) -> None:
    """Times ahead, and times in words, are beyond a schema; of everything else both think the same."""
    name = value.get("type") if isinstance(value, dict) else None
    if name not in ("exposure", "response", "engagement"):
        return
    taken, _ = take(intake, value)
    by_time = taken.rejected is not None and (
        taken.rejected.reason == "future" or "occurred_at" in taken.rejected.detail
    )
    schema = jsonschema.Draft202012Validator(door_schema(name))
    assert schema.is_valid(value) == (taken.rejected is None or by_time)
