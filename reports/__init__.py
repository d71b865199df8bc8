"""The monthly adjustment report: the month's findings as data, and the page, the mail and the tables that show them."""

from __future__ import annotations

from reports import mail
from reports.bounded import figure
from reports.build import build
from reports.findings import Findings
from reports.followup import done_since
from reports.notices import written
from reports.reading import Read, read
from reports.record import Head, Record, record
from reports.render import render, render_workshop
from reports.tables import Sheet, sheets
from reports.workshop import workshop

__all__ = [
    "Findings", "Head", "Read", "Record", "Sheet", "build", "done_since", "figure", "mail", "read", "record", "render",
    "render_workshop", "sheets", "workshop", "written",
]  # fmt: skip
