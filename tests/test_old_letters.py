"""Dead letters are kept 30 days and then go by themselves, whoever drains; what is not drained stays, and counts do."""

from __future__ import annotations

import logging
from base64 import b64encode
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import apsw
import pytest

from edgeloop import sealing
from edgeloop.app.finding import Finding
from edgeloop.app.old_letters import let_old_letters_go
from edgeloop.app.process import process
from edgeloop.app.worker import Worker
from edgeloop.clock import DAY_US, HOUR_US
from edgeloop.events import DEAD_LETTERS_TOPIC, STORED_TOPICS
from edgeloop.home import SEALING_KEY, Home
from edgeloop.log.base import Entry
from edgeloop.log.local import LocalLog
from edgeloop.months import Month
from edgeloop.sealing import DeadLetter, Sealer
from edgeloop.settings import Settings, StoreSettings
from edgeloop.store import freeze
from edgeloop.store.opening import open_reader
from edgeloop.store.reader import SqliteReader
from edgeloop.store.sqlite import SqliteStore
from tests.fakes import FixedClock, at
from tests.pipeline import COUNTS, entry
from tests.stores import STORES
from tests.test_doctor import findings
from tests.test_metrics_endpoint import engagement
from tests.test_up import soon

CAME = at("2026-02-03T12:00:00Z")
LATER = CAME + 2 * DAY_US
"""When the younger ones came."""
OLD = CAME + 31 * DAY_US


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = Home(tmp_path / "home")
    made.create()
    return made


def letters(home: Home, received_us: int, count: int, size: int = 300) -> list[DeadLetter]:
    """Letters of a door, appended to the log; their originals are large enough for overflow pages."""
    sealer = Sealer(home.secret(SEALING_KEY))
    made = [
        sealer.dead_letter(
            reason="invalid", detail="d", source="http", place=f"{received_us} {n}", received_us=received_us,
            raw=bytes([n % 256]) * (size if n % 5 else 20_000),
        )
        for n in range(count)
    ]  # fmt: skip
    append(home, [Entry(DEAD_LETTERS_TOPIC, m.dead_letter_id, sealing.encode(m)) for m in made], received_us)
    return made


def append(home: Home, entries: list[Entry], at_us: int) -> None:
    with closing(LocalLog(home.log, clock=FixedClock(at_us))) as log:
        log.append(entries)


def filled(home: Home) -> tuple[list[DeadLetter], list[DeadLetter]]:
    """Events, records that are none, and letters of two times; those of the door, older and younger."""
    append(home, [entry(engagement(n, CAME, CAME)) for n in range(20)], CAME)
    append(home, [Entry(STORED_TOPICS[0], "k", b"{" * n) for n in (1, 2, 3)], CAME)
    append(home, [Entry(STORED_TOPICS[1], "k", b"no event")], LATER)
    append(home, [Entry(DEAD_LETTERS_TOPIC, "k", b"damaged")], CAME)
    return letters(home, CAME, 40), letters(home, LATER, 7)


def in_table(home: Home, settings: Settings | None = None) -> set[str]:
    with closing(open_reader(home, settings or Settings())) as reader:
        return {str(name) for (name,) in reader.query("SELECT dead_letter_id FROM dead_letters")[1]}


def in_log(home: Home) -> set[str]:
    """Ids of the letters that the log holds; a damaged one has none."""
    found = set()
    with closing(LocalLog(home.log)) as log:
        for part in range(log.partitions(DEAD_LETTERS_TOPIC)):
            for value in log.read(DEAD_LETTERS_TOPIC, part, 0, 1_000, 1 << 26).values:
                found.add("" if value == b"damaged" else sealing.decode(value).dead_letter_id)
    return found


def missing_records(home: Home, settings: Settings | None = None) -> int:
    """What the count identity lacks, with what was pruned."""
    with closing(open_reader(home, settings or Settings())) as reader:
        ((base, superseded, duplicates, dead, drained),) = reader.query(COUNTS)[1]
        # A damaged letter is no record of a stored topic.
        ((damaged,),) = reader.query("SELECT count(*) FROM dead_letters WHERE source LIKE 'log:dead.letters/%'")[1]
        ((pruned,),) = reader.query("SELECT coalesce(sum(value), 0) FROM counters WHERE name = 'pruned'")[1]
    return int(drained - (base + superseded + duplicates + dead - damaged + pruned))


def ids(made: list[DeadLetter]) -> set[str]:
    return {one.dead_letter_id for one in made}


def files(home: Home) -> bytes:
    return b"".join(path.read_bytes() for path in home.path.glob("*.sqlite*"))


@pytest.mark.parametrize("kind", STORES)
def test_process_deletes_what_was_kept_long_enough(home: Home, kind: str, request: pytest.FixtureRequest) -> None:
    url = request.getfixturevalue("database_url") if kind == "postgres" else ""
    settings = Settings(store=StoreSettings(url=url))
    old, young = filled(home)
    process(home, settings, clock=FixedClock(CAME + 30 * DAY_US))
    assert ids(old) | ids(young) == in_log(home) - {""} < in_table(home, settings)
    assert len(in_table(home, settings)) == 40 + 7 + 3 + 1 + 1
    assert missing_records(home, settings) == 0
    drained = process(home, settings, clock=FixedClock(OLD))
    assert drained.records == 0
    assert in_log(home) == ids(young)
    assert ids(young) < in_table(home, settings)
    assert len(in_table(home, settings)) == 7 + 1
    assert missing_records(home, settings) == 0
    # What comes afterwards is drained as ever, and nothing of what went comes back.
    append(home, [entry(engagement(99, OLD, OLD))], OLD)
    more = letters(home, OLD, 3)
    assert process(home, settings, clock=FixedClock(OLD)).records == 4
    assert in_log(home) == ids(young) | ids(more)
    assert len(in_table(home, settings)) == 7 + 1 + 3
    assert missing_records(home, settings) == 0
    with closing(LocalLog(home.log)) as log:
        assert log.horizon() is None


def test_their_bytes_are_overwritten_in_both_files(home: Home) -> None:
    """Pieces of the large ones: of a small one SQLite may have left a copy where it moved rows to another page."""
    old, young = filled(home)
    process(home, Settings(), clock=FixedClock(CAME))

    def left(made: list[DeadLetter]) -> tuple[int, int]:
        found = files(home)
        large = [one.sealed for one in made if one.size > 10_000]
        return sum(s[9_000:9_064] in found for s in large), sum(b64encode(s)[9_000:9_064] in found for s in large)

    assert (left(old), left(young)) == ((8, 8), (2, 2))
    process(home, Settings(), clock=FixedClock(OLD))
    assert (left(old), left(young)) == ((0, 0), (2, 2))


def test_what_is_not_drained_stays(home: Home) -> None:
    drained, _ = filled(home)
    process(home, Settings())
    waiting = letters(home, CAME + 1, 5)
    assert let_old_letters_go(home, Settings(), OLD)
    assert ids(waiting) <= in_log(home)
    assert not ids(drained) & in_log(home)
    process(home, Settings())
    assert ids(waiting) < in_table(home)
    assert missing_records(home) == 0


def test_a_simulation_keeps_its_own(home: Home) -> None:
    old, _ = filled(home)
    (home.path / "SIMULATED").touch()
    process(home, Settings(), clock=FixedClock(OLD))
    assert ids(old) < in_table(home)


def test_freezes_still_count_them(home: Home) -> None:
    settings = Settings()
    filled(home)
    process(home, settings)

    def counted() -> tuple[dict[str, int], dict[str, int]]:
        with closing(SqliteReader(home.store)) as reader:
            month = Month.parse("2026-03", settings.timezone)
            return freeze._refused(reader, month), freeze._counts(reader)

    before = counted()
    assert before[0] == {"2026-02-03": 44, "2026-02-05": 8}
    process(home, settings, clock=FixedClock(OLD))
    assert len(in_table(home)) == 8
    assert counted() == before


def test_doctor_tells_only_of_those_that_did_not_go(home: Home) -> None:
    filled(home)
    process(home, Settings())

    def found(now_us: int) -> Finding:
        (finding,) = findings(home, now_us)["dead letters"]
        return finding

    assert found(OLD).what == "52 are kept sealed"
    assert "44 of them for more than 31 days" in found(OLD + 1).what
    assert "`edgeloop process` deletes those" in found(OLD + 1).do
    process(home, Settings(), clock=FixedClock(OLD + 1))
    assert found(OLD + 1).what == "8 are kept sealed"


@contextmanager
def working(home: Home, clock: FixedClock) -> Iterator[Worker]:
    made = Worker(home, Settings(), lambda: None, clock)
    made.start()
    try:
        assert made.caught_up.wait(15)
        yield made
    finally:
        assert made.stop(15)
        assert made.failure is None


def test_the_worker_of_up_does_so_once_a_day(home: Home) -> None:
    old, young = filled(home)
    clock = FixedClock(CAME + 29 * DAY_US)
    with working(home, clock) as made:
        soon(lambda: in_table(home) >= ids(old) | ids(young))
        clock.now = CAME + 30 * DAY_US - 1
        made.wake()
        made._stopping.wait(0.3)
        assert in_log(home) >= ids(old)
        clock.now = OLD
        soon(lambda: in_log(home) == ids(young) and len(in_table(home)) == 8)
        # Two days later the younger ones are old too, but the day is not over.
        late = letters(home, CAME, 2)
        clock.now = OLD + DAY_US - 1
        soon(lambda: in_table(home) >= ids(late))
        made._stopping.wait(0.3)
        assert in_log(home) >= ids(late)
        clock.now = OLD + DAY_US
        soon(lambda: not in_log(home) & ids(late) and not in_table(home) & ids(late))
    assert missing_records(home) == 0


def test_a_failure_stops_no_draining_and_is_tried_again(
    home: Home, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    old, young = filled(home)
    real = SqliteStore.delete_dead_letters
    failed: list[int] = []

    def fail(self: SqliteStore, *args: Any) -> int:
        if not failed:
            failed.append(1)
            raise apsw.FullError("disk full")
        return real(self, *args)

    monkeypatch.setattr(SqliteStore, "delete_dead_letters", fail)
    clock = FixedClock(OLD)
    with caplog.at_level(logging.INFO), working(home, clock) as made:
        soon(lambda: failed)
        append(home, [entry(engagement(200, OLD, OLD))], OLD)
        more = letters(home, OLD, 1)
        soon(lambda: ids(more) <= in_table(home))
        assert made.condition().ok
        assert ids(old) < in_table(home)
        clock.now += HOUR_US
        soon(lambda: in_table(home) & ids([*old, *young, *more]) == ids([*young, *more]))
    assert sum("old dead letters could not be deleted" in r.getMessage() for r in caplog.records) == 1
    assert any("kept long enough are deleted dead_letters=44" in r.getMessage() for r in caplog.records)


def test_process_ends_well_where_they_cannot_be_deleted(
    home: Home, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    filled(home)

    def fail(*_: object) -> int:
        raise apsw.BusyError("busy")

    monkeypatch.setattr(SqliteStore, "delete_dead_letters", fail)
    assert process(home, Settings(), clock=FixedClock(OLD)).records == 20 + 3 + 1 + 1 + 47
    assert "old dead letters could not be deleted" in caplog.text
    assert missing_records(home) == 0
