"""An effect that fades is warned of, one that lasts is not, whenever in a person's weeks its event comes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis import analyse
from analysis.effects import stage_data
from analysis.entry import first_met, randomised_cohort
from analysis.frames import prepare
from analysis.ledger import ledger
from analysis.metrics import resolve
from analysis.novelty import Met, weekly_slope
from edgeloop.clock import DAY_US, HOUR_US
from edgeloop.metrics import MetricSettings
from edgeloop.store.rows import Check, Estimate
from reports import language, novelty
from reports.gathered import ChangeRows, gather
from tests.frames import COLUMNS, LATER, MARCH, World, at, frames

ORDERS = {
    "orders": MetricSettings(role="goal", headline=True, event="order"),
    "money": MetricSettings(role="goal", event="order", kind="mean"),
}
WEEK_US = 7 * DAY_US
NBSP = "\N{NO-BREAK SPACE}"


def company(
    seed: int,
    lifts: tuple[float, ...],
    n: int = 4_000,
    *,
    base: float = 0.2,
    by: str = "entry",
    again: tuple[float, float] = (0.0, 0.0),
    once: bool = False,
    returning: float | None = None,
) -> dict[str, pd.DataFrame]:
    """People enter evenly over the weeks, and order within a day of an exposure or not.

    The new version adds ``lifts[k]`` to the chance: in week k of the change (``by`` entry), or in a person's k-th
    (``by`` age). ``again`` is each arm's chance of coming in each week after the first; ``returning`` the chance of an
    order of those who do, where it differs.
    """
    rng = np.random.default_rng(seed)
    weeks = len(lifts)
    new = rng.random(n) < 0.5
    enters = rng.integers(0, weeks, n)
    there = np.arange(weeks) == enters[:, None]
    there |= (np.arange(weeks) > enters[:, None]) & (rng.random((n, weeks)) < np.array(again)[new.astype(int)][:, None])
    person, week = np.nonzero(there)
    age = week - enters[person]
    own = base if returning is None else np.where(age > 0, returning, base)
    lift = np.array(lifts)[age if by == "age" else week]
    did = rng.random(len(person)) < own + np.where(new[person], lift, 0.0)
    if once:
        first = np.full(n, weeks)
        np.minimum.at(first, person[did], week[did])
        did &= week == first[person]
    moment = at(0) + week * WEEK_US + (rng.random(len(week)) * WEEK_US).astype(np.int64)
    ids, subject = np.array([f"x{i:06d}" for i in range(len(week))]), np.array([f"s{i:05d}" for i in range(n)])[person]
    exposures = pd.DataFrame(
        {"exposure_id": ids, "subject": subject, "occurred_at": moment, "anonymous": 0, "model_id": "eta",
         "model_version": np.where(new[person], "v2", "v1"), "arm": np.where(new[person], "canary", "stable"),
         "rollout_id": "r1"}
    ).sort_values("occurred_at")  # fmt: skip
    engagement = pd.DataFrame(
        {"event_id": ids, "subject": subject, "occurred_at": moment + HOUR_US, "name": "order", "value": 10.0,
         "currency": "EUR", "anonymous": 0}
    )[did]  # fmt: skip
    tables = frames() | {"exposures": exposures, "engagement": engagement}
    return {name: frame.reindex(columns=list(COLUMNS[name])) for name, frame in tables.items()}


def check(tables: dict[str, pd.DataFrame], name: str = "novelty:orders") -> Check | None:
    found = analyse(tables, MARCH, freeze_id="f", as_of_us=LATER, metrics=ORDERS)
    return next((c for c in found.checks if c.check == name), None)


def met_and_frames(tables: dict[str, pd.DataFrame]) -> tuple[Any, Met, list[Any]]:
    prepared = prepare(tables)
    (change,) = ledger(tables, timezone="UTC")
    cohort = randomised_cohort(
        prepared.exposures, change, change.stages[0], month_end_us=MARCH.end_us, as_of_us=LATER, timezone="UTC"
    )
    met = Met.of(prepared.exposures, stage_data(prepared, cohort, first_met(prepared.exposures, change)))
    assert met is not None
    return prepared, met, [m for m in resolve(prepared, ORDERS) if m.name in ORDERS]


def warned(tables: dict[str, pd.DataFrame]) -> bool:
    prepared, met, metrics = met_and_frames(tables)
    slope = weekly_slope(prepared, met, metrics[0])
    return slope is not None and slope.p <= 0.05


@pytest.mark.parametrize("name", ["novelty:orders", "novelty:money"])
@pytest.mark.parametrize("by", ["entry", "age"])
def test_an_effect_that_fades(name: str, by: str) -> None:
    found = check(company(1, (0.2, 0.14, 0.07, 0.0), n=8_000, by=by, again=(0.7, 0.7)), name)
    assert found is not None
    assert found.state == "warn"
    unit = 10 if name.endswith("money") else 1
    assert found.value == pytest.approx(-0.067 * unit, abs=0.03 * unit)


def test_entries_by_hand() -> None:
    """The weighted slope of the weeks' differences, and its spread over resampled people."""
    tables = company(2, (0.15, 0.1, 0.05, 0.0))
    x = tables["exposures"]
    week = ((x["occurred_at"] - x["occurred_at"].min()) // WEEK_US).to_numpy()
    new, did = (x["arm"] == "canary").to_numpy(), x["subject"].isin(set(tables["engagement"]["subject"])).to_numpy()

    def slope(rows: np.ndarray) -> float:
        told = []
        for k in range(4):
            arms = [did[rows[(week[rows] == k) & (new[rows] == arm)]] for arm in (False, True)]
            n = [len(arm) for arm in arms]
            told.append((k, arms[1].mean() - arms[0].mean(), n[0] * n[1] / sum(n)))
        weeks, effects, weight = (np.array(column) for column in zip(*told, strict=True))
        return float(np.polyfit(weeks, effects, 1, w=np.sqrt(weight))[0])

    prepared, met, metrics = met_and_frames(tables)
    found = weekly_slope(prepared, met, metrics[0])
    assert found is not None
    everybody = np.arange(len(x))
    assert found.slope == pytest.approx(slope(everybody))
    rng = np.random.default_rng(0)
    spread = np.std([slope(rng.choice(everybody, len(everybody))) for _ in range(400)])
    by_resampling = 2 * stats.norm.sf(abs(found.slope) / spread)
    assert np.log(found.p) == pytest.approx(np.log(by_resampling), rel=0.3)


def test_an_event_of_the_first_week_is_no_novelty() -> None:
    """The effect as clear as can be, all of it soon after the entry: its own p must not be the check's."""
    assert sum(warned(company(seed, (0.1,) * 4, n=2_000)) for seed in range(100)) <= 10


def test_an_event_that_comes_once_is_no_novelty() -> None:
    """People come again and again, but nobody orders twice: the later weeks say nothing."""
    tables = [company(seed, (0.1,) * 4, n=2_000, again=(0.7, 0.7), once=True) for seed in range(100)]
    assert sum(warned(t) for t in tables) <= 10


def test_other_people_coming_again_is_no_novelty() -> None:
    """The new version brings back more of those who seldom order; only entries are compared then."""
    tables = [company(seed, (0.1,) * 4, n=2_000, again=(0.4, 0.7), returning=0.05) for seed in range(60)]
    assert not any(met_and_frames(t)[1].alike for t in tables[:5])
    assert sum(warned(t) for t in tables) <= 7


def test_a_factor_that_lasts_is_no_novelty_where_the_keen_enter_first() -> None:
    """A third more orders in every week, of fewer and fewer: the difference shrinks, the ratio stays."""
    states = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        tables = company(seed, (0.15, 0.10, 0.06, 0.04), n=4_000, base=0.0)
        x = tables["exposures"]
        week = ((x["occurred_at"] - at(0)) // WEEK_US).to_numpy()
        chance = np.array([0.45, 0.30, 0.18, 0.12])[week] * np.where(x["arm"] == "canary", 4 / 3, 1.0)
        did = x[rng.random(len(x)) < chance]
        tables["engagement"] = pd.DataFrame(
            {"event_id": did["exposure_id"], "subject": did["subject"], "occurred_at": did["occurred_at"] + HOUR_US,
             "name": "order", "value": 10.0, "currency": "EUR", "anonymous": 0}
        ).reindex(columns=list(COLUMNS["engagement"]))  # fmt: skip
        states.append(warned(tables))
    assert sum(states) <= 7


def test_two_weeks_are_too_few() -> None:
    assert check(company(3, (0.2, 0.0))) is None


def rows_of(effect: float, slope: float, *, lower_is_better: bool = False) -> ChangeRows:
    change = ledger(company(4, (0.1,) * 3, n=50), timezone="UTC")[0]
    e = Estimate(
        freeze_id="f", month="2026-03", change_id=change.change_id, model_id="eta", from_version="v1", to_version="v2",
        stage=1, metric="orders", metric_kind="proportion", dimension="all", unit="subject", effect=effect,
        decision_low=effect - 0.01, decision_high=effect + 0.01, decided_by="fixed",
    )  # fmt: skip
    c = Check(freeze_id="f", month="2026-03", change_id=change.change_id, stage=1, check="novelty:orders", value=slope,
              p=0.001, state="warn")  # fmt: skip
    return gather([change], [e], {"orders"} if lower_is_better else (), {}, (), [c])[0]


@pytest.mark.parametrize(
    ("effect", "slope", "lower_is_better", "says"),
    [
        (
            0.05,
            -0.01,
            False,
            f"The effect on “orders” wears off from week to week (−1.0{NBSP}pp a week): it may be",
        ),
        (0.05, 0.01, False, "The effect on “orders” still grows"),
        (
            -0.05,
            0.01,
            False,
            f"The harm to “orders” wears off from week to week (+1.0{NBSP}pp a week): people may",
        ),
        (-0.05, -0.01, False, "The harm to “orders” still grows"),
        (-0.05, 0.01, True, "The effect on “orders” wears off"),
        (0.05, -0.01, True, "The harm to “orders” wears off"),
        (0.05, 0.01, True, "The harm to “orders” still grows"),
    ],
)
def test_what_the_page_says(effect: float, slope: float, lower_is_better: bool, says: str) -> None:
    (told,) = novelty.told(rows_of(effect, slope, lower_is_better=lower_is_better))
    assert told.startswith(says)


@pytest.mark.parametrize("locale", ["de", "fr", "pt"])
def test_each_language_tells_the_four_apart(locale: str) -> None:
    with language.speaking(locale):
        told = {novelty.told(rows_of(effect, slope))[0] for effect in (0.05, -0.05) for slope in (0.01, -0.01)}
    assert len(told) == 4
    assert not any("week" in text for text in told)


def test_strata_of_unequal_shares_are_no_novelty() -> None:
    """Village and town get the new version at 20 and 80 %, order differently, and more of the town enter each week."""
    states = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        n = 4_000
        week = rng.integers(0, 4, n)
        town = rng.random(n) < np.array([0.05, 0.2, 0.35, 0.5])[week]
        new = rng.random(n) < np.where(town, 0.8, 0.2)
        moment = at(0) + week * WEEK_US + (rng.random(n) * WEEK_US).astype(np.int64)
        did = rng.random(n) < np.where(town, 0.4, 0.1) + 0.06 * new
        ids = np.array([f"s{i:05d}" for i in range(n)])
        shown = pd.DataFrame(
            {"exposure_id": ids, "subject": ids, "occurred_at": moment, "anonymous": 0, "model_id": "eta",
             "model_version": np.where(new, "v2", "v1"), "arm": np.where(new, "canary", "stable"), "rollout_id": "r1",
             "zone": np.where(town, "town", "village")}
        ).sort_values("occurred_at")  # fmt: skip
        ordered = pd.DataFrame(
            {"event_id": ids, "subject": ids, "occurred_at": moment + HOUR_US, "name": "order", "value": 10.0,
             "currency": "EUR", "anonymous": 0}
        )[did]  # fmt: skip
        world = World()
        world.declare(0, assignment="random", strata=["zone"])
        tables = world.tables() | {"exposures": shown, "engagement": ordered}
        states.append(warned({name: frame.reindex(columns=list(COLUMNS[name])) for name, frame in tables.items()}))
    assert sum(states) <= 7
