"""Estimates as tables for people: what decides first, each figure with whom it counts and the interval that decides.

`--json` and `--csv` have every row and column.
"""

from __future__ import annotations

import math
import shutil
import sys
import textwrap
from collections.abc import Collection, Mapping, Sequence
from itertools import groupby

from analysis import ALL_METRICS, Analysis
from edgeloop.app.output import print_rows
from edgeloop.outside_text import printable
from edgeloop.store import facts
from edgeloop.store.facts import Ruled
from edgeloop.store.rows import Estimate

_COLUMNS = ("segment", "metric", "role", "n old", "n new", "old", "new", "effect", "decides from", "to", "by", "says")
_PIPED = ("change", "stage", "unit", *_COLUMNS, "verdict")
_SHOWN = ("segment", "metric", "role", "n", "old → new", "effect", "decides", "by", "says")
_WIDE = 130
"""Columns of a terminal that has room for what kind of interval decides."""
_UNITS = {"subject": "customers", "courier": "couriers", "zone": "zones", "zone_time": "blocks of zone and time"}
_ORDER = ("goal", "guardrail", "watch")


def deciding(estimates: Sequence[Estimate]) -> list[Estimate]:
    """The rows of the stage that decides, of everybody, without those that stand beside another figure."""
    stages = _stages(estimates)
    return [
        e
        for e in estimates
        if e.dimension == "all"
        and e.stage == stages.get(e.change_id, e.stage)
        and facts.Said("unweighted beside") not in e.facts
    ]


def _stages(estimates: Sequence[Estimate]) -> Mapping[str, int]:
    """Change → the stage that decides."""
    return {e.change_id: e.stage for e in estimates if e.verdict is not None}


def print_estimates(analysis: Analysis, *, every: bool) -> int:
    """A table per change and stage in a terminal, one of all in a pipe; how many rows were left out.

    Args:
        every: other stages, segments and the figures beside others too.
    """
    chosen = analysis.estimates if every else deciding(analysis.estimates)
    units = {c.change_id: "zone" if c.by_zone and c.unit == "subject" else c.unit for c in analysis.changes}
    order, stages = {c.change_id: i for i, c in enumerate(analysis.changes)}, _stages(analysis.estimates)
    chosen = sorted(chosen, key=lambda e: _place(e, order, stages))
    if not sys.stdout.isatty():
        rows = [(e.change_id, e.stage, _unit(e, units), *_cells(e), e.verdict) for e in chosen]
        print_rows(_PIPED, rows, as_json=False)
        return len(analysis.estimates) - len(chosen)
    width = shutil.get_terminal_size().columns
    for i, ((change_id, stage), group) in enumerate(groupby(chosen, lambda e: (e.change_id, e.stage))):
        own = list(group)
        parted = any(e.dimension != "all" for e in own)
        left_out = {*(() if parted else ("segment",)), *(() if width >= _WIDE else ("by",))}
        head = _head(change_id, stage, own, _unit(own[0], units), analysis.rulings, parted=parted)
        head = "\n".join(textwrap.wrap(printable(head), width, subsequent_indent="  "))
        sys.stdout.write(("\n" if i else "") + head + "\n")
        sys.stdout.flush()
        kept = [_kept(e, left_out) for e in own]
        print_rows([name for name in _SHOWN if name not in left_out], kept, as_json=False)
    return len(analysis.estimates) - len(chosen)


def _place(e: Estimate, order: Mapping[str, int], deciding: Mapping[str, int]) -> tuple[int | str | bool, ...]:
    """Where a row stands: by change, the stage that decides first, everybody before segments, goals first."""
    role = _ORDER.index(e.role) if e.role is not None else len(_ORDER)
    away = e.stage != deciding.get(e.change_id, e.stage)
    part = (e.dimension != "all", e.dimension, e.segment)
    return order.get(e.change_id, len(order)), e.change_id, away, e.stage, *part, role, e.metric


def _head(
    change_id: str, stage: int, own: Sequence[Estimate], unit: str, rulings: Mapping[str, Ruled], *, parted: bool
) -> str:
    """``eta-2.1, stage 2, by couriers, everybody: promote (better: conversion)``."""
    ruled = rulings.get(change_id)
    whom = "everybody and segments" if parted else "everybody"
    text = f"{change_id}, stage {stage}, {whom}, n are {unit}"
    if ruled is None or all(e.verdict is None for e in own):
        return f"{text}: shown on its own"
    return f"{text}: {ruled.english}"


def _unit(e: Estimate, units: Mapping[str, str]) -> str:
    if e.grade == "before_after":
        return "days"
    unit = units.get(e.change_id, e.unit)
    return _UNITS.get(unit, unit)


def _cells(e: Estimate) -> tuple[object, ...]:
    """All figures, one a cell."""
    return (
        _segment(e), e.metric, e.role, e.n_control, e.n_treated, e.control, e.treated, e.effect,
        _finite(e.decision_low), _finite(e.decision_high), e.decided_by, _says(e),
    )  # fmt: skip


def _short(e: Estimate) -> tuple[object, ...]:
    """In few columns, to three digits."""
    n = None if e.n_control is None else f"{e.n_control}/{e.n_treated}"
    levels = None if e.control is None or e.treated is None else f"{e.control:.3g} → {e.treated:.3g}"
    ends = e.decision_low, e.decision_high
    interval = None if ends[0] is None or ends[1] is None else _between(ends[0], ends[1])
    effect = None if e.effect is None else f"{e.effect:+.3g}"
    return _segment(e), e.metric, e.role, n, levels, effect, interval, e.decided_by, _says(e)


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _between(low: float, high: float) -> str:
    """An end that does not exist is words."""
    if math.isfinite(low) and math.isfinite(high):
        return f"{low:+.3g} to {high:+.3g}"
    if math.isfinite(low):
        return f"{low:+.3g} or more"
    return f"{high:+.3g} or less" if math.isfinite(high) else "no end on either side"


def _kept(e: Estimate, left_out: Collection[str]) -> list[object]:
    return [cell for name, cell in zip(_SHOWN, _short(e), strict=True) if name not in left_out]


def _segment(e: Estimate) -> str:
    return "all" if e.dimension == "all" else f"{e.dimension} {e.segment}"


def _says(e: Estimate) -> str | None:
    """The reason in brief, and of a guardrail whether it is cleared, open or breached; `--json` has all of it."""
    guard = {"breach": "breached"}.get(e.guard or "", e.guard) if e.role == "guardrail" else None
    word = _word(e)
    if guard is None or e.dimension != "all":
        return word
    return f"{guard}, {word}" if word in ("better", "worse") else guard


def _word(e: Estimate) -> str | None:
    if e.metric == ALL_METRICS or not e.facts:
        return e.reason
    match e.facts[0]:
        case facts.Decided(side="holds 0"):
            return "no clear change"
        case facts.Decided(direction=direction, named=True):
            return direction
        case facts.Decided(side=side):
            return "higher after" if side == "above" else "lower after"
        case facts.Bound(state=state):
            return {"breach": "breached"}.get(state, state)
        case facts.ArmWithout(version=version):
            return f"nothing from {version}"
        case first:
            return first.english.split(";")[0].split(":")[0]
