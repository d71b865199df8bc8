"""``edgeloop process``: drain the local log into the store, one process per home at a time."""

from __future__ import annotations

import fcntl
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO

import apsw

from edgeloop.app.lanes import lanes_for, run_lanes
from edgeloop.app.logs import note
from edgeloop.app.old_letters import let_old_letters_go
from edgeloop.clock import Clock
from edgeloop.errors import HomeError
from edgeloop.events import STORED_TOPICS
from edgeloop.home import SEALING_KEY, Home
from edgeloop.horizon import Horizon
from edgeloop.log.base import Log
from edgeloop.log.local import LocalLog
from edgeloop.log.opening import open_log
from edgeloop.sealing import Sealer
from edgeloop.settings import Settings
from edgeloop.store.base import Store
from edgeloop.store.opening import on_postgres, open_store
from edgeloop.store.upgrade import upgrade
from streams import ONLY_LANE, Drain, Drained, Lane, LogMismatchError, Progress, Rules, fingerprint, pruned_to

_log = logging.getLogger(__name__)

CONSUMER_LOCK = "consumer.lock"
STANDBY_S = 10.0
"""How long `edgeloop process` waits for another one to end."""
_LOOK_AGAIN_S = 0.1
_UPGRADED = (
    "the store was made by an older version of Edgeloop: it was moved away, and the tables are filled anew from the log"
)


class ConsumerBusyError(HomeError):
    """Another process is draining this home."""


def process(
    home: Home,
    settings: Settings,
    progress: Progress | None = None,
    *,
    wait_s: float = 0.0,
    standing_by: Callable[[], None] | None = None,
    clock: Clock | None = None,
) -> Drained:
    """Drain everything the log holds, then delete the dead letters that were kept long enough.

    Args:
        home: it must exist.
        settings: its settings.
        progress: told how far it is.
        wait_s: how long to wait where another process is draining this home.
        standing_by: called once where that is so.
        clock: tells the age of dead letters; without one none is deleted.

    Raises:
        ConsumerBusyError: another process is draining this home.
        LogMismatchError, RulesMismatchError: store, log and settings do not belong together.
    """
    home.require()
    with in_words(home), sole_consumer(home, wait_s, standing_by) as lock:
        drained = _drain(home, settings, lock, progress)
        if clock is not None:
            let_old_letters_go(home, settings, clock.now_us())
        return drained


def _drain(home: Home, settings: Settings, lock: int, progress: Progress | None) -> Drained:
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
def in_words(home: Home) -> Iterator[None]:
    """Say what a person can do where the store's disk is full or may only be read."""
    try:
        yield
    except apsw.FullError as error:
        raise HomeError(
            f"{home.store} could not be written: its disk is full. Make room and run the same again; "
            "it goes on from where it stopped"
        ) from error
    except (apsw.ReadOnlyError, apsw.IOError, apsw.CantOpenError) as error:
        raise HomeError(
            f"{home.store} could not be written: {error}. Is its disk there and writable? Then run the same again; "
            "it goes on from where it stopped"
        ) from error


@contextmanager
def opened_drain(
    home: Home, settings: Settings, seen_as: Callable[[Log], Log] = lambda log: log, lane: Lane = ONLY_LANE
) -> Iterator[Drain]:
    """A drain with a log and a store of its own, closed in the end; it sees the log as ``seen_as`` gives it.

    A store of an older schema is moved away first, and filled anew by the drain.
    """
    rules = Rules.of(settings.attribution)
    log = open_log(home, settings)
    try:
        if isinstance(log, LocalLog) and not on_postgres(home, settings):
            moved_to = upgrade(home.store, log, rules=fingerprint(rules))
            if moved_to is not None:
                note(_log, logging.WARNING, _UPGRADED, detail=moved_to.name)
        store = open_store(home, settings)
        try:
            if isinstance(log, LocalLog):
                _refuse_gap(log, store)
            sealer = Sealer(home.secret(SEALING_KEY))
            yield Drain(
                seen_as(log),
                store,
                rules,
                sealer,
                lane=lane,
                horizon=horizon_of(log, store),
                earliest_us=settings.door.earliest_us,
            )
        finally:
            store.close()
    finally:
        log.close()


def horizon_of(log: Log, store: Store) -> Horizon | None:
    """How far the home was pruned: a local log says it to its doors, beside Kafka the store does."""
    return log.horizon() if isinstance(log, LocalLog) else pruned_to(store)


def _refuse_gap(log: LocalLog, store: Store) -> None:
    """Raise where the log begins after what the store has seen: it was pruned when the store was further on."""
    stored = store.offsets()
    for (topic, part), start in sorted(log.start_offsets().items()):
        seen = stored[topic, part].next_offset if (topic, part) in stored else 0
        if start > seen and topic in STORED_TOPICS:
            raise LogMismatchError(
                f"the log begins at {start} in {topic}/{part}, but the store has seen only up to {seen}: the records "
                f"between were pruned when they were in the tables. Restore {store.name} from its backup, or take what "
                "the log still holds to a new home (`edgeloop replay --export FILE`, then `edgeloop replay FILE` there)"
            )


@contextmanager
def sole_consumer(home: Home, wait_s: float = 0.0, standing_by: Callable[[], None] | None = None) -> Iterator[int]:
    """Be the one process that drains a home; the descriptor of the lock, which helpers of this process inherit.

    Waits so long for another one to end; ``standing_by`` is called when that begins.

    Raises:
        ConsumerBusyError: another one still is.
    """
    # The lock goes with the process, however it ends, so a crash leaves nothing to clean up.
    try:
        lock = (home.path / CONSUMER_LOCK).open("w", encoding="ascii")
    except OSError as error:
        raise HomeError(
            f"cannot write {home.path / CONSUMER_LOCK}: {error.strerror}. Is the disk of the home full, or may it only "
            "be read?"
        ) from error
    with lock as file:
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
