"""What is decided without a range, what one version does not send, and what nobody measured: rows and sentences."""

from __future__ import annotations

import dataclasses
import html
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import reports
from analysis import Analysis, LedgerChange, Metric, Stage, analyse
from edgeloop.metrics import PACK
from edgeloop.store import facts
from edgeloop.store.facts import Ruled
from edgeloop.store.freeze import Freeze
from edgeloop.store.rows import Estimate
from reports.findings import Change, Findings
from tests import report_fixture as fixture
from tests.frames import LATER, MARCH, World, together, trial
from tests.test_page_truths import change, clear

N = 3_000


def month(
    *,
    errors: tuple[float, float] = (0.0, 0.0),
    silent: bool = False,
    answered: bool = True,
) -> Analysis:
    """A drawn trial of 3,000 people: share of failed requests per arm, the engagement's name, and what v2 lacks."""
    declared = World()
    declared.declare(assignment="random", allocation={"v1": 0.5, "v2": 0.5}, planned_units=N)
    found = together(trial(5, n=N, event=(0.2, 0.3), score=(4.0, 4.0)), declared.tables())
    x = found["exposures"].sort_values("occurred_at", ignore_index=True)
    new = (x["model_version"] == "v2").to_numpy()
    rng = np.random.default_rng(6)
    failed = rng.random(len(x)) < np.where(new, errors[1], errors[0])
    x = x.assign(latency_ms=np.where(silent & new, np.nan, 100.0 + rng.normal(0, 20, len(x))))
    x["error"] = pd.Series([("timeout" if bad else None) for bad in failed], dtype=object)
    found["exposures"] = x
    engagement = found["engagement"]
    found["engagement"] = engagement.assign(name="order_placed")
    if not answered:
        answers = found["answers"]
        found["answers"] = answers[~answers["subject"].isin(x["subject"][new])]
    return analyse(found, MARCH, freeze_id="f", as_of_us=LATER, metrics=PACK)


def row(found: Analysis, metric: str) -> Estimate:
    return next(e for e in found.estimates if e.metric == metric and e.dimension == "all")


@pytest.fixture(scope="module")
def freeze(tmp_path_factory: pytest.TempPathFactory) -> Freeze:
    return fixture.write(tmp_path_factory.mktemp("told") / "f", {})


def page(freeze: Freeze, found: Analysis) -> tuple[Findings, Change, str]:
    made = reports.build(freeze, dataclasses.replace(found, counted=[]))
    text = html.unescape(re.sub(r"<[^>]+>", "\n", reports.render(made)))
    return made, made.changes[0], re.sub(r"\s*\n\s*", "\n", text.replace("\N{NO-BREAK SPACE}", " "))


def test_no_failure_in_either_arm_is_said_as_what_it_rules_out(freeze: Freeze) -> None:
    found = month()
    e = row(found, "error_rate")
    assert e.guard == "cleared"
    assert e.facts[0] == facts.Bound("mark", 0, 0, "cleared", 0.005)
    assert "are needed" not in str(e.reason)
    _, block, text = page(freeze, found)
    (told,) = [effect for effect in block.effects if effect.metric == "error_rate"]
    assert (told.decided, told.certainty, told.words) == (True, "clear", "within its limit")
    assert re.search(r"None among [\d,]+ and [\d,]+ customers: harm above 0\.5 percentage points is ruled out", text)
    assert "25 in each are needed" not in text
    missing = text[text.find("What is missing") :]
    assert "What is missing" not in text or "Error rate" not in missing[: missing.find("Still open")]


def test_a_limit_that_a_bound_shows_broken_is_not_called_too_little_data(freeze: Freeze) -> None:
    found = month(errors=(0.0, 0.1))
    e = row(found, "error_rate")
    assert (e.guard, e.verdict) == ("breach", "roll back")
    assert isinstance(e.facts[0], facts.Bound)
    assert (e.facts[0].state, e.facts[0].control) == ("breach", 0)
    _, block, text = page(freeze, found)
    (told,) = [effect for effect in block.effects if effect.metric == "error_rate"]
    assert (told.decided, told.certainty, told.words) == (True, "clear", "limit broken")
    assert re.search(r"0 and \d+ with such a request: more than the limit \(0\.5 percentage points\) allows", text)
    assert "25 in each are needed" not in text


def test_where_no_goal_arrived_nothing_is_said_of_ranges(freeze: Freeze) -> None:
    found = nothing_but_requests()
    assert found.rulings["c0"] == Ruled("keep testing", 4, (facts.NoGoal(("order_placed",)),))
    made, block, text = page(freeze, found)
    sentence = "No goal was measured: no “order_placed” arrived from either version; check that it is sent."
    assert block.summary == made.decisions[0].why == sentence
    assert made.decisions[0].sure == "No goal was measured, so there is nothing to be sure of"
    assert made.open_tests == () or made.open_tests[0].left == "no goal was measured"
    for untrue in ("No clear change in anything", "the ranges include no change", "how many days more"):
        assert untrue not in text


def nothing_but_requests() -> Analysis:
    """No event and no answer at all: only requests are known."""
    declared = World()
    declared.declare(assignment="random", allocation={"v1": 0.5, "v2": 0.5}, planned_units=N)
    found = together(trial(5, n=N), declared.tables())
    found["exposures"] = found["exposures"].assign(latency_ms=100.0).sort_values("occurred_at", ignore_index=True)
    found["engagement"] = found["engagement"].iloc[:0]
    return analyse(found, MARCH, freeze_id="f", as_of_us=LATER, metrics=PACK)


def test_what_the_new_version_does_not_send_is_asked_for_instead_of_days(freeze: Freeze) -> None:
    found = month(silent=True)
    e = row(found, "latency_p95")
    (fact,) = [fact for fact in e.facts if isinstance(fact, facts.ArmWithout)]
    assert (fact.of, fact.field, fact.version, fact.treated) == ("value", "latency_ms", "v2", 0)
    assert fact.control > 1_000
    assert e.verdict == "keep testing"
    made, _, text = page(freeze, found)
    assert "v2 sends no “latency_ms”: send it." in made.decisions[0].why
    assert "cannot be told" not in text
    assert re.search(r"[\d,]+ and 0 with a value: v2 sends no “latency_ms”", text)


def test_a_question_that_nobody_of_one_version_answered_has_its_row_and_its_sentence(freeze: Freeze) -> None:
    found = month(answered=False)
    e = row(found, "csat")
    assert isinstance(e.facts[0], facts.ArmWithout)
    assert e.facts[0].of == "answer"
    made, block, text = page(freeze, found)
    assert "csat" in {effect.metric for effect in block.effects}
    assert re.search(r"\d+ and 0 answers: nobody who met v2 answered", text)
    assert "Nobody who met v2 answered" in made.decisions[0].why


def test_a_few_answers_in_one_version_alone_say_nothing_of_who_is_asked() -> None:
    found = month()
    assert not any(isinstance(fact, facts.ArmWithout) for e in found.estimates for fact in e.facts)


@pytest.mark.parametrize("done", [False, True])
def test_what_is_only_asked_is_not_called_promoted(tmp_path: Path, done: bool) -> None:
    freeze = fixture.write(tmp_path / "f", {})
    e = clear("sold", 0.048, 0.129, se=0.0148, verdict="promote")
    metric = Metric("sold", "proportion", "share", "sold", 1, role="goal", headline=True)
    ruled = {"c": Ruled("promote", 6, (facts.Better(("sold",)),))}
    known: list[LedgerChange] = [change()]
    if done:
        known.append(change(change_id="all", kind="switch", stages=(Stage(1, fixture.at(3, 20)),)))
    found = reports.build(freeze, Analysis([change()], [e], [], [metric], rulings=ruled, known=known)).promoted
    assert ("The one change promoted in 2026 adds" in found) == done
    assert ("One change is asked to be promoted, and not promoted yet: it would add" in found) != done
