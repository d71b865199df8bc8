"""`/metrics` says what the tables say and holds nothing open; `/readyz` tries what it names."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import httpx
import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from starlette.applications import Starlette

from edgeloop.app import ready, scrape
from edgeloop.app.door import create_app
from edgeloop.app.faust_worker import JoinCollector
from edgeloop.app.metrics import LATENESS_BOUNDS_S, METRICS, WORKER_METRICS, reference
from edgeloop.clock import iso
from edgeloop.home import Home
from edgeloop.log.base import Entry
from edgeloop.log.local import LocalLog
from edgeloop.settings import ServiceSettings, Settings
from edgeloop.sqlite import connect
from edgeloop.store.reader import SqliteReader
from edgeloop.store.sqlite import SqliteStore
from streams.batch import LATENESS_BOUNDS_S as BOUNDS_OF_THE_WORKER
from streams.steps import TOPICS
from streams.worker import Alert, Feed, Join
from tests.fakes import FixedClock, at
from tests.pipeline import Spine, entry

NOW = at("2026-02-03T12:00:00Z")
Samples = dict[tuple[str, tuple[str, ...]], float]


def get(app: Starlette, path: str, **headers: str) -> httpx.Response:
    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://door") as client:
            return await client.get(path, headers=headers)

    return asyncio.run(ask())


class Served:
    """A door on a home, its log, and its clock."""

    def __init__(self, path: Path, settings: Settings) -> None:
        self.home = Home(path)
        self.home.create()
        self.settings = settings
        self.clock = FixedClock(NOW)
        self.log = LocalLog(self.home.log, partitions=2, clock=self.clock)
        self.app = create_app(self.home, settings, self.log, self.clock)

    def samples(self) -> Samples:
        """(name, label values) → value of everything that is shown."""
        answer = get(self.app, "/metrics")
        assert answer.status_code == 200
        return {
            (sample.name, tuple(sample.labels.values())): sample.value
            for family in text_string_to_metric_families(answer.text)
            for sample in family.samples
        }

    def spine(self) -> Spine:
        return Spine(self.home.path, self.settings.attribution)

    def ready(self) -> tuple[int, dict[str, str]]:
        """The status, and the sentence of each condition that does not hold."""
        answer = get(self.app, "/readyz")
        said = answer.json()
        assert said["ready"] is (answer.status_code == 200)
        assert [c["name"] for c in said["conditions"]] == ["log", "disk", "appends"]
        return answer.status_code, {c["name"]: c["says"] for c in said["conditions"] if not c["ok"]}


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Served]:
    served = Served(tmp_path / "home", Settings())
    yield served
    served.log.close()


def engagement(n: int, happened_us: int, received_us: int, **more: object) -> dict[str, Any]:
    return {
        "type": "engagement", "event_id": f"g{n}", "subject": "a" * 26, "name": "opened", "source": "app",
        "occurred_at": iso(happened_us), "received_at": iso(received_us),
    } | more  # fmt: skip


def test_the_list_is_what_is_shown_with_kind_labels_and_help(door: Served) -> None:
    families = {f.name: f for f in text_string_to_metric_families(get(door.app, "/metrics").text)}
    assert set(families) == {metric.name.removesuffix("_total") for metric in METRICS}
    for metric in METRICS:
        family = families[metric.name.removesuffix("_total")]
        assert (family.type, family.documentation) == (metric.kind, metric.help)


def test_a_worker_shows_its_own_list() -> None:
    async def scraped() -> str:
        async def alert(_alert: Alert) -> None: ...

        feed = Feed({}, group="g", prefix="", gather_ms=1)
        join = Join(lambda: pytest.fail("it is not started"), feed, alert, tell=lambda *_, **__: None)
        registry = CollectorRegistry()
        registry.register(JoinCollector(join))
        return generate_latest(registry).decode()

    families = {f.name: f for f in text_string_to_metric_families(asyncio.run(scraped()))}
    assert set(families) == {metric.name.removesuffix("_total") for metric in WORKER_METRICS}
    for metric in WORKER_METRICS:
        family = families[metric.name.removesuffix("_total")]
        assert (family.type, family.documentation) == (metric.kind, metric.help)
        assert f"`{metric.name}`" in reference()


def test_names_follow_the_conventions() -> None:
    for metric in (*METRICS, *WORKER_METRICS):
        assert metric.name.startswith("edgeloop_")
        assert metric.name.endswith("_total") == (metric.kind == "counter")
        assert not any(unit in metric.name for unit in ("_us", "_ms", "_mb", "_minutes"))
    assert tuple(map(str, BOUNDS_OF_THE_WORKER)) == LATENESS_BOUNDS_S[:-1]
    assert scrape.TOPICS == TOPICS


def test_without_a_store_everything_is_absent_or_0(door: Served) -> None:
    shown = door.samples()
    assert all(value == 0 for (name, _), value in shown.items() if "disk" not in name and "wal" not in name)
    assert {labels[0] for name, labels in shown if name == "edgeloop_lag_records"} == set(TOPICS)
    assert not door.home.store.exists(), "a scrape made a store"


def test_the_counters_are_the_tables(door: Served) -> None:
    spine = door.spine()
    exposure = {
        "type": "exposure", "exposure_id": "x1", "subject": "a" * 26, "touchpoint": "app", "model_id": "m",
        "model_version": "1", "occurred_at": iso(NOW - 10_000_000), "received_at": iso(NOW),
    }  # fmt: skip
    first = [engagement(n, NOW - 5_000_000, NOW) for n in range(3)]
    spine.append([*first, engagement(9, NOW, NOW, exposure_id="nowhere")])
    spine.drain(1_000)
    spine.append([first[0], first[1], engagement(2, NOW - 5_000_000, NOW, revision=1), exposure])
    spine.append_undecodable("engagement.events", "k", b"{}")
    spine.drain(1_000)
    spine.close()
    shown = door.samples()
    reader = SqliteReader(door.home.store)

    def table(sql: str) -> dict[tuple[str, ...], float]:
        return {tuple(row[:-1]): row[-1] for row in reader.query(sql)[1]}

    def of(name: str) -> dict[tuple[str, ...], float]:
        return {labels: value for (shown_name, labels), value in shown.items() if shown_name == name and value}

    drained = table("SELECT topic, sum(next_offset) FROM offsets GROUP BY topic")
    assert of("edgeloop_drained_records_total") == drained == {("edge.exposures",): 1, ("engagement.events",): 8}
    assert of("edgeloop_duplicates_total") == {("engagement.events",): 2}
    assert of("edgeloop_duplicates_total") == table(
        "SELECT topic, sum(duplicates) FROM offsets GROUP BY topic HAVING sum(duplicates)"
    )
    superseded = table("SELECT event_type, count(*) FROM superseded GROUP BY event_type")
    assert of("edgeloop_superseded_total") == superseded == {("engagement",): 1}
    dead = table("SELECT reason, count(*) FROM dead_letters GROUP BY reason")
    assert of("edgeloop_dead_letters_total") == dead == {("undecodable",): 1}
    assert shown["edgeloop_ignored_links_total", ()] == 1
    assert shown["edgeloop_reattributed_outcomes_total", ()] >= 4, "the exposure came after all four"
    assert shown["edgeloop_batches_total", ()] >= 2
    assert shown["edgeloop_lag_seconds", ()] == 0
    assert ("edgeloop_since_last_commit_seconds", ()) in shown
    reader.close()


def test_lateness_is_a_cumulative_histogram(door: Served) -> None:
    spine = door.spine()
    lateness_s = [0, 60, 61, 600, 3_601, 86_400, 86_401, 2_419_200, 2_419_201, 9_000_000]
    spine.append([engagement(n, NOW - s * 1_000_000, NOW) for n, s in enumerate(lateness_s)])
    spine.drain(1_000)
    spine.close()
    shown = door.samples()
    for bound in LATENESS_BOUNDS_S:
        at_most = sum(s <= float(bound) for s in lateness_s)
        assert shown["edgeloop_lateness_seconds_bucket", (bound,)] == at_most, bound
    assert shown["edgeloop_lateness_seconds_count", ()] == len(lateness_s)
    assert shown["edgeloop_lateness_seconds_sum", ()] == sum(lateness_s)


def test_lag_in_records_and_seconds_from_the_oldest_that_waits(door: Served) -> None:
    spine = door.spine()
    door.log.append([entry(engagement(1, NOW, NOW))])
    spine.drain(1_000)
    for seconds, topic in ((10, "engagement.events"), (30, "engagement.events"), (20, "dead.letters")):
        door.clock.now = NOW + seconds * 1_000_000
        door.log.append([Entry(topic, f"key{n}", b"{}") for n in range(4)])
    door.clock.now = NOW + 100_000_000
    shown = door.samples()
    records = {labels[0]: value for (name, labels), value in shown.items() if name == "edgeloop_lag_records" and value}
    assert records == {"engagement.events": 8, "dead.letters": 4}
    assert shown["edgeloop_lag_seconds", ()] == 90
    oldest = "edgeloop_oldest_unprocessed_timestamp_seconds"
    assert {labels[0]: value for (name, labels), value in shown.items() if name == oldest} == {
        "engagement.events": NOW / 1e6 + 10,
        "dead.letters": NOW / 1e6 + 20,
    }
    spine.close()


def test_a_clock_set_back_gives_no_negative_lag(door: Served) -> None:
    door.log.append([entry(engagement(1, NOW, NOW))])
    door.clock.now = NOW - 60_000_000
    assert door.samples()["edgeloop_lag_seconds", ()] == 0


def test_a_scrape_holds_nothing(door: Served) -> None:
    spine = door.spine()
    spine.append([engagement(n, NOW, NOW) for n in range(50)])
    spine.drain(1_000)
    door.samples()
    for path in (door.home.store, door.home.log):
        db = connect(path, synchronous="NORMAL")
        ((busy, left, _),) = db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        assert (busy, left) == (0, 0), path.name
        db.close()
    spine.close()


def test_a_store_that_cannot_be_read_is_no_error(door: Served, caplog: pytest.LogCaptureFixture) -> None:
    door.home.store.write_bytes(b"no database " * 1_000)
    shown = door.samples()
    assert "edgeloop_batches_total" not in {name for name, _ in shown}
    assert ("edgeloop_disk_free_bytes", ()) in shown
    assert "the store could not be read for /metrics error=NotADBError" in caplog.text


def test_a_store_without_counters_shows_what_it_has(door: Served) -> None:
    spine = door.spine()
    spine.append([engagement(1, NOW, NOW)])
    spine.drain(10)
    spine.close()
    db = connect(door.home.store, synchronous="NORMAL")
    db.execute("DROP TABLE counters")
    db.close()
    shown = door.samples()
    assert shown["edgeloop_drained_records_total", ("engagement.events",)] == 1
    assert shown["edgeloop_batches_total", ()] == 0


def test_openmetrics_is_spoken_to_who_asks(door: Served) -> None:
    plain = get(door.app, "/metrics")
    assert plain.headers["content-type"].startswith("text/plain; version=0.0.4")
    asked = get(door.app, "/metrics", accept="application/openmetrics-text; version=1.0.0")
    assert asked.headers["content-type"].startswith("application/openmetrics-text")
    assert asked.text.endswith("# EOF\n")


def test_wal_bytes_are_the_files(door: Served) -> None:
    SqliteStore(door.home.store).close()
    door.log.append([entry(engagement(1, NOW, NOW))])
    wal = door.home.log.with_name("log.sqlite-wal").stat().st_size
    assert wal > 0
    shown = door.samples()
    assert shown["edgeloop_wal_bytes", ("log",)] == wal
    assert shown["edgeloop_wal_bytes", ("store",)] == 0


def test_two_doors_of_one_process_count_apart(door: Served, tmp_path: Path) -> None:
    other = Served(tmp_path / "other", Settings())
    asyncio.run(httpx.AsyncClient(transport=httpx.ASGITransport(door.app), base_url="http://d").post("/hooks/x"))
    refused = ("edgeloop_door_refused_total", ("hooks", "401"))
    assert door.samples()[refused] == 1
    assert refused not in other.samples()
    other.log.close()


# /readyz


def test_ready_when_log_and_disk_are(door: Served) -> None:
    assert door.ready() == (200, {})


def test_not_ready_without_the_logs_file_although_it_is_still_open(door: Served) -> None:
    door.home.log.unlink()
    status, failing = door.ready()
    assert (status, list(failing)) == (503, ["log"])
    assert "log.sqlite is missing" in failing["log"]


def test_not_ready_while_another_process_keeps_the_log_locked(door: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ready, "_BUSY_MS", 50)
    monkeypatch.setattr(ready, "_KEPT_S", 0.0)
    other = connect(door.home.log, synchronous="FULL")
    other.execute("BEGIN IMMEDIATE")
    status, failing = door.ready()
    assert (status, list(failing)) == (503, ["log"])
    other.execute("ROLLBACK")
    other.close()
    assert door.ready() == (200, {})


def test_not_ready_when_the_log_may_only_be_read(door: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    real = apsw.Connection

    def as_on_a_disk_mounted_read_only(path: str, flags: int) -> apsw.Connection:
        assert flags == apsw.SQLITE_OPEN_READWRITE
        return real(path, flags=apsw.SQLITE_OPEN_READONLY)  # what SQLite makes of it there

    monkeypatch.setattr(apsw, "Connection", as_on_a_disk_mounted_read_only)
    status, failing = door.ready()
    assert (status, list(failing)) == (503, ["log"])
    assert "may only be read" in failing["log"]


def test_not_ready_on_a_full_disk(tmp_path: Path) -> None:
    door = Served(tmp_path / "home", Settings(service=ServiceSettings(min_free_mb=1e12)))
    status, failing = door.ready()
    assert (status, list(failing)) == (503, ["disk"])
    assert "min_free_mb" in failing["disk"]
    door.log.close()


def test_the_log_is_tried_once_a_second(door: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    tries = 0

    def counted(path: Path) -> None:
        nonlocal tries
        tries += 1

    monkeypatch.setattr(ready, "write_problem", counted)
    moment = 0.0
    probe = ready.HomeProbe(door.home, door.settings, door.log, now=lambda: moment)
    for moment, expected in ((0.0, 1), (0.9, 1), (1.0, 2), (1.5, 2), (2.1, 3)):
        probe.conditions()
        assert tries == expected, moment


def test_the_probe_writes_nothing(door: Served) -> None:
    before = (door.home.log.read_bytes(), door.log.end_offsets())
    assert ready.write_problem(door.home.log) is None
    assert (door.home.log.read_bytes(), door.log.end_offsets()) == before
