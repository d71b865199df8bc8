"""Which scenarios are there, and what do they measure? In pieces over at most two processes, each with its own seed.

A piece's generator comes from the one seed, the scenario's name and the piece's number, so neither the order nor the
number of processes shows, and a quick run is the beginning of the full one.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import cache
from types import ModuleType

from benchmarks.calibration import (
    arms,
    daily_looks,
    guardrails,
    inside,
    months,
    novelty,
    ramp,
    survey,
    switches,
    verdicts,
    zones,
)
from benchmarks.calibration.scenario import Scenario, Tally, merge

GROUPS: tuple[ModuleType, ...] = (
    arms,
    inside,
    guardrails,
    daily_looks,
    ramp,
    novelty,
    zones,
    switches,
    survey,
    months,
    verdicts,
)
MOST_PROCESSES = 2
QUICK = 20  # a quick run makes so many times fewer data sets, and two at least
Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Measured:
    """A scenario's tally over so many data sets, and the CPU seconds it took."""

    scenario: Scenario
    sets: int
    tally: Tally
    cpu_s: float


@dataclass(frozen=True, slots=True)
class _Piece:
    name: str
    number: int
    sets: int


@cache
def scenarios() -> dict[str, Scenario]:
    """All of them by name, in the order of the page."""
    return {s.name: s for group in GROUPS for s in group.SCENARIOS}


def group_name(group: ModuleType) -> str:
    """As ``--only`` takes it: the file's."""
    return group.__name__.rpartition(".")[2]


def chosen(only: Sequence[str]) -> list[Scenario]:
    """The scenarios with these names, or of the files with these names; all of them for no name.

    Raises:
        ValueError: a name that is neither.
    """
    if not only:
        return list(scenarios().values())
    found: dict[str, Scenario] = {}
    groups = {group_name(group): group.SCENARIOS for group in GROUPS}
    for name in only:
        parts = groups.get(name) or [s for s in [scenarios().get(name)] if s is not None]
        if not parts:
            raise ValueError(f"{name!r} is none of {', '.join([*groups, *scenarios()])}")
        found |= {s.name: s for s in parts}
    return list(found.values())


def measure(wanted: Sequence[Scenario], *, quick: bool, processes: int, tell: Tell) -> list[Measured]:
    """Run them all; ``tell`` hears of each that is done."""
    pieces = {s.name: _pieces(s, quick=quick) for s in wanted}
    parts: dict[str, list[tuple[Tally, float]]] = {s.name: [] for s in wanted}
    done: dict[str, Measured] = {}
    begun = time.monotonic()
    for threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):  # of the processes that begin now: one core each
        os.environ.setdefault(threads, "1")
    with ProcessPoolExecutor(min(processes, MOST_PROCESSES), mp_context=multiprocessing.get_context("spawn")) as pool:
        waiting = {pool.submit(_run, piece): piece for of in pieces.values() for piece in of}
        for future in as_completed(waiting):
            piece = waiting.pop(future)
            parts[piece.name].append(future.result())
            if len(parts[piece.name]) < len(pieces[piece.name]):
                continue
            tallies, seconds = zip(*parts.pop(piece.name), strict=True)
            sets = sum(p.sets for p in pieces[piece.name])
            done[piece.name] = Measured(scenarios()[piece.name], sets, merge(tallies), sum(seconds))
            tell(
                f"{len(done)} of {len(wanted)}: {piece.name}, {sets:,} data sets in {sum(seconds):.0f} s of CPU; "
                f"{time.monotonic() - begun:.0f} s since the start"
            )
    return [done[s.name] for s in wanted]


def _pieces(s: Scenario, *, quick: bool) -> list[_Piece]:
    sets = max(s.sets // QUICK, 2) if quick else s.sets
    starts = range(0, sets, s.piece)
    return [_Piece(s.name, i, min(s.piece, sets - start)) for i, start in enumerate(starts)]


def _run(piece: _Piece) -> tuple[Tally, float]:
    begun = time.process_time()
    s = scenarios()[piece.name]
    tally = s.run(s.generator(piece.number), piece.sets)
    return tally, time.process_time() - begun
