"""The store that the settings name: a SQLite file in the home, or a PostgreSQL database."""

from __future__ import annotations

from typing import Literal

from edgeloop.home import Home
from edgeloop.settings import Settings
from edgeloop.store.base import Reader, Store
from edgeloop.store.reader import SqliteReader
from edgeloop.store.sqlite import SqliteStore


def on_postgres(home: Home, settings: Settings) -> bool:
    """Whether a home's tables are in PostgreSQL. A simulation's never are: its events are no company's."""
    return bool(settings.store.url) and not home.simulated


def open_store(home: Home, settings: Settings) -> Store:
    """A connection that writes; it makes the tables where there are none.

    Raises:
        HomeError: it cannot be opened, or another version made it.
    """
    if on_postgres(home, settings):
        from edgeloop.store.postgres import PostgresStore

        return PostgresStore(settings.store.url, reader_role=settings.store.reader_role)
    return SqliteStore(home.store)


def open_reader(home: Home, settings: Settings, *, times: Literal["us", "text"] = "us") -> Reader:
    """A connection that reads; ``times`` says how PostgreSQL's times come.

    Raises:
        HomeError: there is no store yet, or it cannot be opened.
    """
    if on_postgres(home, settings):
        from edgeloop.store.postgres import PostgresReader

        return PostgresReader(settings.store.url, times=times)
    return SqliteReader(home.store)
