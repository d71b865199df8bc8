"""How slow are the slowest? A quantile of exposures, with the units as clusters.

The share of exposures above a value is a ratio over units; its variance, divided by the density at the quantile
squared, is the quantile's (Deng, Knoblich & Lu 2018, arXiv 1803.06336, section 4). What is tested is the share itself,
above the quantile of the stable arm: it needs no density.
"""

from __future__ import annotations

import math

import numpy as np
from scipy import stats

from analysis.lift import Sample, ratio_sample
from analysis.moments import FloatArray, IntArray, cells


def share_above(values: FloatArray, unit: IntArray, threshold: float) -> tuple[FloatArray, FloatArray]:
    """How many exposures of each unit lie above the threshold, and how many it has: y and d of a ratio over units.

    Args:
        values: one per exposure, none absent, shape (exposures,).
        unit: the unit of each, shape (exposures,).
        threshold: in the unit of the values.

    Returns:
        Two arrays of shape (units,), the units in ascending order.
    """
    _, position = np.unique(unit, return_inverse=True)
    above = np.bincount(position, weights=(values > threshold).astype(np.float64))
    return above.astype(np.float64), np.bincount(position).astype(np.float64)


def quantile_sample(values: FloatArray, unit: IntArray, q: float) -> Sample:
    """The quantile of all values, and its variance per unit.

    The density is read off the values at the ends of the share's own 95 % interval, taken outward (Liu, Sun, Varshney
    & Xu 2019, "Large-Scale Online Experimentation with Quantile Metrics"), so there is no bandwidth to choose. With a
    dozen exposures beyond the quantile it errs on the wide side.

    Args:
        values: one per exposure, none absent, at least one, shape (exposures,).
        unit: the unit of each, shape (exposures,).
        q: 0 < q < 1.
    """
    at = float(np.quantile(values, q))
    above, there = share_above(values, unit, at)
    n = len(there)
    if n < 2:
        return Sample(n, at, 0.0)
    (moments,) = cells(above, there, np.zeros(n, dtype=np.int64), 1)
    se = math.sqrt(ratio_sample(moments).mean_var)
    if se == 0:
        return Sample(n, at, 0.0)
    z = float(stats.norm.isf(0.025))
    low, high = max(0.0, q - z * se), min(1.0, q + z * se)
    spread = float(np.quantile(values, high, method="higher") - np.quantile(values, low, method="lower"))
    # high − low, not 2·z·se: close to 0 or 1 the interval is cut, and the values on that side with it.
    return Sample(n, at, (spread * se / (high - low)) ** 2 * n)
