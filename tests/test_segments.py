"""Segments: figures of each value of the entry exposure, the gate before they decide, and their family of their own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from analysis import Analysis, analyse
from analysis.lift import Effect
from analysis.segments import MOST_VALUES, heterogeneity
from edgeloop.clock import DAY_US
from edgeloop.metrics import MetricSettings
from edgeloop.store.rows import Estimate
from tests.frames import LATER, MARCH, at, together, trial

GOAL = {"rebooked": MetricSettings(role="goal", headline=True, event="rebooked")}


def run(tables: dict[str, pd.DataFrame], **metrics: MetricSettings) -> Analysis:
    return analyse(tables, MARCH, freeze_id="f", as_of_us=LATER, metrics=metrics or GOAL)


def rows(found: Analysis, dimension: str, metric: str = "rebooked") -> dict[str, Estimate]:
    return {e.segment: e for e in found.estimates if (e.dimension, e.metric) == (dimension, metric)}


def two_zones(north: tuple[float, float], south: tuple[float, float], n: int = 4_000, **more: Any) -> dict[str, Any]:
    parts = []
    for i, (zone, event) in enumerate((("north", north), ("south", south))):
        part = trial(seed=i + 1, n=n, event=event, prefix=zone, **more)
        part["exposures"]["zone"] = zone
        parts.append(part)
    return together(*parts)


def test_each_value_has_the_figures_of_those_who_entered_with_it() -> None:
    tables = two_zones((0.2, 0.3), (0.2, 0.2))
    found = rows(run(tables), "zone")
    assert list(found) == ["north", "south"]
    x, done = tables["exposures"], set(tables["engagement"]["subject"])
    for zone, row in found.items():
        for arm, n, figure in (("stable", row.n_control, row.control), ("canary", row.n_treated, row.treated)):
            who = x.loc[(x["zone"] == zone) & (x["arm"] == arm), "subject"]
            assert n == len(who)
            assert figure == pytest.approx(who.isin(done).mean())
        assert row.verdict is None, "a verdict is of the whole change"


def test_where_effects_differ_segments_decide() -> None:
    found = rows(run(two_zones((0.2, 0.3), (0.2, 0.2))), "zone")
    north, south = found["north"], found["south"]
    assert north.decided_by == "fixed"
    assert (north.reason or "").startswith("better; the effects differ between zones (p = ")
    assert (south.reason or "").startswith("no clear change; the effects differ")
    assert north.p_adjusted is not None
    assert north.decision_low is not None
    assert north.decision_low > 0
    # Two tests in the family: the adjustment must change something.
    assert south.p is not None
    assert north.p_adjusted == pytest.approx(min(2 * (north.p or 0), max(north.p or 0, south.p)))


def test_where_they_do_not_segments_are_for_looking_only() -> None:
    for row in rows(run(two_zones((0.2, 0.3), (0.2, 0.3))), "zone").values():
        assert row.p is not None
        assert (row.decided_by, row.p_adjusted, row.decision_low) == (None, None, None)
        assert "for looking only: no sign that zones differ" in (row.reason or "")


def test_a_small_segment_does_not_open_the_gate() -> None:
    tables = two_zones((0.2, 0.2), (0.2, 0.2))
    small = trial(seed=9, n=60, event=(0.05, 0.95), prefix="tiny")
    small["exposures"]["zone"] = "tiny"
    found = rows(run(together(tables, small)), "zone")
    assert "not enough data" in (found["tiny"].reason or "")
    assert {row.p_adjusted for row in found.values()} == {None}


def test_the_entrys_value_counts_and_not_a_later_one() -> None:
    tables = two_zones((0.2, 0.2), (0.2, 0.2), n=1_000)
    later = tables["exposures"].copy()
    later["exposure_id"] = "again" + later["exposure_id"]
    later["occurred_at"] += DAY_US
    later["zone"] = "moved"
    tables["exposures"] = pd.concat([tables["exposures"], later], ignore_index=True)
    assert list(rows(run(tables), "zone")) == ["north", "south"]


def test_rare_values_are_one_segment_and_absent_ones_another() -> None:
    tables = trial(n=6_000)
    rng = np.random.default_rng(7)  # not the trial's seed, or the device would follow the arm
    devices = np.array([f"d{i:02d}" for i in range(20)] + [None], dtype=object)
    weight = np.array([20 - i for i in range(20)] + [10], dtype=float)
    tables["exposures"]["device"] = devices[rng.choice(21, len(tables["exposures"]), p=weight / weight.sum())]
    found = rows(run(tables), "device")
    assert list(found) == [*(f"d{i:02d}" for i in range(MOST_VALUES)), "other", "unknown"]
    assert sum((r.n_control or 0) + (r.n_treated or 0) for r in found.values()) == 6_000


def test_new_and_returning_customers() -> None:
    tables = trial(n=2_000, start=5)
    known = tables["exposures"]["subject"].iloc[:800]
    before = pd.DataFrame(
        {"event_id": "b" + known, "subject": known, "occurred_at": at(1), "name": "rebooked", "anonymous": 0}
    )
    tables["engagement"] = pd.concat([tables["engagement"], before], ignore_index=True)
    found = rows(run(tables), "customer")
    assert {v: (r.n_control or 0) + (r.n_treated or 0) for v, r in found.items()} == {"new": 1_200, "returning": 800}


def test_new_and_returning_customers_are_no_segment_where_the_data_begin_later_than_four_weeks_before() -> None:
    tables = trial(n=2_000, start=5)
    known = tables["exposures"]["subject"].iloc[:800]
    before = pd.DataFrame(
        {"event_id": "b" + known, "subject": known, "occurred_at": at(1), "name": "rebooked", "anonymous": 0}
    )
    tables["engagement"] = pd.concat([tables["engagement"], before], ignore_index=True)
    first = int(tables["exposures"]["occurred_at"].min())
    for begins, dimensions in ((first - 28 * DAY_US, {"all", "customer"}), (first - 28 * DAY_US + 1, {"all"})):
        found = analyse(tables, MARCH, freeze_id="f", as_of_us=LATER, begins_us=begins, metrics=GOAL)
        assert {e.dimension for e in found.estimates} == dimensions


def test_a_single_value_is_no_segment() -> None:
    tables = trial(n=2_000)
    tables["exposures"]["zone"] = "north"
    assert {e.dimension for e in run(tables).estimates} == {"all"}


def test_answers_and_sums_have_segments_too() -> None:
    parts = []
    for i, zone in enumerate(("north", "south")):
        part = trial(seed=i, n=2_000, spend=(10, 12), score=(3.5, 3.6), prefix=zone)
        part["exposures"]["zone"] = zone
        parts.append(part)
    found = run(
        together(*parts),
        money=MetricSettings(role="goal", headline=True, event="rebooked", kind="mean"),
        score=MetricSettings(source="answers", event="csat/overall", kind="mean", window_h=336),
    )
    assert list(rows(found, "zone", "money")) == ["north", "south"]
    assert list(rows(found, "zone", "score")) == ["north", "south"]
    assert all(row.lift is None for row in rows(found, "zone", "score").values())


def test_false_segments_are_rare() -> None:
    """Of 60 months without any effect in 3 dimensions, few have a segment that is called better or worse."""
    false = 0
    rng = np.random.default_rng(555)
    for seed in range(60):
        tables = trial(seed=seed, n=1_500)
        for name, values in (("zone", 4), ("device", 3), ("segment", 3)):
            tables["exposures"][name] = np.array([f"v{i}" for i in range(values)])[rng.integers(0, values, 1_500)]
        found = run(tables)
        false += any(e.p_adjusted is not None and e.p_adjusted <= 0.05 for e in found.estimates if e.dimension != "all")
    assert false <= 5


class TestHeterogeneity:
    def test_by_hand(self) -> None:
        effects = [Effect(0, 0, d, se, 100) for d, se in ((0.10, 0.02), (0.04, 0.03), (0.01, 0.02))]
        w = np.array([1 / 0.02**2, 1 / 0.03**2, 1 / 0.02**2])
        d = np.array([0.10, 0.04, 0.01])
        q = (w * (d - (w * d).sum() / w.sum()) ** 2).sum()
        assert heterogeneity(effects) == pytest.approx(stats.chi2.sf(q, 2))

    def test_one_effect_has_nothing_to_differ_from(self) -> None:
        assert heterogeneity([Effect(0, 0, 1.0, 0.1, 9), None, Effect(0, 0, 1.0, 0.0)]) is None

    @settings(max_examples=100, deadline=None)
    @given(st.lists(st.tuples(st.floats(-5, 5), st.floats(0.01, 5)), min_size=2, max_size=8), st.floats(-9, 9))
    def test_a_shift_of_all_changes_nothing(self, told: list[tuple[float, float]], shift: float) -> None:
        one = heterogeneity([Effect(0, 0, d, se, 9) for d, se in told])
        other = heterogeneity([Effect(0, 0, d + shift, se, 9) for d, se in told])
        assert one == pytest.approx(other, abs=1e-6)
        assert one is not None
        assert 0 <= one <= 1

    def test_the_level(self) -> None:
        rng = np.random.default_rng(3)
        p = []
        for _ in range(400):
            se = rng.uniform(0.5, 2, 5)
            p.append(heterogeneity([Effect(0, 0, d, s, 99) for d, s in zip(rng.normal(0.3, se), se, strict=True)]))
        assert 0.02 <= np.mean(np.array(p) <= 0.05) <= 0.09
