"""Designs without concurrent customers' arms: permutation by zone and block, and switches judged by placebo dates."""

from __future__ import annotations

import csv
import math
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.estimators.permutation import ZoneEffect, assignments
from analysis.estimators.staged import ZoneSums, panel_effect, staged_effect
from analysis.estimators.switch import switch_effect
from analysis.estimators.switchback import switchback_effect

ORGANS = Path(__file__).parent / "data" / "organ_donation.csv"
"""Kessler & Roth 2014 ("Don't Take 'No' for an Answer"), as packaged in causaldata (MIT): 27 states, 6 quarters."""


def staged(rng: np.random.Generator, zones: int, treated: int, effect: float = 0.0) -> ZoneEffect:
    rows = rng.integers(200, 900, (2, zones)).astype(float)
    level = 10 + rng.normal(0, 2, zones)
    moved = rng.normal(0, 0.5, zones)
    arm = np.zeros(zones, dtype=bool)
    arm[rng.permutation(zones)[:treated]] = True
    before = rows[0] * level
    after = rows[1] * (level + moved + 0.3 + effect * arm)
    return staged_effect(ZoneSums(before, rows[0]), ZoneSums(after, rows[1]), arm)


class TestOrganDonation:
    def test_figures_of_the_textbook(self) -> None:
        """−0.0225, SE 0.0067, 5 of 27 placebo states at least as far: p 0.185, no clear change."""
        with ORGANS.open(encoding="utf-8") as data:
            rows = list(csv.DictReader(data))
        states = sorted({r["State"] for r in rows})
        rates = np.zeros((27, 6))
        for r in rows:
            rates[states.index(r["State"]), int(r["Quarter_Num"]) - 1] = float(r["Rate"])
        found = panel_effect(rates, np.array([s == "California" for s in states]), first_after=3)
        assert round(found.effect, 4) == -0.0225
        assert found.se == pytest.approx(0.0067, abs=0.00015)
        assert found.assignments == 27
        assert found.p == pytest.approx(5 / 27)
        low, high = found.interval() or (0.0, 0.0)
        assert low < 0 < high


class TestStaged:
    def test_against_brute_force(self) -> None:
        rng = np.random.default_rng(1)
        for _ in range(5):
            zones, treated = 9, 3
            before = ZoneSums(rng.gamma(5, 20, zones), rng.integers(20, 60, zones).astype(float))
            after = ZoneSums(rng.gamma(5, 20, zones), rng.integers(20, 60, zones).astype(float))
            arm = np.zeros(zones, dtype=bool)
            arm[[1, 4, 5]] = True
            found = staged_effect(before, after, arm)

            def by_hand(group: tuple[int, ...], b: ZoneSums = before, a: ZoneSums = after) -> float:
                others = [i for i in range(9) if i not in group]
                new, old = list(group), others
                return float(
                    a.y[new].sum() / a.rows[new].sum() - b.y[new].sum() / b.rows[new].sum()
                    - a.y[old].sum() / a.rows[old].sum() + b.y[old].sum() / b.rows[old].sum()
                )  # fmt: skip

            actual = by_hand((1, 4, 5))
            all_ways = [by_hand(c) for c in combinations(range(zones), treated)]
            assert found.effect == pytest.approx(actual)
            assert found.assignments == math.comb(9, 3)
            assert found.p == pytest.approx(np.mean([abs(w) >= abs(actual) - 1e-12 for w in all_ways]))

    def test_true_nulls_are_rejected_in_5_percent(self) -> None:
        """Two and three treated zones of 8 to 12, where standard errors clustered by zone reject 12–13 %."""
        rng = np.random.default_rng(2)
        rejected = clustered = 0
        for i in range(600):
            found = staged(rng, 8 + i % 5, 2 + i % 2)
            assert found.p is not None
            assert found.se is not None
            rejected += found.p <= 0.05
            clustered += abs(found.effect) / found.se > 1.96
        assert 0.03 * 600 <= rejected <= 0.07 * 600
        assert clustered > 0.09 * 600

    def test_intervals_cover(self) -> None:
        rng = np.random.default_rng(3)
        covered = 0
        for _ in range(200):
            low, high = staged(rng, 10, 3, effect=0.8).interval() or (0.0, 0.0)
            covered += low <= 0.8 <= high
        assert covered >= 0.92 * 200

    def test_too_few_assignments_have_no_p(self) -> None:
        found = staged(np.random.default_rng(4), 6, 2)
        assert (found.assignments, found.p, found.interval()) == (15, None, None)
        assert "15 possible assignments; 20 are needed" in (found.refusal.english if found.refusal else "")

    @settings(max_examples=30, deadline=None)
    @given(st.integers(0, 10_000), st.sampled_from([0.05, 0.1, 0.2]))
    def test_the_interval_holds_nought_exactly_where_p_is_above_alpha(self, seed: int, alpha: float) -> None:
        found = staged(np.random.default_rng(seed), 9, 3, effect=1.0)
        low, high = found.interval(alpha) or (0.0, 0.0)
        assert found.p is not None
        assert (low <= 0 <= high) == (found.p > alpha)

    def test_many_zones_draw_the_same_assignments_each_time(self) -> None:
        arm = np.arange(40) < 12
        first, again = (assignments(arm, np.zeros(40, dtype=np.int64)) for _ in (1, 2))
        assert first.shape == (10_000, 40)
        assert (first == again).all()
        assert (first[0] == arm).all()
        assert (first.sum(axis=1) == 12).all()


class TestSwitchback:
    def draw(self, rng: np.random.Generator, effect: float = 0.0) -> ZoneEffect:
        zone = np.repeat(np.arange(4), 12)
        treated = np.concatenate([rng.permutation(np.arange(12) % 2 == 0) for _ in range(4)])
        rows = rng.integers(30, 90, 48).astype(float)
        y = rows * (5 + zone + rng.normal(0, 0.6, 48) + effect * treated)
        return switchback_effect(zone, treated, y, rows)

    def test_level_and_coverage(self) -> None:
        rng = np.random.default_rng(5)
        rejected = sum((self.draw(rng).p or 1) <= 0.05 for _ in range(300))
        assert 0.025 * 300 <= rejected <= 0.08 * 300
        covered = 0
        for _ in range(60):
            low, high = self.draw(rng, 0.7).interval() or (0.0, 0.0)
            covered += low <= 0.7 <= high
        assert covered >= 53

    def test_each_zone_keeps_its_number_of_treated_blocks(self) -> None:
        zone = np.repeat([0, 1], 4)
        treated = np.array([1, 0, 0, 0, 1, 1, 0, 0], dtype=bool)
        drawn = assignments(treated, zone)
        assert len(drawn) == 4 * 6
        assert (drawn[:, :4].sum(axis=1) == 1).all()
        assert (drawn[:, 4:].sum(axis=1) == 2).all()


def series(rng: np.random.Generator, days: int, rho: float = 0.5) -> tuple[np.ndarray, np.ndarray]:
    """(sums, rows): AR(1) around a weekly pattern."""
    noise = np.zeros(days)
    for i in range(days):
        noise[i] = (rho * noise[i - 1] if i else 0.0) + rng.normal(0, 0.3)
    figure = 10 + np.sin(np.arange(days) * 2 * np.pi / 7) + noise
    rows = rng.integers(300, 500, days).astype(float)
    return rows * figure, rows


class TestSwitch:
    def test_true_nulls_of_autocorrelated_days(self) -> None:
        """AR(0.5): the rank of the placebos alone rejects 7–11 %, with their spread about 5."""
        rng = np.random.default_rng(6)
        rejected = 0
        for _ in range(150):
            sums, rows = series(rng, 84)
            found = switch_effect(sums, rows, 70, np.zeros((84, 0)))
            assert found.p is not None
            rejected += found.p <= 0.05
        assert rejected <= 0.09 * 150

    def test_a_step_is_found(self) -> None:
        rng = np.random.default_rng(7)
        sums, rows = series(rng, 84)
        sums[70:] += 2.0 * rows[70:]
        found = switch_effect(sums, rows, 70, np.zeros((84, 0)))
        assert found.effect == pytest.approx(2.0, abs=0.6)
        assert (found.p or 1) <= 0.05
        low, high = found.interval() or (0.0, 0.0)
        assert 0 < low < 2 < high

    def test_an_untouched_series_explains_a_shock(self) -> None:
        rng = np.random.default_rng(8)
        sums, rows = series(rng, 84)
        shock = np.cumsum(rng.normal(0, 0.4, 84))
        shock[70:] += 3.0
        with_shock = sums + shock * rows
        alone = switch_effect(with_shock, rows, 70, np.zeros((84, 0)))
        beside = switch_effect(with_shock, rows, 70, shock[:, None])
        assert abs(beside.effect) < 0.4 * abs(alone.effect)

    @pytest.mark.parametrize(("days", "switch"), [(60, 50), (84, 55), (70, 70)])
    def test_too_few_days_are_figures_without_a_p(self, days: int, switch: int) -> None:
        sums, rows = series(np.random.default_rng(9), days)
        found = switch_effect(sums, rows, switch, np.zeros((days, 0)))
        assert (found.p, found.interval(), found.se) == (None, None, None)
        assert (found.refusal.english if found.refusal else "").startswith("not enough data: ")
        assert found.control == pytest.approx(10, abs=1)

    def test_the_interval_excludes_nought_exactly_where_p_is_at_most_alpha(self) -> None:
        rng = np.random.default_rng(10)
        for step in (0.0, 0.3, 0.6, 1.2):
            sums, rows = series(rng, 84)
            sums[70:] += step * rows[70:]
            found = switch_effect(sums, rows, 70, np.zeros((84, 0)))
            for alpha in (0.01, 0.05, 0.2):
                low, high = found.interval(alpha) or (0.0, 0.0)
                assert (not low <= 0 <= high) == ((found.p or 1) <= alpha)
