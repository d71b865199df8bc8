"""``edgeloop topics skip``: accept that records were deleted from Kafka before they were drained, and go on."""

from __future__ import annotations

from contextlib import closing
from typing import NamedTuple

import msgspec

from edgeloop.errors import EdgeloopError, HomeError, UsageError
from edgeloop.home import Home
from edgeloop.log.base import LogUnavailableError, SearchableLog, TopicPartition
from edgeloop.log.opening import on_kafka, open_log
from edgeloop.settings import Settings
from edgeloop.store.base import StaleStateError, Store, StoredOffset, StoreUnavailableError
from edgeloop.store.opening import open_store
from edgeloop.store.writes import Writes

COUNTER = "skipped"
"""Of the store, by topic: offsets that were skipped."""
_NO_BATCH = 0


class Skipped(msgspec.Struct, frozen=True):
    """Which offsets of a partition were given up: from the first to before the other."""

    topic: str
    partition: int
    from_offset: int
    to_offset: int

    @property
    def says(self) -> str:
        """One sentence for people."""
        return (
            f"{self.topic}/{self.partition}: records {self.from_offset} to {self.to_offset - 1} are given up and never "
            f"come into the tables; workers go on from {self.to_offset}"
        )


class _Partition(NamedTuple):
    """A partition as Kafka has it now."""

    place: TopicPartition
    begin: int
    identity: tuple[str, str]

    @property
    def name(self) -> str:
        return "/".join(map(str, self.place))


def skip(home: Home, settings: Settings, place: str, to: int, *, accepted: bool) -> Skipped:
    """Move the store's offset of one partition forward over records that its topic no longer has.

    Workers may run meanwhile: the offset moves only from where it was seen.

    Args:
        home: its tables lack the records.
        settings: they say where log and tables are.
        place: ``TOPIC/PARTITION``, without the prefix.
        to: the offset to go on from, at most the first one that is still there.
        accepted: whether a person has said that the loss is known.

    Raises:
        UsageError: there is nothing to skip, records up to there can still be read, or nobody accepted the loss.
        EdgeloopError: Kafka or the store do not answer, or a worker moved the offset meanwhile.
    """
    home.require()
    if not on_kafka(home, settings):
        raise UsageError(
            "`edgeloop topics skip` is about Kafka, and the log of this home is a file: where it lost its beginning, "
            "take what it still holds to a new home (`edgeloop replay --export FILE`)"
        )
    if not settings.store.url and not home.store.exists():
        raise HomeError(f"there is no store at {home.store} yet: a worker begins where the topics do, by itself")
    try:
        with closing(open_log(home, settings, read_only=True)) as log:
            partition = _found(log, place)
        with closing(open_store(home, settings)) as store:
            return _skip(store, partition, to, accepted=accepted)
    except (LogUnavailableError, StoreUnavailableError) as error:
        raise EdgeloopError(f"{error} Nothing was skipped") from error
    except StaleStateError as error:
        raise EdgeloopError(f"a worker drained {place} meanwhile; nothing was skipped. Look again") from error


def _found(log: SearchableLog, place: str) -> _Partition:
    topic, _, number = place.rpartition("/")
    begins = log.start_offsets()
    where = (topic, int(number)) if number.isdecimal() else None
    if where is None or where not in begins:
        raise UsageError(
            f"no such partition: {place}. Write topic and partition as the worker's error does, such as "
            "edge.exposures/0, without [kafka] topic_prefix"
        )
    return _Partition(where, begins[where], (log.cluster_id, log.topic_ids()[topic]))


def _skip(store: Store, partition: _Partition, to: int, *, accepted: bool) -> Skipped:
    with store.transaction() as transaction:
        known = store.offsets().get(partition.place)
        if known is None:
            raise UsageError(
                f"{partition.name} was never drained: there is nothing to skip, a worker begins at {partition.begin}"
            )
        _refuse(partition, known, to)
        found = Skipped(*partition.place, known.next_offset, to)
        if not accepted:
            raise UsageError(
                f"{partition.name}: records {found.from_offset} to {to - 1} were deleted before they were drained. "
                "Nothing was skipped yet: add --yes if they cannot be brought back, and the tables shall go on "
                "without them"
            )
        writes = Writes(_NO_BATCH)
        writes.next_offsets[partition.place] = to
        writes.counters[COUNTER, partition.place[0]] += to - known.next_offset
        transaction.apply(writes, {partition.place[0]: partition.identity})
    return found


def _refuse(partition: _Partition, known: StoredOffset, to: int) -> None:
    if (known.cluster_id, known.topic_id) != partition.identity:
        raise UsageError(
            f"{partition.name} was drained from another cluster or topic than the one that is there now: no offset of "
            "it means anything here. Put the right brokers back, or fill a new store from this log"
        )
    if to <= known.next_offset:
        raise UsageError(f"{partition.name} is drained up to {known.next_offset}: there is nothing to skip up to {to}")
    if to > partition.begin:
        first = max(partition.begin, known.next_offset)
        raise UsageError(
            f"{partition.name}: records {first} to {to - 1} are not deleted; a worker reads them. "
            + (
                f"At most --to {partition.begin} can be skipped"
                if partition.begin > known.next_offset
                else "Nothing is lost there"
            )
        )
