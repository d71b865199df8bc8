"""Who wrote what, what is it about, and how is it meant? One row per response with words of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import pandas as pd

from analysis.words.codebook import codebook
from analysis.words.language import Language, language_of, plain, words_of
from analysis.words.ratings import Asked, Sentiment, ratings
from analysis.words.sentiment import ScoredBy, SentimentModel, score, train

Side = Literal["customer", "agent"]
SIDES: tuple[Side, ...] = ("customer", "agent")
_BETWEEN = " / "  # the texts of a response with several
_ASCII = 0x7F  # the last character of it
_COLUMNS = ["subject", "response_id", "survey_id", "respondent", "occurred_at", "position", "text"]


@dataclass(frozen=True, slots=True)
class Remark:
    """The words of one response."""

    response_id: str
    subject: str
    anonymous: bool
    respondent: Side
    at: int
    language: Language | None
    """None: one that nobody here reads."""
    themes: tuple[str, ...]
    sentiment: Sentiment | None
    by: ScoredBy
    text: str = field(repr=False)
    """As it is in the table, scrubbed at the door; several texts of a response in their order."""


@dataclass(frozen=True, slots=True)
class Remarks:
    """All of them by time, and per side the model that scored those without a number (None: there was none)."""

    rows: tuple[Remark, ...]
    models: dict[Side, SentimentModel | None]


def remarks(
    answers: pd.DataFrame, responses: pd.DataFrame | None = None, span: tuple[int, int] | None = None
) -> Remarks:
    """Every response with words, its themes and its sentiment.

    The number given with the words is their sentiment (`ratings`). The others are scored by a model that learns from
    the rated remarks of the same side, customers' or agents', and by a lexicon where there is none.

    Args:
        answers: the table ``answers``.
        responses: the table ``responses``: ``language`` and ``anonymous`` of each.
        span: from when to before when (µs) remarks are wanted; earlier and later ones are learnt from all the same.
    """
    written = _written(answers)
    told = _told(responses)
    numbers = ratings(answers, [one.asked for one in written])
    wanted = [span is None or span[0] <= one.asked.at < span[1] for one in written]
    who = [(one.asked.subject, one.asked.response_id) for one in written]
    texts = [_BETWEEN.join(one.texts) for one in written]
    own = [plain(text) for text in texts]
    words = [words_of(text) for text in own]
    spoken = [language_of(w, told.get(key, (None, False))[0]) for w, key in zip(words, who, strict=True)]
    sentiment: list[Sentiment | None] = [numbers.get(key) for key in who]
    by: list[ScoredBy] = ["number" if s is not None else "unscored" for s in sentiment]
    models: dict[Side, SentimentModel | None] = dict.fromkeys(SIDES)
    for side in SIDES:
        of_side = [i for i, one in enumerate(written) if one.respondent == side]
        silent = [i for i in of_side if wanted[i] and sentiment[i] is None]
        if silent:
            models[side] = _model([(own[i], spoken[i], sentiment[i]) for i in of_side])
        scores = score([own[i] for i in silent], [spoken[i] for i in silent], models[side])
        for i, found in zip(silent, scores, strict=True):
            sentiment[i], by[i] = found.sentiment, found.by
    book = codebook()
    rows = tuple(
        Remark(
            one.asked.response_id, one.asked.subject, told.get(who[i], (None, False))[1], one.respondent, one.asked.at,
            spoken[i], book.themes_of(words[i], spoken[i]), sentiment[i], by[i], texts[i],
        )
        for i, one in enumerate(written)
        if wanted[i]
    )  # fmt: skip
    return Remarks(rows, models)


class _Written(NamedTuple):
    asked: Asked
    respondent: Side
    texts: list[str]


def _written(answers: pd.DataFrame) -> list[_Written]:
    """Responses with words by time; blanks and bare punctuation are none."""
    own = answers.loc[answers["text"].notna() & answers["subject"].notna(), _COLUMNS]
    rows = sorted(
        (int(at), str(subject), str(response), int(position), str(survey), respondent, str(text))
        for subject, response, survey, respondent, at, position, text in own.itertuples(index=False)
        if any(c.isalnum() or ord(c) > _ASCII for c in str(text))
    )
    found: dict[tuple[str, str], _Written] = {}
    for at, subject, response, _, survey, respondent, text in rows:
        asked = Asked(subject, response, survey, at)
        found.setdefault((subject, response), _Written(asked, respondent, [])).texts.append(text)
    return list(found.values())


def _told(responses: pd.DataFrame | None) -> dict[tuple[str, str], tuple[str | None, bool]]:
    """(subject, response id) → the language that the survey told, and whether nobody knows who it was."""
    if responses is None:
        return {}
    columns = ["subject", "response_id", "language"]
    nobody = (responses["anonymous"] == 1).to_numpy(dtype=bool, na_value=False)
    return {
        (str(subject), str(response)): (language if isinstance(language, str) else None, anonymous)
        for (subject, response, language), anonymous in zip(
            responses[columns].itertuples(index=False), nobody.tolist(), strict=True
        )
    }


def _model(said: Sequence[tuple[str, Language | None, Sentiment | None]]) -> SentimentModel | None:
    rated = [(text, language, sentiment) for text, language, sentiment in said if sentiment is not None]
    return train([t for t, _, _ in rated], [own for _, own, _ in rated], [s for _, _, s in rated])
