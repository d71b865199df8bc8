"""Rows of the tables that `analysis` writes: ``estimates``, ``checks`` and ``bridge`` (docs/contract.md, Tables).

Field order is column order. They live here, in the shared ground, because the store keeps them, analysis makes them
and reports read them.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from edgeloop.store.facts import AnyFact, GuardState, encoded
from edgeloop.store.facts import Verdict as Verdict

Grade = Literal["randomised", "labelled", "quasi", "before_after"]
Source = Literal["share", "sum", "answer", "exposure"]
Role = Literal["goal", "guardrail", "watch"]


class Estimate(msgspec.Struct, kw_only=True):
    """What one change did to one metric. Effects are absolute, ``lift`` is a ratio (0.179 = +17.9 %), n are units.

    ``verdict`` is the change's, the same on each of its rows of the headline stage. None: not applicable or refused;
    ``facts`` say which, ``reason`` is their English; ``source`` is what the metric is made of.
    """

    freeze_id: str
    month: str
    change_id: str
    rollout_id: str | None = None
    stage: int = 1
    model_id: str
    from_version: str | None = None
    to_version: str
    control_arm: str | None = None
    treated_arm: str | None = None
    metric: str
    metric_kind: str
    unit: str
    respondent: str | None = None
    dimension: str = "all"
    segment: str = "all"
    estimator: str | None = None
    grade: Grade | None = None
    window_h: float | None = None
    n_control: int | None = None
    n_treated: int | None = None
    n_immature: int | None = None
    n_effective: float | None = None
    response_control: float | None = None
    response_treated: float | None = None
    control: float | None = None
    treated: float | None = None
    effect: float | None = None
    se: float | None = None
    effect_low: float | None = None
    effect_high: float | None = None
    lift: float | None = None
    lift_low: float | None = None
    lift_high: float | None = None
    p: float | None = None
    p_adjusted: float | None = None
    p_adjust: str | None = None
    decided_by: str | None = None
    decision_low: float | None = None
    decision_high: float | None = None
    always_low: float | None = None
    always_high: float | None = None
    srm_p: float | None = None
    crossovers: int | None = None
    days_left: int | None = None
    expected_loss: float | None = None
    verdict: Verdict | None = None
    reason: str | None = None
    role: Role | None = None
    source: Source | None = None
    guard: GuardState | None = None
    control_before: float | None = None
    treated_before: float | None = None
    facts: tuple[AnyFact, ...] = ()


class Check(msgspec.Struct, kw_only=True):
    """The outcome of one check of the data behind a change; ``state`` is ``ok``, ``warn``, ``block`` or ``no data``."""

    freeze_id: str
    month: str
    change_id: str
    stage: int = 1
    check: str
    value: float | None = None
    p: float | None = None
    state: Literal["ok", "warn", "block", "no data"]


class Bar(msgspec.Struct, kw_only=True):
    """One bar of the month bridge: what one cause adds to a metric's change from the month before, absolute.

    ``bar`` is ``month 0``, ``calendar``, ``mix``, ``version``, ``interaction``, ``unexplained``, ``month 1``, and for
    totals ``volume`` and ``total``; ``late data`` leads from the figure as last printed to the one of now.
    """

    freeze_id: str
    month: str
    metric: str
    bar: str
    change_id: str | None = None
    value: float
    low: float | None = None
    high: float | None = None


class MeasuredBefore(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """One figure of a change as the latest final report of an earlier month had it, of a version that a switch of this
    month gives to everybody. An end that does not exist is null, as in JSON."""

    month: str
    change_id: str
    model_id: str
    from_version: str | None = None
    to_version: str
    metric: str
    grade: str
    effect: float
    se: float | None = None
    effect_low: float | None = None
    effect_high: float | None = None
    decision_low: float | None = None
    decision_high: float | None = None


def cells(row: Estimate | Check | Bar) -> tuple[str | int | float | None, ...]:
    """A row's fields in the order of its table's columns, facts as JSON."""
    found = msgspec.structs.astuple(row)
    return (*found[:-1], encoded(row.facts)) if isinstance(row, Estimate) else found
