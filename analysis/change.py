"""What is a version change? Its model, versions, stages and draw, declared or detected."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from edgeloop.clock import DAY_US
from edgeloop.months import Month
from edgeloop.store.facts import AnyFact, FoundStage

Kind = Literal["canary", "staged", "switch", "rollback", "mixed"]
FULL_SWITCH = ("switch", "rollback")
BEFORE_AFTER_US = 28 * DAY_US  # the most that is compared before and after a switch


@dataclass(frozen=True, slots=True)
class Stage:
    """A span [start, end) with one allocation and one set of zones; ``end_us`` None: open."""

    number: int
    start_us: int
    end_us: int | None = None
    allocation: Mapping[str, float] | None = None
    """Version (or ``holdout``) → weight; None: not declared."""
    zones: tuple[str, ...] = ()
    """Where it ran; empty: everywhere."""
    found: FoundStage | None = None
    """Where nobody declared it: since when, and with which share."""


@dataclass(frozen=True, slots=True)
class LedgerChange:
    """One version change of one model, with its stages in order of time."""

    change_id: str
    model_id: str
    to_version: str
    from_version: str | None
    kind: Kind
    declared: bool
    stages: tuple[Stage, ...]
    last_us: int
    """The last moment it was live, as far as is known: its end, or its last exposure."""
    title: str
    rollout_id: str | None = None
    unit: str = "subject"
    assignment: str | None = None
    planned_units: int | None = None
    planned_stages: int | None = None
    cluster: str | None = None
    """The field of exposures whose values are the clusters that units were drawn inside of."""
    strata: tuple[str, ...] = ()
    """The fields of exposures within whose values the draw was made."""
    block_h: float | None = None
    """Hours of a block of zones by time; None: not declared."""
    block_starts_us: int | None = None
    """When the first block starts."""
    zoned: bool = False
    """Staged, and its exposures show whole zones with one version each."""
    features: tuple[str, ...] = ()
    shares_capacity: bool = False
    owner: str | None = None
    note: str | None = None
    again_us: int | None = None
    """Where it was taken back between its stages: when the last try began; its name and date are of that try."""
    refusal: AnyFact | None = None
    """Why no effect can be estimated; None: it can be tried."""

    @property
    def start_us(self) -> int:
        """The beginning of its first stage."""
        return self.stages[0].start_us

    @property
    def tried_us(self) -> int:
        """When the last try began."""
        return self.start_us if self.again_us is None else self.again_us

    @property
    def end_us(self) -> int | None:
        """The end of its last stage; None while open."""
        return self.stages[-1].end_us

    @property
    def full_switch(self) -> bool:
        """Everyone changed at once: there is no concurrent control."""
        return self.kind in FULL_SWITCH

    @property
    def by_zone(self) -> bool:
        """The draw is by zone (and time), or zone after zone got the new version."""
        return self.unit in ("zone", "zone_time") or (self.kind == "staged" and (self.rollout_id is None or self.zoned))

    def touches(self, month: Month, window_us: int) -> bool:
        """Whether [start, end + window] meets the month."""
        return self.start_us < month.end_us and self.last_us + window_us >= month.start_us
