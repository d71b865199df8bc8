"""What do machines read of a month? The findings as JSON with a head that stays the same from version to version."""

from __future__ import annotations

import msgspec

from analysis import Analysis
from edgeloop import __version__
from edgeloop.clock import iso
from edgeloop.store.freeze import Freeze
from reports.bounded import bounded
from reports.findings import Findings

SCHEMA = "edgeloop.report/1"
"""Of the head. Fields are added to it and to the findings, never renamed; another number would say otherwise."""


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """A version change that touches the month, from when to when, and its verdict; times are RFC 3339 in UTC."""

    change_id: str
    title: str
    model_id: str
    from_version: str | None
    to_version: str
    kind: str
    declared: bool
    start: str
    end: str | None
    verdict: str | None


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """What archives and programs need to know of a report before they read its findings."""

    schema: str
    code_version: str
    """Of the code that wrote the report; the freeze's own is in its manifest."""
    freeze_id: str
    month: str
    """``YYYY-MM``."""
    timezone: str
    language: str
    """In which its texts are."""
    company: str
    as_of: str
    provisional: bool
    simulated: bool
    title: str
    standing: str
    changes: tuple[Span, ...]


class Record(Head, frozen=True, kw_only=True):
    """The file ``reports/YYYY-MM.json``."""

    findings: Findings


def record(freeze: Freeze, analysis: Analysis, findings: Findings) -> Record:
    """The record of a month; what data holds is bounded in it."""
    return bounded(_record(freeze, analysis, findings))


def _record(freeze: Freeze, analysis: Analysis, findings: Findings) -> Record:
    manifest = freeze.manifest
    verdicts = {e.change_id: e.verdict for e in analysis.estimates if e.verdict is not None}
    return Record(
        schema=SCHEMA,
        code_version=__version__,
        freeze_id=manifest.freeze_id,
        month=manifest.month,
        timezone=manifest.timezone,
        language=findings.language,
        company=manifest.company,
        as_of=iso(manifest.as_of_us),
        provisional=manifest.provisional,
        simulated=manifest.simulated,
        title=findings.title,
        standing=findings.standing,
        changes=tuple(
            Span(
                change_id=c.change_id,
                title=c.title,
                model_id=c.model_id,
                from_version=c.from_version,
                to_version=c.to_version,
                kind=c.kind,
                declared=c.declared,
                start=iso(c.start_us),
                end=None if c.end_us is None else iso(c.end_us),
                verdict=verdicts.get(c.change_id),
            )
            for c in analysis.changes
        ),
        findings=findings,
    )
