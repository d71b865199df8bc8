"""Which keywords occur in a text? Found by dictionary, word by word: the time grows with the text and nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from analysis.words.language import plain, words_of

GAP = 3  # words that an ellipsis stands for at most


@dataclass(frozen=True, slots=True)
class Hit:
    """A keyword's place: words ``start`` to ``end`` (not included)."""

    name: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class _Part:
    """Words that stand side by side; of the last one the beginning is enough, unless ``whole``."""

    words: tuple[str, ...]
    whole: bool


@dataclass(frozen=True, slots=True)
class _Keyword:
    name: str
    parts: tuple[_Part, ...]


class Keywords:
    """Keywords under names.

    A keyword is the beginning of a word, or several words of which the last may go on; ``=`` before it: no word goes
    on; ``…`` in it: up to three other words. Case and accents do not matter; hyphens and apostrophes part words.
    """

    def __init__(self, named: Mapping[str, Iterable[str]]) -> None:
        self._whole: dict[str, list[_Keyword]] = {}
        self._begins: dict[str, list[_Keyword]] = {}
        for name, keywords in named.items():
            for keyword in keywords:
                self._add(name, keyword)
        self._lengths = sorted({len(word) for word in self._begins})

    def hits(self, words: Sequence[str]) -> list[Hit]:
        """Every keyword's places, in the order of the words.

        Args:
            words: as `analysis.words.language.words_of` gives them.
        """
        found = []
        for i, word in enumerate(words):
            candidates = list(self._whole.get(word, ()))
            for length in self._lengths:
                if length > len(word):
                    break
                candidates += self._begins.get(word[:length], ())
            for keyword in candidates:
                end = _end(words, i, keyword.parts)
                if end is not None:
                    found.append(Hit(keyword.name, i, end))
        return found

    def names(self, words: Sequence[str]) -> frozenset[str]:
        """The names of which some keyword occurs."""
        return frozenset(hit.name for hit in self.hits(words))

    def _add(self, name: str, keyword: str) -> None:
        whole = keyword.startswith("=")
        pieces = [tuple(words_of(plain(piece))) for piece in keyword.removeprefix("=").split("…")]
        if not all(pieces):
            raise ValueError(f"{name}: {keyword!r} is no keyword: each side of an ellipsis needs a word")
        last = len(pieces) - 1
        made = _Keyword(name, tuple(_Part(words, whole or i < last) for i, words in enumerate(pieces)))
        first = made.parts[0]
        index = self._whole if first.whole or len(first.words) > 1 else self._begins
        index.setdefault(first.words[0], []).append(made)


def _end(words: Sequence[str], start: int, parts: tuple[_Part, ...]) -> int | None:
    """Where the keyword that begins there ends, None where it does not."""
    end = _matched(words, start, parts[0])
    for part in parts[1:]:
        if end is None:
            return None
        begins = range(end, min(end + GAP, len(words) - 1) + 1)
        end = next((found for i in begins if (found := _matched(words, i, part)) is not None), None)
    return end


def _matched(words: Sequence[str], start: int, part: _Part) -> int | None:
    end = start + len(part.words)
    if end > len(words):
        return None
    *before, last = part.words
    if list(words[start : end - 1]) != before:
        return None
    own = words[end - 1]
    return end if (own == last if part.whole else own.startswith(last)) else None
