"""The real servers of the tests: they take data, keep it through a kill, and let in only who may come in."""

from __future__ import annotations

import asyncio
import gc
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaConnectionError
from kafka import TopicPartition

from tests.real.kafka import PASSWORD, USER, Broker
from tests.real.postgres import Postgres
from tests.real.process import answers, free_port, wait_until

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[1]


def _values(broker: Broker, topic: str) -> list[bytes]:
    """All records of partition 0 of a topic."""
    partition = TopicPartition(topic, 0)
    with broker.consumer() as consumer:
        consumer.assign([partition])
        end = consumer.end_offsets([partition])[partition]
        found: list[bytes] = []
        until = time.monotonic() + 20
        while consumer.position(partition) < end:
            assert time.monotonic() < until, found
            found += [record.value for record in consumer.poll(timeout_ms=500).get(partition, ())]
        return found


def _send(broker: Broker, topic: str, value: bytes) -> None:
    with broker.producer(acks="all") as producer:
        producer.send(topic, value, partition=0).get(timeout=20)


@pytest.fixture(scope="module")
def secure_broker() -> Iterator[Broker]:
    with Broker(secure=True) as broker:
        yield broker


def test_what_kafka_acknowledged_outlives_a_kill(secure_broker: Broker) -> None:
    port = secure_broker.port
    secure_broker.create_topic("kept", 1)
    _send(secure_broker, "kept", b"before")
    secure_broker.kill()
    assert not answers(port)
    secure_broker.start()
    _send(secure_broker, "kept", b"after")
    secure_broker.restart()
    assert secure_broker.port == port
    assert _values(secure_broker, "kept") == [b"before", b"after"]


def test_topics_of_kafka_come_grow_and_go(kafka_broker: Broker, topic_prefix: str) -> None:
    name = topic_prefix + "topic"
    kafka_broker.create_topic(name, 2, {"retention.ms": "3600000"})
    kafka_broker.add_partitions(name, 5)
    with kafka_broker.consumer() as consumer:
        assert consumer.partitions_for_topic(name) == {0, 1, 2, 3, 4}
    kafka_broker.delete_topic(name)
    with kafka_broker.admin() as admin:
        wait_until(lambda: name not in admin.list_topics(), "the end of the topic", 10)


def test_a_broker_that_stands_still_answers_again(secure_broker: Broker) -> None:
    secure_broker.create_topic("still", 1)
    with secure_broker.producer(acks="all", retries=50) as producer:
        producer.send("still", b"1").get(timeout=20)
        secure_broker.pause()
        waiting = producer.send("still", b"2")
        time.sleep(0.5)
        assert not waiting.is_done
        secure_broker.resume()
        waiting.get(timeout=20)
    assert _values(secure_broker, "still")[:2] == [b"1", b"2"]


async def _topics_over_tls(broker: Broker, password: str, authorities: ssl.SSLContext) -> list[str]:
    # aiokafka: kafka-python leaves its sockets behind where it is refused.
    admin = AIOKafkaAdminClient(
        bootstrap_servers=broker.secure_bootstrap,
        security_protocol="SASL_SSL",
        ssl_context=authorities,
        sasl_mechanism="SCRAM-SHA-512",
        sasl_plain_username=USER,
        sasl_plain_password=password,
    )
    try:
        await admin.start()
        return list(await admin.list_topics())
    finally:
        await admin.close()
        await asyncio.sleep(0.2)  # aiokafka does not wait for the end of its TLS connections


def _over_tls(broker: Broker, password: str, authorities: ssl.SSLContext) -> list[str]:
    try:
        return asyncio.run(_topics_over_tls(broker, password, authorities))
    finally:
        with warnings.catch_warnings():  # what it left open after all must not be told of in another test
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()


def test_kafka_with_tls_lets_in_who_knows_the_password(secure_broker: Broker, caplog: pytest.LogCaptureFixture) -> None:
    secure_broker.create_topic("secure", 1)
    with secure_broker.producer(**secure_broker.secure_options()) as producer:
        producer.send("secure", b"let in").get(timeout=20)
    assert _values(secure_broker, "secure") == [b"let in"]
    assert secure_broker.certificates is not None
    ours = ssl.create_default_context(cafile=str(secure_broker.certificates.ca))
    assert "secure" in _over_tls(secure_broker, PASSWORD, ours)
    with pytest.raises(KafkaConnectionError):
        _over_tls(secure_broker, "a wrong password", ours)
    assert "invalid credentials" in caplog.text
    with pytest.raises(KafkaConnectionError):
        _over_tls(secure_broker, PASSWORD, ssl.create_default_context())
    assert "certificate verify failed" in caplog.text


def test_what_postgresql_committed_outlives_a_kill() -> None:
    with Postgres() as server:
        url = server.create_database()
        with psycopg.connect(url) as db:
            db.execute("CREATE TABLE kept (n int)")
            db.execute("INSERT INTO kept VALUES (1)")
        left = psycopg.connect(url)
        left.execute("INSERT INTO kept VALUES (2)")
        server.kill()
        with pytest.raises(psycopg.OperationalError):
            left.execute("SELECT 1")
        left.close()
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(url)
        server.start()
        with psycopg.connect(url) as db:
            assert db.execute("SELECT n FROM kept").fetchall() == [(1,)]
            assert db.execute("SHOW fsync").fetchone() == ("on",)
        server.restart()
        with psycopg.connect(server.url()) as db:
            assert db.info.dbname == "edgeloop"
        folder = server.folder
    assert not answers(server.port)
    assert not folder.exists()


def test_each_database_is_fresh(postgres_server: Postgres, database_url: str) -> None:
    with psycopg.connect(database_url) as db:
        db.execute("CREATE TABLE mine (n int)")
    with psycopg.connect(postgres_server.create_database()) as db:
        assert db.execute("SELECT to_regclass('mine')").fetchone() == (None,)


def test_postgresql_that_stands_still_answers_again(postgres_server: Postgres, database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as db:
        postgres_server.pause()
        try:
            with pytest.raises(psycopg.OperationalError):
                psycopg.connect(database_url, connect_timeout=2)
        finally:
            postgres_server.resume()
        assert db.execute("SELECT 1").fetchone() == (1,)


def test_postgresql_asks_for_the_password(postgres_server: Postgres) -> None:
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(postgres_server.url(password="wrong"))


def test_postgresql_with_tls_lets_in_nobody_without() -> None:
    with Postgres(tls=True) as server:
        with psycopg.connect(server.url()) as db:
            assert db.execute("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()").fetchone() == (True,)
        with pytest.raises(psycopg.OperationalError, match="no encryption"):
            psycopg.connect(server.url(sslmode="disable"))
        with pytest.raises(psycopg.OperationalError, match="certificate verify failed"):
            psycopg.connect(server.url(sslrootcert="system"))


_STARTS_AND_TELLS = """
import sys, time
from tests.real.postgres import Postgres
with Postgres() as server:
    print(server.process.pid, server.port, server.folder, flush=True)
    time.sleep(600)
"""


def test_a_server_does_not_outlive_tests_that_are_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", _STARTS_AND_TELLS], stdout=subprocess.PIPE, cwd=ROOT) as tests:
        assert tests.stdout is not None
        pid, port, folder = tests.stdout.readline().split()
        os.kill(int(pid), 0)
        tests.kill()
    wait_until(lambda: not answers(int(port)), "the end of the server", 10)
    shutil.rmtree(folder)


def test_a_server_that_does_not_come_says_why() -> None:
    server = Postgres()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", server.port))
        taken.listen()
        with pytest.raises(TimeoutError, match=r"(?s)PostgreSQL ended with 1\n.*Address already in use"):
            server.__enter__()
    assert not server.folder.exists()


def test_make_kafka_runs_one_and_ends_at_ctrl_c(tmp_path: Path) -> None:
    port = next(port for port in iter(free_port, None) if not answers(port + 1))
    environment = os.environ | {"EDGELOOP_KAFKA_PORT": str(port), "EDGELOOP_KAFKA_DATA": str(tmp_path / "data")}
    with subprocess.Popen(
        # Where the tests run in the background, Ctrl-C is switched off for all that they start.
        ["env", "--default-signal=INT", ROOT / "scripts" / "kafka.sh", "run"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as script:
        assert script.stdout is not None
        try:
            said = script.stdout.readline()
            assert said == f"EDGELOOP_KAFKA_BOOTSTRAP=127.0.0.1:{port} .venv/bin/edgeloop topics create\n"
            assert answers(port)
        finally:
            os.killpg(script.pid, signal.SIGINT)
            out, err = script.communicate(timeout=30)
    assert (script.returncode, out) == (0, ""), err
    assert "stopped" in err
    assert not answers(port)
