"""Who counts, when, and in which arm: each case is a line of prose and the few exposures it is about."""

from __future__ import annotations

from operator import itemgetter

import numpy as np
import pytest

from analysis.entry import Arm, Cohort, first_exposures, randomised_cohort
from analysis.frames import Frames, prepare
from analysis.ledger import ledger
from edgeloop.clock import DAY_US, HOUR_US
from tests.frames import LATER, MARCH, World, at


def prepared(world: World) -> Frames:
    return prepare(world.tables())


def cohort(world: World, stage: int = 1, *, as_of_us: int = LATER, change: int = 0) -> Cohort:
    found = ledger(world.tables(), timezone="UTC")[change]
    x, limits = prepared(world).exposures, {"month_end_us": MARCH.end_us, "as_of_us": as_of_us, "timezone": "UTC"}
    return randomised_cohort(x, found, found.stages[stage - 1], **limits)


def people(world: World, arm: Arm) -> dict[str, float]:
    """Name → day of entry."""
    labels = prepared(world).exposures.subject.labels
    return {labels[p]: (t - at()) / DAY_US for p, t in zip(arm.person, arm.at, strict=True)}


def test_the_first_exposure_decides_arm_and_time() -> None:
    world = World()
    world.declare(0)
    for day, arm in [(5, "canary"), (1, "stable"), (3, "canary")]:
        world.expose("ann", day, arm)
    world.expose("bob", 2, "canary")
    c = cohort(world)
    assert people(world, c.control) == {"ann": 1}
    assert people(world, c.treated) == {"bob": 2}


def test_ties_go_to_the_smaller_exposure_id() -> None:
    for first, second, arm in [("x2", "x1", "canary"), ("x1", "x2", "stable")]:
        world = World()
        world.declare(0)
        world.expose("ann", 1, "stable", exposure_id=first)
        world.expose("ann", 1, "canary", exposure_id=second)
        world.expose("ann", 1, "stable", exposure_id="x3")
        world.expose("bob", 1, "stable")
        c = cohort(world)
        assert ("ann" in people(world, c.treated)) is (arm == "canary")
        assert "bob" in people(world, c.control)


def test_the_smaller_id_is_smaller_in_byte_order() -> None:
    world = World()
    world.declare(0)
    world.expose("ann", 1, "stable", exposure_id="a")
    world.expose("ann", 1, "canary", exposure_id="Z")
    assert people(world, cohort(world).treated) == {"ann": 1}


def test_errors_and_fallbacks_count_in_their_arm() -> None:
    world = World()
    world.declare(0)
    world.expose("ann", 1, "canary", error="timeout")
    world.expose("bob", 1, "canary", fallback=1)
    assert len(cohort(world).treated.person) == 2


@pytest.mark.parametrize(
    ("why", "exposure"),
    [
        ("another model", {"model_id": "slot"}),
        ("another rollout", {"rollout_id": "r2"}),
        ("no rollout", {"rollout_id": None}),
        ("nobody's", {"anonymous": 1}),
        ("before the stage", {"occurred_at": at(4) - 1}),
        ("the stage is over", {"occurred_at": at(20)}),
        ("another zone", {"zone": "south"}),
        ("no zone", {"zone": None}),
    ],
)
def test_what_is_no_entry(why: str, exposure: dict) -> None:
    world = World()
    world.declare(4, ended_at=at(20), zones=["north"])
    world.expose("eve", 5, "canary", **({"zone": "north"} | exposure))
    world.expose("ann", 5, "stable", zone="north")
    world.expose("bob", 4, "canary", zone="north")
    c = cohort(world)
    assert people(world, c.treated) == {"bob": 4}, why
    assert people(world, c.control) == {"ann": 5}


def test_entries_end_with_the_month_and_outcomes_do_not() -> None:
    world = World()
    world.declare(0)
    world.expose("ann", 30.9, "stable")
    world.expose("bob", 31, "stable")
    world.expose("cat", 30.9, "canary")
    c = cohort(world)
    assert list(people(world, c.control)) == ["ann"]
    assert c.control.complete(14 * DAY_US).all()


def test_a_holdout_is_never_the_control() -> None:
    world = World()
    world.declare(0)
    world.expose("ann", 1, "holdout", "v1")
    world.expose("bob", 1, "canary")
    c = cohort(world)
    assert people(world, c.control) == {}
    assert people(world, c.treated) == {"bob": 1}


def test_versions_share_the_stable_arm() -> None:
    world = World()
    for name, arm, version in [("a", "stable", "v1"), ("b", "blue", "v2"), ("c", "red", "v3"), ("d", "holdout", "v2")]:
        world.expose(name, 1, arm, version)
    for change, treated, label in [(0, "b", "blue"), (1, "c", "red")]:
        c = cohort(world, change=change)
        assert (list(people(world, c.control)), list(people(world, c.treated))) == (["a"], [treated])
        assert (c.control.label, c.treated.label) == ("stable", label)


def test_without_arms_a_declared_draw_is_read_from_versions() -> None:
    world = World()
    world.declare(0, rollout_id=None, assignment="random")
    for name, version in [("a", "v1"), ("b", "v2"), ("c", "v0")]:
        world.expose(name, 1, None, version, rollout_id=None)
    c = cohort(world)
    assert (list(people(world, c.control)), list(people(world, c.treated))) == (["a"], ["b"])
    assert (c.control.label, c.treated.label) == ("v1", "v2")


@pytest.mark.parametrize(
    ("hours_before_limit", "as_of_day", "end_day", "complete"),
    [
        (72, 10, None, True),  # to the microsecond
        (71.999, 10, None, False),
        (72, 20, 10, True),  # the stage's end closes the window too
        (71.999, 20, 10, False),
        (72, 10, 20, True),
        (500, 30, None, True),
    ],
)
def test_complete_units(hours_before_limit: float, as_of_day: float, end_day: float | None, complete: bool) -> None:
    world = World()
    world.declare(-30, ended_at=None if end_day is None else at(end_day))
    limit = min(as_of_day, end_day or 99)
    world.expose("ann", limit - hours_before_limit / 24, "canary")
    c = cohort(world, as_of_us=at(as_of_day))
    assert bool(c.treated.complete(72 * HOUR_US)[0]) is complete
    assert c.treated.complete_units(72 * HOUR_US) == int(complete)


def test_people_enter_each_stage_anew() -> None:
    world = World()
    world.declare(0, change_id="one")
    world.declare(10, change_id="two")
    for day, arm in [(1, "stable"), (11, "canary")]:
        world.expose("ann", day, arm)
    one, two = cohort(world, 1), cohort(world, 2)
    assert (people(world, one.control), people(world, one.treated)) == ({"ann": 1}, {})
    assert (people(world, two.control), people(world, two.treated)) == ({}, {"ann": 11})
    assert (one.crossovers, two.crossovers) == (0, 0), "a crossover is two arms inside one stage"


def test_crossovers_stay_in_their_arm_and_are_counted() -> None:
    world = World()
    world.declare(0)
    for name, *arms in [
        ("a", "stable", "canary"),
        ("b", "canary", "stable"),
        ("c", "canary", "canary"),
        ("d", "stable"),
    ]:
        for day, arm in enumerate(arms):
            world.expose(name, day + 1, arm)
    world.expose("e", 1, "holdout")
    world.expose("e", 2, "canary")
    c = cohort(world)
    assert (sorted(people(world, c.control)), sorted(people(world, c.treated))) == (["a", "d"], ["b", "c"])
    assert c.crossovers == 2
    assert c.crossover_share == pytest.approx(0.5)


def test_a_crossover_after_the_stage_or_the_month_is_none() -> None:
    world = World()
    world.declare(0, ended_at=at(10))
    world.expose("ann", 1, "stable")
    world.expose("ann", 10, "canary")
    assert cohort(world).crossovers == 0


def test_couriers_as_units() -> None:
    """Rows are people, the courier of their entry is their cluster, and the arm is that of their own entry."""
    world = World()
    world.declare(0, unit="courier")
    for name, day, arm, courier in [
        ("a", 1, "stable", "k1"), ("b", 2, "stable", "k1"), ("c", 1, "canary", "k2"), ("d", 1, "canary", None),
        ("a", 3, "canary", "k2"), ("e", 4, "canary", "k1"),
    ]:  # fmt: skip
        world.expose(name, day, arm, courier=courier)
    c = cohort(world)
    assert sorted(people(world, c.control)) == ["a", "b"]
    assert (c.control.n_units, sorted(people(world, c.treated)), c.treated.n_units) == (1, ["c", "e"], 2)
    assert c.unclustered == 1
    assert [len(arm.person) for arm in c.agents] == [1, 1]
    assert c.crossovers == 1, "the courier k1"


def test_first_exposures_match_a_plain_loop() -> None:
    rng = np.random.default_rng(11)
    world = World()
    for _ in range(600):
        world.expose(f"s{rng.integers(60)}", float(rng.integers(0, 12)), ["stable", "canary"][rng.integers(2)],
                     exposure_id=f"x{rng.integers(1_000_000):06d}")  # fmt: skip
    world.declare(0)
    expected: dict[str, tuple[int, str, str]] = {}
    arms: dict[str, set[str]] = {}
    for row in world.rows["exposures"]:
        one = (row["occurred_at"], row["exposure_id"], row["arm"])
        expected[row["subject"]] = min(expected.get(row["subject"], one), one)
        arms.setdefault(row["subject"], set()).add(row["arm"])
    x = prepared(world).exposures
    rows = np.arange(len(x.at))
    found = first_exposures(x, rows, x.arm.codes, x.subject)
    ids = [row["exposure_id"] for row in sorted(world.rows["exposures"], key=itemgetter("occurred_at", "exposure_id"))]
    got = {
        x.subject.labels[k]: (int(t), ids[r], x.arm.labels[g])
        for k, r, t, g in zip(found.key, found.row, found.at, found.group, strict=True)
    }
    assert got == expected
    assert int(found.crossed.sum()) == sum(len(a) > 1 for a in arms.values())
