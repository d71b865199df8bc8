"""Where do the arms' shares step? Against brute force, on ramps of known days, and on shares that never change."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special, stats

from analysis import analyse
from analysis.days import local_date
from analysis.ledger import ledger
from analysis.ramps import SPLIT_P, change_points
from edgeloop.clock import DAY_US
from tests.frames import COLUMNS, LATER, MARCH, World, at, frames, together

SHARES = (0.05, 0.2, 0.5)
Tables = dict[str, pd.DataFrame]


def rollout(
    seed: int,
    shares: tuple[float, ...] = SHARES,
    days: tuple[int, ...] = (10, 20),
    *,
    people: int = 3_000,
    sticky: bool = False,
    turnover: bool = False,
    hour: float = 0.0,
    event: float = 0.3,
) -> Tables:
    """A month of a rollout with those shares, which step on those days at that hour, labelled and not declared.

    Args:
        sticky: people keep the arm of their first day; else those below the share have the new one.
        turnover: everybody is there for eight days; else some come often and some rarely.
    """
    rng = np.random.default_rng(seed)
    there = rng.random((people, 31)) < rng.gamma(1.5, 0.12, people).clip(0.01, 0.95)[:, None]
    if turnover:
        age = np.arange(31) - rng.integers(-7, 31, people)[:, None]
        there = (rng.random((people, 31)) < 0.7) & (age >= 0) & (age < 8)
    who, day = np.nonzero(there)
    when = day + np.clip(rng.normal(14, 4, len(day)), 0, 23.99) / 24
    steps = np.array(days) + hour / 24
    first = np.full(people, 99.0)
    np.minimum.at(first, who, when)
    share = np.array(shares)[np.searchsorted(steps, first[who] if sticky else when, side="right")]
    new = rng.random(people)[who] < share
    subject, moment = np.char.add("s", who.astype(str)), at() + (when * DAY_US).astype(np.int64)
    did = rng.random(len(day)) < event
    later = moment + DAY_US // 8
    return frames() | {
        "exposures": pd.DataFrame(
            {"exposure_id": [f"x{i:06d}" for i in range(len(day))], "subject": subject, "occurred_at": moment,
             "anonymous": 0, "model_id": "eta", "model_version": np.where(new, "v2", "v1"),
             "arm": np.where(new, "canary", "stable"), "rollout_id": "r1"},
            columns=list(COLUMNS["exposures"]),
        ),
        "engagement": pd.DataFrame(
            {"event_id": [f"e{i:06d}" for i in range(len(day))], "subject": subject, "occurred_at": later,
             "name": "rebooked", "anonymous": 0},
            columns=list(COLUMNS["engagement"]),
        )[did],
    }  # fmt: skip


def begins(tables: Tables) -> list[str]:
    """The days on which its stages after the first begin, as found."""
    (change,) = ledger(tables, timezone="UTC")
    return [local_date(stage.start_us, "UTC") for stage in change.stages[1:]]


@pytest.mark.parametrize(
    "made",
    [
        pytest.param({}, id="by a hash, so that people cross"),
        pytest.param({"hour": 9.0}, id="at nine in the morning"),
        pytest.param({"turnover": True, "people": 6_000}, id="people come and go"),
    ],
)
def test_steps_are_found_on_their_days(made: dict[str, Any]) -> None:
    assert [begins(rollout(seed, **made)) for seed in range(5)] == [["2026-03-11", "2026-03-21"]] * 5


def test_steps_for_newcomers_alone_are_found_within_a_day() -> None:
    for seed in range(5):
        found = begins(rollout(seed, sticky=True, turnover=True, people=6_000))
        assert [abs((pd.Timestamp(a) - pd.Timestamp(b)).days) <= 1 for a, b in
                zip(found, ["2026-03-11", "2026-03-21"], strict=True)] == [True, True]  # fmt: skip


@pytest.mark.parametrize(
    "made",
    [
        {"shares": (0.2,), "days": ()},
        {"shares": (0.05,), "days": (), "turnover": True},
        {"shares": (0.5,), "days": (), "people": 200},
        {"shares": (0.1,), "days": (), "sticky": True},
    ],
)
def test_a_constant_share_has_one_stage(made: dict[str, Any]) -> None:
    assert [begins(rollout(seed, **made)) for seed in range(10)] == [[]] * 10


def test_an_arm_that_loses_people_is_no_stage() -> None:
    """Half of the stable arm's ids stop to arrive: its share falls, and nobody gained anybody."""
    tables = rollout(1, (0.5,), ())
    x = tables["exposures"]
    lost = (x["arm"] == "stable") & (x["occurred_at"] >= at(15)) & (x["subject"].str[-1].isin(list("02468")))
    assert begins(tables | {"exposures": x[~lost]}) == []


def test_the_stages_of_a_ramp_are_judged_one_by_one_and_say_that_they_were_found() -> None:
    found = analyse(rollout(2), MARCH, freeze_id="f", as_of_us=LATER, metrics={})
    (change,) = found.changes
    assert [stage.end_us for stage in change.stages] == [at(10), at(20), None]
    assert [round(stage.found.share, 1) for stage in change.stages if stage.found] == [0.1, 0.2, 0.5]
    blocked = {check.check for check in found.checks if check.state == "block"}
    assert blocked <= {"met_before"}
    rows = {r.stage: r for r in found.estimates if r.metric == "rebooked" and r.dimension == "all"}
    assert {r.verdict for r in rows.values()} != {"repair the data first"}
    assert "stage found in the exposures, not declared: since 2026-03-21 with 4" in (rows[3].reason or "")


def test_a_declared_change_without_allocation_has_the_stages_that_are_found() -> None:
    world = World()
    world.declare(0, ended_at=at(31), title="Ours")
    (change,) = ledger(together(rollout(3), world.tables()), timezone="UTC")
    assert (change.title, change.declared) == ("Ours", True)
    assert [(s.start_us, s.end_us) for s in change.stages] == [(at(0), at(10)), (at(10), at(20)), (at(20), at(31))]
    world = World()
    world.declare(0, allocation={"v1": 1, "v2": 1})
    (change,) = ledger(together(rollout(3), world.tables()), timezone="UTC")
    assert len(change.stages) == 1, "what is declared is not read again"


def test_where_no_step_is_found_the_reason_has_the_line_to_send() -> None:
    tables = rollout(4, tuple(np.linspace(0.3, 0.6, 31)), tuple(range(1, 31)), turnover=True, people=20_000)
    found = analyse(tables, MARCH, freeze_id="f", as_of_us=LATER, metrics={})
    drifts = [r.reason for r in found.estimates if r.reason and "share changes from day to day" in r.reason]
    assert drifts
    assert all('declare each stage: {"type": "change"' in text for text in drifts)
    assert all('"allocation": {"v1": 0.8, "v2": 0.2}' in text for text in drifts)


@given(
    st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), min_size=1, max_size=9),
    st.integers(1, 3),
    st.sampled_from([1.0, 0.3]),
)
def test_the_best_of_all_partitions(rows: list[tuple[int, int]], least: int, weight: float) -> None:
    counts = np.array(rows, dtype=np.int64)
    bins = len(counts)

    def worth(points: tuple[int, ...]) -> float:
        pieces = [counts[a:b].sum(axis=0) for a, b in itertools.pairwise((0, *points, bins))]
        told = sum(float(special.xlogy(p, p).sum() - special.xlogy(p.sum(), p.sum())) for p in pieces)
        return weight * told - len(pieces) * float(stats.chi2.isf(SPLIT_P / bins, 1)) / 2

    every = [
        points
        for k in range(bins)
        for points in itertools.combinations(range(1, bins), k)
        if all(b - a >= least for a, b in itertools.pairwise((0, *points, bins)))
    ]
    found = tuple(change_points(counts, least=least, weight=weight))
    assert not every or worth(found) == pytest.approx(max(map(worth, every)))
