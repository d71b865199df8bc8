"""What does the codebook not know yet? Groups of words of remarks without a theme, for a person to name.

Proposals show words only, never remarks, and only words of several people, so that nobody can be recognised by one.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis.words.language import Language, frequent_words

LEAST_REMARKS = 60  # without a theme, in one language
LEAST_PEOPLE = 5  # who used a word
MOST_GROUPS, WORDS_EACH = 4, 6
MOST_REMARKS = 5_000
_LETTERS = r"(?u)\b[^\W\d_]{3,}\b"
_DIGITS = 6  # what rounding hides: equal weights that come out unequal on another machine


@dataclass(frozen=True, slots=True)
class Proposal:
    """Words that occur together in ``n`` remarks (those of which the group is the strongest) of one language."""

    language: Language
    words: tuple[str, ...]
    n: int


def proposals(language: Language, texts: Sequence[str], people: Sequence[str | None]) -> list[Proposal]:
    """Groups by non-negative matrix factorisation (Lee & Seung 1999) of TF-IDF; none where there is too little.

    Args:
        texts: plain remarks of one language without a theme; of more than 5,000 the first.
        people: whose each is; None: nobody knows, and they are all taken for one.
    """
    texts, people = texts[:MOST_REMARKS], people[:MOST_REMARKS]
    if len(texts) < LEAST_REMARKS:
        return []
    from sklearn.decomposition import NMF
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer

    small = sorted(word for word in frequent_words(language) if len(word) > 2)
    counter = CountVectorizer(token_pattern=_LETTERS, stop_words=small, binary=True)
    try:
        counts = counter.fit_transform(texts)
    except ValueError:  # nothing but small words
        return []
    numbers = {person: i for i, person in enumerate(dict.fromkeys(people))}
    who = np.array([numbers[person] for person in people])
    rows, columns = counts.nonzero()
    users = np.unique(np.stack([columns, who[rows]]), axis=1)
    common = np.bincount(users[0], minlength=counts.shape[1]) >= LEAST_PEOPLE
    names = counter.get_feature_names_out()[common]
    groups = min(MOST_GROUPS, len(names) // WORDS_EACH)
    if not groups:
        return []
    weights = TfidfTransformer().fit_transform(counts[:, common])
    model = NMF(groups, init="nndsvd", random_state=0, max_iter=500)
    # An exact fit leaves a residual of mere rounding, of which the root is taken.
    with warnings.catch_warnings(), np.errstate(invalid="ignore"):
        warnings.simplefilter("ignore", ConvergenceWarning)  # a little short of the best groups is good enough
        strength = model.fit_transform(weights)
    strength, words_of = _rounded(strength), _rounded(model.components_)
    strongest = np.where(strength.max(axis=1) > 0, strength.argmax(axis=1), -1)
    found = []
    for group in range(groups):
        order = sorted(range(len(names)), key=lambda i: (-words_of[group][i], names[i]))[:WORDS_EACH]
        words = tuple(str(names[i]) for i in order if words_of[group][i] > 0)
        n = int(np.count_nonzero(strongest == group))
        if words and n >= LEAST_PEOPLE:
            found.append(Proposal(language, words, n))
    return sorted(found, key=lambda p: (-p.n, p.words))


def _rounded(values: np.ndarray) -> np.ndarray:
    top = values.max()
    return np.round(values / top, _DIGITS) if top > 0 else values
