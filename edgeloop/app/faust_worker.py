"""``edgeloop worker``: the Faust application of one home, its log on Kafka, its tables wherever the settings say."""

from __future__ import annotations

import fcntl
import logging
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager

import faust
import msgspec
from faust.web import Request, Response, View
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

from edgeloop.app.logs import configure, note, note_failure
from edgeloop.app.metrics import WORKER_METRICS
from edgeloop.app.old_letters import delete_some, kept_from_us, tell_deleted
from edgeloop.app.process import CONSUMER_LOCK, ConsumerBusyError, horizon_of
from edgeloop.app.serve import listen, stopped_by_signals
from edgeloop.app.waiting import wait_for
from edgeloop.clock import SystemClock
from edgeloop.errors import EdgeloopError, UsageError
from edgeloop.events import ALERTS_TOPIC, UPDATES_TOPIC
from edgeloop.home import SEALING_KEY, Home
from edgeloop.log.base import LogUnavailableError
from edgeloop.log.connection import aiokafka_options, faust_credentials
from edgeloop.log.kafka import KafkaLog
from edgeloop.log.opening import create_home
from edgeloop.sealing import Sealer
from edgeloop.settings import Settings
from edgeloop.store.base import Store, StoreUnavailableError
from edgeloop.store.opening import on_postgres, open_store
from streams import Drain, Rules
from streams.faust_app import JoinWorker, Publisher, application
from streams.worker import Alert, Feed, Join, Steps

_log = logging.getLogger(__name__)

_MB = 1_000_000
_TOLD_BY_US = ("aiokafka", "faust", "mode")
"""Libraries that cry at every start and at each try: what matters of it the join tells, and `/readyz`."""


class _Opened:
    """What the join works with, opened in its thread."""

    def __init__(self, home: Home, settings: Settings) -> None:
        self._settings = settings
        self._log = KafkaLog(settings.kafka)
        try:
            self.store: Store = open_store(home, settings)
            try:
                rules, sealer = Rules.of(settings.attribution), Sealer(home.secret(SEALING_KEY))
                horizon = horizon_of(self._log, self.store)
                Drain(self._log, self.store, rules, sealer, horizon=horizon).check()
                self.steps = Steps(
                    self.store,
                    rules,
                    sealer,
                    self.identities(),
                    horizon=horizon,
                    earliest_us=settings.door.earliest_us,
                    updates=settings.worker.updates,
                    cache_bytes=round(settings.worker.cache_mb * _MB),
                    unflushed_bytes=round(settings.worker.cache_mb * _MB / 4),
                )
            except BaseException:
                self.store.close()
                raise
        except BaseException:
            self._log.close()
            raise

    def identities(self) -> Mapping[str, tuple[str, str]]:
        """(cluster id, topic id) of each topic, asked of the brokers now."""
        return {topic: (self._log.cluster_id, topic_id) for topic, topic_id in self._log.topic_ids().items()}

    def partitions(self, topic: str) -> int:
        """How many a topic has, as `identities` found them."""
        return self._log.partitions(topic)

    def delete_old_letters(self) -> int:
        """Delete some of the dead letters that were kept long enough, in one short transaction; how many."""
        deleted = delete_some(self.store, self._settings, kept_from_us(SystemClock().now_us()))
        tell_deleted(deleted)
        return deleted

    def close(self) -> None:
        """Close the connections."""
        self.store.close()
        self._log.close()


def work(home: Home, settings: Settings, host: str, port: int) -> bool:
    """Run until stopped; whether it was, and did not end because it cannot go on.

    Raises:
        UsageError: no brokers are set. EdgeloopError: what a person must mend before a worker may run.
    """
    if not settings.kafka.bootstrap:
        raise UsageError(
            "`edgeloop worker` reads Kafka: set EDGELOOP_KAFKA_BOOTSTRAP (or [kafka] bootstrap) to host:port of a "
            "broker. Without Kafka `edgeloop up` and `edgeloop process` drain the local log"
        )
    configure(settings.service.log_format)
    for library in _TOLD_BY_US:
        logging.getLogger(library).setLevel(logging.CRITICAL + 1)
    stopping = threading.Event()
    with closing(listen(host, port)) as bound:  # says what is wrong with the address; Faust only ends
        port = bound.getsockname()[1]
        with stopped_by_signals(stopping.set):
            there = wait_for(lambda: _look(home, settings), bound, stopping)
    if not there:
        note(_log, logging.INFO, "stopped")
        return True
    if not home.key_file(SEALING_KEY).exists():
        create_home(home, settings)
    kafka = settings.kafka
    with _beside_other_workers(home):
        app, publish = application(
            name=f"{kafka.topic_prefix}{kafka.group}-alerts",
            brokers=kafka.bootstrap,
            credentials=faust_credentials(kafka),
            host=host,
            port=port,
            datadir=str(home.path / "worker"),
            alerts=kafka.topic_prefix + ALERTS_TOPIC,
            on_alert=_note_alert,
        )
        feed = Feed(
            aiokafka_options(kafka),
            group=kafka.topic_prefix + kafka.group,
            prefix=kafka.topic_prefix,
            gather_ms=settings.worker.gather_ms,
        )
        updates = Publisher(aiokafka_options(kafka), kafka.topic_prefix + UPDATES_TOPIC)
        join = Join(
            lambda: _Opened(home, settings),
            feed,
            publish,
            updates.send if settings.worker.updates else None,
            tell=_tell,
        )
        join.add_closing(updates.close)
        _pages(app, join)
        worker = JoinWorker(app, join)
        note(_log, logging.INFO, "the worker joins its group (stop with Ctrl-C)", address=f"{host}:{port}")
        try:
            worker.execute_from_commandline()
        except SystemExit as ended:
            code = ended.code
    failure = join.failure
    if isinstance(failure, EdgeloopError):
        raise failure
    if isinstance(failure, LogUnavailableError | StoreUnavailableError):
        raise EdgeloopError(str(failure)) from failure
    if failure is not None:
        note_failure(_log, "the worker cannot go on", failure, logging.CRITICAL)
    elif not code:
        note(_log, logging.INFO, "stopped")
        return True
    return False


def _look(home: Home, settings: Settings) -> None:
    """Connect to brokers and store once.

    Raises:
        LogUnavailableError, StoreUnavailableError: one does not answer.
    """
    with closing(KafkaLog(settings.kafka)) as log:
        log.topic_ids()
    if on_postgres(home, settings):
        from edgeloop.store.postgres.session import Address

        Address(settings.store.url).connect({}).close()


def _tell(level: int, event: str, detail: str = "", failure: BaseException | None = None) -> None:
    if failure is None:
        note(_log, level, event, detail=detail)
    else:
        note_failure(_log, event, failure, level, detail=detail)


def _note_alert(alert: Alert) -> None:
    note(_log, logging.WARNING, "an alert", detail=f"{alert.alert}: {alert.where}. {alert.do}")


@contextmanager
def _beside_other_workers(home: Home) -> Iterator[None]:
    """Keep out what must have a home's tables for itself (a prune, a recompute), not other workers."""
    with (home.path / CONSUMER_LOCK).open("w", encoding="ascii") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConsumerBusyError(
                f"another process works on all tables of {home.path} now: wait for it to end, then run this again"
            ) from None
        yield


class JoinCollector(Collector):
    """The counts of one worker, read at each scrape."""

    def __init__(self, join: Join) -> None:
        self._join = join

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        """The metrics as they are now."""
        join, counts = self._join, self._join.counts
        values = {
            "records_total": counts.records,
            "batches_total": counts.batches,
            "failed_batches_total": counts.failed,
            "refused_batches_total": join.refused,
            "unavailable_total": counts.unavailable,
            "assignments_total": counts.assignments,
            "updates_total": counts.updates,
            "alerts_total": counts.alerts,
            "partitions": len(join.partitions),
            "lag_records": join.lag,
        }
        for metric in WORKER_METRICS:
            family = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
            value = values[metric.name.removeprefix("edgeloop_worker_")]
            yield family(metric.name.removesuffix("_total"), metric.help, value=value)


def _pages(app: faust.App, join: Join) -> None:
    """``/livez``, ``/readyz`` and ``/metrics``."""
    registry = CollectorRegistry()
    registry.register(JoinCollector(join))

    @app.page("/livez")
    async def livez(web: View, _request: Request) -> Response:
        return web.text("alive\n")

    @app.page("/readyz")
    async def readyz(web: View, _request: Request) -> Response:
        problem = join.problem
        said = [{"name": "worker", "ok": problem is None, "says": problem or "the worker drains its partitions"}]
        body = msgspec.json.encode({"ready": problem is None, "conditions": said})
        return web.bytes(body, content_type="application/json", status=200 if problem is None else 503)

    @app.page("/metrics")
    async def metrics(web: View, _request: Request) -> Response:
        return web.bytes(generate_latest(registry), content_type="text/plain")
