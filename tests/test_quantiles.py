"""Quantiles of exposures with units as clusters, and the share above a threshold that is tested in their place."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from analysis.estimators.quantiles import quantile_sample, share_above
from analysis.lift import Effect, Sample, compare, ratio_sample
from analysis.moments import cells


def latencies(rng: np.random.Generator, units: int, shift: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """(milliseconds, unit) of one to seven exposures a unit; those of a unit are alike."""
    unit = np.repeat(np.arange(units), rng.integers(1, 8, units))
    level = np.exp(0.5 * rng.normal(size=units))
    return 100 * level[unit] * rng.gamma(4.0, 1.0, len(unit)) + shift, unit


def share_sample(values: np.ndarray, unit: np.ndarray, threshold: float) -> Sample:
    above, there = share_above(values, unit, threshold)
    return ratio_sample(cells(above, there, np.zeros(len(there), dtype=np.int64), 1)[0])


@pytest.fixture(scope="module")
def truth() -> dict[float, float]:
    """The quantiles themselves, from two million exposures."""
    values, _ = latencies(np.random.default_rng(1), 500_000)
    return {q: float(np.quantile(values, q)) for q in (0.5, 0.95)}


def test_the_figure_is_the_quantile_of_all_exposures() -> None:
    values, unit = latencies(np.random.default_rng(2), 60)
    for q in (0.5, 0.95):
        sample = quantile_sample(values, unit * 7 + 3, q)
        assert sample.n == 60
        assert sample.mean == np.quantile(values, q)
        assert sample.mean_var > 0


@pytest.mark.parametrize(("q", "units"), [(0.5, 40), (0.5, 200), (0.95, 60), (0.95, 300)])
def test_one_arms_interval_covers(q: float, units: int, truth: dict[float, float]) -> None:
    rng = np.random.default_rng(3)
    covered = 0
    for _ in range(1_000):
        sample = quantile_sample(*latencies(rng, units), q)
        covered += abs(sample.mean - truth[q]) <= stats.t.isf(0.025, units - 1) * np.sqrt(sample.mean_var)
    assert 930 <= covered <= 970


def covered_effects(q: float, units: tuple[int, int]) -> int:
    """In how many of 1,000 data sets the interval holds the truth: the new version takes 30 ms longer, all along."""
    rng = np.random.default_rng(4)
    covered = 0
    for _ in range(1_000):
        old, new = latencies(rng, units[0]), latencies(rng, units[1], 30.0)
        low, high = compare(quantile_sample(*old, q), quantile_sample(*new, q)).interval() or (0.0, 0.0)
        covered += low <= 30 <= high
    return covered


@pytest.mark.parametrize(("q", "units"), [(0.5, (40, 60)), (0.95, (150, 250))])
def test_the_effect_in_milliseconds_covers(q: float, units: tuple[int, int]) -> None:
    assert 930 <= covered_effects(q, units) <= 970


def test_with_a_dozen_exposures_above_it_the_interval_errs_on_the_wide_side() -> None:
    assert covered_effects(0.95, (60, 90)) >= 950


def test_the_same_without_clusters_is_far_too_sure(truth: dict[float, float]) -> None:
    rng = np.random.default_rng(5)
    covered = 0
    for _ in range(400):
        values, _ = latencies(rng, 100)
        sample = quantile_sample(values, np.arange(len(values)), 0.5)
        covered += abs(sample.mean - truth[0.5]) <= 1.96 * np.sqrt(sample.mean_var)
    assert covered < 0.88 * 400


def test_many_independent_exposures_have_the_textbook_variance() -> None:
    """q(1 − q)/(n·f²), with the density f of the standard normal at its quantile."""
    rng = np.random.default_rng(6)
    for q in (0.5, 0.95):
        found = [quantile_sample(rng.normal(size=20_000), np.arange(20_000), q).var for _ in range(60)]
        assert np.mean(found) == pytest.approx(q * (1 - q) / stats.norm.pdf(stats.norm.ppf(q)) ** 2, rel=0.1)


def test_the_spread_is_that_between_the_ends_of_the_shares_interval_taken_outward() -> None:
    """A hundred exposures of as many units, half of them above the median: 0.5 ± 1.96·√(0.25/99), 0.40151…0.59849."""
    values = np.arange(1.0, 101.0) ** 2
    sample = quantile_sample(values, np.arange(100), 0.5)
    wanted = (61**2 - 40**2) / (2 * stats.norm.isf(0.025))  # places 39.7 and 59.3 of 0…99
    assert np.sqrt(sample.mean_var) == pytest.approx(wanted, rel=1e-12)


def test_close_to_the_end_the_spread_is_that_of_the_values_there_are() -> None:
    """Twenty exposures: the share's interval above p95 is cut at 1, and the width it is divided by with it."""
    values, unit = np.arange(1.0, 21.0) ** 2, np.arange(20)
    sample = quantile_sample(values, unit, 0.95)
    se = np.sqrt(0.05 * 0.95 / 19)  # one of twenty lies above
    low = 0.95 - stats.norm.isf(0.025) * se
    wanted = (400 - np.quantile(values, low, method="lower")) * se / (1 - low)
    assert np.sqrt(sample.mean_var) == pytest.approx(wanted, rel=1e-12)


def test_where_nothing_varies_there_is_no_variance() -> None:
    assert quantile_sample(np.full(30, 7.0), np.repeat(np.arange(10), 3), 0.95) == Sample(10, 7.0, 0.0)
    assert quantile_sample(np.array([1.0, 2.0, 9.0]), np.array([4, 4, 4]), 0.5) == Sample(1, 2.0, 0.0)


def test_share_above_by_hand() -> None:
    values = np.array([10.0, 60.0, 50.0, 70.0, 80.0, 20.0])
    above, there = share_above(values, np.array([9, 2, 2, 9, 9, 5]), 50.0)
    assert above.tolist() == [1.0, 0.0, 2.0]
    assert there.tolist() == [2.0, 1.0, 3.0]


def test_share_above_is_a_ratio_over_units() -> None:
    values, unit = latencies(np.random.default_rng(7), 80)
    threshold = float(np.quantile(values, 0.9))
    share = float(np.mean(values > threshold))
    residual = [float(((values[unit == u] > threshold) - share).sum()) for u in range(80)]
    sample = share_sample(values, unit, threshold)
    assert sample.mean == pytest.approx(share, rel=1e-12)
    assert sample.mean_var == pytest.approx(np.var(residual, ddof=1) * 80 / len(values) ** 2, rel=1e-9)


def test_the_share_above_the_stable_arms_own_p95_alarms_as_often_as_its_level() -> None:
    """The threshold is an estimate too; 1,000 data sets without a difference, 150 against 150 units."""
    rng = np.random.default_rng(8)
    alarms = found = 0
    for _ in range(1_000):
        stable = latencies(rng, 150)
        threshold = float(np.quantile(stable[0], 0.95))

        def against(new: tuple[np.ndarray, np.ndarray], stable=stable, threshold=threshold) -> Effect:
            return compare(share_sample(*stable, threshold), share_sample(*new, threshold))

        alarms += (against(latencies(rng, 150)).p or 1.0) < 0.05
        found += (against(latencies(rng, 150, 300.0)).p or 1.0) < 0.05
    assert 30 <= alarms <= 70
    assert found > 10 * alarms
