"""Which months have reports, what each said, and what became of each change from month to month: from their JSON."""

from __future__ import annotations

import re
from datetime import datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from edgeloop.app.report_files import JSON, PAGE, PDF, TABLES
from edgeloop.home import Home

MOST_MONTHS = 12
"""Of the timeline; the list has all."""
MOST_CHANGES = 60
MEDIA = {
    PAGE: "text/html; charset=utf-8",
    PDF: "application/pdf",
    TABLES: "application/zip",
    JSON: "application/json",
}
_SCHEMA = "edgeloop.report/1"
_LABELS = {PAGE: "HTML", PDF: "PDF", TABLES: "CSV", JSON: "JSON"}
_FILE = re.compile(rf"(\d{{4}}-(?:0[1-9]|1[0-2]))({'|'.join(map(re.escape, MEDIA))})", re.ASCII)


class Span(msgspec.Struct, frozen=True):
    """A change, as the head of a report names it (`reports.Span`, without the room and all that it loads)."""

    change_id: str
    title: str
    model_id: str
    from_version: str | None
    to_version: str
    declared: bool
    start: str
    end: str | None
    verdict: str | None


class Head(msgspec.Struct, frozen=True):
    """What is read of a report's JSON (`reports.Head`)."""

    schema: str
    month: str
    timezone: str
    title: str
    standing: str
    provisional: bool
    simulated: bool
    changes: tuple[Span, ...]


class File(msgspec.Struct, frozen=True):
    """One file of a month."""

    name: str
    label: str


class Listed(msgspec.Struct, frozen=True):
    """One month; ``head`` is None where its JSON is missing or of a schema that this version does not know."""

    month: str
    files: tuple[File, ...]
    head: Head | None


class Row(msgspec.Struct, frozen=True):
    """One change over the months of the timeline: per month its verdict, "" for none, None where it was not there."""

    change: Span
    start: str
    end: str
    """Days in the company's zone; ``end`` is "" while it is open."""
    verdicts: tuple[str | None, ...]


class Timeline(msgspec.Struct, frozen=True):
    """Months and changes, both from new to old."""

    months: tuple[str, ...]
    rows: tuple[Row, ...]
    left_out: int


def ending_of(name: str) -> str | None:
    """The ending of a file of a report by its name; None: no name of ours, whatever it points to."""
    found = _FILE.fullmatch(name)
    return None if found is None else found[2]


def listed(home: Home) -> list[Listed]:
    """The months, newest first."""
    if not home.reports.is_dir():
        return []
    known: dict[str, set[str]] = {}
    for path in home.reports.iterdir():
        found = _FILE.fullmatch(path.name)
        if found is not None and path.is_file() and not path.is_symlink():
            known.setdefault(found[1], set()).add(found[2])
    return [
        Listed(
            month,
            tuple(File(f"{month}{ending}", label) for ending, label in _LABELS.items() if ending in known[month]),
            _head(home, month) if JSON in known[month] else None,
        )
        for month in sorted(known, reverse=True)
        if PAGE in known[month]
    ]


def timeline(months: list[Listed]) -> Timeline:
    """The changes and verdicts of the newest months that can be read."""
    heads = [m.head for m in months if m.head is not None][:MOST_MONTHS]
    latest = {span.change_id: span for head in heads[::-1] for span in head.changes}
    zone = heads[0].timezone if heads else "UTC"
    told = [{span.change_id: span.verdict or "" for span in head.changes} for head in heads]
    spans = sorted(latest.values(), key=lambda span: (span.start, span.change_id), reverse=True)
    return Timeline(
        tuple(head.month for head in heads),
        tuple(
            Row(span, _day(span.start, zone), _day(span.end, zone), tuple(month.get(span.change_id) for month in told))
            for span in spans[:MOST_CHANGES]
        ),
        max(0, len(spans) - MOST_CHANGES),
    )


def _day(text: str | None, timezone: str) -> str:
    if text is None:
        return ""
    try:
        return datetime.fromisoformat(text).astimezone(ZoneInfo(timezone)).date().isoformat()
    except (ValueError, OverflowError, ZoneInfoNotFoundError):  # a file that somebody wrote
        return text[:10]


def _head(home: Home, month: str) -> Head | None:
    try:
        head = msgspec.json.decode((home.reports / f"{month}{JSON}").read_bytes(), type=Head)
    except (OSError, msgspec.DecodeError):
        return None
    return head if head.schema == _SCHEMA and head.month == month else None
