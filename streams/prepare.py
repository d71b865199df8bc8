"""What a batch needs of each log record, made of the record alone, in one pass while its words are at hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any
from urllib.parse import quote

import msgspec

from edgeloop.clock import to_us
from edgeloop.events import (
    EVENT_TYPES,
    OTHER_TIMES,
    Engagement,
    Event,
    Exposure,
    Response,
    body_sha256,
    decode,
    hide_people,
    times_us,
)
from edgeloop.horizon import BeforeEarliestError, BeforeHorizonError
from edgeloop.log.base import TopicPartition
from edgeloop.store.bodies import told_by_row
from edgeloop.store.schema import Row, answer_rows, row
from streams.entries import (
    ENGAGEMENT,
    EXPOSURE,
    KIND_NUMBERS,
    RESPONSE,
    Asked,
    Carried,
    Identified,
    Outcome,
    Shown,
    Unseen,
)

_NUMERIC_KINDS = frozenset({"nps", "csat", "ces", "rating", "boolean", "number"})

NumberOf = Callable[[Exposure], int]
"""Gives the number of an exposure's context."""
Refuse = Callable[[int, Exception], None]
"""Told the place of a record that is no event of its topic, and why."""
UNREADABLE = (msgspec.DecodeError, UnicodeError, RecursionError, OverflowError)
"""What a record can raise that is no JSON, no event, no text, nested too deep, or holds a number nothing can store."""


class Prepared(msgspec.Struct, gc=False):
    """One event, ready to be worked in. The ``rowid`` of its entry is the place among the rows of its table."""

    key: str
    kind: int
    id: str
    entry: Identified
    origin: TopicPartition
    """Where it was read, for the count of duplicates."""
    answers: Sequence[Row] = ()
    courier: str | None = None
    carried: Carried | None = None
    """What the courier's key is told."""


def prepare(
    kind: str,
    values: Sequence[bytes],
    origin: TopicPartition,
    number_of: NumberOf,
    refuse: Refuse,
    rows: list[Row],
    lateness_us: list[int],
    first_us: int | None = None,
    earliest_us: int | None = None,
) -> Iterator[Prepared]:
    """The events of one topic's records, in order; what is none, or happened before ``first_us`` or ``earliest_us``, is
    refused and left out.

    Each one's row is appended to ``rows``, and to ``lateness_us`` how long after it happened a door received it.
    """
    cls = EVENT_TYPES[kind]
    make = _MAKERS.get(cls, _other)
    others = OTHER_TIMES.get(kind)
    for place, value in enumerate(values):
        try:
            event = decode(value)
            if type(event) is not cls:
                raise msgspec.ValidationError(f"an event of topic {event.topic} in topic {cls.topic}")
            hide_people(event)
            times = times_us(event)
            if earliest_us is not None:
                if times[0] < earliest_us:
                    refuse(place, BeforeEarliestError(earliest_us))
                    continue
                if others is not None:
                    _unset(event, others, earliest_us)
            prepared, cells = make(kind, event, value, times, len(rows), origin, number_of)
        except UNREADABLE as error:
            refuse(place, error)
            continue
        at_us, _, received_us = times
        if first_us is not None and at_us < first_us:
            refuse(place, BeforeHorizonError(first_us))
            continue
        rows.append(cells)
        if received_us is not None:
            lateness_us.append(received_us - at_us)
        yield prepared


def _unset(event: Event, names: Sequence[str], earliest_us: int) -> None:
    """Times beside the moment itself that lie before are absent: nobody set them."""
    for name in names:
        moment = getattr(event, name)
        if moment is not None and to_us(moment) < earliest_us:
            setattr(event, name, None)


_Times = tuple[int, int, int | None]
_Made = tuple[Prepared, Row]


def _exposure(
    kind: str, event: Exposure, value: bytes, times: _Times, place: int, origin: TopicPartition, number_of: NumberOf
) -> _Made:
    exposure_id, delivery_id, courier = event.exposure_id, event.delivery_id, event.courier
    at_us, raw_us, _ = times
    # Of what a courier carried, the hash is looked at later, where the row is not at hand.
    digest = None if courier is None and told_by_row(event, value) else body_sha256(event)
    cells = row(kind, event, times + (digest,))  # noqa: RUF005
    context = number_of(event) if event.shown else None
    entry: Identified = (
        Unseen(EXPOSURE, exposure_id, at_us, place)
        if context is None or event.anonymous
        else Shown(exposure_id, at_us, place, context, delivery_id)
    )
    if courier is None or digest is None:
        return Prepared(event.subject, EXPOSURE, exposure_id, entry, origin), cells
    carried = Carried(exposure_id, at_us, event.subject, context, delivery_id, event.revision, raw_us, digest)
    return Prepared(event.subject, EXPOSURE, exposure_id, entry, origin, (), courier, carried), cells


def _engagement(
    kind: str, event: Engagement, value: bytes, times: _Times, place: int, origin: TopicPartition, _number_of: NumberOf
) -> _Made:
    digest = None if told_by_row(event, value) else body_sha256(event)
    cells = row(kind, event, times + (digest,))  # noqa: RUF005
    asked = [Asked("", event.name, event.value, event.currency)]
    entry = Outcome(
        ENGAGEMENT, event.event_id, times[0], place, event.source, False, not event.anonymous, event.delivery_id,
        event.exposure_id, asked,
    )  # fmt: skip
    return Prepared(event.subject, ENGAGEMENT, event.event_id, entry, origin), cells


def _response(
    kind: str, event: Response, _value: bytes, times: _Times, place: int, origin: TopicPartition, _number_of: NumberOf
) -> _Made:
    cells = row(kind, event, (*times, body_sha256(event)))
    entry = Outcome(
        RESPONSE, event.response_id, times[0], place, event.source, event.respondent == "agent", not event.anonymous,
        event.delivery_id, event.exposure_id, _asked(event),
    )  # fmt: skip
    answers = answer_rows(event, times[0])
    return Prepared(event.subject, RESPONSE, event.response_id, entry, origin, answers), cells


def _other(
    kind: str, event: Event, _value: bytes, times: _Times, place: int, origin: TopicPartition, _number_of: NumberOf
) -> _Made:
    number = KIND_NUMBERS[kind]
    cells = row(kind, event, (*times, body_sha256(event)))
    return Prepared(event.key, number, event.id, Unseen(number, event.id, times[0], place), origin), cells


_MAKERS: dict[type[Event], Callable[[str, Any, bytes, _Times, int, TopicPartition, NumberOf], _Made]] = {
    Exposure: _exposure,
    Engagement: _engagement,
    Response: _response,
}


def _asked(event: Response) -> list[Asked]:
    asked: list[Asked] = []
    times: dict[str, int] = {}
    for answer in event.answers:
        n = times[answer.question] = times.get(answer.question, 0) + 1
        suffix = f"/{quote(answer.question, safe='')}" + (f"#{n}" if n > 1 else "")
        value = answer.value if answer.kind in _NUMERIC_KINDS else None
        asked.append(Asked(suffix, f"{event.survey_id}/{answer.question}", value, None))
    return asked
