"""`edgeloop uplift` for people: what decides, of everybody, in a width that a terminal has."""

from __future__ import annotations

import math
import re
import sys

import pytest

from analysis import Analysis, LedgerChange, Stage
from edgeloop.app import estimates_table
from edgeloop.app.estimates_table import deciding, print_estimates
from edgeloop.store import facts
from edgeloop.store.facts import Ruled, Said
from edgeloop.store.rows import Estimate, GuardState


def row(
    metric: str, *, stage: int = 2, verdict: bool = True, guard: GuardState | None = None, **told: object
) -> Estimate:
    made = Estimate(
        freeze_id="f", month="2026-03", change_id="night-slots", model_id="m", to_version="2", metric=metric,
        metric_kind="proportion", unit="courier", stage=stage, grade="randomised", n_control=1_199, n_treated=1_238,
        control=0.0325311, treated=0.0315022, effect=-0.00102, decision_low=-0.0437, decision_high=0.123,
        decided_by="always_valid", verdict="promote" if verdict else None, guard=guard,
        role="goal" if guard is None else "guardrail", facts=(facts.Decided("unclear", "holds 0"),),
    )  # fmt: skip
    for name, value in told.items():
        setattr(made, name, value)
    return made


ROWS = [
    row("conversion"),
    row("conversion", stage=1, verdict=False),
    row("conversion", dimension="zone", segment="north", verdict=False),
    row("csat", facts=(Said("unweighted beside"),)),
    row("error_rate", guard="cleared"),
    row("over_budget", guard="open"),
    row("latency_p95", guard="breach", facts=(facts.Decided("worse", "above", lower_is_better=True),)),
]


def analysis() -> Analysis:
    change = LedgerChange(
        "night-slots", "m", "2", "1", "canary", True, (Stage(1, 0), Stage(2, 1)), 2, "Night slots", unit="courier"
    )
    return Analysis([change], ROWS, [], rulings={"night-slots": Ruled("promote", 6, (facts.Better(("conversion",)),))})


def test_by_default_the_stage_that_decides_and_everybody() -> None:
    assert [e.metric for e in deciding(ROWS)] == ["conversion", "error_rate", "over_budget", "latency_p95"]
    assert {(e.stage, e.dimension) for e in deciding(ROWS)} == {(2, "all")}


@pytest.mark.parametrize("width", [100, 160])
def test_a_terminal_has_stage_unit_interval_and_the_state_of_each_guardrail(
    width: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert print_estimates(analysis(), every=False) == 3
    lines = [line.rstrip() for line in re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out).splitlines()]
    assert lines[0] == "night-slots, stage 2, everybody, n are couriers: promote: better: conversion"
    assert max(map(len, lines)) <= width
    assert len(lines) == 6  # a head, the columns, and one line a metric: nothing is folded
    said = {line.split()[0]: line for line in lines[2:]}
    assert "-0.0437 to +0.123" in said["conversion"]
    assert said["error_rate"].endswith("cleared")
    assert said["over_budget"].endswith("open")
    assert said["latency_p95"].endswith("breached, worse")


def test_all_has_the_other_stages_and_segments(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert print_estimates(analysis(), every=True) == 0
    out = capsys.readouterr().out
    assert "night-slots, stage 1, everybody, n are couriers: shown on its own" in out
    assert "zone north" in out


def test_a_pipe_has_one_table_with_every_figure_in_a_cell_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    print_estimates(analysis(), every=False)
    names, *rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    first = dict(zip(names, rows[0], strict=True))
    assert (first["change"], first["stage"], first["unit"], first["verdict"]) == (
        "night-slots",
        "2",
        "couriers",
        "promote",
    )
    assert (first["n old"], first["decides from"], first["to"]) == ("1199", "-0.0437", "0.123")
    assert len(rows) == 4


@pytest.mark.parametrize(
    ("low", "high", "told"),
    [
        (0.1, 0.2, "+0.1 to +0.2"),
        (0.1, math.inf, "+0.1 or more"),
        (-math.inf, -0.1, "-0.1 or less"),
        (-math.inf, math.inf, "no end on either side"),
    ],
)
def test_an_end_that_does_not_exist_is_words(low: float, high: float, told: str) -> None:
    assert estimates_table._between(low, high) == told
    assert estimates_table._finite(math.inf) is None
