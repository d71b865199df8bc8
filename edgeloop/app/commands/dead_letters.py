"""Commands for input that could not be taken."""

from __future__ import annotations

import sys

import msgspec
from cyclopts import App

from edgeloop.app.commands.base import DONE, Common, app
from edgeloop.app.output import print_json, print_rows, say

dead_letters_app = App(name="dead-letters", help="Input that could not be taken: list it, look at one.")
app.command(dead_letters_app)


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
