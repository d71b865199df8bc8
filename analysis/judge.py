"""Which figures decide, and what do they decide together? The month's families of tests, guardrails and verdicts.

The p that enters a family is the deciding one: always-valid until the plan is reached, fixed once after it, and the
permutation's or the placebos' where the design has such. Goals, guardrails and what is watched are families apart.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from analysis.change import LedgerChange
from analysis.effects import Result
from analysis.estimators import always_valid, rare_events
from analysis.families import adjust
from analysis.guards import guard, rare_guard
from analysis.metrics import Metric
from analysis.verdict import ALPHA, MIN_EVENTS, Case, Goal, Guard, days_left, rule
from edgeloop.clock import DAY_US
from edgeloop.store.facts import AnyFact, Ruled, Said

UNDECLARED_PLAN = 5_000
DecidedBy = Literal["always_valid", "fixed", "permutation", "placebo", "e_process"]


@dataclass(frozen=True, slots=True)
class Pace:
    """How many units entered, and how many a day lately; None a day: nobody enters any more."""

    entered: int
    per_day: float


@dataclass(frozen=True, slots=True)
class Weighed:
    """A change with the results of its headline stage, before anything is decided."""

    change: LedgerChange
    results: Sequence[Result]
    alarms: Sequence[AnyFact]
    full_days: int
    pace: Pace
    quasi: bool = False
    before_after: bool = False
    exact: DecidedBy | None = None
    """Where the design brings its own test."""
    assigned: float | None = None
    """The share of the two arms' units that was to meet the new version; None: nobody declared it."""
    of_plan: float = 1.0
    """The two arms' part of the declared plan, which is one of all units that enter the stage, in whatever arm."""

    @property
    def planned(self) -> int:
        """Planned units of the two arms, 5,000 where nobody declared a number."""
        declared = self.change.planned_units
        return max(1, math.floor(declared * self.of_plan)) if declared else UNDECLARED_PLAN


@dataclass(frozen=True, slots=True)
class Decision:
    """One metric's part in its family; ``by`` is None where a floor is missed, so that it decides nothing."""

    low: float
    high: float
    p_adjusted: float | None
    by: DecidedBy | None
    rejected: bool


@dataclass(frozen=True, slots=True)
class Judged:
    """What a change's headline stage decided."""

    ruling: Ruled
    decisions: Mapping[Metric, Decision]
    guards: Mapping[Metric, Guard]
    days_left: Mapping[Metric, int]
    always: Mapping[Metric, tuple[float, float]]
    rare: Mapping[Metric, float] = field(default_factory=dict)
    """e-values of events too rare for an interval."""


@dataclass(frozen=True, slots=True)
class Test:
    """A p, the interval at each level, and where both come from."""

    p: float
    interval: Callable[[float], tuple[float, float]]
    by: DecidedBy


def judge(weighed: Sequence[Weighed]) -> list[Judged]:
    """One judgement per change; the families are the month's, over all of them."""
    tests = [{r.metric: test for r in w.results if (test := deciding_test(w, r)) is not None} for w in weighed]
    decisions: list[dict[Metric, Decision]] = [{} for _ in weighed]
    for role in ("goal", "guardrail", "watch"):
        family = [
            ((i, r.metric), tests[i][r.metric])
            for i, w in enumerate(weighed)
            for r in w.results
            if r.metric.role == role and r.metric in tests[i] and r.floor is None
        ]
        for found in adjust([(key, test.p, test.interval) for key, test in family], alpha=ALPHA):
            i, metric = found.key
            low, high = found.interval
            by = tests[i][metric].by
            decisions[i][metric] = Decision(low, high, found.p_adjusted, by, found.rejected)
    for i, w in enumerate(weighed):  # what may not decide has an interval to look at
        for r in w.results:
            test = tests[i].get(r.metric)
            if test is not None and r.metric not in decisions[i]:
                decisions[i][r.metric] = Decision(*test.interval(ALPHA), None, None, False)
    return [_judged(w, decisions[i]) for i, w in enumerate(weighed)]


def deciding_test(w: Weighed, r: Result, units: int | None = None) -> Test | None:
    """The p and the intervals with which a metric enters its family; None where nothing can be tested.

    Args:
        units: how many count towards the plan, where these are more than the result's own.
    """
    e = r.effect
    if e is None or e.p is None or e.interval() is None:
        return None
    effect = e  # narrowed for the closures

    def fixed(alpha: float) -> tuple[float, float]:
        return effect.interval(alpha) or (-math.inf, math.inf)

    if w.exact is not None:
        return Test(e.p, fixed, w.exact)
    n, se = r.towards_plan, e.se
    if (units or n) >= w.planned or not se:
        return Test(e.p, fixed, "fixed")

    def always(alpha: float) -> tuple[float, float]:
        return always_valid.interval(effect.effect, se or 0.0, n, w.planned, alpha)

    return Test(always_valid.p_value(effect.effect, se, n, w.planned), always, "always_valid")


def _judged(w: Weighed, decisions: Mapping[Metric, Decision]) -> Judged:
    guards: dict[Metric, Guard] = {}
    always: dict[Metric, tuple[float, float]] = {}
    left: dict[Metric, int] = {}
    rare: dict[Metric, float] = {}
    tests = sum(r.harm is not None for r in w.results) * (w.change.planned_stages or 1)
    for r in w.results:
        if w.exact is None and r.effect is not None and r.effect.se:
            always[r.metric] = always_valid.interval(r.effect.effect, r.effect.se, r.towards_plan, w.planned)
        days = _days_left(w, r)
        if days is not None:
            left[r.metric] = days
        if r.harm is not None and w.exact is None:
            guards[r.metric] = _guard(w, r, max(tests, 1))
        value = _rare(w, r)
        if value is not None:
            rare[r.metric] = value
            if r.metric.role == "guardrail" and value >= 1 / ALPHA:
                guards[r.metric] = Guard(r.metric.name, "breach")
    asked = [r for r in w.results if r.metric.role == "goal"]
    signal = max(len(asked), 1) / ALPHA
    goals = [_goal(w, r, decisions.get(r.metric), rare.get(r.metric, 0.0) >= signal) for r in asked]
    headline = next((r.metric for r in w.results if r.metric.headline), None)
    known = left.get(headline) if headline is not None else None
    if known is None:
        known = min((left[r.metric] for r in w.results if r.metric.role == "goal" and r.metric in left), default=None)
    case = Case(
        goals=[g for g in goals if g is not None],
        guards=list(guards.values()),
        alarms=w.alarms,
        before_after=w.before_after,
        quasi=w.quasi,
        full_days=w.full_days,
        days_left=known,
    )
    return Judged(rule(case), decisions, guards, left, always, rare)


def _goal(w: Weighed, r: Result, decision: Decision | None, rare_harm: bool) -> Goal | None:
    """Turned so that positive is better; None where nobody of it has been seen in either arm.

    Args:
        rare_harm: the e-process of rare events says that it is worse, interval or not.
    """
    if sum(r.people) == 0 and r.metric.source != "exposure":
        return None
    floor = r.floor
    low, high, decided = -math.inf, math.inf, False
    if decision is not None:
        low, high, decided = decision.low, decision.high, decision.rejected
    elif floor is None:
        floor = Said("nothing varies")
    if r.metric.lower_is_better:
        low, high = -high, -low
    if rare_harm:
        low, high, decided = -math.inf, -math.ulp(0.0), True
    return Goal(
        r.metric.name,
        low,
        high,
        decided,
        floor=floor,
        practical=r.practical,
        plan_reached=r.towards_plan >= w.planned,
        placebo_p=r.effect.p if w.before_after and r.effect is not None else None,
    )


def _guard(w: Weighed, r: Result, tests: int) -> Guard:
    effect, margin = r.harm or (None, 0.0)
    if r.metric.source in ("share", "exposure") and min(r.events) < MIN_EVENTS:
        return rare_guard(r.metric.name, r.events, r.n, margin)
    if effect is None or r.floor is not None:
        return Guard(r.metric.name, "open", days_left=_days_left(w, r))
    return guard(
        r.metric.name,
        effect,
        margin=margin,
        lower_is_better=r.metric.lower_is_better,
        n=r.towards_plan,
        planned_units=w.planned,
        tests=tests,
        entered=w.pace.entered,
        entries_per_day=w.pace.per_day,
        window_days=r.metric.window_us / DAY_US,
    )


def _rare(w: Weighed, r: Result) -> float | None:
    """The e-value for "worse" of a share whose events are too few for an interval."""
    if r.metric.source != "share" or w.exact is not None or r.floor is None or sum(r.people) == 0:
        return None
    if min(r.people) == 0 or not any(r.events):
        return None
    # The declared share where there is one: only a share fixed beforehand makes the e-value a fair bet.
    share = w.assigned if w.assigned is not None else r.people[1] / sum(r.people)
    # Worse is fewer events in the new arm where more is better, and more where less is.
    return rare_events.e_value(r.events[1], r.events[0], share, fewer=not r.metric.lower_is_better)


def _days_left(w: Weighed, r: Result) -> int | None:
    if w.exact is not None or r.effect is None or not r.effect.se or not r.practical:
        return None
    return days_left(
        se=r.effect.se,
        practical=r.practical,
        complete=sum(r.people),
        entered=w.pace.entered,
        entries_per_day=w.pace.per_day,
        window_days=r.metric.window_us / DAY_US,
    )
