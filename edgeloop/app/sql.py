"""``edgeloop sql``: one statement that reads, on the live store; on a freeze see `edgeloop.app.sql_freeze`."""

from __future__ import annotations

import difflib
import re
import time
from collections.abc import Sequence
from contextlib import closing
from itertools import islice
from typing import Any, Literal

import apsw
import msgspec

from edgeloop.errors import HomeError
from edgeloop.home import Home
from edgeloop.settings import Settings
from edgeloop.sqlite import connect_read_only
from edgeloop.store.base import StatementError, StoreUnavailableError
from edgeloop.store.opening import on_postgres
from edgeloop.store.schema import DEAD_LETTERS, TABLES, Cell, Kind
from edgeloop.store.views import VIEWS

TIMEOUT_S = 300.0
"""How long a statement may take unless told otherwise."""

ONE_READ = "the tables are read-only here: `edgeloop sql` takes one SELECT"
ONE_STATEMENT = "`edgeloop sql` takes one statement, and here is a second one behind it: ask them one by one"
NO_STATEMENT = 'there is no statement in this: `edgeloop sql "SELECT …"`'
SEALED = "what dead letters hold is sealed, and opened only by `edgeloop dead-letters show ID`"

_KINDS: dict[tuple[str, str], Kind] = {(t.name, c.name): c.kind for t in TABLES for c in t.columns}
_BLOBS = {c.name for c in DEAD_LETTERS.columns if c.kind == "blob"}
_READS = {apsw.SQLITE_SELECT, apsw.SQLITE_READ, apsw.SQLITE_FUNCTION, apsw.SQLITE_RECURSIVE}
_TELLING_PRAGMAS = {
    "table_info",
    "table_xinfo",
    "table_list",
    "index_list",
    "index_info",
    "index_xinfo",
    "user_version",
}
_STEPS_BETWEEN_LOOKS = 50_000
_UNKNOWN_TABLE = re.compile(
    r"no such table: ([\w.]+)|relation \"?([\w.]+)\"? does not exist|Table with name \"?(\w+)\"? does not exist"
)
_UNKNOWN_COLUMN = re.compile(
    r"no such column: ([\w.]+)|column \"?([\w.]+)\"? does not exist|Referenced column \"?(\w+)\"? not found"
)
_TABLES = [*(t.name for t in TABLES), *(v.name for v in VIEWS)]
_COLUMNS = sorted({c.name for t in TABLES for c in t.columns})


class Answer(msgspec.Struct, frozen=True):
    """What a statement gave."""

    names: list[str]
    kinds: list[Kind | None]
    """Of each column that comes straight from a table, or from a typed result; a ``time`` is integer µs."""
    rows: list[tuple[Any, ...]]
    more: bool = False
    """Whether there were rows beyond ``max_rows``."""
    sealed: bool = False
    """Whether a column was asked for that only a key opens; it is NULL in the rows."""


def ask_store(
    home: Home,
    settings: Settings,
    query: str,
    bindings: Sequence[Cell] = (),
    *,
    timeout_s: float = TIMEOUT_S,
    max_rows: int | None = None,
    times: Literal["us", "text"] = "us",
) -> Answer:
    """What the live store says to one statement that reads; ``?`` stands for a binding.

    Args:
        home: its tables, or the database that the settings name.
        settings: they say where the tables are.
        query: one SELECT.
        bindings: values for its placeholders.
        timeout_s: after so many seconds it is stopped.
        max_rows: rows beyond are left in the store.
        times: how PostgreSQL's times come: integer µs, or RFC 3339. SQLite's are always µs.

    Raises:
        StatementError: it is wrong, would write, is several, or took too long.
        HomeError: there is no store yet. StoreUnavailableError: it does not answer now.
    """
    if on_postgres(home, settings):
        return _ask_postgres(settings, query, bindings, timeout_s, max_rows, times)
    if not home.store.exists() or not home.store.stat().st_size:
        raise HomeError(f"there is no store at {home.store} yet: run `edgeloop process` first")
    with closing(connect_read_only(home.store)) as db:
        return _ask_sqlite(db, query, bindings, timeout_s, max_rows)


def too_long(timeout_s: float, *, live: bool) -> StatementError:
    """The error of a statement that was stopped."""
    other = ", or ask a frozen month with --freeze YYYY-MM" if live else ""
    return StatementError(
        f"the statement took longer than {timeout_s:g} s and was stopped: narrow it with WHERE, allow it more with "
        f"--timeout-s{other}"
    )


def wrong(said: str) -> StatementError:
    """The error of a statement that a database does not take: its words, what may be meant, and where to look."""
    said = said.rstrip(".! ")
    for pattern, known in ((_UNKNOWN_TABLE, _TABLES), (_UNKNOWN_COLUMN, _COLUMNS)):
        found = pattern.search(said)
        if found is not None:
            unknown = next(name for name in found.groups() if name).rpartition(".")[2].lower()
            close = difflib.get_close_matches(unknown, known, n=1)
            if close and close[0] != unknown:
                said = f"{said}. Is `{close[0]}` meant?"
                break
    return StatementError(
        f"{said}{'' if said.endswith('?') else '.'} `edgeloop tables` lists tables, views and columns"
    )


def _ask_sqlite(
    db: apsw.Connection, query: str, bindings: Sequence[Cell], timeout_s: float, max_rows: int | None
) -> Answer:
    names: list[str] = []
    kinds: list[Kind | None] = []
    sealed = False

    def allow(operation: int, first: str | None, second: str | None, _database: str | None, _by: str | None) -> int:
        nonlocal sealed
        if operation == apsw.SQLITE_READ and first == DEAD_LETTERS.name and second in _BLOBS:
            sealed = True
            return apsw.SQLITE_IGNORE  # reads as NULL, so that SELECT * still tells the rest
        if operation == apsw.SQLITE_PRAGMA:
            told = first in _TELLING_PRAGMAS and (second is None or first != "user_version")
            return apsw.SQLITE_OK if told else apsw.SQLITE_DENY
        return apsw.SQLITE_OK if operation in _READS else apsw.SQLITE_DENY

    def begin(cursor: apsw.Cursor, statement: str, _bindings: object) -> bool:
        # Called with each statement before it runs; of the only one, what is behind it has nothing to say.
        if not cursor.is_readonly:
            raise StatementError(ONE_READ)
        rest = query[len(statement) :] if query.startswith(statement) else ""
        if rest.strip():
            raise StatementError(ONE_STATEMENT)
        names[:] = [column[0] for column in cursor.get_description()]
        kinds[:] = [
            _KINDS.get((column[3], column[4])) if column[3] and column[4] else None
            for column in cursor.description_full or ()
        ]
        return True

    deadline = time.monotonic() + timeout_s
    cursor = db.cursor()
    cursor.exec_trace = begin
    db.authorizer = allow
    db.set_progress_handler(lambda: time.monotonic() > deadline, _STEPS_BETWEEN_LOOKS)
    try:
        rows, more = _some(cursor.execute(query, tuple(bindings)), max_rows)
    except (apsw.AuthError, apsw.ReadOnlyError) as error:
        raise StatementError(ONE_READ) from error
    except apsw.InterruptError as error:
        raise too_long(timeout_s, live=True) from error
    except (apsw.SQLError, apsw.BindingsError, apsw.IncompleteExecutionError, apsw.MismatchError) as error:
        raise wrong(str(error)) from error
    if not names:
        raise StatementError(NO_STATEMENT)
    return Answer(names, kinds or [None] * len(names), rows, more, sealed)


def _ask_postgres(
    settings: Settings,
    query: str,
    bindings: Sequence[Cell],
    timeout_s: float,
    max_rows: int | None,
    times: Literal["us", "text"],
) -> Answer:
    import psycopg

    from edgeloop.store.postgres.moments import IsoLoader, load_plain
    from edgeloop.store.postgres.reader import in_dialect
    from edgeloop.store.postgres.reading_role import connect_reading
    from edgeloop.store.postgres.session import GONE, Address

    address = Address(settings.store.url)
    limits = {"default_transaction_read_only": "on", "statement_timeout": str(max(1, round(timeout_s * 1000)))}
    with closing(connect_reading(address, settings.store.reader_url, settings.store.reader_role, limits)) as db:
        load_plain(db)
        db.adapters.register_loader("timestamptz", IsoLoader)
        db.execute("BEGIN READ ONLY")
        try:
            with db.cursor(binary=times == "us") as cursor:
                # Streamed, because then the server takes one statement, and rows beyond the limit stay with it.
                statement = in_dialect(query) if bindings else query
                rows, more = _some(cursor.stream(statement, tuple(bindings) or None), max_rows)
                described = list(cursor.description or ())
        except psycopg.errors.QueryCanceled as error:
            raise too_long(timeout_s, live=True) from error
        except psycopg.errors.ReadOnlySqlTransaction as error:
            raise StatementError(ONE_READ) from error
        except psycopg.errors.InsufficientPrivilege as error:
            raise StatementError(f"{address.words(error)}: {_not_for_readers(str(error))}") from error
        except GONE as error:
            raise StoreUnavailableError(f"{address.name}: {address.words(error)}") from error
        except psycopg.DatabaseError as error:
            said = address.words(error)
            known = next((sentence for piece, sentence in _OF_THE_CLIENT.items() if piece in said), None)
            raise (StatementError(known) if known else wrong(said)) from error
        # As in SQLite: the engine's own number of a row is there for who names it, and in no `SELECT *`.
        shown = [i for i, column in enumerate(described) if column.name != _ROW_NUMBER or _ROW_NUMBER in query.lower()]
        if len(shown) < len(described):
            rows = [tuple(row[i] for i in shown) for row in rows]
        return Answer(
            [described[i].name for i in shown], [_OF_TYPE.get(described[i].type_code) for i in shown], rows, more
        )


_ROW_NUMBER = "rowid"
_OF_THE_CLIENT = {
    "multiple commands": ONE_STATEMENT,
    "EMPTY_QUERY": NO_STATEMENT,
    "didn't produce a result": ONE_READ,  # SET, LOCK and the like
    "COPY cannot be used": ONE_READ,
}
_OF_TYPE: dict[int, Kind] = {
    16: "bool", 17: "blob", 20: "int", 21: "int", 23: "int", 25: "text", 700: "real", 701: "real", 1043: "text",
    1184: "time",
}  # fmt: skip
"""PostgreSQL's type numbers; ``numeric`` is left out, which comes as int or float."""


def _not_for_readers(said: str) -> str:
    if DEAD_LETTERS.name in said:
        return f"{SEALED}. Name the columns you want"
    return "`edgeloop sql` reads with the powers of `[store] reader_role`. `edgeloop tables` lists what it may read"


def _some(rows: Any, max_rows: int | None) -> tuple[list[tuple[Any, ...]], bool]:
    """The first rows, and whether there are more."""
    if max_rows is None:
        return list(rows), False
    found = list(islice(rows, max_rows + 1))
    return found[:max_rows], len(found) > max_rows
