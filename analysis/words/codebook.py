"""What can a remark be about? The codebook: themes with keywords in four languages and the role that owns each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache

from analysis.words.keywords import Keywords
from analysis.words.language import LANGUAGES, Language, load


@dataclass(frozen=True, slots=True)
class Theme:
    """One theme; ``owner`` is a role of the company's responsibility table."""

    name: str
    title: str
    owner: str


@dataclass(frozen=True, slots=True, eq=False)
class Codebook:
    """Counts made by different versions are not comparable."""

    version: str
    themes: tuple[Theme, ...]
    keywords: dict[Language, Keywords] = field(repr=False)

    def themes_of(self, words: Sequence[str], language: Language | None) -> tuple[str, ...]:
        """The names of the themes of a remark, in the codebook's order; none in a language it has no keywords of.

        Args:
            words: as `analysis.words.language.words_of` gives them.
        """
        if language is None:
            return ()
        found = self.keywords[language].names(words)
        return tuple(theme.name for theme in self.themes if theme.name in found)


@cache
def codebook() -> Codebook:
    """The one that comes with the product."""
    found = load("codebook")
    themes = found["theme"]
    return Codebook(
        found["version"],
        tuple(Theme(t["name"], t["title"], t["owner"]) for t in themes),
        {language: Keywords({t["name"]: t[language] for t in themes}) for language in LANGUAGES},
    )
