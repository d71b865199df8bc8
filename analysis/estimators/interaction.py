"""Do two changes on the same people help or hinder each other? The saturated linear model y = A + B + A×B."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from analysis.moments import IntArray, Moments

LEAST_UNITS = 100  # in each of the four cells


@dataclass(frozen=True, slots=True)
class Term:
    """One coefficient of the model, with HC2 standard error; the test is normal, as in OLS with robust errors."""

    effect: float
    se: float

    @property
    def p(self) -> float:
        """Two-sided; 1 where nothing varies."""
        return 2 * float(stats.norm.sf(abs(self.effect) / self.se)) if self.se else 1.0

    def interval(self, alpha: float = 0.05) -> tuple[float, float]:
        """At level 1 − alpha."""
        half = float(stats.norm.isf(alpha / 2)) * self.se
        return self.effect - half, self.effect + half


@dataclass(frozen=True, slots=True)
class JointModel:
    """A's effect without B, B's without A, and what both together add to their sum."""

    a: Term
    b: Term
    both: Term


def joint_model(cells: Sequence[Sequence[Moments]]) -> JointModel | None:
    """The model from the moments of four cells; None with fewer than 100 units in one of them.

    In a saturated model HC2 (MacKinnon & White 1985) is the sum of the cells' own unbiased variances over their units.

    Args:
        cells: ``cells[a][b]``, 0 the old version and 1 the new one.
    """
    if min(m.n for row in cells for m in row) < LEAST_UNITS:
        return None
    mean = [[m.y / m.n for m in row] for row in cells]
    var = [[max(m.yy - m.y * m.y / m.n, 0.0) / (m.n - 1) / m.n for m in row] for row in cells]
    return JointModel(
        a=Term(mean[1][0] - mean[0][0], math.sqrt(var[1][0] + var[0][0])),
        b=Term(mean[0][1] - mean[0][0], math.sqrt(var[0][1] + var[0][0])),
        both=Term(mean[1][1] - mean[1][0] - mean[0][1] + mean[0][0], math.sqrt(sum(v for row in var for v in row))),
    )


def independence(counts: IntArray) -> float | None:
    """p of "who has A's new version says nothing of B's" by χ² on the two-by-two counts; None where an arm is empty."""
    if counts.sum(axis=0).min() == 0 or counts.sum(axis=1).min() == 0:
        return None
    expected = np.outer(counts.sum(axis=1), counts.sum(axis=0)) / counts.sum()
    return float(stats.chi2.sf(float(((counts - expected) ** 2 / expected).sum()), 1))
