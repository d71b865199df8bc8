"""What did somebody else write? Names and remarks from outside, bounded and harmless inside our own sentences.

HTML is the renderer's to escape. What it cannot know is here: line breaks, control and direction marks, and length.
"""

from __future__ import annotations

import unicodedata

from edgeloop.outside_text import short_line
from reports.language import t

NAME_LENGTH = 90
REMARK_LENGTH = 200
_RIGHT_TO_LEFT = frozenset({"R", "AL", "AN"})
_ISOLATE, _END_OF_ISOLATE = "\N{FIRST STRONG ISOLATE}", "\N{POP DIRECTIONAL ISOLATE}"


def plain(text: str, limit: int = REMARK_LENGTH) -> str:
    """On one line, without control or direction marks, cut at a word where it is too long."""
    return short_line(text, limit)


def name(text: str, limit: int = NAME_LENGTH) -> str:
    """A name as it stands in a sentence: one that is written from right to left does not turn what is around it."""
    line = plain(text, limit)
    if any(unicodedata.bidirectional(c) in _RIGHT_TO_LEFT for c in line):
        return f"{_ISOLATE}{line}{_END_OF_ISOLATE}"
    return line


def quoted(text: str) -> str:
    """A name in quotation marks."""
    return t("“{name}”", name=name(text))
