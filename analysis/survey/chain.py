"""Where do answers get lost? Entered → delivered → invited → answered, by arm."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats

from analysis.frames import Frames
from analysis.lift import Comparison
from analysis.metrics import Metric
from analysis.moments import IntArray
from analysis.nested import compared
from analysis.values import Matcher, Values

DELIVERED, INVITED = "delivered", "invited"
_REACHED = Metric("reached", "proportion", "share", "", 0)


@dataclass(frozen=True, slots=True)
class Link:
    """One step: people of (control, new version) who got there, of those ``of`` who could."""

    name: str
    reached: tuple[int, int]
    of: tuple[int, int]
    inside: Comparison | None = None
    """The rates' difference, where units were drawn inside clusters or strata."""

    @property
    def rates(self) -> tuple[float, float] | None:
        """Shares of both arms; None where an arm has nobody."""
        return (self.reached[0] / self.of[0], self.reached[1] / self.of[1]) if min(self.of) > 0 else None

    @property
    def difference(self) -> float | None:
        """New version − control; None where an arm has nobody."""
        if self.inside is not None:
            return self.inside.effect
        return None if self.rates is None else self.rates[1] - self.rates[0]

    @property
    def p(self) -> float | None:
        """Two-sided p of equal rates, by the pooled normal test; None where nothing varies."""
        if self.inside is not None:
            return self.inside.p
        rates = self.rates
        if rates is None:
            return None
        pooled = sum(self.reached) / sum(self.of)
        se = math.sqrt(pooled * (1 - pooled) * (1 / self.of[0] + 1 / self.of[1]))
        return 2 * float(stats.norm.sf(abs(rates[1] - rates[0]) / se)) if se else None


def chain(
    frames: Frames, matcher: Matcher, window_us: int, answered: IntArray, events: tuple[tuple[str, str], ...]
) -> list[Link]:
    """The links from the entry to an answer, each of those who reached the one before; a step nobody reports is none.

    Args:
        answered: positions in the crowd of those who answered.
        events: (step, engagement name) in order.
    """
    crowd = matcher.crowd
    n = crowd.n_control
    reached = crowd.complete(window_us)
    links: list[Link] = []
    steps = [(step, name) for step, name in events if frames.engagement.name.code(name) is not None]
    for step, name in [*steps, ("answered", "")]:
        if name:
            _, position = matcher.of(frames.engagement, name, 0, window_us)
        else:
            position = answered
        there = np.zeros(len(crowd), dtype=bool)
        there[position] = True
        there &= reached
        of = int(reached[:n].sum()), int(reached[n:].sum())
        inside = None
        if crowd.inside.declared:
            told = compared(_REACHED, crowd, Values(there.astype(np.float64), np.ones(len(crowd)), reached, there))
            inside = None if told is None else told.effect
        links.append(Link(step, (int(there[:n].sum()), int(there[n:].sum())), of, inside))
        reached = there
    return links
