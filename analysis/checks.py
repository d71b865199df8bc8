"""Can the comparison be trusted? The checks that come before any effect (docs/meaning.md, "Checks that come first")."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np

from analysis.change import LedgerChange
from analysis.days import day_of
from analysis.draws import Draws
from analysis.entry import CONTROL, HOLDOUT, Cohort, rows_of
from analysis.frames import Exposures
from analysis.moments import FloatArray, IntArray
from analysis.srm import ALARM_P, ChiSquare, alarm, combined, sample_ratio, share_drift, within_strata
from analysis.verdict import MIN_FULL_DAYS
from edgeloop.store import facts
from edgeloop.store.facts import AnyFact

CROSSOVER_WARN_SHARE, CROSSOVER_WARN_UNITS = 0.01, 10
CROSSOVER_BLOCK_SHARE = 0.05
MET_BEFORE_WARN_SHARE = 0.20
ANONYMOUS_WARN_SHARE = 0.05  # of the stage's exposures; more, and those left may be another kind of customer
UNHEARD_SHARE = 0.01  # what an arm of undeclared weight that never spoke is judged as

State = Literal["ok", "warn", "block", "no data"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One check of one stage (stage 0: over all stages). ``alarm`` says why where it blocks."""

    check: str
    stage: int
    state: State
    value: float | None = None
    p: float | None = None
    alarm: AnyFact | None = None


def sample_ratio_checks(x: Exposures, change: LedgerChange, cohorts: Sequence[Cohort]) -> list[Finding]:
    """``srm`` per stage, Bonferroni over the stages tested, and ``srm_combined`` where there are several."""
    seen = [_observed(x, change, cohort) for cohort in cohorts]
    tests = [_sample_ratio(cohort, strata) for cohort, strata in zip(cohorts, seen, strict=True)]
    done = [test for test in tests if test is not None]
    found = [
        _chi("srm", cohort.stage.number, test, len(done), partial(_unlike_plan, cohort, strata))
        for cohort, strata, test in zip(cohorts, seen, tests, strict=True)
    ]
    if len(done) > 1:
        found.append(_chi("srm_combined", 0, combined(done), 1, lambda p: facts.SampleRatio(p, combined=True)))
    return found


def stage_checks(x: Exposures, change: LedgerChange, cohort: Cohort, window_us: int) -> list[Finding]:
    """The other checks of a stage with concurrent arms; windows are those of engagement."""
    number = cohort.stage.number
    found = [_crossovers(cohort), _arm_silent(x, change, cohort)]
    if cohort.stage.allocation is None:
        draws = Draws.of(cohort)
        arms = (draws.entered(group, cohort.days) for group in (CONTROL, cohort.treated_group))
        drift = within_strata(share_drift(c, t) for c, t in zip(*arms, strict=True))
        remedy = stage_event(change)
        found.append(_chi("share_drift", number, drift, 1, lambda p: facts.ShareDrift(p, remedy)))
    if number > 1:
        found.append(_met_before(x, change, cohort))
    return [*found, *common_checks(cohort, window_us)]


def stage_event(change: LedgerChange) -> str:
    """The event that declares one stage of a change, to be filled in and sent (docs/contract.md, Events)."""
    before = change.from_version or "stable"
    event = {
        "type": "change", "change_id": f"{change.rollout_id or change.to_version}-stage-N",
        "occurred_at": "BEGIN-OF-STAGE-N", "model_id": change.model_id, "from_version": change.from_version,
        "to_version": change.to_version, "kind": "canary", "rollout_id": change.rollout_id,
        "allocation": {before: 0.8, change.to_version: 0.2},
    }  # fmt: skip
    return json.dumps({name: value for name, value in event.items() if value is not None}, ensure_ascii=False)


def common_checks(cohort: Cohort, window_us: int) -> list[Finding]:
    """What is said of every stage, with concurrent arms or without."""
    number = cohort.stage.number
    days = full_days(cohort, window_us)
    share = cohort.anonymous / cohort.exposures if cohort.exposures else 0.0
    found = [
        Finding("full_days", number, "ok" if days >= MIN_FULL_DAYS else "warn", float(days)),
        Finding("anonymous", number, "warn" if share > ANONYMOUS_WARN_SHARE else "ok", float(cohort.anonymous)),
    ]
    if cohort.treated.clustered:
        missing = cohort.unclustered
        found.append(Finding("no_courier", number, "warn" if missing else "ok", float(missing)))
    return found


def full_days(cohort: Cohort, window_us: int) -> int:
    """Whole days (company's zone) inside the stage on which somebody entered and whose windows are all complete."""
    starts, ends = cohort.days[:-1], cohort.days[1:]
    whole = (starts >= cohort.stage.start_us) & (ends <= cohort.until_us) & (ends + window_us <= cohort.closes_us)
    entered = np.zeros(len(starts), dtype=bool)
    for arm in (cohort.control, cohort.treated):
        at = arm.at[(arm.at >= cohort.days[0]) & (arm.at < cohort.days[-1])]
        entered[day_of(at, cohort.days)] = True
    return int(np.count_nonzero(whole & entered))


def turned_round(x: Exposures, change: LedgerChange, cohorts: Sequence[Cohort]) -> list[Finding]:
    """``turned_round``: of each stage whose stable arm carries the version that the declaration calls the new one."""
    found = []
    for cohort in cohorts:
        stable = cohort.rows[x.arm.equals("stable", cohort.rows)]
        share = float(x.version.equals(change.to_version, stable).mean()) if len(stable) else 0.0
        if share > 0.5 and change.from_version not in (None, change.to_version):
            alarm_of = facts.TurnedRound(str(change.from_version), change.to_version)
            found.append(Finding("turned_round", cohort.stage.number, "block", share, alarm=alarm_of))
    return found


def _unlike_plan(cohort: Cohort, strata: Sequence[Counter[str]], p: float) -> AnyFact:
    """Each version's units beside its planned share."""
    weights, seen = cohort.stage.allocation or {}, sum(strata, Counter[str]())
    total = sum(weights.values()) or 1.0
    names = sorted({*(name for name, weight in weights.items() if weight > 0), *seen})
    return facts.SampleRatio(p, seen=tuple((name, seen[name], weights.get(name, 0.0) / total) for name in names))


def _observed(x: Exposures, change: LedgerChange, cohort: Cohort) -> list[Counter[str]]:
    """Units per version in each stratum; the stable arm counts as the version it is of."""
    weights = cohort.stage.allocation
    if weights is None:
        return []
    draws = Draws.of(cohort)
    observed: list[Counter[str]] = [Counter() for _ in range(draws.n_strata)]
    for group in np.unique(draws.group):
        if group == HOLDOUT:
            name = "holdout"
        elif group == CONTROL:
            before = change.from_version
            name = "stable" if before is None or (before not in weights and "stable" in weights) else before
        else:
            name = str(x.version.labels[group])
        counts = np.bincount(draws.stratum[draws.group == group], minlength=draws.n_strata)
        for of_stratum, n in zip(observed, counts.tolist(), strict=True):
            of_stratum[name] += n
    return observed


def _sample_ratio(cohort: Cohort, observed: Sequence[Counter[str]]) -> ChiSquare | None:
    """Units per version against the stage's allocation."""
    weights = cohort.stage.allocation
    if weights is None:
        return None
    tests = [sample_ratio(of_stratum, weights) for of_stratum in observed]
    few = sum((o for o, test in zip(observed, tests, strict=True) if test is None), Counter[str]())
    return within_strata([*tests, sample_ratio(few, weights)])


def _chi(check: str, stage: int, test: ChiSquare | None, tests: int, alarm_of: Callable[[float], AnyFact]) -> Finding:
    if test is None:
        return Finding(check, stage, "no data")
    blocked = alarm(test.p, tests)
    said = alarm_of(test.p) if blocked else None
    return Finding(check, stage, "block" if blocked else "ok", test.statistic, test.p, said)


def _crossovers(cohort: Cohort) -> Finding:
    share, number = cohort.crossover_share, cohort.stage.number
    if share is None:
        return Finding("crossovers", number, "no data")
    if share > CROSSOVER_BLOCK_SHARE:
        return Finding("crossovers", number, "block", share, alarm=facts.Crossovers(share, CROSSOVER_BLOCK_SHARE))
    warned = share >= CROSSOVER_WARN_SHARE and cohort.crossovers >= CROSSOVER_WARN_UNITS
    return Finding("crossovers", number, "warn" if warned else "ok", share)


def _arm_silent(x: Exposures, change: LedgerChange, cohort: Cohort) -> Finding:
    """Days on end on which an arm had no unit, where the other's units make that unlikely: p < 0.001 over all days."""
    number = cohort.stage.number
    groups = (CONTROL, cohort.treated_group)
    draws = Draws.of(cohort)
    seen = [draws.seen(cohort, x.at[cohort.rows], group) for group in groups]
    both = seen[0].sum(axis=1) + seen[1].sum(axis=1)
    if both.sum() == 0:
        return Finding("arm_silent", number, "no data")
    shares = [
        _treated_share(change, cohort, float(t) / max(int(n), 1)) for t, n in zip(seen[1].sum(1), both, strict=True)
    ]
    if None in shares:
        return Finding("arm_silent", number, "ok", 0.0)
    share = np.array(shares, dtype=np.float64)
    entered = [draws.entered(group, cohort.days) for group in groups]
    runs = _silences(seen[1], seen[0], entered[0], share) + _silences(seen[0], seen[1], entered[1], 1 - share)
    tests = int(np.count_nonzero((seen[0] + seen[1]).sum(axis=0)))
    alarming = [days for days, p in runs if p * tests < ALARM_P]
    p = min((min(1.0, p * tests) for _, p in runs), default=1.0)
    if not alarming:
        return Finding("arm_silent", number, "ok", 0.0, p)
    return Finding("arm_silent", number, "block", float(sum(alarming)), p, facts.ArmSilent(sum(alarming)))


def _silences(quiet: IntArray, other: IntArray, entered: IntArray, share: FloatArray) -> list[tuple[int, float]]:
    """(days, p) of each run of days on which ``quiet`` is 0 while the other arm speaks.

    p = Π (1 − share)^n over the strata, the probability that none of n units fell to the quiet arm; n counts nobody
    twice: the other arm's new units of the run, or the units of its fullest day. Arrays are per stratum (and day).
    """
    silent = np.flatnonzero((quiet.sum(axis=0) == 0) & (other.sum(axis=0) > 0))
    runs = [run for run in np.split(silent, np.flatnonzero(np.diff(silent) > 1) + 1) if len(run)]
    none = np.log1p(-share)
    return [
        (len(run), float(np.exp(min(float(none @ entered[:, run].sum(axis=1)), float((none @ other[:, run]).min())))))
        for run in runs
    ]


def _treated_share(change: LedgerChange, cohort: Cohort, seen: float) -> float | None:
    """The treated arm's share of the two, declared or seen; None where only one of them was planned."""
    weights = cohort.stage.allocation
    if weights is not None and change.from_version is not None:
        t, c = weights.get(change.to_version, 0.0), weights.get(change.from_version, 0.0)
        return t / (t + c) if t > 0 and c > 0 else None
    return min(max(seen, UNHEARD_SHARE), 1 - UNHEARD_SHARE)


def _met_before(x: Exposures, change: LedgerChange, cohort: Cohort) -> Finding:
    """The share of the stage's units that met the new version in an earlier stage."""
    keys = cohort.entries.key[cohort.compared()]
    if len(keys) == 0:
        return Finding("met_before", cohort.stage.number, "no data")
    column = x.courier if change.unit == "courier" else x.subject
    earlier = rows_of(x, change, change.start_us, cohort.stage.start_us, (), None)
    earlier = earlier[x.version.equals(change.to_version, earlier) & ~x.arm.equals("holdout", earlier)]
    met = np.zeros(len(column.labels) + 1, dtype=bool)
    met[column.codes[earlier]] = True  # those without a key are the last, and no key of the stage
    share = float(met[keys].mean())
    return Finding("met_before", cohort.stage.number, "warn" if share > MET_BEFORE_WARN_SHARE else "ok", share)
