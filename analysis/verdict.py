"""What to do? One verdict per change: the first row of the table in docs/meaning.md, "Verdicts", that holds.

Every number here is turned so that positive is better for goals, and worse for guardrails ("harm").
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from scipy import stats

from edgeloop.store.rows import Verdict

ALPHA = 0.05
MIN_FULL_DAYS = 7
MIN_EVENTS = 25  # units with the event, per arm, for a proportion
MIN_NONZERO = 50  # units with a sum other than 0, per arm, for money
MIN_BOTH = 150  # of either, in both arms together
MIN_ANSWERS = 30  # people who answered, per arm
POWER_Z = 1.96 + 0.84  # two-sided 5 %, power 80 %
POWER_Z_ONE_SIDED = 1.645 + 0.84
PATIENCE_DAYS = 28  # longer than this nobody waits

State = Literal["breach", "cleared", "open"]


@dataclass(frozen=True, slots=True)
class Goal:
    """One goal: its deciding interval, and whether that may decide. Positive is better.

    ``practical`` is the smallest effect worth acting on; ``placebo_p`` is of a full switch.
    """

    metric: str
    low: float
    high: float
    decided: bool
    """p_adjusted ≤ α, and no floor missed: the interval excludes 0."""
    floor: str | None = None
    practical: float | None = None
    plan_reached: bool = False
    placebo_p: float | None = None

    @property
    def better(self) -> bool:
        """Decided, and the right way."""
        return self.decided and self.low > 0

    @property
    def worse(self) -> bool:
        """Decided, and the wrong way."""
        return self.decided and self.high < 0

    @property
    def no_effect_of_size(self) -> bool:
        """The whole deciding interval lies inside what is worth acting on."""
        s = self.practical
        return self.floor is None and s is not None and -s < self.low and self.high < s


@dataclass(frozen=True, slots=True)
class Guard:
    """One guardrail: its state, and the least harm that could be seen today."""

    metric: str
    state: State
    visible: float | None = None
    days_left: int | None = None


@dataclass(frozen=True, slots=True)
class Case:
    """All that a verdict rests on."""

    goals: Sequence[Goal] = ()
    guards: Sequence[Guard] = ()
    alarms: Sequence[str] = ()
    refused: str | None = None
    before_after: bool = False
    quasi: bool = False
    full_days: int = 0
    days_left: int | None = None
    """Of the headline: until an effect of the practical size would show; None: nobody enters any more."""


@dataclass(frozen=True, slots=True)
class Ruling:
    """The verdict, the row of the table that gave it, and why in words."""

    verdict: Verdict
    row: int
    why: str


def rule(case: Case) -> Ruling:
    """The first row that holds (docs/meaning.md, "Verdicts")."""
    breached = [g.metric for g in case.guards if g.state == "breach"]
    worse = [g for g in case.goals if g.worse and not (case.before_after and not _placebo_agrees(g))]
    if breached:
        return Ruling("roll back", 1, f"guardrail breached: {', '.join(breached)}")
    if worse and not case.alarms:
        return Ruling("roll back", 1, f"worse: {', '.join(g.metric for g in worse)}")
    if case.alarms:
        return Ruling("repair the data first", 2, ", ".join(case.alarms))
    if case.refused is not None or case.before_after:
        why = case.refused or "before and after only"
        return Ruling("keep testing", 3, f"{why}; hold back 5 % of the units to compare with")
    floors = [g.floor for g in case.goals if g.floor is not None]
    if case.full_days < MIN_FULL_DAYS:
        return Ruling("keep testing", 4, f"{case.full_days} of {MIN_FULL_DAYS} full entry days with complete windows")
    if len(floors) == len(case.goals):
        return Ruling("keep testing", 4, floors[0] if floors else "not enough data: no goal has data yet")
    if all(g.plan_reached and g.no_effect_of_size for g in case.goals):
        return Ruling("stop, no effect", 5, "every goal's whole range is smaller than what is worth acting on")
    better = [g.metric for g in case.goals if g.better]
    waits = [g for g in case.guards if g.state != "cleared"]
    if better and not waits:
        how = "; the comparison has a known weakness" if case.quasi else ""
        return Ruling("promote", 6, f"better: {', '.join(better)}{how}")
    days = [d for d in (case.days_left, _slowest(waits)) if d is not None]
    if days and min(days) <= PATIENCE_DAYS:
        what = f"guardrails not cleared yet: {', '.join(g.metric for g in waits)}" if better else "nothing decided yet"
        return Ruling("keep testing", 7, f"{what}; at least {min(d for d in days if d <= PATIENCE_DAYS)} more days")
    if better:
        return Ruling("stop, no effect", 8, f"guardrails that cannot be cleared: {', '.join(g.metric for g in waits)}")
    return Ruling("stop, no effect", 8, "none of a size worth acting on could be shown")


def floor_missed(source: str, control: int, treated: int, full_days: int) -> str | None:
    """Why a metric may not decide yet, in words; None if it may.

    Args:
        source: ``share``, ``sum``, ``answer`` or ``exposure``.
        control: people with the event, with a sum other than 0, or with an answer, in the control arm.
        treated: the same in the new version's arm.
        full_days: full entry days whose windows are complete.
    """
    seen = f"{control} and {treated}"
    if source == "answer":
        if min(control, treated) < MIN_ANSWERS:
            return f"not enough data: {seen} people answered (control, new version); {MIN_ANSWERS} in each are needed"
    elif source in ("share", "sum"):
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
    *,
    se: float,
    practical: float,
    complete: int,
    entered: int,
    entries_per_day: float,
    window_days: float,
    z: float = POWER_Z,
) -> int | None:
    """At least how many days until an effect of the practical size would be seen with power 80 %.

    ⌈max(0, N·(1.96 + 0.84)²·SE²/s² − N_entered)/(entries per day)⌉ + W in days. None where nobody enters any more, or
    where there is no practical size.
    """
    if practical <= 0 or entries_per_day <= 0:
        return None
    missing = max(0.0, complete * z**2 * se**2 / practical**2 - entered)
    return math.ceil(missing / entries_per_day) + math.ceil(window_days)


def expected_loss(effect: float, se: float, *, promote: bool) -> float:
    """What the decision is expected to cost per unit, should it be the wrong one; ``effect`` positive is better.

    z = effect/SE: promoting costs SE·(φ(z) − z(1 − Φ(z))), stopping SE·(φ(z) + z·Φ(z)).
    """
    if se == 0:
        return max(0.0, -effect if promote else effect)
    z = effect / se
    density = float(stats.norm.pdf(z))
    return se * (density - z * float(stats.norm.sf(z))) if promote else se * (density + z * float(stats.norm.cdf(z)))


def _placebo_agrees(goal: Goal) -> bool:
    return goal.placebo_p is not None and goal.placebo_p <= ALPHA


def _slowest(waits: Sequence[Guard]) -> int | None:
    """Days until the last guardrail could be cleared; None where one of them never will."""
    days = [g.days_left for g in waits]
    return max((d for d in days if d is not None), default=None) if None not in days else None
