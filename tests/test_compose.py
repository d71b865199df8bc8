"""`docker-compose.yml` without a Docker engine: well formed, and its services' commands run as plain processes."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from edgeloop.home import Home
from edgeloop.settings import Settings, StoreSettings
from edgeloop.store.opening import open_reader
from tests.real.kafka import Broker
from tests.real.postgres import Postgres
from tests.real.process import free_port, wait_until

ROOT = Path(__file__).resolve().parents[1]
OURS = ("topics", "serve", "worker-1", "worker-2")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        shutil.which("docker-compose") is None, reason="no docker-compose: apt-get install -y docker-compose"
    ),
]


def compose(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith("EDGELOOP_")}
    return subprocess.run(
        ["docker-compose", *words], cwd=ROOT, env=env | environment, capture_output=True, text=True, check=False
    )


def services() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(compose("config", EDGELOOP_POSTGRES_PASSWORD="x").stdout)["services"]
    return found


def test_it_is_well_formed_and_has_no_default_password() -> None:
    assert compose("config", "-q", EDGELOOP_POSTGRES_PASSWORD="x").returncode == 0
    without = compose("config", "-q")
    assert without.returncode != 0
    assert "set a password in deploy/.env" in without.stderr


def test_every_service_is_watched_and_started_again() -> None:
    for name, service in services().items():
        if name == "topics":
            assert service["restart"] == "on-failure"
        else:
            assert service["restart"] == "unless-stopped"
            assert service["healthcheck"]["test"]
        assert service["volumes"]
    assert [port for service in services().values() for port in service.get("ports", ())] == ["127.0.0.1:8321:8321/tcp"]


class Stack:
    """Our services as processes, with the hosts and ports of this machine in place of the containers'."""

    def __init__(self, broker: Broker, url: str, folder: Path) -> None:
        self.home = Home(folder / "home")
        self.url = url
        self.ports = {name: free_port() for name in OURS}
        self._services = services()
        self._broker = broker
        self._folder = folder

    def command(self, name: str) -> tuple[list[str], dict[str, str]]:
        """The command and the environment of a service."""
        service = self._services[name]
        words = [str(self.ports[name]) if word in ("8321", "8322") else word for word in service["command"]]
        words = ["127.0.0.1" if word == "0.0.0.0" else word for word in words]
        given = {key: str(value) for key, value in service["environment"].items() if value}
        assert given["EDGELOOP_KAFKA_BOOTSTRAP"] == "kafka:9092"
        assert given["EDGELOOP_STORE_URL"] == "postgresql://edgeloop:x@postgres:5432/edgeloop"
        given |= {"EDGELOOP_KAFKA_BOOTSTRAP": self._broker.bootstrap, "EDGELOOP_STORE_URL": self.url}
        return [sys.executable, "-m", "edgeloop", *words], os.environ | given | {"EDGELOOP_HOME": str(self.home.path)}

    @contextmanager
    def running(self, name: str) -> Iterator[None]:
        """A service, from healthy to its end, which must be a clean one."""
        words, env = self.command(name)
        log = self._folder / f"{name}.log"
        with log.open("wb") as file:
            process = subprocess.Popen(words, env=env, stdout=file, stderr=file)
        try:
            wait_until(lambda: self.healthy(name), name, 60, log)
            yield
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0, log.read_text()
        finally:
            process.kill()
            process.wait()

    def healthy(self, name: str) -> bool:
        """What the service's own health check says."""
        kind, program, *rest = self._services[name]["healthcheck"]["test"]
        assert (kind, program) == ("CMD", "python")
        words = [word.replace("8321", str(self.ports[name])).replace("8322", str(self.ports[name])) for word in rest]
        return subprocess.run([sys.executable, *words], capture_output=True, check=False).returncode == 0


def test_each_services_command_runs_as_a_plain_process(
    kafka_broker: Broker, postgres_server: Postgres, tmp_path: Path
) -> None:
    stack = Stack(kafka_broker, postgres_server.create_database(), tmp_path)
    words, env = stack.command("topics")
    made = subprocess.run(words, env=env, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    with stack.running("serve"), stack.running("worker-1"), stack.running("worker-2"):
        key = subprocess.run(
            [sys.executable, "-m", "edgeloop", "keys", "create"], env=env, capture_output=True, text=True, check=True
        ).stdout.strip()
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        common = {"customer_id": "C-1", "occurred_at": at}
        events = [
            {"type": "exposure", "exposure_id": "x-1", "touchpoint": "card", "model_id": "eta", "model_version": "2"},
            {"type": "engagement", "event_id": "e-1", "name": "order_placed", "source": "app"},
        ]
        request = urllib.request.Request(
            f"http://127.0.0.1:{stack.ports['serve']}/v1/events",
            msgspec.json.encode([event | common for event in events]),
            {"Authorization": f"Bearer {key}"},
        )
        with urllib.request.urlopen(request, timeout=20) as answer:
            assert answer.status in (200, 202)
        reader = open_reader(stack.home, Settings(store=StoreSettings(url=stack.url)))
        find = "SELECT outcome_name, model_id, model_version, credit FROM attributions"
        wait_until(lambda: bool(reader.query(find)[1]), "the attribution", 30)
        assert reader.query(find)[1] == [("order_placed", "eta", "2", 1.0)]
        reader.close()
