"""Were the arms alike before, and does the join still hold? Checks that look at the days before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.checks import Finding
from analysis.effects import StageData
from analysis.estimators import skewed
from analysis.frames import Frames
from analysis.lift import mean_sample
from analysis.metrics import Metric
from analysis.moments import IntArray, cells
from analysis.srm import alarm
from analysis.values import before_values
from analysis.verdict import MIN_EVENTS, MIN_NONZERO
from edgeloop.clock import DAY_US
from edgeloop.store import facts

JOINED_DAYS, MEDIAN_DAYS = 7, 28
JOINED_LEAST = 0.8  # of the median of the days before
JOINED_OUTCOMES = 50  # fewer say nothing


def pre_period_checks(frames: Frames, stages: Sequence[StageData], metrics: Sequence[Metric]) -> list[Finding]:
    """Whether the goals differed before anybody met the change: p < 0.001, Bonferroni over goals and stages."""
    found: list[tuple[int, str, float, float]] = []
    for data in stages:
        for metric in metrics:
            if metric.role != "goal" or metric.source not in ("share", "sum") or metric.respondent != "customer":
                continue
            difference = _difference_before(frames, data, metric)
            if difference is not None:
                found.append((data.cohort.stage.number, metric.name, *difference))
    findings = []
    for number, name, effect, p in found:
        blocked = alarm(p, len(found))
        said = facts.PrePeriod(name, p) if blocked else None
        findings.append(Finding(f"pre_period:{name}", number, "block" if blocked else "ok", effect, p, said))
    return findings


@dataclass(frozen=True, slots=True, eq=False)
class JoinTimes:
    """When outcomes happened, and those of them that meet no exposure; both ascending."""

    outcomes: IntArray
    missed: IntArray

    @classmethod
    def of(cls, tables: Mapping[str, pd.DataFrame]) -> JoinTimes | None:
        """From a freeze's tables; None where nothing was joined."""
        attributions = tables.get("attributions")
        if attributions is None or len(attributions) == 0:
            return None
        at = attributions["occurred_at"].to_numpy(dtype=np.int64)
        spoken = [tables[name]["occurred_at"].to_numpy(dtype=np.int64) for name in ("engagement", "answers")]
        missed = at[(attributions["model_id"] == "").to_numpy(dtype=bool)]
        return cls(np.sort(np.concatenate(spoken)), np.sort(missed))


def joined_share(times: JoinTimes | None, stage: int, until_us: int) -> Finding:
    """The share of outcomes that meet an exposure in the last seven days, against the median of the 28 days before."""
    name = "joined_share"
    if times is None:
        return Finding(name, stage, "no data")
    edges = until_us - DAY_US * np.arange(JOINED_DAYS + MEDIAN_DAYS, -1, -1)
    edges[-1] += 1  # the last moment belongs to the last day
    per_day = np.diff(np.searchsorted(times.outcomes, edges))
    lost = np.diff(np.searchsorted(times.missed, edges))
    lately = per_day[MEDIAN_DAYS:].sum()
    spoken = per_day[:MEDIAN_DAYS] > 0
    if lately < JOINED_OUTCOMES or np.count_nonzero(spoken) < MEDIAN_DAYS // 2:
        return Finding(name, stage, "no data")
    daily = 1 - lost[:MEDIAN_DAYS][spoken] / per_day[:MEDIAN_DAYS][spoken]
    median, share = float(np.median(daily)), 1 - float(lost[MEDIAN_DAYS:].sum()) / float(lately)
    if share < JOINED_LEAST * median:
        return Finding(name, stage, "block", share, None, facts.Joined(share, median))
    return Finding(name, stage, "ok", share)


def _difference_before(frames: Frames, data: StageData, metric: Metric) -> tuple[float, float] | None:
    """(difference, p) of the covariate between the arms' units with a history."""
    crowd = data.customers.crowd
    before = before_values(frames, data.customers, metric, data.first_us)
    if before is None:
        return None
    x, history = before
    n = len(crowd.treated)
    y = np.bincount(crowd.unit[history], weights=x[history], minlength=n).astype(np.float64)
    people = np.bincount(crowd.unit[history], minlength=n)
    there = people > 0
    mean = y[there] / people[there]
    treated = crowd.treated[there].astype(np.int64)
    arms = cells(mean, np.ones(len(mean)), treated, 2)
    # With a handful of events in an arm, as in the first stage of a ramp, p < 0.001 comes in 5 % of true nulls.
    seen = np.bincount(treated[mean != 0], minlength=2)
    if min(seen) < (MIN_EVENTS if metric.source == "share" else MIN_NONZERO):
        return None
    # So far out Welch's test of skewed money in a canary is seven times too quick: 0.7 % of true nulls have p < 0.001.
    gamma = skewed.skewness(arms[0], arms[1])
    effect = skewed.compare(mean_sample(arms[0]), mean_sample(arms[1]), gamma)
    return (effect.effect, effect.p) if effect.p is not None else None
