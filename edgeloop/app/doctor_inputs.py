"""The doctor's checks of what senders send: clocks that were never set, and who and what is named."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import msgspec

from edgeloop.app.finding import Finding, Patient
from edgeloop.home import SEALING_KEY
from edgeloop.horizon import BeforeEarliestError
from edgeloop.sealing import DeadLetter, Sealer, UnsealError
from edgeloop.store.schema import DEAD_LETTERS, EVENT_TABLES

_LETTERS = 1_000
"""Dead letters that are looked into."""
LATEST_ROWS = 20_000
"""Of each table: what is sent now, not what was years ago."""
_SHOWN = 5
_NAMES = ("device", "site")


def check_device_clocks(patient: Patient) -> Iterator[Finding]:
    """Clocks that were at the epoch, by device and site, and what is in the tables with such a stamp."""
    if patient.store is None:
        return
    earliest_us = patient.settings.door.earliest_us
    day = patient.settings.door.earliest.isoformat()
    refused = _of_letters(patient)
    corrected = _corrected(patient, earliest_us)
    stored = {table.name: _before(patient, table.name, earliest_us) for table in EVENT_TABLES.values()}
    if refused:
        what = f"{refused.total():,} events were refused whose clock stood before {day} ({_most(refused)})"
        do = "let these devices send `Edgeloop-Sent-At`, or wait until their clock is set; then send again"
        yield Finding("warn", "device clocks", what, do)
    if corrected:
        what = f"{corrected.total():,} of the latest events came from clocks before {day}, and `Edgeloop-Sent-At` set "
        what += f"them right ({_most(corrected)})"
        yield Finding("warn", "device clocks", what, "let these devices set their clock before their first event")
    if any(stored.values()):
        told = ", ".join(f"{n:,} of {name}" for name, n in stored.items() if n)
        what = f"rows of the tables are stamped before {day} ({told}): no month counts them"
        do = "nothing, or set [door] earliest earlier where they are true"
        yield Finding("warn", "device clocks", what, do)
    if not refused and not corrected and not any(stored.values()):
        yield Finding("ok", "device clocks", f"none before {day}")


def _of_letters(patient: Patient) -> Counter[str]:
    """By device and site, of dead letters that are sealed here; what cannot be opened or read counts without."""
    if patient.store is None:
        return Counter()
    names = ", ".join(DEAD_LETTERS.names)
    rows = patient.store.query(
        f"SELECT {names} FROM {DEAD_LETTERS.name} WHERE reason = '{BeforeEarliestError.reason}' "
        f"ORDER BY received_at DESC LIMIT {_LETTERS}"
    )[1]
    if not rows:
        return Counter()
    sealer = Sealer(patient.home.secret(SEALING_KEY))
    return Counter(_sender(sealer, DeadLetter.of_row(row)) for row in rows)


def _sender(sealer: Sealer, letter: DeadLetter) -> str:
    try:
        value: Any = msgspec.json.decode(sealer.open(letter))
    except (UnsealError, msgspec.DecodeError, UnicodeError, RecursionError):
        value = None
    told = [str(value[name])[:64] for name in _NAMES if isinstance(value, dict) and isinstance(value.get(name), str)]
    return " at ".join(told) or letter.source


def _corrected(patient: Patient, earliest_us: int) -> Counter[str]:
    if patient.store is None:
        return Counter()
    latest = f"SELECT device, site, occurred_at, occurred_at_raw FROM exposures ORDER BY rowid DESC LIMIT {LATEST_ROWS}"
    moment = patient.store.moment(earliest_us)
    rows = patient.store.query(
        f"SELECT device, site, count(*) FROM ({latest}) AS latest "
        f"WHERE occurred_at_raw < {moment} AND occurred_at >= {moment} GROUP BY device, site"
    )[1]
    found: Counter[str] = Counter()
    for device, site, n in rows:
        found[" at ".join(name for name in (device, site) if name) or "no device named"] += int(n)
    return found


def _before(patient: Patient, table: str, earliest_us: int) -> int:
    if patient.store is None:
        return 0
    ((n,),) = patient.store.query(
        f"SELECT count(*) FROM {table} WHERE occurred_at < {patient.store.moment(earliest_us)}"
    )[1]
    return int(n)


def _most(counts: Counter[str]) -> str:
    told = ", ".join(f"{name}: {n:,}" for name, n in counts.most_common(_SHOWN))
    return told + (f", and {len(counts) - _SHOWN} more" if len(counts) > _SHOWN else "")
