"""``edgeloop demo``: the whole loop on an invented company, and what it found beside what was planted."""

from __future__ import annotations

import shlex
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from analysis import ALL_METRICS, Analysis
from edgeloop.app.asked import answer, listed
from edgeloop.app.monthly import estimate_month, freeze_month, report_freeze
from edgeloop.app.output import Bar, print_json, print_rows, progress_bars, say
from edgeloop.app.process import process
from edgeloop.app.report_files import JSON, TABLES, WORKSHOP, file_of
from edgeloop.app.simulator import ANSWERS, MET_US, STAFF, TRUTH_FILE, Pause, Truth, simulate
from edgeloop.app.simulator.cast import REPORT_MONTH
from edgeloop.clock import SimulatedClock
from edgeloop.errors import HomeError
from edgeloop.home import Home
from edgeloop.months import Month
from edgeloop.settings import Settings, load
from edgeloop.store.rows import Estimate

_QUESTION = (
    "SELECT model_id, model_version, answers, mean_value FROM version_answers WHERE survey_question = 'delivery/csat'"
)


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
    records = 0
    with progress_bars() as bar:

        def month_before() -> None:
            """February is reported on 3 March, and people answer; then the world goes on."""
            nonlocal records
            settings = load(home.path, {})
            records += process(home, settings, bar("records into tables")).records
            _report(home, settings, Month.parse(REPORT_MONTH, settings.timezone).previous(), bar)
            _answer(home, settings)

        simulate(
            home,
            seed=seed,
            scale=scale,
            progress=lambda what, done, total: bar(what)(done, total),
            pause=Pause(MET_US, month_before),
        )
        settings = load(home.path, {})
        records += process(home, settings, bar("later records into tables")).records
        truth = msgspec.json.decode((home.path / TRUTH_FILE).read_bytes(), type=Truth)
        path, analysis = _report(home, settings, Month.parse(truth.month, settings.timezone), bar)
    rows = compare(truth, analysis.estimates)
    if as_json:
        print_json(rows)
    else:
        _print(rows)
        for title, reason in {row.title: row.refused for row in rows if row.refused is not None}.items():
            say("")
            say(f"No effect of “{title}” is estimated: {reason}.")
    randomised = [row for row in rows if row.grade == "randomised" and row.inside is not None]
    say("")
    say(
        f"{records:,} records in {time.monotonic() - begin:.0f} s. "
        f"{sum(bool(r.inside) for r in randomised)} of {len(randomised)} randomised effects lie inside their 95 % "
        "intervals;"
    )
    say("by chance one in twenty does not. Survey means need not either: the unhappy answer more.")
    for line in _what_next(home, path):
        say(line)
    return 0


def _what_next(home: Home, report: Path) -> list[str]:
    """Where everything is, and what to try."""
    month = Month.parse(report.stem, "UTC")
    pack, findings, tables = (file_of(home, month.name, kind) for kind in (WORKSHOP, JSON, TABLES))
    before = report.with_name(f"{month.previous().name}.html")
    command, where = _command(), shlex.quote(_shown(home.path))
    return [
        "",
        "Open in a browser:",
        f"  the report            {_shown(report)}",
        f"  the month before      {_shown(before)}",
        f"  the meeting's pack    {_shown(pack)}",
        "For programs:",
        f"  findings as JSON      {_shown(findings)}",
        f"  tables as CSV         {_shown(tables)}",
        f"  what was planted      {_shown(home.path / TRUTH_FILE)}",
        "Try next:",
        f"  {command} actions --home {where}",
        f'  {command} sql "{_QUESTION}" --home {where}',
        "  your own data: README.md, “Your own data in five minutes”",
    ]


def _command() -> str:
    """What to type for this program from here."""
    if shutil.which("edgeloop") is not None:
        return "edgeloop"
    own = Path(sys.argv[0])
    return _shown(own) if own.name == "edgeloop" else "python -m edgeloop"


def _report(home: Home, settings: Settings, month: Month, bar: Callable[[str], Bar]) -> tuple[Path, Analysis]:
    """Freeze a month and report it, as `edgeloop up` does."""
    steps = bar(f"report of {month.name}")
    steps(0, 3)
    freeze_month(home, settings, month)
    steps(1, 3)
    freeze, analysis = estimate_month(home, settings, month)
    steps(2, 3)
    path = report_freeze(home, settings, freeze, analysis)
    steps(3, 3)
    return path, analysis


def _answer(home: Home, settings: Settings) -> None:
    """What the people of the company answer to what February's report asked."""
    asked = {(action.change_id, action.verdict): action.action_id for action in listed(home, settings)}
    for step in ANSWERS:
        wanted = asked.get((step.change_id, step.verdict))
        if wanted is not None:
            who, clock = STAFF[step.role], SimulatedClock(step.at_us)
            answer(home, settings, wanted, step.state, who, reason=step.reason, clock=clock)


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
    """First what is said of each change, then every effect."""
    changes: dict[str, Found] = {}
    for row in rows:
        changes.setdefault(row.change_id, row)
    print_rows(
        ("change", "verdict", "expected"),
        [(row.title, _verdict(row), row.expected_verdict or "none in particular") for row in changes.values()],
        as_json=False,
    )
    print()
    print_rows(
        ("change", "metric", "planted", "found", "95 % interval", "inside"),
        [
            (
                row.title, row.metric, _number(row.planted), _number(row.found),
                _between(row),
                {None: "", True: "yes", False: "no"}[row.inside],
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


def _between(row: Found) -> str:
    if row.low is None:
        return "before and after only" if row.grade == "before_after" else ""
    return f"{_number(row.low)} to {_number(row.high)}"


def _number(value: float | None) -> str:
    if value == 0:
        return "0"
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
