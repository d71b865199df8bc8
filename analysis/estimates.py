"""What did the month's changes do? From the freeze's tables to the rows of ``estimates`` and ``checks``."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from functools import partial
from types import MappingProxyType

import pandas as pd

from analysis import metrics as asked
from analysis.bridge import Delta, Interplay, Printed, month_bridge
from analysis.change import LedgerChange
from analysis.counted import Counted, counted
from analysis.designs import Measured, measure
from analysis.frames import WHOLE_SECOND_SOURCES, prepare
from analysis.history import JoinTimes
from analysis.interactions import Interaction, Randomised, interactions, overlaps
from analysis.judge import Judged, Weighed, judge
from analysis.ledger import ledger
from analysis.metrics import ANSWER_WINDOW_US, Metric
from analysis.promotions import Promotion, promotions
from analysis.rows import ChangeRows, StageRows
from analysis.segments import Segment, judge_segments
from analysis.words import WordsOfMonth, words_of_month
from edgeloop.attempts import attempt
from edgeloop.metrics import HOLIDAYS, PACK, MetricSettings
from edgeloop.months import Month
from edgeloop.store.facts import AnyFact, PromotedAfter, Ruled, Said
from edgeloop.store.rows import Bar, Check, Estimate, MeasuredBefore

LARGE = ("exposures", "engagement")
"""Tables of which the frames hold all that is asked."""


@dataclass(frozen=True, slots=True)
class Analysis:
    """The month's changes, what each did, and whether the data behind it holds; rows in a fixed order."""

    changes: list[LedgerChange]
    estimates: list[Estimate]
    checks: list[Check]
    metrics: list[Metric] = field(default_factory=list)
    """Those that the data can answer."""
    bridge: list[Bar] = field(default_factory=list)
    """From the month before to this one, of the headline."""
    unnamed: list[str] = field(default_factory=list)
    """Changes that more or fewer people met than in the month before, and that have no estimate for the bridge."""
    words: WordsOfMonth | None = None
    """What the month's remarks speak of; None where the tables hold no texts."""
    known: list[LedgerChange] = field(default_factory=list)
    """Every change that the freeze tells of, of other months too."""
    counted: list[Counted] = field(default_factory=list)
    """The answers behind each figure of a question."""
    rulings: Mapping[str, Ruled] = field(default_factory=dict)
    """Per change of the month its verdict and what that rests on."""
    untold_us: int | None = None
    """When the data begin, where that is too late for the bridge to tell new from returning customers."""
    promoted: Mapping[str, PromotedAfter] = field(default_factory=dict)
    """Per switch of the month that ends a change measured before, what that showed; it has no ruling of its own."""


def analyse(
    tables: Mapping[str, pd.DataFrame],
    month: Month,
    *,
    freeze_id: str,
    as_of_us: int,
    begins_us: int = 0,
    metrics: Mapping[str, MetricSettings] = PACK,
    printed: Mapping[str, float] = MappingProxyType({}),
    before: Sequence[MeasuredBefore] = (),
    holidays: Sequence[str] = (),
    chain: Sequence[tuple[str, str]] = (),
    whole_second_sources: Collection[str] = WHOLE_SECOND_SOURCES,
    figures_alone: bool = False,
) -> Analysis:
    """Everything that can be said of the month's changes from the freeze's tables alone.

    Args:
        tables: ``exposures``, ``answers``, ``engagement`` and ``changes`` with their contract columns, times in µs;
            ``responses`` for the languages of remarks.
        month: a change is listed if [start, end + window] touches it; its figures are cumulative to the month's end.
        as_of_us: the latest ``received_at``; windows that end later are not complete.
        begins_us: when the data begin, of which the tables may hold only what is later; 0: long before the month.
        metrics: the configured ones, by name.
        printed: metric → the figure of the month before as its own report had it.
        before: what final reports of earlier months said of changes that a switch ends.
        holidays: dates (``YYYY-MM-DD``) that count as Sundays.
        chain: (step, engagement name) on the way from the entry to an answer.
        whole_second_sources: whose outcomes may seem to lie a moment before their cause, as the credits have it.
        figures_alone: only what each change did and its verdict, the same to the last bit: no segments, no bridge, no
            words, no checks, no counts.
    """
    known = ledger(tables, timezone=month.timezone)
    feeds = {name for m in metrics.values() for name in m.regressors if name != HOLIDAYS}
    frames = prepare(tables, begins_us, whole_second_sources, feeds)
    times = JoinTimes.of(frames, tables)
    # A caller that keeps none of the large ones has their memory back.
    tables = {name: table for name, table in tables.items() if name not in LARGE}
    wanted = asked.resolve(frames, metrics)
    longest = max([ANSWER_WINDOW_US, *(m.window_us for m in wanted)])
    listed = [change for change in known if change.touches(month, longest)]
    closed = frozenset(date.fromisoformat(day) for day in holidays)
    measured = [
        attempt(
            "a change",
            partial(
                measure,
                frames,
                times,
                change,
                known,
                wanted,
                month,
                as_of_us,
                chain,
                by_segment=not figures_alone,
                holidays=closed,
            ),
            _failed,
        )
        for change in listed
    ]
    writers = [ChangeRows(freeze_id, month, change) for change in listed]
    ended = partial(promotions, listed, known, measured=before, month=month)
    # What a test showed is not asked again: such a switch is in no family, so whether there was a test is told first.
    tested = {(c.model_id, c.to_version) for c in listed if not c.full_switch}
    tested |= {(row.model_id, row.to_version) for row in before}
    apart = {
        c.change_id
        for c in listed
        if c.full_switch and not tested.isdisjoint({(c.model_id, c.to_version), (c.model_id, c.from_version)})
    }
    drawn = [
        Randomised(m.weighed.change.change_id, m.deciding)
        for m in measured
        if m.weighed is not None
        and m.deciding is not None
        and m.weighed.change.unit == "subject"
        and _compared(m)
        and not m.deciding.customers.crowd.inside.declared
    ]
    overlapping = attempt("overlaps", lambda: overlaps(frames, drawn), lambda _: {})
    measured = [m.beside(overlapping) for m in measured]
    promoted: dict[str, Promotion] = {}
    while True:
        weighed = [
            (m, m.weighed)
            for change, m in zip(listed, measured, strict=True)
            if m.weighed is not None and change.change_id not in apart
        ]
        judged = iter(judge([w for _, w in weighed], asked.awaited(metrics)))
        parted = iter(judge_segments([w for _, w in weighed], [m.parted for m, _ in weighed]))
        decided = [
            None if m.weighed is None or change.change_id in apart else next(judged)
            for change, m in zip(listed, measured, strict=True)
        ]
        rows = [
            [] if own is None else _rows(write, m, own, next(parted))
            for write, m, own in zip(writers, measured, decided, strict=True)
        ]
        promoted = ended([row for own in rows for row in own])
        if apart <= promoted.keys():
            break
        apart = set(promoted)
    goal = next((m for m in wanted if m.headline), None)
    facts = {change_id: p.fact(goal, month.timezone) for change_id, p in promoted.items()}
    estimates: list[Estimate] = []
    for write, m, own, made in zip(writers, measured, decided, rows, strict=True):
        after = facts.get(write.change.change_id)
        if after is not None:
            estimates += [write.promoted(after), *_described(write, m)]
        else:
            estimates += made if own is not None else [write.refused(*_refused(m))]
    rulings = {
        change.change_id: own.ruling if own is not None else Ruled("keep testing", 3, _refused(m))
        for change, m, own in zip(listed, measured, decided, strict=True)
        if change.change_id not in facts
    }
    if figures_alone:
        return Analysis(listed, estimates, [], wanted, known=known, rulings=rulings, promoted=facts)
    found_together, together = attempt(
        "interactions", lambda: interactions(frames, drawn, wanted), lambda _: ([], {})
    )  # fmt: skip
    found: list[Check] = []
    for change, write, m, own in zip(listed, writers, measured, decided, strict=True):
        checks = m.checks if own is None else m.all_checks(own, together.get(change.change_id, ()))
        found += [write.check(f) for f in checks]
    bridge = Printed([], [])
    if goal is not None:
        told = {p.bar_id for p in promoted.values() if not p.back}
        bridged = partial(
            month_bridge,
            frames,
            month,
            goal,
            [c for c in known if c.change_id in told or c.change_id not in promoted or promoted[c.change_id].back],
            {p.bar_id: d for p in promoted.values() if not p.back and (d := p.delta(goal)) is not None}
            | {
                m.weighed.change.change_id: d
                for m, own in zip(measured, decided, strict=True)
                if m.weighed is not None and own is not None and (d := _delta(m, m.weighed, own, goal)) is not None
            },
            freeze_id=freeze_id,
            as_of_us=as_of_us,
            interplay=[_interplay(i) for i in found_together if i.proven and i.metric == goal],
            printed=printed.get(goal.name),
            holidays=closed,
        )
        bridge = attempt("the bridge", bridged, lambda _: Printed([], []))
    used = [c for change, m in zip(listed, measured, strict=True) for c in counted(change.change_id, m.stages)]
    words = words_of_month(tables, month) if "text" in tables["answers"] else None
    return Analysis(
        listed, estimates, found, wanted, bridge.bars, bridge.unnamed, words, known, used, rulings, bridge.untold_us,
        facts,
    )  # fmt: skip


def _described(write: ChangeRows, m: Measured) -> list[Estimate]:
    """The rows of a switch that is not asked about: before and after, for description."""
    return [
        StageRows(write, replace(stage.stage, described=True), m.headline, None).row(r)
        for stage in m.stages
        for r in stage.results
    ]


def _failed(_: Exception) -> Measured:
    return Measured(None, Said("failed"))


def _compared(m: Measured) -> bool:
    """Its deciding stage has arms beside one another, drawn or labelled so, without a known weakness."""
    return any(s.stage.number == m.headline and s.stage.grade in ("randomised", "labelled") for s in m.stages)


def _refused(m: Measured) -> tuple[AnyFact, ...]:
    return (m.refusal or Said("no goal data"),)


def _delta(m: Measured, w: Weighed, judged: Judged, metric: Metric) -> Delta | None:
    """What the month bridge takes of a change: its effect with the interval that decides, where no floor is missed."""
    result = next((r for r in w.results if r.metric == metric and not r.beside), None)
    if result is None or result.effect is None or result.floor is not None:
        return None
    control = None
    if m.deciding is not None and w.change.rollout_id is not None:
        control = (w.change.model_id, w.change.rollout_id, str(m.headline))
    decision = judged.decisions.get(metric)
    interval = result.effect.interval() if decision is None else (decision.low, decision.high)
    return Delta(result.effect.effect, interval, result.effect.se, control, result.control_var or 0.0)


def _interplay(found: Interaction) -> Interplay:
    a, b, both = (Delta(t.effect, t.interval(), t.se) for t in (found.model.a, found.model.b, found.model.both))
    return Interplay(found.changes, both, (a, b))


def _rows(write: ChangeRows, m: Measured, judged: Judged, parted: Sequence[Segment]) -> list[Estimate]:
    rows: list[Estimate] = []
    for stage in m.stages:
        decides = stage.stage.number == m.headline
        writer = StageRows(write, stage.stage, m.headline, judged if decides else None)
        rows += [writer.row(r) for r in stage.results] or [writer.empty(stage.complete, stage.why)]
        if decides:
            rows += [writer.segment(s) for s in parted]
    return rows + [write.not_identifiable(metric, m.headline) for metric in m.not_identifiable]
