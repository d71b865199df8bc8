"""How far answers got: an independent count, answer by answer, and what the section says of months of every kind."""

from __future__ import annotations

from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import numpy as np
import pandas as pd
import pytest

import reports
from analysis import Analysis, analyse
from edgeloop.clock import DAY_US
from edgeloop.metrics import PACK, MetricSettings
from edgeloop.store.freeze import FeedbackUse
from reports import asking, feedback
from reports.findings import UseRow
from tests import report_fixture as fixture
from tests.frames import MARCH, at, frames

AS_OF = at(40)
WINDOW_H = 240.0
METRICS = {
    "conversion": MetricSettings(role="goal", headline=True, event="order_placed"),
    "csat": MetricSettings(
        role="goal", source="answers", event="delivery/csat", kind="mean", window_h=WINDOW_H, practical_size=0.1
    ),
    "odd": MetricSettings(
        role="watch", source="answers", event="delivery/how was it / today?", kind="mean", window_h=WINDOW_H
    ),
}
QUESTIONS = ("csat", "how was it / today?", "why", "nps")


@cache
def company(seed: int, *, customers: int = 900) -> dict[str, pd.DataFrame]:
    """Two canaries with a holdout; answers of every kind, some asked twice, some before, late, or of nobody known."""
    rng = np.random.default_rng(seed)
    x: list[dict[str, Any]] = []
    answers: list[dict[str, Any]] = []
    changes: list[dict[str, Any]] = []
    for model in ("card", "slot"):
        start = at(float(rng.integers(0, 6)))
        ended = at(float(rng.integers(20, 45))) if rng.random() < 0.5 else None
        changes.append(
            {
                "change_id": f"{model}\n2", "model_id": model, "from_version": "1", "to_version": "2", "kind": "canary",
                "title": model, "rollout_id": f"{model}-2", "unit": "subject", "assignment": "random",
                "occurred_at": start, "received_at": start, "ended_at": ended,
            }
        )  # fmt: skip
        for person in range(customers):
            arm = ("stable", "canary", "holdout")[int(rng.choice(3, p=[0.48, 0.47, 0.05]))]
            for _ in range(int(rng.integers(0, 5))):
                when = int(rng.integers(at(-20), at(31)))
                if rng.random() < 0.005:  # meets another arm on another day
                    arm = "stable"
                x.append(
                    {
                        "exposure_id": f"{model}-{person}-{len(x)}", "subject": f"c{person}",
                        "courier": f"k{person % 9}", "model_id": model,
                        "model_version": "2" if arm == "canary" and when >= start else "1",
                        "arm": arm if when >= start else "stable",
                        "rollout_id": f"{model}-2" if when >= start else None,
                        "occurred_at": when, "received_at": when, "latency_ms": 100.0,
                        "error": "timeout" if rng.random() < 0.05 else None,
                    }
                )  # fmt: skip
    for i in range(customers * 3):
        agent = rng.random() < 0.1
        person = f"k{rng.integers(0, 9)}" if agent else f"c{rng.integers(0, customers + 40)}"
        when = int(rng.integers(at(-10), at(45)))
        response = f"zigpoll:{i % 997}"  # the same id of two people is two responses
        asked = [str(q) for q in rng.choice(QUESTIONS, size=int(rng.integers(1, 4)))]
        for position, question in enumerate(asked):
            kind = {"why": "text", "nps": "nps"}.get(question, "csat")
            if kind == "csat" and rng.random() < 0.05:
                kind = "number"  # not the question's main kind
            value = None if kind == "text" or rng.random() < 0.03 else float(rng.integers(0, 11) if kind == "nps" else
                                                                             rng.integers(1, 6))  # fmt: skip
            answers.append(
                {
                    "response_id": response, "subject": person, "respondent": "agent" if agent else "customer",
                    "survey_id": "delivery", "source": ("typeform", "zigpoll")[i % 2], "occurred_at": when,
                    "position": position, "question": question, "kind": kind, "value": value, "low": 1.0, "high": 5.0,
                }
            )  # fmt: skip
    answers.sort(key=lambda a: (a["occurred_at"], a["response_id"], a["subject"], a["position"]))
    tables = frames(exposures=x, answers=answers, changes=changes)
    tables["attributions"] = attributed(x, answers)
    return tables


def attributed(x: list[dict[str, Any]], answers: list[dict[str, Any]]) -> pd.DataFrame:
    """Last touch within 14 days on each model; a row without a model where nothing matches."""
    met: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for e in x:
        if e["arm"] != "holdout" and e["error"] is None:
            for key in (e["subject"], e["courier"]):
                met.setdefault((key, e["model_id"]), []).append(e)
    rows = []
    for a, name in zip(answers, names_of(answers), strict=True):
        found = []
        for model in ("card", "slot"):
            near = [
                e for e in met.get((a["subject"], model), ())
                if a["occurred_at"] - 14 * DAY_US <= e["occurred_at"] <= a["occurred_at"]
            ]  # fmt: skip
            if near:
                found.append(max(near, key=lambda e: (e["occurred_at"], e["exposure_id"])))
        shared = {
            "outcome_id": name, "outcome_type": "answer", "outcome_name": f"delivery/{a['question']}",
            "subject": a["subject"], "respondent": a["respondent"], "occurred_at": a["occurred_at"],
            "value": a["value"],
        }  # fmt: skip
        rows += [{**shared, "model_id": e["model_id"], "exposure_id": e["exposure_id"], "credit": 1.0} for e in found]
        if not found:
            rows.append({**shared, "model_id": "", "exposure_id": "", "credit": 0.0})
    return pd.DataFrame(rows)


def names_of(answers: list[dict[str, Any]]) -> list[str]:
    """The outcome id of each answer, as the contract has it."""
    times: Counter[tuple[str, str, str]] = Counter()
    names = []
    for a in answers:
        key = (a["subject"], a["response_id"], a["question"])
        times[key] += 1
        again = f"#{times[key]}" if times[key] > 1 else ""
        names.append(f"a:{a['response_id']}/{quote(a['question'], safe='')}{again}")
    return names


def by_hand(tables: dict[str, pd.DataFrame], analysis: Analysis) -> dict[tuple[str, ...], list[int]]:
    """(side, source, question) → [collected, joined, counted, named], from docs/meaning.md, one answer at a time."""
    answers = tables["answers"].astype(object).where(tables["answers"].notna(), None).to_dict("records")
    exposures = tables["exposures"].astype(object).where(tables["exposures"].notna(), None).to_dict("records")
    tied = {
        (r["subject"], r["outcome_id"]) for r in tables["attributions"].to_dict("records") if r["model_id"] != ""
    }  # fmt: skip
    kinds: dict[str, Counter[str]] = {}
    people = {e["subject"] for e in exposures}
    for a in answers:
        if a["respondent"] == "customer" and a["value"] is not None and a["subject"] in people:
            kinds.setdefault(a["question"], Counter())[a["kind"]] += 1
    figures = []  # (answers inside, whether a decision names them)
    for change in tables["changes"].to_dict("records"):
        start, ended = change["occurred_at"], change["ended_at"]
        end = int(ended) if pd.notna(ended) else None
        until = min(v for v in (end, MARCH.end_us, AS_OF + 1) if v is not None)
        first: dict[str, dict[str, Any]] = {}
        for e in exposures:
            if e["rollout_id"] == change["rollout_id"] and start <= e["occurred_at"] < until:
                there = first.get(e["subject"])
                if there is None or (e["occurred_at"], e["exposure_id"]) < (there["occurred_at"], there["exposure_id"]):
                    first[e["subject"]] = e
        closes = min(v for v in (end, AS_OF) if v is not None)
        for metric in analysis.metrics:
            if metric.source != "answer" or metric.respondent != "customer":
                continue
            inside: dict[str, set[int]] = {"stable": set(), "canary": set()}
            for i, a in enumerate(answers):
                entry = first.get(a["subject"])
                if f"{a['survey_id']}/{a['question']}" != metric.key or a["respondent"] != "customer" or entry is None:
                    continue
                if a["value"] is None or a["kind"] != kinds[a["question"]].most_common(1)[0][0]:
                    continue
                window = metric.window_us
                if (
                    entry["arm"] in inside
                    and 0 <= a["occurred_at"] - entry["occurred_at"] <= window
                    and entry["occurred_at"] + window <= closes
                ):
                    inside[entry["arm"]].add(i)
            if not all(inside.values()):
                continue
            rows = [
                e for e in analysis.estimates
                if (e.change_id, e.metric, e.dimension) == (change["change_id"], metric.name, "all") and e.decided_by
            ]  # fmt: skip
            weighed = any(e.verdict not in (None, "repair the data first") for e in rows)
            figures.append((inside["stable"] | inside["canary"], weighed and metric.role != "watch"))
    counts: dict[tuple[str, ...], list[int]] = {}
    for i, (a, name) in enumerate(zip(answers, names_of(answers), strict=True)):
        if not MARCH.start_us <= a["occurred_at"] < MARCH.end_us:
            continue
        steps = counts.setdefault((a["respondent"], a["source"], a["question"]), [0, 0, 0, 0])
        steps[0] += 1
        if (a["subject"], name) in tied:
            steps[1] += 1
            steps[2] += any(i in rows for rows, _ in figures)
            steps[3] += any(i in rows and named for rows, named in figures)
    return counts


def run(tables: dict[str, pd.DataFrame]) -> tuple[Analysis, tuple[FeedbackUse, ...]]:
    analysis = analyse(tables, MARCH, freeze_id="2026-03-0", as_of_us=AS_OF, metrics=METRICS)
    return analysis, feedback.uses(tables["answers"], tables["attributions"], analysis, MARCH, "2026-03-0")


@pytest.mark.parametrize("seed", range(6))
def test_every_step_is_what_an_independent_count_finds(seed: int) -> None:
    tables = company(seed)
    analysis, found = run(tables)
    counts: dict[tuple[str, ...], list[int]] = {}
    for use in found:
        steps = counts.setdefault((use.respondent, use.source, use.question), [0, 0, 0, 0])
        for i, step in enumerate(("collected", "joined", "counted", "named")):
            steps[i] += getattr(use, step)
    assert counts == by_hand(tables, analysis)
    total = [sum(steps[i] for steps in counts.values()) for i in range(4)]
    assert total == sorted(total, reverse=True)
    assert 0 < total[2] < total[1] < total[0]
    assert all(use.collected >= use.joined >= use.counted >= use.named for use in found)
    assert all(use.collected == use.named for use in found if use.changes)


def test_the_seeds_hold_answers_that_a_decision_names_and_others() -> None:
    """Else the count above could not tell a step that is always empty from one that is right."""
    named = [sum(use.named for use in run(company(seed))[1]) for seed in range(3)]
    assert max(named) > 0


def test_an_answer_behind_two_decisions_is_acted_on_once() -> None:
    use = FeedbackUse(
        freeze_id="2026-02-a", month="2026-02", respondent="customer", source="typeform", survey_id="s", question="q",
        changes=("a", "b"), collected=10, joined=10, counted=10, named=10,
    )  # fmt: skip
    other = msgspec.structs.replace(use, changes=("b",), collected=4, joined=4, counted=4, named=4)
    nobody = msgspec.structs.replace(use, changes=(), named=0)
    both = [use, other, nobody]
    actions = pd.DataFrame(
        [
            ("2026-02", "a", "done"),
            ("2026-02", "b", "accepted"),
            ("2026-01", "b", "done"),
        ],
        columns=["month", "change_id", "state"],
    )
    assert feedback.acted(both, feedback.done_actions(actions)) == 10
    actions.loc[1, "state"] = "done"
    assert feedback.acted(both, feedback.done_actions(actions)) == 14
    actions["state"] = "dropped"
    assert feedback.acted(both, feedback.done_actions(actions)) == 0
    assert feedback.acted(both, feedback.done_actions(None)) is None


@pytest.fixture(scope="module")
def month(tmp_path_factory: pytest.TempPathFactory) -> Any:
    freeze = fixture.write(tmp_path_factory.mktemp("feedback") / "2026-03", fixture.frames())
    analysis = fixture.analysed(freeze)
    return freeze, analysis, reports.build(freeze, analysis)


def test_sums_agree_over_every_way_to_part_them(month: Any) -> None:
    found = month[2].feedback

    def sums(rows: tuple[UseRow, ...]) -> list[int]:
        return [sum(getattr(r, step) for r in rows) for step in ("collected", "joined", "counted", "named")]

    assert sums(found.sides) == sums(found.sources) == sums(found.questions)
    assert "Of 1,815 answers" in found.headline
    in_strip = next(i for i in month[2].strip if i.name == "Answers used")
    assert in_strip.this == f"{sums(found.sides)[3]:,} of {sums(found.sides)[0]:,}"


def test_last_month_is_told_as_its_report_counted_it(tmp_path: Path, month: Any) -> None:
    use = FeedbackUse(
        freeze_id="2026-02-a", month="2026-02", respondent="customer", source="zigpoll", survey_id="s", question="q",
        changes=("promo-card-2.1",), collected=640, joined=600, counted=500, named=500,
    )  # fmt: skip
    freeze, analysis, _ = month
    freeze.manifest, before = msgspec.structs.replace(freeze.manifest, reported=(use,)), freeze.manifest
    try:
        found = reports.build(freeze, analysis).feedback
    finally:
        freeze.manifest = before
    assert [r.named for r in found.last] == [500]
    assert "500" in found.last_summary
    assert "February 2026" in found.last_summary


def test_a_month_with_nothing_says_so(tmp_path: Path) -> None:
    freeze = fixture.write(tmp_path / "empty", {})
    found = reports.build(freeze, fixture.analysed(freeze)).feedback
    assert found.headline == "No answers were collected this month."
    assert (found.sources, found.questions, found.unused, found.last) == ((), (), (), ())


def test_every_unused_question_has_its_reason(month: Any) -> None:
    why = {(u.label, u.of): (u.why, u.mend) for u in month[2].feedback.unused}
    assert "Words and choices only" in why["Why (delivery survey)", "Customers"][0]
    assert not why["Why (delivery survey)", "Customers"][1]
    assert "not delivery agents" in why["Satisfaction (courier pulse survey)", "Delivery agents"][0]
    assert ("Satisfaction (delivery survey)", "Customers") not in why


def test_a_question_that_nobody_answered_any_more_is_told(tmp_path: Path) -> None:
    tables = fixture.frames()
    answers = tables["answers"]
    gone = (answers["respondent"] == "agent").to_numpy()
    answers.loc[gone, "occurred_at"] = fixture.at(2, 10)
    tables["answers"] = answers.sort_values(["occurred_at", "response_id", "position"], ignore_index=True)
    freeze = fixture.write(tmp_path / "gone", tables)
    found = reports.build(freeze, fixture.analysed(freeze)).feedback
    told = next(u for u in found.unused if u.label == "Satisfaction (courier pulse survey)")
    assert (told.n, told.why) == (0, "Nobody answered it this month; 60 did the month before.")
    rules = {a.rule for a in found.asks}
    assert "response rate" in rules or "not asked" in rules


def test_what_is_worth_asking_follows_from_the_data(tmp_path: Path) -> None:
    """Two goals without a question, too few answers for a decision, agents who were not asked, a response that fell."""
    tables = fixture.frames()
    answers = tables["answers"]
    late = answers["occurred_at"] >= fixture.at(3, 1)
    customers = answers[(answers["respondent"] == "customer") & (~late | (answers.index % 40 == 0))]
    tables["answers"] = customers.reset_index(drop=True)
    a = tables["attributions"]
    tables["attributions"] = a[a["respondent"] == "customer"]
    freeze = fixture.write(tmp_path / "few", tables)
    freeze.manifest = msgspec.structs.replace(freeze.manifest, metrics={**PACK})
    found = reports.build(freeze, fixture.analysed(freeze)).feedback
    by_rule: dict[str, list[str]] = {}
    for ask in found.asks:
        by_rule.setdefault(ask.rule, []).append(ask.what)
    assert by_rule["no question"] == [
        "Ask customers a question that measures “promoter score”.",
        "Ask delivery agents a question that measures “agent rating”.",
    ]
    assert by_rule["not asked"] == [
        "Ask delivery agents about eta-promise, promo-card and rebook-prompt, which they carry."
    ]
    assert by_rule["response rate"] == ["Ask customers shorter, or at another moment: fewer answer."]
    assert list(by_rule) == [rule for rule in ("blocked", "no question", "theme", "response rate", "not asked")
                             if rule in by_rule]  # fmt: skip


def test_more_than_chance() -> None:
    assert asking.higher((300, 1000), (200, 1000))
    assert not asking.higher((21, 100), (20, 100))
    assert not asking.higher((200, 1000), (300, 1000))
    assert not asking.higher((5, 5), (0, 0))


def test_within_a_month_nobody_counts_before_or_after_it() -> None:
    tables = company(2, customers=200)
    inside = tables["answers"]["occurred_at"].between(MARCH.start_us, MARCH.end_us - 1).sum()
    assert sum(use.collected for use in run(tables)[1]) == inside
