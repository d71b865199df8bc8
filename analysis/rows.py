"""How is a result written down? Rows of ``estimates`` and ``checks``, each with a reason that a person can read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from analysis import checks
from analysis.change import LedgerChange
from analysis.effects import Result
from analysis.judge import Decision, Judged
from analysis.metrics import Metric
from analysis.segments import Segment, segment_reason
from analysis.verdict import expected_loss
from edgeloop.clock import HOUR_US
from edgeloop.months import Month
from edgeloop.store.rows import Check, Estimate, Grade

ALL_METRICS = "*"
"""The metric of the one row of a change of which no single metric can be told."""
NO_CONTROL = "before and after: nobody kept the old version, so other causes are not ruled out"
NOT_IDENTIFIABLE = "not identifiable: customers were assigned, not delivery agents, and an agent meets both versions"
RESPONDENTS_ONLY = "respondents only, unweighted"
SAME_CAPACITY = "arms compete for the same capacity"
SKEW = "interval and p corrected for skew between arms of unequal size"
NO_ALLOCATION = "no allocation was declared, so the arms' share over the days was tested instead of the sample ratio"
ADJUSTMENT = "benjamini-hochberg"


@dataclass(frozen=True, slots=True)
class ChangeRows:
    """Writes the rows of one change in one month."""

    freeze_id: str
    month: Month
    change: LedgerChange

    def refused(self, reason: str) -> Estimate:
        """The one row of a change without an estimate."""
        row = self.bare(self.change.stages[-1].number, reason)
        return msgspec.structs.replace(row, verdict="keep testing")

    def not_identifiable(self, metric: Metric, stage: int) -> Estimate:
        """The row of a question that delivery agents answered, where customers were assigned."""
        return msgspec.structs.replace(
            self.bare(stage, NOT_IDENTIFIABLE),
            metric=metric.name,
            metric_kind=metric.kind,
            respondent="agent",
            window_h=metric.window_us / HOUR_US,
        )

    def bare(self, stage: int, reason: str) -> Estimate:
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
            reason=reason,
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
    notes: Sequence[str]
    ended: bool


@dataclass(frozen=True, slots=True)
class StageRows:
    """Writes the estimates of one stage.

    ``judged`` is None for stages that do not decide; ``headline`` is the number of the one that does.
    """

    of_change: ChangeRows
    facts: StageFacts
    headline: int
    judged: Judged | None

    def empty(self, n: tuple[int, int]) -> Estimate:
        """The row of a stage in which no metric occurs; ``n`` are units with complete windows."""
        why = "nobody in either arm has a complete window yet" if not any(n) else "no event or answer in any window"
        parts = [self._repair() or f"not enough data: {why}", *self.facts.notes]
        return self._common("; ".join(parts), n)

    def row(self, result: Result) -> Estimate:
        """The row of one metric."""
        metric = result.metric
        base = self._common(self._reason(result), result.n, metric, result.grade or self.facts.grade)
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
        e = result.effect
        if e is not None:
            low, high = e.interval() or (None, None)
            base = msgspec.structs.replace(base, effect=e.effect, se=e.se, effect_low=low, effect_high=high, p=e.p)
        if result.lift is not None:
            lift = result.lift
            base = msgspec.structs.replace(base, lift=lift.lift, lift_low=lift.low, lift_high=lift.high)
        return base

    def segment(self, segment: Segment) -> Estimate:
        """The row of one metric in one segment; the verdict is the change's and not on it."""
        result, decision = segment.result, segment.decision
        row = self._figures(self._common(segment_reason(segment), result.n, result.metric), result)
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
        waits = judged.ruling.verdict == "keep testing" and not self.facts.ended
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
        self, reason: str, n: tuple[int, int], metric: Metric | None = None, grade: Grade | None = None
    ) -> Estimate:
        facts = self.facts
        agent = metric is not None and metric.respondent == "agent"
        labels = facts.agent_labels if agent else facts.labels
        row = msgspec.structs.replace(
            self.of_change.bare(facts.number, reason),
            control_arm=labels[0],
            treated_arm=labels[1],
            grade=grade or facts.grade,
            n_control=n[0],
            n_treated=n[1],
            srm_p=facts.srm_p,
            crossovers=facts.crossovers,
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
        )

    def _repair(self) -> str | None:
        if self.judged is None or self.judged.ruling.verdict != "repair the data first":
            return None
        return f"repair the data first: {self.judged.ruling.why}"

    def _reason(self, result: Result) -> str:
        metric, parts = result.metric, [self._repair() or self._word(result)]
        if metric.source == "answer" and result.estimator != "weighted":
            parts.append(RESPONDENTS_ONLY)
        if result.plain is not None:
            parts.append(f"without adjustment for the days before {result.plain.effect:.4g}")
        if "+cap" in result.estimator:
            parts.append("capped")
        if result.estimator.endswith("+skew"):
            parts.append(SKEW)
        if result.left_out:
            currency = metric.currency or "values without a currency"
            parts.append(f"{currency} only; {result.left_out} values in another currency left out")
        guard = self.judged.guards.get(metric) if self.judged and not result.beside else None
        if guard is not None and guard.state != "open":
            parts.append(f"guardrail {guard.state}")
        elif guard is not None:
            seen = f": harm up to {guard.visible:.3g} is not ruled out" if guard.visible is not None else ""
            parts.append(f"guardrail open{seen}")
        if self.judged is not None and metric.headline and not result.beside and self._repair() is None:
            parts.append(f"{self.judged.ruling.verdict}: {self.judged.ruling.why}")
        return "; ".join([*parts, *result.notes, *self.facts.notes])

    def _word(self, result: Result) -> str:
        if result.beside:
            return result.beside
        if self.judged is None:
            own = f"shown on its own: the verdict rests on stage {self.headline}"
            return f"{own}; {result.floor}" if result.floor else own
        if result.floor is not None:
            return result.floor
        decision = self.judged.decisions.get(result.metric)
        if decision is None:
            return "no interval: nothing varies"
        side = _side(decision, result.metric.lower_is_better)
        word = _word(decision, result.metric.lower_is_better)
        return side if self.facts.grade == "before_after" else f"{word}: {side}"


def _word(decision: Decision, lower_is_better: bool) -> str:
    if decision.by is None:
        return "not enough data"
    if decision.low <= 0 <= decision.high:
        return "no clear change"
    return "better" if (decision.low > 0) != lower_is_better else "worse"


def _side(decision: Decision, lower_is_better: bool) -> str:
    if decision.low <= 0 <= decision.high:
        return "the deciding interval holds 0"
    less = ", and less is better" if lower_is_better else ""
    return f"the deciding interval lies wholly {'above' if decision.low > 0 else 'below'} 0{less}"
