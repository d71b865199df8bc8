"""Commands that ask the tables."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated

from cyclopts import Parameter

from edgeloop.app.commands.base import DONE, Common, Flag, app
from edgeloop.app.output import local_text, print_json, print_rows
from edgeloop.errors import UsageError


@app.command
def sql(
    query: str,
    /,
    *,
    freeze: Annotated[str | None, Parameter(help="Ask this month's freeze, or the one with this id.")] = None,
    csv: Annotated[bool, Flag, Parameter(help="The rows as CSV.", show_default=False)] = False,
    timeout_s: Annotated[float, Parameter(help="Stop after so many seconds.")] = 300.0,
    common: Common = Common(),
) -> int:
    """Ask the tables (read only), for example `edgeloop sql "SELECT * FROM version_answers"`.

    Parameters
    ----------
    query
        One SELECT statement. `edgeloop tables` lists tables, views and columns.
    """
    from edgeloop.app.answers import ROWS_ON_A_TERMINAL, print_answer
    from edgeloop.app.sql import ask_store

    if csv and common.json:
        raise UsageError("either --csv or --json")
    if not timeout_s > 0:
        raise UsageError("--timeout-s: a number of seconds above 0")
    home, settings = common.open()
    max_rows = ROWS_ON_A_TERMINAL if sys.stdout.isatty() and not (csv or common.json) else None
    if freeze is None:
        answer = ask_store(home, settings, query, timeout_s=timeout_s, max_rows=max_rows, times="text")
    else:
        from edgeloop.app.frozen import find_freeze
        from edgeloop.app.sql_freeze import ask_freeze

        found = find_freeze(home, freeze)
        answer = ask_freeze(found, query, timeout_s=timeout_s, max_rows=max_rows, times="text")
    print_answer(answer, as_json=common.json, as_csv=csv)
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
    for view in VIEWS:
        rows.append((view.name, "", "view", view.comment))
        rows.extend((view.name, column.name, column.kind, column.comment) for column in view.columns)
    print_rows(("table", "column", "kind", "meaning"), rows, as_json=common.json)
    return DONE


@app.command
def changes(*, common: Common = Common()) -> int:
    """List the model changes, declared or found in the exposures."""
    from edgeloop.app.monthly import live_ledger
    from edgeloop.store.opening import open_reader

    home, settings = common.open()
    reader = open_reader(home, settings)
    try:
        found = live_ledger(reader, settings.timezone, settings.door.earliest_us)
    finally:
        reader.close()
    if common.json:
        print_json(found)
        return DONE
    print_rows(
        ("change", "model", "from", "to", "kind", "start", "end", "declared", "title"),
        [
            (
                c.change_id, c.model_id, c.from_version, c.to_version, c.kind,
                local_text(c.start_us, settings.timezone), local_text(c.end_us, settings.timezone),
                "yes" if c.declared else "found", c.title,
            )
            for c in found
        ],
        as_json=False,
    )  # fmt: skip
    return DONE
