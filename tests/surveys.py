"""A survey with a known truth: who answers depends on what is known of everybody, or on the answer itself."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.lift import Effect, compare
from analysis.moments import FloatArray
from analysis.survey.bounds import Bounds, lee_bounds, tipping_point
from analysis.survey.weights import Patterns, WeightedMean, weighted_mean


@dataclass(frozen=True, eq=False)
class Survey:
    """Two arms: everybody's score (which only a simulation knows), who answered, and three covariates."""

    codes: tuple[np.ndarray, ...]
    treated: np.ndarray
    score: FloatArray
    answered: np.ndarray

    @property
    def truth(self) -> float:
        """The effect had everybody answered."""
        return float(self.score[self.treated].mean() - self.score[~self.treated].mean())

    @property
    def plain(self) -> float:
        """The difference of those who did."""
        t, c = self.answered & self.treated, self.answered & ~self.treated
        return float(self.score[t].mean() - self.score[c].mean())

    def arms(self) -> tuple[WeightedMean, WeightedMean]:
        """Weighted."""
        found = []
        for arm in (~self.treated, self.treated):
            patterns = Patterns.from_codes([c[arm] for c in self.codes])
            d = self.answered[arm].astype(np.float64)
            found.append(weighted_mean(patterns, np.arange(len(d)), self.score[arm] * d, d))
        return found[0], found[1]

    def effect(self) -> Effect:
        """The weighted effect."""
        control, treated = self.arms()
        return compare(control.sample, treated.sample)

    def bounds(self) -> Bounds:
        """Lee's."""
        parts = [self.score[self.answered & arm] for arm in (~self.treated, self.treated)]
        return lee_bounds(parts[0], parts[1], (int((~self.treated).sum()), int(self.treated.sum())))

    def tips_at(self) -> float:
        """The tipping point."""
        rate = float(self.answered[self.treated].mean())
        return tipping_point(self.effect().effect, rate) or 0.0


def survey(seed: int, *, n: int = 4_000, effect: float = 0.3, on_answer: float = 0.0) -> Survey:
    """Scores of 1 to 5 that differ by zone and device; the new version's customers of the unhappy zone answer more.

    Args:
        on_answer: how much a point of the score itself adds to the logit of answering, in the new version's arm.
    """
    rng = np.random.default_rng(seed)
    zone, device, known = rng.integers(0, 4, n), rng.integers(0, 3, n), rng.integers(0, 2, n)
    treated = rng.random(n) < 0.5
    mean = 3.4 - 0.5 * (zone == 0) + 0.3 * (device == 1) + 0.2 * known + effect * treated
    score = np.clip(np.rint(rng.normal(mean, 0.9)), 1, 5)
    logit = -1.2 + np.where(treated, 1.0, -0.4) * (zone == 0) + 0.5 * known - 0.3 * (device == 2)
    logit = logit + on_answer * (score - 3) * treated
    return Survey((zone, device, known), treated, score, rng.random(n) < 1 / (1 + np.exp(-logit)))
