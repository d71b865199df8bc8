"""`docker-compose.yml` without a Docker engine: well formed, and its services' commands run as plain processes."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from edgeloop.home import Home
from edgeloop.settings import Settings, StoreSettings
from edgeloop.store.opening import open_reader
from tests.real.kafka import Broker
from tests.real.postgres import PASSWORD, Postgres
from tests.real.process import die_with_parent, free_port, wait_until

ROOT = Path(__file__).resolve().parents[1]
SERVERS, OURS = ("kafka", "postgres"), ("topics", "serve", "worker-1", "worker-2")
PORTS = {"kafka": "9092", "postgres": "5432", "serve": "8321", "worker-1": "8322", "worker-2": "8322"}
WORKERS = ("worker-1", "worker-2")
HOME, KEYS, LETTERS = "/var/lib/edgeloop", "/var/lib/edgeloop/keys", "/var/lib/edgeloop/keys/letters"
# What is of the container and not of the service.
PLACES = {"listeners", "advertised.listeners", "controller.quorum.voters", "log.dirs"}
SECRET = "a secret of tests"

pytestmark = [
    pytest.mark.slow,
    # As root `make test` installs it: where it is missing all the same, that is a failure.
    pytest.mark.skipif(
        shutil.which("docker-compose") is None and os.getuid() != 0,
        reason="no docker-compose. Run: sudo apt-get update && sudo apt-get install -y docker-compose",
    ),
]


def compose(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    program = shutil.which("docker-compose")
    assert program, "no docker-compose. Run: apt-get update && apt-get install -y docker-compose"
    env = {name: value for name, value in os.environ.items() if not name.startswith(("EDGELOOP_", "COMPOSE_"))}
    return subprocess.run(
        [program, "--env-file", "deploy/env.example", *words],
        cwd=ROOT,
        env=env | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def config(**environment: str) -> dict[str, Any]:
    ran = compose("config", **{"EDGELOOP_POSTGRES_PASSWORD": PASSWORD} | environment)
    assert ran.returncode == 0, ran.stderr
    found: dict[str, Any] = yaml.safe_load(ran.stdout)
    return found


def mounts(service: dict[str, Any]) -> dict[str, tuple[str, bool]]:
    """Volume and whether it may be written, by place; newer versions of compose write more words."""
    found = {}
    for given in service["volumes"]:
        if isinstance(given, str):
            volume, place, mode = given.split(":")
            found[place] = (volume, mode == "rw")
        else:
            found[given["target"]] = (given["source"], not given.get("read_only", False))
    return found


def ports(service: dict[str, Any]) -> list[str]:
    return [
        given.removesuffix("/tcp")
        if isinstance(given, str)
        else f"{given['host_ip']}:{given['published']}:{given['target']}"
        for given in service.get("ports", ())
    ]


# Its form


def test_it_is_well_formed_and_has_no_default_password() -> None:
    well = compose("config", "-q", EDGELOOP_POSTGRES_PASSWORD="x")
    assert well.returncode == 0, well.stderr
    for without in (compose("config", "-q"), compose("config", "-q", EDGELOOP_POSTGRES_PASSWORD="")):
        assert without.returncode != 0
        assert "set a password in deploy/.env" in without.stderr


def test_the_example_names_what_is_read_and_sets_no_password() -> None:
    example = (ROOT / "deploy" / "env.example").read_text()
    named = set(re.findall(r"^#?([A-Z_]+)=", example, re.MULTILINE))
    assert named == set(re.findall(r"\$\{(\w+)", (ROOT / "docker-compose.yml").read_text()))
    assert re.findall(r"^[^#\s].*$", example, re.MULTILINE) == ["EDGELOOP_POSTGRES_PASSWORD="]


def test_every_service_is_watched_and_started_again() -> None:
    services = config()["services"]
    assert set(services) == {*SERVERS, *OURS}
    for name, service in services.items():
        once = name == "topics"
        assert service["restart"] == ("on-failure" if once else "unless-stopped")
        assert ("healthcheck" in service) is not once
        for needed, on in service.get("depends_on", {}).items():
            assert on["condition"] == ("service_completed_successfully" if needed == "topics" else "service_healthy")


def test_only_the_door_is_reached_from_outside_and_only_where_it_is_told() -> None:
    services = config()["services"]
    assert {name: ports(service) for name, service in services.items() if ports(service)} == {
        "serve": ["127.0.0.1:8321:8321"]
    }
    assert ports(config(EDGELOOP_DOOR_ADDRESS="10.0.0.5:80")["services"]["serve"]) == ["10.0.0.5:80:8321"]


def test_each_may_write_only_what_it_must() -> None:
    services = config()["services"]
    for name in (*SERVERS, *OURS):
        assert services[name]["read_only"] is True
        assert services[name]["security_opt"] == ["no-new-privileges:true"]
    for name in ("kafka", *OURS):  # PostgreSQL's start script gives its folder to its user
        assert services[name]["cap_drop"] == ["ALL"]
    assert mounts(services["topics"]) == {HOME: ("home", False)}
    assert mounts(services["serve"]) == {HOME: ("home", True), KEYS: ("keys", True), LETTERS: ("letters", True)}
    for name in WORKERS:
        assert mounts(services[name]) == {HOME: ("home", True), LETTERS: ("letters", False)}
    assert mounts(services["kafka"]) == {"/var/lib/kafka/data": ("kafka", True)}
    assert mounts(services["postgres"]) == {"/var/lib/postgresql": ("postgres", True)}


def test_no_service_fills_the_disk_or_takes_the_machine() -> None:
    for service in config()["services"].values():
        assert service["logging"]["driver"] == "json-file"
        assert service["logging"]["options"] == {"max-size": "10m", "max-file": "5"}
        assert service["mem_limit"]
        assert service["pids_limit"] == 512


def test_images_can_be_held_by_their_digests() -> None:
    pinned = {
        "KAFKA": "apache/kafka:4.3.1@sha256:aa",
        "POSTGRES": "postgres:18@sha256:bb",
        "PYTHON": "python@sha256:cc",
    }
    services = config(**{f"EDGELOOP_{name}_IMAGE": image for name, image in pinned.items()})["services"]
    assert services["kafka"]["image"] == pinned["KAFKA"]
    assert services["postgres"]["image"] == pinned["POSTGRES"]
    assert services["serve"]["build"]["args"]["PYTHON_IMAGE"] == pinned["PYTHON"]
    froms = re.findall(r"^FROM (\S+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert set(froms) == {"${PYTHON_IMAGE}"}


def test_the_password_is_where_it_is_needed_and_nowhere_else() -> None:
    services = config(EDGELOOP_POSTGRES_PASSWORD="p-in-one-piece")["services"]
    holders = {
        (name, variable)
        for name, service in services.items()
        for variable, value in service["environment"].items()
        if "p-in-one-piece" in str(value)
    }
    assert holders == {
        ("postgres", "POSTGRES_PASSWORD"),
        *((name, "PGPASSWORD") for name in ("serve", *WORKERS)),
    }
    elsewhere = [{key: value for key, value in each.items() if key != "environment"} for each in services.values()]
    assert "p-in-one-piece" not in str(elsewhere)


def test_the_image_holds_what_the_services_count_on() -> None:
    said = (ROOT / "Dockerfile").read_text()
    assert 'ENTRYPOINT ["edgeloop"]' in said
    assert f"EDGELOOP_HOME={HOME}" in said
    assert "--require-hashes" in said
    last = said.rpartition("\nFROM ")[2]
    assert "\nUSER edgeloop\n" in last
    assert "pip" not in last
    # Owner and mode of new volumes are those of the folders in the image.
    assert f"-m 700 -o edgeloop -g edgeloop {HOME} {KEYS} \\\n    {LETTERS}\n" in last
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", said, re.MULTILINE)
    sent = (ROOT / ".dockerignore").read_text().split()
    assert {f"!{name}" for line in copied for name in line.split()} == {it for it in sent if it.startswith("!")}


# Its commands


class Stack:
    """The services with the hosts, ports and folders of this machine in place of the containers'."""

    def __init__(self, folder: Path) -> None:
        secret = folder / "typeform-secret"
        secret.write_text(SECRET + "\n")
        found = config(EDGELOOP_TYPEFORM_SECRET_FILE=str(secret))
        self.services: dict[str, Any] = found["services"]
        self._secrets: dict[str, Any] = found["secrets"]
        self.home = Home(folder / "home")
        self.ports = {name: free_port() for name in (*SERVERS, *OURS)}
        self.database = ""
        self._folder = folder

    def broker_properties(self) -> dict[str, str]:
        """What the image of Kafka makes of its environment, but for what is of the container."""
        given = {
            name.removeprefix("KAFKA_").lower().replace("_", "."): str(value)
            for name, value in self.services["kafka"]["environment"].items()
        }
        assert given["advertised.listeners"] == f"PLAINTEXT://{self._environment('serve')['EDGELOOP_KAFKA_BOOTSTRAP']}"
        assert set(given) > PLACES
        return {name: value for name, value in given.items() if name not in PLACES}

    def environment(self, name: str) -> dict[str, str]:
        """All that a service sees."""
        given = self._environment(name)
        if url := given.get("EDGELOOP_STORE_URL"):
            postgres = self.services["postgres"]["environment"]
            assert url == f"postgresql://{postgres['POSTGRES_USER']}@postgres:5432/{postgres['POSTGRES_DB']}"
            given["EDGELOOP_STORE_URL"] = self._here(url).removesuffix("edgeloop") + self.database
        for variable, value in given.items():
            if value.startswith("/run/secrets/"):
                given[variable] = self._secrets[value.removeprefix("/run/secrets/")]["file"]
        given["EDGELOOP_KAFKA_BOOTSTRAP"] = self._here(given["EDGELOOP_KAFKA_BOOTSTRAP"])
        return {"PATH": os.environ["PATH"], **given, "EDGELOOP_HOME": str(self.home.path)}

    def _environment(self, name: str) -> dict[str, str]:
        return {key: str(value or "") for key, value in self.services[name]["environment"].items()}

    def _here(self, address: str) -> str:
        for server in SERVERS:
            address = address.replace(f"{server}:{PORTS[server]}", f"127.0.0.1:{self.ports[server]}")
        return address

    def command(self, name: str) -> list[str]:
        """What the container's entry point runs."""
        words = [
            str(self.ports[name]) if word == PORTS.get(name) else "127.0.0.1" if word == "0.0.0.0" else word
            for word in self.services[name]["command"]
        ]
        return [str(Path(sys.executable).with_name("edgeloop")), *words]

    def run(self, name: str, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a service's command, or another one inside it, to its end."""
        program, *own = self.command(name)
        return subprocess.run(
            [program, *(words or own)],
            env=self.environment(name),
            cwd=self._folder,
            capture_output=True,
            text=True,
            check=False,
        )

    @contextmanager
    def running(self, name: str) -> Iterator[None]:
        """A service, from healthy to its end, which must be a clean one."""
        log = self._folder / f"{name}.log"
        with log.open("wb") as file:
            process = subprocess.Popen(
                self.command(name),
                env=self.environment(name),
                cwd=self._folder,
                stdout=file,
                stderr=file,
                preexec_fn=die_with_parent,
            )
        try:
            wait_until(lambda: self.check(name).returncode == 0, name, 60, log, process)
            yield
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0, log.read_text()
        finally:
            process.kill()
            process.wait()

    def check(self, name: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """What the service's own health check says."""
        kind, program, *words = self.services[name]["healthcheck"]["test"]
        assert kind == "CMD"
        words = [word.replace(PORTS[name], str(self.ports[name])) for word in words]
        return subprocess.run(
            [sys.executable if program == "python" else program, *words],
            env={"PATH": os.environ["PATH"], **environment},
            capture_output=True,
            text=True,
            check=False,
        )

    def metric(self, name: str, metric: str) -> float:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.ports[name]}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        return next(float(line.split()[-1]) for line in lines if line.startswith(f"{metric} "))

    def keys(self) -> dict[str, tuple[int, bytes]]:
        return {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in self.home.keys.iterdir()}

    def attributions(self) -> list[tuple[Any, ...]]:
        settings = Settings(store=StoreSettings(url=self.environment("serve")["EDGELOOP_STORE_URL"]))
        reader = open_reader(self.home, settings)
        try:
            return reader.query("SELECT outcome_name, model_id, model_version, credit FROM attributions")[1]
        finally:
            reader.close()


@pytest.fixture
def stack(tmp_path: Path) -> Stack:
    return Stack(tmp_path)


class NotReady(BaseHTTPRequestHandler):
    """Answers as a service of ours does when it cannot work."""

    status = 503

    def do_GET(self) -> None:
        self.send_response(self.status if self.path == "/readyz" else 404)
        self.end_headers()
        self.wfile.write(b"the log cannot be read")

    def log_message(self, *_: object) -> None:
        """Nothing."""


class Ready(NotReady):
    """The same when it can."""

    status = 200


@pytest.mark.parametrize("name", ["serve", *WORKERS])
def test_a_health_check_fails_with_the_reason_and_asks_no_proxy(stack: Stack, name: str) -> None:
    assert stack.check(name).returncode != 0  # nobody listens
    for answers in (NotReady, Ready):
        with HTTPServer(("127.0.0.1", 0), answers) as server:
            stack.ports[name] = server.server_port
            threading.Thread(target=server.serve_forever, daemon=True).start()
            checked = stack.check(name, http_proxy=f"http://127.0.0.1:{free_port()}")
            server.shutdown()
        assert checked.returncode == (0 if answers is Ready else 1)
        assert ("the log cannot be read" in checked.stderr) is (answers is NotReady)


def test_each_services_command_runs_as_a_plain_process(
    stack: Stack, postgres_server: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPASSWORD", PASSWORD)  # for our own reader
    for name in SERVERS:
        assert stack.check(name).returncode != 0
    with ExitStack() as running:
        broker = running.enter_context(Broker(properties=stack.broker_properties()))
        stack.database = postgres_server.create_database().rpartition("/")[2]
        stack.ports |= {"kafka": broker.port, "postgres": postgres_server.port}
        for name in SERVERS:
            checked = stack.check(name)
            assert checked.returncode == 0, checked.stderr

        made = stack.run("topics")
        assert made.returncode == 0, made.stderr
        assert not stack.home.path.exists()

        running.enter_context(stack.running("serve"))
        told = stack.run("serve", "config", "--json")
        rows = {(row["section"], row["key"]): row["value"] for row in msgspec.json.decode(told.stdout)}
        assert rows["typeform", "secret"] == "(set)"
        assert rows["zigpoll", "token"] == "(not set)"  # from a file that is empty
        key = stack.run("serve", "keys", "create").stdout.strip()
        keys = stack.keys()

        for name in WORKERS:
            running.enter_context(stack.running(name))
        wait_until(
            lambda: all(stack.metric(name, "edgeloop_worker_partitions") for name in WORKERS), "shared partitions", 30
        )
        send(stack.ports["serve"], key)
        wait_until(lambda: bool(stack.attributions()), "the attribution", 30)
        assert stack.attributions() == [("order_placed", "eta", "2", 1.0)]
        for name in ("serve", *WORKERS):
            assert stack.check(name).returncode == 0
        found = stack.run("serve", "doctor")
        assert found.returncode == 0, found.stdout
    assert stack.keys() == keys  # a worker could not have written them


def send(port: int, key: str) -> None:
    common = {"customer_id": "C-1", "occurred_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
    events = [
        {"type": "exposure", "exposure_id": "x-1", "touchpoint": "card", "model_id": "eta", "model_version": "2"},
        {"type": "engagement", "event_id": "e-1", "name": "order_placed", "source": "app"},
    ]
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/v1/events",
        msgspec.json.encode([event | common for event in events]),
        {"Authorization": f"Bearer {key}"},
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        assert answer.status in (200, 202)
