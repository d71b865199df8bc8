"""Who is in a month, in which cell, and which versions they met: from the tables' codes to the sums of the bridge."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from zoneinfo import ZoneInfo

import numpy as np

from analysis.bridge.decompose import MonthCells
from analysis.change import LedgerChange
from analysis.days import day_of, midnights
from analysis.entry import first_exposures
from analysis.frames import ABSENT, BoolArray, Exposures, Frames
from analysis.groups import first_places
from analysis.metrics import Metric
from analysis.moments import FloatArray, IntArray
from analysis.newcomers import KNOWN_US
from analysis.values import Crowd, Matcher, outcome_values
from edgeloop.clock import DAY_US, from_us
from edgeloop.months import Month

DAY_TYPES = ("working day", "Saturday", "Sunday or holiday")


@dataclass(frozen=True, slots=True, eq=False)
class MonthUnits:
    """The people of one month with complete windows: what they did, when they entered, and what they had met.

    ``group`` is their zone × touchpoint × new or returning (where that is told apart), as codes; ``have`` says per
    change who had its version.
    """

    y: FloatArray
    d: FloatArray
    day_type: IntArray
    group: IntArray
    have: Mapping[str, BoolArray]

    def cells(self, n_groups: int) -> MonthCells:
        """The sums of its cells."""
        key, n = self.day_type * n_groups + self.group, len(DAY_TYPES) * n_groups

        def sums(weights: FloatArray) -> FloatArray:
            found = np.bincount(key, weights=weights, minlength=n).astype(np.float64)
            return found.reshape(len(DAY_TYPES), n_groups)

        return MonthCells(sums(self.d), sums(self.y), {name: sums(self.d * had) for name, had in self.have.items()})


def cut_days(month: Month, window_us: int, as_of_us: int) -> int:
    """How many of the month's last days have entries whose windows are not over yet."""
    open_us = month.end_us - 1 + window_us - as_of_us
    return max(0, -(-open_us // DAY_US))


def month_units(
    frames: Frames,
    month: Month,
    metric: Metric,
    changes: Sequence[LedgerChange],
    *,
    as_of_us: int,
    less_days: int,
    newcomers: bool,
    holidays: Collection[date],
) -> MonthUnits:
    """The people who met any model in the month (holdouts aside), each by the first exposure.

    Args:
        changes: whose versions are looked for; see `lineage`.
        less_days: the last days of the month that are left out.
        newcomers: whether new and returning customers are told apart.
    """
    x = frames.exposures
    days = midnights(month.start_us, month.end_us, month.timezone)
    until = int(days[max(len(days) - 1 - less_days, 0)])
    begin, end = np.searchsorted(x.at, [month.start_us, until])
    rows = np.arange(begin, end)
    rows = rows[x.customers(rows) & ~x.arm.equals("holdout", rows)]
    entries = first_exposures(x, rows, np.zeros(len(rows), dtype=np.int64), x.subject)
    crowd = Crowd(
        person=entries.key,
        at=entries.at,
        row=entries.row,
        unit=np.arange(len(entries.key)),
        treated=np.zeros(len(entries.key), dtype=bool),
        unit_day=np.zeros(len(entries.key), dtype=np.int64),
        closes_us=as_of_us,
        clustered=False,
        n_control=len(entries.key),
    )
    matcher = Matcher(crowd, len(x.subject.labels))
    values = outcome_values(frames, matcher, metric)
    kept = values.counted
    types = _day_types(days, month.timezone, holidays)
    met = _versions_met(x, matcher, metric.window_us, {c.model_id for c in changes})
    have = {}
    for change in changes:
        codes = [code for name in lineage(change, changes) if (code := x.version.code(name)) is not None]
        have[change.change_id] = np.isin(met[change.model_id], codes)
    return MonthUnits(
        y=values.y[kept],
        d=values.d[kept],
        day_type=types[day_of(entries.at[kept], days)],
        group=_groups(frames, matcher, newcomers)[kept],
        have={name: had[kept] for name, had in have.items()},
    )


def n_groups(frames: Frames) -> int:
    """How many groups there can be."""
    x = frames.exposures
    return (len(x.zone.labels) + 1) * (len(x.touchpoint.labels) + 1) * 2


def lineage(change: LedgerChange, changes: Sequence[LedgerChange]) -> set[str]:
    """The change's version, and those that later changes of the model built on it."""
    found = {change.to_version}
    later = [c for c in changes if c.model_id == change.model_id and c.start_us >= change.start_us]
    for other in sorted(later, key=lambda c: (c.start_us, c.change_id)):
        if other.kind != "rollback" and other.from_version in found and other.to_version != change.from_version:
            found.add(other.to_version)
    return found


def _groups(frames: Frames, matcher: Matcher, newcomers: bool) -> IntArray:
    x, crowd = frames.exposures, matcher.crowd
    zone = x.zone.of_rows(crowd.row) + 1  # 0: absent
    touchpoint = x.touchpoint.of_rows(crowd.row) + 1
    seen = np.zeros(len(crowd), dtype=bool)
    histories = ((x.subject.codes, x.at), (frames.engagement.person, frames.engagement.surely)) if newcomers else ()
    for person, at in histories:
        if not len(at) or not len(crowd):
            continue
        near = np.flatnonzero((at >= int(crowd.at.min()) - KNOWN_US) & (at < int(crowd.at.max())))
        near = near[person[near] != ABSENT]
        position = matcher.position(person[near])
        near, position = near[position != ABSENT], position[position != ABSENT]
        lag = crowd.at[position] - at[near]
        seen[position[(lag > 0) & (lag <= KNOWN_US)]] = True
    found: IntArray = (zone * (len(x.touchpoint.labels) + 1) + touchpoint) * 2 + seen
    return found


def _versions_met(x: Exposures, matcher: Matcher, window_us: int, models: Collection[str]) -> dict[str, IntArray]:
    """Model → the version of each person's first exposure to it inside the window; −1: none."""
    crowd = matcher.crowd
    found = {}
    for model in sorted(models):
        rows = x.of_model(model)
        if len(crowd) == 0:
            rows = rows[:0]
        else:
            at = x.at[rows]
            rows = rows[(at >= crowd.at.min()) & (at <= crowd.at.max() + window_us)]
        rows = rows[x.customers(rows) & ~x.arm.equals("holdout", rows)]
        position = matcher.position(x.subject.codes[rows])
        rows, position = rows[position != ABSENT], position[position != ABSENT]
        lag = x.at[rows] - crowd.at[position]
        inside = (lag >= 0) & (lag <= window_us)
        rows, position = rows[inside], position[inside]
        first = first_places(position, len(crowd))
        version = np.full(len(crowd), ABSENT, dtype=np.int64)
        version[first != ABSENT] = x.version.codes[rows[first[first != ABSENT]]]
        found[model] = version
    return found


def _day_types(days: IntArray, timezone: str, holidays: Collection[date]) -> IntArray:
    """0, 1 or 2 of ``DAY_TYPES`` for each day of the month."""
    first = from_us(int(days[0])).astimezone(ZoneInfo(timezone)).date()
    dates = [first + timedelta(days=i) for i in range(len(days) - 1)]
    return np.array([2 if d in holidays or d.weekday() == 6 else int(d.weekday() == 5) for d in dates], dtype=np.int64)
