"""Do the intervals hold? The demo over many seeds at a small size, each in a home of its own that is thrown away.

Every demo plants its own effects and estimates them through the whole loop. Of the randomised effects on engagement
90–99 % must lie inside their 95 % intervals: fewer, and the intervals promise too much; all, and they are too wide to
be of use. Survey means are not judged, since the unhappy answer more. Exit code 1 where the share is outside.

    python -m scripts.demo_seeds [--seeds 20] [--scale 0.25] [--at-once 2]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import msgspec

from edgeloop.app.demo import Found
from edgeloop.app.output import print_rows, progress_bars, say
from edgeloop.errors import EdgeloopError

LOW, HIGH = 0.90, 0.99
_ANSWERED = ("csat", "nps")
SEEDS, SCALE, AT_ONCE = 20, 0.25, 2


@dataclass(frozen=True)
class Tally:
    """How many planted effects lie inside their intervals, of how many that have one."""

    inside: int
    total: int

    @property
    def share(self) -> float | None:
        """None where there is nothing to judge."""
        return self.inside / self.total if self.total else None

    def holds(self) -> bool:
        """Whether the share lies within 90–99 %, both ends included; nothing to judge is a failure."""
        return self.share is not None and LOW <= self.share <= HIGH


def judged(rows: Iterable[Found]) -> list[Found]:
    """The randomised effects on engagement that have an interval."""
    return [row for row in rows if row.grade == "randomised" and row.metric not in _ANSWERED and row.inside is not None]


def tally(rows: Iterable[Found]) -> Tally:
    """Count what is judged of these rows."""
    kept = judged(rows)
    return Tally(sum(bool(row.inside) for row in kept), len(kept))


def by_change_and_metric(rows: Iterable[Found]) -> dict[tuple[str, str], Tally]:
    """The same for each change and metric, in order of first sight."""
    kept = judged(rows)
    names = dict.fromkeys((row.change_id, row.metric) for row in kept)
    return {name: tally(row for row in kept if (row.change_id, row.metric) == name) for name in names}


def run(seed: int, scale: float) -> list[Found]:
    """One demo in a process and a home of its own.

    Raises:
        EdgeloopError: it failed; with its last words.
    """
    with tempfile.TemporaryDirectory(prefix="edgeloop-seed-") as folder:
        home = Path(folder) / "home"
        command = [sys.executable, "-m", "edgeloop", "demo", "--home", str(home), "--json"]
        command += ["--seed", str(seed), "--scale", str(scale)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own words
    if done.returncode != 0:
        raise EdgeloopError(f"the demo of seed {seed} failed with {done.returncode}: {done.stderr.strip()[-500:]}")
    return msgspec.json.decode(done.stdout, type=list[Found])


def run_all(seeds: Sequence[int], scale: float, at_once: int) -> dict[int, list[Found]]:
    """Seed → found beside planted, in the order of the seeds."""
    found: dict[int, list[Found]] = {}
    with progress_bars() as bar, ThreadPoolExecutor(at_once) as pool:
        step = bar("demos")
        step(0, len(seeds))
        running = {pool.submit(run, seed, scale): seed for seed in seeds}
        try:
            for done in as_completed(running):
                seed, rows = running[done], done.result()
                found[seed] = rows
                step(len(found), len(seeds))
                of_seed = tally(rows)
                say(f"seed {seed}: {of_seed.inside} of {of_seed.total} inside ({len(found)} of {len(seeds)} done)")
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return {seed: found[seed] for seed in seeds}


def verdicts(rows: Iterable[Found]) -> dict[str, str]:
    """Change → its verdict, or why it has none."""
    return {row.change_id: row.verdict or ("refused" if row.refused is not None else "none") for row in rows}


def _print(found: Mapping[int, list[Found]]) -> None:
    changes = list(dict.fromkeys(row.change_id for rows in found.values() for row in rows))
    print_rows(
        ("seed", "inside", "outside", *changes),
        [
            (seed, *_cells(tally(rows), rows), *(verdicts(rows).get(change, "") for change in changes))
            for seed, rows in found.items()
        ],
        as_json=False,
    )
    say("")
    totals = by_change_and_metric(row for rows in found.values() for row in rows)
    print_rows(
        ("change", "metric", "inside", "share"),
        [(*name, f"{t.inside} of {t.total}", _percent(t)) for name, t in totals.items()],
        as_json=False,
    )


def _cells(of_seed: Tally, rows: Iterable[Found]) -> Iterator[str]:
    yield f"{of_seed.inside} of {of_seed.total}"
    yield ", ".join(f"{row.change_id} {row.metric}" for row in judged(rows) if not row.inside)


def _percent(of: Tally) -> str:
    return "" if of.share is None else f"{of.share:.1%}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, print, judge."""
    parser = argparse.ArgumentParser(prog="python -m scripts.demo_seeds", description="Do the intervals hold?")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="how many, from 1 on")
    parser.add_argument("--scale", type=float, default=SCALE, help="1 is the demo's own size")
    parser.add_argument("--at-once", type=int, default=AT_ONCE, help="processes at a time")
    wanted = parser.parse_args(arguments)
    try:
        found = run_all(range(1, wanted.seeds + 1), wanted.scale, wanted.at_once)
    except EdgeloopError as error:
        say(str(error))
        return 1
    _print(found)
    every = [row for rows in found.values() for row in rows]
    whole = tally(every)
    say(
        f"\n{whole.inside} of {whole.total} randomised engagement effects ({_percent(whole) or 'none'}) "
        f"lie inside their 95 % intervals; {LOW:.0%} to {HIGH:.0%} is wanted."
    )
    blocked = Counter(row.change_id for row in every if row.grade == "quasi" and "/" not in row.metric)
    for change, n in blocked.items():
        say(f"not judged: {n} of {change}, whose checks raised an alarm")
    return 0 if whole.holds() else 1


if __name__ == "__main__":
    sys.exit(main())
