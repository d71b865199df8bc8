"""How long do a large month's estimates and its report take? ``python -m benchmarks.scale --millions 5 --report``.

Writes a freeze of so many million exposures (three fifths as many outcomes, a hundredth as many answers, a tenth as
many customers) with twelve changes, nine drawn by customer, two by zone and one full switch, then measures the
estimates from that freeze alone in a process of its own: wall and CPU seconds, and the peak of its resident memory.
With ``--report`` the same of the estimates and then the report's files, written: what `edgeloop report` does of a month
that is frozen; the seconds are those of the files alone, the peak is of both.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path

from benchmarks.large_month import write_month
from edgeloop.store.freeze import MANIFEST


def main() -> None:
    """Write, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--millions", type=float, nargs="+", default=[5.0])
    parser.add_argument("--folder", type=Path, help="where freezes are kept and found again; none is kept by default")
    parser.add_argument("--report", action="store_true", help="the report's files too")
    parser.add_argument("--of", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.of is not None:
        _measure(arguments.of, report=arguments.report)
        return
    print(f"{'exposures':>12}{'freeze MB':>11}{'seconds':>9}{'CPU s':>7}{'peak MB':>9}{'rows':>7}", flush=True)
    for millions in arguments.millions:
        kept = nullcontext(arguments.folder) if arguments.folder is not None else tempfile.TemporaryDirectory()
        with kept as folder:
            freeze = Path(folder) / f"{millions:g}"
            if not (freeze / MANIFEST).exists():  # written last: without it the month was cut off
                shutil.rmtree(freeze, ignore_errors=True)
                write_month(freeze, round(millions * 1_000_000))
            size = sum(p.stat().st_size for p in freeze.iterdir()) / 1e6
            run = subprocess.run(
                [sys.executable, "-m", "benchmarks.scale", "--of", str(freeze), *["--report"] * arguments.report],
                check=True, stdout=subprocess.PIPE, text=True,
            )  # fmt: skip
        found = json.loads(run.stdout)
        took = f"{found['seconds']:>9.1f}{found['cpu']:>7.1f}{found['peak_mb']:>9,.0f}{found['rows']:>7,}"
        print(f"{millions * 1e6:>12,.0f}{size:>11,.0f}{took}", flush=True)


def _measure(folder: Path, *, report: bool) -> None:
    from edgeloop.app.monthly import analyse_freeze, render_freeze
    from edgeloop.app.publish import publish
    from edgeloop.home import Home
    from edgeloop.store.freeze import Freeze

    begun, used = time.perf_counter(), time.process_time()
    found = analyse_freeze(Freeze(folder))
    if report:
        begun, used = time.perf_counter(), time.process_time()
        with tempfile.TemporaryDirectory() as home:
            publish(Home(Path(home)), render_freeze(Freeze(folder), found))
    seconds, cpu = time.perf_counter() - begun, time.process_time() - used
    # Not ru_maxrss: a process inherits that of the one it was started by, which has written the month.
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    peak = int(status["VmHWM"].split()[0]) * 1_024 / 1e6
    print(json.dumps({"seconds": seconds, "cpu": cpu, "peak_mb": peak, "rows": len(found.estimates)}))


if __name__ == "__main__":
    main()
