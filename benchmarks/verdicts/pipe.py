"""The real pipe: a world's tables as a freeze folder, read back, analysed, and said as findings, JSON and page."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

import reports
from analysis import Analysis, analyse
from benchmarks.verdicts.crowd import MONTH
from benchmarks.verdicts.events import since_us, tables
from benchmarks.verdicts.worlds import World
from edgeloop import __version__
from edgeloop.metrics import MetricSettings
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

TABLES = (EXPOSURES, RESPONSES, ANSWERS, ENGAGEMENT, PROFILES, TELEMETRY, CHANGES, ATTRIBUTIONS)
_ARROW = {
    "text": pa.string(), "int": pa.int64(), "real": pa.float64(), "bool": pa.bool_(),
    "time": pa.timestamp("us", tz="UTC"), "json": pa.string(),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Told:
    """What the report says of a month, as programs read it (JSON) and as people do (``page``, HTML)."""

    estimates: list[dict[str, Any]]
    checks: list[dict[str, Any]]
    record: dict[str, Any]
    page: str


def told(world: World) -> Told:
    """What the product makes of a world."""
    with tempfile.TemporaryDirectory(prefix="world") as folder:
        freeze = written(Path(folder), tables(world), world)
        analysis = analysed(freeze)
        read = reports.read(freeze)
        findings = reports.build(freeze, analysis, None, read)
        record = reports.record(freeze, analysis, findings)
        page = reports.render(findings)
    return Told(
        [msgspec.to_builtins(e) for e in analysis.estimates],
        [msgspec.to_builtins(c) for c in analysis.checks],
        msgspec.json.decode(msgspec.json.encode(record)),
        page,
    )


def analysed(freeze: Freeze) -> Analysis:
    """As `edgeloop report` does."""
    manifest = freeze.manifest
    return analyse(
        freeze.frames(),
        freeze.month,
        freeze_id=manifest.freeze_id,
        as_of_us=manifest.as_of_us,
        begins_us=manifest.begins_us,
        metrics=manifest.metrics,
        printed=manifest.printed,
        holidays=manifest.holidays,
        chain=(("delivered", manifest.survey.delivered), ("invited", manifest.survey.invited)),
    )


def settings_of(world: World) -> dict[str, MetricSettings]:
    """The world's metrics alone, as a company without the pack would have them."""
    return {m.name: m.settings for m in world.metrics}


def written(folder: Path, frames: Mapping[str, pd.DataFrame], world: World) -> Freeze:
    """A freeze folder of these tables."""
    infos = {}
    for table in TABLES:
        path = folder / f"{table.name}.parquet"
        frame = frames.get(table.name)
        pq.write_table(_arrow(table, frame), path, compression="zstd")
        infos[table.name] = TableInfo(0 if frame is None else len(frame), hashlib.sha256(path.read_bytes()).hexdigest())
    begins = since_us(world)
    manifest = Manifest(
        freeze_id=f"{MONTH.name}-{world.number:012x}", month=MONTH.name, timezone=MONTH.timezone,
        company="Finch Parcels", provisional=False, simulated=True, as_of_us=world.crowd.as_of_us,
        since_us=begins, begins_us=begins, schema=SCHEMA_NUMBER, code_version=__version__, writer="pyarrow",
        rules={"credit_rule": "last_touch"}, offsets={}, metrics=settings_of(world), counts={}, tables=infos,
    )  # fmt: skip
    (folder / MANIFEST).write_bytes(msgspec.json.encode(manifest))
    return Freeze(folder)


def _arrow(table: Table, frame: pd.DataFrame | None) -> pa.Table:
    told_columns = [column for column in table.columns if column.kind != "blob"]
    n = 0 if frame is None else len(frame)
    arrays = []
    for column in told_columns:
        kind = _ARROW[column.kind]
        if frame is None or column.name not in frame:
            arrays.append(pa.nulls(n, kind))
            continue
        cells = frame[column.name]
        if column.kind in ("int", "time"):
            whole = pa.array(pd.array(cells, dtype="Int64"), type=pa.int64())
            arrays.append(whole.cast(kind))
        elif column.kind == "bool":
            arrays.append(pa.array(cells.astype(bool), type=kind))
        else:
            arrays.append(pa.array(cells, type=kind, from_pandas=True))
    return pa.Table.from_arrays(arrays, names=[column.name for column in told_columns])
