"""Who and what appears in the simulation: the company, its models, and the changes made to them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from zoneinfo import ZoneInfo

from edgeloop.clock import iso, to_us

COMPANY = "Kestrel Parcels"
TIMEZONE = "Europe/Berlin"
CUSTOMER_FORM = "delivery"
AGENT_FORM = "couriers"

HUBS = tuple(f"hub-{n:02d}" for n in range(1, 13))
ZONES = ("north", "east", "south", "west")
DEVICES = ("handheld-s", "handheld-m", "locker")


def local_us(text: str) -> int:
    """A moment on the company's wall clock, e.g. ``2026-02-09 08:00``, in µs."""
    return to_us(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(TIMEZONE)))


START_US = local_us("2026-01-01 00:00")
END_US = local_us("2026-04-01 00:00")
REPORT_MONTH = "2026-03"
NOW_HEADER = "edgeloop-simulated-now"
"""In which each request tells the simulated door what time it is."""


@dataclass(frozen=True)
class Version:
    """What a model's version does, beside being shown."""

    name: str
    latency_ms: float
    """Median of its inference time."""
    features: int
    watts: float
    """What the device draws while it infers, above what it draws anyway."""
    opened: float = 0.0
    """Added to the chance that the customer opens the card."""
    rebooked: float = 0.0
    """Added to the chance that the customer rebooks a slot."""
    redeemed: float = 0.0
    """Added to the chance that the customer redeems the offer."""
    ordered: float = 0.0
    """Added to the chance of another order within three days."""
    satisfaction: float = 0.0
    """Added to the rating of the delivery, in points of 5."""


@dataclass(frozen=True)
class Stage:
    """A span [start, end) of a rollout in which ``share`` of the units have the new version; ``end_us`` None: open."""

    start_us: int
    share: float
    end_us: int | None = None


@dataclass(frozen=True)
class Rollout:
    """One change of a model's version: a canary or a ramp in stages, with concurrent arms, or a switch of everybody.

    Who has the new version at a small share keeps it at a larger one. ``holdout`` of the units are asked for but shown
    nothing; the versions share the rest. ``zones`` limits it to those; empty: everywhere.
    """

    change_id: str
    title: str
    model_id: str
    touchpoint: str
    kind: Literal["canary", "staged", "switch"]
    old: Version
    new: Version
    stages: tuple[Stage, ...]
    expected_verdict: str | None
    owner: str
    zones: tuple[str, ...] = ()
    holdout: float = 0.0

    @property
    def start_us(self) -> int:
        """The beginning of its first stage."""
        return self.stages[0].start_us

    @property
    def randomised(self) -> bool:
        """Whether the arms are drawn and concurrent."""
        return self.kind != "switch"

    @property
    def rollout_id(self) -> str | None:
        """The label on the exposures of all arms."""
        return f"{self.model_id}-{self.new.name}" if self.randomised else None

    def declarations(self, at_us: int) -> list[dict[str, Any]]:
        """The ``change`` events that the team sends at a moment: the stage that begins, and the end of the one before.

        Each stage has an event of its own; the change goes by the id of the first.
        """
        found = []
        for number, stage in enumerate(self.stages, start=1):
            if at_us not in (stage.start_us, stage.end_us):
                continue
            event: dict[str, Any] = {
                "type": "change",
                "change_id": self.change_id if number == 1 else f"{self.change_id}-{number}",
                "model_id": self.model_id,
                "occurred_at": iso(stage.start_us),
                "to_version": self.new.name,
                "from_version": self.old.name,
                "kind": self.kind,
                "title": self.title,
                "owner": self.owner,
            }
            if self.randomised:
                event |= {"rollout_id": self.rollout_id, "assignment": "random", "allocation": self.allocation(stage)}
            if len(self.stages) > 1:
                event["planned_stages"] = len(self.stages)
            if self.zones:
                event["zones"] = list(self.zones)
            if at_us == stage.end_us:
                event |= {"ended_at": iso(at_us), "revision": 1}
            found.append(event)
        return found

    def allocation(self, stage: Stage) -> dict[str, float]:
        """Version (or ``holdout``) → share of the units in a stage."""
        shown = 1 - self.holdout
        shares = {self.old.name: shown * (1 - stage.share), self.new.name: shown * stage.share}
        if self.holdout:
            shares["holdout"] = self.holdout
        return {name: round(share, 6) for name, share in shares.items()}


ETA = Rollout(
    change_id="eta-switch",
    title="Two-hour ETA promise",
    model_id="eta-promise",
    touchpoint="app_card",
    kind="switch",
    old=Version("3.1", latency_ms=120, features=9, watts=0.9),
    new=Version("4.0", latency_ms=150, features=12, watts=1.0, opened=0.04, satisfaction=0.05),
    stages=(Stage(local_us("2026-03-02 00:00"), 1.0),),
    expected_verdict=None,
    owner="Product manager",
)
SLOT = Rollout(
    change_id="slot-canary",
    title="Evening slots first",
    model_id="slot-offer",
    touchpoint="slot_picker",
    kind="canary",
    old=Version("1.4", latency_ms=180, features=8, watts=0.9),
    new=Version("2.0", latency_ms=170, features=8, watts=0.9, rebooked=0.07, ordered=0.03, satisfaction=0.1),
    stages=(Stage(local_us("2026-02-09 00:00"), 0.5),),
    expected_verdict="promote",
    owner="Product manager",
)
REBOOKING = Rollout(
    change_id="rebooking-canary",
    title="Louder rebooking prompt",
    model_id="rebooking-prompt",
    touchpoint="push",
    kind="canary",
    old=Version("5.2", latency_ms=210, features=10, watts=1.0),
    new=Version("6.0", latency_ms=390, features=23, watts=1.6, opened=0.22, satisfaction=-0.85),
    stages=(Stage(local_us("2026-02-09 00:00"), 0.5),),
    expected_verdict="roll back",
    owner="CRM manager",
    holdout=0.08,
)
_TENTH_US, _HALF_US = local_us("2026-02-23 00:00"), local_us("2026-03-05 00:00")
PROMO = Rollout(
    change_id="promo-ramp",
    title="Offers by purchase history",
    model_id="promo-offer",
    touchpoint="locker",
    kind="staged",
    old=Version("1.1", latency_ms=220, features=7, watts=0.9),
    new=Version("2.0", latency_ms=205, features=9, watts=0.9, redeemed=0.10, ordered=0.02),
    stages=(
        Stage(local_us("2026-02-16 00:00"), 0.01, _TENTH_US),
        Stage(_TENTH_US, 0.10, _HALF_US),
        Stage(_HALF_US, 0.50),
    ),
    # It redeems more offers; but in two zones too few customers enter for the errors' guardrail to be cleared in four
    # weeks, so no verdict is expected of every seed.
    expected_verdict=None,
    owner="Marketing strategist",
    zones=("north", "east"),
)
ROLLOUTS = (ETA, SLOT, REBOOKING, PROMO)
