"""Outside systems: one file each, their payloads into our events; and the intake that all of them go through."""

from __future__ import annotations

from connectors import mixpanel, native, typeform, zigpoll
from connectors.intake import Intake, Item, Taken, summary

__all__ = ["Intake", "Item", "Taken", "mixpanel", "native", "summary", "typeform", "zigpoll"]
