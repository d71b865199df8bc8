"""``edgeloop export --delta``: months of freezes as Delta Lake tables, for Spark, Trino and other readers of a lake.

One table per table of the freeze, partitioned by ``month``. A partition holds what happened in that month (in the
company's zone) as one freeze knew it, so months add up and nothing is in two of them. A write replaces a whole
partition at once; the columns ``freeze_id`` and ``freeze_as_of`` say which freeze it is from. The month that a row of
``actions`` names itself, of the report that asked, is ``report_month`` here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from edgeloop.app.frozen import checked_file
from edgeloop.app.output import Bar
from edgeloop.clock import from_us, to_us
from edgeloop.errors import EdgeloopError
from edgeloop.months import Month
from edgeloop.store.freeze import Freeze
from edgeloop.store.schema import TABLES

_COMMENTS = {table.name: table.comment for table in TABLES}
_ADDED = pa.schema(
    [
        pa.field("month", pa.string()),
        pa.field("freeze_id", pa.string()),
        pa.field("freeze_as_of", pa.timestamp("us", tz="UTC")),
    ]
)
_OWN_MONTH = "report_month"
"""What a column ``month`` of the table itself (of ``actions``: whose report asked) is called here."""
_ROWS_AT_ONCE = 200_000


class Partition(msgspec.Struct, frozen=True):
    """What became of one month of one table."""

    table: str
    month: str
    rows: int
    """Of the month in this freeze."""
    state: Literal["written", "replaced", "unchanged", "newer there", "no rows"]
    """``unchanged``: it is from this freeze already; ``newer there``: it is from one that knew more, and stays."""
    freeze_id: str


def export_delta(
    freeze: Freeze, folder: str, *, restate: bool = False, bar: Callable[[str], Bar] | None = None
) -> list[Partition]:
    """Write a freeze's month into the Delta tables below a folder; the same freeze a second time changes nothing.

    Args:
        freeze: a month, provisional or final.
        folder: where the tables are, or shall be; also an address that deltalake knows (``s3://…``).
        restate: also the month before, as this freeze knows it.
        bar: makes a progress bar by name.

    Raises:
        EdgeloopError: deltalake is not installed, the folder cannot be written, or the month before is not in the
            freeze any more. FreezeError: a file is not the one the manifest describes.
    """
    deltalake = _deltalake()
    months = [*([freeze.month.previous()] if restate else []), freeze.month]
    told: list[Partition] = []
    for done, table in enumerate(freeze.manifest.tables, start=1):
        path = checked_file(freeze, table)
        for month in months:
            try:
                told.append(_export(deltalake, freeze, path, f"{folder.rstrip('/')}/{table}", table, month))
            except (deltalake.exceptions.DeltaError, OSError) as error:
                raise EdgeloopError(
                    f"cannot write {table} of {month.name} below {folder}: {' '.join(str(error).split())[:300]}. "
                    "Tables written before it stay; run the same again"
                ) from error
        if bar is not None:
            bar("tables")(done, len(freeze.manifest.tables))
    return told


def _deltalake() -> Any:
    try:
        import deltalake
        import deltalake.exceptions
    except ImportError as error:
        raise EdgeloopError(
            "writing Delta tables needs deltalake, which is not installed: `pip install 'edgeloop[delta]'`. The "
            "freeze itself is Parquet already, in freezes/ of the home"
        ) from error
    return deltalake


def _export(deltalake: Any, freeze: Freeze, path: Path, place: str, table: str, month: Month) -> Partition:
    known = deltalake.DeltaTable(place) if deltalake.DeltaTable.is_deltatable(place) else None
    there = None if known is None else _from_freeze(known, month)
    rows = _count(path, month)
    manifest = freeze.manifest

    def told(state: Literal["written", "replaced", "unchanged", "newer there", "no rows"]) -> Partition:
        return Partition(table, month.name, rows, state, manifest.freeze_id)

    if there is not None:
        if there[0] == manifest.freeze_id:
            return told("unchanged")
        if there[1] > manifest.as_of_us:
            return told("newer there")
    predicate = f"month = '{month.name}'"
    if rows == 0:
        if known is None or there is None:
            return told("no rows")
        if month.name != manifest.month:
            raise EdgeloopError(
                f"{table} has rows of {month.name} in the lake, and none in this freeze: was it pruned before? The "
                "lake stays as it is; leave --restate away"
            )
        known.delete(predicate)
        return told("replaced")
    deltalake.write_deltalake(
        place,
        _batches(path, month, freeze),
        mode="overwrite" if known is not None else "error",
        predicate=predicate if known is not None else None,
        schema_mode="merge" if known is not None else None,  # columns are only ever added
        partition_by=["month"],
        name=table,
        description=_COMMENTS.get(table),
        commit_properties=deltalake.CommitProperties(custom_metadata={"edgeloop.freeze_id": manifest.freeze_id}),
    )
    return told("written" if there is None else "replaced")


def _from_freeze(known: Any, month: Month) -> tuple[str, int] | None:
    """The id of the freeze that a partition is from, and its ``as_of`` in µs; None where there is no such partition."""
    found = known.to_pyarrow_table(filters=[("month", "=", month.name)], columns=["freeze_id", "freeze_as_of"]).slice(
        0, 1
    )
    if found.num_rows == 0:
        return None
    as_of: datetime = found.column("freeze_as_of")[0].as_py()
    return str(found.column("freeze_id")[0].as_py()), to_us(as_of)


def _of_the_month(times: Any, month: Month) -> Any:
    first, end = (pa.scalar(us, pa.int64()).cast(times.type) for us in (month.start_us, month.end_us))
    return pc.and_(pc.greater_equal(times, first), pc.less(times, end))


def _count(path: Path, month: Month) -> int:
    times = pq.read_table(path, columns=["occurred_at"]).column("occurred_at")
    return int(pc.sum(_of_the_month(times, month)).as_py() or 0)


def _batches(path: Path, month: Month, freeze: Freeze) -> pa.RecordBatchReader:
    """The month's rows as a stream, so that millions of them need no room at once."""
    file = pq.ParquetFile(path)
    own = (field.with_name(_OWN_MONTH) if field.name == "month" else field for field in file.schema_arrow)
    schema = pa.schema([*own, *_ADDED]).remove_metadata()
    as_of = from_us(freeze.manifest.as_of_us)

    def stream() -> Iterator[pa.RecordBatch]:
        for batch in file.iter_batches(_ROWS_AT_ONCE):
            kept = batch.filter(_of_the_month(batch.column("occurred_at"), month))
            if kept.num_rows:
                added = [
                    pa.array([value] * kept.num_rows, type=field.type)
                    for field, value in zip(_ADDED, (month.name, freeze.manifest.freeze_id, as_of), strict=True)
                ]
                yield pa.RecordBatch.from_arrays([*kept.columns, *added], schema=schema)

    return pa.RecordBatchReader.from_batches(schema, stream())
