"""Families: Benjamini and Hochberg's own example, the step-up by its definition, and intervals that agree with it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from analysis.estimators import always_valid
from analysis.families import adjust
from analysis.lift import Effect, Sample, compare

PAPER = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262, 0.5719, 0.6528]
PAPER += [0.7590, 1.0]

Interval = Callable[[float], tuple[float, float]]


def level(alpha: float) -> tuple[float, float]:
    """An interval that tells at which level it was asked for."""
    return -alpha, alpha


def welch(effect: Effect) -> tuple[float, Interval]:
    return effect.p if effect.p is not None else 1.0, lambda a: effect.interval(a) or (0.0, 0.0)


def always(effect: Effect) -> tuple[float, Interval]:
    se = effect.se or 1.0
    return (
        always_valid.p_value(effect.effect, se, 1_000, 5_000),
        lambda a: always_valid.interval(effect.effect, se, 1_000, 5_000, a),
    )


def rejected_by_definition(p: list[float], alpha: float) -> list[bool]:
    """The largest k with p_(k) ≤ k·α/m, and everything up to p_(k)."""
    ranked = sorted(p)
    k = max((k for k in range(1, len(p) + 1) if ranked[k - 1] <= k * alpha / len(p)), default=0)
    return [k > 0 and value <= ranked[k - 1] for value in p]


def test_the_papers_own_example() -> None:
    """Benjamini & Hochberg 1995, section 3.2: fifteen tests, of which the first four are rejected."""
    found = adjust([(i, p, level) for i, p in enumerate(PAPER)])
    assert [f.rejected for f in found] == [True] * 4 + [False] * 11
    assert found[3].p_adjusted == pytest.approx(0.0095 * 15 / 4)
    assert found[4].p_adjusted == pytest.approx(0.0201 * 15 / 5)
    assert found[5].p_adjusted == found[6].p_adjusted == pytest.approx(0.0298 * 15 / 7)  # the sixth may not exceed it
    assert {f.interval for f in found} == {level(4 * 0.05 / 15)}


@settings(max_examples=300, deadline=None)
@given(st.lists(st.floats(0, 1) | st.sampled_from([0.01, 0.02, 0.05]), min_size=1, max_size=25), st.floats(0.001, 0.3))
def test_the_step_up_by_its_definition(p: list[float], alpha: float) -> None:
    found = adjust([(i, value, level) for i, value in enumerate(p)], alpha)
    assert [f.key for f in found] == list(range(len(p)))
    assert [f.p_adjusted for f in found] == pytest.approx(list(stats.false_discovery_control(p)), abs=1e-12)
    assume(all(abs(f.p_adjusted - alpha) > 1e-9 for f in found))
    wanted = rejected_by_definition(p, alpha)
    assert [f.rejected for f in found] == wanted
    assert found[0].interval[1] == pytest.approx(max(sum(wanted), 1) * alpha / len(p))


@pytest.mark.parametrize("test", [welch, always])
@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.floats(-5, 5), st.integers(5, 2_000)), min_size=1, max_size=12),
    st.sampled_from([0.05, 0.01, 0.2]),
)
def test_the_deciding_interval_excludes_nought_exactly_where_the_adjusted_p_allows(
    test: Callable[[Effect], tuple[float, Interval]], figures: list[tuple[float, int]], alpha: float
) -> None:
    tests = []
    for z, n in figures:
        effect = compare(Sample(n, 2.0, 1.0), Sample(2 * n, 2.0 + z * (1.5 / n) ** 0.5, 1.0))
        tests.append(((z, n), *test(effect)))
    for found in adjust(tests, alpha):
        assume(abs(found.p_adjusted - alpha) > 1e-9)
        low, high = found.interval
        assert found.rejected == (found.p_adjusted <= alpha) == (not low <= 0 <= high)


def test_among_others_the_same_test_says_less() -> None:
    """p = 0.03 alone is found; among ten tests it is not, its p is ten times as large and its interval holds 0."""
    z = stats.norm.isf(0.015)

    def interval(alpha: float) -> tuple[float, float]:
        half = stats.norm.isf(alpha / 2)
        return z - half, z + half

    alone = adjust([("one", 0.03, interval)])[0]
    among = adjust([("one", 0.03, interval), *[(str(i), 0.5, level) for i in range(9)]])[0]
    assert (alone.rejected, among.rejected) == (True, False)
    assert (alone.p_adjusted, among.p_adjusted) == (0.03, pytest.approx(0.3))
    assert among.interval[0] < 0 < alone.interval[0]


def test_others_that_are_found_make_it_easier() -> None:
    strong = [(str(i), 1e-6, level) for i in range(9)]
    assert adjust([("one", 0.03, level), *strong])[0].rejected
    assert not adjust([("one", 0.03, level), *[(k, 0.5, i) for k, _, i in strong]])[0].rejected


def test_false_discoveries_stay_below_the_level() -> None:
    """Twelve tests, of which three have an effect: the mean share of false ones among what is rejected."""
    rng = np.random.default_rng(1)
    shares, plain = [], []
    for _ in range(2_000):
        p = 2 * stats.norm.sf(np.abs(rng.normal([3.5] * 3 + [0.0] * 9)))
        found = [f.rejected for f in adjust([(i, float(v), level) for i, v in enumerate(p)])]
        shares.append(sum(found[3:]) / max(sum(found), 1))
        plain.append((p[3:] < 0.05).sum() / max((p < 0.05).sum(), 1))
    assert np.mean(shares) <= 0.05 * 9 / 12 + 3 * np.std(shares) / 2_000**0.5
    assert np.mean(plain) > 0.08


def test_nothing_to_adjust() -> None:
    assert adjust([]) == []


@pytest.mark.parametrize("p", [float("nan"), -0.1, 1.1])
def test_what_is_no_probability_is_refused_by_name(p: float) -> None:
    with pytest.raises(ValueError, match="the p of conversion is"):
        adjust([("nps", 0.01, level), ("conversion", p, level)])
