"""How much slower are the slowest where zones, not people, were drawn? A share's test, told in the values' unit.

What is tested is the share of exposures above the quantile of the zones (or blocks) with the old version, as between
people (`quantiles`). A share s more of them lies above it: the new version's quantile is then that much above what is
exceeded by s more of its exposures. Monotone, so that figure, p and interval say the same of 0 as the share's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from analysis.estimators.permutation import ZoneEffect
from analysis.moments import FloatArray
from edgeloop.store.facts import FewDraws


@dataclass(frozen=True, slots=True, eq=False)
class ZoneQuantile:
    """Offers what `ZoneEffect` does, in the unit of the values.

    ``share`` is of exposures above the old version's quantile ``control``; ``values`` are the new version's.
    """

    share: ZoneEffect
    quantile: float
    control: float
    values: FloatArray = field(repr=False)
    before: tuple[float, float] | None = None
    """(old version's zones, new version's) quantiles before the start, where the effect is a difference of differences.
    """

    @property
    def treated(self) -> float:
        """The new version's quantile."""
        return float(np.quantile(self.values, self.quantile))

    @property
    def effect(self) -> float:
        """The share's effect in the values' unit."""
        return self._worth(self.share.effect)

    @property
    def se(self) -> float | None:
        """From one standard error of the share above and below."""
        se, effect = self.share.se, self.share.effect
        return None if se is None else (self._worth(effect + se) - self._worth(effect - se)) / 2

    @property
    def p(self) -> float | None:
        """The share's."""
        return self.share.p

    @property
    def refusal(self) -> FewDraws | None:
        """Why there is no p."""
        return self.share.refusal

    @property
    def assignments(self) -> int:
        """How many assignments are possible."""
        return self.share.assignments

    def interval(self, alpha: float = 0.05) -> tuple[float, float] | None:
        """The share's, end by end."""
        found = self.share.interval(alpha)
        return None if found is None else (self._worth(found[0]), self._worth(found[1]))

    def _worth(self, share: float) -> float:
        if share == 0 or math.isinf(share):
            return share
        less = min(max(self.quantile - share, 0.0), 1.0)
        worth = self.treated - float(np.quantile(self.values, less))
        # Equal values can lie on both sides; the share says on which side of 0 it is.
        return worth if worth else math.copysign(math.ulp(0.0), share)
