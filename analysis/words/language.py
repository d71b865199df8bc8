"""In which language is it? Plain text for matching, and a vote of small words."""

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
_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)*")
_APOSTROPHES = str.maketrans({"\N{RIGHT SINGLE QUOTATION MARK}": "'", "`": "'", "\N{ACUTE ACCENT}": "'"})


def plain(text: str) -> str:
    """Without case and accents, ``ß`` as ``ss``, every apostrophe the straight one."""
    parts = unicodedata.normalize("NFKD", text.translate(_APOSTROPHES).casefold())
    return "".join(c for c in parts if not unicodedata.combining(c))


def words_of(text: str) -> list[str]:
    """The words of a plain text."""
    return _WORD.findall(text)


def language_of(text: str, said: str | None = None) -> Language | None:
    """The language of most small words; of equals, and where there are none, the one the survey said. None: another.

    Args:
        text: as `plain` gives it.
        said: a language tag of the response, such as ``pt-BR``.
    """
    told = (said or "").casefold().partition("-")[0].partition("_")[0]
    known = next((language for language in LANGUAGES if language == told), None)
    words = words_of(text)
    votes = {language: sum(word in stop for word in words) for language, stop in _stopwords().items()}
    most = max(votes.values())
    first = [language for language, n in votes.items() if n == most and n > 0]
    if not first:
        return known
    return known if known in first else first[0]


def pattern(keywords: Sequence[str]) -> re.Pattern[str]:
    """One expression for many keywords: beginnings of words, ``=`` for whole words, ``…`` for up to three between."""
    return re.compile("|".join(f"(?:{_expression(keyword)})" for keyword in keywords) or r"(?!)")


def load(name: str) -> dict[str, Any]:
    """A data file of this folder."""
    return tomllib.loads(files("analysis.words").joinpath(f"{name}.toml").read_text(encoding="utf-8"))


@cache
def _stopwords() -> dict[Language, frozenset[str]]:
    found = load("stopwords")
    return {language: frozenset(found[language]) for language in LANGUAGES}


def _expression(keyword: str) -> str:
    whole, keyword = keyword.startswith("="), keyword.removeprefix("=")
    gaps = [r"\s+".join(re.escape(word) for word in part.split()) for part in keyword.split("…")]
    return r"(?<!\w)" + r"\s+(?:\w+\s+){0,3}".join(gaps) + (r"(?!\w)" if whole else "")
