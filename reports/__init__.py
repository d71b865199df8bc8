"""The monthly adjustment report: the month's findings as data, and the page, the mail and the tables that show them."""

from __future__ import annotations

from reports import mail
from reports.build import build
from reports.findings import Findings
from reports.record import Head, Record, record
from reports.render import render
from reports.tables import Sheet, sheets

__all__ = ["Findings", "Head", "Record", "Sheet", "build", "mail", "record", "render", "sheets"]
