"""Dead letters are kept 30 days: older ones go by themselves, from the table and from the local log.

Only what is drained goes, so that every letter was in the table once. Kafka's topic has a retention of its own.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import closing

from edgeloop.app.logs import note, note_failure
from edgeloop.clock import DAY_US, HOUR_US, Clock
from edgeloop.events import DEAD_LETTERS_TOPIC, STORED_TOPICS
from edgeloop.home import Home
from edgeloop.log.local import LocalLog
from edgeloop.log.opening import on_kafka
from edgeloop.sealing import LETTERS_KEPT_DAYS, received_us
from edgeloop.settings import Settings
from edgeloop.store.base import Store
from edgeloop.store.opening import open_store

_log = logging.getLogger(__name__)

_EVERY_US, _AGAIN_US = DAY_US, HOUR_US
_AT_ONCE, _BYTES = 1_000, 8 << 20
"""Records read, and deleted, at a time: a door that appends waits for that."""


def kept_from_us(now_us: int) -> int:
    """Letters that came before this moment are older than they are to be."""
    return now_us - LETTERS_KEPT_DAYS * DAY_US


def delete_some(store: Store, settings: Settings, before_us: int) -> int:
    """Delete some of the table's letters that came before a moment, in one short transaction; how many."""
    return store.delete_dead_letters(before_us, STORED_TOPICS, settings.timezone)


def old_in_log(log: LocalLog, store: Store, before_us: int) -> Iterator[tuple[int, list[int]]]:
    """(partition, offsets) of drained letters that came before a moment, of some records at a time, often none."""
    drained = store.offsets()
    for part in range(log.partitions(DEAD_LETTERS_TOPIC)):
        stored = drained.get((DEAD_LETTERS_TOPIC, part))
        offset, end = 0, 0 if stored is None else stored.next_offset
        while offset < end and len(chunk := log.read(DEAD_LETTERS_TOPIC, part, offset, _AT_ONCE, _BYTES)):
            offset = chunk.offsets[-1] + 1
            yield (
                part,
                [
                    at
                    for at, value, appended_us in zip(chunk.offsets, chunk.values, chunk.appended_us, strict=True)
                    if at < end and received_us(value, appended_us) < before_us
                ],
            )


def delete_old(
    log: LocalLog | None, store: Store, settings: Settings, before_us: int, going_on: Callable[[], bool] = lambda: True
) -> int:
    """Delete the letters that came before a moment from log and table, while it may; how many rows of the table."""
    if log is not None:
        for part, offsets in old_in_log(log, store, before_us):
            if not going_on():
                return 0
            if offsets:
                log.drop(DEAD_LETTERS_TOPIC, part, offsets)
    deleted = 0
    while going_on() and (n := delete_some(store, settings, before_us)):
        deleted += n
    return deleted


def let_old_letters_go(
    home: Home, settings: Settings, now_us: int, going_on: Callable[[], bool] = lambda: True
) -> bool:
    """Delete the letters of a home that are too old, through connections of its own; whether nothing failed.

    A failure is told in the log. A simulation keeps its letters: they came at simulated times.
    """
    if home.simulated:
        return True
    try:
        with closing(open_store(home, settings)) as store:
            before_us = kept_from_us(now_us)
            if on_kafka(home, settings):
                deleted = delete_old(None, store, settings, before_us, going_on)
            else:
                with closing(LocalLog(home.log, partitions=settings.log.partitions)) as log:
                    deleted = delete_old(log, store, settings, before_us, going_on)
    except Exception as error:  # events are more urgent than what is to be deleted
        tell_failure(error)
        return False
    tell_deleted(deleted)
    return True


def tell_deleted(letters: int) -> None:
    """Log that so many went."""
    if letters:
        note(_log, logging.INFO, "dead letters that were kept long enough are deleted", dead_letters=letters)


def tell_failure(failure: Exception) -> None:
    """Log that they could not be deleted."""
    note_failure(_log, "old dead letters could not be deleted: tried again later", failure, logging.WARNING)


class DailyDeletion:
    """Deletes a home's old letters when it is asked for the first time, and then once a day; after a failure sooner."""

    def __init__(self, home: Home, settings: Settings, clock: Clock, going_on: Callable[[], bool]) -> None:
        """``going_on`` says whether it may; what is left then is next time's."""
        self._home = home
        self._settings = settings
        self._clock = clock
        self._going_on = going_on
        self._wait_us = 0
        self._tried_us = clock.now_us()

    def when_due(self) -> None:
        """Do it if it is time."""
        now_us = self._clock.now_us()
        if 0 <= now_us - self._tried_us < self._wait_us:  # a clock that was set back does not put it off
            return
        self._tried_us = now_us
        went = let_old_letters_go(self._home, self._settings, now_us, self._going_on)
        self._wait_us = _EVERY_US if went else _AGAIN_US
