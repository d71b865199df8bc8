"""Commands for what reports asked of people: list it, answer it, remind of it."""

from __future__ import annotations

from typing import Annotated

from cyclopts import App, Parameter

from edgeloop.app.commands.base import DONE, NEEDS_A_PERSON, Common, Flag, app
from edgeloop.app.output import print_json, print_rows, say
from edgeloop.store.actions import State

actions_app = App(name="actions", help="What reports asked, of whom, and what became of it.")
app.command(actions_app)

Who = Annotated[str | None, Parameter(help="Who answers; else the user who runs this.")]


@actions_app.default
@actions_app.command(name="list")
def actions_list(*, month: str | None = None, state: State | None = None, common: Common = Common()) -> int:
    """List the actions, the latest month first; exit 3 where one of them is late.

    Parameters
    ----------
    month
        Only those that this month's report asked, YYYY-MM.
    state
        Only those in this state.
    """
    from msgspec import to_builtins

    from edgeloop.app.asked import listed, now_us, today
    from edgeloop.months import Month

    home, settings = common.open()
    home.require()
    if month is not None:
        Month.parse(month, settings.timezone)
    actions = listed(home, settings, month=month, state=state)
    now = today(settings, now_us(home, settings))
    if common.json:
        print_json([{**to_builtins(action), "late": action.late(now)} for action in actions])
    else:
        rows = [
            (
                a.action_id,
                a.month,
                a.asked,
                a.owner,
                a.due,
                f"{a.state}, late" if a.late(now) else a.state,
                a.reason,
            )
            for a in actions
        ]
        print_rows(("id", "month", "asked", "owner", "by", "state", "reason"), rows, as_json=False)
    late = sum(action.late(now) for action in actions)
    say(f"{sum(a.open for a in actions):,} of {len(actions):,} actions are open" + (f", {late:,} late" if late else ""))
    return NEEDS_A_PERSON if late else DONE


@actions_app.command(name="accept")
def actions_accept(action_id: str, /, *, by: Who = None, common: Common = Common()) -> int:
    """Accept an action: its owner will do it.

    Parameters
    ----------
    action_id
        The id that `edgeloop actions` prints; its first characters are enough.
    """
    return _answer(common, action_id, "accepted", by)


@actions_app.command(name="done")
def actions_done(action_id: str, /, *, reason: str | None = None, by: Who = None, common: Common = Common()) -> int:
    """Say that an accepted action is done.

    Parameters
    ----------
    action_id
        The id that `edgeloop actions` prints; its first characters are enough.
    reason
        What the next report shall say of it.
    """
    return _answer(common, action_id, "done", by, reason)


@actions_app.command(name="drop")
def actions_drop(action_id: str, /, *, reason: str, by: Who = None, common: Common = Common()) -> int:
    """Drop an action, and say why.

    Parameters
    ----------
    action_id
        The id that `edgeloop actions` prints; its first characters are enough.
    reason
        Why; the next report shows it.
    """
    return _answer(common, action_id, "dropped", by, reason)


@actions_app.command(name="remind")
def actions_remind(
    *, dry_run: Annotated[bool, Flag, Parameter(show_default=False)] = False, common: Common = Common()
) -> int:
    """Send what is due: who is asked, who has not answered, what is late. `edgeloop up` does it by itself.

    Each cause is told once. Exit 3 where something could not be sent, or nobody has an address for it.

    Parameters
    ----------
    dry_run
        Say what would be sent, and send nothing.
    """
    from edgeloop.app.reminders import remind

    home, settings = common.open()
    home.require()
    home.refuse_simulated()
    told = remind(home, settings, dry_run=dry_run)
    if common.json:
        print_json(told)
    else:
        rows = [(one.action_id, one.cause, one.rung, one.channel, one.outcome, one.detail) for one in told]
        print_rows(("id", "cause", "who", "by", "outcome", "detail"), rows, as_json=False)
    problems = [one for one in told if one.outcome in ("not sent", "no address")]
    sent = sum(one.outcome == "sent" for one in told)
    say(f"{sent:,} notices sent" + (f", {len(problems):,} could not be" if problems else ""))
    return NEEDS_A_PERSON if problems else DONE


def _answer(common: Common, wanted: str, state: State, by: str | None, reason: str | None = None) -> int:
    from edgeloop.app.asked import answer, me

    home, settings = common.open()
    home.require()
    after = answer(home, settings, wanted, state, by or me(), reason=reason)
    print_json([after]) if common.json else print(after.action_id)
    say(f"{after.state}: {after.asked} ({after.owner}, by {after.due})")
    return DONE
