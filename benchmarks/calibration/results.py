"""From moments to what the verdict reads: the steps of `analysis.effects.result` that come after the sums."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from analysis.change import LedgerChange, Stage
from analysis.effects import LEAST_HISTORY, Counts, Result, contrast, plain_name, rarer, sample_of, with_harm
from analysis.estimators import cuped
from analysis.estimators.bounded import Bounded
from analysis.judge import Pace, Weighed
from analysis.metrics import Metric, Source
from analysis.moments import Moments
from analysis.values import Crowd
from analysis.verdict import floor_missed
from edgeloop.clock import HOUR_US
from edgeloop.metrics import PACK
from edgeloop.store.facts import AnyFact

Arms = tuple[Moments, Moments]
NOBODY_ENTERS = Pace(0, 0.0)
_SOURCES: dict[str, Source] = {"answers": "answer", "agent_answers": "answer", "exposures": "exposure"}


def pack_metric(name: str) -> Metric:
    """A metric of the pack as `analysis.metrics.resolve` makes it of a month that has it."""
    s = PACK[name]
    source: Source = _SOURCES.get(s.source, "share" if s.kind == "proportion" else "sum")
    return Metric(
        name, s.kind, source, s.event, round(s.window_h * HOUR_US), headline=s.headline,
        role="watch" if s.role == "off" else s.role, lower_is_better=s.direction == "down", at_least=s.at_least,
        settings=s,
    )  # fmt: skip


def crowd(*, clustered: bool = False) -> Crowd:
    """Nobody in particular: only whether units are clusters of people is read of it."""
    nothing = np.zeros(0, dtype=np.int64)
    return Crowd(nothing, nothing, nothing, nothing, nothing.astype(bool), nothing, 0, clustered, 0)


SINGLE, CLUSTERED = crowd(), crowd(clustered=True)


def result_of(
    metric: Metric,
    arms: Arms,
    *,
    people: tuple[int, int],
    events: tuple[int, int],
    full_days: int,
    of: Crowd = SINGLE,
    before: tuple[cuped.CovariateMoments, cuped.CovariateMoments] | None = None,
    left: Arms | None = None,
) -> Result:
    """One metric between two arms, (control, new version).

    Args:
        people: complete ones.
        events: people with the event, a sum other than 0, an answer, or a marked exposure.
        before: moments with the covariates, where something is known of the days before.
        left: moments of what the covariates do not explain, whose cubes are needed where arms are of unequal size.
    """
    plain = sample_of(metric, of, arms[0]), sample_of(metric, of, arms[1])
    samples = plain
    if before is not None and plain[0] and plain[1] and min(p.n for p in before) >= LEAST_HISTORY:
        made = (cuped.adjusted_ratios if of.clustered else cuped.adjusted_means)(*before)
        if cuped.explains(made, (plain[0], plain[1])):
            samples = made
    without: tuple[int, int] | None = (
        (people[0] - events[0], people[1] - events[1]) if metric.source == "share" else people
    )
    if metric.source != "share" and not metric.binary:
        without = None
    effect, lift = contrast(metric, of, samples, arms if samples is plain else left or (Moments(), Moments()))
    return with_harm(
        Result(
            metric=metric,
            n=(arms[0].n, arms[1].n),
            people=people,
            events=events,
            control=samples[0].mean if samples[0] else None,
            treated=samples[1].mean if samples[1] else None,
            effect=effect,
            lift=lift,
            floor=floor_missed(metric.source, *events, full_days, without),
            estimator=plain_name(metric, of) if samples is plain else "cuped",
            asked=people if metric.source == "answer" and not of.clustered else None,
            rarer=rarer(events, without),
            counts=_counts(metric, arms),
        )
    )


def _counts(metric: Metric, arms: Arms) -> Counts | None:
    """Of shares: what the exact tests read."""
    made = [Bounded.of_moments(arm) for arm in arms] if metric.source == "share" or metric.binary else []
    return Counts((made[0], made[1]), 1.0) if made and made[0] and made[1] else None


def weighed(
    results: Sequence[Result],
    *,
    planned: int | None,
    full_days: int,
    share: float,
    pace: Pace = NOBODY_ENTERS,
    alarms: Sequence[AnyFact] = (),
) -> Weighed:
    """A canary with one stage, ready for `analysis.judge`; ``planned`` None: nobody declared a number."""
    allocation = {"1": 1 - share, "2": share}
    change = LedgerChange(
        "c", "eta", "2", "1", "canary", True, (Stage(1, 0, None, allocation),), 0, "eta 2", "r", planned_units=planned
    )
    return Weighed(change, results, alarms, full_days, pace, assigned=share)


def share_moments(n: int, events: int) -> Moments:
    """Of units of which so many have the event."""
    return Moments(n, events, events, n, n, events, events)


def sum_moments(n: int, y: float, yy: float, yyy: float) -> Moments:
    """Of units' sums."""
    return Moments(n, y, yy, n, n, y, yyy)
