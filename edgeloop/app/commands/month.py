"""Commands of a month: its estimates, its freeze, its report."""

from __future__ import annotations

from typing import Annotated

from cyclopts import App, Parameter

from edgeloop.app.commands.base import DONE, NEEDS_A_PERSON, Common, Flag, InputFile, app
from edgeloop.app.output import counted, print_json, print_rows, say, time_text
from edgeloop.errors import EdgeloopError, UsageError

MonthFlag = Annotated[str, Parameter(help="Month as YYYY-MM, in the company's zone.")]


@app.command
def uplift(
    *,
    month: MonthFlag,
    csv: Annotated[bool, Flag, Parameter(help="Every row and column as CSV.", show_default=False)] = False,
    every: Annotated[
        bool, Flag, Parameter(name="--all", help="Other stages and segments too.", show_default=False)
    ] = False,
    common: Common = Common(),
) -> int:
    """What each change did to each metric, from the month's freeze (or a provisional one made now).

    The stage that decides, and everybody; --all, --json and --csv have the rest.
    """
    from edgeloop.app.estimates_table import print_estimates
    from edgeloop.app.monthly import estimate_month
    from edgeloop.months import Month

    if csv and common.json:
        raise UsageError("either --csv or --json")
    home, settings = common.open()
    _, analysis = estimate_month(home, settings, Month.parse(month, settings.timezone))
    if not analysis.estimates:
        say(f"no change touches {month}: `edgeloop changes` says when each began and ended")
    if common.json:
        print_json(analysis.estimates)
        return DONE
    if csv:
        from edgeloop.app.answers import print_csv
        from edgeloop.store.rows import Estimate, cells

        print_csv(Estimate.__struct_fields__, map(cells, analysis.estimates))
        return DONE
    left = print_estimates(analysis, every=every)
    if left:
        say(f"{counted(left, 'row')} of other stages, of segments and beside others: --all")
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


report_app = App(name="report", help="The month's report: write it, send it, check one that was published.")
app.command(report_app)


@report_app.default
def report(
    *,
    month: MonthFlag,
    pdf: Annotated[bool, Flag, Parameter(help="Print it as PDF too, by a Chromium.", show_default=False)] = False,
    mail: Annotated[bool, Flag, Parameter(help="Send it to [mail] to.", show_default=False)] = False,
    common: Common = Common(),
) -> int:
    """Write the month's report: one HTML file, with the pack for the meeting, JSON and CSV beside it."""
    from edgeloop.app.letters import send_report
    from edgeloop.app.monthly import report_month
    from edgeloop.app.pdf import print_pdf
    from edgeloop.app.report_files import WORKSHOP, file_of
    from edgeloop.clock import SystemClock
    from edgeloop.months import Month

    home, settings = common.open()
    asked = Month.parse(month, settings.timezone)
    path = report_month(home, settings, asked)
    provisional = not (home.freezes / asked.name).exists() and asked.end_us <= SystemClock().now_us()
    pack = file_of(home, month, WORKSHOP)
    told: dict[str, object] = {"month": month, "path": str(path), "workshop": str(pack)}
    code = DONE
    if pdf or settings.publish.pdf:
        try:
            told["pdf"] = str(print_pdf(path, settings.publish))
        except EdgeloopError as error:
            say(str(error))
            code = NEEDS_A_PERSON if pdf else DONE
    if mail:
        refused = send_report(home, settings, month)
        told |= {"mailed": len(settings.mail.to) - refused, "refused": refused}
        say(f"mailed to {len(settings.mail.to) - refused} of {len(settings.mail.to)} addresses")
        code = NEEDS_A_PERSON if refused else code
    if common.json:
        print_json([told])
    else:
        print(path)
        say(f"for the meeting: {pack}")
    if provisional:
        say(f"provisional, and it asks nobody yet: `edgeloop freeze --month {month}`, then this again, makes it final")
    return code


@report_app.command(name="verify")
def report_verify(
    file: InputFile | None = None,
    /,
    *,
    month: Annotated[str | None, Parameter(help="Check this month's report in the home.")] = None,
    common: Common = Common(),
) -> int:
    """Say whether a published report is, byte for byte, what its freeze gives, and whether the freeze is what it was.

    Parameters
    ----------
    file
        An HTML report from anywhere, as from a mail; its freeze must be in this home.
    """
    from edgeloop.app.report_files import PAGE, file_of
    from edgeloop.app.verify import verify
    from edgeloop.months import Month

    if (file is None) == (month is None):
        raise UsageError("either --month YYYY-MM, or a FILE")
    home, settings = common.open()
    page = file if file is not None else file_of(home, Month.parse(str(month), settings.timezone).name, PAGE)
    findings = verify(home, page, beside=file is None)
    if common.json:
        print_json(findings)
    else:
        rows = [(found.state, found.check, found.what, found.do) for found in findings]
        print_rows(("state", "check", "what", "what to do"), rows, as_json=False)
    return NEEDS_A_PERSON if any(finding.state == "fail" for finding in findings) else DONE
