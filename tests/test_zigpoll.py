"""Zigpoll: a body that nobody documents, one answer a row, and an export that takes the place of what was pushed."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.intake import Intake, Item
from connectors.zigpoll import admitted, items, items_of_file
from edgeloop.errors import UsageError
from edgeloop.events import Event, Response, decode, encode
from edgeloop.home import Home
from edgeloop.settings import ZigpollSettings, load, scale_of
from tests.fakes import FixedClock, at
from tests.test_typeform import JSON

NOW = at("2026-03-02T12:00:00Z")
PLAIN = ZigpollSettings()

# The five shapes of the vendor reference: an envelope, a row, a write-in, the phone's survey, and nobody at all.
ENVELOPE: dict[str, Any] = {
    "pollId": "66a0f0c2aa11bb22cc33dd01", "participantId": "66a0f1", "metadata": {"order_id": "1001"},
    "responses": [{"slideId": "s1", "response": "Email"}],
}  # fmt: skip
ROW: dict[str, Any] = {
    "_id": "r1", "createdAt": "2026-03-01T09:00:00.000Z", "accountId": "a1", "pollId": "p1", "slideId": "s1",
    "participantId": "u1", "orderValue": 0, "metadata": {}, "response": "Email, Friend", "valueType": "vote",
    "answers": [
        {"title": "Email", "value": "Email", "handle": "email"},
        {"title": "Friend", "value": "Friend", "handle": "friend"},
    ],
    "userAgent": "X",
}  # fmt: skip
WRITE_IN: dict[str, Any] = {
    "_id": "r2", "createdAt": "2026-03-01T09:00:02.000Z", "accountId": "a1", "pollId": "p1", "slideId": "s1",
    "participantId": "u1", "metadata": {"shopify_line_items": "Blue mug, Red mug"}, "response": "a podcast, I think",
    "valueType": "dynamic-response", "userAgent": "X",
}  # fmt: skip
PHONE: dict[str, Any] = {
    "_id": "r3", "createdAt": "2026-03-01T09:01:00.000Z", "accountId": "a1", "pollId": "p2", "slideId": "s9",
    "participantId": "u2", "response": "4", "valueType": "vote",
    "metadata": {"source": "mobile-sdk", "platform": "android", "sdk_version": "1.0", "app_version": "3.2"},
}  # fmt: skip
NOBODY = {"pollId": "p1"}


def row(**changes: Any) -> dict[str, Any]:
    return {k: v for k, v in (ROW | changes).items() if v is not ...}


def pushed(body: Any, settings: ZigpollSettings = PLAIN) -> list[Item]:
    return items(body if isinstance(body, bytes) else json.dumps(body).encode(), settings, NOW)


def event(body: Any, settings: ZigpollSettings = PLAIN) -> dict[str, Any]:
    (item,) = pushed(body, settings)
    assert item.rejected is None
    found: dict[str, Any] = item.value
    return found


def answer(settings: ZigpollSettings = PLAIN, **changes: Any) -> dict[str, Any]:
    (found,) = event(row(**changes), settings)["answers"]
    assert found.pop("question") == "s1"
    return dict(found)


def reason(item: Item) -> str | None:
    return item.rejected and item.rejected.reason


def exported(*values: Any, joint: str = "\n", settings: ZigpollSettings = PLAIN) -> list[Item]:
    text = joint.join(value if isinstance(value, str) else json.dumps(value) for value in values)
    return list(items_of_file(io.BytesIO(text.encode()), settings))


@pytest.fixture
def intake(tmp_path: Path) -> Intake:
    home = Home(tmp_path / "home")
    home.create()
    return Intake(home, FixedClock(NOW))


def admit(intake: Intake, *found: Item) -> list[Event]:
    taken, entries = intake.take(found, source="zigpoll")
    assert [one.rejected for one in taken] == [None] * len(found)
    return [decode(entry.value) for entry in entries]


def test_the_envelope() -> None:
    assert event(ENVELOPE) == {
        "type": "response", "response_id": "zigpoll:66a0f0c2aa11bb22cc33dd01/66a0f1/s1/2026-03-02",
        "occurred_at": "2026-03-02T12:00:00+00:00", "respondent": "customer", "survey_id": "66a0f0c2aa11bb22cc33dd01",
        "source": "zigpoll", "answers": [{"question": "s1", "kind": "text", "text": "Email"}],
        "customer_id": None, "courier_id": None, "extra": {"metadata": {"order_id": "1001"}, "unconfirmed": True},
    }  # fmt: skip


def test_the_row() -> None:
    assert event(ROW) == {
        "type": "response", "response_id": "zigpoll:r1", "occurred_at": "2026-03-01T09:00:00+00:00",
        "respondent": "customer", "survey_id": "p1", "source": "zigpoll",
        "answers": [{"question": "s1", "kind": "choice", "label": "Email | Friend"}],
        "customer_id": None, "courier_id": None,
        "extra": {"handles": ["email", "friend"], "order_value": 0, "value_type": "vote", "unconfirmed": True},
    }  # fmt: skip


def test_the_write_in() -> None:
    found = event(WRITE_IN)
    assert found["answers"] == [{"question": "s1", "kind": "text", "text": "a podcast, I think"}]
    assert found["extra"]["metadata"] == {"shopify_line_items": "Blue mug, Red mug"}


def test_the_survey_on_a_phone() -> None:
    found = event(PHONE)
    assert found["answers"] == [{"question": "s9", "kind": "number", "value": 4.0}]
    assert found["extra"]["metadata"] == PHONE["metadata"]


@pytest.mark.parametrize(
    "body", [NOBODY, NOBODY | {"responses": []}, NOBODY | {"responses": ["Email"]}, {"poll_id": 7, "response": "Email"}]
)
def test_a_poll_without_rows_rang_the_bell(body: dict[str, Any]) -> None:
    (item,) = pushed(body)
    assert reason(item) == "awaiting_pull"
    assert item.raw == json.dumps(body).encode()


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"5", b'"p1"', b"null", b"\xff", b"[" * 5_000, {}, {"pollId": ""}])
def test_what_is_no_push(body: Any) -> None:
    (item,) = pushed(body)
    assert reason(item) == "malformed"
    assert item.place == "body"


@pytest.mark.parametrize(
    ("name", "changes", "wanted"),
    [
        ("one option", {"answers": [{"title": "Red, blue", "value": "x"}]}, {"kind": "choice", "label": "Red, blue"}),
        ("no title", {"answers": [{"handle": "email"}]}, {"kind": "choice", "label": "email"}),
        ("a vote of an older build is never split", {"answers": ...}, {"kind": "choice", "label": "Email, Friend"}),
        ("unknown type", {"answers": ..., "valueType": ...}, {"kind": "text", "text": "Email, Friend"}),
        ("several as a list", {"answers": ..., "response": ["A, b", "C"]}, {"kind": "choice", "label": "A, b | C"}),
        ("a JSON number", {"answers": ..., "response": 4.5}, {"kind": "number", "value": 4.5}),
        ("seven digits may be a phone", {"answers": ..., "response": "0171234567", "valueType": "dynamic-response"},
            {"kind": "text", "text": "0171234567"}),
        ("and are no vote", {"answers": [], "response": 1712345678, "valueType": ...},
            {"kind": "text", "text": "1712345678"}),
        ("a written number is what was written", {"answers": ..., "response": "5", "valueType": "dynamic-response"},
            {"kind": "text", "text": "5"}),
        ("true", {"answers": ..., "response": True}, {"kind": "choice", "label": "true"}),
        ("a matrix", {"answers": [{"rowTitle": "Speed", "title": "good"}, {"rowHandle": "care", "title": "bad"}]},
            {"kind": "choice", "label": "Speed: good | care: bad"}),
        ("a ranking", {"answers": [{"title": "C", "rank": 10}, {"title": "A", "rank": "1"}, {"title": "B", "rank": 2}]},
            {"kind": "choice", "label": "A | B | C"}),
        ("half a ranking", {"answers": [{"title": "B", "rank": 2}, {"title": "A"}]},
            {"kind": "choice", "label": "B | A"}),
        ("odd options", {"answers": ["A", None, {"title": ["B"]}, {"title": "C"}]}, {"kind": "choice", "label": "C"}),
        ("only odd options", {"answers": ["A", 5, {}]}, {"kind": "choice", "label": "Email, Friend"}),
        ("options that are none", {"answers": {"title": "A"}}, {"kind": "choice", "label": "Email, Friend"}),
    ],
)  # fmt: skip
def test_kinds_that_the_answer_tells(name: str, changes: dict[str, Any], wanted: dict[str, Any]) -> None:
    assert answer(**changes) == wanted, name


@pytest.mark.parametrize(
    ("spec", "changes", "wanted"),
    [
        ("nps", {"answers": ..., "response": "9"}, {"kind": "nps", "value": 9.0, "low": 0.0, "high": 10.0}),
        ("csat:1-5", {"answers": ..., "response": " 4 "}, {"kind": "csat", "value": 4.0, "low": 1.0, "high": 5.0}),
        ("csat", {"answers": [{"title": "Happy", "value": "5"}]}, {"kind": "csat", "value": 5.0}),
        ("ces:1-7", {"answers": [{"title": "7", "handle": "seven"}]},
            {"kind": "ces", "value": 7.0, "low": 1.0, "high": 7.0}),
        ("number", {"answers": ..., "response": "12345678"}, {"kind": "number", "value": 12345678.0}),
        ("rating:-2-2", {"answers": ..., "response": "-1"},
            {"kind": "rating", "value": -1.0, "low": -2.0, "high": 2.0}),
        ("nps", {"answers": ..., "response": "11"}, {"kind": "text", "text": "11"}),
        ("csat:1-5", {"answers": ..., "response": "fine"}, {"kind": "text", "text": "fine"}),
        ("number", {"answers": ..., "response": "9" * 400}, {"kind": "text", "text": "9" * 400}),
        ("number", {"answers": ..., "response": "1e3"}, {"kind": "text", "text": "1e3"}),
        ("number", {"answers": ..., "response": "٤"}, {"kind": "text", "text": "٤"}),
        ("nps", {}, {"kind": "text", "text": "Email, Friend"}),
        ("boolean", {"answers": [{"title": "Ja", "value": "yes"}]}, {"kind": "boolean", "value": 1.0}),
        ("boolean", {"answers": ..., "response": False}, {"kind": "boolean", "value": 0.0}),
        ("boolean", {"answers": ..., "response": "maybe"}, {"kind": "text", "text": "maybe"}),
        ("choice", {"answers": ..., "response": "4"}, {"kind": "choice", "label": "4"}),
        ("text", {}, {"kind": "text", "text": "Email, Friend"}),
    ],
)  # fmt: skip
def test_kinds_that_the_settings_give(spec: str, changes: dict[str, Any], wanted: dict[str, Any]) -> None:
    assert answer(ZigpollSettings(questions={"s1": spec}), **changes) == wanted


@pytest.mark.parametrize("response", [..., None, "", "  "])
def test_a_slide_without_an_answer_has_none(response: Any) -> None:
    assert event(row(answers=..., response=response))["answers"] == []


def test_a_response_of_an_odd_shape_is_kept_beside() -> None:
    found = event(row(answers=..., response={"url": "x"}))
    assert (found["answers"], found["extra"]["unknown_response"]) == ([], {"url": "x"})


@pytest.mark.parametrize(
    ("metadata", "beside", "respondent", "customer", "courier"),
    [
        ({"customer_id": "C-42", "uid": "other"}, {}, "customer", "C-42", None),
        ({"uid": "C-42"}, {}, "customer", "C-42", None),
        ({}, {"userId": 42}, "customer", "42", None),
        ({"customer_id": "undefined", "uid": "{{uid}}"}, {"userId": "C-42"}, "customer", "C-42", None),
        ({"uid": "a@b.de"}, {"userId": "a@b.de", "email": "a@b.de"}, "customer", None, None),
        ({"uid": "u1"}, {"userId": "u1"}, "customer", None, None),
        ({"email": "a@b.de"}, {"email": "a@b.de"}, "customer", None, None),
        ({"courier_id": "K-7"}, {}, "agent", None, "K-7"),
        ({"courier_id": "K-7", "customer_id": "C-42"}, {}, "agent", "C-42", "K-7"),
        ({"courier_id": "{{courier}}"}, {}, "agent", None, None),
        ({"courier_id": "{{courier}}", "customer_id": "C-42"}, {}, "customer", "C-42", None),
        ({"customer_id": ["C-42"]}, {}, "customer", None, None),
    ],
)
def test_who(
    metadata: dict[str, Any], beside: dict[str, Any], respondent: str, customer: str | None, courier: str | None
) -> None:
    found = event(row(metadata=metadata, **beside))
    assert (found["respondent"], found["customer_id"], found["courier_id"]) == (respondent, customer, courier)


def test_a_company_names_its_own_keys() -> None:
    own = ZigpollSettings(customer_key="ref", agent_key="driver", delivery_key="parcel", exposure_key="shown")
    metadata = {"ref": "C-42", "driver": "K-7", "parcel": "D-1", "shown": "x-1"}
    found = event(row(metadata=metadata), own)
    assert (found["customer_id"], found["courier_id"]) == ("C-42", "K-7")
    assert (found["delivery_id"], found["exposure_id"]) == ("D-1", "x-1")
    assert "metadata" not in found["extra"]


def test_links_that_lead_nowhere_are_left_out() -> None:
    found = event(row(metadata={"delivery_id": "undefined", "exposure_id": "x" * 600}))
    assert not {"delivery_id", "exposure_id"} & set(found)


def test_what_says_who_somebody_was_is_not_kept(intake: Intake) -> None:
    personal = {
        "customer_id": "C-42", "email": "a@b.de", "first_name": "Anna", "phone": "0171 2345678", "user_id": "C-42",
        "address": {"street": "Allee 5"}, "client_ip": "1.1.1.1", "edge": "2001:db8::7", "note": "C-42 at a@b.de",
        "browser_user_agent": "Firefox", "ip": "203.0.113.7",
    }  # fmt: skip
    body = ENVELOPE | {
        "metadata": personal, "email": "a@b.de", "ipAddress": "203.0.113.7", "userAgent": "Firefox",
        "responses": [{"slideId": "s1", "response": "I am C-42, a@b.de", "ipAddress": "203.0.113.7"}],
    }  # fmt: skip
    (found,) = admit(intake, *pushed(body))
    assert isinstance(found, Response)
    assert found.extra == {"metadata": {"note": "[id] at [email]"}, "unconfirmed": True}
    assert found.answers[0].text == "I am [id], [email]"
    for secret in ("C-42", "a@b.de", "203.0", "Firefox"):
        assert secret not in str(found), secret


def test_each_part_of_an_id_is_escaped() -> None:
    (found,) = pushed({"pollId": "p/1", "participantId": "ü ?", "slideId": "s#1", "response": "x"})
    assert found.value["response_id"] == "zigpoll:p%2F1/%C3%BC%20%3F/s%231/2026-03-02"


@pytest.mark.parametrize(
    ("created", "day"),
    [
        (None, "2026-03-02"), ("", "2026-03-02"), ("2026-03-01T23:30:00-02:00", "2026-03-02"),
        ("2026-02-28T23:59:59.999Z", "2026-02-28"), (1772409599999, "2026-03-01"), (1772409600000, "2026-03-02"),
    ],
)  # fmt: skip
def test_the_day_of_an_id_is_in_utc(created: Any, day: str) -> None:
    found = event(row(_id=..., createdAt=created))
    assert found["response_id"] == f"zigpoll:p1/u1/s1/{day}"
    assert found["occurred_at"].startswith(day)


@pytest.mark.parametrize(
    "created", ["yesterday", "2026-03-01T09:00:00", 5, True, 10**400, [1], "0001-01-01T00:00:00+14:00", 1e300]
)
def test_a_time_that_is_none(created: Any) -> None:
    (item,) = pushed(row(createdAt=created))
    assert reason(item) == "invalid"


def test_one_body_of_many_answers_shares_what_it_says_once() -> None:
    body = {
        "_id": "envelope", "poll_id": "p1", "participant_id": "u1", "createdAt": "2026-03-01T09:00:00Z",
        "metadata": {"customer_id": "C-42", "plan": "gold"},
        "responses": [
            {"_id": "r1", "slideId": "s1", "response": "Email"},
            {"slideId": "s2", "response": "4", "metadata": {"plan": "silver"}, "participantId": None},
            {"response": "whose?"}, "odd",
        ],
    }  # fmt: skip
    first, second, third, fourth = pushed(body)
    assert (first.value["response_id"], second.value["response_id"]) == ("zigpoll:r1", "zigpoll:p1/u1/s2/2026-03-01")
    assert [one.value["extra"]["metadata"]["plan"] for one in (first, second)] == ["gold", "silver"]
    assert {one.value["customer_id"] for one in (first, second)} == {"C-42"}
    assert [reason(third), reason(fourth)] == ["awaiting_pull", "malformed"]
    assert [one.place for one in (first, second, third, fourth)] == ["row 0", "row 1", "row 2", "row 3"]
    assert json.loads(fourth.raw) == "odd", "a dead letter of one row holds that row"


def test_a_single_response_object() -> None:
    body = {"pollId": "p1", "participantId": "u1", "response": {"slideId": "s1", "response": "x"}}
    assert event(body)["response_id"] == "zigpoll:p1/u1/s1/2026-03-02"


def test_without_anybody_one_answer_cannot_be_told_from_the_next() -> None:
    bare = row(_id=..., participantId=...)
    assert reason(pushed(bare)[0]) == "awaiting_pull"
    assert reason(exported(bare)[0]) == "missing_id"
    known = event(bare | {"metadata": {"customer_id": "C-42"}})
    assert known["response_id"] == "zigpoll:p1//s1/2026-03-01", "the person is part of an event's identity"


@pytest.mark.parametrize("participant", ["C-42", "a@b.de"])
def test_an_id_never_shows_who_somebody_is(participant: str) -> None:
    found = event(row(_id=..., participantId=participant, metadata={"customer_id": "C-42"}))
    assert found["response_id"] == "zigpoll:p1//s1/2026-03-01"


def test_only_known_polls() -> None:
    known = ZigpollSettings(polls=("p2",))
    assert reason(pushed(ROW, known)[0]) == "unknown_form"
    assert reason(pushed(NOBODY, known)[0]) == "unknown_form"
    assert reason(exported(ROW, settings=known)[0]) == "unknown_form"
    assert reason(pushed(PHONE, known)[0]) is None


def test_an_export_is_confirmed_and_takes_the_place_of_the_push(intake: Intake) -> None:
    push, export = admit(intake, *pushed(ROW), *exported(ROW))
    assert (push.id, push.key) == (export.id, export.key)
    assert (push.revision, export.revision) == (0, 1)
    assert push.extra["unconfirmed"] is True
    assert "unconfirmed" not in export.extra
    (again,) = admit(intake, *exported(ROW))
    assert encode(again) == encode(export), "a second export is a duplicate"


def test_a_push_without_row_ids_and_an_export_meet_by_their_parts() -> None:
    by_parts = ZigpollSettings(ids="parts")
    without = row(_id=...)
    (export,) = exported(ROW, settings=by_parts)
    assert export.value["response_id"] == event(without, by_parts)["response_id"] == "zigpoll:p1/u1/s1/2026-03-01"
    assert exported(ROW)[0].value["response_id"] != event(without)["response_id"]
    assert event(row(participantId=...), by_parts)["response_id"] == "zigpoll:r1", "without parts by its own"


def test_an_export_in_pages() -> None:
    page = {"data": [ROW, 5, row(slideId=...), row(createdAt=...), PHONE], "hasNextPage": False, "endCursor": None}
    found = exported(page)
    assert [reason(item) for item in found] == [None, "malformed", "malformed", "invalid", None]
    assert [item.place for item in found][:2] == ["line 1, row 0", "line 1, row 1"]
    assert [found[0].value, found[4].value] == [item.value for item in exported(ROW, PHONE)]


@pytest.mark.parametrize(
    ("given_token", "tokens", "good"),
    [
        ("secret", ("secret", ""), True), ("old", ("secret", "old"), True), ("", ("", ""), False),
        ("secret", ("", ""), False), ("secre", ("secret", ""), False), ("secret/", ("secret", ""), False),
        ("sécret", ("secret", ""), False), ("\udcff", ("secret", ""), False), ("sécret", ("sécret",), True),
    ],
)  # fmt: skip
def test_the_token(given_token: str, tokens: tuple[str, ...], good: bool) -> None:
    assert admitted(given_token, tokens) is good


def test_large_bodies() -> None:
    many = {"pollId": "p1", "participantId": "u1", "responses": [
        {"slideId": f"s{n}", "response": "x" * 500} for n in range(9_000)]}  # fmt: skip
    assert len(json.dumps(many)) > 4_500_000
    assert len({item.value["response_id"] for item in pushed(many)}) == 9_000
    (one,) = pushed(row(answers=..., response="x" * 5_000_000))
    assert len(one.value["answers"][0]["label"]) == 100_000
    (bell,) = pushed({"pollId": "p1", "screenshot": "x" * 5_000_000})
    assert reason(bell) == "awaiting_pull"
    (flood,) = pushed({"pollId": "p1", "responses": [{"slideId": "s"}] * 200_000})
    assert reason(flood) == "malformed"


@settings(max_examples=300)
@given(data=st.data(), odd=JSON)
def test_anything_in_any_place_is_an_event_or_a_dead_letter(data: st.DataObject, odd: Any) -> None:
    changed: Any = json.loads(json.dumps(data.draw(st.sampled_from([ENVELOPE, ROW | {"metadata": {"uid": "C"}}]))))
    node = changed
    while True:
        key = data.draw(st.sampled_from(sorted(node) if isinstance(node, dict) else range(len(node))))
        if not isinstance(node[key], dict | list) or not node[key] or data.draw(st.booleans()):
            break
        node = node[key]
    node[key] = odd
    spec = ZigpollSettings(questions={"s1": data.draw(st.sampled_from(["nps", "csat:1-5", "choice", "boolean"]))})
    for own in (PLAIN, spec):
        for found in [*pushed(changed, own), *exported(changed, settings=own)]:
            assert (found.rejected is None) == isinstance(found.value, dict)


@settings(max_examples=150)
@given(odd=JSON, name=st.sampled_from(sorted(ROW)))
def test_what_is_read_is_an_event_for_the_intake(odd: Any, name: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    home = Home(tmp_path_factory.getbasetemp() / "intake")
    home.create()
    found = pushed(row(**{name: odd}))
    taken, entries = Intake(home, FixedClock(NOW)).take(found, source="zigpoll")
    assert len(entries) == len(found)
    assert {one.rejected.reason for one in taken if one.rejected} <= {"malformed", "invalid", "awaiting_pull"}


def test_settings_from_everywhere(tmp_path: Path) -> None:
    (tmp_path / "edgeloop.toml").write_text('[zigpoll]\npolls = ["p1"]\nquestions = { s1 = "nps", s2 = "csat:1-5" }\n')
    (tmp_path / "token").write_text("from a file\n")
    own = load(tmp_path, {"EDGELOOP_ZIGPOLL_TOKEN_FILE": str(tmp_path / "token")}).zigpoll
    assert (own.token, own.polls, own.questions) == ("from a file", ("p1",), {"s1": "nps", "s2": "csat:1-5"})
    environment = {"EDGELOOP_ZIGPOLL_QUESTIONS": "s1=ces:1-7, s2=text", "EDGELOOP_ZIGPOLL_PREVIOUS_TOKEN": "old"}
    own = load(tmp_path, environment).zigpoll
    assert (own.previous_token, own.questions) == ("old", {"s1": "ces:1-7", "s2": "text"})


@pytest.mark.parametrize("spec", ["stars", "csat:5-1", "csat:1", "text:1-5", "nps:", "", "csat:1-5 "])
def test_a_kind_that_is_none_is_named(tmp_path: Path, spec: str) -> None:
    with pytest.raises(ValueError):
        scale_of(spec)
    (tmp_path / "edgeloop.toml").write_text(f'[zigpoll.questions]\ns1 = "{spec}"\n')
    with pytest.raises(UsageError, match=r"questions: s1 = .* write one of nps, csat"):
        load(tmp_path, {})


@pytest.mark.parametrize("text", ["s1", "s1=nps,s2"])
def test_a_table_in_the_environment_that_is_none(tmp_path: Path, text: str) -> None:
    with pytest.raises(UsageError, match="EDGELOOP_ZIGPOLL_QUESTIONS"):
        load(tmp_path, {"EDGELOOP_ZIGPOLL_QUESTIONS": text})


def test_a_value_that_is_no_number_is_counted_once_for_its_page() -> None:
    rows = [row(orderValue=float("nan"), _id="r8"), row(_id="r9")]
    for found in (pushed({"responses": rows}), exported({"data": rows}), exported(*rows), exported(rows)):
        assert [item.rejected for item in found] == [None, None]
        assert [item.no_numbers for item in found] == [1, 0]
