"""Who and what appears in the simulation: the company, its models, and the changes made to them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from edgeloop.clock import iso, to_us

COMPANY = "Kestrel Parcels"
TIMEZONE = "Europe/Berlin"
CUSTOMER_FORM = "delivery"
AGENT_FORM = "couriers"
LOWER_IS_BETTER = ("complaint",)

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
    opened: float = 0.0
    """Added to the chance that the customer opens the card."""
    rebooked: float = 0.0
    """Added to the chance that the customer rebooks a slot."""
    ordered: float = 0.0
    """Added to the chance of another order within three days."""
    satisfaction: float = 0.0
    """Added to the rating of the delivery, in points of 5."""


@dataclass(frozen=True)
class Rollout:
    """One change of a model's version: a canary with concurrent arms, or (``share`` None) a switch of everybody."""

    change_id: str
    title: str
    model_id: str
    touchpoint: str
    old: Version
    new: Version
    start_us: int
    share: float | None
    expected_verdict: str | None
    owner: str

    @property
    def rollout_id(self) -> str | None:
        """The label on the exposures of both arms."""
        return None if self.share is None else f"{self.model_id}-{self.new.name}"

    def declaration(self) -> dict[str, Any]:
        """The ``change`` event that the team sends."""
        event: dict[str, Any] = {
            "type": "change",
            "change_id": self.change_id,
            "model_id": self.model_id,
            "occurred_at": iso(self.start_us),
            "to_version": self.new.name,
            "from_version": self.old.name,
            "kind": "switch" if self.share is None else "canary",
            "title": self.title,
            "owner": self.owner,
        }
        if self.share is not None:
            event |= {
                "rollout_id": self.rollout_id,
                "assignment": "random",
                "allocation": {self.old.name: 1 - self.share, self.new.name: self.share},
            }
        return event


ETA = Rollout(
    change_id="eta-switch",
    title="Two-hour ETA promise",
    model_id="eta-promise",
    touchpoint="app_card",
    old=Version("3.1", latency_ms=120, features=9),
    new=Version("4.0", latency_ms=150, features=12, opened=0.04, satisfaction=0.05),
    start_us=local_us("2026-03-02 00:00"),
    share=None,
    expected_verdict=None,
    owner="Product manager",
)
SLOT = Rollout(
    change_id="slot-canary",
    title="Evening slots first",
    model_id="slot-offer",
    touchpoint="slot_picker",
    old=Version("1.4", latency_ms=180, features=8),
    new=Version("2.0", latency_ms=170, features=8, rebooked=0.07, ordered=0.03, satisfaction=0.1),
    start_us=local_us("2026-02-09 00:00"),
    share=0.5,
    expected_verdict="promote",
    owner="Product manager",
)
REBOOKING = Rollout(
    change_id="rebooking-canary",
    title="Louder rebooking prompt",
    model_id="rebooking-prompt",
    touchpoint="push",
    old=Version("5.2", latency_ms=210, features=10),
    new=Version("6.0", latency_ms=390, features=23, opened=0.22, satisfaction=-0.85),
    start_us=local_us("2026-02-09 00:00"),
    share=0.5,
    expected_verdict="roll back",
    owner="CRM manager",
)
ROLLOUTS = (ETA, SLOT, REBOOKING)
