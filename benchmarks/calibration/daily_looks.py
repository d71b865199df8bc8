"""How often is a false alarm raised when somebody looks every day for four weeks? Nothing differs between the arms.

Each look is judged as in production: floors, the e-process of rare events, the deciding p, Benjamini–Hochberg over the
goals, the table of verdicts. An alarm is *promote* or *roll back* on any of 28 days.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from analysis.judge import judge
from analysis.metrics import Metric
from analysis.moments import FloatArray
from benchmarks.calibration.arms import BUYERS, LOG_MEAN, LOG_SPREAD, MEAN, RATE, SPREAD
from benchmarks.calibration.pack import DAYS, Trial, trial
from benchmarks.calibration.results import pack_metric, result_of, sum_moments, weighed
from benchmarks.calibration.scenario import ALWAYS_VALID, Row, Scenario, Tally, add, percent

LEVEL = 0.05
ALARMS = ("promote", "roll back")
DrawDays = Callable[[np.random.Generator, np.ndarray], tuple[FloatArray, FloatArray, FloatArray, FloatArray]]
"""(generator, units per day and arm) → Σy, Σy², Σy³ and units with something, each of that shape."""


def means(rng: np.random.Generator, n: np.ndarray) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Normal values, by the distributions of their sums; their cubes around the mean are taken as 0."""
    y = MEAN * n + SPREAD * np.sqrt(n) * rng.standard_normal(n.shape)
    around = SPREAD**2 * 2 * rng.standard_gamma(np.maximum(n - 1, 0) / 2)
    mean = y / np.maximum(n, 1)
    yy = around + y * mean
    return y, yy, 3 * mean * yy - 2 * mean**2 * y, n.astype(np.float64)


def money(rng: np.random.Generator, n: np.ndarray) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """95 % zeros, the others lognormal."""
    buyers = rng.binomial(n, BUYERS)
    spent = np.exp(LOG_MEAN + LOG_SPREAD * rng.standard_normal(int(buyers.sum())))
    of = np.repeat(np.arange(n.size), buyers.ravel())
    y, yy, yyy = (np.bincount(of, weights=spent**k, minlength=n.size).reshape(n.shape) for k in (1, 2, 3))
    return y, yy, yyy, buyers.astype(np.float64)


def events(rng: np.random.Generator, n: np.ndarray) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """1 % of the units."""
    k = rng.binomial(n, RATE).astype(np.float64)
    return k, k, k, k


@dataclass(frozen=True)
class Looks:
    """One goal, so many units a day, the new version's share of them."""

    metric: Metric
    draw: DrawDays = field(repr=False)
    per_day: int
    share: float

    def run(self, rng: np.random.Generator, sets: int) -> Tally:
        """Alarms of judged looks, of the fixed test at every look, and with the fixed test once at the end."""
        tally: Tally = {}
        for _ in range(sets):
            new = rng.binomial(self.per_day, self.share, DAYS)
            n = np.stack([self.per_day - new, new], axis=1)
            drawn = (n, *self.draw(rng, n))
            by_look = [a.cumsum(axis=0) for a in drawn]
            alarmed = naive = False
            for k in range(DAYS):
                alarm, fixed = self._look(*(a[k] for a in by_look), k + 1)
                last = fixed if k == DAYS - 1 else alarm
                once = alarmed or last
                alarmed, naive = alarmed or alarm, naive or fixed
            add(tally, "alarm", alarmed)
            add(tally, "once", once)
            add(tally, "naive", naive)
        return tally

    def _look(
        self, n: np.ndarray, y: np.ndarray, yy: np.ndarray, yyy: np.ndarray, there: np.ndarray, day: int
    ) -> tuple[bool, bool]:
        """Whether this look alarms, and whether the fixed test would."""
        arms = [sum_moments(int(n[i]), float(y[i]), float(yy[i]), float(yyy[i])) for i in (0, 1)]
        people, seen = (int(n[0]), int(n[1])), (int(there[0]), int(there[1]))
        made = result_of(self.metric, (arms[0], arms[1]), people=people, events=seen, full_days=day)
        # One unit more than will ever enter is planned, so that every look is always-valid.
        w = weighed([made], planned=self.per_day * DAYS + 1, full_days=day, share=self.share)
        (judged,) = judge([w])
        p = made.effect.p if made.effect is not None else None
        return judged.ruling.verdict in ALARMS, p is not None and p <= LEVEL and made.floor is None

    def scenario(self, name: str, what: str) -> Scenario:
        """As one."""
        split = "50/50" if self.share == 0.5 else f"a {percent(self.share)} canary"
        title = f"{what}, {self.per_day:,} units a day at {split}"
        return Scenario(
            name, title, 10_000, 100,
            [
                Row("alarm", f"{title}: always-valid on 28 days", ALWAYS_VALID),
                Row("once", f"{title}: the same, and on the last day, the plan reached, the fixed test", None),
                Row("naive", f"{title}: the fixed test on each day above the floors", None),
            ],
            self.run,
        )  # fmt: skip


def family(rng: np.random.Generator, sets: int, *, units: int, share: float) -> Tally:
    """The pack's goals and guardrails together."""
    tally: Tally = {}
    plans = {"alarm": units + 1, "once": units, "undeclared": None}
    for _ in range(sets):
        drawn = trial(rng, units, share=share)
        for key, planned in plans.items():
            add(tally, key, _alarmed(drawn, planned))
    return tally


def _alarmed(drawn: Trial, planned: int | None) -> bool:
    of_plan = Trial(drawn.entered, drawn.sums, drawn.events, drawn.share, planned)
    return any(judge([of_plan.look(k)])[0].ruling.verdict in ALARMS for k in range(1, DAYS + 1))


def _family(name: str, units: int, share: float) -> Scenario:
    split = "50/50" if share == 0.5 else f"a {percent(share)} canary"
    title = f"six goals and two guardrails of the pack, {units:,} units in 28 days at {split}"
    return Scenario(
        name, title, 1_000, 10,
        [
            Row("alarm", f"{title}: always-valid", ALWAYS_VALID),
            Row("once", f"{title}: the plan reached on the last day", None),
            Row("undeclared", f"{title}: no plan declared, so the fixed test from 5,000 units on, every day", None),
        ],
        partial(family, units=units, share=share),
    )  # fmt: skip


_MINUTES = Metric("minutes", "mean", "sum", "minutes", 0, role="goal", headline=True)
_REVENUE, _COMPLAINT = pack_metric("revenue"), pack_metric("complaint")
_SPLITS = {"": 0.5, "_canary": 0.05}

SCENARIOS: list[Scenario] = [
    *(Looks(_MINUTES, means, 400, s).scenario(f"daily_means{k}", "means") for k, s in _SPLITS.items()),
    *(Looks(_REVENUE, money, 2_000, s).scenario(f"daily_money{k}", "money, 95 % zeros") for k, s in _SPLITS.items()),
    *(Looks(_COMPLAINT, events, 2_000, s).scenario(f"daily_events{k}", "1 % events") for k, s in _SPLITS.items()),
    Looks(_COMPLAINT, events, 10_000, 0.05).scenario("daily_events_many", "1 % events"),
    *(_family(f"daily_pack{k}", 40_000, s) for k, s in _SPLITS.items()),
]
