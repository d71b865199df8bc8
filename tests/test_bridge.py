"""The month bridge: its identity, an independent brute-force version, Berkeley 1973, and its way through the tables."""

from __future__ import annotations

import itertools
from datetime import date
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis import Analysis, analyse
from analysis.bridge import MonthCells, decompose
from analysis.bridge.cells import cut_days, lineage
from analysis.bridge.decompose import LEAST_UNITS, pooled
from analysis.change import LedgerChange, Stage
from benchmarks.calibration.bridge import simulate_months
from edgeloop.clock import DAY_US
from edgeloop.metrics import MetricSettings
from edgeloop.months import Month
from edgeloop.store.rows import Bar
from tests.frames import COLUMNS, LATER, MARCH, frames

FEBRUARY = MARCH.previous()
GOAL = {"ordered": MetricSettings(role="goal", headline=True, event="order")}

month_of_cells = st.lists(
    st.lists(st.tuples(st.integers(0, 60), st.floats(0, 1), st.floats(0, 1)), min_size=4, max_size=4),
    min_size=3, max_size=3,
)  # fmt: skip


def cells(rows: list[list[tuple[int, float, float]]]) -> MonthCells:
    n = np.array([[c[0] for c in row] for row in rows], dtype=float)
    share = np.array([[c[1] for c in row] for row in rows])
    have = np.array([[c[2] for c in row] for row in rows])
    return MonthCells(n, n * share, {"c": n * have})


def by_loops(one: MonthCells, two: MonthCells) -> dict[str, float]:
    """The bridge once more, cell by cell, from the definitions."""
    days, groups = one.n.shape
    months = (one, two)
    total = [m.n.sum() for m in months]
    a = [[m.n[d].sum() / total[t] for d in range(days)] for t, m in enumerate(months)]

    def rate(t: int, d: int, g: int, what: str = "y") -> float:
        for u in (t, 1 - t):
            m = months[u]
            if m.n[d][g]:
                return float((m.y if what == "y" else m.have["c"])[d][g] / m.n[d][g])
        return 0.0

    def share(t: int, d: int, g: int) -> float:
        for u in (t, 1 - t):
            if months[u].n[d].sum():
                return float(months[u].n[d][g] / months[u].n[d].sum())
        return 0.0

    def of_day(t: int, d: int) -> float:
        return sum(share(t, d, g) * rate(t, d, g) for g in range(groups))

    calendar = sum((a[1][d] - a[0][d]) * (of_day(0, d) + of_day(1, d)) / 2 for d in range(days))
    mix = parts = x = 0.0
    for d, g in itertools.product(range(days), range(groups)):
        mean_a, mean_s = (a[0][d] + a[1][d]) / 2, (share(0, d, g) + share(1, d, g)) / 2
        mix += mean_a * (share(1, d, g) - share(0, d, g)) * (rate(0, d, g) + rate(1, d, g)) / 2
        parts += mean_a * mean_s * (rate(1, d, g) - rate(0, d, g))
        x += mean_a * mean_s * (rate(1, d, g, "e") - rate(0, d, g, "e"))
    return {"calendar": calendar, "mix": mix, "rate": parts, "x": x}


@settings(max_examples=300, deadline=None)
@given(month_of_cells, month_of_cells)
def test_parts_sum_and_are_those_of_the_definitions(one: Any, two: Any) -> None:
    before, after = cells(one), cells(two)
    if min(before.n.sum(), after.n.sum()) == 0:
        with pytest.raises(ValueError, match="without units"):
            decompose(before, after)
        return
    found, loops = decompose(before, after), by_loops(before, after)
    assert found.before == pytest.approx(before.y.sum() / before.n.sum(), abs=1e-12)
    assert found.after == pytest.approx(after.y.sum() / after.n.sum(), abs=1e-12)
    assert found.calendar + found.mix + found.rate == pytest.approx(found.after - found.before, abs=1e-12)
    assert found.volume + (before.n.sum() + after.n.sum()) / 2 * (found.after - found.before) == pytest.approx(
        after.y.sum() - before.y.sum(), abs=1e-9
    )
    assert [found.calendar, found.mix, found.rate, found.exposed["c"]] == pytest.approx(
        [loops[k] for k in ("calendar", "mix", "rate", "x")], abs=1e-12
    )


@settings(max_examples=100, deadline=None)
@given(month_of_cells, month_of_cells)
def test_small_groups_join_and_nothing_is_lost(one: Any, two: Any) -> None:
    months = cells(one), cells(two)
    joined = pooled(*months)
    for m, j in zip(months, joined, strict=True):
        assert j.n.sum(axis=1) == pytest.approx(m.n.sum(axis=1))
        assert (j.y.sum(), j.have["c"].sum()) == pytest.approx((m.y.sum(), m.have["c"].sum()))
    kept = joined[0].n.shape[1] - (joined[0].n.shape[1] <= months[0].n.shape[1] and joined[0] is not months[0])
    for j in joined:
        assert (j.n.sum(axis=0)[:kept] >= LEAST_UNITS).all()


# Bickel, Hammel & O'Connell 1975, Science 187; the six largest departments (applicants, admitted).
BERKELEY = {
    "men": {"A": (825, 512), "B": (560, 353), "C": (325, 120), "D": (417, 138), "E": (191, 53), "F": (373, 22)},
    "women": {"A": (108, 89), "B": (25, 17), "C": (593, 202), "D": (375, 131), "E": (393, 94), "F": (341, 24)},
}


def people(month: Month, prefix: str, departments: dict[str, tuple[int, int]]) -> dict[str, pd.DataFrame]:
    """A month in which each applicant is asked once, on the month's first Monday, and the admitted order."""
    monday = next(d for d in range(7) if date.fromisoformat(f"{month.name}-{d + 1:02d}").weekday() == 0)
    exposures, events = [], []
    for name, (n, admitted) in departments.items():
        ids = np.array([f"{prefix}{name}{i:04d}" for i in range(n)])
        at = month.start_us + monday * DAY_US + np.arange(n) * 1_000_000
        exposures.append(
            pd.DataFrame({"exposure_id": ids, "subject": ids, "occurred_at": at, "zone": name, "model_id": "dean",
                          "model_version": "1", "anonymous": 0})
        )  # fmt: skip
        events.append(
            pd.DataFrame({"event_id": ids, "subject": ids, "occurred_at": at + 1, "name": "order", "anonymous": 0})[
                :admitted
            ]
        )
    tables = frames() | {"exposures": pd.concat(exposures), "engagement": pd.concat(events)}
    return {name: frame.reindex(columns=list(COLUMNS[name])) for name, frame in tables.items()}


def joined(*parts: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    return {
        name: pd.concat([p[name] for p in parts if len(p[name])] or [parts[0][name]], ignore_index=True)
        for name in COLUMNS
    }


def run(tables: dict[str, pd.DataFrame], as_of_us: int = LATER, **options: Any) -> Analysis:
    return analyse(tables, MARCH, freeze_id="f", as_of_us=as_of_us, **{"metrics": GOAL, **options})


def bars(found: Analysis) -> dict[str, Bar]:
    return {b.bar if b.change_id is None else f"{b.bar} {b.change_id}": b for b in found.bridge}


def test_berkeley() -> None:
    """Women were admitted 14 points less: the departments they applied to are 18 points of that."""
    found = bars(run(joined(people(FEBRUARY, "m", BERKELEY["men"]), people(MARCH, "w", BERKELEY["women"]))))
    men, women = BERKELEY["men"], BERKELEY["women"]
    before = sum(a for _, a in men.values()) / sum(n for n, _ in men.values())
    after = sum(a for _, a in women.values()) / sum(n for n, _ in women.values())
    assert (round(before, 3), round(after, 3)) == (0.445, 0.304)
    assert found["month 0"].value == pytest.approx(before, abs=1e-12)
    assert found["month 1"].value == pytest.approx(after, abs=1e-12)
    # Department B has 25 women: fewer than 30, so it is in "other", alone there.
    mix = rate = 0.0
    for name, (n, y) in men.items():
        s = n / 2691, women[name][0] / 1835
        r = y / n, women[name][1] / women[name][0]
        mix += (s[1] - s[0]) * (r[0] + r[1]) / 2
        rate += (s[0] + s[1]) / 2 * (r[1] - r[0])
    assert found["mix"].value == pytest.approx(mix, abs=1e-12)
    assert found["unexplained"].value == pytest.approx(rate, abs=1e-12)
    assert found["calendar"].value == 0
    assert mix < after - before < 0 < rate, "inside the departments women did better"
    assert [round(v, 4) for v in (mix, rate)] == [-0.1777, 0.036]


def two_months(seed: int, *, effect: float, n: int = 6_000, trend: float = 0.0) -> dict[str, pd.DataFrame]:
    """February is all v1; in March half the people are drawn for v2, which adds ``effect`` to an order's chance."""
    rng = np.random.default_rng(seed)
    parts = []
    for month, share, base in ((FEBRUARY, 0.0, 0.3), (MARCH, 0.5, 0.3 + trend)):
        new = rng.random(n) < share
        ids = np.array([f"{month.name}{i:05d}" for i in range(n)])
        at = month.start_us + (rng.random(n) * (month.end_us - month.start_us)).astype(np.int64)
        zone = np.array(["north", "south"])[(rng.random(n) < 0.4).astype(int)]
        did = rng.random(n) < base + np.where(new, effect, 0.0) + np.where(zone == "north", 0.1, 0.0)
        exposures = pd.DataFrame(
            {"exposure_id": ids, "subject": ids, "occurred_at": at, "zone": zone, "model_id": "eta", "anonymous": 0,
             "model_version": np.where(new, "v2", "v1"), "arm": np.where(new, "canary", "stable"),
             "rollout_id": "r1" if share else None, "touchpoint": "card"}
        )  # fmt: skip
        events = pd.DataFrame(
            {"event_id": ids, "subject": ids, "occurred_at": at + 1, "name": "order", "anonymous": 0}
        )[did]
        tables = frames() | {"exposures": exposures, "engagement": events}
        parts.append({name: frame.reindex(columns=list(COLUMNS[name])) for name, frame in tables.items()})
    return joined(*parts)


CHANGE = "auto:eta/r1/v2"


def test_a_version_has_the_bar_of_its_effect_times_the_share_that_met_it() -> None:
    found = run(two_months(1, effect=0.08))
    told = bars(found)
    (row,) = [e for e in found.estimates if (e.change_id, e.metric, e.dimension) == (CHANGE, "ordered", "all")]
    bar = told[f"version {CHANGE}"]
    assert row.effect is not None
    assert bar.value == pytest.approx(0.5 * row.effect, rel=0.05)
    assert (bar.low, bar.high) == pytest.approx(
        (bar.value / row.effect * (row.effect_low or 0), bar.value / row.effect * (row.effect_high or 0))
    )
    between = ("calendar", "mix", f"version {CHANGE}", "unexplained")
    assert told["month 0"].value + sum(told[k].value for k in between) == pytest.approx(
        told["month 1"].value, abs=1e-12
    )
    low, high = told["unexplained"].low, told["unexplained"].high
    assert low is not None
    assert high is not None
    assert high - low == pytest.approx((bar.high or 0) - (bar.low or 0), rel=0.01)
    assert [b.bar for b in found.bridge] == [
        "month 0", "calendar", "mix", "version", "unexplained", "month 1", "volume", "total",
    ]  # fmt: skip


def test_what_no_change_explains_is_said_to_be_unexplained() -> None:
    told = bars(run(two_months(2, effect=0.0, trend=0.1)))
    assert told["unexplained"].value == pytest.approx(0.1, abs=0.04)
    assert abs(told[f"version {CHANGE}"].value) < 0.03


def test_late_data_leads_from_the_printed_figure() -> None:
    told = bars(run(two_months(3, effect=0.0), printed={"ordered": 0.25}))
    assert told["late data"].value == pytest.approx(told["month 0"].value - 0.25)


def test_a_change_without_an_estimate_is_named_and_has_no_bar() -> None:
    tables = two_months(4, effect=0.05)
    tables["exposures"]["rollout_id"] = None
    tables["exposures"]["arm"] = None
    found = run(tables)
    assert found.unnamed == [c.change_id for c in found.changes]
    assert not any(b.bar == "version" for b in found.bridge)


def test_the_last_days_are_left_out_of_both_months_while_windows_are_open() -> None:
    tables = two_months(5, effect=0.0)
    as_of = MARCH.end_us - 5 * DAY_US
    assert cut_days(MARCH, 3 * DAY_US, as_of) == 8
    assert cut_days(MARCH, 3 * DAY_US, LATER) == 0
    told = bars(run(tables, as_of))
    x = tables["exposures"]
    did = x["subject"].isin(tables["engagement"]["subject"])
    february = x["occurred_at"] < FEBRUARY.end_us - 8 * DAY_US
    march = (x["occurred_at"] >= MARCH.start_us) & (x["occurred_at"] < MARCH.end_us - 8 * DAY_US)
    assert told["month 0"].value == pytest.approx(did[february].mean(), abs=1e-12)
    assert told["month 1"].value == pytest.approx(did[march].mean(), abs=1e-12)


def test_a_holiday_is_a_sunday() -> None:
    tables = two_months(6, effect=0.0)
    x = tables["exposures"]
    sundays = pd.to_datetime(x["occurred_at"], unit="us").dt.day_of_week == 6
    tables["engagement"] = tables["engagement"][~tables["engagement"]["subject"].isin(x["subject"][sundays])]
    plain = bars(run(tables))["calendar"].value
    moved = bars(run(tables, holidays=["2026-03-09", "2026-03-10"]))["calendar"].value
    assert plain != moved


def test_a_month_before_without_anybody_has_no_bridge() -> None:
    assert run(people(MARCH, "w", BERKELEY["women"])).bridge == []


def regulars(seed: int, months: list[Month], n: int = 3_000) -> dict[str, pd.DataFrame]:
    """The same people in each month, half of them often there and apt to order, half seldom and not."""
    rng = np.random.default_rng(seed)
    often = np.arange(n) % 2 == 0
    parts = []
    for month in months:
        span = month.end_us - month.start_us
        visits = rng.poisson(np.where(often, 5.0, 0.4) * span / (30 * DAY_US))
        who = np.repeat(np.arange(n), visits)
        at = month.start_us + (rng.random(len(who)) * span).astype(np.int64)
        ids = np.array([f"{month.name}x{i:06d}" for i in range(len(who))])
        subject = np.array([f"c{i:05d}" for i in who])
        exposures = pd.DataFrame(
            {"exposure_id": ids, "subject": subject, "occurred_at": at, "zone": "north", "model_id": "eta",
             "model_version": "v1", "touchpoint": "card", "anonymous": 0}
        )  # fmt: skip
        did = rng.random(len(who)) < np.where(often[who], 0.3, 0.05)
        events = pd.DataFrame({"event_id": ids, "subject": subject, "occurred_at": at + 1, "name": "order",
                               "anonymous": 0})[did]  # fmt: skip
        tables = frames() | {"exposures": exposures, "engagement": events}
        parts.append({name: frame.reindex(columns=list(COLUMNS[name])) for name, frame in tables.items()})
    return joined(*parts)


SECOND = [FEBRUARY, MARCH]
FOUR_WEEKS = FEBRUARY.start_us - 28 * DAY_US


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_second_month_in_which_nothing_changed_has_no_mix(seed: int) -> None:
    """In the first month nobody was recorded before: all would be new, and the next month's returning ones a mix."""
    tables = regulars(seed, SECOND)
    found = run(tables, begins_us=FEBRUARY.start_us)
    told, artefact = bars(found), bars(run(tables))
    assert abs(told["mix"].value) < 1e-12, "there is one zone and one touchpoint"
    assert abs(told["unexplained"].value) < 0.05, "the luck of two months"
    assert artefact["mix"].value > 0.05
    assert artefact["unexplained"].value < -0.04
    assert found.untold_us == FEBRUARY.start_us
    for end in ("month 0", "month 1", "calendar", "total", "volume"):
        assert told[end].value == pytest.approx(artefact[end].value, abs=1e-9), "only the groups are others"


def test_where_the_data_reach_back_four_weeks_new_and_returning_are_told_apart() -> None:
    tables = regulars(4, [FEBRUARY.previous(), *SECOND])
    long_ago, just, late = (run(tables, begins_us=begins) for begins in (0, FOUR_WEEKS, FOUR_WEEKS + 1))
    assert just.bridge == long_ago.bridge
    assert (long_ago.untold_us, just.untold_us, late.untold_us) == (None, None, FOUR_WEEKS + 1)
    assert bars(just)["mix"].value != bars(late)["mix"].value == pytest.approx(0, abs=1e-12)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(-40, 40))
def test_the_bars_sum_whenever_the_data_begin(seed: int, days: int) -> None:
    found = run(two_months(seed, effect=0.1, n=400), begins_us=FEBRUARY.start_us + days * DAY_US)
    assert (found.untold_us is None) == (days <= -28)
    told = bars(found)
    steps = [b.value for b in found.bridge if b.bar in ("calendar", "mix", "version", "interaction", "unexplained")]
    assert told["month 0"].value + sum(steps) == pytest.approx(told["month 1"].value, abs=1e-12)


def change(change_id: str, to: str, before: str | None, day: int, kind: Any = "canary") -> LedgerChange:
    return LedgerChange(
        change_id, "eta", to, before, kind, True, (Stage(1, MARCH.start_us + day * DAY_US),), MARCH.end_us, change_id
    )


def test_a_version_lives_on_in_those_built_on_it_until_it_is_rolled_back() -> None:
    chain = [change("a", "2", "1", 0), change("b", "3", "2", 5), change("c", "4", "3", 9)]
    assert lineage(chain[0], chain) == {"2", "3", "4"}
    assert lineage(chain[1], chain) == {"3", "4"}
    back = [*chain[:2], change("r", "1", "3", 7, "rollback")]
    assert lineage(back[0], back) == {"2", "3"}


@pytest.mark.slow
def test_bars_cover_what_was_planted() -> None:
    found = simulate_months(120, seed=11)
    assert found.months == 120
    assert 0.89 <= found.covered / found.bars <= 0.99
    assert found.identity < 1e-12
