"""SQLite as the log and the store both use it: WAL, a write lock taken at once, busy writers waited for."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import apsw

from edgeloop.errors import HomeError

BUSY_MS = 10_000
_AGAIN_S = 0.02
_WAL_BYTES_KEPT = 64 << 20


def connect(path: Path, *, synchronous: str) -> apsw.Connection:
    """A read-write connection; ``synchronous`` is FULL (a commit is on disk) or NORMAL (a crash keeps a prefix)."""
    db = apsw.Connection(str(path))
    db.set_busy_timeout(BUSY_MS)
    # Two that open a new file at once both want it alone for a moment, for which SQLite itself does not wait.
    until = time.monotonic() + BUSY_MS / 1_000
    while True:
        try:
            db.execute("PRAGMA journal_mode=WAL")
            break
        except apsw.BusyError:
            if time.monotonic() > until:
                db.close()
                raise
            time.sleep(_AGAIN_S)
    db.execute(f"PRAGMA synchronous={synchronous}; PRAGMA journal_size_limit={_WAL_BYTES_KEPT}")
    _close_to_others(path)
    return db


def _close_to_others(path: Path) -> None:
    """Whoever is not our user or group reads no database, in a home that lets everybody look in (mode 0755)."""
    for file in (path, path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")):
        with suppress(OSError):  # it is not there, or somebody else's
            mode = stat.S_IMODE(file.stat().st_mode)
            if mode & stat.S_IRWXO:
                file.chmod(mode & ~stat.S_IRWXO)


def connect_read_only(path: Path) -> apsw.Connection:
    """A connection that cannot write; the disk need not be writable either.

    Raises:
        HomeError: what was written last lies beside the file, and cannot be worked in on such a disk.
    """
    db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    db.set_busy_timeout(BUSY_MS)
    try:
        db.execute("PRAGMA query_only=1; PRAGMA schema_version")
    except apsw.CantOpenError:
        # A reader, too, makes a file beside a WAL database; where nobody can write, nobody changes the database either.
        if os.access(path.parent, os.W_OK) or not os.access(path, os.R_OK):
            raise
        wal = path.with_name(f"{path.name}-wal")
        if wal.exists() and wal.stat().st_size:
            raise HomeError(
                f"{path} lies on a disk that may only be read, and was not closed before: what was written last is in "
                f"{wal.name}. Copy the whole home to a disk that can be written, and ask the copy"
            ) from None
        uri = f"{path.absolute().as_uri()}?immutable=1"
        db = apsw.Connection(uri, flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI)
        db.execute("PRAGMA query_only=1")
    return db


@contextmanager
def wiping(db: apsw.Connection) -> Iterator[None]:
    """What is deleted inside is overwritten with zeros: SQLite else leaves it in the file until its place is needed."""
    db.pragma("secure_delete", True)
    try:
        yield
    finally:
        db.pragma("secure_delete", False)


def free_bytes(db: apsw.Connection) -> int:
    """How much of a database's file holds nothing, and is written next."""
    return int(db.pragma("freelist_count")) * int(db.pragma("page_size"))


@contextmanager
def transaction(db: apsw.Connection) -> Iterator[None]:
    """``BEGIN IMMEDIATE`` … ``COMMIT``, or ``ROLLBACK`` on any exception.

    Not ``with db:``, because apsw's own context manager waits for a busy file without letting other threads run, so
    that two connections of one process would stand still until the time-out.
    """
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
