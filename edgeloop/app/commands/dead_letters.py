"""Commands for input that could not be taken."""

from __future__ import annotations

import sys
from collections import Counter
from typing import Annotated

import msgspec
from cyclopts import App, Parameter

from connectors import NOT_ALLOWED
from edgeloop.app.commands.base import DONE, NEEDS_A_PERSON, Common, Flag, app
from edgeloop.app.output import counted, print_json, print_rows, progress_bars, say, time_text
from edgeloop.errors import UsageError

dead_letters_app = App(name="dead-letters", help="Input that could not be taken: list it, look at one, replay it.")
app.command(dead_letters_app)

_SHOWN = 20


@dead_letters_app.default
@dead_letters_app.command(name="list")
def dead_letters_list(*, reason: str | None = None, source: str | None = None, common: Common = Common()) -> int:
    """List the dead letters, newest first; their content stays sealed.

    Parameters
    ----------
    reason
        Only those of this reason.
    source
        Only those from there: `http`, `typeform` (files of it too), `file:NAME` …
    """
    from edgeloop.app.dead_letters import chosen, every_letter, replayed_letters

    home, settings = common.open()
    letters = chosen(every_letter(home, settings), reason=reason, source=source)
    replayed = replayed_letters(home, settings)
    rows = [
        (
            letter.dead_letter_id,
            letter.reason,
            letter.source,
            letter.place,
            letter.received,
            letter.size,
            letter.detail,
            "replayed" if letter.dead_letter_id in replayed else "waiting",
            time_text(replayed[letter.dead_letter_id]) if letter.dead_letter_id in replayed else None,
        )
        for letter in letters
    ]
    names = ("id", "reason", "source", "place", "received", "bytes", "detail", "state", "replayed")
    if common.json:  # the table's name of the id beside the short one, for who joins the two
        print_rows(("dead_letter_id", *names), [(row[0], *row) for row in rows], as_json=True)
    else:
        print_rows(names, rows, as_json=False)
    waiting = Counter(letter.reason for letter in letters if letter.dead_letter_id not in replayed)
    reasons = ", ".join(f"{n:,} {name}" for name, n in waiting.most_common())
    past = len(letters) - waiting.total()
    say(
        f"{counted(waiting.total(), 'dead letter waits', 'dead letters wait')}"
        + (f": {reasons}" if reasons else "")
        + (f"; {past:,} were replayed" if past else "")
    )
    return DONE


@dead_letters_app.command(name="replay")
def dead_letters_replay(
    *ids: str,
    reason: str | None = None,
    source: str | None = None,
    everything: Annotated[bool, Flag, Parameter(name="--all", show_default=False)] = False,
    form: str | None = None,
    common: Common = Common(),
) -> int:
    """Send dead letters through their connector again, as after a changed setting; what is accepted goes to the log.

    Parameters
    ----------
    ids
        The ids that `edgeloop dead-letters list` prints; their first characters are enough.
    reason
        All that wait for this reason.
    source
        All that wait from there.
    everything
        All that wait.
    form
        Of Typeform responses from files that do not name their form.
    """
    from edgeloop.app.dead_letters import chosen, every_letter, replayed_letters
    from edgeloop.app.replay_letters import replay_letters

    if not ids and reason is None and source is None and not everything:
        raise UsageError("name dead letters by their ids, or take --reason R, --source S or --all")
    home, settings = common.open()
    letters = chosen(every_letter(home, settings), ids=ids, reason=reason, source=source)
    past = replayed_letters(home, settings)
    if not ids:
        # What a sender may not send is no fault that is over: it is replayed where somebody says that it is meant.
        meant = reason == NOT_ALLOWED
        letters = [
            letter
            for letter in letters
            if letter.dead_letter_id not in past and (meant or letter.reason != NOT_ALLOWED)
        ]
    if not letters:
        print_json([]) if common.json else None
        say("no dead letter waits that this names")
        return DONE
    with progress_bars() as bar:
        done = replay_letters(home, settings, letters, form=form, progress=bar("dead letters"))
    if common.json:
        print_json(done)
    remaining = [one for one in done if one.outcome != "accepted"]
    events = counted(sum(one.events for one in done), "event")
    say(f"replayed: {counted(len(done) - len(remaining), 'dead letter')}, {events} accepted")
    for one in remaining[:_SHOWN]:
        say(f"  {one.id} stays ({one.source}, {one.place}): {one.detail}")
    if len(remaining) > _SHOWN:
        say(f"  … and {len(remaining) - _SHOWN:,} more")
    return NEEDS_A_PERSON if remaining else DONE


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
