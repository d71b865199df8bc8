"""Is the same logged in the same way in both arms? Cents for euros, and events that are sent twice, look like money.

A version that sells more does so by more buyers, more orders or larger ones, and hardly ever by a multiple of what one
order is worth. A sum per person is compared by what single events are worth (their median, which rare huge baskets do
not move), and by pairs of events of one person at one moment with one value: chance makes hardly any, an event that is
sent twice makes as many as there are events.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from analysis.checks import Finding
from analysis.effects import StageData
from analysis.frames import Frames
from analysis.metrics import Metric
from analysis.values import wanted_values_of
from edgeloop.store import facts

CHECK = "logged_alike"
LEAST_VALUES, LEAST_BUYERS = 50, 50
TIMES = 5.0
"""A median event worth so many times the other arm's is another unit."""
PAIRS, FEW_PAIRS = 0.25, 0.05
"""Of an arm's events: so many are the second of a pair, where in the other hardly any is."""


def arms(frames: Frames, stages: Sequence[StageData], metrics: Sequence[Metric]) -> list[Finding]:
    """What is logged unlike in a stage of concurrent arms; nothing where all is alike, or too little to tell."""
    found = []
    for data in stages:
        for metric in metrics:
            if metric.source != "sum":
                continue
            why = _unlike(frames, data, metric)
            if why is not None:
                found.append(Finding(f"{CHECK}:{metric.name}", data.cohort.stage.number, "block", why.ratio, None, why))
    return found


def _unlike(frames: Frames, data: StageData, metric: Metric) -> facts.LoggedUnlike | None:
    matcher = data.matcher(metric)
    value, at, position = wanted_values_of(frames, matcher, metric)
    late = matcher.crowd.person_treated[position]
    split = [(value[arm], at[arm], position[arm]) for arm in (~late, late)]
    if min(len(v) for v, _, _ in split) < LEAST_VALUES or min(len(np.unique(p)) for _, _, p in split) < LEAST_BUYERS:
        return None
    old, new = (float(np.median(np.abs(v))) for v, _, _ in split)
    if min(old, new) > 0 and max(old, new) >= TIMES * min(old, new):
        return facts.LoggedUnlike(metric.name, "unit", old, new)
    twice = [1 - len(np.unique(np.stack(columns, axis=1), axis=0)) / len(columns[0]) for columns in split]
    if max(twice) >= PAIRS and min(twice) <= FEW_PAIRS:
        return facts.LoggedUnlike(metric.name, "twice", twice[0], twice[1])
    return None
