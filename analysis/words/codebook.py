"""What can a remark be about? The codebook: themes with keywords in four languages and the role that owns each."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from analysis.words.language import LANGUAGES, Language, load, pattern


@dataclass(frozen=True, slots=True)
class Theme:
    """One theme; ``owner`` is a role of the company's responsibility table."""

    name: str
    title: str
    owner: str
    keywords: dict[Language, re.Pattern[str]]


@dataclass(frozen=True, slots=True)
class Codebook:
    """Counts made by different versions are not comparable."""

    version: str
    themes: tuple[Theme, ...]

    def themes_of(self, text: str, language: Language | None) -> tuple[str, ...]:
        """The names of the themes of a remark, in the codebook's order; none in a language it has no keywords of.

        Args:
            text: as `analysis.words.language.plain` gives it.
        """
        if language is None:
            return ()
        return tuple(theme.name for theme in self.themes if theme.keywords[language].search(text))


@cache
def codebook() -> Codebook:
    """The one that comes with the product."""
    found = load("codebook")
    return Codebook(
        found["version"],
        tuple(
            Theme(t["name"], t["title"], t["owner"], {language: pattern(t[language]) for language in LANGUAGES})
            for t in found["theme"]
        ),
    )
