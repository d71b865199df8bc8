"""``edgeloop topics``: Kafka's topics as this product needs them. Missing ones are made; nothing is ever deleted."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any

import msgspec
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.errors import KafkaError, for_code

from edgeloop.app.finding import Finding, State
from edgeloop.errors import EdgeloopError, UsageError
from edgeloop.events import ALERTS_TOPIC, BACKFILL_TOPICS, DEAD_LETTERS_TOPIC, STORED_TOPICS, UPDATES_TOPIC
from edgeloop.log import clients
from edgeloop.log.base import LogUnavailableError
from edgeloop.sealing import LETTERS_KEPT_DAYS
from edgeloop.settings import KafkaSettings, Settings

_DAY_MS = 86_400_000
ALERTS_KEPT_DAYS = 7
SHORTEST_DAYS = 7
"""With less, events are gone when a worker stands still for a week."""
_EVENT_TOPICS = (*STORED_TOPICS, *BACKFILL_TOPICS)
_FOR_EVER_MS = -1
_EXISTS = 36
_GROWN_S, _LOOK_AGAIN_S = 30.0, 0.1


class Made(msgspec.Struct, frozen=True):
    """What became of one topic."""

    topic: str
    did: str
    partitions: int


class _Found(msgspec.Struct, frozen=True):
    """A topic as it is on the brokers."""

    partitions: int
    replicas: int
    config: dict[str, str]

    def number(self, name: str) -> int:
        """A setting that is a number; −1 stands for without an end."""
        return int(self.config.get(name) or -1)


def create_topics(settings: Settings, *, partitions: int | None = None, backfill: bool = False) -> list[Made]:
    """Make the topics that are missing; with a number of partitions, let those that are there grow to it.

    Args:
        settings: where the brokers are, the prefix, replicas, and how many partitions a new topic gets.
        partitions: of topics of events, dead letters and updates.
        backfill: those of backfilled events too.

    Raises:
        UsageError: there are no brokers in the settings. EdgeloopError: the brokers do not answer, or refuse.
    """
    kafka = _kafka(settings)
    names = [*STORED_TOPICS, DEAD_LETTERS_TOPIC, ALERTS_TOPIC, UPDATES_TOPIC, *(BACKFILL_TOPICS if backfill else ())]
    with _admin(kafka) as admin:
        found = _described(admin, kafka, names)
        missing = {name: _wanted(kafka, name, partitions) for name in names if name not in found}
        if missing:
            _create(admin, kafka, missing)
        made = [
            Made(kafka.topic_prefix + name, "made", int(topic["num_partitions"])) for name, topic in missing.items()
        ]
        grow = {name: topic.partitions for name, topic in found.items() if name != ALERTS_TOPIC}
        small = {name: count for name, count in grow.items() if partitions is not None and count < partitions}
        if small and partitions is not None:
            _refused(
                admin.create_partitions(
                    {kafka.topic_prefix + name: partitions for name in small}, raise_errors=False
                ).to_dict()["results"],
                kafka,
            )
            _wait_until_grown(admin, kafka, list(small), partitions)
        for name, topic in found.items():
            if name in small and partitions is not None:
                made.append(Made(kafka.topic_prefix + name, f"grew from {topic.partitions} partitions", partitions))
            else:
                made.append(Made(kafka.topic_prefix + name, "was there", topic.partitions))
        return made


def check_topics(settings: Settings) -> list[Finding]:
    """Every topic against what this product needs, one finding each and one for the numbers of partitions.

    Raises:
        UsageError: there are no brokers in the settings. EdgeloopError: the brokers do not answer.
    """
    kafka = _kafka(settings)
    required: tuple[str, ...] = (*STORED_TOPICS, DEAD_LETTERS_TOPIC, ALERTS_TOPIC)
    with _admin(kafka) as admin:
        found = _described(admin, kafka, (*required, UPDATES_TOPIC, *BACKFILL_TOPICS))
        brokers = len(admin.describe_cluster()["brokers"])
    if settings.worker.updates:
        required += (UPDATES_TOPIC,)
    findings = [_missing(kafka, name) for name in required if name not in found]
    for name, topic in found.items():
        wrong = list(_drift(kafka, name, topic, brokers))
        findings += wrong or [Finding("ok", kafka.topic_prefix + name, f"{topic.partitions} partitions")]
    counts = {name: found[name].partitions for name in STORED_TOPICS if name in found}
    if counts:
        findings.append(_partitions(counts))
    return findings


def _drift(kafka: KafkaSettings, name: str, topic: _Found, brokers: int) -> Iterator[Finding]:
    def finding(state: State, what: str, config: str) -> Finding:
        return Finding(state, kafka.topic_prefix + name, what, _alter(kafka, name, config))

    policy = topic.config.get("cleanup.policy", "")
    days = topic.number("retention.ms") / _DAY_MS
    if name in _EVENT_TOPICS or name == DEAD_LETTERS_TOPIC:
        if "compact" in policy:
            what = "cleanup.policy is compact: of each customer only the last event would stay"
            yield finding("fail", what, "cleanup.policy=delete")
        if topic.config.get("message.timestamp.type") != "LogAppendTime":
            what = "message.timestamp.type is not LogAppendTime: retention would delete backfilled events at once"
            yield finding("fail", what, "message.timestamp.type=LogAppendTime")
        if topic.number("max.message.bytes") < clients.MAX_MESSAGE_BYTES:
            what = f"max.message.bytes is {topic.number('max.message.bytes'):,}: longer records would be refused"
            yield finding("fail", what, f"max.message.bytes={clients.MAX_MESSAGE_BYTES}")
        if topic.number("retention.bytes") >= 0:
            what = f"retention.bytes is {topic.number('retention.bytes'):,}: a busy day deletes what no worker has seen"
            yield finding("warn", what, "retention.bytes=-1")
    if name in _EVENT_TOPICS and 0 <= days < SHORTEST_DAYS:
        what = f"records are kept for {days:.3g} days: a worker that stands still for longer never sees them"
        yield finding("fail", what, f"retention.ms={_FOR_EVER_MS}")
    elif name in _EVENT_TOPICS and days >= 0:
        what = f"records are kept for {days:.5g} days: from then on lost tables cannot be filled anew from them"
        yield finding("warn", what, f"retention.ms={_FOR_EVER_MS}")
    if name == DEAD_LETTERS_TOPIC and not 0 <= days <= LETTERS_KEPT_DAYS:
        kept = "for ever" if days < 0 else f"for {days:.3g} days"
        what = f"dead letters are kept {kept}, longer than the {LETTERS_KEPT_DAYS} days they are meant to be"
        yield finding("warn", what, f"retention.ms={LETTERS_KEPT_DAYS * _DAY_MS}")
    if name == UPDATES_TOPIC and "compact" not in policy:
        what = "cleanup.policy is not compact: the last state of an outcome goes when it is old"
        yield finding("warn", what, "cleanup.policy=compact")
    if brokers > 1 and topic.replicas == 1:
        what = f"one replica on one of {brokers} brokers: with it the records are lost"
        do = "raise its replicas with kafka-reassign-partitions.sh"
        yield Finding("warn", kafka.topic_prefix + name, what, do)
    elif topic.replicas > 2 and topic.number("min.insync.replicas") < 2:
        what = "min.insync.replicas is 1: a door is told that an event is in while only one broker has it"
        yield finding("warn", what, "min.insync.replicas=2")


def _partitions(counts: Mapping[str, int]) -> Finding:
    (most, _), *others = Counter(counts.values()).most_common()
    said = ", ".join(f"{name} {count}" for name, count in counts.items())
    slower = "workers wait for each other: slower, never wrong"
    if others:
        do = f"`edgeloop topics create --partitions {max(counts.values())}`"
        return Finding("warn", "partitions", f"topics of events have unequal numbers ({said}): {slower}", do)
    if most & (most - 1):
        do = f"`edgeloop topics create --partitions {1 << most.bit_length()}`"
        return Finding("warn", "partitions", f"{most} is no power of two: {slower}", do)
    return Finding("ok", "partitions", f"{most} of every topic of events: so many workers share the work")


def _missing(kafka: KafkaSettings, name: str) -> Finding:
    what = "there is no such topic, or this user may not see it"
    return Finding("fail", kafka.topic_prefix + name, what, "`edgeloop topics create`")


def _alter(kafka: KafkaSettings, name: str, config: str) -> str:
    return (
        f"kafka-configs.sh --bootstrap-server {kafka.bootstrap} --alter --entity-type topics "
        f"--entity-name {kafka.topic_prefix}{name} --add-config {config}"
    )


def _wanted(kafka: KafkaSettings, name: str, partitions: int | None) -> dict[str, Any]:
    config = {"message.timestamp.type": "LogAppendTime", "max.message.bytes": str(clients.MAX_MESSAGE_BYTES)}
    if name == UPDATES_TOPIC:
        config |= {"cleanup.policy": "compact"}
    else:
        config |= {"cleanup.policy": "delete", "retention.ms": str(_kept_ms(name)), "retention.bytes": "-1"}
    if kafka.replication_factor > 2:
        config["min.insync.replicas"] = "2"
    return {
        "num_partitions": 1 if name == ALERTS_TOPIC else partitions or kafka.partitions,
        "replication_factor": kafka.replication_factor,
        "configs": config,
    }


def _kept_ms(name: str) -> int:
    # Events without an end: the tables can always be made from them.
    days = {DEAD_LETTERS_TOPIC: LETTERS_KEPT_DAYS, ALERTS_TOPIC: ALERTS_KEPT_DAYS}.get(name)
    return _FOR_EVER_MS if days is None else days * _DAY_MS


def _create(admin: Any, kafka: KafkaSettings, wanted: Mapping[str, dict[str, Any]]) -> None:
    named = {kafka.topic_prefix + name: topic for name, topic in wanted.items()}
    _refused(admin.create_topics(named, raise_errors=False)["topics"], kafka)
    admin.wait_for_topics(list(named))


def _wait_until_grown(admin: Any, kafka: KafkaSettings, names: list[str], partitions: int) -> None:
    """Wait until the broker that answers knows the new partitions: the controller takes them on before it does."""
    until = time.monotonic() + _GROWN_S
    while any(topic.partitions < partitions for topic in _described(admin, kafka, names).values()):
        if time.monotonic() > until:
            raise EdgeloopError(
                f"Kafka at {kafka.bootstrap} took the new partitions on and does not show them after {_GROWN_S:.0f} s. "
                "Look again with `edgeloop topics check`; nothing else is left to do"
            )
        time.sleep(_LOOK_AGAIN_S)


def _refused(answers: list[dict[str, Any]], kafka: KafkaSettings) -> None:
    wrong = [answer for answer in answers if answer["error_code"] not in (0, _EXISTS)]
    if wrong:
        said = "; ".join(
            f"{answer['name']}: {answer['error_message'] or for_code(answer['error_code']).__name__}"
            for answer in wrong
        )
        raise EdgeloopError(
            f"Kafka at {kafka.bootstrap} refused: {said}. What else was asked for is done. Change [kafka] "
            "topic_prefix, partitions or replication_factor, or let somebody do this who may"
        )


def _described(admin: Any, kafka: KafkaSettings, names: tuple[str, ...] | list[str]) -> dict[str, _Found]:
    """Those of these topics that are there, in this order."""
    prefixed = [kafka.topic_prefix + name for name in names]
    topics = {topic["name"]: topic for topic in admin.describe_topics(prefixed) if topic["error_code"] == 0}
    resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in topics]
    configs = admin.describe_configs(resources, config_filter="all")["topic"] if resources else {}
    found = {}
    for name, full in zip(names, prefixed, strict=True):
        if full in topics:
            parts = topics[full]["partitions"]
            config = {key: str(one["value"]) for key, one in configs.get(full, {}).items()}
            found[name] = _Found(len(parts), min(len(part["replica_nodes"]) for part in parts), config)
    return found


def _kafka(settings: Settings) -> KafkaSettings:
    if not settings.kafka.bootstrap:
        raise UsageError(
            "`edgeloop topics` is about Kafka: set EDGELOOP_KAFKA_BOOTSTRAP (or [kafka] bootstrap) to host:port of a "
            "broker. The local log has its topics by itself"
        )
    return settings.kafka


@contextmanager
def _admin(kafka: KafkaSettings) -> Iterator[Any]:
    try:
        with closing(clients.admin_client(kafka)) as admin:
            yield admin
    except LogUnavailableError as error:
        raise EdgeloopError(str(error)) from error
    except KafkaError as error:
        raise EdgeloopError(
            f"Kafka at {kafka.bootstrap} did not answer ({type(error).__name__}). May this user look at topics and "
            "make them? Run the same again, it goes on from where it is"
        ) from error
