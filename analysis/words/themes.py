"""What are remarks about, and are they praise or blame? One row per remark, and counts per theme."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from analysis.words.codebook import codebook
from analysis.words.language import Language, language_of, plain
from analysis.words.sentiment import CLASSES, ScoredBy, Sentiment, SentimentModel, of_number, score, train

_NPS = (0.0, 10.0)


@dataclass(frozen=True, slots=True)
class Remark:
    """One text answer, without the text: whose, when, what about, and how meant."""

    response_id: str
    subject: str | None
    respondent: str
    at: int
    language: Language | None
    themes: tuple[str, ...]
    sentiment: Sentiment | None
    by: ScoredBy


@dataclass(frozen=True, slots=True)
class ThemeCount:
    """A theme's remarks, by sentiment; ``unscored`` are those of which nobody can tell."""

    theme: str
    title: str
    owner: str
    n: int
    negative: int
    neutral: int
    positive: int

    @property
    def unscored(self) -> int:
        """Remarks without a sentiment."""
        return self.n - self.negative - self.neutral - self.positive


def remarks(
    answers: pd.DataFrame, languages: pd.Series[str] | None = None
) -> tuple[list[Remark], SentimentModel | None]:
    """Every text answer with its themes and sentiment, and the model that scored those without a number.

    A remark's number is that of its own response: the mean of its scaled answers. The model learns from all responses
    that have both.

    Args:
        answers: the table ``answers``.
        languages: language tag by ``response_id``, where the survey told one.
    """
    texts = answers[answers["text"].notna()]
    told = dict(languages.dropna()) if languages is not None else {}
    own = [plain(str(text)) for text in texts["text"]]
    spoken = [language_of(text, told.get(r)) for text, r in zip(own, texts["response_id"], strict=True)]
    numbers = _numbers(answers)
    rated = [numbers.get(r) for r in texts["response_id"]]
    known = [(text, of) for text, of in zip(own, rated, strict=True) if of is not None]
    silent = [i for i, of in enumerate(rated) if of is None]
    model = train([t for t, _ in known], [s for _, s in known]) if silent else None
    scored = dict(zip(silent, score([own[i] for i in silent], [spoken[i] for i in silent], model), strict=True))
    book = codebook()
    found = []
    columns = (texts[name] for name in ("response_id", "subject", "respondent", "occurred_at"))
    for i, (response, subject, respondent, at) in enumerate(zip(*columns, strict=True)):
        number = rated[i]
        sentiment, by = (number, "number") if number is not None else (scored[i].sentiment, scored[i].by)
        found.append(
            Remark(
                str(response), subject if isinstance(subject, str) else None, str(respondent), int(at), spoken[i],
                book.themes_of(own[i], spoken[i]), sentiment, by,
            )
        )  # fmt: skip
    return found, model


def theme_counts(found: Sequence[Remark]) -> list[ThemeCount]:
    """Every theme that occurs, the most frequent first."""
    counts = []
    for theme in codebook().themes:
        own = [r for r in found if theme.name in r.themes]
        if own:
            by = [sum(r.sentiment == sentiment for r in own) for sentiment in CLASSES]
            counts.append(ThemeCount(theme.name, theme.title, theme.owner, len(own), *by))
    return sorted(counts, key=lambda c: (-c.n, c.theme))


def _numbers(answers: pd.DataFrame) -> dict[str, Sentiment]:
    """Response → the sentiment of the mean of its answers on scales."""
    scaled = answers[answers["value"].notna() & answers["kind"].isin(["nps", "csat", "ces", "rating"])]
    low = pd.to_numeric(scaled["low"]).where(scaled["kind"] != "nps", _NPS[0])
    high = pd.to_numeric(scaled["high"]).where(scaled["kind"] != "nps", _NPS[1])
    share = (pd.to_numeric(scaled["value"]) - low) / (high - low)
    means = share.groupby(scaled["response_id"].astype(str)).mean().dropna()
    return {str(response): of_number(float(value), 0.0, 1.0) for response, value in means.items()}
