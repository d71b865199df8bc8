"""Zones that go back and forth between two versions: the difference over zone × block, permuted within each zone."""

from __future__ import annotations

import math

import numpy as np

from analysis.estimators.permutation import ZoneEffect, tested
from analysis.estimators.studentised import Statistic, Units
from analysis.frames import BoolArray
from analysis.moments import FloatArray, IntArray


def switchback_effect(
    zone: IntArray,
    treated: BoolArray,
    y: FloatArray,
    rows: FloatArray,
    squares: FloatArray | None = None,
    *,
    drawn: bool = True,
) -> ZoneEffect:
    """Σy/Σrows of the blocks with the new version less the same of the others; the caller has dropped first hours.

    Args:
        zone: the zone of each block, shape (blocks,).
        treated: whether the block had the new version.
        y: sum of the metric over the block's people.
        rows: the block's people (or answers).
        squares: sum over a block's people of (y − rate·rows)²; None: not known.
        drawn: whether chance chose them.
    """
    order = np.argsort(zone, kind="stable")
    zone, treated, y, rows = zone[order], treated[order], y[order], rows[order]
    noise = np.zeros(len(rows)) if squares is None else squares.sum() / rows.sum() / rows
    units = Units(treated, zone, y / rows, noise)
    begins, shape = units.begins, units.shape()
    people = np.add.reduceat(rows, begins)
    level = np.add.reduceat(y, begins) / people
    # How far levels of zones lie apart: what another mix of zones in the two arms would make of nothing.
    apart = np.average((level - np.average(level, weights=people)) ** 2, weights=people)

    columns = np.stack([rows, y, rows * treated, rows**2 * shape], axis=1)
    total = columns.sum(axis=0)

    def statistic(drawn: np.ndarray) -> Statistic:
        sums = drawn @ columns
        of_new, of_old = sums.T, (total - sums).T
        mix = np.add.reduceat(drawn * rows, begins, axis=1)
        mix = mix / of_new[0][:, None] - (people - mix) / of_old[0][:, None]
        return Statistic(
            of_new[1] / of_new[0] - of_old[1] / of_old[0],
            of_new[2] / of_new[0] - of_old[2] / of_old[0],
            (of_new[3] / of_new[0] ** 2, of_old[3] / of_old[0] ** 2),
            apart * (mix**2).sum(axis=1) if len(begins) > 1 else np.zeros(len(drawn)),
        )

    n, looked = tested(units, statistic)
    figures = [float(y[arm].sum() / rows[arm].sum()) for arm in (~treated, treated)]
    effect = figures[1] - figures[0]
    se = math.sqrt(float(looked.uncertainty(effect)[0][0])) if looked is not None else None
    return ZoneEffect(figures[0], figures[1], effect, se, n, looked, drawn)
