"""How is a number written in the report? U+2212 for minus, a no-break space before a unit, and no sign on a zero."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from zoneinfo import ZoneInfo

from edgeloop.clock import from_us

MINUS = "\N{MINUS SIGN}"
NO_BREAK = "\N{NO-BREAK SPACE}"
MOST_DIGITS = 6
_SYMBOLS = {"EUR": "€", "GBP": "£", "USD": "$"}
_MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def number(value: float, digits: int = 0) -> str:
    """``1,234.5``; a value that rounds to zero carries no sign."""
    text = f"{abs(value):,.{digits}f}"
    return MINUS + text if value < 0 and _nonzero(text) else text


def signed(value: float, digits: int = 2) -> str:
    """``+0.72``: a difference."""
    text = number(value, digits)
    return "+" + text if value > 0 and _nonzero(text) else text


def digits_for(values: Iterable[float], least: int) -> int:
    """The fewest digits ≥ ``least`` at which no value other than 0 is written as 0, so that no bound loses its sign."""
    nonzero = [abs(v) for v in values if v != 0]
    digits = least
    while digits < MOST_DIGITS and any(round(v, digits) == 0 for v in nonzero):
        digits += 1
    return digits


def count(value: float) -> str:
    """``12,345``."""
    return number(value)


def about(value: float) -> str:
    """A size to the two figures that an estimate carries: ``about 340``."""
    size = abs(value)
    if 0 < size < 0.5:
        return "fewer than 1"
    return f"about {count(float(f'{size:.1e}') if size >= 100 else round(size))}"


def percent(share: float, digits: int = 1) -> str:
    """A share: ``18.3 %``."""
    return f"{number(share * 100, digits)}{NO_BREAK}%"


def points(difference: float, digits: int = 1) -> str:
    """A difference of two shares, in percentage points: ``−1.2 pp``."""
    return f"{signed(difference * 100, digits)}{NO_BREAK}pp"


def lift(ratio: float) -> str:
    """A relative change: ``+17.9 %``."""
    return f"{signed(ratio * 100, 1)}{NO_BREAK}%"


def money(value: float, currency: str | None, digits: int = 2) -> str:
    """``€1,234.50``; ``1,234.50 CHF`` where no symbol is known; bare without a currency."""
    text = number(value, digits)
    symbol = _SYMBOLS.get(currency or "")
    if symbol is not None:
        return f"{MINUS}{symbol}{text[1:]}" if text.startswith(MINUS) else f"{symbol}{text}"
    return f"{text}{NO_BREAK}{currency}" if currency else text


def p_value(p: float) -> str:
    """``0.034``, or ``under 0.001``."""
    return "under 0.001" if p < 0.001 else number(p, 3)


def month(name: str) -> str:
    """``March 2026`` of ``2026-03``."""
    return f"{_MONTHS[int(name[5:]) - 1]} {name[:4]}"


def date_text(date: dt.date) -> str:
    """``3 April 2026``."""
    return f"{date.day} {_MONTHS[date.month - 1]} {date.year}"


def weekday_text(date: dt.date) -> str:
    """``Friday 3 April``."""
    return f"{_DAYS[date.weekday()]} {date.day} {_MONTHS[date.month - 1]}"


def short_day(us: int, timezone: str) -> str:
    """``3 Apr``."""
    date = from_us(us).astimezone(ZoneInfo(timezone)).date()
    return f"{date.day} {_MONTHS[date.month - 1][:3]}"


def day(us: int, timezone: str) -> str:
    """The day of a moment in a zone: ``3 April 2026``."""
    return date_text(from_us(us).astimezone(ZoneInfo(timezone)).date())


def moment(us: int, timezone: str) -> str:
    """``1 April 2026, 00:30 (Europe/Berlin)``."""
    local = from_us(us).astimezone(ZoneInfo(timezone))
    return f"{date_text(local.date())}, {local:%H:%M} ({timezone})"


def joined(items: Sequence[str]) -> str:
    """``a, b and c``."""
    return " and ".join(part for part in (", ".join(items[:-1]), *items[-1:]) if part)


def _nonzero(text: str) -> bool:
    return any(c in "123456789" for c in text)
