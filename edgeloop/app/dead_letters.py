"""Looking at dead letters: those in the table, and those that wait in the log for `edgeloop process`."""

from __future__ import annotations

import msgspec

from edgeloop import sealing
from edgeloop.errors import UsageError
from edgeloop.events import DEAD_LETTERS_TOPIC
from edgeloop.home import SEALING_KEY, Home
from edgeloop.log.local import LocalLog
from edgeloop.sealing import DeadLetter, Sealer
from edgeloop.store.schema import DEAD_LETTERS
from edgeloop.store.sqlite import Reader

ACCEPTED = "accepted"
"""The outcome of a replay after which nothing of a dead letter is left to do."""
_AT_ONCE = 1_000
_BYTES = 64 << 20
_DAMAGED = (msgspec.DecodeError, UnicodeError, RecursionError, OverflowError)


def every_letter(home: Home) -> list[DeadLetter]:
    """All dead letters, newest first; one that came twice is there once."""
    home.require()
    found: dict[str, DeadLetter] = {}
    if home.store.exists():
        reader = Reader(home.store)
        for row in reader.query(f"SELECT * FROM {DEAD_LETTERS.name}")[1]:
            letter = DeadLetter.of_row(row)
            found[letter.dead_letter_id] = letter
        reader.close()
    if home.log.exists():
        log = LocalLog(home.log, read_only=True)
        for partition in range(log.partitions(DEAD_LETTERS_TOPIC)):
            offset = 0
            while len(chunk := log.read(DEAD_LETTERS_TOPIC, partition, offset, _AT_ONCE, _BYTES)):
                offset = chunk.offsets[-1] + 1
                for value in chunk.values:
                    try:
                        letter = sealing.decode(value)
                    except _DAMAGED:  # the worker makes a dead letter of it in turn
                        continue
                    found.setdefault(letter.dead_letter_id, letter)
        log.close()
    return sorted(found.values(), key=lambda letter: (letter.received_at, letter.place), reverse=True)


def replayed_letters(home: Home) -> dict[str, int]:
    """dead_letter_id → when everything in it was accepted by a replay, in µs."""
    if not home.log.exists():
        return {}
    log = LocalLog(home.log, read_only=True)
    try:
        return log.replayed(ACCEPTED)
    finally:
        log.close()


def chosen(
    letters: list[DeadLetter], *, ids: tuple[str, ...] = (), reason: str | None = None, source: str | None = None
) -> list[DeadLetter]:
    """The letters of a reason, a source (``typeform`` is ``typeform:FILE`` too) and the beginnings of ids, if given.

    Raises:
        UsageError: no letter has an id that begins so, or several have.
    """
    if ids:
        wanted = {_one(letters, beginning).dead_letter_id for beginning in ids}
        letters = [letter for letter in letters if letter.dead_letter_id in wanted]
    return [
        letter
        for letter in letters
        if (reason is None or letter.reason == reason)
        and (source is None or letter.source == source or letter.source.startswith(f"{source}:"))
    ]


def open_letter(home: Home, letter_id: str) -> tuple[DeadLetter, bytes]:
    """One dead letter, by the beginning of its id, and its original bytes.

    Raises:
        UsageError: no such letter, or several. UnsealError: the key is another.
    """
    letter = _one(every_letter(home), letter_id)
    return letter, Sealer(home.secret(SEALING_KEY)).open(letter)


def _one(letters: list[DeadLetter], beginning: str) -> DeadLetter:
    matching = [letter for letter in letters if letter.dead_letter_id.startswith(beginning)]
    if len(matching) != 1:
        count = "no dead letter has" if not matching else f"{len(matching)} dead letters have"
        raise UsageError(f"{count} an id that begins with {beginning!r}; `edgeloop dead-letters list` shows them")
    return matching[0]
