"""Do floors and guardrails hold where events are few, where nearly everybody has one, and where nothing varies?

*A/A*: shares near 1 and shares of requests between arms of unequal size; data sets below the floors decide nothing,
and the table says how many are above. *Breach*: the true harm is exactly the margin, three guardrails share 5 %, read
on every fourth of 28 days (*looks*), so that at most 5 % divided by three of the tests may say breach. *Cleared*: the
true harm is exactly the margin, read once when the plan is reached: at most 5 %. Requests come in units of one to
eight; of *clumped* ones a unit's requests fail together. *Power* says how often what a row names is told.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from analysis.estimators.bounded import Bounded
from analysis.guards import Terms, by_counts, by_normal, worst
from analysis.lift import compare, ratio_sample
from analysis.moments import FloatArray, Moments, cells
from analysis.verdict import MIN_EVENTS
from benchmarks.calibration.results import pack_metric, result_of, share_moments
from benchmarks.calibration.scenario import Row, Scenario, Tally, Target, add

LEVEL, TESTS, DAYS = 0.05, 3, 28
SETS, PIECE = 10_000, 500
LOOKS, LOOK_PIECE = 600, 50
EVERY = 4  # days between looks
REQUESTS = 8  # most of a unit


def shares(rng: np.random.Generator, sets: int, *, units: tuple[int, int], share: float) -> Tally:
    """A/A of a share of people."""
    tally: Tally = {}
    metric = pack_metric("conversion")
    for control, treated in zip(rng.binomial(units[0], share, sets), rng.binomial(units[1], share, sets), strict=True):
        events = int(control), int(treated)
        made = result_of(
            metric, (share_moments(units[0], events[0]), share_moments(units[1], events[1])), people=units,
            events=events, full_days=DAYS,
        )  # fmt: skip
        add(tally, "told", made.floor is None)
        if made.floor is None and made.effect is not None and made.effect.p is not None:
            add(tally, "aa", made.effect.p <= LEVEL)
    return tally


def requests(rng: np.random.Generator, sets: int, *, units: tuple[int, int], share: float, clumped: bool) -> Tally:
    """A/A of a share of requests."""
    tally: Tally = {}
    metric = pack_metric("error_rate")
    for _ in range(sets):
        arms = [_marked(rng, n, share, clumped) for n in units]
        moments = [_moments(y, d) for y, d in arms]
        events = tuple(int(np.count_nonzero(y)) for y, _ in arms)
        made = result_of(metric, (moments[0], moments[1]), people=units, events=(events[0], events[1]), full_days=DAYS)
        add(tally, "told", made.floor is None)
        if made.floor is None and made.effect is not None and made.effect.p is not None:
            add(tally, "aa", made.effect.p <= LEVEL)
    return tally


def guarded(
    rng: np.random.Generator,
    sets: int,
    *,
    units: tuple[int, int],
    rates: tuple[float, float],
    margin: float,
    clumped: bool,
    heavy: bool = False,
) -> Tally:
    """A guardrail of requests, looked at daily and once at the end; as `analysis.judge` chooses the test.

    Args:
        heavy: the number of requests has a heavy tail, and in each data set one person makes thousands, half of which
            are marked: in the new version's arm, where they could break its limit.
    """
    tally: Tally = {}
    planned = sum(units)
    for _ in range(sets):
        arms = [_marked(rng, n, rate, clumped, heavy=heavy) for n, rate in zip(units, rates, strict=True)]
        if heavy:
            place = int(rng.integers(units[1]))
            made = float(rng.integers(1_000, 10_000))
            arms[1][0][place], arms[1][1][place] = made / 2, made
        breached = False
        state = "open"
        for day in range(EVERY, DAYS + 1, EVERY):
            seen = [slice(0, max(round(n * day / DAYS), 2)) for n in units]
            moments = [_moments(y[s], d[s]) for (y, d), s in zip(arms, seen, strict=True)]
            state = _state(moments, [(y[s], d[s]) for (y, d), s in zip(arms, seen, strict=True)], margin, planned)
            breached |= state == "breach"
        add(tally, "breach", breached)
        add(tally, "cleared", state == "cleared")
    return tally


def _state(moments: list[Moments], arms: list[tuple[FloatArray, FloatArray]], margin: float, planned: int) -> str:
    n = sum(m.n for m in moments)
    terms = Terms("errors", margin, True, n, planned, TESTS, n, planned / DAYS, 0.0)
    marked = min(int(np.count_nonzero(y)) for y, _ in arms)
    free = min(int(np.count_nonzero(y < d)) for y, d in arms)
    normal = min(marked, free) >= MIN_EVENTS
    state = _tested(terms, moments, normal)
    if state == "breach":  # it has to be one without the units that add most to it
        y, d = arms[1]
        few = worst(y, d, moments[0].y / moments[0].d + margin, lower_is_better=True)
        rest = _moments(np.delete(y, few), np.delete(d, few))
        state = "breach" if rest.n and _tested(terms, [moments[0], rest], normal) == "breach" else "open"
    return state


def _tested(terms: Terms, moments: list[Moments], normal: bool) -> str:
    if normal:
        return by_normal(terms, compare(ratio_sample(moments[0]), ratio_sample(moments[1]))).state
    old, new = (Bounded.of_moments(m) for m in moments)
    return "no data" if old is None or new is None else by_counts(terms, (old, new)).state


def _marked(
    rng: np.random.Generator, n: int, share: float, clumped: bool, *, heavy: bool = False
) -> tuple[FloatArray, FloatArray]:
    """(marked requests, requests) of each unit."""
    d = np.ceil(rng.lognormal(0.5, 1.2, n)).astype(np.int64) if heavy else rng.integers(1, REQUESTS + 1, n)
    y = d * (rng.random(n) < share) if clumped else rng.binomial(d, share)
    return y.astype(np.float64), d.astype(np.float64)


def _moments(y: FloatArray, d: FloatArray) -> Moments:
    return cells(y, d, np.zeros(len(y), dtype=np.int64), 1)[0]


def _aa(name: str, what: str, run: partial[Tally], *, silent: bool = False) -> Scenario:
    """``silent``: nothing may be said of so few."""
    rows = [Row("aa", f"{what}: A/A", Target(0.0, 0.06))] if not silent else []
    rows.append(Row("told", f"{what}: above the floors", Target(0.0, 0.001) if silent else None))
    return Scenario(name, what, SETS, PIECE, rows, run)


def _at_margin(name: str, what: str, run: partial[Tally]) -> Scenario:
    rows = [
        Row("breach", f"{what}: breach, looks", Target(0.0, LEVEL / TESTS, at_most=True)),
        Row("cleared", f"{what}: cleared, once", Target(0.0, LEVEL, at_most=True)),
    ]
    return Scenario(name, what, LOOKS, LOOK_PIECE, rows, run)


def _alike(name: str, what: str, run: partial[Tally]) -> Scenario:
    rows = [Row("breach", f"{what}: breach, looks", Target(0.0, LEVEL / TESTS, at_most=True))]
    return Scenario(name, what, LOOKS, LOOK_PIECE, rows, run)


def _power(name: str, what: str, run: partial[Tally], key: str) -> Scenario:
    return Scenario(name, what, LOOKS // 2, LOOK_PIECE, [Row(key, what, None)], run)


_NEAR_ONE = [
    (0.95, (1_000, 60), True), (0.98, (1_000, 60), True), (0.999, (60_000, 2_000), True),
    (0.98, (5_000, 2_000), False), (0.95, (2_000, 1_000), False), (0.95, (20_000, 2_000), False),
]  # fmt: skip
SCENARIOS: list[Scenario] = [
    *(
        _aa(
            f"share_{share:g}_{units[1]}", f"{100 * share:g} % of people, {units[0]:,} and {units[1]:,}",
            partial(shares, units=units, share=share), silent=silent,
        )
        for share, units, silent in _NEAR_ONE
    ),
    _aa("requests_1", "1 % of requests, 5,000 and 100 people",
        partial(requests, units=(5_000, 100), share=0.01, clumped=False), silent=True),
    _aa("requests_clumped", "1 % of requests, clumped, 10,000 and 4,000 people",
        partial(requests, units=(10_000, 4_000), share=0.01, clumped=True)),
    _at_margin("margin_rare", "errors 0.1 → 0.6 %, margin 0.5 points, 2,000 and 200 people",
               partial(guarded, units=(2_000, 200), rates=(0.001, 0.006), margin=0.005, clumped=False)),
    _at_margin("margin_clumped", "errors 0.2 → 1.2 %, clumped, margin 1 point, 1,500 and 1,500 people",
               partial(guarded, units=(1_500, 1_500), rates=(0.002, 0.012), margin=0.01, clumped=True)),
    _at_margin("margin_usual", "errors 2 → 3 %, margin 1 point, 2,000 and 2,000 people",
               partial(guarded, units=(2_000, 2_000), rates=(0.02, 0.03), margin=0.01, clumped=False)),
    _alike("heavy_one", "A/A, 1 % of requests, one of the new version's 1,500 people makes thousands, half marked",
           partial(guarded, units=(1_500, 1_500), rates=(0.01, 0.01), margin=0.005, clumped=True, heavy=True)),
    _alike("heavy_none", "A/A, no mark but half of the thousands of one of the new version's 1,500 people",
           partial(guarded, units=(1_500, 1_500), rates=(0.0, 0.0), margin=0.005, clumped=True, heavy=True)),
    _power("total_failure", "every request fails, 1,500 and 20 people, margin 0.5 points: breach",
           partial(guarded, units=(1_500, 20), rates=(0.0, 1.0), margin=0.005, clumped=False), "breach"),
    _power("a_fifth_fails", "a fifth of requests fail, 1,500 and 60 people, margin 0.5 points: breach",
           partial(guarded, units=(1_500, 60), rates=(0.0, 0.2), margin=0.005, clumped=False), "breach"),
    _power("well", "no request fails, 700 and 700 people, margin 0.5 points: cleared",
           partial(guarded, units=(700, 700), rates=(0.0, 0.0), margin=0.005, clumped=False), "cleared"),
    _power("nearly_well", "0.1 % of requests fail in both, 3,000 and 3,000 people, margin 0.5 points: cleared",
           partial(guarded, units=(3_000, 3_000), rates=(0.001, 0.001), margin=0.005, clumped=False), "cleared"),
]  # fmt: skip
