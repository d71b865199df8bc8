"""A calendar month in the company's zone, half-open, as µs since the epoch."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import msgspec

from edgeloop.clock import from_us, to_us
from edgeloop.errors import UsageError

_NAME = re.compile(r"^(\d{4})-(0[1-9]|1[0-2])$")


class Month(msgspec.Struct, frozen=True):
    """``name`` is ``YYYY-MM``; ``start_us`` ≤ t < ``end_us``."""

    name: str
    timezone: str
    start_us: int
    end_us: int

    @classmethod
    def parse(cls, name: str, timezone: str) -> Month:
        """The month of that name.

        Raises:
            UsageError: not ``YYYY-MM``.
        """
        match = _NAME.match(name)
        if not match:
            raise UsageError(f"{name!r} is not a month; write it as YYYY-MM, for example 2026-03")
        year, month = int(match[1]), int(match[2])
        zone = ZoneInfo(timezone)
        start = datetime(year, month, 1, tzinfo=zone)
        end = datetime(year + month // 12, month % 12 + 1, 1, tzinfo=zone)
        return cls(name, timezone, to_us(start.astimezone(UTC)), to_us(end.astimezone(UTC)))

    @classmethod
    def of(cls, us: int, timezone: str) -> Month:
        """The month that a moment lies in."""
        local = from_us(us).astimezone(ZoneInfo(timezone))
        return cls.parse(f"{local.year:04d}-{local.month:02d}", timezone)

    def previous(self) -> Month:
        """The month before."""
        return Month.of(self.start_us - 1, self.timezone)

    def next(self) -> Month:
        """The month after."""
        return Month.of(self.end_us, self.timezone)
