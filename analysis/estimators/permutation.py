"""What if the draw had fallen otherwise? Tests by permutation of the units that were drawn, and their intervals."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np

from analysis.frames import BoolArray
from analysis.moments import FloatArray, IntArray
from edgeloop.store.facts import FewDraws

MOST = 10_000  # assignments looked at; of more that many are drawn
LEAST = 20  # of fewer possible assignments no p can be small enough to say anything
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class ZoneEffect:
    """The effect with its permutation test; offers what `analysis.lift.Effect` does.

    ``statistics`` and ``slopes`` have one element per assignment looked at, the actual one first: under a constant
    shift δ of what was treated, an assignment's statistic is statistic − δ·slope.
    """

    control: float
    treated: float
    effect: float
    se: float | None
    assignments: int
    """How many assignments are possible."""
    statistics: FloatArray = field(repr=False)
    slopes: FloatArray = field(repr=False)

    @property
    def refusal(self) -> FewDraws | None:
        """Why there is no p."""
        if self.assignments >= LEAST:
            return None
        return FewDraws(self.assignments, LEAST)

    @property
    def p(self) -> float | None:
        """The share of assignments, the actual one among them, with an effect at least as large."""
        return self.p_of(0.0) if self.refusal is None else None

    def p_of(self, shift: float) -> float:
        """The p of the hypothesis that the effect is ``shift`` everywhere."""
        at = np.abs(self.statistics - shift * self.slopes)
        least = float(at[0])
        return float(np.mean(at >= least - _ROUNDING * max(least, float(np.max(at)), 1e-300)))

    def interval(self, alpha: float = 0.05) -> tuple[float, float] | None:
        """All shifts with p > alpha, by bisection; an end that no assignment can exclude is infinite."""
        if self.refusal is not None:
            return None
        return self._end(-1.0, alpha), self._end(1.0, alpha)

    def _end(self, way: float, alpha: float) -> float:
        spread = float(np.max(np.abs(self.statistics - self.effect * self.slopes)))
        step = max(spread, abs(self.effect), 1e-12)
        inside, outside = 0.0, step
        for _ in range(60):
            if self.p_of(self.effect + way * outside) <= alpha:
                break
            inside, outside = outside, 2 * outside
        else:
            return way * math.inf
        for _ in range(60):
            middle = (inside + outside) / 2
            if self.p_of(self.effect + way * middle) <= alpha:
                outside = middle
            else:
                inside = middle
        return self.effect + way * inside


def possible(strata: Sequence[tuple[int, int]]) -> int:
    """How many assignments keep the number of treated units of each stratum (units, treated)."""
    return math.prod(math.comb(n, k) for n, k in strata)


def assignments(treated: BoolArray, stratum: IntArray) -> np.ndarray:
    """Assignments that keep the number treated in each stratum, the actual one first; shape (assignments, units).

    All of them where there are at most 10,000, else 10,000 drawn by a seed from the shape of the data, so that the same
    data gives the same p everywhere.
    """
    groups = [np.flatnonzero(stratum == s) for s in np.unique(stratum)]
    n = possible([(len(g), int(np.count_nonzero(treated[g]))) for g in groups])
    if n <= MOST:
        return _all(treated, groups)
    rng = np.random.default_rng([len(treated), int(np.count_nonzero(treated)), len(groups)])
    made = np.tile(treated, (MOST, 1))
    for g in groups:
        drawn = np.argsort(rng.random((MOST - 1, len(g))), axis=1)
        made[1:, g] = treated[g][drawn]
    return made


def _all(treated: BoolArray, groups: Sequence[IntArray]) -> np.ndarray:
    made = [np.zeros(len(treated), dtype=bool)]
    for g in groups:
        ways = [list(c) for c in combinations(g.tolist(), int(np.count_nonzero(treated[g])))]
        grown = []
        for before in made:
            for way in ways:
                one = before.copy()
                one[way] = True
                grown.append(one)
        made = grown
    found = np.stack(made)
    actual = (found == treated).all(axis=1)
    return np.concatenate([found[actual], found[~actual]])


def tested(
    treated: BoolArray, stratum: IntArray, statistic: Callable[[np.ndarray], tuple[FloatArray, FloatArray]]
) -> tuple[int, FloatArray, FloatArray]:
    """(possible assignments, statistics, slopes); nothing is computed where a test is not possible anyway."""
    groups = [np.flatnonzero(stratum == s) for s in np.unique(stratum)]
    n = possible([(len(g), int(np.count_nonzero(treated[g]))) for g in groups])
    if n < LEAST:
        return n, np.zeros(1), np.ones(1)
    return n, *statistic(assignments(treated, stratum))
