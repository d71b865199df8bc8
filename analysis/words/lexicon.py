"""Does a remark's wording praise or blame? A small list of words, for companies without rated answers of their own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

from analysis.words.keywords import Keywords
from analysis.words.language import LANGUAGES, Language, load, words_of
from analysis.words.ratings import Sentiment

NEGATION_REACH = 3  # words
_CLAUSES = re.compile(r"[.,;:!?…()]+|\s[-\N{EN DASH}\N{EM DASH}]\s")
_GOOD, _BAD, _NOT = "good", "bad", "not"


def by_lexicon(text: str, language: Language) -> Sentiment:
    """Words of praise less words of blame; a negation turns what follows within three words of the same clause.

    Args:
        text: as `analysis.words.language.plain` gives it.
    """
    good, bad = signs(text, language)
    return "positive" if good > bad else "negative" if good < bad else "neutral"


def signs(text: str, language: Language) -> tuple[int, int]:
    """How often a plain text praises, and how often it blames."""
    found = [sign for clause in _CLAUSES.split(text) for sign in _signs(words_of(clause), language)]
    return found.count(1), found.count(-1)


def _signs(words: list[str], language: Language) -> Iterator[int]:
    hits = _lexicon()[language].hits(words)
    negations = [(hit.start, hit.end) for hit in hits if hit.name == _NOT]
    said = {(hit.start, hit.name): hit for hit in hits if hit.name != _NOT}
    for hit in said.values():
        turned = any(end <= hit.start < end + NEGATION_REACH for _, end in negations)
        if language == "de":  # the verb comes first: "klappt nicht"
            turned = turned or any(hit.end == start for start, _ in negations)
        yield (1 if hit.name == _GOOD else -1) * (-1 if turned else 1)


@cache
def _lexicon() -> dict[Language, Keywords]:
    found = load("lexicon")
    return {language: Keywords({name: found[language][name] for name in (_GOOD, _BAD, _NOT)}) for language in LANGUAGES}
