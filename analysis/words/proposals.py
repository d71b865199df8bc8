"""What does the codebook not know yet? Groups of words of remarks without a theme, for a person to name.

Proposals show words only, never remarks, and only words of several people, so that nobody can be recognised by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

LEAST_REMARKS = 60  # without a theme, in one language
LEAST_PEOPLE = 5  # who used a word
MOST_GROUPS, WORDS_EACH = 4, 6
_LETTERS = r"(?u)\b[^\W\d_]{3,}\b"


@dataclass(frozen=True, slots=True)
class Proposal:
    """A group of words that occur together in ``n`` remarks (those whose strongest group it is) of one language."""

    language: str
    words: tuple[str, ...]
    n: int


def proposals(language: str, texts: Sequence[str], people: Sequence[str], stopwords: frozenset[str]) -> list[Proposal]:
    """Groups by non-negative matrix factorisation (Lee & Seung 1999) of TF-IDF; none where there is too little.

    Args:
        texts: plain remarks of one language without a theme.
        people: whose each is.
    """
    if len(texts) < LEAST_REMARKS:
        return []
    from sklearn.decomposition import NMF
    from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer

    counter = CountVectorizer(token_pattern=_LETTERS, stop_words=sorted(stopwords), binary=True)
    try:
        counts = counter.fit_transform(texts)
    except ValueError:  # nothing but stop words
        return []
    _, who = np.unique(np.asarray(people, dtype=object).astype(str), return_inverse=True)
    rows, columns = counts.nonzero()
    users = np.unique(np.stack([columns, who[rows]]), axis=1)
    common = np.bincount(users[0], minlength=counts.shape[1]) >= LEAST_PEOPLE
    if np.count_nonzero(common) < WORDS_EACH:
        return []
    names = counter.get_feature_names_out()[common]
    weights = TfidfTransformer().fit_transform(counts[:, common])
    groups = min(MOST_GROUPS, len(names) // WORDS_EACH)
    model = NMF(groups, init="nndsvd", max_iter=500)
    strength = model.fit_transform(weights)
    strongest = np.where(strength.max(axis=1) > 0, strength.argmax(axis=1), -1)
    found = []
    for group in range(groups):
        order = np.argsort(-model.components_[group], kind="stable")[:WORDS_EACH]
        words = tuple(str(names[i]) for i in order if model.components_[group][i] > 0)
        n = int(np.count_nonzero(strongest == group))
        if words and n >= LEAST_PEOPLE:
            found.append(Proposal(language, words, n))
    return sorted(found, key=lambda p: (-p.n, p.words))
