"""What each unit's value is: windows, sums, currencies, answers."""

from __future__ import annotations

from typing import Any

import pytest

from analysis import analyse
from edgeloop.store.rows import Estimate
from tests.frames import LATER, MARCH, World, at


def world_of(*people: str) -> World:
    """The named people enter on day 1; whose name begins with t meets the new version."""
    world = World()
    world.declare(0)
    for name in people:
        world.expose(name, 1, "canary" if name.startswith("t") else "stable")
    return world


def rows(world: World, **options: Any) -> dict[str, Estimate]:
    found = analyse(world.tables(), MARCH, freeze_id="f", as_of_us=LATER, metrics={}, **options).estimates
    return {row.metric if row.respondent != "agent" else f"agent {row.metric}": row for row in found}


@pytest.mark.parametrize(("hours", "counts"), [(-0.001, False), (0, True), (71.9, True), (72, True), (72.001, False)])
def test_engagement_counts_for_72_hours_from_entry(hours: float, counts: bool) -> None:
    world = world_of("c1", "c2", "t1", "t2")
    world.engage("t1", 1 + hours / 24)
    world.engage("c1", 1.5)
    assert rows(world)["rebooked"].treated == (0.5 if counts else 0.0)


@pytest.mark.parametrize(("days", "counts"), [(-0.001, False), (0, True), (14, True), (14.001, False)])
def test_answers_count_for_14_days_from_entry(days: float, counts: bool) -> None:
    world = world_of("c1", "t1")
    world.answer("t1", 1 + days, 4)
    world.answer("c1", 2, 2)
    row = rows(world)["csat/overall"]
    assert row.treated == (4 if counts else None)
    assert row.window_h == 336


def test_a_share_counts_people_and_not_events() -> None:
    world = world_of("c1", "c2", "t1", "t2", "t3", "t4")
    for hours in (1, 2, 3):
        world.engage("t1", 1 + hours / 24)
    world.engage("stranger", 1.1)
    row = rows(world)["rebooked"]
    assert (row.control, row.treated, row.n_control, row.n_treated) == (0, 0.25, 2, 4)
    assert (row.metric_kind, row.respondent, row.window_h) == ("proportion", "customer", 72)
    assert "rebooked:value" not in rows(world), "there are no values"


def test_a_sum_is_per_unit_and_nought_without_one() -> None:
    world = world_of("c1", "c2", "t1", "t2")
    for value in (5.0, 7.0, None):
        world.engage("t1", 1.5, value=value, currency="EUR")
    world.engage("c1", 1.5, value=1.0, currency="EUR")
    row = rows(world)["rebooked:value"]
    assert (row.control, row.treated, row.metric_kind) == (0.5, 6.0, "mean")


def test_one_currency_counts_and_the_others_are_told() -> None:
    world = world_of("c1", "c2", "t1", "t2")
    world.engage("t1", 1.5, value=10, currency="USD")
    world.engage("t1", 1.6, value=3, currency="EUR")
    world.engage("c1", 1.5, value=4, currency="EUR")
    world.engage("c2", 1.5, value=4)
    row = rows(world)["rebooked:value"]
    assert (row.control, row.treated) == (2.0, 1.5)
    assert "EUR only; 2 values in another currency left out" in (row.reason or "")
    assert rows(world)["rebooked"].treated == 0.5, "the event counts whatever its currency"


def test_equally_frequent_currencies_go_by_name() -> None:
    world = world_of("c1", "t1")
    world.engage("t1", 1.5, value=10, currency="USD")
    world.engage("c1", 1.5, value=4, currency="CHF")
    assert (rows(world)["rebooked:value"].control, rows(world)["rebooked:value"].treated) == (4, 0)


def test_answers_are_a_ratio_beside_the_response_rate() -> None:
    world = world_of("c1", "c2", "c3", "t1", "t2", "t3", "t4")
    for value in (1, 3, 5):
        world.answer("t1", 2, value)
    for name, value in [("t2", 5), ("c1", 2), ("c2", 4)]:
        world.answer(name, 2, value)
    row = rows(world)["csat/overall"]
    assert (row.treated, row.control) == (pytest.approx(14 / 4), 3)
    assert (row.n_treated, row.n_control) == (2, 2)
    assert (row.response_treated, row.response_control) == (0.5, pytest.approx(2 / 3))
    assert row.lift is None
    assert "respondents only, unweighted" in (row.reason or "")


def test_promoters_and_detractors() -> None:
    world = world_of("c1", "c2", "t1", "t2", "t3", "t4", "t5")
    for name, value in [("t1", 9), ("t2", 10), ("t3", 8), ("t4", 6), ("t5", 0), ("c1", 7), ("c2", 9)]:
        world.answer(name, 2, value, kind="nps", question="recommend")
    row = rows(world)["csat/recommend"]
    assert (row.metric_kind, row.treated, row.control) == ("nps", 0, 50)
    assert row.lift is None


def test_only_questions_with_numbers_are_metrics() -> None:
    world = world_of("c1", "t1")
    world.answer("t1", 2, None, kind="text", question="why", text="late again")
    world.answer("t1", 2, None, kind="choice", question="what", label="late")
    world.answer("t1", 2, 1.0, kind="boolean", question="again")
    world.answer("c1", 2, 0.0, kind="boolean", question="again")
    assert list(rows(world)) == ["csat/again"]
    assert rows(world)["csat/again"].effect == 1


def test_a_question_asked_in_two_kinds_keeps_the_more_frequent() -> None:
    world = world_of("c1", "c2", "t1", "t2")
    for name in ("c1", "c2", "t1"):
        world.answer(name, 2, 4, kind="rating")
    world.answer("t2", 2, 10, kind="nps")
    row = rows(world)["csat/overall"]
    assert (row.metric_kind, row.treated, row.n_treated) == ("mean", 4, 1)


def test_agents_answers_are_never_pooled_and_not_identifiable_by_customer() -> None:
    world = World()
    world.declare(0)
    for name, arm in [("c1", "stable"), ("t1", "canary")]:
        world.expose(name, 1, arm, courier="k1")
        world.answer(name, 2, 5)
    for survey in ("csat", "round"):
        world.answer("k1", 3, 1, respondent="agent", survey_id=survey)
    found = rows(world)
    assert (found["csat/overall"].control, found["csat/overall"].treated) == (5, 5)
    for metric in ("agent csat/overall", "agent round/overall"):
        assert (found[metric].effect, found[metric].verdict, found[metric].respondent) == (None, None, "agent")
        assert (found[metric].reason or "").startswith("not identifiable: ")


def test_agents_answers_where_couriers_were_assigned() -> None:
    world = World()
    world.declare(0, unit="courier")
    for i in range(8):
        arm = "canary" if i % 2 else "stable"
        world.expose(f"s{i}", 1, arm, courier=f"k{i}")
        world.expose(f"r{i}", 1, arm, courier=f"k{i}")
        world.answer(f"k{i}", 2, 2 + i % 2 + (i > 5), respondent="agent", survey_id="round")
        world.engage(f"s{i}", 1.5)
    found = rows(world)
    agents = found["agent round/overall"]
    assert (agents.control, agents.treated, agents.n_control, agents.n_treated) == (2.25, 3.25, 4, 4)
    assert agents.estimator == "ratio"
    share = found["rebooked"]
    assert (share.control, share.treated, share.n_control) == (0.5, 0.5, 4), "rows are people, units couriers"
    assert share.se == 0, "every courier has one of two"


def test_a_cluster_counts_once() -> None:
    """Twelve people of three couriers an arm: the standard error is that of six units."""
    world = World()
    world.declare(0, unit="courier")
    for i in range(24):
        courier, arm = i % 6, "canary" if i % 2 else "stable"
        world.expose(f"s{i}", 1, arm, courier=f"k{courier}")
        if courier in (0, 1, 3):
            world.engage(f"s{i}", 1.5)
    row = rows(world)["rebooked"]
    assert (row.n_control, row.n_treated, row.estimator) == (3, 3, "ratio")
    assert (row.control, row.treated) == (pytest.approx(1 / 3), pytest.approx(2 / 3))
    assert row.se == pytest.approx((1 / 3 / 3 + 1 / 3 / 3) ** 0.5)


def test_windows_of_the_immature_do_not_count() -> None:
    world = world_of("c1", "t1")
    world.expose("t2", 5, "canary")
    world.engage("t2", 5.1)
    world.engage("t1", 1.1)
    world.engage("c1", 1.1)
    found = analyse(world.tables(), MARCH, freeze_id="f", as_of_us=at(7), metrics={}).estimates[0]
    assert (found.n_treated, found.n_immature, found.treated) == (1, 1, 1.0)
