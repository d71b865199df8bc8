"""Do permutation tests hold where zones, not people, were drawn? Staged and switchback changes on AR(0.5) days.

Zones differ in size by an order of magnitude, in level, and in how their weeks go; each day's figure carries what is
left of the day before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import pandas as pd

from analysis.change import LedgerChange, Stage
from analysis.estimators.permutation import ZoneEffect
from analysis.estimators.staged import ZoneSums, panel_effect, staged_effect
from analysis.estimators.switchback import switchback_effect
from analysis.frames import prepare
from analysis.moments import FloatArray
from analysis.zones import staged_data, staged_result
from benchmarks.calibration.results import pack_metric
from benchmarks.calibration.scenario import Row, Scenario, Tally, Target, add
from edgeloop.clock import DAY_US, HOUR_US
from edgeloop.months import Month
from tests.frames import COLUMNS

LEVEL = 0.05
PERSISTENCE, SHOCK = 0.5, 0.015  # of a zone's daily rate, in points of probability
WEEKDAY = np.array([0.0, 0.005, 0.0, -0.005, 0.01, 0.03, -0.02])
RATE, LEVELS = 0.2, 0.04  # mean rate, and how zones differ in it
EFFECT = 0.03
BEFORE, AFTER = 28, 28  # days
SMALL, LARGE = 20, 200  # people a day


def ar(rng: np.random.Generator, shape: tuple[int, int], spread: float = SHOCK) -> FloatArray:
    """Rows of AR(0.5) noise with that standard deviation, shape (zones, periods)."""
    noise = rng.standard_normal(shape) * spread * np.sqrt(1 - PERSISTENCE**2)
    made = np.empty(shape)
    made[:, 0] = noise[:, 0] / np.sqrt(1 - PERSISTENCE**2)
    for t in range(1, shape[1]):
        made[:, t] = PERSISTENCE * made[:, t - 1] + noise[:, t]
    return made


def rates(rng: np.random.Generator, zones: int, days: int) -> FloatArray:
    """Each zone's daily rate, shape (zones, days): its level, the weekday in its own strength, its own noise."""
    weekday = WEEKDAY[np.arange(days) % 7] * rng.uniform(0.5, 1.5, (zones, 1))
    level = RATE + LEVELS * rng.standard_normal((zones, 1))
    return np.clip(level + weekday + ar(rng, (zones, days)), 0.01, 0.99)


def _sizes(rng: np.random.Generator, zones: int) -> FloatArray:
    return np.exp(rng.uniform(np.log(SMALL), np.log(LARGE), (zones, 1)))


def _chosen(rng: np.random.Generator, size: FloatArray, k: int, how: str) -> np.ndarray:
    """Which zones get the new version: drawn, or the smallest or largest ones."""
    order = rng.permutation(len(size)) if how == "drawn" else np.argsort(size[:, 0] * (1 if how == "small" else -1))
    treated = np.zeros(len(size), dtype=bool)
    treated[order[:k]] = True
    return treated


def _counted(tally: Tally, key: str, effect: ZoneEffect, true: float) -> None:
    """An alarm where nothing differs, else whether the interval holds the truth."""
    if true == 0:
        if effect.p is not None:
            add(tally, "aa" + key, effect.p <= LEVEL)
        return
    interval = effect.interval(LEVEL)
    if interval is not None:
        add(tally, "effect" + key, interval[0] <= true <= interval[1])


def staged(
    rng: np.random.Generator, sets: int, *, zones: Sequence[int], treated: Sequence[int], how: str = "drawn"
) -> Tally:
    """Difference in differences from people's sums; the number of zones and of treated ones drawn evenly."""
    tally: Tally = {}
    for _ in range(sets):
        n, k = int(rng.choice(zones)), int(rng.choice(treated))
        for true in (EFFECT, 0.0):
            p, size = rates(rng, n, BEFORE + AFTER), _sizes(rng, n)
            new = _chosen(rng, size, k, how)
            p[np.ix_(new, np.arange(BEFORE, BEFORE + AFTER))] += true
            people = rng.poisson(size, p.shape)
            y = rng.binomial(people, np.clip(p, 0, 1))
            parts = [slice(0, BEFORE), slice(BEFORE, None)]
            sums = [ZoneSums(*(a[:, s].sum(axis=1).astype(np.float64) for a in (y, people))) for s in parts]
            effect = staged_effect(sums[0], sums[1], new)
            add(tally, "silent", effect.p is None and effect.refusal is not None)
            _counted(tally, "", effect, true)
    return tally


def panel(rng: np.random.Generator, sets: int, *, zones: int, periods: int, first_after: int) -> Tally:
    """One treated zone and a figure per period (two-way fixed effects), as where a law changes in one state."""
    tally: Tally = {}
    for _ in range(sets):
        for true in (EFFECT, 0.0):
            figures = rates(rng, zones, periods)
            new = _chosen(rng, np.ones((zones, 1)), 1, "drawn")
            figures[new, first_after:] += true
            _counted(tally, "", panel_effect(figures, new, first_after), true)
    return tally


def switchback(rng: np.random.Generator, sets: int, *, zones: int, blocks: int, drawn: bool) -> Tally:
    """Blocks of six hours in which a zone has one version: half of them, drawn, or in turn."""
    tally: Tally = {}
    zone = np.repeat(np.arange(zones), blocks)
    hour = np.array([-0.02, 0.0, 0.02, 0.01])[np.arange(blocks) % 4]
    for _ in range(sets):
        for true in (EFFECT, 0.0):
            level = RATE + LEVELS * rng.standard_normal((zones, 1))
            p = (level + hour + ar(rng, (zones, blocks))).ravel()
            turns = np.tile(np.arange(blocks) % 2 == 0, (zones, 1))
            new = (rng.permuted(turns, axis=1) if drawn else turns).ravel()
            people = 1 + rng.poisson(np.repeat(_sizes(rng, zones) / 4, blocks))
            y = rng.binomial(people, np.clip(p + true * new, 0.01, 0.99))
            effect = switchback_effect(zone, new, y.astype(np.float64), people.astype(np.float64))
            _counted(tally, "", effect, true)
    return tally


MONTH = Month.parse("2026-03", "UTC")
_METRIC = pack_metric("slot_rebooked")


def staged_tables(rng: np.random.Generator, sets: int) -> Tally:
    """The same from exposures and events: people come again and again, and windows must not cross the start."""
    tally: Tally = {}
    start = MONTH.start_us
    for _ in range(sets):
        n, k = int(rng.integers(8, 13)), int(rng.integers(2, 4))
        new = _chosen(rng, np.ones((n, 1)), k, "drawn")
        zone_of = np.repeat(np.arange(n), rng.integers(60, 240, n))
        p = rates(rng, n, BEFORE + AFTER)
        subject, day = np.nonzero(rng.random((len(zone_of), BEFORE + AFTER)) < rng.gamma(2.0, 0.04, (len(zone_of), 1)))
        at = start + (day - BEFORE) * DAY_US + (rng.random(len(day)) * DAY_US).astype(np.int64)
        did = rng.random(len(day)) < p[zone_of[subject], day]
        names = [f"z{i:02d}" for i in range(n)]
        people = np.char.add("s", subject.astype(str))
        version = np.where(new[zone_of[subject]] & (day >= BEFORE), "2", "1")
        tables = {name: pd.DataFrame(columns=list(columns)) for name, columns in COLUMNS.items()}
        tables["exposures"] = pd.DataFrame(
            {"exposure_id": np.arange(len(day)).astype(str), "subject": people, "occurred_at": at, "anonymous": 0,
             "model_id": "eta", "model_version": version, "zone": np.array(names)[zone_of[subject]]},
            columns=list(COLUMNS["exposures"]),
        )  # fmt: skip
        tables["engagement"] = pd.DataFrame(
            {"event_id": np.arange(len(day)).astype(str), "subject": people, "occurred_at": at + HOUR_US,
             "name": _METRIC.key, "anonymous": 0},
            columns=list(COLUMNS["engagement"]),
        )[did]  # fmt: skip
        frames = prepare(tables)
        stage = Stage(1, start, start + AFTER * DAY_US, None, tuple(np.array(names)[new].tolist()))
        change = LedgerChange("c", "eta", "2", "1", "staged", True, (stage,), start + AFTER * DAY_US, "eta 2")
        data = staged_data(
            frames.exposures, change, stage, month_end_us=MONTH.end_us, as_of_us=start + (AFTER + 10) * DAY_US
        )
        effect, _ = staged_result(frames, data, _METRIC)
        if effect is not None:
            _counted(tally, "", effect, 0.0)
    return tally


HELD = Target(0.03, 0.07), Target(0.93, 0.97)
"""Alarms without an effect, and coverage: a permutation's steps allow no narrower target."""


def _scenario(
    name: str, sets: int, what: str, run: Callable[[np.random.Generator, int], Tally], *, held: bool = True,
    intervals: bool = True,
) -> Scenario:  # fmt: skip
    alarms, covers = HELD if held else (None, None)
    rows = [Row("effect", f"{what}: interval by inversion", covers)] if intervals else []
    return Scenario(name, what, sets, max(sets // 50, 1), [*rows, Row("aa", f"{what}: A/A", alarms)], run)


_EIGHT_TO_TWELVE, _FEW = tuple(range(8, 13)), (2, 3)
_ZONES = "2 or 3 of 8 to 12 zones"

SCENARIOS: list[Scenario] = [
    _scenario("staged", 10_000, f"staged, {_ZONES} drawn", partial(staged, zones=_EIGHT_TO_TWELVE, treated=_FEW)),
    _scenario("staged_one", 10_000, "staged, 1 of 27 zones drawn", partial(staged, zones=(27,), treated=(1,))),
    _scenario(
        "staged_small", 10_000, f"staged, the smallest {_ZONES}, not drawn",
        partial(staged, zones=_EIGHT_TO_TWELVE, treated=_FEW, how="small"), held=False,
    ),
    _scenario(
        "staged_large", 10_000, f"staged, the largest {_ZONES}, not drawn",
        partial(staged, zones=_EIGHT_TO_TWELVE, treated=_FEW, how="large"), held=False,
    ),
    Scenario(
        "staged_none", "staged, 1 of 12 zones: 12 possible assignments", 1_000, 50,
        [Row("silent", "staged, 1 of 12 zones (12 possible assignments): no p is given", Target(1.0, 1.0))],
        partial(staged, zones=(12,), treated=(1,)),
    ),
    _scenario("staged_tables", 1_000, f"staged, {_ZONES} drawn, from exposures and events", staged_tables,
              intervals=False),
    _scenario("panel", 10_000, "one of 27 zones, 6 periods", partial(panel, zones=27, periods=6, first_after=3)),
    _scenario("switchback", 1_000, "switchback, 4 zones of 28 blocks, drawn",
              partial(switchback, zones=4, blocks=28, drawn=True)),
    _scenario("switchback_turns", 1_000, "switchback, 4 zones of 28 blocks, in turn",
              partial(switchback, zones=4, blocks=28, drawn=False), held=False),
]  # fmt: skip
