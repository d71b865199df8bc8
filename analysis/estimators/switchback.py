"""Zones that go back and forth between two versions: the difference over zone × block, permuted within each zone."""

from __future__ import annotations

import math

import numpy as np

from analysis.estimators.permutation import ZoneEffect, tested
from analysis.frames import BoolArray
from analysis.moments import FloatArray, IntArray


def switchback_effect(zone: IntArray, treated: BoolArray, y: FloatArray, rows: FloatArray) -> ZoneEffect:
    """Σy/Σrows of the blocks with the new version less the same of the others; the caller has dropped first hours.

    Args:
        zone: the zone of each block, shape (blocks,).
        treated: whether the block had the new version.
        y: sum of the metric over the block's people.
        rows: the block's people (or answers).
    """

    def statistic(drawn: np.ndarray) -> tuple[FloatArray, FloatArray]:
        new = drawn.astype(np.float64)
        old = 1 - new
        shifted = rows * treated
        slope = new @ shifted / (new @ rows) - old @ shifted / (old @ rows)
        return new @ y / (new @ rows) - old @ y / (old @ rows), slope

    n, statistics, slopes = tested(treated, zone, statistic)
    figures = [float(y[arm].sum() / rows[arm].sum()) for arm in (~treated, treated)]
    return ZoneEffect(
        figures[0], figures[1], figures[1] - figures[0], _clustered(treated, y, rows), n, statistics, slopes
    )


def _clustered(treated: BoolArray, y: FloatArray, rows: FloatArray) -> float | None:
    """Blocks as clusters, CR1; None with fewer than two on a side."""
    if min(np.count_nonzero(treated), np.count_nonzero(~treated)) < 2:
        return None
    var = 0.0
    for arm in (treated, ~treated):
        k, total = int(np.count_nonzero(arm)), rows[arm].sum()
        score = (y[arm] - y[arm].sum() / total * rows[arm]) / total
        var += float(np.sum(score**2)) * k / (k - 1)
    return math.sqrt(var)
