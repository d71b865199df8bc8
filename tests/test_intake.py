"""The way in: pseudonyms, scrubbing, stamps, clock correction, and a clear dead letter for what cannot be taken."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from datetime import date
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connectors.intake import UNREAD, Intake, Item, Taken
from edgeloop.clock import from_us, iso, to_us
from edgeloop.events import (
    EVENT_TYPES,
    Change,
    Event,
    Exposure,
    Response,
    Telemetry,
    decode,
    door_schema,
    log_schema,
    stamped,
)
from edgeloop.home import PSEUDONYM_KEY, SEALING_KEY, Home
from edgeloop.sealing import Sealer
from edgeloop.sealing import decode as decode_letter
from edgeloop.settings import DoorSettings
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
TELEMETRY: dict[str, Any] = {
    "type": "telemetry", "telemetry_id": "t1", "occurred_at": "2026-02-03T10:00:00Z", "site": "hub-1",
    "kind": "message",
}  # fmt: skip
CHANGE: dict[str, Any] = {
    "type": "change", "change_id": "c1", "occurred_at": "2026-02-03T10:00:00Z", "model_id": "eta", "to_version": "3",
    "kind": "canary",
}  # fmt: skip
PROFILE: dict[str, Any] = {
    "type": "profile", "profile_id": "p1", "customer_id": "C-42", "occurred_at": "2026-02-03T10:00:00Z",
    "side": "edge", "profile_version": "7",
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


def test_an_empty_error_is_none_for_attribution_and_for_rates_alike(intake: Intake) -> None:
    _, event = take(intake, EXPOSURE | {"error": ""})
    assert isinstance(event, Exposure)
    assert event.shown
    assert event.error is None, "the views and the error rate count what is not NULL"
    _, failed = take(intake, EXPOSURE | {"error": "timeout"})
    assert isinstance(failed, Exposure)
    assert failed.error == "timeout"
    assert not failed.shown


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
    assert stamped(event).raw_us == at("2026-02-03T10:00:00Z")
    _, plain = take(intake, EXPOSURE)
    assert plain is not None
    assert stamped(event).body_sha256 == stamped(plain).body_sha256, "a correction does not make it another body"


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
    ({**RESPONSE, "answers": [{"question": "q", "kind": "nps", "value": 11}]}, "invalid", "answers[0].value"),
    ({**RESPONSE, "answers": [{"question": "q", "kind": "boolean", "value": 7}]}, "invalid", "1 or 0"),
    ({**ENGAGEMENT, "value": "1,234"}, "invalid", "value"),
    ({**ENGAGEMENT, "currency": "euro cents"}, "invalid", "currency"),
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


@pytest.mark.parametrize("name", ["subject", "courier"])
@pytest.mark.parametrize("event", [EXPOSURE, RESPONSE, ENGAGEMENT, TELEMETRY, CHANGE])
def test_a_raw_id_in_the_place_of_a_pseudonym_is_refused_in_every_type(
    intake: Intake, event: dict[str, Any], name: str
) -> None:
    taken, _ = take(intake, event | {name: "K-7"})
    assert taken.rejected is not None
    assert f"`{name}` is a pseudonym" in taken.rejected.detail
    taken, _ = take(intake, event | {name: "a" * 26 + "\n"})
    assert taken.rejected is not None


@pytest.mark.parametrize("event", [EXPOSURE, RESPONSE, ENGAGEMENT, TELEMETRY, CHANGE])
def test_raw_ids_are_in_no_record_wherever_they_were_put(intake: Intake, event: dict[str, Any]) -> None:
    value = event | {
        "customer_id": "Cust-0815x", "courier_id": "Kur-7734x", "customerId": "Cust-0815x", "Courier ID": "Kur-7734x",
        "extra": {"customer_id": "Cust-0815x", "deep": {"courier-id": "Kur-7734x", "t": "cust-0815X and KUR-7734x"}},
    }  # fmt: skip
    _, (entry,) = intake.take([Item(b"", "line 1", value=value)], source="test")
    assert entry.topic == EVENT_TYPES[value["type"]].topic
    assert b"0815" not in entry.value
    assert b"7734" not in entry.value


@pytest.mark.parametrize("raw", [True, 1.5, ["C-42"], {"id": "C-42"}])
def test_an_id_of_another_kind_is_refused(intake: Intake, raw: Any) -> None:
    taken, _ = take(intake, EXPOSURE | {"customer_id": raw})
    assert taken.rejected is not None
    assert taken.rejected.reason == "invalid"
    assert "C-42" not in taken.rejected.detail


def test_an_agent_may_be_given_as_a_pseudonym(intake: Intake) -> None:
    agent = {k: v for k, v in RESPONSE.items() if k != "customer_id"} | {"respondent": "agent"}
    for pseudonym in ({"subject": "a" * 26}, {"courier": "a" * 26}, {"subject": "b" * 26, "courier": "a" * 26}):
        _, event = take(intake, agent | pseudonym)
        assert event is not None
        assert (event.key, event.anonymous) == ("a" * 26, False)


def test_a_customers_id_never_stands_for_an_agent(intake: Intake) -> None:
    _, event = take(intake, RESPONSE | {"respondent": "agent"})
    _, customer = take(intake, RESPONSE)
    assert event is not None
    assert customer is not None
    assert event.anonymous
    assert event.key != customer.key


def test_every_time_is_stored_in_utc(intake: Intake) -> None:
    _, event = take(intake, TELEMETRY | {"message_sent_at": "2026-02-03T10:00:00+02:00"})
    assert isinstance(event, Telemetry)
    assert event.message_sent_at is not None
    assert event.message_sent_at.isoformat() == "2026-02-03T08:00:00+00:00"
    _, change = take(intake, CHANGE | {"ended_at": "2026-02-03T10:00:00-01:00"})
    assert isinstance(change, Change)
    assert change.ended_at is not None
    assert change.ended_at.isoformat() == "2026-02-03T11:00:00+00:00"


def test_a_time_outside_the_calendar_is_refused(intake: Intake) -> None:
    moment = "9999-12-31T23:59:59-14:00"
    for value in (EXPOSURE | {"occurred_at": moment}, CHANGE | {"ended_at": moment}):
        taken, _ = take(intake, value)
        assert taken.rejected is not None
        assert taken.rejected.detail == "a time lies outside the calendar"


UNSET = ["0001-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "1970-01-01T00:00:00Z", "2014-12-31T23:59:59.999999Z"]


@pytest.mark.parametrize("moment", UNSET)
def test_a_clock_that_was_never_set_is_a_dead_letter_with_its_own_reason(intake: Intake, moment: str) -> None:
    for value in (EXPOSURE, RESPONSE, CHANGE):
        taken, _ = take(intake, value | {"occurred_at": moment})
        assert taken.rejected is not None
        assert taken.rejected.reason == "before_earliest"
        assert "before 2015-01-01 ([door] earliest)" in taken.rejected.detail
    assert take(intake, EXPOSURE | {"occurred_at": "2015-01-01T00:00:00Z"})[0].rejected is None


@pytest.mark.parametrize("moment", UNSET)
def test_another_time_that_was_never_set_is_absent(intake: Intake, moment: str) -> None:
    _, change = take(intake, CHANGE | {"ended_at": moment, "starts": moment})
    assert isinstance(change, Change)
    assert (change.ended_at, change.starts) == (None, None)


def test_a_clock_at_the_epoch_is_corrected_where_the_device_says_its_time(intake: Intake) -> None:
    raw = msgspec.json.encode(EXPOSURE | {"occurred_at": "1970-01-01T00:00:05Z"})
    taken, entries = intake.take([Item(raw, "line 1", UNREAD)], source="test", sent_at_us=10_000_000)
    assert taken[0].rejected is None
    event = decode(entries[0].value)
    assert event.occurred_at == from_us(NOW - 5_000_000)
    assert event.occurred_at_raw is not None
    assert event.occurred_at_raw.year == 1970


def test_the_lower_bound_is_a_setting(home: Home) -> None:
    intake = Intake(home, FixedClock(NOW), settings=DoorSettings(earliest=date(1999, 1, 1)))
    assert take(intake, EXPOSURE | {"occurred_at": "2001-01-01T00:00:00Z"})[0].rejected is None


def test_no_record_holds_nul(intake: Intake) -> None:
    value = RESPONSE | {"survey_id": "a\0b", "response_id": "r\0", "extra": {"k\0": ["v\0"]}}
    taken, event = take(intake, value)
    assert isinstance(event, Response)
    assert (event.survey_id, event.id, event.extra) == ("a\ufffdb", "r\ufffd", {"k\ufffd": ["v\ufffd"]})
    assert taken.id == event.id


@pytest.mark.parametrize("number", [2**53 + 1, 2**63, 2**70, -(2**63) - 1])
def test_an_integer_that_no_store_holds_is_refused(intake: Intake, number: int) -> None:
    taken, _ = take(intake, EXPOSURE | {"revision": number})
    assert taken.rejected is not None
    assert "revision" in taken.rejected.detail


def test_an_unknown_field_of_an_answer_is_kept(intake: Intake) -> None:
    answer = {"question": "q", "kind": "text", "text": "ok", "comment": "mail a@b.de"}
    _, event = take(intake, RESPONSE | {"answers": [answer]})
    assert event is not None
    assert event.extra == {"answers[0]": {"comment": "mail [email]"}}


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (RESPONSE | {"respondent": "dog"}, "one of agent, customer"),
        (RESPONSE | {"answers": [{"question": "q", "kind": "dog"}]}, "csat"),
        (EXPOSURE | {"placement": "moon"}, "one of cloud, edge"),
    ],
)
def test_a_wrong_word_is_told_the_right_ones(intake: Intake, value: Any, says: str) -> None:
    taken, _ = take(intake, value)
    assert taken.rejected is not None
    assert says in taken.rejected.detail
    assert "dog" not in taken.rejected.detail


def test_nesting_without_end_is_refused(intake: Intake) -> None:
    deep: Any = "end"
    for _ in range(400):
        deep = [deep]
    for value in (EXPOSURE | {"extra": {"a": deep}}, EXPOSURE | {"unknown": deep}, PROFILE | {"fields": {"a": deep}}):
        (taken,), _ = intake.take([Item(b"", "line 1", value=value)], source="test")
        assert taken.rejected is not None
        assert "nested deeper" in taken.rejected.detail


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20)
    | st.sampled_from([2**63, -(2**63), 10**400, "a" * 26, "2026-02-03T10:00:00Z", "C-42"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
NAMES = sorted(
    {name for cls in EVENT_TYPES.values() for name in cls.__struct_encode_fields__} | {"customer_id", "type"}
)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    base=st.sampled_from([EXPOSURE, RESPONSE, ENGAGEMENT, TELEMETRY, CHANGE, PROFILE]),
    changes=st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=8), JSON, max_size=3),
)
def test_whatever_comes_is_one_record_that_can_be_read(intake: Intake, base: Any, changes: dict[str, Any]) -> None:
    (taken,), (entry,) = intake.take([Item(b"raw", "line 1", value=base | changes)], source="test", sent_at_us=0)
    if taken.rejected is None:
        assert decode(entry.value).id == taken.id
        assert b"\\u0000" not in entry.value
    else:
        assert decode_letter(entry.value).reason == taken.rejected.reason


def answer(**fields: Any) -> dict[str, Any]:
    return RESPONSE | {"answers": [{"question": "q", "kind": "nps"} | fields]}


AGREED = [
    TELEMETRY, CHANGE, PROFILE, EXPOSURE | {"customer_id": 42}, EXPOSURE | {"customer_id": 42.0},
    EXPOSURE | {"customer_id": None}, EXPOSURE | {"customer_id": True}, EXPOSURE | {"customer_id": ["C"]},
    EXPOSURE | {"courier_id": {}}, EXPOSURE | {"v": 0}, EXPOSURE | {"v": 2}, EXPOSURE | {"revision": -3},
    EXPOSURE | {"revision": 2**60}, EXPOSURE | {"features": -1}, EXPOSURE | {"features": 5}, EXPOSURE | {"arm": "b-2"},
    EXPOSURE | {"arm": None}, EXPOSURE | {"fallback": 1}, EXPOSURE | {"fallback": False}, EXPOSURE | {"extra": None},
    EXPOSURE | {"extra": []}, EXPOSURE | {"extra": {"a": 1}}, EXPOSURE | {"unknown": [1]}, EXPOSURE | {"site": ""},
    EXPOSURE | {"placement": "moon"}, EXPOSURE | {"model_id": "m" * 513}, EXPOSURE | {"received_at": 5},
    ENGAGEMENT | {"value": True}, ENGAGEMENT | {"value": 3}, ENGAGEMENT | {"currency": "EUR"},
    RESPONSE | {"answers": {}}, RESPONSE | {"answers": []}, RESPONSE | {"answers": ["x"]}, RESPONSE | {"partial": None},
    RESPONSE | {"language": "x" * 36}, answer(value=9), answer(value=True), answer(value="9"), answer(value=None),
    answer(kind="boolean", value=True), answer(kind="boolean", value=0), answer(kind="stars"), answer(question=""),
    answer(kind="boolean", value=7), answer(kind="boolean", value=0.5), answer(kind="boolean", value=None),
    answer(value=0), answer(value=11), answer(value=-4), answer(value=9.5), answer(kind="csat", value=-4),
    answer(text="t", label="l", low=0, high=10, note="kept"), PROFILE | {"fields": {"a": [1]}}, PROFILE | {"fields": 1},
    PROFILE | {"side": "moon"}, CHANGE | {"allocation": {"2": -1}}, CHANGE | {"allocation": {"2": 0.5, "holdout": 0.5}},
    CHANGE | {"zones": [""]}, CHANGE | {"features": ["a", "b"]}, CHANGE | {"planned_units": 0},
    CHANGE | {"unit": "moon"},
    TELEMETRY | {"kind": "moon"}, TELEMETRY | {"site": None}, TELEMETRY | {"battery": "full"}, TELEMETRY | {"cpu": 0.5},
]  # fmt: skip


@pytest.mark.parametrize("value", AGREED, ids=[json.dumps(v)[-40:] for v in AGREED])
def test_the_schema_and_the_door_agree_on_every_type(intake: Intake, value: dict[str, Any]) -> None:
    taken, _ = take(intake, value)
    schema = jsonschema.Draft202012Validator(door_schema(value["type"]))
    assert schema.is_valid(value) == (taken.rejected is None), taken.rejected


@pytest.mark.parametrize("value", AGREED, ids=range(len(AGREED)))
def test_what_the_door_writes_holds_the_log_schema(intake: Intake, value: dict[str, Any]) -> None:
    (taken,), (entry,) = intake.take([Item(b"", "line 1", value=value)], source="test")
    if taken.rejected is None:
        jsonschema.Draft202012Validator(log_schema(value["type"])).validate(json.loads(entry.value))
