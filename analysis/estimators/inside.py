"""Two arms of units drawn inside clusters, strata or both, from arrays with an element per unit (or per person).

With clusters CR2 (`analysis.estimators.clustered`), strata or not; with strata alone Welch's over their differences
(`analysis.estimators.stratified`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from analysis.estimators import clustered, cuped, skewed, stratified
from analysis.estimators.clustered import ClusterSums
from analysis.estimators.stratified import Stratum
from analysis.lift import Comparison, Lift, mean_sample, ratio_sample
from analysis.moments import FloatArray, IntArray, Moments, cells

LEAST_IN_STRATUM = 2  # units of each arm; with fewer nothing tells how they vary


@dataclass(frozen=True, slots=True)
class Nested:
    """The arms' figures, adjusted for strata, and what they differ by; ``control_var`` is the control figure's."""

    control: float
    treated: float
    effect: Comparison
    lift: Lift | None
    control_var: float | None


@dataclass(frozen=True, slots=True, eq=False)
class Nesting:
    """Of each unit its arm (1: treated), and its cluster and stratum, numbers ≥ 0, where there are such."""

    treated: IntArray
    cluster: IntArray | None = None
    stratum: IntArray | None = None

    def told(self, d: FloatArray) -> npt.NDArray[np.bool_]:
        """Which units are in a stratum of which both arms can be told: two units in each, one with clusters.

        Args:
            d: the denominator of each.
        """
        if self.stratum is None:
            return np.ones(len(d), dtype=bool)
        n = int(self.stratum.max(initial=-1)) + 1
        cell = 2 * self.stratum + self.treated
        least = LEAST_IN_STRATUM if self.cluster is None else 1
        units = np.bincount(cell, minlength=2 * n).reshape(-1, 2).min(axis=1) >= least
        below = np.bincount(cell, weights=d, minlength=2 * n).reshape(-1, 2).min(axis=1) > 0
        found: npt.NDArray[np.bool_] = (units & below)[self.stratum]
        return found

    def of(self, who: npt.NDArray[np.bool_] | IntArray) -> Nesting:
        """The same of some of them."""
        return Nesting(
            self.treated[who],
            None if self.cluster is None else self.cluster[who],
            None if self.stratum is None else self.stratum[who],
        )


def compare(
    y: FloatArray, d: FloatArray, nesting: Nesting, *, skew: bool = False, lift: bool = True, alpha: float = 0.05
) -> Nested | None:
    """Σ_s w_s·(Σy/Σd of the one arm − Σy/Σd of the other); None where no stratum has both.

    Args:
        y: numerator per unit, shape (units,).
        d: denominator per unit, shape (units,).
        nesting: some of both arms.
        skew: correct sums for skew, where units were drawn inside strata alone.
        lift: give the lift too, with its interval at level 1 − alpha.
    """
    kept = nesting.told(d)
    if not kept.all():
        y, d, nesting = y[kept], d[kept], nesting.of(kept)
    if len(y) == 0 or np.bincount(nesting.treated, weights=d, minlength=2).min() <= 0:
        return None
    if nesting.cluster is not None:
        sums = ClusterSums.of(y, d, nesting.treated, nesting.cluster, nesting.stratum)
        effect, own = clustered.compare(sums), clustered.spread(sums, (1.0, 0.0))
        ratio = clustered.log_ratio(sums, alpha=alpha) if lift else None
        return Nested(effect.control, effect.treated, effect, ratio, None if own is None else own.var)
    parts, plain = _cells(y, d, nesting), bool((d == 1).all())
    strata = _strata(parts, plain=plain)
    gamma = skewed.skewness(*(m for pair in parts for m in pair)) if skew and plain else 0.0
    found = stratified.compare(strata, gamma)
    ratio = stratified.log_ratio(strata, alpha=alpha) if lift else None
    return Nested(found.control, found.treated, found, ratio, stratified.control_var(strata))


def less_known(y: FloatArray, d: FloatArray, x: FloatArray, nesting: Nesting) -> FloatArray | None:
    """y less what was known before (CUPED), θ from inside the strata; None where that says nothing.

    Args:
        y: numerator per unit, shape (units,).
        d: denominator per unit, more than 0, shape (units,).
        x: the covariate, NaN of a unit without history, shape (units,).
        nesting: two units or more of each arm.
    """
    history = ~np.isnan(x)
    filled = np.where(history, x, 0.0)
    group = np.zeros(len(y), dtype=np.int64) if nesting.stratum is None else nesting.stratum
    known = [_centred(of, d, group) for of in (filled, history.astype(np.float64))]
    columns = np.stack([y / d, *known], axis=1)
    late = nesting.treated == 1
    arms = [cuped.CovariateMoments.of(columns[arm]) for arm in (~late, late)]
    left = cuped.residuals(columns, arms[0], arms[1])
    if np.allclose(left, columns[:, 0], rtol=1e-9, atol=0.0):
        return None
    found: FloatArray = left * d
    return found


def _cells(y: FloatArray, d: FloatArray, nesting: Nesting) -> list[tuple[Moments, Moments]]:
    """The moments of (control, treated) of each stratum."""
    if nesting.stratum is None:
        raise ValueError("neither clusters nor strata")
    n = int(nesting.stratum.max()) + 1
    parts = cells(y, d, 2 * nesting.stratum + nesting.treated, 2 * n)
    return [(parts[2 * s], parts[2 * s + 1]) for s in range(n) if parts[2 * s].n]


def _strata(parts: Sequence[tuple[Moments, Moments]], *, plain: bool) -> list[Stratum]:
    make = mean_sample if plain else ratio_sample
    below = math.fsum(m.d for pair in parts for m in pair)
    return [Stratum((c.d + t.d) / below, make(c), make(t)) for c, t in parts]


def _centred(x: FloatArray, d: FloatArray, group: IntArray) -> FloatArray:
    """x less its mean in the group, weighted by d."""
    below = np.bincount(group, weights=d)
    mean = np.bincount(group, weights=d * x) / np.where(below > 0, below, 1.0)
    found: FloatArray = x - mean[group]
    return found
