"""What could a test of this world show? Standard errors and power from its parameters, by textbook formulas.

Nothing here is the product's: sizes, spreads and effects go in, and out come the chances that docs/meaning.md promises
for them. Intervals are those that the contract names: fixed once the plan is reached, always-valid before (Waudby-Smith
et al., arXiv 2103.06476, eq. 9, 134, 155), Student's where zones or blocks were drawn.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats

from benchmarks.verdicts.figures import Floats, Ints, Kind, Latency, Share

ALPHA = 0.05
UNDECLARED = 5_000
FEW = 40
"""Expected marks in an arm below which a normal interval is not what decides, or may not be."""


@dataclass(frozen=True, slots=True)
class Arm:
    """The rows of one arm (and period) by cluster, as shares of all its rows, and how many rows there are."""

    shares: Floats
    rows: float
    cluster: Ints
    cells: float
    """Σ of squared shares over the spans of common noise."""

    @property
    def few(self) -> float:
        """What these clusters are worth, were they of one size."""
        return 1 / float(np.sum(self.shares**2)) if len(self.shares) else 0.0


@dataclass(frozen=True, slots=True)
class Sample:
    """What a comparison rests on: arms (control, new version), before where there is one, and how it is tested.

    ``units`` count towards ``plan``; ``exact``: a permutation or placebos, so nothing is looked at daily.
    """

    arms: tuple[Arm, Arm]
    before: tuple[Arm, Arm] | None
    units: int
    plan: int
    exact: bool
    assignments: float
    people: tuple[int, int]

    def se(self, kind: Kind, levels: tuple[float, float], between: float, shock: float) -> float:
        """Of the effect; ``between``: how clusters differ for good, ``shock``: cells, both as shares of the figure."""
        var = 0.0
        for i, arm in enumerate(self.arms):
            figure, own = abs(kind.figure(levels[i])), kind.variance(levels[i])
            scale = abs(kind.figure(levels[0])) if self.exact else figure
            var += own / max(arm.rows, 1) + (shock * scale) ** 2 * arm.cells
            if self.before is None:
                var += (between * scale) ** 2 * float(np.sum(arm.shares**2)) if len(arm.shares) else 0.0
                continue
            earlier = self.before[i]
            var += kind.variance(levels[0]) / max(earlier.rows, 1) + (shock * scale) ** 2 * earlier.cells
            moved = dict(zip(arm.cluster.tolist(), arm.shares.tolist(), strict=True))
            for c, share in zip(earlier.cluster.tolist(), earlier.shares.tolist(), strict=True):
                moved[c] = moved.get(c, 0.0) - share
            var += (between * scale) ** 2 * sum(m * m for m in moved.values())
        return math.sqrt(var)

    @property
    def df(self) -> float:
        """Degrees of freedom of the smaller side's clusters; people are many."""
        if all(len(a.shares) == 0 for a in self.arms):
            return 1e6
        few = [max(a.few - 1, 0.5) for a in self.arms]
        weight = [1 / (f + 1) for f in few]
        return sum(weight) ** 2 / sum(w * w / f for w, f in zip(weight, few, strict=True))

    @property
    def finished(self) -> bool:
        """Whether the fixed interval decides."""
        return self.exact or self.units >= self.plan

    def half_width(self, se: float, alpha: float) -> float:
        """Of the two-sided interval."""
        if self.finished:
            return se * float(stats.t.isf(alpha / 2, self.df))
        rho2 = _rho2(self.plan, ALPHA)
        spread = self.units * rho2 + 1
        return (
            se
            * math.sqrt(self.units)
            * math.sqrt(2 * spread / (self.units**2 * rho2) * math.log(math.sqrt(spread) / alpha))
        )

    def bound(self, se: float) -> float:
        """Of the one-sided upper bound that clears a guardrail."""
        if self.exact:
            return se * float(stats.t.isf(ALPHA, self.df))
        rho2 = _rho2(self.plan, 2 * ALPHA)
        spread = self.units * rho2 + 1
        return (
            se
            * math.sqrt(self.units)
            * math.sqrt(2 * spread / (self.units**2 * rho2) * math.log(1 + math.sqrt(spread) / (2 * ALPHA)))
        )

    def beyond(self, effect: float, se: float, half: float) -> float:
        """The chance that effect − half lies above 0; Student's where clusters are few."""
        if se <= 0:
            return float(effect > half)
        if self.df > 200:
            return float(stats.norm.cdf((effect - half) / se))
        return float(stats.nct.sf(half / se, self.df, effect / se))


def _rho2(plan: int, alpha: float) -> float:
    return (-2 * math.log(alpha) + math.log(-2 * math.log(alpha) + 1)) / max(plan, 1)


def shown(
    sample: Sample, kind: Kind, levels: tuple[float, float], between: float, shock: float, *, tests: int, up: bool
) -> float:
    """The chance that a goal is decided better, with Bonferroni's part of the level for each of ``tests`` goals."""
    effect = kind.figure(levels[1]) - kind.figure(levels[0])
    se = sample.se(kind, levels, between, shock)
    return sample.beyond(effect if up else -effect, se, sample.half_width(se, ALPHA / tests))


def cleared(
    sample: Sample, kind: Kind, levels: tuple[float, float], between: float, shock: float, *, margin: float, up: bool
) -> float:
    """The chance that a guardrail's harm is shown to be below its margin.

    Of a latency also as the contract tests it: the share of requests above the old version's quantile.
    """
    if isinstance(kind, Latency):
        at = kind.figure(1.0)
        slower = kind.above(at, levels[1])
        most = kind.above(at - margin, 1.0) - kind.above(at, 1.0)
        of_share = Share(1 - kind.quantile)
        pair = 1 - kind.quantile, slower
        return cleared(sample, of_share, pair, between, shock, margin=most, up=False)
    effect = kind.figure(levels[1]) - kind.figure(levels[0])
    harm = -effect if up else effect
    se = sample.se(kind, levels, between, shock)
    power = sample.beyond(margin - harm, se, sample.bound(se))
    expected = [arm.rows * kind.marked(level) for arm, level in zip(sample.arms, levels, strict=True)]
    if min(expected) >= FEW:
        return power
    # Too few marks: the exact limit of the new arm alone decides, as if the old one had none.
    p = kind.figure(levels[1])
    bad = 1 - p if up else p
    rows = max(round(sample.arms[1].rows), 1)
    counts = np.arange(0, max(60, int(4 * rows * bad) + 10))
    limits = stats.chi2.isf(ALPHA, 2 * (counts + 1)) / 2 / rows
    most = np.flatnonzero(limits < margin)
    exact = float(stats.binom.cdf(int(most[-1]), rows, min(max(bad, 0.0), 1.0))) if len(most) else 0.0
    return min(power, exact)
