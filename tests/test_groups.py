"""Rows by integer key: each function against numpy's own, and the search inside one person against a plain loop."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from analysis.frames import Coded, Outcomes
from analysis.groups import distinct, first_places, ranks, stable_order, starts
from analysis.values import Crowd, RepeatedMatcher

KEYS = [(seed, n, many) for seed, (n, many) in enumerate([(0, 3), (1, 1), (50, 4), (2_000, 7), (2_000, 5_000)])]


@pytest.mark.parametrize(("seed", "n", "many"), KEYS)
def test_counting_says_what_sorting_says(seed: int, n: int, many: int) -> None:
    key = np.random.default_rng(seed).integers(0, many, n)
    values, first, inverse = np.unique(key, return_index=True, return_inverse=True)
    assert ranks(key, many).tolist() == inverse.tolist()
    assert distinct(key).tolist() == values.tolist()
    found = first_places(key, many)
    assert found[values].tolist() == first.tolist()
    assert np.count_nonzero(found >= 0) == len(values)
    order, begins = stable_order(key), starts(key, many)
    for k in values:
        assert order[begins[k] : begins[k + 1]].tolist() == np.flatnonzero(key == k).tolist()
    assert begins[-1] == n


@pytest.mark.parametrize("kind", [np.int8, np.int16, np.int32, np.int64])
def test_order_is_stable_for_every_width_and_for_those_without_a_key(kind: type) -> None:
    key: np.ndarray = np.random.default_rng(5).integers(-1, 6, 3_000).astype(kind)
    assert stable_order(key).tolist() == np.argsort(key, kind="stable").tolist()


def test_keys_that_fit_no_number_with_their_place_are_ordered_all_the_same() -> None:
    key = np.random.default_rng(6).integers(-1, 1 << 61, 500)
    key[:250] = key[250:]
    assert stable_order(key).tolist() == np.argsort(key, kind="stable").tolist()


def test_ranks_of_few_keys_out_of_many_need_no_table_of_all() -> None:
    key = np.array([9_000_000_000, 4, 9_000_000_000, 7])
    assert ranks(key, 1 << 40).tolist() == [2, 0, 2, 1]


def test_an_outcome_counts_for_each_entry_that_it_follows() -> None:
    rng = np.random.default_rng(7)
    for _ in range(60):
        n, m, people = int(rng.integers(0, 40)), int(rng.integers(0, 60)), int(rng.integers(1, 8))
        entered = rng.integers(-1, people, n), rng.integers(0, 30, n)  # many at one moment, some of nobody
        said = np.sort(rng.integers(0, 30, m))
        names = Coded(rng.integers(0, 2, m), pd.Index(["other", "order"]))
        nothing = np.zeros(m)
        outcomes = Outcomes.sort(rng.integers(0, people, m), said, names, nothing, names, {})
        matcher = RepeatedMatcher(_crowd(*entered), people)
        begin, end = sorted(rng.integers(-5, 12, 2).tolist())
        rows, found = matcher.of(outcomes, "order", begin, end)
        expected = [
            (row, i)
            for row in range(m)
            if names.labels[outcomes.name.codes[row]] == "order"
            for i in range(n)
            if entered[0][i] == outcomes.person[row] and begin <= outcomes.at[row] - entered[1][i] <= end
        ]
        assert sorted(zip(rows.tolist(), found.tolist(), strict=True)) == expected


def _crowd(person: np.ndarray, at: np.ndarray) -> Crowd:
    n = len(person)
    nothing = np.zeros(n, dtype=np.int64)
    return Crowd(person, at, nothing, nothing, nothing.astype(bool), nothing, 0, False, n)
