"""How many tests were there? Benjamini–Hochberg over a family, and the intervals that say the same as its p-values.

Benjamini & Hochberg 1995; the intervals at 1 − R·α/m of the R rejected of m tests are those of Benjamini & Yekutieli
2005, "False discovery rate–adjusted multiple confidence intervals".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

Key = TypeVar("Key")
Interval = Callable[[float], tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Adjusted(Generic[Key]):
    """One test of a family: ``interval`` excludes 0 exactly where ``p_adjusted`` ≤ α."""

    key: Key
    p_adjusted: float
    rejected: bool
    interval: tuple[float, float]


def adjust(tests: Sequence[tuple[Key, float, Interval]], alpha: float = 0.05) -> list[Adjusted[Key]]:
    """Adjusted p-values and deciding intervals, in the order given.

    The deciding interval is at level 1 − max(R, 1)·α/m, with R rejections among m tests.

    Args:
        tests: (key, p, interval at a level 1 − a that excludes 0 exactly where p ≤ a).

    Raises:
        ValueError: a p that is no probability; sorted among the others it would spoil all of them.
    """
    for key, p, _ in tests:
        if not 0 <= p <= 1:
            raise ValueError(f"the p of {key} is {p}: leave out of the family what has no test")
    m = len(tests)
    ranked = sorted(range(m), key=lambda i: tests[i][1])
    adjusted = [1.0] * m
    least = 1.0
    for rank in range(m, 0, -1):
        i = ranked[rank - 1]
        least = min(least, tests[i][1] * m / rank)
        adjusted[i] = least
    rejected = sum(p <= alpha for p in adjusted)
    level = max(rejected, 1) * alpha / m if m else alpha
    return [
        Adjusted(key, adjusted[i], adjusted[i] <= alpha, interval(level)) for i, (key, _, interval) in enumerate(tests)
    ]
