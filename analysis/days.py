"""Which day is it? Days of the company's zone, as midnights in µs (a day may have 23 or 25 hours)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np

from analysis.moments import IntArray
from edgeloop.clock import from_us, to_us

_FIRST = datetime(2000, 1, 1, tzinfo=UTC)
"""Older days are one: a clock that was never set shows 1970 or the year 1, and nobody needs 700,000 days of nothing."""
_FIRST_US = to_us(_FIRST)
_CALENDAR_US = to_us(datetime(1, 1, 2, tzinfo=UTC))
"""The day before lies outside the calendar in half of all zones."""


def midnights(start_us: int, end_us: int, timezone: str) -> IntArray:
    """All midnights from the one at or before ``start_us`` to the first at or after ``end_us``, ascending.

    Day i of the span is ``[result[i], result[i + 1])``. What lies before 2000 is one day.
    """
    zone = ZoneInfo(timezone)
    edges: list[int] = []
    if start_us < _FIRST_US:
        edges.append(start_us)
        day = _FIRST.date() + timedelta(days=1)
    else:
        day = from_us(start_us).astimezone(zone).date()
    while not edges or edges[-1] < end_us:
        edges.append(to_us(datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)))
        day += timedelta(days=1)
    if len(edges) == 1:
        edges.append(to_us(datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)))
    return np.array(edges, dtype=np.int64)


def day_of(at_us: IntArray, edges: IntArray) -> IntArray:
    """The day of each moment; moments lie inside the edges."""
    return (np.searchsorted(edges, at_us, side="right") - 1).astype(np.int64)


def local_date(us: int, timezone: str) -> str:
    """``YYYY-MM-DD`` in the company's zone."""
    return from_us(max(us, _CALENDAR_US)).astimezone(ZoneInfo(timezone)).date().isoformat()
