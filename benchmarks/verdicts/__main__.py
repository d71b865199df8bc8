"""Random worlds through the real pipe: ``python -m benchmarks.verdicts`` runs them all and writes their table.

``--quick N`` runs the first N and only prints; ``--world N --show`` prints one world: what was drawn, what is true, its
rows, what the page says, and where that contradicts itself.
"""

from __future__ import annotations

import argparse
import sys

from benchmarks.verdicts import run, show
from benchmarks.verdicts.page import table, worlds_named


def main() -> int:
    """0 where every rate holds and nothing contradicts itself, 1 else."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.prog = "python -m benchmarks.verdicts"
    parser.add_argument("--quick", type=int, metavar="N", help="the first N worlds; nothing is written")
    parser.add_argument("--world", type=int, metavar="N", help="one world")
    parser.add_argument("--show", action="store_true", help="with --world: all of it (the default)")
    parser.add_argument("--design", help="only worlds of this design; nothing is written")
    parser.add_argument("--from", dest="first", type=int, default=0, metavar="N", help="begin with this world")
    parser.add_argument("--label", default="", help="printed beside the run, as 'before the mending'")
    parser.add_argument("--processes", type=int, default=2, help="1 or 2 (default)")
    arguments = parser.parse_args()
    if arguments.world is not None:
        print(show.shown(arguments.world))
        return 0
    code = run.code_state()
    numbers = run.numbers(arguments.quick or run.WORLDS, arguments.first, arguments.design)
    found = run.outcomes(
        numbers, processes=arguments.processes, tell=lambda line: print(line, file=sys.stderr, flush=True)
    )
    made = run.Run.of(found, code, arguments.label)
    print(table(made))
    print(worlds_named(found))
    if arguments.quick or arguments.design or arguments.first:
        print("Not the full run: nothing was written.", file=sys.stderr)
        return 0
    run.append(made)
    run.write_page()
    print(f"written: {run.PAGE}", file=sys.stderr)
    return 0 if not made.missed() else 1


if __name__ == "__main__":
    sys.exit(main())
