"""Lee's bounds by brute force and by hand, the tipping point, ranks against scipy, the chain to an answer."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from analysis.survey.bounds import lee_bounds, tipping_point
from analysis.survey.ordinal import superiority, top_two
from tests.surveys import survey


def test_by_hand() -> None:
    """8 of 10 of the new arm answer and 4 of 10 of the old: half of the new arm's answers are trimmed."""
    treated = np.array([1.0, 2, 2, 3, 4, 4, 5, 5])
    control = np.array([2.0, 3, 3, 4])
    found = lee_bounds(control, treated, (10, 10))
    assert (found.low, found.high) == pytest.approx((2.0 - 3.0, 4.5 - 3.0))
    assert found.outer[0] < found.low < found.high < found.outer[1]


def test_the_old_arm_may_be_the_one_that_answers_more() -> None:
    a, b = np.array([1.0, 2, 2, 3, 4, 4, 5, 5]), np.array([2.0, 3, 3, 4])
    one, other = lee_bounds(b, a, (10, 10)), lee_bounds(a, b, (10, 10))
    assert (other.low, other.high) == pytest.approx((-one.high, -one.low))


def test_ties_are_split() -> None:
    """Ten answers, 2.5 of them trimmed: the half answer counts half."""
    treated = np.array([1.0] * 5 + [5.0] * 5)
    control = np.array([3.0] * 6)
    found = lee_bounds(control, treated, (8, 10))
    assert found.low == pytest.approx((5 * 1 + 2.5 * 5) / 7.5 - 3)
    assert found.high == pytest.approx((2.5 * 1 + 5 * 5) / 7.5 - 3)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(1, 5), min_size=2, max_size=9), st.lists(st.integers(1, 5), min_size=2, max_size=9))
def test_whole_answers_by_trying_every_subset(control: list[int], treated: list[int]) -> None:
    """20 entered in each arm: of the arm that answers more, the best and worst subset as large as the other's."""
    found = lee_bounds(np.array(control, float), np.array(treated, float), (20, 20))
    few = min(len(control), len(treated))
    means = {
        np.mean(t) - np.mean(c)
        for c in itertools.combinations(control, few)
        for t in itertools.combinations(treated, few)
    }
    assert (found.low, found.high) == pytest.approx((min(means), max(means)))


def test_equal_response_leaves_a_point() -> None:
    rng = np.random.default_rng(1)
    c, t = rng.normal(0, 1, 200), rng.normal(0.3, 1, 200)
    found = lee_bounds(c, t, (1_000, 1_000))
    assert found.low == pytest.approx(found.high)
    half = (found.outer[1] - found.outer[0]) / 2
    assert half >= 1.9 * float(np.sqrt(c.var(ddof=1) / 200 + t.var(ddof=1) / 200))


def test_bounds_hold_the_truth_where_the_answer_decides_who_answers() -> None:
    """Truth: the effect on everybody; the outer interval holds it nearly always, the plain figure's seldom."""
    held = plain = 0
    for seed in range(60):
        s = survey(seed, n=6_000, on_answer=0.7)
        low, high = s.bounds().outer
        held += low <= s.truth <= high
        plain += abs(s.plain - s.truth) < 0.05
    assert held >= 57
    assert plain < 20


def test_the_tipping_point_undoes_the_effect() -> None:
    """Give the new arm's silent people a mean that much lower than weighted: nothing is left."""
    s = survey(3, n=4_000)
    x = s.tips_at()
    control, treated = s.arms()
    rate = float(s.answered[s.treated].mean())
    mixed = rate * treated.sample.mean + (1 - rate) * (treated.sample.mean - x)
    assert mixed - control.sample.mean == pytest.approx(0.0, abs=1e-12)
    assert tipping_point(0.3, 1.0) is None


def test_the_tipping_point_is_on_the_side_of_the_truth() -> None:
    """Where the happy answer more in the new arm its silent score lower; the sign turns exactly beyond the point."""
    for seed in range(20):
        s = survey(seed, n=8_000, effect=0.1, on_answer=0.8)
        control, treated = s.arms()
        silent = s.treated & ~s.answered
        lower = treated.sample.mean - float(s.score[silent].mean())
        rate = float(s.answered[s.treated].mean())
        everybody = rate * treated.sample.mean + (1 - rate) * (treated.sample.mean - lower)
        assert (everybody > control.sample.mean) == (lower < s.tips_at())


@pytest.mark.parametrize("seed", range(5))
def test_superiority_is_brunner_and_munzels(seed: int) -> None:
    rng = np.random.default_rng(seed)
    c, t = rng.integers(1, 6, 80).astype(float), np.clip(rng.integers(1, 7, 60), 1, 5).astype(float)
    found = superiority(c, t)
    pairs = [(b > a) + 0.5 * (b == a) for a in c for b in t]
    assert found.value == pytest.approx(np.mean(pairs))
    test = stats.brunnermunzel(c, t, distribution="normal")
    se = (found.high - found.low) / 2 / 1.959964
    assert (found.value - 0.5) / se == pytest.approx(-test.statistic if test.statistic * (found.value - 0.5) < 0 else
                                                     test.statistic, rel=1e-6)  # fmt: skip


def test_top_two() -> None:
    assert top_two(np.array([1.0, 3, 4, 5, 5]), 5) == pytest.approx(0.6)
