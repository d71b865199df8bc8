"""`edgeloop topics skip` gives up what Kafka has deleted, and nothing that it still has."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from kafka import TopicPartition

from edgeloop.app import topics_skip
from edgeloop.home import Home
from edgeloop.log.kafka import KafkaLog
from edgeloop.log.partitioner import partition
from edgeloop.settings import Settings, load
from edgeloop.store.base import Store
from edgeloop.store.opening import open_reader, open_store
from edgeloop.store.writes import Writes
from tests.pipeline import entry
from tests.real.kafka import Broker
from tests.real.process import die_with_parent, free_port, wait_until
from tests.test_cli import Shell, shell, write
from tests.test_metrics_endpoint import engagement

__all__ = ["shell"]  # a fixture

pytestmark = pytest.mark.slow

TOPIC = "engagement.events"
SUBJECT = f"{7:026d}"
PART = partition(SUBJECT, 4)
NAME = f"{TOPIC}/{PART}"
AT_US = 1_770_000_000_000_000
SEEN, GONE, END = 5, 8, 10


class Company:
    """Topics, of which one partition lost records before they were drained."""

    def __init__(self, broker: Broker, shell: Shell, settings: Settings) -> None:
        self.broker = broker
        self.shell = shell
        self.settings = settings
        self.home = Home(shell.home)
        self.log = KafkaLog(settings.kafka)

    def append(self, first: int, end: int) -> None:
        self.log.append([entry(engagement(n, AT_US, AT_US, subject=SUBJECT)) for n in range(first, end)])

    def delete(self, before: int) -> None:
        with self.broker.admin() as admin:
            admin.delete_records({TopicPartition(self.settings.kafka.topic_prefix + TOPIC, PART): before})
        wait_until(lambda: self.log.start_offsets()[TOPIC, PART] == before, "the deletion", 20)

    def asked(self, sql: str) -> list[tuple[object, ...]]:
        with closing(open_reader(self.home, self.settings)) as reader:
            return reader.query(sql)[1]

    @property
    def offset(self) -> int:
        with closing(open_store(self.home, self.settings)) as store:
            return store.offsets()[TOPIC, PART].next_offset


@pytest.fixture(params=["sqlite", "postgres"])
def company(
    request: pytest.FixtureRequest,
    kafka_broker: Broker,
    topic_prefix: str,
    shell: Shell,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Company]:
    monkeypatch.setenv("EDGELOOP_KAFKA_BOOTSTRAP", kafka_broker.bootstrap)
    monkeypatch.setenv("EDGELOOP_KAFKA_TOPIC_PREFIX", topic_prefix)
    if request.param == "postgres":
        monkeypatch.setenv("EDGELOOP_STORE_URL", request.getfixturevalue("database_url"))
    assert shell("topics", "create").code == 0
    Home(shell.home).create()
    made = Company(kafka_broker, shell, load(shell.home))
    made.append(0, SEEN)
    assert shell("process").code == 0
    made.append(SEEN, END)
    yield made
    made.log.close()


def test_what_was_deleted_is_given_up_and_the_rest_is_drained(company: Company) -> None:
    company.delete(GONE)
    ran = company.shell("process")
    assert ran.code == 1
    command = re.search(r"`edgeloop (topics skip [^`]+)`", ran.err)
    assert command is not None, ran.err
    assert f"`edgeloop {command[1]}`" in company.shell("doctor").out

    tokens = shlex.split(command[1])
    ran = company.shell(*tokens)
    assert ran.code == 2
    assert f"records {SEEN} to {GONE - 1} were deleted before they were drained" in ran.err
    assert "--yes" in ran.err
    assert company.offset == SEEN

    ran = company.shell(*tokens, "--yes")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.strip() == (
        f"{NAME}: records {SEEN} to {GONE - 1} are given up and never come into the tables; workers go on from {GONE}"
    )
    assert company.offset == GONE
    assert company.shell("process").code == 0
    assert company.offset == END
    found = company.asked("SELECT count(*), (SELECT sum(next_offset) FROM offsets) FROM engagement")
    assert found == [(END - (GONE - SEEN), END)]
    assert company.asked("SELECT label, value FROM counters WHERE name = 'skipped'") == [(TOPIC, GONE - SEEN)]
    ran = company.shell(*tokens, "--yes")
    assert ran.code == 2
    assert f"{NAME} is drained up to {END}: there is nothing to skip up to {GONE}" in ran.err


def test_a_part_of_it_may_be_skipped(company: Company) -> None:
    company.delete(GONE)
    ran = company.shell("topics", "skip", NAME, "--to", "6", "--yes", "--json")
    assert ran.out.replace("\n", "").replace(" ", "") == (
        f'[{{"topic":"{TOPIC}","partition":{PART},"from_offset":{SEEN},"to_offset":6}}]'
    )
    assert company.offset == 6


@pytest.mark.parametrize(
    ("to", "says"),
    [
        (GONE + 1, f"{NAME}: records {GONE} to {GONE} are not deleted; a worker reads them. At most --to {GONE}"),
        (99, f"{NAME}: records {GONE} to 98 are not deleted"),
        (SEEN, f"{NAME} is drained up to {SEEN}: there is nothing to skip up to {SEEN}"),
        (-1, f"{NAME} is drained up to {SEEN}"),
    ],
)
@pytest.mark.parametrize("company", ["sqlite"], indirect=True)
def test_what_is_there_or_was_seen_is_not_skipped(company: Company, to: int, says: str) -> None:
    company.delete(GONE)
    ran = company.shell("topics", "skip", NAME, f"--to={to}", "--yes")
    assert ran.code == 2
    assert says in ran.err
    assert company.offset == SEEN


@pytest.mark.parametrize("company", ["sqlite"], indirect=True)
def test_where_nothing_was_deleted_nothing_is_lost(company: Company) -> None:
    ran = company.shell("topics", "skip", NAME, "--to", str(END), "--yes")
    assert ran.code == 2
    assert f"{NAME}: records {SEEN} to {END - 1} are not deleted; a worker reads them. Nothing is lost there" in ran.err
    other = f"{TOPIC}/{(PART + 1) % 4}"
    ran = company.shell("topics", "skip", other, "--to", "3", "--yes")
    assert ran.code == 2
    assert f"{other} was never drained" in ran.err
    for place in ("engagement.events", f"{TOPIC}/9", f"{TOPIC}/x", "no.topic/0", f"{TOPIC}/²"):
        ran = company.shell("topics", "skip", place, "--to", "3", "--yes")
        assert ran.code == 2
        assert f"no such partition: {place}" in ran.err
    assert company.offset == SEEN


@pytest.mark.parametrize("company", ["sqlite"], indirect=True)
def test_offsets_of_another_topic_mean_nothing(company: Company) -> None:
    name = company.settings.kafka.topic_prefix + TOPIC
    company.broker.delete_topic(name)
    wait_until(lambda: TOPIC not in company.log.topic_ids(), "the deletion", 20)
    company.broker.create_topic(name, 4)
    company.append(0, END)
    company.delete(GONE)
    ran = company.shell("topics", "skip", NAME, "--to", str(GONE), "--yes")
    assert ran.code == 2
    assert "from another cluster or topic" in ran.err
    assert company.offset == SEEN


def moved(company: Company) -> None:
    """As another worker, that skipped the same and drained what was behind it."""
    with closing(open_store(company.home, company.settings)) as other, other.transaction() as transaction:
        known = other.offsets()[TOPIC, PART]
        writes = Writes(0)
        writes.next_offsets[TOPIC, PART] = END
        transaction.apply(writes, {TOPIC: (known.cluster_id, known.topic_id)})


def test_a_worker_that_came_first_is_not_undone(company: Company, monkeypatch: pytest.MonkeyPatch) -> None:
    company.delete(GONE)

    def opened(home: Home, settings: Settings) -> Store:
        moved(company)
        return open_store(home, settings)

    monkeypatch.setattr(topics_skip, "open_store", opened)
    ran = company.shell("topics", "skip", NAME, "--to", str(GONE), "--yes")
    assert ran.code == 2
    assert f"is drained up to {END}" in ran.err
    assert company.offset == END


@pytest.mark.parametrize("company", ["postgres"], indirect=True)
def test_a_worker_that_comes_between_is_not_undone(company: Company, monkeypatch: pytest.MonkeyPatch) -> None:
    company.delete(GONE)
    refuse = topics_skip._refuse

    def meanwhile(*asked: Any) -> None:
        moved(company)
        refuse(*asked)

    monkeypatch.setattr(topics_skip, "_refuse", meanwhile)
    ran = company.shell("topics", "skip", NAME, "--to", str(GONE), "--yes")
    assert ran.code == 1
    assert f"a worker drained {NAME} meanwhile; nothing was skipped" in ran.err
    assert company.offset == END
    assert company.asked("SELECT value FROM counters WHERE name = 'skipped'") == []


@pytest.mark.parametrize("company", ["postgres"], indirect=True)
def test_a_worker_that_stopped_for_it_goes_on(company: Company) -> None:
    company.delete(GONE)

    def worker() -> subprocess.Popen[bytes]:
        command = [
            sys.executable,
            "-m",
            "edgeloop",
            "worker",
            "--home",
            str(company.home.path),
            "--port",
            str(free_port()),
        ]
        return subprocess.Popen(command, stderr=subprocess.PIPE, preexec_fn=die_with_parent)

    with worker() as stopped:
        said = stopped.communicate(timeout=60)[1].decode()
    assert stopped.returncode == 1
    command = re.search(r"`edgeloop (topics skip [^`]+)`", said)
    assert command is not None, said
    assert company.shell(*shlex.split(command[1]), "--yes").code == 0
    with worker() as going:
        try:
            wait_until(lambda: company.offset == END, "the end of the topic", 60)
        finally:
            going.terminate()
            going.communicate(timeout=60)


def test_only_kafka_has_topics_to_skip_in(shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = shell("topics", "skip", NAME, "--to", "1", "--yes")
    assert (ran.code, "there is no Edgeloop home" in ran.err) == (1, True)
    write(tmp_path / "none.ndjson", "")
    shell("ingest", "none.ndjson")
    ran = shell("topics", "skip", NAME, "--to", "1", "--yes")
    assert ran.code == 2
    assert "the log of this home is a file" in ran.err
    monkeypatch.setenv("EDGELOOP_KAFKA_BOOTSTRAP", "127.0.0.1:1")
    ran = shell("topics", "skip", NAME, "--to", "1", "--yes")
    assert (ran.code, "there is no store" in ran.err) == (1, True)
    monkeypatch.delenv("EDGELOOP_KAFKA_BOOTSTRAP")
    shell("process")
    monkeypatch.setenv("EDGELOOP_KAFKA_BOOTSTRAP", "127.0.0.1:1")
    ran = shell("topics", "skip", NAME, "--to", "1", "--yes")
    assert ran.code == 1
    assert "no broker answers there" in ran.err
    assert "Nothing was skipped" in ran.err
