"""SQLite as the log and the store both use it: WAL, a write lock taken at once, busy writers waited for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw

BUSY_MS = 10_000
_WAL_BYTES_KEPT = 64 << 20


def connect(path: Path, *, synchronous: str) -> apsw.Connection:
    """A read-write connection; ``synchronous`` is FULL (a commit is on disk) or NORMAL (a crash keeps a prefix)."""
    db = apsw.Connection(str(path))
    db.set_busy_timeout(BUSY_MS)
    db.execute(
        f"PRAGMA journal_mode=WAL; PRAGMA synchronous={synchronous}; PRAGMA journal_size_limit={_WAL_BYTES_KEPT}"
    )
    return db


def connect_read_only(path: Path) -> apsw.Connection:
    """A connection that cannot write."""
    db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    db.set_busy_timeout(BUSY_MS)
    db.execute("PRAGMA query_only=1")
    return db


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
