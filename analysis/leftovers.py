"""Is as much left out of a figure in both arms? Other or missing currencies, values that are no numbers, missing ids.

What a metric leaves out counts like a sample ratio (docs/meaning.md, "Checks that come first"): where one arm loses
more than the other, the figures compare different things.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from analysis.change import LedgerChange
from analysis.checks import Finding
from analysis.effects import Result, StageData
from analysis.entry import CONTROL, Cohort
from analysis.frames import ABSENT, BoolArray, Exposures, Frames
from analysis.inside import Inside
from analysis.lift import compare, ratio_sample, t_tail
from analysis.metrics import Metric
from analysis.moments import FloatArray, IntArray, cells
from analysis.nested import compared
from analysis.srm import alarm
from analysis.switches import SwitchData
from analysis.values import Crowd, Joining, Values, wanted_values
from analysis.zones import ZoneData
from edgeloop.store import facts

CHECK, ANONYMOUS = "left_out", "anonymous_arms"
LEAST_CELLS = 3
LEAST_ANONYMOUS = 10


@dataclass(frozen=True, slots=True, eq=False)
class Leftovers:
    """Of each person of a crowd the values that are there in its window, and those of them that are left out."""

    left: FloatArray
    there: FloatArray
    complete: BoolArray

    @classmethod
    def of(cls, frames: Frames, matcher: Joining, metric: Metric) -> Leftovers | None:
        """None for metrics that leave nothing out, and where nothing was."""
        found = wanted_values(frames, matcher, metric)
        if found is None:
            return None
        position, wanted = found
        complete, n = matcher.crowd.complete(metric.window_us), len(matcher.crowd)
        kept = complete[position]
        position, wanted = position[kept], wanted[kept]
        if wanted.all():
            return None
        there = np.bincount(position, minlength=n).astype(np.float64)
        left = np.bincount(position[~wanted], minlength=n).astype(np.float64)
        return cls(left, there, complete)

    def counts(self, control: BoolArray, treated: BoolArray) -> tuple[tuple[int, int], tuple[int, int]]:
        """(people with something left out, people with anything) of (control, new version)."""
        short, any_ = (self.left > 0) & self.complete, (self.there > 0) & self.complete
        return (
            (int(np.count_nonzero(short & control)), int(np.count_nonzero(short & treated))),
            (int(np.count_nonzero(any_ & control)), int(np.count_nonzero(any_ & treated))),
        )

    def shares(self) -> tuple[tuple[FloatArray, FloatArray], tuple[FloatArray, FloatArray]]:
        """(numerator, denominator) per person: people short of those who entered, and values left out of those there.

        A version that sells more in every currency moves the first alone, one that sells more in one currency
        mostly the second: both have to differ.
        """
        entered = self.complete.astype(np.float64)
        return ((self.left > 0) * entered, entered), (self.left * entered, self.there * entered)


@dataclass(frozen=True, slots=True)
class _Test:
    metric: Metric
    stage: int
    p: float | None
    short: tuple[int, int]
    of: tuple[int, int]


def arms(frames: Frames, stages: Sequence[StageData], metrics: Sequence[Metric]) -> list[Finding]:
    """Of stages with concurrent arms: Fisher's exact test of people; where clusters were drawn, a ratio over them."""
    tests = []
    for data in stages:
        for metric in metrics:
            matcher = data.matcher(metric)
            crowd = matcher.crowd
            found = Leftovers.of(frames, matcher, metric)
            if found is None:
                continue
            new = crowd.person_treated
            if crowd.inside.declared:
                p = _both([_inside(metric, crowd, y, d) for y, d in found.shares()])
            elif crowd.clustered:
                p = _both([_of_cells(y, d, crowd.unit * 2 + new, np.arange(2 * (int(crowd.unit.max()) + 1)) % 2 == 1)
                           for y, d in found.shares()])  # fmt: skip
            else:
                p = _of_people(found, new)
            tests.append(_Test(metric, data.cohort.stage.number, p, *found.counts(~new, new)))
    return _findings(tests)


def zones(frames: Frames, stages: Sequence[ZoneData], metrics: Sequence[Metric]) -> list[Finding]:
    """Of zones by how far their shares moved since the start, of zones by time over the blocks."""
    tests = []
    for data in stages:
        new = data.treated[data.cell]
        for metric in metrics:
            if metric.respondent == "agent":
                continue
            found = Leftovers.of(frames, data.matcher, metric)
            if found is None:
                continue
            p = _both(
                [
                    _of_cells(y, d, data.cell, data.treated) if data.by_block else _of_moves(y, d, data)
                    for y, d in found.shares()
                ]
            )
            tests.append(_Test(metric, data.stage.number, p, *found.counts(~new & data.after, new & data.after)))
    return _findings(tests)


def switch(frames: Frames, data: SwitchData, metrics: Sequence[Metric], stage: int) -> list[Finding]:
    """Of a full switch by the step of the daily shares on its day, beside their trend."""
    tests = []
    late = data.own.day >= data.switch_day
    for metric in metrics:
        if metric.respondent == "agent":
            continue
        found = Leftovers.of(frames, data.own.matcher, metric)
        if found is None:
            continue
        p = _both([_of_step(y, d, data.own.day, data.own.n_days, data.switch_day) for y, d in found.shares()])
        tests.append(_Test(metric, stage, p, *found.counts(~late, late)))
    return _findings(tests)


def anonymous(x: Exposures, change: LedgerChange, cohort: Cohort) -> list[Finding]:
    """Whether as many of both arms' exposures lack a usable id: p < 0.001; nothing where hardly any does.

    A person without one cannot be told from another, so their requests are taken to come in bunches as those of the
    others do: the variance of their number is Σk²/Σk times that of so many people, k the requests of a known person.
    Where couriers or clusters were drawn, over these.
    """
    number = cohort.stage.number
    rows = np.concatenate([cohort.rows, cohort.nameless])
    group = np.concatenate([cohort.row_group, cohort.nameless_group])
    compared = (group == CONTROL) | (group == cohort.treated_group)
    rows, new = rows[compared], group[compared] == cohort.treated_group
    named = x.customers(rows)
    missing = [int(np.count_nonzero(~named & arm)) for arm in (~new, new)]
    all_ = [int(np.count_nonzero(arm)) for arm in (~new, new)]
    if min(all_) == 0 or sum(missing) < LEAST_ANONYMOUS:
        return []
    drawn = "courier" if change.unit == "courier" else change.cluster
    p: float | None
    if drawn is not None:
        code = x.where(drawn).of_rows(rows)
        kept = code != ABSENT
        y, d = (~named[kept]).astype(np.float64), np.ones(int(np.count_nonzero(kept)))
        p = _of_cells(y, d, code[kept] * 2 + new[kept], np.arange(2 * (int(code.max(initial=0)) + 1)) % 2 == 1)
    else:
        k = np.bincount(x.subject.of_rows(rows[named]))
        bunched = float((k.astype(np.float64) ** 2).sum() / k.sum()) if k.sum() else 1.0
        stratum = Inside.of(x, change, rows).stratum
        p = _of_strata(~named, new, np.zeros(len(rows), dtype=np.int64) if stratum is None else stratum + 1, bunched)
    blocked = p is not None and alarm(p, 1)
    value = missing[1] / all_[1] - missing[0] / all_[0]
    said = facts.AnonymousArms(missing[0], missing[1], all_[0], all_[1], p or 0.0) if blocked else None
    return [Finding(ANONYMOUS, number, "block" if blocked else "ok", value, p, said)]


def silenced(results: Sequence[Result], found: Sequence[Finding], stage: int) -> list[Result]:
    """The stage's results, of which those whose arms are left out unevenly decide nothing."""
    why = {f.check: f.alarm for f in found if f.stage == stage and f.alarm is not None}
    return [replace(r, floor=told) if (told := why.get(f"{CHECK}:{r.metric.name}")) is not None else r for r in results]


def _findings(tests: Sequence[_Test]) -> list[Finding]:
    """One each, Bonferroni over all that could be tested; ``value`` is how much more the new version leaves out."""
    n = sum(test.p is not None for test in tests)
    made = []
    for test in tests:
        name = f"{CHECK}:{test.metric.name}"
        if test.p is None:
            made.append(Finding(name, test.stage, "no data"))
            continue
        blocked = alarm(test.p, n)
        shares = [k / of if of else 0.0 for k, of in zip(test.short, test.of, strict=True)]
        said = facts.LeftOutUnevenly(test.metric.name, *test.short, *test.of, test.p) if blocked else None
        made.append(Finding(name, test.stage, "block" if blocked else "ok", shares[1] - shares[0], test.p, said))
    return made


def _both(ps: Sequence[float | None]) -> float | None:
    """The larger p; None where one of the two cannot be told."""
    known = [p for p in ps if p is not None]
    return max(known) if len(known) == len(ps) else None


def _of_people(found: Leftovers, new: BoolArray) -> float | None:
    """People are independent of each other."""
    (short, entered), (left, there) = found.shares()
    table = [[int(short[arm].sum()), int(entered[arm].sum() - short[arm].sum())] for arm in (~new, new)]
    if min(sum(row) for row in table) == 0:
        return None
    exact = float(stats.fisher_exact(np.array(table)).pvalue)
    some = there > 0
    if len({*new[some].tolist()}) < 2:  # only one arm has any, so nothing is left out of the other
        return 1.0
    of_values = _of_cells(left[some], there[some], np.arange(int(some.sum())), new[some])
    return _both([exact, of_values])


def _inside(metric: Metric, crowd: Crowd, y: FloatArray, d: FloatArray) -> float | None:
    """p of Σy/Σd alike in both arms, by what their people were drawn inside of."""
    found = compared(metric, crowd, Values(y, d, d > 0, y > 0))
    if found is None or found.effect.se is None:
        return None
    if found.effect.p is not None:
        return found.effect.p
    return 1.0 if found.effect.effect == 0 else 0.0


def _of_strata(marked: BoolArray, new: BoolArray, stratum: IntArray, bunched: float) -> float:
    """p of as many marked in both arms: the strata's differences by their size, over their pooled standard errors."""
    n = np.bincount(2 * stratum + new, minlength=2 * (int(stratum.max(initial=0)) + 1)).reshape(-1, 2)
    k = np.bincount(2 * stratum + new, weights=marked, minlength=n.size).reshape(-1, 2)
    both = n.min(axis=1) > 0
    n, k = n[both], k[both]
    size = n.sum(axis=1)
    pooled = k.sum(axis=1) / size
    var = float((size**2 * pooled * (1 - pooled) * (1 / n).sum(axis=1)).sum()) * bunched
    z = float((size * (k[:, 1] / n[:, 1] - k[:, 0] / n[:, 0])).sum()) / float(np.sqrt(var)) if var else 0.0
    return 2 * float(stats.norm.sf(abs(z)))


def _of_cells(y: FloatArray, d: FloatArray, cell: IntArray, treated: BoolArray) -> float | None:
    """p of Σy/Σd alike in both kinds of cells, by the delta method over the cells."""
    n = len(treated)
    sums = [np.bincount(cell, weights=w, minlength=n).astype(np.float64) for w in (y, d)]
    there = sums[1] > 0
    arm = treated[there].astype(np.int64)
    if min(np.bincount(arm, minlength=2)) < LEAST_CELLS:
        return None
    control, new = (ratio_sample(m) for m in cells(sums[0][there], sums[1][there], arm, 2))
    effect = compare(control, new)
    if effect.p is not None:
        return effect.p
    return 1.0 if effect.effect == 0 else 0.0  # nothing varies inside either: all of one arm's, none of the other's


def _of_moves(y: FloatArray, d: FloatArray, data: ZoneData) -> float | None:
    """p of shares that moved alike in treated and other zones: a pooled t over zones, no surer than their people allow.

    One treated zone is set against how the others moved.
    """
    n = len(data.treated)
    shares, noise = [], np.zeros(n)
    for period in (~data.after, data.after):
        top = np.bincount(data.cell[period], weights=y[period], minlength=n)
        below = np.bincount(data.cell[period], weights=d[period], minlength=n)
        share = np.divide(top, below, out=np.full(n, np.nan), where=below > 0)
        noise = noise + share * np.maximum(1 - share, 0) / np.maximum(below, 1)
        shares.append(share)
    moved = shares[1] - shares[0]
    there = ~np.isnan(moved)
    new, old = moved[there & data.treated], moved[there & ~data.treated]
    df = len(new) + len(old) - 2
    if min(len(new), len(old)) == 0 or df < 1:
        return None
    spread = float(((new - new.mean()) ** 2).sum() + ((old - old.mean()) ** 2).sum()) / df
    sampled = float(noise[there & data.treated].mean() / len(new) + noise[there & ~data.treated].mean() / len(old))
    se = float(np.sqrt(max(spread * (1 / len(new) + 1 / len(old)), sampled)))
    difference = float(new.mean() - old.mean())
    if se == 0:
        return 1.0 if difference == 0 else 0.0
    return 2 * t_tail(abs(difference) / se, df)


def _of_step(y: FloatArray, d: FloatArray, day: IntArray, n_days: int, first_after: int) -> float | None:
    """p of no step in the daily shares: least squares with a trend, days weighted by what is in them."""
    top = np.bincount(day, weights=y, minlength=n_days)
    below = np.bincount(day, weights=d, minlength=n_days)
    days = np.flatnonzero(below > 0)
    late = days >= first_after
    df = len(days) - 3
    if min(int(late.sum()), int((~late).sum())) < LEAST_CELLS or df < 1:
        return None
    weight = np.sqrt(below[days])
    design = np.stack([np.ones(len(days)), days - days.mean(), late.astype(np.float64)], axis=1) * weight[:, None]
    share = top[days] / below[days]
    inverse = np.linalg.pinv(design.T @ design)
    fitted = inverse @ design.T @ (share * weight)
    residual = share * weight - design @ fitted
    se = float(np.sqrt(float(residual @ residual) / df * inverse[2, 2]))
    # Days that do not vary at all still hold no more than their people.
    pooled = float(top[days].sum() / below[days].sum())
    sampled = float(np.sqrt(max(pooled * (1 - pooled), 0.0) * inverse[2, 2]))
    se = max(se, sampled)
    step = float(fitted[2])
    if se == 0:
        return 1.0
    return 2 * t_tail(abs(step) / se, df)
