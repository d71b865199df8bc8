"""Which version changes were there? Declared ones, and those that a ``rollout_id`` on exposures gives away.

Changes of one rollout and version are the stages of one change; a declared change takes the place of the detected one
(docs/meaning.md, "Changes, when not declared").
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from analysis.change import BEFORE_AFTER_US, FULL_SWITCH, Kind, LedgerChange, Stage
from analysis.days import local_date
from analysis.detect import Shown, detect
from analysis.found_stages import found_stages
from analysis.frames import ABSENT
from analysis.groups import first_places, ranks
from edgeloop.clock import DAY_US, HOUR_US
from edgeloop.store.facts import AnyFact, Said

SAME_CHANGE_US = 48 * HOUR_US  # a declaration this near a detected start of the same version means the same change
ONE_VERSION = 0.9  # of a zone's exposures: it has one version
FROM_VERSION_US = 7 * DAY_US  # where the version before a switch is looked for


def ledger(tables: Mapping[str, pd.DataFrame], *, timezone: str) -> list[LedgerChange]:
    """All changes, declared or detected, by start, model and version.

    Args:
        tables: at least ``exposures`` and ``changes`` with their contract columns.
        timezone: of the company; dates in titles are in it.
    """
    shown = Shown.of(tables["exposures"])
    rollouts = _rollouts(shown)
    declared = _declared(tables["changes"], timezone)
    detected = _detected(shown, rollouts, timezone) + detect(shown, timezone)
    merged = [_adopt_rollout(change, detected) for change in declared]
    told = [_staged(_with_data(change, shown, rollouts), shown, timezone) for change in merged]
    detected = [d for d in detected if not any(_same(c, d) for c in told) and not _late(told, d, shown)]
    kept = [_beside(d, told) for d in detected if not any(_turned(c, d) for c in told)]
    return sorted(told + kept, key=lambda c: (c.start_us, c.model_id, c.to_version, c.change_id))


def _declared(changes: pd.DataFrame, timezone: str) -> list[LedgerChange]:
    rows: list[dict[str, Any]] = [{str(k): v for k, v in row.items()} for row in changes.to_dict("records")]
    rows.sort(key=lambda row: (int(row["occurred_at"]), row["change_id"]))
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    switched: dict[str, int] = {}  # of each model, how often everybody had a version so far
    for row in rows:
        model_id = row["model_id"]
        if row["kind"] in FULL_SWITCH:
            switched[model_id] = switched.get(model_id, 0) + 1
        key: tuple[str, ...] = ("", row["change_id"])
        if _text(row, "rollout_id") is not None and row["kind"] not in FULL_SWITCH:
            key = (model_id, row["rollout_id"], row["to_version"])
        elif row["kind"] == "staged":  # the zones that follow are stages of the change that the first began
            key = (model_id, "", row["to_version"], str(switched.get(model_id, 0)))
        groups.setdefault(key, []).append(row)
    return [_declared_change(group, rows, timezone) for group in groups.values()]


def _declared_change(group: list[dict[str, Any]], rows: list[dict[str, Any]], timezone: str) -> LedgerChange:
    first = group[0]
    stages = tuple(
        Stage(
            number=i + 1,
            start_us=int(row["occurred_at"]),
            end_us=_end(row, group[i + 1] if i + 1 < len(group) else None, rows),
            allocation={str(k): float(v) for k, v in _json(row, "allocation", {}).items()} or None,
            zones=tuple(_json(row, "zones", [])),
        )
        for i, row in enumerate(group)
    )
    again_us = _again(group, rows)
    unit = _text(first, "unit") or "subject"
    assignment = _text(first, "assignment")
    rollout_id = _text(first, "rollout_id")
    return LedgerChange(
        change_id=first["change_id"],
        model_id=first["model_id"],
        to_version=first["to_version"],
        from_version=_last(group, "from_version"),
        kind=first["kind"],
        declared=True,
        stages=stages,
        last_us=stages[-1].end_us or stages[-1].start_us,
        title=_last(group, "title")
        or _title(first["model_id"], first["to_version"], again_us or stages[0].start_us, timezone),
        again_us=again_us,
        rollout_id=rollout_id,
        unit=unit,
        assignment=assignment,
        planned_units=_whole(first, "planned_units"),
        planned_stages=_whole(first, "planned_stages"),
        cluster=_text(first, "cluster"),
        strata=tuple(_json(first, "strata", [])),
        block_h=_number(first, "block_h"),
        block_starts_us=_whole(first, "starts"),
        features=tuple(_json(first, "features", [])),
        shares_capacity=any(row.get("shares_capacity") == 1 for row in group),
        owner=_last(group, "owner"),
        note=_last(group, "note"),
    )


def _again(group: list[dict[str, Any]], rows: list[dict[str, Any]]) -> int | None:
    """When the last try began, where everybody was taken back to another version between two stages."""
    starts = [int(row["occurred_at"]) for row in group]
    first = group[0]
    back = [
        int(row["occurred_at"])
        for row in rows
        if row["kind"] == "rollback"
        and row["model_id"] == first["model_id"]
        and row["to_version"] != first["to_version"]
    ]
    last = max((at for at in back if starts[0] < at <= starts[-1]), default=None)
    return None if last is None else min(at for at in starts if at >= last)


def _end(row: dict[str, Any], next_stage: dict[str, Any] | None, rows: list[dict[str, Any]]) -> int | None:
    """The earliest of: declared end, next stage, the declared full switch of that model that ends it.

    A rollback is over, too, where part of the people get another version again: its days after are those before that.
    What carries a ``rollout_id`` is ended only by a switch of the same rollout; what carries none, by the model's next.
    """
    start, rollout_id = int(row["occurred_at"]), _text(row, "rollout_id")
    ends = [int(other["occurred_at"]) for other in rows if _ends(other, row, rollout_id)]
    declared = _whole(row, "ended_at")
    if declared is not None and declared > start:
        ends.append(declared)
    if next_stage is not None:
        ends.append(int(next_stage["occurred_at"]))
    return min(ends, default=None)


def _ends(other: dict[str, Any], row: dict[str, Any], rollout_id: str | None) -> bool:
    if row["kind"] == "rollback" and other["kind"] not in FULL_SWITCH:
        return other["model_id"] == row["model_id"] and int(other["occurred_at"]) > int(row["occurred_at"])
    return (
        other["model_id"] == row["model_id"]
        and other["kind"] in FULL_SWITCH
        and int(other["occurred_at"]) > int(row["occurred_at"])
        and (row["kind"] in FULL_SWITCH or rollout_id is None or _text(other, "rollout_id") == rollout_id)
    )


def _with_data(change: LedgerChange, shown: Shown, rollouts: pd.DataFrame) -> LedgerChange:
    """The change with what only exposures know: the version before, if not declared, and when it was last live."""
    own = rollouts[(rollouts["model_id"] == change.model_id) & (rollouts["rollout_id"] == change.rollout_id)]
    labelled = change.rollout_id is not None and not change.full_switch
    from_version = change.from_version
    if from_version is None and labelled:
        from_version = _most_exposures(own[own["arm"] == "stable"])
    change = replace(change, zoned=_zoned(change, shown), stages=_by_version(change.stages, own, from_version))
    if change.by_zone and change.unit == "subject":
        change = replace(change, unit="zone")
    if from_version is None and (change.by_zone or not labelled):
        from_version = _version_before(shown, change)
    last_us = change.last_us
    if change.end_us is None and change.full_switch:
        last_us = change.start_us + BEFORE_AFTER_US
    elif change.end_us is None and labelled:
        last_us = max(last_us, int(own["last"].max())) if len(own) else last_us
    elif change.end_us is None:
        live = shown.at[shown.model.equals(change.model_id) & shown.version.equals(change.to_version)]
        last_us = max(last_us, int(live.max())) if len(live) else last_us
    return replace(change, from_version=from_version, last_us=last_us, refusal=_refusal(change))


def _by_version(stages: tuple[Stage, ...], own: pd.DataFrame, from_version: str | None) -> tuple[Stage, ...]:
    """Weights that are keyed by exactly the arms of the rollout's exposures, keyed by the versions of these arms.

    Args:
        own: the rollout's rows of `_rollouts`.
    """
    of_arm = {str(arm): _most_exposures(rows) or "" for arm, rows in own.groupby("arm") if arm not in ("", "holdout")}
    if "stable" in of_arm and from_version is not None:
        of_arm["stable"] = from_version
    told = set(of_arm.values())
    if len(told) < len(of_arm) or not of_arm:
        return stages
    made = []
    for stage in stages:
        weights = stage.allocation or {}
        if set(weights) - {"holdout"} == set(of_arm) and not told & set(weights):
            stage = replace(stage, allocation={of_arm.get(name, name): weight for name, weight in weights.items()})
        made.append(stage)
    return tuple(made)


def _zoned(change: LedgerChange, shown: Shown) -> bool:
    """Whether some stage shows nearly all exposures in zones that have one version, and zones of both kinds.

    A staged change with shares per stage is one of people, whose arms are in every zone.
    """
    if change.kind != "staged" or change.unit not in ("subject", "zone"):
        return False
    if any(stage.allocation is not None and len([w for w in stage.allocation.values() if w > 0]) > 1
           for stage in change.stages):  # fmt: skip
        return False
    own = shown.model.equals(change.model_id) & ~shown.arm.equals("holdout") & (shown.zone.codes != ABSENT)
    new = shown.version.equals(change.to_version)
    for stage in change.stages:
        rows = own & (shown.at >= stage.start_us)
        if stage.end_us is not None:
            rows &= shown.at < stage.end_us
        seen = np.bincount(shown.zone.codes[rows], minlength=len(shown.zone.labels))
        share = np.bincount(shown.zone.codes[rows & new], minlength=len(seen)) / np.maximum(seen, 1)
        one = (share >= ONE_VERSION) | (share <= 1 - ONE_VERSION)
        both = bool(((share >= ONE_VERSION) & (seen > 0)).any() and ((share <= 1 - ONE_VERSION) & (seen > 0)).any())
        if both and seen[one].sum() >= ONE_VERSION * seen.sum():
            return True
    return False


def _version_before(shown: Shown, change: LedgerChange) -> str | None:
    """The version with most exposures in the seven days before, holdouts aside; of equals the first by name."""
    start = change.start_us
    week = shown.model.equals(change.model_id) & (shown.at >= start - FROM_VERSION_US) & (shown.at < start)
    codes = shown.version.codes[week & ~shown.arm.equals("holdout")]
    found = [(-int(n), str(shown.version.labels[v])) for v, n in enumerate(np.bincount(codes)) if n]
    return min(found)[1] if found else None


def _refusal(change: LedgerChange) -> AnyFact | None:
    if change.full_switch or change.by_zone:
        return None
    if change.assignment == "chosen":
        return Said("chosen")
    if change.rollout_id is None and change.assignment != "random":
        return Said("not drawn")
    return None


def _rollouts(shown: Shown) -> pd.DataFrame:
    """One row per (model_id, rollout_id, arm, model_version): n, first, last; an absent arm is ``""``."""
    rows = np.flatnonzero(shown.rollout.codes != ABSENT)
    columns = {"model_id": shown.model, "rollout_id": shown.rollout, "arm": shown.arm, "model_version": shown.version}
    key = np.zeros(len(rows), dtype=np.int64)
    n_keys = 1
    for coded in columns.values():  # one more than labels: an arm may be absent
        n_keys = max(n_keys * (len(coded.labels) + 1), 1)
        key = ranks(key * (len(coded.labels) + 1) + coded.of_rows(rows) + 1, n_keys)
        n_keys = int(key.max(initial=-1)) + 1
    group, n = key, np.bincount(key, minlength=n_keys)
    first = first_places(key, n_keys)
    begins = np.full(len(n), np.iinfo(np.int64).max)
    ends = np.full(len(n), np.iinfo(np.int64).min)
    np.minimum.at(begins, group, shown.at[rows])
    np.maximum.at(ends, group, shown.at[rows])
    frame = pd.DataFrame(
        {name: [coded.label(int(c)) or "" for c in coded.codes[rows[first]]] for name, coded in columns.items()}
        | {"n": n, "first": begins, "last": ends}
    )
    return frame.sort_values(list(columns), kind="stable", ignore_index=True)


def _staged(change: LedgerChange, shown: Shown, timezone: str) -> LedgerChange:
    """A change whose one stage says nothing of its share, with the stages that the exposures tell of.

    What was drawn inside strata or by clusters has shares of its own in each: they step from one to the next.
    """
    only = change.stages[0]
    if change.strata or change.cluster is not None:
        return change
    silent = len(change.stages) == 1 and only.allocation is None and not only.zones
    if not silent or change.rollout_id is None or change.full_switch or change.by_zone or change.refusal is not None:
        return change
    return _with_stages(
        change, found_stages(shown, change.model_id, change.rollout_id, only.start_us, only.end_us, timezone)
    )


def _with_stages(change: LedgerChange, stages: tuple[Stage, ...]) -> LedgerChange:
    if len(stages) == 1:
        return change
    return replace(change, stages=stages, planned_stages=max(change.planned_stages or 1, len(stages)))


def _detected(shown: Shown, rollouts: pd.DataFrame, timezone: str) -> list[LedgerChange]:
    found: list[LedgerChange] = []
    for (model_id, rollout_id), rows in rollouts.groupby(["model_id", "rollout_id"], sort=True):
        own = _detected_in(str(model_id), str(rollout_id), rows, timezone)
        if any(change.refusal is None for change in own):
            stages = found_stages(shown, str(model_id), str(rollout_id), own[0].start_us, None, timezone)
            own = [change if change.refusal is not None else _with_stages(change, stages) for change in own]
        found += own
    return found


def _detected_in(model_id: str, rollout_id: str, rows: pd.DataFrame, timezone: str) -> list[LedgerChange]:
    """The changes of one rollout: each version in an arm neither stable nor held out, against the stable arm."""
    new = rows[~rows["arm"].isin(["stable", "holdout"])]
    if new.empty:
        return []
    stable = rows[rows["arm"] == "stable"]
    kind: Kind = "canary"
    refusal: AnyFact | None = None
    versions = sorted({str(v) for v in new["model_version"]})
    from_version = _most_exposures(stable)
    if (new["arm"] == "").all() and stable.empty:
        # Nobody said which arm is which: one change, to the version that came last.
        kind, refusal = "mixed", Said("unlabelled arms")
        by_age = new.groupby("model_version", sort=True)["first"].min().sort_values(kind="stable")
        versions = [str(by_age.index[-1])]
        from_version = _most_exposures(new[new["model_version"] != versions[0]])
    elif stable.empty:
        refusal = Said("no stable arm")
    start = int(rows["first"].min())
    return [
        LedgerChange(
            change_id=f"auto:{model_id}/{rollout_id}/{version}",
            model_id=model_id,
            to_version=version,
            from_version=from_version,
            kind=kind,
            declared=False,
            stages=(Stage(1, start),),
            last_us=int(rows["last"].max()),
            title=_title(model_id, version, start, timezone),
            rollout_id=rollout_id,
            refusal=refusal,
        )
        for version in versions
    ]


def _most_exposures(rows: pd.DataFrame) -> str | None:
    """The version with most exposures; of equals the first by name."""
    if rows.empty:
        return None
    counts = rows.groupby("model_version", sort=True)["n"].sum()
    return str(counts.index[int(np.argmax(counts.to_numpy()))])


def _near(declared: LedgerChange, detected: LedgerChange) -> bool:
    return (
        declared.model_id == detected.model_id
        and declared.to_version == detected.to_version
        and abs(declared.start_us - detected.start_us) <= SAME_CHANGE_US
    )


def _same(declared: LedgerChange, detected: LedgerChange) -> bool:
    """A switch that ends a rollout names it too, and is another change than the canary that it ends."""
    labelled = (declared.model_id, declared.rollout_id, declared.to_version)
    if detected.kind == "mixed":  # its version is a guess, the declared one is not
        labelled = (declared.model_id, declared.rollout_id, detected.to_version)
    same_label = labelled == (detected.model_id, detected.rollout_id, detected.to_version)
    return (same_label and not declared.full_switch) or _near(declared, detected)


def _turned(declared: LedgerChange, detected: LedgerChange) -> bool:
    """Whether the same rollout was declared from the new version to the old one (the check ``turned_round``)."""
    same = (declared.model_id, declared.rollout_id) == (detected.model_id, detected.rollout_id)
    versions = (declared.from_version, declared.to_version) == (detected.to_version, detected.from_version)
    return same and versions and detected.rollout_id is not None and not declared.full_switch


def _late(declared: Iterable[LedgerChange], detected: LedgerChange, shown: Shown) -> bool:
    """Whether a switch was declared before it could be seen: so few met the model that days passed till it was live.

    Everybody who met the model from the declared moment on had the version already.
    """
    if not detected.full_switch or detected.rollout_id is not None:
        return False
    earlier = [
        c for c in declared
        if c.full_switch and c.model_id == detected.model_id and c.start_us <= detected.start_us
    ]  # fmt: skip
    last = max(earlier, key=lambda c: c.start_us, default=None)
    if last is None or last.to_version != detected.to_version:
        return False
    rows = shown.model.equals(detected.model_id) & (shown.at >= last.start_us) & (shown.at < detected.start_us)
    new = rows & shown.version.equals(detected.to_version)
    return bool(np.count_nonzero(new) >= ONE_VERSION * np.count_nonzero(rows))


def _beside(detected: LedgerChange, declared: Iterable[LedgerChange]) -> LedgerChange:
    """A detected version of a rollout of which another version was declared has that one's stages, draw and plan."""
    for other in declared:
        same = (other.model_id, other.rollout_id) == (detected.model_id, detected.rollout_id)
        if same and not other.full_switch and detected.refusal is None:
            return replace(
                detected,
                kind=other.kind,
                stages=other.stages,
                from_version=detected.from_version if other.from_version == detected.to_version else other.from_version,
                unit=other.unit,
                assignment=other.assignment,
                cluster=other.cluster,
                strata=other.strata,
                block_h=other.block_h,
                block_starts_us=other.block_starts_us,
                zoned=other.zoned,
                planned_units=other.planned_units,
                planned_stages=other.planned_stages,
                shares_capacity=other.shares_capacity,
                refusal=other.refusal,
            )
    return detected


def _adopt_rollout(change: LedgerChange, detected: Iterable[LedgerChange]) -> LedgerChange:
    """A declared canary without ``rollout_id`` takes that of the one rollout it stands for."""
    if change.rollout_id is not None or change.full_switch:
        return change
    rollouts = {d.rollout_id for d in detected if d.rollout_id is not None and _near(change, d)}
    return replace(change, rollout_id=rollouts.pop()) if len(rollouts) == 1 else change


def _title(model_id: str, version: str, start_us: int, timezone: str) -> str:
    return f"{model_id} {version} from {local_date(start_us, timezone)}"


def _text(row: dict[str, Any], column: str) -> str | None:
    value = row.get(column)
    return value if isinstance(value, str) and value else None


def _last(group: list[dict[str, Any]], column: str) -> str | None:
    """What the latest stage says of it."""
    return next((text for row in reversed(group) if (text := _text(row, column)) is not None), None)


def _whole(row: dict[str, Any], column: str) -> int | None:
    value = row.get(column)
    return None if value is None or pd.isna(value) else int(value)


def _number(row: dict[str, Any], column: str) -> float | None:
    value = row.get(column)
    return None if value is None or pd.isna(value) else float(value)


def _json(row: dict[str, Any], column: str, default: Any) -> Any:
    text = _text(row, column)
    return json.loads(text) if text else default
