"""Ours on the same load: so many ``edgeloop worker`` processes, with the tables in SQLite or in PostgreSQL.

They store every column, detect duplicates and write the attributions, all in one transaction with the offsets. A peer's
match is an object in memory; one of ours is a row on disk. The time runs from the first moment that a worker has
partitions to the last record that is committed, as ``/metrics`` tells.
"""

from __future__ import annotations

import re
import sys
import time
import urllib.request
from collections.abc import Sequence
from contextlib import suppress

from benchmarks.peers.late import Match
from benchmarks.peers.running import Progress, Runner, Running, Task
from edgeloop.home import Home
from edgeloop.settings import AttributionSettings, Settings, StoreSettings
from edgeloop.store.opening import open_reader
from tests.real.postgres import Postgres
from tests.real.process import free_port

_ASK_S = 1.0
_RECORDS = re.compile(rb"^edgeloop_worker_records_total (\S+)", re.MULTILINE)
_PARTITIONS = re.compile(rb"^edgeloop_worker_partitions (\S+)", re.MULTILINE)


class Workers(Running):
    """The workers of one home."""

    def __init__(self, name: str, task: Task, store_url: str, servers: Sequence[int]) -> None:
        self.home = Home(task.folder / "home")
        self.home.create()
        self._store_url = store_url
        self._window_h = task.window_h
        self._servers = servers
        self._ports = [free_port() for _ in range(task.parallel)]
        self._done = [0] * task.parallel
        self._first = self._at = 0.0
        environ = {
            "EDGELOOP_KAFKA_BOOTSTRAP": task.bootstrap,
            "EDGELOOP_KAFKA_TOPIC_PREFIX": task.prefix,
            "EDGELOOP_KAFKA_GROUP": task.folder.name,
            # Peers join over this window; the product's default is 72 h.
            "EDGELOOP_ATTRIBUTION_ENGAGEMENT_WINDOW_H": str(task.window_h),
            "EDGELOOP_STORE_URL": store_url,
        }
        command = [sys.executable, "-m", "edgeloop", "worker", "--home", str(self.home.path), "--port"]
        super().__init__(name, [[*command, str(port)] for port in self._ports], task.folder, environ)

    def progress(self) -> Progress:
        """Ask each worker."""
        for number, port in enumerate(self._ports):
            with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=_ASK_S) as page:
                said = page.read()
                records, partitions = _RECORDS.search(said), _PARTITIONS.search(said)
                if not self._first and partitions is not None and float(partitions[1]) > 0:
                    self._first = time.monotonic()
                if records is not None and float(records[1]) > self._done[number]:
                    self._done[number] = int(float(records[1]))
                    self._at = time.monotonic()
        return Progress(records=sum(self._done), first=self._first, at=self._at)

    def servers(self) -> Sequence[int]:
        """PostgreSQL's, where the tables are there."""
        return self._servers

    def matches(self) -> list[Match]:
        """The attributions in the store."""
        settings = Settings(
            store=StoreSettings(url=self._store_url),
            attribution=AttributionSettings(engagement_window_h=self._window_h, delivery_window_days=0.0),
        )
        reader = open_reader(self.home, settings)
        try:
            sql = "SELECT outcome_id, model_id, exposure_id FROM attributions WHERE credit > 0"
            return [Match(outcome.removeprefix("e:"), model, one) for outcome, model, one in reader.query(sql)[1]]
        finally:
            reader.close()


class Ours(Runner):
    """Workers on SQLite, or on a PostgreSQL server of this benchmark."""

    def __init__(self, name: str, postgres: Postgres | None = None) -> None:
        self.name = name
        self._postgres = postgres

    def prepare(self) -> None:
        """It is all there."""

    def start(self, task: Task) -> Workers:
        """Start the workers on an empty store."""
        if self._postgres is None:
            return Workers(self.name, task, "", ())
        server = self._postgres.process
        return Workers(self.name, task, self._postgres.create_database(), [server.pid] if server else ())
