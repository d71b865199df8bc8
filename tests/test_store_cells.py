"""What every store's cells hold and its readers give back, for SQLite and for PostgreSQL."""

from __future__ import annotations

import pytest

from edgeloop.store.base import StatementError
from tests.stores import STORES, Place, batch, cell, changed, each_place, exposure, write

place = pytest.fixture(params=STORES)(each_place)


# What a cell can hold.

_TEXTS = (
    "", "\\N", "\\", "a\tb\nc\r\\d", "'\"`", "😀ÄÖ\u2028", "\ufffd", "NULL", "%s %% ?", "\x01\x7f", " x ",
    "x" * 300_000,
)  # fmt: skip


@pytest.mark.parametrize("text", _TEXTS, ids=range(len(_TEXTS)))
def test_every_text_comes_back(place: Place, text: str) -> None:
    store = place.store()
    writes = batch(store)
    row = changed(exposure(), error=text, exposure_id=text, courier=None, extra=text)
    number = writes.insert("exposures", row)
    write(store, writes)
    assert store.row("exposures", number) == row
    assert place.reader().query("SELECT rowid FROM exposures WHERE error = ?", (text,))[1] == [(number,)]
    assert place.rows("SELECT count(*) FROM exposures WHERE courier IS NULL AND error IS NOT NULL") == [(1,)]


@pytest.mark.parametrize("number", [2**63 - 1, -(2**63), 0, 2**53 + 1])
def test_every_integer_comes_back(place: Place, number: int) -> None:
    store = place.store()
    writes = batch(store)
    rowid = writes.insert("exposures", changed(exposure(), features=number, revision=number))
    write(store, writes)
    assert cell(store.row("exposures", rowid), "features") == number


@pytest.mark.parametrize("number", [1.7976931348623157e308, 5e-324, -0.1, 0.1 + 0.2, 1e22, 3])
def test_every_number_comes_back(place: Place, number: float) -> None:
    store = place.store()
    writes = batch(store)
    rowid = writes.insert("exposures", changed(exposure(), latency_ms=number))
    write(store, writes)
    found = cell(store.row("exposures", rowid), "latency_ms")
    assert (type(found), found) == (float, number)


@pytest.mark.parametrize(
    "text",
    [
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59.999999-14:00",
        "1969-12-31T23:59:59.999999Z",
        "1970-01-01T00:00:00Z",
    ],
)
def test_every_time_that_an_event_can_have_comes_back(place: Place, text: str) -> None:
    store = place.store()
    writes = batch(store)
    row = exposure(occurred_at=text)
    us = cell(row, "occurred_at")
    rowid = writes.insert("exposures", row)
    write(store, writes)
    assert store.row("exposures", rowid) == row
    reader = place.reader()
    assert reader.query("SELECT occurred_at FROM exposures")[1] == [(us,)]
    for operator, shift, hits in (("=", 0, 1), ("<", 0, 0), ("<", 1, 1), (">", -1, 1)):
        where = f"occurred_at {operator} {reader.moment(us + shift)}"
        assert reader.query(f"SELECT count(*) FROM exposures WHERE {where}")[1] == [(hits,)], where


# Reading.


def test_a_reader_names_columns_and_takes_bindings(place: Place) -> None:
    store = place.store()
    writes = batch(store)
    writes.insert("exposures", exposure(1))
    write(store, writes)
    reader = place.reader()
    assert reader.query("SELECT exposure_id AS id, revision FROM exposures WHERE 1 = 0") == (["id", "revision"], [])
    sql = "SELECT '?%''?', exposure_id, revision + ? -- ? %\nFROM exposures /* ? */ WHERE subject = ? AND '%' = '%'"
    assert reader.query(sql, (4, "s1"))[1] == [("?%'?", "e1", 4)]
    assert reader.query("SELECT '50 %', sum(revision), avg(revision), count(*) FROM exposures")[1] == [
        ("50 %", 0, 0.0, 1)
    ]
    day = reader.day("occurred_at")
    assert reader.query(f"SELECT {day} FROM exposures")[1] == [("2026-01-21",)]


@pytest.mark.parametrize(
    "sql",
    ["SELEC 1", "SELECT * FROM nowhere", "SELECT no FROM exposures", "DELETE FROM exposures", "CREATE TABLE t(a int)"],
)
def test_a_reader_refuses_what_is_wrong_or_writes(place: Place, sql: str) -> None:
    place.store()
    reader = place.reader()
    with pytest.raises(StatementError):
        reader.query(sql)
    assert reader.query("SELECT count(*) FROM exposures")[1] == [(0,)]


def test_a_snapshot_sees_one_moment(place: Place) -> None:
    store, reader = place.store(), place.reader()
    with reader.snapshot():
        assert reader.query("SELECT count(*) FROM exposures")[1] == [(0,)]
        writes = batch(store)
        writes.insert("exposures", exposure())
        write(store, writes)
        assert reader.query("SELECT count(*) FROM exposures")[1] == [(0,)]
    assert reader.query("SELECT count(*) FROM exposures")[1] == [(1,)]


def test_text_sorts_by_its_bytes(place: Place) -> None:
    store = place.store()
    ids = ["B", "a", "Z", "ä", "_", "a b", "a-b", "ab", "Ä", "😀", "\uffff"]
    writes = batch(store)
    for name in ids:
        writes.insert("exposures", exposure(exposure_id=name))
    write(store, writes)
    found = [name for (name,) in place.rows("SELECT exposure_id FROM exposures ORDER BY exposure_id")]
    assert found == sorted(ids, key=str.encode)
