"""Does a ramp from 1 to 50 % hold, where everybody keeps an arm and the same people come in every stage?

From exposures and events through `analysis.analyse`: entry per stage, the headline stage, sample ratios of sticky
assignment. Frequent visitors order more, orders rise from week to week, and nothing differs between the versions.
"""

from __future__ import annotations

import json

import numpy as np
import pandas as pd

from analysis import Analysis, analyse
from analysis.ledger import ledger
from analysis.lift import compare, proportion_sample
from benchmarks.calibration.results import share_moments
from benchmarks.calibration.scenario import Row, Scenario, Tally, Target, add, percent
from edgeloop.clock import DAY_US, HOUR_US
from edgeloop.months import Month
from tests.frames import COLUMNS

LEVEL = 0.05
MONTH = Month.parse("2026-03", "UTC")
STEPS = (0.01, 0.05, 0.2, 0.5)
STEP_DAYS, DAYS_BEFORE = 10, 14  # seven full entry days with windows of three
START_US = MONTH.end_us - STEP_DAYS * len(STEPS) * DAY_US
PEOPLE = 3_000
ALARM = 0.001  # of the sample ratio, over the stages; and again of all stages together
METRICS = ("conversion", "revenue")
UNDECLARED, UNDECLARED_DAYS = (0.05, 0.2, 0.5), 13
CONSTANT = (0.02, 0.05, 0.2, 0.5)


def ramp(rng: np.random.Generator, sets: int) -> Tally:
    """What analysts would have read at the end, had nothing differed."""
    tally: Tally = {}
    for _ in range(sets):
        tables, pooled = simulate(rng)
        found = analyse(tables, MONTH, freeze_id="", as_of_us=MONTH.end_us + 40 * DAY_US)
        _read(tally, found)
        add(tally, "pooled", pooled)
    return tally


def undeclared(rng: np.random.Generator, sets: int) -> Tally:
    """The same ramp from 5 to 50 %, of which the exposures' labels alone tell."""
    tally: Tally = {}
    for _ in range(sets):
        tables, _ = simulate(rng, UNDECLARED, UNDECLARED_DAYS)
        tables["changes"] = tables["changes"].iloc[:0]
        found = analyse(tables, MONTH, freeze_id="", as_of_us=MONTH.end_us + 40 * DAY_US)
        (change,) = found.changes
        begins = [stage.start_us for stage in change.stages[1:]]
        planned = [START_US + i * UNDECLARED_DAYS * DAY_US for i in range(1, len(UNDECLARED))]
        add(tally, "found", begins == planned)
        verdict = found.rulings[change.change_id].verdict
        add(tally, "blocked", verdict == "repair the data first")
        add(tally, "acted", verdict in ("promote", "roll back"))
    return tally


def constant(rng: np.random.Generator, sets: int) -> Tally:
    """A share that never changes, of which the labels alone tell."""
    tally: Tally = {}
    for _ in range(sets):
        share = float(rng.choice(CONSTANT))
        tables, _ = simulate(rng, (share,), STEP_DAYS * len(STEPS))
        found = ledger(tables | {"changes": tables["changes"].iloc[:0]}, timezone="UTC")
        add(tally, "split", len(found[0].stages) > 1)
    return tally


def _read(tally: Tally, found: Analysis) -> None:
    rows = [r for r in found.estimates if r.metric in METRICS and r.dimension == "all" and r.p is not None]
    decided = [r for r in rows if r.decided_by is not None]
    for metric in METRICS:
        for row in decided:
            if row.metric == metric:
                add(tally, metric, (row.p or 1.0) <= LEVEL)
        for row in rows:
            if row.metric == metric and row.stage < len(STEPS):
                add(tally, f"{metric}_{row.stage}", (row.p or 1.0) <= LEVEL)
    for check in ("srm", "srm_combined", "pre_period"):
        blocking = {c.stage for c in found.checks if c.check.split(":")[0] == check and c.state == "block"}
        add(tally, check, bool(blocking))
        if check == "pre_period":
            add(tally, "pre_period_deciding", len(STEPS) in blocking)
    verdict = next(r.verdict for r in found.estimates if r.verdict is not None)
    add(tally, "verdict", verdict in ("promote", "roll back", "repair the data first"))


def simulate(
    rng: np.random.Generator, steps: tuple[float, ...] = STEPS, step_days: int = STEP_DAYS
) -> tuple[dict[str, pd.DataFrame], bool]:
    """The tables of one ramp, and whether pooling its stages, each entry one unit, would have alarmed."""
    days = DAYS_BEFORE + step_days * len(steps)
    drawn = rng.random(PEOPLE)
    visits = rng.gamma(1.5, 0.1, (PEOPLE, 1)).clip(0.01, 0.9)
    taste = rng.beta(2.0, 18.0, (PEOPLE, 1)) * (0.6 + 2.5 * visits)
    there = rng.random((PEOPLE, days)) < visits
    rising = 1 + 0.02 * np.arange(days)
    did = there & (rng.random((PEOPLE, days)) < np.clip(taste * rising, 0, 0.9))
    subject, day = np.nonzero(there)
    begin = START_US - DAYS_BEFORE * DAY_US
    at = begin + day * DAY_US + (rng.random(len(day)) * DAY_US).astype(np.int64)
    stage = np.where(day < DAYS_BEFORE, -1, (day - DAYS_BEFORE) // step_days)
    new = (stage >= 0) & (drawn[subject] < np.array(steps)[stage])
    ids = np.arange(len(day)).astype(str)
    people = np.char.add("s", subject.astype(str))
    live = stage >= 0
    tables = {name: pd.DataFrame(columns=list(columns)) for name, columns in COLUMNS.items()}
    tables["exposures"] = pd.DataFrame(
        {"exposure_id": ids, "subject": people, "occurred_at": at, "anonymous": 0, "model_id": "eta",
         "model_version": np.where(new, "2", "1"), "arm": np.where(new, "canary", "stable"),
         "rollout_id": np.where(live, "r", None)},
        columns=list(COLUMNS["exposures"]),
    )  # fmt: skip
    ordered = did[subject, day]
    spent = np.exp(3.2 + 0.7 * rng.standard_normal(len(day)))
    tables["engagement"] = pd.DataFrame(
        {"event_id": ids, "subject": people, "occurred_at": at + HOUR_US, "name": "order_placed", "value": spent,
         "currency": "EUR", "anonymous": 0},
        columns=list(COLUMNS["engagement"]),
    )[ordered]  # fmt: skip
    tables["changes"] = _stages()
    return tables, _pooled(subject, stage, new, ordered)


def _stages() -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"change_id": f"c{i}", "model_id": "eta", "occurred_at": START_US + i * STEP_DAYS * DAY_US,
             "ended_at": MONTH.end_us if i == len(STEPS) - 1 else None, "to_version": "2", "from_version": "1",
             "kind": "canary", "rollout_id": "r", "unit": "subject", "assignment": "random",
             "allocation": json.dumps({"1": 1 - share, "2": share}), "shares_capacity": 0, "planned_units": 1_000,
             "planned_stages": len(STEPS)}
            for i, share in enumerate(STEPS)
        ],
        columns=list(COLUMNS["changes"]),
    )  # fmt: skip


def _pooled(subject: np.ndarray, stage: np.ndarray, new: np.ndarray, ordered: np.ndarray) -> bool:
    live = np.flatnonzero(stage >= 0)
    _, first = np.unique(subject[live] * len(STEPS) + stage[live], return_index=True)
    entry = live[first]
    arms = [entry[~new[entry]], entry[new[entry]]]
    samples = [proportion_sample(share_moments(len(arm), int(np.count_nonzero(ordered[arm])))) for arm in arms]
    return (compare(samples[0], samples[1]).p or 1.0) <= LEVEL


_HELD = Target(0.03, 0.07)
_AT_LEVEL = Target(0.0, ALARM, at_most=True)

SCENARIOS: list[Scenario] = [
    Scenario(
        "ramp", "a ramp of 1, 5, 20 and 50 %, sticky, 3,000 people", 1_000, 10,
        [
            *(Row(m, f"ramp 1 → 50 %, sticky: {m} of the deciding stage, A/A", _HELD) for m in METRICS),
            *(Row(f"{m}_{s}", f"ramp 1 → 50 %, sticky: {m} of stage {s} ({percent(STEPS[s - 1])}), A/A", None)
              for s in (2, 3) for m in METRICS),
            Row("srm", "ramp 1 → 50 %, sticky: sample ratio alarm in a stage", _AT_LEVEL),
            Row("srm_combined", "ramp 1 → 50 %, sticky: sample ratio alarm over all stages", _AT_LEVEL),
            Row("pre_period_deciding", "ramp 1 → 50 %, sticky: arms differed before, in the deciding stage", _AT_LEVEL),
            Row("pre_period", "ramp 1 → 50 %, sticky: arms differed before, in any stage", _AT_LEVEL),
            Row("verdict", "ramp 1 → 50 %, sticky: promote, roll back or repair", None),
            Row("pooled", "ramp 1 → 50 %, sticky: had the stages been pooled, conversion", None),
        ],
        ramp,
    ),
    Scenario(
        "ramp_undeclared", "the same of 5, 20 and 50 %, labels alone", 200, 10,
        [
            Row("blocked", "undeclared ramp 5 → 20 → 50 %, A/A: repair the data first", Target(0.0, 0.05)),
            Row("found", "undeclared ramp 5 → 20 → 50 %: both steps found, on their days", Target(0.95, 1.0)),
            Row("acted", "undeclared ramp 5 → 20 → 50 %, A/A: promote or roll back", Target(0.0, 0.05, at_most=True)),
        ],
        undeclared,
    ),
    Scenario(
        "share_constant", "a share of 2 to 50 % that never changes, labels alone", 400, 50,
        [Row("split", "constant share: cut into stages", Target(0.0, 0.01, at_most=True))], constant,
    ),
]  # fmt: skip
