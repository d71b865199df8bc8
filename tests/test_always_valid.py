"""Always-valid intervals: published vectors, the martingale behind them by integration, and looks on every day."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, optimize, stats

from analysis.estimators.always_valid import interval, lower_bound, p_value, rho_squared, upper_bound

HILLSTROM = Path(__file__).resolve().parents[2] / "shared" / "data" / "hillstrom.csv"
needs_hillstrom = pytest.mark.skipif(not HILLSTROM.is_file(), reason="the Hillstrom data is not here")

RHO2_TWO_SIDED = 0.00158723  # of 5 % and N* = 5,000
RHO2_ONE_SIDED = (4.605170186 + math.log(5.605170186)) / 5_000  # of 10 %: −2 ln 0.1 = 4.605170186


def test_rho() -> None:
    assert f"{rho_squared(5_000):.8f}" == f"{RHO2_TWO_SIDED:.8f}"
    assert rho_squared(5_000, 0.1) == pytest.approx(RHO2_ONE_SIDED, rel=1e-9)
    assert rho_squared(10_000) == pytest.approx(rho_squared(5_000) / 2)


def test_rho_makes_the_interval_narrowest_where_the_plan_is_reached() -> None:
    def width(rho2: float, n: int = 5_000, alpha: float = 0.05) -> float:
        return 2 * (n * rho2 + 1) / (n * n * rho2) * math.log(math.sqrt(n * rho2 + 1) / alpha)

    best = optimize.minimize_scalar(lambda log: width(math.exp(log)), bounds=(-12, -2), method="bounded")
    assert width(rho_squared(5_000)) == pytest.approx(best.fun, rel=2e-3)
    assert math.exp(best.x) == pytest.approx(rho_squared(5_000), rel=0.1)


@needs_hillstrom
@pytest.mark.parametrize(
    ("planned", "low", "high", "p"),
    [
        (5_000, "0.30206564", "1.23758868", "8.0754e-06"),
        # The table of vectors prints …350 for this lower end: twice the rounded effect less the rounded upper end.
        # Forty decimal digits of the same formula give 0.328973490406.
        (42_613, "0.32897349", "1.21068082", "1.1434e-05"),
    ],
)
def test_hillstrom(planned: int, low: str, high: str, p: str) -> None:
    data = pd.read_csv(HILLSTROM)
    none, mens = (data.loc[data["segment"] == arm, "spend"].to_numpy() for arm in ("No E-Mail", "Mens E-Mail"))
    effect = float(mens.mean() - none.mean())
    se = math.sqrt(mens.var(ddof=1) / len(mens) + none.var(ddof=1) / len(none))
    assert f"{se:.8f}" == "0.14524656"
    found = interval(effect, se, len(none) + len(mens), planned)
    assert [f"{x:.8f}" for x in found] == [low, high]
    assert f"{p_value(effect, se, len(none) + len(mens), planned):.4e}" == p


@pytest.mark.parametrize(("z", "n", "planned"), [(0.3, 900, 5_000), (2.4, 5_000, 5_000), (3.5, 42_613, 5_000)])
def test_p_is_one_over_the_mixture_martingale(z: float, n: int, planned: int) -> None:
    """∫ exp(λS − λ²N/2) dN(λ; 0, ρ²), by quadrature, for a sum S of N values of variance 1."""
    rho, total = math.sqrt(rho_squared(planned)), z * math.sqrt(n)

    def integrand(x: float) -> float:
        return math.exp(x * total - x * x * n / 2) * stats.norm.pdf(x, scale=rho)

    peak, wide = total / n, 12 / math.sqrt(n)
    martingale = integrate.quad(integrand, peak - wide, peak + wide, epsabs=0, epsrel=1e-11, limit=200)[0]
    assert p_value(z * 0.7, 0.7, n, planned) == pytest.approx(min(1.0, 1 / martingale), rel=1e-7)


@settings(max_examples=300, deadline=None)
@given(st.floats(-6, 6), st.integers(10, 10**6), st.integers(10, 10**5), st.floats(0.0005, 0.5))
def test_the_interval_excludes_nought_exactly_where_p_is_below_alpha(z: float, n: int, planned: int, a: float) -> None:
    p = p_value(z * 3, 3.0, n, planned)
    low, high = interval(z * 3, 3.0, n, planned, a)
    if abs(p - a) > 1e-9:
        assert (p < a) == (not low <= 0 <= high)


def test_rho_stays_that_of_five_per_cent_whatever_the_level() -> None:
    n, alpha = 8_000, 0.05 / 7
    root = math.sqrt(n * RHO2_TWO_SIDED + 1)
    half = math.sqrt(n) * 0.2 * math.sqrt(2 * root**2 / (n**2 * RHO2_TWO_SIDED) * math.log(root / alpha))
    assert interval(1.0, 0.2, n, 5_000, alpha) == pytest.approx((1 - half, 1 + half), rel=1e-6)


@pytest.mark.parametrize("alpha", [0.05, 0.05 / 6])
def test_one_sided_bounds_by_hand_with_rho_of_twice_the_base_level(alpha: float) -> None:
    """Equation 134. A correction for several guardrails changes the level and leaves ρ alone."""
    n, se = 8_000, 0.2
    spread = n * RHO2_ONE_SIDED + 1
    inside = 2 * spread / (n**2 * RHO2_ONE_SIDED) * math.log(1 + math.sqrt(spread) / (2 * alpha))
    half = math.sqrt(n) * se * math.sqrt(inside)
    assert lower_bound(1.0, se, n, 5_000, alpha) == pytest.approx(1 - half, rel=1e-9)
    assert upper_bound(1.0, se, n, 5_000, alpha) == pytest.approx(1 + half, rel=1e-9)


def test_one_side_says_more_than_two() -> None:
    for n in (500, 5_000, 50_000):
        assert upper_bound(0.0, 1.0, n, 5_000) < interval(0.0, 1.0, n, 5_000)[1]
        assert lower_bound(0.0, 1.0, n, 5_000) > interval(0.0, 1.0, n, 5_000)[0]


def daily(rng: np.random.Generator, share: float, per_day: int, days: int = 28) -> list[tuple[float, float, int]]:
    """(effect, standard error, units) from the seventh day's end on, of an experiment without any effect on money."""
    made = rng.lognormal(3.0, 1.0, days * per_day) * (rng.random(days * per_day) < 0.4)
    new = rng.random(days * per_day) < share
    ends = np.arange(1, days + 1) * per_day - 1
    figures = []
    for arm in (~new, new):
        n, s, ss = (np.cumsum(v)[ends] for v in (arm, made * arm, made * made * arm))
        figures.append((s / n, (ss - s * s / n) / (n - 1) / n))
    effect = figures[1][0] - figures[0][0]
    se = np.sqrt(figures[0][1] + figures[1][1])
    return list(zip(effect.tolist(), se.tolist(), (ends + 1).tolist(), strict=True))[6:]


@pytest.mark.parametrize(("share", "per_day"), [(0.5, 400), (0.05, 2_000)])
def test_looking_on_every_day_alarms_in_five_of_a_hundred_at_most(share: float, per_day: int) -> None:
    """600 experiments without effect on skewed money, looked at on 22 days; a fixed interval alarms far too often."""
    rng = np.random.default_rng(2026)
    alarms = fixed = above = below = 0
    for _ in range(600):
        looks = daily(rng, share, per_day)
        alarms += any(p_value(e, se, n, 5_000) <= 0.05 for e, se, n in looks)
        above += any(lower_bound(e, se, n, 5_000) > 0 for e, se, n in looks)
        below += any(upper_bound(e, se, n, 5_000) < 0 for e, se, n in looks)
        fixed += any(abs(e) > 1.96 * se for e, se, n in looks)
    assert alarms <= 0.05 * 600
    assert above <= 0.05 * 600
    assert below <= 0.05 * 600
    assert fixed >= 0.12 * 600
