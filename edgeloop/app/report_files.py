"""Where the files of a month's report are, and how they are written: at once and whole."""

from __future__ import annotations

import os
from pathlib import Path

from edgeloop.home import Home

PAGE, JSON, TABLES, PDF = ".html", ".json", ".csv.zip", ".pdf"
WORKSHOP = "-workshop.html"
"""The pack for the monthly meeting."""
FEEDBACK = ".feedback.json"
"""How far the month's answers got, for the report after it."""


def file_of(home: Home, month: str, ending: str) -> Path:
    """Where a file of a month's report is."""
    return home.reports / f"{month}{ending}"


def replace_file(path: Path, content: bytes) -> None:
    """A file that is there whole or not at all."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
