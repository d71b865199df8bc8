"""Does the effect last? The effect in each week, and whether it has a slope (docs/meaning.md, "Novelty").

Two questions, and neither may be answered with weeks in which the event could no longer come. Does it do less for those
who enter later? Each week's entries have the whole chance of the event, so that an effect that lasts has no slope
whenever its event comes. And does it do less to those who come again? That is told of people exposed again, where as
many of both arms come and the event comes again too.

A slope has to show in the difference and in the ratio of the arms: customers who come often enter first, and one of the
two changes with them although the version does what it did.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from analysis.checks import Finding
from analysis.effects import StageData
from analysis.entry import Cohort
from analysis.frames import BoolArray, Exposures, Frames
from analysis.lift import t_tail, welch_df
from analysis.metrics import Metric
from analysis.moments import FloatArray, IntArray
from analysis.values import Crowd, RepeatedMatcher, outcome_values
from analysis.verdict import ALPHA
from edgeloop.clock import DAY_US

WEEK_US = 7 * DAY_US
LEAST_WEEKS = 3  # of two, one odd week is a slope
LEAST_OF_WEEK = 50  # people with complete windows in each arm, for a week to count
LEAST_EVENTS = 20  # people with the event in a week, both arms together


def novelty_checks(frames: Frames, data: StageData, metrics: Sequence[Metric]) -> list[Finding]:
    """Whether each goal's effect changes from week to week: a warning at α over the goals tested.

    ``value`` is the slope: how much the effect changes a week, in the metric's own unit.
    """
    wanted = [m for m in metrics if _can_be_told(m)]
    met = Met.of(frames.exposures, data) if wanted else None
    if met is None:
        return []
    slopes = {m.name: slope for m in wanted if (slope := weekly_slope(frames, met, m)) is not None}
    return [
        Finding(
            f"novelty:{name}",
            data.cohort.stage.number,
            "warn" if slope.p * len(slopes) <= ALPHA else "ok",
            slope.slope,
            slope.p,
        )
        for name, slope in slopes.items()
    ]


@dataclass(frozen=True, slots=True)
class Slope:
    """How much an effect changes a week, in the metric's own unit, and the p of no change."""

    slope: float
    p: float


@dataclass(frozen=True, slots=True, eq=False)
class Met:
    """Who met the model in which week of a stage: one element per person and week, in the order of the exposures.

    ``position`` is the person's in the stage's crowd; ``week`` is counted from the stage's start, ``age`` from the week
    of the person's entry.
    """

    crowd: Crowd
    matcher: RepeatedMatcher
    position: IntArray
    week: IntArray
    age: IntArray
    alike: bool
    """As many of both arms came again: otherwise those who did are other people in one arm than in the other."""

    @classmethod
    def of(cls, x: Exposures, data: StageData) -> Met | None:
        """None where the stage has not lasted for so many weeks."""
        crowd, cohort = data.customers.crowd, data.cohort
        if len(crowd) == 0 or cohort.until_us - cohort.stage.start_us < (LEAST_WEEKS - 1) * WEEK_US:
            return None
        row, position, week = _first_of_week(x, cohort, data)
        entered = np.full(len(crowd), np.iinfo(np.int64).max)
        np.minimum.at(entered, position, week)
        age, n = week - entered[position], len(row)
        seen = Crowd(
            person=crowd.person[position], at=x.at[row], row=row, unit=np.arange(n), treated=np.zeros(n, dtype=bool),
            unit_day=np.zeros(n, dtype=np.int64), closes_us=crowd.closes_us, clustered=False, n_control=n,
        )  # fmt: skip
        matcher = RepeatedMatcher(seen, len(x.subject.labels))
        return cls(crowd, matcher, position, week, age, _come_again_alike(crowd, position[age > 0]))


def weekly_slope(frames: Frames, met: Met, metric: Metric) -> Slope | None:
    """The slope of the effect over the weeks of entry, or over those since it; None where neither can be told.

    Where both can, that with the smaller p, which counts twice.
    """
    values = outcome_values(frames, met.matcher, metric)
    kept = values.counted
    position, age = met.position[kept], met.age[kept]
    y, did = values.y[kept], values.did[kept]
    entries = age == 0
    weight = _balance(met.crowd)
    found = [_slope(met.crowd, weight, position[entries], met.week[kept][entries], y[entries], did[entries])]
    if met.alike and _comes_again(len(met.crowd), position, age, did):
        found.append(_slope(met.crowd, weight, position, age, y, did))
    told = [slope for slope in found if slope is not None]
    if not told:
        return None
    least = min(told, key=lambda slope: slope.p)
    return Slope(least.slope, min(1.0, least.p * len(told)))


def _slope(
    crowd: Crowd, weight: FloatArray, position: IntArray, week: IntArray, y: FloatArray, did: BoolArray
) -> Slope | None:
    """Least squares over the weeks' differences, each week weighted by n·n/(n + n), and over the logarithms of their
    ratios with the same weights.

    Standard errors are those of sums over units, who may be there in several weeks. The p is the larger one, and 1
    where the two slopes have different signs.

    Args:
        weight: of each person, see `_balance`, shape (people,).
        position: whose observation it is, shape (observations,).
        week: in which week.
        y: its value.
        did: whether the event came.
    """
    new = (position >= crowd.n_control).astype(np.int64)
    n_weeks = int(week.max(initial=-1)) + 1
    cell = new * n_weeks + week
    n = np.bincount(cell, minlength=2 * n_weeks).reshape(2, n_weeks)
    events = np.bincount(week[did], minlength=n_weeks)
    told = (n.min(axis=0) >= LEAST_OF_WEEK) & (events >= LEAST_EVENTS)
    if np.count_nonzero(told) < LEAST_WEEKS:
        return None
    v = weight[position]
    sums = np.bincount(cell, weights=v * y, minlength=2 * n_weeks).reshape(2, n_weeks)
    people = np.bincount(cell, weights=v, minlength=2 * n_weeks).reshape(2, n_weeks)
    mean = np.divide(sums, people, out=np.zeros_like(sums), where=people > 0)
    if (mean[:, told] <= 0).any():
        return None
    share = _coefficients(told, n)
    inside = told[week]
    cell, position, new, v = cell[inside], position[inside], new[inside], v[inside]
    apart = v * (y[inside] - mean.ravel()[cell]) / people.ravel()[cell] * np.tile(share, 2)[cell]
    units = _units(crowd)[position]
    plain = _tested(float(share[told] @ (mean[1] - mean[0])[told]), apart, units, new)
    logs = np.log(mean[1, told] / mean[0, told])
    ratio = _tested(float(share[told] @ logs), apart / mean.ravel()[cell], units, new)
    if plain is None or ratio is None:
        return None
    same_way = plain.slope * ratio.slope > 0
    return Slope(plain.slope, max(plain.p, ratio.p) if same_way else 1.0)


def _can_be_told(metric: Metric) -> bool:
    goal = metric.role == "goal" and metric.source in ("share", "sum")
    return goal and metric.respondent == "customer" and not metric.per


def _first_of_week(x: Exposures, cohort: Cohort, data: StageData) -> tuple[IntArray, IntArray, IntArray]:
    """(row, position in the crowd, week) of each person's first exposure of a week."""
    rows, position = data.customers.exposures(x, cohort)
    week = (x.at[rows] - cohort.stage.start_us) // WEEK_US
    key = position * (int(week.max(initial=0)) + 1) + week
    _, first = np.unique(key, return_index=True)
    first = np.sort(first)
    return rows[first], position[first], week[first]


def _come_again_alike(crowd: Crowd, position: IntArray) -> bool:
    """Whether as many of both arms came in a later week than that of their entry: p > 0.05."""
    came = np.zeros(len(crowd), dtype=bool)
    came[position] = True
    n = crowd.n_control, len(crowd) - crowd.n_control
    k = int(came[: n[0]].sum()), int(came[n[0] :].sum())
    pooled = sum(k) / sum(n)
    se = math.sqrt(pooled * (1 - pooled) * (1 / n[0] + 1 / n[1])) if min(n) else 0.0
    return se == 0 or 2 * float(stats.norm.sf(abs(k[1] / n[1] - k[0] / n[0]) / se)) > ALPHA


def _comes_again(n_people: int, position: IntArray, age: IntArray, did: BoolArray) -> bool:
    """Whether those with the event have it again no less than the others have it at all: one-sided p > 0.05.

    What comes once only cannot come in later weeks of whoever the version made do it first.
    """
    first = np.full(n_people, np.iinfo(np.int64).max)
    np.minimum.at(first, position[did], age[did])
    later = age > 0
    had = age[later] > first[position[later]]
    n = int(np.count_nonzero(had)), int(np.count_nonzero(~had))
    if min(n) == 0:
        return False
    k = int(np.count_nonzero(did[later] & had)), int(np.count_nonzero(did[later] & ~had))
    pooled = sum(k) / sum(n)
    se = math.sqrt(pooled * (1 - pooled) * (1 / n[0] + 1 / n[1]))
    return se > 0 and float(stats.norm.cdf((k[0] / n[0] - k[1] / n[1]) / se)) > ALPHA


def _coefficients(told: BoolArray, n: IntArray) -> FloatArray:
    """What each week's effect counts for in the slope; 0 for weeks that are not told."""
    weight = np.where(told, n[0] * n[1] / np.maximum(n.sum(axis=0), 1), 0.0)
    centred = np.arange(len(told)) - float(weight @ np.arange(len(told)) / weight.sum())
    share: FloatArray = weight * centred / float(weight @ centred**2)
    return share


def _balance(crowd: Crowd) -> FloatArray:
    """What each person counts for: 1, or where strata have unequal shares what makes both arms alike in them."""
    stratum = crowd.inside.stratum
    if stratum is None:
        return np.ones(len(crowd))
    new = crowd.person_treated.astype(np.int64)
    n_strata = int(stratum.max(initial=0)) + 1
    n = np.bincount(new * n_strata + stratum, minlength=2 * n_strata).reshape(2, n_strata)
    drawn = n.sum(axis=0)[stratum] / n[new, stratum]
    weight: FloatArray = drawn * n.sum(axis=1)[new] / len(crowd)
    return weight


def _units(crowd: Crowd) -> IntArray:
    """What hangs together, per person: the person, the unit, or the cluster that units were drawn inside of."""
    if crowd.inside.cluster is not None:
        return crowd.inside.cluster
    return crowd.unit


def _tested(slope: float, apart: FloatArray, unit: IntArray, new: IntArray) -> Slope | None:
    """A sum of what each observation adds to it, tested by the spread of the units' sums (Welch)."""
    arms = []
    for arm in (0, 1):
        of = new == arm
        n_units = len(np.unique(unit[of]))
        if n_units < 2:
            return None
        sums = np.bincount(unit[of], weights=apart[of])
        arms.append((float(sums @ sums) * n_units / (n_units - 1), n_units))
    (a, n_a), (b, n_b) = arms
    if a + b == 0:
        return None
    return Slope(slope, 2 * t_tail(abs(slope) / math.sqrt(a + b), welch_df(a, n_a, b, n_b)))
