"""What did the month's changes do? From the freeze's tables to the rows of ``estimates`` and ``checks``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pandas as pd

from analysis import metrics as asked
from analysis.change import LedgerChange
from analysis.designs import Measured, measure
from analysis.frames import prepare
from analysis.judge import Judged, judge
from analysis.ledger import ledger
from analysis.metrics import ANSWER_WINDOW_US, Metric
from analysis.rows import ChangeRows, StageRows
from edgeloop.metrics import PACK, MetricSettings
from edgeloop.months import Month
from edgeloop.store.rows import Check, Estimate


@dataclass(frozen=True, slots=True)
class Analysis:
    """The month's changes, what each did, and whether the data behind it holds; rows in a fixed order."""

    changes: list[LedgerChange]
    estimates: list[Estimate]
    checks: list[Check]
    metrics: list[Metric] = field(default_factory=list)
    """Those that the data can answer."""


def analyse(
    tables: Mapping[str, pd.DataFrame],
    month: Month,
    *,
    freeze_id: str,
    as_of_us: int,
    metrics: Mapping[str, MetricSettings] = PACK,
) -> Analysis:
    """Everything that can be said of the month's changes from the freeze's tables alone.

    Args:
        tables: ``exposures``, ``answers``, ``engagement`` and ``changes`` with their contract columns, times in µs.
        month: a change is listed if [start, end + window] touches it; its figures are cumulative to the month's end.
        as_of_us: the latest ``received_at``; windows that end later are not complete.
        metrics: the configured ones, by name.
    """
    known = ledger(tables, timezone=month.timezone)
    frames = prepare(tables)
    wanted = asked.resolve(frames, metrics)
    longest = max([ANSWER_WINDOW_US, *(m.window_us for m in wanted)])
    listed = [change for change in known if change.touches(month, longest)]
    measured = [measure(frames, tables, change, known, wanted, month, as_of_us) for change in listed]
    judged = iter(judge([m.weighed for m in measured if m.weighed is not None]))
    estimates: list[Estimate] = []
    found: list[Check] = []
    for change, m in zip(listed, measured, strict=True):
        write = ChangeRows(freeze_id, month, change)
        if m.weighed is None:
            estimates.append(write.refused(m.refusal or "not enough data"))
            found += [write.check(f) for f in m.checks]
            continue
        decided = next(judged)
        estimates += _rows(write, m, decided)
        found += [write.check(f) for f in m.all_checks(decided)]
    return Analysis(listed, estimates, found, wanted)


def _rows(write: ChangeRows, m: Measured, judged: Judged) -> list[Estimate]:
    rows: list[Estimate] = []
    for stage in m.stages:
        writer = StageRows(write, stage.facts, m.headline, judged if stage.facts.number == m.headline else None)
        rows += [writer.row(r) for r in stage.results] or [writer.empty(stage.complete)]
    return rows + [write.not_identifiable(metric, m.headline) for metric in m.not_identifiable]
