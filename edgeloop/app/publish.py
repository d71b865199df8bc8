"""The files of a month's report: the page, its findings as JSON, every table as CSV in one ZIP, the meeting's pack.

The bytes follow from the freeze and the version of the code alone, so that anybody can make them again and compare
(`edgeloop.app.verify`).
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

import reports
from analysis import Analysis
from edgeloop.app.answers import write_csv
from edgeloop.app.report_files import FEEDBACK, JSON, PAGE, PDF, TABLES, WORKSHOP, file_of, replace_file
from edgeloop.errors import EdgeloopError
from edgeloop.home import Home
from edgeloop.store.freeze import Freeze
from edgeloop.store.rows import Bar, Check, Estimate, cells

MADE = (JSON, TABLES, FEEDBACK, WORKSHOP, PAGE)
"""In the order of writing: whoever sees a page sees all of it."""
_EARLIEST = (1980, 1, 1, 0, 0, 0)  # that a ZIP knows; the time of making would change the bytes
_BOM = "\ufeff"  # without it Excel takes UTF-8 for something older


class Rendered(msgspec.Struct, frozen=True):
    """A report before it is written: by ending (`MADE`) the bytes of each file."""

    record: reports.Record
    files: dict[str, bytes]

    @property
    def month(self) -> str:
        """``YYYY-MM``."""
        return self.record.month


def rendered(freeze: Freeze, analysis: Analysis, again: Analysis | None) -> Rendered:
    """The files of a freeze's month.

    Args:
        freeze: the month's.
        analysis: of it.
        again: last month from the same freeze (see `reports.build`).
    """
    read = reports.read(freeze)
    findings = reports.build(freeze, analysis, again, read)
    pack = reports.workshop(freeze, analysis, findings, read)
    del read  # what is written below needs none of it
    record = reports.record(freeze, analysis, findings)
    files = {
        JSON: msgspec.json.format(msgspec.json.encode(record), indent=1) + b"\n",
        TABLES: _zip_of([*reports.sheets(record.findings), *_exact(analysis)]),
        FEEDBACK: msgspec.json.format(msgspec.json.encode(findings.feedback.uses)) + b"\n",
        WORKSHOP: reports.render_workshop(pack).encode(),
        PAGE: reports.render(findings).encode(),
    }
    return Rendered(record, files)


def publish(home: Home, made: Rendered) -> Path:
    """Write the files, each at once and whole; the page's path.

    Raises:
        EdgeloopError: the folder cannot be written.
    """
    page = file_of(home, made.month, PAGE)
    try:
        home.reports.mkdir(exist_ok=True)
        if not page.exists() or page.read_bytes() != made.files[PAGE]:
            file_of(home, made.month, PDF).unlink(missing_ok=True)  # it was printed from another page
        for ending in MADE:
            replace_file(file_of(home, made.month, ending), made.files[ending])
    except OSError as error:
        raise EdgeloopError(
            f"cannot write {error.filename or home.reports}: {error.strerror}. Is the disk of the home full, or may it "
            "only be read?"
        ) from error
    return page


def _exact(analysis: Analysis) -> list[reports.Sheet]:
    """What the findings rest on, with the columns of the tables of that name and the digits that hold everywhere."""
    tables: Sequence[tuple[str, type[msgspec.Struct], Iterable[Estimate | Check | Bar]]] = (
        ("estimates", Estimate, analysis.estimates),
        ("checks", Check, analysis.checks),
        ("bridge", Bar, analysis.bridge),
    )
    return [reports.Sheet(name, kind.__struct_fields__, [_cells(row) for row in rows]) for name, kind, rows in tables]


def _cells(row: Estimate | Check | Bar) -> tuple[object, ...]:
    return tuple(reports.figure(cell) if isinstance(cell, float) else cell for cell in cells(row))


def _zip_of(sheets: Iterable[reports.Sheet]) -> bytes:
    packed = io.BytesIO()
    # Stored, not deflated: what deflating gives depends on the library's version.
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as file:
        for sheet in sheets:
            text = io.StringIO(newline="")
            text.write(_BOM)
            write_csv(text, sheet.columns, sheet.rows, line_end="\r\n")
            info = zipfile.ZipInfo(f"{sheet.name}.csv", _EARLIEST)
            info.create_system, info.external_attr = 3, 0o644 << 16  # as made on Unix, wherever it is made
            file.writestr(info, text.getvalue().encode())
    return packed.getvalue()
