"""What is the effect where units were drawn inside clusters or strata? One comparison for every kind of metric.

The arithmetic is `analysis.estimators.inside`; docs/meaning.md, "Clusters and strata".
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from analysis.estimators import clustered, inside
from analysis.estimators.clustered import ClusteredEffect, ClusterSums
from analysis.estimators.inside import Nested, Nesting
from analysis.frames import BoolArray
from analysis.lift import Lift, exp_less_one, t_quantile
from analysis.metrics import Metric
from analysis.moments import FloatArray, IntArray
from analysis.values import Crowd, Values, only
from edgeloop.store import facts
from edgeloop.store.facts import AnyFact

LEAST_CLUSTERS = 2  # in each arm; with one nothing tells how they differ


def told_by_both(crowd: Crowd, values: Values) -> Values:
    """The same with the strata left out that an arm has nobody of who counts (with clusters: nothing below the line).

    Without clusters two units of each arm are needed.
    """
    if crowd.inside.stratum is None:
        return values
    who = np.flatnonzero(values.counted)
    kept = np.zeros(len(values.counted), dtype=bool)
    kept[who] = _nesting(crowd, who).told(values.d[who])
    return only(replace(values, counted=kept, did=values.did & kept), kept)


def said(crowd: Crowd, values: Values) -> tuple[AnyFact, ...]:
    """Of what the figure of those who count is made."""
    of, found = crowd.inside, list[AnyFact]()
    if of.cluster is not None:
        found.append(facts.Clusters(of.cluster_of, *clusters(crowd, values)))
    if of.stratum is not None:
        kept = told_by_both(crowd, values).counted
        lost = int(np.count_nonzero(values.counted & ~kept))
        found.append(facts.Strata(of.strata_of, len(np.unique(of.stratum[kept])), lost))
    return tuple(found)


def few_clusters(crowd: Crowd, values: Values) -> AnyFact | None:
    """Why there is no interval, where an arm lies in one cluster."""
    if crowd.inside.cluster is None:
        return None
    n = clusters(crowd, values)
    return facts.FewClusters(crowd.inside.cluster_of, *n, LEAST_CLUSTERS) if min(n) < LEAST_CLUSTERS else None


def clusters(crowd: Crowd, values: Values) -> tuple[int, int]:
    """In how many clusters those who count are, in (control, new version)."""
    of = crowd.inside.cluster
    if of is None:
        return (0, 0)
    late = crowd.person_treated
    return len(np.unique(of[values.counted & ~late])), len(np.unique(of[values.counted & late]))


def compared(metric: Metric, crowd: Crowd, values: Values, who: BoolArray | None = None) -> Nested | None:
    """The effect of those who count; None where no stratum has both arms.

    Args:
        who: only these of them, shape (people,).
    """
    counted = values.counted if who is None else values.counted & who
    people = np.flatnonzero(counted)
    skew, lift = metric.source == "sum", metric.source != "answer"
    return inside.compare(values.y[people], values.d[people], _nesting(crowd, people), skew=skew, lift=lift)


def adjusted(crowd: Crowd, values: Values, before: tuple[FloatArray, BoolArray], least: int) -> Values | None:
    """Values less what was known before (CUPED), θ from inside the strata; None with too little to tell a slope.

    Args:
        before: the covariate per person, and who has a history.
        least: people with something before, and units in each arm.
    """
    x, history = before
    values = told_by_both(crowd, values)
    who = np.flatnonzero(values.counted & (values.d > 0))
    late = who >= crowd.n_control
    if np.count_nonzero(x[who][history[who]]) < least or min(int(late.sum()), int((~late).sum())) < least:
        return None
    known = np.where(history, x, np.nan)[who]
    left = inside.less_known(values.y[who], values.d[who], known, _nesting(crowd, who))
    if left is None:
        return None
    y = np.zeros(len(values.y))
    y[who] = left
    return replace(values, y=y)


@dataclass(frozen=True, slots=True)
class Quantiles:
    """A quantile of each arm's exposures, and what the guardrail asks: the share above that of the stable arm."""

    figures: Nested
    threshold: float
    weight: FloatArray
    """Per exposure, so that both arms have the strata in the same shares; they sum to 1 in each arm."""


def quantiles_inside(crowd: Crowd, value: FloatArray, position: IntArray, q: float) -> Quantiles | None:
    """The arms' quantiles, weighted for the strata; their densities are read as `analysis.estimators.quantiles` does.

    Args:
        value: one per exposure, none absent, shape (exposures,).
        position: whose each is in the crowd, shape (exposures,).
    """
    treated = (position >= crowd.n_control).astype(np.int64)
    of = crowd.inside
    stratum = np.zeros(len(value), dtype=np.int64) if of.stratum is None else of.stratum[position]
    cluster = crowd.unit[position] if of.cluster is None else of.cluster[position]
    n = int(stratum.max(initial=-1)) + 1
    counts = np.bincount(2 * stratum + treated, minlength=2 * n).reshape(-1, 2)
    both = counts.min(axis=1) > 0
    if not both.any():
        return None
    total = counts.sum(axis=1) * both
    share = total / total.sum()
    weight = (share[:, None] / np.maximum(counts, 1))[stratum, treated]
    above, scale, at = np.zeros(len(value)), [], []
    arms = [np.flatnonzero((treated == arm) & both[stratum]) for arm in (0, 1)]
    for arm in arms:
        at.append(_quantile(value[arm], weight[arm], q))
        above[arm] = value[arm] > at[-1]
    kept = np.concatenate(arms)
    sums = ClusterSums.of(above[kept], np.ones(len(kept)), treated[kept], cluster[kept], stratum[kept])
    for arm, alone in zip(arms, ((1.0, 0.0), (0.0, 1.0)), strict=True):
        found = clustered.spread(sums, alone)
        if found is None:
            return Quantiles(
                Nested(at[0], at[1], ClusteredEffect(at[0], at[1], at[1] - at[0]), None, None), at[0], weight
            )
        scale.append(_per_share(value[arm], weight[arm], q, math.sqrt(found.var)))
    return Quantiles(_of_quantiles(sums, at, scale), at[0], weight)


def _of_quantiles(sums: ClusterSums, at: list[float], scale: list[float]) -> Nested:
    found = clustered.spread(sums, (scale[0], scale[1]))
    own = clustered.spread(sums, (scale[0], 0.0))
    se = None if found is None else math.sqrt(found.var)
    effect = ClusteredEffect(at[0], at[1], at[1] - at[0], se, None if found is None else found.df)
    lift = None
    if min(at) > 0:
        log = clustered.spread(sums, (scale[0] / at[0], scale[1] / at[1]))
        if log is not None and log.df is not None:
            half, ratio = t_quantile(0.025, log.df) * math.sqrt(log.var), math.log(at[1] / at[0])
            lift = Lift(at[1] / at[0] - 1, exp_less_one(ratio - half), exp_less_one(ratio + half))
    return Nested(at[0], at[1], effect, lift, None if own is None else own.var)


def _quantile(value: FloatArray, weight: FloatArray, q: float) -> float:
    if weight.min() == weight.max():
        return float(np.quantile(value, q))
    return float(np.quantile(value, q, weights=weight, method="inverted_cdf"))


def _per_share(value: FloatArray, weight: FloatArray, q: float, se: float) -> float:
    """1/density at the quantile, from the values at the ends of the share's own 95 % interval; 0 where none is told."""
    z = float(stats.norm.isf(0.025))
    low, high = max(0.0, q - z * se), min(1.0, q + z * se)
    if high <= low:
        return 0.0
    order = np.argsort(value, kind="stable")
    reached = np.cumsum(weight[order])
    last = len(value) - 1
    ends = [value[order[min(int(np.searchsorted(reached, p * reached[-1])), last)]] for p in (low, high)]
    return float(ends[1] - ends[0]) / (high - low)


def _nesting(crowd: Crowd, who: IntArray) -> Nesting:
    treated = (who >= crowd.n_control).astype(np.int64)
    of = crowd.inside
    return Nesting(
        treated,
        None if of.cluster is None else of.cluster[who],
        None if of.stratum is None else of.stratum[who],
    )
