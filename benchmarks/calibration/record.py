"""What did each run find? One line of JSON per run, never edited: pages show the latest figures and list all runs."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.calibration import SEED
from benchmarks.calibration.run import Measured
from benchmarks.calibration.scenario import measured

ROOT = Path(__file__).resolve().parents[2]
RUNS = Path(__file__).with_name("runs.ndjson")
PAGE = ROOT / "docs" / "calibration.md"


@dataclass(frozen=True, slots=True)
class Figure:
    """One row: hits in so many trials over so many data sets that counted, and the Monte Carlo interval."""

    y: float
    d: float
    n: int
    share: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class ScenarioFigures:
    """One scenario in one run."""

    sets: int
    cpu_s: float
    rows: dict[str, Figure]


@dataclass(frozen=True, slots=True)
class Run:
    """One run: when, of which state of the code, with which seed, and what it found."""

    date: str
    code: str
    seed: int
    figures: dict[str, ScenarioFigures]

    @classmethod
    def of(cls, found: Sequence[Measured], code: str) -> Run:
        """Of what was measured now, with the code as `code_state` said it before."""
        return cls(
            datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
            code,
            SEED,
            {
                m.scenario.name: ScenarioFigures(
                    m.sets,
                    round(m.cpu_s, 1),
                    {
                        key: Figure(moments.y, moments.d, moments.n, share[0], *share[1])
                        for key, moments in sorted(m.tally.items())
                        if (share := measured(moments)) is not None
                    },
                )
                for m in found
            },
        )


def append(run: Run, path: Path = RUNS) -> None:
    """One line more."""
    with path.open("a", encoding="utf-8") as lines:
        lines.write(json.dumps(asdict(run), sort_keys=True) + "\n")


def runs(path: Path = RUNS) -> list[Run]:
    """All of them, the oldest first."""
    return [_read(line) for line in path.read_text(encoding="utf-8").splitlines()]


def latest(of: Iterable[Run]) -> dict[str, tuple[Run, ScenarioFigures]]:
    """Each scenario's last figures, and the run they are from."""
    return {name: (run, figures) for run in of for name, figures in run.figures.items()}


def _read(line: str) -> Run:
    raw = json.loads(line)
    figures = {
        name: ScenarioFigures(f["sets"], f["cpu_s"], {key: Figure(**row) for key, row in f["rows"].items()})
        for name, f in raw["figures"].items()
    }
    return Run(raw["date"], raw["code"], raw["seed"], figures)


def code_state() -> str:
    """The commit, and whether analysis or benchmarks differed from it."""

    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()

    try:
        commit = git("rev-parse", "--short=10", "HEAD")
        changed = git("status", "--porcelain", "--", "analysis", "benchmarks/calibration/*.py", "edgeloop")
    except (OSError, subprocess.CalledProcessError):
        return "not in a git checkout"
    return f"{commit} and uncommitted changes" if changed else commit
