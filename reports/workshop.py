"""What does the monthly meeting need on the table? An agenda of an hour, a checklist per pillar, incidents, models."""

from __future__ import annotations

import pandas as pd

from analysis import Analysis
from edgeloop.months import Month
from edgeloop.store.freeze import Freeze
from reports import agenda, checklist, complexity, incidents, numbers, people, reading
from reports.findings import Findings, Workshop
from reports.language import speaking, t, tn


def workshop(freeze: Freeze, analysis: Analysis, findings: Findings, read: reading.Read | None = None) -> Workshop:
    """The pack, from the freeze and what the report found in it, in its language; the same freeze gives the same.

    Args:
        freeze: the month's.
        analysis: of it.
        findings: of both.
        read: what was read of the freeze, where it was.
    """
    with speaking(findings.language):
        return _workshop(freeze, analysis, findings, read or reading.read(freeze))


def _workshop(freeze: Freeze, analysis: Analysis, findings: Findings, read: reading.Read) -> Workshop:
    manifest, month, frames = freeze.manifest, freeze.month, dict(read.frames)
    begin = month.previous().start_us
    for table in ("exposures", "engagement"):  # the pack compares with the month before and looks no further back
        frames[table] = frames[table][frames[table]["occurred_at"] >= begin]
    holders = people.holders(manifest)
    still_open = open_actions(frames.get("actions"), month)
    models = complexity.complexity(frames["exposures"], month)
    found = incidents.incidents(analysis, models, frames, manifest.refused, month, manifest.as_of_us, holders)
    pillars = (
        checklist.data_pillar(frames, read.parity[month.end_us], analysis, found, manifest.refused, month, holders),
        checklist.model_pillar(frames["exposures"], analysis, models, month, holders),
        checklist.feedback_pillar(
            findings, analysis, frames, manifest.responsibility, still_open, month, holders
        ),
    )  # fmt: skip
    return Workshop(
        language=findings.language,
        brand=findings.brand,
        company=findings.company,
        month=findings.month,
        previous_month=findings.previous_month,
        freeze_id=manifest.freeze_id,
        code_version=manifest.code_version,
        as_of=findings.as_of,
        simulated=manifest.simulated,
        title=_title(
            len(findings.decisions),
            len(found),
            sum(line.state == "needs a person" for pillar in pillars for line in pillar.lines),
        ),
        standing=findings.standing,
        agenda=agenda.agenda(findings, still_open, found, models, pillars, holders),
        pillars=pillars,
        incidents=found,
        models=models,
        models_summary=complexity.summary(models),
    )


def open_actions(actions: pd.DataFrame | None, month: Month) -> int | None:
    """Last month's actions that are neither done nor dropped; None where none is recorded."""
    if actions is None:
        return None
    last = actions[actions["month"] == month.previous().name]
    return int(last["state"].isin(("proposed", "accepted")).sum()) if len(last) else None


def _title(decisions: int, found: int, lines: int) -> str:
    parts = (
        (decisions, tn("{n} decision", "{n} decisions", decisions, n=numbers.count(decisions))),
        (found, tn("{n} incident", "{n} incidents", found, n=numbers.count(found))),
        (lines, tn("{n} line to look at", "{n} lines to look at", lines, n=numbers.count(lines))),
    )
    return numbers.joined([text for n, text in parts if n]) or t("Nothing waits for this meeting")
