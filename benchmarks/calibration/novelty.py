"""Is an effect that lasts left alone, and one that halves in four weeks found? Five weeks of a canary of one half.

From exposures and events through `analysis.novelty`. Each person acts within three days of an exposure. Fewer enter
from week to week; who comes again does so once a week. What lasts is an added share or a factor; what fades is halved
after four weeks, by the calendar or by each person's own weeks.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd

from analysis.effects import stage_data
from analysis.entry import first_met, randomised_cohort
from analysis.frames import prepare
from analysis.ledger import ledger
from analysis.metrics import resolve
from analysis.novelty import Met, weekly_slope
from benchmarks.calibration.scenario import Row, Scenario, Tally, Target, add
from edgeloop.clock import DAY_US, HOUR_US
from edgeloop.metrics import MetricSettings
from edgeloop.months import Month
from tests.frames import COLUMNS

LEVEL = 0.05
MONTH = Month.parse("2026-03", "UTC")
WEEKS, HALF_LIFE = 5, 4.0
START_US = MONTH.end_us - WEEKS * 7 * DAY_US
ENTERING = np.array([0.34, 0.24, 0.18, 0.14, 0.10])  # of the people, by week
METRICS = {
    "orders": MetricSettings(role="goal", headline=True, event="order"),
    "revenue": MetricSettings(role="goal", event="order", kind="mean"),
}
FloatArray = np.ndarray


@dataclass(frozen=True, slots=True)
class World:
    """What the people of one scenario do."""

    people: int = 8_000
    base: float = 0.2
    added: float = 0.0
    """To the chance of an order, in the first week."""
    factor: float = 1.0
    """Of the same."""
    again: float = 0.0
    """The chance of coming again in each week after the entry."""
    again_new: float | None = None
    """The new version's, where it differs."""
    fades_by: str = ""
    """``calendar`` or ``person``."""
    once: bool = False
    """Nobody orders twice."""
    keen_first: bool = False
    """Who orders often enters in the first weeks."""


def _novelty(world: World, rng: np.random.Generator, sets: int) -> Tally:
    tally: Tally = {}
    for _ in range(sets):
        for name, warned in warnings(simulate(world, rng)).items():
            add(tally, name, warned)
    return tally


def warnings(tables: dict[str, pd.DataFrame]) -> dict[str, bool]:
    """Metric → whether its slope has p ≤ 0.05; False where it cannot be told."""
    frames = prepare(tables)
    (change,) = ledger(tables, timezone="UTC")
    cohort = randomised_cohort(
        frames.exposures, change, change.stages[0], month_end_us=MONTH.end_us, as_of_us=MONTH.end_us + 9 * DAY_US,
        timezone="UTC",
    )  # fmt: skip
    data = stage_data(frames, cohort, first_met(frames.exposures, change))
    met = Met.of(frames.exposures, data)
    found = {}
    for metric in resolve(frames, METRICS):
        if metric.name in METRICS:
            slope = None if met is None else weekly_slope(frames, met, metric)
            found[metric.name] = slope is not None and slope.p <= LEVEL
    return found


def simulate(world: World, rng: np.random.Generator) -> dict[str, pd.DataFrame]:
    """The tables of one data set."""
    n = world.people
    new = rng.random(n) < 0.5
    enters = rng.choice(WEEKS, n, p=ENTERING)
    weeks = np.arange(WEEKS)
    returns = world.again if world.again_new is None else np.where(new, world.again_new, world.again)[:, None]
    there = (weeks == enters[:, None]) | ((weeks > enters[:, None]) & (rng.random((n, WEEKS)) < returns))
    person, week = np.nonzero(there)
    age = {"calendar": week, "person": week - enters[person]}.get(world.fades_by, np.zeros(len(week)))
    left = 0.5 ** (age / HALF_LIFE)
    base = world.base * (1.6 - 0.3 * enters[person] if world.keen_first else 1.0)
    lifted = base * (1 + (world.factor - 1) * left) + world.added * left
    chance = np.where(new[person], lifted, base)
    did = rng.random(len(person)) < chance
    if world.once:
        first = np.full(n, WEEKS)
        np.minimum.at(first, person[did], week[did])
        did &= week == first[person]
    at = START_US + ((week + rng.random(len(week))) * 7 * DAY_US).astype(np.int64)
    ids, subject = np.arange(len(week)).astype(str), np.char.add("s", person.astype(str))
    tables = {name: pd.DataFrame(columns=list(columns)) for name, columns in COLUMNS.items()}
    order = np.argsort(at, kind="stable")
    tables["exposures"] = pd.DataFrame(
        {"exposure_id": ids, "subject": subject, "occurred_at": at, "anonymous": 0, "model_id": "eta",
         "model_version": np.where(new[person], "2", "1"), "arm": np.where(new[person], "canary", "stable"),
         "rollout_id": "r"},
        columns=list(COLUMNS["exposures"]),
    ).iloc[order]  # fmt: skip
    after = (rng.random(len(week)) * 71 * HOUR_US).astype(np.int64)
    tables["engagement"] = pd.DataFrame(
        {"event_id": ids, "subject": subject, "occurred_at": at + after, "name": "order",
         "value": np.exp(3.2 + 0.5 * rng.standard_normal(len(week))), "currency": "EUR", "anonymous": 0},
        columns=list(COLUMNS["engagement"]),
    )[did]  # fmt: skip
    tables["changes"] = pd.DataFrame(
        [{"change_id": "c", "model_id": "eta", "occurred_at": START_US, "to_version": "2", "from_version": "1",
          "kind": "canary", "rollout_id": "r", "unit": "subject", "assignment": "random", "shares_capacity": 0,
          "allocation": json.dumps({"1": 0.5, "2": 0.5})}],
        columns=list(COLUMNS["changes"]),
    )  # fmt: skip
    return tables


def _scenario(name: str, what: str, world: World, target: Target | None, sets: int) -> Scenario:
    run: Callable[[np.random.Generator, int], Tally] = partial(_novelty, world)
    return Scenario(
        f"novelty_{name}", f"novelty: {what}", sets, 20,
        [Row(metric, f"novelty, {what}: {metric} warned of", target) for metric in METRICS],
        run,
    )  # fmt: skip


_LASTING = Target(0.0, LEVEL, at_most=True)
_FOUND = Target(0.8, 1.0)

SCENARIOS: list[Scenario] = [
    _scenario("first_week", "+6 points that last, once each, 8,000 people", World(added=0.06), _LASTING, 400),
    _scenario(
        "keen_first", "+30 % that last, frequent customers first",
        World(factor=1.3, keen_first=True), _LASTING, 400,
    ),
    _scenario("again", "+6 points that last, 60 % again each week", World(added=0.06, again=0.6), _LASTING, 300),
    _scenario(
        "once", "+6 points that last, 60 % again, nobody orders twice",
        World(added=0.06, again=0.6, once=True), _LASTING, 300,
    ),
    _scenario(
        "more_again", "+6 points that last, 60 and 70 % again",
        World(added=0.06, again=0.6, again_new=0.7), _LASTING, 300,
    ),
    _scenario(
        "halving_entries", "+10 points halving in 4 weeks, 40,000 who enter over 5",
        World(people=40_000, added=0.10, fades_by="calendar"), _FOUND, 100,
    ),
    _scenario(
        "halving_again", "+10 points halving in 4 of a person's weeks, 30,000, 60 % again each week",
        World(people=30_000, added=0.10, again=0.6, fades_by="person"), _FOUND, 100,
    ),
]  # fmt: skip
