"""Has a guardrail been breached, cleared, or is it still open?

docs/meaning.md, "Guardrails". Harm h is the effect turned so that positive is worse; the margin m is what is forbidden.
Three ways lead to a state, by what the data allow: always-valid normal bounds (`by_normal`), exact bounds of means that
lie between two ends, where marks are too few for a normal interval or nothing varies (`by_counts`), and the design's
own test, where zones were drawn or only before and after are known (`by_interval`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from analysis.estimators import always_valid, bounded
from analysis.estimators.bounded import Bounded
from analysis.estimators.clustered import df_between
from analysis.estimators.permutation import ZoneEffect
from analysis.lift import Comparison
from analysis.moments import FloatArray, IntArray
from analysis.verdict import ALPHA, POWER_Z_ONE_SIDED, Guard, days_left
from edgeloop.store.facts import GuardState

LEAST_UNITS = 5
"""Units of the new version with the mark that it takes for a breach of a guardrail of requests, at the least.

One unit is one draw, however many requests it makes: a breach has to hold without the four that add most to it.
"""
_MOST_TIMES = 1_000.0  # as many units as that many times the present ones are never waited for


@dataclass(frozen=True, slots=True)
class Terms:
    """What all ways share.

    ``margin`` is in the unit of what is tested; ``tests`` are guardrails × planned stages; ``n`` complete units that
    count towards the plan of ``planned`` ones; ``entered`` units entered, ``per_day`` of them in the last week.
    """

    metric: str
    margin: float
    lower_is_better: bool
    n: int
    planned: int
    tests: int
    entered: int
    per_day: float
    window_days: float
    room: float | None = None
    """How far below the margin h lies where nothing differs; None: by the margin."""

    @property
    def decided_once(self) -> bool:
        """The plan is reached, so that the figure is read once and a bound for one look may clear."""
        return self.n >= self.planned


def worst(y: FloatArray, d: FloatArray, limit: float, *, lower_is_better: bool) -> IntArray:
    """The places of the units that add most to harm beyond the limit, one fewer than a breach needs.

    Args:
        y: Σ of the unit's values, shape (units,).
        d: how many values the unit has, shape (units,).
        limit: the mean that is still allowed.
    """
    beyond = (y - limit * d) * (1 if lower_is_better else -1)
    return np.argsort(-beyond, kind="stable")[: LEAST_UNITS - 1]


def by_normal(terms: Terms, effect: Comparison) -> Guard:
    """Breach: the always-valid lower bound of h at α/tests is above the margin. Cleared: the upper one at α below."""
    se = effect.se
    if se is None or se == 0:
        return Guard(terms.metric, "open", margin=terms.margin)
    harm = effect.effect if terms.lower_is_better else -effect.effect
    df = df_between(effect)
    if always_valid.lower_bound(harm, se, terms.n, terms.planned, ALPHA / terms.tests, df) > terms.margin:
        return Guard(terms.metric, "breach", margin=terms.margin)
    upper = always_valid.upper_bound(harm, se, terms.n, terms.planned, ALPHA, df)
    if terms.decided_once:
        ends = effect.interval(2 * ALPHA)
        once = None if ends is None else ends[1] if terms.lower_is_better else -ends[0]
        upper = upper if once is None else min(upper, once)
    if upper < terms.margin:
        return Guard(terms.metric, "cleared", upper, margin=terms.margin)
    left = days_left(
        se=se,
        practical=terms.margin if terms.room is None else terms.room,
        complete=terms.n,
        entered=terms.entered,
        entries_per_day=terms.per_day,
        window_days=terms.window_days,
        z=POWER_Z_ONE_SIDED,
    )
    return Guard(terms.metric, "open", upper, left, terms.margin)


def by_counts(terms: Terms, arms: tuple[Bounded, Bounded], span: float = 1.0) -> Guard:
    """The same from exact bounds, at any size and with no spread at all.

    Breach needs the always-valid bound; cleared, too, until the plan is reached, and the bound for one look after it.

    Args:
        arms: (control, new version), values scaled to [0, 1].
        span: how much of the metric's unit is 1.
    """
    old, new = arms if terms.lower_is_better else (arms[0].turned, arms[1].turned)
    margin = terms.margin / span
    if bounded.difference_above(old, new, ALPHA / terms.tests) > margin:
        return Guard(terms.metric, "breach", margin=terms.margin)
    upper = _upper(old, new, once=terms.decided_once)
    if upper < margin:
        return Guard(terms.metric, "cleared", upper * span, margin=terms.margin)
    return Guard(terms.metric, "open", upper * span, _days(terms, old, new, margin), terms.margin)


def by_zones(terms: Terms, effect: ZoneEffect) -> Guard:
    """The same by the one-sided tests of zones and blocks, which say something also where no interval has an end."""
    below, above = effect.p_below, effect.p_above
    if not terms.lower_is_better:  # harm is the effect turned
        below, above = (lambda shift: effect.p_above(-shift)), (lambda shift: effect.p_below(-shift))
    breached, cleared = above(terms.margin), below(terms.margin)
    usual = effect.interval(2 * ALPHA)
    upper = None if usual is None else usual[1] if terms.lower_is_better else -usual[0]
    state: GuardState = "open"
    if breached is not None and breached <= ALPHA / terms.tests:
        state = "breach"
    elif cleared is not None and cleared <= ALPHA:
        state = "cleared"
    visible = upper if upper is not None and math.isfinite(upper) else None
    return Guard(terms.metric, state, visible, margin=terms.margin)


def by_interval(terms: Terms, effect: Comparison) -> Guard:
    """The same from the design's own test: breach at α/tests and cleared at α, each one-sided.

    A two-sided interval at level 1 − 2a has one-sided bounds at level 1 − a; one without an end decides nothing.
    """
    if isinstance(effect, ZoneEffect):
        return by_zones(terms, effect)
    harmful, usual = effect.interval(2 * ALPHA / terms.tests), effect.interval(2 * ALPHA)
    if harmful is None or usual is None:
        return Guard(terms.metric, "open", margin=terms.margin)
    lower = harmful[0] if terms.lower_is_better else -harmful[1]
    upper = usual[1] if terms.lower_is_better else -usual[0]
    state: GuardState = "breach" if lower > terms.margin else "cleared" if upper < terms.margin else "open"
    return Guard(terms.metric, state, upper if math.isfinite(upper) else None, margin=terms.margin)


def _upper(old: Bounded, new: Bounded, *, once: bool) -> float:
    bounds = [bounded.difference_below(old, new, ALPHA)]
    if once:
        bounds.append(bounded.difference_below_once(old, new, ALPHA))
    return min(bounds)


def _days(terms: Terms, old: Bounded, new: Bounded, margin: float) -> int | None:
    """At least how many days until it could be cleared, should the arms stay as they are; None: never."""
    if terms.per_day <= 0 or new.mean - old.mean >= margin or terms.entered <= 0:
        return None
    low, high = 1.0, _MOST_TIMES
    if _times(old, new, high, once=terms.n * high >= terms.planned) >= margin:
        return None
    for _ in range(20):
        middle = math.sqrt(low * high)
        if _times(old, new, middle, once=terms.n * middle >= terms.planned) < margin:
            high = middle
        else:
            low = middle
    return math.ceil((high - 1) * terms.entered / terms.per_day) + math.ceil(terms.window_days)


def _times(old: Bounded, new: Bounded, times: float, *, once: bool) -> float:
    return _upper(Bounded(old.mean, old.n * times), Bounded(new.mean, new.n * times), once=once)
