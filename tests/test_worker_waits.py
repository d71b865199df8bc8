"""A worker that starts while the broker is away, on a port of its own or one that is taken."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import httpx
import pytest

from tests.real.company import Company, ready
from tests.real.kafka import Broker
from tests.real.process import answers, free_port, wait_until
from tests.test_worker_log import edgeloop

pytestmark = pytest.mark.slow


@pytest.fixture
def company(kafka_broker: Broker, topic_prefix: str, tmp_path: Path) -> Iterator[Company]:
    with Company(kafka_broker, topic_prefix, tmp_path) as made:
        made.create_topics(2)
        yield made


def test_it_waits_for_brokers_that_are_away_at_its_start(company: Company) -> None:
    host, _, real = company.broker.bootstrap.partition(":")
    port = free_port()
    worker = company.start_worker(EDGELOOP_KAFKA_BOOTSTRAP=f"127.0.0.1:{port}")
    wait_until(lambda: "the worker waits" in worker.said, "a word of it", 60, worker.log)
    assert f"127.0.0.1:{port}" in worker.said
    with httpx.Client(base_url=f"http://127.0.0.1:{worker.port}", trust_env=False) as pages:
        assert pages.get("/livez").status_code == 200
        told = pages.get("/readyz")
        assert told.status_code == 503
        assert f"127.0.0.1:{port}" in told.json()["conditions"][0]["says"]
    with relay(port, (host, int(real))):
        wait_until(lambda: ready(worker), "a worker", 90, worker.log)
        assert worker.end() == 0
    assert worker.said.count("the worker waits") == 1
    assert "Traceback" not in worker.said


def test_told_to_stop_while_it_waits_it_ends_well(company: Company) -> None:
    worker = company.start_worker(EDGELOOP_KAFKA_BOOTSTRAP="127.0.0.1:1")
    wait_until(lambda: "the worker waits" in worker.said, "a word of it", 60, worker.log)
    assert worker.end() == 0


def test_port_0_is_a_free_one_and_a_taken_one_is_named(company: Company) -> None:
    line = [sys.executable, "-m", "edgeloop", "worker", "--home", str(company.home.path), "--port", "0"]
    settings = os.environ | company.environment | {"EDGELOOP_SERVICE_LOG_FORMAT": "json"}
    with subprocess.Popen(line, env=settings, stderr=subprocess.PIPE, text=True) as worker:
        assert worker.stderr is not None
        address = next(found for said in worker.stderr if (found := json.loads(said).get("address")))
        assert not address.endswith(":0")
        wait_until(lambda: answers(int(address.rpartition(":")[2])), "its pages", 60)
        worker.terminate()
        worker.stderr.read()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ran = edgeloop(company, "worker", "--port", port)
    assert ran.returncode == 1
    assert f"cannot listen on 127.0.0.1:{port}" in ran.stderr


@contextmanager
def relay(port: int, to: tuple[str, int]) -> Iterator[None]:
    """What comes to a port goes to another address, and back."""

    def pump(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65_536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)

    with ExitStack() as stack:
        listening = stack.enter_context(socket.create_server(("127.0.0.1", port)))

        def accept() -> None:
            with suppress(OSError):
                while True:
                    near, _ = listening.accept()
                    far = socket.create_connection(to)
                    stack.enter_context(near)
                    stack.enter_context(far)
                    for pair in ((near, far), (far, near)):
                        threading.Thread(target=pump, args=pair, daemon=True).start()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield
        listening.shutdown(socket.SHUT_RDWR)
        thread.join()
