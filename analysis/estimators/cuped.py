"""How much of the noise was there before? CUPED: the figure adjusted by what was known of each unit beforehand.

Deng, Xu, Kohavi & Walker 2013, "Improving the Sensitivity of Online Controlled Experiments by Utilizing
Pre-Experiment Data"; for ratios Deng, Knoblich & Lu 2018 (arXiv 1803.06336). θ is of both arms joined as one sample.

The pooled mean of X cancels in the difference. The lift of the samples takes it as known, which shows from lifts of
about 50 % at a correlation of 0.9: too narrow where the effect is the same for all, too wide where it is proportional.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from analysis.lift import Sample
from analysis.moments import FloatArray

# As in analysis.lift: a variance smaller than this share of its own terms is their rounding.
_ROUNDING = 1e-12
_REPEATED = 1e-10  # of correlations: a direction that varies less repeats another covariate


@dataclass(frozen=True, slots=True, eq=False)
class CovariateMoments:
    """Count, sums (k,) and cross-products (k, k) of k columns over units; they add with ``+``."""

    n: int
    sums: FloatArray
    products: FloatArray

    @classmethod
    def of(cls, columns: FloatArray) -> CovariateMoments:
        """Of an array of shape (units, k)."""
        values = np.asarray(columns, dtype=np.float64)
        return cls(len(values), np.asarray(values.sum(axis=0)), np.asarray(values.T @ values))

    def __add__(self, other: CovariateMoments) -> CovariateMoments:
        return CovariateMoments(self.n + other.n, self.sums + other.sums, self.products + other.products)

    @property
    def mean(self) -> FloatArray:
        """Mean of each column, shape (k,)."""
        return self.sums / self.n

    @property
    def covariance(self) -> FloatArray:
        """Sample covariance, shape (k, k)."""
        return (self.products - np.outer(self.sums, self.sums) / self.n) / (self.n - 1)


def adjusted_means(control: CovariateMoments, treated: CovariateMoments) -> tuple[Sample, Sample]:
    """The two arms' means of y less what the covariates explain; V = V_Y + θ'V_Xθ − 2θ'cov.

    Columns are y, then covariates: X (0 without a history) and whether there is a history. A covariate that does not
    vary, or repeats another, is passed over; with none left the samples are the plain ones. Needs two units an arm.
    """
    pooled = control + treated
    theta = _theta(pooled)
    gradient = np.concatenate([[1.0], -theta])
    return _sample(control, pooled, theta, gradient), _sample(treated, pooled, theta, gradient)


def residuals(columns: FloatArray, control: CovariateMoments, treated: CovariateMoments) -> FloatArray:
    """Each unit's y less what the covariates explain, shape (units,): what `adjusted_means` are means of, but for a
    constant that is the same for all.

    Args:
        columns: of any units, shape (units, k), as the moments are of.
    """
    return columns[:, 0] - columns[:, 1:] @ _theta(control + treated)


def adjusted_ratios(control: CovariateMoments, treated: CovariateMoments) -> tuple[Sample, Sample]:
    """The two arms' ratios ΣM/ΣD less what the same ratio explains from before.

    Columns are M and D of now, then M and D of before, per unit; gradient (1/D̄y, −M̄y/D̄y², −θ/D̄x, θ·M̄x/D̄x²) over the
    4×4 covariance. θ is the regression of the linearised ratios of both arms joined; where an arm has no denominator
    before, or the ratio did not vary, the samples are the plain ones. Needs two units and some D of now in each arm.
    """
    pooled = control + treated
    theta = _ratio_theta(pooled) if min(control.sums[3], treated.sums[3]) > 0 else 0.0
    made = []
    for arm in (control, treated):
        m = arm.mean
        figure, gradient = m[0] / m[1], np.concatenate([_linear(m[:2]), np.zeros(2)])
        if theta != 0:
            figure -= theta * (m[2] / m[3] - pooled.mean[2] / pooled.mean[3])
            gradient[2:] = -theta * _linear(m[2:])
        made.append(Sample(arm.n, float(figure), _variance(gradient, arm)))
    return made[0], made[1]


def explains(adjusted: tuple[Sample, Sample], plain: tuple[Sample, Sample]) -> bool:
    """Whether the covariate said anything: with θ = 0 the adjusted samples are the plain ones, but for rounding."""
    return any(not math.isclose(a.mean, b.mean, rel_tol=1e-9) for a, b in zip(adjusted, plain, strict=True))


def _linear(mean: FloatArray) -> FloatArray:
    """The gradient of M̄/D̄."""
    return np.array([1 / mean[1], -mean[0] / mean[1] ** 2])


def _theta(pooled: CovariateMoments) -> FloatArray:
    covariance = pooled.covariance
    variances = np.diag(covariance)[1:]
    theta = np.zeros(len(variances))
    kept = np.flatnonzero(variances > _ROUNDING * np.diag(pooled.products)[1:] / pooled.n)
    if len(kept):
        # On correlations, so that the unit of a covariate (cents, millions) decides nothing.
        scale = np.sqrt(variances[kept])
        inner = covariance[1:, 1:][np.ix_(kept, kept)] / np.outer(scale, scale)
        theta[kept] = np.linalg.lstsq(inner, covariance[1:, 0][kept] / scale, rcond=_REPEATED)[0] / scale
    return theta


def _ratio_theta(pooled: CovariateMoments) -> float:
    now = np.concatenate([_linear(pooled.mean[:2]), np.zeros(2)])
    before = np.concatenate([np.zeros(2), _linear(pooled.mean[2:])])
    spread = _variance(before, pooled)
    return float(now @ pooled.covariance @ before) / spread if spread > 0 else 0.0


def _sample(arm: CovariateMoments, pooled: CovariateMoments, theta: FloatArray, gradient: FloatArray) -> Sample:
    mean = arm.mean[0] - theta @ (arm.mean[1:] - pooled.mean[1:])
    return Sample(arm.n, float(mean), _variance(gradient, arm))


def _variance(gradient: FloatArray, arm: CovariateMoments) -> float:
    var = float(gradient @ arm.covariance @ gradient)
    scale = float((gradient**2) @ np.diag(arm.products)) / arm.n
    return var if var > _ROUNDING * scale else 0.0
