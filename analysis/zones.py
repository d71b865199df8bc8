"""Changes whose draw is by zone, or by zone and time: sums per zone and period, or per block, for their estimators.

People are first exposures of a period (of a block); figures are Σy/Σpeople over zones (docs/meaning.md, "By zone").
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from analysis.blocks import Grid, blocks, declared_grid, find_grid
from analysis.change import BEFORE_AFTER_US, LedgerChange, Stage
from analysis.entry import OPEN_US, first_exposures, rows_of
from analysis.estimators.permutation import ZoneEffect
from analysis.estimators.staged import ZoneSums, panel_effect, staged_effect
from analysis.estimators.switchback import switchback_effect
from analysis.estimators.zone_quantiles import ZoneQuantile
from analysis.frames import ABSENT, BoolArray, Coded, Exposures, Frames
from analysis.groups import stable_order
from analysis.metrics import Metric
from analysis.moments import FloatArray, IntArray
from analysis.values import (
    Crowd,
    RepeatedMatcher,
    Values,
    exposure_marks,
    exposure_values,
    only,
    outcome_values,
)
from edgeloop.clock import DAY_US, HOUR_US
from edgeloop.store import facts
from edgeloop.store.facts import AnyFact, Said

NEW_SHARE = 0.9  # of a zone's exposures that carry the new version: it has changed; below 1 − this it has not
WEEK_US = 7 * DAY_US


@dataclass(frozen=True, slots=True, eq=False)
class ZoneData:
    """The people of the comparison: per person of the crowd its zone or block (``cell``), and what the cells are.

    ``after`` has one element per person: in a staged change, whether it entered after the start. ``zone`` and
    ``treated`` have one element per cell; zones that change together are one. ``rows`` are all exposures of the crowd,
    ``position`` whose each is.
    """

    stage: Stage
    matcher: RepeatedMatcher
    rows: IntArray
    position: IntArray
    cell: IntArray
    after: BoolArray
    zone: IntArray
    treated: BoolArray
    by_block: bool
    until_us: int
    closes_us: int
    """The last moment that a window of people after the start may reach."""
    full_days: int
    drawn: bool = False
    """Whether chance chose the zones or blocks."""
    known: bool = True
    """Which other draws were possible is known."""
    notes: tuple[AnyFact, ...] = ()
    seen: tuple[int, int] | None = None
    """Zones with the old and the new version in a staged change, whatever is known of before."""

    @property
    def refusal(self) -> AnyFact | None:
        """Why nothing can be compared; None: it can."""
        if min(self.cells) > 0:
            return None
        if self.seen is not None and min(self.seen) > 0:
            return Said("no clean base")
        return facts.OneSided("blocks" if self.by_block else "zones", *(self.seen or self.cells))

    @property
    def cells(self) -> tuple[int, int]:
        """How many zones (or blocks) had the old and the new version."""
        n = int(np.count_nonzero(self.treated))
        return len(self.treated) - n, n

    @property
    def new(self) -> BoolArray:
        """Whose zone or block has the new version, per person."""
        found: BoolArray = self.treated[self.cell]
        return found

    def complete_people(self, window_us: int) -> tuple[int, int]:
        """People after the start with complete windows, old and new version."""
        done = self.matcher.crowd.complete(window_us) & self.after
        n = int(np.count_nonzero(done & self.new))
        return int(np.count_nonzero(done)) - n, n

    @property
    def per_day(self) -> float:
        """How many people entered a day in the last week."""
        week_us = max(1, min(WEEK_US, self.until_us - self.stage.start_us))
        lately = np.count_nonzero(self.after & (self.matcher.crowd.at >= self.until_us - week_us))
        return float(lately) * DAY_US / week_us


def staged_data(
    x: Exposures,
    change: LedgerChange,
    stage: Stage,
    *,
    month_end_us: int,
    as_of_us: int,
    agents: bool = False,
) -> ZoneData:
    """First exposures of a span before the change's first stage and of the stage itself, by zone, whatever their label.

    The span before is as long as the stage so far, at most 28 days. Where the stage names no zones, those are treated
    in which nine of ten exposures carry the new version; zones of earlier stages are too, and those with one of ten or
    fewer are the others (staggered adoption: each cohort beside zones not treated yet). A zone that had met the new
    version before is no base for anything.

    Args:
        agents: people are delivery agents.
    """
    column = x.courier if agents else x.subject
    until = min(stage.end_us or OPEN_US, month_end_us, as_of_us + 1)
    closes = min(stage.end_us or OPEN_US, as_of_us)
    span = min(max(0, until - stage.start_us), BEFORE_AFTER_US)
    spans = (change.start_us - span, change.start_us), (stage.start_us, until)
    periods = [shown(x, change, *one, column) for one in spans]
    before, after = (_new_share(x, change, rows) for rows in periods)
    named = np.isin(x.zone.labels, list(stage.zones)) if stage.zones else after >= NEW_SHARE
    earlier = sorted({z for other in change.stages if other.number < stage.number for z in other.zones})
    new = named | (np.isin(x.zone.labels, earlier) & (after >= NEW_SHARE))
    there = ~np.isnan(after) & ~np.isnan(before) & (new | (after <= 1 - NEW_SHARE))
    clean = there & (before <= 1 - NEW_SHARE)
    zones = np.flatnonzero(clean)
    unclean = int(np.count_nonzero(~np.isnan(after) & (before > 1 - NEW_SHARE)))
    cell_of = np.full(len(x.zone.labels), ABSENT, dtype=np.int64)
    cell_of[zones] = np.arange(len(zones))
    entered = [first_exposures(x, rows, np.zeros(len(rows), dtype=np.int64), column) for rows in periods]
    entry = np.concatenate([p.row for p in entered])
    late = np.repeat([False, True], [len(p.row) for p in entered])
    cell = cell_of[x.zone.codes[entry]]
    kept = cell != ABSENT
    entry, late, cell = entry[kept], late[kept], cell[kept]
    # Windows of the people before end by the start, so that no outcome of the new version counts for them.
    crowd = crowd_of(x, column, entry, np.where(late, closes, change.start_us))
    rows = np.concatenate(periods)
    period = np.repeat([0, 1], [len(p) for p in periods])
    position = _position(column.of_rows(entry) * 2 + late, column.of_rows(rows) * 2 + period)
    return ZoneData(
        stage, RepeatedMatcher(crowd, len(column.labels)), rows[position != ABSENT], position[position != ABSENT],
        cell, late, zones, new[zones], False, until, closes, _days(until - stage.start_us),
        change.assignment == "random",
        notes=(facts.ZonesLeftOut(unclean),) if unclean else (),
        seen=(int(np.count_nonzero(~new & (after <= 1 - NEW_SHARE))), int(np.count_nonzero(new & ~np.isnan(after)))),
    )  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class ZoneFigure:
    """One metric: its effect, the values behind it, and what a guardrail tests.

    ``effect`` is None where a version has no zone (or block) with people. ``margin`` is in the unit of ``tested``.
    """

    effect: ZoneEffect | ZoneQuantile | None
    values: Values
    tested: ZoneEffect | None = None
    margin: float | None = None


def zone_figure(frames: Frames, data: ZoneData, metric: Metric) -> ZoneFigure:
    """One metric of zones or blocks; a quantile by the share of exposures above that of the old version's zones."""
    estimate = _switchback if data.by_block else _staged
    if metric.kind != "quantile":
        effect, values = estimate(data, _values(frames, data, metric))
        return ZoneFigure(effect, values, effect)
    field_values = frames.exposures.fields[metric.key][data.rows]
    early = ~data.after[data.position]
    counted = ~np.isnan(field_values) & ~early
    new = data.new[data.position]
    old_values, new_values = field_values[counted & ~new], field_values[counted & new]
    if len(old_values) == 0 or len(new_values) == 0:
        return ZoneFigure(None, _values(frames, data, metric, math.inf))
    q, margin = metric.settings.quantile, metric.settings.margin
    threshold = float(np.quantile(old_values, q))
    share, values = estimate(data, _values(frames, data, metric, threshold))
    if share is None:
        return ZoneFigure(None, values)
    tested, limit = share, margin
    if margin is not None:
        # As in `effects`: less the margin, the new version's requests are beyond the old quantile no more often than
        # the old one's exactly where its quantile is above by no more than the margin.
        shifted = np.where(new & data.after[data.position], threshold + margin, threshold)
        beyond, _ = estimate(data, _values(frames, data, metric, shifted))
        tested, limit = (share, margin) if beyond is None else (beyond, 0.0)
    earlier = [field_values[~np.isnan(field_values) & early & kind] for kind in (~new, new)]
    before = None
    if share.before is not None and all(map(len, earlier)):
        before = float(np.quantile(earlier[0], q)), float(np.quantile(earlier[1], q))
    return ZoneFigure(ZoneQuantile(share, q, threshold, new_values, before), values, tested, limit)


def _staged(data: ZoneData, values: Values) -> tuple[ZoneEffect | None, Values]:
    """Difference in differences over the zones; None where a zone has nobody."""
    n = len(data.zone)
    sums = [_sums(values, data.cell, values.counted & period, n) for period in (~data.after, data.after)]
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


def switchback_data(
    x: Exposures,
    change: LedgerChange,
    stage: Stage,
    *,
    month_end_us: int,
    as_of_us: int,
    timezone: str = "UTC",
    agents: bool = False,
) -> ZoneData:
    """First exposures per block of a zone, without the block's first hour (`analysis.blocks`).

    Whoever came in that hour is left out of the block: counted from a later exposure, an outcome between would be lost.

    Args:
        timezone: of the company, for blocks that follow its clock.
        agents: people are delivery agents.
    """
    column = x.courier if agents else x.subject
    until = min(stage.end_us or OPEN_US, month_end_us, as_of_us + 1)
    closes = min(stage.end_us or OPEN_US, as_of_us)
    rows = shown(x, change, stage.start_us, until, column)
    if change.rollout_id is not None and x.rollout.equals(change.rollout_id, rows).any():
        rows = rows[x.rollout.equals(change.rollout_id, rows)]
    if stage.zones:
        rows = rows[x.zone.isin(stage.zones, rows)]
    new, zone, at = x.version.equals(change.to_version, rows), x.zone.of_rows(rows), x.at[rows]
    if change.block_h is not None:
        start = change.start_us if change.block_starts_us is None else change.block_starts_us
        grid: Grid | None = declared_grid(change.block_h, start)
    else:
        grid = find_grid(zone, at, new, timezone)
    found = blocks(zone, at, new, grid, (stage.start_us, until))
    n_blocks = max(len(found.zone), 1)
    washed = found.early != ABSENT
    before = column.of_rows(rows[washed]) * n_blocks + found.early[washed]
    rows, block = rows[found.of != ABSENT], found.of[found.of != ABSENT]
    key = column.of_rows(rows) * n_blocks + block
    fresh = ~np.isin(key, before)
    rows, block, key = rows[fresh], block[fresh], key[fresh]
    order = stable_order(key)
    first = order[np.concatenate([[True], np.diff(key[order]) != 0])] if len(order) else order
    crowd = crowd_of(x, column, rows[first], np.full(len(first), closes))
    notes: list[AnyFact] = []
    if not found.known:
        notes.append(Said("blocks unknown"))
    if found.cut or found.mixed:
        notes.append(facts.BlocksLeftOut(found.cut, found.mixed))
    return ZoneData(
        stage, RepeatedMatcher(crowd, len(column.labels)), rows, _position(key[first], key), block[first],
        np.ones(len(first), dtype=bool), found.zone, found.treated, True, until, closes, _days(until - stage.start_us),
        change.assignment == "random", found.known, tuple(notes),
    )  # fmt: skip


def _switchback(data: ZoneData, values: Values) -> tuple[ZoneEffect | None, Values]:
    """The difference over zone × block; None where one version has no block with people."""
    sums = _sums(values, data.cell, values.counted, len(data.zone))
    there = sums.rows > 0
    treated = data.treated[there]
    if not treated.any() or treated.all():
        return None, values
    kept = sums.of(there)
    effect = switchback_effect(data.zone[there], treated, kept.y, kept.rows, kept.squares, drawn=data.drawn)
    if not data.known:
        effect = replace(effect, assignments=0)
    return effect, only(values, there[data.cell])


def _sums(values: Values, cell: IntArray, who: BoolArray, n: int) -> ZoneSums:
    """Sums of some people per zone or block, and of how far each lies from its cell's rate."""
    of, y, d = cell[who], values.y[who], values.d[who]
    total = np.bincount(of, weights=y, minlength=n).astype(np.float64)
    rows = np.bincount(of, weights=d, minlength=n).astype(np.float64)
    rate = np.divide(total, rows, out=np.zeros(n), where=rows > 0)
    squares = np.bincount(of, weights=(y - rate[of] * d) ** 2, minlength=n).astype(np.float64)
    return ZoneSums(total, rows, squares)


def shown(x: Exposures, change: LedgerChange, start_us: int, end_us: int, column: Coded) -> IntArray:
    """People's exposures to the model in zones, whatever label they have: before a rollout there is none."""
    rows = rows_of(x, change, start_us, end_us, (), None)
    known = x.customers(rows) if column is x.subject else column.codes[rows] != ABSENT
    found: IntArray = rows[~x.arm.equals("holdout", rows) & known & (x.zone.codes[rows] != ABSENT)]
    return found


def _new_share(x: Exposures, change: LedgerChange, rows: IntArray) -> FloatArray:
    """The new version's share of each zone's exposures; NaN without any."""
    n = len(x.zone.labels)
    seen = np.bincount(x.zone.codes[rows], minlength=n).astype(np.float64)
    new = np.bincount(x.zone.codes[rows[x.version.equals(change.to_version, rows)]], minlength=n)
    share: FloatArray = np.divide(new, seen, out=np.full(n, np.nan), where=seen > 0)
    return share


def _position(entries: IntArray, keys: IntArray) -> IntArray:
    """The place of each key among the entries', −1 where it is none of them; entries have different keys."""
    order = np.argsort(entries)
    found = np.searchsorted(entries[order], keys)
    found[found == len(entries)] = 0
    if len(entries) == 0:
        return np.full(len(keys), ABSENT, dtype=np.int64)
    return np.where(entries[order][found] == keys, order[found], ABSENT).astype(np.int64)


def crowd_of(x: Exposures, column: Coded, rows: IntArray, closes_us: IntArray) -> Crowd:
    """People by the rows of their entries, everybody a unit; ``closes_us`` per person, the last moment of a window."""
    n = len(rows)
    nothing = np.zeros(n, dtype=np.int64)
    return Crowd(
        person=column.of_rows(rows), at=x.at[rows], row=rows, unit=np.arange(n), treated=np.zeros(n, dtype=bool),
        unit_day=nothing, closes_us=closes_us, clustered=False, n_control=n,
    )  # fmt: skip


def _values(frames: Frames, data: ZoneData, metric: Metric, threshold: float | FloatArray | None = None) -> Values:
    """Per person; of exposures over all that the person had, with a threshold in the place of the metric's own."""
    if metric.source != "exposure":
        return outcome_values(frames, data.matcher, metric)
    marked = exposure_marks(frames.exposures, metric, data.rows)
    if threshold is not None:
        marked = np.where(np.isnan(marked), np.nan, marked > threshold)
    return exposure_values(data.matcher, data.position, marked)


def _days(us: int) -> int:
    return int(us // (24 * HOUR_US))
