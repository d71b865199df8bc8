"""The bars of the month bridge as rows: sums that are exact, and intervals only where something was estimated."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date

from scipy import stats

from analysis.bridge.cells import MonthUnits, cut_days, month_units, n_groups
from analysis.bridge.decompose import Bridge, decompose, pooled
from analysis.change import LedgerChange
from analysis.frames import Frames
from analysis.metrics import Metric
from analysis.newcomers import told_apart
from edgeloop.months import Month
from edgeloop.store.rows import Bar


@dataclass(frozen=True, slots=True)
class Delta:
    """What one change does to a unit's value of the metric: the absolute effect of its main stage.

    ``interval`` is the one that decides; ``control`` names the arm it was compared with and ``control_var`` is the
    variance of that arm's figure: two changes with the same control share its luck.
    """

    effect: float
    interval: tuple[float, float] | None
    se: float | None
    control: tuple[str, ...] | None = None
    control_var: float = 0.0


@dataclass(frozen=True, slots=True)
class Interplay:
    """A proven interaction of two changes: what both together do beyond the sum of each alone."""

    changes: tuple[str, str]
    both: Delta
    alone: tuple[Delta, Delta]


@dataclass(frozen=True, slots=True)
class Printed:
    """What of the bridge stands in rows: ``unnamed`` are changes that grew or shrank and have no estimate.

    ``untold_us`` is when the data begin, where that is too late to tell new from returning customers.
    """

    bars: list[Bar]
    unnamed: list[str]
    untold_us: int | None = None


def month_bridge(
    frames: Frames,
    month: Month,
    metric: Metric,
    changes: Sequence[LedgerChange],
    deltas: Mapping[str, Delta],
    *,
    freeze_id: str,
    as_of_us: int,
    interplay: Sequence[Interplay] = (),
    printed: float | None = None,
    holidays: Collection[date] = (),
) -> Printed:
    """The bridge of one metric from the month before; no bars where either month has no complete unit.

    Args:
        changes: all that are known, also those of other months: versions build on each other.
        deltas: change_id → its effect on this metric, of those that have an estimate.
        printed: the figure of the month before as its own report had it.
    """
    if metric.source == "exposure" or metric.respondent == "agent":
        return Printed([], [])
    steps = [c for c in changes if c.kind != "rollback" and c.start_us < month.end_us]
    less = cut_days(month, metric.window_us, as_of_us)
    # By the earlier month for both: where only the later one has four weeks before it, its returning customers would
    # stand beside an earlier month without any, and the mix would seem to have moved.
    told = told_apart(frames.begins_us, month.previous().start_us)
    units = [
        month_units(frames, m, metric, steps, as_of_us=as_of_us, less_days=less, newcomers=told, holidays=holidays)
        for m in (month.previous(), month)
    ]
    if min(u.d.sum() for u in units) <= 0:
        return Printed([], [])
    pairs = {f"{a}\n{b}": (a, b) for a, b in (i.changes for i in interplay)}
    cells = [_with_pairs(u, pairs).cells(n_groups(frames)) for u in units]
    found = decompose(*pooled(cells[0], cells[1]))
    names = [c.change_id for c in steps]
    rows = bridge_rows(
        found, names, deltas, interplay, printed, freeze_id=freeze_id, month=month.name, metric=metric.name
    )
    return rows if told else replace(rows, untold_us=frames.begins_us)


def _with_pairs(units: MonthUnits, pairs: Mapping[str, tuple[str, str]]) -> MonthUnits:
    both = {name: units.have[a] & units.have[b] for name, (a, b) in pairs.items()}
    return MonthUnits(units.y, units.d, units.day_type, units.group, {**units.have, **both})


def bridge_rows(
    found: Bridge,
    changes: Sequence[str],
    deltas: Mapping[str, Delta],
    interplay: Sequence[Interplay],
    printed: float | None,
    *,
    freeze_id: str,
    month: str,
    metric: str,
) -> Printed:
    """The bars of a decomposed change.

    Args:
        changes: change_ids, in the order of their bars.
    """

    def bar(name: str, value: float, change_id: str | None = None, ends: tuple[float, float] | None = None) -> Bar:
        low, high = sorted(ends) if ends is not None else (None, None)
        return Bar(
            freeze_id=freeze_id, month=month, metric=metric, bar=name, change_id=change_id, value=value, low=low,
            high=high,
        )  # fmt: skip

    deltas = {**deltas, **{c: d for i in interplay for c, d in zip(i.changes, i.alone, strict=True)}}
    used: list[tuple[float, Delta]] = []
    parts: list[Bar] = []
    unnamed: list[str] = []
    for change_id in changes:
        x, delta = found.exposed[change_id], deltas.get(change_id)
        if x == 0:
            continue
        if delta is None:
            unnamed.append(change_id)
            continue
        used.append((x, delta))
        parts.append(bar("version", x * delta.effect, change_id, _times(x, delta.interval)))
    for i in interplay:
        x = found.exposed["\n".join(i.changes)]
        if x != 0:
            used.append((x, i.both))
            name = " × ".join(i.changes)
            parts.append(bar("interaction", x * i.both.effect, name, _times(x, i.both.interval)))
    unexplained = found.after - found.before - found.calendar - found.mix - math.fsum(b.value for b in parts)
    bars = [bar("month 0", found.before), bar("calendar", found.calendar), bar("mix", found.mix), *parts]
    if printed is not None:
        bars.insert(0, bar("late data", found.before - printed))
    bars.append(bar("unexplained", unexplained, None, _around(unexplained, used)))
    bars += [bar("month 1", found.after), bar("volume", found.volume), bar("total", found.total)]
    return Printed(bars, unnamed)


def _times(x: float, interval: tuple[float, float] | None) -> tuple[float, float] | None:
    return (x * interval[0], x * interval[1]) if interval is not None else None


def _around(value: float, used: Sequence[tuple[float, Delta]]) -> tuple[float, float] | None:
    """What is left is as unsure as the bars together: Σ x·x'·cov(δ, δ'); None where no bar has a standard error.

    Beside a bar without an end it has none either.
    """
    told = [(x, d) for x, d in used if d.se]
    if not told:
        return None
    if any(d.interval is not None and not all(map(math.isfinite, d.interval)) for _, d in told):
        return -math.inf, math.inf
    var = math.fsum(x * x * (d.se or 0.0) ** 2 for x, d in told)
    for i, (x, d) in enumerate(told):
        for y, e in told[i + 1 :]:
            if d.control is not None and d.control == e.control:
                var += 2 * x * y * min(d.control_var, e.control_var)
    half = float(stats.norm.isf(0.025)) * math.sqrt(max(var, 0.0))
    return value - half, value + half
