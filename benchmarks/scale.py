"""How long do a large month's estimates take? ``python -m benchmarks.scale --millions 5``.

Writes a freeze of so many million exposures (three fifths as many outcomes, a hundredth as many answers, a tenth as
many customers) with twelve changes, nine drawn by customer, two by zone and one full switch, then measures the
estimates from that freeze alone in a process of its own.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
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
ZONES = [f"zone-{i:02d}" for i in range(12)]
TOUCHPOINTS = ["app_card", "locker", "handheld", "push"]
DEVICES = ["android", "ios", "handheld-s", "locker"]
SEGMENTS = ["new", "loyal", "business", "trial", "lapsed"]
ENGAGEMENTS = ["order_placed", "card_opened", "slot_rebooked", "complaint"]
_ARROW = {
    "text": pa.string(), "int": pa.int64(), "real": pa.float64(), "bool": pa.bool_(),
    "time": pa.timestamp("us", tz="UTC"), "json": pa.string(),
}  # fmt: skip


def write(folder: Path, exposures: int, seed: int = 1) -> None:
    """Write the freeze."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    people = max(1_000, exposures // 10)
    models = CHANGES_OF_ARMS + STAGED + SWITCHES
    begin = MONTH.start_us - DAYS_BEFORE * DAY_US
    subject = rng.integers(0, people, exposures)
    at = np.sort(rng.integers(begin, MONTH.end_us - 1, exposures))
    model = rng.integers(0, models, exposures)
    zone = (subject * 7) % len(ZONES)
    new = (subject * 2_654_435_761 + model * 97) % 1_000 < 500
    live = at >= MONTH.start_us
    staged = (model >= CHANGES_OF_ARMS) & (model < CHANGES_OF_ARMS + STAGED)
    switched = model == models - 1
    version = np.where(live & np.where(staged, zone < 5, np.where(switched, True, new)), "2.0", "1.0")
    arms = ~staged & ~switched & live
    arm = np.where(arms, np.where(new, "canary", "stable"), None)
    rollout = np.where(arms, np.char.add("r", model.astype(str)), None)
    latency = np.exp(rng.normal(np.log(180), 0.35, exposures))
    tables: dict[str, dict[str, Any]] = {
        "exposures": {
            "exposure_id": _ids("x", exposures), "subject": _names("s", subject), "occurred_at": at,
            "touchpoint": _take(TOUCHPOINTS, model % len(TOUCHPOINTS)),
            "model_id": _take([f"model-{i:02d}" for i in range(models)], model), "model_version": version, "arm": arm,
            "rollout_id": rollout, "latency_ms": latency, "zone": _take(ZONES, zone),
            "device": _take(DEVICES, subject % len(DEVICES)),
            "segment": _take(SEGMENTS, (subject // 3) % len(SEGMENTS)),
            "courier": _names("c", rng.integers(0, 400, exposures)), "anonymous": np.zeros(exposures, dtype=bool),
        },
        "engagement": _engagement(rng, exposures * 3 // 5, people, begin),
        "answers": _answers(rng, exposures // 100, people),
        "changes": _changes(),
    }  # fmt: skip
    n = len(tables["engagement"]["event_id"])
    missed = rng.random(n) < 0.1
    tables["attributions"] = {
        "outcome_id": _ids("e:o", n), "subject": tables["engagement"]["subject"],
        "occurred_at": tables["engagement"]["occurred_at"], "exposure_id": np.where(missed, "", "x"),
        "model_id": np.where(missed, "", "model-00"),
    }  # fmt: skip
    infos = {}
    for table in (EXPOSURES, RESPONSES, ANSWERS, ENGAGEMENT, PROFILES, TELEMETRY, CHANGES, ATTRIBUTIONS):
        infos[table.name] = _write(folder, table, tables.get(table.name, {}))
    manifest = Manifest(
        freeze_id="2026-03-benchmark000", month=MONTH.name, timezone="UTC", company="Benchmark", provisional=True,
        simulated=True, as_of_us=MONTH.end_us + 15 * DAY_US, since_us=begin, schema=SCHEMA_NUMBER, code_version="0",
        writer="pyarrow", rules={"credit_rule": "last_touch"}, metrics=PACK, offsets={}, counts={}, tables=infos,
    )  # fmt: skip
    (folder / MANIFEST).write_bytes(msgspec.json.encode(manifest))


def main() -> None:
    """Write, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--millions", type=float, nargs="+", default=[5.0])
    parser.add_argument("--folder", type=Path, help="where to work; a temporary folder by default")
    parser.add_argument("--estimate", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.estimate is not None:
        _estimate(arguments.estimate)
        return
    print(f"{'exposures':>12}{'freeze MB':>11}{'seconds':>9}{'peak MB':>9}{'rows':>7}", flush=True)
    for millions in arguments.millions:
        with tempfile.TemporaryDirectory(dir=arguments.folder) as temporary:
            folder = Path(temporary) / "freeze"
            write(folder, round(millions * 1_000_000))
            size = sum(p.stat().st_size for p in folder.iterdir()) / 1e6
            run = subprocess.run(
                [sys.executable, "-m", "benchmarks.scale", "--estimate", str(folder)],
                check=True, capture_output=True, text=True,
            )  # fmt: skip
            found = json.loads(run.stdout)
        took = f"{found['seconds']:>9.1f}{found['peak_mb']:>9,.0f}{found['rows']:>7,}"
        print(f"{millions * 1e6:>12,.0f}{size:>11,.0f}{took}", flush=True)


def _estimate(folder: Path) -> None:
    import resource

    from edgeloop.app.monthly import analyse_freeze
    from edgeloop.store.freeze import Freeze

    begun = time.perf_counter()
    found = analyse_freeze(Freeze(folder))
    seconds = time.perf_counter() - begun
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1_000
    print(json.dumps({"seconds": seconds, "peak_mb": peak, "rows": len(found.estimates)}))


def _engagement(rng: np.random.Generator, n: int, people: int, begin: int) -> dict[str, Any]:
    name = rng.choice(len(ENGAGEMENTS), n, p=[0.45, 0.35, 0.15, 0.05])
    return {
        "event_id": _ids("o", n), "subject": _names("s", rng.integers(0, people, n)),
        "occurred_at": np.sort(rng.integers(begin, MONTH.end_us + 3 * DAY_US, n)), "name": _take(ENGAGEMENTS, name),
        "source": np.full(n, "app"), "value": np.where(name == 0, rng.gamma(2.0, 15.0, n), np.nan),
        "currency": np.where(name == 0, "EUR", None), "anonymous": np.zeros(n, dtype=bool),
    }  # fmt: skip


def _answers(rng: np.random.Generator, n: int, people: int) -> dict[str, Any]:
    ids, subject = _ids("a", n), _names("s", rng.integers(0, people, n))
    kind = rng.random(n) < 0.6
    return {
        "response_id": ids, "subject": subject, "respondent": np.full(n, "customer"),
        "survey_id": np.full(n, "delivery"), "source": np.full(n, "typeform"),
        "occurred_at": np.sort(rng.integers(MONTH.start_us, MONTH.end_us + 10 * DAY_US, n)),
        "position": np.zeros(n, dtype=np.int64), "question": np.where(kind, "csat", "nps"),
        "kind": np.where(kind, "csat", "nps"), "value": np.where(kind, rng.integers(1, 6, n), rng.integers(0, 11, n)),
        "low": np.zeros(n), "high": np.where(kind, 5.0, 10.0),
    }  # fmt: skip


def _changes() -> dict[str, Any]:
    rows: list[dict[str, Any]] = []
    for i in range(CHANGES_OF_ARMS + STAGED + SWITCHES):
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


def _write(folder: Path, table: Table, columns: dict[str, Any]) -> TableInfo:
    n = len(next(iter(columns.values()))) if columns else 0
    arrays, names = [], []
    for column in table.columns:
        if column.kind == "blob":
            continue
        values = columns.get(column.name)
        kind = _ARROW[column.kind]
        if values is None:
            array = pa.nulls(n, kind)
        elif isinstance(values, pa.Array | pa.ChunkedArray):
            array = values
        elif column.kind == "time":
            array = pa.array(np.asarray(values, dtype="datetime64[us]")).cast(kind)
        else:
            array = pa.array(values, type=kind, from_pandas=True)
        arrays.append(array)
        names.append(column.name)
    path = folder / f"{table.name}.parquet"
    pq.write_table(pa.Table.from_arrays(arrays, names=names), path, compression="zstd", compression_level=3)
    return TableInfo(n, hashlib.sha256(path.read_bytes()).hexdigest())


def _ids(prefix: str, n: int) -> pa.Array:
    return _names(prefix, np.arange(n))


def _names(prefix: str, numbers: np.ndarray) -> pa.Array:
    """Text of 26 characters, as pseudonyms have."""
    import pyarrow.compute as pc

    padded = pc.utf8_lpad(pa.array(numbers).cast(pa.string()), 26 - len(prefix), padding="0")
    return pc.binary_join_element_wise(pa.scalar(prefix), padded, "")


def _take(labels: list[str], codes: np.ndarray) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array(codes.astype(np.int32)), pa.array(labels)).cast(pa.string())


if __name__ == "__main__":
    main()
