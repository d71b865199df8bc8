"""Mixpanel's raw export (NDJSON, one event a line) as our ``engagement`` events.

Format and caveats: Mixpanel's documentation of the Raw Event Export API. The export does not deduplicate, so the same
event from overlapping windows must get the same id.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from datetime import UTC
from typing import IO, Any
from zoneinfo import ZoneInfo

import msgspec

from connectors.amounts import money
from connectors.documents import documents_of_file
from connectors.intake import Item, read
from edgeloop.clock import SECOND_US, from_us
from edgeloop.identity import usable_id
from edgeloop.personal_names import squeezed
from edgeloop.settings import MixpanelSettings

_EARLY = b"terminated early"
_MILLISECONDS_FROM = 100_000_000_000
"""A time from here on is in milliseconds (in seconds it would be the year 5138)."""
_DEVICE = "$device:"
# Who somebody is, where they are, or what they looked at: never kept, whatever it holds. Compared without case,
# underscores and the like (`scrub.squeezed`).
_NEVER = frozenset(
    {
        "distinctid", "userid", "deviceid", "customerid", "courierid", "clientid", "anonymousid", "name", "firstname",
        "lastname", "fullname", "username", "nickname", "login", "ip", "ipaddress", "avatar", "city", "region", "zip",
        "zipcode", "postcode", "postalcode", "street", "latitude", "longitude", "lat", "lng", "mpcountrycode", "time",
        "currenturl", "referrer", "initialreferrer", "mpnametag",
    }
)  # fmt: skip
_NEVER_INSIDE = re.compile(
    r"email|phone|mobile|whatsapp|address|surname|birth|passport|iban|creditcard|cardnumber|password|secret|token"
)
_encoder = msgspec.json.Encoder()


def items_of_file(file: IO[bytes], settings: MixpanelSettings) -> Iterator[Item]:
    """The events of an export file, gzip or not: one a line, as the API gives them, or an array, as tools write it.

    ``terminated early`` gives an item that says so: what came before is taken, as pulling the window again changes
    nothing that is there.
    """
    zone = ZoneInfo(settings.timezone) if settings.time_basis == "project_local" else None
    for came in documents_of_file(file):
        if came.raw.lstrip()[: len(_EARLY)].lower() == _EARLY:
            detail = "the export was terminated early: pull this window again"
            yield came.refused("incomplete_export", detail)
            continue
        found = read(came)
        if found.rejected is not None:
            yield found
        elif isinstance(found.value, dict):
            yield item(found, settings, zone)
        else:
            yield found.refused("malformed", "this is no JSON object")


def item(came: Item, settings: MixpanelSettings, zone: ZoneInfo | None) -> Item:
    """One exported event, or why it cannot be one; its value is a JSON object."""
    value: dict[str, Any] = came.value
    properties = value.get("properties")
    name = value.get("event")
    if not isinstance(properties, dict) or not isinstance(name, str):
        return came.refused("malformed", "no exported event: `event` or `properties` is missing")
    time = properties.get("time")
    if isinstance(time, bool) or not isinstance(time, int | float):
        return came.refused("invalid", "`properties.time` is missing or no number")
    who = properties.get("distinct_id")
    try:
        occurred_at, ambiguous = _time(time, zone)
        identity = event_id(name, who, time, properties.get("$insert_id"))
    except RecursionError:
        return came.refused("invalid", "an id nested too deep")
    except (OverflowError, ValueError):
        return came.refused("invalid", "`properties.time` or an id is a number too large")
    event: dict[str, Any] = {
        "type": "engagement",
        "event_id": identity,
        "occurred_at": occurred_at,
        "name": name,
        "source": "mixpanel",
    }
    # A device's own id is nobody we know; `$user_id` may name its owner.
    if usable_id(who) is None or (isinstance(who, str) and who.startswith(_DEVICE)):
        who = properties.get("$user_id")
    event["customer_id"] = usable_id(who)
    paid = money(properties.get(settings.value_property), properties.get(settings.currency_property))
    if paid.value is not None:
        event["value"] = paid.value
        if paid.currency is not None:
            event["currency"] = paid.currency
    used = {
        settings.value_property if "value" in event else None,
        settings.currency_property if "currency" in event and "currency" not in paid.not_read else None,
    }
    for link in ("delivery_id", "exposure_id"):
        linked = usable_id(properties.get(link))
        if linked is not None:
            event[link] = linked
            used.add(link)
    extra = {k: v for k, v in properties.items() if k not in used and harmless(k, v)}
    extra.pop("mp_processing_time_ms", None)  # differs between two exports of one event
    if ambiguous:
        extra["ambiguous_time"] = True
    if paid.not_read:
        extra["not_read"] = [*paid.not_read]
    if extra:
        event["extra"] = extra
    return came.read_as(event)


def event_id(name: str, distinct_id: object, time: float, insert_id: object) -> str:
    """``mixpanel:`` and the sha256 (lower-case hex) of the compact UTF-8 JSON array
    ``[event, distinct_id, time, $insert_id]``, no spaces, only what JSON must escape escaped, what is absent ``null``.

    ``time`` is the number as exported; with an ``$insert_id`` in whole seconds, so that an export with
    ``time_in_ms`` of the same events gives the same ids.
    """
    whole = int(time) if time == int(time) else time
    if insert_id is not None:
        whole = int(time // 1_000 if time >= _MILLISECONDS_FROM else time // 1)
    return "mixpanel:" + hashlib.sha256(_encoder.encode([name, distinct_id, whole, insert_id])).hexdigest()


def harmless(name: str, value: object) -> bool:
    """Whether a property may be kept: by its name it does not say who somebody is or where."""
    bare = squeezed(name)
    identifying = bare in _NEVER or (_NEVER_INSIDE.search(bare) is not None and not isinstance(value, bool))
    return not name.startswith("$") and not identifying


def _time(time: float, zone: ZoneInfo | None) -> tuple[str, bool]:
    """RFC 3339 in UTC, and whether the local hour happened twice (then the first is taken)."""
    seconds = time / 1_000 if time >= _MILLISECONDS_FROM else time
    moment = from_us(round(seconds * SECOND_US))
    if zone is None:
        return moment.isoformat(), False
    local = moment.replace(tzinfo=zone, fold=0)
    ambiguous = local.utcoffset() != local.replace(fold=1).utcoffset()
    return local.astimezone(UTC).isoformat(), ambiguous
