"""Version changes that nobody declared and no ``rollout_id`` names: read off who met which version on which day.

The rules are those of docs/meaning.md, "Changes, when not declared".
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.change import BEFORE_AFTER_US, Kind, LedgerChange, Stage
from analysis.days import day_of, local_date, midnights
from analysis.frames import ABSENT, Coded
from analysis.groups import distinct, ranks
from analysis.moments import IntArray
from edgeloop.clock import DAY_US
from edgeloop.store.facts import AnyFact, Said

LIVE_SUBJECTS, LIVE_SHARE = 20, 0.005
NOT_LIVE_DAYS = 28  # a version that was away this long and comes back is a change
FROM_DAYS = 7
SWITCH_DAYS, GONE_SHARE = 3, 0.05
NEW_SHARE = 0.9
LEAST_EXPOSURES = 5  # of a zone on a day, for its share to say something


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """Who was shown what: the columns of exposures that tell changes, as codes."""

    at: IntArray
    model: Coded
    version: Coded
    arm: Coded
    rollout: Coded
    subject: Coded
    zone: Coded

    @classmethod
    def of(cls, exposures: pd.DataFrame) -> Shown:
        """From the contract's columns, times in µs."""
        columns = ("model_id", "model_version", "arm", "rollout_id", "subject", "zone")
        return cls(exposures["occurred_at"].to_numpy(dtype=np.int64), *(Coded.of(exposures[name]) for name in columns))


@dataclass(frozen=True, slots=True, eq=False)
class _Model:
    """One model's exposures by day: counts of shape (versions, zones, days) and people of shape (versions, days)."""

    model_id: str
    versions: list[str]
    zones: list[str]
    n: IntArray
    people: IntArray
    labelled: bool


def detect(shown: Shown, timezone: str) -> list[LedgerChange]:
    """The changes of exposures without a rollout, holdouts aside, by start, model and version.

    Args:
        shown: all exposures.
        timezone: of the company; a change starts at one of its midnights.
    """
    loose = np.flatnonzero((shown.rollout.codes == ABSENT) & ~shown.arm.equals("holdout"))
    if len(loose) == 0:
        return []
    days = midnights(int(shown.at[loose].min()), int(shown.at[loose].max()) + 1, timezone)
    found: list[LedgerChange] = []
    for model_id in shown.model.occurring():
        rows = loose[shown.model.equals(model_id, loose)]
        if np.count_nonzero(np.bincount(shown.version.codes[shown.model.equals(model_id)] + 1)) > 1:
            found += _of_model(_count(model_id, shown, rows, days), days, timezone, shown)
    return sorted(found, key=lambda c: (c.start_us, c.model_id, c.to_version))


def _count(model_id: str, shown: Shown, rows: IntArray, days: IntArray) -> _Model:
    day, n_days = day_of(shown.at[rows], days), len(days) - 1
    version, versions = _named(shown.version, rows)
    zone, zones = _named(shown.zone, rows)
    shape = (len(versions), len(zones), n_days)
    n = np.bincount(np.ravel_multi_index((version, zone, day), shape), minlength=math.prod(shape)).reshape(shape)
    known = shown.subject.codes[rows] != ABSENT
    n_people = len(shown.subject.labels)
    met = distinct((version[known] * n_days + day[known]) * n_people + shown.subject.codes[rows][known])
    people = np.bincount(met // max(n_people, 1), minlength=len(versions) * n_days)
    arms = shown.arm.codes[rows]
    stable = arms == shown.arm.code("stable") if shown.arm.code("stable") is not None else np.zeros(len(rows), bool)
    return _Model(
        model_id,
        versions,
        zones,
        n,
        people.reshape(len(versions), n_days).astype(np.int64),
        bool(stable.any() and (~stable & (arms != ABSENT)).any()),
    )


def _named(coded: Coded, rows: IntArray) -> tuple[IntArray, list[str]]:
    """Codes from 0 in the order of the names, and the names; absent ones are named ``""``."""
    own = coded.of_rows(rows) + 1  # 0: absent
    seen, code = np.flatnonzero(np.bincount(own)) - 1, ranks(own, len(coded.labels) + 1)
    names = [coded.label(int(c)) or "" for c in seen]
    order = np.argsort(np.array(names, dtype=object), kind="stable")
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    return rank[code], [names[i] for i in order]


def _of_model(model: _Model, days: IntArray, timezone: str, shown: Shown) -> list[LedgerChange]:
    share = model.people / np.maximum(model.people.sum(axis=0), 1)
    live = (model.people >= LIVE_SUBJECTS) & (share >= LIVE_SHARE)
    asked = np.flatnonzero(live.any(axis=0))
    found = []
    for v in range(len(model.versions)):
        on = np.flatnonzero(live[v])
        if len(on) == 0:
            continue
        gaps = np.concatenate([[True], np.diff(on) > NOT_LIVE_DAYS])
        for start in on[gaps].tolist():
            if start == asked[0]:  # it was there when the tables begin
                continue
            until = _last_of_spell(on, start)
            change = _change(model, v, start, until, bool((on < start).any()), days, timezone, shown)
            if change is not None:
                found.append(change)
    return found


def _last_of_spell(on: IntArray, start: int) -> int:
    """The last day on which it was live before it was away for long."""
    spell = on[on >= start]
    breaks = np.flatnonzero(np.diff(spell) > NOT_LIVE_DAYS)
    return int(spell[breaks[0]] if len(breaks) else spell[-1])


def _change(
    model: _Model, v: int, start: int, until: int, seen_before: bool, days: IntArray, timezone: str, shown: Shown
) -> LedgerChange | None:
    week = model.n[:, :, max(0, start - FROM_DAYS) : start].sum(axis=(1, 2))
    week[v] = 0
    start_us, version = int(days[start]), model.versions[v]
    if week.sum() > 0:
        before = int(np.argmax(week))
        from_version = model.versions[before]
        kind, zones, refusal = _kind(model, v, before, start, seen_before)
    else:  # everybody was in a rollout that week: after it they all have what was not its stable version
        stable = _stable_before(shown, model.model_id, start_us)
        if stable is None or stable == version:
            return None
        from_version, kind, zones, refusal = stable, "rollback" if seen_before else "switch", (), None
        if stable in model.versions:
            kind, zones, refusal = _kind(model, v, model.versions.index(stable), start, seen_before)
    date = local_date(start_us, timezone)
    switched = kind in ("switch", "rollback")
    return LedgerChange(
        change_id=f"auto:{model.model_id}/{date}/{version}",
        model_id=model.model_id,
        to_version=version,
        from_version=from_version,
        kind=kind,
        declared=False,
        stages=(Stage(1, start_us, zones=zones),),
        last_us=start_us + BEFORE_AFTER_US if switched else int(days[until + 1]),
        title=f"{model.model_id} {version} from {date}",
        refusal=refusal,
    )


def _stable_before(shown: Shown, model_id: str, start_us: int) -> str | None:
    """The version with most exposures in the stable arms of the week before; of equals the first by name."""
    week = (shown.at >= start_us - FROM_DAYS * DAY_US) & (shown.at < start_us)
    codes = shown.version.codes[week & shown.model.equals(model_id) & shown.arm.equals("stable")]
    found = [(-int(n), str(shown.version.labels[v])) for v, n in enumerate(np.bincount(codes)) if n]
    return min(found)[1] if found else None


def _kind(
    model: _Model, v: int, before: int, start: int, seen_before: bool
) -> tuple[Kind, tuple[str, ...], AnyFact | None]:
    """(kind, zones that changed, why nothing can be estimated)."""
    for day in range(start, min(start + SWITCH_DAYS + 1, model.n.shape[2])):
        total = model.n[:, :, day].sum(axis=0)
        spoke = total >= LEAST_EXPOSURES
        old = model.n[before, :, day][spoke] / total[spoke]
        if spoke.any() and (old < GONE_SHARE).all():
            return ("rollback" if seen_before else "switch"), (), None
    week = model.n[:, :, start : start + FROM_DAYS].sum(axis=2)
    total = week.sum(axis=0)
    spoke = total >= LEAST_EXPOSURES
    new = np.where(spoke, week[v] / np.maximum(total, 1), np.nan)
    old = np.where(spoke, week[before] / np.maximum(total, 1), np.nan)
    changed = new >= NEW_SHARE
    if changed.any() and (old >= NEW_SHARE).any():
        return "staged", tuple(model.zones[i] for i in np.flatnonzero(changed)), None
    if model.labelled:
        return "canary", (), Said("not drawn")
    return "mixed", (), Said("mixed")
