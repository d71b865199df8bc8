"""Days of the company's zone."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np

from analysis.days import day_of, local_date, midnights
from edgeloop.clock import HOUR_US, to_us


def us(*parts: int) -> int:
    return to_us(datetime(*parts, tzinfo=UTC))  # type: ignore[misc,arg-type]


def test_the_day_of_the_spring_change_has_23_hours() -> None:
    edges = midnights(us(2026, 3, 28, 12), us(2026, 3, 30, 12), "Europe/Berlin")
    assert [int(h) for h in np.diff(edges) // HOUR_US] == [24, 23, 24]
    assert edges[0] == us(2026, 3, 27, 23)


def test_edges_cover_the_span_and_no_more() -> None:
    edges = midnights(us(2026, 3, 1), us(2026, 3, 3), "UTC")
    assert list(edges) == [us(2026, 3, 1), us(2026, 3, 2), us(2026, 3, 3)]
    assert list(midnights(us(2026, 3, 1), us(2026, 3, 1), "UTC")) == [us(2026, 3, 1), us(2026, 3, 2)]


def test_midnight_begins_the_day() -> None:
    edges = midnights(us(2026, 3, 1), us(2026, 3, 3), "UTC")
    moments = np.array([us(2026, 3, 1), us(2026, 3, 2) - 1, us(2026, 3, 2)])
    assert list(day_of(moments, edges)) == [0, 0, 1]


def test_dates_are_local() -> None:
    assert local_date(us(2026, 3, 31, 23), "Europe/Berlin") == "2026-04-01"


def test_what_a_clock_shows_that_was_never_set_is_one_day() -> None:
    for zone in ("UTC", "Europe/Berlin", "America/New_York", "Pacific/Kiritimati"):
        start = to_us(datetime(1, 1, 1, tzinfo=UTC))
        edges = midnights(start, us(2026, 3, 1), zone)
        assert edges[0] == start
        assert (np.diff(edges) > 0).all()
        assert len(edges) < 10_000
        assert local_date(start, zone) < "0002"
