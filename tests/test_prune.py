"""`edgeloop prune`: the tables are those of the events that may stay, and what went does not come back."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import date
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from edgeloop.app import upkeep
from edgeloop.app.cli import run as edgeloop
from edgeloop.app.process import process
from edgeloop.app.upkeep import prune_home
from edgeloop.clock import DAY_US, Clock
from edgeloop.errors import EdgeloopError
from edgeloop.home import Home
from edgeloop.horizon import Horizon
from edgeloop.log.base import Entry
from edgeloop.log.local import LocalLog
from edgeloop.months import Month
from edgeloop.settings import AttributionSettings, DoorSettings, Settings
from edgeloop.store.reader import SqliteReader
from edgeloop.store.sqlite import SqliteStore
from streams import Rules, UnfinishedPassError, passes
from streams.steps import Steps
from tests.fakes import FixedClock, at
from tests.oracle import rank
from tests.pipeline import Abort, Body, counts, entry, expect, logged, small_rooms, tables
from tests.strategies import RULES
from tests.worlds import IDS, KEYS, micros, shuffled_with_duplicates, stamp, world

NOW = at("2026-04-10T12:00:00Z")
EVER = Settings(door=DoorSettings(earliest=date(1, 1, 1)))
"""The worlds go back to 1969."""
MONTHS = ("2026-02", "2026-03", "2026-04")


def settings_of(number: int) -> Settings:
    return Settings(
        door=EVER.door,
        attribution=AttributionSettings(
            credit_rule=RULES[number % len(RULES)],
            max_touches=(50, 2, 3)[number % 3],
            engagement_window_h=(72, 1)[number % 2],
            answer_window_days=(14, 7)[number % 2],
            delivery_window_days=(20, 120, 0)[number % 3],
        ),
    )


def horizon_of(month: str, settings: Settings) -> Horizon:
    rules = Rules.of(settings.attribution)
    start = Month.parse(month, settings.timezone).start_us
    windows = (rules.engagement_window_us, rules.answer_window_us, rules.delivery_window_us)
    return Horizon(start, start - max(windows))


def refused(body: Body, horizon: Horizon) -> bool:
    first_us = {"change": None, "exposure": horizon.exposures_us}.get(body["type"], horizon.us)
    return first_us is not None and micros(body["occurred_at"]) < first_us


def identity(body: Body) -> tuple[str, str, str]:
    return body["type"], body[KEYS[body["type"]]], body[IDS[body["type"]]]


def staying(bodies: list[Body], horizon: Horizon) -> list[Body]:
    """The bodies of every id whose winner is not too old."""
    of_id: dict[tuple[str, str, str], list[Body]] = {}
    for body in bodies:
        of_id.setdefault(identity(body), []).append(body)
    return [body for same in of_id.values() if not refused(min(same, key=rank), horizon) for body in same]


def some_world(seed: object, size: int = 120) -> list[Body]:
    rng = random.Random(str(seed))
    return shuffled_with_duplicates(rng, world(rng, size, mixed_keys=rng.random() < 0.5), 0.1)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = Home(tmp_path / "home")
    made.create()
    return made


def append(home: Home, entries: list[Entry], clock: Clock | None = None) -> None:
    log = LocalLog(home.log, partitions=3, clock=clock or FixedClock(at("2026-01-20T00:00:00Z")))
    log.append(entries)
    log.close()


def filled(home: Home, bodies: list[Body], settings: Settings) -> None:
    append(home, [entry(body) for body in bodies])
    process(home, settings)


def pruned(home: Home, month: str, settings: Settings, now: int = NOW, **named: Any) -> upkeep.Plan:
    plan, _ = prune_home(home, settings, month, clock=FixedClock(now), **{"unfrozen": True, **named})
    return plan


def counters(home: Home) -> dict[str, int]:
    reader = SqliteReader(home.store)
    found = dict(reader.query("SELECT label, value FROM counters WHERE name = 'pruned'")[1])
    reader.close()
    return found


def balanced(home: Home) -> bool:
    found = counts(home.path)
    gone = sum(counters(home).values())
    return found.base + found.superseded + found.duplicates + found.dead_letters + gone == found.drained


@pytest.mark.parametrize("seed", range(24))
def test_the_tables_are_those_of_what_may_stay(home: Home, seed: int) -> None:
    settings = settings_of(seed)
    month = MONTHS[seed % 3]
    bodies = some_world(seed)
    with small_rooms() if seed % 2 else nullcontext():
        filled(home, bodies, settings)
        horizon = horizon_of(month, settings)
        left = staying(bodies, horizon)
        assert 0 < len(left) < len(bodies)
        pruned(home, month, settings)
        expect(tables(home.path), left, settings.attribution)
        assert balanced(home)
        # Everything once more: what is too old is refused, what stayed is a duplicate, and a body that had lost
        # against one that went is the first of its id.
        before = counts(home.path)
        append(home, [entry(body) for body in bodies])
        process(home, settings)
        again = [body for body in bodies if not refused(body, horizon)]
        expect(tables(home.path), [*left, *again], settings.attribution)
        after = counts(home.path)
        assert after.dead_letters - before.dead_letters == len(bodies) - len(again) > 0
        known = {identity(body) for body in left}
        if known >= {identity(body) for body in again}:
            new = {(identity(body), rank(body)[:4]) for body in again} - {(identity(b), rank(b)[:4]) for b in left}
            assert not new
            assert after.duplicates - before.duplicates == len(again)
        assert balanced(home)
        more = some_world(f"more {seed}", 80)
        append(home, [entry(body) for body in more])
        process(home, settings)
        more = [body for body in more if not refused(body, horizon)]
        expect(tables(home.path), [*left, *again, *more], settings.attribution)
        assert balanced(home)


@pytest.mark.parametrize("seed", range(12))
def test_what_stayed_can_be_revised_and_what_went_can_come_again(home: Home, seed: int) -> None:
    """New bodies of ids that stayed, and ids that went with a time that is taken."""
    settings = settings_of(seed)
    rng = random.Random(f"revised {seed}")
    bodies = some_world(f"revised {seed}", 160)
    filled(home, bodies, settings)
    horizon = horizon_of("2026-02", settings)
    left = staying(bodies, horizon)
    pruned(home, "2026-02", settings)
    there = {identity(body) for body in left}
    couriers = sorted({body["courier"] for body in bodies if "courier" in body})
    new: list[Body] = []
    for body in bodies:
        again = body | {"revision": body.get("revision", 0) + 3}
        if body["type"] == "exposure":
            again |= {"model_version": "v9", "courier": rng.choice(couriers)}
        if identity(body) not in there:
            again = {name: value for name, value in again.items() if name != "occurred_at_raw"}
            again |= {"occurred_at": stamp(horizon.us + rng.choice((0, DAY_US)))}
        if rng.random() < 0.5 and not refused(again, horizon):
            new.append(again)
    assert {identity(body) in there for body in new} == {True, False}
    for part in (new[::2], new[1::2]):
        append(home, [entry(body) for body in part])
        process(home, settings)
    expect(tables(home.path), [*left, *new], settings.attribution)
    assert balanced(home)


def shown(exposure_id: str, occurred_at: str, **fields: Any) -> Body:
    made: Body = {"type": "exposure", "exposure_id": exposure_id, "subject": "ann", "occurred_at": occurred_at}
    made |= {"received_at": "2026-04-01T00:00:00Z", "touchpoint": "card", "model_id": "eta", "model_version": "v1"}
    return made | fields


def test_a_couriers_key_still_knows_what_it_carries(home: Home) -> None:
    settings = EVER
    asked = {"survey_id": "s", "source": "app", "answers": [{"question": "q", "kind": "rating", "value": 4.0}]}
    bodies: list[Body] = [
        shown("old", "2025-01-01T00:00:00Z", courier="kim"),
        shown("kept", "2026-03-01T00:00:00Z", courier="kim"),
        {"type": "response", "response_id": "r", "subject": "kim", "respondent": "agent", **asked}
        | {"occurred_at": "2026-03-02T00:00:00Z", "received_at": "2026-04-01T00:00:00Z"},
    ]
    filled(home, bodies, settings)
    pruned(home, "2026-03", settings)
    revised = bodies[1] | {"model_id": "slot", "revision": 1}
    append(home, [entry(revised)])
    process(home, settings)
    expect(tables(home.path), [*bodies[1:], revised], settings.attribution)


def test_an_outcome_still_waits_for_what_it_names(home: Home) -> None:
    settings = EVER
    bodies: list[Body] = [
        shown("old", "2025-01-01T00:00:00Z"),
        {"type": "engagement", "event_id": "e", "subject": "ann", "name": "tip", "source": "app", "exposure_id": "late"}
        | {"occurred_at": "2026-03-02T00:00:00Z", "received_at": "2026-04-01T00:00:00Z"},
    ]
    filled(home, bodies, settings)
    pruned(home, "2026-03", settings)
    late = shown("late", "2026-03-30T00:00:00Z")
    append(home, [entry(late)])
    process(home, settings)
    expect(tables(home.path), [bodies[1], late], settings.attribution)


def test_what_is_on_the_way_is_worked_in_first(home: Home) -> None:
    """Couriers' keys that wait, heads that were not written, records that were not drained."""
    settings = EVER
    bodies = some_world("on the way", 200)
    append(home, [entry(body) for body in bodies[:120]])
    with mock.patch.object(Steps, "work_off", return_value=0), mock.patch.object(Steps, "flush", return_value=0):
        process(home, settings)
    append(home, [entry(body) for body in bodies[120:]])
    pruned(home, "2026-03", settings)
    left = staying(bodies, horizon_of("2026-03", settings))
    expect(tables(home.path), left, settings.attribution)
    process(home, settings)
    expect(tables(home.path), left, settings.attribution)
    assert counts(home.path).dead_letters == 0
    assert balanced(home)


@pytest.mark.parametrize("seed", range(6))
def test_again_and_again_and_broken_off(home: Home, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three horizons one after the other, each prune broken off again and again; nobody drains meanwhile."""
    settings = settings_of(seed)
    monkeypatch.setattr("streams.state.PAGE_ENTRIES", 3)
    monkeypatch.setattr(passes, "KEYS_AT_ONCE", 1)
    left = some_world(f"broken {seed}", 200)
    filled(home, left, settings)
    broke = 0
    for month in MONTHS:
        while broken_off(home, month, settings, 1 + broke % 2, before=broke % 3 == 0, monkeypatch=monkeypatch):
            broke += 1
            assert broke < 500
            with pytest.raises(UnfinishedPassError, match="run `edgeloop prune` again"):
                process(home, settings)
        left = staying(left, horizon_of(month, settings))
        expect(tables(home.path), left, settings.attribution)
        assert balanced(home)
        process(home, settings)
    assert broke > 5


def broken_off(
    home: Home, month: str, settings: Settings, spared: int, *, before: bool, monkeypatch: pytest.MonkeyPatch
) -> bool:
    """Prune until a transaction of the pass breaks off; whether one did."""
    whole = SqliteStore.transaction
    begun = 0

    def breaking(store: SqliteStore, versions: Any = None) -> Any:
        @contextmanager
        def inside() -> Iterator[Any]:
            nonlocal begun
            with whole(store, versions) as inner:
                if store.meta("prune") is not None:
                    begun += 1
                    if begun > spared and before:
                        raise Abort
                yield inner
                if begun > spared:
                    raise Abort

        return inside()

    with monkeypatch.context() as patch:
        patch.setattr(SqliteStore, "transaction", breaking)
        try:
            pruned(home, month, settings)
        except Abort:
            return True
    return False


def test_keys_that_share_a_slot_are_still_found(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slots of few values, so that keys lie behind each other and a hole would hide one."""
    monkeypatch.setattr("edgeloop.store.base.slot_of", lambda key, shard: sum(key.encode()) % 3 * 4)
    settings = EVER
    bodies = [body for seed in range(6) for body in some_world(f"slots {seed}", 60)]
    for number, body in enumerate(bodies):
        if KEYS[body["type"]] == "subject" and body.get("respondent") != "agent":
            body["subject"] += f"-{number % 7}"
    filled(home, bodies, settings)
    for month in MONTHS:
        pruned(home, month, settings)
        bodies = staying(bodies, horizon_of(month, settings))
        expect(tables(home.path), bodies, settings.attribution)
        append(home, [entry(body) for body in bodies])
        process(home, settings)
        expect(tables(home.path), bodies, settings.attribution)
    assert balanced(home)


def test_a_dry_run_counts_and_changes_nothing(home: Home) -> None:
    settings = settings_of(1)
    bodies = some_world("dry")
    filled(home, bodies, settings)
    log_before = logged(home.path)
    plan = pruned(home, "2026-03", settings, dry_run=True)
    expect(tables(home.path), bodies, settings.attribution)
    assert logged(home.path) == log_before
    with LogOf(home) as log:
        assert log.horizon() is None
    pruned(home, "2026-03", settings)
    planned = {planned.what: planned.rows for planned in plan.deletes}
    gone = counters(home)
    assert {name: n for name, n in planned.items() if name in gone} == {
        name: n for name, n in gone.items() if name in planned
    }
    assert planned["exposures"] > 0
    assert planned["records of the log"] == len(bodies)
    assert "changes" not in planned


class LogOf:
    """A home's log for the length of a block."""

    def __init__(self, home: Home) -> None:
        self._log = LocalLog(home.log)

    def __enter__(self) -> LocalLog:
        return self._log

    def __exit__(self, *_: object) -> None:
        self._log.close()


def test_months_that_were_never_frozen_are_kept(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    settings = EVER
    bodies = [body for body in some_world("frozen") if body["occurred_at"] >= "2026-01"]
    filled(home, bodies, settings)
    words = ["--home", str(home.path)]
    before = tables(home.path)
    with pytest.raises(EdgeloopError, match=r"never frozen: .*2026-01.*freeze --month"):
        pruned(home, "2026-03", settings, unfrozen=False)
    assert edgeloop(["prune", "--before", "2026-03", *words]) == 1
    assert "--unfrozen" in capsys.readouterr().err
    assert tables(home.path) == before
    months = sorted({body["occurred_at"][:7] for body in bodies if body["type"] != "change"})
    frozen = [month for month in months if month < "2026-03"]
    assert "2026-02" in frozen
    for month in frozen[:-1]:
        assert edgeloop(["freeze", "--month", month, *words]) == 0
    with pytest.raises(EdgeloopError, match=f"never frozen: {frozen[-1]}"):
        pruned(home, "2026-03", settings, unfrozen=False)
    assert edgeloop(["freeze", "--month", frozen[-1], *words]) == 0
    parquet = {path: path.read_bytes() for path in home.freezes.rglob("*") if path.is_file()}
    assert edgeloop(["prune", "--before", "2026-03", "--dry-run", *words]) == 0
    said = capsys.readouterr().err
    assert "would delete what happened before 2026-03-01T00:00:00Z" in said
    assert edgeloop(["prune", "--before", "2026-03", *words]) == 0
    said = capsys.readouterr().err
    assert "declared changes stay" in said
    assert "free inside the files" in said
    assert {path: path.read_bytes() for path in parquet} == parquet
    expect(tables(home.path), staying(bodies, horizon_of("2026-03", settings)), settings.attribution)


def test_recompute_and_prune_wait_for_each_other(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_of(2)
    bodies = some_world("both")
    filled(home, bodies, settings)
    monkeypatch.setattr(passes, "KEYS_AT_ONCE", 1)
    assert broken_off(home, "2026-03", settings, 2, before=False, monkeypatch=monkeypatch)
    other = settings_of(3)
    with pytest.raises(UnfinishedPassError, match="run `edgeloop prune` again"):
        upkeep.recompute_home(home, other)
    pruned(home, "2026-03", settings)
    left = staying(bodies, horizon_of("2026-03", settings))
    assert upkeep.recompute_home(home, other)
    expect(tables(home.path), left, other.attribution)
