"""How a PostgreSQL store is made, brought forward, and who may read what of it."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import psycopg
import pytest
from psycopg import sql

from edgeloop.errors import HomeError
from edgeloop.store.base import StatementError
from edgeloop.store.postgres import PostgresReader, PostgresStore, migrations
from edgeloop.store.postgres.migrations import Step
from edgeloop.store.schema import DEAD_LETTERS, SCHEMA_NUMBER, TABLES
from edgeloop.store.views import VIEWS
from tests.real.postgres import Postgres
from tests.stores import batch, exposure, letter, write

pytestmark = pytest.mark.slow


@pytest.fixture
def admin(database_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database_url, autocommit=True) as db:
        yield db


def as_user(admin: psycopg.Connection, server: Postgres, name: str, attributes: str) -> str:
    """Make a user; the address by which it opens the same database."""
    user = sql.Identifier(name)
    admin.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(user))
    admin.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'word' " + attributes).format(user))
    return server.url(admin.info.dbname, user=name, password="word")


# Made.


def test_workers_that_open_an_empty_database_at_once_all_find_it_made(database_url: str) -> None:
    def number(_: int) -> int:
        with closing(PostgresStore(database_url)) as store:
            return store.new_batch()

    with ThreadPoolExecutor(6) as pool:
        assert sorted(pool.map(number, range(6))) == [1, 2, 3, 4, 5, 6]


def test_there_is_nothing_to_read_before_it_is_made(database_url: str) -> None:
    with pytest.raises(HomeError, match="edgeloop process"):
        PostgresReader(database_url)


def test_everything_says_what_it_is(database_url: str, admin: psycopg.Connection) -> None:
    PostgresStore(database_url).close()
    silent = admin.execute(
        "SELECT relname FROM pg_class WHERE relnamespace IN ('public'::regnamespace, 'edgeloop'::regnamespace)"
        " AND relkind IN ('r', 'v') AND obj_description(oid, 'pg_class') IS NULL"
    ).fetchall()
    assert silent == []
    for table in TABLES:
        found = admin.execute(
            "SELECT attname, col_description(attrelid, attnum) FROM pg_attribute"
            " WHERE attrelid = %s::regclass AND attnum > 0 ORDER BY attnum",
            (f"public.{table.name}",),
        ).fetchall()
        assert found[: len(table.columns)] == [(column.name, column.comment) for column in table.columns]
        assert [name for name, _ in found[len(table.columns) :]] in ([], ["rowid"])
    for view in VIEWS:
        said = admin.execute("SELECT obj_description(%s::regclass)", (view.name,)).fetchall()
        assert said == [(view.comment,)]
        found = admin.execute(
            "SELECT attname, col_description(attrelid, attnum) FROM pg_attribute"
            " WHERE attrelid = %s::regclass AND attnum > 0 ORDER BY attnum",
            (f"public.{view.name}",),
        ).fetchall()
        assert found == [(column.name, column.comment) for column in view.columns]


def test_tables_that_are_not_ours_stay_as_they_are(database_url: str, admin: psycopg.Connection) -> None:
    admin.execute("CREATE TABLE changes(a int)")
    with pytest.raises(HomeError, match=r"changes.*a database of its own"):
        PostgresStore(database_url)
    assert admin.execute("SELECT count(*) FROM pg_namespace WHERE nspname = 'edgeloop'").fetchall() == [(0,)]


def test_a_user_who_may_make_no_tables_is_told(
    database_url: str, admin: psycopg.Connection, postgres_server: Postgres
) -> None:
    url = as_user(admin, postgres_server, "passer_by", "")
    with pytest.raises(HomeError, match="OWNER TO"):
        PostgresStore(url)
    PostgresStore(database_url).close()
    with pytest.raises(HomeError, match=r"own the database.*and the tables"):
        PostgresStore(url)


def test_a_database_of_few_letters_is_refused(postgres_server: Postgres) -> None:
    with psycopg.connect(postgres_server.url("postgres"), autocommit=True) as db:
        db.execute("DROP DATABASE IF EXISTS of_few_letters")
        db.execute("CREATE DATABASE of_few_letters ENCODING 'LATIN1' TEMPLATE template0 LOCALE 'C'")
    with pytest.raises(HomeError, match="LATIN1"):
        PostgresStore(postgres_server.url("of_few_letters"))


# Brought forward.

_STEPS = (
    Step(SCHEMA_NUMBER + 1, "ALTER TABLE exposures ADD COLUMN mood text; UPDATE exposures SET mood = 'unknown'"),
    Step(SCHEMA_NUMBER + 2, "ALTER TABLE exposures ALTER COLUMN mood SET DEFAULT 'fine'"),
)


def _prepare(db: psycopg.Connection, steps: tuple[Step, ...], number: int) -> None:
    migrations.prepare(db, "the database", "", steps, number)


def test_the_steps_lead_from_the_first_layout_to_this_one() -> None:
    assert [step.number for step in migrations.STEPS] == list(range(3, SCHEMA_NUMBER + 1))


def test_an_older_layout_is_brought_forward_step_by_step(database_url: str, admin: psycopg.Connection) -> None:
    with closing(PostgresStore(database_url)) as store:
        writes = batch(store)
        writes.insert("exposures", exposure())
        write(store, writes)
    _prepare(admin, _STEPS[:1], SCHEMA_NUMBER + 1)
    _prepare(admin, _STEPS[:1], SCHEMA_NUMBER + 1)
    assert admin.execute("SELECT mood FROM exposures").fetchall() == [("unknown",)]
    _prepare(admin, _STEPS, SCHEMA_NUMBER + 2)
    ((default,),) = admin.execute(
        "SELECT column_default FROM information_schema.columns WHERE column_name = 'mood'"
    ).fetchall()
    assert str(default).startswith("'fine'")
    with pytest.raises(HomeError, match=rf"schema {SCHEMA_NUMBER + 2}.*knows {SCHEMA_NUMBER}.*newer"):
        PostgresStore(database_url)


def test_a_step_that_fails_leaves_all_as_it_was(database_url: str, admin: psycopg.Connection) -> None:
    PostgresStore(database_url).close()
    broken = (_STEPS[0], Step(SCHEMA_NUMBER + 2, "ALTER TABLE nowhere ADD COLUMN a text"))
    with pytest.raises(psycopg.errors.UndefinedTable):
        _prepare(admin, broken, SCHEMA_NUMBER + 2)
    with closing(PostgresStore(database_url)) as store:
        assert store.meta("schema") == str(SCHEMA_NUMBER)
    with pytest.raises(psycopg.errors.UndefinedColumn):
        admin.execute("SELECT mood FROM exposures")


def test_several_bring_it_forward_once(database_url: str) -> None:
    PostgresStore(database_url).close()

    def forward(_: int) -> None:
        with psycopg.connect(database_url, autocommit=True) as db:
            _prepare(db, _STEPS, SCHEMA_NUMBER + 2)

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(forward, range(4))) == [None] * 4


# Read.


def test_the_reader_role_reads_all_but_what_is_sealed_and_writes_nothing(
    database_url: str, admin: psycopg.Connection
) -> None:
    with closing(PostgresStore(database_url, reader_role="Analysts of one company")) as store:
        writes = batch(store)
        writes.insert("exposures", exposure())
        writes.dead_letters.append(letter(1))
        write(store, writes)
    admin.execute('SET ROLE "Analysts of one company"')
    for name in [*(table.name for table in TABLES if table is not DEAD_LETTERS), *(view.name for view in VIEWS)]:
        admin.execute(sql.SQL("SELECT * FROM {}").format(sql.Identifier(name)))
    told = [sql.Identifier(column) for column in DEAD_LETTERS.names if column != "sealed"]
    query = sql.SQL("SELECT {} FROM dead_letters").format(sql.SQL(", ").join(told))
    assert [row[:2] for row in admin.execute(query).fetchall()] == [("id1", "not JSON")]
    assert admin.execute("SELECT exposures FROM version_daily").fetchall() == [(1,)]
    for forbidden in (
        "SELECT sealed FROM dead_letters",
        "SELECT * FROM dead_letters",
        "SELECT * FROM edgeloop.meta",
        "SELECT * FROM edgeloop.state_heads",
        "SELECT nextval('edgeloop.batches')",
        "DELETE FROM exposures",
        "INSERT INTO changes(change_id) VALUES ('x')",
        "CREATE TABLE public.mine(a int)",
        "DROP VIEW freshness",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            admin.execute(forbidden)
    admin.execute("RESET ROLE")
    ((can_login,),) = admin.execute(
        "SELECT rolcanlogin FROM pg_roles WHERE rolname = 'Analysts of one company'"
    ).fetchall()
    assert can_login is False
    # It keeps its rights when the views are made anew.
    _prepare_with(admin, "Analysts of one company")
    admin.execute('SET ROLE "Analysts of one company"')
    admin.execute("SELECT * FROM freshness")


def _prepare_with(db: psycopg.Connection, role: str) -> None:
    migrations.prepare(db, "the database", role, _STEPS, SCHEMA_NUMBER + 2)


def test_a_role_that_this_user_may_not_make_gets_its_rights_once_it_is_there(
    admin: psycopg.Connection, postgres_server: Postgres
) -> None:
    admin.execute("DROP ROLE IF EXISTS late_reader")
    url = as_user(admin, postgres_server, "modest_owner", "")
    database = sql.Identifier(admin.info.dbname)
    admin.execute(sql.SQL("ALTER DATABASE {} OWNER TO modest_owner").format(database))
    with closing(PostgresStore(url, reader_role="late_reader")) as store:
        assert store.meta("reader_role") is None
    admin.execute("CREATE ROLE late_reader NOLOGIN")
    with closing(PostgresStore(url, reader_role="late_reader")) as store:
        assert store.meta("reader_role") == "late_reader"
    admin.execute("SET ROLE late_reader")
    assert admin.execute("SELECT count(*) FROM freshness").fetchall() == [(6,)]


def test_nobody_gets_rights_where_no_role_is_named(database_url: str) -> None:
    with closing(PostgresStore(database_url, reader_role="")) as store:
        assert store.meta("reader_role") is None


def test_who_may_only_read_can_read_by_an_address_of_their_own(
    database_url: str, admin: psycopg.Connection, postgres_server: Postgres
) -> None:
    PostgresStore(database_url, reader_role="readers").close()
    url = as_user(admin, postgres_server, "analyst", "IN ROLE readers")
    with closing(PostgresReader(url, times="text")) as reader:
        assert reader.query("SELECT count(*) FROM exposures")[1] == [(0,)]
        with pytest.raises(StatementError, match="permission denied"):
            reader.query("SELECT sealed FROM dead_letters")
