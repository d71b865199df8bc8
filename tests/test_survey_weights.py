"""Weights for who answers: what they repair, what their interval promises, and their variance by two other ways."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import optimize

from analysis.survey.weights import MOST_WEIGHT, RIDGE, Patterns, answering, weighted_mean
from tests.surveys import survey


def test_the_logit_is_that_of_statsmodels_but_for_the_ridge() -> None:
    s = survey(1, n=20_000)
    patterns = Patterns.from_codes(s.codes)
    n = len(patterns.design)
    beta = answering(patterns, np.bincount(patterns.of, minlength=n), np.bincount(patterns.of[s.answered], minlength=n))
    fit = sm.Logit(s.answered.astype(float), patterns.design[patterns.of]).fit(disp=0)
    assert beta == pytest.approx(fit.params, abs=0.005)


def test_the_ridge_is_a_penalty_on_all_but_the_constant() -> None:
    s = survey(2, n=300)
    patterns = Patterns.from_codes(s.codes)
    x = patterns.design[patterns.of]

    def loss(b: np.ndarray) -> float:
        eta = x @ b
        return float((np.logaddexp(0, eta) - s.answered * eta).sum() + RIDGE / 2 * (b[1:] ** 2).sum())

    n = len(patterns.design)
    beta = answering(patterns, np.bincount(patterns.of, minlength=n), np.bincount(patterns.of[s.answered], minlength=n))
    assert beta == pytest.approx(optimize.minimize(loss, np.zeros(x.shape[1]), tol=1e-10).x, abs=1e-4)


def test_a_level_of_which_nobody_answered_is_no_infinity() -> None:
    code = np.repeat([0, 1], [200, 50])
    answered = (np.arange(250) % 3 == 0) & (code == 0)
    found = weighted_mean(Patterns.from_codes([code]), np.arange(250), answered * 4.0, answered.astype(float))
    assert found.sample.mean == pytest.approx(4.0)
    assert np.isfinite(found.sample.var)


def test_without_covariates_it_is_the_plain_mean() -> None:
    rng = np.random.default_rng(3)
    d = (rng.random(5_000) < 0.2).astype(float)
    y = rng.normal(3, 1, 5_000) * d
    found = weighted_mean(Patterns.from_codes([np.zeros(5_000, dtype=np.int64)]), np.arange(5_000), y, d)
    own = y[d > 0]
    assert found.sample.mean == pytest.approx(own.mean())
    assert found.design_effect == pytest.approx(1.0)
    assert found.sample.mean_var == pytest.approx(own.var(ddof=1) / len(own), rel=0.01)


def test_no_answer_speaks_for_more_than_ten() -> None:
    code = np.repeat([0, 1], [10_000, 10_000])
    answered = np.zeros(20_000, dtype=bool)
    answered[:2_000] = True
    answered[10_000:10_003] = True
    y = np.where(code == 1, 1.0, 5.0) * answered
    found = weighted_mean(Patterns.from_codes([code]), np.arange(20_000), y, answered.astype(float))
    rate, most = 2_003 / 20_000, MOST_WEIGHT / (2_003 / 20_000)
    w0 = 5.0
    share = 3 * most / (3 * most + 2_000 * w0)
    assert rate < 0.11
    assert found.sample.mean == pytest.approx(5 - 4 * share, rel=0.01)


def test_the_variance_is_the_bootstraps() -> None:
    s = survey(4, n=3_000)
    arm = np.flatnonzero(s.treated)
    rng = np.random.default_rng(5)

    def mean(who: np.ndarray) -> float:
        d = s.answered[who].astype(float)
        return weighted_mean(Patterns.from_codes([c[who] for c in s.codes]), np.arange(len(who)), s.score[who] * d, d
                             ).sample.mean  # fmt: skip

    d = s.answered[arm].astype(float)
    own = weighted_mean(Patterns.from_codes([c[arm] for c in s.codes]), np.arange(len(arm)), s.score[arm] * d, d)
    drawn = [mean(rng.choice(arm, len(arm))) for _ in range(600)]
    assert own.sample.mean_var == pytest.approx(np.var(drawn, ddof=1), rel=0.15)


def test_the_variance_is_the_sandwich_with_numeric_derivatives() -> None:
    """All estimating equations in one function, differentiated by finite differences."""
    s = survey(6, n=2_000)
    arm = np.flatnonzero(s.treated)
    patterns = Patterns.from_codes([c[arm] for c in s.codes])
    x, r, y = patterns.design[patterns.of], s.answered[arm].astype(float), s.score[arm]
    own = weighted_mean(patterns, np.arange(len(arm)), y * r, r)
    n = len(patterns.design)
    beta = answering(patterns, np.bincount(patterns.of, minlength=n),
                     np.bincount(patterns.of[r > 0], minlength=n))  # fmt: skip
    theta = np.append(beta, own.sample.mean)
    ridge = np.full(len(beta), RIDGE) / len(arm)
    ridge[0] = 0

    def scores(t: np.ndarray) -> np.ndarray:
        p = 1 / (1 + np.exp(-x @ t[:-1]))
        return np.column_stack([x * (r - p)[:, None] - ridge * t[:-1], r / p * (y - t[-1])])

    eps = 1e-5
    a = np.column_stack([(scores(theta + eps * e).sum(0) - scores(theta - eps * e).sum(0)) / (2 * eps)
                         for e in np.eye(len(theta))])  # fmt: skip
    influence = scores(theta) @ np.linalg.inv(a).T
    assert own.sample.mean_var == pytest.approx((influence[:, -1] ** 2).sum(), rel=0.01)


def test_clusters_are_counted_as_one() -> None:
    rng = np.random.default_rng(7)
    unit = np.repeat(np.arange(300), 10)
    level = np.repeat(rng.normal(0, 1, 300), 10)
    d = (rng.random(3_000) < 0.3).astype(float)
    y = (3 + level) * d
    patterns = Patterns.from_codes([rng.integers(0, 3, 3_000)])
    alone = weighted_mean(patterns, np.arange(3_000), y, d)
    clustered = weighted_mean(patterns, np.arange(3_000), y, d, unit)
    assert clustered.sample.mean == pytest.approx(alone.sample.mean)
    assert clustered.sample.mean_var > 2 * alone.sample.mean_var


def test_bias_by_what_is_known_is_repaired() -> None:
    surveys = [survey(seed, n=20_000) for seed in range(40)]
    plain = np.mean([s.plain - s.truth for s in surveys])
    weighted = np.mean([s.effect().effect - s.truth for s in surveys])
    assert abs(plain) > 0.05
    assert abs(weighted) < 0.1 * abs(plain)


def test_bias_by_the_answer_itself_is_not() -> None:
    surveys = [survey(seed, n=10_000, on_answer=0.6) for seed in range(10)]
    left = [(s.effect().effect - s.truth) / (s.plain - s.truth) for s in surveys]
    assert np.mean(left) > 0.3, "which is why bounds and tipping point stand beside it"


@pytest.mark.slow
def test_intervals_cover() -> None:
    """The truth is the population's, not the draw's."""
    truth = np.mean([survey(1_000_000 + i, n=50_000).truth for i in range(20)])
    inside = 0
    for seed in range(400):
        low, high = survey(seed, n=2_000).effect().interval() or (0, 0)
        inside += low <= truth <= high
    assert 0.925 <= inside / 400 <= 0.975
