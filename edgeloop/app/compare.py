"""``edgeloop.compare(frame, …)``: the product's own estimators on a frame, with columns named as in ``estimates``.

What it cannot see is the analyst's to mind: that arms were assigned at random, that a unit's row is its entry, and that
every unit's window is over (docs/meaning.md, "Estimand").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from analysis import lift, moments
from analysis.estimators import cuped, inside, skewed
from edgeloop.app.compared import Compared, Kind, told
from edgeloop.errors import UsageError

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


def compare(
    frame: pd.DataFrame,
    *,
    value: str,
    control: object,
    treated: object,
    arm: str = "arm",
    unit: str | None = None,
    denominator: str | None = None,
    covariate: str | None = None,
    kind: Kind = "mean",
    alpha: float = 0.05,
    planned_units: int | None = None,
    skew: bool = False,
    cluster: str | None = None,
    strata: str | Sequence[str] | None = None,
) -> Compared:
    """What one arm has over another, by Welch's test on the difference, with the lift by the log of the ratio.

    With ``cluster`` the test is CR2's with Satterthwaite degrees of freedom, with ``strata`` it is of the strata's own
    differences by their size (docs/meaning.md, "Clusters and strata"); ``estimator`` then says so.

    Args:
        frame: a row per unit, or several; rows of other arms are left alone.
        value: column of numbers; nobody's outcome is 0, not absent.
        control: the arm compared with.
        treated: the arm of the new version.
        arm: column of the arms.
        unit: column that names the unit which was assigned; its rows are added up. None: each row is a unit.
        denominator: column of a ratio's lower part: Σ value / Σ denominator over units, by the delta method.
        covariate: column of what is known of a unit from before (CUPED); absent: the unit has no history.
        kind: ``proportion`` where every unit is 0 or 1, ``nps`` where it is 100, 0 or −100.
        alpha: the intervals are at level 1 − alpha.
        planned_units: of both arms; with it the always-valid interval is there too.
        skew: of means between arms of unequal size, intervals and p corrected for skew as the estimates' sums are
            (docs/meaning.md, "Effects"); ``estimator`` then ends in ``+skew``.
        cluster: column of the groups that hang together, of which units were drawn; a group may have both arms.
        strata: column, or columns, within whose values the draw was made. Strata that one arm lacks are left out.

    Raises:
        UsageError: a column or an arm is not there, a value is absent, or a unit is in both arms.
    """
    fields = [strata] if isinstance(strata, str) else list(strata or ())
    if kind != "mean" and denominator is not None:
        raise UsageError("a ratio has no kind: leave kind or denominator away")
    if skew and (kind != "mean" or denominator is not None):
        raise UsageError("the correction for skew is of means: leave skew, or kind and denominator, away")
    if control == treated:
        raise UsageError(f"control and treated are the same arm: {control!r}")
    if not 0 < alpha < 1:
        raise UsageError(f"alpha is between 0 and 1, not {alpha}")
    if skew and cluster is not None:
        raise UsageError("between clusters there is no correction for skew: leave skew or cluster away")
    asked = [name for name in (arm, value, unit, denominator, covariate, cluster, *fields) if name is not None]
    for name in asked:
        if name not in frame.columns:
            raise UsageError(f"the frame has no column {name!r}; it has {', '.join(map(str, frame.columns))}")
    arms = [_units(frame, arm, label, unit, value, denominator, covariate, kind) for label in (control, treated)]
    if unit is not None:
        _refuse_crossovers(frame, arm, control, treated, unit)
    if cluster is not None or fields:
        where = _nested(frame, arm, (control, treated), unit, cluster, fields)
        return _inside(arms, where, kind, alpha, planned_units, skew=skew)
    samples, estimator = _samples(arms, kind)
    gamma = _skewness(arms, estimator) if skew else 0.0
    effect = skewed.compare(*samples, gamma)
    ratio = skewed.log_ratio(*samples, gamma, alpha=alpha) if kind != "nps" else None
    return told(estimator, (samples[0].n, samples[1].n), effect, ratio, alpha, planned_units)


def _nested(
    frame: pd.DataFrame,
    arm: str,
    labels: tuple[object, object],
    unit: str | None,
    cluster: str | None,
    strata: Sequence[str],
) -> inside.Nesting:
    """The arm, the cluster and the stratum of each unit, control first, in the order of `_units`."""
    parts = [frame[(frame[arm] == label).fillna(False).to_numpy(dtype=bool)] for label in labels]
    kept = [part if unit is None else _one_place(part, unit, [*filter(None, [cluster]), *strata]) for part in parts]
    rows = pd.concat(kept)
    for name in (*filter(None, [cluster]), *strata):
        missing = int(rows[name].isna().sum())
        if missing:
            raise UsageError(f"{missing} units have no {name}: leave them out (`.dropna(subset=['{name}'])`)")
    arms = np.repeat([0, 1], [len(part) for part in kept]).astype(np.int64)
    return inside.Nesting(arms, _numbered(rows, [cluster] if cluster is not None else []), _numbered(rows, strata))


def _numbered(rows: pd.DataFrame, names: Sequence[str]) -> IntArray | None:
    if not names:
        return None
    return np.asarray(rows.groupby(list(names), sort=True, observed=True).ngroup(), dtype=np.int64)


def _one_place(rows: pd.DataFrame, unit: str, names: Sequence[str]) -> pd.DataFrame:
    """A row per unit, in order of first appearance, with the cluster and the strata that all of its rows have."""
    for name in names:
        if (rows.groupby(unit, sort=False)[name].nunique(dropna=False) > 1).any():
            raise UsageError(f"{name} differs between rows of one {unit}: keep that of each one's first row")
    return rows.drop_duplicates(unit)


def _inside(
    arms: list[_Units], where: inside.Nesting, kind: Kind, alpha: float, planned_units: int | None, *, skew: bool
) -> Compared:
    y = np.concatenate([part.y for part in arms])
    ratio = arms[0].d is not None
    d = np.concatenate([np.ones_like(part.y) if part.d is None else part.d for part in arms])
    kept = where.told(d)
    if not kept.any():
        raise UsageError("no stratum has two units of both arms: there is nothing to compare")
    if not kept.all():
        y, d, where = y[kept], d[kept], where.of(kept)
    estimator = "ratio" if ratio else "difference_in_means"
    if arms[0].x is not None:
        x = np.concatenate([_known(part) for part in arms])[kept]
        if ratio:
            raise UsageError("inside clusters or strata a ratio has no covariate: leave covariate or denominator away")
        left = inside.less_known(y, d, x, where)
        if left is not None:
            y, estimator = left, "cuped"
    found = inside.compare(y, d, where, skew=skew, lift=kind != "nps", alpha=alpha)
    if found is None:
        raise UsageError("an arm has no units: there is nothing to compare")
    for name, codes in (("cluster", where.cluster), ("strata", where.stratum)):
        if codes is not None:
            estimator += f"+{name}"
    n = int(np.count_nonzero(where.treated == 0)), int(np.count_nonzero(where.treated == 1))
    counts = [None if codes is None else len(np.unique(codes)) for codes in (where.cluster, where.stratum)]
    return told(estimator, n, found.effect, found.lift, alpha, planned_units, *counts)


@dataclass(frozen=True, slots=True, eq=False)
class _Units:
    """One arm: arrays with an element per unit. ``x`` is NaN for a unit without history."""

    y: FloatArray
    d: FloatArray | None
    x: FloatArray | None


def _units(
    frame: pd.DataFrame,
    arm: str,
    label: object,
    unit: str | None,
    value: str,
    denominator: str | None,
    covariate: str | None,
    kind: str,
) -> _Units:
    rows = frame[(frame[arm] == label).fillna(False).to_numpy(dtype=bool)]
    if len(rows) == 0:
        there = ", ".join(sorted(map(repr, frame[arm].dropna().unique()))[:8])
        raise UsageError(f"no row has {arm} = {label!r}; there are {there}")
    y = _numbers(rows, value)
    if denominator is not None and not _numbers(rows, denominator).sum() > 0:
        raise UsageError(f"the {denominator} of {arm} {label!r} add up to 0: there is no ratio")
    d = None if denominator is None else _numbers(rows, denominator)
    x = None if covariate is None else _numbers(rows, covariate, absent=True)
    if unit is not None:
        if rows[unit].isna().any():
            raise UsageError(f"{int(rows[unit].isna().sum())} rows of {arm} {label!r} have no {unit}: leave them out")
        codes, units = pd.factorize(rows[unit])
        n = len(units)
        if x is not None:
            x = _one_each(x, codes, n, covariate)
        y = _sums(y, codes, n)
        d = None if d is None else _sums(d, codes, n)
    if kind != "mean":
        allowed = (0.0, 1.0) if kind == "proportion" else (100.0, 0.0, -100.0)
        if not np.isin(y, allowed).all():
            raise UsageError(
                f"a unit's {value} of a {kind} is one of {', '.join(f'{a:g}' for a in allowed)}; here one is "
                f"{y[~np.isin(y, allowed)][0]:g}"
            )
    return _Units(y, d, x)


def _samples(arms: list[_Units], kind: str) -> tuple[tuple[lift.Sample, lift.Sample], str]:
    """(control, treated) and the estimator's name."""
    if min(len(part.y) for part in arms) < 2:
        raise UsageError("an arm has fewer than two units: there is nothing to compare")
    parts = [_moments(part) for part in arms]
    makers = {"mean": lift.mean_sample, "proportion": lift.proportion_sample, "nps": lift.nps_sample}
    make = makers[kind] if arms[0].d is None else lift.ratio_sample
    plain = make(parts[0]), make(parts[1])
    if arms[0].x is not None and np.nanmax(np.abs(np.concatenate([_known(part) for part in arms])), initial=0.0) > 0:
        found = [cuped.CovariateMoments.of(_columns(part)) for part in arms]
        adjust = cuped.adjusted_means if arms[0].d is None else cuped.adjusted_ratios
        adjusted = adjust(found[0], found[1])
        if cuped.explains(adjusted, plain):
            return adjusted, "cuped"
    return plain, "difference_in_means" if arms[0].d is None else "ratio"


def _skewness(arms: list[_Units], estimator: str) -> float:
    """Of the units around their arm's mean; of an adjusted one, less what the covariate explains."""
    if estimator != "cuped":
        return skewed.skewness(_moments(arms[0]), _moments(arms[1]))
    columns = [_columns(part) for part in arms]
    of = [cuped.CovariateMoments.of(c) for c in columns]
    left = [_moments(_Units(cuped.residuals(c, of[0], of[1]), None, None)) for c in columns]
    return skewed.skewness(left[0], left[1])


def _moments(part: _Units) -> moments.Moments:
    d = np.ones_like(part.y) if part.d is None else part.d
    return moments.cells(part.y, d, np.zeros(len(part.y), dtype=np.int64), 1)[0]


def _known(part: _Units) -> FloatArray:
    return part.y if part.x is None else part.x


def _columns(part: _Units) -> FloatArray:
    """As `cuped` takes them: y, then d of a ratio, the covariate, and what tells (or counts) the units with history."""
    x = _known(part)
    known = (~np.isnan(x)).astype(np.float64)
    filled = np.where(np.isnan(x), 0.0, x)
    if part.d is None:
        return np.stack([part.y, filled, known], axis=1)
    return np.stack([part.y, part.d, filled, np.ones_like(filled)], axis=1)


def _numbers(rows: pd.DataFrame, name: str, *, absent: bool = False) -> FloatArray:
    try:
        found: FloatArray = pd.to_numeric(rows[name]).to_numpy(dtype=np.float64, na_value=np.nan)
    except (TypeError, ValueError) as error:
        raise UsageError(f"column {name!r} does not hold numbers") from error
    missing = int(np.isnan(found).sum())
    if missing and not absent:
        raise UsageError(
            f"{missing} rows have no {name}: write 0 where nothing happened (`.fillna(0)`), or leave out who was not "
            "asked (`.dropna(…)`)"
        )
    if np.isinf(found).any():
        raise UsageError(f"column {name!r} holds infinity")
    return found


def _sums(values: FloatArray, codes: npt.NDArray[np.intp], n: int) -> FloatArray:
    return np.asarray(np.bincount(codes, weights=values, minlength=n), dtype=np.float64)


def _one_each(x: FloatArray, codes: npt.NDArray[np.intp], n: int, name: str | None) -> FloatArray:
    """A unit's covariate, the same on each of its rows."""
    series = pd.Series(x).groupby(codes)
    if (series.nunique(dropna=False) > 1).any():
        raise UsageError(f"{name} differs between rows of one unit: a covariate is one figure a unit, from before")
    return np.asarray(series.first().reindex(range(n)), dtype=np.float64)


def _refuse_crossovers(frame: pd.DataFrame, arm: str, control: object, treated: object, unit: str) -> None:
    arms = [set(frame.loc[(frame[arm] == label).fillna(False), unit].dropna()) for label in (control, treated)]
    both = len(arms[0] & arms[1])
    if both:
        raise UsageError(
            f"{both} units are in both arms: keep the arm of each one's first row "
            f"(`frame.sort_values('occurred_at').drop_duplicates('{unit}')` gives it)"
        )
