"""A month freeze: one snapshot of the store as sorted zstd Parquet plus a manifest.

Estimates and report come from a freeze alone, so the same freeze always gives the same findings. A frozen month is
never edited; what arrives later is in the next month's freeze, as a restatement.
"""

from __future__ import annotations

import hashlib
import math
import os
import shutil
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from edgeloop import __version__
from edgeloop.clock import from_us, iso
from edgeloop.errors import EdgeloopError
from edgeloop.metrics import MetricSettings, metrics_in_force
from edgeloop.months import Month
from edgeloop.roles import Responsibility, responsibility
from edgeloop.settings import Settings, SurveySettings
from edgeloop.store.base import Reader
from edgeloop.store.gone_letters import gone_by_day, gone_by_reason
from edgeloop.store.rows import MeasuredBefore, Verdict
from edgeloop.store.schema import (
    ACTION_HISTORY,
    ACTIONS,
    ANSWERS,
    ATTRIBUTIONS,
    CHANGES,
    ENGAGEMENT,
    EXPOSURES,
    PROFILES,
    RESPONSES,
    SCHEMA_NUMBER,
    TELEMETRY,
    Cell,
    Kind,
    Table,
)
from edgeloop.store.unseen import NamedDeliveries, named_deliveries

MANIFEST = "manifest.json"
_ORDER = {  # ids are unique per key only, so the key is part of the order
    EXPOSURES: "occurred_at, exposure_id, subject",
    RESPONSES: "occurred_at, response_id, subject",
    ANSWERS: "occurred_at, response_id, subject, position",
    ENGAGEMENT: "occurred_at, event_id, subject",
    PROFILES: "occurred_at, profile_id, subject",
    TELEMETRY: "occurred_at, telemetry_id, site",
    CHANGES: "occurred_at, change_id, model_id",
    ATTRIBUTIONS: "occurred_at, outcome_id, subject, model_id, exposure_id",
    ACTIONS: "occurred_at, action_id",
    ACTION_HISTORY: "occurred_at, action_id, state",
}
_WHOLE = (CHANGES, ACTIONS, ACTION_HISTORY)
"""Kept whatever their time: an early change may still run, an early action still be open."""
_ARROW: dict[Kind, pa.DataType] = {
    "text": pa.string(),
    "int": pa.int64(),
    "real": pa.float64(),
    "bool": pa.bool_(),
    "time": pa.timestamp("us", tz="UTC"),
    "json": pa.string(),
    "blob": pa.binary(),
}


class TableInfo(msgspec.Struct, frozen=True):
    """One Parquet file of a freeze."""

    rows: int
    sha256: str


class FeedbackUse(msgspec.Struct, kw_only=True, frozen=True):
    """How far a month's answers to one question got, as its report counted them: each number is part of the one before.

    One row for each set of changes whose decisions name the answers (docs/meaning.md, "Use of feedback"), so that
    nobody is counted twice; with no such change ``named`` is 0, else it is ``counted``.
    """

    freeze_id: str
    month: str
    respondent: str
    source: str
    survey_id: str
    question: str
    changes: tuple[str, ...]
    collected: int
    joined: int
    counted: int
    named: int


class Look(msgspec.Struct, kw_only=True, frozen=True):
    """How the month's report looks (``[report]``); ``logo`` is a ``data:`` URI."""

    locale: str = "en"
    brand_name: str = ""
    brand_colour: str = ""
    logo: str = ""


class Promoted(msgspec.Struct, kw_only=True, frozen=True):
    """What a change did that a final report of an earlier month of the year asked to promote."""

    month: str
    change_id: str
    metric: str
    effect: float
    se: float | None
    low: float | None = None
    """The interval that decided, absent where it has no end and in freezes that did not keep it."""
    high: float | None = None


class PrintedRow(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """One row of ``estimates`` as a report had it, with what telling it in words takes; fields are columns."""

    change_id: str
    stage: int = 1
    metric: str
    metric_kind: str
    respondent: str | None = None
    window_h: float | None = None
    response_control: float | None = None
    grade: str | None = None
    n_control: int | None = None
    n_treated: int | None = None
    effect: float | None = None
    se: float | None = None
    decided_by: str | None = None
    decision_low: float | None = None
    decision_high: float | None = None
    verdict: Verdict | None = None
    endless: Literal["low", "high", "both"] | None = None
    """Which ends of the deciding interval are infinite: JSON has no infinity, so these are null."""


class PrintedMonth(msgspec.Struct, kw_only=True, frozen=True):
    """What the report of the month before said, kept here so that this freeze alone can tell what moved since."""

    freeze_id: str
    code_version: str
    """Of that freeze."""
    rows: list[PrintedRow]
    redefined: list[str] = []
    """Metrics whose settings are others now."""


class Manifest(msgspec.Struct, kw_only=True, frozen=True):
    """What a freeze holds and how it was made; ``freeze_id`` is the month and a hash of everything else in it."""

    freeze_id: str = ""
    month: str
    timezone: str
    company: str
    provisional: bool
    """Made for a look, not for the record; the next look replaces it."""
    simulated: bool
    as_of_us: int
    """The latest ``received_at`` in it: the moment up to which it knows the world."""
    since_us: int
    """Rows of earlier events are not in it (declared changes are, all of them)."""
    begins_us: int = 0
    """When the store's data began, earlier than ``since_us`` or later; 0: an older freeze, which does not tell."""
    schema: int
    code_version: str
    writer: str
    """Name and version of the Parquet writer, on which the bytes depend."""
    rules: dict[str, str | int | float | list[str]]
    metrics: dict[str, MetricSettings]
    """Those in force when it was made: the same freeze always asks the same."""
    offsets: dict[str, int]
    """``topic/partition`` → next offset."""
    counts: dict[str, int]
    """Whole-store counts: superseded, duplicates, ``dead_letters:REASON``."""
    tables: dict[str, TableInfo]
    previous: str | None = None
    """``freeze_id`` of the latest final freeze of an earlier month."""
    printed: dict[str, float] = {}
    """Metric → the figure of the month before as the report of ``previous`` had it."""
    printed_month: PrintedMonth | None = None
    """None: the month before has no final freeze, or nobody estimated it; older freezes lack it too."""
    holidays: list[str] = []
    """Dates that count as Sundays."""
    survey: SurveySettings = SurveySettings()
    responsibility: Responsibility = Responsibility()
    """Who held which role, and which role answers for what; no addresses."""
    deliveries: NamedDeliveries | None = None
    """Of the month's outcomes that name one; None: an older freeze."""
    refused: dict[str, int] = {}
    """Date (company's zone) → dead letters received on it, in this month and the one before."""
    reported: tuple[FeedbackUse, ...] = ()
    """The month before as its own report counted it, where one was made of ``previous``."""
    look: Look = Look()
    promoted: list[Promoted] = []
    """By month: what earlier final reports of the year asked to promote, of every metric that was told."""
    measured: list[MeasuredBefore] = []
    """What earlier final reports said of changes that a switch of this month, or of the one before, ends."""

    @property
    def whole_second_sources(self) -> tuple[str, ...]:
        """Sources whose outcomes may seem to lie a moment before their cause (`edgeloop.tolerance`)."""
        told = self.rules.get("whole_second_sources", ())
        return tuple(told) if isinstance(told, list) else ()


class FreezeError(EdgeloopError):
    """A freeze cannot be made, or is not what its manifest says."""


class Freeze:
    """A freeze on disk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.manifest = msgspec.json.decode((path / MANIFEST).read_bytes(), type=Manifest)
        except (OSError, msgspec.DecodeError) as error:
            raise FreezeError(f"{path} is no readable freeze: {error}. Make it anew with `edgeloop freeze`") from error

    @property
    def month(self) -> Month:
        """The month it was made for."""
        return Month.parse(self.manifest.month, self.manifest.timezone)

    def frame(self, table: str, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """A table with its contract columns; times are int64 µs since the epoch, booleans 0/1.

        Args:
            columns: only these, and text as categories, which takes a fraction of the memory. Those that a freeze of
                an older version lacks are empty.

        Raises:
            FreezeError: the file is not the one the manifest describes.
        """
        path = self._checked(table)
        if columns is None:
            whole: pd.DataFrame = _plain(pq.read_table(path)).to_pandas()
            return whole
        unique = table.removesuffix("s") + "_id"  # as many values as rows: categories would only cost
        schema = pq.read_schema(path)
        texts = [field.name for field in schema if pa.types.is_string(field.type)]
        with pq.ParquetFile(path, read_dictionary=[t for t in texts if t != unique]) as parquet:
            # One by one: what Arrow needs beside the finished columns is then one column's.
            there = set(schema.names)
            read = {name: _plain(parquet.read(columns=[name])).to_pandas()[name] for name in columns if name in there}
            rows = parquet.metadata.num_rows
        later = {name: pd.Series([None] * rows, dtype=object) for name in columns if name not in there}
        return pd.DataFrame(read | later, columns=list(columns), copy=False)

    def codes(self, table: str, column: str) -> tuple[npt.NDArray[np.int32], pd.Index[str]]:
        """A text column as numbers into its different values, for one that has nearly as many as rows; −1 is absent.

        Raises:
            FreezeError: the file is not the one the manifest describes.
        """
        with pq.ParquetFile(self._checked(table), read_dictionary=[column]) as parquet:
            read = parquet.read(columns=[column]).column(0).unify_dictionaries()
        if not read.num_chunks:
            return np.empty(0, dtype=np.int32), pd.Index([], dtype="str")
        codes = [chunk.indices.fill_null(-1).to_numpy(zero_copy_only=False) for chunk in read.chunks]
        values: pd.Series[str] = read.chunk(0).dictionary.to_pandas()
        return np.concatenate(codes).astype(np.int32), pd.Index(values, dtype="str")

    def _checked(self, table: str) -> Path:
        path = self.path / f"{table}.parquet"
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != self.manifest.tables[table].sha256:
            raise FreezeError(f"{path} is not the file that {MANIFEST} describes: restore it from your backup")
        return path

    def frames(self, columns: Mapping[str, Sequence[str]] | None = None) -> dict[str, pd.DataFrame]:
        """Every table; with ``columns`` only the tables and columns that it names (see `frame`)."""
        if columns is None:
            return {name: self.frame(name) for name in self.manifest.tables}
        return {name: self.frame(name, wanted) for name, wanted in columns.items()}


def _plain(table: pa.Table) -> pa.Table:
    """Times as int64 µs since the epoch, booleans as 0/1."""
    for i, field in enumerate(table.schema):
        if pa.types.is_timestamp(field.type):
            table = table.set_column(i, field.name, table.column(i).cast(pa.int64()))
        elif pa.types.is_boolean(field.type):
            table = table.set_column(i, field.name, table.column(i).cast(pa.int8()))
    return table


_ROWS_AT_ONCE = 100_000
"""Read and written together; some 200 MB of exposures."""


def write_freeze(
    reader: Reader,
    path: Path,
    month: Month,
    *,
    settings: Settings,
    since_us: int,
    provisional: bool,
    simulated: bool,
    previous: Manifest | None = None,
    reported: Sequence[FeedbackUse] = (),
    earlier: Sequence[str] = (),
    measured: tuple[Sequence[str], Collection[tuple[str, str]]] = ((), ()),
    logo: str = "",
) -> Freeze:
    """Write the freeze of a month into ``path`` (which appears at once, whole).

    Exposures are those before the month's end; outcomes go on for one longest window, so that the month's last
    entries can complete. ``since_us`` is the earliest time that anything of the month's estimates needs.

    Args:
        earlier: ``freeze_id`` of the year's earlier final freezes.
        measured: ``freeze_id`` of all earlier final freezes, and (model, version) of switches whose tests are looked
            for in them.
        logo: the report's, as a ``data:`` URI.
    """
    window_us, earliest_us = longest_window_us(settings), settings.door.earliest_us
    # A folder name of its own keeps two makers of the same freeze apart.
    work = path.with_name(f".{path.name}.{os.getpid()}")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    try:
        with reader.snapshot():
            tables = {}
            for table, order in _ORDER.items():
                until = month.end_us if table is EXPOSURES else month.end_us + window_us
                where = (
                    f"occurred_at >= {reader.moment(earliest_us)}"
                    if table in _WHOLE
                    else f"occurred_at >= {reader.moment(since_us)} AND occurred_at < {reader.moment(until)}"
                )
                tables[table.name] = _write_table(reader, work, table, where, order)
            manifest = Manifest(
                month=month.name,
                timezone=month.timezone,
                company=settings.company,
                provisional=provisional,
                simulated=simulated,
                as_of_us=latest_received_us(reader),
                since_us=since_us,
                begins_us=begins_us(reader, earliest_us),
                schema=SCHEMA_NUMBER,
                code_version=__version__,
                writer=f"pyarrow {pa.__version__}",
                rules=msgspec.json.decode(_meta(reader, "rules")),
                metrics=metrics_in_force(settings.metrics),
                offsets={
                    f"{topic}/{partition}": offset
                    for topic, partition, offset in reader.query(
                        "SELECT topic, partition, next_offset FROM offsets ORDER BY topic, partition"
                    )[1]
                },
                counts=_counts(reader),
                tables=tables,
                previous=previous.freeze_id if previous is not None else None,
                printed=_printed(reader, previous, month),
                printed_month=_printed_month(reader, previous, month, settings),
                holidays=sorted(settings.holidays),
                survey=settings.survey,
                responsibility=responsibility(settings.roles, settings.decisions),
                deliveries=named_deliveries(reader, month),
                refused=_refused(reader, month),
                reported=tuple(reported),
                look=Look(
                    locale=settings.report.locale,
                    brand_name=settings.report.brand_name,
                    brand_colour=settings.report.brand_colour,
                    logo=logo,
                ),
                promoted=_promoted(reader, earlier),
                measured=_measured(reader, *measured),
            )
        digest = hashlib.sha256(msgspec.json.encode(manifest, order="sorted")).hexdigest()
        manifest = msgspec.structs.replace(manifest, freeze_id=f"{month.name}-{digest[:12]}")
        (work / MANIFEST).write_bytes(msgspec.json.format(msgspec.json.encode(manifest)) + b"\n")
        shutil.rmtree(path, ignore_errors=True)
        work.replace(path)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return Freeze(path)


def longest_window_us(settings: Settings) -> int:
    """The longest time an outcome may lie after its cause."""
    windows = [metric.window_h for metric in metrics_in_force(settings.metrics).values()]
    hours = max(settings.attribution.engagement_window_h, settings.attribution.answer_window_days * 24, *windows)
    return round(hours * 3_600_000_000)


def latest_received_us(reader: Reader) -> int:
    """The latest ``received_at`` of any stored event.

    Raises:
        FreezeError: the store is empty.
    """
    times = [
        us
        for table in (EXPOSURES, RESPONSES, ENGAGEMENT, PROFILES, TELEMETRY, CHANGES)
        for (us,) in reader.query(f"SELECT max(received_at) FROM {table.name}")[1]
        if isinstance(us, int)
    ]
    if not times:
        raise FreezeError("the store holds no events yet: `edgeloop ingest FILE`, then `edgeloop process`")
    return max(times)


def begins_us(reader: Reader, earliest_us: int) -> int:
    """From when on the store has both exposures and engagement, or the one of them that it has; 0: neither.

    The later of the two: a customer is known by either, so that before it fewer are than later. What is stamped before
    ``earliest_us`` is a clock that was not set.
    """
    known = f"occurred_at >= {reader.moment(earliest_us)}"
    times = [
        reader.query(f"SELECT min(occurred_at) FROM {table.name} WHERE {known}")[1][0][0]
        for table in (EXPOSURES, ENGAGEMENT)
    ]
    return max((us for us in times if isinstance(us, int)), default=0)


def final_freezes(folder: Path) -> list[Freeze]:
    """The final freezes in a folder, by month."""
    found = [
        Freeze(path.parent) for path in sorted(folder.glob(f"*/{MANIFEST}")) if not path.parent.name.startswith(".")
    ]
    return [freeze for freeze in found if not freeze.manifest.provisional]


def require_over(month: Month, as_of_us: int) -> None:
    """Raise unless the month is over as far as the store knows.

    Raises:
        FreezeError: with the moment up to which the store knows the world.
    """
    if as_of_us < month.end_us:
        raise FreezeError(
            f"{month.name} is not over: the latest event was received at {iso(as_of_us)}. "
            f"`edgeloop report --month {month.name}` shows it as provisional"
        )


def _write_table(reader: Reader, folder: Path, table: Table, where: str, order: str) -> TableInfo:
    told = [column for column in table.columns if column.kind != "blob"]  # what is for the engine only
    names = [column.name for column in told]
    selected = ", ".join(f'"{name}"' for name in names)
    path = folder / f"{table.name}.parquet"
    schema = pa.schema([(c.name, _ARROW[c.kind]) for c in told])
    n = 0
    with pq.ParquetWriter(path, schema, compression="zstd", compression_level=3) as writer:
        sql = f"SELECT {selected} FROM {table.name} WHERE {where} ORDER BY {order}"
        for rows in reader.pages(sql, _ROWS_AT_ONCE):
            n += len(rows)
            values = zip(told, zip(*rows, strict=True), strict=True)
            arrays = [pa.array(_cells(c.kind, cells), type=_ARROW[c.kind]) for c, cells in values]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))
    with path.open("rb") as written:
        return TableInfo(n, hashlib.file_digest(written, "sha256").hexdigest())


def _cells(kind: Kind, values: Sequence[Cell]) -> Sequence[Cell]:
    """The same from every store: one gives booleans as numbers, and one keeps the sign of -0.0."""
    if kind == "bool":
        return [None if value is None else bool(value) for value in values]
    if kind == "real":
        return [None if value is None else float(value) + 0.0 for value in values]
    return values


def _printed(reader: Reader, previous: Manifest | None, month: Month) -> dict[str, float]:
    if previous is None:
        return {}
    sql = "SELECT metric, value FROM bridge WHERE freeze_id = ? AND month = ? AND bar = 'month 1' ORDER BY metric"
    return dict(reader.query(sql, (previous.freeze_id, month.previous().name))[1])


def _printed_month(reader: Reader, previous: Manifest | None, month: Month, settings: Settings) -> PrintedMonth | None:
    if previous is None or previous.month != month.previous().name:
        return None
    names = tuple(name for name in PrintedRow.__struct_fields__ if name != "endless")
    sql = (
        f"SELECT {', '.join(names)} FROM estimates WHERE freeze_id = ? AND dimension = 'all' "
        "AND (decision_low IS NOT NULL OR verdict IS NOT NULL)"
    )
    found = [_printed_row(dict(zip(names, row, strict=True))) for row in reader.query(sql, (previous.freeze_id,))[1]]
    # Not by the database: each has its own place for what is absent.
    rows = sorted(found, key=lambda row: (row.change_id, row.stage, row.metric, row.respondent or ""))
    now = metrics_in_force(settings.metrics)
    return (
        PrintedMonth(
            freeze_id=previous.freeze_id,
            code_version=previous.code_version,
            rows=rows,
            redefined=[m for m in sorted({*now, *previous.metrics}) if now.get(m) != previous.metrics.get(m)],
        )
        if rows
        else None
    )


def _printed_row(row: dict[str, Any]) -> PrintedRow:
    """With what JSON can hold: no infinity, no NaN."""
    low, high = (row[name] is not None and math.isinf(row[name]) for name in ("decision_low", "decision_high"))
    finite: dict[str, Any] = {k: _finite(v) if isinstance(v, float) else v for k, v in row.items()}
    return PrintedRow(**finite, endless="both" if low and high else "low" if low else "high" if high else None)


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _promoted(reader: Reader, earlier: Sequence[str]) -> list[Promoted]:
    sql = (
        "SELECT month, change_id, metric, effect, se, decision_low, decision_high FROM estimates WHERE freeze_id = ? "
        "AND verdict = 'promote' AND dimension = 'all' AND decided_by IS NOT NULL AND effect IS NOT NULL "
        "ORDER BY month, change_id, metric"
    )
    rows = [row for freeze_id in earlier for row in reader.query(sql, (freeze_id,))[1]]
    return [
        Promoted(month=m, change_id=c, metric=name, effect=effect, se=_finite(se), low=_finite(low), high=_finite(high))
        for m, c, name, effect, se, low, high in rows
        if math.isfinite(effect)
    ]


def _measured(reader: Reader, freezes: Sequence[str], versions: Collection[tuple[str, str]]) -> list[MeasuredBefore]:
    names = MeasuredBefore.__struct_fields__
    sql = (
        f"SELECT {', '.join(names)} FROM estimates WHERE freeze_id = ? AND model_id = ? AND to_version = ? "
        "AND dimension = 'all' AND decided_by IS NOT NULL AND effect IS NOT NULL AND grade <> 'before_after' "
    )
    found = [
        _measured_row(dict(zip(names, row, strict=True)))
        for freeze_id in freezes
        for model, version in sorted(versions)
        for row in reader.query(sql, (freeze_id, model, version))[1]
        if math.isfinite(row[names.index("effect")])
    ]
    return sorted(found, key=lambda row: (row.month, row.change_id, row.metric))


def _measured_row(row: dict[str, Any]) -> MeasuredBefore:
    finite: dict[str, Any] = {k: _finite(v) if isinstance(v, float) else v for k, v in row.items()}
    return MeasuredBefore(**finite)


def _meta(reader: Reader, name: str) -> bytes:
    rows = reader.query("SELECT value FROM meta WHERE name = ?", (name,))[1]
    return str(rows[0][0]).encode() if rows else b"{}"


def _refused(reader: Reader, month: Month) -> dict[str, int]:
    """Date → dead letters received on it, also those that were deleted since."""
    begin, end = reader.moment(month.previous().start_us), reader.moment(month.end_us)
    sql = f"SELECT received_at FROM dead_letters WHERE received_at >= {begin} AND received_at < {end}"
    zone = ZoneInfo(month.timezone)
    days = Counter(str(from_us(us).astimezone(zone).date()) for (us,) in reader.query(sql)[1])
    months = (month.previous().name, month.name)
    days += Counter({day: n for day, n in gone_by_day(reader).items() if day[:7] in months})
    return dict(sorted(days.items()))


def _counts(reader: Reader) -> dict[str, int]:
    counts: dict[str, int] = {}
    for name, sql in (
        ("superseded", "SELECT count(*) FROM superseded"),
        ("duplicates", "SELECT coalesce(sum(duplicates), 0) FROM offsets"),
    ):
        ((counts[name],),) = reader.query(sql)[1]
    letters = Counter(dict(reader.query("SELECT reason, count(*) FROM dead_letters GROUP BY reason")[1]))
    for reason, n in sorted((letters + gone_by_reason(reader)).items()):
        counts[f"dead_letters:{reason}"] = n
    return counts
