"""`edgeloop up`: what is answered 202 gets into the tables, whoever drains, and a stop or a failure ends it as said."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw
import httpx
import pytest

from edgeloop.app import api_keys, worker
from edgeloop.app.process import sole_consumer
from edgeloop.app.worker import Worker
from edgeloop.clock import iso
from edgeloop.errors import EdgeloopError
from edgeloop.home import Home
from edgeloop.log.base import Chunk, Entry, Log
from edgeloop.log.local import LocalLog
from edgeloop.settings import Settings
from edgeloop.store.sqlite import SqliteStore
from streams import Drain, Rules
from tests.fakes import FixedClock, at
from tests.pipeline import SEALER, counts, entry
from tests.test_metrics_endpoint import engagement

NOW = at("2026-02-03T12:00:00Z")
WITHIN_S = 15.0


def soon(holds: Callable[[], object], within_s: float = WITHIN_S) -> None:
    """Wait until something holds."""
    end = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < end, "it did not come to that in time"
        time.sleep(0.02)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = Home(tmp_path / "home")
    made.create()
    return made


def drained(home: Home) -> int:
    try:
        return counts(home.path).drained
    except (EdgeloopError, apsw.SQLError):  # no store yet, or just being made
        return 0


class Up:
    """`edgeloop up` in a process of its own."""

    def __init__(self, home: Home, errors: Path) -> None:
        self.home = home
        self._errors = errors
        command = [sys.executable, "-m", "edgeloop", "up", "--port", "0", "--home", str(home.path)]
        with errors.open("w") as stderr:
            self.process = subprocess.Popen(command, stderr=stderr)
        soon(lambda: self.said("the door is open") or self.process.poll() is not None)
        self.address = self.said("the door is open")["address"]
        self.key = api_keys.create(home, errors.name)

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._errors.read_text().splitlines(keepends=True) if line.endswith("\n")]

    def said(self, event: str) -> dict[str, Any]:
        return next((line for line in self.lines() if line["event"].startswith(event)), {})

    def post(self, numbers: Sequence[int]) -> int:
        now = iso(time.time_ns() // 1_000)
        body = [
            {"type": "engagement", "event_id": f"g{n}", "customer_id": f"C-{n}", "occurred_at": now, "name": "opened",
             "source": "app"}
            for n in numbers
        ]  # fmt: skip
        headers = {"Authorization": f"Bearer {self.key}"}
        answer = httpx.post(f"{self.address}/v1/events", json=body, headers=headers, trust_env=False)
        return answer.status_code

    def get(self, path: str) -> httpx.Response:
        return httpx.get(self.address + path, trust_env=False)

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(WITHIN_S)


@contextmanager
def running(home: Home, name: str = "a") -> Iterator[Up]:
    up = Up(home, home.path.with_name(f"{name}.log"))
    try:
        yield up
    finally:
        up.process.kill()
        up.process.wait()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_what_is_taken_gets_into_the_tables_and_a_stop_exits_0(home: Home, number: int) -> None:
    with running(home) as up:
        assert up.post(range(100)) == 202
        soon(lambda: drained(home) == 100)
        assert up.get("/readyz").json()["conditions"][-1]["says"] == "the worker drains the log"
        assert 'edgeloop_drained_records_total{topic="engagement.events"} 100' in up.get("/metrics").text
        assert up.post(range(100, 150)) == 202
        began = time.monotonic()
        assert up.end(number) == 0
        assert time.monotonic() - began < 8
        assert up.said("stopped")
    with running(home, "b"):
        soon(lambda: drained(home) == 150)
    assert counts(home.path).balanced


@pytest.mark.slow
def test_a_second_one_takes_events_and_drains_when_the_first_is_gone(home: Home) -> None:
    with running(home, "first") as first, running(home, "second") as second:
        soon(lambda: second.said("another process drains this home"))
        assert second.get("/readyz").status_code == 200
        assert second.post(range(10)) == 202
        soon(lambda: drained(home) == 10)
        first.process.kill()
        assert second.post(range(10, 20)) == 202
        soon(lambda: drained(home) == 20)
        said = [line["event"] for line in second.lines()]
        assert said.count("another process drains this home: standing by") == 1
        assert second.end() == 0


@pytest.mark.slow
def test_other_rules_end_it_at_once_and_loudly(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    with running(home) as up:
        assert up.post([1]) == 202
        soon(lambda: drained(home))
        assert up.end() == 0
    monkeypatch.setenv("EDGELOOP_ATTRIBUTION_CREDIT_RULE", "linear")
    with running(home, "b") as up:
        assert up.process.wait(WITHIN_S) == 1
        line = up.said("the worker cannot go on")
        assert (line["level"], line["error"]) == ("critical", "RulesMismatchError")
        assert "credit_rule was last_touch and is linear" in line["detail"]


@pytest.mark.slow
def test_a_taken_address_is_named(home: Home) -> None:
    with running(home) as up:
        port = up.address.rsplit(":", 1)[1]
        command = [sys.executable, "-m", "edgeloop", "up", "--port", port, "--home", str(home.path)]
        ran = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (ran.returncode, "cannot listen on" in ran.stderr) == (1, True)


# The worker alone


class Ended:
    """Counts how often a worker says that it ended."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> None:
        self.times += 1


@contextmanager
def working(home: Home) -> Iterator[tuple[Worker, Ended]]:
    ended = Ended()
    made = Worker(home, Settings(), ended, FixedClock(NOW))
    made.start()
    try:
        yield made, ended
    finally:
        assert made.stop(WITHIN_S)


def fail_with(monkeypatch: pytest.MonkeyPatch, *errors: Exception) -> list[float]:
    """Let the drains of workers fail so, one after the other, and then work; the times of all rounds."""
    waiting = list(errors)
    times: list[float] = []
    real = Drain.run

    def run(self: Drain, progress: Any = None) -> Any:
        times.append(time.monotonic())
        if waiting:
            raise waiting.pop(0)
        return real(self, progress)

    monkeypatch.setattr(Drain, "run", run)
    monkeypatch.setattr(worker, "_FIRST_WAIT_S", 0.1)
    return times


def append(home: Home, first: int, count: int) -> None:
    log = LocalLog(home.log)
    log.append([entry(engagement(n, NOW, NOW)) for n in range(first, first + count)])
    log.close()


def test_it_wakes_for_the_doors_appends_and_looks_for_those_of_others(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    with working(home) as (made, _):
        made.caught_up.wait(WITHIN_S)
        append(home, 0, 5)
        soon(lambda: drained(home) == 5)
        monkeypatch.setattr(worker, "_IDLE_S", 3600.0)
        time.sleep(1.5)
        append(home, 5, 5)
        time.sleep(0.3)
        assert drained(home) == 5
        made.wake()
        soon(lambda: drained(home) == 10)


def test_two_failures_are_retried_ever_later_and_then_it_works(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    append(home, 0, 5)
    times = fail_with(monkeypatch, ValueError("C-42"), ValueError("C-42"))
    with working(home) as (made, ended):
        soon(lambda: drained(home) == 5)
        soon(made.caught_up.is_set)
        assert made.condition().ok
        assert (made.failure, ended.times) == (None, 0)
    first, second = times[1] - times[0], times[2] - times[1]
    assert first >= 0.1
    assert second >= 0.2


def test_the_third_failure_of_one_batch_ends_it(
    home: Home, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    append(home, 0, 5)
    times = fail_with(monkeypatch, *[ValueError("C-42") for _ in range(9)])
    with working(home) as (made, ended):
        soon(lambda: ended.times)
        assert isinstance(made.failure, ValueError)
        assert not made.condition().ok
        with sole_consumer(home):
            pass  # another may take over
    assert len(times) == 3
    assert "the worker cannot go on error=ValueError" in caplog.text
    assert "C-42" not in caplog.text


def test_a_failure_of_another_batch_begins_a_new_count(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Drain.run
    tries = 0

    def run(self: Drain, progress: Any = None) -> Any:
        nonlocal tries
        tries += 1
        if tries in (1, 2, 4, 5):
            raise ValueError
        return real(self, progress)

    monkeypatch.setattr(Drain, "run", run)
    monkeypatch.setattr(worker, "_FIRST_WAIT_S", 0.01)
    with working(home) as (made, _):
        soon(lambda: tries >= 6)
        soon(made.caught_up.is_set)
        assert made.failure is None


def test_failures_between_which_batches_go_through_are_not_of_one_batch(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Drain.run
    tries = 0

    def run(self: Drain, progress: Any = None) -> Any:
        nonlocal tries
        tries += 1
        if tries <= 5:
            append(home, 10 * tries, 1)
            self._log.look()  # type: ignore[attr-defined]
            real(self, progress)
            raise ValueError
        return real(self, progress)

    monkeypatch.setattr(Drain, "run", run)
    monkeypatch.setattr(worker, "_FIRST_WAIT_S", 0.01)
    with working(home) as (made, _):
        soon(made.caught_up.is_set)
        assert made.failure is None
    assert (tries >= 6, drained(home)) == (True, 5)


@pytest.mark.parametrize("error", [apsw.FullError("disk full"), apsw.BusyError("locked")])
def test_what_passes_by_itself_is_waited_for(home: Home, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    monkeypatch.setattr(worker, "_LONGEST_WAIT_S", 0.1)
    times = fail_with(monkeypatch, *[error] * 5)
    with working(home) as (made, _):
        soon(lambda: len(times) >= 3)
        assert not made.condition().ok
        soon(made.caught_up.is_set)
        assert made.condition().ok


def test_what_a_person_must_mend_ends_it_at_once(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    times = fail_with(monkeypatch, EdgeloopError("put it back"))
    with working(home) as (made, ended):
        soon(lambda: ended.times)
        assert isinstance(made.failure, EdgeloopError)
    assert len(times) == 1


def test_a_stop_lets_the_batch_in_flight_end_and_begins_no_other(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    append(home, 0, 50)
    in_a_batch, go_on = threading.Event(), threading.Event()
    real = SqliteStore.transaction

    @contextmanager
    def slow(self: SqliteStore, *args: Any) -> Iterator[Any]:
        with real(self, *args) as inner:
            yield inner
            in_a_batch.set()
            assert go_on.wait(WITHIN_S)

    monkeypatch.setattr(SqliteStore, "transaction", slow)
    monkeypatch.setattr(Drain.__init__, "__kwdefaults__", Drain.__init__.__kwdefaults__ | {"max_records": 10})
    ended = Ended()
    made = Worker(home, Settings(), ended, FixedClock(NOW))
    made.start()
    assert in_a_batch.wait(WITHIN_S)
    assert not made.stop(0.2), "it did not wait for the batch"
    go_on.set()
    assert made.stop(WITHIN_S)
    assert made.failure is None
    assert 0 < drained(home) < 50
    assert counts(home.path).balanced


def test_a_standby_stops_too(home: Home) -> None:
    with sole_consumer(home), working(home) as (made, _):
        time.sleep(0.1)
        assert made.condition().ok
        assert not made.caught_up.is_set()


class GrowingLog:
    """A log to which somebody appends each time that it is read."""

    def __init__(self, log: LocalLog) -> None:
        self._log = log
        self._next = 1_000

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)

    def read(self, *place: Any) -> Chunk:
        self._next += 1
        self._log.append([entry(engagement(self._next, NOW, NOW))])
        return self._log.read(*place)


def test_under_steady_traffic_a_round_ends(home: Home) -> None:
    log = LocalLog(home.log, partitions=2)
    log.append([Entry("engagement.events", "k", entry(engagement(n, NOW, NOW)).value) for n in range(5)])
    growing: Log = GrowingLog(log)  # type: ignore[assignment]
    seen = worker._UpToALook(growing)
    store = SqliteStore(home.store)
    seen.look()
    drain = Drain(seen, store, Rules.of(Settings().attribution), SEALER)
    assert drain.run().records == 5
    seen.look()
    assert 0 < drain.run().records < 10
    store.close()
    log.close()
