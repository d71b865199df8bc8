"""The local log: order, offsets, durability and several writers."""

from __future__ import annotations

import threading
from contextlib import closing
from pathlib import Path

import pytest

from edgeloop.errors import HomeError
from edgeloop.log.base import Entry, LogUnavailableError
from edgeloop.log.local import LocalLog
from edgeloop.log.partitioner import murmur2, partition, shard

TOPIC = "edge.exposures"


@pytest.mark.parametrize(
    ("text", "signed"),
    [  # Apache Kafka, UtilsTest.testMurmur2
        ("21", -973932308),
        ("foobar", -790332482),
        ("a-little-bit-long-string", -985981536),
        ("a-little-bit-longer-string", -1486304829),
        ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        ("abc", 479470107),
    ],
)
def test_murmur2_is_kafkas(text: str, signed: int) -> None:
    assert murmur2(text.encode()) == signed % 2**32


def test_partition_and_shard_are_positive_and_bounded() -> None:
    keys = [f"key-{i}" for i in range(2_000)]
    assert {partition(k, 4) for k in keys} == set(range(4))
    assert {shard(k) for k in keys} == set(range(64))


def drain(log: LocalLog, topic: str = TOPIC) -> dict[int, list[tuple[int, bytes]]]:
    return {
        p: list(zip((c := log.read(topic, p, 0, 10_000, 1 << 30)).offsets, c.values, strict=True))
        for p in range(log.partitions(topic))
    }


def test_offsets_run_from_zero_and_order_within_a_key_is_kept(tmp_path: Path) -> None:
    log = LocalLog(tmp_path / "log.sqlite", partitions=3)
    entries = [Entry(TOPIC, f"k{i % 7}", str(i).encode()) for i in range(100)]
    log.append(entries[:50])
    log.append(entries[50:])
    read = drain(log)
    assert sum(len(rows) for rows in read.values()) == 100
    for part, rows in read.items():
        assert [offset for offset, _ in rows] == list(range(len(rows)))
        assert log.end_offsets()[(TOPIC, part)] == len(rows)
    for key in {e.key for e in entries}:
        values = [int(v) for rows in read.values() for _, v in rows if f"k{int(v) % 7}" == key]
        assert values == sorted(values)
    log.close()


def test_a_read_is_bounded_by_records_and_by_bytes_but_never_empty(tmp_path: Path) -> None:
    log = LocalLog(tmp_path / "log.sqlite", partitions=1)
    log.append([Entry(TOPIC, "k", b"x" * 1_000) for _ in range(10)])
    assert len(log.read(TOPIC, 0, 0, 3, 1 << 20)) == 3
    assert len(log.read(TOPIC, 0, 0, 100, 2_500)) == 3
    assert len(log.read(TOPIC, 0, 9, 100, 1)) == 1
    assert len(log.read(TOPIC, 0, 10, 100, 1)) == 0
    log.close()


def test_it_is_there_after_a_restart_with_the_same_identity(tmp_path: Path) -> None:
    first = LocalLog(tmp_path / "log.sqlite", partitions=2)
    first.append([Entry(TOPIC, "k", b"1")])
    cluster, topics = first.cluster_id, first.topic_ids()
    first.close()
    second = LocalLog(tmp_path / "log.sqlite", partitions=64)
    assert second.cluster_id == cluster
    assert second.topic_ids() == topics
    assert second.partitions(TOPIC) == 2, "the file's own count holds, or keys would move"
    assert sum(second.end_offsets().values()) == 1
    second.close()


def test_two_writers_never_share_an_offset(tmp_path: Path) -> None:
    logs = [LocalLog(tmp_path / "log.sqlite", partitions=1) for _ in range(2)]

    def write(log: LocalLog) -> None:
        for i in range(30):
            log.append([Entry(TOPIC, "k", str(i).encode())] * 3)

    threads = [threading.Thread(target=write, args=(log,)) for log in logs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rows = drain(logs[0])[0]
    assert [offset for offset, _ in rows] == list(range(180))
    for log in logs:
        log.close()


def test_a_batch_is_all_or_nothing(tmp_path: Path) -> None:
    log = LocalLog(tmp_path / "log.sqlite", partitions=1)
    with pytest.raises(KeyError):
        log.append([Entry(TOPIC, "k", b"1"), Entry("no.such.topic", "k", b"2")])
    assert sum(log.end_offsets().values()) == 0
    log.append([Entry(TOPIC, "k", b"3")])
    assert drain(log)[0] == [(0, b"3")]
    log.close()


def test_a_newer_or_foreign_file_is_refused_in_words(tmp_path: Path) -> None:
    path = tmp_path / "log.sqlite"
    log = LocalLog(path)
    log._db.pragma("user_version", 99)
    log.close()
    with pytest.raises(HomeError, match="log schema 99"):
        LocalLog(path)
    path.write_bytes(b"this is no database" * 100)
    with pytest.raises(HomeError, match="cannot open the log"):
        LocalLog(path)


def test_a_log_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    log = LocalLog(tmp_path / "log.sqlite", partitions=1)
    log._db.pragma("query_only", 1)
    with pytest.raises(LogUnavailableError, match="did not take 1 record"):
        log.append([Entry(TOPIC, "k", b"1")])
    log.close()


@pytest.mark.parametrize("count", [1, 499, 500, 501, 1_203])
def test_an_append_of_any_length_is_whole_and_in_order(tmp_path: Path, count: int) -> None:
    with closing(LocalLog(tmp_path / "log.sqlite", partitions=2)) as log:
        log.append([Entry(TOPIC, f"k{n % 7}", str(n).encode()) for n in range(count)])
        found = [log.read(TOPIC, part, 0, 10_000, 1 << 30) for part in (0, 1)]
        assert sorted(int(value) for chunk in found for value in chunk.values) == list(range(count))
        for chunk in found:
            assert list(chunk.offsets) == list(range(len(chunk)))
            assert [int(value) for value in chunk.values] == sorted(int(value) for value in chunk.values)
