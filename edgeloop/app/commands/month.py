"""Commands of a month: its estimates, its freeze, its report."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from edgeloop.app.commands.base import DONE, Common, Flag, app
from edgeloop.app.output import print_json, print_rows, say, time_text
from edgeloop.errors import UsageError

MonthFlag = Annotated[str, Parameter(help="Month as YYYY-MM, in the company's zone.")]


@app.command
def uplift(
    *,
    month: MonthFlag,
    csv: Annotated[bool, Flag, Parameter(help="Every column as CSV.", show_default=False)] = False,
    common: Common = Common(),
) -> int:
    """What each change did to each metric, from the month's freeze (or a provisional one made now)."""
    from edgeloop.app.estimates_table import estimates_table
    from edgeloop.app.monthly import estimate_month
    from edgeloop.months import Month

    if csv and common.json:
        raise UsageError("either --csv or --json")
    home, settings = common.open()
    _, analysis = estimate_month(home, settings, Month.parse(month, settings.timezone))
    if common.json:
        print_json(analysis.estimates)
        return DONE
    if csv:
        from msgspec.structs import astuple

        from edgeloop.app.answers import print_csv
        from edgeloop.store.rows import Estimate

        print_csv(Estimate.__struct_fields__, map(astuple, analysis.estimates))
        return DONE
    print_rows(*estimates_table(analysis.estimates), as_json=False)
    return DONE


@app.command
def freeze(*, month: MonthFlag, common: Common = Common()) -> int:
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
def report(*, month: MonthFlag, common: Common = Common()) -> int:
    """Write the month's report as one HTML file, and the pack for the monthly meeting beside it."""
    from edgeloop.app.monthly import report_month, workshop_file
    from edgeloop.months import Month

    home, settings = common.open()
    wanted = Month.parse(month, settings.timezone)
    path = report_month(home, settings, wanted)
    pack = workshop_file(home, wanted)
    if common.json:
        print_json([{"month": month, "path": str(path), "workshop": str(pack)}])
    else:
        print(path)
        say(f"for the meeting: {pack}")
    return DONE
