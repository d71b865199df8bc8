"""One meaning, two logs: what the local log does, Kafka does, on a real broker."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from kafka import TopicPartition

from edgeloop.errors import HomeError
from edgeloop.events import DEAD_LETTERS_TOPIC, STORED_TOPICS
from edgeloop.log.base import Entry, LogUnavailableError, OffsetsGoneError
from edgeloop.log.kafka import LARGEST_BYTES, KafkaLog
from edgeloop.log.local import LocalLog
from edgeloop.log.partitioner import partition
from edgeloop.settings import KafkaSettings
from tests.real.kafka import Broker

pytestmark = pytest.mark.slow

TOPIC = "edge.exposures"
PARTITIONS = 4
EITHER = LocalLog | KafkaLog


def create_topics(broker: Broker, prefix: str, partitions: int = PARTITIONS) -> None:
    for name in (*STORED_TOPICS, DEAD_LETTERS_TOPIC):
        broker.create_topic(prefix + name, partitions)


@pytest.fixture
def kafka_log(kafka_broker: Broker, topic_prefix: str) -> Iterator[KafkaLog]:
    create_topics(kafka_broker, topic_prefix)
    log = KafkaLog(KafkaSettings(bootstrap=kafka_broker.bootstrap, topic_prefix=topic_prefix))
    yield log
    log.close()


@pytest.fixture(params=["local", "kafka"])
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[EITHER]:
    if request.param == "kafka":
        yield request.getfixturevalue("kafka_log")
        return
    made = LocalLog(tmp_path / "log.sqlite", partitions=PARTITIONS)
    yield made
    made.close()


def drained(log: EITHER, topic: str = TOPIC, *, at_once: int = 7) -> dict[int, list[tuple[int, bytes]]]:
    found: dict[int, list[tuple[int, bytes]]] = {}
    for part in range(log.partitions(topic)):
        rows, offset, end = [], 0, log.end_offsets()[topic, part]
        while offset < end:
            chunk = log.read(topic, part, offset, at_once, 1 << 20)
            assert chunk.start == offset
            assert chunk.next_offset > offset
            rows += list(zip(chunk.offsets, chunk.values, strict=True))
            offset = chunk.next_offset
        found[part] = rows
    return found


def test_everything_is_where_its_key_says_and_in_order(log: EITHER) -> None:
    entries = [Entry(TOPIC, f"k{i % 17}", str(i).encode()) for i in range(200)]
    log.append(entries[:120])
    log.append(entries[120:])
    log.append([])
    expected: dict[int, list[bytes]] = {part: [] for part in range(PARTITIONS)}
    for entry in entries:
        expected[partition(entry.key, PARTITIONS)].append(entry.value)
    read = drained(log)
    assert {part: [value for _, value in rows] for part, rows in read.items()} == expected
    for part, rows in read.items():
        assert [offset for offset, _ in rows] == list(range(len(rows)))
        assert log.end_offsets()[TOPIC, part] == len(rows)
        assert log.start_offsets()[TOPIC, part] == 0
    assert log.end_offsets()[DEAD_LETTERS_TOPIC, 0] == 0


def test_a_read_is_bounded_by_records_and_by_bytes_but_never_empty(log: EITHER) -> None:
    log.append([Entry(TOPIC, "k", b"x" * 1_000) for _ in range(10)])
    part = partition("k", PARTITIONS)
    assert len(log.read(TOPIC, part, 0, 3, 1 << 20)) == 3
    assert len(log.read(TOPIC, part, 0, 100, 2_500)) == 3
    assert list(log.read(TOPIC, part, 3, 100, 1).offsets) == [3]
    assert list(log.read(TOPIC, part, 4, 100, 1 << 20).offsets) == [4, 5, 6, 7, 8, 9]
    assert list(log.read(TOPIC, part, 9, 100, 1).offsets) == [9]
    for beyond in (10, 11):
        chunk = log.read(TOPIC, part, beyond, 100, 1)
        assert (len(chunk), chunk.next_offset) == (0, beyond)


def test_what_is_appended_after_a_read_to_the_end_is_read(log: EITHER) -> None:
    part = partition("k", PARTITIONS)
    for i in range(3):
        log.append([Entry(TOPIC, "k", str(i).encode())])
        assert list(log.read(TOPIC, part, i, 10, 1 << 20).values) == [str(i).encode()]


def test_keys_by_offset(log: EITHER) -> None:
    log.append([Entry(TOPIC, f"key-{i}", b"x") for i in range(60)])
    of_part = [f"key-{i}" for i in range(60) if partition(f"key-{i}", PARTITIONS) == 2]
    assert log.keys(TOPIC, 2, range(len(of_part))) == of_part
    assert log.keys(TOPIC, 2, [5, 1, 10_000]) == [of_part[1], of_part[5]]
    assert log.keys(TOPIC, 2, []) == []


def test_offset_by_time(log: EITHER) -> None:
    part = partition("k", PARTITIONS)
    log.append([Entry(TOPIC, "k", b"1")])
    time.sleep(0.05)
    between_us = time.time_ns() // 1_000
    time.sleep(0.05)
    log.append([Entry(TOPIC, "k", b"2")])
    first, second = log.read(TOPIC, part, 0, 10, 1 << 20).appended_us
    assert first < between_us < second
    assert [log.offset_at(TOPIC, part, us) for us in (0, first, first + 1, between_us, second)] == [0, 0, 1, 1, 1]
    assert log.offset_at(TOPIC, part, second + 1) == 2
    assert log.offset_at(TOPIC, (part + 1) % PARTITIONS, 0) == 0


def test_identities(log: EITHER) -> None:
    ids = log.topic_ids()
    assert ids.keys() >= {*STORED_TOPICS, DEAD_LETTERS_TOPIC}
    assert len(set(ids.values())) == len(ids)
    assert log.cluster_id


def test_threads_append_and_read_at_once(log: EITHER) -> None:
    failures: list[BaseException] = []

    def append(number: int) -> None:
        try:
            for i in range(10):
                log.append([Entry(TOPIC, f"{number}-{i}-{n}", b"x") for n in range(5)])
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=append, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        drained(log)
    assert not failures
    assert sum(map(len, drained(log).values())) == 200


# Kafka alone


def test_a_topic_made_anew_has_another_id(kafka_broker: Broker, kafka_log: KafkaLog, topic_prefix: str) -> None:
    kafka_log.append([Entry(TOPIC, "k", b"old")])
    part = partition("k", PARTITIONS)
    assert list(kafka_log.read(TOPIC, part, 0, 10, 1 << 20).values) == [b"old"]
    before = kafka_log.topic_ids()
    kafka_broker.delete_topic(topic_prefix + TOPIC)
    with pytest.raises(HomeError, match=f"no topic {topic_prefix}edge.exposures.*`edgeloop topics create`"):
        until(lambda: kafka_log.end_offsets() is None)
    kafka_broker.create_topic(topic_prefix + TOPIC, PARTITIONS)
    after = kafka_log.topic_ids()
    assert {name for name in after if after[name] != before[name]} == {TOPIC}
    until(lambda: _appended(kafka_log, b"new"))
    assert set(kafka_log.read(TOPIC, part, 0, 10, 1 << 20).values) == {b"new"}


def _appended(log: KafkaLog, value: bytes) -> bool:
    try:
        log.append([Entry(TOPIC, "k", value)])
    except LogUnavailableError:  # a producer that knew the topic before
        return False
    return True


def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never became so"
        time.sleep(0.1)


def test_a_topic_that_is_missing_is_named(kafka_broker: Broker, topic_prefix: str) -> None:
    log = KafkaLog(KafkaSettings(bootstrap=kafka_broker.bootstrap, topic_prefix=topic_prefix))
    for ask in (
        lambda: log.append([Entry(TOPIC, "k", b"v")]),
        log.end_offsets,
        lambda: log.partitions(TOPIC),
    ):
        with pytest.raises(HomeError, match=f"no topic {topic_prefix}edge.exposures.*`edgeloop topics create`"):
            ask()
    create_topics(kafka_broker, topic_prefix)
    log.append([Entry(TOPIC, "k", b"v")])
    assert sum(log.end_offsets().values()) == 1
    log.close()


def test_aborted_and_open_transactions_are_invisible(
    kafka_broker: Broker, kafka_log: KafkaLog, topic_prefix: str
) -> None:
    producer = kafka_broker.producer(transactional_id=f"{topic_prefix}teller", key_serializer=None)
    producer.init_transactions()

    def send(values: list[bytes], *, commit: bool | None) -> None:
        producer.begin_transaction()
        for value in values:
            producer.send(topic_prefix + TOPIC, key=b"k", value=value, partition=0).get(timeout=20)
        if commit is not None:
            producer.commit_transaction() if commit else producer.abort_transaction()

    send([b"1", b"2"], commit=True)  # offsets 0, 1, and a marker at 2
    send([b"no"] * 5, commit=False)  # 3 to 7, and a marker at 8
    send([b"3"], commit=True)  # 9, and a marker at 10
    assert drained(kafka_log)[0] == [(0, b"1"), (1, b"2"), (9, b"3")]
    chunk = kafka_log.read(TOPIC, 0, 2, 100, 1 << 20)
    assert (list(chunk.offsets), chunk.next_offset) == ([9], 11)
    assert kafka_log.end_offsets()[TOPIC, 0] == 11
    assert kafka_log.keys(TOPIC, 0, [1, 4, 9]) == ["k", "k"]
    send([b"never"] * 3, commit=False)  # ends in a gap: 11 to 13, a marker at 14
    until(lambda: kafka_log.end_offsets()[TOPIC, 0] == 15)
    chunk = kafka_log.read(TOPIC, 0, 11, 100, 1 << 20)
    assert (len(chunk), chunk.next_offset) == (0, 15)
    send([b"open"], commit=None)
    assert kafka_log.end_offsets()[TOPIC, 0] == 15, "what is not committed yet is no end to read to"
    assert len(kafka_log.read(TOPIC, 0, 15, 100, 1 << 20)) == 0
    producer.commit_transaction()
    producer.close()
    until(lambda: len(kafka_log.read(TOPIC, 0, 15, 100, 1 << 20)) == 1)


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
def test_every_codec_is_read(kafka_broker: Broker, kafka_log: KafkaLog, topic_prefix: str, codec: str) -> None:
    producer = kafka_broker.producer(compression_type=codec, batch_size=1 << 20, linger_ms=50, max_request_size=2 << 20)
    values = [f"{codec} {i} ".encode() * 2_000 for i in range(120)]  # more than 1 MB in one batch, unpacked
    for value in values:
        producer.send(topic_prefix + TOPIC, key=b"k", value=value, partition=0)
    producer.flush()
    producer.close()
    assert [value for _, value in drained(kafka_log)[0]] == values


def test_the_largest_record_goes_through(kafka_log: KafkaLog) -> None:
    body = os.urandom(LARGEST_BYTES)
    kafka_log.append([Entry(TOPIC, "k", body), Entry(TOPIC, "k", b"small")])
    part = partition("k", PARTITIONS)
    assert list(kafka_log.read(TOPIC, part, 0, 10, 1 << 30).values) == [body, b"small"]
    with pytest.raises(LogUnavailableError, match=r"larger than its topic's max\.message\.bytes"):
        kafka_log.append([Entry(TOPIC, "k", body + body)])
    kafka_log.append([Entry(TOPIC, "k", b"goes on")])


def test_a_topic_that_takes_only_small_records(kafka_broker: Broker, topic_prefix: str) -> None:
    for name in (*STORED_TOPICS, DEAD_LETTERS_TOPIC):
        kafka_broker.create_topic(topic_prefix + name, 1, {"max.message.bytes": "10000"})
    log = KafkaLog(KafkaSettings(bootstrap=kafka_broker.bootstrap, topic_prefix=topic_prefix))
    with pytest.raises(LogUnavailableError, match=r"larger than its topic's max\.message\.bytes"):
        log.append([Entry(TOPIC, "k", os.urandom(20_000))])
    log.append([Entry(TOPIC, "k", os.urandom(5_000)) for _ in range(4)])
    assert len(drained(log)[0]) == 4
    log.close()


def test_what_retention_deleted_is_named_with_its_range(
    kafka_broker: Broker, kafka_log: KafkaLog, topic_prefix: str
) -> None:
    part = partition("k", PARTITIONS)
    kafka_log.append([Entry(TOPIC, "k", str(i).encode()) for i in range(10)])
    with kafka_broker.admin() as admin:
        admin.delete_records({TopicPartition(topic_prefix + TOPIC, part): 6})
    until(lambda: kafka_log.start_offsets()[TOPIC, part] == 6)
    for _ in range(2):
        with pytest.raises(OffsetsGoneError, match=rf"edge\.exposures/{part} begins at 6: records 2 to 5 were deleted"):
            kafka_log.read(TOPIC, part, 2, 100, 1 << 20)
    assert list(kafka_log.read(TOPIC, part, 6, 100, 1 << 20).offsets) == [6, 7, 8, 9]


def test_a_topic_that_grew(kafka_broker: Broker, kafka_log: KafkaLog, topic_prefix: str) -> None:
    kafka_log.append([Entry(TOPIC, "k", b"before")])
    kafka_broker.add_partitions(topic_prefix + TOPIC, 8)
    until(lambda: kafka_log.partitions(TOPIC) == 8)
    entries = [Entry(TOPIC, f"key-{i}", b"after") for i in range(50)]
    kafka_log.append(entries)
    assert sum(map(len, drained(kafka_log).values())) == 51
    fresh = KafkaLog(KafkaSettings(bootstrap=kafka_broker.bootstrap, topic_prefix=topic_prefix))
    fresh.append([Entry(TOPIC, "key-3", b"new")])
    assert b"new" in [value for _, value in drained(fresh)[partition("key-3", 8)]]
    fresh.close()


def test_kafkas_own_clients_put_a_key_in_the_same_partition(
    kafka_broker: Broker, kafka_log: KafkaLog, topic_prefix: str
) -> None:
    keys = [f"{i:026d}" for i in range(40)] + ["", "é", "k" * 300]
    producer = kafka_broker.producer()
    futures = [producer.send(topic_prefix + TOPIC, key=key.encode(), value=b"theirs") for key in keys]
    assert [future.get(timeout=20).partition for future in futures] == [partition(key, PARTITIONS) for key in keys]
    producer.close()
    kafka_log.append([Entry(TOPIC, key, b"ours") for key in keys])
    for part in range(PARTITIONS):
        records = kafka_log.keyed(TOPIC, part, 0, 1_000)
        assert {r.key for r in records if r.value == b"ours"} == {r.key for r in records if r.value == b"theirs"}


def test_records_without_a_key_or_a_body(kafka_broker: Broker, kafka_log: KafkaLog, topic_prefix: str) -> None:
    producer = kafka_broker.producer()
    producer.send(topic_prefix + TOPIC, value=b"no key", partition=0)
    producer.send(topic_prefix + TOPIC, key=b"k", value=None, partition=0)
    producer.send(topic_prefix + TOPIC, key=b"\xff", value=b"odd", partition=0)
    producer.flush()
    producer.close()
    records = kafka_log.keyed(TOPIC, 0, 0, 10)
    assert [(r.key, r.value) for r in records] == [(None, b"no key"), ("k", b""), ("\ufffd", b"odd")]
    assert kafka_log.keys(TOPIC, 0, [0, 1, 2]) == ["", "k", "\ufffd"]
