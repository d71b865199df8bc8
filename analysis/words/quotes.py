"""Which remarks speak for a theme? Two at most, bounded, chosen by rule and not by taste."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence, Set
from dataclasses import dataclass

from analysis.words.language import Language
from analysis.words.ratings import Sentiment
from analysis.words.remarks import Remark
from edgeloop.outside_text import short_line

QUOTES = 2
LONGEST = 200  # characters
_SHORTEST = 12
_READ_WELL = range(30, 161)
_CONSIDERED = 1_000
_SCRUBBED = "["


@dataclass(frozen=True, slots=True)
class Quoted:
    """A remark as it may be shown: on one line, at most 200 characters, without marks that nobody sees."""

    response_id: str
    text: str
    language: Language | None
    sentiment: Sentiment | None


def quotes(found: Sequence[Remark], used: Set[str] = frozenset()) -> list[Quoted]:
    """Up to two remarks of different people: one of the most frequent sentiment, one of the next.

    Before others come remarks that speak of little else, from which nothing was scrubbed, and which are a sentence or
    two long; of equals the smaller hash decides.

    Args:
        found: the remarks of a theme.
        used: response ids that were quoted already; they come last.
    """
    fit = [(remark, short_line(remark.text, LONGEST)) for remark in _sample(found)]
    fit = [(remark, text) for remark, text in fit if len(text) >= _SHORTEST]
    ranked = sorted(fit, key=lambda pair: _rank(pair[0], pair[1], used))
    counts = Counter(remark.sentiment for remark, _ in ranked)
    order = sorted(counts, key=lambda sentiment: (-counts[sentiment], sentiment or ""))
    picked: list[tuple[Remark, str]] = []
    for sentiment in [*order, *order] if len(order) < QUOTES else order:
        if len(picked) == QUOTES:
            break
        free = [
            pair
            for pair in ranked
            if pair[0].sentiment == sentiment
            and all(pair[0].subject != other.subject and pair[1] != text for other, text in picked)
        ]
        picked += free[:1]
    return [Quoted(remark.response_id, text, remark.language, remark.sentiment) for remark, text in picked]


def _sample(found: Sequence[Remark]) -> Sequence[Remark]:
    """Of very many the first of each of as many even stretches of time: a thousand are enough to choose from."""
    return found[:: len(found) // _CONSIDERED + 1]


def _rank(remark: Remark, text: str, used: Set[str]) -> tuple[object, ...]:
    return (
        remark.response_id in used,
        _SCRUBBED in text,
        len(remark.themes),
        len(text) not in _READ_WELL,
        hashlib.sha256(f"{remark.subject}/{remark.response_id}".encode()).digest(),
    )
