"""Which rows belong together? Orders and ranks of integer keys, by counting or by one sort of plain numbers.

``np.unique``, ``np.lexsort`` and stable ``np.argsort`` say the same and take several times as long on millions of rows.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from analysis.moments import IntArray

_MOST = 1 << 62


def stable_order(key: npt.NDArray[np.signedinteger[Any]]) -> IntArray:
    """``np.argsort(key, kind="stable")``: keys and places are sorted as one number where they fit into one.

    Args:
        key: −1 or more.
    """
    n = len(key)
    if key.dtype.itemsize <= 2 or n == 0 or (int(key.max()) + 2) * n >= _MOST:
        return np.argsort(key, kind="stable").astype(np.int64)
    packed = (key.astype(np.int64) + 1) * n + np.arange(n)
    packed.sort()
    packed %= n
    return packed


def first_places(key: IntArray, n_keys: int) -> IntArray:
    """The place of each key's first row, −1 where there is none, shape (n_keys,).

    Args:
        key: 0 ≤ key < n_keys.
    """
    first = np.full(n_keys, -1, dtype=np.int64)
    first[key[::-1]] = np.arange(len(key) - 1, -1, -1)  # the first is written last
    return first


def ranks(key: IntArray, n_keys: int) -> IntArray:
    """Each key's rank among those that occur, as ``np.unique(key, return_inverse=True)`` gives it.

    Args:
        key: 0 ≤ key < n_keys.
    """
    if n_keys > 4 * len(key) + 1_000_000:  # so few of so many: counting would cost more memory than sorting
        return np.unique(key, return_inverse=True)[1].astype(np.int64)
    occurs = np.zeros(n_keys, dtype=bool)
    occurs[key] = True
    rank: IntArray = (np.cumsum(occurs) - 1)[key]
    return rank


def distinct(key: IntArray) -> IntArray:
    """The keys that occur, ascending, each once."""
    kept = np.sort(key)
    fresh = np.ones(len(kept), dtype=bool)
    fresh[1:] = kept[1:] != kept[:-1]
    return kept[fresh]


def starts(key: IntArray, n_keys: int) -> IntArray:
    """Where each key's rows begin once they are in order of their keys, shape (n_keys + 1,).

    Args:
        key: 0 ≤ key < n_keys.
    """
    begins = np.zeros(n_keys + 1, dtype=np.int64)
    np.cumsum(np.bincount(key, minlength=n_keys), out=begins[1:])
    return begins
