"""Did it help everybody alike? Each metric's effect by where, on what and for whom the entry exposure was shown.

A segment is a value of the exposure a person entered with; what is known only later (answered, clicked, delivered) is
an outcome and never a segment. Segments decide only where the effects differ (Cochran's Q, Bonferroni over dimensions),
and then in a family of their own (docs/meaning.md, "Segments").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from analysis.checks import full_days
from analysis.effects import Result, StageData, contrast, inside_name, plain_name, sample_of, unit_values
from analysis.estimators.skewed import SkewedEffect
from analysis.families import adjust
from analysis.frames import ABSENT, BoolArray, Coded, Frames
from analysis.judge import Decision, Weighed, deciding_test
from analysis.lift import Comparison, Effect
from analysis.moments import IntArray
from analysis.nested import compared, few_clusters
from analysis.newcomers import told_apart
from analysis.values import Crowd
from analysis.verdict import ALPHA, floor_missed
from edgeloop.store import facts
from edgeloop.store.facts import AnyFact

MOST_VALUES = 12  # of a dimension; the rest are one segment
OTHER, UNKNOWN = "other", "unknown"
CUSTOMER, NEW, RETURNING = "customer", "new", "returning"


@dataclass(frozen=True, slots=True, eq=False)
class Dimension:
    """One way to part people: ``cell`` has one code into ``values`` per person of the crowd."""

    name: str
    values: tuple[str, ...]
    cell: IntArray


@dataclass(frozen=True, slots=True)
class Segment:
    """One metric in one segment; ``result`` has the figures, ``differ`` is the dimension's p of equal effects."""

    dimension: str
    value: str
    result: Result
    differ: float | None
    gated: bool
    """The dimension's effects differ, so that its segments may decide."""
    units: int
    """Of the metric in all segments together: where these reach the plan, the segments' tests are fixed too."""
    decision: Decision | None = None


def dimensions(frames: Frames, data: StageData) -> list[Dimension]:
    """The dimensions that part the customers of a stage into two or more."""
    x, crowd = frames.exposures, data.customers.crowd
    columns: dict[str, Coded] = {
        "touchpoint": x.touchpoint,
        "zone": x.zone,
        "device": x.device,
        "segment": x.segment,
    }
    found = [_coded(name, coded, crowd) for name, coded in columns.items()]
    returning = (frames.first_seen[crowd.person] < data.first_us).astype(np.int64)
    found.append(Dimension(CUSTOMER, (NEW, RETURNING), returning))
    return [d for d in found if np.count_nonzero(np.bincount(d.cell)) > 1]


def _parted(frames: Frames, data: StageData) -> list[Dimension]:
    """Those that segments are made of: new and returning customers only where the data can tell them apart."""
    found = dimensions(frames, data)
    if len(data.first_us) and told_apart(frames.begins_us, int(data.first_us.min())):
        return found
    return [d for d in found if d.name != CUSTOMER]


def segments(frames: Frames, data: StageData, results: Sequence[Result]) -> list[Segment]:
    """Every metric by every dimension, before anything is decided.

    Args:
        results: those of the stage; metrics of agents and quantiles have no segments.
    """
    told = [r for r in results if r.values is not None and r.metric.respondent == "customer" and not r.beside]
    told = [r for r in told if r.metric.kind != "quantile"]
    parted = _parted(frames, data) if told else []
    found: list[Segment] = []
    for result in told:
        days = full_days(data.cohort, result.metric.window_us)
        of_metric = [(d, _of(d, data.customers.crowd, result, days)) for d in parted]
        clustered = data.customers.crowd.inside.cluster is not None
        test = differ_between_clusters if clustered else heterogeneity
        tests = {d.name: test([r.effect for r in rows.values() if r.floor is None]) for d, rows in of_metric}
        asked = max(sum(p is not None for p in tests.values()), 1)
        for d, rows in of_metric:
            p = tests[d.name]
            gated = p is not None and p * asked <= ALPHA
            found += [Segment(d.name, value, row, p, gated, result.towards_plan) for value, row in rows.items()]
    return found


def judge_segments(weighed: Sequence[Weighed], parted: Sequence[Sequence[Segment]]) -> list[list[Segment]]:
    """The month's segments with what they decide: one family over the metrics and dimensions whose gate is open.

    Args:
        weighed: the month's changes.
        parted: the segments of each of them.
    """
    family = []
    for i, (w, own) in enumerate(zip(weighed, parted, strict=True)):
        for j, segment in enumerate(own):
            test = (
                deciding_test(w, segment.result, segment.units)
                if segment.gated and segment.result.floor is None
                else None
            )
            if test is not None:
                family.append(((i, j), test))
    decided = {
        found.key: Decision(*found.interval, found.p_adjusted, by.by, found.rejected)
        for found, (_, by) in zip(
            adjust([(key, test.p, test.interval) for key, test in family], alpha=ALPHA), family, strict=True
        )
    }
    return [
        [replace(segment, decision=decided.get((i, j))) for j, segment in enumerate(own)]
        for i, own in enumerate(parted)
    ]


def heterogeneity(effects: Sequence[Comparison | None]) -> float | None:
    """p of "all effects are the same": Cochran's Q = Σ w·(Δ − Δ̄)² with w = 1/SE², χ² of k − 1; None under two effects.

    Cochran 1954, "The combination of estimates from different experiments".
    """
    told = [(e.effect, e.se) for e in effects if e is not None and e.se]
    if len(told) < 2:
        return None
    effect, se = np.array(told, dtype=np.float64).T
    weight = se**-2
    mean = float(weight @ effect) / float(weight.sum())
    return float(stats.chi2.sf(float(weight @ (effect - mean) ** 2), len(told) - 1))


def differ_between_clusters(effects: Sequence[Comparison | None]) -> float | None:
    """The same where each effect has degrees of freedom of its own, few perhaps: Welch's test of many means.

    Welch 1951, "On the comparison of several mean values", Biometrika 38: Q/(k − 1) over 1 + 2(k − 2)/(k² − 1)·Λ is F
    of k − 1 and (k² − 1)/(3Λ), Λ = Σ(1 − w/Σw)²/df. Segments of the same clusters are taken as independent: what they
    have in common makes it say less, not more.
    """
    told = [(e.effect, e.se, e.df) for e in effects if isinstance(e, Effect) and e.se and e.df]
    k = len(told)
    if k < 2:
        return None
    effect, se, df = np.array(told, dtype=np.float64).T
    weight = se**-2
    mean = float(weight @ effect) / float(weight.sum())
    spread = float(((1 - weight / weight.sum()) ** 2 / df).sum())
    q = float(weight @ (effect - mean) ** 2) / (k - 1) / (1 + 2 * (k - 2) / (k * k - 1) * spread)
    return float(stats.f.sf(q, k - 1, (k * k - 1) / (3 * spread)))


def _coded(name: str, coded: Coded, crowd: Crowd) -> Dimension:
    """The most frequent values in order of name, then the rest, then those without."""
    code = coded.codes[crowd.row]
    counts = np.bincount(code[code != ABSENT], minlength=len(coded.labels))
    labels = [str(label) for label in coded.labels]
    ranked = sorted((i for i in range(len(labels)) if counts[i]), key=lambda i: (-int(counts[i]), labels[i]))
    kept = sorted(ranked[:MOST_VALUES], key=lambda i: labels[i])
    cell_of = np.full(len(labels) + 1, len(kept), dtype=np.int64)
    cell_of[kept] = np.arange(len(kept))
    cell_of[ABSENT] = len(kept) + 1
    return Dimension(name, (*(labels[i] for i in kept), OTHER, UNKNOWN), cell_of[code])


def _of(dimension: Dimension, crowd: Crowd, whole: Result, days: int) -> dict[str, Result]:
    """Value → the metric among those who entered with it; values that nobody of either arm has are left out."""
    metric, values = whole.metric, whole.values
    if values is None:
        return {}
    n_cells = len(dimension.values)
    parts = unit_values(crowd, values, dimension.cell, n_cells).moments(n_cells)
    people = _count(dimension, crowd, crowd.complete(metric.window_us), n_cells)
    events = _count(dimension, crowd, values.did & values.counted, n_cells)
    free = _count(dimension, crowd, values.counted & (values.y < values.d), n_cells)
    share = metric.source == "share" or metric.binary
    found: dict[str, Result] = {}
    for i, value in enumerate(dimension.values):
        moments = parts[0][i], parts[1][i]
        if moments[0].n == 0 or moments[1].n == 0:
            continue
        control, treated = (sample_of(metric, crowd, m) for m in moments)
        if control is None or treated is None:
            continue
        effect, lift = contrast(metric, crowd, (control, treated), moments)
        figures, fewer = (control.mean, treated.mean), None
        if crowd.inside.declared:
            of = dimension.cell == i
            inner = compared(metric, crowd, values, of)
            if inner is None:
                continue
            effect, lift, figures = inner.effect, inner.lift, (inner.control, inner.treated)
            fewer = few_clusters(crowd, replace(values, counted=values.counted & of))
        skew = isinstance(effect, SkewedEffect)
        of_value = int(events[0][i]), int(events[1][i])
        complete = int(people[0][i]), int(people[1][i])
        found[value] = Result(
            metric=metric,
            n=(moments[0].n, moments[1].n),
            people=complete,
            events=of_value,
            control=figures[0],
            treated=figures[1],
            effect=effect,
            lift=lift,
            floor=fewer
            or floor_missed(metric.source, *of_value, days, (int(free[0][i]), int(free[1][i])) if share else None),
            estimator=inside_name(plain_name(metric, crowd), crowd, "", "skew" * skew),
            asked=complete if whole.asked is not None else None,
        )
    return found


def _count(dimension: Dimension, crowd: Crowd, who: BoolArray, n_cells: int) -> tuple[IntArray, IntArray]:
    """People of each segment in (control, treated)."""
    n = crowd.n_control
    return (
        np.bincount(dimension.cell[:n][who[:n]], minlength=n_cells).astype(np.int64),
        np.bincount(dimension.cell[n:][who[n:]], minlength=n_cells).astype(np.int64),
    )


def segment_fact(segment: Segment) -> AnyFact:
    """Why the row says what it says."""
    if segment.result.floor is not None:
        return segment.result.floor
    if segment.differ is None or not segment.gated:
        return facts.OnlyLooking(segment.dimension, segment.differ)
    if segment.decision is None:
        return facts.NoInterval()
    holds = segment.decision.low <= 0 <= segment.decision.high
    less = segment.result.metric.lower_is_better
    direction: facts.Direction = "unclear" if holds else "better" if (segment.decision.low > 0) != less else "worse"
    return facts.Differ(direction, segment.dimension, segment.differ)
