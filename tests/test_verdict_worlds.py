"""Verdicts where real rollouts are: each world is a fault that was once promoted, stopped or left open."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis import Analysis, analyse
from edgeloop.clock import DAY_US
from edgeloop.metrics import MetricSettings
from edgeloop.store import facts
from edgeloop.store.rows import Estimate
from tests.frames import LATER, MARCH, World, at, together, trial

GOAL = {"rebooked": MetricSettings(role="goal", headline=True, event="rebooked")}
ERRORS = {
    "error_rate": MetricSettings(
        role="guardrail", source="exposures", event="error", kind="ratio", direction="down", margin=0.005
    )
}
BUDGET = {
    "over_budget": MetricSettings(
        role="guardrail", source="exposures", event="latency_ms", kind="ratio", threshold=300.0, direction="down",
        margin=0.01,
    )
}  # fmt: skip
COMPLAINTS = {"complaints": MetricSettings(role="guardrail", event="complaint", direction="down", margin=0.01)}


def run(tables: Mapping[str, pd.DataFrame], metrics: Mapping[str, MetricSettings], **more: Any) -> Analysis:
    return analyse(tables, MARCH, freeze_id="freeze", as_of_us=LATER, metrics=metrics, **more)


def row(found: Analysis, metric: str) -> Estimate:
    return next(e for e in found.estimates if e.metric == metric and e.dimension == "all" and e.verdict is not None)


def drawn(
    *, n: tuple[int, int], goal: tuple[float, float], errors: tuple[float, float] = (0.0, 0.0), seed: int = 3,
    complaints: tuple[float, float] = (0.0, 0.0), **change: Any,
) -> dict[str, pd.DataFrame]:  # fmt: skip
    """A declared canary of so many people an arm; errors of requests, complaints of people."""
    rng = np.random.default_rng(seed)
    tables = trial(seed, n=sum(n), share=n[1] / sum(n), event=(0.0, 0.0))
    exposures = tables["exposures"]
    new = np.zeros(sum(n), dtype=bool)
    new[rng.permutation(sum(n))[: n[1]]] = True
    of = dict(zip(exposures["subject"].unique(), new, strict=True))
    late = exposures["subject"].map(of).to_numpy(dtype=bool)
    exposures["arm"] = np.where(late, "canary", "stable")
    exposures["model_version"] = np.where(late, "v2", "v1")
    failed = rng.random(len(exposures)) < np.where(late, errors[1], errors[0])
    exposures["error"] = np.where(failed, "timeout", None)
    first = exposures.drop_duplicates("subject")
    events = []
    for name, rates in (("rebooked", goal), ("complaint", complaints)):
        did = rng.random(len(first)) < np.where(first["subject"].map(of), rates[1], rates[0])
        events.append(
            pd.DataFrame(
                {"event_id": name + first.loc[did, "subject"], "subject": first.loc[did, "subject"], "name": name,
                 "occurred_at": first.loc[did, "occurred_at"] + 60_000_000, "anonymous": 0}
            )
        )  # fmt: skip
    tables["engagement"] = pd.concat(events).reindex(columns=tables["engagement"].columns)
    world = World()
    share = n[1] / sum(n)
    world.declare(**{"allocation": {"v1": 1 - share, "v2": share}, "assignment": "random"} | change)
    return together(tables, world.tables())


class TestManyAgainstNone:
    """Row 2: a guardrail could not be breached where the old arm was healthy."""

    @pytest.mark.parametrize(
        ("n", "errors"),
        [((1_500, 500), (0.0, 1.0)), ((1_500, 500), (0.0, 0.2)), ((1_000, 20), (0.0, 1.0)), ((500, 500), (0.002, 0.5))],
    )
    def test_a_version_that_fails_is_rolled_back(self, n: tuple[int, int], errors: tuple[float, float]) -> None:
        found = run(drawn(n=n, goal=(0.3, 0.3), errors=errors), GOAL | ERRORS)
        assert found.rulings["c0"].verdict == "roll back"
        assert found.rulings["c0"].because == (facts.Breached(("error_rate",)),)
        assert row(found, "error_rate").guard == "breach"

    def test_the_ruling_stands_without_the_headlines_row(self) -> None:
        found = run(drawn(n=(1_500, 500), goal=(0.0, 0.0), errors=(0.0, 0.1)), GOAL | ERRORS)
        assert found.rulings["c0"].verdict == "roll back"

    def test_a_gain_waits_for_what_is_not_cleared_yet(self) -> None:
        found = run(drawn(n=(1_000, 60), goal=(0.2, 0.5)), GOAL | ERRORS)
        ruled = found.rulings["c0"]
        assert (ruled.verdict, row(found, "error_rate").guard) == ("keep testing", "open")
        assert isinstance(ruled.because[0], facts.GuardsOpen)
        assert ruled.because[0].better == ("rebooked",)

    def test_what_is_cleared_is_promoted(self) -> None:
        found = run(drawn(n=(3_000, 3_000), goal=(0.3, 0.4)), GOAL | ERRORS)
        assert (found.rulings["c0"].verdict, row(found, "error_rate").guard) == ("promote", "cleared")


class TestTheMarginCounts:
    """Row 26: complaints 0.2 → 1.0 % inside a margin of one point were a breach in 30 of 60."""

    def test_harm_inside_the_margin_is_no_breach(self) -> None:
        states = [
            row(run(drawn(n=(1_500, 1_500), goal=(0.3, 0.3), complaints=(0.002, 0.010), seed=s), GOAL | COMPLAINTS),
                "complaints").guard
            for s in range(12)
        ]  # fmt: skip
        assert "breach" not in states

    def test_harm_beyond_it_is(self) -> None:
        found = run(drawn(n=(1_500, 1_500), goal=(0.3, 0.3), complaints=(0.002, 0.06)), GOAL | COMPLAINTS)
        assert row(found, "complaints").guard == "breach"


class TestFloors:
    def test_sixty_of_sixty_is_not_better(self) -> None:
        """Row 4: 60 of 60 against 980 of 1,000 was "better, p 7e-6"."""
        found = row(run(drawn(n=(1_000, 60), goal=(0.98, 1.0)), GOAL), "rebooked")
        assert isinstance(found.facts[0], facts.Few)
        assert found.facts[0].of == "no event"
        assert (found.p, found.effect_low, found.decision_low, found.decided_by) == (None, None, None, None)

    def test_requests_have_floors_too(self) -> None:
        """Row 29: 5,000 against 100 people with 1 % errors in both."""
        watched = {"errors": MetricSettings(source="exposures", event="error", kind="ratio", direction="down")}
        for seed in range(6):
            found = row(run(drawn(n=(5_000, 100), goal=(0.3, 0.3), errors=(0.01, 0.01), seed=seed), GOAL | watched),
                        "errors")  # fmt: skip
            assert isinstance(found.facts[0], facts.Few)
            assert (found.p, found.decision_low) == (None, None)

    def test_a_metric_of_requests_is_a_guardrail_only_in_that_role(self) -> None:
        """Row 28: ``role = "watch"`` rolled back."""
        watched = {
            "errors": MetricSettings(source="exposures", event="error", kind="ratio", direction="down", margin=0.005)
        }
        found = run(drawn(n=(1_500, 1_500), goal=(0.3, 0.3), errors=(0.01, 0.5)), GOAL | watched)
        assert found.rulings["c0"].verdict != "roll back"
        assert row(found, "errors").guard is None


class TestNotShown:
    """Rows 6 and 17: *stop, no effect* was said of effects that nobody could have shown."""

    def test_a_test_that_ended_undecided_is_not_shown_and_says_what_would_have_been(self) -> None:
        tables = drawn(n=(600, 600), goal=(0.14, 0.16), ended_at=at(20), planned_units=1_200)
        found = run(tables, GOAL)
        ruled = found.rulings["c0"]
        assert ruled.verdict == "not shown"
        (why,) = ruled.because
        assert isinstance(why, facts.NotShown)
        e = row(found, "rebooked")
        assert e.se is not None
        assert why.smallest == pytest.approx(2.8 * e.se)
        assert why.units is not None
        assert why.units > 1_200

    def test_too_little_of_a_test_that_is_over_is_not_waited_for(self) -> None:
        tables = drawn(n=(100, 100), goal=(0.13, 0.16), ended_at=at(20), planned_units=200)
        ruled = run(tables, GOAL).rulings["c0"]
        assert ruled.verdict == "not shown"
        assert isinstance(ruled.because[0], facts.Few)

    def test_no_effect_needs_an_interval_inside_the_practical_size(self) -> None:
        wide = {"rebooked": MetricSettings(role="goal", headline=True, event="rebooked", practical_size=0.2)}
        tables = drawn(n=(800, 800), goal=(0.3, 0.3), ended_at=at(20), planned_units=1_600)
        assert run(tables, wide).rulings["c0"].verdict == "stop, no effect"
        assert run(tables, GOAL).rulings["c0"].verdict == "not shown"


def staged(
    *, goal: float, complaints: tuple[float, float], errors: tuple[float, float], seed: int = 5
) -> dict[str, Any]:
    """Twelve zones, six of which get the version on the 15th; rates before and after in those that get it."""
    rng = np.random.default_rng(seed)
    world = World()
    world.declare(
        14, "staged", unit="zone", assignment="random", zones=[f"z{i:02d}" for i in range(6)], rollout_id=None
    )
    exposures, engagement = [], []
    for z in range(12):
        for i in range(700):
            day = float(rng.random() * 28)
            new = z < 6 and day >= 14
            who = f"z{z}-{i}"
            exposures.append(
                {"exposure_id": who, "subject": who, "occurred_at": at(day), "touchpoint": "card", "model_id": "eta",
                 "model_version": "v2" if new else "v1", "zone": f"z{z:02d}", "anonymous": 0,
                 "error": "timeout" if rng.random() < errors[new] else None,
                 "latency_ms": 350.0 if new else 120.0}
            )  # fmt: skip
            for name, rate in (("rebooked", 0.3 + goal * new), ("complaint", complaints[new])):
                if rng.random() < rate:
                    engagement.append(
                        {"event_id": f"{name}{who}", "subject": who, "name": name, "occurred_at": at(day) + DAY_US // 9,
                         "anonymous": 0}
                    )  # fmt: skip
    tables = world.tables()
    for name, rows in (("exposures", exposures), ("engagement", engagement)):
        tables[name] = pd.DataFrame(rows).reindex(columns=tables[name].columns)
    return tables


class TestZonesHaveGuardrails:
    """Row 1: zones got a version that lifted the goal and raised complaints, errors and latency: *promote*."""

    def test_harm_is_rolled_back(self) -> None:
        tables = staged(goal=0.1, complaints=(0.018, 0.117), errors=(0.002, 0.099))
        found = run(tables, GOAL | COMPLAINTS | ERRORS | BUDGET)
        (ruled,) = found.rulings.values()
        assert ruled.verdict == "roll back"
        assert {e.metric: e.guard for e in found.estimates if e.guard} == {
            "complaints": "breach", "error_rate": "breach", "over_budget": "breach",
        }  # fmt: skip

    def test_a_gain_without_harm_is_promoted(self) -> None:
        found = run(staged(goal=0.1, complaints=(0.018, 0.018), errors=(0.0, 0.0)), GOAL | ERRORS)
        (ruled,) = found.rulings.values()
        assert ruled.verdict == "promote"
        assert row(found, "error_rate").guard == "cleared"
