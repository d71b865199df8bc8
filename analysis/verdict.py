"""What to do? One verdict per change, from the deciding intervals of its metrics (the interim rule of docs/meaning.md).

A deciding interval is at level 1 − 0.05/m over the m metrics of a change that have one, on the absolute scale; it
excludes 0 exactly where Bonferroni's p is under 0.05. Words and verdicts use it alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from edgeloop.store.rows import Verdict

ALPHA = 0.05
MIN_FULL_DAYS = 7
MIN_EVENTS = 25  # units with the event, per arm, for a proportion
MIN_NONZERO = 50  # units with a sum other than 0, per arm, for money
MIN_BOTH = 150  # of either, in both arms together
MIN_ANSWERS = 30  # people who answered, per arm
POWER_Z = 1.96 + 0.84  # two-sided 5 %, power 80 %

Word = Literal["better", "worse", "no clear change", "not enough data"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One metric as the verdict sees it: its deciding interval, whether its floors are met, and which way is better."""

    metric: str
    low: float
    high: float
    can_decide: bool = True
    lower_is_better: bool = False

    @property
    def word(self) -> Word:
        """What may be said of it."""
        if not self.can_decide:
            return "not enough data"
        if self.low <= 0 <= self.high:
            return "no clear change"
        return "better" if (self.low > 0) != self.lower_is_better else "worse"

    @property
    def side(self) -> str:
        """Where the deciding interval lies."""
        if self.low <= 0 <= self.high:
            return "the deciding interval holds 0"
        less = ", and less is better" if self.lower_is_better else ""
        return f"the deciding interval lies wholly {'above' if self.low > 0 else 'below'} 0{less}"


def decide(findings: Iterable[Finding], alarms: Sequence[str]) -> Verdict:
    """First that holds: an alarm → repair; any metric worse → roll back; any better → promote; else keep testing."""
    words = {finding.word for finding in findings}
    if alarms:
        return "repair the data first"
    if "worse" in words:
        return "roll back"
    return "promote" if "better" in words else "keep testing"


def bonferroni(p: float, m: int) -> float:
    """min(1, m·p)."""
    return min(1.0, m * p)


def floor_missed(source: str, control: int, treated: int, full_days: int) -> str | None:
    """Why a metric may not decide yet, in words; None if it may.

    Args:
        source: ``share``, ``sum`` or ``answer``.
        control: people with the event, with a sum other than 0, or with an answer, in the control arm.
        treated: the same in the new version's arm.
        full_days: full entry days whose windows are complete.
    """
    seen = f"{control} and {treated}"
    if source == "answer":
        if min(control, treated) < MIN_ANSWERS:
            return f"not enough data: {seen} people answered (control, new version); {MIN_ANSWERS} in each are needed"
    else:
        least, what = (MIN_EVENTS, "people with the event") if source == "share" else (MIN_NONZERO, "people with a sum")
        if min(control, treated) < least or control + treated < MIN_BOTH:
            return (
                f"not enough data: {seen} {what} (control, new version); "
                f"{least} in each and {MIN_BOTH} in both are needed"
            )
    if full_days < MIN_FULL_DAYS:
        return f"not enough data: {full_days} of {MIN_FULL_DAYS} full entry days with complete windows"
    return None


def days_left(
    *, se: float, practical: float, complete: int, entered: int, entries_per_day: float, window_days: float
) -> int | None:
    """At least how many days until an effect of the practical size would be seen with power 80 %.

    ⌈max(0, N·(1.96 + 0.84)²·SE²/s² − N_entered)/(entries per day)⌉ + W in days. None where nobody enters any more, or
    where there is no practical size.
    """
    if practical <= 0 or entries_per_day <= 0:
        return None
    missing = max(0.0, complete * POWER_Z**2 * se**2 / practical**2 - entered)
    return math.ceil(missing / entries_per_day) + math.ceil(window_days)
