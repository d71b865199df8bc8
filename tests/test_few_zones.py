"""Two zones have no standard error worth printing, and of few zones power is reckoned from the interval."""

from __future__ import annotations

import math

import numpy as np
import pytest

from analysis import analyse
from edgeloop.metrics import MetricSettings
from edgeloop.store import facts
from tests.frames import LATER, MARCH, World, at

SPEND: dict[str, MetricSettings] = {
    "spend": MetricSettings(role="goal", headline=True, event="order", kind="mean", practical_share=0.05)
}


@pytest.mark.parametrize("treated", [1, 2, 3, 5])
def test_what_few_zones_say_of_themselves(treated: int) -> None:
    rng = np.random.default_rng(treated)
    world = World()
    world.declare(14, kind="staged", unit="zone", zones=[f"z{i}" for i in range(treated)], assignment="random",
                  ended_at=at(28))  # fmt: skip
    moves = rng.normal(0.0, 2.0, 11)
    for i in range(4_000):
        zone, day = int(rng.integers(11)), 28 * rng.random()
        new = day >= 14 and zone < treated
        world.expose(f"s{i}", day, None, "v2" if new else "v1", zone=f"z{zone}")
        world.engage(f"s{i}", day + 0.05, "order", 20.0 + moves[zone] * (day >= 14) + rng.normal(), currency="EUR")
    found = analyse(world.in_order().tables(), MARCH, freeze_id="f", as_of_us=LATER, metrics=SPEND)
    (row,) = (e for e in found.estimates if e.dimension == "all" and e.metric == "spend")
    assert row.effect is not None
    assert (row.se is None) == (treated == 2)
    if treated == 1:
        return  # eleven assignments are no test: nothing is said of power
    (told,) = (fact for ruling in found.rulings.values() for fact in ruling.because if isinstance(fact, facts.NotShown))
    if row.effect_low is None or not math.isfinite(row.effect_low):
        assert told.smallest is None, "no effect shows, however large"
    else:
        assert row.effect_high is not None
        assert told.smallest is not None
        assert told.smallest >= (row.effect_high - row.effect_low) / 2
