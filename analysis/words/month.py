"""What did a month's remarks speak of, more or less than the month before? Customers and delivery agents apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import pandas as pd

from analysis.words.codebook import Theme, codebook
from analysis.words.language import LANGUAGES, Language, plain
from analysis.words.proposals import Proposal, proposals
from analysis.words.quotes import Quoted, quotes
from analysis.words.remarks import SIDES, Remark, Side, remarks
from analysis.words.sentiment import SCORED_BY, Learned, ScoredBy, SentimentModel
from edgeloop.months import Month


@dataclass(frozen=True, slots=True)
class Tally:
    """Remarks by sentiment."""

    n: int = 0
    negative: int = 0
    neutral: int = 0
    positive: int = 0

    @property
    def unscored(self) -> int:
        """Those of which nobody can tell."""
        return self.n - self.negative - self.neutral - self.positive


@dataclass(frozen=True, slots=True)
class ThemeOfMonth:
    """A theme in this month and in the one before. A remark counts in every theme it speaks of."""

    name: str
    title: str
    owner: str
    this: Tally
    before: Tally
    quotes: tuple[Quoted, ...]
    """Of this month, two at most."""


class Spoken(NamedTuple):
    """When a remark was made, in which response of whom, and its themes."""

    at: int
    subject: str
    response_id: str
    themes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SideOfMonth:
    """The remarks of customers, or those of delivery agents."""

    respondent: Side
    this: Tally
    before: Tally
    themes: tuple[ThemeOfMonth, ...]
    """Those that occur in either month, the most frequent of this month first."""
    themeless: int
    """Remarks of this month in a language that is read, and of no theme."""
    unread: int
    """Remarks of this month in a language that is not read, or that cannot be told."""
    languages: Mapping[Language, int]
    """Remarks of this month by language."""
    scored_by: Mapping[ScoredBy, int]
    """Remarks of this month by what their sentiment is from."""
    model: Learned | None
    """The model of remarks without a number; None: all had one, or too few rated ones were there to learn from."""
    proposals: tuple[Proposal, ...]
    """Words that this month's remarks without a theme share."""
    spoken: tuple[Spoken, ...] = ()
    """Every remark of the month before and of this month, by time."""


@dataclass(frozen=True, slots=True)
class WordsOfMonth:
    """What was said in words."""

    codebook: str
    """The version of the codebook: counts of two versions are not comparable."""
    sides: tuple[SideOfMonth, ...]
    """Customers, then agents."""

    def side(self, respondent: Side) -> SideOfMonth:
        """Of customers, or of agents."""
        return next(side for side in self.sides if side.respondent == respondent)


def words_of_month(tables: Mapping[str, pd.DataFrame], month: Month) -> WordsOfMonth:
    """Themes and sentiment of a month's remarks from a freeze's ``answers`` and ``responses`` alone."""
    found = remarks(tables["answers"], tables.get("responses"), (month.previous().start_us, month.end_us))
    before, this = (_within(found.rows, m) for m in (month.previous(), month))
    sides = (
        _side(
            side,
            [remark for remark in this if remark.respondent == side],
            [remark for remark in before if remark.respondent == side],
            found.models[side],
        )
        for side in SIDES
    )
    return WordsOfMonth(codebook().version, tuple(sides))


def _within(rows: Sequence[Remark], month: Month) -> list[Remark]:
    return [remark for remark in rows if month.start_us <= remark.at < month.end_us]


def _side(side: Side, this: list[Remark], before: list[Remark], model: SentimentModel | None) -> SideOfMonth:
    by, spoken = (Counter(remark.by for remark in this), Counter(remark.language for remark in this))
    return SideOfMonth(
        respondent=side,
        this=_tally(this),
        before=_tally(before),
        themes=tuple(_themes(this, before)),
        themeless=sum(remark.language is not None and not remark.themes for remark in this),
        unread=spoken[None],
        languages={language: spoken[language] for language in LANGUAGES if spoken[language]},
        scored_by={way: by[way] for way in SCORED_BY if by[way]},
        model=model.learned if model is not None else None,
        proposals=tuple(proposal for language in LANGUAGES for proposal in _proposals(language, this)),
        spoken=tuple(Spoken(r.at, r.subject, r.response_id, r.themes) for r in (*before, *this)),
    )


def _themes(this: list[Remark], before: list[Remark]) -> list[ThemeOfMonth]:
    now, then = _by_theme(this), _by_theme(before)
    spoken_of = [theme for theme in codebook().themes if theme.name in now or theme.name in then]
    used: set[str] = set()
    made = []
    for theme in sorted(spoken_of, key=lambda t: (-len(now.get(t.name, ())), -len(then.get(t.name, ())), t.name)):
        made.append(_theme(theme, now.get(theme.name, []), then.get(theme.name, []), used))
        used |= {quoted.response_id for quoted in made[-1].quotes}
    return made


def _theme(theme: Theme, this: list[Remark], before: list[Remark], used: set[str]) -> ThemeOfMonth:
    return ThemeOfMonth(theme.name, theme.title, theme.owner, _tally(this), _tally(before), tuple(quotes(this, used)))


def _by_theme(rows: list[Remark]) -> dict[str, list[Remark]]:
    found: dict[str, list[Remark]] = {}
    for remark in rows:
        for name in remark.themes:
            found.setdefault(name, []).append(remark)
    return found


def _tally(rows: list[Remark]) -> Tally:
    by = Counter(remark.sentiment for remark in rows)
    return Tally(len(rows), by["negative"], by["neutral"], by["positive"])


def _proposals(language: Language, this: list[Remark]) -> list[Proposal]:
    own = [remark for remark in this if remark.language == language and not remark.themes]
    return proposals(language, [plain(r.text) for r in own], [None if r.anonymous else r.subject for r in own])
