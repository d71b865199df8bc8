"""The e-process of rare events: its formula by integration, its martingale exactly, and what it finds in a trial."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from analysis.estimators.rare_events import e_value

SIGNAL = 20.0  # 1 / 0.05


def log_e(x: int, y: int, w: float) -> float:
    """log of ∫ likelihood ratio d(beta around w, cut to shares above w), on a grid that is dense at w."""
    u = np.linspace(-60, 0, 400_001)[:-1]
    share = w + (1 - w) * np.exp(u)
    with np.errstate(divide="ignore"):
        prior = (100 * w - 1) * np.log(share) + (100 * (1 - w) - 1) * np.log1p(-share) + u
    ratio = x * np.log(share / w) + y * (np.log1p(-share) - math.log1p(-w))
    kept = np.isfinite(prior)

    def log_sum(v: np.ndarray) -> float:
        return float(v.max() + np.log(np.exp(v - v.max()).sum()))

    return log_sum((prior + ratio)[kept]) - log_sum(prior[kept])


@pytest.mark.parametrize(
    ("x", "y", "w"),
    [
        (0, 0, 0.05),
        (1, 0, 0.05),
        (14, 9, 0.3),
        (3, 20, 0.4),
        (30, 300, 0.05),
        (1_000, 3_000, 0.5),
        (5, 3_000, 0.5),  # beyond the underflow of the incomplete beta function
        (24, 10_000, 0.5),
        (100_000, 103_000, 0.5),
        (1_004_000, 1_000_000, 0.5),
        (10**6, 10**7, 0.5),
        (10**7, 10**7, 0.5),
    ],
)
def test_the_formula_by_integration(x: int, y: int, w: float) -> None:
    assert math.log(e_value(x, y, w)) == pytest.approx(log_e(x, y, w), abs=1e-11 + 1e-14 * (x + y))


def test_ten_million_events_do_not_overflow() -> None:
    assert e_value(10**7, 10**6, 0.5) == math.exp(700)
    assert 0 < e_value(10**6, 10**7, 0.5) < 1e-5
    assert 0 < e_value(0, 10**7, 0.9) < 1e-5


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 400), st.integers(0, 400), st.floats(0.02, 0.98), st.floats(0, 2), st.booleans())
def test_one_more_event_changes_nothing_on_average(x: int, y: int, w: float, margin: float, fewer: bool) -> None:
    """A martingale where the arms are alike (with a margin: where they differ by just that), so Ville's bound holds."""

    def e(events_treated: int, events_control: int) -> float:
        return e_value(events_treated, events_control, w, margin=margin, fewer=fewer)

    odds = w / (1 - w) * ((1 + margin) if not fewer else 1 / (1 + margin))
    chance = odds / (1 + odds)
    assert chance * e(x + 1, y) + (1 - chance) * e(x, y + 1) == pytest.approx(e(x, y), rel=1e-9)


@pytest.mark.parametrize("w", [0.05, 0.5])
@pytest.mark.parametrize("rate", [0.8, 1.0])
def test_its_mean_is_one_at_most(w: float, rate: float) -> None:
    """Over all outcomes of 300 events: 1 where the arms are alike, less where the new version has fewer."""
    chance = w * rate / (w * rate + 1 - w)
    x = np.arange(301)
    mean = sum(e_value(int(k), int(300 - k), w) * p for k, p in zip(x, stats.binom.pmf(x, 300, chance), strict=True))
    assert mean == pytest.approx(1.0, rel=1e-9) if rate == 1 else mean < 0.6


@pytest.mark.parametrize(("share", "rate"), [(0.05, 0.01), (0.5, 0.01)])
def test_daily_looks_alarm_in_five_of_a_hundred_at_most(share: float, rate: float) -> None:
    """1,500 experiments of 2,000 units a day for four weeks without any effect."""
    rng = np.random.default_rng(3)
    treated = rng.binomial(int(2_000 * share), rate, (1_500, 28)).cumsum(axis=1)
    control = rng.binomial(int(2_000 * (1 - share)), rate, (1_500, 28)).cumsum(axis=1)
    e = np.array(
        [
            [e_value(int(x), int(y), share) for x, y in zip(*row, strict=True)]
            for row in zip(treated, control, strict=True)
        ]
    )
    for day in (0, 6, 27):
        assert e[:, day].mean() <= 1 + 3 * e[:, day].std() / math.sqrt(len(e))
    alarms = int((e.max(axis=1) >= SIGNAL).sum())
    assert 0 < alarms <= 0.05 * len(e)


def test_three_times_as_many_errors_are_found_in_two_to_five_days() -> None:
    """A 5 % canary of 2,000 units a day, errors 1 → 3 %."""
    rng = np.random.default_rng(4)
    days = []
    for _ in range(200):
        x, y = rng.binomial(100, 0.03, 28).cumsum(), rng.binomial(1_900, 0.01, 28).cumsum()
        days.append(next((d + 1 for d in range(28) if e_value(int(x[d]), int(y[d]), 0.05) >= SIGNAL), 99))
    assert 2 <= np.median(days) <= 5
    assert np.mean(np.array(days) <= 28) > 0.99


def test_fewer_is_more_of_the_other_arm() -> None:
    assert e_value(3, 20, 0.4, fewer=True) == pytest.approx(e_value(20, 3, 0.6), rel=1e-12)
    assert e_value(3, 20, 0.4, margin=0.3, fewer=True) == pytest.approx(e_value(20, 3, 0.6, margin=0.3), rel=1e-12)
    assert e_value(3, 20, 0.4, fewer=True) > 1 > e_value(3, 20, 0.4)


def test_a_margin_moves_the_share_that_would_be_allowed() -> None:
    """Half as many again allowed at w = 0.2: 0.2·1.5 / (0.2·1.5 + 0.8) = 3/11."""
    assert e_value(30, 60, 0.2, margin=0.5) == pytest.approx(e_value(30, 60, 3 / 11), rel=1e-12)
    assert e_value(30, 60, 0.2, margin=0.5) < e_value(30, 60, 0.2)


def test_each_event_of_the_new_arm_is_evidence_and_each_of_the_old_speaks_against() -> None:
    rising = [e_value(x, 40, 0.1) for x in range(30)]
    falling = [e_value(10, y, 0.1) for y in range(0, 4_000, 50)]
    assert rising == sorted(rising)
    assert falling == sorted(falling, reverse=True)
