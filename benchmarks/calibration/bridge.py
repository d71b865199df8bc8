"""The month bridge on months with known effects: do the version bars cover what was planted, and do the bars sum?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.bridge import Delta
from analysis.bridge.bars import bridge_rows
from analysis.bridge.decompose import MonthCells, decompose, pooled
from analysis.lift import compare, mean_sample
from analysis.moments import cells

DAYS, GROUPS, CHANGES = 3, 8, 3
DAY_SHARES = (np.array([21, 4, 5]) / 30, np.array([22, 5, 4]) / 31)


@dataclass(frozen=True, slots=True)
class Months:
    """``bars`` version bars were drawn, ``covered`` held δ·x; ``identity`` is the largest |Σ bars − change|."""

    months: int
    bars: int
    covered: int
    identity: float


def simulate_months(months: int, seed: int, *, units: int = 4_000) -> Months:
    """Pairs of months of so many units: three changes drawn in the second, constant effects of up to 6 points."""
    rng = np.random.default_rng(seed)
    bars = covered = 0
    worst = 0.0
    for _ in range(months):
        true = rng.uniform(-0.06, 0.06, CHANGES)
        base = rng.uniform(0.2, 0.5, GROUPS)
        before, _ = _month(rng, units, 0, np.zeros(CHANGES), true, base)
        after, deltas = _month(rng, round(units * rng.uniform(0.8, 1.3)), 1, rng.uniform(0.2, 0.8, CHANGES), true, base)
        found = decompose(*pooled(before, after))
        names = [f"c{i}" for i in range(CHANGES)]
        rows = bridge_rows(
            found, names, dict(zip(names, deltas, strict=True)), (), None, freeze_id="", month="", metric="y"
        ).bars
        value = {row.bar if row.change_id is None else row.change_id: row for row in rows}
        for name, delta in zip(names, true, strict=True):
            row = value[name]
            bars += 1
            covered += bool((row.low or 0.0) <= delta * found.exposed[name] <= (row.high or 0.0))
        parts = ("calendar", "mix", *names, "unexplained")
        worst = max(worst, abs(sum(value[p].value for p in parts) - (found.after - found.before)))
    return Months(months, bars, covered, worst)


def _month(
    rng: np.random.Generator, n: int, number: int, share: np.ndarray, true: np.ndarray, base: np.ndarray
) -> tuple[MonthCells, list[Delta]]:
    day = rng.choice(DAYS, n, p=DAY_SHARES[number])
    group = rng.choice(GROUPS, n, p=rng.dirichlet(np.full(GROUPS, 8.0)))
    has = rng.random((CHANGES, n)) < share[:, None]
    y = (rng.random(n) < base[group] + true @ has).astype(np.float64)
    key = day * GROUPS + group

    def sums(weights: np.ndarray) -> np.ndarray:
        return np.bincount(key, weights=weights, minlength=DAYS * GROUPS).reshape(DAYS, GROUPS)

    of_month = MonthCells(sums(np.ones(n)), sums(y), {f"c{i}": sums(h.astype(float)) for i, h in enumerate(has)})
    deltas = []
    for h in has:
        arms = cells(y, np.ones(n), h.astype(np.int64), 2)
        if min(arm.n for arm in arms) < 2:
            break
        effect = compare(mean_sample(arms[0]), mean_sample(arms[1]))
        deltas.append(Delta(effect.effect, effect.interval(), effect.se))
    return of_month, deltas
