"""Mixpanel's raw export: ids that survive a second export, times in every basis, and lines that are not whole."""

from __future__ import annotations

import gzip
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
    (found,) = parse(line(value="12,50"))
    assert "value" not in found.value
    assert "currency" not in found.value


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
