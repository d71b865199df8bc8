"""Is a remark without a number praise or blame? A model of the company's own rated answers says; a lexicon until then.

General lexicons read deliveries badly, so one is only asked where the company has too few rated answers to learn from,
and a language that neither knows stays unscored.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from analysis.words.codebook import codebook
from analysis.words.language import LANGUAGES, Language, words_of
from analysis.words.lexicon import by_lexicon, signs
from analysis.words.ratings import CLASSES, Sentiment

ScoredBy = Literal["number", "model", "lexicon", "unscored"]
SCORED_BY: tuple[ScoredBy, ...] = ("number", "model", "lexicon", "unscored")
LEAST_RATED, LEAST_OF_A_CLASS = 200, 30
MOST_RATED = 2_000
"""More teach little and take long; of more, those of the smallest hashes are taken."""
FOLDS = 5
_MOST_SIGNS = 2  # praise less blame beyond it says no more
_MARK = "\x1f"  # plain text holds none
_WORD = r"(?u)\b\w+\b"


@dataclass(frozen=True, slots=True)
class Score:
    """A remark's sentiment and where it is from; None where nobody can tell."""

    sentiment: Sentiment | None
    by: ScoredBy


@dataclass(frozen=True, slots=True)
class Learned:
    """What a model knows: of ``n`` different rated remarks.

    ``accuracy`` is the share that models of the other remarks got right (cross-validation). ``baseline`` is what naming
    the most frequent class gets, ``lexicon`` what the lexicon gets of the same remarks: a model must beat both.
    """

    n: int
    accuracy: float
    baseline: float
    lexicon: float
    languages: tuple[Language, ...]
    """Those of which it saw at least thirty remarks."""


@dataclass(frozen=True, slots=True, eq=False)
class SentimentModel:
    """A model of rated remarks."""

    learned: Learned
    pipeline: Any = field(repr=False)

    def of(self, texts: Sequence[str], languages: Sequence[Language]) -> list[Sentiment]:
        """The sentiment of plain texts, each in its language."""
        told = [_told(text, language) for text, language in zip(texts, languages, strict=True)]
        return [CLASSES[int(k)] for k in self.pipeline.predict(told)] if told else []


def train(
    texts: Sequence[str], languages: Sequence[Language | None], sentiments: Sequence[Sentiment]
) -> SentimentModel | None:
    """A model of rated remarks; None where it would learn too little.

    That is with fewer than 200 different ones, with fewer than 30 of one class, or where it does not beat naming the
    most frequent class, or the lexicon. Character and word n-grams go into a logistic regression, and what lexicon and
    codebook find, which means the same in every language. A text counts once, with the middle of its ratings: repeated
    ones would be known already when the model is tested. The order does not matter.

    Args:
        texts: plain texts.
        languages: of each; remarks in a language that nobody here reads are left out.
        sentiments: what their numbers said.
    """
    rated: dict[tuple[str, Language], list[int]] = {}
    for text, language, sentiment in zip(texts, languages, sentiments, strict=True):
        if language is not None and text:
            rated.setdefault((text, language), []).append(CLASSES.index(sentiment))
    chosen = sorted(rated, key=lambda key: hashlib.sha256(key[0].encode()).digest())[:MOST_RATED]
    y = np.array([sorted(rated[key])[(len(rated[key]) - 1) // 2] for key in chosen], dtype=np.int64)
    counts = np.bincount(y, minlength=len(CLASSES))
    if len(y) < LEAST_RATED or counts.min() < LEAST_OF_A_CLASS:
        return None
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    own = [_told(text, language) for text, language in chosen]
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    unseen = cross_val_predict(_pipeline(), own, y, cv=folds)
    accuracy, baseline = float((unseen == y).mean()), float(counts.max() / len(y))
    lexicon = float(np.mean([by_lexicon(*key) == CLASSES[k] for key, k in zip(chosen, y, strict=True)]))
    if accuracy <= max(baseline, lexicon):
        return None
    seen = [language for _, language in chosen]
    known = tuple(language for language in LANGUAGES if seen.count(language) >= LEAST_OF_A_CLASS)
    return SentimentModel(Learned(len(y), accuracy, baseline, lexicon, known), _pipeline().fit(own, y))


def score(texts: Sequence[str], languages: Sequence[Language | None], model: SentimentModel | None) -> list[Score]:
    """The sentiment of remarks without a number, in their order.

    Args:
        texts: plain texts.
        languages: of each; None is a language that nobody here reads.
    """
    found = [Score(None, "unscored")] * len(texts)
    if model is not None:
        known = [(i, own) for i, own in enumerate(languages) if own is not None and own in model.learned.languages]
        said = model.of([texts[i] for i, _ in known], [own for _, own in known])
        for (i, _), sentiment in zip(known, said, strict=True):
            found[i] = Score(sentiment, "model")
    for i, language in enumerate(languages):
        if language is not None and found[i].by == "unscored":
            found[i] = Score(by_lexicon(texts[i], language), "lexicon")
    return found


def _told(text: str, language: Language) -> str:
    """A text with what is known of it in any language behind a mark."""
    good, bad = signs(text, language)
    balance = max(-_MOST_SIGNS, min(_MOST_SIGNS, good - bad))
    found = [f"balance:{balance}", *["good"] * (good > 0), *["bad"] * (bad > 0)]
    return _MARK.join((text, " ".join((*found, *codebook().themes_of(words_of(text), language)))))


def _text(told: str) -> str:
    return told.partition(_MARK)[0]


def _found(told: str) -> list[str]:
    return told.partition(_MARK)[2].split()


def _pipeline() -> Any:
    from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline, make_union

    parts = make_union(
        TfidfVectorizer(preprocessor=_text, analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True, min_df=2),
        TfidfVectorizer(preprocessor=_text, ngram_range=(1, 2), sublinear_tf=True, min_df=2, token_pattern=_WORD),
        CountVectorizer(analyzer=_found, binary=True),
    )
    return make_pipeline(parts, LogisticRegression(C=4.0, class_weight="balanced", solver="newton-cg", max_iter=200))
