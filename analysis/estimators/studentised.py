"""How large is an effect beside its own uncertainty? The statistic that is compared between assignments.

Units that were drawn (zones, blocks) differ in people and in spread, so effects of different assignments are not alike
before each is divided by its standard error, and errors of few units are not alike before their degrees of freedom are
taken out: a permutation test of that holds where the units were drawn whatever they are like, and nearly where only
their errors differ (Janssen 1997; Chung & Romano 2013, doi 10.1214/13-AOS1090; prepivoting: Beran 1988).

The variance of an assignment's effect is, per arm, φ·Σw²v: w the unit's share of the arm's people, v = τ² + what its
own people leave (as Ferman & Pinto 2019, doi 10.1162/rest_a_00759, for zones of unequal size), and φ how much more or
less than v the arm's units vary, so that a new version may change the spread. With one unit in an arm φ is of both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from scipy import special

from analysis.frames import BoolArray
from analysis.moments import FloatArray, IntArray

LEAST_DF = 0.5  # an arm with fewer has no spread of its own
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class Statistic:
    """Per assignment (shape (k,)) its effect, how much of a shift δ of the treated is in it, and what its SE needs.

    ``weights`` are Σw²v of (new, old) version's units; ``mixed`` is the variance that comes from comparing other mixes
    of zones.
    """

    effect: FloatArray
    slope: FloatArray
    weights: tuple[FloatArray, FloatArray]
    mixed: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class Units:
    """What was drawn, by stratum in ascending order; one element per unit.

    Args:
        treated: which have the new version.
        stratum: inside which the draw was made; levels of strata are taken out.
        figure: what a unit varies in, as its rate, or the change of its rate.
        noise: the part of the figure's variance that its own people make.
    """

    treated: BoolArray
    stratum: IntArray
    figure: FloatArray
    noise: FloatArray

    @property
    def begins(self) -> IntArray:
        """Where each stratum begins."""
        found: IntArray = np.flatnonzero(np.concatenate([[True], self.stratum[1:] != self.stratum[:-1]]))
        return found

    def shape(self) -> FloatArray:
        """v of each unit: its noise, and τ² such that the units vary as they do (Paule & Mandel 1982)."""
        if not (self.noise > 0).all():
            return np.ones(len(self.figure))
        wanted = len(self.figure) - len(self.begins) - 1

        def left(tau2: float) -> float:
            looked = _spread(self, self.noise + tau2, self.treated[None, :])
            return float(looked.squares[0][0, 0] + looked.squares[1][0, 0])

        low, high = 0.0, float(self.noise.max())
        if wanted <= 0 or left(0.0) <= wanted:
            return self.noise
        while left(high) > wanted:
            high *= 4
        for _ in range(40):
            middle = (low + high) / 2
            low, high = (middle, high) if left(middle) > wanted else (low, middle)
        return self.noise + high


@dataclass(frozen=True, slots=True, eq=False)
class _Spread:
    """Σ(residual²)/v of (new, old) arm as (1, −2δ, δ²)-coefficients, shape (k, 3), and degrees of freedom (k,)."""

    squares: tuple[FloatArray, FloatArray]
    df: tuple[FloatArray, FloatArray]


@dataclass(frozen=True, slots=True, eq=False)
class Looked:
    """Assignments, the actual one first: under a shift δ of what was treated each has an effect, an SE and df."""

    statistic: Statistic
    spread: _Spread

    @classmethod
    def at(
        cls,
        units: Units,
        shape: FloatArray,
        drawn: Iterable[np.ndarray],
        statistic: Callable[[np.ndarray], Statistic],
    ) -> Looked:
        """Everything that is needed of each assignment, so that a shift costs no second look at the units."""
        parts = [(statistic(made), _spread(units, shape, made)) for made in drawn]
        s, r = [p[0] for p in parts], [p[1] for p in parts]
        join = np.concatenate
        return cls(
            Statistic(
                join([p.effect for p in s]),
                join([p.slope for p in s]),
                (join([p.weights[0] for p in s]), join([p.weights[1] for p in s])),
                join([p.mixed for p in s]),
            ),
            _Spread(
                (join([p.squares[0] for p in r]), join([p.squares[1] for p in r])),
                (join([p.df[0] for p in r]), join([p.df[1] for p in r])),
            ),
        )

    def __len__(self) -> int:
        return len(self.statistic.effect)

    def first(self) -> Looked:
        """The actual assignment alone."""
        s, r = self.statistic, self.spread
        one = slice(0, 1)
        return Looked(
            Statistic(s.effect[one], s.slope[one], (s.weights[0][one], s.weights[1][one]), s.mixed[one]),
            _Spread((r.squares[0][one], r.squares[1][one]), (r.df[0][one], r.df[1][one])),
        )

    def uncertainty(self, shift: float) -> tuple[FloatArray, FloatArray]:
        """(variance, degrees of freedom) of each assignment's effect under a shift, by Welch–Satterthwaite."""
        coefficients = np.array([1.0, -2 * shift, shift * shift])
        squares = [np.maximum(s @ coefficients, 0.0) for s in self.spread.squares]
        both = np.maximum(self.spread.df[0] + self.spread.df[1], 1e-12)
        pooled = np.minimum(*self.spread.df) < LEAST_DF
        parts = [
            np.where(pooled, (squares[0] + squares[1]) / both, own / np.maximum(df, LEAST_DF)) * weights
            for own, df, weights in zip(squares, self.spread.df, self.statistic.weights, strict=True)
        ]
        variance = parts[0] + parts[1] + self.statistic.mixed
        below = sum(part**2 / np.maximum(df, LEAST_DF) for part, df in zip(parts, self.spread.df, strict=True))
        welch = np.divide(variance**2, below, out=both.copy(), where=below > 0)
        return variance, np.where(pooled, both, np.minimum(welch, both))

    def scores(self, shift: float) -> FloatArray:
        """The normal score of each assignment's t, with its sign (Wallace 1959): larger is rarer under ``shift``."""
        effect = self.statistic.effect - shift * self.statistic.slope
        variance, df = self.uncertainty(shift)
        # Beside what it is made of a difference this small is rounding.
        tiny = _ROUNDING * (abs(shift) + float(np.max(np.abs(self.statistic.effect), initial=0.0)))
        effect = np.where(np.abs(effect) <= tiny, 0.0, effect)
        square = np.divide(effect**2, variance, out=np.where(effect == 0, 0.0, np.inf), where=variance > tiny**2)
        score: FloatArray = np.sign(effect) * (8 * df + 1) / (8 * df + 3) * np.sqrt(df * np.log1p(square / df))
        return score

    @property
    def varies(self) -> bool:
        """Whether any unit differs from another, or the versions do."""
        squares = self.spread.squares
        return bool(self.statistic.effect[0] != 0 or squares[0][0, 0] > 0 or squares[1][0, 0] > 0)

    @property
    def pooled(self) -> bool:
        """Whether an arm has so few units that its spread is taken from both."""
        return float(min(self.spread.df[0][0], self.spread.df[1][0])) < LEAST_DF

    def tail(self, shift: float) -> float | None:
        """P of a t at least as large as the actual one, were the effect ``shift``: Student's, without a permutation.

        None with fewer units than it takes to tell their spread.
        """
        one = self.first()
        effect = float(one.statistic.effect[0]) - shift
        variance, df = (float(a[0]) for a in one.uncertainty(shift))
        if df < LEAST_DF:
            return None
        if variance <= 0:
            return 0.5 if effect == 0 else float(effect < 0)
        return float(special.stdtr(df, -effect / np.sqrt(variance)))


def _spread(units: Units, shape: FloatArray, drawn: np.ndarray) -> _Spread:
    """Residuals of an additive model of strata and arms, weighted by 1/v, of each assignment.

    Shifting the treated by δ shifts the figure by δ·treated, so that squares are those of figure − δ·treated.
    """
    begins = units.begins
    weight = 1 / shape
    total = np.add.reduceat(weight, begins)
    n_of = np.diff(np.append(begins, len(weight)))

    def centred(x: FloatArray) -> FloatArray:
        found: FloatArray = x - np.repeat(np.add.reduceat(weight * x, begins) / total, n_of)
        return found

    x = [centred(units.figure), centred(units.treated.astype(np.float64))]
    new = drawn.astype(np.float64)
    inside = np.add.reduceat(new * weight, begins, axis=1)
    share = inside / total
    arms = (inside * (1 - share) ** 2).sum(axis=1), ((total - inside) * share**2).sum(axis=1)
    both = arms[0] + arms[1]
    moved = [np.add.reduceat(new * (weight * one), begins, axis=1) for one in x]
    slope = [np.divide(m.sum(axis=1), both, out=np.zeros(len(both)), where=both > 0) for m in moved]
    along = [((m * (1 - share)).sum(axis=1), (m * share).sum(axis=1)) for m in moved]
    squares = [np.zeros((len(drawn), 3)) for _ in arms]
    for column, (i, j) in enumerate(((0, 0), (0, 1), (1, 1))):
        product = weight * x[i] * x[j]
        of_new = new @ product
        for arm, own in enumerate((of_new, product.sum() - of_new)):
            squares[arm][:, column] = (
                own - slope[i] * along[j][arm] - slope[j] * along[i][arm] + slope[i] * slope[j] * arms[arm]
            )
    n_new = new.sum(axis=1)
    taken = [np.divide(a, both, out=np.zeros(len(both)), where=both > 0) for a in arms]
    df = n_new - share.sum(axis=1) - taken[0], len(weight) - n_new - (1 - share).sum(axis=1) - taken[1]
    return _Spread((squares[0], squares[1]), df)
