"""How numbers are written in the report."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeloop.clock import to_us
from reports import numbers
from reports.decisions import working_days_after

CASES = [
    (numbers.count(12345.4), "12,345"),
    (numbers.count(-3), "−3"),
    (numbers.about(337), "about 340"),
    (numbers.about(-10_497), "about 10,000"),
    (numbers.about(7), "about 7"),
    (numbers.about(0.2), "fewer than 1"),
    (numbers.number(-0.004, 2), "0.00"),
    (numbers.signed(0.0), "0.00"),
    (numbers.signed(0.719), "+0.72"),
    (numbers.signed(-0.719), "−0.72"),
    (numbers.percent(0.1828), "18.3\u00a0%"),
    (numbers.points(-0.0123), "−1.2\u00a0pp"),
    (numbers.lift(0.179), "+17.9\u00a0%"),
    (numbers.money(-1234.5, "EUR"), "−€1,234.50"),
    (numbers.money(3, "CHF", 0), "3\u00a0CHF"),
    (numbers.money(3, None, 0), "3"),
    (numbers.p_value(0.00001), "<\u00a00.001"),
    (numbers.p_value(0.0344), "=\u00a00.034"),
    (numbers.month("2026-03"), "March 2026"),
    (numbers.weekday_text(dt.date(2026, 4, 3)), "Friday 3 April"),
    (numbers.joined([]), ""),
    (numbers.joined(["a"]), "a"),
    (numbers.joined(["a", "b", "c"]), "a, b and c"),
]


@pytest.mark.parametrize(("found", "wanted"), CASES, ids=[repr(w) for _, w in CASES])
def test_table(found: str, wanted: str) -> None:
    assert found == wanted


def test_times_are_in_the_companys_zone() -> None:
    us = to_us(dt.datetime(2026, 3, 31, 22, 30, tzinfo=dt.UTC))
    assert numbers.moment(us, "Europe/Berlin") == "1 April 2026, 00:30 (Europe/Berlin)"
    assert numbers.day(us, "UTC") == "31 March 2026"
    assert numbers.short_day(us, "UTC") == "31 Mar"


@given(st.floats(-1e6, 1e6).filter(lambda v: abs(v) > 1e-5))
@settings(max_examples=200, deadline=None)
def test_no_bound_loses_its_sign(value: float) -> None:
    text = numbers.signed(value, numbers.digits_for([value], 1))
    assert text.startswith("+" if value > 0 else "−")
    assert any(c in "123456789" for c in text)


@pytest.mark.parametrize(
    ("start", "days", "wanted"),
    [
        ((2026, 4, 16), 1, (2026, 4, 17)),  # Thursday → Friday
        ((2026, 4, 17), 1, (2026, 4, 20)),  # Friday → Monday
        ((2026, 4, 18), 1, (2026, 4, 20)),  # Saturday → Monday
        ((2026, 4, 16), 5, (2026, 4, 23)),
    ],
)
def test_working_days(start: tuple[int, int, int], days: int, wanted: tuple[int, int, int]) -> None:
    assert working_days_after(dt.date(*start), days) == dt.date(*wanted)
