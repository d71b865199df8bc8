"""What is the effect where units were drawn inside strata? The strata's own differences, weighted by their shares.

Δ = Σ_s w_s·(Ȳ_st − Ȳ_sc), variance Σ_s w_s²·(V_st/n_st + V_sc/n_sc), degrees of freedom by Welch and Satterthwaite over
all of its terms (Imbens & Rubin 2015, "Causal Inference", section 9.3; Miratrix, Sekhon & Yu 2013, JRSS B 75(2)). The
weight w_s is the stratum's share of the denominators of both arms, so that strata of which one arm has more than its
share do not confound; they are taken as given.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis import lift
from analysis.estimators import skewed
from analysis.lift import Effect, Lift, Sample
from analysis.moments import FloatArray


@dataclass(frozen=True, slots=True)
class Stratum:
    """The two arms of one stratum, each of two units or more, and its weight; weights of all strata sum to 1."""

    weight: float
    control: Sample
    treated: Sample


def compare(strata: Sequence[Stratum], gamma: float = 0.0) -> Effect | skewed.SkewedEffect:
    """The weighted difference; with ``gamma`` corrected for skew as `analysis.estimators.skewed.compare` does.

    Args:
        strata: one or more.
        gamma: the skewness of a unit around the mean of its own stratum and arm.
    """
    control, treated = figures(strata)
    effect = treated - control
    terms, less = _terms(strata)
    se = math.sqrt(float(terms.sum()))
    if se == 0:
        return Effect(control, treated, effect, 0.0)
    df = _df(terms, less)
    skew = gamma * uneven(strata)
    if abs(skew) < skewed.LEAST:
        return Effect(control, treated, effect, se, df)
    return skewed.SkewedEffect(control, treated, effect, se, df, skew)


def log_ratio(strata: Sequence[Stratum], *, alpha: float = 0.05) -> Lift | None:
    """The ratio of the weighted figures with the interval of its logarithm; None as in `analysis.lift.log_ratio`."""
    control, treated = figures(strata)
    if control <= 0 or treated <= 0:
        return None
    terms, less = _terms(strata, (1 / control, 1 / treated))
    if terms.sum() == 0:
        return None
    half = lift.t_quantile(alpha / 2, _df(terms, less)) * math.sqrt(float(terms.sum()))
    log = math.log(treated / control)
    return Lift(treated / control - 1, lift.exp_less_one(log - half), lift.exp_less_one(log + half))


def figures(strata: Sequence[Stratum]) -> tuple[float, float]:
    """The arms' weighted figures (control, treated)."""
    return (
        math.fsum(s.weight * s.control.mean for s in strata),
        math.fsum(s.weight * s.treated.mean for s in strata),
    )


def uneven(strata: Sequence[Stratum]) -> float:
    """How much of a unit's skewness is left in the weighted difference, of units of one spread in all strata:

    Σ w³·(1/nt² − 1/nc²) / (Σ w²·(1/nt + 1/nc))^1.5, which for one stratum is that of `analysis.estimators.skewed`.
    """
    w, c, t = np.array([(s.weight, s.control.n, s.treated.n) for s in strata], dtype=np.float64).T
    return float(w**3 @ (t**-2 - c**-2)) / math.sqrt(float(w**2 @ (1 / t + 1 / c))) ** 3


def control_var(strata: Sequence[Stratum]) -> float:
    """The variance of the control arm's weighted figure."""
    return math.fsum(s.weight**2 * s.control.mean_var for s in strata)


def _terms(strata: Sequence[Stratum], scale: tuple[float, float] = (1.0, 1.0)) -> tuple[FloatArray, FloatArray]:
    """The variance's terms and n − 1 of each."""
    terms = [
        (s.weight * of) ** 2 * arm.mean_var
        for s in strata
        for arm, of in zip((s.control, s.treated), scale, strict=True)
    ]
    less = [arm.n - 1 for s in strata for arm in (s.control, s.treated)]
    return np.array(terms, dtype=np.float64), np.array(less, dtype=np.float64)


def _df(terms: FloatArray, less: FloatArray) -> float:
    return float(terms.sum()) ** 2 / float(terms**2 @ (1 / less))
