"""What did the month's changes do? From the freeze's tables to the rows of ``estimates`` and ``checks``."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import pandas as pd

from analysis import checks
from analysis.effects import agent_metrics, customer_metrics, headline, result, rule, stage_data
from analysis.entry import Cohort, before_after_cohort, randomised_cohort
from analysis.frames import Frames, prepare
from analysis.ledger import LedgerChange, ledger
from analysis.metrics import ANSWER_WINDOW_US, ENGAGEMENT_WINDOW_US
from analysis.rows import ChangeRows, StageRows
from edgeloop.months import Month
from edgeloop.store.rows import Check, Estimate

UNLABELLED = (
    "the arms are not labelled and no random assignment was declared, so nothing says which version is the stable one"
)


@dataclass(frozen=True, slots=True)
class Analysis:
    """The month's changes, what each did, and whether the data behind it holds; rows in a fixed order."""

    changes: list[LedgerChange]
    estimates: list[Estimate]
    checks: list[Check]


def analyse(
    tables: Mapping[str, pd.DataFrame],
    month: Month,
    *,
    freeze_id: str,
    as_of_us: int,
    lower_is_better: Collection[str] = (),
) -> Analysis:
    """Everything that can be said of the month's changes from the freeze's tables alone.

    Args:
        tables: ``exposures``, ``answers``, ``engagement`` and ``changes`` with their contract columns, times in µs.
        month: a change is listed if [start, end + window] touches it; its figures are cumulative to the month's end.
        as_of_us: the latest ``received_at``; windows that end later are not complete.
        lower_is_better: names of metrics, as printed, of which less is better.
    """
    known = ledger(tables, timezone=month.timezone)
    listed = [change for change in known if change.touches(month, ANSWER_WINDOW_US)]
    frames = prepare(tables, {change.model_id for change in listed})
    estimates: list[Estimate] = []
    found: list[Check] = []
    for change in listed:
        rows, own = _change(frames, ChangeRows(freeze_id, month, change), as_of_us, lower_is_better)
        estimates += rows
        found += own
    return Analysis(listed, estimates, found)


def _change(
    frames: Frames, write: ChangeRows, as_of_us: int, lower_is_better: Collection[str]
) -> tuple[list[Estimate], list[Check]]:
    change = write.change
    if change.refusal is not None:
        return [write.refused(change.refusal)], []
    cohorts = _cohorts(frames, change, write.month, as_of_us)
    if not cohorts:
        return [write.refused("not enough data: it has not begun yet")], []
    if _unlabelled(change, cohorts):
        return [write.refused(UNLABELLED)], []
    found = _checks(frames, change, cohorts)
    stages = [stage_data(frames, cohort) for cohort in cohorts]
    main = headline(stages)
    number = main.cohort.stage.number
    by_courier = change.unit == "courier"
    metrics = customer_metrics(frames, stages) + (agent_metrics(frames, stages) if by_courier else [])
    results = {id(data): [result(data, metric) for metric in metrics] for data in stages}
    # A wrong ratio anywhere says that the draw is broken; the other alarms concern the stage that decides.
    alarms = [f.alarm for f in found if f.alarm and (f.stage == number or f.check.startswith("srm"))]
    ruling = rule(results[id(main)], alarms, lower_is_better=lower_is_better, full_switch=change.full_switch)
    estimates: list[Estimate] = []
    for data in stages:
        srm_p = next((f.p for f in found if f.check == "srm" and f.stage == data.cohort.stage.number), None)
        rows = StageRows(write, data, ruling, number, srm_p)
        estimates += [rows.row(r) for r in results[id(data)]] or [rows.empty()]
    if not by_courier:
        estimates += [write.not_identifiable(metric, number) for metric in agent_metrics(frames, [main])]
    return estimates, [write.check(f) for f in found]


def _cohorts(frames: Frames, change: LedgerChange, month: Month, as_of_us: int) -> list[Cohort]:
    """One per stage that has begun."""
    x = frames.exposures
    begun = [stage for stage in change.stages if stage.start_us < min(month.end_us, as_of_us + 1)]
    if change.full_switch:
        return [
            before_after_cohort(x, change, month_end_us=month.end_us, as_of_us=as_of_us, timezone=month.timezone)
            for _ in begun
        ]
    return [
        randomised_cohort(x, change, stage, month_end_us=month.end_us, as_of_us=as_of_us, timezone=month.timezone)
        for stage in begun
    ]


def _unlabelled(change: LedgerChange, cohorts: list[Cohort]) -> bool:
    declared = change.full_switch or (change.assignment == "random" and change.from_version is not None)
    met = any(len(cohort.entries.key) for cohort in cohorts)
    return met and not declared and not any(cohort.labelled for cohort in cohorts)


def _checks(frames: Frames, change: LedgerChange, cohorts: list[Cohort]) -> list[checks.Finding]:
    if change.full_switch:
        return [f for cohort in cohorts for f in checks.common_checks(cohort, ENGAGEMENT_WINDOW_US)]
    found = checks.sample_ratio_checks(frames.exposures, change, cohorts)
    for cohort in cohorts:
        found += checks.stage_checks(frames.exposures, change, cohort, ENGAGEMENT_WINDOW_US)
    return sorted(found, key=lambda f: (f.stage, f.check))
