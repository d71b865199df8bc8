"""The short form of `benchmarks.verdicts`: some worlds through the real pipe, and proof that its checker complains."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from analysis.estimators import always_valid
from benchmarks.verdicts import events, hold, page, pipe, power, results, run
from benchmarks.verdicts.crowd import DESIGNS
from benchmarks.verdicts.figures import Latency, Money, Score, Share, level_for
from benchmarks.verdicts.page import table
from benchmarks.verdicts.power import Arm, Sample
from benchmarks.verdicts.truth import Truth, truths
from benchmarks.verdicts.worlds import World, draw

WORLDS = range(44)  # four of each design
HEALTHY = 55
"""A gain of twice the plan's size, declared, with a guardrail: promoted."""
ZONES = 7
"""Zones in two steps, with a sum and a p95."""


@pytest.fixture(scope="module")
def found() -> list[results.Outcome]:
    return [results.outcome(number) for number in WORLDS]


@pytest.fixture(scope="module")
def healthy() -> tuple[World, pipe.Told]:
    world = draw(HEALTHY)
    return world, pipe.told(world)


def test_no_world_ends_the_page_or_is_without_a_verdict(found: list[results.Outcome]) -> None:
    assert [c.what for o in found for c in o.contradictions if c.kind == "crash"] == []
    assert [o.number for o in found for v in o.versions if v.verdict is None] == []


def test_no_report_contradicts_itself(found: list[results.Outcome]) -> None:
    assert [(o.number, c.kind, c.what) for o in found for c in o.contradictions] == []


def test_total_failures_are_rolled_back(found: list[results.Outcome]) -> None:
    failed = [(o.number, v.verdict) for o in found for v in o.versions if v.truth.provable]
    assert len(failed) >= 3
    assert [f for f in failed if f[1] != "roll back"] == []


def test_nothing_that_harms_is_promoted(found: list[results.Outcome]) -> None:
    harmed = [(o.number, v.verdict) for o in found for v in o.versions if v.truth.beyond]
    assert len(harmed) >= 10
    assert [h for h in harmed if h[1] == "promote"] == []


def test_a_world_is_a_function_of_its_number() -> None:
    first, again = draw(7), draw(7)
    for name, frame in events.tables(first).items():
        assert frame.equals(events.tables(again)[name])
    assert first.effects == again.effects
    assert draw(18).crowd.told != first.crowd.told


def test_every_design_is_drawn() -> None:
    assert [draw(i).design for i in range(len(DESIGNS))] == [
        "declared", "labels only", "by courier", "ramp", "ramp, undeclared", "three arms", "staged by zone",
        "staged in steps", "switchback", "full switch", "canary then switch",
    ]  # fmt: skip


@pytest.mark.parametrize("kind", [
    Share(0.2), Money(0.3, 25.0, 2.0), Score(3.9, 1.0), Score(8.0, 2.0, nps=True), Latency(120.0, 0.4),
])  # fmt: skip
def test_figures_are_those_of_what_is_drawn(kind: Any) -> None:
    rng = np.random.default_rng(5)
    step = {Share: 0.1, Money: 2.0, Latency: 40.0}.get(type(kind), 0.4 if not getattr(kind, "nps", False) else 15.0)
    level = level_for(kind, step)
    assert level is not None
    for at in (kind.neutral, level):
        y = kind.draw(rng, np.full(400_000, at)).astype(float)
        seen = (
            np.quantile(y, 0.95)
            if isinstance(kind, Latency)
            else np.mean(kind.coded(y) if hasattr(kind, "coded") else y)
        )
        assert seen == pytest.approx(kind.figure(at), abs=5 * np.sqrt(kind.variance(at) / 400_000) + 1e-3)
    assert kind.figure(level) - kind.figure(kind.neutral) == pytest.approx(step, abs=1e-6)
    assert level_for(Share(0.9), 0.2) is None


def people(n: int, plan: int) -> Sample:
    none = np.zeros(0), np.zeros(0, dtype=np.int64)
    arms = Arm(none[0], n / 2, none[1], 0.0), Arm(none[0], n / 2, none[1], 0.0)
    return Sample(arms, None, n, plan, False, np.inf, (n // 2, n // 2))


def test_the_power_of_a_plan() -> None:
    """20 against 24 %, 1,680 an arm: 80 % (Fleiss 1981, eq. 3.14 without his correction)."""
    assert power.shown(people(3_360, 3_000), Share(0.2), (0.2, 0.24), 0.0, 0.0, tests=1, up=True) == pytest.approx(
        0.80, abs=0.01
    )
    waits = people(3_360, 5_000)
    low, high = always_valid.interval(0.0, 1.0, 3_360, 5_000)
    assert waits.half_width(1.0, 0.05) == pytest.approx(high)
    assert waits.half_width(1.0, 0.05) == pytest.approx(-low)
    assert waits.bound(1.0) == pytest.approx(always_valid.upper_bound(0.0, 1.0, 3_360, 5_000))


def test_the_power_to_clear_a_limit() -> None:
    sample = people(4_000, 4_000)
    clear = [
        power.cleared(sample, Share(0.05), (0.05, new), 0.0, 0.0, margin=0.03, up=False) for new in (0.05, 0.07, 0.09)
    ]
    assert clear[0] > 0.9
    assert clear == sorted(clear, reverse=True)
    assert clear[2] < 0.05
    few = people(200, 200)  # no mark among 100: the exact limit is 3 %
    assert power.cleared(few, Share(0.0), (0.0, 0.0), 0.0, 0.0, margin=0.031, up=False) == 1.0
    assert power.cleared(few, Share(0.0), (0.0, 0.0), 0.0, 0.0, margin=0.029, up=False) == 0.0


def test_what_is_true_follows_from_what_was_drawn() -> None:
    world = draw(HEALTHY)
    (truth,) = truths(world)
    assert (truth.gain, truth.null, truth.beyond, truth.failed, truth.fine) == (2, False, (), "", True)
    still = replace(world, metrics=tuple(replace(m, levels=(m.levels[0],) * 2) for m in world.metrics))
    assert truths(still)[0].null
    guard = next(m for m in world.metrics if m.role == "guardrail")
    assert guard.margin is not None
    for harm, beyond in ((0.9 * guard.margin, False), (1.1 * guard.margin, True)):
        level = level_for(guard.kind, harm)
        assert level is not None
        worse = tuple(replace(m, levels=(m.levels[0], level)) if m is guard else m for m in world.metrics)
        (told,) = truths(replace(world, metrics=worse))
        assert bool(told.beyond) == beyond
        assert told.gain == 0
    failing = tuple(replace(m, levels=(m.levels[0], 12.0)) if m is guard else m for m in world.metrics)
    assert truths(replace(world, metrics=failing))[0].provable


Doctor = Callable[[dict[str, Any]], None]
"""Changes a report: ``rows`` by metric, ``change``, ``effects`` by metric, ``decision``, ``record``, ``all`` rows."""


def _row(name: str, **values: Any) -> Doctor:
    return lambda told: told["rows"][name].update(values)


def _effect(name: str, **values: Any) -> Doctor:
    return lambda told: told["effects"][name].update(values)


def _decision(**values: Any) -> Doctor:
    return lambda told: told["decision"].update(values)


def _verdict(verdict: str) -> Doctor:
    def doctored(told: dict[str, Any]) -> None:
        for e in told["rows"].values():
            e["verdict"] = verdict
        for part in ("change", "decision", "span"):
            told[part]["verdict"] = verdict

    return doctored


def _both(*parts: Doctor) -> Doctor:
    def doctored(told: dict[str, Any]) -> None:
        for part in parts:
            part(told)

    return doctored


def _asked_again(told: dict[str, Any]) -> None:
    findings = told["record"]["findings"]
    for place, part in ((findings["changes"], "change"), (told["record"]["changes"], "span")):
        place.append({**told[part], "change_id": "c2", "verdict": "keep testing"})
    findings["decisions"].append(
        {**told["decision"], "change_id": "c2", "verdict": "keep testing", "action": "Hold back 5 %"}
    )


DOCTORED: dict[str, Doctor] = {
    "interval and p": _row("nps", decision_low=-1.0),
    "effect outside": _row("nps", effect_low=60.0),
    "SE and p": _row("nps", p=0.9, effect_low=-1.0),
    "levels and effect": _row("nps", treated=20.0),
    "direction": _effect("nps", direction="worse"),
    "verb": _effect("nps", words="lowered"),
    "two intervals": _decision(why="It lifted the promoter score by 51.7 points (range 10.0 to 12.0)."),
    "two verdicts": _decision(verdict="keep testing"),
    "promote without a gain": _effect("nps", direction="unclear"),
    "promote with an open limit": _effect("over_budget", guard="not yet shown to be within its limit"),
    "limit broken, no roll back": _effect("over_budget", guard="limit broken"),
    "limit kept beside harm": _row("over_budget", effect=0.2, treated=0.231, effect_high=0.3, decision_high=0.3),
    "limit broken beside none": _effect("over_budget", guard="limit broken"),
    "limit of no guardrail": _effect("nps", guard="limit broken"),
    "roll back without a cause": _verdict("roll back"),
    "limit broken, row silent": _both(_verdict("roll back"), _decision(why="It broke the limit of “over budget”.")),
    "stop of what may matter": _verdict("stop, no effect"),
    "stop of what is not known": _both(_verdict("stop, no effect"), _row("nps", decided_by=None)),
    "ranges include no change": _decision(sure="Not clear: the ranges include no change"),
    "no clear change": lambda told: told["change"].update(summary="No clear change in anything that was measured."),
    "endless number": _row("nps", reason="better; " + "9" * 60 + " possible assignments"),
    "p below a floor": _row("over_budget", decided_by=None, p=0.001, reason="not enough data: 3 and 4 people"),
    "not on the page": _decision(why="Nobody wrote this."),
    "asked twice": _asked_again,
}  # fmt: skip


def doctored(told: pipe.Told, doctor: Doctor | None) -> pipe.Told:
    """A copy of a report, changed."""
    made = copy.deepcopy(told)
    findings = made.record["findings"]
    rows: dict[str, Any] = {}
    for e in made.estimates:
        if e["dimension"] == "all" and (e["metric"] not in rows or e["decision_low"] is not None):
            rows[e["metric"]] = e
    parts = {
        "record": made.record, "change": findings["changes"][0], "decision": findings["decisions"][0],
        "span": made.record["changes"][0], "effects": {e["metric"]: e for e in findings["changes"][0]["effects"]},
        "rows": rows,
    }  # fmt: skip
    if doctor is not None:
        doctor(parts)
    return made


def test_the_healthy_report_is_told_nothing(healthy: tuple[World, pipe.Told]) -> None:
    world, told = healthy
    assert hold.contradictions(world, doctored(told, None)) == []


@pytest.mark.parametrize("kind", DOCTORED)
def test_a_doctored_report_is_told_so(kind: str, healthy: tuple[World, pipe.Told]) -> None:
    world, told = healthy
    assert kind in {c.kind for c in hold.contradictions(world, doctored(told, DOCTORED[kind]))}


@pytest.mark.parametrize(("name", "doctor"), [
    ("spend", _row("spend", treated_before=0.0)),
    ("latency_p95", _row("latency_p95", effect=9.0)),
    ("latency_p95", _effect("latency_p95", notes=[])),
])  # fmt: skip
def test_a_difference_of_differences_is_held_to_the_figures_before(name: str, doctor: Doctor) -> None:
    """By zone: what a row shows of before and after makes its effect, of a p95 the shares that it names."""
    world = draw(ZONES)
    told = pipe.told(world)
    assert hold.contradictions(world, told) == []
    found = [c for c in hold.contradictions(world, doctored(told, doctor)) if c.kind == "levels and effect"]
    assert [c.what.partition(":")[0] for c in found] == [name]


def test_who_was_assigned_is_held_to_the_design(healthy: tuple[World, pipe.Told]) -> None:
    world, told = healthy
    by_courier = replace(world, crowd=replace(world.crowd, cluster="courier"))
    assert "wrong people" in {c.kind for c in hold.contradictions(by_courier, told)}
    undeclared = replace(world, crowd=replace(world.crowd, declared=()))
    assert "at random of what nobody declared" in {c.kind for c in hold.contradictions(undeclared, told)}


def test_rates_that_miss_are_marked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of ten who fail nine are rolled back, one of ten without an effect and one of ten that harm are promoted."""
    monkeypatch.setattr(page, "WHY", {"failure": "one fails.", "null_down": "none is."})

    def of(i: int, verdict: str, **true: Any) -> results.Outcome:
        known: dict[str, Any] = {
            "version": 1, "to_version": "v2", "null": False, "beyond": (), "failed": "", "provable": False, "gain": 0,
            "promised": 0.0, "fine": True, "below": False, "lost": False,
        }  # fmt: skip
        return results.Outcome(i, "declared", (results.Version(Truth(**known | true), verdict),), (), 0.1)

    failing = [of(i, "roll back" if i else "keep testing", failed="error_rate", provable=True) for i in range(10)]
    still = [of(10 + i, "keep testing" if i else "promote", null=True) for i in range(10)]
    rate = {r.key: r for r in results.RATES}
    failure = results.measured(rate["failure"], failing)
    assert failure is not None
    assert (failure.y, failure.n, failure.worlds) == (9, 10, (0,))
    harming = [of(20 + i, "keep testing" if i else "promote", beyond=("error_rate",)) for i in range(10)]
    made = run.Run.of([*failing, *still, *harming], "a commit")
    assert [line.partition(":")[0] for line in made.missed()] == [
        "harm beyond a margin", "nothing differs", "total failure", "harm beyond a margin",
    ]  # fmt: skip
    lines = {line.split(" | ")[0]: line for line in table(made).splitlines()}
    assert lines["| declared"].startswith("| declared | **1 of 10** | 1 of 10 | 0 of 10 | 9 of 10 |")
    assert "*total failure: rolled back*: one fails." in lines
    assert not any("none is." in line for line in lines)
    assert lines["| total failure: rolled back"].endswith("**misses** |")
    assert lines["| nothing differs: rolled back"].endswith("yes |")
    assert results.measured(rate["gain"], failing) is None


def test_a_run_is_read_as_it_was_written(tmp_path: Any) -> None:
    made = run.Run.of([results.outcome(HEALTHY)], "a commit", "a label")
    run.append(made, tmp_path / "runs")
    assert run.runs(tmp_path / "runs") == [made]
