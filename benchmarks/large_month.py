"""A large month as a freeze: invented exposures, outcomes and answers of a company with twelve changes.

Nine changes are drawn by customer, two by zone, one is a full switch. Nothing is text for longer than one row group, so
that writing the month takes less memory than estimating it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from edgeloop.clock import DAY_US
from edgeloop.metrics import PACK
from edgeloop.months import Month
from edgeloop.store.freeze import MANIFEST, Manifest, TableInfo
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

MONTH = Month.parse("2026-03", "UTC")
DAYS_BEFORE = 70
CHANGES_OF_ARMS, STAGED, SWITCHES = 9, 2, 1
MODELS = CHANGES_OF_ARMS + STAGED + SWITCHES
ROW_GROUP = 100_000  # as `edgeloop freeze` writes them
ZONES = [f"zone-{i:02d}" for i in range(12)]
TOUCHPOINTS = ["app_card", "locker", "handheld", "push"]
DEVICES = ["android", "ios", "handheld-s", "locker"]
SEGMENTS = ["new", "loyal", "business", "trial", "lapsed"]
ENGAGEMENTS = ["order_placed", "card_opened", "slot_rebooked", "complaint"]
QUESTIONS = ["csat", "nps", "ces"]
LOWEST, HIGHEST = np.array([1, 0, 1]), np.array([5, 10, 7])
NAMES = [f"model-{i:02d}" for i in range(MODELS)]
BEGINNINGS = [
    "The parcel came late", "The courier was friendly", "The slot could be moved with one tap", "Nobody rang the bell",
    "The code of the locker came too late", "Everything went well", "I could not reach anybody",
]  # fmt: skip
ENDS = ["as so often, order", "thank you, number", "which cost me an afternoon, parcel", "on the first try, stop"]
_ARROW = {
    "text": pa.string(), "int": pa.int64(), "real": pa.float64(), "bool": pa.bool_(),
    "time": pa.timestamp("us", tz="UTC"), "json": pa.string(),
}  # fmt: skip
_BASE32 = np.frombuffer(b"abcdefghijklmnopqrstuvwxyz234567", dtype=np.uint8)

Columns = Mapping[str, Any]
Part = Callable[[slice], Columns]
"""The columns of some of a table's rows."""


def write_month(folder: Path, exposures: int, seed: int = 1) -> None:
    """Write the freeze: to every thousand exposures 600 outcomes, ten answers and a hundred customers.

    Two people in five come to the company during the span, so that some are new where they meet a change. Every second
    answer has words beside it and is credited as outcomes are, a customer has a profile in the cloud and at the edge,
    and every hundredth exposure a message that reached it.
    """
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    people = max(1_000, exposures // 10)
    outcomes, answers = exposures * 3 // 5, exposures // 100
    messages = max(1, exposures // 100)
    engagement = _engagement(rng, outcomes, people)
    parts: dict[str, tuple[int, Part]] = {
        "exposures": (exposures, _exposures(rng, exposures, people)),
        "engagement": (outcomes, engagement),
        "answers": (answers, said := _answers(rng, answers, people)),
        "responses": (answers, said),
        "attributions": (outcomes + answers, _attributions(rng, engagement, outcomes, said)),
        "profiles": (2 * people, _profiles(2 * people)),
        "telemetry": (messages, _telemetry(messages)),
        "changes": (MODELS, lambda rows: _changes()),
    }
    infos = {}
    for table in (EXPOSURES, RESPONSES, ANSWERS, ENGAGEMENT, PROFILES, TELEMETRY, CHANGES, ATTRIBUTIONS):
        infos[table.name] = _write(folder, table, *parts.get(table.name, (0, lambda rows: {})))
    manifest = Manifest(
        freeze_id="2026-03-benchmark000", month=MONTH.name, timezone="UTC", company="Benchmark", provisional=True,
        simulated=True, as_of_us=MONTH.end_us + 15 * DAY_US, since_us=_begin(), schema=SCHEMA_NUMBER, code_version="0",
        writer="pyarrow", rules={"credit_rule": "last_touch"}, metrics=PACK, offsets={}, counts={}, tables=infos,
    )  # fmt: skip
    (folder / MANIFEST).write_bytes(msgspec.json.encode(manifest))


def _begin() -> int:
    return MONTH.start_us - DAYS_BEFORE * DAY_US


def _exposures(rng: np.random.Generator, n: int, people: int) -> Part:
    at = np.sort(rng.integers(_begin(), MONTH.end_us - 1, n))
    subject = _who(rng, at, people)
    model = rng.integers(0, MODELS, n, dtype=np.int8)
    touchpoint = rng.integers(0, len(TOUCHPOINTS), n, dtype=np.int8)
    courier = rng.integers(0, 400, n, dtype=np.int16)
    latency = np.exp(rng.normal(np.log(180), 0.35, n))
    failed = rng.random(n) < 0.01

    def part(rows: slice) -> Columns:
        who, of, live = subject[rows].astype(np.int64), model[rows].astype(np.int64), at[rows] >= MONTH.start_us
        zone, m = (who * 7) % len(ZONES), len(who)
        new = (who * 2_654_435_761 + of * 97) % 1_000 < 500
        staged = (of >= CHANGES_OF_ARMS) & (of < CHANGES_OF_ARMS + STAGED)
        switched = of == MODELS - 1
        armed = live & ~staged & ~switched
        newer = live & np.where(staged, zone < 5, new | switched)
        return {
            "exposure_id": _names("x", np.arange(rows.start, rows.stop)), "subject": _names("s", who),
            "occurred_at": at[rows], "received_at": _received(at[rows]),
            "touchpoint": _take(TOUCHPOINTS, touchpoint[rows]), "model_id": _take(NAMES, of),
            "model_version": _take(["1.0", "2.0"], newer.astype(np.int64)),
            "arm": _take(["stable", "canary"], new.astype(np.int64), armed),
            "rollout_id": _take([f"r{i}" for i in range(MODELS)], of, armed),
            "latency_ms": latency[rows], "error": _take(["timeout"], np.zeros(m, dtype=np.int64), failed[rows]),
            "fallback": failed[rows], "features": np.full(m, 40), "placement": np.full(m, "edge"),
            "zone": _take(ZONES, zone), "device": _take(DEVICES, who % len(DEVICES)),
            "segment": _take(SEGMENTS, (who // 3) % len(SEGMENTS)), "courier": _names("c", courier[rows]),
            "anonymous": np.zeros(m, dtype=bool),
        }  # fmt: skip

    return part


def _engagement(rng: np.random.Generator, n: int, people: int) -> Part:
    at = np.sort(rng.integers(_begin(), MONTH.end_us + 3 * DAY_US, n))
    subject = _who(rng, at, people)
    name = rng.choice(len(ENGAGEMENTS), n, p=[0.45, 0.35, 0.15, 0.05]).astype(np.int8)
    paid = rng.gamma(2.0, 15.0, n)

    def part(rows: slice) -> Columns:
        order = name[rows] == 0
        return {
            "event_id": _names("o", np.arange(rows.start, rows.stop)), "subject": _names("s", subject[rows]),
            "occurred_at": at[rows], "received_at": _received(at[rows]), "name": _take(ENGAGEMENTS, name[rows]),
            "source": np.full(len(order), "app"),
            "value": np.where(order, paid[rows], np.nan),
            "currency": _take(["EUR"], np.zeros(len(order), dtype=np.int64), order),
            "anonymous": np.zeros(len(order), dtype=bool),
        }  # fmt: skip

    return part


def _answers(rng: np.random.Generator, n: int, people: int) -> Part:
    at = np.sort(rng.integers(MONTH.start_us, MONTH.end_us + 10 * DAY_US, n))
    subject = _who(rng, at, people)
    question = rng.choice(len(QUESTIONS), n, p=[0.5, 0.3, 0.2])
    value = rng.integers(LOWEST[question], HIGHEST[question] + 1)

    def part(rows: slice) -> Columns:
        of, m = question[rows], len(question[rows])
        return {
            "response_id": _names("a", np.arange(rows.start, rows.stop)), "subject": _names("s", subject[rows]),
            "respondent": np.full(m, "customer"), "survey_id": np.full(m, "delivery"),
            "source": np.full(m, "typeform"), "occurred_at": at[rows], "received_at": _received(at[rows]),
            "position": np.zeros(m, dtype=np.int64), "anonymous": np.zeros(m, dtype=bool), "language": np.full(m, "en"),
            "question": _take(QUESTIONS, of), "kind": _take(QUESTIONS, of), "value": value[rows].astype(np.float64),
            "low": LOWEST[of].astype(np.float64), "high": HIGHEST[of].astype(np.float64),
            "text": [_remark(i, v) if i % 2 else None for i, v in enumerate(value[rows].tolist(), rows.start)],
        }  # fmt: skip

    return part


def _attributions(rng: np.random.Generator, engagement: Part, outcomes: int, said: Part) -> Part:
    """One row per outcome, one in ten of them met by nothing; then one per answer, for which the same holds."""

    def part(rows: slice) -> Columns:
        parts = []
        if rows.start < outcomes:
            own = engagement(slice(rows.start, min(rows.stop, outcomes)))
            parts.append(_credited(rng, "engagement", own["event_id"], own["name"], own))
        if rows.stop > outcomes:
            own = said(slice(max(rows.start - outcomes, 0), rows.stop - outcomes))
            asked = pc.binary_join_element_wise(own["survey_id"], own["question"], "/")
            of = pc.binary_join_element_wise("a:", own["response_id"], "/", own["question"], "")
            parts.append(_credited(rng, "answer", of, asked, own))
        return {
            name: pa.chunked_array([pa.array(own[name]) for own in parts]).combine_chunks() for name in parts[0]
        }  # fmt: skip

    return part


def _credited(rng: np.random.Generator, kind: str, ids: pa.Array, names: pa.Array, outcomes: Columns) -> Columns:
    met = rng.random(len(ids)) >= 0.1
    ours = (_mixed(np.arange(len(ids), dtype=np.uint64)) % np.uint64(MODELS)).astype(np.int64)
    return {
        "outcome_id": ids, "outcome_type": np.full(len(met), kind), "outcome_name": names,
        "subject": outcomes["subject"], "respondent": np.full(len(met), "customer"),
        "occurred_at": np.asarray(outcomes["occurred_at"], dtype="datetime64[us]"), "value": outcomes["value"],
        "exposure_id": np.where(met, "x", ""), "model_id": np.where(met, np.array(NAMES)[ours], ""),
        "model_version": np.where(met, "1.0", ""), "credit": met.astype(np.float64),
    }  # fmt: skip


def _profiles(n: int) -> Part:
    """Every customer's profile in the cloud, then at the edge; one in five thousand lags behind there."""

    def part(rows: slice) -> Columns:
        i = np.arange(rows.start, rows.stop)
        who, edge = i % (n // 2), (i >= n // 2).astype(np.int64)
        behind = (edge == 1) & (who % 5_000 == 0)
        return {
            "profile_id": _names("p", i), "subject": _names("s", who), "occurred_at": _begin() + i,
            "received_at": _begin() + i, "side": _take(["cloud", "edge"], edge),
            "profile_version": _take(["v2", "v1"], behind.astype(np.int64)),
            "site": _take(["hub"], np.zeros(len(i), dtype=np.int64), edge == 1),
        }  # fmt: skip

    return part


def _telemetry(n: int) -> Part:
    """Messages, evenly over the span, each of them some seconds on its way."""

    def part(rows: slice) -> Columns:
        i = np.arange(rows.start, rows.stop)
        at = _begin() + (i * ((MONTH.end_us - _begin()) // n))
        took = 200_000 + (_mixed(i.astype(np.uint64)) % np.uint64(4_000_000)).astype(np.int64)
        return {
            "telemetry_id": _names("t", i), "site": np.full(len(i), "hub"), "kind": np.full(len(i), "message"),
            "occurred_at": at + took, "received_at": at + took, "message_sent_at": at,
            "message_delivered_at": at + took,
        }  # fmt: skip

    return part


def _received(at: np.ndarray) -> np.ndarray:
    """Within seconds, one in two hundred events two days later."""
    late = _mixed(at.astype(np.uint64)) % np.uint64(200) == 0
    return at + np.where(late, 2 * DAY_US, 40_000_000)


def _remark(i: int, value: int) -> str:
    return f"{BEGINNINGS[i % len(BEGINNINGS)]}, {ENDS[i // 7 % len(ENDS)]} {i % 997} ({value})."


def _changes() -> Columns:
    rows: list[dict[str, Any]] = []
    for i in range(MODELS):
        row: dict[str, Any] = {
            "change_id": f"change-{i:02d}", "model_id": f"model-{i:02d}", "to_version": "2.0", "from_version": "1.0",
            "occurred_at": MONTH.start_us, "title": f"Change {i}",
        }  # fmt: skip
        if i < CHANGES_OF_ARMS:
            row |= {"kind": "canary", "rollout_id": f"r{i}", "assignment": "random",
                    "allocation": json.dumps({"1.0": 0.5, "2.0": 0.5})}  # fmt: skip
        elif i < CHANGES_OF_ARMS + STAGED:
            row |= {"kind": "staged", "unit": "zone", "zones": json.dumps(ZONES[:5])}
        else:
            row |= {"kind": "switch"}
        rows.append(row)
    return {name: [row.get(name) for row in rows] for name in sorted({key for row in rows for key in row})}


def _who(rng: np.random.Generator, at: np.ndarray, people: int) -> np.ndarray:
    """Somebody who is a customer by then: three in five from the first day, the others come evenly."""
    there = people * (0.6 + 0.4 * np.minimum((at - _begin()) / (MONTH.end_us - _begin()), 1.0))
    return (rng.random(len(at)) * there).astype(np.int32)


def _write(folder: Path, table: Table, n: int, part: Part) -> TableInfo:
    told = [column for column in table.columns if column.kind != "blob"]
    schema = pa.schema([(column.name, _ARROW[column.kind]) for column in told])
    path = folder / f"{table.name}.parquet"
    with pq.ParquetWriter(path, schema, compression="zstd", compression_level=3) as writer:
        for start in range(0, n, ROW_GROUP):
            rows = slice(start, min(start + ROW_GROUP, n))
            columns, m = part(rows), rows.stop - rows.start
            arrays = [_array(columns.get(column.name), _ARROW[column.kind], m) for column in told]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))
    with path.open("rb") as written:
        return TableInfo(n, hashlib.file_digest(written, "sha256").hexdigest())


def _array(values: Any, kind: pa.DataType, n: int) -> pa.Array:
    if values is None:
        return pa.nulls(n, kind)
    if isinstance(values, pa.Array):
        return values.cast(kind)
    if pa.types.is_timestamp(kind):
        return pa.array(np.asarray(values, dtype="datetime64[us]")).cast(kind)
    return pa.array(values, type=kind, from_pandas=True)


def _names(kind: str, numbers: np.ndarray) -> pa.Array:
    """Text of 26 letters that no compression shortens much, as pseudonyms are."""
    x = numbers.astype(np.uint64) + np.uint64(ord(kind) << 48)
    halves = [_mixed(x), _mixed(x ^ np.uint64(0x5851F42D4C957F2D))]
    letters = np.empty((len(x), 26), dtype=np.uint8)
    for i in range(26):
        letters[:, i] = _BASE32[(halves[i // 13] >> np.uint64(5 * (i % 13))) & np.uint64(31)]
    offsets = np.arange(0, 26 * (len(x) + 1), 26, dtype=np.int32)
    return pa.StringArray.from_buffers(len(x), pa.py_buffer(offsets), pa.py_buffer(letters))


def _mixed(x: np.ndarray) -> np.ndarray:
    """The finalizer of SplitMix64."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: np.ndarray = x ^ (x >> np.uint64(31))
    return mixed


def _take(labels: list[str], codes: np.ndarray, there: np.ndarray | None = None) -> pa.Array:
    """Labels by their codes, nothing where not ``there``."""
    own = pa.array(codes.astype(np.int32), mask=None if there is None else ~there)
    return pa.DictionaryArray.from_arrays(own, pa.array(labels)).cast(pa.string())
