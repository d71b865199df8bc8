"""The monthly adjustment report: the month's findings as data, and the page that shows them."""

from __future__ import annotations

from reports.build import build
from reports.findings import Findings
from reports.notices import written
from reports.render import render, render_workshop
from reports.workshop import workshop

__all__ = ["Findings", "build", "render", "render_workshop", "workshop", "written"]
