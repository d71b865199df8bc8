"""The one way in: door-form events become log records, whatever door they came through.

Here raw ids turn into pseudonyms, free text loses personal data, ``received_at`` is stamped, device clocks are
corrected, and what cannot be taken becomes a sealed dead letter. Good events and dead letters of one call are one
append: all durable, or none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, timedelta
from typing import Any

import msgspec

from edgeloop import sealing
from edgeloop.clock import SECOND_US, Clock, from_us, to_us
from edgeloop.events import DEAD_LETTERS_TOPIC, EVENT_TYPES, STAMPS, Event, encode
from edgeloop.home import PSEUDONYM_KEY, SEALING_KEY, Home
from edgeloop.identity import PSEUDONYM, Pseudonymiser, usable_id
from edgeloop.log.base import Entry
from edgeloop.scrub import scrub, scrub_tree
from edgeloop.sealing import DeadLetter, Sealer, readable_detail

AHEAD_US = 5 * 60 * SECOND_US
"""An event further than this ahead of its arrival is a dead letter: it would never be matched, and hides a fault."""
CLOCK_OFF_US = 30 * SECOND_US
"""A device clock is corrected from this much on; less may be the network."""

_KNOWN = {name: frozenset(cls.__struct_encode_fields__) - STAMPS | {"type"} for name, cls in EVENT_TYPES.items()}
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


class Item(msgspec.Struct, frozen=True):
    """One thing that came in: a decoded JSON value, or bytes that are none. ``raw`` is what a dead letter seals."""

    raw: bytes
    place: str
    value: Any = None
    rejected: Rejected | None = None
    """Set where a connector found it wrong already."""


class Taken(msgspec.Struct, frozen=True):
    """What became of one thing, in the order in which they came."""

    place: str
    id: str | None = None
    type: str | None = None
    rejected: Rejected | None = None


class _RejectedError(Exception):
    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.rejected = Rejected(reason, detail)


class Intake:
    """Turns what a door received into log records. Holds the keys; they go nowhere else."""

    def __init__(self, home: Home, clock: Clock) -> None:
        self._pseudonyms = Pseudonymiser(home.secret(PSEUDONYM_KEY))
        self._sealer = Sealer(home.secret(SEALING_KEY))
        self._clock = clock
        self._cache: dict[tuple[str, str], str] = {}

    def take(
        self, items: Iterable[Item], *, source: str, sent_at_us: int | None = None
    ) -> tuple[list[Taken], list[Entry]]:
        """What becomes of each item, and the log entries to append before anyone is told so.

        Args:
            items: what came in, in order.
            source: the door, for dead letters.
            sent_at_us: the sending device's own time at this try, to correct its clock by.
        """
        now = self._clock.now_us()
        correction_us = 0
        if sent_at_us is not None and abs(now - sent_at_us) > CLOCK_OFF_US:
            correction_us = now - sent_at_us
        taken: list[Taken] = []
        entries: list[Entry] = []
        for item in items:
            try:
                if item.rejected is not None:
                    raise _RejectedError(item.rejected.reason, item.rejected.detail)
                event = self.event(item.value, now, correction_us)
            except _RejectedError as error:
                letter = self._letter(item, error.rejected, source, now)
                entries.append(Entry(DEAD_LETTERS_TOPIC, letter.dead_letter_id, sealing.encode(letter)))
                taken.append(Taken(item.place, rejected=error.rejected))
            else:
                entries.append(Entry(event.topic, event.key, encode(event)))
                taken.append(Taken(item.place, id=event.id, type=item.value["type"]))
        return taken, entries

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
                "missing_id", f"`{id_field}` is missing: without it a second delivery would count twice"
            )
        fields: dict[str, Any] = {}
        extra: dict[str, Any] = {}
        known_fields = _KNOWN[kind]
        for name, content in value.items():
            if name in known_fields:
                fields[name] = content
            elif name not in ("customer_id", "courier_id"):
                extra[name] = content
        raw_ids = self._pseudonymise(kind, event_id, value, fields)
        sender_extra = fields.pop("extra", None)
        if isinstance(sender_extra, dict):
            extra = {**sender_extra, **extra}
        elif sender_extra is not None:
            extra["extra"] = sender_extra
        if extra:
            fields["extra"] = scrub_tree(extra, raw_ids)
        _scrub_fields(kind, fields, raw_ids)
        try:
            event = msgspec.convert(fields, cls, strict=True)
        except msgspec.ValidationError as error:
            raise _RejectedError("invalid", readable_detail(error)) from error
        return _stamp(event, now, correction_us)

    def _pseudonymise(self, kind: str, event_id: str, value: dict[str, Any], fields: dict[str, Any]) -> list[str]:
        """Put pseudonyms into ``fields``; the raw ids, for the scrubbing of what was typed."""
        raw_ids = []
        for raw_name, name, person in (("customer_id", "subject", "customer"), ("courier_id", "courier", "courier")):
            given = fields.get(name)
            if given is not None and not (isinstance(given, str) and PSEUDONYM.match(given)):
                raise _RejectedError(
                    "invalid", f"`{name}` is a pseudonym that only a door makes; send `{raw_name}` instead"
                )
            raw_id = usable_id(value.get(raw_name))
            if raw_id is not None:
                raw_ids.append(raw_id)
                fields[name] = self._pseudonym(person, raw_id)
        if kind not in _PEOPLE:
            return raw_ids
        if kind == "response":
            agent = fields.pop("courier", None)
            if fields.get("respondent") == "agent":
                fields.pop("subject", None)
                if agent is not None:
                    fields["subject"] = agent
        elif kind != "exposure":
            fields.pop("courier", None)
        if "subject" not in fields:
            fields["subject"] = self._pseudonym("anonymous", event_id)
            fields["anonymous"] = True
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
        )


def summary(taken: Sequence[Taken]) -> tuple[Counter[str], Counter[str]]:
    """How many were accepted by type, and how many became dead letters by reason."""
    accepted = Counter(t.type for t in taken if t.type is not None)
    rejected = Counter(t.rejected.reason for t in taken if t.rejected is not None)
    return accepted, rejected


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


def _stamp(event: Event, now: int, correction_us: int) -> Event:
    try:
        raw = event.occurred_at.astimezone(UTC)
        at = raw + timedelta(microseconds=correction_us)
    except OverflowError as error:
        raise _RejectedError("invalid", "`occurred_at` lies outside the calendar") from error
    if correction_us:
        event.occurred_at_raw = raw
    if to_us(at) > now + AHEAD_US:
        raise _RejectedError(
            "future", "`occurred_at` is more than 5 minutes ahead of the time it was received: check the sender's clock"
        )
    event.occurred_at = at
    event.received_at = from_us(now)
    return event
