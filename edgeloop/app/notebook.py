"""``edgeloop.open()``: a home's tables, freezes and estimates as pandas frames, read only.

Frames have types that know an absent value: text ``string``, whole numbers ``Int64``, numbers ``float64``, booleans
``boolean``, times ``datetime64[us, UTC]``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from edgeloop.app.frozen import all_freezes, arrow_of, find_freeze, frame_of_arrow, frame_of_rows
from edgeloop.app.sql import TIMEOUT_S, Answer, ask_store
from edgeloop.clock import iso, to_us
from edgeloop.errors import UsageError
from edgeloop.home import Home
from edgeloop.months import Month
from edgeloop.settings import Settings, load
from edgeloop.store.freeze import Freeze, Manifest
from edgeloop.store.opening import on_postgres, open_reader
from edgeloop.store.rows import Check, Estimate, cells
from edgeloop.store.schema import CHECKS, ESTIMATES, TABLES, Cell, Column, Table
from edgeloop.store.views import VIEWS

if TYPE_CHECKING:
    from analysis import Analysis

Where = Mapping[str, object] | str
"""Column → the value it has, or a list of values; or a condition in SQL."""
Moment = Callable[[int], str]


def open_home(home: str | os.PathLike[str] | None = None) -> Edgeloop:
    """A home for reading: that folder, or the one that ``EDGELOOP_HOME`` names, or ``./.edgeloop``.

    Raises:
        HomeError: there is none. UsageError: a setting is wrong.
    """
    path = Path(os.environ.get("EDGELOOP_HOME", ".edgeloop") if home is None else home)
    Home(path).require()
    return Edgeloop(Home(path), load(path))


class Edgeloop:
    """A home's tables, freezes and estimates. Nothing here writes but a provisional freeze where none exists."""

    def __init__(self, home: Home, settings: Settings) -> None:
        self.home = home
        self.settings = settings

    def __repr__(self) -> str:
        return f"<Edgeloop of {self.settings.company}, {self.home.path}>"

    def tables(self) -> pd.DataFrame:
        """Tables, views and columns with their meaning: ``table``, ``column``, ``kind``, ``meaning``."""
        rows: list[tuple[Cell, ...]] = [(t.name, c.name, c.kind, c.comment) for t in TABLES for c in t.columns]
        for view in VIEWS:
            rows.append((view.name, None, "view", view.comment))
            rows += [(view.name, c.name, c.kind, c.comment) for c in view.columns]
        return frame_of_rows(("table", "column", "kind", "meaning"), ("text",) * 4, rows)

    def frame(
        self,
        table: str,
        *,
        where: Where | None = None,
        columns: Sequence[str] | None = None,
        month: str | None = None,
    ) -> pd.DataFrame:
        """Rows of a live table, as many as there are: for millions of them `freeze` is the quicker way.

        Args:
            table: its name; for views use `sql`.
            where: column → value or list of values (times as datetimes with a zone), or a condition in SQL.
            columns: these only.
            month: what happened in this month YYYY-MM of the company's zone.

        Raises:
            UsageError: there is no such table, column or month. HomeError: there is no store yet.
        """
        found = _table(table)
        told = _columns(found, columns)
        with closing(open_reader(self.home, self.settings)) as reader:
            conditions, bindings = _conditions(found, where, reader.moment)
            if month is not None:
                conditions += _of_the_month(found, Month.parse(month, self.settings.timezone), reader.moment)
            selected = ", ".join(f'"{column.name}"' for column in told)
            sql = f"SELECT {selected} FROM {found.name}"
            if conditions:
                sql += f" WHERE {' AND '.join(conditions)}"
            names, rows = reader.query(sql, bindings)
        return frame_of_rows(names, [column.kind for column in told], rows)

    def sql(self, query: str, params: Sequence[object] = (), *, timeout_s: float = TIMEOUT_S) -> pd.DataFrame:
        """What the live store says to one SELECT; ``?`` stands for a parameter. Times come as times.

        In SQLite a column is known as a time where it comes straight from a table; of an expression such as
        ``max(occurred_at)`` integer µs come.

        Raises:
            StatementError: it is wrong, would write, is several, or took too long.
        """
        cells: list[Any] = [_cell(value) for value in params]
        if not on_postgres(self.home, self.settings):  # where times are numbers
            cells = [to_us(cell) if isinstance(cell, datetime) else cell for cell in cells]
        return _frame(ask_store(self.home, self.settings, query, cells, timeout_s=timeout_s))

    def freezes(self) -> pd.DataFrame:
        """The freezes there are, by month: ``month``, ``freeze_id``, ``provisional``, ``as_of``, ``rows``, ``path``."""
        rows = [
            (
                freeze.manifest.month, freeze.manifest.freeze_id, freeze.manifest.provisional, freeze.manifest.as_of_us,
                sum(table.rows for table in freeze.manifest.tables.values()), str(freeze.path),
            )
            for freeze in all_freezes(self.home)
        ]  # fmt: skip
        names = ("month", "freeze_id", "provisional", "as_of", "rows", "path")
        return frame_of_rows(names, ("text", "text", "bool", "time", "int", "text"), rows)

    def freeze(self, month: str) -> Frozen:
        """A month as it was frozen; of a month that is not frozen, a provisional freeze of this moment.

        Args:
            month: YYYY-MM in the company's zone, or the id of a freeze.
        """
        return Frozen(self._freeze(month))

    def estimates(self, month: str) -> pd.DataFrame:
        """What each change did to each metric, computed from the month's freeze: the columns of ``estimates``."""
        return _of_structs(self._analysis(month).estimates, ESTIMATES)

    def checks(self, month: str) -> pd.DataFrame:
        """The checks of the data behind each change, computed from the month's freeze: the columns of ``checks``."""
        return _of_structs(self._analysis(month).checks, CHECKS)

    def remarks(self, month: str) -> pd.DataFrame:
        """A month's remarks, what each is about and how it is meant, read from the month's freeze.

        One row per response with words: ``response_id``, ``subject``, ``respondent``, ``occurred_at``, ``language``,
        ``themes`` (names, ``|`` between), ``sentiment``, ``scored_by`` (number, model, lexicon, unscored), ``text``.
        """
        from analysis import READ, remarks

        freeze = self._freeze(month)
        tables = freeze.frames({name: READ[name] for name in ("answers", "responses")})
        span = (freeze.month.start_us, freeze.month.end_us)
        rows = [
            (r.response_id, r.subject, r.respondent, r.at, r.language, "|".join(r.themes), r.sentiment, r.by, r.text)
            for r in remarks(tables["answers"], tables["responses"], span).rows
        ]
        names = (
            "response_id", "subject", "respondent", "occurred_at", "language", "themes", "sentiment", "scored_by",
            "text",
        )  # fmt: skip
        return frame_of_rows(names, ["time" if name == "occurred_at" else "text" for name in names], rows)

    def _freeze(self, month: str) -> Freeze:
        if len(month) > len("2026-03"):
            return find_freeze(self.home, month)
        from edgeloop.app.monthly import month_freeze

        return month_freeze(self.home, self.settings, Month.parse(month, self.settings.timezone))

    def _analysis(self, month: str) -> Analysis:
        from edgeloop.app.monthly import analyse_freeze

        return analyse_freeze(self._freeze(month))


class Frozen:
    """A month freeze."""

    def __init__(self, freeze: Freeze) -> None:
        self._freeze = freeze

    def __repr__(self) -> str:
        kind = "provisional freeze" if self.manifest.provisional else "freeze"
        return f"<{kind} {self.manifest.freeze_id} of {self.manifest.company}, as of {iso(self.manifest.as_of_us)}>"

    @property
    def manifest(self) -> Manifest:
        """What it holds, and how it was made."""
        return self._freeze.manifest

    @property
    def path(self) -> Path:
        """Its folder, with a Parquet file per table."""
        return self._freeze.path

    def frame(self, table: str, *, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """A table, or these columns of it.

        Raises:
            UsageError: there is no such table or column. FreezeError: the file is not the one that was frozen.
        """
        return frame_of_arrow(arrow_of(self._freeze, table, columns))

    def sql(self, query: str, params: Sequence[object] = (), *, timeout_s: float = TIMEOUT_S) -> pd.DataFrame:
        """What the freeze says to one SELECT in DuckDB's SQL (needs the extra ``duckdb``).

        Raises:
            StatementError: it is wrong, would write, is several, or took too long. EdgeloopError: DuckDB is missing.
        """
        from edgeloop.app.sql_freeze import ask_freeze

        cells: list[Any] = [_cell(value) for value in params]
        return _frame(ask_freeze(self._freeze, query, cells, timeout_s=timeout_s))


def _frame(answer: Answer) -> pd.DataFrame:
    return frame_of_rows(answer.names, answer.kinds, answer.rows)


def _of_structs(rows: Sequence[Estimate | Check], table: Table) -> pd.DataFrame:
    return frame_of_rows(table.names, [column.kind for column in table.columns], [cells(row) for row in rows])


def _table(name: str) -> Table:
    for table in TABLES:
        if table.name == name:
            return table
    if any(view.name == name for view in VIEWS):
        raise UsageError(f'{name} is a view: `.sql("SELECT * FROM {name}")` asks it')
    raise UsageError(f"there is no table {name!r}; there are {', '.join(table.name for table in TABLES)}")


def _columns(table: Table, wanted: Sequence[str] | None) -> list[Column]:
    """The columns asked for, in that order; of all, those that are not for the engine only."""
    if wanted is None:
        return [column for column in table.columns if column.kind != "blob"]
    return [_column(table, name) for name in wanted]


def _column(table: Table, name: str) -> Column:
    for column in table.columns:
        if column.name == name and column.kind != "blob":
            return column
    raise UsageError(f"{table.name} has no column {name!r} to read; `.tables()` lists them")


def _conditions(table: Table, where: Where | None, moment: Moment) -> tuple[list[str], list[Cell]]:
    """Conditions and the values for their ``?``; ``moment`` writes a time as SQL."""
    if where is None:
        return [], []
    if isinstance(where, str):
        return [f"({where})"], []
    conditions: list[str] = []
    bindings: list[Cell] = []
    for name, wanted in where.items():
        column = f'"{_column(table, name).name}"'
        if wanted is None:
            conditions.append(f"{column} IS NULL")
            continue
        several = isinstance(wanted, Iterable) and not isinstance(wanted, str | bytes)
        places = []
        for value in wanted if several else (wanted,):  # type: ignore[attr-defined]
            cell = _cell(value)
            places.append(moment(to_us(cell)) if isinstance(cell, datetime) else "?")
            bindings += [] if isinstance(cell, datetime) else [cell]
        conditions.append(f"{column} IN ({', '.join(places)})" if places else "1 = 0")
    return conditions, bindings


def _of_the_month(table: Table, month: Month, moment: Moment) -> list[str]:
    for name in ("occurred_at", "received_at"):
        if name in table.names:
            return [f"{name} >= {moment(month.start_us)}", f"{name} < {moment(month.end_us)}"]
    if "month" in table.names:
        return [f"month = '{month.name}'"]
    raise UsageError(f"{table.name} has no time to tell a month by: leave month away")


def _cell(value: object) -> Cell | datetime:
    """A Python, NumPy or pandas value as a store takes it.

    Raises:
        UsageError: a time without a zone, or nothing that a column holds.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or value is pd.NA or value is pd.NaT:
        return None
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise UsageError(f"{value} has no zone: write datetime(…, tzinfo=UTC), or pd.Timestamp(…, tz='UTC')")
        return value
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, str | int | float | bytes):
        return value
    raise UsageError(f"{type(value).__name__} is no value of a column")
