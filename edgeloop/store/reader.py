"""Reading the store without being able to write: analysts, freezes, status pages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import apsw

from edgeloop.errors import HomeError
from edgeloop.sqlite import connect_read_only
from edgeloop.store.base import StatementError
from edgeloop.store.schema import Cell
from edgeloop.store.views import SQLITE


class SqliteReader:
    """A read-only connection for analysts, freezes and status pages."""

    def __init__(self, path: Path) -> None:
        if not path.exists() or not path.stat().st_size:  # empty where the disk was full when it was made
            raise HomeError(f"there is no store at {path} yet: run `edgeloop process` first")
        self._db = connect_read_only(path)

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Everything read inside sees the store as of one moment."""
        self._db.execute("BEGIN")
        try:
            yield
        finally:
            self._db.execute("COMMIT")

    def query(self, sql: str, bindings: Sequence[Cell] = ()) -> tuple[list[str], list[tuple[Any, ...]]]:
        """Column names and rows of one statement.

        Raises:
            StatementError: the statement is wrong, or would write.
        """
        names: list[str] = []

        def note_names(cursor: apsw.Cursor, _sql: str, _bindings: object) -> bool:
            names[:] = [column[0] for column in cursor.get_description()]
            return True

        cursor = self._db.cursor()
        cursor.exec_trace = note_names  # the only place where a statement without rows still tells its columns
        try:
            rows = cursor.execute(sql, bindings).fetchall()
        except apsw.ReadOnlyError as error:
            raise StatementError("the tables are read-only here: `edgeloop sql` takes one SELECT") from error
        except (apsw.SQLError, apsw.BindingsError, apsw.IncompleteExecutionError) as error:
            raise StatementError(f"{error}. `edgeloop tables` lists tables, views and columns") from error
        return names, rows

    def pages(self, sql: str, at_once: int) -> Iterator[list[tuple[Any, ...]]]:
        """The rows of one statement, some at a time, so that memory holds no more; only inside `snapshot`."""
        cursor = self._db.cursor().execute(sql)
        while page := list(islice(cursor, at_once)):
            yield page

    def moment(self, us: int) -> str:
        """A time as an SQL literal that a time column can be compared with."""
        return str(us)

    def day(self, column: str) -> str:
        """SQL of the UTC date of a time column, as ``YYYY-MM-DD``."""
        return SQLITE.day.format(column)

    def close(self) -> None:
        """Close the connection."""
        self._db.close()
