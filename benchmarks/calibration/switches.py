"""Does the test of a full switch hold? AR(0.5) days with a weekday pattern, with untouched models beside or without.

And with a declared price that steps at the switch, or a season of the year.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from analysis.estimators.switch import switch_effect
from analysis.moments import FloatArray
from benchmarks.calibration.scenario import Row, Scenario, Tally, Target, add
from benchmarks.calibration.zones import RATE, WEEKDAY, ar

LEVEL = 0.05
PEOPLE = 600  # a day, on average
SHOCK = 0.012  # of the daily rate beside what counting people brings; the common part is shared with other models
COMMON = 0.012
EFFECT = 0.03
PRICE, STEP = 0.012, 2.0  # of the rate, for a unit of the daily price; how much that steps at the switch
SEASON = 0.03  # of the rate, the wave of a year; that of half a year is half as high


def series(rng: np.random.Generator, days: int, models: int) -> tuple[FloatArray, FloatArray]:
    """(sums, people) of each model's days, shape (models, days): the first one is switched."""
    weekday = 1 + 0.2 * np.sin(2 * np.pi * (np.arange(days) % 7) / 7)
    people = rng.poisson(PEOPLE * weekday, (models, days))
    shared = ar(rng, (1, days), COMMON)
    p = RATE + WEEKDAY[np.arange(days) % 7] + shared + ar(rng, (models, days), SHOCK)
    return rng.binomial(people, np.clip(p, 0.01, 0.99)).astype(np.float64), people.astype(np.float64)


def switch(rng: np.random.Generator, sets: int, *, before: int, after: int, controls: int) -> Tally:
    """Alarms without an effect, coverage with one."""
    tally: Tally = {}
    for _ in range(sets):
        for true in (0.0, EFFECT):
            sums, people = series(rng, before + after, 1 + controls)
            sums[0, before:] += true * people[0, before:]
            found = switch_effect(sums[0], people[0], before, (sums[1:] / people[1:]).T)
            interval = found.interval(LEVEL)
            if interval is None or found.p is None:
                continue
            if true == 0:
                add(tally, "aa", found.p <= LEVEL)
            else:
                add(tally, "effect", interval[0] <= true <= interval[1])
    return tally


def _scenario(name: str, before: int, after: int, controls: int) -> Scenario:
    beside = f"{controls} untouched models beside" if controls else "nothing beside"
    what = f"full switch, {before} days before and {after} after, {beside}"
    rows = [
        Row("aa", f"{what}: A/A", Target(0.03, 0.07)),
        Row("effect", f"{what}: interval of the placebos", Target(0.93, 0.97)),
    ]
    return Scenario(name, what, 1_000, 20, rows, partial(switch, before=before, after=after, controls=controls))


def moved(rng: np.random.Generator, sets: int, *, before: int, after: int, season: bool) -> Tally:
    """The same where a price that steps at the switch moves the days and is declared, or the year does."""
    tally: Tally = {}
    days = before + after
    for _ in range(sets):
        turn = 2 * np.pi * (np.arange(days) + rng.integers(365)) / 365.25
        price = ar(rng, (1, days), 1.0)[0]
        price[before:] += STEP
        rate = SEASON * (np.sin(turn) + np.cos(2 * turn) / 2) if season else PRICE * price
        none = np.zeros((days, 0))
        for true in (0.0, EFFECT):
            sums, people = series(rng, days, 1)
            y = sums[0] + rate * people[0]
            y[before:] += true * people[0, before:]
            beside, k = (none, 0) if season else (price[:, None], 1)
            found = switch_effect(y, people[0], before, beside, regressors=k, season=season)
            interval = found.interval(LEVEL)
            if interval is None or found.p is None:
                continue
            if true == 0:
                blind = switch_effect(y, people[0], before, none)
                add(tally, "aa", found.p <= LEVEL)
                add(tally, "blind", (blind.p or 1.0) <= LEVEL)
            else:
                add(tally, "effect", interval[0] <= true <= interval[1])
    return tally


def _moved(name: str, before: int, after: int, sets: int, *, season: bool) -> Scenario:
    by = "the year has a season" if season else "a price steps with it"
    what = f"full switch, {before} days before and {after} after, {by}"
    taken = "taken out" if season else "declared"
    rows = [
        # Two years have few spans to tell their spread, and the first know less of the year: it errs wide.
        Row("aa", f"{what}, {taken}: A/A", Target(0.0 if season else 0.03, 0.07)),
        Row("effect", f"{what}, {taken}: interval of the placebos", Target(0.93, 1.0 if season else 0.97)),
        Row("blind", f"{what}, not {taken}: A/A", None),
    ]
    return Scenario(name, what, sets, 5, rows, partial(moved, before=before, after=after, season=season))


SCENARIOS: list[Scenario] = [
    _scenario("switch_week", 63, 7, 0),
    _scenario("switch_fortnight", 84, 14, 0),
    _scenario("switch_beside", 84, 14, 2),
    _scenario("switch_month", 112, 28, 2),
    _moved("switch_price", 84, 14, 1_000, season=False),
    _moved("switch_season", 760, 28, 200, season=True),
]
