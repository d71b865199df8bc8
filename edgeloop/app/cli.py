"""The command line. Data on stdout, words on stderr; exit 0 done, 1 failed, 2 wrong use, 3 done but needs a person."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import apsw
import msgspec
from cyclopts import App, CycloptsError, Parameter

from edgeloop import __version__
from edgeloop.app.output import print_json, print_rows, progress_bars, say, time_text
from edgeloop.errors import EdgeloopError, UsageError
from edgeloop.home import Home
from edgeloop.settings import SECRETS, Settings, load, settings_file

DONE, FAILED, WRONG_USE, NEEDS_A_PERSON = 0, 1, 2, 3

app = App(
    name="edgeloop",
    help="Ties survey answers and engagement to the model versions behind them: which change helped?",
    version=__version__,
    result_action="return_value",
)
keys_app = App(name="keys", help="Keys that senders of events show at the door.")
dead_letters_app = App(name="dead-letters", help="Input that could not be taken: list it, look at one.")
app.command(keys_app)
app.command(dead_letters_app)

_Flag = Parameter(negative="")


def _default_home() -> Path:
    return Path(os.environ.get("EDGELOOP_HOME", ".edgeloop"))


@Parameter(name="*")
@dataclass(frozen=True)
class Common:
    """Flags of every command."""

    home: Annotated[
        Path, Parameter(help="Home directory (EDGELOOP_HOME; default ./.edgeloop).", show_default=False)
    ] = field(default_factory=_default_home)
    json: Annotated[bool, _Flag, Parameter(help="Findings as JSON.", show_default=False)] = False
    debug: Annotated[bool, _Flag, Parameter(help="Show tracebacks.", show_default=False)] = False

    def open(self) -> tuple[Home, Settings]:
        return Home(self.home), load(self.home)


@app.command
def ingest(
    *files: Path,
    source: Annotated[Literal["events", "mixpanel"], Parameter(name="--from")] = "events",
    common: Common = Common(),
) -> int:
    """Take events in from files: NDJSON (gzip too), or a vendor's export; `-` is standard input.

    Parameters
    ----------
    files
        Files to read.
    source
        What the files hold: `events` (our own NDJSON) or a vendor's raw export.
    """
    from edgeloop.app.ingest import ingest_files

    if not files:
        raise UsageError("name at least one file, or - for standard input")
    home, settings = common.open()
    home.refuse_simulated()
    with progress_bars() as bar:
        report = ingest_files(home, settings, files, source, bar("reading"))
    if common.json:
        print_json(report)
    say(
        f"taken in: {report.accepted:,} events"
        + (f"; {report.dead_letters:,} dead letters" if report.dead_letters else "")
    )
    for line in report.problems:
        say(f"  {line}")
    if report.dead_letters > len(report.problems):
        say(f"  … and {report.dead_letters - len(report.problems):,} more")
    if report.dead_letters:
        say("what could not be taken is kept sealed: `edgeloop dead-letters list`")
        return NEEDS_A_PERSON
    return DONE


@app.command
def serve(
    *,
    host: Annotated[str | None, Parameter(help="Address to listen on.")] = None,
    port: Annotated[int | None, Parameter(help="Port to listen on; 0 takes a free one.")] = None,
    common: Common = Common(),
) -> int:
    """Open the door: POST /v1/events and POST /hooks/typeform."""
    from edgeloop.app.serve import serve as run_server

    home, settings = common.open()
    home.refuse_simulated()
    run_server(home, settings, host or settings.door.host, settings.door.port if port is None else port)
    return DONE


@app.command
def process(*, common: Common = Common()) -> int:
    """Drain the log into the tables and stop."""
    from edgeloop.app.process import process as drain

    home, settings = common.open()
    with progress_bars() as bar:
        drained = drain(home, settings, bar("records"))
    if common.json:
        print_json([drained])
    say(f"processed: {drained.records:,} records")
    if drained.dead_letters:
        say(f"{drained.dead_letters:,} records could not be read: `edgeloop dead-letters list`")
        return NEEDS_A_PERSON
    return DONE


@app.command
def sql(query: str, /, *, common: Common = Common()) -> int:
    """Ask the tables (read only), for example `edgeloop sql "SELECT * FROM version_answers"`.

    Parameters
    ----------
    query
        One SELECT statement. `edgeloop tables` lists tables, views and columns.
    """
    from edgeloop.store.sqlite import Reader

    home, _ = common.open()
    reader = Reader(home.store)
    try:
        names, rows = reader.query(query)
    except apsw.ReadOnlyError as error:
        raise UsageError("the tables are read-only here: `edgeloop sql` takes one SELECT") from error
    except apsw.Error as error:
        raise UsageError(f"{error}. `edgeloop tables` lists tables, views and columns") from error
    finally:
        reader.close()
    print_rows(names, rows, as_json=common.json)
    return DONE


@app.command
def tables(*, common: Common = Common()) -> int:
    """List the tables and views with their columns and meaning."""
    from edgeloop.store.schema import TABLES
    from edgeloop.store.views import VIEWS

    rows: list[Sequence[object]] = []
    for table in TABLES:
        rows.append((table.name, "", "table", table.comment))
        rows.extend((table.name, column.name, column.kind, column.comment) for column in table.columns)
    rows.extend((view.name, "", "view", view.comment) for view in VIEWS)
    print_rows(("table", "column", "kind", "meaning"), rows, as_json=common.json)
    return DONE


@app.command
def changes(*, common: Common = Common()) -> int:
    """List the model changes, declared or found in the exposures."""
    from edgeloop.app.monthly import live_ledger
    from edgeloop.store.sqlite import Reader

    home, settings = common.open()
    reader = Reader(home.store)
    try:
        found = live_ledger(reader, settings.timezone)
    finally:
        reader.close()
    if common.json:
        print_json(found)
        return DONE
    print_rows(
        ("change", "model", "from", "to", "kind", "start", "end", "declared", "title"),
        [
            (
                c.change_id, c.model_id, c.from_version, c.to_version, c.kind, time_text(c.start_us),
                time_text(c.end_us), "yes" if c.declared else "found", c.title,
            )
            for c in found
        ],
        as_json=False,
    )  # fmt: skip
    return DONE


_MonthFlag = Annotated[str, Parameter(help="Month as YYYY-MM, in the company's zone.")]


@app.command
def uplift(*, month: _MonthFlag, common: Common = Common()) -> int:
    """What each change did to each metric, from the month's freeze (or a provisional one made now)."""
    from edgeloop.app.estimates_table import estimates_table
    from edgeloop.app.monthly import estimate_month
    from edgeloop.months import Month

    home, settings = common.open()
    _, analysis = estimate_month(home, settings, Month.parse(month, settings.timezone))
    if common.json:
        print_json(analysis.estimates)
        return DONE
    print_rows(*estimates_table(analysis.estimates), as_json=False)
    return DONE


@app.command
def freeze(*, month: _MonthFlag, common: Common = Common()) -> int:
    """Freeze a month that is over, for good."""
    from edgeloop.app.monthly import freeze_month
    from edgeloop.months import Month

    home, settings = common.open()
    made = freeze_month(home, settings, Month.parse(month, settings.timezone))
    if common.json:
        print_json([made.manifest])
    else:
        print(made.path)
    say(f"frozen: {made.manifest.freeze_id}, as of {time_text(made.manifest.as_of_us)}")
    return DONE


@app.command
def report(*, month: _MonthFlag, common: Common = Common()) -> int:
    """Write the month's report as one HTML file."""
    from edgeloop.app.monthly import report_month
    from edgeloop.months import Month

    home, settings = common.open()
    path = report_month(home, settings, Month.parse(month, settings.timezone))
    print_json([{"month": month, "path": str(path)}]) if common.json else print(path)
    return DONE


@app.command(name="config")
def config_command(*, common: Common = Common()) -> int:
    """Print every setting with its value in force; secrets are not shown."""
    home, settings = common.open()
    rows: list[tuple[object, ...]] = []
    for name in settings.__struct_fields__:
        value = getattr(settings, name)
        if isinstance(value, msgspec.Struct):
            rows.extend((name, key, _shown(name, key, getattr(value, key))) for key in value.__struct_fields__)
        else:
            rows.append(("", name, _shown("", name, value)))
    print_rows(("section", "key", "value"), rows, as_json=common.json)
    say(f"read from {settings_file(home.path) or 'defaults and the environment; there is no edgeloop.toml'}")
    return DONE


def _shown(section: str, key: str, value: object) -> str:
    if (section, key) in SECRETS:
        return "(set)" if value else "(not set)"
    return ", ".join(value) if isinstance(value, tuple) else str(value)


@keys_app.command(name="create")
def keys_create(
    *,
    name: Annotated[str, Parameter(help="Who will use it.")] = "edge",
    common: Common = Common(),
) -> int:
    """Make a key for a sender of events; it is shown this once."""
    from edgeloop.app import api_keys

    home, _ = common.open()
    home.refuse_simulated()
    key = api_keys.create(home, name)
    print_json([{"name": name, "key": key}]) if common.json else print(key)
    say("keep it now: only a hash of it is stored. Senders show it as `Authorization: Bearer KEY`")
    return DONE


@keys_app.command(name="list")
def keys_list(*, common: Common = Common()) -> int:
    """List the keys by name; the keys themselves are not kept."""
    from edgeloop.app import api_keys

    home, _ = common.open()
    rows = [(k.name, k.id, k.created) for k in api_keys.read(home)]
    print_rows(("name", "ends in", "created"), rows, as_json=common.json)
    return DONE


@dead_letters_app.default
@dead_letters_app.command(name="list")
def dead_letters_list(*, common: Common = Common()) -> int:
    """List the dead letters, newest first; their content stays sealed."""
    from edgeloop.app.dead_letters import every_letter

    home, settings = common.open()
    rows = [
        (
            letter.dead_letter_id,
            letter.reason,
            letter.source,
            letter.place,
            letter.received_at,
            letter.size,
            letter.detail,
        )
        for letter in every_letter(home, settings)
    ]
    print_rows(("id", "reason", "source", "place", "received", "bytes", "detail"), rows, as_json=common.json)
    return DONE


@dead_letters_app.command(name="show")
def dead_letters_show(letter_id: str, /, *, common: Common = Common()) -> int:
    """Unseal one dead letter: its original bytes on stdout.

    Parameters
    ----------
    letter_id
        The id that `edgeloop dead-letters list` prints; its first characters are enough.
    """
    from edgeloop.app.dead_letters import open_letter

    home, settings = common.open()
    letter, raw = open_letter(home, settings, letter_id)
    if common.json:
        print_json([{**msgspec.to_builtins(letter), "sealed": None, "content": raw.decode(errors="replace")}])
    else:
        say(f"{letter.reason}: {letter.detail} ({letter.source}, {letter.place})")
        sys.stdout.buffer.write(raw + (b"" if raw.endswith(b"\n") else b"\n"))
    return DONE


@app.command
def simulate(
    *,
    seed: Annotated[int, Parameter(help="Of every random number.")] = 1,
    scale: Annotated[float, Parameter(help="Size of the company; 1 is about 150,000 events.")] = 1.0,
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
    seed: Annotated[int, Parameter(help="Of every random number.")] = 1,
    scale: Annotated[float, Parameter(help="Size of the company; 1 is about 150,000 events.")] = 1.0,
    home: Annotated[Path, Parameter(help="Where to run it; a demo that is there is replaced.")] = Path(
        ".edgeloop-demo"
    ),
    json: Annotated[bool, _Flag, Parameter(help="Found against planted as JSON.", show_default=False)] = False,
    debug: Annotated[bool, _Flag, Parameter(help="Show tracebacks.", show_default=False)] = False,  # noqa: ARG001
) -> int:
    """Run the whole loop on an invented company and write its report."""
    from edgeloop.app.demo import demo as run_demo

    return run_demo(Home(home), seed=seed, scale=scale, as_json=json)


def run(tokens: Sequence[str] | None = None) -> int:
    """Run one command; its exit code."""
    arguments = list(sys.argv[1:] if tokens is None else tokens)
    debug = "--debug" in arguments or bool(os.environ.get("EDGELOOP_DEBUG"))
    try:
        result: Any = app(arguments, exit_on_error=False, print_error=False)
        sys.stdout.flush()
    except EdgeloopError as error:
        return _failed(error, debug, str(error), error.exit_code)
    except CycloptsError as error:
        return _failed(error, debug, f"{error} See `edgeloop --help`.", WRONG_USE)
    except KeyboardInterrupt:
        say("edgeloop: stopped")
        return 130
    except BrokenPipeError:
        # The reader of our output went away (`edgeloop sql … | head`): nothing is wrong.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except OSError as error:
        return _failed(error, debug, f"{error.filename or 'the system'}: {error.strerror}", FAILED)
    except Exception as error:  # the last resort: a person gets a sentence, --debug gets the traceback
        return _failed(
            error, debug, f"unexpected {type(error).__name__}: {error}. Run again with --debug and report it", FAILED
        )
    return result if isinstance(result, int) else DONE


def _failed(error: BaseException, debug: bool, text: str, code: int) -> int:
    if debug:
        traceback.print_exception(error)
    say(f"edgeloop: {text}")
    return code
