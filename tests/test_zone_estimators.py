"""Designs without concurrent customers' arms: permutation by zone and block, and switches judged by placebo dates."""

from __future__ import annotations

import csv
import math
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.estimators import permutation
from analysis.estimators.permutation import ZoneEffect, assignments
from analysis.estimators.staged import ZoneSums, panel_effect, staged_effect
from analysis.estimators.switch import switch_effect
from analysis.estimators.switchback import switchback_effect

ORGANS = Path(__file__).parent / "data" / "organ_donation.csv"
"""Kessler & Roth 2014 ("Don't Take 'No' for an Answer"), as packaged in causaldata (MIT): 27 states, 6 quarters."""


def staged(rng: np.random.Generator, zones: int, treated: int, effect: float = 0.0) -> ZoneEffect:
    rows = np.tile(rng.integers(200, 900, zones).astype(float), (2, 1))
    level = 10 + rng.normal(0, 2, zones)
    moved = rng.normal(0, 0.5, zones)
    arm = np.zeros(zones, dtype=bool)
    arm[rng.permutation(zones)[:treated]] = True
    before = rows[0] * level
    after = rows[1] * (level + moved + 0.3 + effect * arm)
    return staged_effect(ZoneSums(before, rows[0]), ZoneSums(after, rows[1]), arm)


@pytest.fixture
def few_assignments(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred data sets need no ten thousand assignments each."""
    for name in ("MOST", "FEWEST_DRAWN"):
        monkeypatch.setattr(permutation, name, 999)


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
        """Every assignment by hand: the effect, Welch's SE of the zones' changes, and the normal score of its t."""
        rng = np.random.default_rng(1)
        for _ in range(5):
            zones, treated = 9, 3
            before = ZoneSums(rng.gamma(5, 20, zones), rng.integers(20, 60, zones).astype(float))
            after = ZoneSums(rng.gamma(5, 20, zones), rng.integers(20, 60, zones).astype(float))
            arm = np.zeros(zones, dtype=bool)
            arm[[1, 4, 5]] = True
            found = staged_effect(before, after, arm)
            moved = after.y / after.rows - before.y / before.rows
            apart = np.var(before.y / before.rows, ddof=1)

            def by_hand(
                group: tuple[int, ...],
                b: ZoneSums = before,
                a: ZoneSums = after,
                moved: np.ndarray = moved,
                apart: float = apart,
            ) -> tuple[float, float, float]:
                effect, parts, mixed = 0.0, [], 0.0
                for sign, side in ((1, list(group)), (-1, [i for i in range(9) if i not in group])):
                    late, early = a.rows[side] / a.rows[side].sum(), b.rows[side] / b.rows[side].sum()
                    effect += sign * float(late @ (a.y / a.rows)[side] - early @ (b.y / b.rows)[side])
                    parts.append(
                        (float(np.var(moved[side], ddof=1) * (((late + early) / 2) ** 2).sum()), len(side) - 1)
                    )
                    mixed += apart * float(((late - early) ** 2).sum())
                variance = sum(v for v, _ in parts) + mixed
                df = min(variance**2 / sum(v * v / df for v, df in parts), 7)
                score = (8 * df + 1) / (8 * df + 3) * math.sqrt(df * math.log1p(effect**2 / variance / df))
                return effect, math.sqrt(variance), score

            effect, se, score = by_hand((1, 4, 5))
            all_ways = [by_hand(c)[2] for c in combinations(range(zones), treated)]
            assert found.effect == pytest.approx(effect)
            assert found.se == pytest.approx(se)
            assert found.assignments == math.comb(9, 3)
            assert found.p_of(0.0) == pytest.approx(np.mean([w >= score - 1e-9 for w in all_ways]))
            assert found.p is not None
            assert found.p >= found.p_of(0.0)

    def test_true_nulls_are_rejected_in_5_percent(self) -> None:
        """Two and three treated zones of 8 to 12, where errors clustered by zone reject 12 % and more by the normal."""
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

    @pytest.mark.parametrize(
        ("size", "spread"),
        [((50, 2_000), (0.01, 0.01)), ((2_000, 50), (0.01, 0.01)), ((1_000, 1_000), (0.06, 0.03))],
        ids=["small ones", "large ones", "twice the spread"],
    )
    def test_five_of_25_zones_that_are_unlike_the_others(
        self, size: tuple[int, int], spread: tuple[float, float], few_assignments: None
    ) -> None:
        """The effects alone, permuted, reject true nulls in 68 %, 0 % and 19 % here."""
        rng, arm = np.random.default_rng(11), np.arange(25) < 5
        people, apart = np.where(arm, *size), np.where(arm, *spread)
        rejected, n = 0, 250
        for _ in range(n):
            level = np.clip(0.2 + rng.normal(0, 0.04, 25), 0.02, 1)
            now = np.clip(level + rng.normal(0, 1, 25) * apart, 0.01, 1)
            spans = [rng.binomial(people, rate).astype(float) for rate in (level, now)]
            sums = [ZoneSums(y, people.astype(float), y - y * y / people) for y in spans]
            rejected += (staged_effect(sums[0], sums[1], arm).p or 1) <= 0.05
        assert 0.01 * n <= rejected <= 0.09 * n

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
        found = replace(staged(np.random.default_rng(seed), 9, 3, effect=1.0), drawn=seed % 2 == 0, seen={})
        low, high = found.interval(alpha) or (0.0, 0.0)
        assert found.p is not None
        assert (low <= 0 <= high) == (found.p > alpha)

    def test_zones_that_nobody_drew_need_students_test_too(self) -> None:
        """All the small ones: of no other assignment the figures are like these, so that a permutation knows little."""
        rng, arm = np.random.default_rng(12), np.arange(8) < 4
        people = np.where(arm, 50.0, 2_000.0)
        drawn = chosen = 0
        for _ in range(300):
            level = np.clip(0.2 + rng.normal(0, 0.04, 8), 0.02, 1)
            spans = [rng.binomial(people.astype(int), level).astype(float) for _ in range(2)]
            sums = [ZoneSums(y, people, y - y * y / people) for y in spans]
            found = staged_effect(sums[0], sums[1], arm, drawn=False)
            chosen += (found.p or 1) <= 0.05
            drawn += (replace(found, drawn=True, seen={}).p or 1) <= 0.05
        assert chosen <= 0.075 * 300 < drawn

    def test_a_harm_without_any_spread_is_one(self) -> None:
        """Errors of every zone: 0 before, 100 % after, with the new version."""
        arm, people = np.arange(12) < 3, np.full(12, 400.0)
        none, all_of_them = np.zeros(12), people * arm
        found = staged_effect(ZoneSums(none, people, none), ZoneSums(all_of_them, people, none), arm)
        assert found.effect == 1.0
        assert found.p == 1 / 220
        assert (found.p_above(0.005) or 0.0) < 1e-6
        assert found.p_below(0.005) == 1.0
        silent = staged_effect(ZoneSums(none, people, none), ZoneSums(none, people, none), arm)
        assert (silent.p_above(0.005), silent.p_below(0.005)) == (None, None)

    def test_one_sided_tests_of_few_zones_are_students(self) -> None:
        """Two of five zones: ten assignments and no p, but forty points more errors are no accident."""
        rng, arm, people = np.random.default_rng(13), np.arange(5) < 2, np.full(5, 500.0)
        before, after = (rng.binomial(500, 0.02 + 0.4 * arm * late).astype(float) for late in (0, 1))
        sums = [ZoneSums(y, people, y - y * y / people) for y in (before, after)]
        found = staged_effect(sums[0], sums[1], arm)
        assert found.p is None
        assert (found.p_above(0.005) or 1.0) < 0.01
        assert (found.p_below(0.005) or 0.0) > 0.99

    def test_one_sided_and_two_sided_agree(self) -> None:
        found = staged(np.random.default_rng(14), 10, 4, effect=1.5)
        low, high = found.interval(0.1) or (0.0, 0.0)
        assert (found.p_above(low) or 0) == pytest.approx(0.05, abs=0.03)
        assert (found.p_below(high) or 0) == pytest.approx(0.05, abs=0.03)
        assert (found.p_above(low - 2) or 1) < (found.p_above(low) or 0) < (found.p_above(high) or 0)

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

    def test_level_and_coverage(self, few_assignments: None) -> None:
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
