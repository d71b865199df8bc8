"""Who works at the company, and what they answered to the report of February."""

from __future__ import annotations

from dataclasses import dataclass

from edgeloop.app.simulator.cast import PROMO, REBOOKING, SLOT, local_us
from edgeloop.store.actions import State
from edgeloop.store.rows import Verdict

STAFF = {
    "data_engineer": "Jonas Lindqvist",
    "crm_manager": "Mara Okafor",
    "it_lead": "Emil Novak",
    "operations_lead": "Petra Hahn",
    "product_manager": "Leon Vidal",
    "devops_lead": "Ana Pires",
    "data_analyst": "Chidi Brandt",
    "feedback_integrator": "Ines Aydin",
}
"""Role → who holds it; three of the field's roles are nobody's yet."""

MET_US = local_us("2026-03-03 06:00")
"""When February is reported, as the schedule of ``edgeloop up`` does."""


@dataclass(frozen=True)
class Answered:
    """A step that somebody took, where the report did ask that."""

    change_id: str
    verdict: Verdict
    at_us: int
    state: State
    role: str
    reason: str | None = None


# What they do is what the world does: the prompt goes on, the slots go on, and the ramp goes to half on 5 March.
ANSWERS = (
    Answered(REBOOKING.change_id, "roll back", local_us("2026-03-03 11:00"), "accepted", "crm_manager"),
    Answered(SLOT.change_id, "keep testing", local_us("2026-03-03 15:00"), "accepted", "product_manager"),
    Answered(
        SLOT.change_id, "keep testing", local_us("2026-03-04 09:30"), "done", "product_manager",
        "More slots are rebooked already; it runs for four more weeks.",
    ),
    Answered(PROMO.change_id, "keep testing", local_us("2026-03-04 10:00"), "accepted", "data_analyst"),
    Answered(
        PROMO.change_id, "keep testing", local_us("2026-03-05 09:00"), "done", "data_analyst",
        "Half of the customers of both zones have it now.",
    ),
)  # fmt: skip


def roles_text() -> str:
    """The ``[roles]`` of its settings."""
    return "\n".join(
        f'[roles.{role}]\nname = "{name}"\naddress = "{name.lower().replace(" ", ".")}@kestrel.example"\n'
        for role, name in STAFF.items()
    )
