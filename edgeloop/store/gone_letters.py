"""What stays of dead letters that were deleted: how many there were, by reason and by the day they came."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from zoneinfo import ZoneInfo

from edgeloop.clock import from_us
from edgeloop.store.base import Reader
from edgeloop.store.schema import DEAD_LETTERS

_BY_REASON, _BY_DAY = "letters_gone", "letters_gone_on"
"""Names of counters, with a reason or a date as label."""


def counters_of(
    gone: Iterable[tuple[str, str, int]], stored_topics: Collection[str], timezone: str
) -> dict[tuple[str, str], int]:
    """What to count for letters (source, reason, received_at in µs) when they are deleted.

    Those of records of the stored topics are ``pruned``, without which the count identity would miss them.
    """
    of_records = tuple(f"log:{topic}/" for topic in stored_topics)
    zone = ZoneInfo(timezone)
    counters: Counter[tuple[str, str]] = Counter()
    for source, reason, received_us in gone:
        counters[_BY_REASON, reason] += 1
        counters[_BY_DAY, _day(received_us, zone)] += 1
        if source.startswith(of_records):
            counters["pruned", DEAD_LETTERS.name] += 1
    return dict(counters)


def _day(us: int, zone: ZoneInfo) -> str:
    moment = from_us(us)
    try:
        return str(moment.astimezone(zone).date())
    except OverflowError:  # at the ends of Python's calendar; a letter may say any time
        return str(moment.date())


def gone_by_reason(reader: Reader) -> Counter[str]:
    """Reason → letters that were deleted."""
    return _counted(reader, _BY_REASON)


def gone_by_day(reader: Reader) -> Counter[str]:
    """Date of receipt in the company's zone → letters that were deleted."""
    return _counted(reader, _BY_DAY)


def _counted(reader: Reader, name: str) -> Counter[str]:
    rows = reader.query("SELECT label, value FROM counters WHERE name = ?", (name,))[1]
    return Counter({str(label): int(value) for label, value in rows})
