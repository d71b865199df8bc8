"""The one way in: door-form events become log records, whatever door they came through.

Here raw ids turn into pseudonyms, free text loses personal data, ``received_at`` is stamped, device clocks are
corrected, and what cannot be taken becomes a sealed dead letter. Good events and dead letters of one call are one
append: all durable, or none.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from connectors.amounts import currency, money
from connectors.no_numbers import decoded
from connectors.plain import plain
from connectors.plain import record as plain_record
from edgeloop import sealing
from edgeloop.clock import SECOND_US, Clock, from_us, to_us
from edgeloop.events import (
    DEAD_LETTERS_TOPIC,
    EVENT_TYPES,
    LARGEST_NPS,
    OTHER_TIMES,
    STAMPS,
    Answer,
    Event,
    Response,
    encode,
    event_type,
    has_its_kind,
    is_on_its_scale,
    log_schema,
)
from edgeloop.home import PSEUDONYM_KEY, SEALING_KEY, Home
from edgeloop.horizon import BeforeEarliestError, BeforeHorizonError, Horizon
from edgeloop.identity import PSEUDONYM, Pseudonymiser, usable_id
from edgeloop.log.base import Entry
from edgeloop.personal_names import ids_in
from edgeloop.scrub import MAX_DEPTH, TooDeepError, scrub, scrub_tree
from edgeloop.sealing import DeadLetter, Sealer, Whole, readable_detail
from edgeloop.settings import DoorSettings

AHEAD_US = 5 * 60 * SECOND_US
"""An event further than this ahead of its arrival is a dead letter: it would never be matched, and hides a fault."""
CLOCK_OFF_US = 30 * SECOND_US
"""A device clock is corrected from this much on; less may be the network."""

_DEFAULTS = DoorSettings()
_IDS = frozenset({"customer_id", "courier_id", "subject", "courier"})
_KNOWN = {name: frozenset(cls.__struct_encode_fields__) - STAMPS - _IDS | {"type"} for name, cls in EVENT_TYPES.items()}
_KNOWN_OF_ANSWER = frozenset(Answer.__struct_encode_fields__)
_PATH = re.compile(r" - at `\$\.(answers\[\d+\]\.)?(\w+)`$")
_TOO_DEEP = f"nested deeper than {MAX_DEPTH} levels"
_NUL = "\0"
_NUL_IN_JSON = b"\\u0000"
_FREE_TEXT = {
    "exposure": ("error",),
    "change": ("title", "note", "owner"),
    "response": (),
    "engagement": (),
    "profile": (),
    "telemetry": (),
}
_PEOPLE = ("exposure", "response", "engagement", "profile")


class Rejected(msgspec.Struct, frozen=True):
    """Why one event cannot be taken."""

    reason: str
    detail: str


NOT_ALLOWED = "not_allowed"
"""The reason of what a sender may not send; it is sent again with a key that may, and replayed only by its own name."""
_OF_CONNECTORS = ("typeform:", "mixpanel:", "zigpoll:")
"""Beginnings of ids that only the connector gives: with one, a sender could overwrite what a vendor signed."""


class Scope(msgspec.Struct, frozen=True):
    """What a sender who shows a key may send: events of these types (none: of any), and no connector's."""

    types: tuple[str, ...] = ()

    def refusal(self, kind: str, event_id: str) -> Rejected | None:
        """Why not an event of this type under this id; None where it may."""
        if self.types and kind not in self.types:
            return Rejected(NOT_ALLOWED, f"this sender's key is for {', '.join(self.types)}, not for {kind}")
        if event_id.startswith(_OF_CONNECTORS):
            connector = event_id.partition(":")[0]
            return Rejected(NOT_ALLOWED, f"an id that begins with `{connector}:` comes from that connector alone")
        return None


UNREAD = msgspec.UNSET
"""Of an item whose ``raw`` is JSON that nobody has read yet."""


class Item(msgspec.Struct, frozen=True, gc=False):
    """One thing that came in: a decoded JSON value, or bytes that are none. ``raw`` is what a dead letter seals."""

    raw: bytes
    place: str
    value: Any = None
    rejected: Rejected | None = None
    """Set where a connector found it wrong already."""
    whole: Whole | None = None
    """Set where ``raw`` is only the beginning, because the whole was too long to be held."""
    no_numbers: int = 0
    """Values that are no numbers (``NaN``) and are absent now."""

    def read_as(self, value: Any) -> Item:
        """What a connector made of it."""
        return Item(self.raw, self.place, value, no_numbers=self.no_numbers)

    def refused(self, reason: str, detail: str) -> Item:
        """It, and why it cannot be one event."""
        return Item(self.raw, self.place, rejected=Rejected(reason, detail))


class Taken(msgspec.Struct, frozen=True, gc=False):
    """What became of one thing, in the order in which they came."""

    place: str
    id: str | None = None
    type: str | None = None
    rejected: Rejected | None = None
    unreadable: bool = False
    """It was no JSON at all, not just no event."""
    no_numbers: int = 0
    """Of what was accepted: values that were no numbers (``NaN``) and were left out."""


class _RejectedError(Exception):
    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.rejected = Rejected(reason, detail)


class Intake:
    """Turns what a door received into log records. Holds the keys; they go nowhere else."""

    def __init__(
        self,
        home: Home,
        clock: Clock,
        horizon: Callable[[], Horizon | None] = lambda: None,
        *,
        largest_bytes: int | None = None,
        settings: DoorSettings = _DEFAULTS,
    ) -> None:
        """``largest_bytes`` is what the log takes of one record; None is anything."""
        self._pseudonyms = Pseudonymiser(home.secret(PSEUDONYM_KEY))
        self._sealer = Sealer(home.secret(SEALING_KEY))
        self._clock = clock
        self._horizon = horizon
        self._largest_bytes = largest_bytes
        self._earliest_us = settings.earliest_us
        self._earliest = from_us(settings.earliest_us)
        self._cache: dict[tuple[str, str], str] = {}

    def take(
        self,
        items: Iterable[Item],
        *,
        source: str,
        sent_at_us: int | None = None,
        now_us: int | None = None,
        scope: Scope | None = None,
    ) -> tuple[list[Taken], list[Entry]]:
        """What becomes of each item, and the log entries to append before anyone is told so.

        Args:
            items: what came in, in order.
            source: the door, for dead letters.
            sent_at_us: the sending device's own time at this try, to correct its clock by.
            now_us: when they came, where a request is taken in several parts; else now.
            scope: what their sender may send; None is anything.
        """
        now = self._clock.now_us() if now_us is None else now_us
        correction_us = 0
        if sent_at_us is not None and abs(now - sent_at_us) > CLOCK_OFF_US:
            correction_us = now - sent_at_us
        taken: list[Taken] = []
        entries: list[Entry] = []
        received_at, last = from_us(now), from_us(now + AHEAD_US)
        horizon = self._horizon()
        for came in items:
            item = came
            if item.value is UNREAD:
                short = None if correction_us else self._short_way(item.raw, received_at, last, horizon)
                if (
                    short is not None
                    and not self._too_long(short[0].value)
                    and (scope is None or scope.refusal(short[1], short[2]) is None)
                ):
                    entry, kind, event_id = short
                    entries.append(entry)
                    taken.append(Taken(item.place, event_id, kind))
                    continue
                item = read(item)
            try:
                if item.rejected is not None:
                    raise _RejectedError(item.rejected.reason, item.rejected.detail)
                event, record = self._record(item.value, now, correction_us)
                refusal = None if scope is None else scope.refusal(event_type(event), event.id)
                if refusal is not None:
                    raise _RejectedError(refusal.reason, refusal.detail)
                if self._too_long(record):
                    detail = f"the log takes no event of more than {self._largest_bytes:,} bytes"
                    raise _RejectedError("too_long", detail)
                too_old = None if horizon is None else _too_old(event, horizon)
                if too_old is not None:
                    raise _RejectedError(too_old.reason, str(too_old))
            except _RejectedError as error:
                letter = self._letter(item, error.rejected, source, now)
                entries.append(Entry(DEAD_LETTERS_TOPIC, letter.dead_letter_id, sealing.encode(letter)))
                unreadable = item.rejected is not None and item.rejected.reason == "malformed"
                taken.append(Taken(item.place, rejected=error.rejected, unreadable=unreadable))
            else:
                entries.append(Entry(event.topic, event.key, record))
                taken.append(Taken(item.place, event.id, event_type(event), no_numbers=item.no_numbers))
        return taken, entries

    def _too_long(self, record: bytes) -> bool:
        return self._largest_bytes is not None and len(record) > self._largest_bytes

    def _short_way(
        self, raw: bytes, received_at: datetime, last: datetime, horizon: Horizon | None
    ) -> tuple[Entry, str, str] | None:
        found = plain(raw, self._earliest, last)
        if found is None or (horizon is not None and _too_old(found.event, horizon) is not None):
            return None
        subject = self._known_person("customer", found.customer_id)
        courier = None
        if found.courier_id is not None:
            courier = self._known_person("courier", found.courier_id)
            if courier is None:
                return None
        if subject is None:
            return None
        encoded = plain_record(found, subject, courier, received_at)
        if encoded is None:
            return None
        event = found.event
        return Entry(event.topic, subject, encoded), event_type(event), event.id

    def _known_person(self, kind: Any, raw_id: str) -> str | None:
        known = self._cache.get((kind, raw_id))
        if known is not None:
            return known
        usable = usable_id(raw_id)
        return self._pseudonym(kind, usable) if usable == raw_id else None

    def _record(self, value: Any, now: int, correction_us: int) -> tuple[Event, bytes]:
        """The event and its log record, in which no text holds NUL (PostgreSQL stores none)."""
        try:
            event = self.event(value, now, correction_us)
            record = encode(event)
            if _NUL_IN_JSON in record:
                event = msgspec.convert(_without_nul(msgspec.to_builtins(event)), type(event))
                record = encode(event)
        except RecursionError as error:
            raise _RejectedError("invalid", _TOO_DEEP) from error
        except (OverflowError, UnicodeEncodeError) as error:
            raise _RejectedError("invalid", f"a value that no record can hold: {type(error).__name__}") from error
        return event, record

    def event(self, value: Any, now: int, correction_us: int = 0) -> Event:
        """The log form of one door-form event; ``value`` is decoded JSON and is not changed."""
        if not isinstance(value, dict):
            raise _RejectedError("malformed", "an event is a JSON object")
        kind = value.get("type")
        cls = EVENT_TYPES.get(kind) if isinstance(kind, str) else None
        if cls is None or not isinstance(kind, str):
            known = ", ".join(EVENT_TYPES)
            raise _RejectedError("unknown_type", f"`type` is missing or unknown; it is one of {known}")
        id_field = cls.id_field
        event_id = value.get(id_field)
        if not isinstance(event_id, str) or not event_id:
            raise _RejectedError(
                "missing_id", f"`{id_field}` is missing or no text: without it a second delivery would count twice"
            )
        fields: dict[str, Any] = {}
        extra: dict[str, Any] = {}
        known_fields = _KNOWN[kind]
        for name, content in value.items():
            if name in known_fields:
                fields[name] = content
            elif name not in _IDS:
                extra[name] = content
        raw_ids = self._pseudonymise(kind, event_id, value, fields)
        if kind == "response":
            extra |= _unknown_of_answers(fields.get("answers"))
        elif fields.get("error") == "":  # gateways that always send the field: nothing failed
            del fields["error"]
        elif kind == "engagement":
            _read_amount(fields)
        sender_extra = fields.get("extra", {})
        if extra or sender_extra:
            raw_ids += dict.fromkeys((*ids_in(sender_extra), *ids_in(extra)))
        try:
            if isinstance(sender_extra, dict) and (extra or sender_extra):
                fields["extra"] = scrub_tree({**sender_extra, **extra}, raw_ids)
            _scrub_fields(kind, fields, raw_ids)
        except TooDeepError as error:
            raise _RejectedError("invalid", _TOO_DEEP) from error
        try:
            event = msgspec.convert(fields, cls, strict=True)
        except msgspec.ValidationError as error:
            detail = readable_detail(error)
            raise _RejectedError("invalid", detail + _choices(kind, detail)) from error
        if isinstance(event, Response):
            _check_answers(event.answers)
        try:
            return _stamp(event, kind, now, correction_us, self._earliest_us)
        except OverflowError as error:
            raise _RejectedError("invalid", "a time lies outside the calendar") from error

    def _pseudonymise(self, kind: str, event_id: str, value: dict[str, Any], fields: dict[str, Any]) -> list[str]:
        """Put pseudonyms into ``fields``; the raw ids, for the scrubbing of what was typed.

        A raw id wins over a pseudonym given beside it. Who is no part of the type is left out.
        """
        raw_ids = []
        found: dict[str, str | None] = {}
        for raw_name, name, person in (("customer_id", "subject", "customer"), ("courier_id", "courier", "courier")):
            given = value.get(name)
            if given is not None and not (isinstance(given, str) and PSEUDONYM.fullmatch(given)):
                raise _RejectedError(
                    "invalid", f"`{name}` is a pseudonym that only a door makes; send `{raw_name}` instead"
                )
            raw_id = _raw_id(raw_name, value.get(raw_name))
            if raw_id is not None:
                raw_ids.append(raw_id)
                given = self._pseudonym(person, raw_id)
            found[name] = given
        if kind not in _PEOPLE:
            return raw_ids
        subject, courier = found["subject"], found["courier"]
        if kind == "response" and value.get("respondent") == "agent":
            # The agent's own pseudonym; a customer's id beside it says whom the answers are about, not who gave them.
            subject = courier or (value.get("subject") if usable_id(value.get("customer_id")) is None else None)
        elif kind == "exposure" and courier is not None:
            fields["courier"] = courier
        if subject is None:
            subject = self._pseudonym("anonymous", event_id)
            fields["anonymous"] = True
        fields["subject"] = subject
        return raw_ids

    def _pseudonym(self, kind: Any, raw_id: str) -> str:
        known = self._cache.get((kind, raw_id))
        if known is None:
            if len(self._cache) > 500_000:
                self._cache.clear()
            known = self._cache[(kind, raw_id)] = self._pseudonyms.pseudonym(kind, raw_id)
        return known

    def _letter(self, item: Item, rejected: Rejected, source: str, now: int) -> DeadLetter:
        return self._sealer.dead_letter(
            reason=rejected.reason,
            detail=rejected.detail,
            source=source,
            place=item.place,
            received_us=now,
            raw=item.raw,
            whole=item.whole,
        )


def read(item: Item) -> Item:
    """The item with its JSON decoded, or rejected as malformed."""
    if item.value is not UNREAD:
        return item
    try:
        value, no_numbers = decoded(item.raw)
        return Item(item.raw, item.place, value, no_numbers=no_numbers)
    except RecursionError:
        why = "nested too deep"
    except (msgspec.DecodeError, UnicodeError) as error:
        why = readable_detail(error)
    return Item(item.raw, item.place, rejected=Rejected("malformed", f"this is no JSON: {why}"))


def _too_old(event: Event, horizon: Horizon) -> BeforeHorizonError | None:
    return horizon.refusal(event_type(event), to_us(event.occurred_at))


def summary(taken: Sequence[Taken]) -> tuple[Counter[str], Counter[str]]:
    """How many were accepted by type, and how many became dead letters by reason."""
    accepted = Counter(t.type for t in taken if t.type is not None)
    rejected = Counter(t.rejected.reason for t in taken if t.rejected is not None)
    return accepted, rejected


def _read_amount(fields: dict[str, Any]) -> None:
    """An amount or a currency as text becomes what it says; what says nothing or two things is left to be refused."""
    value, given = fields.get("value"), fields.get("currency")
    if isinstance(value, str):
        paid = money(value, given)
        if paid.value is not None:
            fields["value"] = paid.value
            if paid.currency is not None:
                fields["currency"] = paid.currency
    elif isinstance(given, str):
        fields["currency"] = currency(given) or given


def _scrub_fields(kind: str, fields: dict[str, Any], raw_ids: Sequence[str]) -> None:
    for name in _FREE_TEXT[kind]:
        if isinstance(fields.get(name), str):
            fields[name] = scrub(fields[name], raw_ids)
    if kind == "response" and isinstance(fields.get("answers"), list):
        fields["answers"] = [_scrub_answer(a, raw_ids) for a in fields["answers"]]
    elif kind == "profile" and "fields" in fields:
        fields["fields"] = scrub_tree(fields["fields"], raw_ids)


def _scrub_answer(answer: Any, raw_ids: Sequence[str]) -> Any:
    if not isinstance(answer, dict):
        return answer
    clean = dict(answer)
    for name in ("text", "label"):
        if isinstance(clean.get(name), str):
            clean[name] = scrub(clean[name], raw_ids)
    if clean.get("kind") == "boolean" and isinstance(clean.get("value"), bool):
        clean["value"] = float(clean["value"])
    return clean


def _check_answers(answers: Sequence[Answer]) -> None:
    for i, answer in enumerate(answers):
        if not has_its_kind(answer):
            wanted = "1 or 0" if answer.kind == "boolean" else f"from 0 to {LARGEST_NPS}"
            raise _RejectedError("invalid", f"`answers[{i}].value` of kind {answer.kind} is {wanted}")
        if not is_on_its_scale(answer):
            detail = (
                f"`answers[{i}].value` is outside the question's scale, `low` {answer.low:g} to `high` {answer.high:g}"
            )
            raise _RejectedError("invalid", f"{detail}: {answer.question}")


def _choices(kind: str, detail: str) -> str:
    """The values that the field named at the end of a message may have, where they are few."""
    found = _PATH.search(detail)
    if found is None:
        return ""
    schema = log_schema(kind)
    fields = schema["$defs"]["Answer"]["properties"] if found[1] else schema["properties"]
    field = fields.get(found[2], {})
    values = next((form["enum"] for form in (field, *field.get("anyOf", ())) if "enum" in form), None)
    return "" if values is None else f"; one of {', '.join(values)}"


def _unknown_of_answers(answers: Any) -> dict[str, Any]:
    """Unknown fields of answers, to be kept in ``extra`` under the answer's number (``answers[0]``)."""
    found: dict[str, Any] = {}
    if isinstance(answers, list):
        for i, answer in enumerate(answers):
            if isinstance(answer, dict) and not answer.keys() <= _KNOWN_OF_ANSWER:
                found[f"answers[{i}]"] = {k: v for k, v in answer.items() if k not in _KNOWN_OF_ANSWER}
    return found


def _raw_id(name: str, raw: Any) -> str | None:
    if isinstance(raw, float) and raw.is_integer():
        raw = int(raw)
    if raw is not None and (isinstance(raw, bool) or not isinstance(raw, str | int)):
        raise _RejectedError("invalid", f"`{name}` is a text or a whole number")
    return usable_id(raw)


def _without_nul(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace(_NUL, "\ufffd")
    if isinstance(value, dict):
        return {_without_nul(k): _without_nul(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_without_nul(v) for v in value]
    return value


def _stamp(event: Event, kind: str, now: int, correction_us: int, earliest_us: int) -> Event:
    # Before anything else: the year 1 of a zone ahead of UTC lies outside the calendar.
    if to_us(event.occurred_at) + correction_us < earliest_us:
        too_early = BeforeEarliestError(earliest_us)
        raise _RejectedError(too_early.reason, str(too_early))
    raw = event.occurred_at.astimezone(UTC)
    at = raw + timedelta(microseconds=correction_us)
    if correction_us:
        event.occurred_at_raw = raw
    if to_us(at) > now + AHEAD_US:
        raise _RejectedError(
            "future", "`occurred_at` is more than 5 minutes ahead of the time it was received: check the sender's clock"
        )
    event.occurred_at = at
    event.received_at = from_us(now)
    for name in OTHER_TIMES.get(kind, ()):
        moment: datetime | None = getattr(event, name)
        if moment is not None:  # one that was never set is none
            setattr(event, name, moment.astimezone(UTC) if to_us(moment) >= earliest_us else None)
    return event
