"""As whom `edgeloop sql` connects to PostgreSQL: somebody who may only read, or not at all."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from psycopg import sql

from edgeloop.app.sql import ask_store
from edgeloop.errors import HomeError
from edgeloop.home import Home
from edgeloop.settings import Settings, StoreSettings
from edgeloop.store.postgres import PostgresStore
from edgeloop.store.schema import EXPOSURES
from tests.stores import batch, exposure, write


def _of_user(url: str, name: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=f"{name}:its-password@{parts.netloc.rpartition('@')[2]}"))


@pytest.mark.slow
def test_on_postgres_nobody_who_may_more_is_asked(database_url: str, tmp_path: Path) -> None:
    PostgresStore(database_url, reader_role="edgeloop_reader").close()
    name, home = f"analyst_{os.getpid()}", Home(tmp_path)
    url = _of_user(database_url, name)
    with psycopg.connect(database_url, autocommit=True) as db:
        db.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'its-password'").format(sql.Identifier(name)))
        # The store's own user may not make another, and is none that only reads.
        settings = Settings(store=StoreSettings(url=database_url, reader_role=""))
        with pytest.raises(HomeError, match=r"may write the tables.*EDGELOOP_STORE_READER_URL"):
            ask_store(home, settings, "SELECT 1")
        settings = Settings(store=StoreSettings(url=database_url, reader_url=database_url))
        with pytest.raises(HomeError, match="may write the tables"):
            ask_store(home, settings, "SELECT 1")
        db.execute(sql.SQL("GRANT edgeloop_reader TO {}").format(sql.Identifier(name)))
        settings = Settings(store=StoreSettings(url=database_url, reader_url=url))
        assert ask_store(home, settings, "SELECT session_user").rows == [(name,)]
        assert ask_store(home, settings, "SELECT count(*) FROM exposures").rows == [(0,)]
        # An analyst's own machine knows no other user.
        assert ask_store(home, Settings(store=StoreSettings(url=url)), "SELECT session_user").rows == [(name,)]
        db.execute(sql.SQL("GRANT UPDATE ON exposures TO {}").format(sql.Identifier(name)))
        with pytest.raises(HomeError, match=f"{name} may write"):
            ask_store(home, settings, "SELECT 1")
        db.execute(sql.SQL("DROP OWNED BY {0}; DROP ROLE {0}").format(sql.Identifier(name)))


@pytest.mark.slow
def test_several_ask_postgres_at_once(database_url: str, tmp_path: Path) -> None:
    PostgresStore(database_url, reader_role="edgeloop_reader").close()
    settings = Settings(store=StoreSettings(url=database_url))

    def ask(_: int) -> object:
        return ask_store(Home(tmp_path), settings, "SELECT count(*) FROM exposures").rows

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, range(24))) == [[(0,)]] * 24


@pytest.mark.slow
def test_the_number_of_a_row_is_in_no_select_star(database_url: str, tmp_path: Path) -> None:
    store = PostgresStore(database_url, reader_role="edgeloop_reader")
    writes = batch(store)
    writes.insert("exposures", exposure(1))
    write(store, writes)
    store.close()
    settings = Settings(store=StoreSettings(url=database_url))
    whole = ask_store(Home(tmp_path), settings, "SELECT * FROM exposures")
    assert whole.names == list(EXPOSURES.names)
    assert [len(row) for row in whole.rows] == [len(whole.kinds)] == [len(whole.names)]
    assert ask_store(Home(tmp_path), settings, "SELECT rowid FROM exposures").names == ["rowid"]
