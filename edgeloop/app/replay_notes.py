"""Which dead letters were replayed: notes beside the log, or in a file of the home where the log is on Kafka."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Protocol

import apsw

from edgeloop.clock import Clock, SystemClock
from edgeloop.home import Home
from edgeloop.log.base import Log, LogUnavailableError
from edgeloop.log.local import LocalLog
from edgeloop.sqlite import connect, connect_read_only, transaction

FILE_NAME = "replays.sqlite"


class ReplayNotes(Protocol):
    """Notes of replays; nothing of them is ever changed or taken back."""

    def note_replayed(self, dead_letter_ids: Sequence[str], outcome: str) -> None:
        """Remember that these dead letters were replayed now.

        Raises:
            LogUnavailableError: nothing was noted.
        """
        ...

    def replayed(self, outcome: str) -> dict[str, int]:
        """dead_letter_id → when it was last replayed with this outcome, in µs."""
        ...


def notes_of(home: Home, log: Log) -> ReplayNotes:
    """The notes of a home. A local log keeps them itself; those beside Kafka are this home's, not another door's."""
    return log if isinstance(log, LocalLog) else FileNotes(home.path / FILE_NAME)


class FileNotes:
    """Notes in a SQLite file, made with the first one."""

    def __init__(self, path: Path, clock: Clock | None = None) -> None:
        self._path = path
        self._clock = clock or SystemClock()

    def note_replayed(self, dead_letter_ids: Sequence[str], outcome: str) -> None:
        if not dead_letter_ids:
            return
        now = self._clock.now_us()
        try:
            with closing(connect(self._path, synchronous="FULL")) as db, transaction(db):
                db.execute(
                    "CREATE TABLE IF NOT EXISTS replays("
                    "dead_letter_id TEXT NOT NULL, replayed_us INTEGER NOT NULL, outcome TEXT NOT NULL)"
                )
                db.executemany("INSERT INTO replays VALUES (?, ?, ?)", [(one, now, outcome) for one in dead_letter_ids])
        except apsw.Error as error:
            raise LogUnavailableError(f"{self._path} did not take {len(dead_letter_ids)} notes: {error}") from error

    def replayed(self, outcome: str) -> dict[str, int]:
        if not self._path.exists():
            return {}
        with closing(connect_read_only(self._path)) as db:
            return dict(
                db.execute(
                    "SELECT dead_letter_id, max(replayed_us) FROM replays WHERE outcome = ? GROUP BY 1", (outcome,)
                )
            )
