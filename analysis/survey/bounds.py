"""How far could those who did not answer move the effect? Lee's bounds, and the point where it tips."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import optimize, stats

from analysis.moments import FloatArray


@dataclass(frozen=True, slots=True)
class Bounds:
    """The effect on those who would answer under either version lies in [low, high]; ``outer`` adds the chance of draw.

    ``outer`` is the 95 % interval of Imbens & Manski 2004 for the effect itself.
    """

    low: float
    high: float
    outer: tuple[float, float]


@dataclass(frozen=True, slots=True)
class _Cut:
    mean: float
    var: float


def lee_bounds(control: FloatArray, treated: FloatArray, entered: tuple[int, int]) -> Bounds:
    """Trim the arm that answers more, at the top and at the bottom, until both answer alike (Lee 2009, prop. 2 and 3).

    Args:
        control: answers of the old version's arm, one per person who answered, at least two.
        treated: the same of the new version's arm.
        entered: people who entered (control, treated).
    """
    rates = len(control) / entered[0], len(treated) / entered[1]
    if rates[1] >= rates[0]:
        worst, best = (_trimmed(treated, 1 - rates[0] / rates[1], rates, entered[::-1], top=t) for t in (True, False))
        mean, var = float(control.mean()), float(control.var(ddof=1)) / len(control)
        low, high = worst.mean - mean, best.mean - mean
    else:
        worst, best = (_trimmed(control, 1 - rates[1] / rates[0], rates[::-1], entered, top=t) for t in (False, True))
        mean, var = float(treated.mean()), float(treated.var(ddof=1)) / len(treated)
        low, high = mean - worst.mean, mean - best.mean
    errors = math.sqrt(worst.var + var), math.sqrt(best.var + var)
    c = _imbens_manski(high - low, max(errors))
    return Bounds(low, high, (low - c * errors[0], high + c * errors[1]))


def tipping_point(effect: float, response_treated: float) -> float | None:
    """How much lower (negative: higher) than weighted the new arm's silent would have to score to undo the effect.

    The effect on everybody is Δ − (1 − response)·x where they score x lower. None where nobody is silent.
    """
    return effect / (1 - response_treated) if response_treated < 1 else None


def _trimmed(values: FloatArray, share: float, rates: tuple[float, float], n: tuple[int, int], *, top: bool) -> _Cut:
    """The mean without the highest (or lowest) share, ties split, and its variance.

    Args:
        rates: response of (the arm that answers less, this arm); ``n`` entered (this arm, the other), for the share's
            own variance.
    """
    ordered = np.sort(values) if top else np.sort(values)[::-1]
    kept = len(ordered) * (1 - share)
    weight = np.clip(kept - np.arange(len(ordered)), 0.0, 1.0)
    mean = float(weight @ ordered) / kept
    edge = float(ordered[min(int(kept), len(ordered) - 1)])
    inside = float(weight @ (ordered - mean) ** 2) / kept
    less, more = min(rates), max(rates)
    of_share = (1 - share) ** 2 * ((1 - more) / (n[0] * more) + (1 - less) / (n[1] * less))
    var = inside / kept + (edge - mean) ** 2 * share / kept + ((edge - mean) / (1 - share)) ** 2 * of_share
    return _Cut(mean, var)


def _imbens_manski(width: float, error: float) -> float:
    """The c with Φ(c + width/error) − Φ(−c) = 0.95: 1.96 where the bounds meet, 1.645 where they are far apart."""
    if error == 0:
        return 1.96

    def miss(c: float) -> float:
        return float(stats.norm.cdf(c + width / error) - stats.norm.cdf(-c)) - 0.95

    return float(optimize.brentq(miss, 1.0, 3.0))
