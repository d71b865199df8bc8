"""How is a number written in the report? By the language in force, with U+2212 for minus and no sign on a zero.

Separators, dates and lists are those of the CLDR data of Babel. A no-break space stands before a unit. English is
written day before month and without a comma before "and".
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Iterable, Sequence
from zoneinfo import ZoneInfo

from babel import Locale
from babel.dates import format_date, format_skeleton
from babel.lists import format_list

from edgeloop.clock import from_us
from reports.language import SOURCE, locale, spoken, t

MINUS = "\N{MINUS SIGN}"
NO_BREAK = "\N{NO-BREAK SPACE}"
MOST_DIGITS = 6
_SYMBOLS = {"EUR": "€", "GBP": "£", "USD": "$"}
_BRITISH = Locale("en", "GB")
# Skeleton of CLDR → the pattern of English, of which CLDR's own puts the month first.
_ENGLISH = {"yMMMMd": "d MMMM y", "MMMMEEEEd": "EEEE d MMMM", "MMMd": "d MMM", "yMMMM": "MMMM y"}


def number(value: float, digits: int = 0) -> str:
    """``1,234.5``; a value that rounds to zero carries no sign, one without an end is ``∞``."""
    if math.isinf(value):
        return f"{MINUS if value < 0 else ''}\N{INFINITY}"
    text = f"{abs(value):,.{digits}f}"
    sign = MINUS if value < 0 and _nonzero(text) else ""
    symbols = locale().number_symbols["latn"]
    return sign + text.translate({ord(","): symbols["group"], ord("."): symbols["decimal"]})


def signed(value: float, digits: int = 2) -> str:
    """``+0.72``: a difference."""
    text = number(value, digits)
    return "+" + text if value > 0 and (_nonzero(text) or math.isinf(value)) else text


def span(
    low: float, high: float, write: Callable[[float], str], with_unit: Callable[[str], str] = lambda text: text
) -> str:
    """An interval: ``+0.4 to +1.2 pp``, ``+0.4 pp or more``, or that it has no end on either side.

    Args:
        write: one end without its unit.
        with_unit: adds the unit, which the two ends share.
    """
    if math.isfinite(low) and math.isfinite(high):
        return with_unit(t("{low} to {high}", low=write(low), high=write(high)))
    if math.isfinite(low):
        return t("{low} or more", low=with_unit(write(low)))
    if math.isfinite(high):
        return t("{high} or less", high=with_unit(write(high)))
    return t("no end on either side")


def digits_for(values: Iterable[float], least: int) -> int:
    """The fewest digits ≥ ``least`` at which no value other than 0 is written as 0, so that no bound loses its sign."""
    nonzero = [abs(v) for v in values if v != 0 and math.isfinite(v)]
    digits = least
    while digits < MOST_DIGITS and any(round(v, digits) == 0 for v in nonzero):
        digits += 1
    return digits


def count(value: float) -> str:
    """``12,345``."""
    return number(value)


def about(value: float) -> str:
    """A size to the two figures that an estimate carries: ``about 340``."""
    return t("fewer than 1") if 0 < abs(value) < 0.5 else t("about {number}", number=rough(value))


def rough(value: float) -> str:
    """The same without the word: ``340``, ``0`` below a half."""
    size = abs(value)
    return count(float(f"{size:.1e}") if size >= 100 else round(size))


def percent(share: float, digits: int = 1) -> str:
    """A share: ``18.3 %``."""
    return _in_percent(number(share * 100, digits))


def points(difference: float, digits: int = 1) -> str:
    """A difference of two shares, in percentage points: ``−1.2 pp``."""
    return t("{number}\N{NO-BREAK SPACE}pp", number=signed(difference * 100, digits))


def lift(ratio: float) -> str:
    """A relative change: ``+17.9 %``."""
    return _in_percent(signed(ratio * 100, 1))


def money(value: float, currency: str | None, digits: int = 2) -> str:
    """``€1,234.50``; ``1,234.50 CHF`` where no symbol is known; bare without a currency."""
    text = number(value, digits)
    symbol = _SYMBOLS.get(currency or "")
    if symbol is None:
        return f"{text}{NO_BREAK}{currency}" if currency else text
    pattern = locale().currency_formats["standard"].pattern
    gap = NO_BREAK if NO_BREAK in pattern else ""
    if not pattern.startswith("¤"):
        return f"{text}{gap}{symbol}"
    return f"{MINUS}{symbol}{gap}{text[1:]}" if text.startswith(MINUS) else f"{symbol}{gap}{text}"


def p_value(p: float) -> str:
    """``= 0.034``, or ``< 0.001``: what comes after a p."""
    return f"<{NO_BREAK}{number(0.001, 3)}" if p < 0.001 else f"={NO_BREAK}{number(p, 3)}"


def month(name: str) -> str:
    """``March 2026`` of ``2026-03``."""
    return _date(dt.date(int(name[:4]), int(name[5:7]), 1), "yMMMM")


def date_text(date: dt.date) -> str:
    """``3 April 2026``."""
    return _date(date, "yMMMMd")


def weekday_text(date: dt.date) -> str:
    """``Friday 3 April``."""
    return _date(date, "MMMMEEEEd")


def short_day(us: int, timezone: str) -> str:
    """``3 Apr``."""
    return _date(from_us(us).astimezone(ZoneInfo(timezone)).date(), "MMMd")


def day(us: int, timezone: str) -> str:
    """The day of a moment in a zone: ``3 April 2026``."""
    return date_text(from_us(us).astimezone(ZoneInfo(timezone)).date())


def moment(us: int, timezone: str) -> str:
    """``1 April 2026, 00:30 (Europe/Berlin)``."""
    local = from_us(us).astimezone(ZoneInfo(timezone))
    return f"{date_text(local.date())}, {local:%H:%M} ({timezone})"


def joined(items: Sequence[str]) -> str:
    """``a, b and c``."""
    return format_list(list(items), locale=_BRITISH if spoken() == SOURCE else locale()) if items else ""


def _date(date: dt.date, skeleton: str) -> str:
    text = _by_cldr(date, skeleton)
    # French counts the first day of a month as "1er", which the CLDR data does not.
    return text.replace("1 ", "1er ", 1) if spoken() == "fr" and date.day == 1 and skeleton != "yMMMM" else text


def _by_cldr(date: dt.date, skeleton: str) -> str:
    if spoken() == SOURCE:
        return format_date(date, _ENGLISH[skeleton], locale=locale())
    if skeleton == "yMMMMd":  # the one that CLDR has under a name of its own
        return format_date(date, "long", locale=locale())
    known = locale().datetime_skeletons
    if skeleton in known:
        return format_skeleton(skeleton, date, locale=locale())
    weekday, of_month = format_date(date, "EEEE", locale=locale()), format_skeleton("MMMMd", date, locale=locale())
    return f"{weekday} {of_month}" if spoken() == "fr" else f"{weekday}, {of_month}"


def _in_percent(text: str) -> str:
    """The sign where the language has it; always after a no-break space in English, whose CLDR has none."""
    gap = NO_BREAK if spoken() == SOURCE or NO_BREAK in locale().percent_formats[None].pattern else ""
    return f"{text}{gap}%"


def _nonzero(text: str) -> bool:
    return any(c in "123456789" for c in text)
