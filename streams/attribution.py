"""Which exposures an outcome is credited to: a pure function of one outcome and the exposures on its join key.

The meaning is docs/meaning.md; this module knows no log, no store and no clock. Times are integer µs.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping, Sequence
from typing import Generic, Literal, Protocol, TypeVar

import msgspec

from edgeloop.clock import DAY_US, HOUR_US
from edgeloop.settings import AttributionSettings, CreditRule
from edgeloop.tolerance import tolerance_us

CODE_VERSION = 1
"""Raised whenever the same events and rules would give other rows; part of the rules' fingerprint."""

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
    delivery_window_us: int = 0
    """Rules that were written down before there was such a window have none."""
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
            delivery_window_us=round(settings.delivery_window_days * DAY_US),
        )

    def tolerance_us(self, source: str) -> int:
        """How far after an outcome its cause may seem to lie, where the source's stamps are whole seconds."""
        return tolerance_us(source, self.whole_second_sources)

    def window_us(self, outcome_type: str) -> int:
        """How far back a cause may lie, for ``engagement`` or ``response`` events."""
        return self.engagement_window_us if outcome_type == "engagement" else self.answer_window_us

    def delivery_reach_us(self, outcome_type: str) -> int:
        """How far back an exposure of the delivery that the outcome names may lie: never less than the window."""
        return max(self.window_us(outcome_type), self.delivery_window_us)

    @property
    def longest_us(self) -> int:
        """How far back a cause may lie of any outcome that does not name the exposure itself."""
        return max(self.engagement_window_us, self.answer_window_us, self.delivery_window_us)


class Touch(Protocol):
    """A shown exposure as attribution sees it."""

    @property
    def at_us(self) -> int:
        """When it happened."""
        ...

    @property
    def exposure_id(self) -> str:
        """Its id."""
        ...

    @property
    def delivery_id(self) -> str | None:
        """The delivery it was about."""
        ...


T = TypeVar("T", bound=Touch)
_FEW = 64
"""Up to so many, looking at each is faster than an index of them."""


class Cause(msgspec.Struct, Generic[T], frozen=True, gc=False):
    """One exposure's share of an outcome."""

    model_id: str
    touch: T
    credit: float
    matched_by: MatchedBy


def _order(touch: Touch) -> tuple[int, str]:
    return (touch.at_us, touch.exposure_id)


def _time(touch: Touch) -> int:
    return touch.at_us


class Touches(Generic[T]):
    """The shown exposures of one join key: per model, and per model and delivery, ordered by (time, id)."""

    def __init__(self, of_model: dict[str, list[T]]) -> None:
        """Take over what each model showed, in any order."""
        self.models = sorted(of_model)
        """The models that showed something, in order."""
        self._of_model = of_model
        self._in_order: set[str] = set()
        self._of_delivery: dict[str, dict[str | None, list[T]]] = {}
        self._by_id: dict[str, tuple[str, T]] | None = None

    def of_model(self, model_id: str) -> Sequence[T]:
        """What a model showed."""
        touches = self._of_model[model_id]
        if model_id not in self._in_order:
            if len(touches) > 1:
                touches.sort(key=_order)
            self._in_order.add(model_id)
        return touches

    def of_delivery(self, model_id: str, delivery_id: str) -> Sequence[T]:
        """What a model showed for a delivery."""
        ordered = self.of_model(model_id)
        if len(ordered) <= _FEW:
            return [touch for touch in ordered if touch.delivery_id == delivery_id]
        if model_id not in self._of_delivery:
            found: dict[str | None, list[T]] = {}
            for touch in ordered:
                found.setdefault(touch.delivery_id, []).append(touch)
            self._of_delivery[model_id] = found
        return self._of_delivery[model_id].get(delivery_id, ())

    def named(self, exposure_id: str) -> tuple[str, T] | None:
        """The model and the exposure of that id."""
        if self._by_id is None:
            self._by_id = {t.exposure_id: (model, t) for model, ordered in self._of_model.items() for t in ordered}
        return self._by_id.get(exposure_id)


class OfModel(Touch, Protocol):
    """A touch that knows the number of its context, by which its model is found."""

    @property
    def context(self) -> int:
        """The number."""
        ...


M = TypeVar("M", bound=OfModel)


def few(touches: Sequence[M], rules: Rules) -> bool:
    """Whether `last_touches` is as right as `attribute`, and faster."""
    return rules.credit_rule == "last_touch" and len(touches) <= _FEW


def last_touches(
    touches: Sequence[M],
    models: Mapping[int, str],
    *,
    at_us: int,
    window_us: int,
    reach_us: int,
    tolerance_us: int,
    delivery_id: str | None,
) -> list[Cause[M]]:
    """What `attribute` gives where the last touch has all and the outcome names no exposure; touches in any order.

    The last touch of the outcome's delivery, or else of all, is the largest by (of the delivery, time, id): one pass
    over all models at once, without putting anything in order. tests/test_attribution_few.py holds the two together.
    """
    first_us, last_us = at_us - window_us, at_us + tolerance_us
    reached_us = first_us if delivery_id is None else at_us - reach_us
    best: dict[str, tuple[bool, int, str, M]] = {}
    for touch in touches:
        touched_us = touch.at_us
        if reached_us <= touched_us <= last_us:
            named = delivery_id is not None and touch.delivery_id == delivery_id
            if named or first_us <= touched_us:
                model_id = models[touch.context]
                rank = (named, touched_us, touch.exposure_id, touch)  # no two of one id: touches are never compared
                known = best.get(model_id)
                if known is None or rank > known:
                    best[model_id] = rank
    return [
        Cause(model_id, best[model_id][3], 1.0, "delivery" if best[model_id][0] else "window")
        for model_id in (sorted(best) if len(best) > 1 else best)
    ]


def attribute(
    touches: Touches[T],
    *,
    at_us: int,
    window_us: int,
    reach_us: int,
    tolerance_us: int,
    delivery_id: str | None,
    exposure_id: str | None,
    rules: Rules,
) -> list[Cause[T]]:
    """The causes of one outcome, ordered by model and then (time, id); empty where nothing matches.

    Credits sum to 1 per model, in the order returned. An exposure without a share has no entry.

    Args:
        touches: what was shown on the outcome's join key, at least all that may count.
        at_us: when it happened.
        window_us: how far back any exposure may lie.
        reach_us: how far back those of the outcome's delivery may lie, ``window_us`` or more.
        tolerance_us: how far after the outcome an exposure may lie.
        delivery_id: the delivery that it names.
        exposure_id: the exposure that it names.
        rules: of credit.
    """
    explicit = None if exposure_id is None else touches.named(exposure_id)
    first_us, last_us = at_us - window_us, at_us + tolerance_us
    causes: list[Cause[T]] = []
    for model_id in touches.models:
        if explicit is not None and explicit[0] == model_id:
            causes.append(Cause(model_id, explicit[1], 1.0, "explicit"))
            continue
        matched_by: MatchedBy = "delivery"
        candidates = (
            _within(touches.of_delivery(model_id, delivery_id), at_us - reach_us, last_us, rules)
            if delivery_id is not None
            else ()
        )
        if not candidates:
            matched_by = "window"
            candidates = _within(touches.of_model(model_id), first_us, last_us, rules)
        if candidates:
            shares = _CREDITS[rules.credit_rule](candidates, at_us)
            for touch, share in zip(candidates, shares, strict=True):
                if share > 0:
                    causes.append(Cause(model_id, touch, share, matched_by))
    return causes


def _within(ordered: Sequence[T], first_us: int, last_us: int, rules: Rules) -> Sequence[T]:
    """Those with first ≤ time ≤ last, at most ``max_touches``: the latest.

    Where the first has a share of its own, the first and the latest others.
    """
    if len(ordered) <= _FEW:
        inside: Sequence[T] = [touch for touch in ordered if first_us <= touch.at_us <= last_us]
    else:
        inside = ordered[bisect_left(ordered, first_us, key=_time) : bisect_right(ordered, last_us, key=_time)]
    if len(inside) <= rules.max_touches:
        return inside
    if rules.credit_rule in ("first_touch", "position_based"):
        return [inside[0], *inside[len(inside) - rules.max_touches + 1 :]]
    return inside[-rules.max_touches :]


def _last_touch(touches: Sequence[Touch], _at_us: int) -> list[float]:
    return [0.0] * (len(touches) - 1) + [1.0]


def _first_touch(touches: Sequence[Touch], _at_us: int) -> list[float]:
    return [1.0] + [0.0] * (len(touches) - 1)


def _linear(touches: Sequence[Touch], _at_us: int) -> list[float]:
    return [1.0 / len(touches)] * len(touches)


def _time_decay(touches: Sequence[Touch], at_us: int) -> list[float]:
    if len(touches) == 1:  # so far back, or in so long a window, its weight alone may be 0
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
