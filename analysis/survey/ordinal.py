"""Scales are not lengths: the chance that the new version scores higher, and the share of the top two answers."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats

from analysis.moments import FloatArray


@dataclass(frozen=True, slots=True)
class Superiority:
    """P(T > C) + ½·P(T = C) of two people drawn at random: 0.5 where neither is higher, with its 95 % interval."""

    value: float
    low: float
    high: float


def superiority(control: FloatArray, treated: FloatArray) -> Superiority:
    """By ranks, with the variance of Brunner & Munzel 2000, which does not need equal spreads.

    Args:
        control: one value per person, at least two.
        treated: the same.
    """
    n_c, n_t = len(control), len(treated)
    both = stats.rankdata(np.concatenate([control, treated]))
    placed_c = (both[:n_c] - stats.rankdata(control)) / n_t
    placed_t = (both[n_c:] - stats.rankdata(treated)) / n_c
    value = float(placed_t.mean())
    se = math.sqrt(float(placed_c.var(ddof=1)) / n_c + float(placed_t.var(ddof=1)) / n_t)
    half = float(stats.norm.isf(0.025)) * se
    return Superiority(value, max(0.0, value - half), min(1.0, value + half))


def top_two(values: FloatArray, highest: float) -> float:
    """The share of people whose answer is one of the two highest of the scale."""
    return float(np.mean(values >= highest - 1))
