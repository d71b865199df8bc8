"""What does the monthly meeting need on the table? An agenda of an hour, a checklist per pillar, incidents, models."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import msgspec
import pandas as pd

from analysis import Analysis
from edgeloop.months import Month
from edgeloop.store.freeze import Freeze
from reports import agenda, checklist, complexity, incidents, numbers, people, reading
from reports.build import told
from reports.findings import Findings, Pillar, PillarKey, Workshop
from reports.language import speaking, t, tn
from reports.parts import noted, part


def workshop(freeze: Freeze, analysis: Analysis, findings: Findings, read: reading.Read | None = None) -> Workshop:
    """The pack, from the freeze and what the report found in it, in its language; the same freeze gives the same.

    Args:
        freeze: the month's.
        analysis: of it.
        findings: of both.
        read: what was read of the freeze, where it was.
    """
    with speaking(findings.language), noted() as failures:
        pack = _workshop(freeze, told(analysis), findings, read or reading.read(freeze))
        return msgspec.structs.replace(pack, failures=tuple(failures))


def _workshop(freeze: Freeze, analysis: Analysis, findings: Findings, read: reading.Read) -> Workshop:
    manifest, month, frames = freeze.manifest, freeze.month, dict(read.frames)
    begin = month.previous().start_us
    for table in ("exposures", "engagement"):  # the pack compares with the month before and looks no further back
        frames[table] = frames[table][frames[table]["occurred_at"] >= begin]
    holders = people.holders(manifest)
    still_open = open_actions(frames.get("actions"), month)
    models, costs = part(
        t("Model complexity review"),
        lambda: ((made := complexity.complexity(frames["exposures"], month)), complexity.summary(made)),
        lambda why: ((), why),
        key="models",
    )
    found = part(
        t("Incidents"),
        lambda: incidents.incidents(analysis, models, frames, manifest.refused, month, manifest.as_of_us, holders),
        lambda _: (),
        key="incidents",
    )
    titles = checklist.titles()
    filled: tuple[tuple[PillarKey, Callable[[], Pillar]], ...] = (
        ("data", lambda: checklist.data_pillar(
            frames, read.parity[month.end_us], analysis, found, manifest.refused, month, holders
        )),
        ("model", lambda: checklist.model_pillar(frames["exposures"], analysis, models, month, holders)),
        ("feedback", lambda: checklist.feedback_pillar(
            findings, analysis, frames, manifest.responsibility, still_open, month, holders
        )),
    )  # fmt: skip
    pillars = tuple(
        part(titles[key], fill, partial(_unfilled, key, titles[key]), key=f"the checklist of {key}")
        for key, fill in filled
    )
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
        agenda=part(
            t("Agenda"),
            lambda: agenda.agenda(findings, still_open, found, models, pillars, holders),
            lambda _: (),
            key="agenda",
        ),
        pillars=pillars,
        incidents=found,
        models=models,
        models_summary=costs,
    )


def _unfilled(key: PillarKey, title: str, _: str) -> Pillar:
    return Pillar(key=key, title=title, lines=())


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
