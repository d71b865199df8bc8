"""Is a remark praise or blame? By its number, by a model of rated remarks, by a lexicon, in that order."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis.words.language import language_of, plain, words_of
from analysis.words.lexicon import by_lexicon
from analysis.words.proposals import LEAST_PEOPLE, LEAST_REMARKS, proposals
from analysis.words.ratings import SITTING_US, Asked, Sentiment, of_nps, of_number, ratings
from analysis.words.sentiment import LEAST_OF_A_CLASS, LEAST_RATED, Learned, SentimentModel, score, train
from edgeloop.app.simulator import said
from tests.frames import frames


@pytest.mark.parametrize(
    ("value", "low", "high", "sentiment"),
    [
        (1, 1, 5, "negative"), (2, 1, 5, "negative"), (3, 1, 5, "neutral"), (4, 1, 5, "positive"),
        (5, 1, 5, "positive"),
        (1, 1, 7, "negative"), (3, 1, 7, "negative"), (4, 1, 7, "neutral"), (5, 1, 7, "neutral"), (6, 1, 7, "positive"),
        (0, 0, 1, "negative"), (1, 0, 1, "positive"), (-1, -2, 2, "negative"), (0, -2, 2, "neutral"),
        (1, -2, 2, "positive"),
        (0.3, 0.1, 0.5, "neutral"), (0.4, 0.1, 0.5, "positive"),  # not exact in floating point
        (5, 5, 5, None), (3, 5, 1, None), (6, 1, 5, None), (0, 1, 5, None), (float("nan"), 1, 5, None),
        (3, float("nan"), 5, None),
    ],
)  # fmt: skip
def test_a_number_says_by_its_place_on_the_scale(value: float, low: float, high: float, sentiment: str | None) -> None:
    assert of_number(value, low, high) == sentiment
    rows = [answer("r", kind="csat", value=value, low=low, high=high)]
    assert ratings(frames(answers=rows)["answers"], [Asked("ann", "r", "s", 0)]).get(("ann", "r")) == sentiment


@pytest.mark.parametrize(
    ("value", "sentiment"),
    [(0, "negative"), (6, "negative"), (7, "neutral"), (8, "neutral"), (9, "positive"), (10, "positive"), (11, None)],
)
def test_promoters_praise_and_detractors_blame(value: float, sentiment: str | None) -> None:
    assert of_nps(value) == sentiment


def answer(response: str, **fields: Any) -> dict[str, Any]:
    return {
        "response_id": response, "subject": "ann", "respondent": "customer", "survey_id": "s", "source": "x",
        "occurred_at": 0, "position": 0, "question": "q", **fields,
    }  # fmt: skip


def rated(*rows: dict[str, Any], asked: Asked) -> Sentiment | None:
    return ratings(frames(answers=list(rows))["answers"], [asked]).get((asked.subject, asked.response_id))


def test_satisfaction_comes_before_recommendation_and_several_are_averaged() -> None:
    csat = answer("r", kind="csat", value=1, low=1, high=5)
    also = answer("r", kind="rating", value=5, low=1, high=5, position=1)
    nps = answer("r", kind="nps", value=10, position=2)
    asked = Asked("ann", "r", "s", 0)
    assert rated(csat, nps, asked=asked) == "negative"
    assert rated(nps, asked=asked) == "positive"
    assert rated(csat, also, nps, asked=asked) == "neutral"
    assert rated(answer("r", kind="number", value=1, low=1, high=5), asked=asked) is None


def test_a_number_of_the_same_sitting_counts_and_nobody_elses() -> None:
    csat = answer("a", kind="csat", value=5, low=1, high=5, occurred_at=10 * SITTING_US)
    later = answer("b", kind="csat", value=1, low=1, high=5, occurred_at=10 * SITTING_US + 30)

    def near(gap: int, **who: str) -> Sentiment | None:
        return rated(
            csat, later, asked=Asked(**{"subject": "ann", "response_id": "t", "survey_id": "s", **who}, at=gap)
        )

    assert near(10 * SITTING_US) == "positive"
    assert near(9 * SITTING_US) == "positive"
    assert near(9 * SITTING_US - 1) is None
    assert near(10 * SITTING_US + 15) == "positive"  # as near to both: the earlier
    assert near(10 * SITTING_US + 16) == "negative"
    assert near(11 * SITTING_US + 30) == "negative"
    assert near(11 * SITTING_US + 31) is None
    assert near(10 * SITTING_US, subject="ben") is None
    assert near(10 * SITTING_US, survey_id="other") is None
    assert near(0, response_id="b") == "negative"  # its own comes first, however far


def test_two_people_may_use_the_same_response_id() -> None:
    rows = [
        answer("r", kind="csat", value=5, low=1, high=5),
        answer("r", kind="csat", value=1, low=1, high=5) | {"subject": "ben"},
    ]
    found = ratings(frames(answers=rows)["answers"], [Asked("ann", "r", "s", 0), Asked("ben", "r", "s", 0)])
    assert found == {("ann", "r"): "positive", ("ben", "r"): "negative"}


@pytest.mark.parametrize(
    ("language", "text", "sentiment"),
    [
        ("en", "good", "positive"),
        ("en", "not good", "negative"),
        ("en", "not a very good day", "negative"),
        ("en", "not one of the really good ones", "positive"),  # out of reach
        ("en", "Not late, very friendly", "positive"),
        ("en", "It wasn’t late", "positive"),
        ("en", "late but friendly", "neutral"),
        ("en", "It came", "neutral"),
        ("de", "nicht schlecht", "positive"),
        ("de", "Klappt nicht", "negative"),
        ("de", "Klappt. Nicht jeden Tag, aber immerhin", "positive"),
        ("de", "keine freundliche Antwort", "negative"),
        ("fr", "pas aimable", "negative"),
        ("fr", "Ce n’était pas un problème", "positive"),
        ("pt", "não foi simpático", "negative"),
        ("pt", "sem atraso, ótimo", "positive"),
    ],
)
def test_the_lexicon_turns_what_is_negated_in_its_clause(language: Any, text: str, sentiment: str) -> None:
    assert by_lexicon(plain(text), language) == sentiment


def taught(n: int, seed: int = 1) -> tuple[list[str], list[Any], list[Sentiment]]:
    """Rated remarks of the simulated company, each with a word that makes it different."""
    rng = random.Random(seed)
    stars = [rng.choice((1, 3, 5)) for _ in range(n)]
    texts = [
        plain(f"{said.customer(rng, star)} {chr(97 + i % 26)}{chr(97 + i // 26)}x") for i, star in enumerate(stars)
    ]
    sentiments: dict[int, Sentiment] = {1: "negative", 3: "neutral", 5: "positive"}
    return texts, [language_of(words_of(text)) for text in texts], [sentiments[star] for star in stars]


@pytest.fixture(scope="module")
def model() -> SentimentModel:
    found = train(*taught(400))
    assert found is not None
    return found


def test_a_model_learns_what_praise_is_and_says_how_well(model: SentimentModel) -> None:
    assert model.learned.languages == ("en", "de", "fr", "pt")[: len(model.learned.languages)]
    assert {"en", "de"} <= set(model.learned.languages)
    assert 0.3 < model.learned.baseline < model.learned.accuracy <= 1
    assert 0.3 < model.learned.lexicon < model.learned.accuracy
    texts, languages, sentiments = taught(300, seed=2)
    found = score(texts, languages, model)
    unseen = float(np.mean([a.sentiment == b for a, b in zip(found, sentiments, strict=True) if a.by == "model"]))
    assert unseen > 0.85


def test_the_order_of_the_answers_does_not_matter(model: SentimentModel) -> None:
    rows = list(zip(*taught(400), strict=True))
    random.Random(9).shuffle(rows)
    texts, languages, sentiments = zip(*rows, strict=True)
    again = train(texts, languages, sentiments)
    assert again is not None
    assert again.learned == model.learned
    unseen = taught(200, seed=3)[:2]
    assert score(*unseen, again) == score(*unseen, model)


def test_a_remark_that_many_write_is_learnt_once() -> None:
    texts, languages, sentiments = taught(400)
    once = train(texts, languages, sentiments)
    often = train([*texts, *texts[:50] * 20], [*languages, *languages[:50] * 20], [*sentiments, *sentiments[:50] * 20])
    assert once is not None
    assert often is not None
    assert often.learned == once.learned


def test_a_model_refuses_to_learn_from_too_little() -> None:
    texts, languages, sentiments = taught(400)
    known = [i for i, own in enumerate(languages) if own is not None]
    few = known[: LEAST_RATED - 1]
    assert train([texts[i] for i in few], [languages[i] for i in few], [sentiments[i] for i in few]) is None
    assert train(["good"] * 900, ["en"] * 900, [("negative", "neutral", "positive")[i % 3] for i in range(900)]) is None
    one_class = [s if s != "neutral" else "positive" for s in sentiments]
    assert train(texts, languages, one_class) is None
    scarce = [i for i in known if sentiments[i] != "neutral"] + [i for i in known if sentiments[i] == "neutral"][:29]
    assert LEAST_OF_A_CLASS == 30
    assert train([texts[i] for i in scarce], [languages[i] for i in scarce], [sentiments[i] for i in scarce]) is None
    assert train(texts, [None] * len(texts), sentiments) is None
    assert train([], [], []) is None


def test_a_model_that_learns_nothing_is_none() -> None:
    rng = random.Random(4)
    texts = [" ".join(rng.choices("abcdefgh", k=6)) for _ in range(400)]
    sentiments: list[Sentiment] = [
        "positive" if rng.random() < 0.7 else rng.choice(["neutral", "negative"]) for _ in texts
    ]
    model = train(texts, ["en"] * 400, sentiments)
    assert model is None or model.learned.accuracy > model.learned.baseline


def test_a_model_that_is_no_better_than_the_lexicon_is_none() -> None:
    rng = random.Random(4)
    said_so: dict[Sentiment, str] = {"negative": "bad", "neutral": "", "positive": "good"}
    sentiments: list[Sentiment] = [rng.choice(["negative", "neutral", "positive"]) for _ in range(400)]
    texts = [f"{' '.join(rng.choices('abcdefgh', k=6))} {said_so[s]}".strip() for s in sentiments]
    assert train(texts, ["en"] * 400, sentiments) is None  # the lexicon reads all of them right


def test_who_scores_what(model: SentimentModel) -> None:
    texts = ["the driver was rude", "livraison rapide", "llego tarde"]
    english = SentimentModel(Learned(400, 0.9, 0.5, 0.6, ("en",)), model.pipeline)
    assert [s.by for s in score(texts, ["en", "fr", None], english)] == ["model", "lexicon", "unscored"]
    assert [s.by for s in score(texts, ["en", "fr", None], None)] == ["lexicon", "lexicon", "unscored"]
    assert score(texts, ["en", "fr", None], None)[2].sentiment is None
    assert score([], [], model) == []


def group(words: str, people: list[str | None], seed: int) -> tuple[list[str], list[str | None]]:
    rng = random.Random(seed)
    return [" ".join(rng.sample(words.split(), 4)) for _ in people], people


def test_proposals_are_the_words_that_remarks_share() -> None:
    a = group("crate deposit bottle return empties glass", [f"a{i % 20}" for i in range(60)], 1)
    b = group("uniform badge jacket logo cap colour", [f"b{i % 20}" for i in range(40)], 2)
    found = proposals("en", a[0] + b[0], a[1] + b[1])
    assert [p.n for p in found] == [60, 40]
    assert [set(p.words) for p in found] == [
        {"crate", "deposit", "bottle", "return", "empties", "glass"},
        {"uniform", "badge", "jacket", "logo", "cap", "colour"},
    ]
    assert found == proposals("en", a[0] + b[0], a[1] + b[1])


@pytest.mark.parametrize("who", [[f"p{i}" for i in range(LEAST_PEOPLE - 1)], [None] * 9, ["p0"]])
def test_a_word_of_fewer_than_five_people_is_never_proposed(who: list[str | None]) -> None:
    texts, people = group("crate deposit bottle return empties glass", [f"a{i % 20}" for i in range(80)], 1)
    secret = ["crate deposit bottle mueller" for _ in range(40)]
    speakers = [who[i % len(who)] for i in range(40)]
    shown = {word for p in proposals("en", texts + secret, [*people, *speakers]) for word in p.words}
    assert "crate" in shown
    assert "mueller" not in shown


def test_no_proposal_shows_what_fewer_than_five_people_wrote() -> None:
    vocabulary = [f"{a}{b}{a}" for a in "bdfgkl" for b in "aeiou"]
    shown = 0
    for seed in range(30):
        rng = random.Random(seed)
        people: list[str | None] = [rng.choice("pqrstuvwxyz") for _ in range(rng.randrange(60, 120))]
        texts = [" ".join(rng.choices(vocabulary, [1 / (i + 1) for i in range(30)], k=5)) for _ in people]
        for word in {word for proposal in proposals("en", texts, people) for word in proposal.words}:
            shown += 1
            users = {who for text, who in zip(texts, people, strict=True) if word in text.split()}
            assert len(users) >= LEAST_PEOPLE, (seed, word)
    assert shown > 100


def test_too_few_remarks_give_no_proposal() -> None:
    texts, people = group("crate deposit bottle return empties glass", [f"a{i}" for i in range(LEAST_REMARKS)], 1)
    assert proposals("en", texts, people)
    assert proposals("en", texts[1:], people[1:]) == []
    assert proposals("en", ["the and was"] * 99, ["a"] * 99) == []
    assert proposals("en", ["!!"] * 99, ["a"] * 99) == []


def test_an_empty_table_has_no_numbers() -> None:
    assert ratings(frames()["answers"], [Asked("ann", "r", "s", 0)]) == {}
    assert isinstance(frames()["answers"], pd.DataFrame)
