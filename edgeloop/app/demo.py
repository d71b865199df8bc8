"""``edgeloop demo``: the whole loop on an invented company, and what it found beside what was planted."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from analysis import ALL_METRICS
from edgeloop.app.monthly import estimate_month, freeze_month, report_month
from edgeloop.app.output import print_json, print_rows, progress_bars, say
from edgeloop.app.process import process
from edgeloop.app.simulator import TRUTH_FILE, Truth, simulate
from edgeloop.errors import HomeError
from edgeloop.home import Home
from edgeloop.months import Month
from edgeloop.settings import load
from edgeloop.store.rows import Estimate


class Found(msgspec.Struct, frozen=True):
    """One metric of one change: what was planted, what was found, and the verdict on the change."""

    change_id: str
    title: str
    metric: str
    grade: str | None
    planted: float
    found: float | None
    low: float | None
    high: float | None
    inside: bool | None
    """Whether the 95 % interval holds what was planted."""
    verdict: str | None
    expected_verdict: str | None
    refused: str | None = None
    """Why no effect of the change is estimated, where that is so."""


def demo(home: Home, *, seed: int, scale: float, as_json: bool) -> int:
    """Run it; exit code 0. A demo that is there already is replaced; any other home is refused."""
    _clear(home)
    begin = time.monotonic()
    with progress_bars() as bar:
        simulate(home, seed=seed, scale=scale, progress=lambda what, done, total: bar(what)(done, total))
        settings = load(home.path, {})
        drained = process(home, settings, bar("records into tables"))
        truth = msgspec.json.decode((home.path / TRUTH_FILE).read_bytes(), type=Truth)
        month = Month.parse(truth.month, settings.timezone)
        steps = bar("freeze, estimates, report")
        steps(0, 3)
        freeze_month(home, settings, month)
        steps(1, 3)
        _, analysis = estimate_month(home, settings, month)
        steps(2, 3)
        path = report_month(home, settings, month)
        steps(3, 3)
    rows = compare(truth, analysis.estimates)
    if as_json:
        print_json(rows)
    else:
        _print(rows)
        for title, reason in {row.title: row.refused for row in rows if row.refused is not None}.items():
            say(f"\nNo effect of “{title}” is estimated: {reason}.")
    randomised = [row for row in rows if row.grade == "randomised" and row.inside is not None]
    say(
        f"\n{drained.records:,} records in {time.monotonic() - begin:.0f} s. "
        f"{sum(bool(r.inside) for r in randomised)} of {len(randomised)} randomised effects lie inside their 95 % "
        "intervals. Survey means are not expected to: the unhappy answer more."
    )
    say(f"the report: {_shown(path)}")
    say(f'ask the tables: edgeloop sql "SELECT * FROM version_answers" --home {_shown(home.path)}')
    return 0


def compare(truth: Truth, estimates: Sequence[Estimate]) -> list[Found]:
    """What was planted beside what was found, in the order of the truth."""
    found: dict[tuple[str, int, str], Estimate] = {}
    for row in estimates:
        if row.respondent != "agent" and row.dimension == "all":
            found.setdefault((row.change_id, row.stage, row.metric), row)  # the figure that decides comes first
    refused = {e.change_id: e.reason for e in estimates if e.metric == ALL_METRICS and e.grade is None}
    rows = []
    for change in truth.changes:
        for metric, planted in change.metrics.items():
            e = found.get((change.change_id, change.stage, metric))
            low, high = (e.effect_low, e.effect_high) if e is not None else (None, None)
            rows.append(
                Found(
                    change_id=change.change_id,
                    title=change.title,
                    metric=metric,
                    grade=e.grade if e is not None else None,
                    planted=planted.effect,
                    found=e.effect if e is not None else None,
                    low=low,
                    high=high,
                    inside=None if low is None or high is None else low <= planted.effect <= high,
                    verdict=e.verdict if e is not None else None,
                    expected_verdict=change.expected_verdict,
                    refused=refused.get(change.change_id) if e is None else None,
                )
            )
    return rows


def _print(rows: list[Found]) -> None:
    print_rows(
        ("change", "metric", "planted", "found", "95 % interval", "inside", "verdict"),
        [
            (
                row.title, row.metric, _number(row.planted), _number(row.found),
                "" if row.low is None else f"{_number(row.low)} to {_number(row.high)}",
                {None: "", True: "yes", False: "no"}[row.inside],
                _verdict(row),
            )
            for row in rows
        ],
        as_json=False,
    )  # fmt: skip


def _verdict(row: Found) -> str:
    if row.verdict is not None:
        return row.verdict
    if row.refused is not None:
        return "refused"
    return "none: before and after only" if row.grade == "before_after" else "none"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:+.4f}".replace("-", "\N{MINUS SIGN}")


def _shown(path: Path) -> str:
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def _clear(home: Home) -> None:
    if not home.path.exists():
        return
    if not home.simulated and any(home.path.iterdir()):
        raise HomeError(f"{home.path} is no demo: choose another folder with --home DIR")
    shutil.rmtree(home.path)
