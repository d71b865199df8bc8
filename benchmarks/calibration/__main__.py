"""Do the figures hold what they promise? ``python -m benchmarks.calibration`` runs every scenario and writes the page.

Some 25 minutes of CPU on two processes. ``--only`` takes scenarios or whole files (``--list`` names them), and changes
their rows of docs/calibration.md alone; ``--quick`` makes a twentieth of the data sets and only prints.
"""

from __future__ import annotations

import argparse
import sys

from benchmarks.calibration import record, run
from benchmarks.calibration.page import missed, page, tables


def main() -> int:
    """0 where every figure holds, 1 where one misses."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.prog = "python -m benchmarks.calibration"
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME")
    parser.add_argument("--quick", action="store_true", help="a twentieth of the data sets; nothing is written")
    parser.add_argument("--list", action="store_true", help="name the scenarios")
    parser.add_argument("--processes", type=int, default=run.MOST_PROCESSES, help="1 or 2 (default)")
    arguments = parser.parse_args()
    if arguments.list:
        for group in run.GROUPS:
            print(f"{run.group_name(group)}: {', '.join(s.name for s in group.SCENARIOS)}")
        return 0
    try:
        wanted = run.chosen(arguments.only)
    except ValueError as error:
        parser.error(f"--only: {error}")
    code = record.code_state()
    found = run.measure(
        wanted,
        quick=arguments.quick,
        processes=max(arguments.processes, 1),
        tell=lambda line: print(line, file=sys.stderr, flush=True),
    )
    made = record.Run.of(found, code)
    print(tables(made.figures))
    if arguments.quick:
        print("A quick run: too few data sets to judge by; nothing was written.", file=sys.stderr)
        return 0
    record.append(made)
    record.PAGE.write_text(page(record.runs()), encoding="utf-8")
    print(f"written: {record.PAGE}", file=sys.stderr)
    return 1 if missed(made.figures) else 0


if __name__ == "__main__":
    sys.exit(main())
