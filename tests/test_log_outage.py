"""Kafka goes away and comes back, or does not let us in: what a door and a person are told, and how soon."""

from __future__ import annotations

import gc
import threading
import time
from functools import partial
from pathlib import Path

import pytest

from edgeloop.errors import UsageError
from edgeloop.log import clients
from edgeloop.log.base import Entry, LogUnavailableError
from edgeloop.log.connection import why_refused
from edgeloop.log.kafka import KafkaLog
from edgeloop.log.partitioner import partition
from edgeloop.settings import KafkaSettings
from tests.real.kafka import PASSWORD, USER, Broker
from tests.test_log_conformance import PARTITIONS, TOPIC, create_topics, drained

pytestmark = pytest.mark.slow


def test_a_door_that_tries_again_and_again_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "nobody_answers", lambda _settings: None)  # it went away just then
    monkeypatch.setattr(clients, "_CONNECT_MS", 300)
    log = KafkaLog(KafkaSettings(bootstrap="127.0.0.1:1"))
    threads = threading.active_count()
    for _ in range(4):
        with pytest.raises(LogUnavailableError, match="no broker answers there"):
            log.end_offsets()
    assert threading.active_count() == threads
    log.close()


# kafka-python leaves what it was connecting with to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_broker_that_dies_and_comes_back(topic_prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with Broker(secure=True) as broker:
        create_topics(broker, topic_prefix)
        assert broker.certificates is not None
        plain = KafkaLog(KafkaSettings(bootstrap=broker.bootstrap, topic_prefix=topic_prefix))
        safe = KafkaLog(_secure(broker, topic_prefix))
        for log in (plain, safe):
            log.append([Entry(TOPIC, "k", b"before")])
            assert len(drained(log)[partition("k", PARTITIONS)]) > 0
        assert plain.cluster_id == safe.cluster_id
        with monkeypatch.context() as patched:
            patched.setattr(clients, "_CONNECT_MS", 1_500)
            _wrong_secrets(broker, topic_prefix)

        broker.kill()
        for again in range(2):
            began = time.monotonic()
            with pytest.raises(LogUnavailableError, match="Kafka at "):
                plain.append([Entry(TOPIC, "k", b"lost")])
            assert time.monotonic() - began < (1 if again else 15)
        asks = [plain.end_offsets, plain.topic_ids, partial(plain.read, TOPIC, 0, 0, 1, 1)]
        for ask in asks:
            began = time.monotonic()
            with pytest.raises(LogUnavailableError, match="Kafka at "):
                ask()
            assert time.monotonic() - began < 12
        with pytest.raises(LogUnavailableError, match="no broker answers there"):
            plain.append([Entry(TOPIC, "k", b"lost")])

        broker.restart()
        for log in (plain, safe):
            log.append([Entry(TOPIC, "k", b"after")])
            values = [value for _, value in drained(log)[partition("k", PARTITIONS)]]
            assert values.count(b"before") == 2
            assert b"after" in values
            log.close()
    del log, plain, safe, ask, asks
    for thread in threading.enumerate():
        if thread.name == "given-up producer":
            thread.join(30)
            assert not thread.is_alive(), "a producer that was given up never ended"
    gc.collect()


def _secure(broker: Broker, prefix: str, **changed: str) -> KafkaSettings:
    assert broker.certificates is not None
    given = {
        "sasl_username": USER,
        "sasl_password": PASSWORD,
        "ca_file": str(broker.certificates.ca),
    } | changed
    return KafkaSettings(bootstrap=broker.secure_bootstrap, topic_prefix=prefix, security_protocol="SASL_SSL", **given)


def _wrong_secrets(broker: Broker, prefix: str) -> None:
    wrong = _secure(broker, prefix, sasl_password="hunter2")
    log = KafkaLog(wrong)
    with pytest.raises(LogUnavailableError, match="does not let us in") as refused:
        log.end_offsets()
    assert "hunter2" not in str(refused.value)
    log.close()
    for settings, said in (
        (wrong, "does not let us in"),
        (_secure(broker, prefix, ca_file=""), "its certificate is not accepted"),
        (KafkaSettings(bootstrap=broker.secure_bootstrap), "not as a broker"),
        (KafkaSettings(bootstrap=broker.bootstrap, security_protocol="SSL"), "not with TLS"),
        (KafkaSettings(bootstrap=f"127.0.0.1:1,{broker.bootstrap}"), "not as a broker"),
        (KafkaSettings(bootstrap="nobody.invalid:9092"), "no broker answers there"),
        (KafkaSettings(bootstrap="localhost"), "'localhost' is no host:port"),
    ):
        assert said in why_refused(settings)
        assert "hunter2" not in why_refused(settings)


def test_settings_that_cannot_connect_say_which(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="needs sasl_username and sasl_password"):
        KafkaLog(KafkaSettings(bootstrap="127.0.0.1:1", security_protocol="SASL_SSL")).end_offsets()
    missing = KafkaSettings(bootstrap="127.0.0.1:1", security_protocol="SSL", ca_file=str(tmp_path / "no.pem"))
    with pytest.raises(UsageError, match=r"ca_file, cert_file, key_file: FileNotFoundError"):
        KafkaLog(missing).end_offsets()
