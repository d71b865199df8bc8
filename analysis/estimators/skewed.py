"""What if a few large sums carry a mean, and one arm is much smaller? Welch's test less the skew of its statistic.

With 5 % of the units in the new arm skew does not cancel: a sample without a large basket has a low mean and a small
standard error at once, so that Welch's test says "worse" too often and "better" too seldom. To first order

    P(T ≤ x) = Φ(x) + A·(2x² + 1)·φ(x)/6,   A = the skewness of the difference of means

(Johnson 1978, "Modified t tests and confidence intervals for asymmetrical populations", JASA 73; Hall 1992, "On the
removal of skewness by transformation", JRSS B 54; for two samples Zhou & Dinh 2005, "Nonparametric confidence intervals
for the one- and two-sample problems", Biostatistics 6). All of them put a monotone g(T) = T + A·T²/3 + A/6 + … in place
of T, and its inverse into the interval. Two things are not theirs, with figures in docs/calibration.md:

- Terms above the first order. Hall's cubic is flat at T = −3/A, and an interval that reaches there ends ten standard
  errors away. Here the square grows into a line, A·T²/3/(1 + 2·|A·T|/3), so that g is never flatter than 1/2 nor
  steeper than 3/2: a statistic is halved or grows by half at most.
- A is that of units of one shape, the shape of both arms joined: A = γ·(1/nt² − 1/nc²)/(1/nt + 1/nc)^1.5. The new arm's
  own skewness is smallest just where its large baskets are missing. A is 0 at equal sizes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from analysis import lift
from analysis.lift import Effect, Lift, Sample, t_quantile, t_tail
from analysis.moments import Moments

_Z = 1.959963984540054
_TAIL_ERROR = 0.01
LEAST = 6 * _TAIL_ERROR * math.sqrt(2 * math.pi) * math.exp(_Z * _Z / 2) / (2 * _Z * _Z + 1)
"""0.118: the |A| from which a tail of Welch's 95 % interval, 2.5 %, is off by a point. Below it Welch's test stands."""

# As in analysis.lift: a third moment smaller than this share of its own terms is their rounding.
_ROUNDING = 1e-12


@dataclass(frozen=True, slots=True)
class SkewedEffect:
    """Treated − control as `analysis.lift.Effect` has it, with g(T) for T; ``skew`` is A."""

    control: float
    treated: float
    effect: float
    se: float
    df: float
    skew: float

    @property
    def p(self) -> float:
        """Two-sided p of no effect."""
        return 2 * t_tail(abs(_straighten(self.effect / self.se, self.skew / 3, self.skew / 6)), self.df)

    def interval(self, alpha: float = 0.05) -> tuple[float, float]:
        """The interval at level 1 − alpha: it excludes 0 exactly where p < alpha. It need not be centred."""
        low, high = _ends(t_quantile(alpha / 2, self.df), self.skew / 3, self.skew / 6)
        return self.effect - high * self.se, self.effect - low * self.se


def skewness(*arms: Moments) -> float:
    """γ of a unit's value around its own arm's mean, all arms joined; 0 where nothing varies. y is a sum per unit."""
    squares, cubes, raw = 0.0, 0.0, 0.0
    for m in arms:
        if m.n == 0:
            continue
        mean = m.y / m.n
        squares += max(m.yy - m.y * mean, 0.0)
        cubes += m.yyy - 3 * mean * m.yy + 2 * m.y * mean**2
        raw += abs(m.yyy) + abs(3 * mean * m.yy) + abs(2 * m.y * mean**2)
    n = sum(m.n for m in arms)
    if squares <= _ROUNDING * sum(m.yy for m in arms) or abs(cubes) <= _ROUNDING * raw:
        return 0.0
    return cubes / n / math.sqrt(squares / n) ** 3


def compare(control: Sample, treated: Sample, gamma: float) -> Effect | SkewedEffect:
    """`analysis.lift.compare`, corrected where |A| is `LEAST` or more; ``gamma`` is `skewness`."""
    plain = lift.compare(control, treated)
    skew = gamma * _uneven(control.n, treated.n)
    if plain.se is None or plain.df is None or abs(skew) < LEAST:
        return plain
    return SkewedEffect(plain.control, plain.treated, plain.effect, plain.se, plain.df, skew)


def log_ratio(control: Sample, treated: Sample, gamma: float, *, alpha: float = 0.05) -> Lift | None:
    """`analysis.lift.log_ratio`, corrected where the difference is.

    The statistic of the logarithms has P(T ≤ x) = Φ(x) + ((2A − 3C)·x² + A)·φ(x)/6, with C the A of a γ that is the
    unit's coefficient of variation: a logarithm takes out some of the skew (the delta method's next term).
    """
    plain = lift.log_ratio(control, treated, alpha=alpha)
    uneven = _uneven(control.n, treated.n)
    skew = gamma * uneven
    if plain is None or abs(skew) < LEAST:
        return plain
    n = control.n + treated.n
    spread = math.sqrt((control.n * control.var + treated.n * treated.var) / n)
    bend = spread / ((control.n * control.mean + treated.n * treated.mean) / n) * uneven
    c, t = control.mean_var / control.mean**2, treated.mean_var / treated.mean**2
    se, df = math.sqrt(c + t), lift.welch_df(c, control.n, t, treated.n)
    low, high = _ends(t_quantile(alpha / 2, df), (2 * skew - 3 * bend) / 6, skew / 6)
    log = math.log(treated.mean / control.mean)
    return Lift(plain.lift, lift.exp_less_one(log - high * se), lift.exp_less_one(log - low * se))


def _uneven(control: int, treated: int) -> float:
    """How much of a unit's skewness is left in a difference of two means; 0 for arms of one size."""
    if control == treated or not control or not treated:
        return 0.0
    return (1 / treated**2 - 1 / control**2) / math.sqrt(1 / treated + 1 / control) ** 3


def _straighten(t: float, square: float, shift: float) -> float:
    """g(t) = t + square·t²/(1 + 2·|square·t|) + shift, which rises with t."""
    return t + square * t * t / (1 + 2 * abs(square * t)) + shift


def _bend(g: float, square: float, shift: float) -> float:
    """The t of a g: the positive root of k(2 ± 1)·t² + (1 − 2kr)·t − r = 0, k = |square|, r = |g − shift|."""
    r, k = abs(g - shift), abs(square)
    same = 1.0 if (g >= shift) == (square >= 0) else -1.0
    middle = 1 - 2 * k * r
    return math.copysign(2 * r / (middle + math.sqrt(middle * middle + 4 * k * (2 + same) * r)), g - shift)


def _ends(quantile: float, square: float, shift: float) -> tuple[float, float]:
    """The statistics whose g is −quantile and quantile."""
    return _bend(-quantile, square, shift), _bend(quantile, square, shift)
