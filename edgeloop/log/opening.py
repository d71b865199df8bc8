"""The log that the settings name: a file in the home, or Apache Kafka."""

from __future__ import annotations

from edgeloop.clock import Clock
from edgeloop.errors import EdgeloopError, HomeError
from edgeloop.events import DEAD_LETTERS_TOPIC, STORED_TOPICS
from edgeloop.home import PSEUDONYM_KEY, SEALING_KEY, Home
from edgeloop.log.base import Log, LogUnavailableError, SearchableLog
from edgeloop.log.local import LocalLog
from edgeloop.settings import Settings

_WITHOUT_KEYS = ("edge.telemetry", "model.changes")
"""Topics whose records need none of our keys: teams fill them before any door is open."""


def on_kafka(home: Home, settings: Settings) -> bool:
    """Whether a home's log is on Kafka. A simulation never is: simulated time has no place among a company's events."""
    return bool(settings.kafka.bootstrap) and not home.simulated


def open_log(home: Home, settings: Settings, *, clock: Clock | None = None, read_only: bool = False) -> SearchableLog:
    """The log of a home. Kafka stamps records by its own clock, whatever ``clock`` says.

    Raises:
        HomeError: the local one cannot be opened; or keys are missing that Kafka's records were made with.
        EdgeloopError: keys are missing, and no broker answers that could say whether new ones may be made.
    """
    if not on_kafka(home, settings):
        return LocalLog(home.log, partitions=settings.log.partitions, clock=clock, read_only=read_only)
    from edgeloop.log.kafka import KafkaLog

    log = KafkaLog(settings.kafka)
    if not read_only:
        try:
            _keep_keys(home, settings, log)
        except BaseException:
            log.close()
            raise
    return log


def create_home(home: Home, settings: Settings) -> None:
    """Make a home and its keys, unless the log holds events that were made with others.

    Raises:
        HomeError, EdgeloopError: as `open_log`.
    """
    if on_kafka(home, settings):
        open_log(home, settings).close()
    else:
        home.create()


def make_keys(home: Home, settings: Settings) -> bool:
    """Make the keys of a home though Kafka holds events already, which no door took; whether there were none before.

    Raises:
        HomeError: keys of events that this home took were lost.
    """
    had = all(home.key_file(name).exists() for name in (PSEUDONYM_KEY, SEALING_KEY))
    home.create()
    for name in (PSEUDONYM_KEY, SEALING_KEY):
        home.secret(name)
    if on_kafka(home, settings):
        home.mark_log(_where(settings))
    return not had


def _where(settings: Settings) -> str:
    return f"Kafka at {settings.kafka.bootstrap}, topics {settings.kafka.topic_prefix}*"


def has_log(home: Home, settings: Settings) -> bool:
    """Whether there is a log that can be read."""
    return on_kafka(home, settings) or home.log.exists()


def _keep_keys(home: Home, settings: Settings, log: Log) -> None:
    """Beside a log in the home, a key that is missing was lost. Kafka may have been filled from another home."""
    missing = [name for name in (PSEUDONYM_KEY, SEALING_KEY) if not home.key_file(name).exists()]
    if missing and not home.has_log and _was_filled(log):
        raise HomeError(
            f"{home.key_file(missing[0])} is missing, but Kafka at {settings.kafka.bootstrap} holds events of "
            "customers. If a door of another home took them, with a new key every customer known there would be a "
            f"stranger here, and no dead letter would open: copy that home's folder keys/ to {home.keys}. If no door "
            "ever did, and a producer of your own filled the topics: `edgeloop keys init` makes the keys"
        )
    home.create()
    home.mark_log(_where(settings))


def _was_filled(log: Log) -> bool:
    """Whether a door ever appended; offsets stay where retention deleted the records."""
    try:
        ends = log.end_offsets()
    except LogUnavailableError as error:
        raise EdgeloopError(
            f"{error} Until it answers no keys can be made, for its records may have been made with others"
        ) from error
    with_keys = {*STORED_TOPICS, DEAD_LETTERS_TOPIC}.difference(_WITHOUT_KEYS)
    return any(end for (topic, _), end in ends.items() if topic in with_keys)
