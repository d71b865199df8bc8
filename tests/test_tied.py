"""Themes beside changes: what was planted is found with its own change alone, and what fits by chance stays rare."""

from __future__ import annotations

import random

import pandas as pd
import pytest

from analysis import LedgerChange, Stage, WordsOfMonth
from analysis.words import SideOfMonth, Tally, ThemeOfMonth
from analysis.words.month import Spoken
from edgeloop.clock import DAY_US
from edgeloop.months import Month
from reports.tied import tied
from tests.report_fixture import at

MARCH = Month.parse("2026-03", "Europe/Berlin")
MODELS = ("card", "prompt")


def change(model: str, day: int) -> LedgerChange:
    return LedgerChange(
        change_id=f"{model}-2", model_id=model, to_version="2", from_version="1", kind="canary", declared=True,
        stages=(Stage(1, at(3, day)),), last_us=at(3, 31), title=f"New {model}",
    )  # fmt: skip


def world(
    seed: int,
    *,
    by: str = "card",
    grows: int = 9,
    more: float = 0.25,
    remarks: int = 1_200,
    days: dict[str, int] | None = None,
    side: str = "customer",
) -> dict[tuple[str, str], tuple[str, ...]]:
    """Remarks on 59 days, half of each model; from the day ``grows`` on those who met the new version of ``by`` speak
    of the theme more often. The new versions begin on ``days``, for half of the people."""
    rng = random.Random(seed)
    days = days or {"card": 9, "prompt": 23}
    said, credited = [], []
    for i in range(remarks):
        when, model = rng.randrange(at(2, 1), at(4, 1)), rng.choice(MODELS)
        new = when >= at(3, days[model]) and rng.random() < 0.5
        share = 0.05 + (more if new and model == by and when >= at(3, grows) else 0.0)
        said.append(Spoken(when, f"p{i}", f"r{i}", ("slots",) if rng.random() < share else ()))
        credited.append(("answer", f"p{i}", f"a:r{i}/why", model, "2" if new else "1", 1.0))
    said.sort()
    columns = ["outcome_type", "subject", "outcome_id", "model_id", "model_version", "credit"]
    spans = [[s for s in said if (s.at >= MARCH.start_us) == this] for this in (True, False)]
    this, before = (Tally(len(own)) for own in spans)
    about = (Tally(sum("slots" in s.themes for s in own)) for own in spans)
    own = SideOfMonth(
        respondent=side, this=this, before=before, themeless=0, unread=0, languages={}, scored_by={}, model=None,  # type: ignore[arg-type]
        themes=(ThemeOfMonth("slots", "Slots", "product_manager", *about, ()),), proposals=(), spoken=tuple(said),
    )  # fmt: skip
    return tied(
        WordsOfMonth("1", (own,)), [change(m, day) for m, day in days.items()],
        pd.DataFrame(credited, columns=columns), MARCH,
    )  # fmt: skip


@pytest.mark.parametrize("side", ["customer", "agent"])
def test_what_was_planted_is_found_with_its_own_change(side: str) -> None:
    found = [world(seed, side=side, more=0.4) for seed in range(20)]
    assert set().union(*(set(f) for f in found)) == {(side, "slots")}
    assert {titles for f in found for titles in f.values()} == {("New card",)}
    assert sum(map(bool, found)) >= 18


def test_two_changes_of_one_week_are_told_apart_by_whose_remarks_grew() -> None:
    days = {"card": 9, "prompt": 10}
    assert world(1, days=days)["customer", "slots"] == ("New card",)
    assert world(1, days=days, by="prompt", grows=10)["customer", "slots"] == ("New prompt",)


def test_a_growth_of_another_week_is_not_put_beside_a_change() -> None:
    """The new version is there from 2 March on, and people speak of the theme from 23 March on only."""
    days = {"card": 2, "prompt": 30}
    found = [world(seed, days=days, grows=23, more=0.5) for seed in range(20)]
    assert sum(map(bool, found)) == 0
    assert any(world(seed, days=days, grows=2, more=0.5) for seed in range(5)), "from 2 March on it is"


def test_a_theme_that_did_not_grow_is_put_beside_nothing() -> None:
    assert sum(bool(world(seed, more=0.0)) for seed in range(200)) <= 2


def test_few_remarks_carry_nothing() -> None:
    assert not any(world(seed, remarks=60, more=0.9) for seed in range(10))


def test_without_words_or_changes_there_is_nothing() -> None:
    assert tied(None, [change("card", 9)], pd.DataFrame(), MARCH) == {}
    assert tied(WordsOfMonth("1", ()), [], pd.DataFrame(), MARCH) == {}


def test_a_change_of_the_month_before_is_no_news() -> None:
    early = LedgerChange(
        change_id="c", model_id="card", to_version="2", from_version="1", kind="canary", declared=True,
        stages=(Stage(1, MARCH.start_us - DAY_US),), last_us=at(3, 31), title="Old",
    )  # fmt: skip
    assert tied(WordsOfMonth("1", ()), [early], pd.DataFrame(), MARCH) == {}
