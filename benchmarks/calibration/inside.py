"""Do intervals and tests hold where people were drawn inside clusters, or in strata of unequal shares?

Clusters of unequal size (lognormal, σ 0.8) whose people are alike with an intraclass correlation of 0.05. *The effect
differs* between clusters by a quarter of their level (σ), in A/A around 0: then people are not independent in what is
compared, which is what clusters are declared for. Strata have 10, 50 and 90 % in the new arm and differ in level.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from analysis.estimators import always_valid, inside
from analysis.estimators.clustered import df_between
from analysis.estimators.inside import Nesting
from analysis.judge import UNDECLARED_PLAN
from analysis.lift import Comparison, compare, mean_sample
from analysis.moments import FloatArray, IntArray, cells
from analysis.srm import ALARM_P, share_drift, within_strata
from benchmarks.calibration.scenario import ALWAYS_VALID, Row, Scenario, Tally, Target, add, coverage, false_alarms

SETS, PIECE, DAILY_SETS = 10_000, 250, 1_000
LEVEL = 0.05
PEOPLE, RATE, GAIN = 3_000, 0.20, 0.03
SIZES, ICC, SWING = 0.8, 0.05, 0.25
LOG_MEAN, LOG_SPREAD = 3.0, 1.0
SPENT = float(np.exp(LOG_MEAN + LOG_SPREAD**2 / 2))
STRATA, SHARES, LEVELS = (1_500, 1_000, 500), (0.1, 0.5, 0.9), (0.1, 0.2, 0.4)
DAYS, PER_DAY = 28, 200

Values = Callable[[np.random.Generator, FloatArray, FloatArray], tuple[FloatArray, FloatArray]]
"""(generator, level of each person, effect on each) → numerator and denominator of each."""


def shares(rng: np.random.Generator, level: FloatArray, effect: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Whether each has the event."""
    return (rng.random(len(level)) < np.clip(level + effect, 0.0, 1.0)).astype(np.float64), np.ones(len(level))


def money(rng: np.random.Generator, level: FloatArray, effect: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Sums of those who buy, as many as have the event in `shares`."""
    buys, ones = shares(rng, level, effect)
    return buys * np.exp(LOG_MEAN + LOG_SPREAD * rng.standard_normal(len(level))), ones


def requests(rng: np.random.Generator, level: FloatArray, effect: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Marked requests of one to many."""
    times = 1 + rng.poisson(2.0, len(level))
    return rng.binomial(times, np.clip(level + effect, 0.0, 1.0)).astype(np.float64), times.astype(np.float64)


def clusters(
    rng: np.random.Generator, sets: int, *, n: int, values: Values = shares, worth: float = 1.0, whole: bool = False
) -> Tally:
    """People drawn inside ``n`` clusters, half of each in the new arm; ``whole``: clusters drawn, half of them."""
    tally: Tally = {}
    keep = (1 - ICC) / ICC
    for _ in range(sets):
        for key in ("effect", "aa", "varying"):
            size = np.exp(SIZES * rng.standard_normal(n))
            cluster = np.repeat(np.arange(n), np.maximum(rng.multinomial(PEOPLE, size / size.sum()), 2))
            treated = (rng.random(len(cluster)) < 0.5).astype(np.int64)
            if whole:
                treated = rng.permutation(np.arange(n) % 2)[cluster]
            level = rng.beta(RATE * keep, (1 - RATE) * keep, n)[cluster]
            swing = np.zeros(n) if key == "aa" else SWING * rng.standard_normal(n)
            effect = (swing[cluster] * level + (GAIN if key == "effect" else 0.0)) * treated
            y, d = values(rng, level, effect)
            _count(tally, key, y, d, Nesting(treated, cluster), GAIN * worth)
            if key == "varying":
                _alarm(tally, "people", _of_people(y, treated))
    return tally


def looks(rng: np.random.Generator, sets: int, *, n: int) -> Tally:
    """People enter evenly for four weeks, and each day from the seventh on somebody looks; nothing differs."""
    tally: Tally = {}
    keep = (1 - ICC) / ICC
    for _ in range(sets):
        size = np.exp(SIZES * rng.standard_normal(n))
        cluster = rng.choice(n, PEOPLE, p=size / size.sum())
        treated = (rng.random(PEOPLE) < 0.5).astype(np.int64)
        y, d = shares(rng, rng.beta(RATE * keep, (1 - RATE) * keep, n)[cluster], np.zeros(PEOPLE))
        alarms = {"alarm": False, "units": False}
        for day in range(7, DAYS + 1):
            k = PEOPLE * day // DAYS
            found = inside.compare(y[:k], d[:k], Nesting(treated[:k], cluster[:k]))
            if found is None or not found.effect.se:
                continue
            e, se = found.effect.effect, found.effect.se
            for key, df in (("alarm", df_between(found.effect)), ("units", None)):
                alarms[key] |= always_valid.p_value(e, se, k, UNDECLARED_PLAN, df) <= LEVEL
        for key, hit in alarms.items():
            add(tally, key, hit)
    return tally


def strata(rng: np.random.Generator, sets: int, *, values: Values = shares, worth: float = 1.0, n: int = 0) -> Tally:
    """Three strata; with ``n`` that many clusters across them."""
    tally: Tally = {}
    stratum = np.repeat(np.arange(3), STRATA)
    for _ in range(sets):
        for key in ("effect", "aa"):
            treated = (rng.random(len(stratum)) < np.array(SHARES)[stratum]).astype(np.int64)
            cluster = None
            level = np.array(LEVELS)[stratum]
            if n:
                cluster = rng.integers(0, n, len(stratum))
                level = level * (1 + SWING * rng.standard_normal(n)[cluster])
            y, d = values(rng, level, GAIN * treated * (key == "effect"))
            _count(tally, key, y, d, Nesting(treated, cluster, stratum), GAIN * worth)
            if key == "aa":
                _alarm(tally, "people", _of_people(y, treated))
    return tally


def drift(rng: np.random.Generator, sets: int) -> Tally:
    """A stratified draw in file order, one stratum after the other: does the share over the days block it?"""
    tally: Tally = {}
    days = np.arange(DAYS)
    stratum = np.minimum(days * 3 // DAYS, 2)
    for _ in range(sets):
        new = rng.binomial(PER_DAY, np.array(SHARES)[stratum])
        per_stratum = [share_drift((PER_DAY - new)[stratum == s], new[stratum == s]) for s in range(3)]
        for key, test in (("inside", within_strata(per_stratum)), ("pooled", share_drift(PER_DAY - new, new))):
            add(tally, key, test is not None and test.p < ALARM_P)
    return tally


def _count(tally: Tally, key: str, y: FloatArray, d: FloatArray, nesting: Nesting, gain: float) -> None:
    found = inside.compare(y, d, nesting, skew=True)
    if found is None:
        return
    if key != "effect":
        _alarm(tally, key, found.effect)
        return
    low, high = found.effect.interval(LEVEL) or (0.0, 0.0)
    add(tally, key, low <= gain <= high)


def _alarm(tally: Tally, key: str, effect: Comparison) -> None:
    if effect.p is not None:
        add(tally, key, effect.p <= LEVEL)


def _of_people(y: FloatArray, treated: IntArray) -> Comparison:
    control, new = (mean_sample(m) for m in cells(y, np.ones(len(y)), treated, 2))
    return compare(control, new)


def _clusters(
    n: int, what: str, values: Values = shares, worth: float = 1.0, *, whole: bool = False, required: bool = True
) -> Scenario:
    named = f"{what}, {'whole clusters drawn, ' if whole else ''}{n} clusters"
    target: tuple[Target | None, Target | None] = (coverage(SETS), false_alarms(SETS)) if required else (None, None)
    rows = [
        Row("effect", f"{named}: interval of the difference, the effect differs", target[0]),
        Row("aa", f"{named}: A/A", target[1]),
        Row("varying", f"{named}: A/A, the effect differs", target[1]),
        Row("people", f"{named}: the same, people taken as independent", None),
    ]
    name = f"inside_{values.__name__}_{n}{'_whole' if whole else ''}"
    return Scenario(name, named, SETS, PIECE, rows, partial(clusters, n=n, values=values, worth=worth, whole=whole))


def _strata(what: str, values: Values = shares, worth: float = 1.0, n: int = 0) -> Scenario:
    named = f"{what}, strata with 10, 50 and 90 % in the new arm" + (f", {n} clusters across them" if n else "")
    rows: Sequence[Row] = [
        Row("effect", f"{named}: interval of the difference", coverage(SETS)),
        Row("aa", f"{named}: A/A", false_alarms(SETS)),
        Row("people", f"{named}: the same without strata", None),
    ]
    name = f"strata_{values.__name__}" + (f"_{n}" if n else "")
    return Scenario(name, named, SETS, PIECE, rows, partial(strata, values=values, worth=worth, n=n))


def _looks(n: int) -> Scenario:
    named = f"share of 20 %, {n} clusters, looked at daily for four weeks"
    rows = [
        Row("alarm", f"{named}: always-valid", ALWAYS_VALID),
        Row("units", f"{named}: the same with the normal quantile", None),
    ]
    return Scenario(f"inside_daily_{n}", named, DAILY_SETS, 50, rows, partial(looks, n=n))


SCENARIOS: list[Scenario] = [
    *(_clusters(n, "share of 20 %") for n in (8, 15, 30, 60)),
    _clusters(30, "money, 80 % zeros", money, SPENT),
    _clusters(30, "share of requests", requests),
    *(_clusters(n, "share of 20 %", whole=True, required=False) for n in (15, 30, 60)),
    *(_looks(n) for n in (8, 30)),
    _strata("shares of 10 to 40 %"),
    _strata("money, 60 to 90 % zeros", money, SPENT),
    _strata("shares of requests", requests),
    _strata("shares of 10 to 40 %", n=30),
    Scenario(
        "strata_drift", "a stratified draw in file order", SETS, PIECE,
        [
            Row(
                "inside", "a stratified draw in file order: the share over the days blocks it",
                Target(0.0, ALARM_P, at_most=True),
            ),
            Row("pooled", "the same without strata", None),
        ],
        drift,
    ),
]  # fmt: skip
