"""Commands that ask the tables."""

from __future__ import annotations

from collections.abc import Sequence

from edgeloop.app.commands.base import DONE, Common, app
from edgeloop.app.output import print_json, print_rows, time_text


@app.command
def sql(query: str, /, *, common: Common = Common()) -> int:
    """Ask the tables (read only), for example `edgeloop sql "SELECT * FROM version_answers"`.

    Parameters
    ----------
    query
        One SELECT statement. `edgeloop tables` lists tables, views and columns.
    """
    from edgeloop.store.opening import open_reader

    home, settings = common.open()
    reader = open_reader(home, settings, times="text")
    try:
        names, rows = reader.query(query)
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
    from edgeloop.store.opening import open_reader

    home, settings = common.open()
    reader = open_reader(home, settings)
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
