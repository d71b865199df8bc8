"""What is simulated, what is counted, and when does a figure hold? Tallies that add, and targets for them."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from analysis.lift import ratio_sample
from analysis.moments import Moments
from benchmarks.calibration import SEED

Tally = dict[str, Moments]
"""Per row: Σy/Σd over data sets; of a share y counts hits and d trials."""
_Z = 1.959964  # of a 95 % interval


@dataclass(frozen=True, slots=True)
class Target:
    """A measured share holds inside [low, high].

    Args:
        at_most: it also holds above ``high`` while its Monte Carlo interval reaches down to it: of levels so small
            that even a right procedure lands above them in half of the runs.
    """

    low: float
    high: float
    at_most: bool = False

    def holds(self, share: float, interval: tuple[float, float]) -> bool:
        """Whether a share does."""
        return self.low <= share and (share <= self.high or (self.at_most and interval[0] <= self.high))

    def words(self) -> str:
        """As printed."""
        if self.at_most:
            return f"not above {percent(self.high)}"
        if self.low == self.high:
            return percent(self.low)
        if self.low <= 0.0:
            return f"at most {percent(self.high)}"
        return f"{percent(self.low)} to {percent(self.high)}"


def coverage(sets: int) -> Target:
    """Of 95 % intervals: 94–96 % of 10,000 data sets, 93–97 % of fewer."""
    return Target(0.94, 0.96) if sets >= 10_000 else Target(0.93, 0.97)


def false_alarms(sets: int) -> Target:
    """Of tests at 5 % without an effect: 4–6 % of 10,000 data sets, 3–7 % of fewer."""
    return Target(0.04, 0.06) if sets >= 10_000 else Target(0.03, 0.07)


ALWAYS_VALID = Target(0.0, 0.05)


@dataclass(frozen=True, slots=True)
class Row:
    """One figure of a scenario; ``target`` None: shown because it says what a choice costs."""

    key: str
    what: str
    target: Target | None


@dataclass(frozen=True, slots=True)
class Scenario:
    """``run`` simulates so many data sets with a generator; ``sets`` of a full run in pieces of ``piece``."""

    name: str
    title: str
    sets: int
    piece: int
    rows: Sequence[Row]
    run: Callable[[np.random.Generator, int], Tally]

    def generator(self, piece: int) -> np.random.Generator:
        """Of one piece: from the one seed, the scenario's name and the piece's number, so that no order matters."""
        return np.random.default_rng([SEED, zlib.crc32(self.name.encode()), piece])


def hits(y: int | bool, d: int = 1, *, n: int = 1) -> Moments:
    """``y`` hits in ``d`` trials, from one data set."""
    value, trials = float(y), float(d)
    return Moments(n, value, value * value, trials, trials * trials, value * trials)


def add(tally: Tally, key: str, y: float, d: float = 1.0) -> None:
    """One data set more in a row."""
    tally[key] = tally.get(key, Moments()) + Moments(1, y, y * y, d, d * d, y * d)


def merge(parts: Sequence[Mapping[str, Moments]]) -> Tally:
    """The tallies of several pieces."""
    found: Tally = {}
    for part in parts:
        for key, moments in part.items():
            found[key] = found.get(key, Moments()) + moments
    return found


def measured(m: Moments) -> tuple[float, tuple[float, float]] | None:
    """(Σy/Σd, its 95 % Monte Carlo interval): Wilson's of plain shares, the delta method's of others; None: no trials.

    Several trials of one data set are not independent, which is why they go the second way.
    """
    if m.n == 0 or m.d == 0:
        return None
    figure = m.y / m.d
    if m.dd == m.d and m.yy == m.y:  # every y and d is 0 or 1
        n, z2 = m.d, _Z * _Z
        middle, half = (m.y + z2 / 2) / (n + z2), _Z / (n + z2) * math.sqrt(m.y * (n - m.y) / n + z2 / 4)
        return figure, (min(figure, max(0.0, middle - half)), max(figure, min(1.0, middle + half)))
    if m.n < 2:
        return figure, (figure, figure)
    half = _Z * math.sqrt(ratio_sample(m).mean_var)
    return figure, (figure - half, figure + half)


def percent(share: float) -> str:
    """As printed: 5 %, 0.1 %, 94.83 %."""
    return f"{100 * share:.2f}".rstrip("0").rstrip(".") + " %"
