"""Everything that ``/metrics`` shows, as one typed list; docs/metrics.md is made from it.

The worker raises its counters in the transaction of the rows they count, so that any process can show them and none is
lost or counted twice (edgeloop/app/scrape.py reads them).
"""

from __future__ import annotations

from typing import Literal

import msgspec

from edgeloop.clock import SECOND_US

LATENESS_BOUNDS_S = ("60", "600", "3600", "21600", "86400", "259200", "604800", "1209600", "2419200", "+Inf")
"""Upper ends of the buckets, as the labels of the store's counter ``lateness``: a minute to four weeks."""


class Metric(msgspec.Struct, frozen=True, kw_only=True):
    """One metric: what stands in ``/metrics`` and in docs/metrics.md."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    labels: tuple[str, ...] = ()
    help: str
    source: str
    """Where the value comes from, for people."""
    counter: str | None = None
    """The store's counter behind it; otherwise it is measured at the scrape."""
    divided_by: int = 1
    """The counter's unit in that of the metric."""


_STORE = "the store's counter `{}`"
METRICS: tuple[Metric, ...] = (
    Metric(
        name="edgeloop_door_accepted_total",
        kind="counter",
        labels=("door", "type"),
        help="Events appended to the log since the door opened.",
        source="this process",
    ),
    Metric(
        name="edgeloop_door_dead_letters_total",
        kind="counter",
        labels=("door", "reason"),
        help="Input kept sealed because it could not be taken, since the door opened.",
        source="this process",
    ),
    Metric(
        name="edgeloop_door_refused_total",
        kind="counter",
        labels=("door", "status"),
        help="Requests refused with nothing kept, since the door opened.",
        source="this process",
    ),
    Metric(
        name="edgeloop_drained_records_total",
        kind="counter",
        labels=("topic",),
        help="Records of the log that the worker is done with.",
        source="the store's offsets",
    ),
    Metric(
        name="edgeloop_lag_records",
        kind="gauge",
        labels=("topic",),
        help="Records in the log that are not in the tables yet.",
        source="the log's ends minus the store's offsets",
    ),
    Metric(
        name="edgeloop_lag_seconds",
        kind="gauge",
        help="Age of the oldest record that is not in the tables yet, since it was appended; 0 where none waits.",
        source="the log, at the store's offsets",
    ),
    Metric(
        name="edgeloop_oldest_unprocessed_timestamp_seconds",
        kind="gauge",
        labels=("topic",),
        help="When the oldest record was appended that is not in the tables yet; absent where none waits.",
        source="the log, at the store's offsets",
    ),
    Metric(
        name="edgeloop_lateness_seconds",
        kind="histogram",
        help="How long after it happened each delivery of an event reached the door.",
        source=_STORE.format("lateness") + " and `lateness_seconds`",
        counter="lateness",
    ),
    Metric(
        name="edgeloop_reattributed_outcomes_total",
        kind="counter",
        help="Outcomes whose attribution was computed again because something arrived after them.",
        source=_STORE.format("reattributed_outcomes"),
        counter="reattributed_outcomes",
    ),
    Metric(
        name="edgeloop_ignored_links_total",
        kind="counter",
        help="Outcomes that name an exposure which is none of the person's shown ones.",
        source=_STORE.format("ignored_links"),
        counter="ignored_links",
    ),
    Metric(
        name="edgeloop_superseded_total",
        kind="counter",
        labels=("type",),
        help="Bodies that lost against another of the same id.",
        source=_STORE.format("superseded"),
        counter="superseded",
    ),
    Metric(
        name="edgeloop_duplicates_total",
        kind="counter",
        labels=("topic",),
        help="Records that were a delivery of something already known.",
        source=_STORE.format("duplicates"),
        counter="duplicates",
    ),
    Metric(
        name="edgeloop_dead_letters_total",
        kind="counter",
        labels=("reason",),
        help="Dead letters that the worker drained or made.",
        source=_STORE.format("dead_letters"),
        counter="dead_letters",
    ),
    Metric(
        name="edgeloop_shard_wait_seconds_total",
        kind="counter",
        help="Time that batches waited for the locks of their shards.",
        source=_STORE.format("shard_wait_us"),
        counter="shard_wait_us",
        divided_by=SECOND_US,
    ),
    Metric(
        name="edgeloop_batches_total",
        kind="counter",
        help="Transactions of the worker, those without new records too.",
        source=_STORE.format("batches"),
        counter="batches",
    ),
    Metric(
        name="edgeloop_since_last_commit_seconds",
        kind="gauge",
        help="Since the worker last committed; absent before the first time. It grows too while nothing arrives.",
        source=_STORE.format("last_commit_us"),
    ),
    Metric(
        name="edgeloop_wal_bytes",
        kind="gauge",
        labels=("file",),
        help="Size of the write-ahead log beside the log and the store; an open reader makes it grow.",
        source="the files",
    ),
    Metric(
        name="edgeloop_disk_free_bytes",
        kind="gauge",
        help="Space left on the disk of the home.",
        source="the file system",
    ),
)


_WORKER = "this worker"
WORKER_METRICS: tuple[Metric, ...] = (
    Metric(
        name="edgeloop_worker_records_total", kind="counter", help="Records that this worker drained.", source=_WORKER
    ),
    Metric(name="edgeloop_worker_batches_total", kind="counter", help="Batches that it committed.", source=_WORKER),
    Metric(
        name="edgeloop_worker_failed_batches_total",
        kind="counter",
        help="Batches that raised and were read again.",
        source=_WORKER,
    ),
    Metric(
        name="edgeloop_worker_refused_batches_total",
        kind="counter",
        help="Batches that came too late and were done again.",
        source=_WORKER,
    ),
    Metric(
        name="edgeloop_worker_unavailable_total",
        kind="counter",
        help="Times that store or brokers did not answer.",
        source=_WORKER,
    ),
    Metric(
        name="edgeloop_worker_assignments_total",
        kind="counter",
        help="Times that the group gave it partitions.",
        source=_WORKER,
    ),
    Metric(
        name="edgeloop_worker_updates_total", kind="counter", help="Changed outcomes that it published.", source=_WORKER
    ),
    Metric(name="edgeloop_worker_alerts_total", kind="counter", help="Alerts that it published.", source=_WORKER),
    Metric(name="edgeloop_worker_partitions", kind="gauge", help="Partitions it has.", source=_WORKER),
    Metric(name="edgeloop_worker_lag_records", kind="gauge", help="Records behind, in its partitions.", source=_WORKER),
)
"""Of one ``edgeloop worker``, which shows nothing else."""


def reference() -> str:
    """docs/metrics.md."""
    lines = [
        "# Metrics",
        "",
        "Made by `python -m scripts.make_reference`. `GET /metrics` of `edgeloop serve` and of `edgeloop up` shows",
        "them, in Prometheus' text format. The store's counters count from its beginning and are the same from every",
        "process; before `edgeloop process` or `edgeloop up` has run once, they are absent or 0.",
        "",
        *_table(METRICS),
    ]
    bounds = ", ".join(bound for bound in LATENESS_BOUNDS_S if bound != "+Inf")
    lines += ["", f"Buckets of `edgeloop_lateness_seconds`: {bounds} (a minute to four weeks)."]
    lines += ["", "`GET /metrics` of each `edgeloop worker`:", "", *_table(WORKER_METRICS)]
    return "\n".join(lines) + "\n"


def _table(metrics: tuple[Metric, ...]) -> list[str]:
    lines = ["| metric | kind | labels | meaning | from |", "|---|---|---|---|---|"]
    for metric in metrics:
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        lines.append(f"| `{metric.name}` | {metric.kind} | {labels} | {metric.help} | {metric.source} |")
    return lines
