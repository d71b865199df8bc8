"""Is a remark praise or blame? The number given with it says; else a model of the company's own rated answers.

General lexicons read deliveries badly, so one is only asked where the company has too few rated answers to learn from,
and a language that neither knows stays unscored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal

import numpy as np

from analysis.words.language import LANGUAGES, Language, language_of, load, pattern, plain, words_of

Sentiment = Literal["negative", "neutral", "positive"]
ScoredBy = Literal["number", "model", "lexicon", "unscored"]
CLASSES: tuple[Sentiment, ...] = ("negative", "neutral", "positive")
LEAST_RATED, LEAST_OF_A_CLASS = 200, 30
FOLDS = 5
NEGATION_REACH = 3  # words
_WORD = r"(?u)\b\w+\b"
_POSITIVE, _NEUTRAL = 0.75, 0.5  # of the scale: 4 of 5 praises, 3 of 5 does neither


@dataclass(frozen=True, slots=True)
class Score:
    """A remark's sentiment and where it is from; None where nobody can tell."""

    sentiment: Sentiment | None
    by: ScoredBy


@dataclass(frozen=True, slots=True, eq=False)
class SentimentModel:
    """A model of rated answers; ``accuracy`` is that of answers it had not seen, as is the share of the most frequent
    class (``baseline``), which a model must beat to be worth anything."""

    n: int
    accuracy: float
    baseline: float
    languages: frozenset[Language]
    """Those of which it saw at least thirty answers."""
    pipeline: Any = field(repr=False)

    def of(self, texts: Sequence[str]) -> list[Sentiment]:
        """The sentiment of plain texts."""
        return [CLASSES[int(k)] for k in self.pipeline.predict(list(texts))] if texts else []


def of_number(value: float, low: float, high: float) -> Sentiment:
    """The sentiment of an answer on a scale: the upper quarter praises, below the middle is blame."""
    share = (value - low) / (high - low)
    return "positive" if share >= _POSITIVE else "neutral" if share >= _NEUTRAL else "negative"


def train(texts: Sequence[str], sentiments: Sequence[Sentiment]) -> SentimentModel | None:
    """A model of rated remarks; None with fewer than 200, or fewer than 30 of one class, or where it learns nothing.

    Character and word n-grams into a logistic regression; the accuracy is by five-fold cross-validation. The same
    remarks in the same order give the same model.

    Args:
        texts: plain texts.
        sentiments: what their numbers said.
    """
    y = np.array([CLASSES.index(s) for s in sentiments])
    counts = np.bincount(y, minlength=len(CLASSES))
    if len(y) < LEAST_RATED or counts.min() < LEAST_OF_A_CLASS:
        return None
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    unseen = cross_val_predict(_pipeline(), list(texts), y, cv=folds)
    accuracy, baseline = float((unseen == y).mean()), float(counts.max() / len(y))
    if accuracy <= baseline:
        return None
    seen = [language_of(text) for text in texts]
    known = frozenset(language for language in LANGUAGES if seen.count(language) >= LEAST_OF_A_CLASS)
    return SentimentModel(len(y), accuracy, baseline, known, _pipeline().fit(list(texts), y))


def score(texts: Sequence[str], languages: Sequence[Language | None], model: SentimentModel | None) -> list[Score]:
    """The sentiment of remarks without a number, in their order.

    Args:
        texts: plain texts.
        languages: of each; None is a language that nobody here reads.
    """
    found = [Score(None, "unscored")] * len(texts)
    modelled = [i for i, own in enumerate(languages) if model is not None and own in model.languages]
    if model is not None:
        for i, sentiment in zip(modelled, model.of([texts[i] for i in modelled]), strict=True):
            found[i] = Score(sentiment, "model")
    for i, language in enumerate(languages):
        if language is not None and found[i].by == "unscored":
            found[i] = Score(by_lexicon(texts[i], language), "lexicon")
    return found


def by_lexicon(text: str, language: Language) -> Sentiment:
    """Words of praise less words of blame; a negation turns what follows within three words."""
    good, bad, negations = _lexicon()[language]
    balance = 0
    for words, sign in ((good, 1), (bad, -1)):
        for match in words.finditer(text):
            before = words_of(text[: match.start()])[-NEGATION_REACH:]
            balance += -sign if any(word in negations for word in before) else sign
    return "positive" if balance > 0 else "negative" if balance < 0 else "neutral"


@cache
def _lexicon() -> dict[Language, Any]:
    found = load("lexicon")
    return {
        language: (
            pattern(found[language]["good"]),
            pattern(found[language]["bad"]),
            frozenset(plain(word) for word in found[language]["not"]),
        )
        for language in LANGUAGES
    }


def _pipeline() -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline, make_union

    parts = make_union(
        TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True, min_df=2),
        TfidfVectorizer(analyzer="word", ngram_range=(1, 2), sublinear_tf=True, min_df=2, token_pattern=_WORD),
    )
    return make_pipeline(parts, LogisticRegression(C=4.0, class_weight="balanced", max_iter=2_000))
