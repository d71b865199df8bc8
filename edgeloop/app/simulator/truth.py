"""What each change really did, on the product's own estimand: the same customers, once all under the old version and
once all under the new one, compared over everybody who entered (docs/meaning.md, Estimand).
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import numpy as np

from edgeloop.app.simulator.behaviour import CSAT, NPS, ORDERED, Lived, live
from edgeloop.app.simulator.cast import END_US, Rollout, Stage
from edgeloop.app.simulator.pillars import BadLineTruth, MonthTruth
from edgeloop.app.simulator.world import Asked, Bools, Floats, Ints, World
from edgeloop.clock import DAY_US, HOUR_US, iso

_ENGAGEMENT_US = 72 * HOUR_US
_ANSWER_US = 14 * DAY_US
_LONGEST_SWITCH_US = 28 * DAY_US
_METRIC = {ORDERED: "conversion"}
"""Engagement that goes by another name as a metric."""


class MetricTruth(msgspec.Struct, frozen=True):
    """One metric of one change; ``n`` entered with complete windows."""

    control: float
    treated: float
    effect: float
    n: int


class StageTruth(msgspec.Struct, frozen=True):
    """One stage of a ramp, on the people who entered in it."""

    stage: int
    started_at: str
    ended_at: str | None
    allocation: dict[str, float]
    metrics: dict[str, MetricTruth]


class ChangeTruth(msgspec.Struct, frozen=True):
    """One change; ``metrics`` are those of the stage of which most can be told, on those not held out."""

    change_id: str
    title: str
    model_id: str
    to_version: str
    kind: str
    grade: str
    """``randomised`` or ``before_after``, whether or not an estimate is built for such a change."""
    expected_verdict: str | None
    stage: int
    metrics: dict[str, MetricTruth]
    zones: list[str] = []
    """Where it ran; empty: everywhere."""
    holdout: float = 0.0
    """The share of customers who were shown nothing, so that there is no effect on them."""
    stages: list[StageTruth] | None = None
    """Of a ramp: each of its stages."""
    trend: dict[str, float] | None = None
    """Of a switch: how much each metric moved from the span before to the span after without it (other changes, and
    chance). No trend of its own is planted. A comparison of before and after finds effect + trend."""


class Overlap(msgspec.Struct, frozen=True):
    """Two randomised changes that ran at the same time on the same customers, each with its own draw.

    ``arms`` counts the customers who met both in that span, by the versions they met first; the held out are in none.
    No interaction is planted: chances add up.
    """

    changes: tuple[str, str]
    started_at: str
    ended_at: str | None
    customers: int
    arms: dict[str, int]


class Truth(msgspec.Struct, frozen=True):
    """The content of truth.json."""

    seed: int
    scale: float
    month: str
    changes: list[ChangeTruth]
    overlaps: list[Overlap] = []
    months: list[MonthTruth] = []
    bad_line: BadLineTruth | None = None


@dataclass(frozen=True, eq=False)
class _Entries:
    customer: Ints
    at: Ints
    closes_us: int
    row: Ints
    """The exposure of each."""


def change_truths(world: World, nameless: dict[str, Bools], as_of_us: int) -> list[ChangeTruth]:
    """The truth of every change; ``nameless`` marks exposures that reached the door without a customer."""
    actual = {asked.rollout.model_id: world.canary(asked) for asked in world.asked}
    return [_truth(world, asked, actual, ~nameless[asked.rollout.model_id], as_of_us) for asked in world.asked]


def overlaps(world: World, nameless: dict[str, Bools]) -> list[Overlap]:
    """Every two randomised changes of which the stages with most to tell share time and customers."""
    drawn = [asked for asked in world.asked if asked.rollout.randomised]
    pairs = [_overlap(world, one, two, nameless) for i, one in enumerate(drawn) for two in drawn[i + 1 :]]
    return [pair for pair in pairs if pair is not None]


def _truth(world: World, asked: Asked, actual: dict[str, Bools], named: Bools, as_of_us: int) -> ChangeTruth:
    rollout = asked.rollout
    stages = []
    trend = None
    for number, stage in enumerate(rollout.stages, start=1):
        inside = world.in_rollout(asked, stage)
        worlds = [
            live(world, actual | {rollout.model_id: np.where(inside, version, actual[rollout.model_id])})
            for version in (False, True)
        ]
        if rollout.randomised:
            entries = _entries(world, asked, named, stage, as_of_us)
        else:
            until = stage.start_us + _switch_span_us(rollout)
            entries = _first(world, asked, named, stage.start_us, until, until)
            trend = _trend(world, asked, named, entries, worlds[0])
        stages.append(
            StageTruth(
                stage=number,
                started_at=iso(stage.start_us),
                ended_at=None if stage.end_us is None else iso(stage.end_us),
                allocation=rollout.allocation(stage),
                metrics=_compare(world, entries, *worlds),
            )
        )
    main = stages[rollout.stages.index(_main_stage(rollout))]
    return ChangeTruth(
        change_id=rollout.change_id,
        title=rollout.title,
        model_id=rollout.model_id,
        to_version=rollout.new.name,
        kind=rollout.kind,
        grade="randomised" if rollout.randomised else "before_after",
        expected_verdict=rollout.expected_verdict,
        stage=main.stage,
        metrics=main.metrics,
        zones=list(rollout.zones),
        holdout=rollout.holdout,
        stages=stages if len(stages) > 1 else None,
        trend=trend,
    )


def _main_stage(rollout: Rollout) -> Stage:
    """The stage of which most can be told: the arms nearest to each other in size; of equals the first."""
    return max(rollout.stages, key=lambda stage: stage.share * (1 - stage.share))


def _overlap(world: World, one: Asked, two: Asked, nameless: dict[str, Bools]) -> Overlap | None:
    stages = [_main_stage(asked.rollout) for asked in (one, two)]
    begin = max(stage.start_us for stage in stages)
    ends = [stage.end_us for stage in stages if stage.end_us is not None]
    span = Stage(begin, 0.0, min(ends, default=None))
    met = [_entries(world, asked, ~nameless[asked.rollout.model_id], span, END_US) for asked in (one, two)]
    both, *where = np.intersect1d(met[0].customer, met[1].customer, assume_unique=True, return_indices=True)
    if len(both) == 0:
        return None
    new = [world.canary(a)[e.row[i]] for a, e, i in zip((one, two), met, where, strict=True)]
    arms = {}
    for first in (False, True):
        for second in (False, True):
            names = [(a.rollout.new if is_new else a.rollout.old).name for a, is_new in ((one, first), (two, second))]
            arms[" + ".join(names)] = int(((new[0] == first) & (new[1] == second)).sum())
    return Overlap(
        changes=(one.rollout.change_id, two.rollout.change_id),
        started_at=iso(begin),
        ended_at=None if span.end_us is None else iso(span.end_us),
        customers=len(both),
        arms=arms,
    )


def _entries(world: World, asked: Asked, named: Bools, stage: Stage, as_of_us: int) -> _Entries:
    """First exposures to the model in the stage, by customer; the held out are in no arm that is compared."""
    end = END_US if stage.end_us is None else stage.end_us
    kept = named & ~world.holdout(asked) & world.in_rollout(asked, stage)
    return _first(world, asked, kept, stage.start_us, end, as_of_us if stage.end_us is None else end)


def _switch_span_us(rollout: Rollout) -> int:
    """How long before and after a switch counts: whole weeks, at most four."""
    span = min(END_US - rollout.start_us, _LONGEST_SWITCH_US)
    return span - span % (7 * DAY_US)


def _first(world: World, asked: Asked, kept: Bools, begin_us: int, until_us: int, closes_us: int) -> _Entries:
    """First exposures in [begin, until), by customer."""
    rows = np.flatnonzero(kept & (asked.at >= begin_us) & (asked.at < until_us))
    rows = rows[np.argsort(asked.at[rows], kind="stable")]
    customer, first = np.unique(world.customer[asked.delivery[rows]], return_index=True)
    return _Entries(customer, asked.at[rows][first], closes_us, rows[first])


def _trend(world: World, asked: Asked, named: Bools, after: _Entries, old: Lived) -> dict[str, float]:
    """After less before, both under the old version; windows of the span before close at the switch."""
    start = asked.rollout.start_us
    before = _first(world, asked, named, start - _switch_span_us(asked.rollout), start, start)
    was, would_be = _figures(world, before, old), _figures(world, after, old)
    return {name: would_be[name][0] - was[name][0] for name in sorted(was.keys() & would_be.keys())}


def _compare(world: World, entries: _Entries, old: Lived, new: Lived) -> dict[str, MetricTruth]:
    figures = [_figures(world, entries, lived) for lived in (old, new)]
    return {
        name: MetricTruth(control, treated, treated - control, n)
        for name in sorted(figures[0].keys() & figures[1].keys())
        for (control, n), (treated, _) in [(figures[0][name], figures[1][name])]
    }


def _figures(world: World, entries: _Entries, lived: Lived) -> dict[str, tuple[float, int]]:
    """Metric of the pack → (figure, customers with complete windows); without such customers or answers none."""
    found: dict[str, tuple[float, int]] = {}
    complete = entries.at + _ENGAGEMENT_US <= entries.closes_us
    n = int(complete.sum())
    position = np.full(world.customers, -1)
    position[entries.customer] = np.arange(len(entries.customer))
    for name in sorted({e.name for e in lived.events}) if n else ():
        count, total = np.zeros(len(entries.at)), np.zeros(len(entries.at))
        for events in lived.events:
            if events.name == name:
                value = np.ones(len(events.at)) if events.value is None else events.value
                _add(world, entries, position, events.delivery, events.at, _ENGAGEMENT_US, count, total, value)
        found[_METRIC.get(name, name)] = (float((count[complete] > 0).mean()), n)
        if name == ORDERED:
            found["revenue"] = (float(total[complete].mean()), n)
    answers = lived.answers
    complete = entries.at + _ANSWER_US <= entries.closes_us
    nps = np.where(answers.nps >= 9, 100.0, np.where(answers.nps <= 6, -100.0, 0.0))
    for question, value in ((CSAT, answers.csat.astype(np.float64)), (NPS, nps)):
        count, total = np.zeros(len(entries.at)), np.zeros(len(entries.at))
        _add(world, entries, position, answers.delivery, answers.at, _ANSWER_US, count, total, value)
        answered = int((count[complete] > 0).sum())
        if answered:
            mean = float(total[complete].sum() / count[complete].sum())
            found[question] = (mean, answered)
    return found


def _add(
    world: World, entries: _Entries, position: Ints, delivery: Ints, at: Ints, window_us: int, count: Floats,
    total: Floats, value: Floats,
) -> None:  # fmt: skip
    """Add to each entry what happened inside its window."""
    who = position[world.customer[delivery]]
    lag = at - entries.at[who]
    inside = (who >= 0) & (lag >= 0) & (lag <= window_us)
    np.add.at(count, who[inside], 1.0)
    np.add.at(total, who[inside], value[inside])
