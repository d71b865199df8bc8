"""What do a stage's figures show? Its metrics' effects, and what they decide together."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from analysis.checks import full_days
from analysis.entry import Arm, Cohort
from analysis.frames import Frames, Outcomes
from analysis.lift import Effect, Lift, Sample, compare, log_ratio
from analysis.metrics import (
    ANSWER_WINDOW_US,
    ENGAGEMENT_WINDOW_US,
    Figure,
    Matched,
    Metric,
    answer_metrics,
    engagement_metrics,
    figure,
    match,
    sample,
)
from analysis.verdict import ALPHA, Finding, bonferroni, decide, floor_missed
from edgeloop.store.rows import Verdict

PRACTICAL_SHARE, PRACTICAL_ANSWER, PRACTICAL_NPS = 0.02, 0.1, 3.0

Pair = tuple[Matched, Matched]


@dataclass(frozen=True, slots=True, eq=False)
class StageData:
    """A cohort with the outcomes of its two arms, control first: engagement, customers' and agents' answers."""

    cohort: Cohort
    engagement: Pair
    answers: Pair
    agent_answers: Pair

    def arms(self, metric: Metric) -> tuple[Arm, Arm]:
        """Control and treated people of the metric's respondents."""
        return self.cohort.agents if metric.respondent == "agent" else (self.cohort.control, self.cohort.treated)

    def matched(self, metric: Metric) -> Pair:
        """Control's and treated's outcomes of the metric's source."""
        if metric.respondent == "agent":
            return self.agent_answers
        return self.answers if metric.source == "answer" else self.engagement


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """One metric in one stage, control first; ``floor`` says why it may not decide, ``effect`` needs both arms."""

    metric: Metric
    figures: tuple[Figure, Figure]
    samples: tuple[Sample | None, Sample | None]
    effect: Effect | None
    lift: Lift | None
    floor: str | None

    @property
    def practical(self) -> float | None:
        """The smallest effect worth acting on: 2 % of control, 0.1 of a scale, 3 points of a promoter score."""
        if self.metric.kind == "nps":
            return PRACTICAL_NPS
        if self.metric.source == "answer":
            return PRACTICAL_ANSWER
        control = self.samples[0]
        return PRACTICAL_SHARE * abs(control.mean) if control else None


@dataclass(frozen=True, slots=True)
class Ruling:
    """What a change's headline stage decided.

    ``decisions`` holds (Bonferroni's p, finding) of each metric with an interval; a full switch has no verdict.
    """

    verdict: Verdict | None
    alarms: tuple[str, ...]
    decisions: dict[Metric, tuple[float, Finding]]


def stage_data(frames: Frames, cohort: Cohort) -> StageData:
    """The outcomes of the cohort's complete people."""
    people, couriers = len(frames.exposures.subject.labels), len(frames.exposures.courier.labels)

    def pair(outcomes: Outcomes, arms: tuple[Arm, Arm], window_us: int, n: int) -> Pair:
        return match(outcomes, arms[0], window_us, n), match(outcomes, arms[1], window_us, n)

    customers = (cohort.control, cohort.treated)
    return StageData(
        cohort,
        pair(frames.engagement, customers, ENGAGEMENT_WINDOW_US, people),
        pair(frames.answers, customers, ANSWER_WINDOW_US, people),
        pair(frames.agent_answers, cohort.agents, ANSWER_WINDOW_US, couriers),
    )


def headline(stages: Sequence[StageData]) -> StageData:
    """The main stage: the largest n_t·n_c/(n_t + n_c) of complete units; while none is complete, the fullest."""
    return max(
        stages,
        key=lambda d: (
            d.cohort.weight(ENGAGEMENT_WINDOW_US),
            min(d.cohort.control.n_units, d.cohort.treated.n_units),
            d.cohort.stage.number,
        ),
    )


def customer_metrics(frames: Frames, stages: Iterable[StageData]) -> list[Metric]:
    """The metrics of customers that occur in any stage of a change."""
    kept = list(stages)
    found = engagement_metrics(m for d in kept for m in d.engagement)
    return found + answer_metrics((m for d in kept for m in d.answers), frames.answers, "customer")


def agent_metrics(frames: Frames, stages: Iterable[StageData]) -> list[Metric]:
    """The questions that the delivery agents of any stage answered."""
    return answer_metrics((m for d in stages for m in d.agent_answers), frames.agent_answers, "agent")


def result(data: StageData, metric: Metric) -> Result:
    """One metric in one stage: figures of the arms, absolute effect, lift, and the floor it misses."""
    arms, matched = data.arms(metric), data.matched(metric)
    figures = figure(metric, matched[0], arms[0]), figure(metric, matched[1], arms[1])
    control, treated = sample(metric, arms[0], figures[0].moments), sample(metric, arms[1], figures[1].moments)
    return Result(
        metric=metric,
        figures=figures,
        samples=(control, treated),
        effect=compare(control, treated) if control and treated else None,
        lift=log_ratio(control, treated) if control and treated and metric.source != "answer" else None,
        floor=floor_missed(
            metric.source, figures[0].events, figures[1].events, full_days(data.cohort, metric.window_us)
        ),
    )


def rule(
    results: Iterable[Result], alarms: Iterable[str], *, lower_is_better: Collection[str], full_switch: bool
) -> Ruling:
    """The deciding intervals, at 1 − 0.05/m over the m metrics with an interval, and the verdict."""
    testable = [(r, r.effect, r.effect.p) for r in results if r.effect is not None]
    m = sum(p is not None for _, _, p in testable)
    decisions: dict[Metric, tuple[float, Finding]] = {}
    for r, effect, p in testable:
        interval = effect.interval(ALPHA / m) if m else None
        if p is not None and interval is not None:
            name = r.metric.name
            finding = Finding(name, *interval, r.floor is None, name in lower_is_better)
            decisions[r.metric] = (bonferroni(p, m), finding)
    sentences = tuple(alarms)
    verdict = None if full_switch else decide([finding for _, finding in decisions.values()], sentences)
    return Ruling(verdict, sentences, decisions)
