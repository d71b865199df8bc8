"""CUPED: published vectors, the same by unit arrays in numpy, exact re-aggregation, and coverage."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from analysis.estimators.cuped import CovariateMoments, adjusted_means, adjusted_ratios
from analysis.lift import Sample, compare, log_ratio

HILLSTROM = Path(__file__).resolve().parents[2] / "shared" / "data" / "hillstrom.csv"
needs_hillstrom = pytest.mark.skipif(not HILLSTROM.is_file(), reason="the Hillstrom data is not here")

Arms = tuple[np.ndarray, np.ndarray]


def means(arms: Arms) -> tuple[Sample, Sample]:
    return adjusted_means(CovariateMoments.of(arms[0]), CovariateMoments.of(arms[1]))


def ratios(arms: Arms) -> tuple[Sample, Sample]:
    return adjusted_ratios(CovariateMoments.of(arms[0]), CovariateMoments.of(arms[1]))


def money(seed: int, known: float = 1.0, sizes: tuple[int, int] = (700, 300), unit: float = 1.0) -> Arms:
    """Columns y, X, known: what was spent before explains much; the unknown have X = 0 and another level."""
    rng = np.random.default_rng(seed)
    made = []
    for n, shift in zip(sizes, (0.0, 0.7), strict=True):
        there = (rng.random(n) < known).astype(float)
        x = there * rng.gamma(2.0, 10.0, n)
        made.append(np.column_stack([5 + shift + 3 * there + 0.8 * x + rng.normal(0, 4, n), x * unit, there]))
    return made[0], made[1]


def per_head(seed: int, n: int = 500) -> Arms:
    """Columns M, D, M before, D before, of people with a level of their own; a fifth were not there before."""
    rng = np.random.default_rng(seed)
    made = []
    for lift in (1.0, 1.1):
        level = rng.normal(10, 2, n)
        d, before = rng.poisson(3, n) + 1.0, np.where(rng.random(n) < 0.2, 0.0, rng.poisson(4, n) + 1.0)
        m = d * level * lift + rng.normal(0, 1, n)
        made.append(np.column_stack([m, d, before * level + (before > 0) * rng.normal(0, 1, n), before]))
    return made[0], made[1]


def by_regression(arms: Arms) -> list[np.ndarray]:
    """y per unit of each arm less what least squares of both arms joined explains, centred on the joined means."""
    joined = np.concatenate(arms)
    design = np.column_stack([np.ones(len(joined)), joined[:, 1:]])
    theta = np.linalg.lstsq(design, joined[:, 0], rcond=None)[0][1:]
    return [a[:, 0] - (a[:, 1:] - joined[:, 1:].mean(axis=0)) @ theta for a in arms]


def linear(part: np.ndarray, about: np.ndarray) -> np.ndarray:
    """Per unit, the ratio of sums linearised about the ratio of ``about``: (M − R·D)/D̄."""
    return (part[:, 0] - about[:, 0].sum() / about[:, 1].sum() * part[:, 1]) / about[:, 1].mean()


def same(found: tuple[Sample, Sample], wanted: list[np.ndarray], rel: float = 1e-9) -> None:
    for sample, y in zip(found, wanted, strict=True):
        assert sample.n == len(y)
        assert sample.mean == pytest.approx(y.mean(), rel=rel)
        assert sample.var == pytest.approx(y.var(ddof=1), rel=rel)


@needs_hillstrom
def test_hillstrom() -> None:
    data = pd.read_csv(HILLSTROM)
    none, mens = (
        data.loc[data["segment"] == arm, ["spend", "history"]].to_numpy() for arm in ("No E-Mail", "Mens E-Mail")
    )
    samples = means((none, mens))
    effect, lift = compare(*samples), log_ratio(*samples)
    theta = (mens[:, 0].mean() - samples[1].mean) / (mens[:, 1].mean() - np.concatenate([none, mens])[:, 1].mean())
    assert f"{theta:.8f}" == "0.00122290"
    assert f"{effect.effect:.8f}" == "0.76743850"
    assert f"{effect.se:.8f}" == "0.14521504"
    assert [f"{x:.8f}" for x in effect.interval() or ()] == ["0.48281285", "1.05206415"]
    assert f"{effect.p:.4e}" == "1.2653e-07"
    assert lift is not None
    assert [f"{x:.8f}" for x in (lift.lift, lift.low, lift.high)] == ["1.17348259", "0.62459782", "1.90781294"]


@pytest.mark.parametrize("seed", range(5))
def test_means_by_unit_arrays(seed: int) -> None:
    arms = money(seed)
    same(means((arms[0][:, :2], arms[1][:, :2])), by_regression((arms[0][:, :2], arms[1][:, :2])))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("unit", [1e-8, 1.0, 1e7])
def test_units_without_history_have_an_indicator_whatever_the_currency(seed: int, unit: float) -> None:
    found = means(money(seed, known=0.6, unit=unit))
    same(found, by_regression(money(seed, known=0.6)))


def test_degrees_of_freedom_are_welchs() -> None:
    arms = money(1)
    wanted = stats.ttest_ind(*reversed(by_regression((arms[0][:, :2], arms[1][:, :2]))), equal_var=False)
    effect = compare(*means((arms[0][:, :2], arms[1][:, :2])))
    assert effect.df == pytest.approx(wanted.df, rel=1e-9)
    assert effect.p == pytest.approx(wanted.pvalue, rel=1e-8)


def test_what_was_known_before_narrows_the_interval() -> None:
    arms = money(2)
    found = means(arms)
    for sample, arm in zip(found, arms, strict=True):
        explained = np.corrcoef(arm[:, 0], arm[:, 1])[0, 1] ** 2
        assert explained > 0.8
        assert sample.var == pytest.approx(arm[:, 0].var(ddof=1) * (1 - explained), rel=0.01)


class TestCovariatesThatSayNothing:
    @pytest.mark.parametrize("constant", [0.0, 3.0, 123_456.789])
    def test_one_that_does_not_vary_leaves_the_plain_samples(self, constant: float) -> None:
        arms = tuple(np.column_stack([a[:, 0], np.full(len(a), constant)]) for a in money(3))
        same(means((arms[0], arms[1])), [a[:, 0] for a in arms])

    def test_everybody_has_a_history(self) -> None:
        arms = money(4)
        assert set(arms[0][:, 2]) == {1.0}
        same(means(arms), by_regression((arms[0][:, :2], arms[1][:, :2])))

    def test_one_that_repeats_another(self) -> None:
        arms = money(5)
        twice = tuple(np.column_stack([a[:, :2], 100 * a[:, 1]]) for a in arms)
        same(means((twice[0], twice[1])), by_regression((arms[0][:, :2], arms[1][:, :2])), rel=1e-7)

    @pytest.mark.parametrize("arm", [0, 1])
    def test_an_arm_without_anything_before_leaves_the_plain_ratios(self, arm: int) -> None:
        arms = per_head(6)
        arms[arm][:, 2:] = 0.0
        for sample, a in zip(ratios(arms), arms, strict=True):
            assert sample.mean == pytest.approx(a[:, 0].sum() / a[:, 1].sum(), rel=1e-12)
            assert sample.var == pytest.approx(linear(a, a).var(ddof=1), rel=1e-9)

    def test_a_ratio_that_did_not_vary_before(self) -> None:
        arms = per_head(7)
        for a in arms:
            a[:, 2] = 2.5 * a[:, 3]
        for sample, a in zip(ratios(arms), arms, strict=True):
            assert sample.mean == pytest.approx(a[:, 0].sum() / a[:, 1].sum(), rel=1e-12)
            assert sample.var == pytest.approx(linear(a, a).var(ddof=1), rel=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_ratios_by_linearised_units(seed: int) -> None:
    arms = per_head(seed)
    joined = np.concatenate(arms)
    now, before = linear(joined[:, :2], joined[:, :2]), linear(joined[:, 2:], joined[:, 2:])
    theta = np.cov(now, before)[0, 1] / before.var(ddof=1)
    assert theta > 0.1
    for sample, a in zip(ratios(arms), arms, strict=True):
        moved = a[:, 2].sum() / a[:, 3].sum() - joined[:, 2].sum() / joined[:, 3].sum()
        assert sample.mean == pytest.approx(a[:, 0].sum() / a[:, 1].sum() - theta * moved, rel=1e-10)
        residual = linear(a[:, :2], a[:, :2]) - theta * linear(a[:, 2:], a[:, 2:])
        assert sample.var == pytest.approx(residual.var(ddof=1), rel=1e-9)
        assert sample.var < 0.95 * linear(a[:, :2], a[:, :2]).var(ddof=1)


def test_ratios_with_one_each_are_means() -> None:
    arms = money(8)
    ones = tuple(np.column_stack([a[:, 0], np.ones(len(a)), a[:, 1], np.ones(len(a))]) for a in arms)
    same(ratios((ones[0], ones[1])), by_regression((arms[0][:, :2], arms[1][:, :2])))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(*[st.integers(-1_000, 1_000)] * 3, st.integers(0, 6)), min_size=2, max_size=60),
    st.permutations(range(7)),
)
def test_days_add_up_exactly(rows: list[tuple[int, int, int, int]], order: list[int]) -> None:
    """Whole numbers (cents, answers) to the last bit, whatever the days and the order in which they are added."""
    values = np.array([r[:3] for r in rows], dtype=float)
    day = np.array([r[3] for r in rows])
    whole = CovariateMoments.of(values)
    parts = [CovariateMoments.of(values[day == d]) for d in order]
    added = parts[0]
    for part in parts[1:]:
        added = added + part
    assert added.n == whole.n == len(rows)
    assert (added.sums == whole.sums).all()
    assert (added.products == whole.products).all()
    assert whole.covariance == pytest.approx(np.cov(values, rowvar=False, ddof=1), rel=1e-9, abs=1e-6)


def test_samples_are_those_of_any_split() -> None:
    arms = money(9, known=0.7)
    split = [
        CovariateMoments.of(a[::3]) + CovariateMoments.of(a[1::3]) + CovariateMoments.of(a[2::3]) for a in arms
    ]  # fmt: skip
    for whole, parts in zip(means(arms), adjusted_means(split[0], split[1]), strict=True):
        assert parts.mean == pytest.approx(whole.mean, rel=1e-12)
        assert parts.var == pytest.approx(whole.var, rel=1e-10)


def test_a_covariate_that_explains_all_leaves_no_variance() -> None:
    arms = tuple(np.column_stack([2 + 3 * a[:, 1], a[:, 1]]) for a in money(10))
    found = means((arms[0], arms[1]))
    assert [s.var for s in found] == [0.0, 0.0]
    assert found[0].mean == pytest.approx(found[1].mean, rel=1e-12)


@pytest.mark.parametrize("known", [1.0, 0.6])
def test_intervals_of_means_cover(known: float) -> None:
    """1,000 data sets of 120 and 180 units; the true difference is 0.7."""
    truth = 5 + 3 * known + 0.8 * 20 * known
    absolute = relative = 0
    for seed in range(1_000):
        samples = means(money(10_000 + seed, known, (120, 180)))
        low, high = compare(*samples).interval() or (0.0, 0.0)
        lift = log_ratio(*samples)
        absolute += low <= 0.7 <= high
        relative += lift is not None and lift.low <= 0.7 / truth <= lift.high
    assert 930 <= absolute <= 970
    assert 930 <= relative <= 970


def test_intervals_of_ratios_cover() -> None:
    """1,000 data sets of 150 people an arm; the true ratios are 10 and 11."""
    absolute = relative = 0
    for seed in range(1_000):
        samples = ratios(per_head(20_000 + seed, 150))
        low, high = compare(*samples).interval() or (0.0, 0.0)
        lift = log_ratio(*samples)
        absolute += low <= 1.0 <= high
        relative += lift is not None and lift.low <= 0.1 <= lift.high
    assert 930 <= absolute <= 970
    assert 930 <= relative <= 970
