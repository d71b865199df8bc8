"""The short way in for events that need nothing but a pseudonym: no free text, no unknown field, no clock to correct.

Nearly all exposures and engagement are such events. Decoded straight into their type and encoded again they cost a
third of the general way, which takes everything that this one declines and gives the same record for what it takes.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec
from msgspec import UNSET

from edgeloop.events import Answer, Engagement, Exposure, Response, encode, has_its_kind, is_on_its_scale

RawId = str | None
"""As nearly everyone sends it; a number goes the general way."""
_NUL_IN_JSON = b"\\u0000"
Never = msgspec.UnsetType
"""What no sender's field is, so that whatever stands there, null too, is told from nothing."""


class _Exposure(Exposure, tag="exposure", forbid_unknown_fields=True, kw_only=True):
    subject: str | Never = UNSET  # type: ignore[assignment]  # of this and the next ones only the general way knows
    occurred_at_raw: datetime | Never | None = UNSET  # type: ignore[assignment]
    received_at: datetime | Never | None = UNSET  # type: ignore[assignment]
    anonymous: bool | Never = UNSET  # type: ignore[assignment]
    extra: dict[str, Any] | Never = UNSET  # type: ignore[assignment]
    courier: str | Never | None = UNSET  # type: ignore[assignment]
    customer_id: RawId = None
    courier_id: RawId = None


class _Engagement(Engagement, tag="engagement", forbid_unknown_fields=True, kw_only=True):
    subject: str | Never = UNSET  # type: ignore[assignment]
    occurred_at_raw: datetime | Never | None = UNSET  # type: ignore[assignment]
    received_at: datetime | Never | None = UNSET  # type: ignore[assignment]
    anonymous: bool | Never = UNSET  # type: ignore[assignment]
    extra: dict[str, Any] | Never = UNSET  # type: ignore[assignment]
    customer_id: RawId = None


class _Answer(Answer, forbid_unknown_fields=True, kw_only=True):
    pass


class _Response(Response, tag="response", forbid_unknown_fields=True, kw_only=True):
    subject: str | Never = UNSET  # type: ignore[assignment]
    occurred_at_raw: datetime | Never | None = UNSET  # type: ignore[assignment]
    received_at: datetime | Never | None = UNSET  # type: ignore[assignment]
    anonymous: bool | Never = UNSET  # type: ignore[assignment]
    extra: dict[str, Any] | Never = UNSET  # type: ignore[assignment]
    answers: list[_Answer]  # type: ignore[assignment]  # narrower, and never added to
    customer_id: RawId = None


_decoder: msgspec.json.Decoder[_Exposure | _Engagement | _Response] = msgspec.json.Decoder(
    _Exposure | _Engagement | _Response
)


class Plain(NamedTuple):
    """An event on the short way: its raw ids, which `record` wants pseudonyms of."""

    event: _Exposure | _Engagement | _Response
    customer_id: str
    courier_id: str | None


def plain(raw: bytes, first: datetime, last: datetime) -> Plain | None:
    """The event of one line, or None where it must go the general way (it may be wrong, or need more).

    Args:
        raw: one JSON document in door form.
        first: events before it are not for the short way.
        last: nor those after it.
    """
    try:
        event = _decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
    if (
        event.customer_id is None
        or event.subject is not UNSET
        or event.received_at is not UNSET
        or event.occurred_at_raw is not UNSET
        or event.anonymous is not UNSET
        or event.extra is not UNSET
        or event.occurred_at.tzinfo is not UTC
        or not first <= event.occurred_at <= last
    ):
        return None
    courier_id = None
    if type(event) is _Exposure:
        if event.error is not None or event.courier is not UNSET:
            return None
        courier_id = event.courier_id
    elif type(event) is _Response and (
        event.respondent != "customer"
        or any(
            a.text is not None or a.label is not None or not has_its_kind(a) or not is_on_its_scale(a)
            for a in event.answers
        )
    ):
        return None
    return Plain(event, event.customer_id, courier_id)


def record(found: Plain, subject: str, courier: str | None, received_at: datetime) -> bytes | None:
    """The log record; None where it must go the general way after all."""
    event = found.event
    event.subject = subject
    event.customer_id = None
    event.received_at = received_at
    if type(event) is _Exposure:
        event.courier = UNSET if courier is None else courier
        event.courier_id = None
    try:
        encoded = encode(event)
    except (UnicodeError, OverflowError):
        return None
    # A backslash is looked for first, which is much faster than several characters.
    return None if b"\\" in encoded and _NUL_IN_JSON in encoded else encoded
