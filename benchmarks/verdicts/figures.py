"""What kinds of metrics are there, how are they drawn, and what is their true figure? Numpy alone, none of the product.

A *level* is the parameter that a version moves: a probability, a factor on sums, a shift of scores, a factor on
latencies. ``figure(level)`` is the metric's true figure at that level, in the metric's own unit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
from scipy import stats

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Rng = np.random.Generator


class Kind(Protocol):
    """One kind of metric with its parameters."""

    @property
    def neutral(self) -> float:
        """The old version's level."""

    @property
    def bounds(self) -> tuple[float, float]:
        """Between which levels the kind makes sense."""

    def figure(self, level: float) -> float:
        """The true figure at a level."""

    def variance(self, level: float) -> float:
        """Of one row (person, answer or request) around the figure."""

    def marked(self, level: float) -> float:
        """The share of rows on the side that floors count: with the event, with a sum."""


@dataclass(frozen=True, slots=True)
class Share:
    """People (or requests) with a mark, with probability ``p``."""

    p: float

    @property
    def neutral(self) -> float:
        return self.p

    @property
    def bounds(self) -> tuple[float, float]:
        return 0.0, 1.0

    def figure(self, level: float) -> float:
        return level

    def variance(self, level: float) -> float:
        return level * (1 - level)

    def marked(self, level: float) -> float:
        return min(level, 1 - level)

    def draw(self, rng: Rng, level: Floats) -> npt.NDArray[np.bool_]:
        """One row each."""
        return np.asarray(rng.random(len(level)) < level)


@dataclass(frozen=True, slots=True)
class Money:
    """A sum per person: with probability ``buyers`` a gamma amount of mean ``basket``; levels multiply the amount."""

    buyers: float
    basket: float
    shape: float

    @property
    def neutral(self) -> float:
        return 1.0

    @property
    def bounds(self) -> tuple[float, float]:
        return 0.0, 20.0

    def figure(self, level: float) -> float:
        return self.buyers * self.basket * level

    def variance(self, level: float) -> float:
        mean = self.figure(level)
        return self.buyers * (self.basket * level) ** 2 * (1 + 1 / self.shape) - mean**2

    def marked(self, level: float) -> float:
        return self.buyers if level > 0 else 0.0

    def draw(self, rng: Rng, level: Floats) -> Floats:
        """One sum each; 0 without one, else in cents and never 0."""
        bought = (rng.random(len(level)) < self.buyers) & (level > 0)
        amount = rng.gamma(self.shape, self.basket * np.maximum(level, 1e-9) / self.shape)
        return np.where(bought, np.maximum(np.round(amount, 2), 0.01), 0.0)


@dataclass(frozen=True, slots=True)
class Score:
    """An answer on a scale of whole points: a normal of this middle and spread, shifted, rounded and clipped.

    ``nps``: 0 to 10, counted 100 from 9 on and −100 up to 6.
    """

    middle: float
    spread: float
    nps: bool = False

    @property
    def neutral(self) -> float:
        return 0.0

    @property
    def bounds(self) -> tuple[float, float]:
        return -12.0, 12.0

    @property
    def points(self) -> Floats:
        """The points of the scale."""
        return np.arange(0.0, 11.0) if self.nps else np.arange(1.0, 6.0)

    def coded(self, points: Floats) -> Floats:
        """As the metric counts them."""
        return np.where(points >= 9, 100.0, np.where(points <= 6, -100.0, 0.0)) if self.nps else points

    def chances(self, level: float) -> Floats:
        """Of each point."""
        edges = np.concatenate([[-np.inf], self.points[:-1] + 0.5, [np.inf]])
        return np.asarray(np.diff(stats.norm.cdf(edges, self.middle + level, self.spread)), dtype=np.float64)

    def figure(self, level: float) -> float:
        return float(self.chances(level) @ self.coded(self.points))

    def variance(self, level: float) -> float:
        p, y = self.chances(level), self.coded(self.points)
        return float(p @ y**2 - (p @ y) ** 2)

    def marked(self, level: float) -> float:
        return 1.0

    def draw(self, rng: Rng, level: Floats) -> Floats:
        """One answer each, as given."""
        points = self.points
        return np.clip(np.rint(rng.normal(self.middle + level, self.spread)), points[0], points[-1])


@dataclass(frozen=True, slots=True)
class Latency:
    """A quantile of log-normal latencies in ms; levels multiply them."""

    median: float
    sigma: float
    quantile: float = 0.95

    @property
    def neutral(self) -> float:
        return 1.0

    @property
    def bounds(self) -> tuple[float, float]:
        return 0.2, 20.0

    def figure(self, level: float) -> float:
        return float(level * self.median * np.exp(self.sigma * stats.norm.ppf(self.quantile)))

    def variance(self, level: float) -> float:
        """Of the quantile's influence: q(1 − q)/f², f the density there."""
        at = self.figure(level)
        density = float(stats.lognorm.pdf(at, self.sigma, scale=self.median * level))
        return self.quantile * (1 - self.quantile) / density**2

    def above(self, threshold: float, level: float) -> float:
        """The share of requests slower than that."""
        return float(stats.lognorm.sf(threshold, self.sigma, scale=self.median * level))

    def marked(self, level: float) -> float:
        return 1 - self.quantile

    def draw(self, rng: Rng, level: Floats) -> Floats:
        """One request each."""
        return np.round(self.median * level * np.exp(self.sigma * rng.standard_normal(len(level))), 1)


@dataclass(frozen=True, slots=True)
class Slow:
    """The share of requests above a threshold, of the same latencies."""

    of: Latency
    threshold: float

    @property
    def neutral(self) -> float:
        return 1.0

    @property
    def bounds(self) -> tuple[float, float]:
        return self.of.bounds

    def figure(self, level: float) -> float:
        return self.of.above(self.threshold, level)

    def variance(self, level: float) -> float:
        p = self.figure(level)
        return p * (1 - p)

    def marked(self, level: float) -> float:
        p = self.figure(level)
        return min(p, 1 - p)


def level_for(kind: Kind, effect: float) -> float | None:
    """The level at which the figure is so much above the old version's; None where no level has it."""
    wanted = kind.figure(kind.neutral) + effect
    if isinstance(kind, Share):
        return wanted if 0 <= wanted <= 1 else None
    low, high = kind.bounds
    if not kind.figure(low) <= wanted <= kind.figure(high):
        return None
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if kind.figure(middle) < wanted else (low, middle)
    return (low + high) / 2
