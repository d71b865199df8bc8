"""In which language is it? Plain text and its words for matching, and a vote of frequent words."""

from __future__ import annotations

import re
import tomllib
import unicodedata
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any, Literal, get_args

Language = Literal["en", "de", "fr", "pt"]
LANGUAGES: tuple[Language, ...] = get_args(Language)
READ_CHARACTERS = 4_000
"""Of a longer remark the rest is not read."""
_TOLD = 0.75  # what the survey's own word adds to its language's vote, in words
_SURE = 2.0  # votes that overrule a survey that said a language which nobody here reads
_WORD = re.compile(r"[^\W_]+")
_LETTERS = str.maketrans({
    "œ": "oe", "æ": "ae", "ø": "o", "ł": "l", "ı": "i", "đ": "d", "\N{RIGHT SINGLE QUOTATION MARK}": "'", "`": "'",
    "\N{ACUTE ACCENT}": "'", "\N{MODIFIER LETTER APOSTROPHE}": "'",
})  # fmt: skip


def plain(text: str) -> str:
    """Without case, accents and what nobody sees, ``ß`` as ``ss``, white space as one space; 4,000 characters of it.

    Plain text of plain text is itself.
    """
    composed = unicodedata.normalize("NFC", text[:READ_CHARACTERS]).translate(_LETTERS)
    parts = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", composed).casefold()).translate(_LETTERS)
    return " ".join(parts.translate(_SEEN).split())[:READ_CHARACTERS].rstrip()


_UNSEEN = frozenset({"Mn", "Me", "Mc", "Cf", "Cc", "Cs", "Co", "Cn"})


class _Seen(dict[int, int | None]):
    """For `str.translate`: each character as it is, None where nobody sees it; looked up once."""

    def __missing__(self, code: int) -> int | None:
        character = chr(code)
        unseen = character not in "\t\n\r" and unicodedata.category(character) in _UNSEEN
        self[code] = None if unseen else code
        return self[code]


_SEEN = _Seen()


def words_of(text: str) -> list[str]:
    """The words of a plain text; hyphens and apostrophes part them."""
    return _WORD.findall(text)


def language_of(words: Sequence[str], told: str | None = None) -> Language | None:
    """The language that most of its frequent words are of; the one the survey told where these leave it open.

    None: another language, or nobody can tell.

    Args:
        words: as `words_of` gives them.
        told: a language tag of the response, such as ``pt-BR``; one's own words may still be in another.
    """
    tag = (told or "").casefold().partition("-")[0].partition("_")[0]
    known = next((language for language in LANGUAGES if language == tag), None)
    letters = sum(word.isalpha() for word in words)
    if not letters or 2 * sum(word.isascii() for word in words if word.isalpha()) < letters:
        return None
    votes: dict[str, float] = {}
    for word in words:
        for language, weight in _voters().get(word, ()):
            votes[language] = votes.get(language, 0.0) + weight
    if known is not None:
        votes[known] = votes.get(known, 0.0) + _TOLD
    if not votes:
        return None
    best = max(votes.values())
    first = [language for language, vote in votes.items() if vote >= best - 1e-9]
    if len(first) > 1 or (tag and known is None and best < _SURE):
        return None
    return next((language for language in LANGUAGES if language == first[0]), None)


def load(name: str) -> dict[str, Any]:
    """A data file of this folder."""
    return tomllib.loads(files("analysis.words").joinpath(f"{name}.toml").read_text(encoding="utf-8"))


@cache
def frequent_words(language: Language) -> frozenset[str]:
    """The small words of a language, plain."""
    return frozenset(load("frequent")[language]["small"].split())


@cache
def _voters() -> dict[str, tuple[tuple[str, float], ...]]:
    """Word → the languages it is frequent in; a word of several counts for each in part."""
    owners: dict[str, list[str]] = {}
    for language, lists in load("frequent").items():
        for word in sorted({word for words in lists.values() for word in words.split()}):
            owners.setdefault(word, []).append(language)
    return {word: tuple((own, 1 / len(languages)) for own in languages) for word, languages in owners.items()}
