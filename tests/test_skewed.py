"""The correction for skew: figures of an independent version, its properties, and tails where they should be."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats

import edgeloop
from analysis import lift
from analysis.estimates import Analysis, analyse
from analysis.estimators import skewed
from analysis.estimators.cuped import CovariateMoments, adjusted_means, residuals
from analysis.estimators.skewed import LEAST, SkewedEffect, compare, log_ratio, skewness
from analysis.families import adjust
from analysis.lift import Effect, Lift, Sample, mean_sample
from analysis.moments import Moments, cells
from edgeloop.clock import DAY_US
from edgeloop.errors import UsageError
from edgeloop.metrics import MetricSettings
from tests.frames import LATER, MARCH, frames, together, trial


def arm(baskets: int, units: int) -> np.ndarray:
    """So many baskets at the quantiles of a lognormal (spread 1, median 20), the other units nothing; no generator."""
    y = np.zeros(units)
    y[:baskets] = 20 * np.exp(stats.norm.ppf((np.arange(baskets) + 0.5) / baskets))
    return y


def moments(y: np.ndarray) -> Moments:
    return cells(y, np.ones(len(y)), np.zeros(len(y), dtype=np.int64), 1)[0]


def both(control: np.ndarray, treated: np.ndarray) -> tuple[SkewedEffect | Effect, Lift | None]:
    """The product's, from units."""
    of = moments(control), moments(treated)
    gamma = skewness(*of)
    samples = mean_sample(of[0]), mean_sample(of[1])
    return compare(*samples, gamma), log_ratio(*samples, gamma)


class Independent:
    """From the units and the docstring alone: central moments by numpy, g as it is written, its inverse by search."""

    def __init__(self, control: np.ndarray, treated: np.ndarray) -> None:
        arms, n = (control, treated), np.array([len(control), len(treated)])
        around = np.concatenate([y - y.mean() for y in arms])
        gamma = float(stats.skew(around))
        uneven = (n[1] ** -2.0 - n[0] ** -2.0) / (1 / n).sum() ** 1.5
        self.a = gamma * uneven
        mean = np.array([y.mean() for y in arms])
        var = np.array([y.var(ddof=1) for y in arms])
        pooled = np.average(var, weights=n) ** 0.5 / np.concatenate(arms).mean()
        self.difference = mean[1] - mean[0], *self._welch(var / n, n), self.a / 3, self.a / 6
        bend = self.a / 3 - pooled * uneven / 2
        self.logs = math.log(mean[1] / mean[0]), *self._welch(var / n / mean**2, n), bend, self.a / 6

    @staticmethod
    def _welch(v: np.ndarray, n: np.ndarray) -> tuple[float, float]:
        return float(v.sum() ** 0.5), float(v.sum() ** 2 / (v**2 / (n - 1)).sum())

    @staticmethod
    def g(t: float, square: float, shift: float) -> float:
        return t + square * t**2 / (1 + 2 * abs(square * t)) + shift

    def interval(self, of: Sequence[float], alpha: float) -> tuple[float, float]:
        figure, se, df, square, shift = of
        quantile = float(stats.t.isf(alpha / 2, df))
        ends = [
            optimize.brentq(lambda t, q=q: self.g(t, square, shift) - q, -1e4, 1e4, xtol=1e-14, rtol=1e-14)
            for q in (quantile, -quantile)
        ]
        return figure - ends[0] * se, figure - ends[1] * se

    @property
    def p(self) -> float:
        figure, se, df, square, shift = self.difference
        return float(2 * stats.t.sf(abs(self.g(figure / se, square, shift)), df))


def test_figures_of_a_canary_that_any_program_can_make() -> None:
    """From a version with 40 digits (mpmath, bisection) that shares nothing with this code."""
    effect, lift_of = both(arm(1_900, 38_000), arm(112, 2_000))
    assert isinstance(effect, SkewedEffect)
    assert lift_of is not None
    figures = (effect.skew, effect.effect, effect.se, *effect.interval(), effect.p, lift_of.low, lift_of.high)
    assert figures == pytest.approx(
        (
            0.3414277506312, 0.177108266088, 0.2714880074061, -0.2771868465824, 0.8447565958709, 0.4524687932246,
            -0.1530813284118, 0.5347790278001,
        ),
        rel=1e-10,
    )  # fmt: skip


@st.composite
def pairs(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Two arms of any sizes, with values from even to very skewed."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    made = []
    for n in (draw(st.integers(20, 3_000)), draw(st.integers(20, 3_000))):
        y = np.exp(draw(st.sampled_from([0.1, 0.7, 1.0, 1.8])) * rng.standard_normal(n))
        y[rng.random(n) < draw(st.sampled_from([0.0, 0.5, 0.9]))] = 0.0
        y[:2] = 1.0, 2.0
        made.append(y)
    return made[0], made[1]


LEVELS = (0.5, 0.2, 0.05, 0.05 / 7, 1e-3, 1e-6)


@settings(max_examples=150, deadline=None)
@given(pairs())
def test_an_independent_version_finds_the_same(of: tuple[np.ndarray, np.ndarray]) -> None:
    effect, lift_of = both(*of)
    other = Independent(*of)
    assert isinstance(effect, SkewedEffect) == (abs(other.a) >= LEAST)
    if not isinstance(effect, SkewedEffect):
        return
    assert effect.skew == pytest.approx(other.a, rel=1e-9)
    assert effect.p == pytest.approx(other.p, rel=1e-7, abs=1e-300)
    for alpha in LEVELS:
        assert effect.interval(alpha) == pytest.approx(other.interval(other.difference, alpha), rel=1e-7, abs=1e-9)
    assert lift_of is not None
    ends = [math.expm1(x) if x < 700 else math.inf for x in other.interval(other.logs, 0.05)]
    assert (lift_of.low, lift_of.high) == pytest.approx(tuple(ends), rel=1e-7, abs=1e-9)


@settings(max_examples=200, deadline=None)
@given(pairs(), st.floats(-3, 3))
def test_intervals_are_nested_and_exclude_nought_exactly_where_p_is_small(
    of: tuple[np.ndarray, np.ndarray], shift: float
) -> None:
    made, _ = both(*of)
    assert made.se is not None
    effect = moved(made, shift * made.se)
    ends = [effect.interval(alpha) or (math.nan, math.nan) for alpha in LEVELS]
    for (low, high), (lower, higher) in pairwise(ends):
        assert lower < low < high < higher
    assert effect.p is not None
    for alpha, (low, high) in zip(LEVELS, ends, strict=True):
        if abs(effect.p - alpha) > 1e-9 * alpha:
            assert (low <= 0 <= high) == (effect.p > alpha)
    at = effect.interval(effect.p) or (1.0, 1.0) if 1e-12 < effect.p < 1 else (0.0, 0.0)
    assert min(abs(at[0]), abs(at[1])) <= 1e-6 * made.se, "at p itself one end is 0"


def moved(effect: SkewedEffect | Effect, to: float) -> SkewedEffect | Effect:
    """The same with another difference."""
    if isinstance(effect, SkewedEffect):
        return SkewedEffect(effect.control, effect.control + to, to, effect.se, effect.df, effect.skew)
    return Effect(effect.control, effect.control + to, to, effect.se, effect.df)


@settings(max_examples=100, deadline=None)
@given(pairs(), st.sampled_from([1e-3, 0.37, 100.0]), st.sampled_from([-50.0, 0.0, 3.0]))
def test_units_of_measure_do_not_matter(of: tuple[np.ndarray, np.ndarray], times: float, more: float) -> None:
    one, other = both(*of)[0], both(*(times * (y + more) for y in of))[0]
    assert other.p == pytest.approx(one.p, rel=1e-5, abs=1e-12)
    assert one.se is not None
    for a, b in zip(one.interval(0.01) or (), other.interval(0.01) or (), strict=True):
        assert b == pytest.approx(times * a, abs=1e-5 * times * one.se)


@settings(max_examples=100, deadline=None)
@given(pairs())
def test_exchanging_the_arms_turns_the_interval_round(of: tuple[np.ndarray, np.ndarray]) -> None:
    one, other = both(*of)[0], both(of[1], of[0])[0]
    low, high = one.interval(0.02) or (0.0, 0.0)
    assert other.interval(0.02) == pytest.approx((-high, -low), rel=1e-9, abs=1e-12)
    assert other.p == pytest.approx(one.p, rel=1e-9)


@settings(max_examples=100, deadline=None)
@given(pairs())
def test_no_statistic_is_more_than_halved_or_grown_by_half(of: tuple[np.ndarray, np.ndarray]) -> None:
    made = both(*of)[0]
    if not isinstance(made, SkewedEffect):
        return
    for alpha in LEVELS:
        quantile, (low, high) = lift.t_quantile(alpha / 2, made.df), made.interval(alpha)
        for end, q in ((low, quantile), (high, -quantile)):
            t, wanted = (made.effect - end) / made.se, q - made.skew / 6
            assert abs(wanted) / 1.5 - 1e-9 <= abs(t) <= 2 * abs(wanted) + 1e-9


class TestWelchStands:
    def test_at_equal_sizes_to_the_last_bit(self) -> None:
        y = arm(100, 2_000)
        effect, lift_of = both(y, y * 1.3)
        samples = mean_sample(moments(y)), mean_sample(moments(y * 1.3))
        assert effect == lift.compare(*samples)
        assert lift_of == lift.log_ratio(*samples)

    def test_below_the_least_skew_to_the_last_bit(self) -> None:
        control, treated = Sample(9_500, 10.0, 9.0), Sample(500, 10.2, 9.0)
        uneven = (500**-2 - 9_500**-2) / (1 / 500 + 1 / 9_500) ** 1.5
        for times, corrected in ((0.999, False), (-0.999, False), (1.001, True), (-1.001, True)):
            made = compare(control, treated, times * LEAST / uneven)
            assert isinstance(made, SkewedEffect) == corrected
            assert (made == lift.compare(control, treated)) != corrected
            same = log_ratio(control, treated, times * LEAST / uneven) == lift.log_ratio(control, treated)
            assert same != corrected

    def test_where_welch_has_nothing_to_say(self) -> None:
        assert compare(Sample(1, 2.0, 0.0), Sample(4_000, 3.0, 1.0), 50.0).p is None
        assert compare(Sample(10, 2.0, 0.0), Sample(4_000, 2.0, 0.0), 50.0).interval() is None
        assert log_ratio(Sample(10, -2.0, 1.0), Sample(4_000, 2.0, 1.0), 50.0) is None

    def test_a_constant_and_a_far_offset_have_no_skew_of_their_own(self) -> None:
        assert skewness(moments(np.full(900, 0.1)), moments(np.full(30, 0.1))) == 0
        rng = np.random.default_rng(4)
        far = skewness(moments(1e6 + rng.standard_normal(9_000)), moments(1e6 + rng.standard_normal(400)))
        assert abs(far) * 0.05 < LEAST, "Σy³ carries 16 digits, and here six of the mean are cubed"
        assert skewness(Moments(), Moments()) == 0

    def test_the_least_skew_is_a_tail_off_by_a_point(self) -> None:
        z = stats.norm.isf(0.025)
        assert LEAST * (2 * z**2 + 1) / 6 * stats.norm.pdf(z) == pytest.approx(0.01, rel=1e-12)
        assert pytest.approx(0.1182, abs=1e-4) == LEAST


def tails(n: tuple[int, int], sets: int, *, corrected: bool) -> tuple[float, float, float, float]:
    """Shares of exponential data sets whose truth lies below and above the interval, of the difference and the lift."""
    rng = np.random.default_rng(11)
    missed = np.zeros(4)
    for _ in range(sets):
        arms = [moments(rng.exponential(size=k)) for k in n]
        gamma = skewness(arms[0], arms[1]) if corrected else 0.0
        samples = mean_sample(arms[0]), mean_sample(arms[1])
        low, high = compare(*samples, gamma).interval() or (0.0, 0.0)
        relative = log_ratio(*samples, gamma)
        assert relative is not None
        missed += np.array([low > 0, high < 0, relative.low > 0, relative.high < 0])
    below, above, low_lift, high_lift = missed / sets
    return float(below), float(above), float(low_lift), float(high_lift)


def test_tails_of_exponential_sums_are_even_where_welch_has_them_wrong() -> None:
    """60 units of 1,200: A = 0.24; of 8,000 data sets a share of 2.5 % has a standard error of 0.17 points."""
    plain, made = tails((1_140, 60), 8_000, corrected=False), tails((1_140, 60), 8_000, corrected=True)
    assert plain[0] < 0.016
    assert plain[1] > 0.040
    assert made[0] == pytest.approx(0.025, abs=0.007)
    assert made[1] == pytest.approx(0.025, abs=0.009)
    assert abs(made[3] - made[2]) < 0.01


def test_the_logarithm_takes_the_skew_of_exponentials_out_by_itself() -> None:
    """2A − 3C of units whose skewness is 2 and whose spread is their mean: 4 − 3, a quarter of the difference's 4."""
    units = Sample(1_140, 1.0, 1.0), Sample(60, 1.0, 1.0)
    skew = compare(*units, 2.0)
    assert isinstance(skew, SkewedEffect)
    made = log_ratio(*units, 2.0)
    assert made is not None
    independent = (2 * skew.skew - 3 * skew.skew / 2) / 6
    assert independent == pytest.approx(skew.skew / 12)
    half = (math.log1p(made.high) + math.log1p(made.low)) / 2
    z2 = lift.t_quantile(0.025, 60) ** 2
    se = math.sqrt(1 / 60 + 1 / 1_140)
    assert half == pytest.approx(se * (skew.skew / 6 + independent * z2), rel=0.15), "the first order of the shift"


def test_residuals_are_what_adjusted_means_are_means_of() -> None:
    rng = np.random.default_rng(2)
    x = np.exp(rng.standard_normal((900, 1)))
    columns = np.concatenate([2 * x + rng.exponential(size=(900, 1)), x, rng.random((900, 1)) < 0.7], axis=1)
    parts = CovariateMoments.of(columns[:850]), CovariateMoments.of(columns[850:])
    left = residuals(columns, *parts)
    control, treated = adjusted_means(*parts)
    assert left[850:].mean() - left[:850].mean() == pytest.approx(treated.mean - control.mean, rel=1e-9)
    assert left[850:].var(ddof=1) == pytest.approx(treated.var, rel=1e-9)
    assert left[:850].var(ddof=1) == pytest.approx(control.var, rel=1e-9)


# Through the tables.

SETTINGS = {
    "revenue": MetricSettings(event="rebooked", kind="mean", window_h=72.0, role="goal", headline=True),
    "conversion": MetricSettings(event="rebooked", kind="proportion", window_h=72.0, role="goal"),
}


def analysed(share: float) -> Analysis:
    return analysed_of(trial(5, n=30_000, days=20, share=share, event=(0.06, 0.06), spend=(30.0, 30.0)))


def analysed_of(tables: dict[str, pd.DataFrame]) -> Analysis:
    return analyse(tables, MARCH, freeze_id="f", as_of_us=LATER, metrics=SETTINGS)


def values(share: float) -> Iterator[np.ndarray]:
    """Each arm's sums, from the events."""
    tables = trial(5, n=30_000, days=20, share=share, event=(0.06, 0.06), spend=(30.0, 30.0))
    people = tables["exposures"].merge(tables["engagement"][["subject", "value"]], on="subject", how="left")
    for label in ("stable", "canary"):
        yield people.loc[people["arm"] == label, "value"].fillna(0.0).to_numpy(dtype=float)


def test_a_canary_of_money_is_corrected_in_the_table_and_says_so() -> None:
    found = {e.metric: e for e in analysed(0.05).estimates if e.segment == "all"}
    row, other = found["revenue"], Independent(*values(0.05))
    assert row.estimator == "difference_in_means+skew"
    assert row.reason is not None
    assert "corrected for skew" in row.reason
    assert (row.effect_low, row.effect_high) == pytest.approx(other.interval(other.difference, 0.05), rel=1e-8)
    assert row.p == pytest.approx(other.p, rel=1e-8)
    assert (row.effect, row.se) == pytest.approx(other.difference[:2], rel=1e-9), "the estimate and its SE are Welch's"
    ends = [math.expm1(x) for x in other.interval(other.logs, 0.05)]
    assert (row.lift_low, row.lift_high) == pytest.approx(tuple(ends), rel=1e-8)
    assert found["conversion"].estimator == "difference_in_means", "a share of units keeps its test"


def test_with_what_was_known_before_the_skew_is_that_of_the_rest() -> None:
    """CUPED in the table, in `edgeloop.compare`, and by a regression of numpy's with this file's own g."""
    tables = trial(5, n=30_000, days=14, start=10, share=0.05, event=(0.06, 0.06), spend=(30.0, 30.0))
    exposures, rng = tables["exposures"], np.random.default_rng(9)
    known = rng.random(len(exposures)) < 0.6
    later = exposures[["subject", "arm"]].merge(tables["engagement"][["subject", "value"]], on="subject", how="left")
    y = later["value"].fillna(0.0).to_numpy(dtype=float)
    x = np.where(known, 0.5 * y + rng.gamma(0.2, 10.0, len(y)), np.nan)
    before = tables["engagement"].reindex(range(int(known.sum())))
    before["subject"] = exposures["subject"].to_numpy()[known]
    before["occurred_at"] = exposures["occurred_at"].to_numpy()[known] - 2 * DAY_US
    before["event_id"] = [f"b{i}" for i in range(len(before))]
    before["name"], before["value"], before["currency"], before["anonymous"] = "rebooked", x[known], "EUR", 0
    found = analysed_of(together(tables, frames() | {"engagement": before}))
    row = next(e for e in found.estimates if e.metric == "revenue" and e.segment == "all")
    assert row.estimator == "cuped+skew"
    regressors = np.stack([np.ones(len(y)), np.where(known, x, 0.0), known], axis=1)
    left = y - regressors[:, 1:] @ np.linalg.lstsq(regressors, y, rcond=None)[0][1:]
    new = (later["arm"] == "canary").to_numpy()
    other = Independent(left[~new], left[new])
    assert (row.effect_low, row.effect_high) == pytest.approx(other.interval(other.difference, 0.05), rel=1e-6)
    assert row.p == pytest.approx(other.p, rel=1e-6)
    check = next(c for c in found.checks if c.check == "pre_period:revenue")
    earlier = Independent(x[known & ~new], x[known & new])
    assert abs(earlier.a) > LEAST
    assert check.p == pytest.approx(earlier.p, rel=1e-6), "so far out Welch's test would block too often"
    frame = later.assign(y=y, x=x)
    by_hand = edgeloop.compare(frame, value="y", covariate="x", control="stable", treated="canary", skew=True)
    names = ("estimator", "effect", "se", "effect_low", "effect_high", "p", "lift", "lift_low", "lift_high")
    for name in names:
        mine = getattr(by_hand, name)
        assert getattr(row, name) == (mine if isinstance(mine, str) else pytest.approx(mine, rel=1e-9)), name


def test_by_hand_the_correction_is_asked_for_and_is_of_means() -> None:
    control, treated = values(0.05)
    frame = pd.DataFrame(
        {"arm": ["a"] * len(control) + ["b"] * len(treated), "y": np.concatenate([control, treated]), "d": 1.0}
    )
    plain = edgeloop.compare(frame, value="y", control="a", treated="b")
    made = edgeloop.compare(frame, value="y", control="a", treated="b", skew=True, alpha=0.01)
    other = Independent(control, treated)
    assert (plain.estimator, made.estimator) == ("difference_in_means", "difference_in_means+skew")
    assert plain.p == pytest.approx(stats.ttest_ind(treated, control, equal_var=False).pvalue, rel=1e-9)
    assert (made.effect_low, made.effect_high) == pytest.approx(other.interval(other.difference, 0.01), rel=1e-8)
    with pytest.raises(UsageError, match="skew"):
        edgeloop.compare(frame, value="y", control="a", treated="b", skew=True, denominator="d")


def test_the_same_money_at_50_50_is_welchs() -> None:
    row = next(e for e in analysed(0.5).estimates if e.metric == "revenue" and e.segment == "all")
    control, treated = values(0.5)
    theirs = stats.ttest_ind(treated, control, equal_var=False)
    assert row.estimator == "difference_in_means"
    assert row.p == pytest.approx(theirs.pvalue, rel=1e-9)
    assert (row.effect_low, row.effect_high) == pytest.approx(tuple(theirs.confidence_interval()), rel=1e-9)


def test_a_family_decides_as_its_adjusted_p_says() -> None:
    """Deciding intervals exclude 0 exactly where p_adjusted ≤ 5 %, at whatever level the family has."""
    rng = np.random.default_rng(3)
    tests = []
    for i in range(40):
        made = compare(Sample(38_000, 1.6, 150.0), Sample(2_000, 1.6 + rng.normal(0, 0.9), 150.0), rng.uniform(10, 60))
        assert made.p is not None
        tests.append((i, made.p, made.interval))
    decided = adjust(tests)  # type: ignore[arg-type]
    assert 0 < sum(d.rejected for d in decided) < 40
    for d in decided:
        assert (d.interval[0] > 0 or d.interval[1] < 0) == d.rejected


def test_without_the_correction_the_calibration_would_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    """To Welch's test the new arm of the calibration's canary looks worse in over 5 % of A/A trials, not in 2.5 %."""
    assert worse(2_000) < 0.042
    monkeypatch.setattr(skewed, "LEAST", math.inf)
    assert worse(2_000) > 0.048


def worse(sets: int) -> float:
    """The share of A/A data sets of money with a 5 % canary whose interval lies below 0."""
    rng, found = np.random.default_rng(20), 0
    for _ in range(sets):
        arms = []
        for n in (38_000, 2_000):
            baskets = np.exp(3 + rng.standard_normal(rng.binomial(n, 0.05)))
            sums = [float((baskets**k).sum()) for k in (1, 2, 3)]
            arms.append(Moments(n, sums[0], sums[1], n, n, sums[0], sums[2]))
        samples = mean_sample(arms[0]), mean_sample(arms[1])
        found += (compare(*samples, skewness(arms[0], arms[1])).interval() or (0.0, 0.0))[1] < 0
    return found / sets
