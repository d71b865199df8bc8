"""Findings for machines: texts bounded and without what steers a reader's eye, figures with the digits that hold."""

from __future__ import annotations

import math
from typing import Any, TypeVar

import msgspec

MOST_CHARACTERS = 4_000
"""Of one text of the findings; the longest of ours, the sizes of twelve changes in one line, has half of it."""
PICTURES = frozenset({"logo"})
"""Fields that hold a file of the company's own settings, not a text of data."""
# Marks that turn the direction of what follows (Unicode TR 9), through which a text can show another one.
_TURNS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff")
DIGITS = 10
"""Significant digits of a figure. The last of its sixteen depend on the build of the algebra library under numpy, so
that the same freeze would give other bytes on another Python."""
_T = TypeVar("_T")


def bounded(findings: _T) -> _T:
    """The same findings, each text at most `MOST_CHARACTERS` long, without control characters and direction marks, and
    each figure with `DIGITS` digits."""
    cleaned: _T = _of(findings)
    return cleaned


def text(value: str, most: int = MOST_CHARACTERS) -> str:
    """One text so."""
    if value.isprintable() and len(value) <= most:  # as nearly all of them; no mark or control is printable
        return value
    kept = "".join(" " if c in _TURNS or (ord(c) < 32 or 127 <= ord(c) < 160) else c for c in value[: most + 1])
    return kept if len(value) <= most else kept[: most - 1].rstrip() + "…"


def figure(value: float) -> float | None:
    """One figure so; None where it is none (NaN) or has no end, which neither JSON nor a spreadsheet knows."""
    return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None


def _of(value: Any) -> Any:
    if isinstance(value, str):
        return text(value)
    if isinstance(value, float):
        return figure(value)
    if isinstance(value, msgspec.Struct):
        fields = {name: getattr(value, name) for name in value.__struct_fields__}
        cleaned = {name: _of(field) for name, field in fields.items() if name not in PICTURES}
        return msgspec.structs.replace(value, **cleaned)
    if isinstance(value, tuple | list):
        return type(value)(_of(item) for item in value)
    if isinstance(value, dict):
        return {_of(key): _of(item) for key, item in value.items()}
    return value
