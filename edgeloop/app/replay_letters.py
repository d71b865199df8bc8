"""``edgeloop dead-letters replay``: the original bytes through their connector again.

Something changed meanwhile: a setting, a version, a form that is known now. What is accepted goes to the log; what
still is not stays the dead letter that it was. An event of a dead letter was received when the letter was: its
``received_at`` is the letter's, so that how late it came is told truly, and what was dated in the future when it came
still is.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import Literal

import msgspec

from connectors import Intake, Item, Scope, mixpanel, native, typeform, zigpoll
from edgeloop.app.dead_letters import ACCEPTED
from edgeloop.app.replay import RefusedRecordError, record_of, record_of_line
from edgeloop.app.replay_notes import notes_of
from edgeloop.clock import to_us
from edgeloop.errors import EdgeloopError, UsageError
from edgeloop.events import DEAD_LETTERS_TOPIC
from edgeloop.home import SEALING_KEY, Home
from edgeloop.horizon import Horizon, horizon_of
from edgeloop.log.base import Entry, LogUnavailableError, largest_bytes_of
from edgeloop.log.opening import open_log
from edgeloop.sealing import DeadLetter, Sealer, UnsealError
from edgeloop.settings import Settings

PARTLY = "partly"
_BATCH_ITEMS = 5_000
_BATCH_BYTES = 8 << 20

Outcome = Literal["accepted", "partly", "refused", "unusable"]


class Replayed(msgspec.Struct, frozen=True):
    """What became of one dead letter."""

    id: str
    outcome: Outcome
    """``partly``: some of several events in it were accepted. ``unusable``: its bytes are not all here."""
    events: int
    """Accepted now."""
    reason: str
    source: str
    place: str
    detail: str
    """Why something of it is still refused."""


class _OfTheLetter:
    """A clock that shows when a dead letter was received."""

    def __init__(self) -> None:
        self.now = 0

    def now_us(self) -> int:
        return self.now


def replay_letters(
    home: Home,
    settings: Settings,
    letters: Sequence[DeadLetter],
    *,
    form: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Replayed]:
    """Send letters through their connectors again; what became of each, in order.

    ``form`` names the Typeform form of responses that do not name it themselves.

    Raises:
        EdgeloopError: the log takes nothing; what was replayed before is in.
    """
    log = open_log(home, settings)
    notes = notes_of(home, log)
    again = _Again(home, settings, form, horizon_of(log), largest_bytes_of(log))
    done: list[Replayed] = []
    entries: list[Entry] = []
    marks: dict[str, list[str]] = {ACCEPTED: [], PARTLY: []}
    size = 0

    def write() -> None:
        log.append(entries)
        # Afterwards: what is in and not marked is replayed once more, which does no harm; the other way round it would.
        for outcome, ids in marks.items():
            notes.note_replayed(ids, outcome)
            ids.clear()
        entries.clear()

    try:
        for number, letter in enumerate(letters, start=1):
            found, new = again.replayed(letter)
            done.append(found)
            entries += new
            size += sum(len(entry.value) for entry in new)
            if found.outcome in marks:
                marks[found.outcome].append(letter.dead_letter_id)
            if len(entries) >= _BATCH_ITEMS or size >= _BATCH_BYTES:
                write()
                size = 0
            if progress is not None:
                progress(number, len(letters))
        write()
    except LogUnavailableError as error:
        raise EdgeloopError(f"{error}. Run the same again, duplicates do no harm") from error
    finally:
        log.close()
    return done


class _Again:
    def __init__(
        self,
        home: Home,
        settings: Settings,
        form: str | None,
        horizon: Callable[[], Horizon | None],
        largest_bytes: int | None,
    ) -> None:
        self._clock = _OfTheLetter()
        self._intake = Intake(home, self._clock, horizon, largest_bytes=largest_bytes, settings=settings.door)
        self._horizon = horizon
        self._sealer = Sealer(home.secret(SEALING_KEY))
        self._settings = settings
        self._form = form

    def replayed(self, letter: DeadLetter) -> tuple[Replayed, list[Entry]]:
        """What becomes of a letter, and what is to be appended."""
        try:
            raw = self._sealer.open(letter)
        except UnsealError as error:
            return _outcome(letter, "unusable", 0, str(error)), []
        if len(raw) < letter.size:
            detail = f"only the first {len(raw):,} of {letter.size:,} bytes were kept: send it again from its source"
            return _outcome(letter, "unusable", 0, detail), []
        if not raw:
            return _outcome(letter, "unusable", 0, "it tells of damage and holds no bytes: send it again"), []
        self._clock.now = to_us(letter.received_at)
        try:
            entries, refused = self._taken(letter, raw)
        except (UsageError, RefusedRecordError) as error:
            return _outcome(letter, "refused", 0, str(error)), []
        if not refused and entries:
            return _outcome(letter, "accepted", len(entries), ""), entries
        detail = refused[0] if refused else "it holds no event"
        return _outcome(letter, "partly" if entries else "refused", len(entries), detail), entries

    def _taken(self, letter: DeadLetter, raw: bytes) -> tuple[list[Entry], list[str]]:
        """What to append of a letter, and why the rest of it is refused."""
        door, _, name = letter.source.partition(":")
        if door == "log":
            return [record_of(name.rpartition("/")[0], raw, self._horizon(), self._settings.door.earliest_us)], []
        if door == "replay":
            return [record_of_line(raw, self._horizon(), self._settings.door.earliest_us)], []
        scope = Scope() if door == "http" else None
        taken, entries = self._intake.take(self._items(door, name, letter, raw), source=letter.source, scope=scope)
        refused = [one.rejected.detail for one in taken if one.rejected is not None]
        # The letters that the intake made of it are left out: there is one already.
        return [entry for entry in entries if entry.topic != DEAD_LETTERS_TOPIC], refused

    def _items(self, door: str, name: str, letter: DeadLetter, raw: bytes) -> list[Item]:
        settings = self._settings
        if door == "http" and letter.place == "body":
            return list(native.items_of_body(raw))
        if door in ("http", "file"):
            return [native.item_of_event(raw, letter.place)]
        if door == "typeform":
            if name:
                return list(typeform.items_of_file(io.BytesIO(raw), settings.typeform, self._form))
            return [typeform.item(raw, settings.typeform)]
        if door == "zigpoll":
            if name:
                return list(zigpoll.items_of_file(io.BytesIO(raw), settings.zigpoll))
            return zigpoll.items(raw, settings.zigpoll, to_us(letter.received_at))
        if door == "mixpanel":
            return list(mixpanel.items_of_file(io.BytesIO(raw), settings.mixpanel))
        raise UsageError(f"this version knows no door {door!r}: replay it with the version that took it")


def _outcome(letter: DeadLetter, outcome: Outcome, events: int, detail: str) -> Replayed:
    return Replayed(letter.dead_letter_id, outcome, events, letter.reason, letter.source, letter.place, detail)
