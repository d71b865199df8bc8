"""A company on Kafka: topics with a prefix of their own, a home, workers as processes, tables in either store."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw
import msgspec
import psycopg
from kafka import KafkaConsumer, TopicPartition

from edgeloop.events import ALERTS_TOPIC, DEAD_LETTERS_TOPIC, STORED_TOPICS, UPDATES_TOPIC
from edgeloop.home import Home
from edgeloop.log.kafka import KafkaLog
from edgeloop.settings import AttributionSettings, KafkaSettings, Settings, StoreSettings
from edgeloop.store.base import Reader
from edgeloop.store.opening import open_reader
from tests.pipeline import Body, Counts, counts_of, expect, tables_of
from tests.real.kafka import Broker
from tests.real.process import die_with_parent, free_port, wait_until

_DRAINED_S = 120.0


class WorkerProcess:
    """``edgeloop worker`` as a process of its own."""

    def __init__(self, company: Company, number: int, **environment: str) -> None:
        self.port = free_port()
        self.log = company.home.path.parent / f"worker-{number}.log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "edgeloop",
                    "worker",
                    "--home",
                    str(company.home.path),
                    "--port",
                    str(self.port),
                ],
                env=os.environ | company.environment | environment,
                stdout=log,
                stderr=log,
                preexec_fn=die_with_parent,
            )

    def metric(self, name: str) -> float | None:
        """One number of its metrics, or None where it does not answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=2) as answer:
                lines = answer.read().decode().splitlines()
        except OSError:
            return None
        return next((float(line.split()[-1]) for line in lines if line.startswith(f"edgeloop_worker_{name} ")), None)

    def end(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Signal it and wait for its end; its exit code."""
        self.process.send_signal(how)
        return self.process.wait(60)

    @property
    def said(self) -> str:
        """What it logged."""
        return self.log.read_text(errors="replace")


class Company:
    """Topics, home, workers and tables of one company."""

    def __init__(self, broker: Broker, prefix: str, folder: Path, database_url: str = "") -> None:
        self.broker = broker
        self.prefix = prefix
        self.home = Home(folder / "home")
        self.settings = Settings(
            kafka=KafkaSettings(bootstrap=broker.bootstrap, topic_prefix=prefix), store=StoreSettings(url=database_url)
        )
        self.environment = {
            "EDGELOOP_KAFKA_BOOTSTRAP": broker.bootstrap,
            "EDGELOOP_DOOR_EARLIEST": "0001-01-01",  # the worlds go back to 1969
            "EDGELOOP_KAFKA_TOPIC_PREFIX": prefix,
            **({"EDGELOOP_STORE_URL": database_url} if database_url else {}),
        }
        self.workers: list[WorkerProcess] = []
        self.home.create()

    def create_topics(self, partitions: int | Callable[[str], int] = 4) -> None:
        """Make every topic that workers need."""
        for name in (*STORED_TOPICS, DEAD_LETTERS_TOPIC, ALERTS_TOPIC, UPDATES_TOPIC):
            self.broker.create_topic(
                self.prefix + name, partitions if isinstance(partitions, int) else partitions(name)
            )

    def log(self) -> KafkaLog:
        """Its log, to append to."""
        return KafkaLog(self.settings.kafka)

    def start_worker(self, **environment: str) -> WorkerProcess:
        """One more worker."""
        worker = WorkerProcess(self, len(self.workers) + 1, **environment)
        self.workers.append(worker)
        return worker

    def reader(self) -> Reader:
        """Its tables."""
        return open_reader(self.home, self.settings)

    def offsets(self) -> dict[tuple[str, int], int]:
        """How far each partition is drained."""
        reader = self.reader()
        try:
            return {(t, p): n for t, p, n in reader.query("SELECT topic, partition, next_offset FROM offsets")[1]}
        finally:
            reader.close()

    def count(self, table: str) -> int:
        """How many rows a table has."""
        reader = self.reader()
        try:
            ((n,),) = reader.query(f"SELECT count(*) FROM {table}")[1]
        finally:
            reader.close()
        return int(n)

    def execute(self, sql: str) -> None:
        """Change something behind everybody's back."""
        if self.settings.store.url:
            with psycopg.connect(self.settings.store.url, autocommit=True) as postgres:
                postgres.execute(sql.encode())
        else:
            sqlite = apsw.Connection(str(self.home.store))
            sqlite.set_busy_timeout(10_000)
            sqlite.execute(sql)
            sqlite.close()

    def counts(self) -> Counts:
        """Both sides of the count identity."""
        return counts_of(self.reader())

    def wait_until_drained(self, seconds: float = _DRAINED_S) -> None:
        """Wait until every record of Kafka is in the tables, and nothing waits for a courier's key."""
        with_log = self.log()
        try:
            ends = {tp: end for tp, end in with_log.end_offsets().items() if end}
            wait_until(lambda: self._has(ends), "the end of the topics", seconds)
        except TimeoutError as error:
            said = "\n".join(worker.said[-1_500:] for worker in self.workers)
            raise AssertionError(f"{error}\n{said}") from error
        finally:
            with_log.close()

    def _has(self, ends: dict[tuple[str, int], int]) -> bool:
        try:
            reader = self.reader()
        except Exception:
            return False
        try:
            rows = reader.query("SELECT topic, partition, next_offset FROM offsets")[1]
            ((waiting,),) = reader.query("SELECT count(*) FROM dirty_keys")[1]
        except Exception:
            return False
        finally:
            reader.close()
        stored = {(topic, partition): offset for topic, partition, offset in rows}
        return not waiting and all(stored.get(tp, 0) >= end for tp, end in ends.items())

    def expect(self, bodies: list[Body], settings: AttributionSettings | None = None) -> None:
        """The tables are what the events mean, on every column."""
        assert self.counts().balanced
        self.expect_tables(bodies, settings)

    def expect_tables(self, bodies: list[Body], settings: AttributionSettings | None = None) -> None:
        """The same where offsets have gaps, and cannot be counted by."""
        expect(tables_of(self.reader()), bodies, settings or AttributionSettings())

    def close(self) -> None:
        """Kill what still runs."""
        for worker in self.workers:
            if worker.process.poll() is None:
                worker.process.kill()
                worker.process.wait()

    def __enter__(self) -> Company:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def ready(worker: WorkerProcess) -> bool:
    """Whether a worker has joined and been given what it gets."""
    return (worker.metric("assignments_total") or 0) > 0


def records(company: Company, topic: str) -> list[dict[str, Any]]:
    """What stands in a topic of JSON."""
    name = company.prefix + topic
    consumer = KafkaConsumer(bootstrap_servers=company.broker.bootstrap, group_id=None, auto_offset_reset="earliest")
    try:
        parts = [TopicPartition(name, number) for number in consumer.partitions_for_topic(name)]
        consumer.assign(parts)
        ends = consumer.end_offsets(parts)
        found: list[dict[str, Any]] = []
        until = time.monotonic() + 20
        while any(consumer.position(part) < ends[part] for part in parts) and time.monotonic() < until:
            for got in consumer.poll(timeout_ms=500).values():
                found += [msgspec.json.decode(record.value) for record in got]
        return found
    finally:
        consumer.close()
