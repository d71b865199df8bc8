"""Reading a PostgreSQL store without being able to write: analysts, freezes, status pages."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import psycopg

from edgeloop.errors import HomeError
from edgeloop.store.base import StaleStateError, StatementError, StoreUnavailableError
from edgeloop.store.postgres.migrations import is_made
from edgeloop.store.postgres.moments import IsoLoader, load_plain, moment
from edgeloop.store.postgres.session import AGAIN, GONE, Address, Connection, Session
from edgeloop.store.schema import Cell
from edgeloop.store.views import POSTGRES

_SETTINGS = {
    "default_transaction_read_only": "on",
    # A freeze writes files between two reads of its snapshot.
    "idle_in_transaction_session_timeout": "600000",
}
# What a `?` may stand in without being a placeholder; a comment within a comment is rare enough to be left out.
_PIECE = re.compile(
    r"[eE]'(?:[^'\\]|\\.|'')*'|'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|--[^\n]*|/\*.*?\*/|\$(\w*)\$.*?\$\1\$|\?|%",
    re.DOTALL,
)


class PostgresReader:
    """A read-only connection for analysts, freezes and status pages."""

    def __init__(self, url: str, *, times: Literal["us", "text"] = "us") -> None:
        """``times`` come as integer µs, or for people as RFC 3339 in UTC.

        Raises:
            HomeError: there is no such database for this user, or no tables in it yet.
            StoreUnavailableError: the server does not answer.
        """
        self._times = times
        self._address = Address(url)
        self._session = Session(self._address, _SETTINGS, self._begin_session)
        with self._session.connection():
            pass

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Everything read inside sees the store as of one moment."""
        with self._session.connection() as db:
            db.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        self._session.pinned = True
        try:
            yield
        finally:
            self._session.rollback()

    def query(self, sql: str, bindings: Sequence[Cell] = ()) -> tuple[list[str], list[tuple[Any, ...]]]:
        """Column names and rows of one statement; ``?`` stands for a binding.

        Raises:
            StatementError: the statement is wrong, or would write.
            StoreUnavailableError: the store does not answer now.
        """
        alone = not self._session.pinned
        try:
            with self._session.connection() as db:
                if alone:
                    db.execute("BEGIN READ ONLY")
                try:
                    return self._ask(db, sql, bindings)
                finally:
                    if alone:
                        self._session.rollback()
        except StaleStateError as error:
            raise StoreUnavailableError(str(error)) from error

    def pages(self, sql: str, at_once: int) -> Iterator[list[tuple[Any, ...]]]:
        """The rows of one statement, some at a time, so that memory holds no more; only inside `snapshot`.

        Raises:
            StoreUnavailableError: the server does not answer now.
        """
        with (
            self._session.connection() as db,
            db.cursor("pages", binary=self._times == "us", scrollable=False) as cursor,
        ):
            cursor.execute(sql)
            while page := cursor.fetchmany(at_once):
                yield page

    def moment(self, us: int) -> str:
        """A time as an SQL literal that a time column can be compared with."""
        return moment(us)

    def day(self, column: str) -> str:
        """SQL of the UTC date of a time column, as ``YYYY-MM-DD``."""
        return POSTGRES.day.format(column)

    def close(self) -> None:
        """Close the connection."""
        self._session.close()

    def _begin_session(self, db: Connection) -> None:
        if not is_made(db):
            raise HomeError(f"there are no tables in {self._address.name} yet: run `edgeloop process` first")
        load_plain(db)
        db.adapters.register_loader("timestamptz", IsoLoader)

    def _ask(self, db: Connection, sql: str, bindings: Sequence[Cell]) -> tuple[list[str], list[tuple[Any, ...]]]:
        try:
            with db.cursor(binary=self._times == "us") as cursor:
                # Prepared, because only then the server takes one statement and no second behind it.
                if bindings:
                    cursor.execute(in_dialect(sql), bindings, prepare=True)
                else:
                    cursor.execute(sql, prepare=True)
                names = [column.name for column in cursor.description or ()]
                return names, cursor.fetchall() if names else []
        except psycopg.errors.ReadOnlySqlTransaction as error:
            raise StatementError("the tables are read-only here: `edgeloop sql` takes one SELECT") from error
        except (*GONE, *AGAIN):
            raise
        except psycopg.DatabaseError as error:
            words = self._address.words(error)
            raise StatementError(f"{words}. `edgeloop tables` lists tables, views and columns") from error


def in_dialect(sql: str) -> str:
    """A statement with psycopg's placeholders in the place of ``?``."""

    def replaced(piece: re.Match[str]) -> str:
        text = piece[0]
        return "%s" if text == "?" else text.replace("%", "%%")

    return _PIECE.sub(replaced, sql)
