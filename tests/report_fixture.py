"""A small company's month as a real freeze folder, from seeded numpy; its analysis is the product's own.

Three changes in March 2026: a rebooking prompt that helps (promote), a louder promotion that lifts clicks and lowers
satisfaction (roll back), and an ETA model switched for everybody at once (before and after).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from analysis import Analysis, analyse
from edgeloop.clock import DAY_US, HOUR_US, SECOND_US, to_us
from edgeloop.metrics import MetricSettings
from edgeloop.months import Month
from edgeloop.store.freeze import MANIFEST, Freeze, Manifest, TableInfo
from edgeloop.store.schema import (
    ANSWERS,
    ATTRIBUTIONS,
    CHANGES,
    ENGAGEMENT,
    EXPOSURES,
    PROFILES,
    RESPONSES,
    SCHEMA_NUMBER,
    TELEMETRY,
    Table,
)

HOSTILE = '<script>alert(1)</script><img src=x onerror="alert(2)"> {{ 7 * 7 }} </td></table><h1>owned</h1>'
TABLES = (EXPOSURES, RESPONSES, ANSWERS, ENGAGEMENT, PROFILES, TELEMETRY, CHANGES, ATTRIBUTIONS)
_ARROW = {
    "text": pa.string(), "int": pa.int64(), "real": pa.float64(), "bool": pa.bool_(),
    "time": pa.timestamp("us", tz="UTC"), "json": pa.string(),
}  # fmt: skip
_CUSTOMERS, _COURIERS = 6_000, 60
_UNHAPPY = (
    "The courier came two hours after the time the app had promised, and nobody told me.",
    "Far too many offers on the card, I could not find where my parcel was.",
    "Had to wait at the locker, the code did not open it the first time.",
)
_HAPPY = (
    "Moved the slot to the evening with one tap, that saved my day.",
    "Parcel came right inside the window, friendly courier.",
    "The new prompt asked before I even noticed I would not be home.",
)
_AGENT_REMARKS = (
    "Fewer closed doors since people can move the slot themselves.",
    "The handheld freezes for a moment when the route is loaded again.",
    "Route order makes more sense now in the old town.",
)


def at(month: int, day: int, hour: int = 0) -> int:
    """A moment of 2026, UTC."""
    return to_us(datetime(2026, month, day, hour, tzinfo=UTC))


def write(folder: Path, frames: Mapping[str, pd.DataFrame], *, provisional: bool = True, **manifest_of: Any) -> Freeze:
    """A freeze folder of these frames (tables not named are empty); ``manifest_of`` are fields of its manifest."""
    folder.mkdir(parents=True, exist_ok=True)
    tables = {}
    for table in TABLES:
        path = folder / f"{table.name}.parquet"
        pq.write_table(_arrow(table, frames.get(table.name)), path, compression="zstd")
        rows = len(frames[table.name]) if table.name in frames else 0
        tables[table.name] = TableInfo(rows, hashlib.sha256(path.read_bytes()).hexdigest())
    manifest = Manifest(
        freeze_id="2026-03-0123456789ab", month="2026-03", timezone="Europe/Berlin", company="Finch Parcels",
        provisional=provisional, simulated=True, as_of_us=at(4, 16, 4), since_us=at(1, 4), schema=SCHEMA_NUMBER,
        code_version="0.1.0", writer="pyarrow", rules={"credit_rule": "last_touch"}, offsets={},
        metrics={"support_contacted": MetricSettings(event="support_contacted", direction="down")},
        counts={"superseded": 12, "duplicates": 340, "dead_letters:no known type": 3} if frames else {},
        tables=tables,
    )  # fmt: skip
    manifest = msgspec.structs.replace(manifest, **manifest_of)
    (folder / MANIFEST).write_bytes(msgspec.json.encode(manifest))
    return Freeze(folder)


def analysed(freeze: Freeze, month: Month | None = None, *, figures_alone: bool = False) -> Analysis:
    """The product's own analysis of a freeze, of its month unless another is named."""
    manifest = freeze.manifest
    return analyse(
        freeze.frames(),
        month or freeze.month,
        freeze_id=manifest.freeze_id,
        as_of_us=manifest.as_of_us,
        begins_us=manifest.begins_us,
        metrics=manifest.metrics,
        printed=manifest.printed,
        holidays=manifest.holidays,
        chain=(("delivered", manifest.survey.delivered), ("invited", manifest.survey.invited)),
        figures_alone=figures_alone,
    )


def frames(*, remark: str | None = None) -> dict[str, pd.DataFrame]:
    """The month's tables; ``remark`` replaces everything that anybody wrote."""
    rng = np.random.default_rng(20260301)
    exposures = _exposures(rng)
    engagement = _engagement(rng, exposures)
    answers = pd.concat([_customer_answers(rng, exposures, remark), _agent_answers(rng, exposures, remark)])
    answers = answers.sort_values(["occurred_at", "response_id", "position"], ignore_index=True)
    return {
        "exposures": exposures,
        "engagement": engagement,
        "answers": answers,
        "responses": _responses(answers),
        "changes": _changes(),
        "attributions": _attributions(answers, exposures),
    }


def _exposures(rng: np.random.Generator) -> pd.DataFrame:
    parts = []
    for model, touchpoint, arms in (
        ("rebook-prompt", "app_card", True),
        ("promo-card", "app_card", True),
        ("eta-promise", "locker", False),
    ):
        person = np.repeat(np.arange(_CUSTOMERS), 3)
        when = rng.integers(at(2, 1), at(4, 1) - 3 * HOUR_US, len(person))
        treated = (rng.permutation(_CUSTOMERS) % 2 == 1)[person]
        if arms:
            begun = when >= at(3, 2)
            version = np.where(begun & treated, "2.1", "2.0")
            arm = np.where(begun & treated, "canary", "stable")
            rollout: Any = np.where(begun, f"{model}-2.1", None)
        else:
            version, arm = np.where(when >= at(3, 10), "2.0", "1.9"), np.full(len(person), "stable")
            rollout = np.full(len(person), None)
        slow = 1.35 if model == "eta-promise" else 1.0
        error = rng.random(len(person)) < 0.004 * slow
        parts.append(
            pd.DataFrame(
                {
                    "exposure_id": [f"x-{model}-{i:06d}" for i in range(len(person))],
                    "subject": [f"customer{p:05d}" for p in person],
                    "touchpoint": touchpoint,
                    "model_id": model,
                    "model_version": version,
                    "arm": arm,
                    "rollout_id": rollout,
                    "latency_ms": np.round(
                        rng.gamma(6, 42 * slow, len(person)) * np.where(version == "2.0", 1.0, 0.9), 1
                    ),
                    "error": np.where(error, "timeout", None),
                    "fallback": error.astype(float),
                    "features": np.where(version == "2.1", 9, 12 if slow > 1 else 8).astype(float),
                    "zone": np.where(person % 3 == 0, "north", "south"),
                    "courier": [f"courier{p % _COURIERS:03d}" for p in person],
                    "occurred_at": when,
                    "received_at": when + np.where(rng.random(len(person)) < 0.02, 30 * HOUR_US, 40 * SECOND_US),
                }
            )
        )
    return pd.concat(parts).sort_values(["occurred_at", "exposure_id"], ignore_index=True)


def _engagement(rng: np.random.Generator, exposures: pd.DataFrame) -> pd.DataFrame:
    new = exposures["model_version"] == "2.1"
    parts = []
    for name, model, base, lifted, value in (
        ("slot_rebooked", "rebook-prompt", 0.12, 0.16, False),
        ("promo_clicked", "promo-card", 0.08, 0.115, False),
        ("order_placed", "promo-card", 0.10, 0.10, True),
        ("support_contacted", "eta-promise", 0.05, 0.05, False),
    ):
        x = exposures[exposures["model_id"] == model]
        hit = x[rng.random(len(x)) < np.where(new[x.index], lifted, base)]
        parts.append(
            pd.DataFrame(
                {
                    "subject": hit["subject"],
                    "name": name,
                    "source": "mixpanel",
                    "value": np.round(rng.gamma(4, 9, len(hit)), 2) if value else np.nan,
                    "currency": "EUR" if value else None,
                    "occurred_at": hit["occurred_at"] + rng.integers(SECOND_US, 50 * HOUR_US, len(hit)),
                }
            )
        )
    made = pd.concat(parts).sort_values(["occurred_at", "subject", "name"], ignore_index=True)
    made["event_id"] = [f"mixpanel:{i:06d}" for i in range(len(made))]
    made["received_at"] = made["occurred_at"] + 5 * SECOND_US
    return made


def _customer_answers(rng: np.random.Generator, exposures: pd.DataFrame, remark: str | None) -> pd.DataFrame:
    x = exposures[exposures["model_id"] == "promo-card"]
    x = x[rng.random(len(x)) < 0.13]
    score = np.clip(np.round(rng.normal(np.where(x["model_version"] == "2.1", 3.45, 4.05), 0.9)), 1, 5)
    return _answers(rng, x["subject"], x["occurred_at"] + DAY_US, score, "delivery", "customer", remark)


def _agent_answers(rng: np.random.Generator, exposures: pd.DataFrame, remark: str | None) -> pd.DataFrame:
    x = exposures[exposures["model_id"] == "eta-promise"].drop_duplicates("courier")
    score = np.clip(np.round(rng.normal(3.6, 0.9, len(x))), 1, 5)
    when = rng.integers(at(3, 3), at(3, 30), len(x))
    return _answers(rng, x["courier"], pd.Series(when, index=x.index), score, "courier-pulse", "agent", remark)


def _answers(
    rng: np.random.Generator, who: pd.Series, when: pd.Series, score: Any, survey: str, side: str, remark: str | None
) -> pd.DataFrame:
    texts = []
    for value in score:
        pool = _AGENT_REMARKS if side == "agent" else _UNHAPPY if value <= 2 else _HAPPY
        texts.append(remark if remark is not None else pool[int(rng.integers(len(pool)))])
    ids = [f"typeform:{survey}:{i:05d}" for i in range(len(who))]
    shared = {"response_id": ids, "subject": who.to_numpy(), "occurred_at": when.to_numpy(), "respondent": side}
    rating = pd.DataFrame(
        {**shared, "position": 0, "question": "csat", "kind": "csat", "value": score, "low": 1.0, "high": 5.0}
    )
    text = pd.DataFrame({**shared, "position": 1, "question": "why", "kind": "text", "text": texts})
    both = pd.concat([rating, text[rng.random(len(text)) < 0.4]])
    return both.assign(survey_id=survey, source="typeform")


def _responses(answers: pd.DataFrame) -> pd.DataFrame:
    made = answers.drop_duplicates("response_id")[["response_id", "subject", "respondent", "survey_id", "occurred_at"]]
    return made.assign(source="typeform", received_at=made["occurred_at"] + SECOND_US)


def _attributions(answers: pd.DataFrame, exposures: pd.DataFrame) -> pd.DataFrame:
    """Last touch inside 14 days, per answer and model."""
    rows = []
    numbers = answers.sort_values("occurred_at", kind="stable")
    for side, key in (("customer", "subject"), ("agent", "courier")):
        asked = numbers[numbers["respondent"] == side]
        for model in sorted(exposures["model_id"].unique()):
            shown = exposures[(exposures["model_id"] == model) & exposures["error"].isna()]
            shown = shown.drop(columns="subject").rename(columns={key: "subject"}) if side == "agent" else shown
            shown = shown[["subject", "occurred_at", "exposure_id", "model_id", "model_version", "arm", "rollout_id"]]
            shown = shown.assign(shown_at=shown["occurred_at"])
            found = pd.merge_asof(asked, shown, on="occurred_at", by="subject", tolerance=14 * DAY_US)
            rows.append(found[found["exposure_id"].notna()].assign(credit=1.0))
    made = pd.concat(rows)
    key = made["response_id"] + "/" + made["question"]
    missed = numbers[~(numbers["response_id"] + "/" + numbers["question"]).isin(set(key))]
    made = pd.concat([made, missed.assign(model_id="", exposure_id="", credit=0.0)])
    made = made.assign(
        outcome_id="a:" + made["response_id"] + "/" + made["question"],
        outcome_type="answer",
        outcome_name=made["survey_id"] + "/" + made["question"],
        credit_rule="last_touch",
        matched_by="window",
    )
    return made.sort_values(["occurred_at", "outcome_id", "model_id"], ignore_index=True)


def _changes() -> pd.DataFrame:
    def canary(model: str, title: str, owner: str | None) -> dict[str, Any]:
        return {
            "change_id": f"{model}-2.1", "model_id": model, "from_version": "2.0", "to_version": "2.1",
            "kind": "canary", "title": title,
            "rollout_id": f"{model}-2.1", "unit": "subject", "assignment": "random", "owner": owner,
            "allocation": json.dumps({"2.0": 0.5, "2.1": 0.5}), "occurred_at": at(3, 2), "received_at": at(3, 2),
        }  # fmt: skip

    switch = {
        "change_id": "eta-2.0", "model_id": "eta-promise", "from_version": "1.9", "to_version": "2.0", "kind": "switch",
        "title": "Shorter ETA window", "occurred_at": at(3, 10), "received_at": at(3, 10),
    }  # fmt: skip
    return pd.DataFrame(
        [
            canary("rebook-prompt", "One-tap rebooking", None),
            canary("promo-card", "Bigger promotion card", "Jana Ortiz, CRM"),
            switch,
        ]
    )


def _arrow(table: Table, frame: pd.DataFrame | None) -> pa.Table:
    arrays = []
    told = [column for column in table.columns if column.kind != "blob"]
    for column in told:
        kind = _ARROW[column.kind]
        if frame is None or column.name not in frame:
            arrays.append(pa.nulls(0 if frame is None else len(frame), kind))
            continue
        cells = [None if pd.isna(v) else v for v in frame[column.name]]
        if column.kind in ("int", "time"):
            cells = [None if v is None else int(v) for v in cells]
        elif column.kind == "bool":
            cells = [None if v is None else bool(v) for v in cells]
        arrays.append(pa.array(cells, type=kind))
    return pa.Table.from_arrays(arrays, names=[column.name for column in told])
