"""What if the draw had fallen otherwise? Tests by permutation of the units that were drawn, and their intervals."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np

from analysis.estimators.studentised import Looked, Statistic, Units
from analysis.frames import BoolArray
from analysis.moments import FloatArray, IntArray
from edgeloop.store.facts import FewDraws

MOST = 10_000  # assignments looked at; of more that many are drawn
MOST_CELLS = 5_000_000  # assignments × units: of very many units fewer are looked at
FEWEST_DRAWN = 1_999
LEAST = 20  # of fewer possible assignments no p can be small enough to say anything
_CHUNK = 1_000_000  # assignments × units at a time
_STEPS = tuple(1.5**i / 8 for i in range(36))
"""In standard errors: where the p of a shift is looked at on either side, so that p and interval cannot disagree."""
_NEGLIGIBLE = 1e-6  # no level is so small
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class ZoneEffect:
    """The effect with its permutation test; offers what `analysis.lift.Effect` does.

    ``se`` is what the design prints; the test has its own of each assignment (`studentised`).
    """

    control: float
    treated: float
    effect: float
    se: float | None
    assignments: int
    """How many assignments are possible."""
    looked: Looked | None = field(default=None, repr=False)
    """The assignments looked at, the actual one first; that alone where a permutation says nothing."""
    drawn: bool = True
    """Whether chance chose; where it did not, Student's test of the same statistic has to agree."""
    before: tuple[float, float] | None = None
    """(old version's zones, new version's) before the start, where the effect is a difference of differences."""
    lasting_se: float = 0.0
    """The part of the SE that zones make by what they share, which no more people take away."""
    seen: dict[float, float] = field(default_factory=dict, repr=False)
    """The p of shifts that were asked for."""

    @property
    def refusal(self) -> FewDraws | None:
        """Why there is no p."""
        if self.assignments >= LEAST:
            return None
        return FewDraws(self.assignments, LEAST)

    @property
    def least_p(self) -> float | None:
        """The smallest p that so many assignments allow: where as many are drawn as not, each has a mirror image."""
        if self.refusal is not None or self.looked is None:
            return None
        scores = np.abs(self.looked.scores(0.0))
        return _share_at_least(scores, float(np.max(scores)))

    @property
    def p(self) -> float | None:
        """The share of assignments, the actual one among them, whose studentised effect is at least as large.

        The largest of 0's and of the shifts' beyond it, so that it says what the interval says at every level.
        """
        if self.refusal is not None:
            return None
        way = -1.0 if self.effect > 0 else 1.0
        return max(self.p_of(shift) for shift in self._shifts(way) if way * shift >= 0)

    def p_of(self, shift: float) -> float:
        """The p of the hypothesis that the effect is ``shift`` everywhere."""
        if self.looked is None:
            return 1.0
        if shift not in self.seen:
            scores = np.abs(self.looked.scores(shift))
            p = _share_at_least(scores, float(scores[0]))
            if not self.drawn and not self.looked.pooled:
                # Half of the zones, all of them the small ones: of no other assignment the figures are like these.
                tail = self.looked.tail(shift)
                p = p if tail is None else max(p, 2 * min(tail, 1 - tail))
            self.seen[shift] = p
        return self.seen[shift]

    def p_above(self, shift: float) -> float | None:
        """One-sided p of "the effect is at most ``shift``"; small: it lies above.

        The permutation's; Student's of the same statistic where too few assignments are possible, and where it is
        smaller than the least that a permutation can say of the most extreme assignment. None where nothing varies.
        """
        return self._one_sided(shift, 1.0)

    def p_below(self, shift: float) -> float | None:
        """One-sided p of "the effect is at least ``shift``"; small: it lies below. As `p_above`."""
        return self._one_sided(shift, -1.0)

    def interval(self, alpha: float = 0.05) -> tuple[float, float] | None:
        """From the nearest to the farthest shift with p > alpha; an end that no assignment can exclude is infinite."""
        if self.refusal is not None:
            return None
        return self._end(-1.0, alpha), self._end(1.0, alpha)

    def _one_sided(self, shift: float, way: float) -> float | None:
        if self.looked is None or not self.looked.varies:
            return None
        student = self.looked.tail(shift)
        if student is None or self.refusal is not None:
            return student if student is None or way > 0 else 1 - student
        scores = way * self.looked.scores(shift)
        p = _share_at_least(scores, float(scores[0]))
        return p if p > 1 / len(scores) + _ROUNDING else min(p, student if way > 0 else 1 - student)

    def _shifts(self, way: float) -> list[float]:
        """Where the p of a shift is looked at, from the effect away: in steps of its SE, and 0 where that lies there.

        Steps end where every other assignment is less extreme, as all are in the limit.
        """
        found = [self.effect] if way * self.effect > 0 else sorted({self.effect, 0.0}, key=lambda s: way * s)
        if self.looked is None:
            return found
        unit = math.sqrt(float(self.looked.uncertainty(self.effect)[0][0])) or max(abs(self.effect), 1e-12)
        for step in _STEPS:
            shift = self.effect + way * step * unit
            found.append(shift)
            if self.p_of(shift) <= max(1 / len(self.looked), _NEGLIGIBLE):
                break
        return sorted(found, key=lambda s: way * s)

    def _end(self, way: float, alpha: float) -> float:
        """Beyond the farthest shift looked at that is not excluded lies one that is; the end is between the two."""
        shifts = self._shifts(way)
        last = max((i for i, s in enumerate(shifts) if self.p_of(s) > alpha), default=0)
        if last == len(shifts) - 1:
            return way * math.inf
        inside, outside = shifts[last], shifts[last + 1]
        for _ in range(24):
            middle = (inside + outside) / 2
            if self.p_of(middle) <= alpha:
                outside = middle
            else:
                inside = middle
        return inside


def _share_at_least(scores: FloatArray, least: float) -> float:
    if least == math.inf:
        return float(np.mean(scores == least))
    return float(np.mean(scores >= least - _ROUNDING * max(abs(least), 1.0)))


def possible(strata: Sequence[tuple[int, int]]) -> int:
    """How many assignments keep the number of treated units of each stratum (units, treated)."""
    return math.prod(math.comb(n, k) for n, k in strata)


def assignments(treated: BoolArray, stratum: IntArray) -> np.ndarray:
    """Assignments that keep the number treated in each stratum, the actual one first; shape (assignments, units).

    All of them where there are at most 10,000, else as many drawn (of very many units fewer) by a seed from the shape
    of the data, so that the same data gives the same p everywhere.
    """
    groups = [np.flatnonzero(stratum == s) for s in np.unique(stratum)]
    n = possible([(len(g), int(np.count_nonzero(treated[g]))) for g in groups])
    most = min(MOST, max(FEWEST_DRAWN, MOST_CELLS // max(len(treated), 1)))
    if n <= most:
        return _all(treated, groups)
    rng = np.random.default_rng([len(treated), int(np.count_nonzero(treated)), len(groups)])
    made = np.tile(treated, (most, 1))
    for g in groups:
        drawn = np.argsort(rng.random((most - 1, len(g))), axis=1)
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


def tested(units: Units, statistic: Callable[[np.ndarray], Statistic]) -> tuple[int, Looked | None]:
    """(possible assignments, those looked at): the actual one alone where a permutation test is not possible anyway.

    None with so few units that nothing can be told of their spread.
    """
    treated, stratum = units.treated, units.stratum
    groups = [np.flatnonzero(stratum == s) for s in np.unique(stratum)]
    n = possible([(len(g), int(np.count_nonzero(treated[g]))) for g in groups])
    if len(treated) - len(groups) < 2:
        return n, None
    drawn = assignments(treated, stratum) if n >= LEAST else treated[None, :]
    return n, Looked.at(units, units.shape(), _chunks(drawn), statistic)


def _chunks(drawn: np.ndarray) -> Iterator[np.ndarray]:
    step = max(1, _CHUNK // drawn.shape[1])
    for begin in range(0, len(drawn), step):
        yield drawn[begin : begin + step]
