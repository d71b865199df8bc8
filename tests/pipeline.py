"""Runs log bodies through the local log, the drain and the SQLite store, and reads the tables back for comparison."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import msgspec

from edgeloop.events import STORED_TOPICS, decode
from edgeloop.log.base import Entry
from edgeloop.log.local import LocalLog
from edgeloop.sealing import Sealer
from edgeloop.settings import AttributionSettings
from edgeloop.store.base import Reader
from edgeloop.store.reader import SqliteReader
from edgeloop.store.schema import ANSWERS, ATTRIBUTIONS, EVENT_TABLES, SUPERSEDED
from edgeloop.store.sqlite import SqliteStore
from streams.attribution import Rules
from streams.cache import StateCache
from streams.drain import Drain
from tests.oracle import oracle
from tests.worlds import KEYS

COMPARED = (*EVENT_TABLES.values(), ANSWERS, SUPERSEDED, ATTRIBUTIONS)
NOT_COMPARED = frozenset({"received_at", "body_sha256"})
SEALER = Sealer(b"k" * 32)

Body = dict[str, Any]


def entry(body: dict[str, Any]) -> Entry:
    raw = msgspec.json.encode(body)
    event = decode(raw)
    return Entry(event.topic, event.key, raw)


def run(
    home: Path,
    bodies: Sequence[dict[str, Any]],
    settings: AttributionSettings,
    *,
    chunks: Sequence[int] = (),
    max_records: int = 20_000,
) -> dict[str, list[tuple[Any, ...]]]:
    """The tables after appending in chunks of the given sizes (the rest at once), draining after each."""
    home.mkdir(parents=True, exist_ok=True)
    log = LocalLog(home / "log.sqlite", partitions=3)
    store = SqliteStore(home / "store.sqlite")
    drain = Drain(log, store, Rules.of(settings), SEALER, max_records=max_records)
    start = 0
    for size in (*chunks, len(bodies)):
        log.append([entry(body) for body in bodies[start : start + size]])
        start += size
        drain.run()
    store.close()
    log.close()
    return tables(home)


def tables(home: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Every compared table of a home as sorted tuples, without ``received_at``."""
    return tables_of(SqliteReader(home / "store.sqlite"))


def tables_of(reader: Reader) -> dict[str, list[tuple[Any, ...]]]:
    """The same of any store; closes the reader."""
    found = {}
    for table in COMPARED:
        columns = ", ".join(f'"{name}"' for name in table.names if name not in NOT_COMPARED)
        found[table.name] = in_order(reader.query(f"SELECT {columns} FROM {table.name}")[1])
    reader.close()
    return found


def in_order(rows: Sequence[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    return sorted(rows, key=repr)


def rules_for_oracle(settings: AttributionSettings) -> dict[str, Any]:
    return {
        "engagement_window_us": round(settings.engagement_window_h * 3_600_000_000),
        "answer_window_us": round(settings.answer_window_days * 86_400_000_000),
        "delivery_window_us": round(settings.delivery_window_days * 86_400_000_000),
        "credit_rule": settings.credit_rule,
        "max_touches": settings.max_touches,
        "whole_second_sources": list(settings.whole_second_sources),
    }


# Sizes from which on the engine does otherwise. Worlds that can be compared with the oracle are smaller than these.
_ROOMS: dict[str, int] = {
    "streams.attribution._FEW": 1,
    "streams.state.PAGE_ENTRIES": 2,
    "streams.state._MANY_IDS": 8,
    "streams.steps._COURIERS_AT_ONCE": 1,
    "streams.drain._RECORDS_BETWEEN_INBOXES": 3,
}
_CACHE = {"cache_bytes": 2_000, "unflushed_bytes": 500}


@contextmanager
def small_rooms() -> Iterator[None]:
    """Pages of two entries, a cache for two keys, a flush every few events. A name that is gone has to follow here."""
    with ExitStack() as stack:
        for place, size in _ROOMS.items():
            stack.enter_context(mock.patch(place, size))
        defaults: dict[str, Any] = StateCache.__init__.__kwdefaults__ or {}
        assert defaults.keys() == _CACHE.keys()
        stack.enter_context(mock.patch.dict(defaults, _CACHE))
        yield


class Abort(BaseException):  # not an Exception: no handler in the code under test may take a crash for an error
    """The process ended here."""


class BreakingStore(SqliteStore):
    """A store whose transactions break off when told to, as the process would at that moment."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.entered = 0
        """Transactions begun since the store was opened."""
        self._spared: int | None = None
        self._before = False

    def break_off(self, spared: int, *, before: bool) -> None:
        """Let ``spared`` transactions pass; break off the next before its first write, or after its last."""
        self._spared, self._before = spared, before

    def hold(self) -> None:
        """Break off nothing any more."""
        self._spared = None

    @contextmanager
    def transaction(self, *args: Any, **named: Any) -> Iterator[Any]:
        self.entered += 1
        breaks = self._spared == 0
        if self._spared is not None:
            self._spared -= 1
        with super().transaction(*args, **named) as inner:
            if breaks and self._before:
                raise Abort
            yield inner
            if breaks:
                raise Abort


class Spine:
    """Log, drain and store of one home, driven step by step. The drain stays the same between steps unless a step asks
    for another batch size or for a reopening, as it does in a process that runs on."""

    def __init__(self, home: Path, settings: AttributionSettings) -> None:
        self.home = home
        self.bodies: list[Body] = []
        """Every event appended, as often as it was."""
        self.undecodable = 0
        """Records appended that no event can be read from."""
        self._settings = settings
        home.mkdir(parents=True, exist_ok=True)
        self._open()

    def _open(self) -> None:
        self._log = LocalLog(self.home / "log.sqlite", partitions=3)
        self.store = BreakingStore(self.home / "store.sqlite")
        self._drain: tuple[int, Drain] | None = None

    def reopen(self) -> None:
        """Close everything and start again."""
        self.close()
        self._open()

    def close(self) -> None:
        """Close log and store."""
        self.store.close()
        self._log.close()

    def append(self, bodies: Sequence[Body]) -> None:
        """Append events."""
        self._log.append([entry(body) for body in bodies])
        self.bodies += bodies

    def append_undecodable(self, topic: str, key: str, raw: bytes) -> None:
        """Append what the worker must put among the dead letters."""
        self.append_raw(topic, key, raw)
        self.undecodable += 1

    def append_raw(self, topic: str, key: str, raw: bytes) -> None:
        """Append any bytes to any topic."""
        self._log.append([Entry(topic, key, raw)])

    def drain(self, max_records: int | None = None, *, meanwhile: Sequence[Body] = ()) -> None:
        """Drain everything, by the batch size of before if none is given. ``meanwhile`` is appended after the first
        batch, as a door may."""
        max_records = max_records or (self._drain[0] if self._drain else 20_000)
        if self._drain is None or self._drain[0] != max_records:
            rules = Rules.of(self._settings)
            self._drain = (max_records, Drain(self._log, self.store, rules, SEALER, max_records=max_records))
        waiting = list(meanwhile)

        def progress(_done: int, _known: int) -> None:
            self.append(waiting)
            waiting.clear()

        before = self.counts().drained
        entered = self.store.entered
        self._drain[1].run(progress)
        if self.counts().drained > before:
            assert self.store.entered > entered, "no transaction was seen: an abort would break nothing off"

    def abort(self, max_records: int | None, spared: int, *, before: bool, reopen: bool) -> bool:
        """Drain until a transaction breaks off, and start again (or, without ``reopen``, leave the same drain to go on,
        as after an error that passes). Whether one broke off."""
        self.store.break_off(spared, before=before)
        try:
            self.drain(max_records)
        except Abort:
            broke_off = True
        else:
            broke_off = False
        self.store.hold()
        if reopen:
            self.reopen()
        return broke_off

    def counts(self) -> Counts:
        """The sums of the count identity."""
        return counts(self.home)


class Counts(msgspec.Struct, frozen=True):
    """Both sides of: base rows + superseded + duplicates + the worker's own dead letters = Σ next offsets."""

    base: int
    superseded: int
    duplicates: int
    dead_letters: int
    drained: int

    @property
    def balanced(self) -> bool:
        """Whether every record drained is in exactly one place."""
        return self.base + self.superseded + self.duplicates + self.dead_letters == self.drained


_STORED = ", ".join(f"'{topic}'" for topic in STORED_TOPICS)
COUNTS = f"""SELECT
  {" + ".join(f"(SELECT count(*) FROM {table.name})" for table in EVENT_TABLES.values())} AS base,
  (SELECT count(*) FROM superseded) AS superseded,
  (SELECT coalesce(sum(duplicates), 0) FROM offsets WHERE topic IN ({_STORED})) AS duplicates,
  (SELECT count(*) FROM dead_letters WHERE source LIKE 'log:%') AS dead_letters,
  (SELECT coalesce(sum(next_offset), 0) FROM offsets WHERE topic IN ({_STORED})) AS drained"""
"""One statement, so that it sees one moment; runs in `edgeloop sql` too."""


def counts(home: Path) -> Counts:
    """The count identity of a home's store as of now."""
    return counts_of(SqliteReader(home / "store.sqlite"))


def counts_of(reader: Reader) -> Counts:
    """The same of any store; closes the reader."""
    (row,) = reader.query(COUNTS)[1]
    reader.close()
    return Counts(*row)


def logged(home: Path) -> tuple[list[Body], int]:
    """The events that a home's log holds, and how many of its records hold none."""
    log = LocalLog(home / "log.sqlite")
    bodies: list[Body] = []
    undecodable = 0
    for (topic, partition), end in log.end_offsets().items():
        start = 0
        while topic in STORED_TOPICS and start < end:
            chunk = log.read(topic, partition, start, 10_000, 1 << 26)
            start = chunk.offsets[-1] + 1
            for value in chunk.values:
                try:
                    readable = decode(value).topic == topic
                except (ValueError, RecursionError):
                    readable = False
                if readable:
                    bodies.append(msgspec.json.decode(value))
                else:
                    undecodable += 1
    log.close()
    return bodies, undecodable


def expect(found: dict[str, list[tuple[Any, ...]]], bodies: Sequence[Body], settings: AttributionSettings) -> None:
    """Every table equals the oracle's, on every column."""
    wanted: dict[str, list[tuple[Any, ...]]] = {name: [] for name in found}
    for part in _apart(bodies):
        part_of = oracle(part, rules_for_oracle(settings))
        assert set(part_of) == set(found)
        for table, rows in part_of.items():
            wanted[table] += rows
    for table, rows in wanted.items():
        assert found[table] == in_order(rows), table


def _apart(bodies: Sequence[Body]) -> list[list[Body]]:
    """The bodies in groups of which none shares a join key with another: the oracle compares each with each."""
    parent: dict[str, str] = {}

    def root(key: str) -> str:
        while parent.setdefault(key, key) != key:
            key = parent[key]
        return key

    for body in bodies:
        parent[root(body.get("courier", _key(body)))] = root(_key(body))
    groups: dict[str, list[Body]] = {}
    for body in bodies:
        groups.setdefault(root(_key(body)), []).append(body)
    return list(groups.values()) or [[]]


def _key(body: Body) -> str:
    value: str = body[KEYS[body["type"]]]
    return value
