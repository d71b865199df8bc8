"""Which figures decide, and what do they decide together? The month's families of tests, guardrails and verdicts.

The p that enters a family is the deciding one: always-valid until the plan is reached, fixed once after it, and the
permutation's or the placebos' where the design has such. Goals, guardrails and what is watched are families apart.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from scipy import stats

from analysis.change import LedgerChange
from analysis.effects import Result
from analysis.estimators import always_valid, bounded, rare_events
from analysis.estimators.clustered import df_between
from analysis.estimators.permutation import ZoneEffect
from analysis.estimators.zone_quantiles import ZoneQuantile
from analysis.families import adjust
from analysis.guards import Terms, by_counts, by_interval, by_normal
from analysis.lift import Comparison
from analysis.metrics import Metric
from analysis.verdict import ALPHA, MIN_EVENTS, POWER_Z, Case, Goal, Guard, days_left, rule
from edgeloop.clock import DAY_US
from edgeloop.store.facts import AnyFact, NotShown, Ruled, Said

UNDECLARED_PLAN = 5_000
UNDECLARED_COURIERS = 200
"""Of couriers: there are no 5,000 of them, and intervals tuned to 5,000 are twice too wide for 200."""
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
    ended: bool = False
    """The change is over, with all its stages."""

    @property
    def usual_plan(self) -> int:
        """The plan of a change that declares none."""
        return UNDECLARED_COURIERS if self.change.unit == "courier" else UNDECLARED_PLAN

    @property
    def planned(self) -> int:
        """Planned units of the two arms, 5,000 where nobody declared a number."""
        declared = self.change.planned_units
        return max(1, math.floor(declared * self.of_plan)) if declared else self.usual_plan


@dataclass(frozen=True, slots=True)
class Decision:
    """One metric's part in its family; ``by`` is None where too few days keep it from deciding.

    A metric with too few events has none: neither an interval nor a p would hold what it promises.
    """

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


def judge(weighed: Sequence[Weighed], awaited: tuple[str, ...] = ()) -> list[Judged]:
    """One judgement per change; the families are the month's, over all of them.

    Args:
        awaited: events that the configured goals are made of, should no goal occur in the data.
    """
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
    for i, w in enumerate(weighed):  # what may not decide yet has an interval to look at
        for r in w.results:
            test = tests[i].get(r.metric)
            if test is not None and r.metric not in decisions[i] and not r.hidden:
                decisions[i][r.metric] = Decision(*test.interval(ALPHA), None, None, False)
    return [_judged(w, decisions[i], awaited) for i, w in enumerate(weighed)]


def deciding_stage(fullest: int, weighed: Mapping[int, Weighed]) -> int:
    """The number of the stage whose figures decide: the fullest, or the last one after it that shows harm.

    A ramp's later stage has fewer people left on one side, and so never tells the most; but it is the one that people
    meet, and what breaks only under full load breaks there. It decides where a guardrail is breached or a goal is worse
    at a level shared over the tests and the stages after the fullest, so that looking at all of them costs α once.
    """
    later = [number for number in weighed if number > fullest]
    return max((n for n in later if _shows_harm(weighed[n], len(later))), default=fullest)


def _shows_harm(w: Weighed, stages: int) -> bool:
    if w.before_after:
        return False
    guarded = [r for r in w.results if r.metric.role == "guardrail" and r.margin is not None]
    tests = stages * max(len(guarded), 1) * (w.change.planned_stages or 1)
    if any(_guard(w, r, tests).state == "breach" for r in guarded):
        return True
    goals = [r for r in w.results if r.metric.role == "goal"]
    return any(_worse(w, r, ALPHA / (stages * len(goals))) for r in goals)


def _worse(w: Weighed, r: Result, alpha: float) -> bool:
    """Whether a goal is worse by the test that decides, or by one that needs no spread."""
    if _harmed(w, r, _rare(w, r), ALPHA / alpha):
        return True
    test = deciding_test(w, r) if r.floor is None else None
    if test is None or r.effect is None or test.p > alpha:
        return False
    return r.effect.effect > 0 if r.metric.lower_is_better else r.effect.effect < 0


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
    n, se, df = r.towards_plan, e.se, df_between(e)
    if (units or n) >= w.planned or not se:
        return Test(e.p, fixed, "fixed")

    def always(alpha: float) -> tuple[float, float]:
        return always_valid.interval(effect.effect, se or 0.0, n, w.planned, alpha, df)

    return Test(always_valid.p_value(effect.effect, se, n, w.planned, df), always, "always_valid")


def _judged(w: Weighed, decisions: Mapping[Metric, Decision], awaited: tuple[str, ...]) -> Judged:
    guards: dict[Metric, Guard] = {}
    always: dict[Metric, tuple[float, float]] = {}
    left: dict[Metric, int] = {}
    rare: dict[Metric, float] = {}
    guarded = [r for r in w.results if r.metric.role == "guardrail" and r.margin is not None]
    asked = [r for r in w.results if r.metric.role == "goal"]
    tests = max(len(guarded), 1) * (w.change.planned_stages or 1)
    for r in w.results:
        if w.exact is None and r.floor is None and r.effect is not None and r.effect.se:
            always[r.metric] = always_valid.interval(
                r.effect.effect, r.effect.se, r.towards_plan, w.planned, df=df_between(r.effect)
            )
        days = _days_left(w, r)
        if days is not None:
            left[r.metric] = days
        value = _rare(w, r)
        if value is not None:
            rare[r.metric] = value
    for r in guarded:
        guards[r.metric] = _guard(w, r, tests)
    goals = [_goal(w, r, decisions.get(r.metric), _harmed(w, r, rare.get(r.metric), max(len(asked), 1))) for r in asked]
    main = next((r for r in asked if r.metric.headline), next(iter(asked), None))
    known = left.get(main.metric) if main is not None else None
    if known is None:
        known = min((left[r.metric] for r in asked if r.metric in left), default=None)
    if main is not None and _enough(main):  # who is in already would show it, if it were there
        known = 0
    case = Case(
        goals=[g for g in goals if g is not None],
        guards=list(guards.values()),
        alarms=w.alarms,
        before_after=w.before_after,
        quasi=w.quasi,
        full_days=w.full_days,
        days_left=known,
        ended=w.ended,
        unsent=() if asked else awaited,
        not_shown=None if main is None else _not_shown(main, left.get(main.metric)),
    )
    return Judged(rule(case), decisions, guards, left, always, rare)


def _goal(w: Weighed, r: Result, decision: Decision | None, harmed: bool) -> Goal | None:
    """Turned so that positive is better; None where nobody of it has been seen in either arm.

    Args:
        harmed: a test that needs no spread and no floor says that it is worse.
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
    if harmed and not (decided and high < 0):
        low, high, decided = -math.inf, -math.ulp(0.0), True
    return Goal(
        r.metric.name,
        low,
        high,
        decided,
        floor=floor,
        practical=r.practical,
        plan_reached=_plan_reached(w, r),
        placebo_p=r.effect.p if w.before_after and r.effect is not None else None,
    )


def _plan_reached(w: Weighed, r: Result) -> bool:
    """Whether the figure is read for good: an exact test looks at no plan unless one of people was declared."""
    if w.exact is not None:
        return sum(r.people) >= (w.change.planned_units or 0)
    return r.towards_plan >= w.planned


def _harmed(w: Weighed, r: Result, rare: float | None, goals: float) -> bool:
    """Whether a goal too rare, or too uniform, for an interval is worse, by a test that holds at every look."""
    if w.before_after or (r.floor is None and r.effect is not None and r.effect.p is not None):
        return False
    if rare is not None and rare >= goals / ALPHA:
        return True
    if r.counts is None or r.effect is None:
        return False
    counts = r.counts if r.less is None else r.less.counts
    if counts is None:
        return False
    old, new = counts.arms if r.metric.lower_is_better else tuple(arm.turned for arm in counts.arms)
    worse = r.effect.effect > 0 if r.metric.lower_is_better else r.effect.effect < 0
    return worse and bounded.difference_above(old, new, ALPHA / goals) > 0


def _guard(w: Weighed, r: Result, tests: int) -> Guard:
    """Its state by the way that the data allow; with nobody in an arm there are no data."""
    if r.harm is None or r.effect is None:
        return Guard(r.metric.name, "no data" if min(r.n) == 0 or r.effect is None else "open", margin=r.margin)
    found = _tested(w, r, r.harm, tests)
    if found.state == "breach" and r.less is not None and not _holds(w, r, r.harm[1], tests):
        found = replace(found, state="open")
    # What is tested of a quantile is a share of requests: its bound is in no unit that a reader knows.
    return replace(found, visible=None, margin=r.margin) if r.metric.kind == "quantile" else found


def _holds(w: Weighed, r: Result, margin: float, tests: int) -> bool:
    """Whether a breach is one without the few units, too, that add most to it: one unit is one draw."""
    less = r.less
    if less is None or less.effect is None:
        return False
    rest = replace(r, effect=less.effect if r.counts is not None else r.effect, counts=less.counts)
    return _tested(w, rest, (less.effect, margin), tests).state == "breach"


def _tested(w: Weighed, r: Result, harm: tuple[Comparison, float], tests: int) -> Guard:
    effect, margin = harm
    name = r.metric.name
    terms = Terms(
        name, margin, r.metric.lower_is_better, r.towards_plan, w.planned, tests, w.pace.entered, w.pace.per_day,
        r.metric.window_us / DAY_US, r.room,
    )  # fmt: skip
    if r.counts is not None and _too_few(r):
        found = by_counts(terms, r.counts.arms, r.counts.span)
        if r.counts.clears or found.state == "open":
            return found
        # Of money the counts are buyers: fewer of them is harm only where less is spent as well.
        lost = effect.effect if r.metric.lower_is_better else -effect.effect
        breached = found.state == "breach" and lost > margin
        return Guard(name, "breach" if breached else "open", margin=margin)
    if w.exact is not None:
        return by_interval(terms, effect)
    return by_normal(terms, effect) if r.floor is None else Guard(name, "open", None, _days_left(w, r), margin)


def _too_few(r: Result) -> bool:
    """Whether a normal interval lies: too few on the rarer side of a share, too few values, or none that varies."""
    if r.effect is None or not r.effect.se or r.hidden:
        return True
    return r.rarer is not None and min(r.rarer) < MIN_EVENTS


def _rare(w: Weighed, r: Result) -> float | None:
    """The e-value for "worse" of a share of people whose events are too few for an interval."""
    if r.metric.source != "share" or w.exact is not None or r.floor is None or sum(r.people) == 0:
        return None
    if min(r.people) == 0 or not any(r.events) or sum(r.n) != sum(r.people):  # clustered people are no coin tosses
        return None
    if w.change.cluster or w.change.strata:  # nor are those of one cluster, and strata have shares of their own
        return None
    # The declared share where there is one: only a share fixed beforehand makes the e-value a fair bet.
    share = w.assigned if w.assigned is not None else r.people[1] / sum(r.people)
    # Worse is fewer events in the new arm where more is better, and more where less is.
    return rare_events.e_value(r.events[1], r.events[0], share, fewer=not r.metric.lower_is_better)


def _days_left(w: Weighed, r: Result) -> int | None:
    if r.effect is None or not r.effect.se or not r.practical or w.before_after:
        return None
    return days_left(
        se=r.effect.se,
        practical=r.practical,
        complete=sum(r.people),
        entered=w.pace.entered,
        entries_per_day=w.pace.per_day,
        window_days=r.metric.window_us / DAY_US,
        lasting_se=r.lasting_se,
    )


def _enough(r: Result) -> bool:
    """Whether an effect of the practical size would show in 80 of 100 such samples."""
    se, s = _power_se(r), r.practical
    return s is not None and bool(se) and POWER_Z * (se or 0.0) <= s


def _not_shown(r: Result, days: int | None) -> NotShown:
    """What would have shown in 80 of 100 such tests, and how many people one of the practical size would take."""
    se, s = _power_se(r), r.practical
    if not se:
        return NotShown(r.metric.name, practical=s)
    allowed = (s / POWER_Z) ** 2 - r.lasting_se**2 if s else 0.0
    units = math.ceil(sum(r.people) * (se**2 - r.lasting_se**2) / allowed) if allowed > 0 else None
    return NotShown(r.metric.name, POWER_Z * se, s, units, days)


def _power_se(r: Result) -> float | None:
    """What power is reckoned with: of few zones what their interval's width stands for, as their own SE promises more.

    None where an end of it is infinite: of so few zones no effect shows, however large.
    """
    e = r.effect
    if e is None or not isinstance(e, ZoneEffect | ZoneQuantile):
        return e.se if e is not None else None
    ends = e.interval()
    if e.se is None or ends is None or not all(map(math.isfinite, ends)):
        return None
    return max(e.se, (ends[1] - ends[0]) / (2 * float(stats.norm.isf(ALPHA / 2))))
