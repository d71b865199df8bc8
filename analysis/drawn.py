"""Was it drawn who got which version? What was declared, or what share and history of the two arms say together.

Labels on exposures say who was in which arm, not how they came there (docs/meaning.md, "Grades").
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import stats

from analysis.change import LedgerChange
from analysis.checks import Finding
from analysis.effects import StageData
from analysis.frames import BoolArray, Coded, Frames
from analysis.moments import FloatArray, IntArray
from analysis.srm import alarm
from edgeloop.store.facts import KnownBefore

SPEAKS_P = 0.05  # of all that was compared, together: below it the arms do not look drawn
LEAST_EXPECTED = 5.0  # Cochran's rule; rarer values are one


def declared(change: LedgerChange) -> bool:
    """Somebody said that it was drawn: an allocation, or ``assignment = random``."""
    return change.assignment == "random" or any(stage.allocation for stage in change.stages)


def looks_drawn(frames: Frames, data: StageData, found: Sequence[Finding]) -> bool:
    """The arms' share is the same on all days, some goal was the same before, and so was everything else that is known.

    Beside the goals of the days before: whether people were known before, and zone, device, segment and touchpoint of
    the entry. p ≥ 0.05 over all of these (Bonferroni), so that of drawn arms one in twenty or fewer is not believed.

    Args:
        found: the checks so far, with ``share_drift`` and ``pre_period`` of this stage.
    """
    own = [f for f in found if f.stage == data.cohort.stage.number]
    share = next((f.p for f in own if f.check == "share_drift"), None)
    goals = [f.p for f in own if f.check.startswith("pre_period:") and f.p is not None]
    if share is None or not goals:
        return False
    p = [share, *goals, *_alike(frames, data)]
    return min(p) * len(p) >= SPEAKS_P


def known_before_checks(frames: Frames, stages: Sequence[StageData]) -> list[Finding]:
    """Whether as many people of both arms had been met before the change: p < 0.001, Bonferroni over the stages.

    A version under which part of the people go by other ids has more strangers than the other one, and their outcomes
    are nobody's. Only of people who were drawn one by one: those of one courier or cluster come together.
    """
    tables = {
        data.cohort.stage.number: _known(frames, data)
        for data in stages
        if not data.customers.crowd.clustered and not data.customers.crowd.inside.declared
    }
    tested = {number: (table, p) for number, table in tables.items() if (p := _chi(table)) is not None}
    found = []
    for number, (table, p) in tested.items():
        old, new = table[:, 1] / table.sum(axis=1)
        blocked = alarm(p, len(tested))
        said = KnownBefore(float(old), float(new), p) if blocked else None
        found.append(Finding("known_before", number, "block" if blocked else "ok", float(new - old), p, said))
    return found


def _known(frames: Frames, data: StageData) -> FloatArray:
    crowd = data.customers.crowd
    return _counts((frames.first_seen[crowd.person] < data.first_us).astype(np.int64), crowd.person_treated, 2)


def _alike(frames: Frames, data: StageData) -> list[float]:
    """The p of every other thing that is known of people when they entered."""
    x, crowd = frames.exposures, data.customers.crowd
    tables = [_known(frames, data)]
    tables += [_of(coded, crowd.row, crowd.person_treated) for coded in (x.zone, x.device, x.segment, x.touchpoint)]
    return [p for table in tables if (p := _chi(table)) is not None]


def _of(coded: Coded, rows: IntArray, treated: BoolArray) -> FloatArray:
    return _counts(coded.of_rows(rows) + 1, treated, len(coded.labels) + 1)


def _counts(code: IntArray, treated: BoolArray, n: int) -> FloatArray:
    """People by arm and value, shape (2, n)."""
    return np.bincount(treated * n + code, minlength=2 * n).reshape(2, n).astype(np.float64)


def _chi(table: FloatArray) -> float | None:
    """χ² of values over two arms, rare values as one; None where there is nothing to compare."""
    n, arms = table.sum(), table.sum(axis=1)
    if n == 0 or arms.min() == 0:
        return None
    rare = table.sum(axis=0) * arms.min() / n < LEAST_EXPECTED
    joined = np.column_stack([table[:, ~rare], table[:, rare].sum(axis=1)])
    joined = joined[:, joined.sum(axis=0) * arms.min() / n >= LEAST_EXPECTED]
    if joined.shape[1] < 2:
        return None
    return float(stats.chi2_contingency(joined, correction=False).pvalue)
