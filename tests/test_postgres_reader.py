"""Asking a PostgreSQL store: one statement at a time, never a write, times as a person or a program wants them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import psycopg
import pytest

from edgeloop.clock import iso
from edgeloop.store.base import StatementError
from edgeloop.store.postgres import PostgresReader, PostgresStore
from edgeloop.store.postgres.moments import moment
from edgeloop.store.postgres.reader import in_dialect
from tests.stores import AT_US, batch, changed, exposure, write


@pytest.fixture
def made(database_url: str) -> str:
    PostgresStore(database_url).close()
    return database_url


@pytest.fixture
def reader(made: str) -> Iterator[PostgresReader]:
    with closing(PostgresReader(made)) as opened:
        yield opened


_YEAR_US = 31_556_952_000_000
_TIMES = [0, -1, 1, AT_US, AT_US + 500_000, AT_US // 10**6 * 10**6, -1900 * _YEAR_US, 7900 * _YEAR_US + 7]
_FAR = [-3000 * _YEAR_US, 20_000 * _YEAR_US + 1]
"""Beyond Python's calendar."""


@pytest.mark.slow
@pytest.mark.parametrize("us", [*_TIMES, *_FAR])
def test_a_moment_is_exact(reader: PostgresReader, us: int) -> None:
    sql = f"SELECT {moment(us)}, {moment(us + 1)} - {moment(us)} = interval '1 microsecond'"
    assert reader.query(sql)[1] == [(us, True)]


@pytest.mark.slow
def test_times_for_people_are_written_as_everywhere(made: str) -> None:
    with closing(PostgresStore(made)) as store:
        writes = batch(store)
        for us in [*_TIMES, _FAR[0]]:
            writes.insert("exposures", changed(exposure(), occurred_at=us))
        write(store, writes)
    with closing(PostgresReader(made, times="text")) as reader:
        names, rows = reader.query("SELECT occurred_at, received_at FROM exposures ORDER BY rowid")
        assert names == ["occurred_at", "received_at"]
        assert rows[:-1] == [(iso(us), None) for us in _TIMES]
        assert rows[-1][0].endswith("BC")
        assert reader.query("SELECT 'infinity'::timestamptz, sum(features), '{1,2}'::int[] FROM exposures")[1] == [
            ("infinity", None, [1, 2])
        ]


@pytest.mark.slow
@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1; DELETE FROM offsets",
        "SELECT nextval('edgeloop.batches')",
        "CREATE TEMPORARY TABLE t(a int) ON COMMIT DROP; SELECT 1",
        "TRUNCATE exposures",
        "COPY offsets FROM STDIN",
        "VACUUM",
        "SELECT 1/0",
        "SELECT '",
        "",
    ],
)
@pytest.mark.parametrize("times", ["us", "text"])
def test_one_statement_that_only_reads(made: str, sql: str, times: str) -> None:
    with closing(PostgresReader(made, times="us" if times == "us" else "text")) as reader:
        if sql:
            with pytest.raises(StatementError):
                reader.query(sql)
        else:
            assert reader.query(sql) == ([], [])
        assert reader.query("SELECT 1") == (["?column?"], [(1,)])


@pytest.mark.slow
def test_a_reader_cannot_be_talked_into_writing(made: str, reader: PostgresReader) -> None:
    for sql in (
        "SET default_transaction_read_only = off",
        "SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE",
        "SET TRANSACTION READ WRITE",
        "COMMIT",
        "ROLLBACK",
    ):
        reader.query(sql)
        with pytest.raises(StatementError, match="read-only"):
            reader.query("DELETE FROM meta")
    with psycopg.connect(made) as db:
        assert db.execute("SELECT count(*) FROM edgeloop.meta").fetchall() != [(0,)]


@pytest.mark.parametrize(
    ("sql", "wanted"),
    [
        ("SELECT ?", "SELECT %s"),
        ("SELECT '?', ?", "SELECT '?', %s"),
        ("SELECT 'it''s ?', ?", "SELECT 'it''s ?', %s"),
        (r"SELECT E'\'?', ?", r"SELECT E'\'?', %s"),
        ('SELECT "a?""b?", ?', 'SELECT "a?""b?", %s'),
        ("SELECT ? -- why?\n, ?", "SELECT %s -- why?\n, %s"),
        ("SELECT /* ?\n? */ ?", "SELECT /* ?\n? */ %s"),
        ("SELECT $$?$$, $a$?$$?$a$, ?", "SELECT $$?$$, $a$?$$?$a$, %s"),
        ("SELECT 10 % ?, '100 %'", "SELECT 10 %% %s, '100 %%'"),
    ],
)
def test_a_question_mark_stands_for_a_binding_only_where_it_is_one(sql: str, wanted: str) -> None:
    assert in_dialect(sql) == wanted
