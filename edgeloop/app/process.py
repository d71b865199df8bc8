"""``edgeloop process``: drain the local log into the store, one process per home at a time."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager

from edgeloop.errors import HomeError
from edgeloop.home import SEALING_KEY, Home
from edgeloop.log.local import LocalLog
from edgeloop.sealing import Sealer
from edgeloop.settings import Settings
from edgeloop.store.sqlite import SqliteStore
from streams import Drain, Drained, Progress, Rules


def process(home: Home, settings: Settings, progress: Progress | None = None) -> Drained:
    """Drain everything the log holds.

    Raises:
        HomeError: another process is draining this home.
        LogMismatchError, RulesMismatchError: store, log and settings do not belong together.
    """
    home.require()
    with _sole_consumer(home):
        log = LocalLog(home.log, partitions=settings.log.partitions)
        store = SqliteStore(home.store)
        try:
            drain = Drain(log, store, Rules.of(settings.attribution), Sealer(home.secret(SEALING_KEY)))
            return drain.run(progress)
        finally:
            store.close()
            log.close()


@contextmanager
def _sole_consumer(home: Home) -> Iterator[None]:
    # The lock goes with the process, however it ends, so a crash leaves nothing to clean up.
    with (home.path / "consumer.lock").open("w", encoding="ascii") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise HomeError(
                f"another process is draining {home.path} now: wait for it to end, then run this again"
            ) from None
        yield
