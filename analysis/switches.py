"""A full switch of a model: daily series of its people before and after, for the structural time series.

Who meets the model on a day counts on that day; outcomes are those of the window from that day's first exposure. Days
whose windows are not over are left out, and so are the days before the switch whose windows reach past it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date

import numpy as np

from analysis.change import BEFORE_AFTER_US, LedgerChange
from analysis.days import day_of, local_date, midnights
from analysis.entry import OPEN_US
from analysis.estimators.switch import SwitchEffect, switch_effect
from analysis.frames import ABSENT, BoolArray, Exposures, Frames
from analysis.groups import stable_order
from analysis.metrics import Metric
from analysis.moments import FloatArray, IntArray
from analysis.values import Crowd, RepeatedMatcher, Values, exposure_marks, only, outcome_values
from edgeloop.metrics import HOLIDAYS

MOST_CONTROLS = 3
SEASON_DAYS = 730  # from two years before the switch on a year has a shape
_NONE, _NO_VALUE = np.zeros(0, dtype=np.int64), np.zeros(0)
LIVE_SHARE = 0.95  # of the days on which a model has to have been asked, for its series to be a control


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """The people of one model by day: ``day`` per person of the crowd, and the rows of their exposures."""

    matcher: RepeatedMatcher
    rows: IntArray
    day: IntArray
    n_days: int


@dataclass(frozen=True, slots=True, eq=False)
class SwitchData:
    """The switched model's series, those of untouched models, and where in them the switch is."""

    own: Series
    others: tuple[Series, ...]
    days: IntArray
    """Midnights, one more than days."""
    switch_day: int
    until_us: int
    timezone: str = "UTC"


@dataclass(frozen=True, slots=True, eq=False)
class Explained:
    """What was regressed on beside other models, shape (days, k); ``names`` of those that varied, ``absent`` others."""

    columns: FloatArray
    names: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    season: bool = False


def switch_data(
    x: Exposures,
    change: LedgerChange,
    ledger: list[LedgerChange],
    *,
    since_us: int,
    month_end_us: int,
    as_of_us: int,
    timezone: str,
) -> SwitchData | None:
    """The days from the first that the tables hold to the end of the span after, at most 28 days after the switch.

    Controls are at most three other models without a change of their own in these days, the busiest first. None where
    nothing is known of the days before.
    """
    end = min(change.end_us or OPEN_US, month_end_us, as_of_us, change.start_us + BEFORE_AFTER_US)
    own_rows = _asked(x, change.model_id, since_us, end)
    if len(own_rows) == 0 or int(x.at[own_rows].min()) >= change.start_us or end <= change.start_us:
        return None
    days = midnights(int(x.at[own_rows].min()), end, timezone)
    switch_day = int(np.searchsorted(days, change.start_us, side="left"))
    closes = np.full(len(days) - 1, as_of_us)
    closes[:switch_day] = min(change.start_us, as_of_us)
    own = _series(x, own_rows, days, closes)
    touched = {c.model_id for c in ledger if c.start_us < end and c.last_us >= int(days[0])}
    others = []
    for model in x.model.labels:
        if str(model) in touched or str(model) == change.model_id:
            continue
        rows = _asked(x, str(model), int(days[0]), end)
        live = len(np.unique(day_of(x.at[rows], days))) if len(rows) else 0
        if live >= LIVE_SHARE * (len(days) - 1):
            others.append((-len(rows), str(model), rows))
    chosen = sorted(others, key=lambda o: o[:2])[:MOST_CONTROLS]
    beside = tuple(_series(x, rows, days, closes) for *_, rows in chosen)
    return SwitchData(own, beside, days, switch_day, end, timezone)


def switch_result(
    frames: Frames, data: SwitchData, metric: Metric, holidays: Collection[date] = ()
) -> tuple[SwitchEffect, Values, Explained]:
    """The effect of the switch on one metric, from the days whose windows are over.

    Args:
        holidays: dates of the regressor of that name.
    """
    values = _values(frames, data.own, metric)
    sums, rows = daily(data.own, values, metric)
    complete = _complete_days(data, metric.window_us)
    before = int(np.count_nonzero(complete[: data.switch_day]))
    told = _explained(frames, data, metric, complete, before, holidays)
    columns = [told.columns]
    for series in data.others:
        y, n = daily(series, _values(frames, series, metric), metric)
        if (n[complete] > 0).all():
            columns.append((y[complete] / n[complete])[:, None])
    effect = switch_effect(sums[complete], rows[complete], before, np.concatenate(columns, axis=1), season=told.season)
    return effect, only(values, complete[data.own.day]), told


def _explained(
    frames: Frames, data: SwitchData, metric: Metric, complete: BoolArray, before: int, holidays: Collection[date]
) -> Explained:
    """The declared regressors of the complete days, and whether two years of days are there for a season."""
    days = [date.fromisoformat(local_date(int(us), data.timezone)) for us in data.days[:-1]]
    columns: list[FloatArray] = []
    names: list[str] = []
    absent: list[str] = []
    for name in metric.settings.regressors:
        if name == HOLIDAYS:
            column = np.array([float(day in holidays) for day in days])
        else:
            column = daily_values(*frames.feeds.get(name, (_NONE, _NO_VALUE)), data.days)
        known = column[complete]
        if before and not np.isnan(known).any() and known[:before].std() > 0:
            columns.append(known)
            names.append(name)
        else:
            absent.append(name)
    table = np.stack(columns, axis=1) if columns else np.zeros((int(np.count_nonzero(complete)), 0))
    return Explained(table, tuple(names), tuple(absent), before >= SEASON_DAYS)


def daily_values(at: IntArray, value: FloatArray, days: IntArray) -> FloatArray:
    """Events as a daily series: the mean of the day's values, whoever sent them.

    A day without any has the day's before, those before the first have the first; NaN throughout where there is none.
    Events without values are counted.

    Args:
        at: when, in µs, shape (events,).
        value: how much, NaN where an event says nothing, shape (events,).
        days: midnights, one more than days.
    """
    n_days = len(days) - 1
    inside = (at >= days[0]) & (at < days[-1])
    at, value = at[inside], value[inside]
    if len(at) == 0:
        return np.full(n_days, np.nan)
    priced = ~np.isnan(value)
    if not priced.any():
        return np.bincount(day_of(at, days), minlength=n_days).astype(np.float64)
    day = day_of(at[priced], days)
    n = np.bincount(day, minlength=n_days)
    sums = np.bincount(day, weights=value[priced], minlength=n_days)
    last = np.maximum.accumulate(np.where(n > 0, np.arange(n_days), -1))
    last[last < 0] = int(np.argmax(n > 0))
    found: FloatArray = sums[last] / n[last]
    return found


def daily(series: Series, values: Values, metric: Metric | None = None) -> tuple[FloatArray, FloatArray]:
    """Σy and Σd of each day; of a quantile the day's own, times how many there are."""
    who = values.counted
    d = np.bincount(series.day[who], weights=values.d[who], minlength=series.n_days).astype(np.float64)
    if metric is not None and metric.kind == "quantile":
        y = np.zeros(series.n_days)
        order = np.argsort(series.day[who], kind="stable")
        ends = np.cumsum(np.bincount(series.day[who], minlength=series.n_days))
        for day, part in enumerate(np.split(values.y[who][order], ends[:-1])):
            y[day] = np.quantile(part, metric.settings.quantile) * len(part) if len(part) else 0.0
        return y, d
    y = np.bincount(series.day[who], weights=values.y[who], minlength=series.n_days).astype(np.float64)
    return y, d


def _complete_days(data: SwitchData, window_us: int) -> np.ndarray:
    """Days of which every window is over: before the switch by the switch, after it by ``as_of``."""
    crowd = data.own.matcher.crowd
    open_days = np.unique(data.own.day[~crowd.complete(window_us)])
    complete = np.ones(data.own.n_days, dtype=bool)
    complete[open_days] = False
    # The first day may have begun before the tables do, the last one is cut where the span ends.
    complete[-1] &= bool(data.days[-1] <= data.until_us)
    return complete


def _asked(x: Exposures, model: str, start_us: int, end_us: int) -> IntArray:
    rows = x.of_model(model)
    begin, end = np.searchsorted(x.at[rows], [start_us, end_us])
    rows = rows[begin:end]
    asked: IntArray = rows[~x.arm.equals("holdout", rows) & ~x.anonymous[rows] & (x.subject.codes[rows] != ABSENT)]
    return asked


def _series(x: Exposures, rows: IntArray, days: IntArray, closes: IntArray) -> Series:
    n_days = len(days) - 1
    day = day_of(x.at[rows], days)
    key = x.subject.of_rows(rows) * n_days + day
    order = stable_order(key)
    first = order[np.concatenate([[True], np.diff(key[order]) != 0])] if len(order) else order
    rows, day = rows[first], day[first]
    n = len(rows)
    crowd = Crowd(
        person=x.subject.of_rows(rows), at=x.at[rows], row=rows, unit=np.arange(n), treated=np.zeros(n, dtype=bool),
        unit_day=day, closes_us=closes[day], clustered=False, n_control=n,
    )  # fmt: skip
    return Series(RepeatedMatcher(crowd, len(x.subject.labels)), rows, day, n_days)


def _values(frames: Frames, series: Series, metric: Metric) -> Values:
    if metric.source != "exposure":
        return outcome_values(frames, series.matcher, metric)
    marked = exposure_marks(frames.exposures, metric, series.rows)
    has = ~np.isnan(marked)
    return Values(np.where(has, marked, 0.0), has.astype(np.float64), has, has & (marked > 0))
