"""Which switch is the last stage of a change that was measured before? What a test showed is not asked again.

So is the way back to the version before: what it undoes was measured, and its own days tell nothing that is asked.
A switch to a version that arms or zones met before is the end of that change. What its own days before and after show
is description; the test's effect is the one that stands, and the month bridge takes it once.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from analysis.bridge import Delta
from analysis.change import LedgerChange
from analysis.days import local_date
from analysis.metrics import Metric
from edgeloop.months import Month
from edgeloop.store.facts import Breached, PromotedAfter, RolledBackAfter, Ruled, Worse
from edgeloop.store.rows import Estimate, MeasuredBefore


@dataclass(frozen=True, slots=True)
class Promotion:
    """A switch, and the figures of the change that it ends: those of this month, else of its latest final report."""

    switch: LedgerChange
    figures: tuple[MeasuredBefore, ...]
    test: LedgerChange | None
    """The change that was measured, where the ledger knows it."""
    back: bool = False
    """It gives everybody the version before the one that was measured."""

    @property
    def change_id(self) -> str:
        """Of the change that was measured."""
        return self.figures[0].change_id

    @property
    def bar_id(self) -> str:
        """Under whose name its effect stands in the month bridge."""
        return self.switch.change_id if self.test is None else self.change_id

    def delta(self, metric: Metric) -> Delta | None:
        """What the bridge takes of it: the plain 95 % interval."""
        f = self._of(metric.name)
        if f is None:
            return None
        ends = None if f.effect_low is None or f.effect_high is None else (f.effect_low, f.effect_high)
        return Delta(f.effect, ends, f.se)

    def fact(self, headline: Metric | None, timezone: str) -> PromotedAfter:
        """What is said of it: the headline's effect, else that of which most can be told."""
        f = self._of(headline.name) if headline is not None else None
        f = f or max(self.figures, key=lambda f: (abs(f.effect) / f.se if f.se else 0.0, f.metric))
        day = str(local_date(self.switch.start_us, timezone))
        made = RolledBackAfter if self.back else PromotedAfter
        return made(f.change_id, day, f.metric, f.effect, f.decision_low, f.decision_high, f.grade)

    def _of(self, metric: str) -> MeasuredBefore | None:
        return next((f for f in self.figures if f.metric == metric), None)


def promotions(
    listed: Sequence[LedgerChange],
    known: Sequence[LedgerChange],
    estimates: Sequence[Estimate],
    measured: Sequence[MeasuredBefore],
    month: Month,
) -> dict[str, Promotion]:
    """change_id of a switch → what it ends.

    Args:
        listed: the month's changes.
        known: every change there is.
        estimates: the month's, of changes other than these switches.
        measured: of final reports of earlier months.
    """
    fatal = {(e.change_id, name) for e in estimates for name in _fatal(e)}
    now = [figure for e in estimates if (figure := _figure(e, fatal)) is not None]
    earlier = [f for f in measured if f.month < month.name]
    by_id = {c.change_id: c for c in known}
    found = {}
    for switch in listed:
        if not switch.full_switch:
            continue
        back = switch.kind == "rollback" or not any(_ends(switch, f, by_id) for f in (*now, *earlier))
        of = _returns if back else _ends
        own = [f for f in now if of(switch, f, by_id)] or _latest([f for f in earlier if of(switch, f, by_id)])
        test = by_id.get(own[0].change_id) if back and own else None
        if test is not None and test.tried_us > switch.start_us:
            own = _of_try(estimates, test, switch.start_us) or own
        if own:
            last = max(own, key=lambda f: (_start(f, by_id), f.change_id)).change_id
            figures = tuple(sorted((f for f in own if f.change_id == last), key=lambda f: f.metric))
            found[switch.change_id] = Promotion(switch, figures, by_id.get(last), back)
    return found


def _fatal(e: Estimate) -> tuple[str, ...]:
    """The metrics that a roll back rests on; rare events decide it without an interval."""
    ruled = next((fact for fact in e.facts if isinstance(fact, Ruled) and fact.verdict == "roll back"), None)
    because = ruled.because if ruled is not None else ()
    return tuple(name for fact in because if isinstance(fact, Breached | Worse) for name in fact.metrics)


def _figure(e: Estimate, fatal: Collection[tuple[str, str]]) -> MeasuredBefore | None:
    """A row that decides, of a comparison side by side."""
    decides = e.decided_by is not None or (e.verdict is not None and (e.change_id, e.metric) in fatal)
    if e.effect is None or not decides or e.dimension != "all" or e.grade in (None, "before_after"):
        return None
    return _measured(e, e.effect, (e.decision_low, e.decision_high))


def _measured(e: Estimate, effect: float, decision: tuple[float | None, float | None]) -> MeasuredBefore:
    return MeasuredBefore(
        month=e.month, change_id=e.change_id, model_id=e.model_id, from_version=e.from_version, to_version=e.to_version,
        metric=e.metric, grade=str(e.grade), effect=effect, se=e.se, effect_low=_finite(e.effect_low),
        effect_high=_finite(e.effect_high), decision_low=_finite(decision[0]), decision_high=_finite(decision[1]),
    )  # fmt: skip


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _ends(switch: LedgerChange, figure: MeasuredBefore, by_id: Mapping[str, LedgerChange]) -> bool:
    """Whether the figure is of the same step, between the same versions, begun before the switch."""
    same = (figure.model_id, figure.to_version) == (switch.model_id, switch.to_version)
    bases = {figure.from_version, switch.from_version} - {None}
    return same and len(bases) < 2 and figure.change_id != switch.change_id and _start(figure, by_id) < switch.start_us


def _returns(switch: LedgerChange, figure: MeasuredBefore, by_id: Mapping[str, LedgerChange]) -> bool:
    """Whether the switch takes back the step that the figure is of."""
    tried = {switch.from_version} - {None} if switch.kind == "rollback" else {switch.from_version}
    same = figure.model_id == switch.model_id and figure.from_version == switch.to_version
    return same and tried <= {figure.to_version} and _start(figure, by_id) < switch.start_us


def _of_try(estimates: Sequence[Estimate], test: LedgerChange, until_us: int) -> list[MeasuredBefore]:
    """What the stages before the way back showed, where it was tried again since and the later try decides."""
    begun = {stage.number for stage in test.stages if stage.start_us < until_us}
    last = max((e.stage for e in estimates if e.change_id == test.change_id and e.stage in begun), default=None)
    rows = [e for e in estimates if e.change_id == test.change_id and e.stage == last and e.dimension == "all"]
    return [
        _measured(e, e.effect, (e.effect_low, e.effect_high))
        for e in rows
        if e.effect is not None and e.effect_low is not None and e.grade not in (None, "before_after")
    ]


def _start(figure: MeasuredBefore, by_id: Mapping[str, LedgerChange]) -> int:
    """When the change began; 0 where only an earlier report knew it."""
    change = by_id.get(figure.change_id)
    return 0 if change is None else change.start_us


def _latest(figures: Sequence[MeasuredBefore]) -> list[MeasuredBefore]:
    """Of each change those of its latest report."""
    months: dict[str, str] = {}
    for f in figures:
        months[f.change_id] = max(f.month, months.get(f.change_id, ""))
    return [f for f in figures if f.month == months[f.change_id]]
