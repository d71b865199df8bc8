"""One empty store of either kind, opened as often as a test wants, and what to fill it with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec
import pytest

from edgeloop.clock import iso
from edgeloop.events import decode, stamped
from edgeloop.store.base import Reader, Store, slot_of
from edgeloop.store.postgres import PostgresReader, PostgresStore
from edgeloop.store.reader import SqliteReader
from edgeloop.store.schema import INSERT_COLUMNS, Row, row
from edgeloop.store.sqlite import SqliteStore
from edgeloop.store.writes import Head, Writes

AT_US = 1_769_000_000_000_000
TOPIC = "edge.exposures"
IDENTITIES = {TOPIC: ("cluster", "topic-id")}


class Place:
    """Where one store is."""

    def __init__(self, kind: str, store: Callable[[], Store], reader: Callable[[], Reader]) -> None:
        self.kind = kind
        self._store = store
        self._reader = reader
        self._opened = ExitStack()

    def store(self) -> Store:
        """Another connection to it, closed when the test ends."""
        store = self._store()
        self._opened.callback(store.close)
        return store

    def reader(self) -> Reader:
        """Another reader of it, closed when the test ends."""
        reader = self._reader()
        self._opened.callback(reader.close)
        return reader

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """What a statement finds now."""
        reader = self._reader()
        try:
            return reader.query(sql)[1]
        finally:
            reader.close()

    def close(self) -> None:
        """Close what was opened."""
        self._opened.close()


STORES = ["sqlite", pytest.param("postgres", marks=pytest.mark.slow)]


def each_place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """Made a fixture by whoever imports it: an empty store of the kind that is its parameter."""
    if request.param == "sqlite":
        path = tmp_path / "store.sqlite"
        found = Place(request.param, lambda: SqliteStore(path), lambda: SqliteReader(path))
    else:
        url = request.getfixturevalue("database_url")
        found = Place(request.param, lambda: PostgresStore(url), lambda: PostgresReader(url))
    yield found
    found.close()


def batch(store: Store) -> Writes:
    """Empty writes of a new batch."""
    return Writes(store.new_batch())


def exposure(number: int = 0, **fields: Any) -> Row:
    """The row of an exposure."""
    body = {
        "type": "exposure",
        "exposure_id": f"e{number}",
        "subject": f"s{number}",
        "occurred_at": iso(AT_US + number),
        "touchpoint": "app_card",
        "model_id": "eta",
        "model_version": "2",
        **fields,
    }
    event = decode(msgspec.json.encode(body))
    return row("exposure", event, stamped(event))


def cell(found: Row, column: str, table: str = "exposures") -> Any:
    """One cell of a row."""
    return found[INSERT_COLUMNS[table].index(column)]


def changed(found: Row, table: str = "exposures", **cells: Any) -> Row:
    """The row with other cells."""
    return tuple(cells.get(name, value) for name, value in zip(INSERT_COLUMNS[table], found, strict=True))


def letter(number: int, source: str = "http", received_us: int = AT_US) -> Row:
    """The row of a dead letter."""
    return (f"id{number}", "not JSON", "cut off", source, "line 1", received_us, "ab", 3, b"\0\xff")


def head(key: str, shard: int, slot: int | None = None, **fields: Any) -> Head:
    """A head with something in every field."""
    whole = Head(
        slot_of(key, shard) if slot is None else slot, key, 5, 2, 1, 9, None, 7, False, b"i\0", b"", b"\xff" * 9
    )
    return msgspec.structs.replace(whole, **fields)


def write(store: Store, writes: Writes) -> None:
    """Write in a transaction of its own."""
    with store.transaction() as transaction:
        transaction.apply(writes, IDENTITIES)
