"""What is the effect, and how sure? Welch's test on the absolute scale, and the lift by the log of the ratio.

The formulas are those of docs/meaning.md, "Effects". The absolute test decides; the lift is for reading. The usual Wald
interval of a relative effect disagrees with the absolute test and is not computed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

from scipy import special

from analysis.moments import Moments

# Sums of squares carry about 16 digits: a variance smaller than this share of its own terms is their rounding.
_ROUNDING = 1e-12


class Comparison(Protocol):
    """What every estimator gives: two figures, their difference, and how sure it is, in the metric's own unit."""

    @property
    def control(self) -> float:
        """The old version's figure."""
        ...

    @property
    def treated(self) -> float:
        """The new version's figure."""
        ...

    @property
    def effect(self) -> float:
        """Treated − control, or what the design makes of it."""
        ...

    @property
    def se(self) -> float | None:
        """Standard error of the effect, where there is one."""
        ...

    @property
    def p(self) -> float | None:
        """Two-sided p of no effect, where it can be told."""
        ...

    def interval(self, alpha: float = 0.05) -> tuple[float, float] | None:
        """The interval at level 1 − alpha, where it can be told."""
        ...


@dataclass(frozen=True, slots=True)
class Sample:
    """One arm of one metric: ``n`` units, their figure ``mean``, and ``var``, the variance per unit."""

    n: int
    mean: float
    var: float

    @property
    def mean_var(self) -> float:
        """The variance of ``mean``."""
        return self.var / self.n


@dataclass(frozen=True, slots=True)
class Effect:
    """Treated − control in the metric's own unit, by Welch's test.

    ``se`` is None with fewer than two units in an arm; ``df`` is None also where nothing varies.
    """

    control: float
    treated: float
    effect: float
    se: float | None = None
    df: float | None = None

    @property
    def p(self) -> float | None:
        """Two-sided p of no effect; None without degrees of freedom."""
        if self.se is None or self.df is None:
            return None
        return 2 * t_tail(abs(self.effect) / self.se, self.df)

    def interval(self, alpha: float = 0.05) -> tuple[float, float] | None:
        """The interval at level 1 − alpha: it excludes 0 exactly where p < alpha. None without degrees of freedom."""
        if self.se is None or self.df is None:
            return None
        half = t_quantile(alpha / 2, self.df) * self.se
        return self.effect - half, self.effect + half


@dataclass(frozen=True, slots=True)
class Lift:
    """Treated/control − 1, as a ratio (0.179 = +17.9 %), and its interval."""

    lift: float
    low: float
    high: float


def mean_sample(m: Moments) -> Sample:
    """A mean per unit, V = (Σy² − (Σy)²/n)/(n−1); needs n ≥ 2."""
    return Sample(m.n, m.y / m.n, _variance(m.n, m.y, m.yy))


def proportion_sample(m: Moments) -> Sample:
    """A share of units, V = p(1−p); y is 0 or 1 per unit, n ≥ 1."""
    p = m.y / m.n
    return Sample(m.n, p, p * (1 - p))


def ratio_sample(m: Moments) -> Sample:
    """R = Σy/Σd over units by the delta method; needs n ≥ 2 and Σd > 0.

    V = V_M/D̄² + M̄²·V_D/D̄⁴ − 2·cov·M̄/D̄³ (Deng, Knoblich & Lu 2018, eq. 3), which is the mean's V where every d is 1.
    """
    mean_y, mean_d = m.y / m.n, m.d / m.n
    cov = (m.yd - m.y * m.d / m.n) / (m.n - 1)
    spread = _variance(m.n, m.y, m.yy) / mean_d**2 + mean_y**2 * _variance(m.n, m.d, m.dd) / mean_d**4
    var = spread - 2 * cov * mean_y / mean_d**3
    ratio = m.y / m.d
    return Sample(m.n, ratio, var if var > _ROUNDING * (spread + ratio**2) else 0.0)


def nps_sample(m: Moments) -> Sample:
    """Net promoter score, one answer per unit, y ∈ {100, 0, −100}: V = 100²·(p + d − (p−d)²) = Σy²/n − (Σy/n)²."""
    mean = m.y / m.n
    var = m.yy / m.n - mean**2
    return Sample(m.n, mean, var if var > _ROUNDING * (m.yy / m.n) else 0.0)


def compare(control: Sample, treated: Sample) -> Effect:
    """Δ = Ȳt − Ȳc, var = Vt/nt + Vc/nc, Welch–Satterthwaite degrees of freedom."""
    effect = treated.mean - control.mean
    if control.n < 2 or treated.n < 2:
        return Effect(control.mean, treated.mean, effect)
    se = math.sqrt(control.mean_var + treated.mean_var)
    if se == 0:
        return Effect(control.mean, treated.mean, effect, 0.0)
    df = welch_df(control.mean_var, control.n, treated.mean_var, treated.n)
    return Effect(control.mean, treated.mean, effect, se, df)


def log_ratio(control: Sample, treated: Sample, *, alpha: float = 0.05) -> Lift | None:
    """exp(ln(Ȳt/Ȳc) ± t·√(Vt/(nt·Ȳt²) + Vc/(nc·Ȳc²))) − 1, df by Welch on the log-scale terms V/(nȲ²).

    None where a mean is not positive, an arm has fewer than two units, or nothing varies.
    """
    if control.n < 2 or treated.n < 2 or control.mean <= 0 or treated.mean <= 0:
        return None
    c, t = control.mean_var / control.mean**2, treated.mean_var / treated.mean**2
    if c + t == 0:
        return None
    half = t_quantile(alpha / 2, welch_df(c, control.n, t, treated.n)) * math.sqrt(c + t)
    log = math.log(treated.mean / control.mean)
    return Lift(treated.mean / control.mean - 1, exp_less_one(log - half), exp_less_one(log + half))


def t_tail(t: float, df: float) -> float:
    """P(T > t) of Student's t: what ``scipy.stats.t.sf`` calls, without its checks, which take far longer."""
    return float(special.stdtr(df, -t))


def t_quantile(tail: float, df: float) -> float:
    """The t with that share above it, as ``scipy.stats.t.isf``."""
    return -float(special.stdtrit(df, tail))


def exp_less_one(x: float) -> float:
    """exp(x) − 1."""
    # A handful of events can put the upper end past the largest float; it is then unbounded for every purpose.
    return math.expm1(x) if x < 700 else math.inf


def _variance(n: int, s: float, ss: float) -> float:
    square = s * s / n
    raw = ss - square
    return raw / (n - 1) if raw > _ROUNDING * ss else 0.0


def welch_df(a: float, n_a: int, b: float, n_b: int) -> float:
    """Welch–Satterthwaite degrees of freedom; a and b are the variances of two means of so many units."""
    return (a + b) ** 2 / (a**2 / (n_a - 1) + b**2 / (n_b - 1))
