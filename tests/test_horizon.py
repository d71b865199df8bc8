"""Where a prune ends: in the log, at the doors, for dead letters, and in what it refuses."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from connectors import Intake, Item
from edgeloop import sealing
from edgeloop.app.process import process
from edgeloop.clock import DAY_US
from edgeloop.errors import HomeError, UsageError
from edgeloop.events import DEAD_LETTERS_TOPIC, STORED_TOPICS
from edgeloop.home import SEALING_KEY, Home
from edgeloop.horizon import Horizon
from edgeloop.log.base import Entry
from edgeloop.sealing import Sealer
from edgeloop.settings import Settings
from edgeloop.store.reader import SqliteReader
from streams import LogMismatchError
from tests.fakes import FixedClock, at
from tests.pipeline import entry
from tests.test_prune import NOW, LogOf, append, balanced, counters, filled, horizon_of, pruned, some_world


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = Home(tmp_path / "home")
    made.create()
    return made


def test_the_log_loses_what_is_drained_and_old_and_no_offset_shifts(home: Home) -> None:
    settings = Settings()
    bodies = some_world("log")
    half = len(bodies) // 2
    filled(home, bodies[:half], settings)
    append(home, [entry(body) for body in bodies[half:]], FixedClock(at("2026-03-20T00:00:00Z")))
    with LogOf(home) as log:
        starts_before, ends = log.start_offsets(), log.end_offsets()
    assert not any(starts_before.values())
    pruned(home, "2026-03", settings)
    with LogOf(home) as log:
        starts, ends_now = log.start_offsets(), log.end_offsets()
        young = [
            when
            for (topic, part), start in starts.items()
            for when in log.read(topic, part, start, 10_000, 1 << 26).appended_us
        ]
    assert ends_now == ends
    assert len(young) == len(bodies) - half
    assert sum(starts[tp] for tp in starts if tp[0] in STORED_TOPICS) == half
    assert min(young) >= horizon_of("2026-03", settings).us


def test_a_store_from_a_backup_does_not_skip_what_the_log_lost(home: Home) -> None:
    settings = Settings()
    filled(home, some_world("backup", 40), settings)
    before = home.store.read_bytes()
    filled(home, some_world("since", 40), settings)
    pruned(home, "2026-03", settings)
    home.store.write_bytes(before)
    with pytest.raises(LogMismatchError, match="the log begins at"):
        process(home, settings)
    home.store.unlink()
    with pytest.raises(LogMismatchError, match="the log begins at"):
        process(home, settings)


def letters(home: Home) -> tuple[list[str], list[str]]:
    """Ids of the dead letters in the table and in the log."""
    reader = SqliteReader(home.store)
    stored = [str(row[0]) for row in reader.query("SELECT dead_letter_id FROM dead_letters ORDER BY 1")[1]]
    reader.close()
    with LogOf(home) as log:
        there = [
            sealing.decode(value).dead_letter_id
            for part in range(log.partitions(DEAD_LETTERS_TOPIC))
            for value in log.read(DEAD_LETTERS_TOPIC, part, 0, 1_000, 1 << 26).values
        ]
    return stored, sorted(there)


def test_dead_letters_go_after_thirty_days(home: Home) -> None:
    settings = Settings()
    sealer = Sealer(home.secret(SEALING_KEY))
    young_us, old_us = NOW - 30 * DAY_US, NOW - 30 * DAY_US - 1
    made = [
        sealer.dead_letter(reason="malformed", detail="d", source="http", place=str(i), received_us=us, raw=b"[]")
        for i, us in enumerate([young_us, old_us] * 6)
    ]
    filled(home, some_world("letters", 40), settings)
    append(home, [Entry(DEAD_LETTERS_TOPIC, m.dead_letter_id, sealing.encode(m)) for m in made])
    append(home, [Entry("engagement.events", "ann", b"{")], FixedClock(old_us))
    append(home, [Entry("engagement.events", "ann", b"{")], FixedClock(young_us))
    process(home, settings)
    assert len(letters(home)[0]) == 14
    pruned(home, "2026-01", settings)
    stored, there = letters(home)
    assert there == sorted(m.dead_letter_id for m in made[::2])
    assert set(there) < set(stored)
    assert len(stored) == 7
    assert counters(home)["dead_letters"] == 1
    assert balanced(home)


def item(occurred_at: str, kind: str = "engagement") -> Item:
    """An event as a sender writes it, unread."""
    value = {"type": kind, "customer_id": "c1", "occurred_at": occurred_at}
    value |= {
        "engagement": {"event_id": "e", "name": "tip", "source": "app"},
        "exposure": {"exposure_id": "x", "touchpoint": "card", "model_id": "eta", "model_version": "1"},
        "change": {"change_id": "g", "model_id": "eta", "to_version": "2", "kind": "switch"},
    }[kind]
    return Item(msgspec.json.encode(value), "line 1", msgspec.UNSET)


def test_doors_refuse_what_is_too_old(home: Home) -> None:
    settings = Settings()
    filled(home, some_world("doors", 40), settings)
    with LogOf(home) as log:
        intake = Intake(home, FixedClock(NOW), log.horizon)

        def reasons(*items: Item) -> list[str | None]:
            taken, _ = intake.take(items, source="http")
            return [None if one.rejected is None else one.rejected.reason for one in taken]

        old = [item("2026-02-28T23:59:59.999999Z"), item("2025-10-31T23:59:59Z", "exposure")]
        young = [item("2026-03-01T00:00:00Z"), item("2025-11-01T00:00:00Z", "exposure")]
        young.append(item("2020-01-01T00:00:00Z", "change"))
        assert reasons(*old, *young) == [None] * 5
        pruned(home, "2026-03", settings)
        log._horizon = None  # a second later
        assert reasons(*old, *young) == ["before_horizon"] * 2 + [None] * 3
        taken, entries = intake.take(old[:1], source="http")
        assert [e.topic for e in entries] == [DEAD_LETTERS_TOPIC]
        assert taken[0].rejected is not None
        assert "2026-03-01T00:00:00Z" in taken[0].rejected.detail


def test_another_process_sees_the_horizon_within_a_second(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("edgeloop.log.local.time.monotonic", lambda: now[0])
    with LogOf(home) as door, LogOf(home) as pruning:
        assert door.horizon_us() is None
        pruning.set_horizon(Horizon(7, 3))
        assert pruning.horizon() == Horizon(7, 3)
        assert door.horizon_us() is None
        now[0] += 1.01
        assert door.horizon_us() == 7


def test_forward_only_and_never_ahead(home: Home) -> None:
    settings = Settings(timezone="America/New_York")
    with pytest.raises(HomeError, match="run `edgeloop process` first"):
        pruned(home, "2026-02", settings)
    filled(home, some_world("order", 40), settings)
    first = at("2026-05-01T03:59:59Z")
    with pytest.raises(UsageError, match="2026-05 has not begun"):
        pruned(home, "2026-05", settings, now=first)
    pruned(home, "2026-03", settings)
    with pytest.raises(UsageError, match="pruned before 2026-03 already"):
        pruned(home, "2026-02", settings)
    pruned(home, "2026-05", settings, now=first + 1_000_000)
    with LogOf(home) as log:
        assert log.horizon_us() == at("2026-05-01T04:00:00Z")
