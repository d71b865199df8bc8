"""What do an amount and a currency written as text say, where they can only say one thing?"""

from __future__ import annotations

import re
from functools import cache
from typing import NamedTuple

_LARGEST_CHARACTERS = 64
_SPELT = {"€": "EUR", "euro": "EUR", "euros": "EUR", "£": "GBP", "us$": "USD", "r$": "BRL"}
"""Signs and names that are one currency's alone; a bare ``$`` is that of twenty countries, and says none."""
_UNIT = r"(?P<{}>[A-Za-z]{{3}}|[Ee]uros?|US\$|R\$|[€$£¥₹₺₽₩])?"
_AMOUNT = re.compile(
    rf"{_UNIT.format('before')}\s*(?P<number>[+\-]?[0-9][0-9.,' \u00a0\u202f]*)\s*{_UNIT.format('after')}"
)
_PLAIN = re.compile(r"[+-]?[0-9]+(?:[.,][0-9]+)?")
_GROUPED = re.compile(
    r"[+-]?[0-9]{1,3}(?:(?P<group>[.,' \u00a0\u202f])[0-9]{3}(?:(?P=group)[0-9]{3})*)(?:(?!(?P=group))[.,][0-9]+)?"
)
_THOUSANDS = re.compile(r"[+-]?[1-9][0-9]{0,2}[.,][0-9]{3}")


def amount(value: object) -> tuple[float | None, str | None]:
    """A number, and the currency that stands beside it; None for what is not there or could be read in two ways.

    ``31,50``, ``€31.50``, ``1.234,56 EUR`` and ``1 234`` are read. ``1.234`` and ``1,234`` are not: they are a thousand
    to one reader and one to another.
    """
    if isinstance(value, bool):
        return None, None
    if isinstance(value, int | float):
        return float(value), None
    if not isinstance(value, str) or len(value) > _LARGEST_CHARACTERS:
        return None, None
    found = _AMOUNT.fullmatch(value.strip())
    if found is None or (found["before"] and found["after"]):
        return None, None
    unit = found["before"] or found["after"]
    spelt = None if unit is None else currency(unit)
    if unit is not None and spelt is None and unit.isalpha() and unit.isascii():
        return None, None  # a word that is no currency: 3 Uhr, 31 pcs
    return _number(found["number"].strip()), spelt


class Money(NamedTuple):
    """What an amount and its currency say, and which of the two were given and could not be read."""

    value: float | None
    currency: str | None
    not_read: tuple[str, ...] = ()


def money(value: object, given: object) -> Money:
    """Both together: a currency beside the number counts where none is given; where the two differ, nothing is read."""
    number, beside = amount(value)
    code = currency(given)
    missing = given is None or given == ""
    if number is None:
        return Money(None, None, () if value is None or value == "" else ("value",))
    if beside is not None and code is not None and beside != code:
        return Money(None, None, ("value", "currency"))
    return Money(number, code or beside, () if missing or code is not None else ("currency",))


def _number(text: str) -> float | None:
    if _THOUSANDS.fullmatch(text):
        return None
    if _PLAIN.fullmatch(text):
        return float(text.replace(",", "."))
    found = _GROUPED.fullmatch(text)
    if found is None:
        return None
    whole = text.replace(found["group"], "")
    return float(whole.replace(",", "."))


def currency(value: object) -> str | None:
    """The ISO 4217 code; None where the text is no currency of it, or of several."""
    if not isinstance(value, str):
        return None
    text = value.strip()
    code = _SPELT.get(text.lower()) or text.upper()
    return code if code in _codes() else None


def is_currency(code: str) -> bool:
    """Whether it is a code of ISO 4217."""
    return code in _codes()


@cache
def _codes() -> frozenset[str]:
    """ISO 4217's codes, those of former currencies too: a backfill may have them."""
    from babel.numbers import list_currencies  # late: a door that meets no amount need not load it

    return frozenset(list_currencies())
