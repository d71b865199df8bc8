"""How fast the embedded spine is: ``python -m benchmarks.spine`` (or ``make bench``).

Prints events per second of ingest, of process and of both, CPU seconds per million events and peak memory, beside a
yardstick in the same run: decoding the same records with msgspec and inserting the same rows into bare SQLite tables,
nothing looked up and nothing attributed. On a noisy machine only the ratio to the yardstick means something.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import NamedTuple

from benchmarks.events import SUBJECTS, write

_EVERY_S = 0.2


class Measured(NamedTuple):
    """One command, its helpers included."""

    wall_s: float
    cpu_s: float
    peak_mb: float


def measured(*command: str) -> Measured:
    """Run a command; memory is the sum of its processes' shares (PSS), looked at five times a second."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begin = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    peak = 0.0

    def watch() -> None:
        nonlocal peak
        while process.poll() is None:
            peak = max(peak, sum(pss_mb(pid) for pid in family(process.pid)))
            time.sleep(_EVERY_S)

    watcher = threading.Thread(target=watch)
    watcher.start()
    code = process.wait()
    wall = time.monotonic() - begin
    watcher.join()
    if code != 0:
        sys.exit(f"{' '.join(command)} ended with {code}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Measured(wall, cpu, peak)


def family(pid: int) -> list[int]:
    """A process and all below it."""
    found = [pid]
    try:
        for thread in Path(f"/proc/{pid}/task").iterdir():
            for child in (thread / "children").read_text().split():
                found += family(int(child))
    except OSError:
        pass  # it ended while we looked
    return found


def pss_mb(pid: int) -> float:
    """Its share of memory; 0 where it ended or is not ours to look at."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("Pss:")), 0.0)


def main() -> None:
    """Generate, run, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=2_000_000)
    parser.add_argument("--subjects", type=int, default=SUBJECTS)
    parser.add_argument("--hot", type=int, default=0, help="how many of the events are of one test account")
    parser.add_argument("--folder", type=Path, help="where to work; a temporary folder by default")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as temporary:
        folder = Path(temporary)
        file, home = folder / "events.ndjson", folder / "home"
        print(f"writing {arguments.events:,} events of {arguments.subjects:,} customers …", file=sys.stderr)
        write(file, arguments.events, arguments.subjects, hot=arguments.hot)
        python = sys.executable
        ingest = measured(python, "-m", "edgeloop", "ingest", str(file), "--home", str(home))
        yardstick = measured(
            python, "-m", "benchmarks.yardstick", str(home / "log.sqlite"), str(folder / "bare.sqlite")
        )
        process = measured(python, "-m", "edgeloop", "process", "--home", str(home))
        both = Measured(ingest.wall_s + process.wall_s, ingest.cpu_s + process.cpu_s, max(ingest[2], process[2]))
        million = arguments.events / 1e6
        print(f"{os.cpu_count()} cores, {arguments.events:,} events, {arguments.subjects:,} customers")
        print(f"{'':<12}{'events/s':>12}{'CPU s/million':>15}{'peak MB':>10}{'of yardstick':>14}")
        for name, m in (("yardstick", yardstick), ("ingest", ingest), ("process", process), ("both", both)):
            ratio, rate = yardstick.wall_s / m.wall_s, arguments.events / m.wall_s
            print(f"{name:<12}{rate:>12,.0f}{m.cpu_s / million:>15.1f}{m.peak_mb:>10,.0f}{ratio:>14.2f}")
        sizes = {name: (home / f"{name}.sqlite").stat().st_size / 1e6 for name in ("log", "store")}
        print(f"log {sizes['log']:,.0f} MB, store {sizes['store']:,.0f} MB")


if __name__ == "__main__":
    main()
