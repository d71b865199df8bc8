"""A month freeze: one snapshot of the store as sorted zstd Parquet plus a manifest.

Estimates and report come from it alone.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import pandas as pd
import pyarrow.parquet as pq

from edgeloop.months import Month

MANIFEST = "manifest.json"


class TableInfo(msgspec.Struct, frozen=True):
    """One Parquet file of a freeze."""

    rows: int
    sha256: str


class Manifest(msgspec.Struct, kw_only=True, frozen=True):
    """What a freeze holds and how it was made; ``freeze_id`` is the hash of everything else in it."""

    freeze_id: str
    month: str
    timezone: str
    company: str
    provisional: bool
    simulated: bool
    as_of_us: int
    """The latest ``received_at`` in it: the moment up to which it knows the world."""
    since_us: int
    """Rows of earlier events are not in it."""
    schema: int
    code_version: str
    writer: str
    """Name and version of the Parquet writer, on which the bytes depend."""
    rules: dict[str, str | int | float | list[str]]
    lower_is_better: list[str]
    offsets: dict[str, int]
    """``topic/partition`` → next offset."""
    counts: dict[str, int]
    """Whole-store counts: superseded, duplicates, dead letters by reason (``dead_letters:REASON``)."""
    tables: dict[str, TableInfo]
    previous: str | None = None
    """``freeze_id`` of the last final freeze of an earlier month."""


class Freeze:
    """A freeze on disk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.manifest = msgspec.json.decode((path / MANIFEST).read_bytes(), type=Manifest)

    @property
    def month(self) -> Month:
        """The month it was made for."""
        return Month.parse(self.manifest.month, self.manifest.timezone)

    def frame(self, table: str) -> pd.DataFrame:
        """A table with its contract columns; times are int64 µs since the epoch, absent values None or NaN."""
        frame: pd.DataFrame = pq.read_table(self.path / f"{table}.parquet").to_pandas()
        return frame
