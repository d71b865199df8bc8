"""How are figures kept? As sums that add: any split of the units over days, segments or months gives the same estimate.

One unit lies in one cell. ``y`` is the unit's numerator (its event, its sum, the sum of its answers) and ``d`` its
denominator (1, its answers, or the people of a cluster); for ratios see Deng, Knoblich & Lu 2018 (arXiv 1803.06336).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Moments:
    """Sufficient statistics of units: count n, Σy, Σy², Σd, Σd², Σyd, Σy³. They add with ``+``."""

    n: int = 0
    y: float = 0.0
    yy: float = 0.0
    d: float = 0.0
    dd: float = 0.0
    yd: float = 0.0
    yyy: float = 0.0

    def __add__(self, other: Moments) -> Moments:
        return Moments(
            self.n + other.n,
            self.y + other.y,
            self.yy + other.yy,
            self.d + other.d,
            self.dd + other.dd,
            self.yd + other.yd,
            self.yyy + other.yyy,
        )


def cells(y: FloatArray, d: FloatArray, cell: IntArray, n_cells: int) -> list[Moments]:
    """The moments of each cell.

    Args:
        y: numerator per unit, shape (units,).
        d: denominator per unit, shape (units,).
        cell: the cell of each unit, 0 ≤ cell < n_cells, shape (units,).
    """

    def per_cell(weights: FloatArray) -> FloatArray:
        return np.asarray(np.bincount(cell, weights=weights, minlength=n_cells), dtype=np.float64)

    counts = np.bincount(cell, minlength=n_cells)
    columns = (y, y * y, d, d * d, y * d, y * y * y)
    sums = np.stack([per_cell(column) for column in columns], axis=1)
    return [Moments(int(n), *row) for n, row in zip(counts, sums.tolist(), strict=True)]


def total(moments: Iterable[Moments]) -> Moments:
    """The sum of many cells, each field rounded once (``math.fsum``), so that the order of the cells does not show."""
    kept = list(moments)
    return Moments(
        sum(m.n for m in kept),
        math.fsum(m.y for m in kept),
        math.fsum(m.yy for m in kept),
        math.fsum(m.d for m in kept),
        math.fsum(m.dd for m in kept),
        math.fsum(m.yd for m in kept),
        math.fsum(m.yyy for m in kept),
    )
