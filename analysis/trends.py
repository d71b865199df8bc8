"""Did zones go alike before the start, and what would a mix of the others have done? Long panels of zones by time.

A difference of differences takes it that zones would have gone on alike. Where nobody drew them that is looked at: the
same estimate at placebo starts before the first stage, when nothing had begun.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from analysis.change import LedgerChange
from analysis.checks import Finding, State
from analysis.estimators.staged import ZoneSums, staged_effect
from analysis.estimators.synthetic import LEAST_DONORS, MOST_TREATED, SyntheticEffect, synthetic_effect
from analysis.frames import ABSENT, Frames
from analysis.metrics import Metric
from analysis.moments import FloatArray, IntArray
from analysis.values import RepeatedMatcher, Values, outcome_values
from analysis.zones import ZoneData, crowd_of, shown
from edgeloop.clock import DAY_US
from edgeloop.store import facts

CHECK = "pre_trend"
WEEK_US = 7 * DAY_US
HISTORY_US = 8 * WEEK_US
LEAST_WEEKS = 2
BLOCKS, WARNS = 0.01, 0.05
MOST_OF_EFFECT = 0.5  # of it the trend alone would have made, where that is less sure
SPOKE = 0.9  # of the days with people in every zone; else weeks are looked at


@dataclass(frozen=True, slots=True, eq=False)
class Panel:
    """First exposures per person and period, of whole periods before and after the start; shapes (zones, periods)."""

    y: FloatArray
    rows: FloatArray
    squares: FloatArray
    first_after: int

    def span(self, begin: int, end: int) -> ZoneSums:
        """The sums of some periods."""
        part = slice(begin, end)
        return ZoneSums(self.y[:, part].sum(axis=1), self.rows[:, part].sum(axis=1), self.squares[:, part].sum(axis=1))


def panel(
    frames: Frames, change: LedgerChange, data: ZoneData, metric: Metric, period_us: int, *, after: bool
) -> Panel | None:
    """Of at most eight weeks before the first stage, and of the stage where it is asked; None without periods."""
    x = frames.exposures
    begins = min(int(x.at[0]), change.start_us) if len(x.at) else change.start_us  # rows are in order of time
    n_before = min(HISTORY_US, max(0, change.start_us - begins)) // period_us
    until = min(data.until_us, (int(x.at[-1]) + 1 if len(x.at) else 0))
    n_after = max(0, until - data.stage.start_us) // period_us if after else 0
    if n_before == 0 or (after and (n_after == 0 or data.stage.start_us != change.start_us)):
        return None
    start = change.start_us - n_before * period_us
    rows = shown(x, change, start, change.start_us + n_after * period_us, x.subject)
    cell_of = np.full(len(x.zone.labels), ABSENT, dtype=np.int64)
    cell_of[data.zone] = np.arange(len(data.zone))
    rows = rows[cell_of[x.zone.codes[rows]] != ABSENT]
    n = n_before + n_after
    period = (x.at[rows] - start) // period_us
    key = x.subject.of_rows(rows) * n + period
    _, first = np.unique(key, return_index=True)
    rows, period = rows[first], period[first]
    closes = np.where(period < n_before, change.start_us, data.closes_us)
    matcher = RepeatedMatcher(crowd_of(x, x.subject, rows, closes), len(x.subject.labels))
    values = outcome_values(frames, matcher, metric)
    return _panel(values, cell_of[x.zone.codes[rows]] * n + period, (len(data.zone), n), n_before)


def _panel(values: Values, key: IntArray, shape: tuple[int, int], first_after: int) -> Panel:
    who, size = values.counted, shape[0] * shape[1]
    of, y, d = key[who], values.y[who], values.d[who]
    total, rows = (np.bincount(of, weights=w, minlength=size).astype(np.float64) for w in (y, d))
    rate = np.divide(total, rows, out=np.zeros(size), where=rows > 0)
    squares = np.bincount(of, weights=(y - rate[of] * d) ** 2, minlength=size).astype(np.float64)
    return Panel(total.reshape(shape), rows.reshape(shape), squares.reshape(shape), first_after)


def pre_trends(
    frames: Frames, change: LedgerChange, data: ZoneData, metrics: Sequence[Metric], effects: Mapping[Metric, float]
) -> list[Finding]:
    """Placebo starts in the middle of the weeks before and one week before the start, per goal; Bonferroni over all.

    Blocks at p ≤ 0.01; and where one start alone has p ≤ 0.05 and the trend alone would have made half of the effect.

    Args:
        effects: the stage's effect of each goal that has one.
    """
    goals = [m for m in metrics if m.role == "goal" and m.source != "exposure" and m.respondent == "customer"]
    panels = {m: panel(frames, change, data, m, WEEK_US, after=False) for m in goals}
    tested = {m: None if found is None else _moved(found, data) for m, found in panels.items()}
    n = sum(len(t[1]) for t in tested.values() if t is not None)
    made = []
    for metric, told in tested.items():
        name, stage = f"{CHECK}:{metric.name}", data.stage.number
        if told is None:
            made.append(Finding(name, stage, "no data"))
            continue
        weekly, ps = told
        p = min(1.0, n * min(ps))
        effect = effects.get(metric, 0.0)
        span_us = min(max(0, data.until_us - data.stage.start_us), 4 * WEEK_US)
        carried = weekly * (span_us + data.until_us - data.stage.start_us) / 2 / WEEK_US
        explains = carried * effect > 0 and abs(carried) >= MOST_OF_EFFECT * abs(effect)
        blocked = p <= BLOCKS or (min(ps) <= WARNS and explains)
        state: State = "block" if blocked else "warn" if p <= WARNS else "ok"
        alarm = facts.PreTrend(metric.name, weekly, p) if blocked else None
        made.append(Finding(name, stage, state, weekly, p, alarm))
    return made


def _moved(found: Panel, data: ZoneData) -> tuple[float, list[float]] | None:
    """(how far the zones to be treated moved from the others a week, the p of each placebo start)."""
    weeks = found.rows.shape[1]
    if weeks < LEAST_WEEKS:
        return None
    weekly, ps = 0.0, []
    for start in sorted({weeks // 2, weeks - 1}):
        early, late = found.span(0, start), found.span(start, weeks)
        there = (early.rows > 0) & (late.rows > 0)
        treated = data.treated[there]
        if not treated.any() or treated.all():
            return None
        effect = staged_effect(early.of(there), late.of(there), treated, drawn=False)
        sides = effect.p_above(0.0), effect.p_below(0.0)
        if start == weeks // 2:
            weekly = effect.effect / (weeks / 2)
        if sides[0] is not None and sides[1] is not None:
            ps.append(min(1.0, 2 * min(sides[0], sides[1])))
    return (weekly, ps) if ps else None


def synthetic(frames: Frames, change: LedgerChange, data: ZoneData, metric: Metric) -> SyntheticEffect | None:
    """The treated zones beside a mix of the others; None but for one to three treated zones beside eight or more."""
    old, new = data.cells
    if data.by_block or not 1 <= new <= MOST_TREATED or old < LEAST_DONORS or metric.source == "exposure":
        return None
    for period_us in (DAY_US, WEEK_US):
        found = panel(frames, change, data, metric, period_us, after=True)
        if found is None:
            continue
        spoke = np.asarray(found.rows.min(axis=0) > 0)
        if spoke.mean() < SPOKE and period_us == DAY_US:
            continue
        first = int(np.count_nonzero(spoke[: found.first_after]))
        made = synthetic_effect(found.y[:, spoke] / found.rows[:, spoke], data.treated, first)
        if made is not None:
            return made
    return None
