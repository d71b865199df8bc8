"""How sure is a difference where people hang together in clusters? CR2 with Satterthwaite degrees of freedom.

The figures are those of a regression on one indicator per stratum and arm, so the leverage of a cluster in such a cell
is its share h of the cell's denominators, and CR2 (Bell & McCaffrey 2002, "Bias reduction in standard errors for
linear regression with multi-stage samples", Survey Methodology 28; Pustejovsky & Tipton 2018, "Small-sample methods for
cluster-robust variance estimation and hypothesis testing in fixed effects models", JBES 36) has a closed form:

    V = Σ_g (Σ_j c_j·k_gj·(y_gj − ȳ_j·d_gj)/D_j)²,   h_gj = d_gj/D_j,   k_gj = 1/√(1 − h_gj)

with clusters g, cells j and the contrast c (±w_s, the stratum's share of the denominators; ±1 without strata). The
working model is independent values y/d with a variance in proportion to 1/d, whitened by √d; for a mean the identity.
Degrees of freedom are 2·E[V]²/Var[V] under it. So sums of y and d per cluster and cell are all that is needed.

A stratum one of whose cells lies in a single cluster tells nothing of how clusters differ inside it: there k is endless
and the residual 0. It is set against the other strata instead, w_s·(Δ_s − Δ)/√(1 − w_s), as surveys do with a lonely
primary unit. Where every stratum is such, as where each cluster is one, V is the variance between them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from analysis import lift
from analysis.lift import Comparison, Effect, Lift
from analysis.moments import FloatArray, IntArray

_ALONE = 1 - 1e-12  # a share of its cell from which a cluster is all of it, but for rounding
# As in analysis.lift: a variance smaller than this share of its own terms is their rounding.
_ROUNDING = 1e-12


@dataclass(frozen=True, slots=True, eq=False)
class ClusterSums:
    """Σy and Σd of each cluster, stratum and arm that occur together: arrays with an element for each.

    ``cluster`` and ``stratum`` are numbers ≥ 0, ``treated`` is 1 or 0. ``pull`` is what each adds to the score of its
    cell beside y − ȳ·d, where something was estimated on the way (the weights of answers).
    """

    cluster: IntArray
    stratum: IntArray
    treated: IntArray
    y: FloatArray
    d: FloatArray
    pull: FloatArray | None = None

    @classmethod
    def of(
        cls,
        y: FloatArray,
        d: FloatArray,
        treated: IntArray,
        cluster: IntArray,
        stratum: IntArray | None = None,
        pull: FloatArray | None = None,
    ) -> ClusterSums:
        """From units, one element each, shape (units,)."""
        of_stratum = np.zeros(len(y), dtype=np.int64) if stratum is None else stratum
        n_cells = 2 * (int(of_stratum.max(initial=0)) + 1)
        key = cluster * n_cells + 2 * of_stratum + treated
        kept, place = np.unique(key, return_inverse=True)

        def sums(of: FloatArray) -> FloatArray:
            return np.bincount(place, weights=of, minlength=len(kept)).astype(np.float64)

        cell = kept % n_cells
        return cls(kept // n_cells, cell // 2, cell % 2, sums(y), sums(d), None if pull is None else sums(pull))


@dataclass(frozen=True, slots=True)
class Spread:
    """Variance of a contrast and its degrees of freedom; df None: nothing varies."""

    var: float
    df: float | None


@dataclass(frozen=True, slots=True)
class ClusteredEffect(Effect):
    """An effect whose standard error is that between clusters: few, perhaps, however many units there are."""


def df_between(effect: Comparison) -> float | None:
    """The degrees of freedom of an effect between clusters; None of others."""
    return effect.df if isinstance(effect, ClusteredEffect) else None


def compare(sums: ClusterSums) -> ClusteredEffect:
    """Σ_s w_s·(Ȳ_st − Ȳ_sc), treated − control; ``se`` is None where an arm lies in one cluster."""
    control, treated = figures(sums)
    effect = treated - control
    found = spread(sums)
    if found is None:
        return ClusteredEffect(control, treated, effect)
    return ClusteredEffect(control, treated, effect, math.sqrt(found.var), found.df)


def log_ratio(sums: ClusterSums, *, alpha: float = 0.05) -> Lift | None:
    """The ratio of the arms' figures with the interval of its logarithm; None as in `analysis.lift.log_ratio`."""
    control, treated = figures(sums)
    if control <= 0 or treated <= 0:
        return None
    found = spread(sums, (1 / control, 1 / treated))
    if found is None or found.df is None:
        return None
    half = lift.t_quantile(alpha / 2, found.df) * math.sqrt(found.var)
    log = math.log(treated / control)
    return Lift(treated / control - 1, lift.exp_less_one(log - half), lift.exp_less_one(log + half))


def figures(sums: ClusterSums) -> tuple[float, float]:
    """The arms' figures (control, treated), each Σ_s w_s·Ȳ_s over the strata that both have."""
    cells = _Cells.of(sums)
    return float(cells.weight @ cells.mean[0::2]), float(cells.weight @ cells.mean[1::2])


def spread(sums: ClusterSums, scale: tuple[float, float] = (1.0, 1.0)) -> Spread | None:
    """The CR2 variance of scale_t·(treated figure) − scale_c·(control figure); None where it cannot be told.

    Args:
        scale: of (control, treated): 1 each for the difference, 1/figure for the logarithm of the ratio, 0 for an arm
            that is to be left out.
    """
    cells = _Cells.of(sums)
    w, mean, total = cells.weight, cells.mean, cells.total
    sign = np.tile([-scale[0], scale[1]], len(w))
    c = np.repeat(w, 2) * sign
    h = cells.d / total[cells.cell]
    alone = np.zeros(len(total), dtype=bool)
    alone[cells.cell[h >= _ALONE]] = True
    if scale[0] == 0:
        alone[0::2] = False
    if scale[1] == 0:
        alone[1::2] = False
    lonely = alone[0::2] | alone[1::2]
    if cells.n_clusters < 2 or (w[lonely] >= _ALONE).any():
        return None
    score, raw, own, across = _regular(cells, c, h, lonely)
    a = b = np.zeros(cells.n_clusters)
    v_s = (c * c / total).reshape(-1, 2).sum(axis=1)
    v = float(v_s.sum())
    if lonely.any():
        k = 1 / np.sqrt(1 - w[lonely])
        place = cells.home[lonely]
        each = (c * mean).reshape(-1, 2).sum(axis=1)
        against = k * (each[lonely] - w[lonely] * each.sum())

        def per_cluster(of: FloatArray) -> FloatArray:
            return np.bincount(place, weights=of, minlength=cells.n_clusters).astype(np.float64)

        score = score + per_cluster(against)
        raw += float((k * k * each[lonely] ** 2).sum())
        own = own + per_cluster(k * k * v_s[lonely])
        a, b = per_cluster(k * v_s[lonely]), per_cluster(k * w[lonely])
    var = float(score @ score)
    if var <= _ROUNDING * raw:
        return Spread(0.0, None)
    return Spread(var, _satterthwaite(own, across, a, b, v))


@dataclass(frozen=True, slots=True, eq=False)
class _Cells:
    """Sums with strata renumbered to those that both arms have: cell 2s is the control of stratum s, 2s + 1 the new."""

    cluster: IntArray
    cell: IntArray
    y: FloatArray
    d: FloatArray
    pull: FloatArray
    n_clusters: int
    weight: FloatArray
    """Each stratum's share of the denominators."""
    total: FloatArray
    mean: FloatArray
    home: IntArray
    """A cluster of each stratum: of a lonely one, that in which it is alone."""

    @classmethod
    def of(cls, sums: ClusterSums) -> _Cells:
        strata = int(sums.stratum.max(initial=-1)) + 1
        per_arm = np.bincount(2 * sums.stratum + sums.treated, weights=sums.d, minlength=2 * strata).reshape(-1, 2)
        both = np.asarray(per_arm.min(axis=1) > 0)
        number = np.where(both, np.cumsum(both) - 1, -1)
        kept = both[sums.stratum]
        if not kept.any():
            raise ValueError("no stratum has both arms")
        cell = np.asarray(2 * number[sums.stratum[kept]] + sums.treated[kept], dtype=np.int64)
        cluster = np.unique(sums.cluster[kept], return_inverse=True)[1].astype(np.int64)
        y, d = sums.y[kept], sums.d[kept]
        total = np.asarray(per_arm[both].ravel(), dtype=np.float64)
        home = np.zeros(int(both.sum()), dtype=np.int64)
        largest = np.argsort(d / total[cell], kind="stable")
        home[cell[largest] // 2] = cluster[largest]
        return cls(
            cluster=cluster,
            cell=cell,
            y=y,
            d=d,
            pull=np.zeros(len(y)) if sums.pull is None else sums.pull[kept],
            n_clusters=int(cluster.max(initial=-1)) + 1,
            weight=np.asarray((total[0::2] + total[1::2]) / total.sum(), dtype=np.float64),
            total=total,
            mean=np.asarray(np.bincount(cell, weights=y, minlength=len(total)) / total, dtype=np.float64),
            home=home,
        )


def _regular(
    cells: _Cells, c: FloatArray, h: FloatArray, lonely: np.ndarray
) -> tuple[FloatArray, float, FloatArray, sparse.csr_array]:
    """Of the strata whose clusters can be told apart: each cluster's score, the sum of what it is a difference of,
    and the working model's variance of the scores, diag(own) − across·across'."""
    told = ~lonely[cells.cell // 2] & (c[cells.cell] != 0)  # an arm left out may lie in one cluster
    cell, h = cells.cell[told], h[told]
    k = 1 / np.sqrt(1 - h)
    part = c[cell] * k / cells.total[cell]
    terms = part * (cells.y[told] - cells.mean[cell] * cells.d[told] + cells.pull[told])
    raw = float((part**2 * (cells.y[told] ** 2 + (cells.mean[cell] * cells.d[told]) ** 2)).sum())
    n = cells.n_clusters
    score = np.bincount(cells.cluster[told], weights=terms, minlength=n).astype(np.float64)
    own = np.bincount(cells.cluster[told], weights=(c[cell] * k) ** 2 * h / cells.total[cell], minlength=n)
    across = sparse.csr_array(
        (c[cell] * k * h / np.sqrt(cells.total[cell]), (cells.cluster[told], cell)), shape=(n, len(c))
    )
    return score, raw, own.astype(np.float64), across


def _satterthwaite(own: FloatArray, across: sparse.csr_array, a: FloatArray, b: FloatArray, v: float) -> float:
    """(Σ_g P_gg)²/Σ_gh P_gh² with P = diag(own) − across·across' − ab' − ba' + v·bb', the scores' variance."""
    squares = np.asarray(across.multiply(across).sum(axis=1)).ravel()
    rest = -squares - 2 * a * b + v * b * b
    inner = across.T @ across
    ends = np.stack([a, b], axis=1)
    middle = np.array([[0.0, -1.0], [-1.0, v]])
    mixed = across.T @ ends
    corner = middle @ (ends.T @ ends)
    all_squares = (
        float(own @ own)
        + 2 * float(own @ rest)
        + float(inner.multiply(inner).sum())
        - 2 * float(np.trace(mixed @ middle @ mixed.T))
        + float(np.trace(corner @ corner))
    )
    return float((own + rest).sum()) ** 2 / all_squares
