"""What do a stage's figures show? Each metric's effect between the two arms of a stage with concurrent arms."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np

from analysis.checks import full_days
from analysis.entry import Cohort
from analysis.estimators import cuped, quantiles, skewed
from analysis.estimators.bounded import Bounded
from analysis.frames import BoolArray, Frames
from analysis.guards import worst
from analysis.lift import (
    Comparison,
    Lift,
    Sample,
    compare,
    log_ratio,
    mean_sample,
    nps_sample,
    proportion_sample,
    ratio_sample,
)
from analysis.metrics import Metric
from analysis.moments import FloatArray, IntArray, Moments, cells
from analysis.nested import Quantiles, adjusted, compared, few_clusters, quantiles_inside, said, told_by_both
from analysis.values import (
    Crowd,
    Matcher,
    Values,
    answer_rows,
    before_sums,
    before_values,
    exposure_marks,
    exposure_values,
    outcome_values,
    outcomes_of,
)
from analysis.verdict import floor_missed
from edgeloop.store.facts import AnyFact, Few, OneUnit
from edgeloop.store.rows import Grade

PRACTICAL_SHARE, PRACTICAL_ANSWER, PRACTICAL_NPS = 0.02, 0.1, 3.0
CAP_DAYS = 28.0
LEAST_HISTORY = 50  # people with something before, and units in each arm; of fewer a slope is mostly noise


@dataclass(frozen=True, slots=True, eq=False)
class StageData:
    """A cohort with its people ready for sums: customers, and the couriers of the two arms."""

    cohort: Cohort
    customers: Matcher
    couriers: Matcher
    first_us: IntArray
    """Each customer's first exposure to the change in any stage, per person of the customers' crowd."""

    def matcher(self, metric: Metric) -> Matcher:
        """The crowd that answers for a metric."""
        return self.couriers if metric.respondent == "agent" else self.customers


@dataclass(frozen=True, slots=True, eq=False)
class UnitValues:
    """One metric per unit (one element each) of those that count; ``cell`` is a segment's code, 0 without segments."""

    y: FloatArray
    d: FloatArray
    treated: IntArray
    day: IntArray
    cell: IntArray
    unit: IntArray

    def moments(self, n_cells: int = 1) -> tuple[list[Moments], list[Moments]]:
        """Moments of (control, treated) per cell."""
        found = cells(self.y, self.d, self.treated * n_cells + self.cell, 2 * n_cells)
        return found[:n_cells], found[n_cells:]


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """One metric in one stage; pairs are (control, new version), ``n`` units, ``people`` those with complete windows.

    ``floor`` says why it may not decide; ``plain`` is the effect without adjustment, where ``effect`` has one.
    """

    metric: Metric
    n: tuple[int, int]
    people: tuple[int, int]
    events: tuple[int, int]
    control: float | None
    treated: float | None
    effect: Comparison | None
    lift: Lift | None
    floor: AnyFact | None
    estimator: str
    left_out: int = 0
    plain: Comparison | None = None
    harm: tuple[Comparison, float] | None = None
    """Of a guardrail: the effect that is tested, and its margin in that effect's unit."""
    room: float | None = None
    """How far below the margin that effect lies where nothing differs, where that is not the margin itself."""
    values: Values | None = field(default=None, repr=False)
    grade: Grade | None = None
    """Where this metric's differs from its stage's."""
    n_immature: int | None = None
    n_effective: float | None = None
    beside: AnyFact | None = None
    """Why this row stands beside another of the same metric, and decides nothing."""
    notes: tuple[AnyFact, ...] = ()
    before: tuple[float, float] | None = None
    """(control, new version) before the start, where the effect is a difference of differences."""
    control_var: float | None = None
    """The variance of the control arm's figure, where the arms were compared as means."""
    answers: IntArray | None = field(default=None, repr=False)
    """Of a question: the rows of the table ``answers`` in it."""
    lasting_se: float = 0.0
    """The part of the standard error that more people do not take away."""
    asked: tuple[int, int] | None = None
    """Of answers and of what is per event: the complete units, of which those with one are a part."""
    never: int = 0
    """Units of a stage that is over whose windows reach past its end, so that they will never be complete."""
    rarer: tuple[int, int] | None = None
    """Of shares: units on the rarer side (with the event, or without it) in each arm."""
    counts: Counts | None = None
    """What exact tests need, where a value lies between two ends."""
    less: Less | None = None
    """Of a guardrail of requests: what a breach has to hold on as well."""

    @property
    def hidden(self) -> bool:
        """Too few of something for an interval or a p: both would say what they cannot hold."""
        return isinstance(self.floor, Few)

    @property
    def towards_plan(self) -> int:
        """Units that count towards the plan, which is one of units that enter, whether they answer or not.

        While a stage goes on they count once they are complete; when it is over, nobody is waited for any more.
        """
        return sum(self.asked or self.n) + self.never

    @property
    def practical(self) -> float | None:
        """The smallest effect worth acting on, in the metric's own unit."""
        s = self.metric.settings
        if s.practical_size is not None:
            return s.practical_size
        if s.practical_share is None and self.metric.source in ("answer", "exposure"):
            return self.margin
        share = s.practical_share if s.practical_share is not None else PRACTICAL_SHARE
        return share * abs(self.control) if self.control is not None else None

    @property
    def margin(self) -> float | None:
        """The harm that is forbidden, in the metric's own unit."""
        s = self.metric.settings
        if s.margin is not None:
            return s.margin
        if s.margin_share is not None:
            return s.margin_share * abs(self.control) if self.control is not None else None
        if self.metric.source == "answer":
            return PRACTICAL_NPS if self.metric.kind == "nps" else PRACTICAL_ANSWER
        return None


@dataclass(frozen=True, slots=True)
class Less:
    """The same without the units of the new version that add most to harm; None: nobody is left."""

    effect: Comparison | None
    counts: Counts | None


@dataclass(frozen=True, slots=True)
class Counts:
    """The means of the two arms scaled to [0, 1], for tests that need no spread; 1 is worth ``span`` of the metric.

    Of money 1 is a buyer, worth what a buyer of the control arm spends: enough to see that nobody buys any more, and
    not enough to clear anything.
    """

    arms: tuple[Bounded, Bounded]
    span: float
    clears: bool = True


def counts_of(
    frames: Frames, metric: Metric, values: Values, treated: BoolArray, cluster: IntArray | None, who: BoolArray
) -> Counts | None:
    """The arms' means as counts; None where the metric has no ends, or a value lies outside them.

    Args:
        treated: whose arm is the new version's, shape (people,).
        cluster: the unit that was drawn, per person; None: everybody is one.
        who: the people that count, shape (people,).
    """
    y, d, span, low, clears = values.y, values.d, 1.0, 0.0, True
    if metric.source == "answer":
        ends = (-100.0, 100.0) if metric.kind == "nps" else outcomes_of(frames, metric).scales.get(metric.key)
        if ends is None or not ends[0] < ends[1]:
            return None
        low, span = ends[0], ends[1] - ends[0]
    elif metric.source == "sum":
        buyers, spent = who & values.did & ~treated, values.y[who & ~treated].sum()
        span, clears = float(spent) / max(int(np.count_nonzero(buyers)), 1), False
        if metric.per or span <= 0 or (values.y[who] < 0).any():
            return None
        y, d, low = values.did.astype(np.float64), np.ones(len(values.y)), 0.0
    elif metric.source == "exposure" and not metric.binary:
        return None
    scaled = (y - low * d) / (span if clears else 1.0)
    if (scaled[who] < -1e-9).any() or (scaled[who] > d[who] + 1e-9).any():
        return None
    arms = []
    for arm in (who & ~treated, who & treated):
        made = Bounded.of(scaled[arm], d[arm], None if cluster is None else cluster[arm])
        if made is None:
            return None
        arms.append(made)
    return Counts((arms[0], arms[1]), span, clears)


def stage_data(frames: Frames, cohort: Cohort, first_us: IntArray) -> StageData:
    """The two arms' people; ``first_us`` has one element per code of ``exposures.subject``."""
    customers = Crowd.of(cohort.control, cohort.treated)
    return StageData(
        cohort,
        Matcher(customers, len(frames.exposures.subject.labels)),
        Matcher(Crowd.of(*cohort.agents), len(frames.exposures.courier.labels)),
        first_us[customers.person],
    )


def headline(stages: Iterable[StageData], window_us: int) -> StageData:
    """The main stage: the largest n_t·n_c/(n_t + n_c) of complete units; while none is complete, the fullest."""
    return max(
        stages,
        key=lambda d: (
            d.cohort.weight(window_us),
            min(d.cohort.control.n_units, d.cohort.treated.n_units),
            d.cohort.stage.number,
        ),
    )


def result(frames: Frames, data: StageData, metric: Metric) -> Result:
    """One metric in one stage: figures of the arms, absolute effect, lift, and the floor it misses."""
    matcher = data.matcher(metric)
    if metric.source == "exposure":
        return _of_exposures(frames, data, metric)
    values = outcome_values(frames, matcher, metric)
    values, capped = _capped(frames, data, metric, values)
    every, values = values, told_by_both(matcher.crowd, values)
    units = unit_values(matcher.crowd, values)
    of_control, of_treated = units.moments()
    shape = of_control[0], of_treated[0]
    control, treated = (_sample(metric, matcher.crowd, m) for m in shape)
    plain = compare(control, treated) if control and treated else None
    samples, estimator = (control, treated), plain_name(metric, matcher.crowd)
    before = before_values(frames, matcher, metric, data.first_us) if metric.respondent == "customer" else None
    less = None
    if before is not None and control and treated:
        less = _adjusted(matcher.crowd, values, before, units)
        if less is not None and not cuped.explains(less.samples, (control, treated)):
            less = None
        if less is not None:
            samples, shape, estimator = less.samples, less.shape, "cuped"
    effect, lift = contrast(metric, matcher.crowd, samples, shape)
    events, people = _events(matcher.crowd, values), _people(matcher.crowd, metric.window_us)
    without = without_of(metric, events, people)
    made = Result(
        metric=metric,
        n=_arms(units.treated),
        people=people,
        events=events,
        control=samples[0].mean if samples[0] else None,
        treated=samples[1].mean if samples[1] else None,
        effect=effect,
        lift=lift,
        floor=floor_missed(metric.source, *events, full_days(data.cohort, metric.window_us), without),
        estimator="+".join([estimator, *["cap"] * capped, *["skew"] * isinstance(effect, skewed.SkewedEffect)]),
        left_out=values.left_out,
        plain=plain if less is not None else None,
        values=values,
        n_immature=_immature(matcher.crowd, metric.window_us),
        control_var=samples[0].mean_var if samples[0] else None,
        answers=answer_rows(frames, metric, values),
        asked=_asked(matcher.crowd, metric),
        never=_immature(matcher.crowd, metric.window_us) if data.cohort.over else 0,
        rarer=rarer(events, without),
        counts=_counts(frames, metric, matcher.crowd, values),
    )
    if matcher.crowd.inside.declared:
        made = _inside(made, matcher.crowd, every, before, "cap" * capped)
    return with_harm(made)


def without_of(metric: Metric, events: tuple[int, int], people: tuple[int, int]) -> tuple[int, int] | None:
    """Of a share of people: those without the event."""
    return (people[0] - events[0], people[1] - events[1]) if metric.source == "share" else None


def rarer(events: tuple[int, int], without: tuple[int, int] | None) -> tuple[int, int] | None:
    """The side of a share of which an arm has least."""
    return None if without is None else min(events, without, key=min)


def _counts(frames: Frames, metric: Metric, crowd: Crowd, values: Values) -> Counts | None:
    if crowd.inside.stratum is not None:
        return None  # whole arms are not alike where strata have shares of their own
    units = crowd.unit if crowd.clustered else None
    cluster = units if crowd.inside.cluster is None else crowd.inside.cluster
    return counts_of(frames, metric, values, crowd.person_treated, cluster, values.counted)


def _inside(
    made: Result, crowd: Crowd, values: Values, before: tuple[FloatArray, BoolArray] | None = None, more: str = ""
) -> Result:
    """The same by what the units were drawn inside of."""
    base = plain_name(made.metric, crowd)
    found, plain = compared(made.metric, crowd, values), None
    less = adjusted(crowd, values, before, LEAST_HISTORY) if before is not None else None
    if found is not None and less is not None:
        plain, base, found = found.effect, "cuped", compared(made.metric, crowd, less)
    floor = few_clusters(crowd, values) or made.floor
    if found is None:
        return replace(made, effect=None, lift=None, plain=None, control_var=None, floor=floor)
    skew = isinstance(found.effect, skewed.SkewedEffect)
    return replace(
        made,
        control=found.control,
        treated=found.treated,
        effect=found.effect,
        lift=found.lift,
        plain=plain,
        estimator=inside_name(base, crowd, more, "skew" * skew),
        floor=floor,
        control_var=found.control_var,
        notes=(*made.notes, *said(crowd, values)),
    )


def unit_values(crowd: Crowd, values: Values, cell: IntArray | None = None, n_cells: int = 1) -> UnitValues:
    """Values per unit; with ``cell`` (a code per person) per unit and cell."""
    who = np.flatnonzero(values.counted)
    of_cell = np.zeros(len(who), dtype=np.int64) if cell is None else cell[who]
    unit = crowd.unit[who]
    if not crowd.clustered:
        treated = (who >= crowd.n_control).astype(np.int64)
        return UnitValues(values.y[who], values.d[who], treated, crowd.unit_day[unit], of_cell, unit)
    n = len(crowd.treated) * n_cells
    key = unit * n_cells + of_cell
    y = np.bincount(key, weights=values.y[who], minlength=n).astype(np.float64)
    d = np.bincount(key, weights=values.d[who], minlength=n).astype(np.float64)
    there = np.flatnonzero(d > 0)
    units = there // n_cells
    return UnitValues(
        y[there], d[there], crowd.treated[units].astype(np.int64), crowd.unit_day[units], there % n_cells, units
    )


def sample_of(metric: Metric, crowd: Crowd, moments: Moments) -> Sample | None:
    """One arm's figure and its variance per unit; None without units."""
    return _sample(metric, crowd, moments)


def _sample(metric: Metric, crowd: Crowd, moments: Moments) -> Sample | None:
    if moments.n == 0 or moments.d <= 0:
        return None
    if moments.n == 1:
        return Sample(1, moments.y / moments.d, 0.0)
    if metric.kind == "nps" and not crowd.clustered and moments.dd == moments.n:
        return nps_sample(moments)
    if metric.source in ("answer", "exposure") or metric.per or crowd.clustered:
        return ratio_sample(moments)
    return proportion_sample(moments) if metric.source == "share" else mean_sample(moments)


def plain_name(metric: Metric, crowd: Crowd) -> str:
    """The estimator without covariates."""
    return (
        "ratio" if metric.source in ("answer", "exposure") or metric.per or crowd.clustered else "difference_in_means"
    )


def inside_name(base: str, crowd: Crowd, before: str = "", after: str = "") -> str:
    """The estimator's name with what the units were drawn inside of."""
    inside = crowd.inside
    parts = [base, before, "cluster" * (inside.cluster is not None), "strata" * (inside.stratum is not None), after]
    return "+".join(part for part in parts if part)


def contrast(
    metric: Metric, crowd: Crowd, samples: tuple[Sample | None, Sample | None], shape: tuple[Moments, Moments]
) -> tuple[Comparison | None, Lift | None]:
    """The effect and the lift of (control, treated); those of sums per unit without the skew of arms of unequal size.

    Args:
        shape: moments of what the samples are means of.
    """
    control, treated = samples
    if control is None or treated is None:
        return None, None
    if metric.source == "sum" and plain_name(metric, crowd) == "difference_in_means":
        gamma = skewed.skewness(*shape)
        return skewed.compare(control, treated, gamma), skewed.log_ratio(control, treated, gamma)
    return compare(control, treated), log_ratio(control, treated) if metric.source != "answer" else None


@dataclass(frozen=True, slots=True)
class _Adjusted:
    """CUPED's samples, and the moments of what they are means of."""

    samples: tuple[Sample, Sample]
    shape: tuple[Moments, Moments]


def _adjusted(
    crowd: Crowd, values: Values, before: tuple[FloatArray, BoolArray], units: UnitValues
) -> _Adjusted | None:
    """CUPED's; None with too little history for a slope."""
    x, history = before
    x = np.where(history, x, 0.0)
    known = history.astype(np.float64)
    who = np.flatnonzero(values.counted)
    if np.count_nonzero(x[who]) < LEAST_HISTORY:
        return None
    if not crowd.clustered and (values.d[who] == 1).all():
        columns = np.stack([values.y[who], x[who], known[who]], axis=1)
        treated = units.treated.astype(bool)
        parts = [cuped.CovariateMoments.of(columns[arm]) for arm in (~treated, treated)]
        if min(p.n for p in parts) < LEAST_HISTORY:
            return None
        left = cells(cuped.residuals(columns, parts[0], parts[1]), np.ones(len(who)), units.treated, 2)
        return _Adjusted(cuped.adjusted_means(parts[0], parts[1]), (left[0], left[1]))
    n = len(crowd.treated)
    sums = [
        np.bincount(crowd.unit[who], weights=w[who], minlength=n).astype(np.float64)
        # What is known from before is one per person, however often each answered: more answers under one version
        # would look like less before.
        for w in (values.y, values.d, x, np.ones(len(x)))
    ]
    columns = np.asarray(np.stack(sums, axis=1)[sums[1] > 0], dtype=np.float64)
    treated = crowd.treated[sums[1] > 0]
    parts = [cuped.CovariateMoments.of(columns[arm]) for arm in (~treated, treated)]
    if min(p.n for p in parts) < LEAST_HISTORY:
        return None
    return _Adjusted(cuped.adjusted_ratios(parts[0], parts[1]), (Moments(), Moments()))


def _of_exposures(frames: Frames, data: StageData, metric: Metric) -> Result:
    """Latency, errors: all exposures to the model in the stage, as a ratio over units, or a quantile of them."""
    x, cohort, matcher = frames.exposures, data.cohort, data.customers
    crowd, s = matcher.crowd, metric.settings
    rows, position = matcher.exposures(x, cohort)
    marked = exposure_marks(x, metric, rows)
    figures: tuple[Sample, Sample] | None = None
    margin, inner, room = s.margin if metric.role == "guardrail" else None, None, None
    tails: tuple[int, int] | None = None
    if metric.kind == "quantile":
        field_values = x.fields[metric.key][rows]
        has = ~np.isnan(field_values)
        value, unit, late = field_values[has], crowd.unit[position[has]], position[has] >= crowd.n_control
        if (~late).any() and late.any():
            figures = (
                quantiles.quantile_sample(value[~late], unit[~late], s.quantile),
                quantiles.quantile_sample(value[late], unit[late], s.quantile),
            )
            threshold, weight = float(np.quantile(value[~late], s.quantile)), None
            who = position[has]
            tails = _beyond(value[~late], who[~late], s.quantile), _beyond(value[late], who[late], s.quantile)
            inner = quantiles_inside(crowd, value, position[has], s.quantile) if crowd.inside.declared else None
            if inner is not None:
                threshold, weight = inner.threshold, inner.weight[~late]
            limit = np.full(len(position), threshold)
            if margin is not None:
                # The new version's quantile is above the old one's by more than the margin exactly where more of its
                # requests lie above the old quantile and the margin than of the old version's above the old quantile.
                limit[position >= crowd.n_control] += margin
                beyond = value[~late] > threshold, value[~late] > threshold + margin
                room = float(np.average(beyond[0], weights=weight)) - float(np.average(beyond[1], weights=weight))
                margin = 0.0
            marked = np.where(has, field_values > limit, np.nan)
    every = exposure_values(matcher, position, marked)
    values = told_by_both(crowd, every)
    units = unit_values(crowd, values)
    control, treated = (_sample(metric, crowd, m[0]) for m in units.moments())
    share: Comparison | None = compare(control, treated) if control and treated else None
    shown = compare(*figures) if figures else share
    told = figures or (control, treated)
    events, without = _marks(crowd, values, metric)
    # A quantile is told by what lies beyond it in its own arm: fewer above the old arm's is what a faster version does.
    missed = floor_missed("exposure", *(tails or events), full_days(cohort, 0), without)
    made = Result(
        metric=metric,
        n=_arms(units.treated),
        people=_people(crowd, 0),
        events=events,
        control=told[0].mean if told[0] else None,
        treated=told[1].mean if told[1] else None,
        effect=shown,
        lift=log_ratio(told[0], told[1]) if told[0] and told[1] else None,
        floor=missed,
        estimator="quantile" if metric.kind == "quantile" else "ratio",
        values=values,
        n_immature=0,
        rarer=rarer(events, without),
        counts=_counts(frames, metric, crowd, values),
    )
    if crowd.inside.declared:
        made = _inside(made, crowd, every)
        share = made.effect
        made = _as_quantile(made, crowd, inner)
    made = replace(made, notes=(*made.notes, *_heavy(units)))
    if share is None or margin is None:
        return made
    limit_of = (control.mean if control is not None else 0.0) + (margin if metric.lower_is_better else -margin)
    return replace(made, harm=(share, margin), room=room, less=_less(frames, metric, crowd, every, limit_of))


def _less(frames: Frames, metric: Metric, crowd: Crowd, every: Values, limit: float) -> Less:
    """What is left without the few units of the new version that add most to harm beyond the limit."""
    units = unit_values(crowd, every)
    new = np.flatnonzero(units.treated == 1)
    few = worst(units.y[new], units.d[new], limit, lower_is_better=metric.lower_is_better)
    kept = replace(every, counted=every.counted & ~np.isin(crowd.unit, units.unit[new[few]]))
    counts = _counts(frames, metric, crowd, told_by_both(crowd, kept))
    if crowd.inside.declared:
        found = compared(metric, crowd, kept)
        return Less(None if found is None else found.effect, counts)
    control, treated = (_sample(metric, crowd, m[0]) for m in unit_values(crowd, kept).moments())
    return Less(compare(control, treated) if control and treated else None, counts)


_HEAVY, _MANY = 0.1, 30
"""Of a version's requests: so many of one unit are said."""


def _heavy(units: UnitValues) -> tuple[OneUnit, ...]:
    """The unit that makes a large part of a version's requests, of arms of thirty units or more."""
    told = []
    for treated in (False, True):
        d = units.d[units.treated == treated]
        if len(d) >= _MANY and d.max() >= _HEAVY * d.sum():
            told.append(OneUnit(float(d.max() / d.sum()), treated))
    return tuple(told)


def _beyond(value: FloatArray, person: IntArray, q: float) -> int:
    """People with a value above the quantile of all of them."""
    return len(np.unique(person[value > np.quantile(value, q)]))


def _as_quantile(made: Result, crowd: Crowd, inner: Quantiles | None) -> Result:
    """The same with the quantile for the share above it, where there is one."""
    if inner is None:
        return made
    told = inner.figures
    return replace(
        made,
        control=told.control,
        treated=told.treated,
        effect=told.effect,
        lift=told.lift,
        estimator=inside_name("quantile", crowd),
        control_var=None,
    )


def _marks(crowd: Crowd, values: Values, metric: Metric) -> tuple[tuple[int, int], tuple[int, int] | None]:
    """People of (control, new version) with a marked request, and of a share those with one that is not marked."""

    def of(who: BoolArray) -> tuple[int, int]:
        n = crowd.n_control
        return int(np.count_nonzero(who[:n])), int(np.count_nonzero(who[n:]))

    if not metric.binary:
        return of(values.counted & (values.d > 0)), None
    return of(values.counted & (values.y > 0)), of(values.counted & (values.y < values.d))


def _capped(frames: Frames, data: StageData, metric: Metric, values: Values) -> tuple[Values, bool]:
    """Sums cut at a quantile of the units' non-zero sums of the 28 days before the change, both arms together."""
    cap = metric.settings.cap
    if cap is None or metric.source != "sum":
        return values, False
    sums = before_sums(frames, data.customers, metric, data.first_us, CAP_DAYS)
    sums = sums[sums != 0]
    if len(sums) == 0:
        return values, False
    most = float(np.quantile(sums, cap))
    return Values(np.minimum(values.y, most), values.d, values.counted, values.did, values.left_out), True


def with_harm(made: Result) -> Result:
    """A guardrail's result with the effect that is tested against its margin."""
    if made.metric.role != "guardrail" or made.effect is None or made.margin is None:
        return made
    return replace(made, harm=(made.effect, made.margin))


def _events(crowd: Crowd, values: Values) -> tuple[int, int]:
    n = crowd.n_control
    return int(np.count_nonzero(values.did[:n])), int(np.count_nonzero(values.did[n:]))


def _people(crowd: Crowd, window_us: int) -> tuple[int, int]:
    complete, n = crowd.complete(window_us), crowd.n_control
    return int(np.count_nonzero(complete[:n])), int(np.count_nonzero(complete[n:]))


def _immature(crowd: Crowd, window_us: int) -> int:
    """Units without anybody whose window is over."""
    complete = np.zeros(len(crowd.treated), dtype=bool)
    complete[crowd.unit[crowd.complete(window_us)]] = True
    return len(complete) - int(np.count_nonzero(complete))


def _asked(crowd: Crowd, metric: Metric) -> tuple[int, int] | None:
    """Of answers: the units of each arm with somebody whose window is over; None for what everybody has."""
    if metric.source != "answer" and not metric.per:
        return None
    complete = np.zeros(len(crowd.treated), dtype=bool)
    complete[crowd.unit[crowd.complete(metric.window_us)]] = True
    return _arms(crowd.treated[complete].astype(np.int64))


def _arms(treated: IntArray) -> tuple[int, int]:
    n = int(np.count_nonzero(treated))
    return len(treated) - n, n
