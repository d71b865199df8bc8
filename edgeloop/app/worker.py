"""The worker inside ``edgeloop up``: a thread that drains the log into the store again and again.

It wakes when the door appended something, and every second for what other processes appended. Store and log are its
own: a SQLite connection belongs to one thread.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence

import apsw

from edgeloop.app.logs import note, note_failure
from edgeloop.app.old_letters import DailyDeletion
from edgeloop.app.process import ConsumerBusyError, opened_drain, sole_consumer
from edgeloop.app.ready import Condition
from edgeloop.app.scrape import read_store
from edgeloop.clock import Clock
from edgeloop.errors import EdgeloopError
from edgeloop.home import Home
from edgeloop.log.base import Chunk, Entry, Log, TopicPartition
from edgeloop.settings import Settings

_log = logging.getLogger(__name__)

_IDLE_S = 1.0
_GATHER_S = 0.05
"""Between two rounds: many small appends become one batch."""
_STANDBY_S = 0.5
_MOST_TRIES = 3
_FIRST_WAIT_S, _LONGEST_WAIT_S = 1.0, 30.0
# A full disk or a busy file is not the batch's fault: the worker waits for it to pass, and `/readyz` says so.
_PASSING = (apsw.BusyError, apsw.FullError)

Position = dict[TopicPartition, int]


class _StoppedError(Exception):
    """The worker was told to stop between two batches."""


class Worker:
    """Drains one home until it is stopped, or until it cannot go on."""

    def __init__(self, home: Home, settings: Settings, on_end: Callable[[], None], clock: Clock) -> None:
        """``clock`` tells the age of dead letters, and when to look for old ones."""
        self._home = home
        self._settings = settings
        self._on_end = on_end
        self._thread = threading.Thread(target=self._run, name="worker", daemon=True)
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._succeeded_at: float | None = None
        self._failed_at: float | None = None
        self.failure: BaseException | None = None
        """Why it ended, where nobody told it to."""
        self.caught_up = threading.Event()
        """Set once it has drained everything that was there when a round began, until it fails or ends."""
        self._holding = False
        self._rounds = 0
        self._old_letters = DailyDeletion(home, settings, clock, lambda: not self._stopping.is_set())

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def wake(self) -> None:
        """Something was appended."""
        self._wake.set()

    def stop(self, timeout_s: float) -> bool:
        """End after the batch in flight; whether it did within the time."""
        self._stopping.set()
        self._wake.set()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def condition(self) -> Condition:
        """Whether it works: alive, and its last failure is older than its last success."""
        if not self._thread.is_alive():
            return Condition("worker", False, "the worker has ended: see the log, then start the service again")
        if self._failed_at is not None and (self._succeeded_at is None or self._failed_at >= self._succeeded_at):
            ago = time.monotonic() - self._failed_at
            return Condition("worker", False, f"the worker failed {ago:.0f} s ago and has not succeeded since")
        if not self._holding:
            return Condition("worker", True, "another process drains this home; this one takes over when that ends")
        return Condition("worker", True, "the worker drains the log")

    def _run(self) -> None:
        try:
            standing_by = False
            while not self._stopping.is_set():
                try:
                    with sole_consumer(self._home):
                        note(_log, logging.INFO, "the worker drains the log")
                        self._holding = True
                        self._work()
                except ConsumerBusyError:
                    if not standing_by:
                        note(_log, logging.INFO, "another process drains this home: standing by")
                    standing_by = True
                    self._stopping.wait(_STANDBY_S)
        except BaseException as error:  # nobody joins a thread for its exception
            self.failure = error
            note_failure(_log, "the worker cannot go on", error, logging.CRITICAL)
        finally:
            self._holding = False
            self.caught_up.clear()
            self._on_end()

    def _work(self) -> None:
        """Drain until told to stop; tries again after a failure, unless one batch fails for the third time."""
        failures = 0
        before: Position | None = None
        while not self._stopping.is_set():
            rounds = self._rounds
            try:
                self._drain_again_and_again()
            except _StoppedError:
                return
            except EdgeloopError:  # a person must mend it: trying again changes nothing
                raise
            except Exception as error:
                self._failed_at = time.monotonic()
                self.caught_up.clear()
                position = self._position() or before
                failures = failures + 1 if position == before and rounds == self._rounds else 1
                before = position
                if failures >= _MOST_TRIES and not isinstance(error, _PASSING):
                    raise
                wait_s = min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2 ** (failures - 1))
                note_failure(_log, "the worker failed and tries again", error, failures=failures, wait_s=wait_s)
                self._stopping.wait(wait_s)

    def _drain_again_and_again(self) -> None:
        view: list[_UpToALook] = []

        def look_at(log: Log) -> Log:
            view.append(_UpToALook(log))
            return view[0]

        with opened_drain(self._home, self._settings, look_at) as drain:
            while not self._stopping.is_set():
                self._wake.clear()
                view[0].look()
                drain.run(self._progress)
                self._succeeded_at = time.monotonic()
                self._rounds += 1
                self.caught_up.set()
                self._old_letters.when_due()
                self._wake.wait(_IDLE_S)
                self._stopping.wait(_GATHER_S)

    def _progress(self, done: int, _total: int) -> None:
        if done:
            self._succeeded_at = time.monotonic()
        if self._stopping.is_set():
            raise _StoppedError

    def _position(self) -> Position | None:
        """How far the log is drained, or None where the store does not say."""
        try:
            return read_store(self._home, self._settings).offsets or None
        except apsw.Error:
            return None


class _UpToALook:
    """A log as it was at the last look.

    A drain ends when nothing is left; under steady traffic something always is, and what a drain does at its end (the
    couriers' keys, the heads) would wait.
    """

    def __init__(self, log: Log) -> None:
        self._log = log
        self._ends: dict[TopicPartition, int] = {}

    def look(self) -> None:
        """Take in what was appended since."""
        self._ends = self._log.end_offsets()

    @property
    def cluster_id(self) -> str:
        return self._log.cluster_id

    def topic_ids(self) -> dict[str, str]:
        return self._log.topic_ids()

    def append(self, entries: Sequence[Entry]) -> None:
        self._log.append(entries)

    def read(self, topic: str, partition: int, offset: int, max_records: int, max_bytes: int) -> Chunk:
        return self._log.read(topic, partition, offset, max_records, max_bytes)

    def partitions(self, topic: str) -> int:
        return self._log.partitions(topic)

    def end_offsets(self) -> dict[TopicPartition, int]:
        return dict(self._ends)

    def start_offsets(self) -> dict[TopicPartition, int]:
        return self._log.start_offsets()

    def close(self) -> None:
        self._log.close()
