"""``edgeloop process``: drain the local log into the store, one process per home at a time."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO

from edgeloop.app.lanes import lanes_for, run_lanes
from edgeloop.errors import HomeError
from edgeloop.home import SEALING_KEY, Home
from edgeloop.log.base import Log
from edgeloop.log.local import LocalLog
from edgeloop.sealing import Sealer
from edgeloop.settings import Settings
from edgeloop.store.sqlite import SqliteStore
from streams import ONLY_LANE, Drain, Drained, Lane, Progress, Rules

CONSUMER_LOCK = "consumer.lock"
STANDBY_S = 10.0
"""How long `edgeloop process` waits for another one to end."""
_LOOK_AGAIN_S = 0.1


class ConsumerBusyError(HomeError):
    """Another process is draining this home."""


def process(
    home: Home,
    settings: Settings,
    progress: Progress | None = None,
    *,
    wait_s: float = 0.0,
    standing_by: Callable[[], None] | None = None,
) -> Drained:
    """Drain everything the log holds.

    Args:
        home: it must exist.
        settings: its settings.
        progress: told how far it is.
        wait_s: how long to wait where another process is draining this home.
        standing_by: called once where that is so.

    Raises:
        ConsumerBusyError: another process is draining this home.
        LogMismatchError, RulesMismatchError: store, log and settings do not belong together.
    """
    home.require()
    with sole_consumer(home, wait_s, standing_by) as lock:
        with opened_drain(home, settings) as drain:
            drain.check()
            lanes = lanes_for(settings, drain)
            if lanes == 1:
                return drain.run(progress)
        in_lanes = run_lanes(home, lanes, lock, progress)
        # What one lane left for the other's couriers after that had ended.
        with opened_drain(home, settings) as drain:
            rest = drain.run()
        return Drained(in_lanes.records + rest.records, in_lanes.dead_letters + rest.dead_letters)


@contextmanager
def opened_drain(
    home: Home, settings: Settings, seen_as: Callable[[Log], Log] = lambda log: log, lane: Lane = ONLY_LANE
) -> Iterator[Drain]:
    """A drain with a log and a store of its own, closed in the end; it sees the log as ``seen_as`` gives it."""
    log = LocalLog(home.log, partitions=settings.log.partitions)
    try:
        store = SqliteStore(home.store)
        try:
            sealer = Sealer(home.secret(SEALING_KEY))
            yield Drain(seen_as(log), store, Rules.of(settings.attribution), sealer, lane=lane)
        finally:
            store.close()
    finally:
        log.close()


@contextmanager
def sole_consumer(home: Home, wait_s: float = 0.0, standing_by: Callable[[], None] | None = None) -> Iterator[int]:
    """Be the one process that drains a home; the descriptor of the lock, which helpers of this process inherit.

    Waits so long for another one to end; ``standing_by`` is called when that begins.

    Raises:
        ConsumerBusyError: another one still is.
    """
    # The lock goes with the process, however it ends, so a crash leaves nothing to clean up.
    with (home.path / CONSUMER_LOCK).open("w", encoding="ascii") as file:
        until = time.monotonic() + wait_s
        waits = False
        while not _locked(file):
            if time.monotonic() >= until:
                raise ConsumerBusyError(
                    f"another process is draining {home.path} now: wait for it to end, then run this again"
                )
            if standing_by is not None and not waits:
                standing_by()
            waits = True
            time.sleep(_LOOK_AGAIN_S)
        yield file.fileno()


def _locked(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
