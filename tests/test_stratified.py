"""Strata of unequal shares: against R's HC2, by hand, and where pooling would confound."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.estimators import skewed, stratified
from analysis.estimators.stratified import Stratum
from analysis.lift import Effect, Sample, compare, log_ratio, mean_sample
from analysis.moments import FloatArray, IntArray, cells
from tests.test_clustered import STRATUM, TREATED, Y


def strata_of(y: FloatArray, treated: IntArray, stratum: IntArray) -> list[Stratum]:
    n = int(stratum.max()) + 1
    parts = [mean_sample(m) for m in cells(y, np.ones(len(y)), 2 * stratum + treated, 2 * n)]
    share = np.bincount(stratum) / len(y)
    return [Stratum(float(share[s]), parts[2 * s], parts[2 * s + 1]) for s in range(n)]


def test_figures_of_estimatr() -> None:
    """estimatr 1.0.0: lm_lin(y ~ t, covariates = ~ factor(s), se_type = "HC2"), whose degrees of freedom are n − 6."""
    found = stratified.compare(strata_of(Y, TREATED, STRATUM))
    assert (found.effect, found.se) == pytest.approx((0.00746846343620374, 0.71475464839097214), rel=1e-12)


def test_degrees_of_freedom_by_hand() -> None:
    """Terms 1/4·2/10, 1/4·3/5, 1/4·4/8 and 1/4·1/2 with 9, 4, 7 and 1 degrees of freedom."""
    found = stratified.compare(
        [
            Stratum(0.5, Sample(10, 1.0, 2.0), Sample(5, 2.0, 3.0)),
            Stratum(0.5, Sample(8, 4.0, 4.0), Sample(2, 6.0, 1.0)),
        ]
    )
    terms = 0.05, 0.15, 0.125, 0.125
    assert isinstance(found, Effect)
    assert found.effect == 1.5
    assert found.se == pytest.approx(math.sqrt(sum(terms)))
    assert found.df == pytest.approx(sum(terms) ** 2 / sum(v * v / n for v, n in zip(terms, (9, 4, 7, 1), strict=True)))


@given(st.integers(0, 2**32), st.integers(2, 40), st.integers(2, 40))
def test_one_stratum_is_welchs(seed: int, n_c: int, n_t: int) -> None:
    rng = np.random.default_rng(seed)
    y = np.exp(rng.normal(1, 1, n_c + n_t))
    treated = np.repeat([0, 1], [n_c, n_t])
    control, new = (mean_sample(m) for m in cells(y, np.ones(len(y)), treated, 2))
    (one,) = strata_of(y, treated, np.zeros(len(y), dtype=np.int64))
    plain, found = compare(control, new), stratified.compare([one])
    assert isinstance(found, Effect)
    assert (found.effect, found.se, found.df) == pytest.approx((plain.effect, plain.se, plain.df), rel=1e-9)
    lift, own = log_ratio(control, new), stratified.log_ratio([one])
    assert lift is not None
    assert own is not None
    assert (own.lift, own.low, own.high) == pytest.approx((lift.lift, lift.low, lift.high), rel=1e-9)
    for gamma in (0.0, 8.0):
        expected = skewed.compare(control, new, gamma)
        skew = stratified.compare([one], gamma)
        assert type(skew) is type(expected)
        assert skew.p == pytest.approx(expected.p, rel=1e-7)


def test_unequal_shares_do_not_confound() -> None:
    """10 % of a stratum at 1, 90 % of one at 9, nothing differs inside: pooled the new arm seems to gain 6.4."""
    stratum = np.repeat([0, 1], 100)
    treated = np.concatenate([np.arange(100) < 10, np.arange(100) < 90]).astype(np.int64)
    y = np.where(stratum == 1, 9.0, 1.0) + np.tile([0.0, 0.1], 100)
    assert y[treated == 1].mean() - y[treated == 0].mean() == pytest.approx(6.4)
    found = stratified.compare(strata_of(y, treated, stratum))
    assert found.effect == pytest.approx(0.0, abs=1e-12)
    assert found.p == pytest.approx(1.0)


def test_skew_of_uneven_strata_of_opposite_shares_cancels() -> None:
    """10 % and 90 % in two strata of one size and weight: what one leaves the other takes away."""
    a, b = Sample(90, 1.0, 1.0), Sample(10, 1.0, 1.0)
    assert stratified.uneven([Stratum(0.5, a, b), Stratum(0.5, b, a)]) == pytest.approx(0.0, abs=1e-15)
    assert stratified.uneven([Stratum(0.5, a, b), Stratum(0.5, a, b)]) > 0


def test_nothing_varies_and_no_ratio() -> None:
    flat = Stratum(1.0, Sample(3, 2.0, 0.0), Sample(3, 2.0, 0.0))
    assert (stratified.compare([flat]).se, stratified.compare([flat]).p) == (0.0, None)
    assert stratified.log_ratio([flat]) is None
    assert stratified.log_ratio([Stratum(1.0, Sample(3, -1.0, 1.0), Sample(3, 2.0, 1.0))]) is None
