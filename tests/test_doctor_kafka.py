"""`edgeloop doctor` where the log is on Kafka: one line per check, each with what to do, and nothing is changed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from kafka import KafkaConsumer, TopicPartition

from edgeloop.app import api_keys, doctor_kafka
from edgeloop.app.cli import run
from edgeloop.app.doctor import examine
from edgeloop.app.finding import Finding
from edgeloop.app.process import process
from edgeloop.app.topics import create_topics
from edgeloop.home import Home
from edgeloop.log.kafka import KafkaLog
from edgeloop.log.opening import create_home
from edgeloop.log.partitioner import partition
from edgeloop.settings import Settings, load
from tests.fakes import FixedClock
from tests.pipeline import entry
from tests.real.kafka import Broker
from tests.real.process import wait_until
from tests.test_doctor import contents
from tests.test_metrics_endpoint import engagement

pytestmark = pytest.mark.slow

TOPIC = "engagement.events"
SECOND_US = 1_000_000


class Patient:
    """A home on Kafka, with events in its tables."""

    def __init__(self, broker: Broker, home: Home, settings: Settings) -> None:
        self.broker = broker
        self.home = home
        self.settings = settings
        self.log = KafkaLog(settings.kafka)

    def append(self, first: int, count: int) -> None:
        now = 1_770_000_000 * SECOND_US
        self.log.append([entry(engagement(n, now, now, subject=f"{n:026d}")) for n in range(first, first + count)])

    def findings(self, after_s: int = 0) -> dict[str, list[Finding]]:
        """What is found so many seconds after the last record came."""
        ends = {tp: end for tp, end in self.log.end_offsets().items() if end and tp[0] == TOPIC}
        latest = [us for tp, end in ends.items() for us in self.log.read(*tp, end - 1, 1, 1).appended_us]
        found: dict[str, list[Finding]] = {}
        for finding in examine(self.home, FixedClock(max(latest) + after_s * SECOND_US)):
            assert finding.state == "ok" or finding.do, f"{finding} says not what to do"
            found.setdefault(finding.check, []).append(finding)
        return found

    def wrong(self, after_s: int = 0) -> list[tuple[str, str]]:
        findings = self.findings(after_s).values()
        return [(f.state, f.check) for of_check in findings for f in of_check if f.state != "ok"]


NOBODY = [("warn", "workers")]


@pytest.fixture
def patient(
    kafka_broker: Broker, topic_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Patient]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EDGELOOP_KAFKA_BOOTSTRAP", kafka_broker.bootstrap)
    monkeypatch.setenv("EDGELOOP_KAFKA_TOPIC_PREFIX", topic_prefix)
    monkeypatch.setenv("EDGELOOP_TYPEFORM_SECRET", "very-secret")
    monkeypatch.setenv("EDGELOOP_ZIGPOLL_TOKEN", "t")
    home = Home(tmp_path / "home")
    settings = load(home.path)
    create_topics(settings)
    create_home(home, settings)
    api_keys.create(home, "gateway")
    made = Patient(kafka_broker, home, settings)
    made.append(0, 60)
    process(home, settings)
    yield made
    made.log.close()


def test_a_sound_home(patient: Patient, capsys: pytest.CaptureFixture[str]) -> None:
    before = contents(patient.home)
    assert patient.wrong() == NOBODY
    found = patient.findings()
    assert {"libraries", "codecs", "brokers", "topics", "partitioner", "workers", "store", "rules", "offsets", "lag",
            "dead letters", "clock", "senders", "typeform", "zigpoll"} <= found.keys()  # fmt: skip
    assert "log" not in found
    assert f"1 at {patient.broker.bootstrap}, Kafka 4." in found["brokers"][0].what
    assert "60 records" in found["partitioner"][0].what
    assert run(["doctor", "--home", str(patient.home.path)]) == 0
    assert "very-secret" not in capsys.readouterr().out
    assert contents(patient.home) == before


def test_workers_in_the_group(patient: Patient) -> None:
    kafka = patient.settings.kafka
    worker = KafkaConsumer(
        kafka.topic_prefix + TOPIC, bootstrap_servers=kafka.bootstrap, group_id=kafka.topic_prefix + kafka.group
    )
    wait_until(lambda: worker.poll(100) is not None and bool(worker.assignment()), "the group", 60)
    assert patient.wrong() == []
    assert patient.findings()["workers"][0].what.startswith("1 in group")
    worker.close()


def test_nobody_answers(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGELOOP_KAFKA_BOOTSTRAP", "127.0.0.1:1")
    assert patient.wrong() == [("fail", "brokers")]
    assert "no broker answers there" in patient.findings()["brokers"][0].what


def test_a_topic_that_is_missing(patient: Patient) -> None:
    patient.broker.delete_topic(patient.settings.kafka.topic_prefix + "model.changes")
    wait_until(lambda: "model.changes" not in patient.log.topic_ids(), "the deletion", 60)
    findings = {f.check: f for f in examine(patient.home)}
    assert findings["topics"].state == "fail"
    assert "model.changes: there is no such topic" in findings["topics"].what
    assert findings["topics"].do == "`edgeloop topics check`"


def test_advice_about_topics_is_a_warning(patient: Patient) -> None:
    patient.broker.add_partitions(patient.settings.kafka.topic_prefix + "model.changes", 6)
    assert ("warn", "topics") in patient.wrong()


def test_another_partitioner_and_another_key(patient: Patient) -> None:
    producer = patient.broker.producer()
    now = 1_770_000_000 * SECOND_US
    for n in range(100, 110):
        one = entry(engagement(n, now, now, subject=f"{n:026d}"))
        elsewhere = (partition(one.key, 4) + 1) % 4
        topic = patient.settings.kafka.topic_prefix + TOPIC
        producer.send(topic, key=one.key.encode(), value=one.value, partition=elsewhere)
    producer.flush()
    (finding,) = patient.findings()["partitioner"]
    assert finding.state == "warn"
    assert "10 of 70 records looked at (10 of engagement.events) lie in another partition" in finding.what
    assert "slower, never wrong" in finding.what
    assert "partitioner=murmur2_random" in finding.do
    for n in range(110, 115):
        one = entry(engagement(n, now, now, subject=f"{n:026d}"))
        producer.send(topic, key=b"other", value=one.value)
    producer.send(topic, key=b"other", value=b"no event")
    producer.flush()
    producer.close()
    _, finding = patient.findings()["partitioner"]
    assert "5 of 76 records looked at (5 of engagement.events) have a key that is not" in finding.what


def test_lag(patient: Patient) -> None:
    patient.append(60, 7)
    assert patient.wrong(after_s=290) == NOBODY
    assert "7 records" in patient.findings()["lag"][0].what
    assert patient.wrong(after_s=310) == [*NOBODY, ("warn", "lag")]
    assert "`edgeloop worker`" in patient.findings(310)["lag"][0].do


def test_records_that_nobody_saw_before_they_were_deleted(patient: Patient) -> None:
    part = partition(f"{0:026d}", 4)
    seen = patient.log.end_offsets()[TOPIC, part]
    patient.append(0, 60)
    patient.append(60, 60)
    gone = seen + 3
    with patient.broker.admin() as admin:
        admin.delete_records({TopicPartition(patient.settings.kafka.topic_prefix + TOPIC, part): gone})
    wait_until(lambda: patient.log.start_offsets()[TOPIC, part] == gone, "the deletion", 60)
    assert ("fail", "offsets") in patient.wrong()
    (finding,) = patient.findings()["offsets"]
    assert finding.what == f"{TOPIC}/{part}: records {seen} to {gone - 1} were deleted before a worker saw them"
    assert "retention.ms" in finding.do


def test_a_topic_that_was_made_anew(patient: Patient) -> None:
    name = patient.settings.kafka.topic_prefix + TOPIC
    patient.broker.delete_topic(name)
    wait_until(lambda: TOPIC not in patient.log.topic_ids(), "the deletion", 60)
    patient.broker.create_topic(name, 4)
    findings = [f for f in examine(patient.home) if f.check == "offsets"]
    assert {f.state for f in findings} == {"fail"}
    assert "was drained from another log" in findings[0].what


def test_a_clock_before_the_brokers(patient: Patient) -> None:
    assert patient.wrong(after_s=-290) == NOBODY
    assert patient.wrong(after_s=-310) == [*NOBODY, ("fail", "clock")]


def test_libraries(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_kafka, "OLDEST_KAFKA_PYTHON", (99, 0, 0))
    monkeypatch.setattr(doctor_kafka, "_CODECS", {"no_such_module": "zstd"})
    monkeypatch.setattr(doctor_kafka, "OLDEST_KAFKA", (99, 0))
    assert patient.wrong() == [("fail", "libraries"), ("fail", "codecs"), ("warn", "brokers"), *NOBODY]
    monkeypatch.setattr(doctor_kafka, "OLDEST_KAFKA_PYTHON", (3, 0, 12))
    monkeypatch.setattr(doctor_kafka, "AIOKAFKA", "9.9")
    assert ("warn", "libraries") in patient.wrong()


def test_a_key_that_was_lost(patient: Patient) -> None:
    (patient.home.keys / "dead-letters.key").unlink()
    assert ("fail", "keys") in patient.wrong()
