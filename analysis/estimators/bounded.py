"""What can be said of a mean that lies between two known ends, at any sample size and however often one looks?

A share, an answer on a scale and a share of requests are means of values in [0, 1] (scaled). Against "the mean is at
most p" stands the likelihood ratio of a Bernoulli with a higher mean q, averaged over a beta distribution of q above p:
(q/p)^Z·((1 − q)/(1 − p))^(1 − Z) has an expectation of at most 1 under every distribution on [0, 1] with a mean of at
most p, as it is at most its chord in Z (Hoeffding 1963). The average is therefore a test martingale, and all p with a
value below 1/α form a bound that holds at every look at once (Robbins 1970; Howard, Ramdas, McAuliffe & Sekhon 2021,
"Time-uniform, nonparametric, nonasymptotic confidence sequences", arXiv 1810.08240, section 3).

Nothing is asymptotic, so no floor is needed. What is not exact is the effective number of values where units bring
several of them (`Bounded.of`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import optimize, special

from analysis.lift import ratio_sample
from analysis.moments import FloatArray, IntArray, Moments, cells

_PRIOR = 0.5  # Jeffreys' beta distribution: narrow near 0 and 1, where guardrails live
_LEAST = 1e-18  # of the mean: a bound below it is 0
_TOLERANCE = 1e-13


@dataclass(frozen=True, slots=True)
class Bounded:
    """The mean of values in [0, 1] of one arm: ``mean``, and of how many independent values it is worth as much."""

    mean: float
    n: float
    ends: tuple[float, float] | None = None
    """What n is where nothing, and where everything, is marked; None: the same."""
    marks: tuple[float, float] = (math.inf, math.inf)
    """At most how many independent marks, and values without one, there are: (Σy)²/Σy² over units."""

    @classmethod
    def of(cls, y: FloatArray, d: FloatArray, cluster: IntArray | None = None) -> Bounded | None:
        """Σy/Σd over units; None without any.

        The effective n is R(1 − R)/Var(R), with the variance linearised per cluster (Kish 1965, "Survey Sampling"): one
        unit that brings twenty marks of twenty requests is worth one value. Where nothing varies, it cannot be told:
        no mark at all is taken as independent requests, all marked as (Σd)²/Σd² units.

        Args:
            y: Σ of the unit's values, 0 ≤ y ≤ d, shape (units,).
            d: how many values the unit has, shape (units,).
            cluster: the cluster of each unit, 0 ≤ cluster; None: each unit is one.
        """
        if cluster is not None:
            y, d = (np.bincount(cluster, weights=w).astype(np.float64) for w in (y, d))
        y, d = y[d > 0], d[d > 0]
        return cls.of_moments(cells(y, d, np.zeros(len(d), dtype=np.int64), 1)[0])

    @classmethod
    def of_moments(cls, m: Moments) -> Bounded | None:
        """The same from sums over units, 0 ≤ y ≤ d."""
        if m.n == 0 or m.d <= 0:
            return None
        mean = min(max(m.y / m.d, 0.0), 1.0)
        ends = m.d, m.d**2 / m.dd
        if mean in (0.0, 1.0):
            return cls(mean, ends[int(mean)], ends)
        var = ratio_sample(m).mean_var if m.n > 1 else 0.0
        free = max(m.dd - 2 * m.yd + m.yy, 0.0)
        marks = m.y**2 / m.yy if m.yy > 0 else math.inf, (m.d - m.y) ** 2 / free if free > 0 else math.inf
        return cls(mean, min(max(mean * (1 - mean) / var, 1.0), m.d) if var > 0 else float(m.n), ends, marks)

    @property
    def turned(self) -> Bounded:
        """The mean of 1 − value: what was marked is free, and no mark again stands for independent requests."""
        n = self.n
        if self.ends is not None and self.mean in (0.0, 1.0):
            n = self.ends[1 - int(self.mean)]
        return Bounded(1 - self.mean, n, self.ends, self.marks[::-1])

    def lower(self, alpha: float) -> float:
        """The mean is above this, at level 1 − alpha at every look.

        Evidence of a higher mean is made of marks, and one unit's marks are one draw: n is at most what they are worth.
        """
        if self.mean == 0.0:
            return 0.0
        if self.mean * self.n > self.marks[0]:
            return Bounded(self.mean, self.marks[0] / self.mean).lower(alpha)
        wanted, least = -math.log(alpha), self.mean * _LEAST

        def beyond(log_p: float) -> float:
            return log_evidence_above(self, math.exp(log_p)) - wanted

        high = math.log(self.mean) if self.mean < 1.0 else math.log1p(-_TOLERANCE)
        if beyond(math.log(least)) <= 0.0:
            return 0.0
        if beyond(high) >= 0.0:
            return math.exp(high)
        # In ln p: where marks are few the evidence is nearly a line in it, and some ten steps do.
        return math.exp(optimize.brentq(beyond, math.log(least), high, xtol=_TOLERANCE, rtol=_TOLERANCE))

    def upper(self, alpha: float) -> float:
        """The mean is below this, at level 1 − alpha at every look."""
        return 1 - Bounded(1 - self.mean, self.n).lower(alpha)

    def once_lower(self, alpha: float) -> float:
        """The same for one look: Clopper & Pearson 1934."""
        x = self.mean * self.n
        return float(special.betaincinv(x, self.n - x + 1, alpha)) if x > 0 else 0.0

    def once_upper(self, alpha: float) -> float:
        """The same for one look."""
        return 1 - Bounded(1 - self.mean, self.n).once_lower(alpha)


def log_evidence_above(seen: Bounded, p: float) -> float:
    """ln E of "the mean is above p" against "at most p", 0 < p < 1.

    E = B(a + x, b + y)·(1 − I_p(a + x, b + y)) / (B(a, b)·(1 − I_p(a, b))·p^x·(1 − p)^y), x = n·mean, y = n − x.
    """
    x = seen.mean * seen.n
    y = seen.n - x
    a = b = _PRIOR
    beyond = float(special.betainc(b + y, a + x, 1 - p))
    if beyond <= 0.0:
        return -math.inf
    prior = float(special.betaln(a, b)) + math.log(float(special.betainc(b, a, 1 - p)))
    return float(special.betaln(a + x, b + y)) + math.log(beyond) - prior - x * math.log(p) - y * math.log1p(-p)


def difference_above(old: Bounded, new: Bounded, alpha: float) -> float:
    """new − old is above this, at level 1 − alpha at every look: each arm's bound at half of alpha."""
    return new.lower(alpha / 2) - old.upper(alpha / 2)


def difference_below(old: Bounded, new: Bounded, alpha: float) -> float:
    """new − old is below this, at level 1 − alpha at every look."""
    # The old arm's mean is not below 0: the new arm's own bound holds at the whole of alpha.
    return min(new.upper(alpha / 2) - old.lower(alpha / 2), new.upper(alpha))


def difference_below_once(old: Bounded, new: Bounded, alpha: float) -> float:
    """new − old is below this, at level 1 − alpha at one look.

    The limits of both arms are joined by the square root of the sum of squares (MOVER: Zou & Donner 2008,
    "Construction of confidence limits about effect measures"; Newcombe 1998, method 10), with exact limits.
    """
    up, down = new.once_upper(alpha) - new.mean, old.mean - old.once_lower(alpha)
    return new.mean - old.mean + math.hypot(up, down)
