"""The verdict: each row of its table alone, their order, and that no sentence contradicts an interval."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.verdict import Case, Goal, Guard, days_left, expected_loss, floor_missed, rule
from edgeloop.store.facts import Few, FewDays, NotShown, Said, SampleRatio

BETTER = Goal("orders", 0.01, 0.03, True, practical=0.004)
WORSE = Goal("csat", -0.5, -0.1, True, practical=0.1)
UNDECIDED = Goal("orders", -0.01, 0.02, False, practical=0.004)
SMALL = Goal("orders", -0.003, 0.003, False, practical=0.004, plan_reached=True)
EARLY = Goal("orders", -0.01, 0.02, False, floor=Few("event", 3, 4, 25, 150))
PLANNED = dataclasses.replace(UNDECIDED, plan_reached=True)
SRM = SampleRatio(1e-9)
CLEARED, OPEN, BREACH, NO_DATA = (Guard("errors", state) for state in ("cleared", "open", "breach", "no data"))


def case(*goals: Goal, guards: tuple[Guard, ...] = (), **more: object) -> Case:
    made = Case(goals=goals, guards=guards, full_days=14, days_left=10, not_shown=NotShown("orders", 0.02, 0.004, 900))
    return dataclasses.replace(made, **more)


@pytest.mark.parametrize(
    ("given_case", "row", "verdict", "says"),
    [
        (case(BETTER, guards=(BREACH,)), 1, "roll back", "guardrail breached: errors"),
        (case(BETTER, guards=(BREACH,), alarms=[SRM]), 1, "roll back", "guardrail breached"),
        (case(BETTER, WORSE), 1, "roll back", "worse: csat"),
        (case(WORSE, alarms=[SRM]), 2, "repair the data first", "not shared out"),
        (case(BETTER, alarms=[SRM], full_days=2), 2, "repair the data first", "not shared out"),
        (case(BETTER, before_after=True), 3, "keep testing", "hold back 5 %"),
        (case(refused=Said("chosen")), 3, "keep testing", "chosen, not drawn"),
        (case(dataclasses.replace(WORSE, placebo_p=0.3), before_after=True), 3, "keep testing", "before and after"),
        (case(dataclasses.replace(WORSE, placebo_p=0.04), before_after=True), 1, "roll back", "worse"),
        (case(BETTER, full_days=6), 4, "keep testing", "6 of 7"),
        (case(EARLY), 4, "keep testing", "3 and 4 people"),
        (case(), 4, "keep testing", "no goal has data yet"),
        (case(SMALL, SMALL), 5, "stop, no effect", "smaller than what is worth"),
        (case(dataclasses.replace(SMALL, plan_reached=False)), 7, "keep testing", "at least 10 more days"),
        (case(SMALL, UNDECIDED), 7, "keep testing", "at least 10 more days"),
        (case(BETTER), 6, "promote", "better: orders"),
        (case(BETTER, UNDECIDED, EARLY, guards=(CLEARED,)), 6, "promote", "better: orders"),
        (case(BETTER, quasi=True), 6, "promote", "known weakness"),
        (case(BETTER, guards=(CLEARED, OPEN)), 7, "keep testing", "guardrails not cleared yet: errors"),
        (case(UNDECIDED, days_left=28), 7, "keep testing", "at least 28"),
        (case(UNDECIDED, days_left=29), 7, "keep testing", "at least 29"),  # the plan is not reached yet
        (case(UNDECIDED, days_left=None), 7, "keep testing", "nothing decided yet"),  # nobody can tell
        (case(PLANNED, days_left=28), 7, "keep testing", "at least 28"),
        (case(PLANNED, days_left=29), 8, "not shown", "an effect of 0.02 would have shown"),
        (case(PLANNED, days_left=0), 8, "not shown", "an effect of 0.02 would have shown"),  # it would show by now
        (case(PLANNED, days_left=None), 7, "keep testing", "nothing decided yet"),
        (case(UNDECIDED, days_left=None, ended=True), 8, "not shown", "not shown"),
        (case(UNDECIDED, days_left=10, ended=True), 8, "not shown", "not shown"),
        (case(SMALL, ended=True), 5, "stop, no effect", "smaller than what is worth"),
        (case(BETTER, guards=(NO_DATA,)), 7, "keep testing", "better: orders, but guardrails not cleared yet: errors"),
        (
            case(BETTER, guards=(dataclasses.replace(OPEN, days_left=40),), days_left=90, ended=True),
            7, "keep testing", "better: orders, but guardrails not cleared yet: errors; at least 40 more days",
        ),
    ],
)  # fmt: skip
def test_the_first_row_that_holds(given_case: Case, row: int, verdict: str, says: str) -> None:
    found = rule(given_case)
    assert (found.row, found.verdict) == (row, verdict)
    assert says in found.why


bounds = st.tuples(st.floats(-1, 1), st.floats(-1, 1)).map(sorted)
goals = st.builds(
    lambda b, floor, s, plan: Goal(
        "g", b[0], b[1], floor is None and not b[0] <= 0 <= b[1], floor=floor, practical=s, plan_reached=plan
    ),
    bounds,
    st.sampled_from([None, None, FewDays(3, 7)]),
    st.floats(0.001, 0.5),
    st.booleans(),
)
guards = st.builds(
    Guard,
    st.just("guard"),
    st.sampled_from(["breach", "cleared", "open", "no data"]),
    st.none(),
    st.none() | st.integers(0, 90),
)
cases = st.builds(
    Case,
    goals=st.lists(goals, max_size=4),
    guards=st.lists(guards, max_size=3),
    alarms=st.lists(st.just(SRM), max_size=1),
    before_after=st.booleans(),
    full_days=st.integers(0, 30),
    days_left=st.none() | st.integers(0, 90),
    ended=st.booleans(),
)


@settings(max_examples=1_000, deadline=None)
@given(cases)
def test_what_no_verdict_may_ever_do(c: Case) -> None:
    found = rule(c)
    decided_worse = any(g.decided and g.high < 0 for g in c.goals)
    breach = any(g.state == "breach" for g in c.guards)
    if found.verdict == "promote":
        assert any(g.decided and g.low > 0 for g in c.goals)
        assert not decided_worse
        assert all(g.state == "cleared" for g in c.guards)
        assert not c.alarms
        assert not c.before_after
        assert c.full_days >= 7
    if found.verdict == "roll back":
        assert breach or (decided_worse and not c.alarms)
    if found.verdict == "stop, no effect":  # only where what was measured says that there is none
        assert all(g.plan_reached and -g.practical < g.low and g.high < g.practical for g in c.goals)
    if found.verdict == "not shown":
        assert c.full_days < 7 or not any(g.decided and g.low > 0 for g in c.goals)
    if breach:
        assert found.verdict == "roll back"
    elif c.alarms:
        assert found.verdict == "repair the data first"
    # What is better and what is worse are told apart by signs alone: turned round, nothing is promoted that was bad.
    turned = [dataclasses.replace(g, low=-g.high, high=-g.low) for g in c.goals]
    other = rule(dataclasses.replace(c, goals=turned))
    assert not (found.verdict == "promote" and other.verdict == "promote" and not _both_ways(c.goals))


def _both_ways(found: list[Goal]) -> bool:
    return any(g.better for g in found) and any(g.worse for g in found)


class TestExpectedLoss:
    """SE·(φ(z) − z(1 − Φ(z))) and SE·(φ(z) + zΦ(z)): the means of max(−δ, 0) and max(δ, 0) for δ ~ N(d, SE²)."""

    @pytest.mark.parametrize(("effect", "se"), [(0.0, 1.0), (0.5, 1.0), (-1.2, 0.4), (3.0, 1.0)])
    def test_by_simulation(self, effect: float, se: float) -> None:
        draws = np.random.default_rng(3).normal(effect, se, 400_000)
        assert expected_loss(effect, se, promote=True) == pytest.approx(np.maximum(-draws, 0).mean(), abs=0.004 * se)
        assert expected_loss(effect, se, promote=False) == pytest.approx(np.maximum(draws, 0).mean(), abs=0.006 * se)

    def test_the_two_differ_by_the_effect(self) -> None:
        stop, go = expected_loss(0.3, 0.2, promote=False), expected_loss(0.3, 0.2, promote=True)
        assert stop - go == pytest.approx(0.3)

    def test_a_sure_thing(self) -> None:
        assert (expected_loss(0.3, 0.0, promote=True), expected_loss(0.3, 0.0, promote=False)) == (0.0, 0.3)
        assert math.isclose(expected_loss(-0.3, 0.0, promote=True), 0.3)


@pytest.mark.parametrize(
    ("source", "control", "treated", "days", "words"),
    [
        ("share", 125, 25, 7, None),
        ("share", 125, 24, 7, "125 and 24 people with the event"),
        ("share", 124, 25, 7, "150 in total"),
        ("sum", 100, 50, 7, None),
        ("sum", 101, 49, 7, "people with a sum"),
        ("sum", 75, 74, 7, "150 in total"),
        ("answer", 30, 30, 7, None),
        ("answer", 500, 29, 7, "500 and 29 people answered"),
        ("share", 900, 900, 6, "6 of 7 full entry days"),
        ("answer", 30, 30, 0, "0 of 7 full entry days"),
        ("exposure", 50, 50, 7, None),
        ("exposure", 49, 900, 7, "49 and 900 units with a value"),
        ("exposure", 60, 60, 6, "6 of 7 full entry days"),
    ],
)
def test_floors(source: str, control: int, treated: int, days: int, words: str | None) -> None:
    missed = floor_missed(source, control, treated, days)
    if words is None:
        assert missed is None
    else:
        assert missed is not None
        assert missed.english.startswith("not enough data: ")
        assert words in missed.english


@pytest.mark.parametrize(
    ("source", "marked", "without", "words"),
    [
        ("share", (980, 60), (20, 0), "20 and 0 people without the event"),
        ("share", (980, 1_470), (200, 30), None),
        ("share", (40, 30), (900, 700), "40 and 30 people with the event"),
        ("exposure", (50, 1), (5_000, 100), "50 and 1 units with a marked request"),
        ("exposure", (5_000, 100), (50, 1), "50 and 1 units with a request that is not marked"),
        ("exposure", (130, 25), (5_000, 500), None),
    ],
)
def test_the_rarer_side_of_a_share_counts(
    source: str, marked: tuple[int, int], without: tuple[int, int], words: str | None
) -> None:
    missed = floor_missed(source, *marked, 14, without)
    assert (missed is None) if words is None else (missed is not None and words in missed.english)


class TestDaysLeft:
    """⌈max(0, N·7.84·SE²/s² − N_entered)/(entries per day)⌉ + W."""

    def test_by_hand(self) -> None:
        # 1,000·7.84·0.02²/0.04² = 1,960; less 1,200 leaves 760, at 100 a day 8 days; and the window of 3.
        days = days_left(se=0.02, practical=0.04, complete=1000, entered=1200, entries_per_day=100, window_days=3)
        assert days == 8 + 3

    def test_enough_entered_means_the_window_only(self) -> None:
        assert days_left(se=1e-4, practical=1, complete=10, entered=20, entries_per_day=5, window_days=14) == 14

    @pytest.mark.parametrize(("practical", "rate"), [(0.0, 10.0), (0.1, 0.0)])
    def test_no_end_in_sight(self, practical: float, rate: float) -> None:
        assert days_left(se=1, practical=practical, complete=9, entered=9, entries_per_day=rate, window_days=3) is None

    def test_reaches_power_80_at_the_practical_size(self) -> None:
        """With that many units an effect of size s is found four times in five."""
        n, s, sd = 2_000, 0.2, 2.0
        se = sd * (2 / (n / 2)) ** 0.5
        units = n + (days_left(se=se, practical=s, complete=n, entered=n, entries_per_day=1, window_days=0) or 0)
        rng = np.random.default_rng(1)
        z = rng.normal(s / (sd * (4 / units) ** 0.5), 1, 4_000)
        assert np.mean(np.abs(z) > 1.96) == pytest.approx(0.8, abs=0.03)
