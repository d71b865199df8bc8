"""Which worlds are run, and what was found each time? On at most two processes; one line of JSON per full run."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.verdicts import SEED
from benchmarks.verdicts.crowd import DESIGNS
from benchmarks.verdicts.results import RATES, Measured, Outcome, contradicting, measured, outcome

WORLDS = 2_000
MOST_PROCESSES = 2
ALL = "all"
CONTRADICTS = "contradicts"
ROOT = Path(__file__).resolve().parents[2]
RUNS = Path(__file__).with_name("runs.ndjson")
PAGE = ROOT / "docs" / "calibration.md"
NAMED = 12
"""Worlds that a record names of each miss."""
_AT_ONCE = 8
Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Figure:
    """So many of so many, and the Monte Carlo interval."""

    y: int
    n: int
    low: float
    high: float
    worlds: list[int]
    """The first of those that did wrong."""

    @classmethod
    def of(cls, found: Measured) -> Figure:
        """Of what was measured."""
        return cls(found.y, found.n, *found.interval, list(found.worlds[:NAMED]))

    @property
    def share(self) -> float:
        """Of those counted."""
        return self.y / self.n


@dataclass(frozen=True, slots=True)
class Run:
    """One full run: ``figures`` is design (or ``all``) → row → figure, ``kinds`` contradiction → worlds."""

    date: str
    code: str
    label: str
    seed: int
    worlds: int
    cpu_s: float
    figures: dict[str, dict[str, Figure]]
    kinds: dict[str, tuple[int, list[int]]]

    @classmethod
    def of(cls, found: Sequence[Outcome], code: str, label: str = "") -> Run:
        """Of what was found now."""
        groups = {ALL: list(found)} | {d: [o for o in found if o.design == d] for d in DESIGNS}
        figures = {
            name: {r.key: Figure.of(m) for r in RATES if (m := measured(r, own)) is not None}
            | ({CONTRADICTS: _contradicts(own)} if own else {})
            for name, own in groups.items()
        }
        kinds = {kind: (len(worlds), worlds[:NAMED]) for kind, worlds in contradicting(found).items()}
        return cls(
            datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"), code, label, SEED, len(found),
            round(sum(o.cpu_s for o in found), 1), figures, kinds,
        )  # fmt: skip

    def missed(self) -> list[str]:
        """What does not hold, over all designs and (of harm alone, as required) in each."""
        wrong = []
        for name, figures in self.figures.items():
            for rate in RATES:
                found = figures.get(rate.key)
                if found is None or rate.holds(found.share) or (name != ALL and rate.key != "harm"):
                    continue
                where = "" if name == ALL else f", {name}"
                wrong.append(f"{rate.what}{where}: {found.y} of {found.n}")
        found = self.figures[ALL].get(CONTRADICTS)
        if found is not None and found.y:
            wrong.append(f"worlds with a contradiction: {found.y} of {found.n}")
        return wrong


def _contradicts(own: Sequence[Outcome]) -> Figure:
    wrong = [o.number for o in own if o.contradictions]
    return Figure.of(Measured(len(wrong), len(own), tuple(wrong)))


def numbers(worlds: int, first: int = 0, design: str | None = None) -> list[int]:
    """The numbers of so many worlds, of one design where it is named."""
    names = list(DESIGNS)
    if design is None:
        return list(range(first, first + worlds))
    place = names.index(design)
    return [i for i in range(first, first + worlds * len(names)) if i % len(names) == place][:worlds]


def outcomes(wanted: Sequence[int], *, processes: int, tell: Tell) -> list[Outcome]:
    """Every world's outcome, in order; ``tell`` hears how far it is."""
    for threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):  # of the processes that begin now: one core each
        os.environ.setdefault(threads, "1")
    begun, found = time.monotonic(), []
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max(1, min(processes, MOST_PROCESSES)), mp_context=context) as pool:
        for i, one in enumerate(pool.map(outcome, wanted, chunksize=_AT_ONCE), start=1):
            found.append(one)
            if i % 100 == 0 or i == len(wanted):
                wrong = sum(bool(o.contradictions) for o in found)
                tell(f"{i:>5} of {len(wanted)} worlds, {wrong} contradict themselves, {time.monotonic() - begun:.0f} s")
    return found


def append(made: Run, path: Path = RUNS) -> None:
    """One line more."""
    with path.open("a", encoding="utf-8") as lines:
        lines.write(json.dumps(asdict(made), sort_keys=True) + "\n")


def runs(path: Path = RUNS) -> list[Run]:
    """All of them, the oldest first; none where none was recorded."""
    if not path.exists():
        return []
    return [_read(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _read(line: str) -> Run:
    raw = json.loads(line)
    figures = {name: {key: Figure(**f) for key, f in own.items()} for name, own in raw.pop("figures").items()}
    kinds = {kind: (n, worlds) for kind, (n, worlds) in raw.pop("kinds").items()}
    return Run(**raw, figures=figures, kinds=kinds)


def write_page() -> None:
    """docs/calibration.md with the section of the last run; its other sections stay what their own runs found."""
    from benchmarks.calibration import page, record  # that page prints this section, so it imports us

    PAGE.write_text(page.page(record.runs()), encoding="utf-8")


def code_state() -> str:
    """The commit, and whether what is run differed from it."""

    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()

    try:
        commit = git("rev-parse", "--short=10", "HEAD")
        changed = git("status", "--porcelain", "--", "analysis", "reports", "edgeloop", "benchmarks/verdicts/*.py")
    except (OSError, subprocess.CalledProcessError):
        return "not in a git checkout"
    return f"{commit} and uncommitted changes" if changed else commit
