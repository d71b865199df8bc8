"""No raw id passes a door under a name that the contract does not know, however that name is spelt."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeloop.app.ingest import Source, ingest_files
from edgeloop.app.process import process
from edgeloop.app.replay import replay_files
from edgeloop.events import EVENT_TYPES
from edgeloop.home import Home
from edgeloop.log.base import Entry
from edgeloop.log.local import LocalLog
from edgeloop.personal_names import meant_id, says_who, stand_in, without_ids
from edgeloop.scrub import scrub_tree
from edgeloop.settings import Settings
from edgeloop.store.reader import SqliteReader
from tests.fakes import FixedClock, at
from tests.test_door import SECRET, SETTINGS, TOKEN, serving
from tests.test_intake import CHANGE, ENGAGEMENT, EXPOSURE, PROFILE, RESPONSE, TELEMETRY

RAW = "C-471199"
SOMEBODY = [
    "custmer_id", "customerId", "customer-id", "customer.id", "CUSTOMER_ID", "costumer_id", "cusotmer_id",
    "customr_id", "kustomer_id", "customer_di", "custmerid", "cust_id", "custid", "customers_id", "customer_uuid",
    "customer_number", "crm_customer_id", "custmer_id_2", "customer_id_hash", "user_id", "userId", "userIDs",
    "user_ids", "userid_raw", "client_id", "clientNo", "member_number", "distinct_id", "anonymousId", "account_no",
    "courierid", "courrier_id", "coruier_id", "driver_id", "agent_id", "kundennummer", "Kunden-Nr", "uid", "cid",
    "user", "customer", "first_name", "customer_name", "loyalty_card",
]  # fmt: skip
NOBODY = [
    "order_id", "carrier_id", "customs_id", "customs_number", "customer_tier", "customer_kind", "customer_since",
    "customer_type", "user_agent", "client", "client_name", "agent_name", "device_id", "session_id", "delivery_id",
    "profile_id", "users_no", "number_of_customers", "counter_id", "course_id", "void", "android", "candid",
    "squid", "grid_id", "cart_id", "name", "city", "model_id", "source", "latency", "note", "a",
]  # fmt: skip


@pytest.mark.parametrize("name", SOMEBODY)
def test_names_of_somebody(name: str) -> None:
    assert says_who(name)
    for clean in (scrub_tree, without_ids):
        assert clean({name: RAW}) == {name: "[id]"}
        assert clean({name: [RAW, 471199]}) == {name: ["[id]", "[id]"]}
        assert clean({"deep": [{name: {"v": 1}}, {name: 471199.0}]}) == {"deep": [{name: {"v": 1}}, {name: "[id]"}]}


@pytest.mark.parametrize("name", NOBODY)
def test_other_names_keep_what_they_hold(name: str) -> None:
    assert not says_who(name)
    assert scrub_tree({name: "A-7"}) == without_ids({name: "A-7"}) == {name: "A-7"}


@given(
    field=st.sampled_from(["customer", "courier"]),
    place=st.integers(0, 7),
    edit=st.sampled_from(["left out", "twice", "swapped", "another"]),
    between=st.sampled_from(["_", "-", "", " ", "."]),
)
def test_one_slip_anywhere_is_found(field: str, place: int, edit: str, between: str) -> None:
    at_place = place % (len(field) - 1)
    before, letter, after = field[:at_place], field[at_place], field[at_place + 1 :]
    spelt = {
        "left out": before + after,
        "twice": before + letter + letter + after,
        "swapped": before + after[0] + letter + after[1:],
        "another": f"{before}w{after}",
    }[edit]
    assert meant_id(f"{spelt}{between}id") == f"{field}_id"


def test_an_id_inside_of_somebody() -> None:
    value = {"user": {"id": RAW, "plan": "b"}, "customers": [{"id": 9}], "order": {"id": "o-1"}}
    clean = {"user": {"id": "[id]", "plan": "b"}, "customers": [{"id": "[id]"}], "order": {"id": "o-1"}}
    assert scrub_tree(value) == without_ids(value) == clean


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("email", "anna", "[email]"),
        ("contactEmail", "a", "[email]"),
        ("email", True, None),
        ("emails_sent", 3, None),
        ("email_opened", "yes", None),
        ("phone", "55 51 23", "[phone]"),
        ("phone", "iPhone 14", None),
        ("phone_model", "SM-12345", None),
        ("mobile_number", "12345", "[phone]"),
        ("user_id", True, None),
        ("user_id", None, None),
        ("customer_id" * 50, RAW, None),
    ],
)
def test_addresses_and_phones(name: str, value: object, wanted: str | None) -> None:
    assert stand_in(name, value) == wanted


NATIVE: list[dict[str, Any]] = [EXPOSURE, RESPONSE, ENGAGEMENT, TELEMETRY, CHANGE, PROFILE]
SPELT = ("custmer_id", "customerId", "customer-id", "cust_id", "user_id", "email")


def native() -> list[dict[str, Any]]:
    """Each type with each name: beside the contract's fields, in `extra`, inside of others, the id in other texts."""
    events = []
    for event in NATIVE:
        id_field = EVENT_TYPES[event["type"]].id_field
        for spelt in SPELT:
            bare = {name: value for name, value in event.items() if name != "customer_id"}
            more: dict[str, Any] = {spelt: RAW, "remark": f"{RAW} called", "list": [{spelt: RAW}]}
            if event["type"] == "response":
                more["answers"] = [{"question": "q", "kind": "text", "text": f"I am {RAW}", spelt: RAW}]
            if event["type"] == "profile":
                more["fields"] = {spelt: RAW, "user": {"id": RAW}}
            if spelt == "email":
                del more["remark"]
                more.pop("answers", None)
                more.pop("fields", None)
            events.append(bare | more | {id_field: f"{event['type']}-{spelt}"})
            events.append(
                bare | {id_field: f"{event['type']}-{spelt}-extra", "extra": {spelt: RAW, "a": [{spelt: RAW}]}}
            )
    return events


def mixpanel() -> list[dict[str, Any]]:
    time = at("2026-02-03T10:00:00Z") // 1_000_000
    return [
        {"event": "order", "properties": {"time": time, "$insert_id": f"i{n}", spelt: RAW, "user": {"id": RAW}}}
        for n, spelt in enumerate(SPELT)
    ]


def zigpoll() -> list[dict[str, Any]]:
    row = {"pollId": "p", "slideId": "s", "createdAt": "2026-02-03T10:00:00Z", "response": "4"}
    return [row | {"_id": f"z{n}", "metadata": {spelt: RAW}} for n, spelt in enumerate(SPELT)]


def typeform() -> dict[str, Any]:
    variables = [{"key": spelt, "type": "text", "text": RAW} for spelt in SPELT]
    response = {
        "form_id": "known", "token": "t9", "submitted_at": "2026-02-03T10:00:00Z", "variables": variables,
        "hidden": dict.fromkeys(SPELT, RAW), "answers": [{"type": "new", "customerid": RAW}],
    }  # fmt: skip
    return {"event_type": "form_response", "form_response": response}


def held_by(folder: Path) -> list[str]:
    return [str(path) for path in folder.rglob("*") if path.is_file() and RAW.encode() in path.read_bytes()]


@pytest.mark.parametrize(
    ("source", "values"),
    [("events", native()), ("mixpanel", mixpanel()), ("zigpoll", zigpoll()), ("typeform", [typeform()])],
)
def test_files(source: Source, values: list[dict[str, Any]], tmp_path: Path) -> None:
    home, file = Home(tmp_path / "home"), tmp_path / "events.ndjson"
    file.write_text("\n".join(map(json.dumps, values)))
    report = ingest_files(home, Settings(), [file], source, clock=FixedClock(at("2026-02-03T12:00:00Z")))
    assert (report.accepted, report.dead_letters) == (len(values), 0)
    process(home, Settings())
    assert held_by(home.path) == []


def test_requests_and_hooks(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with serving(tmp_path / "home", SETTINGS) as door:
        answers = [door.post(value) for value in native()]
        answers += [door.zigpoll(value, TOKEN) for value in zigpoll()]
        answers.append(door.hook(json.dumps(typeform()).encode(), SECRET))
        assert {answer.status_code for answer in answers} == {202}
        assert all(answer.json().get("dead_letters", 0) == 0 for answer in answers)
        assert len(door.log.events()) == len(answers)
        assert not any(RAW.encode() in entry.value for entry in door.log.entries)
        assert not any(RAW in answer.text for answer in answers)
        assert RAW not in door.metrics() + caplog.text
        assert RAW not in door.client.get("/").text


def foreign() -> list[dict[str, Any]]:
    """What a company's own producer writes to Kafka, past every door, in the log's form."""
    events = []
    for event in native():
        event["subject"] = "a" * 26
        extra = {name: event.pop(name) for name in (*SPELT, "list", "remark") if name in event}
        extra.pop("remark", None)  # free text of such a producer is its own
        if "answers" in event:
            event["answers"] = [{"question": "q", "kind": "number", "value": 1, "custmer_id": RAW}]
        events.append(event | {"extra": {**extra, **event.get("extra", {})}, "custmer_id": RAW})
    return events


def test_producers_that_pass_every_door(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    home.create()
    log = LocalLog(home.log)
    for event in foreign():
        cls = EVENT_TYPES[event["type"]]
        log.append([Entry(cls.topic, event.get(cls.key_field, ""), json.dumps(event).encode())])
    log.close()
    process(home, Settings())
    reader = SqliteReader(home.store)
    assert reader.query("SELECT count(*) FROM dead_letters")[1] == [(0,)]
    assert reader.query("SELECT count(*) FROM profiles")[1] == [(len(SPELT) * 2,)]
    reader.close()
    assert {Path(path).name.removesuffix("-wal") for path in held_by(home.path)} == {"log.sqlite"}, "theirs alone"


def test_records_replayed_from_a_file(tmp_path: Path) -> None:
    home, file = Home(tmp_path / "home"), tmp_path / "records.ndjson"
    home.create()
    file.write_text("\n".join(map(json.dumps, foreign())).replace('"custmer_id": "C-471199"}', '"x": 1}'))
    report = replay_files(home, Settings(), [file], clock=FixedClock(at("2026-02-03T12:00:00Z")))
    assert report.appended == len(foreign())
    assert held_by(home.path) == []
