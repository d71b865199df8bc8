"""What keeps a home's tables right over the years: other rules for all of them, and an end for what is old."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import msgspec

from edgeloop.app.old_letters import delete_old, kept_from_us, old_in_log
from edgeloop.app.output import Bar
from edgeloop.app.process import horizon_of, in_words, opened_drain, sole_consumer
from edgeloop.clock import Clock, SystemClock
from edgeloop.errors import EdgeloopError, HomeError, UsageError
from edgeloop.events import STORED_TOPICS
from edgeloop.home import Home
from edgeloop.horizon import Horizon
from edgeloop.log.base import Log
from edgeloop.log.local import LocalLog
from edgeloop.log.opening import open_log
from edgeloop.months import Month
from edgeloop.settings import Settings
from edgeloop.store.base import Reader, Store
from edgeloop.store.opening import on_postgres, open_reader, open_store
from edgeloop.store.schema import CHANGES, DEAD_LETTERS, EVENT_TABLES
from streams import Rules, prune, prune_is_unfinished, recompute


class Planned(msgspec.Struct, frozen=True):
    """What a prune deletes of one thing."""

    what: str
    rows: int


class Plan(msgspec.Struct, frozen=True):
    """What a prune does: rows by table, records of the log, dead letters of both."""

    horizon: Horizon
    deletes: list[Planned]


class Freed(msgspec.Struct, frozen=True):
    """Bytes of each file that are free for what comes next."""

    store: int
    log: int


def recompute_home(home: Home, settings: Settings, progress: Bar | None = None) -> int | None:
    """Bring a home's tables under the rules in force; how many join keys were taken, None where all was so already.

    Raises:
        ConsumerBusyError: another process drains this home. UnfinishedPassError: a prune is to end first.
        HomeError: there is no store yet, or its disk takes nothing.
    """
    _require_store(home, settings)
    with in_words(home), sole_consumer(home), closing(open_store(home, settings)) as store:
        return recompute(store, Rules.of(settings.attribution), progress)


def prune_home(
    home: Home,
    settings: Settings,
    before: str,
    *,
    dry_run: bool = False,
    unfrozen: bool = False,
    tell: Callable[[Plan], None] = lambda _plan: None,
    bar: Callable[[str], Bar] | None = None,
    clock: Clock | None = None,
) -> tuple[Plan, Freed | None]:
    """Delete what happened before the first moment of a month, from the tables, their state and the log.

    Args:
        home: it must have a store.
        settings: its settings.
        before: the month, YYYY-MM in the company's zone.
        dry_run: count only.
        unfrozen: go on although months were never frozen, whose events go for good then.
        tell: told what will be done, before it is.
        bar: makes a progress bar by name.
        clock: tells the present month, and the age of dead letters.

    Returns:
        What was planned, and what space became free (None after a dry run).

    Raises:
        UsageError: the month lies ahead, or before the horizon of an earlier prune.
        ConsumerBusyError, UnfinishedPassError, RulesMismatchError, LogMismatchError: the store cannot be worked on now.
        EdgeloopError: a month that was never frozen would go.
    """
    _require_store(home, settings)
    now_us = (clock or SystemClock()).now_us()
    month = Month.parse(before, settings.timezone)
    if month.start_us > now_us:
        raise UsageError(f"{month.name} has not begun: prune before a month that has")
    letters_us = kept_from_us(now_us)
    with in_words(home), sole_consumer(home):
        with _opened(home, settings) as (log, store):
            horizon = _horizon(month, Rules.of(settings.attribution), horizon_of(log, store))
            if not unfrozen:
                _refuse_unfrozen(home, settings, horizon)
            plan = Plan(
                horizon,
                [*_old_rows(home, settings, horizon, letters_us), *_old_records(log, store, horizon, letters_us)],
            )
            unfinished = prune_is_unfinished(store)
        tell(plan)
        if dry_run:
            return plan, None
        if not unfinished:
            # All that was appended is worked in first, couriers' keys too: what lies on the way cannot be pruned.
            with opened_drain(home, settings) as drain:
                drain.run(bar and bar("records"))
        with _opened(home, settings) as (log, store):
            before_bytes = store.free_bytes(), _free_bytes(log)
            if isinstance(log, LocalLog):
                log.set_horizon(horizon)
            prune(store, horizon, bar and bar("join keys"))
            local = log if isinstance(log, LocalLog) else None  # how long Kafka keeps records is its topics' setting
            if local is not None:
                _trim(local, store, horizon, bar and bar("partitions"))
            delete_old(local, store, settings, letters_us)
            return plan, Freed(store.free_bytes() - before_bytes[0], _free_bytes(log) - before_bytes[1])


@contextmanager
def _opened(home: Home, settings: Settings) -> Iterator[tuple[Log, Store]]:
    with closing(open_log(home, settings)) as log, closing(open_store(home, settings)) as store:
        yield log, store


def _free_bytes(log: Log) -> int:
    return log.free_bytes() if isinstance(log, LocalLog) else 0


def _require_store(home: Home, settings: Settings) -> None:
    home.require()
    if not on_postgres(home, settings) and not home.store.exists():
        raise HomeError(f"there is no store at {home.store} yet: run `edgeloop process` first")


def _horizon(month: Month, rules: Rules, before: Horizon | None) -> Horizon:
    exposures_us = month.start_us - rules.longest_us
    if before is None:
        return Horizon(month.start_us, exposures_us)
    if month.start_us < before.us:
        known = Month.of(before.us, month.timezone).name
        raise UsageError(f"this home was pruned before {known} already: a horizon only moves forward")
    return Horizon(month.start_us, max(exposures_us, before.exposures_us))


def _refuse_unfrozen(home: Home, settings: Settings, horizon: Horizon) -> None:
    with closing(open_reader(home, settings)) as reader:
        found: set[str] = set()
        for table in EVENT_TABLES.values():
            if table is not CHANGES:
                sql = (
                    f"SELECT DISTINCT substr({reader.day('occurred_at')}, 1, 7)"
                    f" FROM {table.name} WHERE occurred_at < {reader.moment(horizon.us)}"
                )
                found |= {str(name) for (name,) in reader.query(sql)[1]}
        utc = [Month.parse(name, settings.timezone) for name in found]
        # A month of UTC reaches into its neighbours of the company's zone.
        near = {month.name: month for at in utc for month in (at.previous(), at, at.next())}
        lost = [
            month.name
            for _, month in sorted(near.items())
            if month.start_us < horizon.us
            and not (home.freezes / month.name / "manifest.json").exists()
            and _has_events(reader, month)
        ]
    if lost:
        shown = ", ".join(lost[:6]) + (f" and {len(lost) - 6} more" if len(lost) > 6 else "")
        raise EdgeloopError(
            f"never frozen: {shown}. Freeze them first (`edgeloop freeze --month {lost[0]}`), or let their events go "
            "for good with --unfrozen"
        )


def _has_events(reader: Reader, month: Month) -> bool:
    return any(
        reader.query(
            f"SELECT 1 FROM {table.name} WHERE occurred_at >= {reader.moment(month.start_us)}"
            f" AND occurred_at < {reader.moment(month.end_us)} LIMIT 1"
        )[1]
        for table in EVENT_TABLES.values()
        if table is not CHANGES
    )


def _old_rows(home: Home, settings: Settings, horizon: Horizon, letters_us: int) -> list[Planned]:
    with closing(open_reader(home, settings)) as reader:

        def count(table: str, column: str, first_us: int) -> Planned:
            ((n,),) = reader.query(f"SELECT count(*) FROM {table} WHERE {column} < {reader.moment(first_us)}")[1]
            return Planned(table, int(n))

        tables = ((table.name, horizon.first_us(kind)) for kind, table in EVENT_TABLES.items())
        return [
            *(count(name, "occurred_at", first_us) for name, first_us in tables if first_us is not None),
            count("answers", "occurred_at", horizon.us),
            count("attributions", "occurred_at", horizon.us),
            count(DEAD_LETTERS.name, "received_at", letters_us),
        ]


def _old_records(log: Log, store: Store, horizon: Horizon, letters_us: int) -> list[Planned]:
    if not isinstance(log, LocalLog):
        return []
    starts = log.start_offsets()
    events = sum(max(0, end - starts[tp]) for tp, end in _trims(log, store, horizon))
    letters = sum(len(offsets) for _, offsets in old_in_log(log, store, letters_us))
    return [Planned("records of the log", events), Planned("dead letters of the log", letters)]


def _trims(log: LocalLog, store: Store, horizon: Horizon) -> list[tuple[tuple[str, int], int]]:
    """Of each partition of events the offset before which all is drained, and was appended before the horizon."""
    drained = store.offsets()
    return [
        ((topic, part), min(drained[topic, part].next_offset, log.offset_at(topic, part, horizon.us)))
        for topic in STORED_TOPICS
        for part in range(log.partitions(topic))
        if (topic, part) in drained
    ]


def _trim(log: LocalLog, store: Store, horizon: Horizon, progress: Bar | None) -> None:
    trims = _trims(log, store, horizon)
    for done, ((topic, part), offset) in enumerate(trims, start=1):
        log.trim(topic, part, offset)
        if progress is not None:
            progress(done, len(trims))
