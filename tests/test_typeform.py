"""Typeform: the signature over the raw bytes, every documented and observed shape of a delivery, and saved pages."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.intake import Intake, Item
from connectors.typeform import item, items_of_file, read, sign, signed
from edgeloop.errors import UsageError
from edgeloop.events import decode, encode
from edgeloop.home import Home
from edgeloop.settings import TypeformSettings
from tests.fakes import FixedClock, at

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
        {"question": "csat", "kind": "rating", "value": 4.0},
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
    assert extra == {"landed_at": "2026-02-03T10:00:00Z", "score": 7, "variables": {"tier": "gold", "n": 7}}


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


def api(**changes: Any) -> dict[str, Any]:
    """The same response as an item of the Responses API: no definition, no form, no delivery's id, metadata besides."""
    own = ALL_TYPES["form_response"]
    item = {name: own[name] for name in ("token", "landed_at", "submitted_at", "hidden", "calculated", "answers")}
    item |= {
        "landing_id": own["token"],
        "response_id": own["token"],
        "metadata": {"user_agent": "X", "network_id": "n"},
    }
    return {name: value for name, value in (item | changes).items() if value is not ...}


def saved(*values: Any, form: str | None = "fAbC12", known: tuple[str, ...] = ()) -> list[Item]:
    text = "\n".join(json.dumps(value) for value in values).encode()
    return list(items_of_file(io.BytesIO(text), TypeformSettings(forms=known), form))


def page(*items: Any) -> dict[str, Any]:
    return {"total_items": len(items), "page_count": 1, "items": [*items]}


@pytest.mark.parametrize(
    ("webhook", "row"),
    [
        ({}, {}),
        ({"ending": ..., "outcome": {"id": "o", "title": "Explorer"}}, {}),
        ({"calculated": ..., "hidden": ...}, {"calculated": {"score": 0}, "hidden": {}}),
        ({"answers": ...}, {"answers": []}),
        ({}, {"token": ..., "response_type": "completed", "tags": ["a"], "ending": {"ref": "end1"}}),
        ({"submitted_at": ...}, {"submitted_at": "0001-01-01T00:00:00Z"}),
        ({"submitted_at": ...}, {"submitted_at": ..., "response_type": "partial"}),
    ],
)
def test_a_response_by_webhook_and_from_a_file_is_one_event_with_one_body(
    webhook: dict[str, Any], row: dict[str, Any], tmp_path: Path
) -> None:
    home = Home(tmp_path / "home")
    home.create()
    delivered = delivery(**webhook)
    if "submitted_at" in webhook:
        delivered["event_type"] = "form_response_partial"
    by_webhook, (by_file,) = item(json.dumps(delivered).encode(), SETTINGS), saved(page(api(**row)))
    intake = Intake(home, FixedClock(at("2026-02-03T12:00:00Z")))
    taken, entries = intake.take([by_webhook, by_file], source="typeform")
    assert [one.id for one in taken] == ["typeform:fAbC12:tok001"] * 2
    assert entries[0].key == entries[1].key
    first, second = (encode(decode(entry.value)) for entry in entries)
    assert first == second


def test_the_documented_page() -> None:
    documented = {"total_items": 1, "page_count": 1, "items": [{
        "landing_id": "tok9", "token": "tok9", "response_id": "tok9", "landed_at": "2026-02-03T10:00:00Z",
        "submitted_at": "2026-02-03T10:01:00Z",
        "metadata": {"user_agent": "X", "platform": "other", "referer": "https://example.typeform.com/to/f",
                     "network_id": "n1", "browser": "default"},
        "hidden": {}, "calculated": {"score": 0},
        "answers": [{"field": {"id": "q5", "type": "multiple_choice", "ref": "many"}, "type": "choices",
                     "choices": {"ids": ["c2", "c3"], "refs": ["r2", "r3"], "labels": ["A", "B"]}}]}]}  # fmt: skip
    (found,) = saved(documented, form="f")
    assert found.value == {
        "type": "response", "response_id": "typeform:f:tok9", "occurred_at": "2026-02-03T10:01:00Z",
        "respondent": "customer", "survey_id": "f", "source": "typeform", "partial": False,
        "answers": [{"question": "many", "kind": "choice", "label": "A"},
                    {"question": "many", "kind": "choice", "label": "B"}],
        "customer_id": None, "courier_id": None, "extra": {"landed_at": "2026-02-03T10:00:00Z"},
    }  # fmt: skip


def test_a_file_of_deliveries_of_items_or_of_pages() -> None:
    others = [api(token=f"t{n}") for n in range(3)]
    wanted = ["typeform:fAbC12:tok001", *(f"typeform:fAbC12:t{n}" for n in range(3))]
    for values in ([ALL_TYPES, *others], [page(ALL_TYPES, *others)], [[ALL_TYPES, page(*others)]]):
        assert [found.value["response_id"] for found in saved(*values)] == wanted
    packed = gzip.compress(json.dumps(page(*others), indent=2).encode())
    (first, *_) = items_of_file(io.BytesIO(packed), SETTINGS, "fAbC12")
    assert first.value["response_id"] == "typeform:fAbC12:t0"


@pytest.mark.parametrize(
    ("value", "form", "known", "wanted"),
    [
        (api(), "given", (), "given"),
        (api(), None, ("only",), "only"),
        (api(), "two", ("one", "two"), "two"),
        (api(form_id="own"), "given", (), "own"),
        (api(form_id=""), "given", (), "given"),
        (ALL_TYPES, None, (), "fAbC12"),
    ],
)
def test_whose_form_a_row_is_of(value: Any, form: str | None, known: tuple[str, ...], wanted: str) -> None:
    (found,) = saved(value, form=form, known=known)
    assert found.value["survey_id"] == wanted


@pytest.mark.parametrize("known", [(), ("one", "two")])
def test_a_form_is_never_guessed(known: tuple[str, ...]) -> None:
    with pytest.raises(UsageError, match=r"line 1, row 0: .*--form ID"):
        saved(page(api()), form=None, known=known)


def test_a_form_that_is_not_known() -> None:
    with pytest.raises(UsageError, match=r"--form other is not in `\[typeform\] forms`"):
        saved(api(), form="other", known=("one",))
    (found,) = saved(ALL_TYPES, form=None, known=("one",))
    assert found.rejected is not None
    assert found.rejected.reason == "unknown_form"


def test_a_row_that_lacks_what_a_webhook_would_know_never_takes_its_place() -> None:
    untyped = [{"type": "number", "number": 9, "field": {"id": "q2", "ref": "nps"}}]
    assert saved(api(answers=untyped))[0].value["revision"] == -1
    assert "revision" not in saved(api())[0].value


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({}, "`token`"), ({"token": 5}, "`token`"), (5, "event_type"), ({"form_response": {}}, "event_type"),
        (api(submitted_at=..., landed_at=...), "landed_at"), ({"items": 5}, "`token`"),
    ],
)  # fmt: skip
def test_a_bad_row_of_a_file_does_not_cost_its_neighbours(row: Any, says: str) -> None:
    for form in ("fAbC12", None):
        found = saved([ALL_TYPES, row, ALL_TYPES], form=form, known=("fAbC12",))
        assert [one.rejected is None for one in found] == [True, False, True]
        assert found[1].rejected is not None
        assert says in found[1].rejected.detail


@settings(max_examples=150)
@given(odd=JSON, name=st.sampled_from(sorted(api())))
def test_anything_in_a_row_is_an_event_or_a_dead_letter(odd: Any, name: str) -> None:
    for found in saved(page(api(**{name: odd}))):
        assert (found.rejected is None) == isinstance(found.value, dict)


def test_a_value_that_is_no_number_is_counted() -> None:
    body = json.dumps(delivery(calculated={"score": float("nan")})).encode()
    (from_file,) = items_of_file(io.BytesIO(body), SETTINGS)
    for found in (item(body, SETTINGS), from_file):
        assert (found.rejected, found.no_numbers) == (None, 1)
