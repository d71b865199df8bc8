"""What a month's remarks speak of: counts against a count of its own, months and sides apart, quotes by rule."""

from __future__ import annotations

import random
from collections import Counter
from functools import cache
from typing import Any

import pandas as pd
import pytest

from analysis import analyse, remarks
from analysis.words import SideOfMonth, Tally, WordsOfMonth, codebook, words_of_month
from analysis.words.quotes import LONGEST
from tests.frames import LATER, MARCH, at, frames

FEBRUARY = MARCH.previous()


def said(
    response: str,
    text: str | None,
    *,
    day: float = 3.0,
    who: str | None = None,
    csat: float | None = None,
    side: str = "customer",
    position: int = 1,
) -> list[dict[str, Any]]:
    """A response's rows: a text, and a number where one is given."""
    common = {
        "response_id": response, "subject": who or f"s-{response}", "respondent": side, "survey_id": "s",
        "source": "x", "occurred_at": at(day),
    }  # fmt: skip
    rows: list[dict[str, Any]] = []
    if csat is not None:
        rows.append({**common, "position": 0, "question": "csat", "kind": "csat", "value": csat, "low": 1, "high": 5})
    if text is not None:
        rows.append({**common, "position": position, "question": "why", "kind": "text", "text": text})
    return rows


def month(*rows: list[dict[str, Any]], responses: list[dict[str, Any]] | None = None) -> WordsOfMonth:
    tables = frames(answers=[row for own in rows for row in own], responses=responses or [])
    return words_of_month(tables, MARCH)


def counts(side: SideOfMonth) -> dict[str, tuple[int, int]]:
    return {theme.name: (theme.this.n, theme.before.n) for theme in side.themes}


def test_this_month_and_the_one_before_and_no_other() -> None:
    late = "The parcel was late"
    found = month(
        said("a", late, day=-28.0), said("b", late, day=-28.001), said("c", late, day=-0.001), said("d", late, day=0.0),
        said("e", late, day=30.999), said("f", late, day=31.0), said("g", late, day=12.0),
    )  # fmt: skip
    assert FEBRUARY.start_us == at(-28)
    assert MARCH.end_us == at(31)
    customers = found.side("customer")
    assert counts(customers) == {"punctuality": (3, 2)}
    assert (customers.this.n, customers.before.n) == (3, 2)


def test_customers_and_agents_are_never_pooled() -> None:
    rows = [said(f"c{i}", "The parcel was late", csat=1) for i in range(5)]
    rows += [said(f"a{i}", "The parcel was late", csat=5, side="agent") for i in range(3)]
    rows += [said("before", "The app crashed", csat=1, side="agent", day=-3)]
    both = month(*rows)
    assert [side.respondent for side in both.sides] == ["customer", "agent"]
    assert both.side("customer").this == Tally(5, negative=5)
    assert both.side("agent").this == Tally(3, positive=3)
    assert counts(both.side("customer")) == {"punctuality": (5, 0)}
    assert counts(both.side("agent")) == {"punctuality": (3, 0), "app": (0, 1)}
    only = month(*rows[:5])
    assert both.side("customer") == only.side("customer")
    assert {quoted.response_id[0] for theme in both.side("agent").themes for quoted in theme.quotes} <= {"a"}


def test_each_sides_model_learns_from_its_own_answers_only() -> None:
    from edgeloop.app.simulator import said as simulated

    rng = random.Random(7)
    rows = []
    for i in range(280):
        star = rng.choice((1, 3, 5))
        rows.append(said(f"r{i}", f"{simulated.customer(rng, star)} {chr(97 + i % 26)}{chr(97 + i // 26)}x", csat=star))
    rows += [said("c", "The driver was rude to my mother"), said("a", "The driver was rude to my mother", side="agent")]
    found = month(*rows)
    customers, agents = found.side("customer"), found.side("agent")
    assert customers.model is not None
    assert customers.scored_by == {"number": 280, "model": 1}
    assert agents.model is None
    assert agents.scored_by == {"lexicon": 1}


def test_a_response_counts_once_however_many_texts_it_has() -> None:
    found = month(
        [*said("a", "late", position=1), *said("a", "The parcel was late again and the box was torn", position=2)]
    )
    customers = found.side("customer")
    assert customers.this.n == 1
    assert counts(customers) == {"punctuality": (1, 0), "condition": (1, 0)}
    assert customers.themes[0].quotes[0].text == "late / The parcel was late again and the box was torn"


@pytest.mark.parametrize("text", ["", "   ", "-", "...", "?!", None])
def test_a_blank_is_no_remark(text: str | None) -> None:
    assert month(said("a", text, csat=3)).side("customer").this == Tally()


def test_unread_languages_are_counted_and_unscored() -> None:
    spanish = "El paquete llegó tarde y la caja estaba rota"
    told = [{"response_id": "e", "subject": "s-e", "language": "de"}]
    rows = [said("a", spanish), said("b", spanish, csat=1), said("c", "👍"), said("d", "It came"), said("e", "Xyzzy")]
    found = month(*rows, responses=told)
    customers = found.side("customer")
    assert customers.scored_by == {"number": 1, "lexicon": 2, "unscored": 2}
    assert (customers.unread, customers.themeless) == (3, 2)
    assert customers.languages == {"en": 1, "de": 1}
    assert customers.this == Tally(5, negative=1, neutral=2)
    assert customers.this.unscored == 2


def test_counts_equal_a_count_of_its_own() -> None:
    from edgeloop.app.simulator import said as simulated

    rng = random.Random(3)
    rows, truth = [], []
    for i in range(600):
        star, side, day = rng.choice((1, 2, 3, 4, 5)), rng.choice(("customer", "agent")), rng.uniform(-40, 45)
        text = simulated.customer(rng, star)
        rows.append(said(f"r{i}", text, csat=star, day=day, side=side))
        truth.append((side, at(day), text, "negative" if star < 3 else "neutral" if star == 3 else "positive"))
    found = month(*rows)
    for side in found.sides:
        for start, end, which in ((at(0), at(31), "this"), (at(-28), at(0), "before")):
            own = [
                (text, sentiment)
                for who, when, text, sentiment in truth
                if who == side.respondent and start <= when < end
            ]
            assert getattr(side, which).n == len(own)
            for theme in side.themes:
                spoken = Counter(sentiment for text, sentiment in own if theme.name in themes_of(text))
                tally: Tally = getattr(theme, which)
                assert (tally.n, tally.negative, tally.neutral, tally.positive) == (
                    spoken.total(), spoken["negative"], spoken["neutral"], spoken["positive"],
                ), theme.name  # fmt: skip
        named = {theme.name for theme in side.themes}
        assert len(named) == len(side.themes) > 8
        assert [t.this.n for t in side.themes] == sorted((t.this.n for t in side.themes), reverse=True)
        assert all(theme.owner for theme in side.themes)


@cache
def themes_of(text: str) -> frozenset[str]:
    """The themes of one remark alone."""
    rows = pd.DataFrame(said("x", text, csat=3))
    return frozenset(remarks(frames(answers=rows.to_dict("records"))["answers"]).rows[0].themes)


def test_quotes_are_of_two_people_and_two_sentiments_and_bounded() -> None:
    rows = [said(f"n{i}", f"The parcel was late, that is number {i}", csat=1, who="ann") for i in range(4)]
    rows += [said("m", "The parcel was late, says Ben", csat=1, who="ben")]
    rows += [said("p", "Late, but I do not mind it at all", csat=5, who="cat")]
    rows += [said("long", "The parcel was late " + "and late " * 500, csat=1, who="dan")]
    rows += [
        said(
            "bidi",
            "The parcel was \u202elate\u202c and\nmore\x00 <b>bo\u0300\u0301\u0302\u0303ld</b>",
            csat=3,
            who="eve",
        )
    ]
    theme = next(t for t in month(*rows).side("customer").themes if t.name == "punctuality")
    first, second = theme.quotes
    assert (first.sentiment, second.sentiment) == ("negative", "neutral")
    assert second.text == "The parcel was late and more <b>bo\u0300\u0301ld</b>"
    assert all(12 <= len(quoted.text) <= LONGEST and quoted.text.isprintable() for quoted in theme.quotes)
    assert month(*rows) == month(*reversed(rows))
    two = next(t for t in month(*rows[:5]).side("customer").themes if t.name == "punctuality").quotes
    assert {quoted.response_id[0] for quoted in two} == {"m", "n"}
    alone = next(t for t in month(*rows[:4]).side("customer").themes if t.name == "punctuality").quotes
    assert len(alone) == 1


def test_a_remark_with_something_scrubbed_is_quoted_last_and_none_twice_where_others_are() -> None:
    rows = [said(f"s{i}", f"The parcel was late, call me on [phone], that is {i}", csat=1) for i in range(5)]
    rows += [said("ok", "The parcel was late and that is all", csat=1)]
    rows += [said(f"w{i}", f"The parcel was late and the locker would not open, {i}", csat=1) for i in range(2)]
    themes = {theme.name: theme.quotes for theme in month(*rows).side("customer").themes}
    assert themes["punctuality"][0].response_id == "ok"
    assert {quoted.response_id for quoted in themes["pickup"]} == {"w0", "w1"}
    assert len({quoted.response_id for quoted in themes["punctuality"]}) == 2


def test_proposals_are_of_this_months_remarks_without_a_theme() -> None:
    rng = random.Random(1)
    vocabulary = ["deposit", "bottle", "crates", "returned", "empties", "glass"]

    def about(prefix: str, day: float, n: int = 80) -> list[list[dict[str, Any]]]:
        return [
            said(f"{prefix}{i}", f"They took the {' '.join(rng.sample(vocabulary, 3))} and it was there", day=day,
                 who=f"w{i % 20}")
            for i in range(n)
        ]  # fmt: skip

    customers = month(*about("x", 4.0)).side("customer")
    assert customers.themeless == 80
    assert {word for proposal in customers.proposals for word in proposal.words} == set(vocabulary)
    assert month(*about("x", -4.0)).side("customer").proposals == ()
    nobody = [{"response_id": f"x{i}", "subject": f"w{i % 20}", "anonymous": 1} for i in range(80)]
    assert month(*about("x", 4.0), responses=nobody).side("customer").proposals == ()


def test_an_analysis_holds_the_words_and_an_empty_month_has_none() -> None:
    tables = frames(answers=said("a", "The parcel was late", csat=2))
    found = analyse(tables, MARCH, freeze_id="f", as_of_us=LATER, metrics={}).words
    assert found == words_of_month(tables, MARCH)
    assert found is not None
    assert found.codebook == codebook().version
    empty = month()
    assert [(side.this, side.themes, side.model) for side in empty.sides] == [(Tally(), (), None)] * 2


def test_neither_text_nor_person_shows_in_a_log_of_a_remark() -> None:
    (remark,) = remarks(frames(answers=said("a", "My mother Erna Schulze was late", csat=2))["answers"]).rows
    assert remark.text == "My mother Erna Schulze was late"
    assert "Erna" not in repr(remark)
