"""When did a rollout go on to its next stage? Change points of the arms' shares, where nobody declared stages.

Penalised maximum likelihood of a piecewise constant multinomial, exactly by dynamic programming (Jackson et al. 2005,
"An algorithm for optimal partitioning of data on an interval", IEEE Signal Processing Letters 12(2)).
"""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
from scipy import special, stats

from analysis.moments import FloatArray, IntArray

SPLIT_P = 0.01  # of a constant share, over all places where it could have changed (Bonferroni)
LEAST_ODDS = 1.5  # from 50 to 60 %; less is a drift, and no step that anybody plans
LEAST_GAIN = (
    1.1  # an arm that is given more people has more of them; one that seems larger because another lost has not
)
NEAR = 2.0  # log likelihoods this near the best say as much: then a midnight is it


def change_points(counts: IntArray, *, least: int = 1, weight: float = 1.0) -> list[int]:
    """The bins at which the arms' shares change, ascending, without 0.

    Maximises Σ over pieces of Σ_arms k·ln(k/n), each further piece at the cost of half the χ² quantile of SPLIT_P over
    the bins with arms − 1 degrees of freedom.

    Args:
        counts: people per bin and arm, shape (bins, arms).
        least: bins of a piece, at least.
        weight: of one count; below 1 where people are counted again and again.
    """
    bins, arms = counts.shape
    if bins < 2 * least or arms < 2:
        return []
    until = np.concatenate([np.zeros((1, arms)), np.cumsum(counts, axis=0)])
    cost = float(stats.chi2.isf(SPLIT_P / bins, arms - 1)) / 2
    best = np.full(bins + 1, -np.inf)
    best[0] = 0.0
    last = np.zeros(bins + 1, dtype=np.int64)
    for end in range(least, bins + 1):
        found = best[: end - least + 1] + weight * _log_likelihood(until[end] - until[: end - least + 1]) - cost
        last[end] = int(np.argmax(found))
        best[end] = found[last[end]]
    points: list[int] = []
    end = bins
    while last[end] > 0:
        end = int(last[end])
        points.append(end)
    return points[::-1]


def steps(
    counts: IntArray, met: IntArray, new: list[bool], midnights: IntArray, *, least: int = 1, weight: float = 1.0
) -> list[int]:
    """Those change points that look like a planned step, each at a midnight where that says as much.

    The new arms' odds against the others change by half or more, and the side that is given more is met by more people
    a day than before: a side that only lost people (ids that changed, a source that fell silent) makes no stage.

    Args:
        counts: people per bin and arm of whom the arm was drawn then, shape (bins, arms).
        met: all people met per bin and arm, shape (bins, arms).
        new: which arms have a new version.
        midnights: bins at which a day begins.
    """
    points = change_points(counts, least=least, weight=weight)
    drawn, there = (_sides(table, np.array(new)) for table in (counts, met))
    while points:
        edges = [0, *points, len(counts)]
        pieces = [(_per_bin(drawn, a, b), _per_bin(there, a, b)) for a, b in itertools.pairwise(edges)]
        kept = [p for p, (old, now) in zip(points, itertools.pairwise(pieces), strict=True) if _planned(old, now)]
        if kept == points:
            return _at_midnight(counts, points, midnights, least, weight)
        points = kept
    return []


def _sides(table: IntArray, new: npt.NDArray[np.bool_]) -> IntArray:
    """Old and new, shape (bins, 2)."""
    return np.stack([table[:, ~new].sum(axis=1), table[:, new].sum(axis=1)], axis=1)


def _per_bin(sides: IntArray, begin: int, end: int) -> FloatArray:
    found: FloatArray = sides[begin:end].sum(axis=0) / (end - begin)
    return found


def _planned(before: tuple[FloatArray, FloatArray], after: tuple[FloatArray, FloatArray]) -> bool:
    """Args: (drawn, met) a bin of old and new, before the change point and after it."""
    (drawn, met), (drawn_after, met_after) = before, after
    if min(drawn.min(), drawn_after.min(), met.min()) <= 0:
        return False
    odds = (drawn_after[1] / drawn_after[0]) / (drawn[1] / drawn[0])
    grown = met_after / met
    return bool((odds >= LEAST_ODDS and grown[1] >= LEAST_GAIN) or (odds <= 1 / LEAST_ODDS and grown[0] >= LEAST_GAIN))


def _at_midnight(counts: IntArray, points: list[int], midnights: IntArray, least: int, weight: float) -> list[int]:
    until = np.concatenate([np.zeros((1, counts.shape[1])), np.cumsum(counts, axis=0)])
    made: list[int] = []
    for i, point in enumerate(points):
        begin = made[-1] if made else 0
        end = points[i + 1] if i + 1 < len(points) else len(counts)
        places = np.arange(begin + least, end - least + 1)
        told = _log_likelihood(until[places] - until[begin]) + _log_likelihood(until[end] - until[places])
        near = places[weight * (told.max() - told) <= NEAR]
        days = np.intersect1d(near, midnights)
        made.append(int(days[np.argmin(np.abs(days - point))]) if len(days) else point)
    return made


def _log_likelihood(counts: FloatArray) -> FloatArray:
    """Σ k·ln(k/n) per row."""
    n = counts.sum(axis=-1)
    found: FloatArray = special.xlogy(counts, counts).sum(axis=-1) - special.xlogy(n, n)
    return found
