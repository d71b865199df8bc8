"""How is a result written down? Rows of ``estimates`` and ``checks``, each with the facts that say why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from analysis import checks
from analysis.change import LedgerChange
from analysis.effects import Result
from analysis.estimators.permutation import ZoneEffect
from analysis.estimators.zone_quantiles import ZoneQuantile
from analysis.judge import Decision, Judged
from analysis.metrics import Metric
from analysis.segments import Segment, segment_fact
from analysis.verdict import expected_loss
from edgeloop.clock import HOUR_US
from edgeloop.months import Month
from edgeloop.store import facts
from edgeloop.store.facts import AnyFact, Said
from edgeloop.store.rows import Check, Estimate, Grade

ALL_METRICS = "*"
"""The metric of the one row of a change of which no single metric can be told."""
ADJUSTMENT = "benjamini-hochberg"
LEAST_AWAITED = 7
"""Of so many units that an arm should have of its share, none is there by chance in one of 1,000 (e^-7)."""


@dataclass(frozen=True, slots=True)
class ChangeRows:
    """Writes the rows of one change in one month."""

    freeze_id: str
    month: Month
    change: LedgerChange

    def refused(self, why: AnyFact) -> Estimate:
        """The one row of a change without an estimate."""
        row = self.bare(self.change.stages[-1].number, [why])
        return msgspec.structs.replace(row, verdict="keep testing")

    def promoted(self, why: facts.PromotedAfter) -> Estimate:
        """The row of a switch that ends a change measured before: no verdict is asked."""
        return self.bare(self.change.stages[-1].number, [why])

    def not_identifiable(self, metric: Metric, stage: int) -> Estimate:
        """The row of a question that delivery agents answered, where customers were assigned."""
        return msgspec.structs.replace(
            self.bare(stage, [Said("not identifiable")]),
            metric=metric.name,
            metric_kind=metric.kind,
            role=metric.role,
            source=metric.source,
            respondent="agent",
            window_h=metric.window_us / HOUR_US,
        )

    def bare(self, stage: int, why: Sequence[AnyFact]) -> Estimate:
        """A row that names the change and says nothing else."""
        return Estimate(
            freeze_id=self.freeze_id,
            month=self.month.name,
            change_id=self.change.change_id,
            rollout_id=self.change.rollout_id,
            stage=stage,
            model_id=self.change.model_id,
            from_version=self.change.from_version,
            to_version=self.change.to_version,
            metric=ALL_METRICS,
            metric_kind="none",
            unit=self.change.unit,
            reason=facts.english(why) or None,
            facts=tuple(why),
        )

    def check(self, found: checks.Finding) -> Check:
        """A row of the ``checks`` table."""
        return Check(
            freeze_id=self.freeze_id,
            month=self.month.name,
            change_id=self.change.change_id,
            stage=found.stage,
            check=found.check,
            value=found.value,
            p=found.p,
            state=found.state,
        )


@dataclass(frozen=True, slots=True)
class StageFacts:
    """What all rows of one stage share."""

    number: int
    labels: tuple[str, str]
    agent_labels: tuple[str, str]
    grade: Grade
    srm_p: float | None
    crossovers: int | None
    notes: Sequence[AnyFact]
    ended: bool
    described: bool = False
    """Nothing is asked of it: its rows are description."""


@dataclass(frozen=True, slots=True)
class StageRows:
    """Writes the estimates of one stage.

    ``judged`` is None for stages that do not decide; ``headline`` is the number of the one that does.
    """

    of_change: ChangeRows
    stage: StageFacts
    headline: int
    judged: Judged | None

    def empty(self, n: tuple[int, int], why: AnyFact | None = None) -> Estimate:
        """The row of a stage in which no metric occurs; ``n`` are units with complete windows."""
        why = why or Said("no outcome" if any(n) else "no complete window")
        return self._common([*(self._repair() or [why]), *self.stage.notes], n)

    def row(self, result: Result) -> Estimate:
        """The row of one metric."""
        metric = result.metric
        base = self._common(self._facts(result), result.n, metric, result.grade or self.stage.grade)
        return self._decided(self._figures(base, result), result)

    def _figures(self, base: Estimate, result: Result) -> Estimate:
        base = msgspec.structs.replace(
            base,
            estimator=result.estimator,
            n_immature=result.n_immature,
            n_effective=result.n_effective,
            control=result.control,
            treated=result.treated,
        )
        if result.metric.source == "answer" and all(result.people):
            rates = [events / people for events, people in zip(result.events, result.people, strict=True)]
            base = msgspec.structs.replace(base, response_control=rates[0], response_treated=rates[1])
        if result.before is not None:
            base = msgspec.structs.replace(base, control_before=result.before[0], treated_before=result.before[1])
        e = result.effect
        if e is not None:
            base = msgspec.structs.replace(base, effect=e.effect, se=_se(result))
        if result.hidden:
            return base
        if e is not None:
            low, high = e.interval() or (None, None)
            base = msgspec.structs.replace(base, effect_low=low, effect_high=high, p=e.p)
        if result.lift is not None:
            lift = result.lift
            base = msgspec.structs.replace(base, lift=lift.lift, lift_low=lift.low, lift_high=lift.high)
        return base

    def segment(self, segment: Segment) -> Estimate:
        """The row of one metric in one segment; the verdict is the change's and not on it."""
        result, decision = segment.result, segment.decision
        row = self._figures(self._common([segment_fact(segment)], result.n, result.metric), result)
        row = msgspec.structs.replace(row, dimension=segment.dimension, segment=segment.value, verdict=None)
        if decision is None:
            return row
        return msgspec.structs.replace(
            row,
            p_adjusted=decision.p_adjusted,
            p_adjust=ADJUSTMENT,
            decided_by=decision.by,
            decision_low=decision.low,
            decision_high=decision.high,
        )

    def _decided(self, base: Estimate, result: Result) -> Estimate:
        judged, metric = self.judged, result.metric
        if judged is None or result.beside:
            return base
        guard = judged.guards.get(metric)
        if guard is not None:
            base = msgspec.structs.replace(base, guard=guard.state)
        if metric in judged.always:
            low, high = judged.always[metric]
            base = msgspec.structs.replace(base, always_low=low, always_high=high)
        decision = judged.decisions.get(metric)
        if decision is None:
            return base
        loss = None
        if result.effect is not None and result.effect.se is not None and metric.role == "goal":
            better = -result.effect.effect if metric.lower_is_better else result.effect.effect
            promote = judged.ruling.verdict == "promote"
            loss = expected_loss(better, result.effect.se, promote=promote)
        waits = judged.ruling.verdict == "keep testing" and not self.stage.ended
        return msgspec.structs.replace(
            base,
            p_adjusted=decision.p_adjusted,
            p_adjust=ADJUSTMENT if decision.p_adjusted is not None else None,
            decided_by=decision.by,
            decision_low=decision.low,
            decision_high=decision.high,
            expected_loss=loss,
            days_left=judged.days_left.get(metric) if waits else None,
        )

    def _common(
        self, why: Sequence[AnyFact], n: tuple[int, int], metric: Metric | None = None, grade: Grade | None = None
    ) -> Estimate:
        stage = self.stage
        agent = metric is not None and metric.respondent == "agent"
        labels = stage.agent_labels if agent else stage.labels
        row = msgspec.structs.replace(
            self.of_change.bare(stage.number, why),
            control_arm=labels[0],
            treated_arm=labels[1],
            grade=grade or stage.grade,
            n_control=n[0],
            n_treated=n[1],
            srm_p=stage.srm_p,
            crossovers=stage.crossovers,
            verdict=self.judged.ruling.verdict if self.judged else None,
        )
        if metric is None:
            return row
        return msgspec.structs.replace(
            row,
            metric=metric.name,
            metric_kind=metric.kind,
            respondent=metric.respondent,
            window_h=metric.window_us / HOUR_US if metric.window_us else None,
            role=metric.role,
            source=metric.source,
        )

    def _repair(self) -> list[AnyFact]:
        ruling = None if self.judged is None else self.judged.ruling
        return [ruling] if ruling is not None and ruling.verdict == "repair the data first" else []

    def _facts(self, result: Result) -> list[AnyFact]:
        metric, repair = result.metric, self._repair()
        found: list[AnyFact] = repair or self._word(result)
        if metric.source == "answer" and not result.estimator.startswith("weighted"):
            found.append(Said("respondents only"))
        if result.plain is not None:
            found.append(facts.Unadjusted(result.plain.effect))
        if "+cap" in result.estimator:
            found.append(Said("capped"))
        if result.estimator.endswith("+skew"):
            found.append(Said("skew"))
        if result.left_out:
            found.append(facts.LeftOut(metric.currency, result.left_out))
        guard = self.judged.guards.get(metric) if self.judged and not result.beside else None
        if guard is not None:
            found.append(facts.Guardrail(guard.state, guard.visible, guard.margin, guard.days_left))
        if self.judged is not None and metric.headline and not result.beside and not repair:
            found.append(self.judged.ruling)
        return [*found, *result.notes, *self.stage.notes]

    def _word(self, result: Result) -> list[AnyFact]:
        if result.beside:
            return [result.beside]
        if self.stage.described:
            return [Said("described")]
        if self.judged is None:
            own = facts.Alone(self.headline)
            return [own, result.floor] if result.floor else [own]
        silent = self._silent(result)
        if silent is not None:
            return [silent]
        if result.floor is not None:
            return [self._bound(result, self.judged) or result.floor]
        decision = self.judged.decisions.get(result.metric)
        if decision is None:
            return [facts.NoInterval()]
        return [decided(decision, result.metric.lower_is_better, named=self.stage.grade != "before_after")]

    def _silent(self, result: Result) -> AnyFact | None:
        """Which arm has no figure at all, where as many as the other arm's leave no doubt that it sends none."""
        metric, answers = result.metric, result.metric.source == "answer"
        if result.effect is not None or not (answers or metric.source == "exposure"):
            return None
        seen = result.events if answers else result.n
        quiet = 0 if seen[0] == 0 else 1
        if seen[quiet] > 0 or seen[1 - quiet] * result.people[quiet] < LEAST_AWAITED * result.people[1 - quiet]:
            return None
        change = self.of_change.change
        version = change.to_version if quiet else change.from_version or self.stage.labels[0]
        return facts.ArmWithout("answer" if answers else "value", metric.key, version, *seen)

    @staticmethod
    def _bound(result: Result, judged: Judged) -> AnyFact | None:
        """What a test without an interval has decided of a metric with too few events for one."""
        few, guard = result.floor, judged.guards.get(result.metric)
        if not isinstance(few, facts.Few):
            return None
        if guard is not None and guard.state in ("breach", "cleared"):
            return facts.Bound(few.of, few.control, few.treated, guard.state, guard.margin)
        rare = {name for fact in judged.ruling.because if isinstance(fact, facts.Worse) for name in fact.rare}
        return facts.Bound(few.of, few.control, few.treated, "worse") if result.metric.name in rare else None


def decided(decision: Decision, lower_is_better: bool, *, named: bool = True) -> AnyFact:
    """Where a deciding interval lies, and what that means."""
    if decision.low <= 0 <= decision.high:
        return facts.Decided("unclear", "holds 0", lower_is_better, named)
    above = decision.low > 0
    return facts.Decided(
        "better" if above != lower_is_better else "worse", "above" if above else "below", lower_is_better, named
    )


def _se(result: Result) -> float | None:
    """None of two zones or blocks, whose spread says next to nothing; that of a single one is over the weeks."""
    e = result.effect
    if isinstance(e, ZoneEffect | ZoneQuantile) and min(result.n) == 2:
        return None
    return e.se if e is not None else None
