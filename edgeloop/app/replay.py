"""``edgeloop replay``: the log as NDJSON in a file, and such files back into a log.

A line is a log record: an event in log form, or a dead letter as topic ``dead.letters`` holds it. Two lines are of our
own making: the head of an export, by which a home with other keys is recognised, and a record that is no event of its
topic, kept as bytes so that the worker refuses it again. Kafka's dumps have neither.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from connectors import Item, documents_of_file
from edgeloop import sealing
from edgeloop.app.ingest import batches, opened
from edgeloop.clock import Clock, SystemClock, to_us
from edgeloop.errors import EdgeloopError, HomeError, UsageError
from edgeloop.events import (
    DEAD_LETTERS_TOPIC,
    EVENT_TYPES,
    STORED_TOPICS,
    Event,
    decode,
    encode,
    event_type,
    hide_people,
    stamped,
)
from edgeloop.home import PSEUDONYM_KEY, SEALING_KEY, Home
from edgeloop.horizon import BeforeEarliestError, BeforeHorizonError, Horizon, horizon_of
from edgeloop.identity import PSEUDONYM, Pseudonymiser
from edgeloop.log.base import Entry, Log, LogUnavailableError, largest_bytes_of
from edgeloop.log.opening import open_log
from edgeloop.sealing import Sealer, readable_detail
from edgeloop.settings import Settings
from edgeloop.store.schema import row

TOPICS = (*STORED_TOPICS, DEAD_LETTERS_TOPIC)
UNREADABLE = (msgspec.DecodeError, UnicodeError, RecursionError, OverflowError)
_SHOWN_PROBLEMS = 10
_RAW_IDS = ("customer_id", "courier_id")
_CHECKED = "edgeloop log export"
_generic = msgspec.json.Decoder()


class Head(msgspec.Struct, frozen=True):
    """The first line of an export. The checks tell keys apart and say nothing of them."""

    edgeloop_log: int
    pseudonym_check: str
    sealing_check: str
    simulated: bool = False

    @classmethod
    def of(cls, home: Home) -> Head:
        """That of a home."""
        pseudonym_check, sealing_check = (
            Pseudonymiser(home.secret(name)).pseudonym("anonymous", _CHECKED) for name in (PSEUDONYM_KEY, SEALING_KEY)
        )
        return cls(1, pseudonym_check, sealing_check, home.simulated)


class Kept(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A line for a record that is no event of its topic."""

    topic: str
    key: str
    value_base64: bytes


class RefusedRecordError(Exception):
    """Why a line or a record is none for the log: a reason, and a sentence without any value of it."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class ReplayReport(msgspec.Struct):
    """What became of the files."""

    appended: int = 0
    dead_letters: int = 0
    by_topic: Counter[str] = msgspec.field(default_factory=Counter)
    by_reason: Counter[str] = msgspec.field(default_factory=Counter)
    problems: list[str] = []
    """The first few dead letters, as ``FILE, line 3: what is wrong``."""


def replay_files(
    home: Home,
    settings: Settings,
    files: Sequence[Path],
    progress: Callable[[int, int], None] | None = None,
    *,
    clock: Clock | None = None,
) -> ReplayReport:
    """Append every record of the files to the home's log; what is none becomes dead letters.

    Raises:
        HomeError: the home lacks the keys, or has others than the file was exported with.
        UsageError: a file cannot be read, or begins with an event as senders write it.
        EdgeloopError: the log takes nothing.
    """
    for name in (PSEUDONYM_KEY, SEALING_KEY):
        path = home.key_file(name)
        if not path.exists():
            raise HomeError(
                f"{path} is missing. An export holds no keys: copy the folder keys/ of the home that the "
                f"records come from to {home.keys} first, or every customer known there would be a stranger here"
            )
    home.create()
    own = Head.of(home)
    sealer = Sealer(home.secret(SEALING_KEY))
    now = clock or SystemClock()
    report = ReplayReport()
    log: Log | None = None
    try:
        for path in files:
            with opened(path) as (file, size):
                name = "standard input" if str(path) == "-" else path.name
                items = _headed(home, own, name, documents_of_file(file))
                for batch in batches(items):
                    log = log or open_log(home, settings)
                    _append(log, sealer, batch, name, now.now_us(), report, settings.door.earliest_us)
                    if progress is not None and size:
                        progress(file.tell(), size)
    except LogUnavailableError as error:
        raise EdgeloopError(
            f"{name}: {error}. Records up to here are in; run the same again, duplicates do no harm"
        ) from error
    finally:
        if log is not None:
            log.close()
    return report


def record_of(topic: str, raw: bytes, horizon: Horizon | None = None, earliest_us: int | None = None) -> Entry:
    """A record as it stood in a topic, to be appended again.

    Raises:
        RefusedRecordError: it still is none of that topic, or lies before what the home keeps.
    """
    try:
        if topic == DEAD_LETTERS_TOPIC:
            return Entry(topic, sealing.decode(raw).dead_letter_id, raw)
        event = decode(raw)
        if event.topic != topic:
            raise RefusedRecordError("undecodable", f"an event of topic {event.topic} in topic {topic}")
        row(event_type(event), event, stamped(event))
    except UNREADABLE as error:
        raise RefusedRecordError("undecodable", readable_detail(error)) from error
    _refuse_old(event, horizon, earliest_us)
    return Entry(topic, event.key, raw)


def record_of_line(raw: bytes, horizon: Horizon | None = None, earliest_us: int | None = None) -> Entry:
    """The record of a line.

    An event is written anew, so that what the contract does not know of it stays outside.

    Raises:
        RefusedRecordError: there is none, it has raw ids, or it lies before what the home keeps.
    """
    try:
        event = decode(raw)
        row(event_type(event), event, stamped(event))
    except UNREADABLE as error:
        return _other(raw, error, horizon, earliest_us)
    if any(name.encode() in raw for name in _RAW_IDS):
        _refuse_door_form(_generic.decode(raw))
    _require_pseudonyms(event)
    hide_people(event)
    _refuse_old(event, horizon, earliest_us)
    return Entry(event.topic, event.key, encode(event))


def _other(raw: bytes, error: Exception, horizon: Horizon | None, earliest_us: int | None) -> Entry:
    """The record of a line that is no event."""
    try:
        value = _generic.decode(raw)
    except UNREADABLE as why:
        raise RefusedRecordError("malformed", f"this is no JSON: {readable_detail(why)}") from why
    if isinstance(value, dict):
        _refuse_door_form(value)
        try:
            if "dead_letter_id" in value:
                return Entry(DEAD_LETTERS_TOPIC, sealing.decode(raw).dead_letter_id, raw)
            if "value_base64" in value:
                kept = msgspec.json.decode(raw, type=Kept)
                if kept.topic not in TOPICS:
                    raise RefusedRecordError("invalid", f"`topic` is none of {', '.join(TOPICS)}")
                return _kept(kept, horizon, earliest_us)
        except UNREADABLE as why:
            raise RefusedRecordError("invalid", readable_detail(why)) from why
    raise RefusedRecordError("invalid", f"no event in log form: {readable_detail(error)}") from error


def _kept(kept: Kept, horizon: Horizon | None, earliest_us: int | None) -> Entry:
    """The bytes as they were, unless they are a record after all, which then is nothing special."""
    try:
        record_of(kept.topic, kept.value_base64)
    except RefusedRecordError:
        return Entry(kept.topic, kept.key, kept.value_base64)
    return record_of_line(kept.value_base64, horizon, earliest_us)


def _refuse_door_form(value: Any) -> None:
    if not isinstance(value, dict):
        return
    kind = value.get("type")
    cls = EVENT_TYPES.get(kind) if isinstance(kind, str) else None
    nobody = cls is not None and cls.key_field == "subject" and "subject" not in value
    if nobody or any(name in value for name in _RAW_IDS):
        raise RefusedRecordError(
            "door_form", "an event as senders write it, without pseudonyms: take it in with `edgeloop ingest`"
        )


def _refuse_old(event: Event, horizon: Horizon | None, earliest_us: int | None) -> None:
    at_us = to_us(event.occurred_at)
    refusal: BeforeEarliestError | BeforeHorizonError | None = None
    if earliest_us is not None and at_us < earliest_us:
        refusal = BeforeEarliestError(earliest_us)
    elif horizon is not None:
        refusal = horizon.refusal(event_type(event), at_us)
    if refusal is not None:
        raise RefusedRecordError(refusal.reason, str(refusal))


def _require_pseudonyms(event: Event) -> None:
    for name in ("subject", "courier"):
        value = getattr(event, name, None)
        if value is not None and not PSEUDONYM.fullmatch(value):
            raise RefusedRecordError("invalid", f"`{name}` is no pseudonym: only a door makes one (`edgeloop ingest`)")


def _headed(home: Home, own: Head, name: str, items: Iterator[Item]) -> Iterator[Item]:
    """The items after the head, if there is one, which must fit the home."""
    for number, item in enumerate(items):
        if number == 0 and not _is_head(home, own, name, item.raw):
            home.refuse_simulated()
            try:
                record_of_line(item.raw)
            except RefusedRecordError as error:
                if error.reason == "door_form":
                    raise UsageError(f"{name}, {item.place}: {error}. Nothing was appended") from error
        elif number == 0:
            continue
        yield item


def _is_head(home: Home, own: Head, name: str, raw: bytes) -> bool:
    try:
        head = msgspec.json.decode(raw, type=Head)
    except UNREADABLE:
        return False
    if (head.pseudonym_check, head.sealing_check) != (own.pseudonym_check, own.sealing_check):
        raise HomeError(
            f"{name} was exported from a home with other keys than those in {home.keys}: every customer known there "
            "would be a stranger here. Replay it into a new home that has a copy of that home's folder keys/"
        )
    if head.simulated:
        home.mark_simulated()
    else:
        home.refuse_simulated()
    return True


def _append(
    log: Log, sealer: Sealer, batch: list[Item], name: str, now: int, report: ReplayReport, earliest_us: int
) -> None:
    horizon, largest = horizon_of(log)(), largest_bytes_of(log)
    entries: list[Entry] = []
    refused: list[tuple[Item, str, str]] = []
    for item in batch:
        if item.rejected is not None:
            refused.append((item, item.rejected.reason, item.rejected.detail))
            continue
        try:
            entry = record_of_line(item.raw, horizon, earliest_us)
            if largest is not None and len(entry.value) > largest:
                raise RefusedRecordError("too_long", f"the log takes no record of more than {largest:,} bytes")
            entries.append(entry)
        except RefusedRecordError as error:
            refused.append((item, error.reason, str(error)))
    topics = Counter(entry.topic for entry in entries)
    for item, reason, detail in refused:
        letter = sealer.dead_letter(
            reason=reason,
            detail=detail,
            source=f"replay:{name}",
            place=item.place,
            received_us=now,
            raw=item.raw,
            whole=item.whole,
        )
        entries.append(Entry(DEAD_LETTERS_TOPIC, letter.dead_letter_id, sealing.encode(letter)))
    log.append(entries)
    report.appended += topics.total()
    report.by_topic.update(topics)
    report.dead_letters += len(refused)
    report.by_reason.update(reason for _, reason, _ in refused)
    report.problems += [
        f"{name}, {item.place}: {detail}" for item, _, detail in refused[: _SHOWN_PROBLEMS - len(report.problems)]
    ]
