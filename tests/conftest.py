"""What several test files share: one demo of full size, one Kafka broker, one PostgreSQL server, each made once."""

from __future__ import annotations

import itertools
import logging
import os
import subprocess
import sys
from collections.abc import Generator, Iterator
from dataclasses import dataclass

import msgspec
import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

from edgeloop.home import Home
from tests.real.kafka import Broker
from tests.real.postgres import Postgres

# `make test` must find the same every time, so only the long run draws anew; a failure prints the blob that repeats it.
for _name, _examples in {"quick": 15, "default": 60, "chaos": 2_000}.items():
    hypothesis_settings.register_profile(
        _name,
        max_examples=_examples,
        derandomize=_name != "chaos",
        deadline=None,
        print_blob=True,
        suppress_health_check=[HealthCheck.too_slow],
    )
hypothesis_settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


_REAL = {"kafka_broker", "postgres_server"}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # Whoever asks for a real server waits for it; `-m "not slow"` is for the rest.
    for item in items:
        if _REAL & set(getattr(item, "fixturenames", ())):
            item.add_marker("slow")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    # What a test printed goes to another process as UTF-8, and some print what is none.
    report = yield
    report.sections = [(name, text.encode(errors="backslashreplace").decode()) for name, text in report.sections]
    return report


class _Failures(logging.Handler):
    """Parts of a month that failed, of which the rest went on."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.fixture
def ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """For a world that goes back to 1969, and further: no event is too old, in other processes neither."""
    monkeypatch.setenv("EDGELOOP_DOOR_EARLIEST", "0001-01-01")


@pytest.fixture(autouse=True)
def _no_part_fails(request: pytest.FixtureRequest) -> Iterator[None]:
    """What the product survives is an error all the same, unless the test is about that."""
    seen, log = _Failures(), logging.getLogger("edgeloop.attempts")
    log.addHandler(seen)
    yield
    log.removeHandler(seen)
    if request.node.get_closest_marker("failing_parts") is None:
        told = [logging.Formatter().format(record) for record in seen.records]
        assert not told, "\n".join(told)


@dataclass(frozen=True)
class Demo:
    """A demo that ran: its home, what it printed, and found against planted."""

    home: Home
    stderr: str
    findings: list[dict[str, object]]


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    path = tmp_path_factory.mktemp("demo") / "home"
    run = subprocess.run(
        [sys.executable, "-m", "edgeloop", "demo", "--home", str(path), "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return Demo(Home(path), run.stderr, msgspec.json.decode(run.stdout))


@pytest.fixture(scope="session")
def kafka_broker() -> Iterator[Broker]:
    """A broker for tests that do not kill it; each takes a `topic_prefix` of its own."""
    with Broker() as broker:
        yield broker


_prefixes = itertools.count(1)


@pytest.fixture
def topic_prefix() -> str:
    return f"t{next(_prefixes)}."


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Postgres]:
    """A server for tests that do not kill it; each takes a `database_url` of its own."""
    with Postgres() as server:
        yield server


@pytest.fixture
def database_url(postgres_server: Postgres) -> str:
    """The address of a fresh database."""
    return postgres_server.create_database()
