"""Which changes there were: declared, detected, or both for the same thing."""

from __future__ import annotations

import pytest

from analysis.change import LedgerChange
from analysis.ledger import ledger
from edgeloop.clock import DAY_US
from edgeloop.months import Month
from tests.frames import MARCH, World, at

WINDOW_US = 14 * DAY_US


def changes(world: World) -> list[LedgerChange]:
    return ledger(world.tables(), timezone="UTC")


def canary_exposures(world: World, first: float = 2.0, last: float = 9.0, rollout: str = "r1") -> None:
    world.expose("s0", first, "stable", rollout_id=rollout)
    world.expose("s1", first + 0.5, "canary", rollout_id=rollout)
    world.expose("s1", last, "canary", rollout_id=rollout)


def test_nothing_happened() -> None:
    assert changes(World()) == []


def test_a_rollout_on_exposures_is_a_change() -> None:
    world = World()
    canary_exposures(world)
    (change,) = changes(world)
    assert change.change_id == "auto:eta/r1/v2"
    assert (change.from_version, change.to_version, change.kind, change.declared) == ("v1", "v2", "canary", False)
    assert change.start_us == at(2.0), "the rollout's earliest exposure in any arm"
    assert change.end_us is None
    assert change.last_us == at(9.0)
    assert change.refusal is None
    assert change.title == "eta v2 from 2026-03-03"


def test_exposures_without_a_rollout_are_no_change() -> None:
    world = World()
    world.expose("s0", 1, "stable", rollout_id=None)
    world.expose("s1", 1, "canary", rollout_id=None)
    assert changes(world) == []


def test_one_change_per_version_of_a_rollout() -> None:
    world = World()
    for i, version in enumerate(["v3", "v2", "v3"]):
        world.expose(f"s{i}", 1 + i, "canary", version)
    world.expose("s8", 1, "stable")
    world.expose("s9", 0.5, "holdout", "v9")
    assert [(c.to_version, c.start_us) for c in changes(world)] == [("v2", at(0.5)), ("v3", at(0.5))]


def test_the_stable_version_is_the_one_with_most_exposures_in_the_stable_arm() -> None:
    world = World()
    world.expose("s1", 1, "canary")
    for i, version in enumerate(["v0", "v1", "v1"]):
        world.expose(f"t{i}", 1, "stable", version)
    assert changes(world)[0].from_version == "v1"


def test_a_rollout_of_stable_exposures_alone_has_not_begun() -> None:
    world = World()
    world.expose("s0", 1, "stable")
    assert changes(world) == []


def test_a_rollout_whose_arms_nobody_named_is_mixed_and_refused() -> None:
    world = World()
    for i, (day, version) in enumerate([(0, "v1"), (1, "v2"), (2, "v1"), (3, "v2")]):
        world.expose(f"s{i}", day, None, version)
    (change,) = changes(world)
    assert (change.kind, change.from_version, change.to_version) == ("mixed", "v1", "v2")
    assert "not labelled" in (change.refusal.english if change.refusal else "")


def test_a_rollout_without_a_stable_arm_is_refused() -> None:
    world = World()
    world.expose("s0", 1, "canary")
    world.expose("s1", 1, "blue", "v3")
    assert all("no arm named stable" in (c.refusal.english if c.refusal else "") for c in changes(world))
    assert len(changes(world)) == 2


def test_a_declared_change_takes_the_place_of_the_detected_one() -> None:
    world = World()
    canary_exposures(world)
    world.declare(1.5, change_id="ours", title="Shorter ETA window", allocation={"v1": 0.9, "v2": 0.1}, ended_at=at(12))
    (change,) = changes(world)
    assert (change.change_id, change.title, change.declared) == ("ours", "Shorter ETA window", True)
    assert (change.start_us, change.end_us, change.last_us) == (at(1.5), at(12), at(12))
    assert change.stages[0].allocation == {"v1": 0.9, "v2": 0.1}


@pytest.mark.parametrize(("hours", "left"), [(-48, 1), (47, 1), (49, 2), (-49, 2)])
def test_a_declaration_within_48_hours_means_the_same_change(hours: float, left: int) -> None:
    world = World()
    canary_exposures(world, first=5.0)
    world.declare(5.0 + hours / 24, rollout_id=None)
    found = changes(world)
    assert len(found) == left
    if left == 1:
        assert found[0].rollout_id == "r1", "and takes the rollout that it stands for"
        assert found[0].refusal is None


@pytest.mark.parametrize(("between", "seen"), [("v2", 1), ("v1", 2)])
def test_a_declared_switch_is_not_found_again_once_enough_people_come(between: str, seen: int) -> None:
    """Ten people a day are too few for a version to be live: five days pass till the exposures show the switch."""
    world = World()
    for day in range(20):
        version, people = ("v1", 25) if day < 10 else (between, 10) if day < 15 else ("v2", 25)
        for i in range(people):
            world.expose(f"s{i}", day + 0.5, "stable", version, rollout_id=None)
    world.declare(10, "switch", rollout_id=None)
    assert len(changes(world)) == seen


def test_another_version_of_a_declared_rollout_has_its_stages() -> None:
    world = World()
    canary_exposures(world)
    world.expose("s7", 3, "red", "v3")
    world.declare(1, allocation={"v1": 8, "v2": 1, "v3": 1}, ended_at=at(12), unit="courier")
    ours, beside = changes(world)
    assert (beside.change_id, beside.declared) == ("auto:eta/r1/v3", False)
    assert (beside.stages, beside.unit, beside.from_version) == (ours.stages, "courier", "v1")


def test_the_switch_that_ends_a_rollout_is_another_change() -> None:
    world = World()
    canary_exposures(world)
    world.declare(9.5, "switch", change_id="all", rollout_id="r1")
    assert [(c.change_id, c.kind) for c in changes(world)] == [("auto:eta/r1/v2", "canary"), ("all", "switch")]


def test_changes_of_one_rollout_and_version_are_stages() -> None:
    world = World()
    world.declare(0, change_id="first", allocation={"v1": 95, "v2": 5}, title="Ramp")
    world.declare(7, change_id="second", allocation={"v1": 50, "v2": 50}, zones=["north"])
    world.declare(14, change_id="third", ended_at=at(21))
    world.declare(3, change_id="other", to_version="v3")
    ramp, other = changes(world)
    assert (ramp.change_id, ramp.title, other.change_id) == ("first", "Ramp", "other")
    assert [(s.number, s.start_us, s.end_us) for s in ramp.stages] == [
        (1, at(0), at(7)),
        (2, at(7), at(14)),
        (3, at(14), at(21)),
    ]
    assert [s.allocation for s in ramp.stages] == [{"v1": 95.0, "v2": 5.0}, {"v1": 50.0, "v2": 50.0}, None]
    assert [s.zones for s in ramp.stages] == [(), ("north",), ()]


@pytest.mark.parametrize(
    ("canary", "switch", "end"),
    [
        ({"rollout_id": "r1"}, {"rollout_id": None}, None),  # a rollout ends by its own events
        ({"rollout_id": "r1"}, {"rollout_id": "r1"}, 10),
        ({"rollout_id": None, "assignment": "random"}, {"rollout_id": None}, 10),  # nothing else could end it
        ({"rollout_id": None, "assignment": "random"}, {"rollout_id": None, "model_id": "slot"}, None),
        ({"rollout_id": "r1", "ended_at": at(8)}, {"rollout_id": "r1"}, 8),
    ],
)
def test_what_ends_a_canary(canary: dict, switch: dict, end: float | None) -> None:
    world = World()
    world.declare(0, change_id="canary", **canary)
    world.declare(10, "switch", change_id="switch", to_version="v3", **switch)
    found = {c.change_id: c for c in changes(world)}["canary"]
    assert found.end_us == (None if end is None else at(end))


@pytest.mark.parametrize(
    ("declared", "words"),
    [
        ({"unit": "zone"}, None),
        ({"unit": "zone_time"}, None),
        ({"kind": "staged"}, None),
        ({"kind": "staged", "assignment": "chosen"}, "chosen, not drawn"),
        ({"kind": "staged", "rollout_id": None}, None),
        ({"assignment": "chosen"}, "chosen, not drawn"),
        ({"rollout_id": None}, "no rollout_id and no declared random assignment"),
        ({"rollout_id": None, "assignment": "random"}, None),
        ({}, None),
        ({"kind": "switch", "rollout_id": None}, None),
    ],
)
def test_what_is_refused_and_why(declared: dict, words: str | None) -> None:
    world = World()
    world.declare(0, **declared)
    (change,) = changes(world)
    assert (change.refusal is None) if words is None else (words in (change.refusal.english if change.refusal else ""))


def test_the_version_before_a_switch_is_the_one_most_met_in_the_week_before() -> None:
    world = World()
    for i, (day, version, arm) in enumerate(
        [(1, "v0", None), (2, "v0", None), (3, "v0", None), (9, "v1", None), (10, "v1", None), (9, "v9", "holdout")]
    ):
        world.expose(f"s{i}", day, arm, version, rollout_id=None)
    world.declare(12, "switch", from_version=None, rollout_id=None)
    assert changes(world)[0].from_version == "v1"


@pytest.mark.parametrize(
    ("month", "listed"),
    [("2026-01", False), ("2026-02", False), ("2026-03", True), ("2026-04", True), ("2026-05", False)],
)
def test_a_change_is_listed_while_its_windows_last(month: str, listed: bool) -> None:
    world = World()
    world.declare(0, ended_at=at(20))  # 21 March; the last answer counts until 4 April
    (change,) = changes(world)
    assert change.touches(Month.parse(month, "UTC"), WINDOW_US) is listed


def test_an_open_rollout_is_listed_until_its_last_exposure_is_over() -> None:
    world = World()
    canary_exposures(world, last=10)
    (change,) = changes(world)
    assert change.touches(MARCH, WINDOW_US)
    assert not change.touches(Month.parse("2026-04", "UTC"), WINDOW_US)


def test_order_is_by_start_model_and_version() -> None:
    world = World()
    world.declare(2, change_id="b", model_id="slot", rollout_id="x")
    world.declare(2, change_id="a", model_id="slot", rollout_id="y", to_version="v3")
    world.declare(2, change_id="z", model_id="eta")
    world.declare(1, change_id="y", model_id="zz")
    assert [c.change_id for c in changes(world)] == ["y", "z", "b", "a"]
