"""Outside systems: one file each, their payloads into our events by one intake; mail and short messages out."""

from __future__ import annotations

from connectors import mail, mixpanel, native, slack, typeform, zigpoll
from connectors.intake import Intake, Item, Taken, summary

__all__ = ["Intake", "Item", "Taken", "mail", "mixpanel", "native", "slack", "summary", "typeform", "zigpoll"]
