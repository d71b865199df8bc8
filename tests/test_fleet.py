"""What the simulated company tells of its edge: delays, profiles and devices, and that what is planted is in it."""

from __future__ import annotations

import gzip
import json
from collections import defaultdict
from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from edgeloop.app.simulator.cast import END_US, HUBS, TIMEZONE
from edgeloop.app.simulator.devices import uploads
from edgeloop.app.simulator.fleet import BAD_LINE_SITE, make_fleet, nightly
from edgeloop.app.simulator.pillars import bad_line_of, months_of
from edgeloop.app.simulator.world import World, make_world
from edgeloop.clock import to_us

ZONE = ZoneInfo(TIMEZONE)
MONTHS = {"2026-02": (datetime(2026, 2, 1, tzinfo=ZONE), datetime(2026, 3, 1, tzinfo=ZONE)),
          "2026-03": (datetime(2026, 3, 1, tzinfo=ZONE), datetime(2026, 4, 1, tzinfo=ZONE))}  # fmt: skip


@pytest.fixture(scope="module")
def world() -> World:
    return make_world(6, 0.3)


@pytest.fixture(scope="module")
def told(world: World) -> list[dict[str, Any]]:
    return [event for sending in nightly(world, make_fleet(world)) for event in opened(sending.body)]


def opened(body: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in gzip.decompress(body).split(b"\n")]


def at(event: dict[str, Any], name: str = "occurred_at") -> datetime:
    return datetime.fromisoformat(event[name])


def delays(told: list[dict[str, Any]]) -> list[tuple[datetime, str, float]]:
    """(when it was there, site, seconds) of every message."""
    return [
        (at(e), e["site"], (at(e, "message_delivered_at") - at(e, "message_sent_at")).total_seconds())
        for e in told
        if e["type"] == "telemetry" and e["kind"] != "device"
    ]


def test_the_same_seed_tells_the_same(world: World) -> None:
    bodies = [s.body for s in nightly(world, make_fleet(world))]
    again = make_world(6, 0.3)
    assert [s.body for s in nightly(again, make_fleet(again))] == bodies
    other = make_world(7, 0.3)
    assert [s.body for s in nightly(other, make_fleet(other))] != bodies


def test_nothing_is_told_before_it_is_known(world: World) -> None:
    ids = []
    for sending in nightly(world, make_fleet(world)):
        assert sending.at_us <= END_US
        for event in opened(sending.body):
            assert to_us(at(event)) < sending.at_us
            ids.append(event.get("telemetry_id") or event["profile_id"])
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("month", MONTHS)
def test_parity_by_brute_force(world: World, told: list[dict[str, Any]], month: str) -> None:
    """From the events alone, in order of time: what each side holds of whom at the month's end."""
    held: dict[str, dict[str, str]] = defaultdict(dict)
    for event in sorted((e for e in told if e["type"] == "profile"), key=at):
        if at(event) < MONTHS[month][1]:
            held[event["side"]][event["customer_id"]] = event["profile_version"]
    same = [held["cloud"][who] == version for who, version in held["edge"].items()]
    (truth,) = [t for t in months_of(world, make_fleet(world)) if t.month == month]
    assert truth.profiles == len(same) > 900
    assert truth.parity == sum(same) / len(same)
    assert 0.996 < truth.parity <= 1


def test_some_copies_are_lost_and_some_wait_for_the_bad_line() -> None:
    world = make_world(3, 1.0)
    fleet = make_fleet(world)
    lost = fleet.copied < 0
    assert 0 < lost.sum() < 0.01 * len(lost)
    waited = (fleet.copied - fleet.changed)[~lost] / 3.6e9
    late = waited > 1
    assert late.any()
    assert set(np.array(HUBS)[world.hub[fleet.customer[~lost][late]]]) == {BAD_LINE_SITE}
    assert waited.max() < 74


@pytest.mark.parametrize("month", MONTHS)
def test_delays_by_brute_force(world: World, told: list[dict[str, Any]], month: str) -> None:
    begin, end = MONTHS[month]
    inside = sorted(seconds for when, _, seconds in delays(told) if begin <= when < end)
    (truth,) = [t for t in months_of(world, make_fleet(world)) if t.month == month]
    assert truth.messages == len(inside)
    place = 0.95 * (len(inside) - 1)
    low, high = inside[int(place)], inside[int(place) + 1]
    assert truth.delay_p95_s == pytest.approx(low + (place - int(place)) * (high - low))
    assert sum(seconds > 100 for seconds in inside) > 2, "some come late on any line"


def test_one_site_is_late_for_three_days(world: World, told: list[dict[str, Any]]) -> None:
    truth = bad_line_of(make_fleet(world))
    late: dict[date, list[tuple[str, float]]] = defaultdict(list)
    for when, site, seconds in delays(told):
        if seconds > 60:
            late[when.astimezone(ZONE).date()].append((site, seconds))
    days = {day for day, found in late.items() if sum(s == BAD_LINE_SITE and n > 800 for s, n in found) >= 3}
    assert days == {date(2026, 3, 17), date(2026, 3, 18), date(2026, 3, 19)}
    on_them = [n for day in days for site, n in late[day] if site == BAD_LINE_SITE]
    assert len(on_them) == truth.messages == 18
    assert min(on_them) >= 900
    assert datetime.fromisoformat(truth.started_at) == datetime(2026, 3, 16, 23, tzinfo=UTC)


def test_devices_tell_the_energy_that_their_models_took(world: World, told: list[dict[str, Any]]) -> None:
    devices = [e for e in told if e.get("kind") == "device"]
    assert len(devices) == 90 * len(HUBS)
    assert all(0 < e["battery"] < 1 and 0 < e["cpu"] < 1 and e["free_mb"] > 0 for e in devices)
    taken: dict[str, dict[str, float]] = {}
    for sending in uploads(world):
        for line in gzip.decompress(sending.body).split(b"\n"):
            if line.startswith(b'{"type":"exposure"') and line.endswith(b"}") and b'"energy_mj"' in line:
                event = json.loads(line)
                taken.setdefault(event["site"], {})[event["exposure_id"]] = event["energy_mj"]
    for site in HUBS:
        whole = sum(e["energy_mj"] for e in devices if e["site"] == site)
        assert whole == pytest.approx(sum(taken[site].values()), rel=1e-6)


def test_the_heavier_version_takes_more(world: World) -> None:
    for truth in months_of(world, make_fleet(world)):
        prompt = truth.energy_mj["rebooking-prompt"]
        assert prompt["6.0"] > 2.5 * prompt["5.2"]
        assert truth.energy_mj["slot-offer"]["2.0"] < truth.energy_mj["slot-offer"]["1.4"]
