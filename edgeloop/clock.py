"""Time: integer microseconds since 1970-01-01 UTC everywhere inside, RFC 3339 at the edges.

Only a door asks a clock for the time (it stamps ``received_at``); everything after it is a function of the
stamped events, so that replay equals live.
"""

from __future__ import annotations

import time
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from typing import Protocol

SECOND_US = 1_000_000
HOUR_US = 3_600 * SECOND_US
DAY_US = 24 * HOUR_US

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Clock(Protocol):
    """What a door stamps ``received_at`` from."""

    def now_us(self) -> int:
        """The time in µs since the epoch."""
        ...


class SystemClock:
    """The machine's clock."""

    def now_us(self) -> int:
        return time.time_ns() // 1_000


class SimulatedClock:
    """A clock that shows what it was last set to, per thread of control (so requests may overlap)."""

    def __init__(self, start_us: int) -> None:
        self._now: ContextVar[int] = ContextVar("simulated_now_us", default=start_us)

    def now_us(self) -> int:
        return self._now.get()

    def set_us(self, now_us: int) -> None:
        """Set the time seen by the present thread or task."""
        self._now.set(now_us)


def to_us(moment: datetime) -> int:
    """Whole µs since the epoch of an aware datetime."""
    since = moment - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def from_us(us: int) -> datetime:
    """The aware UTC datetime of µs since the epoch."""
    return _EPOCH + timedelta(microseconds=us)


def iso(us: int) -> str:
    """RFC 3339 in UTC, e.g. ``2026-02-03T10:00:00Z``; fractions only where there are some."""
    return from_us(us).isoformat().replace("+00:00", "Z")
