"""The same log gives the same tables, views and freezes in SQLite and in PostgreSQL, whoever drained it and how."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import closing, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from threading import Thread
from typing import Any

import pandas as pd
import pytest

from analysis import ledger
from edgeloop.app import monthly
from edgeloop.clock import to_us
from edgeloop.horizon import Horizon
from edgeloop.log.base import Entry
from edgeloop.log.local import LocalLog
from edgeloop.months import Month
from edgeloop.settings import AttributionSettings, Settings
from edgeloop.store import freeze
from edgeloop.store.base import Reader, Store
from edgeloop.store.freeze import write_freeze
from edgeloop.store.postgres import PostgresReader, PostgresStore
from edgeloop.store.reader import SqliteReader
from edgeloop.store.schema import CHANGES, DEAD_LETTERS, EXPOSURES, TABLES
from edgeloop.store.sqlite import SqliteStore
from edgeloop.store.views import VIEWS
from streams import Drain, Rules, prune, recompute
from streams.drain import Lane
from tests.pipeline import SEALER, Body, entry, expect, in_order, small_rooms, tables_of
from tests.strategies import RULES
from tests.worlds import shuffled_with_duplicates, world

pytestmark = pytest.mark.slow

SEEDS = range(6)
FEBRUARY = Month.parse("2026-02", "Europe/Berlin")


class Pair:
    """One log, and both stores that it is drained into."""

    def __init__(self, folder: Path, url: str) -> None:
        self.log = LocalLog(folder / "log.sqlite", partitions=4)
        self._path = folder / "store.sqlite"
        self._url = url
        self.stores: tuple[Store, Store] = (SqliteStore(self._path), PostgresStore(url))

    def readers(self) -> tuple[Reader, Reader]:
        """A reader of each."""
        return SqliteReader(self._path), PostgresReader(self._url)

    def close(self) -> None:
        """Close everything."""
        self.log.close()
        for store in self.stores:
            store.close()

    def drain(self, settings: AttributionSettings, max_records: int = 20_000) -> None:
        """Drain the log into both."""
        for store in self.stores:
            Drain(self.log, store, Rules.of(settings), SEALER, max_records=max_records).run()

    def both(self, sql: str) -> list[list[tuple[Any, ...]]]:
        """What a statement finds in each."""
        found = []
        for reader in self.readers():
            with closing(reader):
                found.append(in_order(reader.query(sql)[1]))
        return found


@pytest.fixture
def pair(tmp_path: Path, database_url: str) -> Iterator[Pair]:
    with closing(Pair(tmp_path, database_url)) as made:
        yield made


def settings_of(seed: int) -> AttributionSettings:
    return AttributionSettings(
        credit_rule=RULES[seed % len(RULES)],
        max_touches=(50, 2)[seed % 2],
        engagement_window_h=(72, 1)[seed % 2],
        delivery_window_days=(20, 120, 0)[seed % 3],
    )


def some_world(seed: int, size: int = 150) -> list[Body]:
    rng = random.Random(seed)
    return shuffled_with_duplicates(rng, world(rng, size, mixed_keys=seed % 2 == 0), 0.1)


def append(pair: Pair, bodies: Sequence[Body]) -> None:
    pair.log.append([entry(body) for body in bodies])


def assert_equal(pair: Pair) -> None:
    for table in TABLES:
        # The same bytes are sealed anew by each worker.
        columns = ", ".join(f'"{name}"' for name in table.names if (table, name) != (DEAD_LETTERS, "sealed"))
        sqlite, postgres = pair.both(f"SELECT {columns} FROM {table.name}")
        assert sqlite == postgres, table.name
    sqlite, postgres = pair.both("SELECT name, label, value FROM counters WHERE name NOT LIKE '%\\_us' ESCAPE '\\'")
    assert sqlite == postgres


@pytest.mark.parametrize("seed", SEEDS)
def test_the_same_log_gives_the_same_tables(pair: Pair, seed: int) -> None:
    bodies, settings = some_world(seed), settings_of(seed)
    with small_rooms() if seed % 2 else nullcontext():
        append(pair, bodies[:60])
        pair.log.append([Entry("edge.exposures", "k", b"no JSON"), Entry("feedback.responses", "k", b"{}")])
        pair.drain(settings, max_records=7)
        append(pair, bodies[60:])
        pair.drain(settings, max_records=40)
    assert_equal(pair)
    expect(tables_of(pair.readers()[1]), bodies, settings)


@pytest.mark.parametrize("seed", SEEDS)
def test_views_and_freezes_are_the_same(pair: Pair, tmp_path: Path, seed: int) -> None:
    bodies = some_world(seed, 250)
    bodies.append(
        {
            "type": "exposure", "exposure_id": "minus nothing", "subject": "s", "occurred_at": "2026-02-03T00:00:00Z",
            "touchpoint": "t", "model_id": "m", "model_version": "1", "latency_ms": -0.0,
            "received_at": "2026-03-03T00:00:00Z",
        }
    )  # fmt: skip
    append(pair, bodies)
    pair.drain(settings_of(seed))
    for view in VIEWS:
        sqlite, postgres = pair.both(f"SELECT * FROM {view.name}")
        assert sqlite, view.name
        assert len(sqlite) == len(postgres)
        for one, other in zip(sqlite, postgres, strict=True):
            assert [type(cell) for cell in one] == [type(cell) for cell in other], view.name
            for cell, cell_of_other in zip(one, other, strict=True):
                # The order of a sum is each database's own.
                close = isinstance(cell, float) and cell == pytest.approx(cell_of_other, rel=1e-12)
                assert close or cell == cell_of_other, (view.name, one, other)
    freezes = []
    for name, reader in zip(("sqlite", "postgres"), pair.readers(), strict=True):
        with closing(reader):
            freeze = write_freeze(
                reader,
                tmp_path / name,
                FEBRUARY,
                settings=Settings(timezone=FEBRUARY.timezone),
                since_us=FEBRUARY.previous().previous().start_us,
                provisional=False,
                simulated=False,
            )
        freezes.append({path.name: path.read_bytes() for path in freeze.path.iterdir()})
        assert freeze.manifest.tables["exposures"].rows > 10
    assert freezes[0].keys() == freezes[1].keys()
    assert [name for name in freezes[0] if freezes[0][name] != freezes[1][name]] == []


def test_rows_come_by_pages_of_one_moment(pair: Pair) -> None:
    bodies = some_world(1)
    append(pair, bodies[:100])
    pair.drain(settings_of(1))
    sql = "SELECT event_id, occurred_at, value FROM engagement ORDER BY occurred_at, event_id"
    for store, reader in zip(pair.stores, pair.readers(), strict=True):
        with closing(reader):
            with reader.snapshot():
                expected = reader.query(sql)[1]
                pages = reader.pages(sql, 3)
                first = next(pages)
                append(pair, bodies[100:])
                Drain(pair.log, store, Rules.of(settings_of(1)), SEALER).run()
                rest = list(pages)
            assert {len(page) for page in (first, *rest[:-1])} == {3}
            assert [row for page in (first, *rest) for row in page] == expected
            assert len(reader.query(sql)[1]) > len(expected)


def test_the_ledger_of_the_live_store_is_that_of_its_tables(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monthly, "_ROWS_AT_ONCE", 11)
    append(pair, some_world(3, 250))
    pair.drain(settings_of(3))
    for reader in pair.readers():
        with closing(reader):
            tables = {}
            for table, order in ((EXPOSURES, "occurred_at"), (CHANGES, "occurred_at, change_id")):
                names, rows = reader.query(f"SELECT {', '.join(table.names)} FROM {table.name} ORDER BY {order}")
                tables[table.name] = pd.DataFrame(rows, columns=names)
            found = monthly.live_ledger(reader, "Europe/Berlin", 0)
            assert found == ledger(tables, timezone="Europe/Berlin")
            assert found


def test_clocks_that_were_never_set_are_dead_letters_and_no_part_of_the_ledger(pair: Pair) -> None:
    def shown(n: int, at: str) -> Body:
        return {
            "type": "exposure", "exposure_id": f"x{n}", "subject": f"{n:026d}", "occurred_at": at, "model_id": "eta",
            "model_version": f"v{n % 2}", "touchpoint": "card", "arm": ("stable", "canary")[n % 2], "rollout_id": "r",
        }  # fmt: skip

    earliest_us = to_us(datetime(2015, 1, 1, tzinfo=UTC))
    append(pair, [shown(0, "2026-02-01T10:00:00Z"), shown(1, "2026-02-02T10:00:00Z"), shown(3, "1970-01-01T00:00:07Z")])
    pair.drain(settings_of(0))  # as a version did that knew no bound
    append(pair, [shown(5, "0001-01-01T00:00:00Z"), shown(7, "2014-12-31T23:59:59Z")])
    for store in pair.stores:
        Drain(pair.log, store, Rules.of(settings_of(0)), SEALER, earliest_us=earliest_us).run()
    assert pair.both("SELECT reason, count(*) FROM dead_letters GROUP BY reason") == [[("before_earliest", 2)]] * 2
    assert pair.both("SELECT count(*) FROM exposures") == [[(3,)]] * 2
    for reader in pair.readers():
        with closing(reader):
            (change,) = monthly.live_ledger(reader, "America/New_York", earliest_us)
            assert change.start_us == to_us(datetime(2026, 2, 1, 10, tzinfo=UTC))
            assert freeze.begins_us(reader, earliest_us) == to_us(datetime(2026, 2, 1, 10, tzinfo=UTC))


@pytest.mark.parametrize("seed", SEEDS[:3])
def test_other_rules_and_a_prune_come_out_the_same(pair: Pair, seed: int) -> None:
    with small_rooms() if seed % 2 else nullcontext():
        append(pair, some_world(seed))
        pair.drain(settings_of(seed), max_records=30)
        other = Rules.of(settings_of(seed + 1))
        window_us = max(other.engagement_window_us, other.answer_window_us, other.delivery_window_us)
        for store in pair.stores:
            recompute(store, other)
        assert_equal(pair)
        for store in pair.stores:
            prune(store, Horizon(FEBRUARY.start_us, FEBRUARY.start_us - window_us))
        assert_equal(pair)
        for store in pair.stores:
            assert store.keys_after(-1, 10_000) == pair.stores[0].keys_after(-1, 10_000)


@pytest.mark.parametrize("seed", SEEDS[:3])
def test_workers_side_by_side_make_what_one_makes(pair: Pair, database_url: str, seed: int) -> None:
    bodies, settings = some_world(seed, 400), settings_of(seed)
    append(pair, bodies)
    errors: list[BaseException] = []

    def work(number: int) -> None:
        try:
            with closing(PostgresStore(database_url)) as store:
                # Lanes of which each works on every other's keys: partitions of three, shards of all.
                Drain(pair.log, store, Rules.of(settings), SEALER, max_records=15, lane=Lane(number, 3)).run()
        except BaseException as error:
            errors.append(error)

    threads = [Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    with closing(PostgresStore(database_url)) as store:
        # What one lane left for a courier's key of another after that one had ended.
        Drain(pair.log, store, Rules.of(settings), SEALER).run()
    expect(tables_of(pair.readers()[1]), bodies, settings)
