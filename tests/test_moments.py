"""Sums that add: however the units are split, the estimate is the same."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.lift import compare, log_ratio, mean_sample, proportion_sample, ratio_sample
from analysis.moments import Moments, cells, total

UNITS = st.lists(
    st.tuples(st.floats(0.01, 1000), st.integers(1, 5), st.integers(0, 9), st.booleans()), min_size=8, max_size=60
)


def arm(units: list[tuple[float, int, int, bool]], treated: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    kept = [(y, d, cell) for i, (y, d, cell, _) in enumerate(units) if (i % 2 == 0) == treated]
    y, d, cell = (np.array(column) for column in zip(*kept, strict=True))
    return y.astype(float), d.astype(float), cell.astype(np.int64)


def one_cell(y: np.ndarray, d: np.ndarray) -> Moments:
    return total(cells(y, d, np.zeros(len(y), dtype=np.int64), 1))


@settings(max_examples=150, deadline=None)
@given(UNITS)
def test_any_split_into_cells_gives_the_same_estimate(units: list[tuple[float, int, int, bool]]) -> None:
    whole, split = [], []
    for treated in (False, True):
        y, d, cell = arm(units, treated)
        whole.append(one_cell(y, d))
        split.append(total(cells(y, d, cell, 10)))
    for sample in (mean_sample, ratio_sample):
        a, b = (compare(sample(m[0]), sample(m[1])) for m in (whole, split))
        assert b.effect == pytest.approx(a.effect, rel=1e-9, abs=1e-9)
        assert b.se == pytest.approx(a.se, rel=1e-6, abs=1e-6)


@settings(max_examples=100, deadline=None)
@given(UNITS, st.randoms(use_true_random=False))
def test_the_order_of_cells_does_not_show_in_one_bit(units: list[tuple[float, int, int, bool]], random) -> None:
    y, d, cell = arm(units, treated=True)
    days = cells(y, d, cell, 10)
    shuffled = random.sample(days, len(days))
    assert total(shuffled) == total(days)


@settings(max_examples=100, deadline=None)
@given(UNITS)
def test_adding_is_the_same_as_totalling(units: list[tuple[float, int, int, bool]]) -> None:
    y, d, cell = arm(units, treated=False)
    days = cells(y, d, cell, 10)
    added = sum(days, Moments())
    for name in Moments.__slots__:
        assert getattr(added, name) == pytest.approx(getattr(total(days), name), rel=1e-12, abs=1e-12)


def test_a_unit_lies_in_one_cell() -> None:
    days = cells(np.array([2.0, 3.0, 5.0]), np.array([1.0, 1.0, 2.0]), np.array([0, 2, 2]), 3)
    assert days == [
        Moments(1, 2.0, 4.0, 1.0, 1.0, 2.0, 8.0),
        Moments(),
        Moments(2, 8.0, 34.0, 3.0, 5.0, 13.0, 152.0),
    ]


def test_a_constant_has_no_variance_although_its_sums_are_rounded() -> None:
    """0.1 has no binary form: Σy² − (Σy)²/n is a little off 0, and a t test of two constants then finds anything."""
    for n in (3, 7, 1000, 4001):
        y = np.full(n, 0.1)
        m = one_cell(y, np.ones(n))
        assert mean_sample(m).var == 0
        assert ratio_sample(m).var == 0
    flat = compare(
        mean_sample(one_cell(np.full(50, 0.1), np.ones(50))), mean_sample(one_cell(np.full(70, 0.1), np.ones(70)))
    )
    assert flat.se == 0
    assert flat.p is None
    assert flat.interval() is None


def test_sums_of_large_values_keep_their_digits() -> None:
    rng = np.random.default_rng(3)
    y = 10_000 + rng.normal(size=5_000)
    m = one_cell(y, np.ones(len(y)))
    assert mean_sample(m).var == pytest.approx(y.var(ddof=1), rel=1e-4)


def test_a_proportion_is_p_times_one_minus_p() -> None:
    y = np.array([1.0, 0, 0, 1, 1])
    sample = proportion_sample(one_cell(y, np.ones(5)))
    assert (sample.n, sample.mean) == (5, pytest.approx(0.6))
    assert sample.var == pytest.approx(0.24)
    assert math.isclose(sample.mean_var, 0.048)
    assert log_ratio(sample, sample) is not None
