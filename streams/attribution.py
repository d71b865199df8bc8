"""Which exposures an outcome is credited to: a pure function of one outcome and the exposures on its join key.

The meaning is docs/meaning.md; this module knows no log, no store and no clock. Times are integer µs.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import msgspec

from edgeloop.clock import DAY_US, HOUR_US, SECOND_US
from edgeloop.settings import AttributionSettings, CreditRule

CODE_VERSION = 1
"""Raised whenever the same events and settings would give other rows; part of the rules' fingerprint."""

HALF_LIFE_DAYS = 7
_FIRST_AND_LAST = 0.4
_MIDDLE = 0.2

MatchedBy = Literal["explicit", "delivery", "window"]


class Rules(msgspec.Struct, frozen=True):
    """What the tables are a function of, beside the events."""

    engagement_window_us: int
    answer_window_us: int
    credit_rule: CreditRule
    max_touches: int
    whole_second_sources: tuple[str, ...]
    code_version: int = CODE_VERSION

    @classmethod
    def of(cls, settings: AttributionSettings) -> Rules:
        """The rules that settings ask for."""
        return cls(
            engagement_window_us=round(settings.engagement_window_h * HOUR_US),
            answer_window_us=round(settings.answer_window_days * DAY_US),
            credit_rule=settings.credit_rule,
            max_touches=settings.max_touches,
            whole_second_sources=tuple(sorted(settings.whole_second_sources)),
        )

    def tolerance_us(self, source: str) -> int:
        """How far after an outcome its cause may seem to lie, where the source's stamps are whole seconds."""
        return SECOND_US if source in self.whole_second_sources else 0

    def window_us(self, outcome_type: str) -> int:
        """How far back a cause may lie, for ``engagement`` or ``response`` events."""
        return self.engagement_window_us if outcome_type == "engagement" else self.answer_window_us


class Touch(msgspec.Struct, frozen=True, array_like=True):
    """A shown exposure as attribution sees it."""

    at_us: int
    exposure_id: str
    model_id: str
    model_version: str
    touchpoint: str
    arm: str | None
    rollout_id: str | None
    delivery_id: str | None


class Cause(msgspec.Struct, frozen=True):
    """One exposure's share of an outcome."""

    touch: Touch
    credit: float
    matched_by: MatchedBy


class Touches:
    """The shown exposures of one join key, ordered by (time, id)."""

    def __init__(self, touches: Sequence[Touch]) -> None:
        self._ordered = sorted(touches, key=lambda t: (t.at_us, t.exposure_id))
        self._times = [t.at_us for t in self._ordered]
        self._by_id = {t.exposure_id: t for t in self._ordered}

    def within(self, first_us: int, last_us: int) -> Sequence[Touch]:
        """Those with first ≤ time ≤ last."""
        return self._ordered[bisect_left(self._times, first_us) : bisect_right(self._times, last_us)]

    def named(self, exposure_id: str | None) -> Touch | None:
        """The one of that id."""
        return None if exposure_id is None else self._by_id.get(exposure_id)


def attribute(
    touches: Touches,
    *,
    at_us: int,
    window_us: int,
    tolerance_us: int,
    delivery_id: str | None,
    exposure_id: str | None,
    rules: Rules,
) -> list[Cause]:
    """The causes of one outcome, ordered by model and then (time, id); empty where nothing matches.

    Credits sum to 1 per model, in the order returned. An exposure without a share has no entry.
    """
    by_model: dict[str, list[Touch]] = {}
    for touch in touches.within(at_us - window_us, at_us + tolerance_us):
        by_model.setdefault(touch.model_id, []).append(touch)
    explicit = touches.named(exposure_id)
    if explicit is not None:
        by_model[explicit.model_id] = [explicit]
    causes: list[Cause] = []
    for model_id in sorted(by_model):
        candidates, matched_by = _narrow(by_model[model_id], explicit, delivery_id)
        candidates = _cap(candidates, rules)
        shares = _CREDITS[rules.credit_rule](candidates, at_us)
        causes.extend(
            Cause(touch, share, matched_by) for touch, share in zip(candidates, shares, strict=True) if share > 0
        )
    return causes


def _narrow(candidates: list[Touch], explicit: Touch | None, delivery_id: str | None) -> tuple[list[Touch], MatchedBy]:
    if explicit is not None and candidates[0] is explicit and len(candidates) == 1:
        return candidates, "explicit"
    if delivery_id is not None:
        of_delivery = [t for t in candidates if t.delivery_id == delivery_id]
        if of_delivery:
            return of_delivery, "delivery"
    return candidates, "window"


def _cap(candidates: list[Touch], rules: Rules) -> list[Touch]:
    """At most ``max_touches``: the latest; where the first has a share of its own, the first and the latest others."""
    if len(candidates) <= rules.max_touches:
        return candidates
    if rules.credit_rule in ("first_touch", "position_based"):
        return [candidates[0], *candidates[-(rules.max_touches - 1) :]]
    return candidates[-rules.max_touches :]


def _last_touch(touches: Sequence[Touch], _at_us: int) -> list[float]:
    return [0.0] * (len(touches) - 1) + [1.0]


def _first_touch(touches: Sequence[Touch], _at_us: int) -> list[float]:
    return [1.0] + [0.0] * (len(touches) - 1)


def _linear(touches: Sequence[Touch], _at_us: int) -> list[float]:
    return [1.0 / len(touches)] * len(touches)


def _time_decay(touches: Sequence[Touch], at_us: int) -> list[float]:
    if len(touches) == 1:  # an explicit link may lie so far back that its weight alone would be 0
        return [1.0]
    weights = [2.0 ** (-((at_us - t.at_us) / DAY_US) / HALF_LIFE_DAYS) for t in touches]
    total = sum(weights)
    return [weight / total for weight in weights]


def _position_based(touches: Sequence[Touch], _at_us: int) -> list[float]:
    n = len(touches)
    if n <= 2:
        return [1.0 / n] * n
    return [_FIRST_AND_LAST, *[_MIDDLE / (n - 2)] * (n - 2), _FIRST_AND_LAST]


_CREDITS: Mapping[CreditRule, Callable[[Sequence[Touch], int], list[float]]] = {
    "last_touch": _last_touch,
    "first_touch": _first_touch,
    "linear": _linear,
    "time_decay": _time_decay,
    "position_based": _position_based,
}
