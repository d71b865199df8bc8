"""Draining a long backlog in several processes at once, each with partitions and join keys of its own.

A lane is ``python -m edgeloop.app.lanes HOME NUMBER OF``. It inherits the consumer's lock, so that nobody else drains
the home while one lane lives.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from edgeloop.app.crew import Teller, run_crew
from edgeloop.home import Home
from edgeloop.settings import Settings, load
from streams import Drain, Drained, Lane, Progress

RECORDS_WORTH_LANES = 150_000
"""From so long a backlog on, what a second process saves is more than its start takes."""
MOST_LANES = 4
"""More would wait for each other: all write to one file."""


def lanes_for(settings: Settings, drain: Drain) -> int:
    """How many lanes to drain in: a power of two that divides the number of partitions."""
    if settings.worker.lanes:
        return settings.worker.lanes
    if drain.lag() < RECORDS_WORTH_LANES:
        return 1
    lanes = 1
    while lanes * 2 <= min(os.cpu_count() or 1, MOST_LANES) and drain.partitions % (lanes * 2) == 0:
        lanes *= 2
    return lanes


def run_lanes(home: Home, lanes: int, lock: int, progress: Progress | None) -> Drained:
    """Drain in so many processes; what they did together.

    Raises:
        EdgeloopError: a lane failed; what the others committed stays, and the next run goes on from there.
    """
    arguments = [(str(home.path), str(number), str(lanes)) for number in range(lanes)]
    drained = run_crew(__name__, arguments, Drained, progress, (lock,))
    return Drained(sum(d.records for d in drained), sum(d.dead_letters for d in drained))


def main(folder: str, number: str, of: str) -> int:
    """One lane; its exit code."""
    from edgeloop.app.process import opened_drain

    home = Home(Path(folder))
    teller: Teller[Drained] = Teller()

    def work() -> Drained:
        with opened_drain(home, load(home.path), lane=Lane(int(number), int(of))) as drain:
            return drain.run(teller.progress)

    return teller.run(work)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
