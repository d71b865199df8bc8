"""The effect and its interval: published figures, another library, and mistakes that others shipped."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tea_tasting as tt
from scipy import stats

from analysis.lift import Sample, compare, log_ratio, mean_sample, nps_sample, proportion_sample, ratio_sample
from analysis.moments import Moments, cells, total

HILLSTROM = Path(__file__).parents[1].parent / "shared" / "data" / "hillstrom.csv"
needs_hillstrom = pytest.mark.skipif(not HILLSTROM.is_file(), reason="hillstrom.csv is not here")


def moments(y: np.ndarray, d: np.ndarray | None = None) -> Moments:
    y = np.asarray(y, dtype=float)
    return total(cells(y, np.ones(len(y)) if d is None else np.asarray(d, float), np.zeros(len(y), np.int64), 1))


@pytest.fixture(scope="module")
def hillstrom() -> dict[str, pd.DataFrame]:
    frame = pd.read_csv(HILLSTROM)
    return {"none": frame[frame["segment"] == "No E-Mail"], "mens": frame[frame["segment"] == "Mens E-Mail"]}


@needs_hillstrom
def test_hillstrom_spend(hillstrom: dict[str, pd.DataFrame]) -> None:
    none, mens = (mean_sample(moments(hillstrom[arm]["spend"].to_numpy())) for arm in ("none", "mens"))
    effect, lift = compare(none, mens), log_ratio(none, mens)
    assert (none.n, mens.n) == (21_306, 21_307)
    assert f"{effect.effect:.8f}" == "0.76982716"
    assert f"{effect.se:.8f}" == "0.14524656"
    assert effect.interval() is not None
    assert [f"{x:.8f}" for x in effect.interval() or ()] == ["0.48513973", "1.05451458"]
    assert f"{effect.p:.4e}" == "1.1638e-07"
    assert lift is not None
    assert [f"{x:.8f}" for x in (lift.lift, lift.low, lift.high)] == ["1.17928877", "0.62843211", "1.91648606"]


@needs_hillstrom
def test_hillstrom_spend_per_visit(hillstrom: dict[str, pd.DataFrame]) -> None:
    none, mens = (
        ratio_sample(moments(hillstrom[arm]["spend"].to_numpy(), hillstrom[arm]["visit"].to_numpy()))
        for arm in ("none", "mens")
    )
    effect, lift = compare(none, mens), log_ratio(none, mens)
    assert f"{effect.effect:.8f}" == "1.63551690"
    assert f"{effect.se:.8f}" == "0.98714052"
    assert [f"{x:.8f}" for x in effect.interval() or ()] == ["-0.29929868", "3.57033248"]
    assert f"{effect.p:.8f}" == "0.09756277"
    assert lift is not None
    assert [f"{x:.8f}" for x in (lift.lift, lift.low, lift.high)] == ["0.26599450", "-0.05020263", "0.68745684"]


def test_udacity_landing_page() -> None:
    """17,489 of 145,274 against 17,264 of 145,310: z = 1.3109, p = 0.1899."""
    old = proportion_sample(Moments(145_274, 17_489, 17_489, 145_274, 145_274, 17_489))
    new = proportion_sample(Moments(145_310, 17_264, 17_264, 145_310, 145_310, 17_264))
    effect = compare(old, new)
    assert effect.se is not None
    assert f"{-effect.effect / effect.se:.4f}" == "1.3109"
    assert f"{effect.p:.4f}" == "0.1899"


def random_data(seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(20, 800))
    variant = (rng.random(n) < rng.uniform(0.15, 0.85)).astype(int)
    variant[:2], variant[2:4] = 0, 1
    zeros = rng.random(n) < rng.uniform(0, 0.7)
    y = np.where(zeros, 0.0, rng.gamma(rng.uniform(0.3, 3), rng.uniform(0.5, 40), n)) * (1 + 0.2 * variant)
    y[:4] = 1.0
    answers = rng.integers(1, 5, n)
    return pd.DataFrame({"variant": variant, "y": y, "m": answers * rng.uniform(1, 5, n), "d": answers})


@pytest.mark.parametrize("seed", range(50))
def test_agrees_with_tea_tasting(seed: int) -> None:
    data = random_data(seed)
    theirs = tt.Experiment(mean=tt.Mean("y"), ratio=tt.RatioOfMeans("m", "d")).analyze(data)
    arms = [data[data["variant"] == arm] for arm in (0, 1)]
    means = [mean_sample(moments(arm["y"].to_numpy())) for arm in arms]
    ratios = [ratio_sample(moments(arm["m"].to_numpy(), arm["d"].to_numpy())) for arm in arms]
    for name, (control, treated) in (("mean", means), ("ratio", ratios)):
        ours, lift, other = compare(control, treated), log_ratio(control, treated), theirs[name]
        low, high = ours.interval() or (None, None)
        assert lift is not None
        mine = (ours.control, ours.treated, ours.effect, low, high, ours.p, lift.lift, lift.low, lift.high)
        reference = (
            other.control, other.treatment, other.effect_size, other.effect_size_ci_lower, other.effect_size_ci_upper,
            other.pvalue, other.rel_effect_size, other.rel_effect_size_ci_lower, other.rel_effect_size_ci_upper,
        )  # fmt: skip
        assert mine == pytest.approx(reference, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("seed", range(10))
def test_proportions_agree_with_tea_tasting_but_for_its_n_less_one(seed: int) -> None:
    rng = np.random.default_rng(seed)
    variant = rng.integers(0, 2, 400)
    y = (rng.random(400) < 0.2 + 0.1 * variant).astype(float)
    theirs = tt.Experiment(y=tt.Mean("y")).analyze(pd.DataFrame({"variant": variant, "y": y}))["y"]
    samples = [proportion_sample(moments(y[variant == arm])) for arm in (0, 1)]
    widened = [Sample(s.n, s.mean, s.var * s.n / (s.n - 1)) for s in samples]
    assert compare(*widened).p == pytest.approx(theirs.pvalue, rel=1e-9)
    assert compare(*samples).p < theirs.pvalue  # type: ignore[operator]


def test_a_ratio_with_one_answer_each_is_a_mean() -> None:
    y = np.array([1.0, 4, 5, 2, 2, 3])
    assert ratio_sample(moments(y)).var == pytest.approx(mean_sample(moments(y)).var, rel=1e-12)


def test_a_ratio_takes_a_persons_answers_together() -> None:
    """Ten people who each say the same five times are ten units, not fifty."""
    scores = np.array([1.0, 2, 3, 4, 5, 1, 2, 3, 4, 5])
    together = ratio_sample(moments(scores * 5, np.full(10, 5.0)))
    assert together.n == 10
    assert together.mean_var == pytest.approx(scores.var(ddof=1) / 10)


def test_promoter_score_variance() -> None:
    y = np.array([100.0] * 5 + [0.0] * 3 + [-100.0] * 2)
    sample = nps_sample(moments(y))
    assert sample.mean == pytest.approx(30)
    assert sample.var == pytest.approx(100**2 * (0.5 + 0.2 - (0.5 - 0.2) ** 2))


class TestMistakesThatOthersShipped:
    """Each of these was once in a released library or product."""

    def test_variances_are_added_and_p_has_two_sides(self) -> None:
        a, b = Sample(100, 10.0, 4.0), Sample(100, 10.5, 4.0)
        effect = compare(a, b)
        assert effect.se == pytest.approx(math.sqrt(4 / 100 + 4 / 100))
        assert effect.p == pytest.approx(stats.ttest_ind_from_stats(10, 2, 100, 10.5, 2, 100, equal_var=False).pvalue)
        assert compare(b, a).p == effect.p
        assert effect.p == pytest.approx(2 * stats.t.sf(0.5 / effect.se, effect.df))  # type: ignore[operator]

    def test_the_lift_remembers_that_the_control_varies_too(self) -> None:
        sure, unsure, new = Sample(100_000, 10.0, 4.0), Sample(50, 10.0, 400.0), Sample(100_000, 11.0, 4.0)
        narrow, wide = log_ratio(sure, new), log_ratio(unsure, new)
        assert narrow is not None
        assert wide is not None
        assert wide.high - wide.low > 50 * (narrow.high - narrow.low)

    def test_the_lift_excludes_nought_where_the_absolute_test_does(self) -> None:
        """The Wald interval of Hillstrom's lift says p = 2.7e-4 where the absolute test says 1.2e-7."""
        control, treated = Sample(21_306, 0.65279, 134.0), Sample(21_307, 1.42262, 314.0)
        lift, effect = log_ratio(control, treated), compare(control, treated)
        assert lift is not None
        assert effect.p is not None
        wald_se = math.sqrt(treated.mean_var / control.mean**2 + control.mean_var * treated.mean**2 / control.mean**4)
        wald_p = 2 * stats.norm.sf(lift.lift / wald_se)
        assert wald_p > 100 * effect.p
        assert lift.low > 0.5

    def test_a_share_of_units_and_its_variance_use_the_same_denominator(self) -> None:
        y = np.array([1.0, 0.0, 0.0, 0.0])
        share, ratio = proportion_sample(moments(y)), ratio_sample(moments(y))
        assert share.var == pytest.approx(0.1875)
        assert ratio.var == pytest.approx(0.25)

    def test_no_lift_on_a_figure_that_is_not_positive(self) -> None:
        some = Sample(50, 1.0, 1.0)
        for mean in (0.0, -2.0):
            assert log_ratio(Sample(50, mean, 1.0), some) is None
            assert log_ratio(some, Sample(50, mean, 1.0)) is None


def test_too_few_units_give_a_difference_and_nothing_more() -> None:
    effect = compare(Sample(1, 2.0, 0.0), Sample(40, 3.0, 1.0))
    assert (effect.effect, effect.se, effect.p, effect.interval()) == (1.0, None, None, None)


def test_a_tiny_sample_does_not_overflow_the_lift() -> None:
    lift = log_ratio(Sample(2, 1e-3, 1e6), Sample(2, 1.0, 1.0))
    assert lift is not None
    assert lift.high == math.inf
    assert lift.low == pytest.approx(-1.0)


@pytest.mark.parametrize("level", [0.05, 0.05 / 7, 0.001])
def test_the_interval_holds_nought_exactly_where_p_is_larger(level: float) -> None:
    for shift in np.linspace(0.0, 1.2, 49):
        effect = compare(Sample(30, 5.0, 3.0), Sample(45, 5.0 + shift, 2.0))
        low, high = effect.interval(level) or (0.0, 0.0)
        assert effect.p is not None
        assert (low <= 0 <= high) == (effect.p >= level)
