"""A canary with the goals and guardrails of the pack, day by day, as sums: what a look on any day would find.

Who entered on day k has its window behind it three days later (answers: fourteen), so a look with k full entry days
sees the first k days' orders and the first k − 11 days' answers. ``repeat_order`` is left out (its windows are longer
than the trial), and so is ``latency_p95``, which needs rows (`benchmarks.calibration.arms.latency`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from analysis.effects import Result
from analysis.judge import Pace, Weighed
from analysis.moments import FloatArray, Moments
from analysis.srm import alarm, sample_ratio
from benchmarks.calibration.results import pack_metric, result_of, weighed
from edgeloop.store.facts import SampleRatio

DAYS = 28
ENGAGEMENT_DAYS, ANSWER_DAYS = 3, 14
CONVERSION, REBOOKED, COMPLAINT = 0.08, 0.03, 0.01
ORDER_LOG_MEAN, ORDER_LOG_SPREAD = 3.2, 0.7  # € 31 on average
ANSWER = 0.08  # share of people who answer CSAT, and as many NPS
CSAT = np.array([0.06, 0.10, 0.19, 0.35, 0.30])
NPS = np.array([0.25, 0.35, 0.40])
EXPOSURES = np.array([0.4, 0.3, 0.2, 0.1])  # one to four of a person
OVER_BUDGET, ERROR = 0.03, 0.005  # of exposures
_SHARES = {"conversion": CONVERSION, "slot_rebooked": REBOOKED, "complaint": COMPLAINT}

METRICS = {
    name: pack_metric(name)
    for name in ("conversion", "slot_rebooked", "complaint", "revenue", "csat", "nps", "over_budget", "error_rate")
}


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """Sums of one trial up to each look: ``sums[metric]`` has shape (looks, arms, 7), ``events`` (looks, arms)."""

    entered: FloatArray
    """People up to each day, shape (days, arms)."""
    sums: dict[str, FloatArray]
    events: dict[str, FloatArray]
    share: float
    planned: int | None

    def look(self, k: int) -> Weighed:
        """All that is known when ``k`` days (1 to 28) are complete; its deciding is `analysis.judge.judge`'s."""
        per_day = float(self.entered[-1].sum()) / DAYS
        entered = self.entered[k - 1]
        results = [r for name in METRICS if (r := self._result(name, k)) is not None]
        observed = {"1": int(entered[0]), "2": int(entered[1])}
        test = sample_ratio(observed, {"1": 1 - self.share, "2": self.share})
        alarms = [SampleRatio(test.p)] if test is not None and alarm(test.p, 1) else []
        return weighed(
            results,
            planned=self.planned,
            full_days=k,
            share=self.share,
            pace=Pace(int(entered.sum() + ENGAGEMENT_DAYS * per_day), per_day),
            alarms=alarms,
        )

    def _result(self, name: str, k: int) -> Result | None:
        metric = METRICS[name]
        day = k - (ANSWER_DAYS - ENGAGEMENT_DAYS) if metric.source == "answer" else k
        if day < 1:
            return None
        arms = [Moments(int(row[0]), *row[1:]) for row in self.sums[name][day - 1].tolist()]
        if min(arm.d for arm in arms) == 0:
            return None
        seen = self.events[name][day - 1]
        people = self.entered[day - 1]  # with complete windows
        return result_of(
            metric,
            (arms[0], arms[1]),
            people=(int(people[0]), int(people[1])),
            events=(int(seen[0]), int(seen[1])),
            full_days=k,
        )


def trial(
    rng: np.random.Generator,
    units: int,
    *,
    share: float = 0.5,
    effects: Mapping[str, float] | None = None,
    planned: int | None = None,
) -> Trial:
    """A drawn trial.

    Args:
        units: of both arms, entering evenly over the days.
        share: the new version's.
        effects: what the new version changes, by metric: of conversion (and so of revenue), rebooked slots and
            complaints relative to the old version's; of exposures' shares and CSAT as a difference.
        planned: units of the plan, None: not declared.
    """
    adds = effects or {}
    total = np.diff(np.linspace(0, units, DAYS + 1).round()).astype(np.int64)
    new = rng.binomial(total, share)
    n = np.stack([total - new, new], axis=1)
    sums: dict[str, FloatArray] = {}
    events: dict[str, FloatArray] = {}
    for name, rate in _SHARES.items():
        rates = np.array([rate, rate * (1 + adds.get(name, 0.0))])
        events[name] = rng.binomial(n, rates).astype(np.float64)
        sums[name] = _moments(n, events[name], events[name], events[name])
    orders = events["conversion"].astype(np.int64)
    spent = np.exp(ORDER_LOG_MEAN + ORDER_LOG_SPREAD * rng.standard_normal(int(orders.sum())))
    of = np.repeat(np.arange(orders.size), orders.ravel())
    powers = [np.bincount(of, weights=spent**k, minlength=orders.size).reshape(orders.shape) for k in (1, 2, 3)]
    events["revenue"], sums["revenue"] = events["conversion"], _moments(n, *powers)
    for name, values, chance in (("csat", np.arange(1.0, 6.0), CSAT), ("nps", np.array([-100.0, 0.0, 100.0]), NPS)):
        of_arms = np.array([[*(ANSWER * c), 1 - ANSWER] for c in (chance, _moved(chance, adds.get(name, 0.0)))])
        counts = rng.multinomial(n, of_arms)[..., :-1].astype(np.float64)
        events[name] = counts.sum(axis=-1)
        sums[name] = _moments(events[name], *(counts @ values**k for k in (1, 2, 3)))
    for name, rate in (("over_budget", OVER_BUDGET), ("error_rate", ERROR)):
        events[name], sums[name] = _marked(rng, n, (rate, rate + adds.get(name, 0.0)))
    return Trial(
        n.cumsum(axis=0).astype(np.float64),
        {name: rows.cumsum(axis=0) for name, rows in sums.items()},
        {name: rows.cumsum(axis=0) for name, rows in events.items()},
        share,
        planned,
    )


def _moments(n: np.ndarray, y: np.ndarray, yy: np.ndarray, yyy: np.ndarray) -> FloatArray:
    """Of units that count once each."""
    return np.stack([n, y, yy, n, n, y, yyy], axis=-1).astype(np.float64)


def _moved(chance: FloatArray, points: float) -> FloatArray:
    """CSAT with a mean so much higher: who would say 3 says 5, or the other way about."""
    moved = np.array(chance)
    if points:
        moved[4] += points / 2
        moved[2] -= points / 2
    return moved


def _marked(rng: np.random.Generator, n: np.ndarray, rates: tuple[float, float]) -> tuple[FloatArray, FloatArray]:
    """(people with a marked exposure, moments): people by how many exposures they have and how many are marked."""
    pairs = [(d, y) for d in range(1, len(EXPOSURES) + 1) for y in range(d + 1)]
    chance = np.array(
        [[EXPOSURES[d - 1] * math.comb(d, y) * r**y * (1 - r) ** (d - y) for d, y in pairs] for r in rates]
    )
    counts = rng.multinomial(n, chance / chance.sum(axis=1, keepdims=True)).astype(np.float64)
    d, y = (np.array(column, dtype=np.float64) for column in zip(*pairs, strict=True))
    sums = np.stack([counts @ w for w in (np.ones(len(d)), y, y * y, d, d * d, y * d, y**3)], axis=-1)
    return counts @ (y > 0), sums
