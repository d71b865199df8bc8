"""How is a result written down? Rows of ``estimates`` and ``checks``, each with a reason that a person can read."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from analysis import checks
from analysis.effects import Result, Ruling, StageData
from analysis.ledger import LedgerChange
from analysis.metrics import ENGAGEMENT_WINDOW_US, Metric
from analysis.verdict import days_left
from edgeloop.clock import DAY_US, HOUR_US
from edgeloop.months import Month
from edgeloop.store.rows import Check, Estimate, Grade

ALL_METRICS = "*"
"""The metric of the one row of a change of which no single metric can be told."""
NO_CONTROL = "before and after: nobody kept the old version, so other causes are not ruled out"
NOT_IDENTIFIABLE = "not identifiable: customers were assigned, not delivery agents, and an agent meets both versions"
RESPONDENTS_ONLY = "respondents only, unweighted"
SAME_CAPACITY = "arms compete for the same capacity"
NO_ALLOCATION = "no allocation was declared, so the arms' share over the days was tested instead of the sample ratio"


@dataclass(frozen=True, slots=True)
class ChangeRows:
    """Writes the rows of one change in one month."""

    freeze_id: str
    month: Month
    change: LedgerChange

    def refused(self, reason: str) -> Estimate:
        """The one row of a change without an estimate."""
        return self.bare(self.change.stages[-1].number, reason)

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
class StageRows:
    """Writes the estimates of one stage.

    ``headline`` is the number of the stage that decides; only its rows carry the verdict and deciding intervals.
    """

    of_change: ChangeRows
    data: StageData
    ruling: Ruling
    headline: int
    srm_p: float | None

    @property
    def decides(self) -> bool:
        """Whether the verdict rests on this stage."""
        return self.data.cohort.stage.number == self.headline

    def empty(self) -> Estimate:
        """The row of a stage in which no metric occurs."""
        cohort = self.data.cohort
        done = (
            cohort.control.complete_units(ENGAGEMENT_WINDOW_US),
            cohort.treated.complete_units(ENGAGEMENT_WINDOW_US),
        )
        why = "nobody in either arm has a complete window yet" if not any(done) else "no event or answer in any window"
        parts = [self._repair() or f"not enough data: {why}", *self._notes()]
        return msgspec.structs.replace(self._common("; ".join(parts), *done, ENGAGEMENT_WINDOW_US), window_h=None)

    def row(self, result: Result) -> Estimate:
        """The row of one metric."""
        metric, (control, treated) = result.metric, result.figures
        base = self._common(self._reason(result), control.moments.n, treated.moments.n, metric.window_us, metric)
        base = msgspec.structs.replace(
            base,
            metric=metric.name,
            metric_kind=metric.kind,
            respondent=metric.respondent,
            estimator=self._estimator(metric),
            control=result.samples[0].mean if result.samples[0] else None,
            treated=result.samples[1].mean if result.samples[1] else None,
            days_left=self._days_left(result),
        )
        if metric.source == "answer":
            base = msgspec.structs.replace(
                base,
                response_control=control.events / control.people if control.people else None,
                response_treated=treated.events / treated.people if treated.people else None,
            )
        if result.effect is not None:
            e = result.effect
            low, high = e.interval() or (None, None)
            base = msgspec.structs.replace(base, effect=e.effect, se=e.se, effect_low=low, effect_high=high, p=e.p)
        if result.lift is not None:
            lift = result.lift
            base = msgspec.structs.replace(base, lift=lift.lift, lift_low=lift.low, lift_high=lift.high)
        decision = self.ruling.decisions.get(metric) if self.decides else None
        if decision is None:
            return base
        p_adjusted, finding = decision
        return msgspec.structs.replace(
            base,
            p_adjusted=p_adjusted,
            p_adjust="bonferroni",
            decided_by="fixed" if finding.can_decide else None,
            decision_low=finding.low,
            decision_high=finding.high,
        )

    def _common(
        self, reason: str, n_control: int, n_treated: int, window_us: int, metric: Metric | None = None
    ) -> Estimate:
        cohort, change = self.data.cohort, self.of_change.change
        arms = self.data.arms(metric) if metric else (cohort.control, cohort.treated)
        return msgspec.structs.replace(
            self.of_change.bare(cohort.stage.number, reason),
            control_arm=arms[0].label,
            treated_arm=arms[1].label,
            grade=self._grade(),
            window_h=window_us / HOUR_US,
            n_control=n_control,
            n_treated=n_treated,
            n_immature=sum(arm.n_units - arm.complete_units(window_us) for arm in arms),
            srm_p=self.srm_p,
            crossovers=None if change.full_switch else cohort.crossovers,
            verdict=self.ruling.verdict if self.decides else None,
        )

    def _grade(self) -> Grade:
        change = self.of_change.change
        if change.full_switch:
            return "before_after"
        shared = change.shares_capacity and change.unit == "subject"
        return "quasi" if shared or self.ruling.alarms else "randomised"

    def _estimator(self, metric: Metric) -> str:
        if self.of_change.change.full_switch:
            return "before_after"
        clustered = self.data.arms(metric)[0].clustered
        return "ratio" if metric.source == "answer" or clustered else "difference_in_means"

    def _repair(self) -> str | None:
        if not self.decides or self.ruling.verdict != "repair the data first":
            return None
        return "repair the data first: " + ", ".join(self.ruling.alarms)

    def _reason(self, result: Result) -> str:
        metric, parts = result.metric, []
        parts.append(self._repair() or self._word(result))
        if metric.source == "answer":
            parts.append(RESPONDENTS_ONLY)
        left_out = sum(f.left_out for f in result.figures)
        if left_out:
            currency = metric.currency or "values without a currency"
            parts.append(f"{currency} only; {left_out} values in another currency left out")
        return "; ".join(parts + self._notes())

    def _word(self, result: Result) -> str:
        if not self.decides:
            own = f"shown on its own: the verdict rests on stage {self.headline}"
            return f"{own}; {result.floor}" if result.floor else own
        decision = self.ruling.decisions.get(result.metric)
        if result.floor is not None:
            return result.floor
        if decision is None:
            return "no interval: nothing varies"
        finding = decision[1]
        return finding.side if self.of_change.change.full_switch else f"{finding.word}: {finding.side}"

    def _notes(self) -> list[str]:
        """What holds for every row of the stage."""
        change, cohort = self.of_change.change, self.data.cohort
        notes = []
        if change.full_switch:
            notes.append(NO_CONTROL)
        elif cohort.stage.allocation is None:
            notes.append(NO_ALLOCATION)
        if change.shares_capacity and change.unit == "subject" and not change.full_switch:
            notes.append(SAME_CAPACITY)
        if cohort.unclustered:
            notes.append(f"{cohort.unclustered} customers without a courier left out")
        return notes

    def _days_left(self, result: Result) -> int | None:
        """At least how many days more, while the stage goes on and the verdict is to keep testing."""
        cohort, metric = self.data.cohort, result.metric
        ended = cohort.stage.end_us is not None and cohort.closes_us >= cohort.stage.end_us
        practical = result.practical
        if not self.decides or self.ruling.verdict != "keep testing" or ended:
            return None
        if result.effect is None or not result.effect.se or practical is None:
            return None
        arms = self.data.arms(metric)
        week_us = min(7 * DAY_US, cohort.until_us - cohort.stage.start_us)
        lately = sum(int((arm.at >= cohort.until_us - week_us).sum()) for arm in arms)
        people = sum(f.people for f in result.figures)
        return days_left(
            se=result.effect.se,
            practical=practical,
            complete=people,
            entered=sum(len(arm.person) for arm in arms),
            entries_per_day=lately * DAY_US / week_us,
            window_days=metric.window_us / DAY_US,
        )
