"""How well are remarks read? Sentiment and themes on 286 remarks that nobody tuned on, beside VADER's sentiment.

``python -m benchmarks.remarks``. The remarks are ``tests/data/remarks.csv``: written, rated (1–5) and read (sentiment,
themes in free words) by somebody who had seen neither the codebook nor the simulator's remarks.
"""

from __future__ import annotations

import csv
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from analysis.words.codebook import codebook
from analysis.words.language import LANGUAGES, Language, language_of, plain, words_of
from analysis.words.ratings import CLASSES, Sentiment, of_number
from analysis.words.sentiment import FOLDS, SentimentModel, score, train
from edgeloop.app.simulator import said

REMARKS = Path(__file__).resolve().parents[1] / "tests" / "data" / "remarks.csv"
SIMULATED = 4_000
REPEATS = 5  # of the cross-validation, with other folds each
_VADER_NEUTRAL = 0.05  # as its authors advise

# The author's words for what a remark is about → ours. What has no counterpart, or only says how somebody felt, is not
# here and counts as "other": a remark with nothing else is expected to have no theme.
THEMES: dict[str, tuple[str, ...]] = {
    "punctuality": ("early", "fast", "late", "on time", "slightly late"),
    "promise": ("accurate eta", "arrival time", "wrong eta"),
    "slots": ("address change", "rebooking", "slot choice", "wrong day"),
    "courier": ("courier called", "courier waited", "friendly courier", "rude courier"),
    "condition": (
        "careless handling", "damaged", "expiry date", "fresh groceries", "frozen food", "packaging", "undamaged",
    ),
    "completeness": ("lost", "misdelivered", "missing items", "not delivered", "substitutions"),
    "handover": (
        "access code", "carried upstairs", "doorbell", "forged signature", "instructions followed",
        "instructions ignored", "left outside", "missed delivery card", "neighbour", "no lift", "nobody rang",
        "not brought to door", "not home", "photo proof", "safe place", "safe place ignored",
    ),
    "pickup": ("locker", "pickup shop"),
    "tracking": ("customer notifications", "no notice", "too many messages", "tracking"),
    "app": ("account", "app broken", "device fast", "device reliable", "device slow", "equipment", "signal"),
    "price": ("fee", "fines", "invoice", "pay", "refund"),
    "support": ("customer service", "dispatcher", "hotline"),
    "workload": (
        "breaks", "colleagues", "depot", "distance", "dogs", "early finish", "heavy items", "loading", "loading order",
        "overtime", "parking", "rain", "road closure", "road works", "route", "shift plan", "stops", "van sorting",
        "vehicle", "weather", "workload",
    ),
}  # fmt: skip
OTHER = "other"
_THEME = {label: theme for theme, labels in THEMES.items() for label in labels}


@dataclass(frozen=True, slots=True)
class Read:
    """A remark as its author read it."""

    language: Language
    text: str
    sentiment: Sentiment
    rating: float
    labels: tuple[str, ...]

    @property
    def themes(self) -> frozenset[str]:
        """In our words."""
        return frozenset(_THEME[label] for label in self.labels if label in _THEME)


def held_out() -> list[Read]:
    """The remarks of the file."""
    with REMARKS.open(encoding="utf-8", newline="") as file:
        return [
            Read(
                next(own for own in LANGUAGES if own == row["language"]),
                row["text"],
                next(own for own in CLASSES if own == row["sentiment"]),
                float(row["rating"]),
                tuple(label for part in row["themes"].split("|") if (label := part.strip())),
            )
            for row in csv.DictReader(file)
        ]


def simulated(seed: int = 1) -> SentimentModel:
    """A model of rated remarks of the simulated company: as many as its customers write in some months."""
    rng = random.Random(f"benchmark {seed}")
    ratings = [rng.choice((1, 2, 3, 3, 4, 5)) for _ in range(SIMULATED)]
    texts = [said.customer(rng, rating) for rating in ratings]
    model = _trained(texts, [language_of(words_of(plain(text))) for text in texts], ratings)
    if model is None:
        raise RuntimeError("the simulated remarks teach nothing")
    return model


def own_answers(remarks: Sequence[Read], seed: int) -> list[Sentiment]:
    """Each remark's sentiment by the numbers of the others, four fifths of them: a company with just these answers.

    Where they teach too little for a model, that is what the lexicon says, as in the product.
    """
    order = np.random.default_rng(seed).permutation(len(remarks)).tolist()
    found: dict[int, Sentiment] = {}
    for fold in range(FOLDS):
        asked = order[fold::FOLDS]
        known = [remarks[i] for i in order if i not in set(asked)]
        model = _trained([r.text for r in known], [r.language for r in known], [r.rating for r in known])
        scores = score([plain(remarks[i].text) for i in asked], [remarks[i].language for i in asked], model)
        found |= {i: s.sentiment for i, s in zip(asked, scores, strict=True) if s.sentiment is not None}
    return [found[i] for i in range(len(remarks))]


def _trained(
    texts: Sequence[str], languages: Sequence[Language | None], ratings: Sequence[float]
) -> SentimentModel | None:
    sentiments = [of for rating in ratings if (of := of_number(rating, 1, 5)) is not None]
    return train([plain(text) for text in texts], languages, sentiments)


def vader() -> Callable[[str], Sentiment]:
    """VADER (Hutto & Gilbert 2014) with its authors' thresholds."""
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

    analyser = SentimentIntensityAnalyzer()

    def of(text: str) -> Sentiment:
        compound = analyser.polarity_scores(text)["compound"]
        return "positive" if compound >= _VADER_NEUTRAL else "negative" if compound <= -_VADER_NEUTRAL else "neutral"

    return of


def _by_language(remarks: Sequence[Read], right: Sequence[float]) -> list[str]:
    shares = [
        100 * float(np.mean([ok for r, ok in zip(remarks, right, strict=True) if language in (None, r.language)]))
        for language in (*LANGUAGES, None)
    ]
    return [f"{share:.1f} %" for share in shares]


def _row(name: str, cells: Sequence[str]) -> None:
    print(f"| {name} | {' | '.join(cells)} |")


def _header(first: str, remarks: Sequence[Read]) -> None:
    counts = Counter(r.language for r in remarks)
    _row(first, [*(f"{language} ({counts[language]})" for language in LANGUAGES), f"all ({len(remarks)})"])
    _row("---", ["---"] * (len(LANGUAGES) + 1))


def sentiment_table(remarks: Sequence[Read]) -> None:
    """Share of remarks whose sentiment is as their author read it."""
    texts = [plain(r.text) for r in remarks]
    spoken = [language_of(words_of(text)) for text in texts]
    frequent = Counter(r.sentiment for r in remarks).most_common(1)[0][0]
    vaders = vader()
    own = [r.language for r in remarks]
    ways: dict[str, Sequence[Sentiment | None]] = {
        "the number beside it (what the product uses where there is one)": [of_number(r.rating, 1, 5) for r in remarks],
        "model of the simulator's rated remarks": [s.sentiment for s in score(texts, own, simulated())],
        "lexicon (cold start)": [s.sentiment for s in score(texts, own, None)],
        "the same, language told from the text alone": [s.sentiment for s in score(texts, spoken, None)],
        "VADER (English only by design)": [vaders(r.text) for r in remarks],
        f"always “{frequent}”": [frequent] * len(remarks),
    }
    _header("sentiment as its author read it", remarks)
    for name, found in ways.items():
        _row(name, _by_language(remarks, [float(f == r.sentiment) for f, r in zip(found, remarks, strict=True)]))
    runs = [
        [float(f == r.sentiment) for f, r in zip(own_answers(remarks, seed), remarks, strict=True)]
        for seed in range(REPEATS)
    ]
    name = f"model of these remarks' own numbers, remarks it had not seen (mean of {REPEATS} × {FOLDS} folds)"
    _row(name, _by_language(remarks, np.mean(runs, axis=0).tolist()))
    told = [f == r.language for f, r in zip(spoken, remarks, strict=True)]
    _row("language told right, from the text alone", _by_language(remarks, [float(ok) for ok in told]))


def theme_table(remarks: Sequence[Read]) -> None:
    """Precision and recall of themes over all (remark, theme) pairs."""
    found = [frozenset(codebook().themes_of(words_of(plain(r.text)), r.language)) for r in remarks]
    _header("themes", remarks)
    hits = [len(f & r.themes) for f, r in zip(found, remarks, strict=True)]
    parts: dict[str, tuple[Sequence[int], Sequence[int]]] = {
        "precision": (hits, [len(f) for f in found]),
        "recall": (hits, [len(r.themes) for r in remarks]),
    }
    for name, (above, below) in parts.items():
        cells = []
        for language in (*LANGUAGES, None):
            own = [i for i, r in enumerate(remarks) if language in (None, r.language)]
            cells.append(f"{100 * sum(above[i] for i in own) / sum(below[i] for i in own):.1f} %")
        _row(name, cells)
    right = [float(not f) for f, r in zip(found, remarks, strict=True) if not r.themes]
    print(f"\nNo theme of ours in {len(right)} remarks; none found in {100 * float(np.mean(right)):.1f} % of these.")
    unknown = Counter(label for r in remarks for label in r.labels if label not in _THEME)
    print(f'Labels that count as "{OTHER}": {", ".join(f"{label} ({n})" for label, n in sorted(unknown.items()))}.\n')
    _row("theme", ["precision", "recall", "found", "read"])
    _row("---", ["---"] * 4)
    for theme in codebook().themes:
        f, r = (sum(theme.name in own for own in sets) for sets in (found, [r.themes for r in remarks]))
        both = sum(theme.name in own and theme.name in read.themes for own, read in zip(found, remarks, strict=True))
        _row(
            theme.name,
            [f"{100 * both / f:.0f} %" if f else "–", f"{100 * both / r:.0f} %" if r else "–", f"{f}", f"{r}"],
        )


def main() -> None:
    """Print both tables."""
    remarks = held_out()
    sentiment_table(remarks)
    print()
    theme_table(remarks)


if __name__ == "__main__":
    main()
