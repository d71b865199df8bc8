"""Whether a service can do its work now: the conditions behind ``/readyz``, each with a sentence."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import apsw
import msgspec

from edgeloop.errors import HomeError
from edgeloop.home import Home
from edgeloop.log.base import Log
from edgeloop.log.local import LocalLog
from edgeloop.settings import Settings

_BUSY_MS = 1_000
_KEPT_S = 1.0
_MB = 1_000_000


class Condition(msgspec.Struct, frozen=True):
    """One condition: its name, whether it holds, and a sentence for a person."""

    name: str
    ok: bool
    says: str


class Readiness(msgspec.Struct, frozen=True):
    """What ``/readyz`` answers."""

    ready: bool
    conditions: Sequence[Condition]


class HomeProbe:
    """Tries the log and the disk of a home; asked more often than once a second, it gives what it found before."""

    def __init__(self, home: Home, settings: Settings, log: Log, now: Callable[[], float] = time.monotonic) -> None:
        self._home = home
        self._min_free_mb = settings.service.min_free_mb
        self._log = log
        self._now = now
        self._found: tuple[float, list[Condition]] | None = None

    def conditions(self) -> list[Condition]:
        """The conditions of log and disk; blocks for up to a second, so it belongs in a thread."""
        if self._found is None or self._now() - self._found[0] >= _KEPT_S:
            self._found = (
                self._now(),
                [log_condition(self._home, self._log), disk_condition(self._home.path, self._min_free_mb)],
            )
        return self._found[1]


def log_condition(home: Home, log: Log) -> Condition:
    """Whether the log answers, and whether its file can be written."""
    try:
        log.end_offsets()
    except HomeError:
        return Condition("log", False, "topics are missing on Kafka: run `edgeloop topics create`")
    except Exception as error:  # whatever it was, the log is not there
        return Condition("log", False, f"the log cannot be read ({type(error).__name__})")
    problem = write_problem(home.log) if isinstance(log, LocalLog) else None
    return Condition("log", problem is None, problem or "the log can be written")


def write_problem(path: Path) -> str | None:
    """Why a database cannot be written now, or None; takes its write lock for a moment and writes nothing."""
    try:
        # Not made where it is missing: a door that holds a deleted file open appends into nothing.
        db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
        try:
            db.set_busy_timeout(_BUSY_MS)
            db.execute("BEGIN IMMEDIATE; ROLLBACK")
            # SQLite opens what it may not write for reading, and begins all the same.
            if db.readonly("main"):
                return f"{path.name} may only be read: is its disk mounted read-only, or the file another user's?"
        finally:
            db.close()
    except apsw.BusyError:
        return f"another process has held the write lock of {path.name} for {_BUSY_MS // 1_000} s"
    except apsw.CantOpenError:
        return f"{path.name} is missing or cannot be opened: restore it and start the service again"
    except apsw.Error as error:
        return f"{path.name} cannot be written ({type(error).__name__}): is its disk there and writable?"
    return None


def disk_condition(path: Path, min_free_mb: float) -> Condition:
    """Whether more than so much space is left on the disk of a path."""
    try:
        free_mb = shutil.disk_usage(path).free / _MB
    except OSError as error:
        return Condition("disk", False, f"the home cannot be reached: {error.strerror}")
    said = f"{free_mb:,.0f} MB are free on the disk of the home"
    if free_mb > min_free_mb:
        return Condition("disk", True, said)
    return Condition("disk", False, f"{said}, less than [service] min_free_mb = {min_free_mb:g}: make room")


def appends_condition(failed_s_ago: float | None, within_s: float) -> Condition:
    """Whether no append failed a moment ago.

    Only a moment ago: whoever sends no traffic to a door that is not ready would never see it become so.
    """
    if failed_s_ago is not None and failed_s_ago < within_s:
        return Condition("appends", False, f"the last append failed {failed_s_ago:.0f} s ago")
    return Condition("appends", True, f"no append failed within {within_s:.0f} s")
