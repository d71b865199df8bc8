"""Mixpanel's raw export: ids that survive a second export, times in every basis, and lines that are not whole."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
from typing import Any

import pytest

from connectors.intake import Item
from connectors.mixpanel import event_id, items_of_file
from edgeloop.settings import MixpanelSettings

UTC = MixpanelSettings()
LINE: dict[str, Any] = {
    "event": "Order", "properties": {
        "time": 1767225600, "distinct_id": "C-42", "$insert_id": "ins-1", "$city": "Lyon", "plan": "gold",
        "value": 12.5, "currency": "eur", "mp_processing_time_ms": 1767225601500, "delivery_id": "D-1",
    },
}  # fmt: skip


def parse(*lines: Any, settings: MixpanelSettings = UTC, joint: str = "\n") -> list[Item]:
    text = joint.join(line if isinstance(line, str) else json.dumps(line) for line in lines)
    return list(items_of_file(io.BytesIO(text.encode()), settings))


def line(**properties: Any) -> dict[str, Any]:
    return LINE | {"properties": {k: v for k, v in (LINE["properties"] | properties).items() if v is not ...}}


def test_one_event() -> None:
    (found,) = parse(LINE)
    assert found.value == {
        "type": "engagement", "event_id": event_id("Order", "C-42", 1767225600, "ins-1"),
        "occurred_at": "2026-01-01T00:00:00+00:00", "name": "Order", "source": "mixpanel", "customer_id": "C-42",
        "value": 12.5, "currency": "EUR", "delivery_id": "D-1", "extra": {"plan": "gold"},
    }  # fmt: skip


def test_what_is_not_used_is_kept() -> None:
    """Also where a property is called like a field of ours, or holds no currency."""
    own = {"type": "express", "source": "push", "event_id": "E-9", "currency": "euro cents", "exposure_id": "null"}
    (found,) = parse(line(**own))
    assert found.value["extra"] == {"plan": "gold", "not_read": ["currency"]} | own
    assert (found.value["type"], found.value["source"]) == ("engagement", "mixpanel")


def test_the_same_event_of_a_later_export_is_the_same() -> None:
    first, second = parse(LINE, line(mp_processing_time_ms=1767657600000))
    assert first.value == second.value


def test_the_id_depends_on_what_mixpanel_deduplicates_by() -> None:
    ids = {
        item.value["event_id"]
        for item in parse(LINE, LINE | {"event": "order"}, line(time=1767225601), line(**{"$insert_id": "ins-2"}))
    }
    assert len(ids) == 4


@pytest.mark.parametrize(
    ("time", "settings", "wanted"),
    [
        (1767225600, UTC, "2026-01-01T00:00:00+00:00"),
        (1767225600123, UTC, "2026-01-01T00:00:00.123000+00:00"),
        (
            1767225600,
            MixpanelSettings(time_basis="project_local", timezone="Europe/Berlin"),
            "2025-12-31T23:00:00+00:00",
        ),
        (
            1783036800,
            MixpanelSettings(time_basis="project_local", timezone="Europe/Berlin"),
            "2026-07-02T22:00:00+00:00",
        ),
    ],
)
def test_times(time: int, settings: MixpanelSettings, wanted: str) -> None:
    (found,) = parse(line(time=time), settings=settings)
    assert found.value["occurred_at"] == wanted


def test_the_hour_that_happens_twice_is_marked() -> None:
    settings = MixpanelSettings(time_basis="project_local", timezone="Europe/Berlin")
    (found,) = parse(line(time=1792895400), settings=settings)  # 25 October 2026, 02:30 on the wall
    assert found.value["extra"]["ambiguous_time"] is True


@pytest.mark.parametrize("who", ["$device:d-1", None, ...])
def test_a_device_is_nobody_we_know(who: Any) -> None:
    (found,) = parse(line(distinct_id=who))
    assert found.value["customer_id"] in (None, ...)


def test_a_device_with_a_known_owner_is_the_owner() -> None:
    (found,) = parse(line(distinct_id="$device:d-1", **{"$user_id": "C-42"}))
    assert found.value["customer_id"] == "C-42"


def test_identity_properties_are_never_kept() -> None:
    (found,) = parse(line(**{"$email": "a@b.de", "Email": "a@b.de", "phone": "1", "$name": "Anna", "user_id": "C-42"}))
    assert found.value["extra"] == {"plan": "gold"}


def test_a_value_that_is_no_number_is_no_value() -> None:
    (found,) = parse(line(value="12,500"))
    assert "value" not in found.value
    assert "currency" not in found.value
    assert found.value["extra"] == {"plan": "gold", "value": "12,500", "currency": "eur", "not_read": ["value"]}


def test_an_object_over_two_lines_is_joined_and_its_neighbours_stay() -> None:
    text = json.dumps(LINE)
    found = parse(LINE, text[:40], text[40:], LINE)
    assert [item.place for item in found] == ["line 1", "line 2", "line 4"]
    assert all(item.rejected is None for item in found)


def test_a_broken_line_does_not_take_the_next_one_along() -> None:
    found = parse('{"event": "Or', LINE, "nonsense", LINE)
    assert [(item.place, item.rejected is None) for item in found] == [
        ("line 1", False), ("line 2", True), ("line 3", False), ("line 4", True),
    ]  # fmt: skip


def test_an_export_that_broke_off_says_so() -> None:
    found = parse(LINE, "terminated early")
    assert found[0].rejected is None
    assert found[1].rejected is not None
    assert "again" in found[1].rejected.detail


@pytest.mark.parametrize(
    "bad",
    [{"event": "x"}, {"properties": {}}, line(time=...), line(time="soon"), line(time=True), line(time=1e30), [1]],
)
def test_what_is_no_event(bad: Any) -> None:
    (found,) = parse(bad)
    assert found.rejected is not None


def test_an_empty_body_and_gzip() -> None:
    assert parse("") == []
    packed = gzip.compress(json.dumps(LINE).encode())
    (found,) = items_of_file(io.BytesIO(packed), UTC)
    assert found.value["name"] == "Order"


def test_seconds_and_milliseconds_of_one_event_give_one_id() -> None:
    seconds, milliseconds = parse(LINE, line(time=1767225600987))
    assert seconds.value["event_id"] == milliseconds.value["event_id"]
    without = {"$insert_id": ...}
    first, second = parse(line(time=1767225600001, **without), line(time=1767225600002, **without))
    assert first.value["event_id"] != second.value["event_id"], "only the time tells them apart"


def test_the_bytes_that_an_id_is_made_of() -> None:
    wanted = hashlib.sha256('["Zoë","C-42",1767225600,null]'.encode()).hexdigest()
    assert event_id("Zoë", "C-42", 1767225600.0, None) == f"mixpanel:{wanted}"


@pytest.mark.parametrize(
    "who", [["C-42"], {"id": "C-42"}, True, 1.5, "0", "anonymous", "00000000-0000-0000-0000-000000000000"]
)
def test_an_id_that_is_none_is_nobody(who: Any) -> None:
    (found,) = parse(line(distinct_id=who))
    assert found.value["customer_id"] is None


def test_the_owner_stands_in_for_an_id_that_is_none() -> None:
    (found,) = parse(line(distinct_id="undefined", **{"$user_id": "C-42"}))
    assert found.value["customer_id"] == "C-42"


@pytest.mark.parametrize(
    "name",
    [
        "User ID", "customerId", "contact_email", "e-mail address", "PhoneNumber", "home address", "First Name",
        "lastName", "full_name", "zip", "$browser", "ip", "birth_date", "auth_token", "IBAN", "username",
    ],
)  # fmt: skip
def test_names_of_identity_in_any_spelling(name: str) -> None:
    (found,) = parse(line(**{name: "somebody"}))
    assert found.value["extra"] == {"plan": "gold"}


def test_harmless_names_stay() -> None:
    harmless = {"product_name": "mug", "is_mobile": True, "seats": 3, "utm_source": "mail", "Total": "12,50"}
    (found,) = parse(line(**harmless))
    assert found.value["extra"] == {"plan": "gold"} | harmless


def test_an_object_broken_inside_a_text_keeps_its_spaces() -> None:
    text = json.dumps(line(plan="two words"))
    cut = text.index(" words") + 1
    (found,) = parse(text[:cut], text[cut:])
    assert found.value["extra"] == {"plan": "two words"}


def test_a_new_beginning_ends_what_was_broken() -> None:
    text = json.dumps(LINE, separators=(",", ":"))
    found = parse(text[:30], text[:40], text[40:], LINE)
    assert [(i.place, i.rejected is None) for i in found] == [("line 1", False), ("line 2", True), ("line 4", True)]


def test_garbage_costs_itself_alone() -> None:
    found = parse(*['{"no end'] * 20, LINE)
    assert [i.place for i in found] == [f"line {n}" for n in range(1, 22)]
    assert [i.rejected is None for i in found] == [False] * 20 + [True]


def test_what_was_broken_by_the_end_is_not_joined_over_it() -> None:
    text = json.dumps(LINE)
    found = parse(text[:40], "Terminated early.", LINE)
    assert [i.rejected and i.rejected.reason for i in found] == ["malformed", "incomplete_export", None]


def test_a_broken_gzip_file_gives_what_was_readable() -> None:
    packed = gzip.compress(b"".join(json.dumps(line(n=n)).encode() + b"\n" for n in range(20_000)))
    found = list(items_of_file(io.BytesIO(packed[: len(packed) // 2]), UTC))
    assert len(found) > 100
    assert found[-1].rejected is not None
    assert found[-1].rejected.reason == "broken_gzip"


def test_numbers_too_large_are_a_dead_letter() -> None:
    for bad in (line(distinct_id=2**70), line(time=10**400), line(**{"$insert_id": -(2**70)})):
        (found,) = parse(bad)
        assert found.rejected is None or found.rejected.reason == "invalid"


def test_a_value_that_is_no_number_is_counted() -> None:
    found = parse(json.dumps(line(value=float("nan"))), json.dumps([line(value=float("inf")), LINE]))
    assert [item.no_numbers for item in found] == [1, 1, 0]
    assert ["value" in item.value for item in found] == [False, False, True]
