"""The doctor's checks of the log and the store: they read, and change nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import apsw

from edgeloop.app.finding import Finding, Patient
from edgeloop.app.ready import write_problem
from edgeloop.app.scrape import lag, read_store, wal_bytes
from edgeloop.clock import DAY_US, SECOND_US, iso
from edgeloop.events import DEAD_LETTERS_TOPIC
from edgeloop.log.base import TopicPartition
from edgeloop.log.local import SCHEMA_NUMBER as LOG_SCHEMA
from edgeloop.log.local import LocalLog
from edgeloop.sealing import LETTERS_KEPT_DAYS
from edgeloop.sqlite import connect_read_only
from edgeloop.store.base import Reader
from edgeloop.store.engine import FIRST_IN_PLACE
from edgeloop.store.reader import SqliteReader
from edgeloop.store.schema import DEAD_LETTERS, EVENT_TABLES
from edgeloop.store.schema import SCHEMA_NUMBER as STORE_SCHEMA
from streams import Rules, difference, fingerprint

_CHECKED_BYTES = 200_000_000
"""Of a database; looking through a larger one takes more than a few seconds."""
_LARGE_WAL_BYTES = 256 << 20
_LATE_S = 300
_CLOCK_US = 300 * SECOND_US
_LATEST_ROWS = 1_000
_LETTERS_GONE_DAYS = LETTERS_KEPT_DAYS + 1
"""Old ones are looked for once a day."""
_MB = 1_000_000


def check_log(patient: Patient) -> Iterator[Finding]:
    """The log opens, is not damaged, and can be written."""
    path = patient.home.log
    if not path.exists():
        yield Finding("ok", "log", "no events yet")
        return
    problem = _unsound(path, LOG_SCHEMA, "log") or write_problem(path)
    if problem is not None:
        yield Finding("fail", "log", problem, "see docs/contract.md, Files of a home; restore it from your backup")
        return
    patient.log = LocalLog(path, partitions=patient.settings.log.partitions)
    yield Finding("ok", "log", _sound(path))


def check_store(patient: Patient) -> Iterator[Finding]:
    """The store opens, is of this version and not damaged, and was made under the settings in force."""
    if patient.settings.store.url:
        from edgeloop.app.doctor_postgres import check_database

        yield from check_database(patient)
        if patient.store is not None:
            yield _rules(patient, patient.store)
        return
    path = patient.home.store
    if not path.exists():
        yield Finding("ok", "store", "no tables yet: `edgeloop process` or `edgeloop up` makes them")
        return
    version = _schema(path)
    if version is not None and 0 < version < STORE_SCHEMA:
        what = f"{path.name} has schema {version}, this version of Edgeloop has {STORE_SCHEMA}"
        do = "brings it forward" if version >= FIRST_IN_PLACE else "fills it anew from the log"
        yield Finding("warn", "store", what, f"`edgeloop process` {do}")
        return
    problem = _unsound(path, STORE_SCHEMA, "store")
    if problem is not None:
        yield Finding("fail", "store", problem, "move it away and run `edgeloop process`: the log holds every event")
        return
    patient.store = SqliteReader(path)
    yield Finding("ok", "store", _sound(path))
    yield _rules(patient, patient.store)


def _rules(patient: Patient, store: Reader) -> Finding:
    rows = store.query("SELECT value FROM meta WHERE name = 'rules'")[1]
    differ = difference(rows[0][0], fingerprint(Rules.of(patient.settings.attribution))) if rows else None
    if differ is None:
        return Finding("ok", "rules", "the tables were made under the settings in force")
    return Finding("fail", "rules", f"the tables were made under other rules: {differ.what}", differ.do)


def check_offsets(patient: Patient) -> Iterator[Finding]:
    """The store has seen nothing that the log has lost."""
    if patient.log is None or patient.store is None:
        return
    ends, starts, topic_ids = patient.log.end_offsets(), patient.log.start_offsets(), patient.log.topic_ids()
    fine = True
    for topic, partition, offset, cluster, topic_id in patient.store.query(
        "SELECT topic, partition, next_offset, cluster_id, topic_id FROM offsets ORDER BY topic, partition"
    )[1]:
        end = ends.get((topic, partition), 0)
        if (cluster, topic_id) != (patient.log.cluster_id, topic_ids.get(topic)):
            fine = False
            what = f"{topic}/{partition} of the store was drained from another log"
            yield Finding("fail", "offsets", what, "put the right log back, or move the store away to fill it anew")
        elif offset > end:
            fine = False
            what = f"{topic}/{partition}: the log ends at {end}, the store has seen up to {offset}; "
            what += f"records {end} to {offset - 1} are gone"
            do = "restore the log from its backup before anything is appended"
            if patient.on_kafka:
                do = "move the store away to fill it anew from what Kafka holds, and send again what is missing"
            yield Finding("fail", "offsets", what, do)
        elif offset < starts.get((topic, partition), 0) and patient.on_kafka:
            fine = False
            start = starts[topic, partition]
            what = f"{topic}/{partition}: records {offset} to {start - 1} were deleted before a worker saw them"
            do = "raise the topic's retention.ms, send again from its source what is missing, and accept the loss with "
            do += f"`edgeloop topics skip {topic}/{partition} --to {start}`"
            yield Finding("fail", "offsets", what, do)
    if fine:
        yield Finding("ok", "offsets", "within the log")


def check_lag(patient: Patient) -> Iterator[Finding]:
    """What waits in the log."""
    if patient.log is None:
        return
    behind = lag(patient.log, _drained(patient))
    records = sum(topic.records for topic in behind.values())
    oldest_us = min((t.oldest_us for t in behind.values() if t.oldest_us is not None), default=None)
    if not records or oldest_us is None:
        yield Finding("ok", "lag", "everything in the log is in the tables")
        return
    waiting_s = max(0, patient.now_us - oldest_us) // SECOND_US
    what = f"{records:,} records are not in the tables yet, the oldest for {waiting_s:,} s"
    late = waiting_s > _LATE_S
    do = "`edgeloop process`, or see why `edgeloop up` is behind"
    if patient.on_kafka:
        do = "one more `edgeloop worker`, or see why those that run are behind"
    yield Finding("warn" if late else "ok", "lag", what, do if late else "")


def _drained(patient: Patient) -> dict[TopicPartition, int]:
    """How far each partition is drained; one that never was begins where its log does."""
    starts = patient.log.start_offsets() if patient.log is not None else {}
    drained = read_store(patient.home, patient.settings).offsets
    return {tp: max(start, drained.get(tp, 0)) for tp, start in starts.items()}


def check_dead_letters(patient: Patient) -> Iterator[Finding]:
    """Dead letters, in the table or on the way there."""
    drained = waiting = old = 0
    if patient.store is not None:
        last_us = patient.store.moment(patient.now_us - _LETTERS_GONE_DAYS * DAY_US)
        ((drained, old),) = patient.store.query(
            f"SELECT count(*), count(*) FILTER (WHERE received_at < {last_us}) FROM {DEAD_LETTERS.name}"
        )[1]
    if patient.log is not None:
        waiting = lag(patient.log, _drained(patient))[DEAD_LETTERS_TOPIC].records
    if drained or waiting:
        what, do = f"{drained + waiting:,} are kept sealed", "`edgeloop dead-letters list`"
        if old and not patient.home.simulated:
            what += f", {old:,} of them for more than {_LETTERS_GONE_DAYS} days"
            runs = "`edgeloop worker`" if patient.on_kafka else "`edgeloop up` or `edgeloop process`"
            do += f"; {runs} deletes those: see why none runs, or what its log says of it"
        yield Finding("warn", "dead letters", what, do)
    else:
        yield Finding("ok", "dead letters", "none")


def check_clock(patient: Patient) -> Iterator[Finding]:
    """The clock is not before what was received."""
    if patient.home.simulated:
        yield Finding("ok", "clock", "simulated time")
        return
    newest = max((us for us in _latest_us(patient) if us is not None), default=0)
    if newest - patient.now_us > _CLOCK_US:
        what = f"it is {_second(patient.now_us)} here, but something was received at {_second(newest)}"
        yield Finding("fail", "clock", what, "set this machine's clock before anything more is taken")
    else:
        yield Finding(
            "ok", "clock", f"{iso(patient.now_us // SECOND_US * SECOND_US)}, not before what was received last"
        )


def _latest_us(patient: Patient) -> Iterator[int | None]:
    if patient.log is not None:
        for (topic, partition), end in patient.log.end_offsets().items():
            if end:
                yield from patient.log.read(topic, partition, end - 1, 1, 1).appended_us
    if patient.store is not None:
        for table in EVENT_TABLES.values():
            latest = f"SELECT received_at FROM {table.name} ORDER BY rowid DESC LIMIT {_LATEST_ROWS}"
            ((us,),) = patient.store.query(f"SELECT max(received_at) FROM ({latest}) AS latest")[1]
            yield us


def check_wal(patient: Patient) -> Iterator[Finding]:
    """No reader keeps the write-ahead logs growing."""
    sizes = {path.name: wal_bytes(path) for path in (patient.home.log, patient.home.store)}
    large = [name for name, size in sizes.items() if size > _LARGE_WAL_BYTES]
    what = ", ".join(f"{name}-wal {size / _MB:,.1f} MB" for name, size in sizes.items())
    if large:
        yield Finding(
            "warn", "wal", what, f"end what keeps {' and '.join(large)} open for reading; it shrinks by itself then"
        )
    else:
        yield Finding("ok", "wal", what)


def _schema(path: Path) -> int | None:
    """The schema number of a database, or None where it is none."""
    try:
        with closing(connect_read_only(path)) as db:
            return int(db.pragma("user_version"))
    except (apsw.NotADBError, apsw.CorruptError):
        return None


def _unsound(path: Path, schema: int, kind: str) -> str | None:
    """Why a database is none of ours or damaged, or None."""
    found = _schema(path)
    if not found:
        return f"{path.name} is no Edgeloop {kind}, or its first page is damaged"
    if found != schema:
        return f"{path.name} has {kind} schema {found}, this version of Edgeloop knows {schema}"
    if path.stat().st_size < _CHECKED_BYTES:
        try:
            with closing(connect_read_only(path)) as db:
                ((said,),) = db.execute("PRAGMA quick_check(1)")
        except apsw.CorruptError:
            said = "it cannot be read"
        if said != "ok":
            return f"{path.name} is damaged: {str(said).splitlines()[-1]}"
    return None


def _sound(path: Path) -> str:
    size = path.stat().st_size
    checked = "no damage found" if size < _CHECKED_BYTES else "opens; too large to be searched for damage here"
    return f"{path.name}, {size / _MB:,.1f} MB, {checked}"


def _second(us: int) -> str:
    return iso(us // SECOND_US * SECOND_US)
