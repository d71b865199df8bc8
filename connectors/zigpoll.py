"""Zigpoll: webhook bodies and exported rows as our ``response`` events, one for each answered slide.

The rows are those of Zigpoll's API (``GET /responses``). The body of its webhook is documented nowhere and carries no
signature. So a push needs an unguessable token in its path, nothing but a JSON object is asked of it, and what is read
from it is only a claim:

- A pushed answer has ``extra.unconfirmed``. The same answer from the API or an export has the same id and ``revision``
  1, so it takes the pushed one's place, whichever of them came first; the push stays in ``superseded``.
- That holds where both carry the same customer: an event's identity is its id *and* its person. A push that names
  nobody and an export that names somebody stay two, of which the first is anonymous and never matched.
- The id is ``zigpoll:`` and the row's ``_id``. A push without ``_id`` is known by poll, participant, slide and UTC day
  (of ``createdAt``, else of arrival), which an export with ``_id`` cannot replace: ``[zigpoll] ids = "parts"`` takes
  these parts for all rows. They stand for one answer of a participant to a slide in a day.
- A body that names its poll, but holds no answer that can be read and told from others, rang the bell: it is kept as a
  dead letter ``awaiting_pull`` until the poll is pulled or exported.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import IO, Any
from urllib.parse import quote

from connectors.amounts import amount
from connectors.carried import Carried, spellings
from connectors.intake import UNREAD, Item, Rejected
from connectors.intake import read as read_json
from connectors.mixpanel import harmless
from connectors.pages import rows_of_file, rows_of_page
from edgeloop.clock import from_us
from edgeloop.identity import usable_id
from edgeloop.personal_names import squeezed
from edgeloop.settings import ZigpollSettings, scale_of

_MOST_ROWS = 10_000
"""Of one push; twice the largest page of the API. More is no survey, and each would be an event or a dead letter."""
_TEXT_CHARACTERS = 100_000
_AMOUNT_CHARACTERS = 64
_MILLISECOND_US = 1_000
_MILLISECONDS_FROM = 100_000_000_000
"""A smaller number is no time of our years in milliseconds."""
_OF_EVERY_ROW = ("pollId", "poll_id", "participantId", "participant_id", "createdAt", "userId")
_JOINT = " | "
_NUMBER = re.compile(r"[+-]?[0-9]{1,15}(?:\.[0-9]{1,15})?")
# From seven digits on it may be a phone number, and numbers are not scrubbed.
_SMALL_NUMBER = re.compile(r"[+-]?[0-9]{1,6}(?:\.[0-9]{1,6})?")
_YES, _NO = frozenset({"yes", "true", "1"}), frozenset({"no", "false", "0"})
_WRITE_IN = "dynamic-response"


def admitted(given: str, tokens: Iterable[str]) -> bool:
    """Whether the path's token is one of ours (two while one is being changed); compared in constant time."""
    good = False
    for token in tokens:
        if token:
            good |= hmac.compare_digest(token.encode(), given.encode("utf-8", "surrogatepass"))
    return good


def items(body: bytes, settings: ZigpollSettings, arrived_us: int) -> list[Item]:
    """What a push holds: an item for each answer, or one that says why there is none.

    Args:
        body: of the request, whatever it is.
        settings: of this connector.
        arrived_us: when it came; the time of answers that carry none.
    """
    came = read_json(Item(body, "body", UNREAD))
    if came.rejected is not None:
        return [came]
    value = came.value
    if not isinstance(value, dict):
        return [came.refused("malformed", "a push is a JSON object")]
    rows = _rows(value)
    if len(rows) > _MOST_ROWS:
        return [came.refused("malformed", f"more than {_MOST_ROWS:,} answers in one push")]
    if rows:
        return [_item(row, settings, arrived_us) for row in rows_of_page(came, rows, "")]
    rejected = _poll(value, settings)
    if not isinstance(rejected, Rejected):
        rejected = _awaiting("the body names its poll and holds no answer with its slide")
    return [Item(body, "body", rejected=rejected)]


def items_of_file(file: IO[bytes], settings: ZigpollSettings) -> Iterator[Item]:
    """The rows of an export: one a line, an array, or pages of the API (``{"data": […], "endCursor": …}``)."""
    for row in rows_of_file(file, "data"):
        yield row if row.rejected is not None else _item(row, settings, None)


def read(row: dict[str, Any], settings: ZigpollSettings, arrived_us: int | None) -> dict[str, Any] | Rejected:
    """One row as a door-form event, or why it cannot be one.

    Args:
        row: of the API, or as much of one as a push has.
        settings: of this connector.
        arrived_us: when the push came; None for a row of the API or an export, which is confirmed.
    """
    poll = _poll(row, settings)
    if isinstance(poll, Rejected):
        return poll
    pushed = arrived_us is not None
    slide = usable_id(row.get("slideId"))
    if slide is None:
        return _awaiting("`slideId` is missing") if pushed else Rejected("malformed", "`slideId` is missing")
    try:
        moment = _time(row.get("createdAt"), arrived_us)
    except (ValueError, OverflowError):
        return Rejected("invalid", "`createdAt` is missing or no time with a zone")
    metadata = _object(row.get("metadata"))
    participant = _participant(row)
    carried = Carried(metadata, _keys(settings))
    customer = carried.person("customer_id") or _owner(row, metadata, participant)
    courier = carried.person("courier_id")
    # An id that is also one of ours would show in the tables.
    participant = None if participant in (customer, courier) else participant
    known = bool(participant or customer or courier)
    identity = usable_id(row.get("_id"))
    if identity is None or (settings.ids == "parts" and known):
        if not known:
            detail = "neither `_id` nor a participant or customer: other people's answers would be taken for it"
            return _awaiting(detail) if pushed else Rejected("missing_id", detail)
        day = moment.astimezone(UTC).date().isoformat()
        identity = "/".join(quote(part, safe="") for part in (poll, participant or "", slide, day))
    # An unfilled id of an agent with nobody else beside it is still an agent's survey.
    agent = courier is not None or (carried.filled("courier_id") and customer is None)
    answer = _answer(row, settings.questions.get(slide))
    event: dict[str, Any] = {
        "type": "response",
        "response_id": f"zigpoll:{identity}",
        "occurred_at": moment.isoformat(),
        "respondent": "agent" if agent else "customer",
        "survey_id": poll,
        "source": "zigpoll",
        "answers": [{"question": slide, **answer}] if answer else [],
        "customer_id": customer,
        "courier_id": courier,
        "extra": _extra(row, metadata, settings, answered=answer is not None),
    }
    for name in ("delivery_id", "exposure_id"):
        link = carried.link(name)
        if link is not None:
            event[name] = link
    if pushed:
        event["extra"]["unconfirmed"] = True
    else:
        event["revision"] = 1
    return event


def _keys(settings: ZigpollSettings) -> dict[str, str]:
    return {
        "customer_id": settings.customer_key,
        "courier_id": settings.agent_key,
        "delivery_id": settings.delivery_key,
        "exposure_id": settings.exposure_key,
    }


def _item(row: Item, settings: ZigpollSettings, arrived_us: int | None) -> Item:
    if not isinstance(row.value, dict):
        return row.refused("malformed", "a row is a JSON object")
    found = read(row.value, settings, arrived_us)
    if isinstance(found, Rejected):
        return row.refused(found.reason, found.detail)
    return row.read_as(found)


def _awaiting(detail: str) -> Rejected:
    return Rejected("awaiting_pull", f"{detail}: an export of the poll brings it (`edgeloop ingest --from zigpoll`)")


def _rows(body: dict[str, Any]) -> list[Any]:
    """The answers in a push, each with what the body says of all of them; none where it says nothing of a slide."""
    common = {name: body[name] for name in _OF_EVERY_ROW if name in body}
    metadata = _object(body.get("metadata"))
    for name in ("responses", "response"):
        inside = body.get(name)
        inside = [inside] if isinstance(inside, dict) else inside
        if isinstance(inside, list) and any(isinstance(row, dict) and "slideId" in row for row in inside):
            return [_with(row, common, metadata) if isinstance(row, dict) else row for row in inside]
    return [body] if usable_id(body.get("slideId")) is not None else []


def _with(row: dict[str, Any], common: dict[str, Any], metadata: dict[str, Any]) -> dict[str, Any]:
    own = {name: value for name, value in row.items() if value is not None}
    merged = metadata | _object(row.get("metadata"))
    return {**common, **own, "metadata": merged} if merged else {**common, **own}


def _poll(row: dict[str, Any], settings: ZigpollSettings) -> str | Rejected:
    poll = usable_id(row.get("pollId")) or usable_id(row.get("poll_id"))
    if poll is None:
        return Rejected("malformed", "`pollId` is missing: whose answers these are is not known")
    if settings.polls and poll not in settings.polls:
        return Rejected("unknown_form", "the poll is not in `[zigpoll] polls`: add it there, or switch its webhook off")
    return poll


def _participant(row: dict[str, Any]) -> str | None:
    """Zigpoll's own id of somebody; where a body gives an e-mail instead, none."""
    found = usable_id(row.get("participantId")) or usable_id(row.get("participant_id"))
    return None if found is None or "@" in found else found


def _owner(row: dict[str, Any], metadata: dict[str, Any], participant: str | None) -> str | None:
    """The customer by the names under which Zigpoll takes a company's own id; it may put its own or an e-mail there."""
    for claimed in (metadata.get("uid"), metadata.get("userId"), row.get("userId")):
        found = usable_id(claimed)
        if found is not None and found != participant and "@" not in found:
            return found
    return None


def _time(created: object, arrived_us: int | None) -> datetime:
    """``createdAt`` (RFC 3339, or JavaScript's milliseconds), else when it came.

    Raises:
        ValueError, OverflowError: it is no time, or there is none.
    """
    if created is None or created == "":
        if arrived_us is None:
            raise ValueError("no time")
        return from_us(arrived_us)
    if isinstance(created, str):
        moment = datetime.fromisoformat(created.strip())
        if moment.tzinfo is None:
            raise ValueError("no zone")
        return moment.astimezone(UTC)
    if not isinstance(created, int | float) or created < _MILLISECONDS_FROM:
        raise ValueError("no time")
    return from_us(int(created * _MILLISECOND_US))


def _answer(row: dict[str, Any], spec: str | None) -> dict[str, Any] | None:
    """The one answer of a row: of the kind that the settings give its slide, else of the kind that it looks like."""
    options = _options(row)
    label = _JOINT.join(_label(option) for option in options)
    words = _words(row.get("response")) or label
    if not words:
        return None
    kind, low, high = scale_of(spec) if spec else ("", None, None)
    text = {"kind": "text", "text": words[:_TEXT_CHARACTERS]}
    choice = {"kind": "choice", "label": (label or words)[:_TEXT_CHARACTERS]}
    if kind == "choice":
        return choice
    if kind == "boolean":
        value = _boolean(options, words)
        return text if value is None else {"kind": "boolean", "value": value}
    if kind and kind != "text":
        # What is no number of the scale must not be in its mean.
        number = _number(options, words)
        if number is None or not (low is None or low <= number) or not (high is None or number <= high):
            return text
        scale = {} if low is None else {"low": low, "high": high}
        return {"kind": kind, "value": number, **scale}
    if kind == "text" or row.get("valueType") == _WRITE_IN:
        return text
    if label:
        return choice
    if _SMALL_NUMBER.fullmatch(words):
        return {"kind": "number", "value": float(words)}
    return choice if row.get("valueType") == "vote" else text


def _options(row: dict[str, Any]) -> list[dict[str, Any]]:
    """What was chosen, ranked options in their order; ``response`` is never split, titles may hold commas."""
    given = row.get("answers")
    if not isinstance(given, list) or not given:
        given = row.get("response")
        given = [{"title": one} for one in given] if isinstance(given, list) else []
    options = [option for option in given if isinstance(option, dict) and _label(option)]
    ranks = [_words(option.get("rank")) for option in options]
    if all(_NUMBER.fullmatch(rank) for rank in ranks):
        options = [option for _, option in sorted(zip(ranks, options, strict=True), key=lambda pair: float(pair[0]))]
    return options


def _label(option: dict[str, Any]) -> str:
    """``Mug``; in a matrix ``Colour: blue``."""
    title = next((w for w in (_words(option.get(n)) for n in ("title", "value", "handle")) if w), "")
    row = next((w for w in (_words(option.get(n)) for n in ("rowTitle", "rowHandle")) if w), "")
    return f"{row}: {title}" if row and title else title


def _words(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    return value.strip() if isinstance(value, str) else ""


def _forms(options: list[dict[str, Any]], words: str) -> list[str]:
    """Everything that says what a single answer is: an option's value rather than its title."""
    one = options[0] if len(options) == 1 else {}
    return [*(_words(one.get(name)) for name in ("value", "handle", "title")), words if len(options) < 2 else ""]


def _number(options: list[dict[str, Any]], words: str) -> float | None:
    return next((float(form) for form in _forms(options, words) if _NUMBER.fullmatch(form)), None)


def _boolean(options: list[dict[str, Any]], words: str) -> float | None:
    forms = [form.lower() for form in _forms(options, words)]
    return next((float(form in _YES) for form in forms if form in _YES | _NO), None)


def _extra(
    row: dict[str, Any], metadata: dict[str, Any], settings: ZigpollSettings, *, answered: bool
) -> dict[str, Any]:
    """What an analyst may want besides the answer; never an address, a browser, or metadata that says who it was."""
    ours = {"uid", "userid", *(spelt for name in _keys(settings) for spelt in spellings(name, _keys(settings)))}
    kept = {
        name: value
        for name, value in metadata.items()
        if name.lower() not in ours and isinstance(value, str | int | float) and harmless(name, value)
        if "useragent" not in squeezed(name) and not _is_address(value)
    }
    given = row.get("answers")
    handles = [o["handle"] for o in given if isinstance(o, dict) and o.get("handle")] if isinstance(given, list) else []
    order_value = row.get("orderValue")
    number, beside = (order_value, None) if isinstance(order_value, int | float) else amount(order_value)
    # What cannot be read is kept as it came; a longer text is no amount.
    kept_text = order_value if number is None and isinstance(order_value, str) and order_value else None
    response = row.get("response")
    extra = {
        "metadata": kept or None,
        "handles": handles or None,
        "order_value": kept_text[:_AMOUNT_CHARACTERS] if kept_text else number,
        "order_currency": beside,
        "not_read": ["orderValue"] if kept_text else None,
        "value_type": row.get("valueType") if isinstance(row.get("valueType"), str) else None,
        "unknown_response": None if answered or isinstance(response, str) else response,
    }
    return {name: value for name, value in extra.items() if value is not None}


def _is_address(value: str | float) -> bool:
    """Whether it is an IP address, under whatever name."""
    try:
        ip_address(value.strip() if isinstance(value, str) else "")
    except ValueError:
        return False
    return True


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
