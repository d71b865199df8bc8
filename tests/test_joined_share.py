"""Does the check of the join see ids that stopped to match, and nothing else? Shapes made to block or to keep still."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis import analyse
from analysis.frames import prepare
from analysis.history import JoinTimes
from edgeloop.clock import DAY_US, HOUR_US, SECOND_US
from edgeloop.metrics import MetricSettings
from edgeloop.store.rows import Check
from tests.frames import COLUMNS, MARCH, World, at, frames

Tables = dict[str, pd.DataFrame]


def world(
    seed: int = 1,
    *,
    people: int = 1_500,
    days: int = 31,
    intake: float = 31.0,
    window_h: float = 72.0,
    elsewhere: float = 0.5,
    holdout: float = 0.0,
    failed: float = 0.0,
    tapers: float = 1.0,
    ended: float | None = None,
    does: tuple[float, float] = (0.3, 0.3),
    does_from: float = 0.0,
    start: float = 0.0,
) -> Tables:
    """Customers who come back and order after it; half as many again order who were never asked.

    Args:
        intake: days until nobody is asked any more; ``tapers``: of what is asked in the last third.
        holdout: share of people from ``start`` on, like ``failed`` of requests.
        does: the chance of an order after each request before ``does_from`` and after.
    """
    rng = np.random.default_rng(seed)
    visits = rng.gamma(1.5, 0.12, people).clip(0.02, 0.9)
    who, day = np.nonzero(rng.random((people, days)) < visits[:, None])
    when = at() + day * DAY_US + (rng.random(len(day)) * DAY_US).astype(np.int64)
    out = rng.random(people) < holdout
    arm = np.where(out, "holdout", np.where(rng.random(people) < 0.5, "canary", "stable"))[who]
    arm = np.where(day < start, "stable", arm)
    asked = (day < intake) & (rng.random(len(day)) < np.where(day >= 2 * intake / 3, tapers, 1.0))
    asked |= rng.random(len(day)) < 0.002  # some stragglers
    broken = (rng.random(len(day)) < failed) & (day >= start)
    ordered = rng.random(len(day)) < np.where(day < does_from, *does)
    lag = (rng.exponential(0.3 * window_h, len(day)) * HOUR_US).astype(np.int64)
    names = np.char.add("s", who.astype(str))
    tables = frames()
    tables["exposures"] = pd.DataFrame(
        {"exposure_id": np.char.add("x", np.arange(len(day)).astype(str)), "subject": names, "occurred_at": when,
         "anonymous": 0, "model_id": "eta", "model_version": np.where(arm == "canary", "v2", "v1"), "arm": arm,
         "rollout_id": np.where(day < start, None, "r1"), "error": np.where(broken, "timeout", None)}
    )[asked].reindex(columns=list(COLUMNS["exposures"]))  # fmt: skip
    others = int(elsewhere * ordered.sum())
    at_others = at() + (rng.random(others) * days * DAY_US).astype(np.int64)
    tables["engagement"] = pd.DataFrame(
        {"event_id": np.char.add("e", np.arange(ordered.sum() + others).astype(str)),
         "subject": np.concatenate([names[ordered], np.char.add("o", np.arange(others).astype(str))]),
         "occurred_at": np.concatenate([(when + lag)[ordered], at_others]),
         "name": "order", "anonymous": 0}
    ).reindex(columns=list(COLUMNS["engagement"]))  # fmt: skip
    changes = World()
    changes.declare(start, assignment="random", ended_at=None if ended is None else at(ended))
    tables["changes"] = changes.tables()["changes"]
    return tables | {"attributions": _attributed(tables)}


def _attributed(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Which outcomes the rules of attribution credit to nothing: no request that was shown in the 72 hours before."""
    x = tables["exposures"]
    shown = x[(x["arm"] != "holdout") & x["error"].isna()].sort_values("occurred_at")
    e = tables["engagement"].sort_values("occurred_at")
    met = pd.merge_asof(
        e[["occurred_at", "subject"]], shown[["occurred_at", "subject", "model_id"]].drop_duplicates(),
        on="occurred_at", by="subject", tolerance=72 * HOUR_US,
    )  # fmt: skip
    return pd.DataFrame({"occurred_at": met["occurred_at"], "model_id": met["model_id"].fillna("")})


def breaks(tables: Tables, day: float, share: float = 1 / 3, table: str = "engagement") -> Tables:
    """From a day on that share of the people has other ids in one table."""
    frame = tables[table].copy()
    hit = frame["subject"].map(lambda s: hash_of(s) < share) & (frame["occurred_at"] >= at(day))
    frame.loc[hit, "subject"] = "new-" + frame.loc[hit, "subject"]
    broken = tables | {table: frame}
    return broken | {"attributions": _attributed(broken)}


def hash_of(subject: str) -> float:
    """A share of [0, 1) that belongs to a name."""
    return (sum(ord(c) * 31**i for i, c in enumerate(subject)) % 1009) / 1009


def checked(tables: Tables, window_h: float = 72.0, as_of: float = 34.0) -> Check:
    metrics = {"order": MetricSettings(role="goal", headline=True, event="order", window_h=window_h)}
    found = analyse(tables, MARCH, freeze_id="f", as_of_us=at(as_of), metrics=metrics).checks
    (check,) = [c for c in found if c.check == "joined_share"]
    return check


@pytest.mark.parametrize(
    ("made", "window_h", "as_of"),
    [
        pytest.param({}, 72.0, 34.0, id="nothing wrong"),
        pytest.param({"intake": 22.0, "window_h": 192.0}, 192.0, 34.0, id="intake ended nine days before the month"),
        pytest.param({"intake": 22.0, "ended": 22.0, "window_h": 192.0}, 192.0, 34.0, id="the stage ended with it"),
        pytest.param({"intake": 21.0, "ended": 30.0, "window_h": 400.0}, 672.0, 50.0, id="28 days, a test that ended"),
        pytest.param({"tapers": 0.1}, 72.0, 34.0, id="fewer and fewer are asked"),
        pytest.param({"holdout": 0.25, "start": 22.0}, 72.0, 34.0, id="a quarter is held out"),
        pytest.param({"failed": 0.9, "start": 15.0}, 72.0, 34.0, id="most requests fail"),
        pytest.param(
            {"does": (0.3, 0.15), "does_from": 15.0, "elsewhere": 0.1}, 72.0, 34.0, id="people do half as much"
        ),
        pytest.param(
            {"start": 12.0, "does": (0.3, 0.05), "does_from": 12.0}, 72.0, 34.0, id="total failure from its start"
        ),
    ],
)
def test_fine_data_is_not_blocked(made: dict[str, Any], window_h: float, as_of: float) -> None:
    states = [checked(world(seed, **made), window_h, as_of).state for seed in range(3)]
    assert "block" not in states


@pytest.mark.parametrize("day", [8, 12, 15, 20, 25, 27])
@pytest.mark.parametrize("table", ["engagement", "exposures"])
def test_a_third_of_the_ids_that_change_from_a_day_on_block(day: int, table: str) -> None:
    found = checked(breaks(world(2), day, table=table))
    assert found.state == "block"
    assert found.value is not None


def test_it_blocks_beside_a_holdout_and_after_the_intake_ended() -> None:
    assert checked(breaks(world(2, holdout=0.25, failed=0.3), 15)).state == "block"
    assert checked(breaks(world(2, intake=22.0, ended=22.0), 12)).state == "block"


def test_ids_that_never_matched_are_no_change() -> None:
    assert checked(breaks(world(2), -1)).state == "ok"


def test_too_little_says_nothing() -> None:
    assert checked(world(2, people=20)).state == "no data"
    assert checked(world(2, days=6)).state == "no data"
    assert checked(world() | {"engagement": frames()["engagement"]}).state == "no data"


def test_answers_and_anonymous_events_are_outcomes_too() -> None:
    tables = breaks(world(2), 15)
    e = tables["engagement"]
    lost = e["subject"].str.startswith("new-")
    anonymous = e.assign(anonymous=lost.astype(int), subject=np.where(lost, "a" + e["event_id"], e["subject"]))
    assert checked(tables | {"engagement": anonymous}).state == "block"


MOMENTS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 30 * 3_600)), min_size=1, max_size=40)


@given(asked=MOMENTS, did=MOMENTS, window=st.integers(1, 20 * 3_600))
def test_counts_are_those_of_everybody_with_everybody(
    asked: list[tuple[int, int]], did: list[tuple[int, int]], window: int
) -> None:
    made = World()
    for i, (who, second) in enumerate(sorted(asked, key=lambda one: one[1])):
        made.expose(f"s{who}", 1 + second / 86_400, exposure_id=f"x{i:03d}")
    for who, second in did:
        made.engage(f"s{who}", 1 + second / 86_400)
    tables = made.tables()
    x = prepare(tables).exposures
    times = JoinTimes.of(prepare(tables), tables)
    assert times is not None
    begin = at(1) // SECOND_US
    events = [(who, begin + second) for who, second in did]
    requests = [
        (int(str(x.subject.labels[c])[1:]), int(t) // SECOND_US) for c, t in zip(x.subject.codes, x.at, strict=True)
    ]
    everybody = np.arange(len(x.at))
    followed = times.followed(x.subject.of_rows(everybody), x.at, window * SECOND_US)
    assert followed.tolist() == [sum(w == who and 0 <= s - t <= window for w, s in events) for who, t in requests]
    edges = at(1) + DAY_US * np.arange(3)
    preceded = times.preceded(x.subject.of_rows(everybody), x.at, window * SECOND_US, edges)
    of_day = [[any(w == who and 0 <= s - t <= window for who, t in requests) for w, s in events
               if edges[d] <= s * SECOND_US < edges[d + 1]] for d in range(2)]  # fmt: skip
    assert preceded.tolist() == [sum(day) for day in of_day]
    assert times.per_day(edges).tolist() == [len(day) for day in of_day]
