"""Looking at dead letters: those in the table, and those that wait in the log for `edgeloop process`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import msgspec

from edgeloop import sealing
from edgeloop.app.replay_notes import notes_of
from edgeloop.errors import EdgeloopError, HomeError, UsageError
from edgeloop.events import DEAD_LETTERS_TOPIC
from edgeloop.home import SEALING_KEY, Home
from edgeloop.log.base import Log, LogUnavailableError
from edgeloop.log.opening import has_log, open_log
from edgeloop.sealing import DeadLetter, Sealer
from edgeloop.settings import Settings
from edgeloop.store.base import StoreUnavailableError
from edgeloop.store.opening import open_reader
from edgeloop.store.schema import DEAD_LETTERS

ACCEPTED = "accepted"
"""The outcome of a replay after which nothing of a dead letter is left to do."""
_AT_ONCE = 1_000
_BYTES = 64 << 20
_DAMAGED = (msgspec.DecodeError, UnicodeError, RecursionError, OverflowError)


def every_letter(home: Home, settings: Settings) -> list[DeadLetter]:
    """All dead letters, newest first; one that came twice is there once.

    Raises:
        EdgeloopError: the tables or the log cannot be read now.
    """
    home.require()
    try:
        found = _drained_letters(home, settings)
        if has_log(home, settings):
            with closing(open_log(home, settings, read_only=True)) as log:
                for letter in _logged_letters(log):
                    found.setdefault(letter.dead_letter_id, letter)
    except (LogUnavailableError, StoreUnavailableError) as error:
        raise EdgeloopError(str(error)) from error
    return sorted(found.values(), key=lambda letter: (letter.received_at, letter.place), reverse=True)


def _drained_letters(home: Home, settings: Settings) -> dict[str, DeadLetter]:
    try:
        reader = open_reader(home, settings)
    except HomeError:  # there is no store yet
        if settings.store.url or home.store.exists():
            raise
        return {}
    with closing(reader):
        rows = reader.query(f"SELECT {', '.join(DEAD_LETTERS.names)} FROM {DEAD_LETTERS.name}")[1]
    letters = (DeadLetter.of_row(row) for row in rows)
    return {letter.dead_letter_id: letter for letter in letters}


def _logged_letters(log: Log) -> Iterator[DeadLetter]:
    starts, ends = log.start_offsets(), log.end_offsets()
    for partition in range(log.partitions(DEAD_LETTERS_TOPIC)):
        place = DEAD_LETTERS_TOPIC, partition
        offset = starts[place]
        while offset < ends[place]:
            chunk = log.read(*place, offset, _AT_ONCE, _BYTES)
            if chunk.next_offset == offset:
                break
            offset = chunk.next_offset
            for value in chunk.values:
                try:
                    yield sealing.decode(value)
                except _DAMAGED:  # the worker makes a dead letter of it in turn
                    continue


def replayed_letters(home: Home, settings: Settings) -> dict[str, int]:
    """dead_letter_id → when everything in it was accepted by a replay, in µs."""
    if not has_log(home, settings):
        return {}
    with closing(open_log(home, settings, read_only=True)) as log:
        return notes_of(home, log).replayed(ACCEPTED)


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


def open_letter(home: Home, settings: Settings, letter_id: str) -> tuple[DeadLetter, bytes]:
    """One dead letter, by the beginning of its id, and its original bytes.

    Raises:
        UsageError: no such letter, or several. UnsealError: the key is another.
    """
    letter = _one(every_letter(home, settings), letter_id)
    return letter, Sealer(home.secret(SEALING_KEY)).open(letter)


def _one(letters: list[DeadLetter], beginning: str) -> DeadLetter:
    matching = [letter for letter in letters if letter.dead_letter_id.startswith(beginning)]
    if len(matching) != 1:
        count = "no dead letter has" if not matching else f"{len(matching)} dead letters have"
        raise UsageError(f"{count} an id that begins with {beginning!r}; `edgeloop dead-letters list` shows them")
    return matching[0]
