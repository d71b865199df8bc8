"""Were the arms alike before, and does the join still hold? Checks that look at the days before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from analysis.change import LedgerChange, Stage
from analysis.checks import Finding
from analysis.effects import StageData
from analysis.entry import rows_of
from analysis.estimators import skewed
from analysis.frames import ABSENT, BoolArray, Exposures, Frames
from analysis.groups import stable_order
from analysis.lift import mean_sample
from analysis.metrics import Metric
from analysis.moments import FloatArray, IntArray, cells
from analysis.nested import compared, told_by_both
from analysis.srm import ALARM_P, alarm
from analysis.values import Crowd, Values, before_values
from analysis.verdict import MIN_EVENTS, MIN_NONZERO
from edgeloop.clock import DAY_US, SECOND_US
from edgeloop.store import facts

JOINED_DAYS = 7  # at least so many of a stage before the day from which on the join is broken
JOINED_LEAST = 0.8  # of what it was
JOINED_OUTCOMES = 50  # fewer, before and as they would be expected after, say nothing

JOINED_SHARE = "joined_share"
"""The check's name."""


def pre_period_checks(frames: Frames, stages: Sequence[StageData], metrics: Sequence[Metric]) -> list[Finding]:
    """Whether the goals differed before anybody met the change: p < 0.001, Bonferroni over goals and stages.

    A goal of which too little is known before has no data, and says so.
    """
    found: list[tuple[int, str, float, float]] = []
    untold: list[Finding] = []
    for data in stages:
        for metric in metrics:
            if metric.role != "goal" or metric.source not in ("share", "sum") or metric.respondent != "customer":
                continue
            difference = _difference_before(frames, data, metric)
            if difference is None:
                untold.append(Finding(f"pre_period:{metric.name}", data.cohort.stage.number, "no data"))
            else:
                found.append((data.cohort.stage.number, metric.name, *difference))
    findings = untold
    for number, name, effect, p in found:
        blocked = alarm(p, len(found))
        said = facts.PrePeriod(name, p) if blocked else None
        findings.append(Finding(f"pre_period:{name}", number, "block" if blocked else "ok", effect, p, said))
    return findings


@dataclass(frozen=True, slots=True, eq=False)
class JoinTimes:
    """When customers' outcomes happened: all of them, and those of people who met any model.

    ``outcomes`` are moments in µs, ascending. ``known`` are those of people as ``person · span + second``, ascending,
    so that a person's lie side by side; seconds are counted from ``begin_s``, for some sources stamp no finer.
    """

    outcomes: IntArray
    known: IntArray
    begin_s: int
    span: int

    @classmethod
    def of(cls, frames: Frames, tables: Mapping[str, pd.DataFrame]) -> JoinTimes | None:
        """From a freeze's tables; None where nothing happened, or nobody met anything."""
        answers, exposed = tables["answers"], frames.exposures.at
        asked = ((answers["respondent"] == "customer") & answers["value"].notna()).to_numpy(dtype=bool, na_value=False)
        spoken = tables["engagement"]["occurred_at"].to_numpy(dtype=np.int64)
        at = np.sort(np.concatenate([spoken, answers["occurred_at"].to_numpy(dtype=np.int64)[asked]]))
        if len(at) == 0 or len(exposed) == 0:
            return None
        begin_s = min(int(at[0]), int(exposed[0])) // SECOND_US
        span = max(int(at[-1]), int(exposed[-1])) // SECOND_US - begin_s + 1
        own = (frames.engagement, frames.answers)
        known = np.concatenate([o.person.astype(np.int64) * span + (o.at // SECOND_US - begin_s) for o in own])
        known.sort()
        return cls(at, known, begin_s, span)

    def keys(self, person: IntArray, at: IntArray) -> IntArray:
        """People and their moments (µs) in the numbering of ``known``."""
        found: IntArray = person * self.span + (at // SECOND_US - self.begin_s)
        return found

    def per_day(self, edges: IntArray) -> IntArray:
        """All outcomes between neighbouring edges."""
        return np.diff(np.searchsorted(self.outcomes, edges)).astype(np.int64)

    def followed(self, person: IntArray, at: IntArray, window_us: int) -> IntArray:
        """How many outcomes each request is followed by within the window, by the same person."""
        key = self.keys(person, at)
        last = np.minimum(key + window_us // SECOND_US, (person + 1) * self.span - 1)
        until, since = np.searchsorted(self.known, last, side="right"), np.searchsorted(self.known, key)
        return np.asarray(until - since, dtype=np.int64)

    def preceded(self, person: IntArray, at: IntArray, window_us: int, edges: IntArray) -> IntArray:
        """How many outcomes between neighbouring edges are preceded by a request to the same person in the window."""
        second = self.known % self.span
        first, end = (int(edge) // SECOND_US - self.begin_s for edge in (edges[0], edges[-1]))
        key = self.known[(second >= first) & (second < end)]
        asked = np.sort(self.keys(person, at))
        latest = asked[np.maximum(np.searchsorted(asked, key, side="right") - 1, 0)]
        met = (latest <= key) & (latest >= np.maximum(key - window_us // SECOND_US, key - key % self.span))
        happened = (key[met] % self.span + self.begin_s) * SECOND_US
        return np.bincount(np.searchsorted(edges[1:-1], happened, side="right"), minlength=len(edges) - 1).astype(
            np.int64
        )


def joined_share(
    times: JoinTimes | None,
    x: Exposures,
    change: LedgerChange,
    stage: Stage,
    *,
    until_us: int,
    as_of_us: int,
    window_us: int,
) -> Finding:
    """Whether outcomes stopped to find their people: from one day of the stage on, two daily ratios fall by a fifth.

    How many outcomes follow a person asked that day within the window; and how many of a day's outcomes are of people
    who were asked within the window before. Either falls alone for reasons of its own, the first where people do less
    and the second where fewer are asked. Every request to the model counts, for ids join whatever was shown. Days
    without requests are passed over, and the first ratio waits for the day's windows to be over.
    """
    name, number = JOINED_SHARE, stage.number
    edges = stage.start_us + DAY_US * np.arange(max(0, -(-(until_us - stage.start_us) // DAY_US)) + 1)
    rows = rows_of(x, change, stage.start_us - window_us, int(edges[-1]), stage.zones, None)
    rows = rows[(x.subject.codes[rows] != ABSENT) & ~x.anonymous[rows]]
    if times is None or len(edges) < 2 or len(rows) == 0:
        return Finding(name, number, "no data")
    person, at = x.subject.of_rows(rows), x.at[rows]
    preceded = times.preceded(person, at, window_us, edges)
    inside = at >= stage.start_us
    person, at = person[inside], at[inside]
    n, day = len(edges) - 1, (at - stage.start_us) // DAY_US
    there = np.bincount(day, minlength=n) > 0
    order = stable_order(person * n + day)
    once = order[np.diff((person * n + day)[order], prepend=-1) != 0]  # a person's first of each day
    followed = np.bincount(day[once], weights=times.followed(person[once], at[once], window_us), minlength=n)
    over = there & (edges[1:] + window_us <= as_of_us)
    of_person = _Daily.on(over, followed.astype(np.int64), np.bincount(day[once], minlength=n))
    return _broken(number, of_person.falls(), _Daily.on(there, preceded, times.per_day(edges)).falls())


@dataclass(frozen=True, slots=True, eq=False)
class _Falls:
    """How a ratio changed if it did at the beginning of each day, shape (days,); NaN: too few days or outcomes."""

    old: FloatArray
    new: FloatArray
    p: FloatArray

    @property
    def large(self) -> BoolArray:
        """It lost a fifth or more, and not by chance on any of the days that could be told."""
        with np.errstate(invalid="ignore"):
            found: BoolArray = (self.new < JOINED_LEAST * self.old) & (self.p * np.count_nonzero(self.told) < ALARM_P)
        return found

    @property
    def told(self) -> BoolArray:
        """On which days it can be told."""
        return ~np.isnan(self.p)


@dataclass(frozen=True, slots=True, eq=False)
class _Daily:
    """A ratio per day, hits/of; a day that does not count has 0 of both."""

    hits: FloatArray
    of: FloatArray

    @classmethod
    def on(cls, days: BoolArray, hits: IntArray, of: IntArray) -> _Daily:
        """Of some days."""
        return cls(np.where(days, hits, 0).astype(np.float64), np.where(days, of, 0).astype(np.float64))

    def falls(self) -> _Falls:
        """A t test of Σhits/Σof before against after, with the spread of the days around both, which holds where a
        person has many outcomes; never with less than that of independent ones.
        """
        (hits, of), (hits_left, of_left) = ([np.cumsum(part) - part for part in (self.hits, self.of)],
                                            [np.cumsum(part[::-1])[::-1] for part in (self.hits, self.of)])  # fmt: skip
        counts = self.of > 0
        df = int(np.count_nonzero(counts)) - 2
        with np.errstate(divide="ignore", invalid="ignore"):
            old, new = hits / of, hits_left / of_left
            many = (hits >= JOINED_OUTCOMES) & (old * of_left >= JOINED_OUTCOMES)
            enough = many & (np.cumsum(counts) - counts >= JOINED_DAYS)
            # Σ(hits − ratio·of)²/of of a side is Σhits²/of − ratio·Σhits.
            around = np.where(counts, self.hits**2 / self.of, 0.0).sum() - old * hits - new * hits_left
            spread = np.maximum(np.maximum(around, 0.0) / max(df, 1), np.maximum(old * (1 - old), 0.0))
            t = (old - new) / np.sqrt(spread * (1 / of + 1 / of_left))
        p = np.where(np.isnan(t), 1.0, stats.t.sf(t, max(df, 1)))
        return _Falls(*(np.where(enough, of_day, np.nan) for of_day in (old, new, p)))


def _broken(number: int, of_person: _Falls, of_day: _Falls) -> Finding:
    told = np.flatnonzero(of_person.told & of_day.told)
    if len(told) == 0:
        return Finding(JOINED_SHARE, number, "no data")
    broken = np.flatnonzero(of_person.large & of_day.large)
    if len(broken) == 0:
        return Finding(JOINED_SHARE, number, "ok", float(of_day.new[told[-1]]))
    first = int(broken[np.argmin(of_day.p[broken])])
    share = float(of_day.new[first])
    return Finding(JOINED_SHARE, number, "block", share, None, facts.Joined(share, float(of_day.old[first])))


def _difference_before(frames: Frames, data: StageData, metric: Metric) -> tuple[float, float] | None:
    """(difference, p) of the covariate between the arms' units with a history."""
    crowd = data.customers.crowd
    before = before_values(frames, data.customers, metric, data.first_us)
    if before is None:
        return None
    x, history = before
    if crowd.inside.declared:
        return _inside_before(metric, crowd, np.where(history, x, 0.0), history)
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


def _inside_before(metric: Metric, crowd: Crowd, x: FloatArray, history: BoolArray) -> tuple[float, float] | None:
    """The same by what the units were drawn inside of."""
    values = told_by_both(crowd, Values(x, np.ones(len(x)), history, history & (x != 0)))
    late = crowd.person_treated
    seen = min(int(np.count_nonzero(values.did & arm)) for arm in (late, ~late))
    if seen < (MIN_EVENTS if metric.source == "share" else MIN_NONZERO):
        return None
    found = compared(metric, crowd, values)
    return None if found is None or found.effect.p is None else (found.effect.effect, found.effect.p)
