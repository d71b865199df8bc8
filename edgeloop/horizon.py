"""The moment before which a home was pruned: what happened earlier is neither kept nor taken any more."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

import msgspec

from edgeloop.clock import iso
from edgeloop.errors import EdgeloopError


class Horizon(msgspec.Struct, frozen=True):
    """Times in µs. Exposures stay for the longest window more, because later outcomes are credited to them."""

    us: int
    exposures_us: int

    def first_us(self, kind: str) -> int | None:
        """The earliest event of a type that is kept and taken; None where all are (declared changes)."""
        return None if kind == "change" else self.exposures_us if kind == "exposure" else self.us

    def refusal(self, kind: str, at_us: int) -> BeforeHorizonError | None:
        """Why an event is not taken, if it is not."""
        first_us = self.first_us(kind)
        return None if first_us is None or at_us >= first_us else BeforeHorizonError(first_us)


class BeforeHorizonError(EdgeloopError):
    """An event from before the horizon."""

    reason = "before_horizon"

    def __init__(self, first_us: int) -> None:
        super().__init__(f"`occurred_at` lies before {iso(first_us)}: what happened earlier was pruned here")


class BeforeEarliestError(EdgeloopError):
    """An event from before the company's time: its sender's clock was not set."""

    reason = "before_earliest"

    def __init__(self, earliest_us: int) -> None:
        super().__init__(
            f"`occurred_at` lies before {iso(earliest_us)[:10]} ([door] earliest): the sender's clock was not set yet. "
            "Let it send `Edgeloop-Sent-At`, or wait with its first events until the clock is set"
        )


@runtime_checkable
class KnowsHorizon(Protocol):
    """A log that says how far its home was pruned."""

    def horizon(self) -> Horizon | None:
        """None where it never was."""
        ...


def horizon_of(log: object) -> Callable[[], Horizon | None]:
    """Asks a log for its home's horizon; there is none where the log cannot say."""
    return log.horizon if isinstance(log, KnowsHorizon) else _none


def _none() -> None:
    return None
