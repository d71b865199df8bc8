"""Six months unlike the demo, each with a planted truth: two stages of zones, couriers, a canary that is then for
everybody, a switchback, three arms, and no change at all.

``TRUTH`` says what was planted; tests and docs/report hold the pages against it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import reports
from edgeloop.clock import DAY_US, HOUR_US, SECOND_US
from edgeloop.metrics import metrics_in_force
from edgeloop.store.freeze import Freeze
from reports.findings import Findings
from tests.report_fixture import analysed, at, write
from tests.report_months import END, Frames, Rollout, World, frames_of

MODEL = "slot-offer"
TRUTH: dict[str, str] = {
    "two stages": (
        "twenty zones; five drawn at random get the new version on 2 March, five more on 16 March; slots rebooked per "
        "request 10 % → 16 %, nothing else"
    ),
    "by courier": (
        "eighty couriers, half of them drawn; customers' satisfaction 4.0 → 3.4 and complaints 2 % → 6 % per request "
        "with the new version"
    ),
    "canary then switch": (
        "half of the customers for nineteen days, slots rebooked 10 % → 18 % per request; from 21 March everybody"
    ),
    "switchback": (
        "in each of sixteen zones a coin each day, old or new version; slots rebooked per request 10 % → 15 %"
    ),
    "three arms": "a third each; version 2.1 takes slots rebooked from 10 % to 18 %, 2.2 has 10 % of its requests fail",
    "no change": "one version from January to March, and nothing else happens",
}


@dataclass(frozen=True)
class Drawn:
    """One model's month: ``version`` and ``arm`` of each request, and the declared change events."""

    version: np.ndarray
    rollout: np.ndarray
    changes: list[dict[str, Any]]
    error: np.ndarray | None = None


Draw = Callable[[np.random.Generator, pd.DataFrame], Drawn]


def _requests(rng: np.random.Generator, people: int, each: int, zones: int, couriers: int) -> pd.DataFrame:
    """Requests of people who live in one zone and have one courier."""
    person = np.repeat(np.arange(people), each)
    when = rng.integers(at(1, 5), END - 3 * HOUR_US, len(person))
    return pd.DataFrame(
        {
            "exposure_id": [f"x-{i:06d}" for i in range(len(person))],
            "subject": [f"customer{p:05d}" for p in person],
            "touchpoint": "app_card",
            "model_id": MODEL,
            "latency_ms": np.round(rng.gamma(6, 20, len(person)), 1),
            "features": 8.0,
            "zone": [f"zone-{p % zones:02d}" for p in person],
            "courier": [f"courier{p % couriers:03d}" for p in person],
            "occurred_at": when,
        }
    )


def _made(
    draw: Draw,
    seed: int,
    rollouts: Mapping[str, Rollout],
    *,
    people: int = 3_000,
    each: int = 4,
    zones: int = 8,
    couriers: int = 40,
) -> Frames:
    """Tables of a draw; ``rollouts`` say what happens under each new version."""
    rng = np.random.default_rng(seed)
    shown = _requests(rng, people, each, zones, couriers).sort_values(["occurred_at", "exposure_id"], ignore_index=True)
    drawn = draw(rng, shown)
    error = rng.random(len(shown)) < 0.001 if drawn.error is None else drawn.error
    shown = shown.assign(
        model_version=drawn.version,
        arm=np.where(drawn.version == "2.0", "stable", np.where(drawn.version == "2.1", "canary", "canary-2")),
        rollout_id=drawn.rollout,
        error=np.where(error, "timeout", None),
        fallback=error.astype(float),
        received_at=shown["occurred_at"] + 40 * SECOND_US,
    )
    world = World(tuple(rollouts.values()))
    return frames_of(rng, world, shown, pd.DataFrame([_event(row) for row in drawn.changes]))


def _event(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "model_id": MODEL, "from_version": "2.0", "to_version": "2.1", "title": "Evening slots first",
        "received_at": row["occurred_at"], **row,
    }  # fmt: skip


def _nobody(n: int) -> np.ndarray:
    return np.full(n, None, dtype=object)


def _two_stages(rng: np.random.Generator, shown: pd.DataFrame) -> Drawn:
    order = rng.permutation(20)
    first, second = [sorted(f"zone-{z:02d}" for z in order[:k]) for k in (5, 10)]
    when, zone = shown["occurred_at"].to_numpy(), shown["zone"]
    new = (when >= at(3, 2)) & zone.isin(first) | (when >= at(3, 16)) & zone.isin(second)
    changes = [
        {
            "change_id": f"evening-{i}", "kind": "staged", "unit": "zone", "assignment": "random",
            "rollout_id": "evening", "zones": json.dumps(zones), "occurred_at": begins,
        }
        for i, (begins, zones) in enumerate(((at(3, 2), first), (at(3, 16), second)), start=1)
    ]  # fmt: skip
    rollout = np.where(when >= at(3, 2), "evening", None)
    return Drawn(np.where(new, "2.1", "2.0"), rollout, changes)


def _by_courier(rng: np.random.Generator, shown: pd.DataFrame) -> Drawn:
    chosen = {f"courier{c:03d}" for c in rng.permutation(80)[:40]}
    begun = shown["occurred_at"].to_numpy() >= at(3, 2)
    new = begun & shown["courier"].isin(chosen).to_numpy()
    change = {
        "change_id": "evening", "kind": "canary", "unit": "courier", "assignment": "random", "rollout_id": "evening",
        "allocation": json.dumps({"2.0": 0.5, "2.1": 0.5}), "planned_units": 80, "occurred_at": at(3, 2),
    }  # fmt: skip
    return Drawn(np.where(new, "2.1", "2.0"), np.where(begun, "evening", None), [change])


def _canary_then_switch(rng: np.random.Generator, shown: pd.DataFrame) -> Drawn:
    chosen = {f"customer{c:05d}" for c in rng.permutation(3_000)[:1_500]}
    when = shown["occurred_at"].to_numpy()
    test = (when >= at(3, 2)) & (when < at(3, 21))
    new = test & shown["subject"].isin(chosen).to_numpy() | (when >= at(3, 21))
    changes = [
        {
            "change_id": "evening", "kind": "canary", "unit": "subject", "assignment": "random",
            "rollout_id": "evening", "allocation": json.dumps({"2.0": 0.5, "2.1": 0.5}), "planned_units": 2_000,
            "occurred_at": at(3, 2),
        },
        {
            "change_id": "evening-all", "kind": "switch", "rollout_id": "evening",
            "title": "Evening slots for everybody", "occurred_at": at(3, 21),
        },
    ]  # fmt: skip
    return Drawn(np.where(new, "2.1", "2.0"), np.where(test, "evening", None), changes)


def _switchback(rng: np.random.Generator, shown: pd.DataFrame) -> Drawn:
    when = shown["occurred_at"].to_numpy()
    coin = rng.random((16, 40)) < 0.5
    day = np.clip((when - at(3, 2)) // DAY_US, 0, 39)
    zone = shown["zone"].str[-2:].astype(int).to_numpy()
    begun = when >= at(3, 2)
    change = {
        "change_id": "evening", "kind": "canary", "unit": "zone_time", "assignment": "random",
        "rollout_id": "evening", "occurred_at": at(3, 2),
    }  # fmt: skip
    return Drawn(np.where(begun & coin[zone, day], "2.1", "2.0"), np.where(begun, "evening", None), [change])


def _three_arms(rng: np.random.Generator, shown: pd.DataFrame) -> Drawn:
    third = rng.permutation(3_000) % 3
    person = shown["subject"].str[-5:].astype(int).to_numpy()
    begun = shown["occurred_at"].to_numpy() >= at(3, 2)
    version = np.where(begun, np.array(["2.0", "2.1", "2.2"])[third[person]], "2.0")
    thirds = json.dumps({"2.0": 1.0, "2.1": 1.0, "2.2": 1.0})
    changes = [
        {
            "change_id": f"evening-{new}", "kind": "canary", "unit": "subject", "assignment": "random",
            "rollout_id": "evening", "to_version": new, "title": title, "allocation": thirds, "planned_units": 2_500,
            "occurred_at": at(3, 2),
        }
        for new, title in (("2.1", "Evening slots first"), ("2.2", "Evening slots, new ranking"))
    ]  # fmt: skip
    fails = np.where(version == "2.2", 0.1, 0.001)
    return Drawn(version, np.where(begun, "evening", None), changes, rng.random(len(shown)) < fails)


def _no_change(_: np.random.Generator, shown: pd.DataFrame) -> Drawn:
    return Drawn(np.full(len(shown), "2.0"), _nobody(len(shown)), [])


def _month(draw: Draw, seed: int, *rollouts: Rollout, **sized: int) -> Callable[[Path], Freeze]:
    def make(folder: Path) -> Freeze:
        return write(
            folder,
            _made(draw, seed, {r.new: r for r in rollouts}, **sized),
            metrics=metrics_in_force(_METRICS),
            provisional=False,
        )

    return make


_METRICS: dict[str, dict[str, Any]] = {
    "slot_rebooked": {"role": "goal", "headline": True},
    "conversion": {"role": "watch"},
    "revenue": {"role": "watch"},
    "complaint": {"role": "guardrail", "margin": 0.01},
    "error_rate": {"margin": 0.01},
    "over_budget": {"role": "off"},
    "latency_p95": {"margin": 60.0},
}


def _evening(rebooked: tuple[float, float], *, new: str = "2.1", **told: Any) -> Rollout:
    return Rollout(MODEL, "Evening slots first", {"slot_rebooked": rebooked, **told.pop("events", {})}, new=new, **told)


MONTHS: dict[str, Callable[[Path], Freeze]] = {
    "two stages": _month(_two_stages, 31, _evening((0.10, 0.16)), people=4_000, each=6, zones=20),
    "by courier": _month(
        _by_courier, 32, _evening((0.10, 0.10), csat=(4.0, 3.4), events={"complaint": (0.0, 0.04)}), couriers=80
    ),
    "canary then switch": _month(_canary_then_switch, 33, _evening((0.10, 0.18)), each=6),
    "switchback": _month(_switchback, 34, _evening((0.10, 0.15)), people=6_000, each=6, zones=16),
    "three arms": _month(_three_arms, 35, _evening((0.10, 0.18)), each=6),
    "no change": _month(_no_change, 36, _evening((0.10, 0.10), new="9.9")),
}


def findings(name: str, folder: Path) -> Findings:
    """What a month's report says."""
    freeze = MONTHS[name](folder)
    return reports.build(freeze, analysed(freeze))
