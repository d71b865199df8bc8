"""Stores of every schema that was released become stores of this one, without losing a row or a log record.

A fixture is a home that the code of its schema made: a few hundred events of `tests/worlds.py` under rules of its own,
most of them drained, the estimates of a month, dead letters. Its keys are its own and open nothing else.
"""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import Any

import apsw
import pytest

from edgeloop.app import upkeep
from edgeloop.app.process import process
from edgeloop.app.worker import Worker
from edgeloop.errors import HomeError
from edgeloop.events import STORED_TOPICS
from edgeloop.home import Home
from edgeloop.log.local import LocalLog
from edgeloop.settings import load
from edgeloop.store import upgrade as module
from edgeloop.store.bodies import sha256_of
from edgeloop.store.engine import FIRST_IN_PLACE
from edgeloop.store.reader import SqliteReader
from edgeloop.store.schema import EVENT_TABLES, INSERT_COLUMNS, SCHEMA_NUMBER, TABLES
from edgeloop.store.sqlite import SqliteStore
from streams import RulesMismatchError
from tests.fakes import FixedClock
from tests.pipeline import Abort, counts, expect, logged, tables

pytestmark = pytest.mark.usefixtures("ever")

FIXTURES = Path(__file__).parent / "fixtures"
RELEASED = range(1, SCHEMA_NUMBER)
FILLED_ANEW = range(1, FIRST_IN_PLACE)


def at_schema(schema: int, folder: Path) -> Home:
    """A copy of the fixture of a schema."""
    home = Home(folder / "home")
    shutil.copytree(FIXTURES / f"schema-{schema}", home.path)
    return home


@pytest.fixture(params=FILLED_ANEW)
def home(request: pytest.FixtureRequest, tmp_path: Path) -> Home:
    return at_schema(request.param, tmp_path)


def whole(store: Path, *names: str) -> dict[str, list[tuple[Any, ...]]]:
    """Tables as they are, sorted, with every column of the contract that the store has."""
    reader = SqliteReader(store)
    found = {}
    for table in TABLES:
        if table.name in names:
            there = {row[1] for row in reader.query(f"PRAGMA table_info({table.name})")[1]}
            if not there:  # the schema does not know it yet
                continue
            columns = ", ".join(f'"{name}"' for name in table.names if name in there)
            found[table.name] = sorted(reader.query(f"SELECT {columns} FROM {table.name}")[1], key=repr)
    reader.close()
    return found


def as_before(
    now: dict[str, list[tuple[Any, ...]]], kept: dict[str, list[tuple[Any, ...]]]
) -> dict[str, list[tuple[Any, ...]]]:
    """Rows of today without the columns that came later, which are empty: they stand at the end."""
    width = {name: len(rows[0]) for name, rows in kept.items()}
    assert all(cell is None for name, rows in now.items() for row in rows for cell in row[width[name] :])
    return {name: sorted((row[: width[name]] for row in rows), key=repr) for name, rows in now.items()}


def user_version(store: Path) -> int:
    db = apsw.Connection(str(store), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        return int(db.pragma("user_version"))
    finally:
        db.close()


def old_store(home: Home) -> Path:
    (path,) = home.path.glob("store.schema-*.sqlite")
    return path


@pytest.mark.parametrize("schema", RELEASED)
def test_every_released_schema_has_its_fixture(schema: int) -> None:
    store = FIXTURES / f"schema-{schema}" / "store.sqlite"
    assert store.exists(), f"make a home with the code of schema {schema}, as {FIXTURES / 'schema-1'} was made"
    assert user_version(store) == schema
    found = whole(store, *(table.name for table in TABLES))
    assert [name for name, rows in found.items() if not rows] == []
    assert sum(path.stat().st_size for path in store.parent.rglob("*") if path.is_file()) < 410 << 10


def test_the_tables_are_those_of_the_log_and_what_no_log_holds_is_kept(
    home: Home, caplog: pytest.LogCaptureFixture
) -> None:
    settings = load(home.path)
    before = user_version(home.store)
    first_bytes = home.store.read_bytes()
    kept = whole(home.store, "estimates", "checks", "dead_letters")
    drained_before = counts(home.path).drained
    with caplog.at_level(logging.WARNING):
        process(home, settings)
    assert user_version(home.store) == SCHEMA_NUMBER
    old = old_store(home)
    assert old.name == f"store.schema-{before}.sqlite"
    assert user_version(old) == before
    assert [record.getMessage() for record in caplog.records] == [f"{module_words()} detail={old.name}"]
    bodies, undecodable = logged(home.path)
    expect(tables(home.path), bodies, settings.attribution)
    found = counts(home.path)
    assert found.balanced
    assert found.drained == len(bodies) + undecodable > drained_before
    now = whole(home.store, "estimates", "checks", "dead_letters")
    # The worker seals what it cannot read anew: the last column is other bytes for the same.
    assert [row[:-1] for row in now.pop("dead_letters")] == [row[:-1] for row in kept.pop("dead_letters")]
    assert as_before(now, kept) == kept
    assert len(old.read_bytes()) == len(first_bytes)
    caplog.clear()
    process(home, settings)
    assert not caplog.records


def module_words() -> str:
    from edgeloop.app.process import _UPGRADED

    return _UPGRADED


def test_what_was_drained_before_has_the_same_rows_as_then(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """The log cut to what the old store had seen: every table is the old one's, under the rules of then."""
    monkeypatch.setenv("EDGELOOP_ATTRIBUTION_DELIVERY_WINDOW_DAYS", "0")
    old = whole(home.store, *(table.name for table in TABLES))
    starts = {(row[0], row[1]): row[2] for row in old["offsets"]}
    db = apsw.Connection(str(home.log))
    topics = dict(db.execute("SELECT name, number FROM topics"))
    for (topic, part), offset in starts.items():
        place = (topics[topic] << 12 | part) << 40
        db.execute("DELETE FROM records WHERE place >= ? AND place < ?", (place + offset, place + (1 << 40)))
        db.execute("UPDATE ends SET next_offset = ? WHERE place = ?", (offset, place))
    db.close()
    process(home, load(home.path))
    compared = [table.name for table in TABLES if table.name != "dead_letters"]
    new = whole(home.store, *compared)
    for name in old.keys() & set(compared):
        have = len(old[name][0])
        assert [with_hash(name, row)[:have] for row in new[name]] == old[name], name


def with_hash(table: str, row: tuple[Any, ...]) -> tuple[Any, ...]:
    """A row with the hash of its body, which older versions stored of every event."""
    kind = next((kind for kind, found in EVENT_TABLES.items() if found.name == table), None)
    if kind is None:
        return row
    cells = dict(zip(EVENT_TABLES[kind].names, row, strict=True))
    digest = sha256_of(kind, tuple(cells[name] for name in INSERT_COLUMNS[table]))
    return tuple((cells | {"body_sha256": digest}).values())


def test_the_worker_does_the_same(home: Home) -> None:
    ended: list[bool] = []
    worker = Worker(home, load(home.path), lambda: ended.append(True), FixedClock(0))
    worker.start()
    assert worker.caught_up.wait(30)
    assert worker.stop(30)
    assert worker.failure is None
    expect(tables(home.path), logged(home.path)[0], load(home.path).attribution)
    assert old_store(home).exists()


def test_a_log_that_lost_its_beginning_is_refused(home: Home) -> None:
    before = home.store.read_bytes()
    log = LocalLog(home.log)
    (topic, part), end = max(
        ((tp, end) for tp, end in log.end_offsets().items() if tp[0] in STORED_TOPICS), key=lambda of: of[1]
    )
    log.close()
    assert end
    db = apsw.Connection(str(home.log))
    ((number,),) = db.execute("SELECT number FROM topics WHERE name = ?", (topic,))
    db.execute("DELETE FROM records WHERE place = ?", ((number << 12 | part) << 40,))
    db.close()
    with pytest.raises(HomeError, match=f"no longer begins with its first record .pruned: {topic}/{part}."):
        process(home, load(home.path))
    assert home.store.read_bytes() == before


def test_another_log_and_a_shorter_one_are_refused(home: Home, tmp_path: Path) -> None:
    db = apsw.Connection(str(home.log))
    db.execute("UPDATE ends SET next_offset = next_offset - 5")
    db.close()
    with pytest.raises(HomeError, match="Restore the log from its backup"):
        process(home, load(home.path))
    home.log.unlink()
    with pytest.raises(HomeError, match="another log"):
        process(home, load(home.path))
    assert user_version(home.store) < SCHEMA_NUMBER


def test_the_rules_go_with_the_tables(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGELOOP_ATTRIBUTION_CREDIT_RULE", "linear")
    with pytest.raises(RulesMismatchError, match="was position_based and is linear"):
        process(home, load(home.path))


def test_a_reader_that_stays_is_asked_to_go(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its log of writes would stay behind, and be taken for the new store's."""
    monkeypatch.setattr(module, "BUSY_MS", 10)
    writer = apsw.Connection(str(home.store))
    writer.pragma("journal_mode", "wal")
    writer.execute("INSERT INTO meta VALUES ('open', '1')")
    with pytest.raises(HomeError, match="another program has it open"):
        process(home, load(home.path))
    assert user_version(home.store) < SCHEMA_NUMBER
    writer.close()
    process(home, load(home.path))
    assert user_version(home.store) == SCHEMA_NUMBER


@pytest.mark.parametrize("place", ["_fill", "_close_for_good", "_link", "replace"])
def test_interrupted_anywhere_it_goes_on(home: Home, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = whole(home.store, "estimates", "checks")

    def end_here(*_args: object) -> None:
        raise Abort

    with monkeypatch.context() as patch:
        patch.setattr(Path if place == "replace" else module, place, end_here)
        with pytest.raises(Abort):
            process(home, load(home.path))
    assert user_version(home.store) < SCHEMA_NUMBER
    process(home, load(home.path))
    assert as_before(whole(home.store, "estimates", "checks"), kept) == kept
    expect(tables(home.path), logged(home.path)[0], load(home.path).attribution)
    assert user_version(old_store(home)) < SCHEMA_NUMBER


def test_a_disk_that_knows_no_second_names(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = whole(home.store, "estimates", "checks")

    def no_links(*_args: object) -> None:
        raise OSError("no links here")

    def end_here(*_args: object) -> None:
        raise Abort

    monkeypatch.setattr("os.link", no_links)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", end_here)
        with pytest.raises(Abort):
            process(home, load(home.path))
    assert not home.store.exists()
    process(home, load(home.path))
    assert as_before(whole(home.store, "estimates", "checks"), kept) == kept
    assert old_store(home).exists()


def test_nothing_is_written_over(home: Home) -> None:
    there = module.moved_to(home.store, user_version(home.store))
    there.write_text("mine")
    with pytest.raises(HomeError, match="move that elsewhere"):
        process(home, load(home.path))
    assert there.read_text() == "mine"
    assert user_version(home.store) < SCHEMA_NUMBER


# Newer ones only lack tables, and get them where they are.


@pytest.fixture(params=range(FIRST_IN_PLACE, SCHEMA_NUMBER))
def recent(request: pytest.FixtureRequest, tmp_path: Path) -> Home:
    return at_schema(request.param, tmp_path)


def test_a_recent_store_gets_what_it_lacks_and_keeps_every_row(recent: Home) -> None:
    before = whole(recent.store, *(table.name for table in TABLES))
    SqliteStore(recent.store).close()
    assert user_version(recent.store) == SCHEMA_NUMBER
    after = whole(recent.store, *(table.name for table in TABLES))
    assert as_before({name: after[name] for name in before}, before) == before
    assert list(after) == [table.name for table in TABLES]
    assert [name for name in after if name not in before] in ([], ["actions", "action_history", "notices"])
    upkeep.recompute_home(recent, load(recent.path))
    process(recent, load(recent.path))
    assert not list(recent.path.glob("store.schema-*"))
    expect(tables(recent.path), logged(recent.path)[0], load(recent.path).attribution)


def test_tables_from_before_there_was_a_delivery_window(recent: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is drained under two rules: a person recomputes once, or keeps the rule of then."""
    SqliteStore(recent.store).close()
    before = tables(recent.path)["attributions"]
    new = r"other rules: delivery_window_days was 0 and is 120 \(new in this version"
    with pytest.raises(RulesMismatchError, match=new) as refused:
        process(recent, load(recent.path))
    assert "Run `edgeloop recompute` once, or keep the tables as they are with that setting at 0" in str(refused.value)
    assert tables(recent.path)["attributions"] == before
    with monkeypatch.context() as patch:
        patch.setenv("EDGELOOP_ATTRIBUTION_DELIVERY_WINDOW_DAYS", "0")
        settings = load(recent.path)
        assert upkeep.recompute_home(recent, settings) is None
        process(recent, settings)
        expect(tables(recent.path), logged(recent.path)[0], settings.attribution)
    # What was drained since is under the rule of then too, by its name now.
    with pytest.raises(
        RulesMismatchError, match=r"delivery_window_days was 0 and is 120\. Run `edgeloop recompute`, or"
    ):
        process(recent, load(recent.path))
    assert upkeep.recompute_home(recent, load(recent.path))
    process(recent, load(recent.path))
    expect(tables(recent.path), logged(recent.path)[0], load(recent.path).attribution)
    assert tables(recent.path)["attributions"] != before


def test_a_recent_store_and_a_new_one_have_the_same_layout(recent: Home, tmp_path: Path) -> None:
    SqliteStore(recent.store).close()
    SqliteStore(tmp_path / "new.sqlite").close()

    def layout(path: Path) -> set[tuple[Any, ...]]:
        reader = SqliteReader(path)
        found = reader.query("SELECT type, name, sql FROM sqlite_schema WHERE name NOT LIKE 'superseded%'")[1]
        reader.close()
        return {(kind, name, " ".join((sql or "").split())) for kind, name, sql in found}

    assert layout(recent.store) == layout(tmp_path / "new.sqlite")


def test_a_recent_store_whose_log_was_pruned_is_brought_forward_too(recent: Home) -> None:
    before = whole(recent.store, "exposures")
    recent.log.unlink()
    SqliteStore(recent.store).close()
    assert whole(recent.store, "exposures") == before
