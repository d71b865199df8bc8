"""Do fixed intervals and tests hold between two concurrent arms? Means, money, rare events, couriers, answers, latency.

Each design is drawn twice: with an effect, of which the intervals of the difference and of the lift should hold the
truth, and without one, where the test should alarm in 5 %. Data sets below the floors decide nothing and do not count.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from analysis.estimators import quantiles
from analysis.estimators.cuped import CovariateMoments, residuals
from analysis.estimators.interaction import joint_model
from analysis.lift import compare, log_ratio, ratio_sample
from analysis.metrics import Metric
from analysis.moments import FloatArray, Moments, cells
from analysis.values import Crowd
from benchmarks.calibration.results import CLUSTERED, SINGLE, pack_metric, result_of, share_moments, sum_moments
from benchmarks.calibration.scenario import Row, Scenario, Tally, add, coverage, false_alarms

SETS, PIECE = 10_000, 250
FULL_DAYS = 28
LEVEL = 0.05
HISTORY = 0.7  # share of units of which something is known from before


@dataclass(frozen=True, slots=True)
class Drawn:
    """One arm of one data set."""

    moments: Moments
    events: int
    people: int
    before: CovariateMoments | None = None
    columns: FloatArray | None = None
    """What ``before`` is of, where one draws few enough to keep it: shape (units, 3)."""


DrawArm = Callable[[np.random.Generator, int, int, bool], Sequence[Drawn]]
"""(generator, data sets, units, new version with its effect) → one arm of each data set."""


@dataclass(frozen=True)
class Design:
    """Two arms of so many units; ``truth`` are the figures of control and of the new version with its effect."""

    name: str
    what: str
    metric: Metric
    units: tuple[int, int]
    draw: DrawArm = field(repr=False)
    truth: tuple[float, float]
    of: Crowd = SINGLE
    piece: int = PIECE

    def run(self, rng: np.random.Generator, sets: int) -> Tally:
        """Coverage of data sets with the effect, alarms in data sets without."""
        tally: Tally = {}
        for new in (True, False):
            arms = self.draw(rng, sets, self.units[0], False), self.draw(rng, sets, self.units[1], new)
            for control, treated in zip(*arms, strict=True):
                self._count(tally, control, treated, new)
        return tally

    def _count(self, tally: Tally, control: Drawn, treated: Drawn, new: bool) -> None:
        before = (control.before, treated.before) if control.before and treated.before else None
        made = result_of(
            self.metric,
            (control.moments, treated.moments),
            people=(control.people, treated.people),
            events=(control.events, treated.events),
            full_days=FULL_DAYS,
            of=self.of,
            before=before,
            left=_left(control, treated),
        )
        if made.floor is not None or made.effect is None:
            return
        interval, p = made.effect.interval(LEVEL), made.effect.p
        if interval is None or p is None:
            return
        if not new:
            add(tally, "aa", p <= LEVEL)
            return
        add(tally, "effect", interval[0] <= self.truth[1] - self.truth[0] <= interval[1])
        if made.lift is not None:
            add(tally, "lift", made.lift.low <= self.truth[1] / self.truth[0] - 1 <= made.lift.high)

    def scenario(self) -> Scenario:
        """As one."""
        rows = [Row("effect", f"{self.what}: interval of the difference", coverage(SETS))]
        if self.metric.source != "answer":
            rows.append(Row("lift", f"{self.what}: interval of the lift", coverage(SETS)))
        rows.append(Row("aa", f"{self.what}: A/A", false_alarms(SETS)))
        return Scenario(self.name, self.what, SETS, self.piece, rows, self.run)


def _left(control: Drawn, treated: Drawn) -> tuple[Moments, Moments] | None:
    """The moments of what was not known before."""
    if control.columns is None or treated.columns is None or control.before is None or treated.before is None:
        return None
    both = [
        residuals(arm.columns, control.before, treated.before) for arm in (control, treated) if arm.columns is not None
    ]
    made = [cells(r, np.ones(len(r)), np.zeros(len(r), dtype=np.int64), 1)[0] for r in both]
    return made[0], made[1]


def _units(y: FloatArray, x: FloatArray | None, history: np.ndarray | None) -> list[Drawn]:
    """One arm from units' values, shape (sets, units)."""
    n = y.shape[1]
    sums, there = [y.sum(axis=1), (y * y).sum(axis=1), (y * y * y).sum(axis=1)], np.count_nonzero(y, axis=1)
    drawn = []
    for i in range(len(y)):
        before = columns = None
        if x is not None and history is not None:
            known = history[i].astype(np.float64)
            columns = np.stack([y[i], np.where(history[i], x[i], 0.0), known], axis=1)
            before = CovariateMoments.of(columns)
        drawn.append(Drawn(sum_moments(n, *(float(s[i]) for s in sums)), int(there[i]), n, before, columns))
    return drawn


# Means: normal, 10 ± 3, the new version + 0.3.
MEAN, SPREAD, GAIN = 10.0, 3.0, 0.3


def means(rng: np.random.Generator, sets: int, n: int, new: bool, *, rho: float | None = None) -> list[Drawn]:
    """Normal values; ``rho`` is the correlation with the value before, None: nothing is known."""
    z = rng.standard_normal((sets, n))
    y = MEAN + GAIN * new + SPREAD * z
    if rho is None:
        return _units(y, None, None)
    x = MEAN + SPREAD * (rho * z + np.sqrt(1 - rho * rho) * rng.standard_normal((sets, n)))
    return _units(y, x, rng.random((sets, n)) < HISTORY)


# Money: 95 % spend nothing, the others lognormal with a mean of 33 and a median of 20; the new version has 10 % more
# buyers.
BUYERS, LOG_MEAN, LOG_SPREAD, MORE_BUYERS = 0.05, 3.0, 1.0, 1.1
SPENT = float(np.exp(LOG_MEAN + LOG_SPREAD**2 / 2))


def money(rng: np.random.Generator, sets: int, n: int, new: bool, *, rho: float | None = None) -> list[Drawn]:
    """Sums per unit; with probability ``rho`` the one before is what the unit would spend on the old version."""

    def spend(u: FloatArray, share: float) -> FloatArray:
        y = np.zeros((sets, n))
        buys = u < share
        y[buys] = np.exp(LOG_MEAN + LOG_SPREAD * rng.standard_normal(int(np.count_nonzero(buys))))
        return y

    u = rng.random((sets, n))
    y = spend(u, BUYERS * (MORE_BUYERS if new else 1.0))
    if rho is None:
        return _units(y, None, None)
    same = rng.random((sets, n)) < rho
    x = np.where(same, np.where(u < BUYERS, y, 0.0), spend(rng.random((sets, n)), BUYERS))
    return _units(y, x, rng.random((sets, n)) < HISTORY)


# Events: 1 % of units, 1.15 % with the new version.
RATE, MORE_EVENTS = 0.01, 1.15


def events(rng: np.random.Generator, sets: int, n: int, new: bool, *, rho: float | None = None) -> list[Drawn]:
    """Counts; with probability ``rho`` the unit had the event before exactly if it has it now on the old version."""
    rate = RATE * (MORE_EVENTS if new else 1.0)
    if rho is None:
        return [Drawn(share_moments(n, int(k)), int(k), n) for k in rng.binomial(n, rate, sets)]
    # Cells of (y, x, history); what the new version adds are units that would not have it on the old one.
    patterns = [(y, x, h) for y in (0, 1) for x in (0, 1) for h in (0, 1)]
    chance = [_pattern(y, x, rate, rho) * (HISTORY if h else 1 - HISTORY) for y, x, h in patterns]
    columns = np.array([(y, x * h, h) for y, x, h in patterns], dtype=np.float64)
    drawn = []
    for counts in rng.multinomial(n, chance, sets).astype(np.float64):
        before = CovariateMoments(n, counts @ columns, (columns.T * counts) @ columns)
        k = int(before.sums[0])
        drawn.append(Drawn(share_moments(n, k), k, n, before))
    return drawn


def _pattern(y: int, x: int, rate: float, rho: float) -> float:
    """P(y now, x before)."""
    old = ((1 - rate, rate - RATE), (0.0, RATE))  # P(y on the old version is row, y now is column), nested events
    independent = (rate if y else 1 - rate) * (RATE if x else 1 - RATE)
    return rho * old[x][y] + (1 - rho) * independent


# Couriers: half of them busy (mean 61 customers, 10 % rebook), half slow (21 customers, 16 %), each with a habit.
BUSY, SLOW, HABIT = (60.0, 0.10), (20.0, 0.16), 40.0
MORE_REBOOKED = 1.2


def couriers(rng: np.random.Generator, sets: int, n: int, new: bool, *, before: bool = False) -> list[Drawn]:
    """Customers and those of them who rebook, per courier; before: the same couriers' habit in the weeks before."""
    busy = rng.random((sets, n)) < 0.5
    size = np.where(busy, BUSY[0], SLOW[0])
    share = np.where(busy, BUSY[1], SLOW[1])
    habit = rng.beta(HABIT * share, HABIT * (1 - share))
    pace = rng.gamma(4.0, 0.25, (sets, n))
    d = 1 + rng.poisson(size * pace)
    more = rng.binomial(d, np.minimum(habit * (MORE_REBOOKED if new else 1.0), 1.0)).astype(np.float64)
    columns = [more, d.astype(np.float64)]
    if before:
        earlier = 1 + rng.poisson(size * pace)
        columns += [rng.binomial(earlier, habit).astype(np.float64), earlier.astype(np.float64)]
    table = np.stack(columns, axis=2)
    drawn = []
    for part in table:
        (moments,) = cells(part[:, 0], part[:, 1], np.zeros(n, dtype=np.int64), 1)
        people, marked = int(part[:, 1].sum()), int(part[:, 0].sum())
        drawn.append(Drawn(moments, marked, people, CovariateMoments.of(part) if before else None))
    return drawn


# Σ rebooked / Σ customers of all couriers that could be drawn; each has one customer more than its mean says.
REBOOKED = sum((1 + mean) * share for mean, share in (BUSY, SLOW)) / sum(1 + mean for mean, _ in (BUSY, SLOW))


# Answers: a quarter answer, 1 to 5.
ANSWER = 0.25
SCORES = np.array([0.06, 0.10, 0.19, 0.35, 0.30]), np.array([0.05, 0.09, 0.18, 0.36, 0.32])
PROMOTERS = np.array([0.25, 0.35, 0.40]), np.array([0.22, 0.34, 0.44])  # detractors, passive, promoters


def answers(
    rng: np.random.Generator, sets: int, n: int, new: bool, *, values: Sequence[float], chance: Sequence[np.ndarray]
) -> list[Drawn]:
    """One answer of each who answers, and nothing of the others."""
    of = np.asarray(values)
    drawn = []
    for counts in rng.multinomial(n, [*(ANSWER * chance[new]), 1 - ANSWER], sets)[:, :-1]:
        k = int(counts.sum())
        powers = (float(counts @ of**power) for power in (1, 2, 3))
        drawn.append(Drawn(sum_moments(k, *powers), k, n))
    return drawn


# Latency: lognormal, devices differ; 1 to 11 exposures a unit; the new version 5 % slower.
LATENCY, BETWEEN, WITHIN, SLOWER = np.log(180.0), 0.25, 0.35, 1.05
TAIL = 0.95


def latency(rng: np.random.Generator, sets: int, *, units: int) -> Tally:
    """The p95 of exposures with units as clusters, and the share above the stable arm's p95 that guardrails test."""
    tally: Tally = {}
    slow = 1.6448536 * np.hypot(BETWEEN, WITHIN)
    true = np.exp(LATENCY + slow) * (SLOWER - 1)
    for _ in range(sets):
        for new in (True, False):
            arms = []
            for faster in (1.0, SLOWER if new else 1.0):
                times = 1 + rng.poisson(5.0, units).clip(0, 10)
                unit = np.repeat(np.arange(units), times)
                device = BETWEEN * rng.standard_normal(units)
                log = LATENCY + device[unit] + WITHIN * rng.standard_normal(len(unit))
                arms.append((np.exp(log) * faster, unit))
            figures = [quantiles.quantile_sample(value, of, TAIL) for value, of in arms]
            effect = compare(figures[0], figures[1])
            interval = effect.interval(LEVEL) or (0.0, 0.0)
            if new:
                add(tally, "effect", interval[0] <= true <= interval[1])
                lift = log_ratio(figures[0], figures[1])
                add(tally, "lift", lift is not None and lift.low <= SLOWER - 1 <= lift.high)
                continue
            add(tally, "aa", (effect.p or 1.0) <= LEVEL)
            threshold = float(np.quantile(arms[0][0], TAIL))
            shares = []
            for value, of in arms:
                above, there = quantiles.share_above(value, of, threshold)
                (moments,) = cells(above, there, np.zeros(len(above), dtype=np.int64), 1)
                shares.append(ratio_sample(moments))
            add(tally, "share", (compare(shares[0], shares[1]).p or 1.0) <= LEVEL)
    return tally


def interaction(rng: np.random.Generator, sets: int) -> Tally:
    """Two changes on the same people, 8 % with the event: what both add to their sum, and A alone."""
    tally: Tally = {}
    true = {"a": 0.010, "b": -0.005, "both": 0.012}
    for new in (True, False):
        rate = [[0.08, 0.08 + true["b"]], [0.08 + true["a"], 0.08 + true["a"] + true["b"] + true["both"] * new]]
        counts = np.array([[rng.binomial(3_000, p, sets) for p in row] for row in rate])
        for i in range(sets):
            model = joint_model([[share_moments(3_000, int(counts[a, b, i])) for b in (0, 1)] for a in (0, 1)])
            if model is None:
                continue
            if not new:
                add(tally, "aa", model.both.p <= LEVEL)
                continue
            for key, term in (("both", model.both), ("a", model.a)):
                low, high = term.interval(LEVEL)
                add(tally, key, low <= true[key] <= high)
    return tally


_MEAN = Metric("minutes", "mean", "sum", "minutes", 0, role="goal")
_MONEY = pack_metric("revenue")
_EVENT, _REBOOKED = pack_metric("complaint"), pack_metric("slot_rebooked")
_CSAT, _NPS = pack_metric("csat"), pack_metric("nps")
_FIVE = (1.0, 2.0, 3.0, 4.0, 5.0)
_TWO = (-100.0, 0.0, 100.0)


def _design(
    name: str, what: str, metric: Metric, units: tuple[int, int], draw: DrawArm, truth: Sequence[float],
    of: Crowd = SINGLE, piece: int = PIECE,
) -> Design:  # fmt: skip
    counted = f"{what}, {units[0]:,} and {units[1]:,}"
    return Design(name, counted, metric, units, draw, (truth[0], truth[1]), of, piece)


def _designs() -> list[Design]:
    mean = MEAN, MEAN + GAIN
    spent = BUYERS * SPENT, BUYERS * SPENT * MORE_BUYERS
    rate = RATE, RATE * MORE_EVENTS
    habits = REBOOKED, REBOOKED * MORE_REBOOKED
    csat = partial(answers, values=_FIVE, chance=SCORES)
    nps = partial(answers, values=_TWO, chance=PROMOTERS)
    scores = [float(np.array(_FIVE) @ p) for p in SCORES]
    net = [float(np.array(_TWO) @ p) for p in PROMOTERS]
    found = [
        _design("means", "means", _MEAN, (1_000, 1_000), means, mean),
        _design("means_canary", "means, 5 % canary", _MEAN, (9_500, 500), means, mean),
        _design("money", "money, 95 % zeros", _MONEY, (4_000, 4_000), money, spent),
        _design("money_canary", "money, 95 % zeros, 5 % canary", _MONEY, (38_000, 2_000), money, spent),
        _design("money_floor", "money just above the floor, 5 % canary", _MONEY, (22_800, 1_200), money, spent),
        _design("events", "1 % events", _EVENT, (10_000, 10_000), events, rate),
        _design("events_canary", "1 % events, 5 % canary", _EVENT, (95_000, 5_000), events, rate),
        _design("events_floor", "1 % events just above the floor, 5 % canary", _EVENT, (57_000, 3_000), events, rate),
        _design("couriers", "couriers as units", _REBOOKED, (100, 100), couriers, habits, CLUSTERED),
        _design("couriers_few", "couriers as units", _REBOOKED, (30, 30), couriers, habits, CLUSTERED),
        _design("csat", "CSAT 1–5, a quarter answers", _CSAT, (1_000, 1_000), csat, scores),
        _design("csat_canary", "CSAT 1–5, a quarter answers, 5 % canary", _CSAT, (7_600, 400), csat, scores),
        _design("nps", "NPS, a quarter answers", _NPS, (1_000, 1_000), nps, net),
    ]
    for rho in (0.0, 0.5, 0.9):
        tail = f"correlated {rho:g} with before"
        found += [
            _design(f"means_cuped_{rho:g}", f"means {tail}", _MEAN, (1_000, 1_000), partial(means, rho=rho), mean),
            _design(f"money_cuped_{rho:g}", f"money {tail}", _MONEY, (4_000, 4_000), partial(money, rho=rho), spent),
            _design(
                f"events_cuped_{rho:g}", f"1 % events {tail}", _EVENT, (10_000, 10_000), partial(events, rho=rho), rate
            ),
        ]
    found.append(
        _design("money_cuped_canary", "money correlated 0.5 with before, 5 % canary", _MONEY, (38_000, 2_000),
                partial(money, rho=0.5), spent, piece=50)
    )  # fmt: skip
    found.append(
        _design("couriers_cuped", "couriers as units, adjusted by the same couriers before", _REBOOKED, (100, 100),
                partial(couriers, before=True), habits, CLUSTERED)
    )  # fmt: skip
    return found


SCENARIOS: list[Scenario] = [
    *(design.scenario() for design in _designs()),
    Scenario(
        "latency", "p95 of latency, 400 and 400 units", SETS, PIECE,
        [
            Row("effect", "p95 of latency, 400 and 400 units: interval of the difference", coverage(SETS)),
            Row("lift", "p95 of latency, 400 and 400 units: interval of the lift", coverage(SETS)),
            Row("aa", "p95 of latency, 400 and 400 units: A/A", false_alarms(SETS)),
            Row("share", "share above the stable arm's p95, which the guardrail tests: A/A", false_alarms(SETS)),
        ],
        partial(latency, units=400),
    ),
    Scenario(
        "interaction", "two changes on the same people, 3,000 in each of four cells", SETS, PIECE,
        [
            Row("both", "two changes on the same people: interval of what both add", coverage(SETS)),
            Row("a", "two changes on the same people: interval of A alone", coverage(SETS)),
            Row("aa", "two changes on the same people, no interaction: its test", false_alarms(SETS)),
        ],
        interaction,
    ),
]  # fmt: skip
