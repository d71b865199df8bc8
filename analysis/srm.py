"""Did every arm get its share? Sample ratio mismatch against the declared allocation; without one, a share that drifts.

Fabijan et al. 2019 ("Diagnosing Sample Ratio Mismatch", KDD) for the test and for the strict level.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from scipy import stats

from analysis.moments import FloatArray, IntArray

ALARM_P = 0.001
MIN_EXPECTED_UNITS = 8  # per arm; below it the χ² distribution does not hold
MIN_EXPECTED_PER_DAY = 5  # per arm and group of days, Cochran's rule


@dataclass(frozen=True, slots=True)
class ChiSquare:
    """A χ² statistic with its degrees of freedom and p."""

    statistic: float
    df: int
    p: float


def sample_ratio(observed: Mapping[str, int], weights: Mapping[str, float]) -> ChiSquare | None:
    """χ² of units per version (or ``holdout``) against their weights; df = versions with weight − 1.

    Units of a version without weight are left out: it was not part of the draw. None where nothing can be tested: fewer
    than two versions with weight, or fewer than 8 units expected in one of them.
    """
    drawn = sorted(version for version, weight in weights.items() if weight > 0)
    if len(drawn) < 2:
        return None
    seen = np.array([observed.get(version, 0) for version in drawn], dtype=float)
    share = np.array([weights[version] for version in drawn], dtype=float)
    expected = seen.sum() * share / share.sum()
    if expected.min() < MIN_EXPECTED_UNITS:
        return None
    return _chi_square(float(((seen - expected) ** 2 / expected).sum()), len(drawn) - 1)


def combined(tests: Iterable[ChiSquare]) -> ChiSquare | None:
    """Σχ² over stages, df Σ(versions − 1); None without tests."""
    kept = list(tests)
    if len(kept) == 1:
        return kept[0]
    return _chi_square(sum(t.statistic for t in kept), sum(t.df for t in kept)) if kept else None


def within_strata(tests: Iterable[ChiSquare | None]) -> ChiSquare | None:
    """Σχ² over strata, df added up; those too small to be tested (None) are passed over. None without tests."""
    return combined(test for test in tests if test is not None)


def alarm(p: float, tests: int) -> bool:
    """p < 0.001 after Bonferroni's correction over that many tests."""
    return p * tests < ALARM_P


def share_drift(control: IntArray, treated: IntArray) -> ChiSquare | None:
    """Whether the treated share is the same on all days: χ² over days × two arms.

    Neighbouring days are joined until each arm can expect 5 units. None for fewer than two such groups of days.

    Args:
        control: units that entered per day, shape (days,).
        treated: the same of the other arm.
    """
    days = np.stack([control, treated]).astype(float)
    all_units = days.sum()
    if all_units == 0:
        return None
    share = days.sum(axis=1) / all_units
    if share.min() == 0:
        return None
    table = _joined(days, MIN_EXPECTED_PER_DAY / float(share.min()))
    if table.shape[1] < 2:
        return None
    expected = share[:, None] * table.sum(axis=0)[None, :]
    return _chi_square(float(((table - expected) ** 2 / expected).sum()), table.shape[1] - 1)


def _joined(days: FloatArray, at_least: float) -> FloatArray:
    """Neighbouring columns added up until each sum holds ``at_least`` units; a short rest joins the last."""
    columns: list[FloatArray] = []
    open_sum = np.zeros(2)
    for column in days.T:
        open_sum = open_sum + column
        if open_sum.sum() >= at_least:
            columns.append(open_sum)
            open_sum = np.zeros(2)
    if columns:
        columns[-1] = columns[-1] + open_sum
    return np.stack(columns, axis=1) if columns else np.zeros((2, 0))


def _chi_square(statistic: float, df: int) -> ChiSquare:
    return ChiSquare(statistic, df, float(stats.chi2.sf(statistic, df)))
