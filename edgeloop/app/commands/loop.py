"""Commands of the loop itself: events in, the log drained, and the whole of it at once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from edgeloop.app.commands.base import DONE, NEEDS_A_PERSON, Common, Flag, InputFile, a_port, above_zero, app
from edgeloop.app.output import counted, print_json, progress_bars, say, say_problems
from edgeloop.clock import SystemClock
from edgeloop.errors import UsageError
from edgeloop.home import Home

DEFAULT_SEED = 3
"""The smallest seed of which the demo, at its own size, gives every change the verdict that is expected of it, and
finds no randomised effect where none was planted (|z| < 3). With 1 the slot canary has more complaints by chance and
is rolled back for them; with 2 the rebooking canary's conversion moves by four standard errors. The verdicts of 20
seeds are what ``make demo-seeds`` prints."""


@app.command
def ingest(
    *files: InputFile,
    source: Annotated[Literal["events", "mixpanel", "typeform", "zigpoll"], Parameter(name="--from")] = "events",
    form: str | None = None,
    common: Common = Common(),
) -> int:
    """Take events in from files: NDJSON (gzip too), or a vendor's export; `-` is standard input.

    Parameters
    ----------
    files
        Files to read.
    source
        What the files hold: `events` (our own NDJSON) or a vendor's raw export.
    form
        With `--from typeform`: the form of responses that do not name it, as those of the Responses API.
    """
    from edgeloop.app.ingest import ingest_files

    if not files:
        raise UsageError("name at least one file, or - for standard input")
    if form is not None and source != "typeform":
        raise UsageError("--form belongs to --from typeform")
    home, settings = common.open()
    home.refuse_simulated()
    with progress_bars() as bar:
        report = ingest_files(home, settings, files, source, bar("reading"), form=form)
    if common.json:
        print_json([report])
    say(
        f"taken in: {counted(report.accepted, 'event')}"
        + (f"; {counted(report.dead_letters, 'dead letter')}" if report.dead_letters else "")
        + (f"; {counted(report.no_numbers, 'value')} left out: no number (NaN, Infinity)" if report.no_numbers else "")
    )
    say_problems(report.problems, report.dead_letters, "what could not be taken")
    return NEEDS_A_PERSON if report.dead_letters else DONE


@app.command
def serve(
    *,
    host: Annotated[str | None, Parameter(help="Address to listen on.")] = None,
    port: Annotated[int | None, Parameter(validator=a_port, help="Port to listen on; 0 takes a free one.")] = None,
    common: Common = Common(),
) -> int:
    """Open the door: POST /v1/events, the vendors' /hooks, and the pages /reports and /actions."""
    from edgeloop.app.serve import serve as run_server

    home, settings = common.open()
    home.refuse_simulated()
    run_server(home, settings, host or settings.door.host, settings.door.port if port is None else port)
    return DONE


@app.command
def process(*, common: Common = Common()) -> int:
    """Drain the log into the tables and stop."""
    from edgeloop.app.process import STANDBY_S
    from edgeloop.app.process import process as drain

    home, settings = common.open()
    with progress_bars() as bar:
        drained = drain(
            home,
            settings,
            bar("records"),
            wait_s=STANDBY_S,
            standing_by=lambda: say(
                f"another process is draining {home.path}: standing by, for {STANDBY_S:.0f} s at most"
            ),
            clock=SystemClock(),
        )
    if common.json:
        print_json([drained])
    say(f"processed: {counted(drained.records, 'record')}")
    if drained.dead_letters:
        say(f"{counted(drained.dead_letters, 'record')} could not be read: `edgeloop dead-letters list`")
        return NEEDS_A_PERSON
    return DONE


@app.command
def simulate(
    *,
    seed: Annotated[int, Parameter(help="Of every random number.")] = DEFAULT_SEED,
    scale: Annotated[
        float, Parameter(validator=above_zero, help="Size of the company; 1 is about 180,000 events.")
    ] = 1.0,
    common: Common = Common(),
) -> int:
    """Send three months of an invented company through the real doors, on simulated time."""
    from edgeloop.app.simulator import simulate as run_simulation

    home = Home(common.home)
    with progress_bars() as bar:
        report = run_simulation(home, seed=seed, scale=scale, progress=lambda name, done, total: bar(name)(done, total))
    print_json([report]) if common.json else print(home.path)
    return DONE


@app.command
def demo(
    *,
    seed: Annotated[int, Parameter(help="Of every random number.")] = DEFAULT_SEED,
    scale: Annotated[
        float, Parameter(validator=above_zero, help="Size of the company; 1 is about 180,000 events.")
    ] = 1.0,
    home: Annotated[Path, Parameter(help="Where to run it; a demo that is there is replaced.")] = Path(
        ".edgeloop-demo"
    ),
    json: Annotated[bool, Flag, Parameter(help="Found against planted as JSON.", show_default=False)] = False,
    debug: Annotated[bool, Flag, Parameter(help="Show tracebacks.", show_default=False)] = False,  # noqa: ARG001
) -> int:
    """Run the whole loop on an invented company and write its report."""
    from edgeloop.app.demo import demo as run_demo

    return run_demo(Home(home), seed=seed, scale=scale, as_json=json)
