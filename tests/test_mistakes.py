"""Mistakes that other libraries and products shipped, each with what it would have said beside what we say.

A test computes the mistaken figure too and asks that it be far off, so that it cannot agree with ours by chance. (That
a text never contradicts its interval, dafiti/causalimpact#38, is a test of the words.)
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from analysis.estimators.cuped import CovariateMoments, adjusted_means, adjusted_ratios
from analysis.families import adjust
from analysis.lift import Sample, compare, log_ratio, proportion_sample, ratio_sample
from analysis.moments import cells
from analysis.srm import sample_ratio


def cuped(arms: list[np.ndarray]) -> tuple[Sample, Sample]:
    return adjusted_means(*[CovariateMoments.of(a) for a in arms])


def log_variance(samples: tuple[Sample, Sample]) -> float:
    """Variance of the log of the ratio, from the lift's own interval and degrees of freedom."""
    lift = log_ratio(*samples)
    assert lift is not None
    terms = [s.mean_var / s.mean**2 for s in samples]
    df = sum(terms) ** 2 / sum(t**2 / (s.n - 1) for t, s in zip(terms, samples, strict=True))
    return ((math.log1p(lift.high) - math.log1p(lift.low)) / 2 / stats.t.isf(0.025, df)) ** 2


class TestRelativeCupedVariance:
    """growthbook#3610: too small where what is left of the outcome's variance is small."""

    def arms(self, rng: np.random.Generator, lift: float, *, of_each: bool, n: int = 200) -> list[np.ndarray]:
        """y and x correlate by 0.9; the effect is a share of each unit's own level, or the same for all."""
        made = []
        for effect in (0.0, lift):
            x = rng.gamma(4.0, 5.0, n)
            y = x * (1 + effect) if of_each else x + 20 * effect
            made.append(np.column_stack([y + rng.normal(0, 4.84, n), x]))
        return made

    def test_it_is_the_delta_method_over_the_four_means(self) -> None:
        """ln of the ratio of adjusted means as a function of (Ȳc, X̄c, Ȳt, X̄t), its gradient by small steps."""
        arms = self.arms(np.random.default_rng(1), 0.5, of_each=True)
        joined = np.concatenate(arms)
        theta, center = np.cov(joined.T)[0, 1] / joined[:, 1].var(ddof=1), joined[:, 1].mean()

        def log_lift(m: np.ndarray) -> float:
            return math.log((m[2] - theta * (m[3] - center)) / (m[0] - theta * (m[1] - center)))

        at = np.concatenate([a.mean(axis=0) for a in arms])
        gradient = np.array([(log_lift(at + s) - log_lift(at - s)) / 2e-5 for s in 1e-5 * np.eye(4)])
        covariance = np.zeros((4, 4))
        for i, a in enumerate(arms):
            covariance[2 * i : 2 * i + 2, 2 * i : 2 * i + 2] = np.cov(a.T) / len(a)
        wanted = float(gradient @ covariance @ gradient)
        assert log_variance(cuped(arms)) == pytest.approx(wanted, rel=1e-6)
        # The mistake in its plainest form: the new arm's variance alone, over the control's mean squared.
        left = np.array([1.0, -theta])
        assert left @ covariance[2:, 2:] @ left / at[0] ** 2 < 0.8 * wanted

    @pytest.mark.parametrize("of_each", [True, False])
    @pytest.mark.parametrize("true_lift", [0.05, 0.2])
    def test_it_covers(self, true_lift: float, of_each: bool) -> None:
        rng = np.random.default_rng(2)
        covered = 0
        for _ in range(1_000):
            lift = log_ratio(*cuped(self.arms(rng, true_lift, of_each=of_each)))
            covered += lift is not None and lift.low <= true_lift <= lift.high
        assert 930 <= covered <= 970


class TestOneDenominatorForVariancesAndCovariances:
    """growthbook#4250: a covariance over n − 1 beside variances p(1 − p) over n can leave a variance below 0."""

    def test_cuped_of_shares_that_were_the_same_before(self) -> None:
        """With y = x all is explained: nothing is left, and nothing below it."""
        y = np.array([1.0, 0, 1, 1, 0, 1, 0, 1])
        found = cuped([np.column_stack([y, y]), np.column_stack([y, y])])
        assert [s.var for s in found] == [0.0, 0.0]
        mixed = 2 * y.var(ddof=0) - 2 * np.cov(y, y, ddof=1)[0, 1]
        assert mixed < -0.05

    def test_cuped_of_shares_is_the_variance_of_what_is_left(self) -> None:
        rng = np.random.default_rng(3)
        arms = []
        for _ in range(2):
            x = (rng.random(12) < 0.5).astype(float)
            arms.append(np.column_stack([np.where(rng.random(12) < 0.85, x, 1 - x), x]))
        joined = np.concatenate(arms)
        theta = np.cov(joined.T)[0, 1] / joined[:, 1].var(ddof=1)
        for sample, a in zip(cuped(arms), arms, strict=True):
            assert sample.var == pytest.approx((a[:, 0] - theta * a[:, 1]).var(ddof=1), rel=1e-9)

    def test_a_ratio_of_two_equal_columns(self) -> None:
        visits = np.array([1.0, 0, 1, 1, 0, 1])
        (moments,) = cells(visits, visits, np.zeros(6, dtype=np.int64), 1)
        assert ratio_sample(moments).var == 0.0
        assert proportion_sample(moments).var == pytest.approx(visits.var(ddof=0))


class TestTheControlsVariance:
    """growthbook#921: the relative interval forgot it."""

    def test_a_control_ten_times_less_sure_makes_the_lift_less_sure(self) -> None:
        new = Sample(100_000, 12.0, 9.0)
        sure, unsure = Sample(100_000, 10.0, 9.0), Sample(100, 10.0, 9.0)
        assert log_variance((unsure, new)) == pytest.approx(9 / 100 / 100 + 9 / 100_000 / 144, rel=1e-9)
        assert log_variance((unsure, new)) > 100 * log_variance((sure, new))

    def test_it_covers_with_a_small_control(self) -> None:
        rng = np.random.default_rng(4)
        covered = forgotten = 0
        for _ in range(1_000):
            values = rng.gamma(4, 5, 80), rng.gamma(4, 6, 3_000)
            control, treated = (Sample(len(v), float(v.mean()), float(v.var(ddof=1))) for v in values)
            lift = log_ratio(control, treated)
            covered += lift is not None and lift.low <= 0.2 <= lift.high
            half = 1.96 * math.sqrt(treated.mean_var) / control.mean
            forgotten += abs(treated.mean / control.mean - 1.2) <= half
        assert 930 <= covered <= 970
        assert forgotten < 500


class TestTheCovariatesCentre:
    """cluster-experiments#270: centred on another scale's mean, +10 % was reported as +194 %."""

    def arms(self) -> list[np.ndarray]:
        rng = np.random.default_rng(5)
        x = [rng.gamma(4, 5, 20_000) for _ in range(2)]
        return [
            np.column_stack([f * (2 + 0.9 * v) + rng.normal(0, 1, 20_000), v]) for f, v in zip((1, 1.1), x, strict=True)
        ]

    def test_ten_per_cent_stay_ten_per_cent(self) -> None:
        arms = self.arms()
        lift = log_ratio(*cuped(arms))
        assert lift is not None
        assert lift.lift == pytest.approx(0.1, abs=0.005)
        joined = np.concatenate(arms)
        theta = np.cov(joined.T)[0, 1] / joined[:, 1].var(ddof=1)
        uncentred = [a[:, 0].mean() - theta * a[:, 1].mean() for a in arms]
        assert uncentred[1] / uncentred[0] - 1 > 0.5

    def test_of_ratios_too(self) -> None:
        rng = np.random.default_rng(6)
        made = []
        for factor in (1.0, 1.1):
            level, d, before = rng.normal(10, 2, 20_000), rng.poisson(3, 20_000) + 1.0, rng.poisson(11, 20_000) + 1.0
            made.append(np.column_stack([factor * d * level, d, before * level, before]))
        lift = log_ratio(*adjusted_ratios(*[CovariateMoments.of(a) for a in made]))
        assert lift is not None
        assert lift.lift == pytest.approx(0.1, abs=0.005)

    def test_where_the_covariate_begins_to_count_does_not_matter(self) -> None:
        arms = self.arms()
        moved = [a + np.array([0.0, 500.0]) for a in arms]
        here, there = log_ratio(*cuped(arms)), log_ratio(*cuped(moved))
        assert here is not None
        assert there is not None
        assert (there.lift, there.low, there.high) == pytest.approx((here.lift, here.low, here.high), rel=1e-6)


def test_the_correction_corrects() -> None:
    """spotify/confidence#101: for years every correction but Bonferroni's did nothing."""

    def interval(alpha: float) -> tuple[float, float]:
        return effect.interval(alpha) or (0.0, 0.0)

    effect = compare(Sample(400, 0.0, 1.0), Sample(400, 0.15, 1.0))
    assert effect.p is not None
    assert effect.p < 0.05
    others = [(f"other {i}", 0.2 + i / 20, interval) for i in range(9)]
    (found, *_) = adjust([("one", effect.p, interval), *others])
    assert found.p_adjusted == pytest.approx(10 * effect.p)
    assert not found.rejected
    low, high = found.interval
    assert low < 0 < high
    assert (low, high) == pytest.approx(interval(0.005))


class TestImpact:
    """Mixpanel Impact's documented formula: variances subtracted, and p of one side."""

    def test_variances_are_added(self) -> None:
        control, treated = Sample(100, 1.0, 5.0), Sample(100, 1.5, 4.0)
        effect = compare(control, treated)
        assert effect.se == pytest.approx(0.3)
        assert math.sqrt(abs(4.0 - 5.0) / 100) == pytest.approx(0.1)

    def test_p_has_two_sides(self) -> None:
        control, treated = Sample(100, 1.0, 5.0), Sample(100, 1.5, 4.0)
        better, worse = compare(control, treated), compare(treated, control)
        wanted = stats.ttest_ind_from_stats(1.5, 2, 100, 1.0, math.sqrt(5), 100, equal_var=False).pvalue
        assert better.p == worse.p == pytest.approx(wanted, rel=1e-9)


def test_arms_without_weight_are_no_degrees_of_freedom() -> None:
    """gbstats counted them: the same counts then alarm at p = 0.002 instead of below 0.001."""
    observed = {"stable": 5_172, "canary": 4_828, "retired": 0, "planned": 0}
    weights = {"stable": 0.5, "canary": 0.5, "retired": 0.0, "planned": 0.0}
    test = sample_ratio(observed, weights)
    assert test is not None
    statistic = 2 * 172**2 / 5_000
    assert (test.statistic, test.df) == (pytest.approx(statistic), 1)
    assert test.p == pytest.approx(stats.chi2.sf(statistic, 1))
    assert test.p < 0.001 < stats.chi2.sf(statistic, 3)
