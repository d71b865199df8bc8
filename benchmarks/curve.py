"""Whether `process` keeps its rate as the store grows: ``python -m benchmarks.curve --millions 20``.

Adds a million events at a time (two thirds exposures, five days each) and prints the rate of each million beside the
yardstick for the same records, so that what the machine does meanwhile cancels out.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from benchmarks.events import SUBJECTS, write
from benchmarks.spine import measured

AT_ONCE = 1_000_000
_DAYS = 5.0


def main() -> None:
    """Grow, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--millions", type=int, default=20)
    parser.add_argument("--subjects", type=int, default=SUBJECTS)
    parser.add_argument("--folder", type=Path, help="where to work; a temporary folder by default")
    arguments = parser.parse_args()
    python = sys.executable
    print(f"{'stored':>12}{'process/s':>12}{'CPU s/million':>15}{'peak MB':>10}{'of yardstick':>14}", flush=True)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as temporary:
        folder = Path(temporary)
        file, home, single = folder / "events.ndjson", folder / "home", folder / "single"
        for number in range(arguments.millions):
            write(file, AT_ONCE, arguments.subjects, seed=number, days=_DAYS, first_day=number * _DAYS)
            for target in (home, single):
                measured(python, "-m", "edgeloop", "ingest", str(file), "--home", str(target))
            yardstick = measured(
                python, "-m", "benchmarks.yardstick", str(single / "log.sqlite"), str(folder / "bare.sqlite")
            )
            process = measured(python, "-m", "edgeloop", "process", "--home", str(home))
            print(
                f"{number * AT_ONCE:>12,}{AT_ONCE / process.wall_s:>12,.0f}{process.cpu_s:>15.1f}"
                f"{process.peak_mb:>10,.0f}{yardstick.wall_s / process.wall_s:>14.2f}",
                flush=True,
            )
            for path in (*single.glob("log.sqlite*"), *folder.glob("bare.sqlite*")):
                path.unlink()


if __name__ == "__main__":
    main()
