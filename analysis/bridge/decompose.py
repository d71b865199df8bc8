"""The arithmetic of the month bridge: two months' cells into bars that sum (docs/meaning.md, "The bridge").

Cells are day types × groups. Every product is split at the mean of the two months (Kitagawa 1955, "Components of a
difference between two rates"), so that the parts sum exactly and no month is the base.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from analysis.moments import FloatArray

LEAST_UNITS = 30  # of a group in either month; fewer, and it joins the others


@dataclass(frozen=True, slots=True, eq=False)
class MonthCells:
    """One month's sums per cell.

    Args:
        n: units, or the denominator of a ratio, shape (day types, groups).
        y: the metric's sum, the same shape.
        have: per change (and pair of changes) the units that had its version, the same shape.
    """

    n: FloatArray
    y: FloatArray
    have: Mapping[str, FloatArray]


@dataclass(frozen=True, slots=True)
class Bridge:
    """From ``before`` to ``after``, per unit: the three parts of the change, and what each version has in the third.

    ``exposed`` is x: by how much the share of units with the version grew, at the mean mix. ``volume`` and ``total``
    are of sums: Δn·R̄ and Δ(n·R).
    """

    before: float
    after: float
    calendar: float
    mix: float
    rate: float
    exposed: Mapping[str, float]
    volume: float
    total: float


def pooled(cells: MonthCells, other: MonthCells) -> tuple[MonthCells, MonthCells]:
    """The two months with groups of fewer than 30 units in either joined into one group, the last."""
    small = (cells.n.sum(axis=0) < LEAST_UNITS) | (other.n.sum(axis=0) < LEAST_UNITS)
    if np.count_nonzero(small) == 0:
        return cells, other
    return _join(cells, small), _join(other, small)


def decompose(before: MonthCells, after: MonthCells) -> Bridge:
    """The bridge between two months with the same cells; each has units.

    A cell that is empty in one month borrows the other's rate and shares of versions, a day type without units the
    other's groups; what is empty in both weighs nothing.
    """
    totals = [float(m.n.sum()) for m in (before, after)]
    if min(totals) <= 0:
        raise ValueError("a month without units has no figure to bridge from or to")
    by_day = [m.n.sum(axis=1) for m in (before, after)]
    a = [d / n for d, n in zip(by_day, totals, strict=True)]
    s = _borrowed([m.n for m in (before, after)], [d[:, None] for d in by_day])
    r = _borrowed([m.y for m in (before, after)], [m.n for m in (before, after)])
    of_day = [(s[t] * r[t]).sum(axis=1) for t in (0, 1)]
    figure = [float(a[t] @ of_day[t]) for t in (0, 1)]
    mean_a, mean_s = (a[0] + a[1]) / 2, (s[0] + s[1]) / 2
    weight = mean_a[:, None] * mean_s
    exposed = {}
    for name in before.have:
        e = _borrowed([m.have[name] for m in (before, after)], [m.n for m in (before, after)])
        exposed[name] = float((weight * (e[1] - e[0])).sum())
    return Bridge(
        before=figure[0],
        after=figure[1],
        calendar=float((a[1] - a[0]) @ (of_day[0] + of_day[1]) / 2),
        mix=float(mean_a @ ((s[1] - s[0]) * (r[0] + r[1]) / 2).sum(axis=1)),
        rate=float((weight * (r[1] - r[0])).sum()),
        exposed=exposed,
        volume=(totals[1] - totals[0]) * (figure[0] + figure[1]) / 2,
        total=totals[1] * figure[1] - totals[0] * figure[0],
    )


def _borrowed(numerators: list[FloatArray], denominators: list[FloatArray]) -> list[FloatArray]:
    """Quotients per month; where a month has no denominator the other month's, 0 where neither has one."""
    own = []
    for y, n in zip(numerators, denominators, strict=True):
        n = np.broadcast_to(n, y.shape)
        own.append(np.divide(y, n, out=np.zeros(y.shape), where=n > 0))
    there = [np.broadcast_to(n, own[0].shape) > 0 for n in denominators]
    return [np.where(there[0], own[0], own[1]), np.where(there[1], own[1], own[0])]


def _join(cells: MonthCells, small: np.ndarray) -> MonthCells:
    def join(sums: FloatArray) -> FloatArray:
        return np.concatenate([sums[:, ~small], sums[:, small].sum(axis=1, keepdims=True)], axis=1)

    return MonthCells(join(cells.n), join(cells.y), {name: join(have) for name, have in cells.have.items()})
