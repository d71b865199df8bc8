"""Outside systems: one file each, their payloads into our events by one intake; and mail that goes out."""

from __future__ import annotations

from connectors import mail, mixpanel, native, typeform, zigpoll
from connectors.intake import Intake, Item, Taken, summary

__all__ = ["Intake", "Item", "Taken", "mail", "mixpanel", "native", "summary", "typeform", "zigpoll"]
