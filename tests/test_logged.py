"""Where one arm's events are logged in another unit, or twice, sums cannot be compared: nothing is decided."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis import analyse
from analysis.estimates import Analysis
from edgeloop.clock import DAY_US, SECOND_US
from edgeloop.metrics import MetricSettings
from edgeloop.store import facts
from tests.frames import LATER, MARCH, World, meets_new

REVENUE: dict[str, MetricSettings] = {"revenue": MetricSettings(role="goal", headline=True, event="order", kind="mean")}
UNITS = ("customer", "courier")


def world(
    seed: int, design: str, *, times: float = 1.0, again: float = 0.0, both: float = 0.0, better: float = 0.0
) -> dict[str, pd.DataFrame]:
    """Baskets of lognormal spread for four weeks.

    Args:
        times: the new version's values are multiplied by this.
        again: the share of the new version's orders that come a second time, 30 ms later.
        both: the share of all orders that do.
        better: how many more of the new version's people buy.
    """
    rng = np.random.default_rng(seed)
    made = World()
    if design in UNITS:
        made.declare(0, unit=design, assignment="random")
    else:
        made.declare_design(design)
    for i in range(3_000):
        zone, courier, day = int(rng.integers(8)), int(rng.integers(60)), 28 * rng.random()
        odd = {"customer": i, "courier": courier}.get(design)
        new = odd % 2 == 1 if odd is not None else meets_new(design, day, zone)
        labels: dict[str, Any] = {"courier": f"c{courier}", "zone": f"z{zone}"}
        if design == "switch":
            labels["rollout_id"] = None
        arm = ("canary" if new else "stable") if design in UNITS else None
        made.expose(f"s{i}", day, arm, "v2" if new else "v1", **labels)
        if rng.random() < 0.5 + better * new:
            value = round(20 * float(np.exp(0.5 * rng.standard_normal())) * (times if new else 1.0), 2)
            made.engage(f"s{i}", day + 0.05, "order", value, currency="EUR")
            if rng.random() < both + again * new:
                made.engage(f"s{i}", day + 0.05 + 0.03 * SECOND_US / DAY_US, "order", value, currency="EUR")
    return made.in_order().tables()


def analysed(tables: dict[str, pd.DataFrame]) -> Analysis:
    return analyse(tables, MARCH, freeze_id="f", as_of_us=LATER, metrics=REVENUE)


def state(analysis: Analysis) -> str | None:
    """Of the check; None: it found nothing."""
    return next((c.state for c in analysis.checks if c.check == "logged_alike:revenue"), None)


def blocked(analysis: Analysis) -> facts.LoggedUnlike:
    """Why the data have to be repaired first."""
    assert state(analysis) == "block"
    (ruling,) = analysis.rulings.values()
    assert ruling.verdict == "repair the data first"
    (told,) = (fact for fact in ruling.because if isinstance(fact, facts.LoggedUnlike))
    return told


DESIGNS = (*UNITS, "zone", "zone_time", "switch")


@pytest.mark.parametrize("design", DESIGNS)
def test_cents_for_euros(design: str) -> None:
    told = blocked(analysed(world(1, design, times=100.0)))
    assert told.what == "unit"
    assert told.ratio == pytest.approx(100, rel=0.15)


@pytest.mark.parametrize("design", DESIGNS)
def test_each_order_sent_twice(design: str) -> None:
    told = blocked(analysed(world(2, design, again=1.0)))
    assert (told.what, told.control, told.treated) == ("twice", 0.0, 0.5)


@pytest.mark.parametrize("design", DESIGNS)
def test_what_is_no_fault(design: str) -> None:
    """Half as many buyers more, baskets worth 1.5 times as much, and a sender that repeats itself in both arms."""
    for more in ({"better": 0.25}, {"times": 1.5}, {"both": 0.4}, {"both": 0.03}):
        assert state(analysed(world(3, design, **more))) is None, more
