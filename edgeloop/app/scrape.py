"""What ``/metrics`` reads at each scrape, and how it says so in Prometheus' text format.

Nothing here writes, and no read stays open: the longest is one record of each partition that is behind.
"""

from __future__ import annotations

import logging
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import accumulate
from pathlib import Path
from typing import Any, TypeVar

import apsw
import msgspec
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from edgeloop.app.logs import note_failure
from edgeloop.app.metrics import LATENESS_BOUNDS_S, METRICS, Metric
from edgeloop.clock import SECOND_US, Clock
from edgeloop.errors import EdgeloopError, HomeError
from edgeloop.events import DEAD_LETTERS_TOPIC, STORED_TOPICS
from edgeloop.home import Home
from edgeloop.log.base import Log, LogUnavailableError, TopicPartition
from edgeloop.settings import Settings
from edgeloop.store.base import Reader, StatementError, StoreUnavailableError
from edgeloop.store.opening import open_reader

_log = logging.getLogger(__name__)

TOPICS = (*STORED_TOPICS, DEAD_LETTERS_TOPIC)
Samples = list[tuple[tuple[str, ...], float]]
"""(label values, value) of one metric."""
Family = CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily
_Read = TypeVar("_Read")


class DoorCounts:
    """What one door counts since it opened."""

    def __init__(self) -> None:
        self.accepted: Counter[tuple[str, str]] = Counter()
        """By door and event type."""
        self.dead: Counter[tuple[str, str]] = Counter()
        """By door and reason."""
        self.refused: Counter[tuple[str, int]] = Counter()
        """By door and HTTP status."""


class StoreCounts(msgspec.Struct, frozen=True):
    """What the store tells: how far the log is drained, and the worker's counters by name and label."""

    offsets: dict[TopicPartition, int] = {}
    counters: dict[str, dict[str, int]] = {}


class LagOfTopic(msgspec.Struct, frozen=True):
    """What of one topic is not drained: how many records, and when the oldest was appended."""

    records: int
    oldest_us: int | None


def read_store(home: Home, settings: Settings) -> StoreCounts:
    """Offsets and counters; empty where there is no store yet.

    Raises:
        apsw.Error: the store is not readable now.
    """
    try:
        reader = open_reader(home, settings)
    except HomeError:
        return StoreCounts()
    try:
        offsets = {(t, p): int(n) for t, p, n in _rows(reader, "SELECT topic, partition, next_offset FROM offsets")}
        counters: dict[str, dict[str, int]] = {}
        for name, label, value in _rows(reader, "SELECT name, label, value FROM counters"):
            counters.setdefault(name, {})[label] = int(value)
    finally:
        reader.close()
    return StoreCounts(offsets, counters)


def lag(log: Log, offsets: Mapping[TopicPartition, int]) -> dict[str, LagOfTopic]:
    """What of each topic is not drained up to these offsets; of each partition that is behind, one record is read.

    Raises:
        LogUnavailableError, apsw.Error: the log is not readable now.
    """
    found = dict.fromkeys(TOPICS, LagOfTopic(0, None))
    ends = log.end_offsets()
    begins = {} if ends.keys() <= offsets.keys() else log.start_offsets()
    for (topic, partition), end in ends.items():
        start = offsets.get((topic, partition), begins.get((topic, partition), 0))
        if topic not in found or end <= start:
            continue
        oldest = log.read(topic, partition, start, max_records=1, max_bytes=1).appended_us
        so_far = found[topic]
        times = [us for us in (so_far.oldest_us, *oldest) if us is not None]
        found[topic] = LagOfTopic(so_far.records + end - start, min(times, default=None))
    return found


def wal_bytes(database: Path) -> int:
    """Size of a database's write-ahead log; 0 where it has none."""
    try:
        return database.with_name(database.name + "-wal").stat().st_size
    except FileNotFoundError:
        return 0


class SpineCollector(Collector):
    """Reads every metric of `METRICS` anew each time it is asked."""

    def __init__(self, home: Home, settings: Settings, log: Log, clock: Clock, counts: DoorCounts) -> None:
        self._home = home
        self._settings = settings
        self._log = log
        self._clock = clock
        self._counts = counts

    def describe(self) -> Iterable[Family]:
        """The metrics without values."""
        return [_family(metric) for metric in METRICS]

    def collect(self) -> Iterator[Family]:
        """The metrics with what they are now; those whose source is not readable now have no values."""
        store = _or_none(lambda: read_store(self._home, self._settings), "the store could not be read for /metrics")
        measured = dict(self._measured(store))
        for metric in METRICS:
            family = _family(metric)
            if isinstance(family, HistogramMetricFamily):
                if store is not None:
                    _add_lateness(family, store.counters)
            else:
                samples = measured.get(metric.name, [])
                if metric.counter is not None and store is not None:
                    samples = _stored(metric, store.counters.get(metric.counter, {}))
                for labels, value in samples:
                    family.add_metric(labels, value)
            yield family

    def _measured(self, store: StoreCounts | None) -> Iterator[tuple[str, Samples]]:
        counts = self._counts
        yield "edgeloop_door_accepted_total", [(key, n) for key, n in sorted(counts.accepted.items())]
        yield "edgeloop_door_dead_letters_total", [(key, n) for key, n in sorted(counts.dead.items())]
        yield (
            "edgeloop_door_refused_total",
            [((d, str(status)), n) for (d, status), n in sorted(counts.refused.items())],
        )
        now_us = self._clock.now_us()
        if store is not None:
            offsets = store.offsets
            drained: Counter[str] = Counter()
            for (topic, _), offset in offsets.items():
                drained[topic] += offset
            yield "edgeloop_drained_records_total", [((topic,), n) for topic, n in sorted(drained.items())]
            behind = _or_none(lambda: lag(self._log, offsets), "the log could not be read for /metrics")
            if behind is not None:
                yield from _lag_samples(behind, now_us)
            if last := store.counters.get("last_commit_us", {}).get(""):
                yield "edgeloop_since_last_commit_seconds", [((), max(0, now_us - last) / SECOND_US)]
        home = self._home
        yield (
            "edgeloop_wal_bytes",
            [((name,), wal_bytes(path)) for name, path in (("log", home.log), ("store", home.store))],
        )
        free = _or_none(lambda: shutil.disk_usage(home.path).free, "the disk's free space could not be read")
        if free is not None:
            yield "edgeloop_disk_free_bytes", [((), free)]


def registry_of(collector: SpineCollector) -> CollectorRegistry:
    """A registry with this collector alone: the library's global one would be shared by every door of a process."""
    registry = CollectorRegistry()
    registry.register(collector)
    return registry


def render(registry: CollectorRegistry, accept: str | None) -> tuple[bytes, str]:
    """The metrics in the text format that an ``Accept`` header asks for, and its content type."""
    encoder, content_type = choose_encoder(accept or "")
    return encoder(registry), content_type


def _family(metric: Metric) -> Family:
    labels = metric.labels
    if metric.kind == "counter":
        return CounterMetricFamily(metric.name, metric.help, labels=labels)
    if metric.kind == "gauge":
        return GaugeMetricFamily(metric.name, metric.help, labels=labels)
    return HistogramMetricFamily(metric.name, metric.help, labels=labels)


def _stored(metric: Metric, values: Mapping[str, int]) -> Samples:
    if metric.labels:
        return [((label,), value / metric.divided_by) for label, value in sorted(values.items())]
    return [((), values.get("", 0) / metric.divided_by)]


def _add_lateness(family: HistogramMetricFamily, counters: Mapping[str, Mapping[str, int]]) -> None:
    of_bucket = counters.get("lateness", {})
    totals = accumulate(of_bucket.get(bound, 0) for bound in LATENESS_BOUNDS_S)
    seconds = counters.get("lateness_seconds", {}).get("", 0)
    family.add_metric((), list(zip(LATENESS_BOUNDS_S, totals, strict=True)), seconds)


def _lag_samples(behind: Mapping[str, LagOfTopic], now_us: int) -> Iterator[tuple[str, Samples]]:
    oldest = {topic: of.oldest_us for topic, of in behind.items() if of.oldest_us is not None}
    yield "edgeloop_lag_records", [((topic,), of.records) for topic, of in behind.items()]
    yield "edgeloop_lag_seconds", [((), max(0, now_us - min(oldest.values(), default=now_us)) / SECOND_US)]
    yield "edgeloop_oldest_unprocessed_timestamp_seconds", [((t,), us / SECOND_US) for t, us in oldest.items()]


def _rows(reader: Reader, sql: str) -> list[tuple[Any, ...]]:
    try:
        return reader.query(sql)[1]
    except StatementError:  # a store of an older version, or one that is just being made, lacks the table
        return []


def _or_none(read: Callable[[], _Read], failed: str) -> _Read | None:
    """What a source gives, or None: a scrape is no reason to fail."""
    try:
        return read()
    except (apsw.Error, OSError, LogUnavailableError, StoreUnavailableError, EdgeloopError) as error:
        note_failure(_log, failed, error, logging.WARNING)
        return None
