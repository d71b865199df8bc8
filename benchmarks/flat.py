"""Whether memory stays flat however long the backlog: ``python -m benchmarks.flat --millions 10``.

Fills a local log, then drains it in one run of `edgeloop process` and prints its memory (PSS of all its processes, the
largest of each span) by tenths of the records. After warm-up, which is the first three tenths, the spans should lie
within 10 % of each other.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.events import SUBJECTS, write
from benchmarks.spine import family, measured, pss_mb
from edgeloop.store.reader import SqliteReader

AT_ONCE = 1_000_000
SPANS, WARM_UP = 10, 3
_EVERY_S = 0.5


def main() -> None:
    """Fill, drain, watch, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--millions", type=int, default=10)
    parser.add_argument("--subjects", type=int, default=SUBJECTS)
    parser.add_argument("--lanes", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="where to work; a temporary folder by default")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as temporary:
        folder = Path(temporary)
        file, home = folder / "events.ndjson", folder / "home"
        for number in range(arguments.millions):
            print(f"\rfilling the log: {number} of {arguments.millions} million", end="", file=sys.stderr, flush=True)
            write(file, AT_ONCE, arguments.subjects, seed=number, days=5.0, first_day=number * 5.0)
            measured(sys.executable, "-m", "edgeloop", "ingest", str(file), "--home", str(home))
        file.unlink()
        print(file=sys.stderr)
        spans = watched(home, arguments.millions * AT_ONCE, arguments.lanes)
    print(f"{'records drained':>16}{'largest MB':>12}")
    for number, peak in enumerate(spans, start=1):
        print(f"{arguments.millions * AT_ONCE * number // SPANS:>16,}{peak:>12,.0f}")
    after = spans[WARM_UP:]
    print(f"after warm-up: {min(after):,.0f} to {max(after):,.0f} MB, ± {(max(after) / min(after) - 1) / 2:.1%}")


def watched(home: Path, records: int, lanes: int) -> list[float]:
    """The largest memory of each tenth of the records, in MB."""
    command = [sys.executable, "-m", "edgeloop", "process", "--home", str(home)]
    environment = {**os.environ, "EDGELOOP_WORKER_LANES": str(lanes)}
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment)
    spans = [0.0] * SPANS
    while process.poll() is None:
        span = min(SPANS - 1, drained(home) * SPANS // records)
        spans[span] = max(spans[span], sum(pss_mb(pid) for pid in family(process.pid)))
        time.sleep(_EVERY_S)
    if process.returncode != 0:
        sys.exit(f"process ended with {process.returncode}")
    return spans


def drained(home: Path) -> int:
    """How many records are in the tables."""
    try:
        reader = SqliteReader(home / "store.sqlite")
        try:
            ((n,),) = reader.query("SELECT coalesce(sum(next_offset), 0) FROM offsets")[1]
        finally:
            reader.close()
    except Exception:  # there are no tables yet
        return 0
    return int(n)


if __name__ == "__main__":
    main()
