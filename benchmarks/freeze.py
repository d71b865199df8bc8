"""What does `edgeloop freeze` of a month with many exposures take? ``python -m benchmarks.freeze --millions 1 5``.

The tables of a home that drained a hundred events get the rows of `benchmarks.large_month` in place of theirs, since
draining millions takes many times longer than freezing them. A freeze reads nothing else, and `tests/test_scale.py`
shows that it gives these very rows. Then the command runs: seconds by the clock, CPU seconds, the peak of its memory
(PSS, looked at five times a second). Rows are narrower than a full contract's: they have no delivery, site or extra.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import apsw
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.events import write
from benchmarks.large_month import MONTH, write_month
from benchmarks.spine import measured
from edgeloop.home import Home

_ROWS_AT_ONCE = 50_000
_BEGUN_WITH = 100
"""Events that make the home: keys, tables, rules."""


def main() -> None:
    """Fill, freeze, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--millions", type=float, nargs="+", default=[1.0])
    parser.add_argument("--folder", type=Path, help="where to work; a temporary folder by default")
    arguments = parser.parse_args()
    print(f"{'exposures':>12}{'store MB':>10}{'freeze MB':>11}{'seconds':>9}{'CPU s':>7}{'peak MB':>9}", flush=True)
    for millions in arguments.millions:
        with tempfile.TemporaryDirectory(dir=arguments.folder) as temporary:
            home, rows = Home(Path(temporary) / "home"), round(millions * 1_000_000)
            fill(home, Path(temporary) / "month", rows)
            took = measured(*_edgeloop(home, "freeze", "--month", MONTH.name))
            store = home.store.stat().st_size / 1e6
            frozen = sum(p.stat().st_size for p in (home.freezes / MONTH.name).iterdir()) / 1e6
        sizes = f"{rows:>12,}{store:>10,.0f}{frozen:>11,.0f}"
        print(f"{sizes}{took.wall_s:>9.1f}{took.cpu_s:>7.1f}{took.peak_mb:>9,.0f}", flush=True)


def fill(home: Home, folder: Path, exposures: int) -> None:
    """A home whose tables hold a large month, and that month as Parquet in ``folder``."""
    begun = home.path.with_name("begun.ndjson")
    write(begun, _BEGUN_WITH, days=1)
    for arguments in (("ingest", str(begun)), ("process",)):
        subprocess.run(_edgeloop(home, *arguments), check=True, stderr=subprocess.DEVNULL)
    write_month(folder, exposures)
    db = apsw.Connection(str(home.store))
    db.execute("PRAGMA synchronous=OFF")
    for path in sorted(folder.glob("*.parquet")):
        db.execute(f"DELETE FROM {path.stem}")
        for batch in pq.ParquetFile(path).iter_batches(_ROWS_AT_ONCE):
            _insert(db, path.stem, batch)
    db.close()


def _insert(db: apsw.Connection, table: str, batch: pa.RecordBatch) -> None:
    names = ", ".join(f'"{name}"' for name in batch.schema.names)
    marks = ", ".join("?" * batch.num_columns)
    columns = [_whole(column).to_pylist() for column in batch.columns]
    with db:
        db.executemany(f"INSERT INTO {table}({names}) VALUES ({marks})", zip(*columns, strict=True))


def _whole(column: pa.Array) -> pa.Array:
    """Times as the store keeps them: µs."""
    return column.cast(pa.int64()) if pa.types.is_timestamp(column.type) else column


def _edgeloop(home: Home, *arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "edgeloop", *arguments, "--home", str(home.path))


if __name__ == "__main__":
    main()
