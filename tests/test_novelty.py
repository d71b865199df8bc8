"""An effect that fades is warned of, one that lasts is not, and only people with all their weeks count."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from analysis import analyse
from edgeloop.clock import DAY_US
from edgeloop.metrics import MetricSettings
from edgeloop.store.rows import Check
from tests.frames import COLUMNS, LATER, MARCH, at, frames

ORDERS = {"orders": MetricSettings(role="goal", headline=True, event="order")}


def company(seed: int, lifts: tuple[float, ...], n: int = 4_000, base: float = 0.1) -> dict[str, pd.DataFrame]:
    """Each person may order once a week; the new version adds ``lifts[k]`` to the chance in week k."""
    rng = np.random.default_rng(seed)
    new = rng.random(n) < 0.5
    subject = np.array([f"s{i:05d}" for i in range(n)])
    entry = at(0) + (rng.random(n) * 9 * DAY_US).astype(np.int64)
    exposures = pd.DataFrame(
        {"exposure_id": subject, "subject": subject, "occurred_at": entry, "anonymous": 0, "model_id": "eta",
         "model_version": np.where(new, "v2", "v1"), "arm": np.where(new, "canary", "stable"), "rollout_id": "r1"}
    )  # fmt: skip
    events = []
    for week, lift in enumerate(lifts):
        did = rng.random(n) < base + np.where(new, lift, 0.0)
        moment = entry + ((week + rng.random(n) * 0.99) * 7 * DAY_US).astype(np.int64)
        events.append(
            pd.DataFrame({"event_id": [f"e{week}{s}" for s in subject], "subject": subject, "occurred_at": moment,
                          "name": "order", "value": 10.0, "currency": "EUR", "anonymous": 0})[did]
        )  # fmt: skip
    tables = frames() | {"exposures": exposures, "engagement": pd.concat(events, ignore_index=True)}
    return {name: frame.reindex(columns=list(COLUMNS[name])) for name, frame in tables.items()}


def check(tables: dict[str, pd.DataFrame], as_of_us: int = LATER, name: str = "novelty:orders") -> Check | None:
    metrics = ORDERS | {"money": MetricSettings(role="goal", event="order", kind="mean")}
    found = analyse(tables, MARCH, freeze_id="f", as_of_us=as_of_us, metrics=metrics)
    return next((c for c in found.checks if c.check == name), None)


@pytest.mark.parametrize("name", ["novelty:orders", "novelty:money"])
def test_an_effect_that_fades(name: str) -> None:
    found = check(company(1, (0.12, 0.08, 0.04, 0.0), n=6_000), at(9 + 28), name)
    assert found is not None
    assert found.state == "warn"
    unit = 10 if name.endswith("money") else 1
    assert found.value == pytest.approx(-0.04 * unit, abs=0.02 * unit)


def test_by_hand() -> None:
    """The slope of each person's four weeks, averaged by arm."""
    tables = company(2, (0.1, 0.05, 0.0, 0.0))
    x = tables["exposures"].set_index("subject")
    weeks = (tables["engagement"]["occurred_at"].to_numpy() - x.loc[tables["engagement"]["subject"], "occurred_at"]
             .to_numpy()) // (7 * DAY_US)  # fmt: skip
    y = pd.crosstab(tables["engagement"]["subject"], weeks).reindex(x.index, fill_value=0).to_numpy()
    slope = (y @ np.array([-1.5, -0.5, 0.5, 1.5])) / 5
    by_arm = pd.Series(slope, index=x.index).groupby(x["arm"]).mean()
    found = check(tables, at(9 + 28))
    assert found is not None
    assert found.value == pytest.approx(by_arm["canary"] - by_arm["stable"])


def test_constant_effects_are_seldom_warned_of() -> None:
    states = [check(company(seed, (0.05,) * 4, n=2_000), at(9 + 28)) for seed in range(60)]
    assert sum(c is not None and c.state == "warn" for c in states) <= 7


def test_too_early_to_tell() -> None:
    assert check(company(3, (0.1, 0.0)), at(10)) is None
