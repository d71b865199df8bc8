"""Mixpanel's raw export (NDJSON, one event a line) as our ``engagement`` events.

Format and caveats: Mixpanel's documentation of the Raw Event Export API. The export does not deduplicate, so the same
event from overlapping windows must get the same id.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import UTC
from typing import IO, Any
from zoneinfo import ZoneInfo

import msgspec

from connectors.intake import Item, Rejected
from connectors.native import LINE_BYTES, lines
from edgeloop.clock import SECOND_US, from_us
from edgeloop.settings import MixpanelSettings

_EARLY = b"terminated early"
_MILLISECONDS_FROM = 100_000_000_000
"""A time from here on is in milliseconds (in seconds it would be the year 5138)."""
_DEVICE = "$device:"
# Who somebody is, where they are, or what they looked at: never kept, whatever it holds.
_NEVER = frozenset(
    {
        "distinct_id", "user_id", "device_id", "name", "first_name", "last_name", "email", "phone", "address", "ip",
        "avatar", "city", "region", "mp_country_code", "current_url", "referrer", "initial_referrer", "time",
    }
)  # fmt: skip
_NOT_JSON = Rejected("malformed", "this is no JSON object")
_decoder = msgspec.json.Decoder()
_encoder = msgspec.json.Encoder()


def items_of_file(file: IO[bytes], settings: MixpanelSettings) -> Iterator[Item]:
    """The events of an export file, gzip or not.

    An object broken over lines is joined. ``terminated early`` gives an item that says so: what came before is
    taken, as pulling the window again changes nothing that is there.
    """
    zone = ZoneInfo(settings.timezone) if settings.time_basis == "project_local" else None
    pending, pending_from = b"", 0
    number = 0
    for line in lines(file):
        number += 1
        text = line.strip()
        if not text:
            continue
        if text == _EARLY:
            detail = "the export was terminated early: pull this window again"
            yield Item(text, f"line {number}", rejected=Rejected("incomplete_export", detail))
            continue
        value = _decoded(text)
        if value is None and pending:
            joined = pending + text
            value = _decoded(joined)
            if value is not None:
                yield item(value, joined, f"line {pending_from}", settings, zone)
                pending = b""
                continue
            if len(joined) <= LINE_BYTES:
                pending = joined
                continue
        if pending:
            yield Item(pending, f"line {pending_from}", rejected=_NOT_JSON)
            pending = b""
        if value is None:
            pending, pending_from = text, number
        else:
            yield item(value, text, f"line {number}", settings, zone)
    if pending:
        yield Item(pending, f"line {pending_from}", rejected=_NOT_JSON)


def item(value: dict[str, Any], raw: bytes, place: str, settings: MixpanelSettings, zone: ZoneInfo | None) -> Item:
    """One exported event, or why it cannot be one."""
    properties = value.get("properties")
    name = value.get("event")
    if not isinstance(properties, dict) or not isinstance(name, str):
        return Item(raw, place, rejected=Rejected("malformed", "no exported event: `event` or `properties` is missing"))
    time = properties.get("time")
    if isinstance(time, bool) or not isinstance(time, int | float):
        return Item(raw, place, rejected=Rejected("invalid", "`properties.time` is missing or no number"))
    try:
        occurred_at, ambiguous = _time(time, zone)
    except (OverflowError, ValueError):
        return Item(raw, place, rejected=Rejected("invalid", "`properties.time` lies outside the calendar"))
    who = properties.get("distinct_id")
    event: dict[str, Any] = {
        "type": "engagement",
        "event_id": event_id(name, who, time, properties.get("$insert_id")),
        "occurred_at": occurred_at,
        "name": name,
        "source": "mixpanel",
    }
    # A device's own id is nobody we know; `$user_id` may name its owner.
    if isinstance(who, str) and who.startswith(_DEVICE):
        who = properties.get("$user_id")
    event["customer_id"] = who
    amount = properties.get(settings.value_property)
    if isinstance(amount, int | float) and not isinstance(amount, bool):
        event["value"] = float(amount)
        currency = properties.get(settings.currency_property)
        if isinstance(currency, str) and len(currency) == 3 and currency.isascii() and currency.isalpha():
            event["currency"] = currency.upper()
    for link in ("delivery_id", "exposure_id"):
        if isinstance(properties.get(link), str) and properties[link]:
            event[link] = properties[link]
    used = {settings.value_property if "value" in event else None, settings.currency_property, *event}
    extra = {k: v for k, v in properties.items() if not k.startswith("$") and k.lower() not in _NEVER and k not in used}
    extra.pop("mp_processing_time_ms", None)  # differs between two exports of one event
    if ambiguous:
        extra["ambiguous_time"] = True
    if extra:
        event["extra"] = extra
    return Item(raw, place, value=event)


def event_id(name: str, distinct_id: object, time: float, insert_id: object) -> str:
    """``mixpanel:`` and the sha256 (hex) of the compact JSON array ``[event, distinct_id, time, $insert_id]``."""
    return "mixpanel:" + hashlib.sha256(_encoder.encode([name, distinct_id, time, insert_id])).hexdigest()


def _time(time: float, zone: ZoneInfo | None) -> tuple[str, bool]:
    """RFC 3339 in UTC, and whether the local hour happened twice (then the first is taken)."""
    seconds = time / 1_000 if time >= _MILLISECONDS_FROM else time
    moment = from_us(round(seconds * SECOND_US))
    if zone is None:
        return moment.isoformat(), False
    local = moment.replace(tzinfo=zone, fold=0)
    ambiguous = local.utcoffset() != local.replace(fold=1).utcoffset()
    return local.astimezone(UTC).isoformat(), ambiguous


def _decoded(text: bytes) -> dict[str, Any] | None:
    try:
        value = _decoder.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return value if isinstance(value, dict) else None
