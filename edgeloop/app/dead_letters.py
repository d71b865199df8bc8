"""Looking at dead letters: those in the table, and those that wait in the log for `edgeloop process`."""

from __future__ import annotations

from edgeloop import sealing
from edgeloop.errors import UsageError
from edgeloop.events import DEAD_LETTERS_TOPIC
from edgeloop.home import SEALING_KEY, Home
from edgeloop.log.local import LocalLog
from edgeloop.sealing import DeadLetter, Sealer
from edgeloop.settings import Settings
from edgeloop.store.schema import DEAD_LETTERS
from edgeloop.store.sqlite import Reader

_AT_ONCE = 1_000
_BYTES = 64 << 20


def every_letter(home: Home, settings: Settings) -> list[DeadLetter]:
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
        log = LocalLog(home.log, partitions=settings.log.partitions)
        for partition in range(log.partitions(DEAD_LETTERS_TOPIC)):
            offset = 0
            while records := log.read(DEAD_LETTERS_TOPIC, partition, offset, _AT_ONCE, _BYTES):
                offset = records[-1].offset + 1
                for record in records:
                    letter = sealing.decode(record.value)
                    found.setdefault(letter.dead_letter_id, letter)
        log.close()
    return sorted(found.values(), key=lambda letter: (letter.received_at, letter.place), reverse=True)


def open_letter(home: Home, settings: Settings, letter_id: str) -> tuple[DeadLetter, bytes]:
    """One dead letter, by the beginning of its id, and its original bytes.

    Raises:
        UsageError: no such letter, or several. UnsealError: the key is another.
    """
    matching = [letter for letter in every_letter(home, settings) if letter.dead_letter_id.startswith(letter_id)]
    if len(matching) != 1:
        count = "no dead letter has" if not matching else f"{len(matching)} dead letters have"
        raise UsageError(f"{count} an id that begins with {letter_id!r}; `edgeloop dead-letters list` shows them")
    return matching[0], Sealer(home.secret(SEALING_KEY)).open(matching[0])
