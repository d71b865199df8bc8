"""Commands that change all of a home's tables: other rules, and an end for what is old."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from edgeloop.app.commands.base import DONE, Common, Flag, app
from edgeloop.app.output import print_json, progress_bars, say, time_text

if TYPE_CHECKING:
    from edgeloop.app.upkeep import Plan


@app.command
def recompute(*, common: Common = Common()) -> int:
    """Bring the tables under the attribution settings now in force; interrupted, the next one goes on."""
    from edgeloop.app.upkeep import recompute_home

    home, settings = common.open()
    with progress_bars() as bar:
        done = recompute_home(home, settings, bar("join keys"))
    if common.json:
        print_json([{"keys": done or 0}])
    if done is None:
        say("the tables are under the settings in force already")
    else:
        say(f"recomputed: {done:,} join keys")
    return DONE


@app.command
def prune(
    *,
    before: Annotated[str, Parameter(help="Month as YYYY-MM, in the company's zone: it and later ones stay.")],
    dry_run: Annotated[bool, Flag, Parameter(help="Count what would be deleted, and delete nothing.")] = False,
    unfrozen: Annotated[bool, Flag, Parameter(help="Although months that go were never frozen.")] = False,
    common: Common = Common(),
) -> int:
    """Delete what happened before a month, for good; interrupted, the next one goes on."""
    from edgeloop.app.upkeep import prune_home
    from edgeloop.sealing import LETTERS_KEPT_DAYS

    home, settings = common.open()

    def tell(plan: Plan) -> None:
        say(
            f"{'would delete' if dry_run else 'deletes'} what happened before {time_text(plan.horizon.us)} (exposures: "
            f"before {time_text(plan.horizon.exposures_us)}), and dead letters older than {LETTERS_KEPT_DAYS} days:"
        )
        for planned in plan.deletes:
            say(f"  {planned.rows:,} {planned.what}")
        say("declared changes stay, and so do freezes and reports")

    with progress_bars() as bar:
        plan, freed = prune_home(home, settings, before, dry_run=dry_run, unfrozen=unfrozen, tell=tell, bar=bar)
    if common.json:
        print_json(plan.deletes)
    if freed is not None:
        say(
            f"pruned; free inside the files, for what comes next: {freed.store / 1e6:,.1f} MB of {home.store.name}, "
            f"{freed.log / 1e6:,.1f} MB of {home.log.name}"
        )
    return DONE
