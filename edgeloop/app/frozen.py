"""Freezes as analysts meet them: found by month or id, their files checked, their tables with proper types."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from edgeloop.errors import UsageError
from edgeloop.home import Home
from edgeloop.store.freeze import MANIFEST, Freeze, FreezeError
from edgeloop.store.schema import Kind

_ARROW: dict[Kind, pa.DataType] = {
    "text": pa.string(), "int": pa.int64(), "real": pa.float64(), "bool": pa.bool_(),
    "time": pa.timestamp("us", tz="UTC"), "json": pa.string(), "blob": pa.binary(),
}  # fmt: skip
# Types that know an absent value, so that a missing number does not turn whole numbers into floats.
_PANDAS = {pa.string(): pd.StringDtype(), pa.int64(): pd.Int64Dtype(), pa.bool_(): pd.BooleanDtype()}
_A_MONTH = len("2026-03")
_AT_ONCE = 1 << 20


def all_freezes(home: Home) -> list[Freeze]:
    """Every freeze of a home by month, provisional ones too."""
    paths = sorted(path.parent for path in home.freezes.glob(f"*/{MANIFEST}"))
    return [Freeze(path) for path in paths if not path.name.startswith(".")]


def find_freeze(home: Home, name: str) -> Freeze:
    """The freeze of that month (the final one, else the provisional), or of that id or the beginning of it.

    Raises:
        UsageError: there is none, or several begin so; the message names those that are there.
    """
    home.require()
    if len(name) == _A_MONTH:
        for folder in (name, f"{name}.provisional"):
            if (home.freezes / folder / MANIFEST).exists():
                return Freeze(home.freezes / folder)
    known = all_freezes(home)
    found = [freeze for freeze in known if len(name) > _A_MONTH and freeze.manifest.freeze_id.startswith(name)]
    if len(found) == 1:
        return found[0]
    there = ", ".join(freeze.manifest.freeze_id for freeze in known) or "none"
    raise UsageError(
        f"there is no freeze {name!r} (there: {there}). `edgeloop freeze --month YYYY-MM` makes one of a month that is "
        "over, `edgeloop uplift --month YYYY-MM` a provisional one of a month that is not"
    )


def checked_file(freeze: Freeze, table: str) -> Path:
    """The Parquet file of a table, after its hash was compared with the manifest's.

    Raises:
        UsageError: a freeze has no such table. FreezeError: the file is another one, or gone.
    """
    info = freeze.manifest.tables.get(table)
    if info is None:
        raise UsageError(f"a freeze has no table {table!r}; it has {', '.join(freeze.manifest.tables)}")
    path = freeze.path / f"{table}.parquet"
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(_AT_ONCE):
                digest.update(block)
    except OSError as error:
        raise FreezeError(f"{path} cannot be read: {error.strerror}. Restore it from your backup") from error
    if digest.hexdigest() != info.sha256:
        raise FreezeError(f"{path} is not the file that {MANIFEST} describes: restore it from your backup")
    return path


def arrow_of(freeze: Freeze, table: str, columns: Sequence[str] | None = None, filters: Any = None) -> pa.Table:
    """A table of a freeze, or these columns of it, or the rows that a pyarrow expression holds for."""
    path = checked_file(freeze, table)
    known = pq.read_schema(path).names
    for name in columns or ():
        if name not in known:
            raise UsageError(f"{table} has no column {name!r}; it has {', '.join(known)}")
    # As one file, not as a data set: pyarrow would take the month in the folder's name for a column.
    found: pa.Table = pq.read_table(path, columns=None if columns is None else list(columns), filters=filters)
    return found


def frame_of_arrow(table: pa.Table) -> pd.DataFrame:
    """A frame with types that know an absent value: string, Int64, float64, boolean, datetime64[us, UTC]."""
    frame: pd.DataFrame = table.to_pandas(types_mapper=_PANDAS.get)
    return frame


def frame_of_rows(names: Sequence[str], kinds: Sequence[Kind | None], rows: Sequence[Sequence[Any]]) -> pd.DataFrame:
    """The same of rows; times are integer µs in them, and a kind that is None is told from the values."""
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(names)
    arrays = [_array(kind, values) for kind, values in zip(kinds, columns, strict=True)]
    return frame_of_arrow(pa.Table.from_arrays(arrays, names=list(names)))


def _array(kind: Kind | None, values: Sequence[Any]) -> pa.Array:
    if kind == "bool":
        values = [None if value is None else bool(value) for value in values]
    try:
        return pa.array(values, type=None if kind is None else _ARROW[kind])
    except (pa.ArrowInvalid, pa.ArrowTypeError):  # SQLite lets one column hold text and numbers
        return pa.array([None if value is None else str(value) for value in values], type=pa.string())
