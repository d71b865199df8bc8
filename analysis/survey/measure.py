"""One question in one stage: the weighted figure that decides, and what speaks for and against it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from analysis.checks import Finding
from analysis.effects import Result, StageData, inside_name, with_harm
from analysis.estimators import clustered
from analysis.estimators.clustered import ClusterSums
from analysis.estimators.inside import Nested
from analysis.frames import ABSENT, Frames
from analysis.groups import ranks
from analysis.lift import compare
from analysis.metrics import Metric
from analysis.moments import FloatArray, IntArray
from analysis.nested import told_by_both
from analysis.segments import dimensions
from analysis.srm import ALARM_P
from analysis.survey.bounds import lee_bounds, tipping_point
from analysis.survey.chain import Link, chain
from analysis.survey.ordinal import superiority, top_two
from analysis.survey.weights import Answering, Patterns, WeightedMean, weighted_mean
from analysis.values import Crowd, Values
from analysis.verdict import MIN_ANSWERS
from edgeloop.clock import DAY_US
from edgeloop.store import facts
from edgeloop.store.facts import AnyFact, Said

WEIGHTED = "weighted"
BESIDE = Said("unweighted beside")
ACTIVE_US = 28 * DAY_US
_ACTIVITY = np.array([0, 1, 2, 4])  # events before the entry: none, one, two or three, more


@dataclass(frozen=True, slots=True, eq=False)
class Covariates:
    """What is known at the entry of everybody in a stage, answered or not; made once for all its questions."""

    codes: tuple[IntArray, ...]

    @classmethod
    def of(cls, frames: Frames, data: StageData) -> Covariates:
        """Where, on what, for whom, new or returning, and how active in the four weeks before."""
        parted = dimensions(frames, data)
        return cls((*(d.cell for d in parted), _activity(frames, data)))

    def patterns(self, who: IntArray) -> Patterns:
        """Of some of the people, in their order."""
        return Patterns.from_codes([ranks(code[who], int(code.max(initial=0)) + 1) for code in self.codes])


def surveyed(
    frames: Frames,
    data: StageData,
    plain: Result,
    covariates: Covariates,
    events: Sequence[tuple[str, str]] = (),
) -> tuple[list[Result], list[Finding]]:
    """The weighted row and the plain one beside it, and what the chain from entry to answer says.

    Where fewer than 30 answered in an arm the plain row is all there is.

    Args:
        plain: a question of customers, unweighted.
        events: (step, engagement name) from the entry to the invitation.
    """
    metric, values, crowd = plain.metric, plain.values, data.customers.crowd
    if values is None:
        return [plain], []
    answered = np.flatnonzero(values.counted)
    links = chain(frames, data.customers, metric.window_us, answered, tuple(events))
    findings, doubted = _findings(metric, links, data.cohort.stage.number)
    if min(plain.events) < MIN_ANSWERS:
        return [plain], findings
    arms = _weighted_arms(crowd, values, covariates, metric)
    told = Nested(
        arms[0].sample.mean,
        arms[1].sample.mean,
        compare(arms[0].sample, arms[1].sample),
        None,
        arms[0].sample.mean_var,
    )
    if crowd.inside.declared:
        told = _weighted_inside(crowd, values, covariates, metric)
    made = replace(
        plain,
        control=told.control,
        treated=told.treated,
        effect=told.effect,
        estimator=inside_name(WEIGHTED, crowd),
        plain=None,
        n_effective=sum(a.n_effective for a in arms),
        grade="quasi" if doubted else plain.grade,
        notes=(*plain.notes, *_notes(frames, plain, values, crowd, arms, told.effect.effect)),
        control_var=told.control_var,
    )
    return [with_harm(made), replace(plain, beside=BESIDE, harm=None)], findings


def _weighted_arms(
    crowd: Crowd, values: Values, covariates: Covariates, metric: Metric
) -> tuple[WeightedMean, WeightedMean]:
    complete = np.flatnonzero(crowd.complete(metric.window_us))
    late = complete >= crowd.n_control
    d = np.where(values.counted, values.d, 0.0)
    y = np.where(values.counted, values.y, 0.0)

    def arm(who: IntArray) -> WeightedMean:
        unit = np.unique(crowd.unit[who], return_inverse=True)[1].astype(np.int64) if crowd.clustered else None
        return weighted_mean(covariates.patterns(who), np.arange(len(who)), y[who], d[who], unit)

    return arm(complete[~late]), arm(complete[late])


def _weighted_inside(crowd: Crowd, values: Values, covariates: Covariates, metric: Metric) -> Nested:
    """The weighted figure by what the units were drawn inside of: a logit for each arm, the strata's weighted means."""
    inside = crowd.inside
    complete = crowd.complete(metric.window_us)
    if inside.stratum is not None:
        there = told_by_both(crowd, values).counted
        complete &= np.isin(inside.stratum, np.unique(inside.stratum[there]))
    who = np.flatnonzero(complete)
    treated = (who >= crowd.n_control).astype(np.int64)
    y, d = (np.where(values.counted, of, 0.0)[who] for of in (values.y, values.d))
    fits = [
        Answering.of(
            covariates.patterns(who[treated == arm]), np.arange(int((treated == arm).sum())), d[treated == arm]
        )
        for arm in (0, 1)
    ]
    w = np.concatenate([fit.weight for fit in fits])  # the crowd has its control arm first
    stratum = np.zeros(len(who), dtype=np.int64) if inside.stratum is None else inside.stratum[who]
    cell = 2 * stratum + treated
    below = np.bincount(cell, weights=w * d)
    mean = np.bincount(cell, weights=w * y) / np.where(below > 0, below, 1.0)
    of_both = np.bincount(stratum, weights=w * d)
    part = (of_both[stratum] / of_both.sum()) / below[cell]  # what one unit of d weighs in its arm's figure
    rest = (y - mean[cell] * d) * part
    pull = np.concatenate([fits[arm].pull(rest[treated == arm]) for arm in (0, 1)]) / part
    units = crowd.unit if inside.cluster is None else inside.cluster
    sums = ClusterSums.of(
        w * y, w * d, treated, units[who], inside.stratum if inside.stratum is None else stratum, pull
    )
    effect, own = clustered.compare(sums), clustered.spread(sums, (1.0, 0.0))
    return Nested(effect.control, effect.treated, effect, None, None if own is None else own.var)


def _findings(metric: Metric, links: Sequence[Link], stage: int) -> tuple[list[Finding], bool]:
    """A finding per link, and whether the arms answer so differently that the comparison is in doubt."""
    found, doubted = [], False
    for link in links:
        rates, p = link.rates, link.p
        if rates is None:
            continue
        differs = p is not None and p < ALARM_P
        doubted |= differs
        name = "response_rate" if link.name == "answered" else f"chain_{link.name}"
        found.append(Finding(f"{name}:{metric.name}", stage, "warn" if differs else "ok", link.difference, p))
    return found, doubted


def _notes(
    frames: Frames,
    plain: Result,
    values: Values,
    crowd: Crowd,
    arms: tuple[WeightedMean, WeightedMean],
    effect: float,
) -> list[AnyFact]:
    own = _per_person(values)
    parts = own[: crowd.n_control], own[crowd.n_control :]
    control, treated = (part[~np.isnan(part)] for part in parts)
    bounds = lee_bounds(control, treated, plain.people)
    notes: list[AnyFact] = [
        facts.Weighted(plain.effect.effect if plain.effect else None, max(a.design_effect for a in arms))
    ]
    if crowd.inside.stratum is not None:
        return notes  # whole arms are not alike where strata have shares of their own
    notes.append(facts.Silent(bounds.low, bounds.high, tipping_point(effect, len(treated) / plain.people[1])))
    if plain.metric.kind != "nps":
        if crowd.inside.cluster is None:  # ranks know no clusters
            chance = superiority(control, treated)
            notes.append(facts.Superiority(chance.value, chance.low, chance.high))
        highest = frames.answers.scales.get(plain.metric.key)
        if highest is not None:
            notes.append(facts.TopTwo(*(top_two(part, highest[1]) for part in (control, treated))))
    return notes


def _per_person(values: Values) -> FloatArray:
    """Each one's mean answer; NaN without one."""
    kept = values.counted & (values.d > 0)
    own: FloatArray = np.divide(values.y, values.d, out=np.full(len(values.y), np.nan), where=kept)
    return own


def _activity(frames: Frames, data: StageData) -> IntArray:
    """How many engagement events each had in the four weeks before meeting the change, in four classes."""
    crowd, outcomes = data.customers.crowd, frames.engagement
    if not len(crowd) or not len(outcomes.at):
        return np.zeros(len(crowd), dtype=np.int64)
    begin, end = int(data.first_us.min()) - ACTIVE_US, int(data.first_us.max())
    near = np.flatnonzero((outcomes.at >= begin) & (outcomes.at < end))
    position = data.customers.position(outcomes.person[near])
    near, position = near[position != ABSENT], position[position != ABSENT]
    lag = -outcomes.lag(near, data.first_us[position])
    n = np.bincount(position[(lag > 0) & (lag <= ACTIVE_US)], minlength=len(crowd))
    return (np.searchsorted(_ACTIVITY, n, side="right") - 1).astype(np.int64)
