"""What did somebody else write? Names and remarks from outside, bounded and harmless inside our own sentences.

HTML is the renderer's to escape. What it cannot know is here: line breaks, control and direction marks, and length.
"""

from __future__ import annotations

import unicodedata

from reports.language import t

NAME_LENGTH = 90
REMARK_LENGTH = 200
_LOOKED_AT = 4 * REMARK_LENGTH
"""Characters of a remark that are read at all: it may be a hundred kilobytes long."""
_RIGHT_TO_LEFT = frozenset({"R", "AL", "AN"})
_ISOLATE, _END_OF_ISOLATE = "\N{FIRST STRONG ISOLATE}", "\N{POP DIRECTIONAL ISOLATE}"


def plain(text: str, limit: int = REMARK_LENGTH) -> str:
    """On one line, without control or direction marks, cut at a word where it is too long."""
    short = text[: max(limit, _LOOKED_AT)]
    kept = "".join(" " if unicodedata.category(c).startswith("C") else c for c in short)
    line = _without_towers(" ".join(kept.split()))
    if len(line) <= limit and len(short) == len(text):
        return line
    cut = line[: limit - 1]
    return (cut.rsplit(" ", 1)[0] if " " in cut[limit // 2 :] else cut).rstrip(" ,.;:") + "…"


def name(text: str, limit: int = NAME_LENGTH) -> str:
    """A name as it stands in a sentence: one that is written from right to left does not turn what is around it."""
    line = plain(text, limit)
    if any(unicodedata.bidirectional(c) in _RIGHT_TO_LEFT for c in line):
        return f"{_ISOLATE}{line}{_END_OF_ISOLATE}"
    return line


def quoted(text: str) -> str:
    """A name in quotation marks."""
    return t("“{name}”", name=name(text))


def _without_towers(line: str) -> str:
    """At most two marks on a letter: more would be drawn over the lines above and below."""
    made: list[str] = []
    marks = 0
    for c in line:
        marks = marks + 1 if unicodedata.combining(c) else 0
        if marks <= 2:
            made.append(c)
    return "".join(made)
