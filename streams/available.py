"""Which stored outcomes does a batch touch, and which pages hold what they may be credited to?

Of a key with many pages a batch reads those inside the windows and those of the deliveries that are named, no others.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Any

from edgeloop.clock import SECOND_US
from streams.attribution import Rules, Touches, few
from streams.directory import marks_of
from streams.entries import KINDS, Outcome, Shown
from streams.state import FRESH, KeyState, ReadPage, carried_in, shown_by_model

_FEW_SPANS = 16
"""Up to so many, looking for the pages of each is faster than reading those of all the time between."""


class Changed:
    """What of one key changed, so that only the outcomes it can touch are computed again."""

    __slots__ = ("deliveries", "everywhere", "ids", "outcomes", "times")

    def __init__(self) -> None:
        self.times: list[int] = []
        """Of exposures that came, went or moved."""
        self.deliveries: dict[str, list[int]] = {}
        """The same of each delivery that they are of."""
        self.ids: set[str] = set()
        """Of these exposures."""
        self.outcomes: set[tuple[int, str]] = set()
        """Stored outcomes that were replaced."""
        self.everywhere = False
        """Whether an outcome far away may name one of them."""

    def exposure(self, exposure_id: str, at_us: int, delivery_id: str | None) -> None:
        """Note one of them; ``times`` have to be put in order afterwards."""
        self.times.append(at_us)
        self.ids.add(exposure_id)
        if delivery_id is not None:
            self.deliveries.setdefault(delivery_id, []).append(at_us)

    def affects(self, outcome: Outcome, first_us: int, reached_us: int, last_us: int) -> bool:
        """Whether an outcome may be credited otherwise.

        Args:
            outcome: a stored one.
            first_us: from when on it meets any exposure.
            reached_us: from when on it meets those of the delivery that it names.
            last_us: up to when.
        """
        if (outcome.kind, outcome.id) in self.outcomes or (outcome.link is not None and outcome.link in self.ids):
            return True
        i = bisect_left(self.times, first_us)
        if i < len(self.times) and self.times[i] <= last_us:
            return True
        times = () if outcome.delivery_id is None else self.deliveries.get(outcome.delivery_id, ())
        return any(reached_us <= at_us <= last_us for at_us in times)


class Available:
    """What of one key outcomes can be credited to, of the pages that were made available."""

    __slots__ = ("_by_model", "_models", "_rules", "_state", "few", "shown")

    def __init__(self, state: KeyState, rules: Rules, models: Mapping[int, str]) -> None:
        self._state = state
        self._rules = rules
        self._models = models
        self.look_again()

    def look_again(self) -> None:
        """After more pages were made available."""
        self.shown = [entry for _, entries in self._state.loaded() for entry in entries if type(entry) is Shown]
        """What customers' outcomes can be credited to, in any order."""
        self.few = few(self.shown, self._rules)
        """Whether `last_touches` may look through it."""
        self._by_model: dict[bool, Touches[Any]] = {}

    def by_model(self, *, agent: bool) -> Touches[Any]:
        """The same, or what delivery agents' answers can be credited to, by model."""
        found = self._by_model.get(agent)
        if found is None:
            of_model: dict[str, list[Any]] = (
                carried_in(self._state, self._models) if agent else shown_by_model(self.shown, self._models)
            )
            found = self._by_model[agent] = Touches(of_model)
        return found


class Reach:
    """How far outcomes reach back under some rules; lists are by the number of the kind."""

    def __init__(self, rules: Rules) -> None:
        self.windows_us = [rules.window_us(kind) for kind in KINDS]
        """For any exposure."""
        self.deliveries_us = [rules.delivery_reach_us(kind) for kind in KINDS]
        """For those of the delivery that the outcome names."""
        self._window_us = max(rules.engagement_window_us, rules.answer_window_us)
        self._longest_us = rules.longest_us

    def of_exposure_us(self, delivery_id: str | None) -> int:
        """How long after an exposure the last outcome may happen that is credited to it without naming it."""
        return self._window_us if delivery_id is None else self._longest_us

    def affects(self, changed: Changed, outcome: Outcome, tolerance_us: int) -> bool:
        """Whether a stored outcome may be credited otherwise than before."""
        at_us, kind = outcome.at_us, outcome.kind
        return changed.affects(
            outcome, at_us - self.windows_us[kind], at_us - self.deliveries_us[kind], at_us + tolerance_us
        )

    def make_available(self, state: KeyState, changed: Changed, read: ReadPage) -> None:
        """Read the outcomes to be computed, and all that they may be credited to; ``changed.times`` are in order."""
        if changed.everywhere or changed.outcomes or state.twins:
            state.load_all(read)
            return
        if state.load_whole():
            return
        outcomes = [entry for entry in state.fresh if type(entry) is Outcome]
        if outcomes:
            first_us = min(entry.at_us - self.windows_us[entry.kind] for entry in outcomes)
            state.load(first_us, max(entry.at_us for entry in outcomes) + SECOND_US, read)
        if changed.times:
            stored = self._affected(state, changed, read)
            _load(state, [(o.at_us - self.windows_us[o.kind], o.at_us + SECOND_US, 0) for o in stored], read)
            outcomes += stored
        _load(state, self._of_deliveries(outcomes), read)

    def _affected(self, state: KeyState, changed: Changed, read: ReadPage) -> list[Outcome]:
        """The stored outcomes that may be credited otherwise."""
        first_us, last_us = changed.times[0] - SECOND_US, changed.times[-1] + SECOND_US
        state.load(first_us - self._window_us, last_us + self._window_us, read)
        spans = [
            (min(times) - SECOND_US, max(times) + self._longest_us, marks_of([delivery_id]))
            for delivery_id, times in changed.deliveries.items()
        ]
        _load(state, spans, read)
        return [
            entry
            for place, entries in state.loaded()
            if place != FRESH
            for entry in entries
            if type(entry) is Outcome and self.affects(changed, entry, SECOND_US)
        ]

    def _of_deliveries(self, outcomes: Sequence[Outcome]) -> list[tuple[int, int, int]]:
        """(from, to, marks) of what may have been shown of each delivery that they name."""
        of_delivery: dict[str, tuple[int, int]] = {}
        for outcome in outcomes:
            if outcome.delivery_id is not None:
                first_us, last_us = outcome.at_us - self.deliveries_us[outcome.kind], outcome.at_us + SECOND_US
                known = of_delivery.get(outcome.delivery_id, (first_us, last_us))
                of_delivery[outcome.delivery_id] = min(first_us, known[0]), max(last_us, known[1])
        return [(*reached, marks_of([delivery_id])) for delivery_id, reached in of_delivery.items()]


def _load(state: KeyState, spans: Sequence[tuple[int, int, int]], read: ReadPage) -> None:
    """Read what lies in some spans of time, each with the marks of a delivery or 0; many of them as one whole."""
    if len(spans) > _FEW_SPANS:
        spans = [(min(span[0] for span in spans), max(span[1] for span in spans), 0)]
    for first_us, last_us, marks in spans:
        state.load(first_us, last_us, read, marks)
