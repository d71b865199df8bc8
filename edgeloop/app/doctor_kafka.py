"""The doctor's checks where the log is on Kafka: brokers, topics, and what other teams' producers do."""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

import msgspec

from edgeloop.app.finding import Finding, Patient
from edgeloop.app.topics import check_topics
from edgeloop.errors import EdgeloopError
from edgeloop.events import STORED_TOPICS, decode
from edgeloop.log.base import LogUnavailableError
from edgeloop.log.kafka import KafkaLog, KeyedRecord
from edgeloop.log.partitioner import partition as partition_of

OLDEST_KAFKA = (2, 8)
"""From then on topics have ids, by which one that was made anew is known."""
OLDEST_KAFKA_PYTHON = (3, 0, 12)
AIOKAFKA = "0.14.0"
_SAMPLED_RECORDS = 200
_SAMPLED_PARTITIONS = 8
_UNREADABLE = (msgspec.DecodeError, UnicodeError, RecursionError, OverflowError)
# Both libraries look for these when the first such batch comes, and stop there.
_CODECS = {"cramjam": "aiokafka's codecs", "lz4.frame": "lz4", "snappy": "snappy", "zstandard": "zstd"}
_PACKAGES = {"lz4.frame": "lz4", "snappy": "python-snappy"}


def check_libraries(patient: Patient) -> Iterator[Finding]:
    """Versions of the libraries that speak to Kafka and PostgreSQL."""
    names = ["kafka-python", "aiokafka", "faust-streaming", *(["psycopg"] if patient.settings.store.url else [])]
    found: dict[str, str] = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            yield Finding("fail", "libraries", f"{name} is missing", f"pip install {name}")
    said = ", ".join(f"{name} {number}" for name, number in found.items())
    if _numbers(found.get("kafka-python", "")) < OLDEST_KAFKA_PYTHON:
        oldest = ".".join(map(str, OLDEST_KAFKA_PYTHON))
        what = f"{said}: before {oldest} kafka-python can hang"
        yield Finding("fail", "libraries", what, f"pip install 'kafka-python>={oldest}'")
    elif found.get("aiokafka") != AIOKAFKA:
        what = f"{said}: Faust reads private fields of aiokafka {AIOKAFKA}"
        yield Finding("warn", "libraries", what, f"pip install aiokafka=={AIOKAFKA}")
    else:
        yield Finding("ok", "libraries", said)


def check_codecs(_patient: Patient) -> Iterator[Finding]:
    """Every codec that a producer may have chosen can be read."""
    missing = []
    for module in _CODECS:
        try:
            importlib.import_module(module)
        except ImportError:
            missing.append(module)
    if missing:
        what = f"{', '.join(_CODECS[one] for one in missing)} cannot be read: the first such record stops the reading"
        packages = " ".join(_PACKAGES.get(one, one) for one in missing)
        yield Finding("fail", "codecs", what, f"pip install {packages}")
    else:
        yield Finding("ok", "codecs", "gzip, snappy, lz4 and zstd can be read")


def check_brokers(patient: Patient) -> Iterator[Finding]:
    """The brokers answer, and are not too old; from here on the log can be asked."""
    kafka = patient.settings.kafka
    log = KafkaLog(kafka)
    try:
        number, count = log.brokers()
        cluster_id = log.cluster_id
    except LogUnavailableError as error:
        log.close()
        yield Finding("fail", "brokers", str(error), "mend what it says: doors answer 503 until then")
        return
    said = f"{count} at {kafka.bootstrap}, Kafka {'.'.join(map(str, number))}, cluster {cluster_id}"
    if number < OLDEST_KAFKA:
        what = f"{said}: a topic that is made anew is not noticed before {'.'.join(map(str, OLDEST_KAFKA))}"
        yield Finding("warn", "brokers", what, "update the brokers")
    else:
        yield Finding("ok", "brokers", said)
    try:
        log.end_offsets()
    except (EdgeloopError, LogUnavailableError):  # check_topics says which topic
        log.close()
    else:
        patient.log = log


def check_kafka_topics(patient: Patient) -> Iterator[Finding]:
    """The topics are as they are needed, in one line."""
    try:
        findings = check_topics(patient.settings)
    except EdgeloopError:  # check_brokers says why
        return
    topics = {finding.check for finding in findings}
    for state in ("fail", "warn"):
        wrong = [finding for finding in findings if finding.state == state]
        if wrong:
            others = len(wrong) - 1
            what = f"{wrong[0].check}: {wrong[0].what}" + (f"; and {others} more" if others else "")
            yield Finding(wrong[0].state, "topics", what, "`edgeloop topics check`")
            return
    yield Finding("ok", "topics", f"{len(topics) - 1} with prefix {patient.settings.kafka.topic_prefix!r}, as needed")


def check_keys_of_records(patient: Patient) -> Iterator[Finding]:
    """Whether producers put records where Kafka's own clients would, under the join key."""
    if not isinstance(patient.log, KafkaLog):
        return
    looked = 0
    elsewhere: Counter[str] = Counter()
    other_key: Counter[str] = Counter()
    starts, ends = patient.log.start_offsets(), patient.log.end_offsets()
    for topic in STORED_TOPICS:
        count = patient.log.partitions(topic)
        for part in range(0, count, max(1, count // _SAMPLED_PARTITIONS)):
            first = max(starts[topic, part], ends[topic, part] - _SAMPLED_RECORDS)
            if first < ends[topic, part]:
                for record in patient.log.keyed(topic, part, first, _SAMPLED_RECORDS):
                    looked += 1
                    elsewhere[topic] += record.key is None or partition_of(record.key, count) != part
                    other_key[topic] += _has_other_key(record)
    slower = "slower, never wrong"
    if elsewhere.total():
        what = f"{_share(elsewhere, looked)} lie in another partition than murmur2 of their key gives: {slower}"
        do = "set partitioner=murmur2_random in that team's producer (librdkafka); after a growth it passes by itself"
        yield Finding("warn", "partitioner", what, do)
    if other_key.total():
        what = f"{_share(other_key, looked)} have a key that is not the event's join key: {slower}"
        do = "let that producer use `subject` (`site`, `model_id`) as the record's key; docs/contract.md, Events"
        yield Finding("warn", "partitioner", what, do)
    if not elsewhere.total() and not other_key.total():
        said = f"the last {looked:,} records looked at lie where their join keys say" if looked else "no records yet"
        yield Finding("ok", "partitioner", said)


def check_workers(patient: Patient) -> Iterator[Finding]:
    """Somebody drains the topics."""
    if not isinstance(patient.log, KafkaLog):
        return
    kafka = patient.settings.kafka
    group = kafka.topic_prefix + kafka.group
    count = patient.log.members(group)
    if count:
        yield Finding("ok", "workers", f"{count} in group {group!r}")
    else:
        yield Finding("warn", "workers", f"nobody is in group {group!r}: nothing is drained", "`edgeloop worker`")


def _has_other_key(record: KeyedRecord) -> bool:
    try:
        return decode(record.value).key != record.key
    except _UNREADABLE:  # a dead letter soon, wherever it lies
        return False


def _share(counts: Counter[str], looked: int) -> str:
    topics = ", ".join(f"{n:,} of {topic}" for topic, n in counts.most_common() if n)
    return f"{counts.total():,} of {looked:,} records looked at ({topics})"


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".")[:3] if part.isdigit())
