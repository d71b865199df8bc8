"""One month of events by six ways: every way gives the same tables."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edgeloop.log.base import Log
from edgeloop.log.local import LocalLog
from edgeloop.settings import AttributionSettings
from edgeloop.store.base import Store
from edgeloop.store.postgres import PostgresReader, PostgresStore
from edgeloop.store.reader import SqliteReader
from edgeloop.store.sqlite import SqliteStore
from streams import Drain, Rules
from tests.chaos.load import worlds
from tests.pipeline import SEALER, Body, entry, expect, tables_of
from tests.real.company import Company
from tests.real.kafka import Broker
from tests.real.postgres import Postgres

pytestmark = pytest.mark.slow

Tables = dict[str, list[tuple[Any, ...]]]


def in_order() -> list[Body]:
    bodies = [body for _, of_world in zip(range(12), worlds(21, 80), strict=False) for body in of_world]
    return sorted(bodies, key=lambda body: str(body["occurred_at"]))


def late_and_twice(bodies: list[Body], rng: random.Random) -> list[Body]:
    """One in twenty comes twice, exposures come hours late, and nothing is in order."""
    again = rng.choices(bodies, k=len(bodies) // 20)
    late = [body for body in bodies if body["type"] == "exposure" and rng.random() < 0.3]
    early = [body for body in bodies if not any(body is other for other in late)]
    rng.shuffle(early)
    rng.shuffle(late)
    return [*early, *again, *late]


@pytest.fixture(scope="module")
def bodies() -> list[Body]:
    return in_order()


@pytest.fixture(scope="module")
def wanted(bodies: list[Body], tmp_path_factory: pytest.TempPathFactory) -> Tables:
    """From the local log, in order, in SQLite; held to the oracle."""
    folder = tmp_path_factory.mktemp("wanted")
    log = LocalLog(folder / "log.sqlite")
    log.append([entry(body) for body in bodies])
    drained(log, SqliteStore(folder / "store.sqlite"))
    found = tables_of(SqliteReader(folder / "store.sqlite"))
    expect(found, bodies, AttributionSettings())
    return found


def drained(log: Log, store: Store) -> None:
    Drain(log, store, Rules.of(AttributionSettings()), SEALER, max_records=300).run()
    store.close()
    log.close()


@pytest.fixture(params=["local log", "kafka"])
def log(request: pytest.FixtureRequest, tmp_path: Path, kafka_broker: Broker, topic_prefix: str) -> Iterator[Log]:
    if request.param == "local log":
        yield LocalLog(tmp_path / "log.sqlite")
        return
    with Company(kafka_broker, topic_prefix, tmp_path) as company:
        company.create_topics(4)
        yield company.log()


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
@pytest.mark.parametrize("order", ["in order", "late and twice"])
def test_the_tables_are_the_same(
    log: Log, kind: str, order: str, bodies: list[Body], wanted: Tables, tmp_path: Path, postgres_server: Postgres
) -> None:
    sent = bodies if order == "in order" else late_and_twice(bodies, random.Random(5))
    for start in range(0, len(sent), 500):
        log.append([entry(body) for body in sent[start : start + 500]])
    if kind == "sqlite":
        drained(log, SqliteStore(tmp_path / "store.sqlite"))
        found = tables_of(SqliteReader(tmp_path / "store.sqlite"))
    else:
        url = postgres_server.create_database()
        drained(log, PostgresStore(url))
        found = tables_of(PostgresReader(url))
    for table, rows in wanted.items():
        assert found[table] == rows, table
