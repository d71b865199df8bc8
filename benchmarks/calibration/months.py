"""Do the bars of the month bridge cover what was planted, and do they sum?"""

from __future__ import annotations

import numpy as np

from benchmarks.calibration.bridge import simulate_months
from benchmarks.calibration.scenario import Row, Scenario, Tally, Target, add

IDENTITY = 1e-12


def months(rng: np.random.Generator, sets: int) -> Tally:
    """Pairs of months, three changes with constant effects in each."""
    tally: Tally = {}
    for _ in range(sets):
        found = simulate_months(1, int(rng.integers(2**63)))
        add(tally, "bars", found.covered, found.bars)
        add(tally, "identity", found.identity <= IDENTITY)
    return tally


SCENARIOS: list[Scenario] = [
    Scenario(
        "bridge", "the month bridge, three changes a month", 1_000, 20,
        [
            Row("bars", "month bridge, constant effects: bars that cover δ·x", Target(0.93, 0.97)),
            Row("identity", "month bridge: bars sum to the change to 1e-12", Target(1.0, 1.0)),
        ],
        months,
    )
]  # fmt: skip
