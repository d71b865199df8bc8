"""Do permutation tests hold where zones, not people, were drawn? Staged and switchback changes on AR(0.5) days.

Zones differ in size by an order of magnitude (where it says 1:40, by that), in level, and in how their weeks go; each
day's figure carries what is left of the day before. Where zones are *not drawn*, those that are treated are of another
kind in every data set, which no permutation knows, and Student's test of the same statistic has to agree. One
possible assignment of 27 is 3.7 %, two of 70 are 2.9 %: with few zones no test at 5 % alarms in 5 %.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import numpy as np
import pandas as pd

from analysis.change import LedgerChange, Stage
from analysis.estimators import permutation
from analysis.estimators.permutation import ZoneEffect
from analysis.estimators.staged import ZoneSums, panel_effect, staged_effect
from analysis.estimators.switchback import switchback_effect
from analysis.frames import prepare
from analysis.moments import FloatArray
from analysis.zones import staged_data, zone_figure
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
ASSIGNMENTS = 999


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


def _sizes(rng: np.random.Generator, zones: int, people: tuple[float, float] = (SMALL, LARGE)) -> FloatArray:
    return np.exp(rng.uniform(np.log(people[0]), np.log(people[1]), (zones, 1)))


def _sums(y: FloatArray, people: FloatArray) -> ZoneSums:
    """Of shares: everybody has 1 or 0."""
    return ZoneSums(y, people, y - y * y / np.maximum(people, 1))


def _chosen(rng: np.random.Generator, size: FloatArray, k: int, how: str) -> np.ndarray:
    """Which zones get the new version: drawn, or the smallest or largest ones."""
    order = rng.permutation(len(size)) if how == "drawn" else np.argsort(size[:, 0] * (1 if how == "small" else -1))
    treated = np.zeros(len(size), dtype=bool)
    treated[order[:k]] = True
    return treated


@contextmanager
def _fewer() -> Iterator[None]:
    """A thousand assignments in the place of ten: no level depends on how many are drawn, and it is faster."""
    kept = permutation.MOST, permutation.FEWEST_DRAWN
    permutation.MOST = permutation.FEWEST_DRAWN = ASSIGNMENTS
    try:
        yield
    finally:
        permutation.MOST, permutation.FEWEST_DRAWN = kept


def _counted(tally: Tally, key: str, effect: ZoneEffect, true: float) -> None:
    """An alarm where nothing differs, else whether the interval holds the truth."""
    if true == 0:
        p = effect.p
        if p is not None:
            add(tally, "aa" + key, p <= LEVEL)
        return
    interval = effect.interval(LEVEL)
    if interval is not None:
        add(tally, "effect" + key, interval[0] <= true <= interval[1])
        add(tally, "power" + key, not interval[0] <= 0 <= interval[1])


def staged(
    rng: np.random.Generator, sets: int, *, zones: Sequence[int], treated: Sequence[int], how: str = "drawn",
    people: tuple[float, float] = (SMALL, LARGE),
) -> Tally:  # fmt: skip
    """Difference in differences from people's sums; the number of zones and of treated ones drawn evenly."""
    tally: Tally = {}
    for _ in range(sets):
        n, k = int(rng.choice(zones)), int(rng.choice(treated))
        for true in (EFFECT, 0.0):
            p, size = rates(rng, n, BEFORE + AFTER), _sizes(rng, n, people)
            effect = _staged(rng, p, size, _chosen(rng, size, k, how), true, drawn=how == "drawn")
            add(tally, "silent", effect.p is None and effect.refusal is not None)
            _counted(tally, "", effect, true)
    return tally


def unlike(
    rng: np.random.Generator, sets: int, *, zones: tuple[int, int], people: tuple[float, float],
    spread: tuple[float, float], true: float = EFFECT,
) -> Tally:  # fmt: skip
    """So many zones with the new version, and others of another size (people a month) or with another spread."""
    tally: Tally = {}
    new = np.arange(sum(zones)) < zones[0]
    size = np.where(new, *people)[:, None] / BEFORE
    for _ in range(sets):
        for planted in (true, 0.0):
            p = rates(rng, len(new), BEFORE + AFTER)
            p[:, BEFORE:] += rng.standard_normal((len(new), 1)) * np.where(new, *spread)[:, None]
            _counted(tally, "", _staged(rng, p, size, new, planted, drawn=True), planted)
    return tally


def _staged(
    rng: np.random.Generator, p: FloatArray, size: FloatArray, new: np.ndarray, true: float, *, drawn: bool
) -> ZoneEffect:
    p[np.ix_(new, np.arange(BEFORE, BEFORE + AFTER))] += true
    people = rng.poisson(size, p.shape)
    y = rng.binomial(people, np.clip(p, 0, 1))
    spans = [slice(0, BEFORE), slice(BEFORE, None)]
    sums = [_sums(*(a[:, s].sum(axis=1).astype(np.float64) for a in (y, people))) for s in spans]
    there = (sums[0].rows > 0) & (sums[1].rows > 0)
    with _fewer():
        return staged_effect(sums[0].of(there), sums[1].of(there), new[there], drawn=drawn)


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


def switchback(
    rng: np.random.Generator, sets: int, *, zones: int, blocks: int, drawn: bool,
    people: tuple[float, float] = (SMALL, LARGE), spread: float = 0.0,
) -> Tally:  # fmt: skip
    """Blocks of six hours in which a zone has one version: half of them, drawn, or in turn.

    A block carries half of what the one before it had. ``spread`` is what blocks vary more with the new version.
    """
    tally: Tally = {}
    zone = np.repeat(np.arange(zones), blocks)
    hour = np.array([-0.02, 0.0, 0.02, 0.01])[np.arange(blocks) % 4]
    for _ in range(sets):
        for true in (EFFECT, 0.0):
            level = RATE + LEVELS * rng.standard_normal((zones, 1))
            p = (level + hour + ar(rng, (zones, blocks))).ravel()
            turns = np.tile(np.arange(blocks) % 2 == 0, (zones, 1))
            new = (rng.permuted(turns, axis=1) if drawn else turns).ravel()
            p += spread * rng.standard_normal(len(p)) * new
            size = 1.0 + rng.poisson(np.repeat(_sizes(rng, zones, people) / 4, blocks))
            y = rng.binomial(size.astype(int), np.clip(p + true * new, 0.01, 0.99)).astype(np.float64)
            sums = _sums(y, size)
            with _fewer():
                effect = switchback_effect(zone, new, sums.y, sums.rows, sums.squares, drawn=drawn)
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
        change = LedgerChange(
            "c", "eta", "2", "1", "staged", True, (stage,), start + AFTER * DAY_US, "eta 2", assignment="random"
        )
        data = staged_data(
            frames.exposures, change, stage, month_end_us=MONTH.end_us, as_of_us=start + (AFTER + 10) * DAY_US
        )
        effect = zone_figure(frames, data, _METRIC).effect
        if isinstance(effect, ZoneEffect):
            _counted(tally, "", effect, 0.0)
    return tally


HELD = Target(0.04, 0.06), Target(0.94, 0.96)
"""Alarms without an effect, and coverage."""
FEW = Target(0.03, 0.06), Target(0.94, 0.97)
"""Where the steps of a permutation allow no more."""
CAREFUL = Target(0.0, 0.06), Target(0.94, 1.0)
"""Where nobody drew and two tests have to agree."""


def _scenario(
    name: str, sets: int, what: str, run: Callable[[np.random.Generator, int], Tally],
    held: tuple[Target, Target] | None = HELD, *, intervals: bool = True,
) -> Scenario:  # fmt: skip
    alarms, covers = held or (None, None)
    shown = [
        Row("effect", f"{what}: interval by inversion", covers),
        Row("power", f"{what}: an effect of {100 * EFFECT:.0f} points is found", None),
    ]
    rows = [*(shown if intervals else []), Row("aa", f"{what}: A/A", alarms)]
    return Scenario(name, what, sets, max(sets // 50, 1), rows, run)


_EIGHT_TO_TWELVE, _FEW = tuple(range(8, 13)), (2, 3)
_ZONES = "2 or 3 of 8 to 12 zones"
_MANY = tuple(range(20, 41))
_HALF, _TEN = tuple(range(4, 7)), tuple(range(5, 11))
_FORTY = (50 / BEFORE, 2_000 / BEFORE)  # people a day

SCENARIOS: list[Scenario] = [
    _scenario("staged", 2_000, f"staged, {_ZONES} drawn", partial(staged, zones=_EIGHT_TO_TWELVE, treated=_FEW), FEW),
    _scenario("staged_one", 2_000, "staged, 1 of 27 zones drawn", partial(staged, zones=(27,), treated=(1,)), FEW),
    _scenario("staged_four", 2_000, "staged, 4 of 8 zones drawn", partial(staged, zones=(8,), treated=(4,)),
              (Target(0.02, 0.06), Target(0.94, 0.98))),
    _scenario("staged_unequal", 1_000, "staged, 5 to 10 of 20 to 40 zones of sizes 1:40 drawn",
              partial(staged, zones=_MANY, treated=_TEN, people=_FORTY)),
    *(
        _scenario(f"staged_{how}{name}", sets, f"staged, the {superlative} {what} of sizes 1:40, not drawn",
                  partial(staged, zones=zones, treated=treated, how=how, people=_FORTY), CAREFUL)
        for name, sets, what, zones, treated in (
            ("", 2_000, _ZONES, _EIGHT_TO_TWELVE, _FEW),
            ("_half", 2_000, "4 to 6 of 8 to 12 zones", _EIGHT_TO_TWELVE, _HALF),
            ("_many", 1_000, "5 to 10 of 20 to 40 zones", _MANY, _TEN),
        )
        for how, superlative in (("small", "smallest"), ("large", "largest"))
    ),
    _scenario("staged_new_zones", 1_000, "staged, 5 zones of 50 people beside 20 of 2,000",
              partial(unlike, zones=(5, 20), people=(50, 2_000), spread=(0.01, 0.01))),
    _scenario("staged_big_zones", 1_000, "staged, 5 zones of 2,000 people beside 20 of 50",
              partial(unlike, zones=(5, 20), people=(2_000, 50), spread=(0.01, 0.01))),
    _scenario("staged_twice_spread", 1_000, "staged, 5 of 25 zones, with the new version twice the spread",
              partial(unlike, zones=(5, 20), people=(1_000, 1_000), spread=(0.06, 0.03))),
    _scenario("staged_half_spread", 1_000, "staged, 5 of 25 zones, with the new version half the spread",
              partial(unlike, zones=(5, 20), people=(1_000, 1_000), spread=(0.03, 0.06))),
    Scenario(
        "staged_none", "staged, 1 of 12 zones: 12 possible assignments", 1_000, 50,
        [Row("silent", "staged, 1 of 12 zones (12 possible assignments): no p is given", Target(1.0, 1.0))],
        partial(staged, zones=(12,), treated=(1,)),
    ),
    _scenario("staged_tables", 1_000, f"staged, {_ZONES} drawn, from exposures and events", staged_tables,
              (Target(0.03, 0.07), Target(0.93, 0.97)), intervals=False),
    _scenario("panel", 2_000, "one of 27 zones, 6 periods", partial(panel, zones=27, periods=6, first_after=3), FEW),
    _scenario("switchback", 1_000, "switchback, 4 zones of 28 blocks, drawn",
              partial(switchback, zones=4, blocks=28, drawn=True), (Target(0.03, 0.07), Target(0.93, 0.97))),
    _scenario("switchback_unequal", 1_000, "switchback, 6 zones of sizes 1:40, 20 blocks each, drawn, with the new "
              "version twice the spread", partial(switchback, zones=6, blocks=20, drawn=True, people=_FORTY,
              spread=0.026), (Target(0.03, 0.07), Target(0.93, 0.97))),
    _scenario("switchback_turns", 1_000, "switchback, 4 zones of 28 blocks, in turn",
              partial(switchback, zones=4, blocks=28, drawn=False), None),
]  # fmt: skip
