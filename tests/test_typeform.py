"""Typeform: the signature over the raw bytes, and every documented and observed shape of a delivery."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.typeform import item, read, sign, signed
from edgeloop.settings import TypeformSettings

SETTINGS = TypeformSettings()
VECTOR = b'{"event_id":"01TEST","event_type":"form_response"}'
VECTOR_SIGNATURE = "sha256=3UkM2WIbaSUN4b50Jh0bNJ+L3H8UD8gXOuXojbc2eGw="

ALL_TYPES: dict[str, Any] = {
    "event_id": "01JTEST", "event_type": "form_response", "form_response": {
        "form_id": "fAbC12", "token": "tok001", "landed_at": "2026-02-03T10:00:00Z",
        "submitted_at": "2026-02-03T10:02:30Z", "hidden": {"cid": "C-42", "sig": "9f0a"}, "calculated": {"score": 7},
        "definition": {"id": "fAbC12", "title": "After purchase", "fields": []},
        "answers": [
            {"type": "text", "text": "line one\nline two\n", "field": {"id": "q1", "type": "long_text", "ref": "why"}},
            {"type": "number", "number": 9, "field": {"id": "q2", "type": "nps", "ref": "nps"}},
            {"type": "number", "number": 4, "field": {"id": "q2b", "type": "rating", "ref": "csat"}},
            {"type": "number", "number": 3, "field": {"id": "q2c", "type": "number", "ref": "parcels"}},
            {"type": "boolean", "boolean": False, "field": {"id": "q3", "type": "legal", "ref": "terms"}},
            {"type": "choice", "choice": {"id": "c1", "ref": "r1", "label": "Red"},
             "field": {"id": "q4", "type": "multiple_choice", "ref": "pick"}},
            {"type": "choices", "choices": {"ids": ["c2"], "labels": ["A", "B"], "other": "none of these"},
             "field": {"id": "q5", "type": "multiple_choice", "ref": "many"}},
            {"type": "email", "email": "a@example.org", "field": {"id": "q6", "type": "email", "ref": "mail"}},
            {"type": "phone_number", "phone_number": "+15550100", "field": {"id": "q7", "type": "phone_number"}},
            {"type": "date", "date": "1990-12-31", "field": {"id": "q8", "type": "date", "ref": "born"}},
            {"type": "url", "url": "https://example.org", "field": {"id": "q9", "type": "website", "ref": "site"}},
            {"type": "file_url", "file_url": "https://x.invalid/cv.pdf", "field": {"id": "q10", "type": "file_upload"}},
            {"type": "payment", "payment": {"amount": "12.50", "last4": "4242", "name": "A B"},
             "field": {"id": "q11", "type": "payment", "ref": "pay"}},
        ],
        "ending": {"id": "e1", "ref": "end1"},
    },
}  # fmt: skip


def delivery(**changes: Any) -> dict[str, Any]:
    response = ALL_TYPES["form_response"] | changes
    return ALL_TYPES | {"form_response": {k: v for k, v in response.items() if v is not ...}}


def test_the_documented_vector() -> None:
    assert sign(VECTOR, "topsecret") == VECTOR_SIGNATURE
    assert signed(VECTOR, VECTOR_SIGNATURE, ["topsecret"])


@pytest.mark.parametrize(
    ("body", "header", "secrets"),
    [
        (VECTOR + b"\n", VECTOR_SIGNATURE, ["topsecret"]),
        (VECTOR, VECTOR_SIGNATURE, ["other"]),
        (VECTOR, VECTOR_SIGNATURE.replace("sha256=", ""), ["topsecret"]),
        (VECTOR, "sha256=", ["topsecret"]),
        (VECTOR, "sha256=\xe9", ["topsecret"]),
        (VECTOR, None, ["topsecret"]),
        (VECTOR, VECTOR_SIGNATURE, []),
        (VECTOR, sign(VECTOR, ""), [""]),
    ],
)
def test_anything_else_is_not_signed(body: bytes, header: str | None, secrets: list[str]) -> None:
    assert not signed(body, header, secrets)


def test_two_secrets_while_one_is_being_changed() -> None:
    assert signed(VECTOR, VECTOR_SIGNATURE, ["new", "topsecret"])


def test_every_answer_type() -> None:
    event = read(ALL_TYPES, SETTINGS).event
    assert event["response_id"] == "typeform:fAbC12:tok001"
    assert event["occurred_at"] == "2026-02-03T10:02:30Z"
    assert (event["respondent"], event["customer_id"], event["survey_id"]) == ("customer", "C-42", "fAbC12")
    assert event["answers"] == [
        {"question": "why", "kind": "text", "text": "line one\nline two"},
        {"question": "nps", "kind": "nps", "value": 9.0, "low": 0.0, "high": 10.0},
        {"question": "csat", "kind": "rating", "value": 4.0, "low": 1.0, "high": 5.0},
        {"question": "parcels", "kind": "number", "value": 3.0},
        {"question": "terms", "kind": "boolean", "value": 0.0},
        {"question": "pick", "kind": "choice", "label": "Red"},
        {"question": "many", "kind": "choice", "label": "A"},
        {"question": "many", "kind": "choice", "label": "B"},
        {"question": "many", "kind": "choice", "label": "none of these"},
    ]
    text = json.dumps(event)
    for personal in ("a@example.org", "5550100", "1990", "example.org", "4242", "9f0a"):
        assert personal not in text


@pytest.mark.parametrize(
    ("name", "changed", "field", "wanted"),
    [
        ("partial: no submitted_at", {"submitted_at": ...}, "occurred_at", "2026-02-03T10:00:00Z"),
        ("no answers", {"answers": None}, "answers", []),
        ("answers missing", {"answers": ...}, "answers", []),
        ("no hidden fields", {"hidden": ...}, "customer_id", None),
        ("an agent", {"hidden": {"courier": "K-7"}}, "respondent", "agent"),
        ("an agent's id", {"hidden": {"courier": "K-7"}}, "courier_id", "K-7"),
        ("a delivery", {"hidden": {"cid": "C", "delivery_id": "D-1"}}, "delivery_id", "D-1"),
        ("a mangled time", {"submitted_at": "2026-02-03T05: 18: 14Z"}, "occurred_at", "2026-02-03T05:18:14Z"),
        ("an old answer without ref", {"answers": [
            {"type": "choice", "choice": {"label": "Yes"}, "field": {"id": "123", "type": "multiple_choice"}}]},
            "answers", [{"question": "123", "kind": "choice", "label": "Yes"}]),
        ("other only", {"answers": [
            {"type": "choice", "choice": {"other": "mine"}, "field": {"id": "1", "ref": "pick"}}]},
            "answers", [{"question": "pick", "kind": "choice", "label": "mine"}]),
        ("choices without labels", {"answers": [
            {"type": "choices", "choices": {"ids": ["c"], "refs": ["r2"]}, "field": {"id": "1", "ref": "pick"}}]},
            "answers", [{"question": "pick", "kind": "choice", "label": "r2"}]),
    ],
)  # fmt: skip
def test_edge_cases(name: str, changed: dict[str, Any], field: str, wanted: Any) -> None:
    assert read(delivery(**changed), SETTINGS).event[field] == wanted, name


def test_an_unknown_answer_type_is_noted_and_not_fatal() -> None:
    odd = {"type": "hologram", "hologram": {"v": 1}, "field": {"id": "q12", "ref": "h"}}
    event = read(delivery(answers=[odd, *ALL_TYPES["form_response"]["answers"][1:2]]), SETTINGS).event
    assert [a["question"] for a in event["answers"]] == ["nps"]
    assert event["extra"]["unknown_answers"] == [odd]


def test_what_stands_beside_the_answers_is_kept_where_harmless() -> None:
    variables = [
        {"key": "tier", "type": "text", "text": "gold"}, {"key": "n", "type": "number", "number": 7},
        {"key": "odd", "type": "outcome_id", "outcome_id": "x"}, "odd",
    ]  # fmt: skip
    extra = read(delivery(variables=variables, outcome={"id": "o", "title": "Explorer"}), SETTINGS).event["extra"]
    assert extra == {
        "event_id": "01JTEST", "landed_at": "2026-02-03T10:00:00Z", "score": 7, "ending": "end1",
        "variables": {"tier": "gold", "n": 7}, "outcome": "Explorer",
    }  # fmt: skip


TEXT = {"type": "text", "text": "fine", "field": {"id": "q1", "type": "long_text", "ref": "why"}}


@pytest.mark.parametrize(
    "odd",
    [
        {"hidden": ["x"]}, {"hidden": "x"}, {"definition": "x"}, {"definition": {"fields": ["x", {"id": ["y"]}, {}]}},
        {"calculated": 5}, {"ending": ["e"]}, {"variables": {"a": 1}}, {"outcome": "x"},
        {"hidden": {"cid": 5, "delivery_id": "undefined", "exposure_id": "x" * 600, "language": 3}},
    ],
)  # fmt: skip
def test_an_odd_neighbour_does_not_cost_the_answers(odd: dict[str, Any]) -> None:
    event = read(delivery(answers=[TEXT], **odd), SETTINGS).event
    assert [a["text"] for a in event["answers"]] == ["fine"]
    assert not {"delivery_id", "exposure_id"} & set(event)


@pytest.mark.parametrize(
    "odd",
    [
        "x", None, {}, {"type": "text", "text": 5, "field": {"id": "q"}}, {"type": "text", "text": "x", "field": "q"},
        {"type": "number", "number": 10**400, "field": {"id": "q"}}, {"type": ["text"], "field": {"id": "q"}},
        {"type": "number", "number": None, "field": {"id": "q"}}, {"type": "text", "text": "x"},
        {"type": "number", "number": True, "field": {"id": "q", "type": ["nps"]}},
        {"type": "choice", "choice": {"label": None}, "field": {"id": "q"}}, {"type": "text", "field": {"id": "q"}},
        {"type": "choices", "choices": None, "field": {"id": "q"}}, {"type": "text", "text": "x", "field": {"ref": ""}},
    ],
)  # fmt: skip
def test_an_odd_answer_does_not_cost_the_others(odd: Any) -> None:
    event = read(delivery(answers=[odd, TEXT]), SETTINGS).event
    assert [a["text"] for a in event["answers"]] == ["fine"]
    assert len(event["extra"]["unknown_answers"]) == 1


def test_recordings_and_personal_fields_are_dropped_whatever_their_type() -> None:
    answers = [
        {"type": "video", "video": {"url": "https://x.invalid/face"}, "field": {"id": "v", "ref": "v"}},
        {"type": "text", "text": "Jo", "field": {"id": "e", "type": "email", "ref": "mail"}},
    ]
    event = read(delivery(answers=answers), SETTINGS).event
    assert event["answers"] == []
    assert "unknown_answers" not in event["extra"]


@pytest.mark.parametrize(
    ("hidden", "respondent", "customer", "courier"),
    [
        ({"cid": "C-1", "courier": "{{courier}}"}, "customer", "C-1", None),
        ({"cid": "undefined", "courier": "K-7"}, "agent", None, "K-7"),
        ({"courier": "{{courier}}"}, "agent", None, None),
        ({"courier": ""}, "customer", None, None),
        ({"cid": "undefined"}, "customer", None, None),
    ],
)
def test_unfilled_templates_name_nobody(
    hidden: dict[str, str], respondent: str, customer: str | None, courier: str | None
) -> None:
    event = read(delivery(hidden=hidden), SETTINGS).event
    assert (event["respondent"], event["customer_id"], event["courier_id"]) == (respondent, customer, courier)


@pytest.mark.parametrize(
    ("submitted", "wanted"),
    [
        ("2026-02-03 05:18:14Z", "2026-02-03T05:18:14Z"),
        (" 2026-02-03T05 :18: 14.5 Z\n", "2026-02-03T05:18:14.5Z"),
        ("0001-01-01T00:00:00Z", "2026-02-03T10:00:00Z"),
        ("", "2026-02-03T10:00:00Z"),
    ],
)
def test_times_that_are_not_quite(submitted: str, wanted: str) -> None:
    assert read(delivery(submitted_at=submitted), SETTINGS).event["occurred_at"] == wanted


def test_a_dead_letter_says_which_field_is_missing() -> None:
    for gone, says in (("token", "form_response.token"), ("form_id", "form_response.form_id")):
        found = item(json.dumps(delivery(**{gone: ...})).encode(), SETTINGS)
        assert found.rejected is not None
        assert says in found.rejected.detail
    found = item(json.dumps(delivery(submitted_at=..., landed_at=...)).encode(), SETTINGS)
    assert found.rejected is not None
    assert "landed_at" in found.rejected.detail


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.just(10**400) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["id", "type", "label", "x"]), inner),
    max_leaves=5,
)


@settings(max_examples=300)
@given(data=st.data(), odd=JSON)
def test_anything_in_any_place_is_an_event_or_a_dead_letter(data: st.DataObject, odd: Any) -> None:
    changed = json.loads(json.dumps(ALL_TYPES))
    node: Any = changed
    while True:
        key = data.draw(st.sampled_from(sorted(node) if isinstance(node, dict) else range(len(node))))
        if not isinstance(node[key], dict | list) or not node[key] or data.draw(st.booleans()):
            break
        node = node[key]
    node[key] = odd
    found = item(json.dumps(changed).encode(), SETTINGS)
    assert (found.rejected is None) == isinstance(found.value, dict)


def test_nesting_without_end_is_a_dead_letter() -> None:
    found = item(b"[" * 5_000, SETTINGS)
    assert found.rejected is not None
    assert found.rejected.reason == "malformed"


def test_a_partial_delivery_says_so() -> None:
    assert read(ALL_TYPES | {"event_type": "form_response_partial"}, SETTINGS).event["partial"] is True
    assert read(ALL_TYPES, SETTINGS).event["partial"] is False


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"{", "malformed"),
        (b"[]", "malformed"),
        (b"{}", "malformed"),
        (b'{"event_type":"form_response","form_response":{}}', "malformed"),
        (b'{"event_type":"other","form_response":{"form_id":"f","token":"t"}}', "malformed"),
        (json.dumps(ALL_TYPES).encode(), "unknown_form"),
    ],
)
def test_what_is_no_delivery_becomes_a_dead_letter(body: bytes, reason: str) -> None:
    found = item(body, TypeformSettings(forms=("another",)))
    assert found.rejected is not None
    assert found.rejected.reason == reason
    assert found.raw == body
