"""Does the effect last? The effect in each week since entry, and whether it has a slope (docs/meaning.md, "Novelty").

A person's weeks are counted from the entry, and only people with all the weeks behind them count, the same in every
week: the slope is then a mean of slopes per person, and Welch's test of it knows that weeks share their people.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from analysis.checks import Finding
from analysis.effects import StageData, sample_of, unit_values
from analysis.frames import Frames
from analysis.lift import Comparison, compare, mean_sample
from analysis.metrics import Metric
from analysis.moments import FloatArray
from analysis.nested import compared
from analysis.values import Values, outcomes_of
from analysis.verdict import ALPHA
from edgeloop.clock import DAY_US

WEEK_US = 7 * DAY_US
MOST_WEEKS = 8
LEAST_UNITS = 150  # with all their weeks behind them, in each arm


def novelty_checks(frames: Frames, data: StageData, metrics: Sequence[Metric]) -> list[Finding]:
    """Whether each goal's effect changes from week to week: a warning at α over the goals tested.

    ``value`` is the slope: how much the effect changes a week, in the metric's own unit.
    """
    slopes = {m.name: slope for m in metrics if (slope := weekly_slope(frames, data, m)) is not None}
    return [
        Finding(
            f"novelty:{name}",
            data.cohort.stage.number,
            "warn" if slope.p is not None and slope.p * len(slopes) <= ALPHA else "ok",
            slope.effect,
            slope.p,
        )
        for name, slope in slopes.items()
    ]


def weekly_slope(frames: Frames, data: StageData, metric: Metric) -> Comparison | None:
    """The slope of the effect over the weeks since entry; None where fewer than two weeks can be told.

    The number of weeks is that in which the slope is told best: n·Σ(k − k̄)² is largest.
    """
    if metric.role != "goal" or metric.source not in ("share", "sum") or metric.respondent != "customer":
        return None
    crowd = data.customers.crowd
    complete = [crowd.complete((k + 1) * WEEK_US) for k in range(MOST_WEEKS)]
    n = [min(int(c[: crowd.n_control].sum()), int(c[crowd.n_control :].sum())) for c in complete]
    told = [(n[k - 1] * k * (k * k - 1) / 12, k) for k in range(2, MOST_WEEKS + 1) if n[k - 1] >= LEAST_UNITS]
    if not told:
        return None
    weeks = max(told)[1]
    counted = complete[weeks - 1]
    y = np.stack([_of_week(frames, data, metric, k) for k in range(weeks)])
    centred = np.arange(weeks) - (weeks - 1) / 2
    slope = centred @ y / (centred @ centred)
    values = Values(slope, np.ones(len(crowd)), counted, counted)
    if crowd.inside.declared:
        inner = compared(metric, crowd, values)
        return None if inner is None else inner.effect
    if not crowd.clustered:
        control, treated = (m[0] for m in unit_values(crowd, values).moments())
        return compare(mean_sample(control), mean_sample(treated))
    arms = [sample_of(metric, crowd, m[0]) for m in unit_values(crowd, values).moments()]
    return compare(arms[0], arms[1]) if arms[0] is not None and arms[1] is not None else None


def _of_week(frames: Frames, data: StageData, metric: Metric, week: int) -> FloatArray:
    """Each person's event (0 or 1) or sum in one week since entry."""
    outcomes, n = outcomes_of(frames, metric), len(data.customers.crowd)
    rows, position = data.customers.of(outcomes, metric.key, week * WEEK_US, (week + 1) * WEEK_US - 1)
    if metric.source == "share":
        return (np.bincount(position, minlength=n) > 0).astype(np.float64)
    value = np.nan_to_num(outcomes.value[rows])
    wanted = outcomes.currency.equals(metric.currency, rows) if metric.currency else outcomes.currency.codes[rows] < 0
    return np.bincount(position[wanted], weights=value[wanted], minlength=n).astype(np.float64)
