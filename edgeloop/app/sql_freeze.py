"""``edgeloop sql --freeze``: one statement that reads a month freeze, by DuckDB (the extra ``duckdb``).

DuckDB reads the Parquet files where they lie, so that a month of millions of exposures need not be loaded first.
"""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

from edgeloop.app.frozen import checked_file
from edgeloop.app.sql import NO_STATEMENT, ONE_READ, ONE_STATEMENT, TIMEOUT_S, Answer, too_long, wrong
from edgeloop.clock import iso, to_us
from edgeloop.errors import EdgeloopError
from edgeloop.store.base import StatementError
from edgeloop.store.freeze import Freeze
from edgeloop.store.schema import Cell, Kind
from edgeloop.store.views import Dialect, views

DUCKDB = Dialect(day="strftime({0} AT TIME ZONE 'UTC', '%Y-%m-%d')", seconds="epoch({0})")
_OF_TYPE: dict[str, Kind] = {
    "VARCHAR": "text", "BOOLEAN": "bool", "TINYINT": "int", "SMALLINT": "int", "INTEGER": "int", "BIGINT": "int",
    "FLOAT": "real", "DOUBLE": "real", "TIMESTAMP WITH TIME ZONE": "time",
}  # fmt: skip


def ask_freeze(
    freeze: Freeze,
    query: str,
    bindings: Sequence[Cell] = (),
    *,
    timeout_s: float = TIMEOUT_S,
    max_rows: int | None = None,
    times: Literal["us", "text"] = "us",
) -> Answer:
    """What a freeze says to one statement that reads; the tables and views are those of the store.

    Args:
        freeze: a month.
        query: one SELECT in DuckDB's SQL; times are TIMESTAMP WITH TIME ZONE in UTC, booleans BOOLEAN.
        bindings: values for its ``?``.
        timeout_s: after so many seconds it is stopped.
        max_rows: rows beyond are left.
        times: how times come: integer µs, or RFC 3339.

    Raises:
        StatementError: it is wrong, would write or reach beyond the freeze, is several, or took too long.
        EdgeloopError: DuckDB is not installed. FreezeError: a file is not the one the manifest describes.
    """
    duckdb = _duckdb()
    files = {name: checked_file(freeze, name) for name in freeze.manifest.tables}
    with _opened(duckdb, files) as db:
        try:
            statements = db.extract_statements(query)
        except duckdb.Error as error:
            raise wrong(_words(error)) from error
        if not statements:
            raise StatementError(NO_STATEMENT)
        if len(statements) > 1:
            raise StatementError(ONE_STATEMENT)
        if statements[0].type not in (duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN):
            raise StatementError(ONE_READ)
        alarm = threading.Timer(timeout_s, db.interrupt)
        alarm.start()
        try:
            cursor = db.execute(query, list(bindings))
            described = cursor.description or []
            rows = cursor.fetchall() if max_rows is None else cursor.fetchmany(max_rows + 1)
        except duckdb.InterruptException as error:
            raise too_long(timeout_s, live=False) from error
        except duckdb.PermissionException as error:
            raise StatementError(
                f"{_words(error)}. A statement on a freeze reads its tables and nothing else"
            ) from error
        except duckdb.Error as error:
            raise wrong(_words(error)) from error
        finally:
            alarm.cancel()
    kinds = [_OF_TYPE.get(str(column[1])) for column in described]
    more = max_rows is not None and len(rows) > max_rows
    plain = [tuple(_plain(cell, times) for cell in row) for row in rows[:max_rows]]
    return Answer([str(column[0]) for column in described], kinds, plain, more)


def _duckdb() -> Any:
    try:
        import duckdb
    except ImportError as error:
        raise EdgeloopError(
            "asking a freeze needs DuckDB, which is not installed: `pip install 'edgeloop[duckdb]'`. Without it, "
            "`edgeloop sql` asks the live store, and `edgeloop.open().freeze(MONTH).frame(TABLE)` gives pandas frames"
        ) from error
    return duckdb


@contextmanager
def _opened(duckdb: Any, files: Mapping[str, Path]) -> Iterator[Any]:
    with tempfile.TemporaryDirectory(prefix="edgeloop-sql-") as spill:
        config = {
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "python_enable_replacements": False,  # or a name would be looked for among this program's variables
            "temp_directory": spill,
        }
        db = duckdb.connect(":memory:", config=config)
        try:
            db.execute("SET TimeZone = 'UTC'")
            for name, file in files.items():
                rows = f"read_parquet({_text(file)}, hive_partitioning = false)"
                db.execute(f'CREATE VIEW "{name}" AS SELECT * FROM {rows}')
            for view in views(DUCKDB):
                db.execute(f'CREATE VIEW "{view.name}" AS {view.sql}')
            # From here on nothing but these files can be read, and nobody can undo that.
            db.execute(f"SET allowed_paths = [{', '.join(map(_text, files.values()))}]")
            db.execute("SET enable_external_access = false")
            db.execute("SET lock_configuration = true")
            yield db
        finally:
            db.close()


def _text(path: Path) -> str:
    return "'" + str(path.absolute()).replace("'", "''") + "'"


def _words(error: BaseException) -> str:
    """What DuckDB says, in a line: without the kind of error, its guesses among its own tables, and the statement."""
    first = str(error).split("\n")[0]
    return first.partition("Error: ")[2] or first


def _plain(cell: object, times: Literal["us", "text"]) -> object:
    if isinstance(cell, datetime):
        if cell.tzinfo is None:
            return cell.isoformat()
        return to_us(cell) if times == "us" else iso(to_us(cell))
    if isinstance(cell, date):
        return cell.isoformat()
    if isinstance(cell, timedelta):
        return cell.total_seconds()
    if isinstance(cell, Decimal):
        return int(cell) if cell == cell.to_integral_value() else float(cell)
    return cell
