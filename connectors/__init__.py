"""Outside systems: one file each, their payloads into our events by one intake; mail and short messages out."""

from __future__ import annotations

from connectors import mail, mixpanel, native, slack, typeform, zigpoll
from connectors.amounts import is_currency
from connectors.bounds import MOST_EVENTS, TooManyError, events_of_body
from connectors.documents import documents_of_file, is_document
from connectors.intake import NOT_ALLOWED, Intake, Item, Scope, Taken, summary
from connectors.runs import in_runs

__all__ = [
    "MOST_EVENTS",
    "NOT_ALLOWED",
    "Intake",
    "Item",
    "Scope",
    "Taken",
    "TooManyError",
    "documents_of_file",
    "events_of_body",
    "in_runs",
    "is_currency",
    "is_document",
    "mail",
    "mixpanel",
    "native",
    "slack",
    "summary",
    "typeform",
    "zigpoll",
]
