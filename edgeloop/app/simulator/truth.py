"""What each change really did, on the product's own estimand: the same customers, once all under the old version and
once all under the new one, compared over everybody who entered (docs/meaning.md, Estimand).
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import numpy as np

from edgeloop.app.simulator.behaviour import CSAT, NPS, ORDERED, Lived, live
from edgeloop.app.simulator.cast import CUSTOMER_FORM, END_US, Rollout
from edgeloop.app.simulator.world import Asked, Bools, Floats, Ints, World
from edgeloop.clock import DAY_US, HOUR_US

_ENGAGEMENT_US = 72 * HOUR_US
_ANSWER_US = 14 * DAY_US
_LONGEST_SWITCH_US = 28 * DAY_US


class MetricTruth(msgspec.Struct, frozen=True):
    """One metric of one change; ``n`` entered with complete windows."""

    control: float
    treated: float
    effect: float
    n: int


class ChangeTruth(msgspec.Struct, frozen=True):
    """One change."""

    change_id: str
    title: str
    model_id: str
    to_version: str
    grade: str
    expected_verdict: str | None
    metrics: dict[str, MetricTruth]
    trend: dict[str, float] | None = None
    """Of a switch: how much each metric moved from the span before to the span after without it (other changes, and
    chance). No trend of its own is planted. A comparison of before and after finds effect + trend."""


class Truth(msgspec.Struct, frozen=True):
    """The content of truth.json."""

    seed: int
    scale: float
    month: str
    changes: list[ChangeTruth]


@dataclass(frozen=True, eq=False)
class _Entries:
    customer: Ints
    at: Ints
    closes_us: int


def change_truths(world: World, nameless: dict[str, Bools], as_of_us: int) -> list[ChangeTruth]:
    """The truth of every change; ``nameless`` marks exposures that reached the door without a customer."""
    actual = {asked.rollout.model_id: world.canary(asked) for asked in world.asked}
    truths = []
    for asked in world.asked:
        rollout = asked.rollout
        in_stage = asked.at >= rollout.start_us
        worlds = [
            live(world, actual | {rollout.model_id: np.where(in_stage, version, actual[rollout.model_id])})
            for version in (False, True)
        ]
        named = ~nameless[rollout.model_id]
        entries = _entries(world, asked, named, as_of_us)
        truths.append(
            ChangeTruth(
                change_id=rollout.change_id,
                title=rollout.title,
                model_id=rollout.model_id,
                to_version=rollout.new.name,
                grade="before_after" if rollout.share is None else "randomised",
                expected_verdict=rollout.expected_verdict,
                metrics=_compare(world, entries, *worlds),
                trend=None if rollout.share is not None else _trend(world, asked, named, entries, worlds[0]),
            )
        )
    return truths


def _entries(world: World, asked: Asked, named: Bools, as_of_us: int) -> _Entries:
    """First exposures to the model in the stage, by customer."""
    rollout: Rollout = asked.rollout
    until = END_US if rollout.share is not None else rollout.start_us + _switch_span_us(rollout)
    return _first(world, asked, named, rollout.start_us, until, until if rollout.share is None else as_of_us)


def _switch_span_us(rollout: Rollout) -> int:
    """How long before and after a switch counts: whole weeks, at most four."""
    span = min(END_US - rollout.start_us, _LONGEST_SWITCH_US)
    return span - span % (7 * DAY_US)


def _first(world: World, asked: Asked, named: Bools, begin_us: int, until_us: int, closes_us: int) -> _Entries:
    """First exposures in [begin, until), by customer."""
    rows = np.flatnonzero(named & (asked.at >= begin_us) & (asked.at < until_us))
    rows = rows[np.argsort(asked.at[rows], kind="stable")]
    customer, first = np.unique(world.customer[asked.delivery[rows]], return_index=True)
    return _Entries(customer, asked.at[rows][first], closes_us)


def _trend(world: World, asked: Asked, named: Bools, after: _Entries, old: Lived) -> dict[str, float]:
    """After less before, both under the old version; windows of the span before close at the switch."""
    start = asked.rollout.start_us
    before = _first(world, asked, named, start - _switch_span_us(asked.rollout), start, start)
    was, would_be = _figures(world, before, old), _figures(world, after, old)
    return {name: would_be[name][0] - was[name][0] for name in sorted(was)}


def _compare(world: World, entries: _Entries, old: Lived, new: Lived) -> dict[str, MetricTruth]:
    figures = [_figures(world, entries, lived) for lived in (old, new)]
    return {
        name: MetricTruth(control, treated, treated - control, n)
        for name in sorted(figures[0])
        for (control, n), (treated, _) in [(figures[0][name], figures[1][name])]
    }


def _figures(world: World, entries: _Entries, lived: Lived) -> dict[str, tuple[float, int]]:
    """Metric → (figure, customers with complete windows)."""
    found: dict[str, tuple[float, int]] = {}
    complete = entries.at + _ENGAGEMENT_US <= entries.closes_us
    n = int(complete.sum())
    position = np.full(world.customers, -1)
    position[entries.customer] = np.arange(len(entries.customer))
    for name in sorted({e.name for e in lived.events}):
        count, total = np.zeros(len(entries.at)), np.zeros(len(entries.at))
        for events in lived.events:
            if events.name == name:
                value = np.ones(len(events.at)) if events.value is None else events.value
                _add(world, entries, position, events.delivery, events.at, _ENGAGEMENT_US, count, total, value)
        found[name] = (float((count[complete] > 0).mean()), n)
        if name == ORDERED:
            found[f"{name}:value"] = (float(total[complete].mean()), n)
    answers = lived.answers
    complete = entries.at + _ANSWER_US <= entries.closes_us
    nps = np.where(answers.nps >= 9, 100.0, np.where(answers.nps <= 6, -100.0, 0.0))
    for question, value in ((CSAT, answers.csat.astype(np.float64)), (NPS, nps)):
        count, total = np.zeros(len(entries.at)), np.zeros(len(entries.at))
        _add(world, entries, position, answers.delivery, answers.at, _ANSWER_US, count, total, value)
        found[f"{CUSTOMER_FORM}/{question}"] = (
            float(total[complete].sum() / count[complete].sum()),
            int((count[complete] > 0).sum()),
        )
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
