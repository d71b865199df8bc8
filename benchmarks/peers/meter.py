"""What every peer tells while it runs: lines of JSON on stdout, summed by whoever started it.

Needs nothing but the standard library, because Quix runs in an environment of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

LOOK_S = 0.02
"""How often the counts are looked at, which is also the precision of the times."""

EXPOSURES, ENGAGEMENT = "edge.exposures", "engagement.events"
PAIRS_WINDOW_H = 168.0


class Meter:
    """Counts of one process. The hot loop only sets `positions`, and adds to ``joined``.

    Positions, because a group that gains a member reads again what was not committed; a count would have it twice.
    """

    def __init__(self, expect: int, matches: Path | None = None, *, end: Callable[[], None] | None = None) -> None:
        self.positions: dict[tuple[str, int], int] = {}
        """Of each topic's partition the offset after the last record that was processed."""
        self.joined = 0
        self.first = 0.0
        """When the first record came, by the monotonic clock; a peer that works in large batches sets it itself."""
        self._expect = expect
        self._end = end or (lambda: os._exit(0))
        self._matches: IO[str] | None = None
        if matches is not None:
            self._matches = matches.with_name(f"{matches.name}.{os.getpid()}").open("w", encoding="utf-8", buffering=1)
        threading.Thread(target=self._tell, daemon=True).start()

    def match(self, outcome: str, model: str, exposure: str, exposure_ms: int) -> None:
        """A match that was emitted, in the order of emission."""
        self.joined += 1
        if self._matches is not None:
            self._matches.write(json.dumps([outcome, model, exposure, exposure_ms]) + "\n")

    def _tell(self) -> None:
        told: dict[tuple[str, int], int] = {}
        while True:
            now = self.positions.copy()
            if now != told:
                at = time.monotonic()
                self.first = self.first or at
                told = now
                self._say(now, at)
                if sum(told.values()) >= self._expect > 0:
                    self._say(now, at, seconds=at - self.first)
                    self._end()
                    return
            time.sleep(LOOK_S)

    def _say(self, positions: dict[tuple[str, int], int], at: float, **more: float) -> None:
        of_partitions = {f"{topic}/{partition}": position for (topic, partition), position in positions.items()}
        say(
            {"records": sum(positions.values()), "joined": self.joined, "first": self.first, "at": at}
            | more
            | {"positions": of_partitions}
        )


def say(what: dict[str, Any]) -> None:
    """One line for whoever started this process; not by ``sys.stdout``, which Faust turns into its log."""
    os.write(1, (json.dumps(what) + "\n").encode())


class Arguments(argparse.Namespace):
    """What every peer is told."""

    bootstrap: str
    prefix: str
    expect: int
    group: str
    folder: Path
    window_h: float
    grace_h: float
    matches: Path | None
    cython: bool


def arguments(description: str | None) -> Arguments:
    """Read them."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bootstrap", required=True, help="host:port of a broker")
    parser.add_argument("--prefix", required=True, help="before the topics' names")
    parser.add_argument("--expect", type=int, default=0, help="end after so many records; 0: never")
    parser.add_argument("--group", help="consumer group; without one a fresh one, which reads from the beginning")
    parser.add_argument("--folder", type=Path, help="for the peer's own state; a new temporary one by default")
    parser.add_argument("--window-h", type=float, default=PAIRS_WINDOW_H, help="an exposure counts for so long")
    parser.add_argument("--grace-h", type=float, default=24.0, help="how long after its time a record may come")
    parser.add_argument("--matches", type=Path, help="write every match here, as NDJSON (the process id is appended)")
    parser.add_argument("--cython", action="store_true", help="Faust's cython_optimizations")
    told = parser.parse_args(namespace=Arguments())
    told.group = told.group or f"{told.prefix}{uuid.uuid4().hex}"
    if vars(told)["folder"] is None:
        told.folder = Path(tempfile.mkdtemp(prefix="peer-"))
    return told
