"""Draining a long backlog in several processes at once, each with partitions and join keys of its own.

A lane is `python -m edgeloop.app.lanes HOME NUMBER OF`: it drains its partitions, tells how far it is in lines of JSON
on stdout, and ends. It inherits the consumer's lock, so that nobody else drains the home while one lane lives.
"""

from __future__ import annotations

import ctypes
import os
import selectors
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import msgspec

from edgeloop.errors import EdgeloopError
from edgeloop.home import Home
from edgeloop.settings import Settings, load
from streams import Drain, Drained, Lane, Progress

RECORDS_WORTH_LANES = 150_000
"""From so long a backlog on, what a second process saves is more than its start takes."""
MOST_LANES = 4
"""More would wait for each other: all write to one file."""
_DIES_WITH_PARENT = 1  # prctl(2), PR_SET_PDEATHSIG


class _Said(msgspec.Struct, omit_defaults=True):
    """A line of a lane."""

    done: int = 0
    total: int = 0
    dead_letters: int = 0
    error: str | None = None


def lanes_for(settings: Settings, drain: Drain) -> int:
    """How many lanes to drain in: a power of two that divides the number of partitions."""
    if settings.worker.lanes:
        return settings.worker.lanes
    if drain.lag() < RECORDS_WORTH_LANES:
        return 1
    lanes = 1
    while lanes * 2 <= min(os.cpu_count() or 1, MOST_LANES) and settings.log.partitions % (lanes * 2) == 0:
        lanes *= 2
    return lanes


def run_lanes(home: Home, lanes: int, lock: int, progress: Progress | None) -> Drained:
    """Drain in so many processes; what they did together.

    Raises:
        EdgeloopError: a lane failed; what the others committed stays, and the next run goes on from there.
    """
    command = [sys.executable, "-m", "edgeloop.app.lanes", str(home.path)]
    running = [
        subprocess.Popen([*command, str(number), str(lanes)], stdout=subprocess.PIPE, pass_fds=(lock,))  # noqa: S603
        for number in range(lanes)
    ]
    said = [_Said() for _ in running]
    try:
        with selectors.DefaultSelector() as selector:
            for number, process in enumerate(running):
                assert process.stdout is not None  # noqa: S101 - asked for above
                selector.register(process.stdout, selectors.EVENT_READ, number)
            while selector.get_map():
                for key, _ in selector.select():
                    line = key.fileobj.readline()  # type: ignore[union-attr]
                    if not line:
                        selector.unregister(key.fileobj)
                        continue
                    said[key.data] = msgspec.json.decode(line, type=_Said)
                    if progress is not None:
                        progress(sum(s.done for s in said), sum(s.total for s in said))
        codes = [process.wait() for process in running]
    finally:
        for process in running:
            if process.poll() is None:
                process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()
    for number, (code, last) in enumerate(zip(codes, said, strict=True)):
        if code != 0:
            raise EdgeloopError(last.error or f"lane {number} of {lanes} ended with {code}. Run the same again")
    return Drained(sum(s.done for s in said), sum(s.dead_letters for s in said))


def _run_lane(path: Path, lane: Lane) -> int:
    from edgeloop.app.process import opened_drain

    home = Home(path)
    parent = os.getppid()
    total = 0

    def tell(said: _Said) -> None:
        sys.stdout.write(msgspec.json.encode(said).decode() + "\n")
        sys.stdout.flush()

    def show(done: int, of: int) -> None:
        nonlocal total
        total = of
        if os.getppid() != parent:
            raise EdgeloopError("the process that this lane belongs to is gone")
        tell(_Said(done=done, total=of))

    try:
        with opened_drain(home, load(home.path), lane=lane) as drain:
            drained = drain.run(show)
    except EdgeloopError as error:
        tell(_Said(error=str(error)))
        return error.exit_code
    tell(_Said(done=drained.records, total=max(total, drained.records), dead_letters=drained.dead_letters))
    return 0


def _die_with_parent() -> None:
    """Where the system can do it: a killed parent must not leave lanes behind that hold the lock."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_DIES_WITH_PARENT, signal.SIGKILL)


if __name__ == "__main__":
    _die_with_parent()
    _, folder, number, of = sys.argv
    sys.exit(_run_lane(Path(folder), Lane(int(number), int(of))))
