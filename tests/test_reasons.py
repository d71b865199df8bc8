"""What analysis states as facts, the report says in its language: every kind of fact, and the rows of real months."""

from __future__ import annotations

import inspect
import math
from pathlib import Path
from typing import get_args

import pytest

from analysis import Analysis, LedgerChange, Stage
from analysis.verdict import Case, Goal, rule
from edgeloop.store import facts
from edgeloop.store.facts import AnyFact, Few, GuardState, Ruled, Said
from edgeloop.store.rows import Estimate
from reports import language, reasons
from reports.gathered import ChangeRows, gather
from tests import report_months
from tests.report_fixture import analysed


@pytest.fixture(scope="module")
def months(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Analysis]:
    folder = tmp_path_factory.mktemp("reasons")
    return {name: analysed(make(folder / name)) for name, make in report_months.MONTHS.items()}


@pytest.fixture
def bracketed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A language of brackets, in which what is not translated stays bare."""

    class Bracketed(dict[tuple[str, ...], tuple[str, ...]]):
        def get(self, key: tuple[str, ...], default: object = None) -> tuple[str, ...]:
            return tuple(f"⟦{text}⟧" for text in key)

    monkeypatch.setattr(language, "_catalogue", lambda _: Bracketed())


def rows(months: dict[str, Analysis]) -> list[Estimate]:
    return [e for analysis in months.values() for e in analysis.estimates if e.dimension == "all"]


@pytest.mark.usefixtures("bracketed")
def test_every_floor_is_said_in_the_reports_language(months: dict[str, Analysis]) -> None:
    early = [e for e in rows(months) if (e.reason or "").startswith(("not enough data", "repair the data first"))]
    assert len(early) > 50
    assert [e.reason for e in early if not reasons.floor(e).startswith("⟦")] == []


@pytest.mark.usefixtures("bracketed")
@pytest.mark.parametrize("what", ["chosen", "mixed", "no stable arm", "not begun", "not drawn", "unlabelled arms"])
def test_every_refusal_has_its_sentence(what: facts.What) -> None:
    assert reasons.said(Said(what)).startswith("⟦")


@pytest.mark.parametrize(("fact", "guard", "early"), [
    (Few("event", 3, 4, 25, 150), None, True),
    (Few("event", 3, 4, 25, 150), "open", True),
    (facts.FewDays(4, 7), None, True),
    (Few("event", 0, 40, 25, 150), "breach", False),  # told without a range: not too early
    (Few("event", 3, 4, 25, 150), "cleared", False),
    (facts.FewDraws(6, 20), None, False),  # waiting adds no zones
    (facts.FewDaysBefore(20, 56, 30), None, False),  # nor days before a switch
])  # fmt: skip
def test_too_early_is_said_where_waiting_helps(fact: AnyFact, guard: GuardState | None, early: bool) -> None:
    row = Estimate(
        freeze_id="f", month="2026-03", change_id="c", model_id="m", to_version="2", metric="liked",
        metric_kind="proportion", unit="subject", grade="randomised", guard=guard, facts=(fact,),
    )  # fmt: skip
    change = LedgerChange(
        change_id="c", model_id="m", to_version="2", from_version="1", kind="canary", declared=True,
        stages=(Stage(1, 0),), last_us=0, title="c",
    )  # fmt: skip
    for ruled, rests_on_it in (
        (Ruled("keep testing", 3, (fact,)), False),
        (Ruled("roll back", 1, (facts.Worse(("liked",), ("liked",)),)), True),
        (Ruled("roll back", 1, (facts.Worse(("other",)),)), False),
    ):
        (own,) = gather([change], [row], (), {}, rulings={"c": ruled})
        told = reasons.early(own, row)
        assert told.endswith(reasons.floor(row))
        assert told.startswith("too early to tell: ") == (early and not rests_on_it)


@pytest.mark.usefixtures("bracketed")
@pytest.mark.parametrize("of", get_args(facts.FewOf))
def test_every_kind_of_floor_has_its_sentence(of: facts.FewOf) -> None:
    assert reasons.said(Few(of, 3, 4, 25, 150)).startswith("⟦")


def test_the_reason_is_the_english_of_the_facts(months: dict[str, Analysis]) -> None:
    for e in rows(months):
        assert e.facts
        assert e.reason == facts.english(e.facts)
        assert facts.decoded(facts.encoded(e.facts)) == e.facts


def test_every_kind_of_fact_has_english_and_comes_back_from_json() -> None:
    made = {
        "str": "x", "int": 2, "float": 0.25, "bool": True, "int | None": 2, "float | None": 0.25, "str | None": "x",
        "tuple[str, ...]": ("a", "b"), "tuple[AnyFact, ...]": (Said("chosen"),), "Verdict": "promote",
        "tuple[tuple[str, int, float], ...]": (("a", 1, 0.5),),
        "GuardState": "open", "Direction": "better", "What": "chosen", "FewOf": "answer",
    }  # fmt: skip
    for kind in get_args(AnyFact):
        fields = {n: made[a] if a in made else first_of(kind, n) for n, a in annotations(kind).items()}
        fact = kind(**fields)
        assert fact.english
        assert not fact.english.endswith(".")
        assert facts.decoded(facts.encoded([fact])) == (fact,)


def annotations(kind: type[facts.Fact]) -> dict[str, str]:
    """Of the fields; what a kind of fact has for all of them is none."""
    known = {name: str(text) for base in reversed(kind.__mro__) for name, text in inspect.get_annotations(base).items()}
    return {name: known[name] for name in kind.__struct_fields__}


def first_of(kind: type[facts.Fact], name: str) -> object:
    text = annotations(kind)[name]
    assert text.startswith("Literal["), f"{kind.__name__}.{name}: {text} is not made here"
    return text.removeprefix("Literal[").split(",")[0].strip(chr(34) + chr(39) + "]")


def test_a_number_beyond_all_use_is_its_order_of_magnitude() -> None:
    assert facts.Draws(math.comb(1_000, 500), "zones").english == "more than 10^18 possible assignments of zones"
    assert facts.Draws(792, "zones").english == "792 possible assignments of zones"


def test_guardrails_are_told_by_their_rows(months: dict[str, Analysis]) -> None:
    guarded = [
        e for analysis in months.values() for e in analysis.estimates
        if e.dimension == "all" and e.metric in ("error_rate", "over_budget", "latency_p95")
    ]  # fmt: skip
    assert {e.guard for e in guarded} >= {"cleared", "open"}
    for e in guarded:
        found = reasons.of(e, facts.Guardrail)
        assert (found.state if found else None) == e.guard


def test_weights_bounds_and_tipping_points_are_those_of_the_rows(months: dict[str, Analysis]) -> None:
    found = 0
    for analysis in months.values():
        for e in analysis.estimates:
            if e.estimator != "weighted":
                continue
            plain = next(
                o for o in analysis.estimates
                if (o.change_id, o.metric, o.stage, o.estimator, o.dimension)
                == (e.change_id, e.metric, e.stage, "ratio", "all")
            )  # fmt: skip
            assert plain.effect is not None
            assert e.effect is not None
            assert reasons.unweighted(e) == plain.effect
            silent = reasons.of(e, facts.Silent)
            assert silent is not None
            assert silent.low <= silent.high
            assert silent.tips is not None
            assert e.response_treated is not None
            assert silent.tips == pytest.approx(e.effect / (1 - e.response_treated))
            found += 1
    assert found >= 4


def test_the_ruling_is_a_sentence_and_belongs_to_the_change(months: dict[str, Analysis]) -> None:
    told = set()
    for analysis in months.values():
        for change in analysis.changes:
            ruled = analysis.rulings[change.change_id]
            told.add(reasons.ruling(of_change(analysis, change.change_id)))
            verdicts = {e.verdict for e in analysis.estimates if e.change_id == change.change_id and e.verdict}
            assert verdicts == {ruled.verdict}
    assert any("full days have complete windows" in text for text in told)
    assert any(
        "limit is not shown yet" in text
        or "limits is not shown yet" in text
        or "is shown, and none is ruled out" in text
        for text in told
    ), told
    assert all(text == "" or text.endswith(".") for text in told)


def test_a_roll_back_for_rare_events_says_so() -> None:
    worse = Goal("complaint", -math.inf, -math.ulp(0.0), True, floor=Few("event", 1, 20, 25, 150), practical=0.01)
    own = ruled_as(rule(Case(goals=[worse], full_days=20)))
    assert reasons.ruling(own).startswith("It made “complaint” worse")
    assert reasons.rolled_back_by(ruled_as(Ruled("roll back", 1, (facts.Breached(("error_rate",)),)))) == (
        "guardrail", ("error_rate",),
    )  # fmt: skip


def of_change(analysis: Analysis, change_id: str) -> ChangeRows:
    """The change's rows as the report gathers them."""
    own = gather(analysis.changes, analysis.estimates, (), {}, analysis.metrics, (), analysis.rulings)
    return next(c for c in own if c.change.change_id == change_id)


def ruled_as(ruled: Ruled) -> ChangeRows:
    """A change of which nothing is known but its ruling."""
    change = LedgerChange("c", "m", "2", "1", "canary", True, (Stage(1, 0),), 1, "Change")
    return ChangeRows(change, (), (), (), {}, ruling=ruled)


def test_the_folder_of_a_month_is_no_part_of_it(tmp_path: Path) -> None:
    one, other = (analysed(report_months.MONTHS["first month"](tmp_path / name)) for name in ("a", "b"))
    assert one.estimates == other.estimates
