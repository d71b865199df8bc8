"""How can a change be measured? By the design of its draw: concurrent arms, zones, blocks of time, or a full switch."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date

import numpy as np

from analysis import checks as tested
from analysis import drawn, history, leftovers, logged, trends
from analysis.change import LedgerChange, Stage
from analysis.effects import (
    Result,
    StageData,
    counts_of,
    headline,
    rarer,
    result,
    stage_data,
    with_harm,
    without_of,
)
from analysis.entry import Arm, Cohort, first_met, randomised_cohort
from analysis.estimators.permutation import ZoneEffect
from analysis.estimators.zone_quantiles import ZoneQuantile
from analysis.frames import Exposures, Frames
from analysis.judge import Judged, Pace, Weighed, deciding_stage
from analysis.metrics import ENGAGEMENT_WINDOW_US, Metric
from analysis.novelty import novelty_checks
from analysis.rows import StageFacts
from analysis.segments import Segment, segments
from analysis.survey import Covariates, surveyed
from analysis.switches import Explained, SwitchData, daily, switch_data, switch_result
from analysis.values import answer_rows
from analysis.verdict import ALPHA, floor_missed
from analysis.zones import ZoneData, ZoneFigure, staged_data, switchback_data, zone_figure
from edgeloop.clock import DAY_US
from edgeloop.months import Month
from edgeloop.store import facts
from edgeloop.store.facts import AnyFact, Said
from edgeloop.store.rows import Grade

LEAST_WEIGHT = 0.01  # of a zone in a mix, to be counted as one of it


@dataclass(frozen=True, slots=True, eq=False)
class StageOutcome:
    """One stage's results; ``complete`` are units of the two arms with complete windows."""

    stage: StageFacts
    results: Sequence[Result]
    complete: tuple[int, int]
    data: StageData | None = None
    why: AnyFact | None = None
    """Why it has no figure."""

    def lean(self) -> StageOutcome:
        """Without each person's values and what was joined to them: a month has many stages."""
        if self.data is not None:
            self.data.customers.forget()
            self.data.couriers.forget()
        return replace(self, results=[replace(r, values=None) for r in self.results])


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """A change as far as it could be measured; ``weighed`` is None where it was refused."""

    weighed: Weighed | None
    refusal: AnyFact | None = None
    stages: Sequence[StageOutcome] = ()
    headline: int = 1
    checks: Sequence[tested.Finding] = ()
    not_identifiable: Sequence[Metric] = field(default=())
    parted: Sequence[Segment] = ()
    """The deciding stage's results by segment."""

    @property
    def deciding(self) -> StageData | None:
        """The people of the deciding stage, where its arms were concurrent."""
        return next((s.data for s in self.stages if s.stage.number == self.headline), None)

    def beside(self, overlapping: Mapping[str, Sequence[tested.Finding]]) -> Measured:
        """With what other changes that met the same people say against it, by the change's id."""
        more = [] if self.weighed is None else overlapping.get(self.weighed.change.change_id, ())
        if self.weighed is None or not more:
            return self
        alarms = [*self.weighed.alarms, *(f.alarm for f in more if f.alarm is not None)]
        return replace(self, weighed=replace(self.weighed, alarms=alarms), checks=[*self.checks, *more])

    def all_checks(self, judged: Judged, more: Sequence[tested.Finding] = ()) -> list[tested.Finding]:
        """Its checks, with what was found on the way to the verdict."""
        rare = [
            tested.Finding(f"rare_events:{m.name}", self.headline, "warn" if e >= 1 / ALPHA else "ok", e)
            for m, e in judged.rare.items()
        ]
        return sorted([*self.checks, *rare, *more], key=lambda f: (f.stage, f.check))


def measure(
    frames: Frames,
    times: history.JoinTimes | None,
    change: LedgerChange,
    known: Sequence[LedgerChange],
    metrics: Sequence[Metric],
    month: Month,
    as_of_us: int,
    chain: Sequence[tuple[str, str]] = (),
    *,
    by_segment: bool = True,
    holidays: Collection[date] = (),
) -> Measured:
    """Everything that one change's design lets us say, before anything is decided; segments where they are asked."""
    if change.refusal is not None:
        return Measured(None, change.refusal)
    if not any(stage.start_us < min(month.end_us, as_of_us + 1) for stage in change.stages):
        return Measured(None, Said("not begun"))
    if change.full_switch:
        return _switch(frames, times, change, known, metrics, month, as_of_us, holidays)
    if change.by_zone:
        return _zones(frames, times, change, metrics, month, as_of_us)
    return _arms(frames, times, change, metrics, month, as_of_us, chain, by_segment=by_segment)


def _arms(
    frames: Frames,
    times: history.JoinTimes | None,
    change: LedgerChange,
    metrics: Sequence[Metric],
    month: Month,
    as_of_us: int,
    chain: Sequence[tuple[str, str]],
    *,
    by_segment: bool,
) -> Measured:
    x = frames.exposures
    begun = [stage for stage in change.stages if stage.start_us < min(month.end_us, as_of_us + 1)]
    cohorts = [
        randomised_cohort(x, change, stage, month_end_us=month.end_us, as_of_us=as_of_us, timezone=month.timezone)
        for stage in begun
    ]
    if _unlabelled(change, cohorts):
        return Measured(None, Said("unlabelled stable"))
    first_us = first_met(x, change)
    stages = [stage_data(frames, cohort, first_us) for cohort in cohorts]
    window_us = _window_us(metrics)
    found = [*tested.turned_round(x, change, cohorts), *tested.sample_ratio_checks(x, change, cohorts)]
    for cohort in cohorts:
        found += tested.stage_checks(x, change, cohort, window_us)
        found += leftovers.anonymous(x, change, cohort)
    found += history.pre_period_checks(frames, stages, metrics)
    found += drawn.known_before_checks(frames, stages)
    by_courier = change.unit == "courier"
    asked = [m for m in metrics if m.respondent == "customer" or by_courier]
    found += leftovers.arms(frames, stages, asked)
    found += logged.arms(frames, stages, asked)
    main = headline(stages, window_us)
    found.append(_joined(times, x, change, main.cohort.stage, metrics, main.cohort.until_us, as_of_us))
    outcomes = []
    for data in stages:
        results, answering = _results(frames, data, asked, chain)
        found += answering
        results = leftovers.silenced(results, found, data.cohort.stage.number)
        complete = data.cohort.control.complete_units(window_us), data.cohort.treated.complete_units(window_us)
        outcomes.append(StageOutcome(_facts(frames, change, data, found), results, complete, data))
    shared = change.shares_capacity and change.unit == "subject"
    weighed = {
        outcome.stage.number: Weighed(
            change,
            [r for r in outcome.results if not r.beside],
            (),
            tested.full_days(data.cohort, window_us),
            _pace(data.cohort),
            quasi=outcome.stage.grade != "randomised" or shared,
            assigned=_assigned(change, data.cohort.stage),
            of_plan=_of_plan(data.cohort),
            ended=_over(change, as_of_us),
        )
        for outcome, data in zip(outcomes, stages, strict=True)
    }
    number = deciding_stage(main.cohort.stage.number, weighed)
    if number != main.cohort.stage.number:
        main = next(data for data in stages if data.cohort.stage.number == number)
        found = [f for f in found if f.check != history.JOINED_SHARE]
        found.append(_joined(times, x, change, main.cohort.stage, metrics, main.cohort.until_us, as_of_us))
    found += novelty_checks(frames, main, metrics)
    hidden = [] if by_courier else [m for m in metrics if m.respondent == "agent" and _answered(frames, main, m)]
    parted: Sequence[Segment] = ()
    if by_segment:
        parted = segments(frames, main, next(o for o in outcomes if o.stage.number == number).results)
    outcomes = [outcome.lean() for outcome in outcomes]
    # A wrong ratio anywhere says that the draw is broken; the other alarms concern the stage that decides.
    alarms = [f.alarm for f in found if f.alarm and (f.stage in (number, 0) or f.check.startswith("srm"))]
    return Measured(replace(weighed[number], alarms=alarms), None, outcomes, number, found, hidden, parted)


def _zones(
    frames: Frames,
    times: history.JoinTimes | None,
    change: LedgerChange,
    metrics: Sequence[Metric],
    month: Month,
    as_of_us: int,
) -> Measured:
    """The stage with most zones (or blocks) of both kinds decides, or a later one that shows harm; others are rows."""
    x = frames.exposures

    def read(stage: Stage, *, agents: bool = False) -> ZoneData:
        if change.unit != "zone_time":
            return staged_data(x, change, stage, month_end_us=month.end_us, as_of_us=as_of_us, agents=agents)
        return switchback_data(
            x, change, stage, month_end_us=month.end_us, as_of_us=as_of_us, timezone=month.timezone, agents=agents
        )

    begun = [stage for stage in change.stages if stage.start_us < min(month.end_us, as_of_us + 1)]
    stages = [read(stage) for stage in begun]
    fullest = max(stages, key=lambda d: (min(d.cells), d.stage.number))
    if fullest.refusal is not None:
        return Measured(None, fullest.refusal)
    grade: Grade = "randomised" if change.assignment == "random" else "quasi"
    found = [_joined(times, x, change, fullest.stage, metrics, fullest.until_us, as_of_us)]
    found += leftovers.zones(frames, stages, metrics)
    found += logged.zones(frames, stages, metrics)
    notes = () if change.assignment == "random" else (Said("zones not drawn"),)
    asked = [m for m in metrics if m.respondent == "customer"]
    agents = [m for m in metrics if m.respondent == "agent" and frames.agent_answers.name.code(m.key) is not None]
    outcomes = []
    for data in stages:
        results: list[Result] = []
        if data.refusal is None:
            results += _of_zones(frames, data, asked)
            if agents:
                results += _of_zones(frames, read(data.stage, agents=True), agents)
            if change.assignment != "random":
                found += trends.pre_trends(frames, change, data, metrics, _told_effects(results))
            results += _synthetic(frames, change, data, results)
        results = leftovers.silenced(results, found, data.stage.number)
        about = StageFacts(
            data.stage.number, ("old version", "new version"), ("old version", "new version"), grade, None, None,
            (*data.notes, *notes), data.stage.end_us is not None and as_of_us >= data.stage.end_us,
        )  # fmt: skip
        complete = data.complete_people(ENGAGEMENT_WINDOW_US)
        outcomes.append(StageOutcome(about, results, complete, why=data.refusal))
    ended = _over(change, as_of_us)
    weighed = {
        data.stage.number: Weighed(
            change, [r for r in outcome.results if not r.beside], (), data.full_days,
            Pace(int(np.count_nonzero(data.after)), 0.0 if ended else data.per_day),
            quasi=grade != "randomised", exact="permutation", ended=ended,
        )
        for outcome, data in zip(outcomes, stages, strict=True)
    }  # fmt: skip
    number = deciding_stage(fullest.stage.number, weighed)
    if number != fullest.stage.number:
        main = next(data for data in stages if data.stage.number == number)
        found = [f for f in found if f.check != history.JOINED_SHARE]
        found.append(_joined(times, x, change, main.stage, metrics, main.until_us, as_of_us))
    alarms = [f.alarm for f in found if f.alarm and f.stage in (number, 0)]
    return Measured(replace(weighed[number], alarms=alarms), None, outcomes, number, found)


def _told_effects(results: Sequence[Result]) -> dict[Metric, float]:
    return {r.metric: r.effect.effect for r in results if r.effect is not None}


def _synthetic(frames: Frames, change: LedgerChange, data: ZoneData, results: Sequence[Result]) -> list[Result]:
    """Beside each goal of few treated zones: a mix of the others, which decides nothing."""
    made = []
    for r in results:
        effect = trends.synthetic(frames, change, data, r.metric) if r.metric.role == "goal" else None
        if effect is not None:
            zones = int(np.count_nonzero(effect.weights > LEAST_WEIGHT))
            beside = facts.Synthetic(zones, effect.misfit, effect.p, effect.placebos)
            made.append(
                replace(r, effect=effect, control=effect.control, treated=effect.treated, floor=None, harm=None,
                        before=None, estimator="synthetic_control", beside=beside, notes=(), answers=None)
            )  # fmt: skip
    return made


def _of_zones(frames: Frames, data: ZoneData, metrics: Sequence[Metric]) -> list[Result]:
    """Every metric of which both versions' zones (or blocks) have a figure."""
    results = []
    for metric in metrics:
        figure = zone_figure(frames, data, metric)
        if figure.effect is not None:
            results.append(_zone_result(frames, data, metric, figure, figure.effect))
    return results


def _zone_result(
    frames: Frames, data: ZoneData, metric: Metric, figure: ZoneFigure, effect: ZoneEffect | ZoneQuantile
) -> Result:
    values, treated, control = figure.values, data.new & data.after, ~data.new & data.after
    events = int(np.count_nonzero(values.did & control)), int(np.count_nonzero(values.did & treated))
    people = data.complete_people(metric.window_us)
    without = without_of(metric, events, people)
    if metric.binary:
        free = values.counted & (values.y < values.d)
        without = int(np.count_nonzero(free & control)), int(np.count_nonzero(free & treated))
    notes: list[AnyFact] = [facts.Draws(effect.assignments, "blocks" if data.by_block else "zones")]
    if isinstance(effect, ZoneQuantile) and effect.share.before is not None:
        share = effect.share
        notes.append(facts.SharesBeyond(effect.control, share.control, share.treated, *effect.share.before))
    made = Result(
        metric=metric,
        n=data.cells,
        people=people,
        events=events,
        control=effect.control,
        treated=effect.treated,
        effect=effect,
        lift=None,
        floor=floor_missed(metric.source, *events, data.full_days, without) or effect.refusal,
        estimator=("switchback" if data.by_block else "staged") + "+quantile" * isinstance(effect, ZoneQuantile),
        left_out=values.left_out,
        before=effect.before,
        n_immature=int(np.count_nonzero(~data.matcher.crowd.complete(metric.window_us))),
        notes=tuple(notes),
        rarer=rarer(events, without),
        # Each person is a unit of the exact test: where marks are this few, what zones share does not show in them.
        counts=counts_of(frames, metric, values, data.new, None, values.counted & data.after),
        answers=answer_rows(frames, metric, values),
        lasting_se=effect.lasting_se if isinstance(effect, ZoneEffect) else 0.0,
    )
    if metric.kind != "quantile":
        return with_harm(made)
    if metric.role != "guardrail" or figure.tested is None or figure.margin is None:
        return made
    return replace(made, harm=(figure.tested, figure.margin))


def _switch(
    frames: Frames,
    times: history.JoinTimes | None,
    change: LedgerChange,
    known: Sequence[LedgerChange],
    metrics: Sequence[Metric],
    month: Month,
    as_of_us: int,
    holidays: Collection[date],
) -> Measured:
    x = frames.exposures
    data = switch_data(
        x, change, list(known), since_us=int(x.at[0]) if len(x.at) else 0, month_end_us=month.end_us,
        as_of_us=as_of_us, timezone=month.timezone,
    )  # fmt: skip
    if data is None:
        return Measured(None, Said("nothing before"))
    number = change.stages[0].number
    found = [_joined(times, x, change, change.stages[0], metrics, data.until_us, as_of_us)]
    found += leftovers.switch(frames, data, metrics, number)
    found += logged.switch(frames, data, metrics, number)
    results = [_switch_result(frames, data, m, holidays) for m in metrics if m.respondent == "customer"]
    results = leftovers.silenced(results, found, number)
    about = StageFacts(
        number, ("before", "after"), ("before", "after"), "before_after", None, None, (Said("no control"),),
        change.end_us is not None,
    )  # fmt: skip
    kept = [r for r in results if _told(r)]
    after = max((sum(r.people) for r in kept), default=0)
    weighed = Weighed(
        change, kept, [f.alarm for f in found if f.alarm], max((r.n[1] for r in kept), default=0),
        Pace(after, 0.0), before_after=True, exact="placebo",
    )  # fmt: skip
    n_days = data.switch_day, len(data.days) - 1 - data.switch_day
    hidden = [m for m in metrics if m.respondent == "agent" and frames.agent_answers.name.code(m.key) is not None]
    return Measured(weighed, None, [StageOutcome(about, kept, n_days)], number, found, hidden)


def _switch_result(frames: Frames, data: SwitchData, metric: Metric, holidays: Collection[date]) -> Result:
    effect, values, told = switch_result(frames, data, metric, holidays)
    late = data.own.day >= data.switch_day
    events = int(np.count_nonzero(values.did & ~late)), int(np.count_nonzero(values.did & late))
    people = int(np.count_nonzero(values.counted & ~late)), int(np.count_nonzero(values.counted & late))
    _, rows = daily(data.own, values)
    days = int(np.count_nonzero(rows[: data.switch_day])), int(np.count_nonzero(rows[data.switch_day :]))
    without = without_of(metric, events, people)
    made = Result(
        metric=metric,
        n=days,
        people=people,
        events=events,
        control=effect.control,
        treated=effect.treated,
        effect=effect,
        lift=None,
        floor=floor_missed(metric.source, *events, days[1], without) or effect.refusal,
        estimator="structural_time_series",
        left_out=values.left_out,
        notes=(Said("days are units"), *_beside(told)),
        answers=answer_rows(frames, metric, values),
        rarer=rarer(events, without),
        # A day's quantile is no count of anything.
        counts=None if metric.kind == "quantile" else counts_of(frames, metric, values, late, None, values.counted),
    )
    return with_harm(made)


def _beside(told: Explained) -> tuple[AnyFact, ...]:
    """What the switch's days were regressed on, if anything was asked or there."""
    if not (told.names or told.absent or told.season):
        return ()
    return (facts.Regressed(told.names, told.absent, told.season),)


def _facts(frames: Frames, change: LedgerChange, data: StageData, found: Sequence[tested.Finding]) -> StageFacts:
    cohort = data.cohort
    number = cohort.stage.number
    shared = change.shares_capacity and change.unit == "subject"
    doubted = any(f.alarm and (f.stage in (number, 0) or f.check.startswith("srm")) for f in found)
    notes: list[AnyFact] = []
    grade: Grade = "quasi" if shared or doubted else "randomised"
    if grade == "randomised" and not (drawn.declared(change) or drawn.looks_drawn(frames, data, found)):
        grade = "labelled"
        notes.append(Said("labels alone"))
    if cohort.stage.found is not None:
        notes.append(cohort.stage.found)
    if cohort.stage.allocation is None:
        notes.append(Said("no allocation"))
    if shared:
        notes.append(Said("same capacity"))
    if cohort.unclustered:
        notes.append(facts.NoCourier(cohort.unclustered))
    if cohort.unplaced or cohort.one_sided:
        named = tuple(dict.fromkeys(name for name in (change.cluster, *change.strata) if name))
        notes.append(facts.NotInside(named, cohort.unplaced, cohort.one_sided))
    srm_p = next((f.p for f in found if f.check == "srm" and f.stage == number), None)
    return StageFacts(
        number,
        (cohort.control.label, cohort.treated.label),
        (cohort.agents[0].label, cohort.agents[1].label),
        grade,
        srm_p,
        cohort.crossovers,
        notes,
        cohort.over,
    )


def _results(
    frames: Frames, data: StageData, metrics: Sequence[Metric], chain: Sequence[tuple[str, str]]
) -> tuple[list[Result], list[tested.Finding]]:
    """Every metric of a stage; questions of customers weighted for who answers, the plain figure beside."""
    results: list[Result] = []
    found: list[tested.Finding] = []
    covariates: Covariates | None = None
    for metric in metrics:
        plain = result(frames, data, metric)
        if not _told(plain):
            continue
        if metric.source != "answer" or metric.respondent != "customer":
            results.append(plain)
            continue
        covariates = covariates or Covariates.of(frames, data)
        rows, answering = surveyed(frames, data, plain, covariates, chain)
        results += rows
        found += answering
    return results, found


def _over(change: LedgerChange, as_of_us: int) -> bool:
    return change.end_us is not None and as_of_us >= change.end_us


def _assigned(change: LedgerChange, stage: Stage) -> float | None:
    """The new version's share of the two arms, as declared."""
    weights = stage.allocation or {}
    new = weights.get(change.to_version)
    old = weights.get(change.from_version or "", weights.get("stable"))
    return new / (new + old) if new and old else None


def _window_us(metrics: Sequence[Metric]) -> int:
    """The headline's window; where it has none, that of engagement."""
    return next((m.window_us for m in metrics if m.headline), ENGAGEMENT_WINDOW_US) or ENGAGEMENT_WINDOW_US


def _joined(
    times: history.JoinTimes | None,
    x: Exposures,
    change: LedgerChange,
    stage: Stage,
    metrics: Sequence[Metric],
    until_us: int,
    as_of_us: int,
) -> tested.Finding:
    return history.joined_share(
        times, x, change, stage, until_us=until_us, as_of_us=as_of_us, window_us=_window_us(metrics)
    )


def _of_plan(cohort: Cohort) -> float:
    """The two arms' share of the units that entered the stage: the part of the whole test's plan that is theirs.

    As it came out, not as declared: with all planned units in, the two arms have reached their part whatever the draw.
    """
    units = len(cohort.entries.key)
    return int(np.count_nonzero(cohort.compared())) / units if units else 1.0


def _unlabelled(change: LedgerChange, cohorts: Sequence[Cohort]) -> bool:
    declared = change.assignment == "random" and change.from_version is not None
    met = any(len(cohort.entries.key) for cohort in cohorts)
    return met and not declared and not any(cohort.labelled for cohort in cohorts)


def _told(r: Result) -> bool:
    """A metric that nobody in either arm has anything of says nothing of this change."""
    return r.control is not None or r.treated is not None


def _answered(frames: Frames, main: StageData, metric: Metric) -> bool:
    rows, _ = main.couriers.of(frames.agent_answers, metric.key, 0, metric.window_us)
    return len(rows) > 0


def _pace(cohort: Cohort) -> Pace:
    """Entries of the two arms, and how many a day in the last week."""
    arms: tuple[Arm, Arm] = (cohort.control, cohort.treated)
    week_us = max(1, min(7 * DAY_US, cohort.until_us - cohort.stage.start_us))
    lately = sum(int((arm.at >= cohort.until_us - week_us).sum()) for arm in arms)
    return Pace(sum(len(arm.person) for arm in arms), 0.0 if cohort.over else lately * DAY_US / week_us)
