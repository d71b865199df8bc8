"""What a batch needs of each log record, made of the record alone, in one pass while its words are at hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import NamedTuple
from urllib.parse import quote

import msgspec

from edgeloop.events import EVENT_TYPES, Engagement, Exposure, Response, decode, stamped
from edgeloop.horizon import BeforeHorizonError
from edgeloop.log.base import TopicPartition
from edgeloop.store.schema import Row, answer_rows, row
from streams.entries import KIND_NUMBERS, Asked, Carried, Identified, Outcome, Shown, Unseen

_NUMERIC_KINDS = frozenset({"nps", "csat", "ces", "rating", "boolean", "number"})

NumberOf = Callable[[Exposure], int]
"""Gives the number of an exposure's context."""
Refuse = Callable[[int, Exception], None]
"""Told the place of a record that is no event of its topic, and why."""
UNREADABLE = (msgspec.DecodeError, UnicodeError, RecursionError, OverflowError)
"""What a record can raise that is no JSON, no event, no text, nested too deep, or holds a number nothing can store."""


class Prepared(NamedTuple):
    """One event, ready to be worked in. ``entry`` lacks its rowids."""

    key: str
    kind: int
    entry: Identified
    row: Row
    origin: TopicPartition
    """Where it was read, for the count of duplicates."""
    answers: Sequence[Row] = ()
    courier: str | None = None
    carried: Carried | None = None
    """What the courier's key is told."""
    lateness_us: int | None = None
    """From when it happened to when a door received it."""


def prepare(
    kind: str,
    values: Sequence[bytes],
    origin: TopicPartition,
    number_of: NumberOf,
    refuse: Refuse,
    first_us: int | None = None,
) -> list[Prepared]:
    """The events of one topic's records, in order; what is none, or happened before ``first_us``, is refused and left
    out."""
    cls = EVENT_TYPES[kind]
    number = KIND_NUMBERS[kind]
    key_of, id_of = attrgetter(cls.key_field), attrgetter(cls.id_field)
    prepared: list[Prepared] = []
    for place, value in enumerate(values):
        try:
            event = decode(value)
            if type(event) is not cls:
                raise msgspec.ValidationError(f"an event of topic {event.topic} in topic {cls.topic}")
            stamps = stamped(event)
            cells = row(kind, event, stamps)
        except UNREADABLE as error:
            refuse(place, error)
            continue
        at_us, raw_us, received_us, body_sha256 = stamps
        if first_us is not None and at_us < first_us:
            refuse(place, BeforeHorizonError(first_us))
            continue
        lateness_us = None if received_us is None else received_us - at_us
        if type(event) is Exposure:
            exposure_id, subject, delivery_id = event.exposure_id, event.subject, event.delivery_id
            context = number_of(event) if event.arm != "holdout" and event.shown else None
            entry: Identified = (
                Unseen(number, exposure_id, at_us, 0)
                if context is None or event.anonymous
                else Shown(exposure_id, at_us, 0, context, delivery_id)
            )
            courier = event.courier
            carried = (
                None
                if courier is None
                else Carried(exposure_id, at_us, subject, context, delivery_id, event.revision, raw_us, body_sha256)
            )
            prepared.append(Prepared(subject, number, entry, cells, origin, (), courier, carried, lateness_us))
        elif type(event) is Engagement or type(event) is Response:
            answers = answer_rows(event, at_us) if type(event) is Response else ()
            outcome = _outcome(number, id_of(event), event, at_us)
            prepared.append(Prepared(event.subject, number, outcome, cells, origin, answers, None, None, lateness_us))
        else:
            entry = Unseen(number, id_of(event), at_us, 0)
            prepared.append(Prepared(key_of(event), number, entry, cells, origin, (), None, None, lateness_us))
    return prepared


def _outcome(number: int, event_id: str, event: Response | Engagement, at_us: int) -> Outcome:
    return Outcome(
        kind=number,
        id=event_id,
        at_us=at_us,
        rowid=0,
        source=event.source,
        agent=type(event) is Response and event.respondent == "agent",
        matchable=not event.anonymous,
        delivery_id=event.delivery_id,
        link=event.exposure_id,
        asked=_asked(event),
    )


def _asked(event: Response | Engagement) -> list[Asked]:
    if isinstance(event, Engagement):
        return [Asked("", event.name, event.value, event.currency)]
    asked: list[Asked] = []
    times: dict[str, int] = {}
    for answer in event.answers:
        n = times[answer.question] = times.get(answer.question, 0) + 1
        suffix = f"/{quote(answer.question, safe='')}" + (f"#{n}" if n > 1 else "")
        value = answer.value if answer.kind in _NUMERIC_KINDS else None
        asked.append(Asked(suffix, f"{event.survey_id}/{answer.question}", value, None))
    return asked
