"""Commands that carry a freeze to where other tools read it."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from edgeloop.app.commands.base import DONE, Common, Flag, app
from edgeloop.app.output import print_json, print_rows, progress_bars


@app.command
def export(
    *,
    freeze: Annotated[str, Parameter(help="The month YYYY-MM, or the id of a freeze.")],
    delta: Annotated[str, Parameter(help="Folder of the Delta Lake tables; made where there is none.")],
    restate: Annotated[
        bool, Flag, Parameter(help="Also the month before, as this freeze knows it.", show_default=False)
    ] = False,
    common: Common = Common(),
) -> int:
    """Write a freeze's month into Delta Lake tables, partitioned by month, for Spark, Trino and others."""
    from edgeloop.app.delta import export_delta
    from edgeloop.app.frozen import find_freeze

    home, _ = common.open()
    with progress_bars() as bar:
        done = export_delta(find_freeze(home, freeze), delta, restate=restate, bar=bar)
    if common.json:
        print_json(done)
    else:
        print_rows(
            ("table", "month", "rows", "state"), [(p.table, p.month, p.rows, p.state) for p in done], as_json=False
        )
    return DONE
