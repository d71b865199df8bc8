"""Changes whose draw is by zone, or by zone and time: sums per zone and period, or per block, for their estimators.

People are first exposures of a period (of a block); figures are Σy/Σpeople over zones (docs/meaning.md, "By zone").
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from analysis.change import BEFORE_AFTER_US, LedgerChange, Stage
from analysis.entry import OPEN_US, Entries, first_exposures, rows_of
from analysis.estimators.permutation import ZoneEffect
from analysis.estimators.staged import ZoneSums, panel_effect, staged_effect
from analysis.estimators.switchback import switchback_effect
from analysis.frames import ABSENT, BoolArray, Exposures, Frames
from analysis.groups import stable_order
from analysis.metrics import Metric
from analysis.moments import FloatArray, IntArray
from analysis.values import Crowd, RepeatedMatcher, Values, exposure_marks, only, outcome_values
from edgeloop.clock import DAY_US, HOUR_US

NEW_SHARE = 0.9  # of a zone's exposures that carry the new version: it has changed; below 1 − this it has not
WEEK_US = 7 * DAY_US
WASHOUT_US = HOUR_US  # at the beginning of a block, when the other version's effect goes on


@dataclass(frozen=True, slots=True, eq=False)
class ZoneData:
    """The people of the comparison: per person of the crowd its zone or block (``cell``), and what the cells are.

    ``after`` has one element per person: in a staged change, whether it entered after the start. ``zone`` and
    ``treated`` have one element per cell.
    """

    stage: Stage
    matcher: RepeatedMatcher
    rows: IntArray
    cell: IntArray
    after: BoolArray
    zone: IntArray
    treated: BoolArray
    by_block: bool
    until_us: int
    full_days: int
    drawn: bool = False
    """Whether chance chose the zones or blocks."""

    @property
    def cells(self) -> tuple[int, int]:
        """How many zones (or blocks) had the old and the new version."""
        n = int(np.count_nonzero(self.treated))
        return len(self.treated) - n, n

    def complete_people(self, window_us: int) -> tuple[int, int]:
        """People after the start with complete windows, old and new version."""
        done = self.matcher.crowd.complete(window_us) & self.after
        n = int(np.count_nonzero(done & self.treated[self.cell]))
        return int(np.count_nonzero(done)) - n, n


def staged_data(x: Exposures, change: LedgerChange, stage: Stage, *, month_end_us: int, as_of_us: int) -> ZoneData:
    """First exposures of a span before the stage and of the stage itself, by zone.

    The span before is as long as the stage so far, at most 28 days. Where the stage names no zones, those are treated
    in which nine of ten exposures carry the new version, and those with one of ten or fewer are the others.
    """
    until = min(stage.end_us or OPEN_US, month_end_us, as_of_us + 1)
    span = min(max(0, until - stage.start_us), BEFORE_AFTER_US)
    after = _shown(x, change, stage.start_us, until)
    before = _shown(x, change, stage.start_us - span, stage.start_us)
    share = _new_share(x, change, after)
    named = np.isin(x.zone.labels, list(stage.zones)) if stage.zones else share >= NEW_SHARE
    zones = np.flatnonzero(~np.isnan(share) & (named | (share <= 1 - NEW_SHARE)))
    people = [first_exposures(x, rows, np.zeros(len(rows), dtype=np.int64), x.subject) for rows in (before, after)]
    data = _data(x, stage, people, zones, named[zones], stage.start_us, min(stage.end_us or OPEN_US, as_of_us), until)
    return replace(data, drawn=change.assignment == "random")


def staged_result(frames: Frames, data: ZoneData, metric: Metric) -> tuple[ZoneEffect | None, Values]:
    """Difference in differences over the zones; None where a zone has nobody."""
    values = _values(frames, data, metric)
    n = len(data.zone)
    sums = []
    for period in (~data.after, data.after):
        who = values.counted & period
        sums.append(_sums(values, data.cell, who, n))
    there = (sums[0].rows > 0) & (sums[1].rows > 0)
    treated = data.treated[there]
    if not treated.any() or treated.all():
        return None, values
    before, after = (one.of(there) for one in sums)
    effect = staged_effect(before, after, treated, drawn=data.drawn)
    if effect.se is None:  # a single zone has no spread of its own, but it has one over the weeks
        effect = replace(effect, se=_weekly_se(data, values, np.flatnonzero(there), treated))
    return effect, only(values, there[data.cell])


def _weekly_se(data: ZoneData, values: Values, zones: IntArray, treated: BoolArray) -> float | None:
    """Of two-way fixed effects over zones and the whole weeks, before and after, in which each zone has people."""
    week = (data.matcher.crowd.at - data.stage.start_us) // WEEK_US
    first = int(week.min(initial=0))
    last = int((data.until_us - data.stage.start_us) // WEEK_US)
    weeks, n = last - first, len(data.zone)
    if weeks <= 0 or len(zones) < 3:
        return None
    who = values.counted & (week >= first) & (week < last)
    key = data.cell[who] * weeks + (week[who] - first)
    y = np.bincount(key, weights=values.y[who], minlength=n * weeks).reshape(n, weeks)[zones]
    rows = np.bincount(key, weights=values.d[who], minlength=n * weeks).reshape(n, weeks)[zones]
    spoke = rows.min(axis=0) > 0
    before, after = int(np.count_nonzero(spoke[:-first])), int(np.count_nonzero(spoke[-first:]))
    if min(before, after) == 0:
        return None
    return panel_effect(y[:, spoke] / rows[:, spoke], treated, before).se


def switchback_data(x: Exposures, change: LedgerChange, stage: Stage, *, month_end_us: int, as_of_us: int) -> ZoneData:
    """First exposures per block of a zone, without its first hour; blocks are read off the versions shown by hour."""
    until = min(stage.end_us or OPEN_US, month_end_us, as_of_us + 1)
    rows = _shown(x, change, stage.start_us, until)
    if stage.zones:
        rows = rows[x.zone.isin(stage.zones, rows)]
    new = x.version.equals(change.to_version, rows)
    zone, hour = x.zone.of_rows(rows), (x.at[rows] - stage.start_us) // HOUR_US
    blocks = _blocks(zone, hour, new, len(x.zone.labels), int((until - stage.start_us) // HOUR_US) + 1)
    block = blocks.of[zone, hour]
    kept = (block != ABSENT) & (x.at[rows] - stage.start_us >= blocks.start_hour[block] * HOUR_US + WASHOUT_US)
    rows, block = rows[kept], block[kept]
    key = x.subject.of_rows(rows) * len(blocks.zone) + block
    order = stable_order(key)
    first = order[np.concatenate([[True], np.diff(key[order]) != 0])] if len(order) else order
    rows, block = rows[first], block[first]
    closes = np.full(len(rows), min(stage.end_us or OPEN_US, as_of_us))
    matcher = RepeatedMatcher(_crowd(x, rows, closes), len(x.subject.labels))
    return ZoneData(
        stage, matcher, rows, block, np.ones(len(rows), dtype=bool), blocks.zone, blocks.treated, True, until,
        _days(until - stage.start_us), change.assignment == "random",
    )  # fmt: skip


def switchback_result(frames: Frames, data: ZoneData, metric: Metric) -> tuple[ZoneEffect | None, Values]:
    """The difference over zone × block; None where one version has no block with people."""
    values = _values(frames, data, metric)
    sums = _sums(values, data.cell, values.counted, len(data.zone))
    there = sums.rows > 0
    treated = data.treated[there]
    if not treated.any() or treated.all():
        return None, values
    kept = sums.of(there)
    effect = switchback_effect(data.zone[there], treated, kept.y, kept.rows, kept.squares, drawn=data.drawn)
    return effect, only(values, there[data.cell])


def _sums(values: Values, cell: IntArray, who: BoolArray, n: int) -> ZoneSums:
    """Sums of some people per zone or block, and of how far each lies from its cell's rate."""
    of, y, d = cell[who], values.y[who], values.d[who]
    total = np.bincount(of, weights=y, minlength=n).astype(np.float64)
    rows = np.bincount(of, weights=d, minlength=n).astype(np.float64)
    rate = np.divide(total, rows, out=np.zeros(n), where=rows > 0)
    squares = np.bincount(of, weights=(y - rate[of] * d) ** 2, minlength=n).astype(np.float64)
    return ZoneSums(total, rows, squares)


@dataclass(frozen=True, slots=True, eq=False)
class _Blocks:
    of: IntArray
    """Block of each (zone, hour); −1 without exposures."""
    zone: IntArray
    treated: BoolArray
    start_hour: IntArray


def _blocks(zone: IntArray, hour: IntArray, new: BoolArray, n_zones: int, n_hours: int) -> _Blocks:
    """Runs of hours of one version in a zone, cut to the shortest length that most runs are a multiple of."""
    seen = np.zeros((n_zones, n_hours), dtype=np.int64)
    newer = np.zeros((n_zones, n_hours), dtype=np.int64)
    np.add.at(seen, (zone, hour), 1)
    np.add.at(newer, (zone, hour), new)
    runs: list[tuple[int, int, int, bool]] = []
    for z in np.flatnonzero(seen.any(axis=1)).tolist():
        hours = np.flatnonzero(seen[z])
        arm = newer[z, hours] * 2 >= seen[z, hours]
        begins = np.concatenate([[True], arm[1:] != arm[:-1]])
        starts = hours[begins]
        stops = np.append(starts[1:], n_hours)
        runs += [(z, int(a), int(b), bool(t)) for a, b, t in zip(starts, stops, arm[begins], strict=True)]
    length = _block_hours([b - a for _, a, b, _ in runs])
    of = np.full((n_zones, n_hours), ABSENT, dtype=np.int64)
    zones: list[int] = []
    treated: list[bool] = []
    begin: list[int] = []
    for z, a, b, t in runs:
        for start in range(a, b, length):
            of[z, start : min(start + length, b)] = len(zones)
            zones.append(z)
            treated.append(t)
            begin.append(start)
    return _Blocks(of, np.array(zones, dtype=np.int64), np.array(treated, dtype=bool), np.array(begin, dtype=np.int64))


def _block_hours(lengths: list[int]) -> int:
    """The shortest common length of blocks, in hours: the one that nine of ten runs are whole multiples of."""
    for hours in (24, 12, 8, 6, 4, 3, 2):
        fits = sum(n % hours == 0 for n in lengths)
        if lengths and fits >= NEW_SHARE * len(lengths):
            return hours
    return max(min(lengths, default=1), 1)


def _shown(x: Exposures, change: LedgerChange, start_us: int, end_us: int) -> IntArray:
    rows = rows_of(x, change, start_us, end_us, (), change.rollout_id)
    shown: IntArray = rows[~x.arm.equals("holdout", rows) & ~x.anonymous[rows] & (x.zone.codes[rows] != ABSENT)]
    return shown


def _new_share(x: Exposures, change: LedgerChange, rows: IntArray) -> FloatArray:
    """The new version's share of each zone's exposures; NaN without any."""
    n = len(x.zone.labels)
    seen = np.bincount(x.zone.codes[rows], minlength=n).astype(np.float64)
    new = np.bincount(x.zone.codes[rows[x.version.equals(change.to_version, rows)]], minlength=n)
    share: FloatArray = np.divide(new, seen, out=np.full(n, np.nan), where=seen > 0)
    return share


def _data(
    x: Exposures,
    stage: Stage,
    people: list[Entries],
    zones: IntArray,
    treated: BoolArray,
    start_us: int,
    closes_us: int,
    until_us: int,
) -> ZoneData:
    rows = np.concatenate([p.row for p in people])
    after = np.repeat([False, True], [len(p.row) for p in people])
    cell_of = np.full(len(x.zone.labels), ABSENT, dtype=np.int64)
    cell_of[zones] = np.arange(len(zones))
    cell = cell_of[x.zone.codes[rows]]
    kept = cell != ABSENT
    rows, after, cell = rows[kept], after[kept], cell[kept]
    # Windows of the people before end by the start, so that no outcome of the new version counts for them.
    crowd = _crowd(x, rows, np.where(after, closes_us, start_us))
    matcher = RepeatedMatcher(crowd, len(x.subject.labels))
    return ZoneData(stage, matcher, rows, cell, after, zones, treated, False, until_us, _days(until_us - start_us))


def _crowd(x: Exposures, rows: IntArray, closes_us: IntArray) -> Crowd:
    n = len(rows)
    nothing = np.zeros(n, dtype=np.int64)
    return Crowd(
        person=x.subject.of_rows(rows), at=x.at[rows], row=rows, unit=np.arange(n), treated=np.zeros(n, dtype=bool),
        unit_day=nothing, closes_us=closes_us, clustered=False, n_control=n,
    )  # fmt: skip


def _values(frames: Frames, data: ZoneData, metric: Metric) -> Values:
    if metric.source != "exposure":
        return outcome_values(frames, data.matcher, metric)
    marked = exposure_marks(frames.exposures, metric, data.rows)
    has = ~np.isnan(marked)
    return Values(np.where(has, marked, 0.0), has.astype(np.float64), has, has & (marked > 0))


def _days(us: int) -> int:
    return int(us // (24 * HOUR_US))
