"""Where one arm's values are left out of a figure and the other's are not, the data has to be repaired first."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis import analyse, leftovers
from analysis.effects import stage_data
from analysis.entry import first_met, randomised_cohort
from analysis.estimates import Analysis
from analysis.frames import prepare
from analysis.ledger import ledger
from analysis.metrics import resolve
from edgeloop.clock import DAY_US, HOUR_US
from edgeloop.metrics import MetricSettings
from edgeloop.store import facts
from edgeloop.store.rows import Check
from tests.frames import COLUMNS, LATER, MARCH, World, at, frames, meets_new

REVENUE: dict[str, MetricSettings] = {"revenue": MetricSettings(role="goal", headline=True, event="order", kind="mean")}


def shop(
    seed: int,
    n: int = 800,
    *,
    missing: tuple[float, float] = (0.0, 0.0),
    foreign: float = 0.0,
    buys: tuple[float, float] = (0.8, 0.8),
    more: float = 0.0,
    nameless: tuple[float, float] = (0.0, 0.0),
) -> dict[str, pd.DataFrame]:
    """Baskets of normal(20, 3) in both arms; ``missing`` is each arm's share of orders without a currency."""
    rng = np.random.default_rng(seed)
    new = (rng.random(n) < 0.5).astype(int)
    entry = at(0) + (rng.random(n) * 14 * DAY_US).astype(np.int64)
    subject = np.array([f"s{i:05d}" for i in range(n)])
    anonymous = (rng.random(n) < np.array(nameless)[new]).astype(int)
    exposures = pd.DataFrame(
        {"exposure_id": subject, "subject": subject, "occurred_at": entry, "anonymous": anonymous, "model_id": "eta",
         "model_version": np.where(new, "v2", "v1"), "arm": np.where(new, "canary", "stable"), "rollout_id": "r1"}
    )  # fmt: skip
    orders = np.where(rng.random(n) < np.array(buys)[new], 1 + rng.poisson(more + 1e-9, n), 0)
    who = np.repeat(np.arange(n), orders)
    currency = np.where(rng.random(len(who)) < foreign, "CHF", "EUR").astype(object)
    currency[rng.random(len(who)) < np.array(missing)[new[who]]] = None
    engagement = pd.DataFrame(
        {"event_id": [f"e{i}" for i in range(len(who))], "subject": subject[who], "name": "order", "anonymous": 0,
         "occurred_at": entry[who] + HOUR_US, "value": rng.normal(20, 3, len(who)), "currency": currency}
    )  # fmt: skip
    tables = frames() | {"exposures": exposures, "engagement": engagement}
    return {name: frame.reindex(columns=list(COLUMNS[name])) for name, frame in tables.items()}


def analysed(tables: dict[str, pd.DataFrame], metrics: dict[str, MetricSettings] | None = None) -> Analysis:
    return analyse(tables, MARCH, freeze_id="f", as_of_us=LATER, metrics=metrics or REVENUE)


def check(found: Analysis, name: str = "left_out:revenue") -> Check | None:
    return next((c for c in found.checks if c.check == name), None)


def ruling(found: Analysis) -> facts.Ruled:
    (told,) = found.rulings.values()
    return told


@pytest.mark.parametrize("role", ["goal", "guardrail"])
def test_a_currency_that_one_arm_forgets(role: Any) -> None:
    """The same baskets; two in five of the new version's orders without a currency: 31 % less, and no roll back."""
    metrics = {
        "orders": MetricSettings(role="goal", headline=True, event="order"),
        "revenue": MetricSettings(role=role, event="order", kind="mean", margin_share=0.05),
    }
    tables = shop(7, missing=(0.0, 0.4))
    found = analysed(tables, metrics)
    row = next(e for e in found.estimates if e.metric == "revenue" and e.dimension == "all")
    assert row.lift is not None
    assert row.lift < -0.25
    assert ruling(found).verdict == "repair the data first"
    (told,) = ruling(found).because
    assert isinstance(told, facts.LeftOutUnevenly)
    x, e = tables["exposures"].set_index("subject"), tables["engagement"]
    arm = x.loc[e["subject"], "arm"].to_numpy()
    short = e["currency"].isna().to_numpy()
    assert (told.control, told.treated) == (0, int(short.sum()))
    assert (told.of_control, told.of_treated) == (int((arm == "stable").sum()), int((arm == "canary").sum()))
    n = x["arm"].value_counts()
    exact = stats.fisher_exact([[0, n["stable"]], [told.treated, n["canary"] - told.treated]]).pvalue
    assert told.p >= exact, "never surer than the exact test of people"
    assert row.decided_by is None, "nothing rests on the figure"


def test_what_both_arms_leave_out_alike() -> None:
    found = check(analysed(shop(8, missing=(0.3, 0.3))))
    assert found is not None
    assert found.state == "ok"
    assert check(analysed(shop(8))) is None, "nothing left out, nothing to check"


def test_more_orders_in_every_currency_are_no_fault() -> None:
    """A version that sells half as much again leaves more people's francs out, and as large a share of orders."""
    blocked = 0
    for seed in range(20):
        found = check(analysed(shop(seed, 3_000, foreign=0.2, buys=(0.3, 0.5), more=0.5)))
        assert found is not None
        blocked += found.state == "block"
    assert blocked == 0


def p_of(tables: dict[str, pd.DataFrame]) -> tuple[float | None, float | None]:
    """p of what revenue leaves out, and of ids that are missing."""
    prepared = prepare(tables)
    (change,) = ledger(tables, timezone="UTC")
    cohort = randomised_cohort(
        prepared.exposures, change, change.stages[0], month_end_us=MARCH.end_us, as_of_us=LATER, timezone="UTC"
    )
    data = stage_data(prepared, cohort, first_met(prepared.exposures, change))
    metrics = [m for m in resolve(prepared, REVENUE) if m.name == "revenue"]
    found = leftovers.arms(prepared, [data], metrics)
    return found[0].p if found else None, leftovers.anonymous(prepared.exposures, change, cohort)[0].p


def test_false_alarms_are_rare() -> None:
    """Of 200 tests of nothing at p < 0.001 at most one; requests that lack an id come in bunches of up to nine."""
    of_values, of_ids = [], []
    for seed in range(200):
        tables = shop(seed, 300, missing=(0.1, 0.1), more=0.5, nameless=(0.1, 0.1))
        again = np.random.default_rng(seed).integers(1, 10, len(tables["exposures"]))
        tables["exposures"] = tables["exposures"].loc[tables["exposures"].index.repeat(again)]
        for ps, p in zip((of_values, of_ids), p_of(tables), strict=True):
            assert p is not None
            ps.append(p)
    for ps in (of_values, of_ids):
        assert (np.array(ps) < 0.001).sum() <= 1
        assert (np.array(ps) < 0.05).mean() <= 0.09


def test_a_number_that_is_none_counts_as_left_out() -> None:
    tables = shop(9)
    arm = tables["exposures"].set_index("subject").loc[tables["engagement"]["subject"], "arm"].to_numpy()
    tables["engagement"].loc[(arm == "canary") & (np.arange(len(arm)) % 4 == 0), "value"] = np.nan
    found = check(analysed(tables))
    assert found is not None
    assert found.state == "block"


def test_answers_of_another_kind() -> None:
    """A form that asks the new version's people for words under the name of the score."""
    world = World()
    rng = np.random.default_rng(4)
    for i in range(200):
        day, new = 14 * rng.random(), i % 2 == 1
        world.expose(f"s{i}", day, "canary" if new else "stable")
        words = new and rng.random() < 0.3
        score = None if words else float(rng.integers(1, 6))
        world.answer(f"s{i}", day + 0.1, score, kind="text" if words else "rating")
    found = check(analysed(world.tables(), {"csat": MetricSettings(role="goal", headline=True, kind="mean",
                                                                   source="answers", event="csat/overall")}),
                  "left_out:csat")  # fmt: skip
    assert found is not None
    assert found.state == "block"


def test_ids_that_one_arm_loses() -> None:
    found = analysed(shop(10, 3_000, nameless=(0.0, 0.05)))
    told = check(found, "anonymous_arms")
    assert told is not None
    assert told.state == "block"
    alike = check(analysed(shop(10, 3_000, nameless=(0.05, 0.05))), "anonymous_arms")
    assert alike is not None
    assert alike.state == "ok"


def zone_world(kind: str, fault: bool, seed: int = 5) -> dict[str, pd.DataFrame]:
    """Eight zones for four weeks; in the second half some have the new version, whose app may forget the currency."""
    rng = np.random.default_rng(seed)
    world = World()
    world.declare_design(kind)
    for i in range(6_000):
        zone, day = int(rng.integers(8)), 28 * rng.random()
        new = meets_new(kind, day, zone)
        version = "v2" if new else "v1"
        more: dict[str, Any] = {"rollout_id": None} if kind == "switch" else {}
        world.expose(f"s{i}", day, None, version, zone=f"z{zone}", **more)
        if rng.random() < 0.8:
            lost = rng.random() < (0.4 if new and fault else 0.05)
            world.engage(f"s{i}", day + 0.05, "order", 20.0 + rng.normal(), currency=None if lost else "EUR")
    return world.in_order().tables()


@pytest.mark.parametrize("kind", ["zone", "zone_time", "switch"])
def test_every_design(kind: str) -> None:
    for fault in (True, False):
        found = check(analysed(zone_world(kind, fault)))
        assert found is not None
        assert found.state == ("block" if fault else "ok"), (kind, fault, found)


def test_couriers() -> None:
    """Sixty couriers: a whole courier's app forgets or does not, so couriers are what is counted."""
    states = []
    for fault in (True, False):
        rng = np.random.default_rng(6)
        world = World()
        world.declare(0, unit="courier", assignment="random")
        for i in range(3_000):
            courier, day = int(rng.integers(60)), 14 * rng.random()
            new = courier % 2 == 1
            world.expose(f"s{i}", day, "canary" if new else "stable", courier=f"c{courier}")
            forgets = (courier % 4 == 1) if fault else courier % 8 in (0, 1)
            world.engage(f"s{i}", day + 0.05, "order", 20.0, currency=None if forgets else "EUR")
        found = check(analysed(world.tables()))
        assert found is not None
        states.append(found.state)
    assert states == ["block", "ok"]
