"""What would few zones have done? As the mix of the other zones that went like them before the start.

Synthetic control: weights w ≥ 0 with Σw = 1 that come nearest to the treated zones' figures of each period before; the
gap after the start is the effect (Abadie, Diamond & Hainmueller 2010, doi 10.1198/jasa.2009.ap08746). Its p is a rank:
in how many choices of as many untreated zones the gap grew at least as much beside how well the mix fitted before.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
from scipy.optimize import nnls

from analysis.frames import BoolArray
from analysis.moments import FloatArray

MOST_TREATED, LEAST_DONORS = 3, 8
LEAST_PERIODS = 6  # before the start; with fewer any mix fits
MOST_PLACEBOS = 500


@dataclass(frozen=True, slots=True, eq=False)
class SyntheticEffect:
    """The gap after the start; offers what `analysis.lift.Effect` does, without an interval."""

    control: float
    """The mix's figure after the start."""
    treated: float
    weights: FloatArray = field(repr=False)
    """Of each donor, shape (donors,)."""
    misfit: float
    """Root of the mean squared gap before the start."""
    p: float
    """The share of placebos, the actual one among them, whose gap grew as much."""
    placebos: int
    se: float | None = None

    @property
    def effect(self) -> float:
        """Mean gap over the periods since the start."""
        return self.treated - self.control

    def interval(self, alpha: float = 0.05) -> tuple[float, float] | None:  # noqa: ARG002
        """None: a rank of so few has none."""
        return None


def simplex_weights(donors: FloatArray, target: FloatArray) -> FloatArray:
    """The w ≥ 0, Σw = 1 that minimise |donors·w − target|.

    With Z = donors − target the least |Zw| over the simplex is, up to its length, the least |Zu|² + (Σu − 1)² over
    u ≥ 0, which non-negative least squares find without a penalty to choose.

    Args:
        donors: shape (periods, donors).
        target: shape (periods,).
    """
    gaps = donors - target[:, None]
    scale = float(np.abs(gaps).max()) or 1.0
    rows = np.vstack([gaps / scale, np.ones(donors.shape[1])])
    found, _ = nnls(rows, np.append(np.zeros(len(target)), 1.0))
    weights: FloatArray = found / found.sum()
    return weights


def synthetic_effect(rates: FloatArray, treated: BoolArray, first_after: int) -> SyntheticEffect | None:
    """The treated zones' mean beside the mix of the others; None where zones or periods are too few.

    Args:
        rates: figures of shape (zones, periods).
        treated: which zones have the new version since ``first_after``, shape (zones,).
        first_after: the first period with it.
    """
    k, others = int(np.count_nonzero(treated)), np.flatnonzero(~treated)
    after = rates.shape[1] - first_after
    if not 1 <= k <= MOST_TREATED or len(others) < LEAST_DONORS or first_after < LEAST_PERIODS or after < 1:
        return None
    own = _gap(rates, np.flatnonzero(treated), others, first_after)
    chosen = list(combinations(others.tolist(), k))
    if len(chosen) > MOST_PLACEBOS:
        rng = np.random.default_rng([len(treated), k])
        chosen = [chosen[i] for i in rng.permutation(len(chosen))[:MOST_PLACEBOS].tolist()]
    ratios = [
        _gap(rates, np.array(group), np.setdiff1d(others, group), first_after).ratio
        for group in chosen
        if len(others) - k >= 2
    ]
    as_far = sum(ratio >= own.ratio * (1 - 1e-9) for ratio in ratios)
    told = float(rates[treated][:, first_after:].mean())
    return SyntheticEffect(
        told - own.after, told, own.weights, own.misfit, (1 + as_far) / (1 + len(ratios)), len(ratios)
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Gap:
    after: float
    misfit: float
    ratio: float
    weights: FloatArray


def _gap(rates: FloatArray, group: np.ndarray, donors: np.ndarray, first_after: int) -> _Gap:
    target, mix = rates[group].mean(axis=0), rates[donors].T
    weights = simplex_weights(mix[:first_after], target[:first_after])
    gap = target - mix @ weights
    misfit = math.sqrt(float(np.mean(gap[:first_after] ** 2)))
    grown = math.sqrt(float(np.mean(gap[first_after:] ** 2)))
    return _Gap(float(gap[first_after:].mean()), misfit, grown / misfit if misfit > 0 else math.inf, weights)
