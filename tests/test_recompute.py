"""`edgeloop recompute`: the tables under other rules are those of a store that never knew the old ones."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from unittest import mock

import pytest

from edgeloop.app.cli import run as edgeloop
from edgeloop.app.process import process
from edgeloop.home import Home
from edgeloop.log.local import LocalLog
from edgeloop.settings import AttributionSettings, DoorSettings, Settings
from edgeloop.store.reader import SqliteReader
from streams import Drain, Rules, RulesMismatchError, UnfinishedPassError, passes, recompute
from streams.steps import Steps
from tests.pipeline import SEALER, Abort, Body, BreakingStore, counts, entry, expect, small_rooms, tables
from tests.strategies import RULES
from tests.worlds import shuffled_with_duplicates, world

WINDOWS = AttributionSettings(engagement_window_h=1, answer_window_days=7)
TOUCHES = AttributionSettings(credit_rule="linear", max_touches=2)
SOURCES = AttributionSettings(whole_second_sources=("app",))
INSIDE = AttributionSettings(credit_rule="linear", delivery_window_days=0)
"""As tables were made before there was a delivery window."""
FURTHER = AttributionSettings(credit_rule="linear", delivery_window_days=120)
CHANGES = [
    *((AttributionSettings(credit_rule=a), AttributionSettings(credit_rule=b)) for a in RULES for b in RULES if a != b),
    (AttributionSettings(), WINDOWS),
    (WINDOWS, AttributionSettings()),
    (AttributionSettings(credit_rule="linear"), TOUCHES),
    (TOUCHES, AttributionSettings(credit_rule="position_based", max_touches=3)),
    (AttributionSettings(), SOURCES),
    (SOURCES, WINDOWS),
    (INSIDE, FURTHER),
    (FURTHER, INSIDE),
]


def said(settings: AttributionSettings) -> str:
    windows = f"{settings.engagement_window_h:g} h, {settings.delivery_window_days:g} d"
    return f"{settings.credit_rule} {windows}, {settings.max_touches}"


def some_world(seed: object, size: int = 100) -> list[Body]:
    rng = random.Random(str(seed))
    return shuffled_with_duplicates(rng, world(rng, size, mixed_keys=rng.random() < 0.5), 0.1)


class Stored:
    """A log and a store that may break off, without a process around them."""

    def __init__(self, home: Path) -> None:
        home.mkdir(exist_ok=True)
        self.home = home
        self.log = LocalLog(home / "log.sqlite", partitions=3)
        self.store = BreakingStore(home / "store.sqlite")

    def drain(self, bodies: list[Body], settings: AttributionSettings) -> None:
        self.log.append([entry(body) for body in bodies])
        Drain(self.log, self.store, Rules.of(settings), SEALER).run()

    def recompute(self, settings: AttributionSettings) -> int | None:
        return recompute(self.store, Rules.of(settings))

    def broken_off(self, settings: AttributionSettings, spared: int, *, before: bool) -> bool:
        """Recompute until a transaction breaks off, and open the store again; whether one did."""
        self.store.break_off(spared, before=before)
        try:
            self.recompute(settings)
        except Abort:
            broke = True
        else:
            broke = False
        self.store.close()
        self.store = BreakingStore(self.home / "store.sqlite")
        return broke

    def close(self) -> None:
        self.store.close()
        self.log.close()


@pytest.fixture
def stored(tmp_path: Path) -> Iterator[Stored]:
    made = Stored(tmp_path / "home")
    yield made
    made.close()


@pytest.mark.parametrize(("before", "after"), CHANGES, ids=lambda settings: said(settings))
def test_the_tables_are_those_of_the_new_rules(
    stored: Stored, before: AttributionSettings, after: AttributionSettings
) -> None:
    bodies = some_world(f"{said(before)} {said(after)}")
    half = len(bodies) // 2
    stored.drain(bodies[:half], before)
    stored.drain(bodies[half:], before)
    expect(tables(stored.home), bodies, before)
    assert stored.recompute(after)
    expect(tables(stored.home), bodies, after)
    assert counts(stored.home).balanced
    more = some_world("more", 60)
    stored.drain(more, after)
    expect(tables(stored.home), [*bodies, *more], after)


@pytest.mark.parametrize("seed", range(6))
def test_broken_off_anywhere_and_run_again_gives_the_same(
    stored: Stored, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With small pages, keys of many pages, and every transaction broken off once."""
    before, after = random.Random(seed).choice(CHANGES)
    bodies = some_world(seed)
    monkeypatch.setattr("streams.state.PAGE_ENTRIES", 3)
    monkeypatch.setattr(passes, "KEYS_AT_ONCE", 1)
    stored.drain(bodies, before)
    broke = 0
    while stored.broken_off(after, 1 + seed % 2, before=broke % 2 == 0):
        broke += 1
        assert broke < 200
    assert broke > 2
    assert stored.store.meta("recompute") is None
    expect(tables(stored.home), bodies, after)
    more = some_world(f"more {seed}", 60)
    stored.drain(more, after)
    expect(tables(stored.home), [*bodies, *more], after)
    assert counts(stored.home).balanced


def test_one_key_at_a_time_where_there_is_much_to_do(stored: Stored, monkeypatch: pytest.MonkeyPatch) -> None:
    bodies = some_world(1, 200)
    stored.drain(bodies, AttributionSettings())
    monkeypatch.setattr(passes, "THINGS_AT_ONCE", 1)
    told: list[tuple[int, int]] = []
    done = recompute(stored.store, Rules.of(TOUCHES), lambda done, total: told.append((done, total)))
    expect(tables(stored.home), bodies, TOUCHES)
    assert done is not None
    assert told == sorted(set(told))
    assert told[-1] == (done, done)
    keys = {(row[1], row[2]) for name in ("responses", "engagement") for row in tables(stored.home)[name]}
    assert len(told) >= min(5, len({subject for subject, _ in keys})), "keys with outcomes were taken together"


def test_what_waits_for_couriers_is_worked_in_under_the_new_rules(stored: Stored) -> None:
    bodies = some_world(2, 200)
    with mock.patch.object(Steps, "work_off", return_value=False):
        stored.drain(bodies, AttributionSettings())
    reader = SqliteReader(stored.home / "store.sqlite")
    ((waiting,),) = reader.query("SELECT count(*) FROM dirty_keys")[1]
    reader.close()
    assert waiting
    stored.recompute(TOUCHES)
    stored.drain([], TOUCHES)
    expect(tables(stored.home), bodies, TOUCHES)


def test_what_stands_in_deltas_only_is_computed_too(stored: Stored) -> None:
    bodies = some_world(7)
    with mock.patch.object(Steps, "flush", return_value=0):
        stored.drain(bodies, AttributionSettings())
    stored.recompute(TOUCHES)
    expect(tables(stored.home), bodies, TOUCHES)
    stored.drain(bodies[:10], TOUCHES)
    expect(tables(stored.home), bodies, TOUCHES)


def test_with_small_rooms(stored: Stored) -> None:
    bodies = some_world(3, 150)
    with small_rooms():
        stored.drain(bodies, WINDOWS)
        stored.recompute(TOUCHES)
        expect(tables(stored.home), bodies, TOUCHES)
        stored.drain(bodies[:40], TOUCHES)
    expect(tables(stored.home), bodies, TOUCHES)


def test_until_it_ended_nothing_is_drained_and_other_settings_start_over(
    stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    bodies = some_world(4)
    stored.drain(bodies, AttributionSettings())
    monkeypatch.setattr(passes, "KEYS_AT_ONCE", 2)
    assert stored.broken_off(TOUCHES, 2, before=False)
    for settings in (AttributionSettings(), TOUCHES):
        with pytest.raises(UnfinishedPassError, match="run `edgeloop recompute` again"):
            stored.drain([], settings)
    # Back to where it began: some keys are under the other rules, so it is not where it began.
    assert stored.recompute(AttributionSettings())
    expect(tables(stored.home), bodies, AttributionSettings())
    stored.drain([], AttributionSettings())
    assert stored.broken_off(TOUCHES, 2, before=False)
    assert stored.recompute(WINDOWS)
    expect(tables(stored.home), bodies, WINDOWS)


def test_nothing_to_do(stored: Stored) -> None:
    assert stored.recompute(TOUCHES) is None
    stored.drain(some_world(5, 20), TOUCHES)
    assert stored.recompute(TOUCHES) is None


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    home = Home(tmp_path / "home")
    home.create()
    words = ["recompute", "--home", str(home.path)]
    assert edgeloop(words) == 1
    assert "run `edgeloop process` first" in capsys.readouterr().err
    bodies = some_world(6)
    log = LocalLog(home.log)
    log.append([entry(body) for body in bodies])
    log.close()
    ever = DoorSettings(earliest=date(1, 1, 1))  # the world goes back to 1969
    process(home, Settings(door=ever))
    monkeypatch.setenv("EDGELOOP_ATTRIBUTION_CREDIT_RULE", "linear")
    changed = Settings(door=ever, attribution=AttributionSettings(credit_rule="linear"))
    with pytest.raises(RulesMismatchError, match=r"was last_touch and is linear\. Run `edgeloop recompute`"):
        process(home, changed)
    assert edgeloop(words) == 0
    assert "recomputed: " in capsys.readouterr().err
    assert edgeloop(words) == 0
    assert "already" in capsys.readouterr().err
    process(home, changed)
    expect(tables(home.path), bodies, changed.attribution)
