"""What to do? One verdict per change: the first row of the table in docs/meaning.md, "Verdicts", that holds.

Every number here is turned so that positive is better for goals, and worse for guardrails ("harm").
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scipy import stats

from edgeloop.store import facts
from edgeloop.store.facts import AnyFact, FewOf, GuardState, NotShown, Ruled, Said

ALPHA = 0.05
MIN_FULL_DAYS = 7
MIN_EVENTS = 25  # units with the event, per arm, for a proportion
MIN_NONZERO = 50  # units with a sum other than 0, per arm, for money
MIN_BOTH = 150  # of either, in both arms together
MIN_ANSWERS = 30  # people who answered, per arm
POWER_Z = 1.96 + 0.84  # two-sided 5 %, power 80 %
POWER_Z_ONE_SIDED = 1.645 + 0.84
PATIENCE_DAYS = 28  # longer than this nobody waits

State = GuardState


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
    floor: AnyFact | None = None
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
    margin: float | None = None
    """The harm that is forbidden, in the unit of what is tested."""


@dataclass(frozen=True, slots=True)
class Case:
    """All that a verdict rests on."""

    goals: Sequence[Goal] = ()
    guards: Sequence[Guard] = ()
    alarms: Sequence[AnyFact] = ()
    refused: AnyFact | None = None
    before_after: bool = False
    quasi: bool = False
    full_days: int = 0
    days_left: int | None = None
    """Of the headline: until an effect of the practical size would show; 0: it would by now; None: nobody knows."""
    ended: bool = False
    """The change is over: nothing more will come in."""
    unsent: tuple[str, ...] = ()
    """Events that the goals are made of, where none of any goal was met."""
    not_shown: NotShown | None = None
    """What an undecided end says of the headline."""


def rule(case: Case) -> Ruled:
    """The first row that holds (docs/meaning.md, "Verdicts")."""
    breached = tuple(g.metric for g in case.guards if g.state == "breach")
    worse = tuple(g for g in case.goals if g.worse and not (case.before_after and not _placebo_agrees(g)))
    if breached:
        return Ruled("roll back", 1, (facts.Breached(breached),))
    if worse and not case.alarms:
        return Ruled("roll back", 1, (facts.Worse(_names(worse), _names([g for g in worse if g.floor is not None])),))
    if case.alarms:
        return Ruled("repair the data first", 2, tuple(case.alarms))
    if case.refused is not None or case.before_after:
        return Ruled("keep testing", 3, (case.refused or Said("no control"), facts.HoldBack()))
    floors = [g.floor for g in case.goals if g.floor is not None]
    if case.full_days < MIN_FULL_DAYS:
        return _early(case, facts.FewDays(case.full_days, MIN_FULL_DAYS))
    if len(floors) == len(case.goals):
        missing = facts.NoGoal(case.unsent) if case.unsent else Said("no goal data")
        return _early(case, floors[0] if floors else missing)
    if all(g.plan_reached and g.no_effect_of_size for g in case.goals):
        return Ruled("stop, no effect", 5, (Said("small throughout"),))
    better = _names([g for g in case.goals if g.better])
    waits = [g for g in case.guards if g.state != "cleared"]
    if better and not waits:
        return Ruled("promote", 6, (facts.Better(better, case.quasi),))
    if better:
        metrics = tuple(g.metric for g in waits)
        return Ruled("keep testing", 7, (facts.GuardsOpen(metrics, _slowest(waits), better),))
    days = case.days_left
    open_plan = not all(g.plan_reached for g in case.goals if g.floor is None)
    if not case.ended and (days is None or 0 < days <= PATIENCE_DAYS or open_plan):
        return Ruled("keep testing", 7, (facts.Undecided(days or None),))
    return Ruled("not shown", 8, (case.not_shown or NotShown(""),))


def _early(case: Case, why: AnyFact) -> Ruled:
    """Too little to say anything: more is waited for, unless the change is over."""
    return Ruled("not shown", 8, (why,)) if case.ended else Ruled("keep testing", 4, (why,))


def _names(goals: Sequence[Goal]) -> tuple[str, ...]:
    return tuple(g.metric for g in goals)


def floor_missed(
    source: str, control: int, treated: int, full_days: int, without: tuple[int, int] | None = None
) -> AnyFact | None:
    """Why a metric may not decide yet; None if it may.

    A share near 1 is as skewed as one near 0, so the rarer side counts: those with the event, or those without it.

    Args:
        source: ``share``, ``sum``, ``answer`` or ``exposure``.
        control: people with the event, with a sum other than 0, with an answer, or units with a marked request, in the
            control arm.
        treated: the same in the new version's arm.
        full_days: full entry days whose windows are complete.
        without: of shares: people without the event, or units with a request without the mark, in (control, treated);
            None: the metric is no share.
    """
    if source == "answer":
        if min(control, treated) < MIN_ANSWERS:
            return facts.Few("answer", control, treated, MIN_ANSWERS)
    elif source == "sum":
        if min(control, treated) < MIN_NONZERO or control + treated < MIN_BOTH:
            return facts.Few("sum", control, treated, MIN_NONZERO, MIN_BOTH)
    elif without is not None or source == "share":
        people = source == "share"
        of: FewOf = "event" if people else "mark"
        seen = control, treated
        if without is not None and (min(without), sum(without)) < (min(seen), sum(seen)):
            of, seen = "no event" if people else "no mark", without
        both = MIN_BOTH if people else None
        if min(seen) < MIN_EVENTS or (both is not None and sum(seen) < both):
            return facts.Few(of, *seen, MIN_EVENTS, both)
    elif min(control, treated) < MIN_NONZERO:
        return facts.Few("unit", control, treated, MIN_NONZERO)
    if full_days < MIN_FULL_DAYS:
        return facts.FewDays(full_days, MIN_FULL_DAYS)
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
    lasting_se: float = 0.0,
) -> int | None:
    """At least how many days until an effect of the practical size would be seen with power 80 %.

    ⌈max(0, N·(1.96 + 0.84)²·SE²/s² − N_entered)/(entries per day)⌉ + W in days. None where nobody enters any more, or
    where there is no practical size. What stays of the SE however many enter is taken off SE² and (s/2.8)²; where it
    is all that is allowed, the effect never shows: None.
    """
    allowed = (practical / z) ** 2 - lasting_se**2
    if practical <= 0 or entries_per_day <= 0 or allowed <= 0:
        return None
    missing = max(0.0, complete * (se**2 - lasting_se**2) / allowed - entered)
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
