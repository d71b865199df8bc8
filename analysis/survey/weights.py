"""Who answers? A logit of answering on what is known of everybody, and the mean of answers weighted by it.

The variance includes that the weights are estimated: the scores of the logit and of the weighted mean are stacked
(Newey & McFadden 1994, section 6; Lunceford & Davidian 2004). Weights repair only what the covariates know.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis.frames import BoolArray
from analysis.lift import Sample
from analysis.moments import FloatArray, IntArray

RIDGE = 1.0  # as if each level had one answer more of the average kind: keeps a level without answers finite
MOST_WEIGHT = 10.0  # of the average weight; one answer never speaks for more
_STEPS, _CLOSE = 50, 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class Patterns:
    """Everybody's covariates as patterns: ``design`` has one row per pattern, the first column 1.

    Args:
        of: the pattern of each person, shape (people,).
        design: shape (patterns, columns).
    """

    of: IntArray
    design: FloatArray

    @classmethod
    def from_codes(cls, codes: Sequence[IntArray]) -> Patterns:
        """From categories, one array of codes ≥ 0 per covariate; each level but the most frequent gets a column."""
        n = len(codes[0]) if codes else 0
        key = np.zeros(n, dtype=np.int64)
        for code in codes:
            key = key * (int(code.max(initial=0)) + 1) + code
        _, first, of = np.unique(key, return_index=True, return_inverse=True)
        columns = [np.ones(len(first))]
        for code in codes:
            counts = np.bincount(code)
            base = int(counts.argmax()) if len(counts) else 0
            columns += [(code[first] == level).astype(np.float64) for level in np.flatnonzero(counts) if level != base]
        return cls(of.astype(np.int64), np.stack(columns, axis=1))


@dataclass(frozen=True, slots=True)
class WeightedMean:
    """One arm's weighted mean: ``sample`` has n = the effective number of answers, so that its variance is the mean's.

    ``design_effect`` is how many times the variance of equal weights it has (Kish 1965): n / n_effective.
    """

    sample: Sample
    plain: float
    n_effective: float
    design_effect: float


def answering(patterns: Patterns, entered: IntArray, answered: IntArray) -> FloatArray:
    """The logit's coefficients, by Newton's method with a ridge on all but the constant.

    Args:
        entered: people per pattern, shape (patterns,).
        answered: those who answered, shape (patterns,).
    """
    x = patterns.design
    ridge = _ridge(x)
    rate = (answered.sum() + 0.5) / (entered.sum() + 1)
    beta = np.zeros(x.shape[1])
    beta[0] = math.log(rate / (1 - rate))
    for _ in range(_STEPS):
        p = _expit(x @ beta)
        score = x.T @ (answered - entered * p) - ridge * beta
        step = np.linalg.solve((x.T * (entered * p * (1 - p))) @ x + np.diag(ridge), score)
        beta = beta + step
        if float(np.abs(step).max()) < _CLOSE:
            break
    return beta


@dataclass(frozen=True, slots=True, eq=False)
class Answering:
    """One arm's logit of answering: arrays with an element per person; ``weight`` is 0 of those who did not."""

    patterns: Patterns
    pattern: IntArray
    answered: BoolArray
    p: FloatArray
    weight: FloatArray
    free: BoolArray
    """Whose weight follows the logit and is not cut."""
    information: FloatArray

    @classmethod
    def of(cls, patterns: Patterns, who: IntArray, d: FloatArray) -> Answering:
        """Of the arm's people, as `weighted_mean` takes them."""
        pattern, answered = patterns.of[who], d > 0
        n_patterns = len(patterns.design)
        entered = np.bincount(pattern, minlength=n_patterns)
        beta = answering(patterns, entered, np.bincount(pattern[answered], minlength=n_patterns))
        p_of = _expit(patterns.design @ beta)
        p = p_of[pattern]
        most = MOST_WEIGHT * len(who) / max(int(answered.sum()), 1)
        return cls(
            patterns,
            pattern,
            answered,
            p,
            np.minimum(1 / p, most) * answered,
            answered & (1 / p < most),
            (patterns.design.T * (entered * p_of * (1 - p_of))) @ patterns.design,
        )

    def pull(self, rest: FloatArray) -> FloatArray:
        """What each one's score is moved by, because the coefficients are estimated.

        The scores of the logit and of the weighted mean are stacked: what the estimated coefficients take from, or add
        to, each one's influence on Σ w·rest.

        Args:
            rest: of each person, the answers less the mean of as many, in the unit of the score.
        """
        design = self.patterns.design
        weights = -(self.weight - 1) * rest * self.free
        slope = design.T @ np.bincount(self.pattern, weights=weights, minlength=len(design))
        pull = np.linalg.solve(self.information + np.diag(_ridge(design)), slope)
        found: FloatArray = (design @ pull)[self.pattern] * (self.answered - self.p)
        return found


def weighted_mean(
    patterns: Patterns, who: IntArray, y: FloatArray, d: FloatArray, unit: IntArray | None = None
) -> WeightedMean:
    """One arm: Σ w·y / Σ w·d over those with d > 0, w = 1/P(answering), at most ten times the average.

    Args:
        who: the arm's people, as indexes into ``patterns.of``, shape (n,).
        y: the sum of each one's answers, shape (n,).
        d: how many answers each gave, shape (n,).
        unit: the cluster of each, shape (n,); None: each is its own.
    """
    fit = Answering.of(patterns, who, d)
    w = fit.weight
    mean = float(w @ y) / float(w @ d)
    rest = y - mean * d
    influence: FloatArray = w * rest + fit.pull(rest)
    if unit is not None:
        influence = np.bincount(unit, weights=influence).astype(np.float64)
    n = np.count_nonzero(influence) if unit is not None else len(who)
    var = float(influence @ influence) / float(w @ d) ** 2 * n / max(n - 1, 1)
    effective = float(w.sum()) ** 2 / float(w @ w)
    return WeightedMean(
        Sample(max(round(effective), 2), mean, var * max(round(effective), 2)),
        float(y.sum()) / float(d.sum()),
        effective,
        int(fit.answered.sum()) / effective,
    )


def _ridge(design: FloatArray) -> FloatArray:
    ridge = np.full(design.shape[1], RIDGE)
    ridge[0] = 0.0
    return ridge


def _expit(x: FloatArray) -> FloatArray:
    found: FloatArray = 1 / (1 + np.exp(-np.clip(x, -30, 30)))
    return found
