"""A door, files and other processes append at once while the log is drained: nothing lost, nothing twice."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from edgeloop.events import STORED_TOPICS
from edgeloop.home import Home
from edgeloop.log.base import Chunk, Entry
from edgeloop.log.local import LocalLog
from edgeloop.settings import DoorSettings, Settings
from tests.chaos.load import command
from tests.pipeline import counts
from tests.test_disk import served
from tests.test_door import exposure, serving

_PATIENCE_S = 30.0
_FILES, _OF_A_FILE = 2, 8_000
_POSTS, _OF_A_POST = 60, 20
_APPENDS = 150


def engagement(name: str) -> bytes:
    return (
        f'{{"type":"engagement","event_id":"{name}","customer_id":"C-{sum(name.encode()) % 97}",'
        '"occurred_at":"2026-02-05T18:30:00Z","name":"order_placed","source":"app"}\n'
    ).encode()


def chunks(home: Path) -> Iterator[Chunk]:
    log = LocalLog(home / "log.sqlite", read_only=True)
    for topic in STORED_TOPICS:
        for partition in range(log.partitions(topic)):
            yield log.read(topic, partition, 0, 1_000_000, 1 << 30)
    log.close()


@pytest.mark.slow
def test_door_files_appends_and_a_drain_at_once(tmp_path: Path) -> None:
    home = tmp_path / "home"
    Home(home).create()
    paths = []
    for number in range(_FILES):
        paths.append(tmp_path / f"f{number}.ndjson")
        paths[-1].write_bytes(b"".join(engagement(f"f{number}-{i}") for i in range(_OF_A_FILE)))
    waits: list[float] = []
    failed: list[BaseException] = []
    ended = threading.Event()

    def drain() -> None:
        try:
            while not ended.is_set():
                ran = subprocess.run(command(home, "process"), capture_output=True, text=True, check=False)
                assert ran.returncode == 0, ran.stderr
        except BaseException as error:
            failed.append(error)

    def append() -> None:
        log = LocalLog(home / "log.sqlite")
        body = '{"type":"telemetry","telemetry_id":"t-%d","site":"s%d","kind":"device",'
        body += '"occurred_at":"2026-02-05T18:30:00Z"}'
        for i in range(_APPENDS):
            begin = time.monotonic()
            log.append([Entry("edge.telemetry", f"s{i % 7}", (body % (i, i % 7)).encode())])
            waits.append(time.monotonic() - begin)
        log.close()

    with served(home) as post:

        def send(number: int) -> None:
            body = b"".join(engagement(f"p{number}-{i}") for i in range(_OF_A_POST))
            begin = time.monotonic()
            while (answer := post(body)).status_code == 503:
                assert answer.headers["Retry-After"] == "5"
                assert time.monotonic() - begin < _PATIENCE_S
            assert answer.status_code == 202
            waits.append(time.monotonic() - begin)

        draining = threading.Thread(target=drain)
        draining.start()
        ingests = [subprocess.Popen(command(home, "ingest", str(path)), stderr=subprocess.PIPE) for path in paths]
        with ThreadPoolExecutor(5) as pool:
            appending = pool.submit(append)
            list(pool.map(send, range(_POSTS)))
            appending.result()
        for ingest in ingests:
            _, errors = ingest.communicate(timeout=120)
            assert ingest.returncode == 0, errors.decode()
        ended.set()
        draining.join(120)
    assert not failed, failed
    assert max(waits) < _PATIENCE_S
    ran = subprocess.run(command(home, "process"), capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr

    wanted = {f"f{n}-{i}" for n in range(_FILES) for i in range(_OF_A_FILE)}
    wanted |= {f"p{n}-{i}" for n in range(_POSTS) for i in range(_OF_A_POST)} | {f"t-{i}" for i in range(_APPENDS)}
    found: Counter[str] = Counter()
    for chunk in chunks(home):
        assert list(chunk.offsets) == list(range(len(chunk))), "an offset was skipped or given twice"
        found.update(body.get("event_id") or body["telemetry_id"] for body in map(json.loads, chunk.values))
    assert found == Counter(wanted), "in the log each is there once"
    counted = counts(home)
    assert counted.balanced
    assert (counted.base, counted.superseded, counted.duplicates) == (len(wanted), 0, 0)


def test_what_waits_for_a_slow_log_is_bounded_and_the_door_says_503(tmp_path: Path) -> None:
    settings = Settings(door=DoorSettings(max_waiting_mb=0.01))
    with serving(tmp_path / "home", settings) as door:
        gate = threading.Event()
        append = door.log.append
        door.log.append = lambda entries: append(entries) if gate.wait(30) else None  # type: ignore[method-assign]
        bodies = [[exposure(100 * n + i) for i in range(20)] for n in range(12)]
        with ThreadPoolExecutor(12) as pool:
            answers = [pool.submit(door.post, body) for body in bodies]
            while sum(answer.done() for answer in answers) < 8:  # what is refused is answered at once
                time.sleep(0.01)
            refused = [answer.result() for answer in answers if answer.done()]
            assert {answer.status_code for answer in refused} == {503}
            assert {answer.headers["Retry-After"] for answer in refused} == {"5"}
            gate.set()
            statuses = Counter(answer.result().status_code for answer in answers)
        assert set(statuses) == {202, 503}
        assert len(door.log.events()) == 20 * statuses[202]
        assert door.post(bodies[0]).status_code == 202, "and then it takes again"
