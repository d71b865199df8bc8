"""The checks that come before any effect, each made to fire and made to keep still."""

from __future__ import annotations

from typing import Any

import pytest

from analysis import analyse
from edgeloop.months import Month
from edgeloop.store.rows import Check
from tests.frames import LATER, MARCH, World, at, frames, together, trial


def declared(**more: Any) -> dict[str, Any]:
    world = World()
    world.declare(0, **more)
    return world.tables()


def checks(tables: dict[str, Any], **options: Any) -> dict[tuple[str, int], Check]:
    found = analyse(tables, MARCH, freeze_id="f", as_of_us=options.get("as_of_us", LATER)).checks
    return {(check.check, check.stage): check for check in found}


def test_units_against_the_declared_allocation() -> None:
    halves = trial(share=0.5, n=4_000)
    good = checks(together(halves, declared(allocation={"v1": 1, "v2": 1})))[("srm", 1)]
    bad = checks(together(halves, declared(allocation={"v1": 0.6, "v2": 0.4})))[("srm", 1)]
    assert (good.state, bad.state) == ("ok", "block")
    assert good.p is not None
    assert good.p > 0.001
    assert bad.p is not None
    assert bad.p < 1e-9


def test_all_versions_of_a_rollout_and_the_holdout_are_one_test() -> None:
    world = World()
    world.declare(0, allocation={"v1": 60, "v2": 20, "v3": 20, "holdout": 20})
    for i in range(240):
        name, version = [*[("stable", "v1")] * 3, ("blue", "v2"), ("red", "v3"), ("holdout", "v2")][i % 6]
        world.expose(f"s{i}", i / 20, name, version)
    found = analyse(world.tables(), MARCH, freeze_id="f", as_of_us=LATER, metrics={}).checks
    ratios = [(check.change_id, check.state, check.value, check.p) for check in found if check.check == "srm"]
    assert ratios == [("c0", "ok", 0.0, 1.0), ("auto:eta/r1/v3", "ok", 0.0, 1.0)]


def test_without_an_allocation_there_is_no_ratio_test_but_the_share_over_days() -> None:
    found = checks(trial())
    assert (found[("srm", 1)].state, found[("srm", 1)].p) == ("no data", None)
    assert found[("share_drift", 1)].state == "ok"
    drift = together(trial(1, share=0.5, days=7), trial(2, share=0.43, start=7, days=7, prefix="t"))
    assert checks(drift)[("share_drift", 1)].state == "block"


def test_with_an_allocation_the_share_over_days_is_not_asked() -> None:
    assert ("share_drift", 1) not in checks(together(trial(), declared(allocation={"v1": 1, "v2": 1})))


def test_stages_together_and_bonferroni_over_them() -> None:
    world = World()
    world.declare(0, allocation={"v1": 1, "v2": 1})
    world.declare(7, allocation={"v1": 1, "v2": 1})
    # Each stage alone has p = 0.0009, which is no alarm among two; both together are one.
    for stage in (0, 1):
        for i in range(1_000):
            world.expose(f"s{stage}-{i}", 7 * stage + i / 200, "stable" if i < 552.5 else "canary")
    found = checks(world.tables())
    one, both = found[("srm", 1)], found[("srm_combined", 0)]
    assert one.p is not None
    assert 0.0005 < one.p < 0.001
    assert (one.state, found[("srm", 2)].state) == ("ok", "ok")
    assert both.p is not None
    assert both.p < 1e-4
    assert both.state == "block"


@pytest.mark.parametrize(
    ("crossing", "of", "state"),
    [(0, 200, "ok"), (9, 800, "ok"), (10, 800, "warn"), (10, 1_200, "ok"), (40, 800, "warn"), (41, 800, "block")],
)
def test_crossovers(crossing: int, of: int, state: str) -> None:
    world = World()
    world.declare(0)
    for i in range(of):
        arms = ["stable", "canary"]
        world.expose(f"s{i}", 1 + i / of, arms[i % 2])
        if i < crossing:
            world.expose(f"s{i}", 3, arms[(i + 1) % 2])
    found = checks(world.tables())[("crossovers", 1)]
    assert (found.state, found.value) == (state, pytest.approx(crossing / of))


class TestArmSilent:
    @staticmethod
    def state(per_day: int, every: int, silent_days: tuple[int, ...] = (), **change: Any) -> Check:
        world = World()
        world.declare(0, **change)
        for day in range(14):
            for i in range(per_day):
                arm = "canary" if i % every == 0 else "stable"
                if arm == "stable" or day not in silent_days:
                    world.expose(f"s{day}-{i}", day + (i + 0.5) / per_day, arm)
        return checks(world.tables())[("arm_silent", 1)]

    def test_both_speak(self) -> None:
        assert self.state(40, 2).state == "ok"

    def test_a_whole_day_without_one(self) -> None:
        found = self.state(40, 2, (5,))
        assert (found.state, found.value) == ("block", 1)

    def test_a_small_arm_may_have_a_quiet_day(self) -> None:
        assert self.state(40, 20, (5,)).state == "ok", "two units a day: nothing on a day is likely"

    def test_a_declared_arm_that_never_spoke(self) -> None:
        assert self.state(40, 2, tuple(range(14)), allocation={"v1": 9, "v2": 1}).state == "block"

    def test_an_undeclared_arm_that_never_spoke(self) -> None:
        assert self.state(900, 2, tuple(range(14))).state == "block"

    def test_an_arm_that_is_not_planned_may_be_silent(self) -> None:
        assert self.state(40, 2, tuple(range(14)), allocation={"v1": 1, "v2": 0}).state == "ok"


@pytest.mark.parametrize(
    ("start", "end", "as_of", "days"),
    [
        (0, None, 90, 31),  # the month's
        (0.25, None, 90, 30),  # the first day is not whole
        (0, 10, 90, 7),  # windows of the last three reach past the stage's end
        (0, 10.5, 90, 7),
        (0, None, 10, 7),
        (0, None, 9.9, 6),
        (29, None, 90, 2),
    ],
)
def test_full_days_with_complete_windows(start: float, end: float | None, as_of: float, days: int) -> None:
    world = World()
    world.declare(start, ended_at=None if end is None else at(end))
    for hour in range(31 * 8):
        world.expose(f"s{hour}", hour / 8, "stable" if hour % 2 else "canary")
    found = checks(world.tables(), as_of_us=at(as_of))[("full_days", 1)]
    assert found.value == days
    assert found.state == ("ok" if days >= 7 else "warn")


def test_a_day_without_entries_is_no_full_day() -> None:
    world = World()
    world.declare(0)
    for i in range(100):
        world.expose(f"s{i}", 0.5, "stable" if i % 2 else "canary")
    assert checks(world.tables())[("full_days", 1)].value == 1


def test_full_days_are_those_of_the_companys_zone() -> None:
    world = World()
    world.declare(0)
    for hour in range(10 * 8):
        world.expose(f"s{hour}", hour / 8, "stable" if hour % 2 else "canary")
    month = Month.parse("2026-03", "America/New_York")
    found = analyse(world.tables(), month, freeze_id="f", as_of_us=LATER, metrics={}).checks
    assert next(c for c in found if c.check == "full_days").value == 10, "nine whole days and the half one it ends on"


def test_who_met_the_new_version_in_an_earlier_stage() -> None:
    world = World()
    world.declare(0)
    world.declare(10)
    for i in range(100):
        world.expose(f"s{i}", 1, "canary" if i < 30 else "stable")
        world.expose(f"s{i}", 11, "canary" if i < 60 else "stable")
    found = checks(world.tables())
    assert ("met_before", 1) not in found
    assert (found[("met_before", 2)].value, found[("met_before", 2)].state) == (0.3, "warn")


def test_anonymous_exposures_are_counted_and_are_no_units() -> None:
    world = World()
    world.declare(0)
    for i in range(100):
        world.expose(f"s{i}", 1, "canary" if i % 2 else "stable", anonymous=int(i < 6))
    found = analyse(world.tables(), MARCH, freeze_id="f", as_of_us=LATER, metrics={})
    check = next(c for c in found.checks if c.check == "anonymous")
    assert (check.value, check.state) == (6, "warn")
    row = found.estimates[0]
    assert (row.n_control, row.n_treated) == (47, 47)


def test_a_switch_and_a_refusal_have_no_ratio_to_check() -> None:
    switch = trial(rollout_id=None) | {"changes": declared(kind="switch", rollout_id=None)["changes"]}
    assert {name for name, _ in checks(switch)} == set()
    assert checks(frames() | {"changes": declared(unit="zone")["changes"]}) == {}
