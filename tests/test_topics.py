"""`edgeloop topics` makes Kafka's topics as they are needed, and says what is wrong with those that are there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edgeloop.app.cli import run
from edgeloop.app.topics import Made, check_topics, create_topics
from edgeloop.errors import EdgeloopError
from edgeloop.events import (
    ALERTS_TOPIC,
    BACKFILL_TOPICS,
    DEAD_LETTERS_TOPIC,
    STORED_TOPICS,
    UPDATES_TOPIC,
)
from edgeloop.log.base import Entry
from edgeloop.log.kafka import KafkaLog
from edgeloop.settings import KafkaSettings, Settings, WorkerSettings
from tests.real.kafka import Broker
from tests.real.process import wait_until

pytestmark = pytest.mark.slow

DAY_MS = 86_400_000


@pytest.fixture
def settings(kafka_broker: Broker, topic_prefix: str) -> Settings:
    return Settings(kafka=KafkaSettings(bootstrap=kafka_broker.bootstrap, topic_prefix=topic_prefix))


def configs(broker: Broker, name: str) -> dict[str, str]:
    from kafka.admin import ConfigResource, ConfigResourceType

    with broker.admin() as admin:
        found = admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name)], config_filter="all")
    return {key: one["value"] for key, one in found["topic"][name].items()}


def alter(broker: Broker, name: str, **config: str) -> None:
    from kafka.admin import ConfigResource, ConfigResourceType

    with broker.admin() as admin:
        changed = {key.replace("_", "."): value for key, value in config.items()}
        admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, name, configs=changed)])
    wait_until(lambda: changed.items() <= configs(broker, name).items(), "the topic's settings", 20)


def wrong(settings: Settings) -> dict[str, list[tuple[str, str, str]]]:
    """What is not fine: topic without prefix → (state, what, what to do)."""
    found: dict[str, list[tuple[str, str, str]]] = {}
    for finding in check_topics(settings):
        if finding.state == "ok":
            assert not finding.do
        else:
            assert finding.do, f"{finding} says not what to do"
            name = finding.check.removeprefix(settings.kafka.topic_prefix)
            found.setdefault(name, []).append((finding.state, finding.what, finding.do))
    return found


def test_what_it_makes_is_what_is_needed(kafka_broker: Broker, topic_prefix: str, settings: Settings) -> None:
    made = create_topics(settings)
    topics = (*STORED_TOPICS, DEAD_LETTERS_TOPIC, ALERTS_TOPIC, UPDATES_TOPIC)
    assert made == [Made(topic_prefix + name, "made", 1 if name == ALERTS_TOPIC else 4) for name in topics]
    assert wrong(settings) == {}
    for name in STORED_TOPICS:
        config = configs(kafka_broker, topic_prefix + name)
        assert (config["message.timestamp.type"], config["cleanup.policy"]) == ("LogAppendTime", "delete")
        assert (config["max.message.bytes"], config["retention.ms"]) == (str(2 << 20), "-1")
    assert configs(kafka_broker, topic_prefix + ALERTS_TOPIC)["retention.ms"] == str(7 * DAY_MS)
    assert configs(kafka_broker, topic_prefix + DEAD_LETTERS_TOPIC)["retention.ms"] == str(30 * DAY_MS)
    assert configs(kafka_broker, topic_prefix + UPDATES_TOPIC)["cleanup.policy"] == "compact"
    again = create_topics(settings)
    assert {one.did for one in again} == {"was there"}
    log = KafkaLog(settings.kafka)
    log.append([Entry(name, "k", b"v") for name in (*STORED_TOPICS, DEAD_LETTERS_TOPIC)])
    assert sum(log.end_offsets().values()) == len(STORED_TOPICS) + 1
    log.close()


def test_topics_that_are_there_stay_as_they_are(kafka_broker: Broker, topic_prefix: str, settings: Settings) -> None:
    kafka_broker.create_topic(topic_prefix + "edge.exposures", 2, {"retention.ms": "12345678"})
    made = {one.topic.removeprefix(topic_prefix): one for one in create_topics(settings)}
    assert (made["edge.exposures"].did, made["edge.exposures"].partitions) == ("was there", 2)
    assert made["edge.telemetry"].did == "made"
    assert configs(kafka_broker, topic_prefix + "edge.exposures")["retention.ms"] == "12345678"


def test_growth(kafka_broker: Broker, topic_prefix: str, settings: Settings) -> None:
    create_topics(settings, partitions=2)
    kafka_broker.add_partitions(topic_prefix + "edge.telemetry", 16)
    made = {one.topic.removeprefix(topic_prefix): one for one in create_topics(settings, partitions=8)}
    for name in (*STORED_TOPICS, DEAD_LETTERS_TOPIC, UPDATES_TOPIC):
        if name != "edge.telemetry":
            assert (made[name].did, made[name].partitions) == ("grew from 2 partitions", 8)
    assert (made["edge.telemetry"].did, made["edge.telemetry"].partitions) == ("was there", 16)
    assert made[ALERTS_TOPIC].partitions == 1


def test_backfill_topics_only_when_asked(topic_prefix: str, settings: Settings) -> None:
    create_topics(settings)
    assert wrong(settings) == {}
    made = create_topics(settings, backfill=True)
    assert {one.topic for one in made if one.did == "made"} == {topic_prefix + name for name in BACKFILL_TOPICS}
    assert wrong(settings) == {}


def test_missing_topics(settings: Settings) -> None:
    assert wrong(settings).keys() == {*STORED_TOPICS, DEAD_LETTERS_TOPIC, ALERTS_TOPIC}
    with_updates = Settings(kafka=settings.kafka, worker=WorkerSettings(updates=True))
    assert UPDATES_TOPIC in wrong(with_updates)
    (found,) = wrong(settings)["edge.exposures"]
    assert found[0] == "fail"
    assert found[2] == "`edgeloop topics create`"


@pytest.mark.parametrize(
    ("topic", "config", "state", "said"),
    [
        ("edge.exposures", {"message_timestamp_type": "CreateTime"}, "fail", "retention would delete backfilled"),
        ("edge.exposures", {"cleanup_policy": "compact"}, "fail", "only the last event would stay"),
        ("edge.exposures", {"cleanup_policy": "compact,delete"}, "fail", "only the last event would stay"),
        ("edge.exposures", {"max_message_bytes": "1048588"}, "fail", "longer records would be refused"),
        ("edge.exposures", {"retention_ms": str(DAY_MS)}, "fail", "kept for 1 days: a worker"),
        ("edge.exposures", {"retention_ms": str(7 * DAY_MS)}, "warn", "kept for 7 days: from then on"),
        ("backfill.edge.exposures", {"retention_ms": str(1000 * DAY_MS)}, "warn", "kept for 1000 days: from then on"),
        ("edge.exposures", {"retention_bytes": "1000000"}, "warn", "no worker has seen"),
        (DEAD_LETTERS_TOPIC, {"retention_ms": str(31 * DAY_MS)}, "warn", "kept for 31 days"),
        (DEAD_LETTERS_TOPIC, {"retention_ms": "-1"}, "warn", "kept for ever"),
        (DEAD_LETTERS_TOPIC, {"max_message_bytes": "1000"}, "fail", "longer records would be refused"),
        (UPDATES_TOPIC, {"cleanup_policy": "delete"}, "warn", "is not compact"),
    ],
)
def test_drift_is_named_with_what_to_do(
    kafka_broker: Broker,
    topic_prefix: str,
    settings: Settings,
    topic: str,
    config: dict[str, str],
    state: str,
    said: str,
) -> None:
    create_topics(settings, backfill=topic in BACKFILL_TOPICS)
    alter(kafka_broker, topic_prefix + topic, **config)
    ((name, (found,)),) = wrong(settings).items()
    assert (name, found[0]) == (topic, state)
    assert said in found[1]
    assert f"--entity-name {topic_prefix}{topic} --add-config " in found[2]
    # What it says to do, does it.
    key, _, value = found[2].rpartition(" ")[2].partition("=")
    alter(kafka_broker, topic_prefix + topic, **{key.replace(".", "_"): value})
    assert wrong(settings) == {}


def test_unequal_numbers_of_partitions_are_advice(kafka_broker: Broker, topic_prefix: str, settings: Settings) -> None:
    create_topics(settings)
    kafka_broker.add_partitions(topic_prefix + "model.changes", 6)
    ((state, what, do),) = wrong(settings)["partitions"]
    assert state == "warn"
    assert "unequal" in what
    assert "slower, never wrong" in what
    create_topics(settings, partitions=6)
    ((state, what, do),) = wrong(settings)["partitions"]
    assert "6 is no power of two" in what
    assert do == "`edgeloop topics create --partitions 8`"
    create_topics(settings, partitions=8)
    assert wrong(settings) == {}


def test_the_command(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EDGELOOP_KAFKA_BOOTSTRAP", settings.kafka.bootstrap)
    monkeypatch.setenv("EDGELOOP_KAFKA_TOPIC_PREFIX", settings.kafka.topic_prefix)

    def asked(*tokens: str) -> tuple[int, list[dict[str, Any]], str]:
        code = run(["topics", *tokens, "--json"])
        shown = capsys.readouterr()
        return code, json.loads(shown.out), shown.err

    code, rows, _ = asked("check")
    assert code == 3
    assert {row["state"] for row in rows} == {"fail"}
    code, rows, said = asked("create")
    assert (code, len(rows), said) == (0, 9, "")
    code, rows, _ = asked()
    assert code == 0
    assert {row["state"] for row in rows} == {"ok"}
    code, _, said = asked("create", "--partitions", "8")
    assert code == 0
    assert "the tables come out the same" in said
    _, _, said = asked("create", "--partitions", "2")
    assert "never taken away" in said
    assert run(["topics"]) == 0
    assert "edge.exposures" in capsys.readouterr().out
    assert not (tmp_path / ".edgeloop").exists()


def test_what_brokers_refuse_is_said_in_their_words(kafka_broker: Broker, topic_prefix: str) -> None:
    three = KafkaSettings(bootstrap=kafka_broker.bootstrap, topic_prefix=topic_prefix, replication_factor=3)
    with pytest.raises(EdgeloopError, match=r"edge\.exposures: .*only 1 broker.*replication_factor"):
        create_topics(Settings(kafka=three))
    odd = KafkaSettings(bootstrap=kafka_broker.bootstrap, topic_prefix="no name ")
    with pytest.raises(EdgeloopError, match="Topic name is invalid"):
        create_topics(Settings(kafka=odd))


def test_without_kafka_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["topics", "check"]) == 2
    assert "EDGELOOP_KAFKA_BOOTSTRAP" in capsys.readouterr().err
    monkeypatch.setenv("EDGELOOP_KAFKA_BOOTSTRAP", "127.0.0.1:1")
    assert run(["topics", "check"]) == 1
    assert "no broker answers there" in capsys.readouterr().err
    assert run(["up"]) == 2
    assert "`edgeloop serve` and `edgeloop worker`" in capsys.readouterr().err
