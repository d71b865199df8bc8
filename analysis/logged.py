"""Is the same logged in the same way in both arms? Cents for euros, and events that are sent twice, look like money.

A version that sells more does so by more buyers, more orders or larger ones, and hardly ever by a multiple of what one
order is worth. A sum per person is compared by what single events are worth (their median, which rare huge baskets do
not move), and by repeats: events of one person with one value within two seconds. Chance makes hardly any, an event
that is sent twice makes as many as there are events.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from analysis.checks import Finding
from analysis.effects import StageData
from analysis.frames import BoolArray, Frames
from analysis.metrics import Metric
from analysis.moments import FloatArray, IntArray
from analysis.switches import SwitchData
from analysis.values import Joining, events_of_sum
from analysis.zones import ZoneData
from edgeloop.store import facts

CHECK = "logged_alike"
LEAST_BUYERS = 50
TIMES = 30.0
"""A median event worth so many times the other arm's is another unit."""
REPEATS, FEW_REPEATS = 0.25, 0.05
"""Of an arm's events: so many repeat another one, where in the other arm hardly any does."""
REPEAT_US = 2_000_000


def arms(frames: Frames, stages: Sequence[StageData], metrics: Sequence[Metric]) -> list[Finding]:
    """What is logged differently in a stage of concurrent arms; nothing where all is alike, or too little to tell."""
    found = []
    for data in stages:
        for metric in _sums(metrics):
            matcher = data.matcher(metric)
            new = matcher.crowd.person_treated
            found += _finding(frames, matcher, metric, (~new, new), data.cohort.stage.number)
    return found


def zones(frames: Frames, stages: Sequence[ZoneData], metrics: Sequence[Metric]) -> list[Finding]:
    """Of zones by time between the blocks; of staged zones between their own people before and after the start.

    What an order is worth differs between zones, so other zones are no measure of it.
    """
    found = []
    for data in stages:
        new = data.treated[data.cell]
        split = (~new, new) if data.by_block else (new & ~data.after, new & data.after)
        for metric in _sums(metrics):
            found += _finding(frames, data.matcher, metric, split, data.stage.number)
    return found


def switch(frames: Frames, data: SwitchData, metrics: Sequence[Metric], stage: int) -> list[Finding]:
    """Of a full switch between the people before its day and those after it."""
    late = data.own.day >= data.switch_day
    found = []
    for metric in _sums(metrics):
        found += _finding(frames, data.own.matcher, metric, (~late, late), stage)
    return found


def _sums(metrics: Sequence[Metric]) -> list[Metric]:
    return [m for m in metrics if m.source == "sum"]


def _finding(
    frames: Frames, matcher: Joining, metric: Metric, split: tuple[BoolArray, BoolArray], stage: int
) -> list[Finding]:
    value, at, position = events_of_sum(frames, matcher, metric)
    sides = [(value[s[position]], at[s[position]], position[s[position]]) for s in split]
    if min(len(np.unique(p)) for _, _, p in sides) < LEAST_BUYERS:
        return []
    old, new = (float(np.median(np.abs(v))) for v, _, _ in sides)
    why = None
    if min(old, new) > 0 and max(old, new) >= TIMES * min(old, new):
        why = facts.LoggedUnlike(metric.name, "unit", old, new)
    else:
        again = [_repeated(*side) for side in sides]
        if max(again) >= REPEATS and min(again) <= FEW_REPEATS:
            why = facts.LoggedUnlike(metric.name, "twice", *again)
    return [] if why is None else [Finding(f"{CHECK}:{metric.name}", stage, "block", why.ratio, None, why)]


def _repeated(value: FloatArray, at: IntArray, position: IntArray) -> float:
    """The share of events that come within two seconds after one of the same person with the same value."""
    order = np.lexsort((at, value, position))
    value, at, position = value[order], at[order], position[order]
    same = (np.diff(position) == 0) & (np.diff(value) == 0.0) & (np.diff(at) <= REPEAT_US)
    return float(np.count_nonzero(same) / len(value))
