"""How is text shown that somebody else wrote? Without what steers a screen or a reader's eye, and bounded."""

from __future__ import annotations

import unicodedata

_LOOKED_AT = 20
"""Characters that are read for each that is shown: a remark may be a hundred kilobytes long."""
_MARKS = 2


def printable(text: str) -> str:
    """The same length, with a space for each control character, line break and mark that turns the direction."""
    return text if text.isprintable() else "".join(c if c.isprintable() else " " for c in text)


def short_line(text: str, limit: int) -> str:
    """On one line of at most ``limit`` characters, without such marks, cut at a word where it is too long.

    At most two marks stand on a letter: more would be drawn over the lines above and below.
    """
    read = text[: _LOOKED_AT * limit]
    line = _without_towers(" ".join(printable(read).split()))
    if len(line) <= limit and len(read) == len(text):
        return line
    cut = line[: limit - 1]
    return (cut.rsplit(" ", 1)[0] if " " in cut[limit // 2 :] else cut).rstrip(" ,.;:") + "…"


def _without_towers(line: str) -> str:
    if line.isascii():
        return line
    made: list[str] = []
    marks = 0
    for c in line:
        marks = marks + 1 if unicodedata.combining(c) else 0
        if marks <= _MARKS:
            made.append(c)
    return "".join(made)
