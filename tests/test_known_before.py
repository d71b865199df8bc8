"""A version under which some people go by other ids has more strangers: that is the data, not the version."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from analysis import Analysis, analyse
from edgeloop.clock import DAY_US
from edgeloop.store.facts import KnownBefore
from tests.frames import COLUMNS, LATER, MARCH, at, frames
from tests.test_interaction import ORDERS


def month(split: float, seed: int = 4, n: int = 4_000) -> Analysis:
    """Three of four customers were met in the weeks before; ``split`` of the new version's have another id there."""
    rng = np.random.default_rng(seed)
    new, regular = rng.random(n) < 0.5, rng.random(n) < 0.75
    other = new & (rng.random(n) < split)
    before = np.array([f"s{i:05d}" for i in range(n)])
    now = np.where(other, np.char.add("d", before), before)
    met = pd.DataFrame({"exposure_id": np.char.add("b", before), "subject": before, "arm": "stable",
                        "occurred_at": at(0) - 10 * DAY_US, "model_version": "v1",
                        "rollout_id": None})[regular]  # fmt: skip
    entered = at(0) + (rng.random(n) * 12 * DAY_US).astype(np.int64)
    shown = pd.DataFrame({"exposure_id": np.char.add("x", now), "subject": now, "occurred_at": entered,
                          "model_version": np.where(new, "v2", "v1"), "arm": np.where(new, "canary", "stable"),
                          "rollout_id": "r"})  # fmt: skip
    exposures = pd.concat([met, shown], ignore_index=True).assign(anonymous=0, model_id="eta")
    events = pd.DataFrame({"event_id": before, "subject": before, "name": "order", "anonymous": 0,
                           "occurred_at": entered + DAY_US // 24})[rng.random(n) < 0.3]  # fmt: skip
    tables = frames() | {"exposures": exposures, "engagement": events}
    tables = {name: frame.reindex(columns=list(COLUMNS[name])) for name, frame in tables.items()}
    return analyse(tables, MARCH, freeze_id="f", as_of_us=LATER, metrics=ORDERS)


def test_an_id_that_is_split_in_one_arm_blocks() -> None:
    found = month(0.2)
    (check,) = [c for c in found.checks if c.check == "known_before"]
    assert check.state == "block"
    assert check.value == pytest.approx(-0.15, abs=0.03)
    (ruling,) = found.rulings.values()
    assert ruling.verdict == "repair the data first"
    (fact,) = [f for f in ruling.because if isinstance(f, KnownBefore)]
    assert (fact.control, fact.treated) == (pytest.approx(0.75, abs=0.03), pytest.approx(0.6, abs=0.03))


def test_arms_of_one_draw_pass() -> None:
    states = [c.state for seed in range(20) for c in month(0.0, seed, 1_000).checks if c.check == "known_before"]
    assert states == ["ok"] * 20
