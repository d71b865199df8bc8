"""One verdict per change, and words that never contradict their interval."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.lift import Sample, compare
from analysis.verdict import ALPHA, Finding, bonferroni, days_left, decide, floor_missed

BETTER, WORSE, UNCLEAR = Finding("a", 0.1, 0.3), Finding("b", -0.3, -0.1), Finding("c", -0.1, 0.1)
THIN = Finding("d", -9.0, -8.0, can_decide=False)


@pytest.mark.parametrize(
    ("findings", "alarms", "verdict"),
    [
        ([BETTER], [], "promote"),
        ([WORSE], [], "roll back"),
        ([UNCLEAR], [], "keep testing"),
        ([], [], "keep testing"),
        ([BETTER, UNCLEAR], [], "promote"),
        ([BETTER, BETTER, WORSE], [], "roll back"),
        ([WORSE], ["units are not shared out as declared"], "repair the data first"),
        ([BETTER], ["an arm was silent"], "repair the data first"),
        ([THIN], [], "keep testing"),
        ([THIN, BETTER], [], "promote"),
        ([Finding("wait", 0.1, 0.3, lower_is_better=True)], [], "roll back"),
        ([Finding("wait", -0.3, -0.1, lower_is_better=True)], [], "promote"),
    ],
)
def test_the_first_that_holds(findings: list[Finding], alarms: list[str], verdict: str) -> None:
    assert decide(findings, alarms) == verdict
    assert decide(findings[::-1], alarms) == verdict


FINITE = st.floats(-1e6, 1e6)


@settings(max_examples=300, deadline=None)
@given(FINITE, FINITE, st.booleans(), st.booleans())
def test_words_never_contradict_the_interval(a: float, b: float, can_decide: bool, lower: bool) -> None:
    finding = Finding("m", min(a, b), max(a, b), can_decide, lower)
    holds_nought = finding.low <= 0 <= finding.high
    up = finding.low > 0
    if not can_decide:
        assert finding.word == "not enough data"
    elif holds_nought:
        assert finding.word == "no clear change"
    else:
        assert finding.word == ("better" if up != lower else "worse")
    assert ("holds 0" in finding.side) == holds_nought
    assert ("wholly above 0" in finding.side) == up
    assert ("wholly below 0" in finding.side) == (finding.high < 0)


@settings(max_examples=300, deadline=None)
@given(st.floats(-4.5, 4.5), st.integers(1, 40))
def test_a_deciding_interval_excludes_nought_exactly_where_the_adjusted_p_is_small(z: float, m: int) -> None:
    effect = compare(Sample(400, 0.0, 1.0), Sample(300, z * (1 / 400 + 1 / 300) ** 0.5, 1.0))
    assert effect.p is not None
    low, high = effect.interval(ALPHA / m) or (0.0, 0.0)
    adjusted = bonferroni(effect.p, m)
    if abs(adjusted - ALPHA) > 1e-9:
        assert (adjusted < ALPHA) == (not low <= 0 <= high)


def test_bonferroni_changes_something() -> None:
    """A library shipped for years with corrections that corrected nothing."""
    effect = compare(Sample(400, 0.0, 1.0), Sample(400, 0.17, 1.0))
    assert effect.p is not None
    alone, among_ten = (Finding("m", *(effect.interval(ALPHA / m) or (0.0, 0.0))) for m in (1, 10))
    assert (decide([alone], []), decide([among_ten], [])) == ("promote", "keep testing")
    assert bonferroni(effect.p, 10) == pytest.approx(10 * effect.p)
    assert bonferroni(0.3, 10) == 1


@pytest.mark.parametrize(
    ("source", "control", "treated", "days", "words"),
    [
        ("share", 125, 25, 7, None),
        ("share", 125, 24, 7, "125 and 24 people with the event"),
        ("share", 124, 25, 7, "150 in both"),
        ("sum", 100, 50, 7, None),
        ("sum", 101, 49, 7, "people with a sum"),
        ("sum", 75, 74, 7, "150 in both"),
        ("answer", 30, 30, 7, None),
        ("answer", 500, 29, 7, "500 and 29 people answered"),
        ("share", 900, 900, 6, "6 of 7 full entry days"),
        ("answer", 30, 30, 0, "0 of 7 full entry days"),
    ],
)
def test_floors(source: str, control: int, treated: int, days: int, words: str | None) -> None:
    missed = floor_missed(source, control, treated, days)
    if words is None:
        assert missed is None
    else:
        assert missed is not None
        assert missed.startswith("not enough data: ")
        assert words in missed


class TestDaysLeft:
    """⌈max(0, N·7.84·SE²/s² − N_entered)/(entries per day)⌉ + W."""

    def test_by_hand(self) -> None:
        # 1,000·7.84·0.02²/0.04² = 1,960; less 1,200 leaves 760, at 100 a day 8 days; and the window of 3.
        days = days_left(se=0.02, practical=0.04, complete=1000, entered=1200, entries_per_day=100, window_days=3)
        assert days == 8 + 3

    def test_enough_entered_means_the_window_only(self) -> None:
        assert days_left(se=1e-4, practical=1, complete=10, entered=20, entries_per_day=5, window_days=14) == 14

    @pytest.mark.parametrize(("practical", "rate"), [(0.0, 10.0), (0.1, 0.0)])
    def test_no_end_in_sight(self, practical: float, rate: float) -> None:
        assert days_left(se=1, practical=practical, complete=9, entered=9, entries_per_day=rate, window_days=3) is None

    def test_reaches_power_80_at_the_practical_size(self) -> None:
        """With that many units an effect of size s is found four times in five."""
        n, s, sd = 2_000, 0.2, 2.0
        se = sd * (2 / (n / 2)) ** 0.5
        units = n + (days_left(se=se, practical=s, complete=n, entered=n, entries_per_day=1, window_days=0) or 0)
        rng = np.random.default_rng(1)
        z = rng.normal(s / (sd * (4 / units) ** 0.5), 1, 4_000)
        assert np.mean(np.abs(z) > 1.96) == pytest.approx(0.8, abs=0.03)
