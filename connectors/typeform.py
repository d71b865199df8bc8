"""Typeform: the signature of its webhooks, and responses of forms (webhooks and saved pages) as ``response`` events.

Shapes and rules: Typeform's developer pages "Example payload", "Secure your webhooks" and "Retrieve responses". Vendors
add fields and types without notice, so only form, token and time are asked for; whatever else has another shape than
documented is left out, and an answer of an unknown type is kept in ``extra``.

A response that came by webhook and again in a file is one event with one body, a duplicate. So what only one of the two
tells (the delivery's own id, the ending shown, a quiz's outcome) is not kept. A row of a file that lacks what a webhook
would have known (a field's type) has ``revision`` -1 and never takes a webhook's place. A finished response whose
form says how many steps its scales have has ``revision`` 1: the API's row, which cannot know, never takes its place.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Iterable, Iterator
from typing import IO, Any

import msgspec

from connectors.carried import Carried
from connectors.intake import UNREAD, Item
from connectors.intake import read as read_json
from connectors.pages import rows_of_file
from edgeloop.errors import UsageError
from edgeloop.settings import TypeformSettings

SIGNATURE_HEADER = "Typeform-Signature"
_PREFIX = "sha256="
_SIGNATURE = re.compile(r"sha256=\s*[A-Za-z0-9+/]{43}=\s*")
# Answers that are personal data or money, whatever the question was meant for; recordings are somebody's voice or face.
_PERSONAL = frozenset({"email", "phone_number", "url", "file_url", "payment", "date", "video", "audio", "multi_format"})
_PERSONAL_FIELDS = frozenset({"email", "phone_number", "website", "file_upload", "payment", "date", "calendly"})
_SCALES = frozenset({"rating", "opinion_scale"})
_NAMES = {"nps": "nps", "rating": "rating", "opinion_scale": "rating"}
_MOST_STEPS = 1_000
_TEXT_CHARACTERS = 100_000
_ID_CHARACTERS = 512
_NEVER_SUBMITTED = "0001-01-01"
_SPACES = re.compile(r"\s*([-:.TZ+])\s*")


class Payload(msgspec.Struct, frozen=True):
    """A delivery: its form, and the door-form event of it."""

    form: str
    event: dict[str, Any]


def may_be_signed(header: str | None, secrets: Iterable[str]) -> bool:
    """Whether there is a secret and a header of the right form: what can be told before a body is read."""
    return any(secrets) and header is not None and _SIGNATURE.fullmatch(header) is not None


def signed(body: bytes, header: str | None, secrets: Iterable[str]) -> bool:
    """Whether the signature over the raw body is by one of the secrets (two while one is being changed).

    ``sha256=`` and the standard base64 of HMAC-SHA256(secret, body); compared in constant time.
    """
    if header is None or not header.startswith(_PREFIX):
        return False
    given = header[len(_PREFIX) :].strip().encode()
    good = False
    for secret in secrets:
        if secret:
            wanted = base64.b64encode(hmac.new(secret.encode(), body, hashlib.sha256).digest())
            good |= hmac.compare_digest(wanted, given)
    return good


def sign(body: bytes, secret: str) -> str:
    """The header Typeform would send."""
    return _PREFIX + base64.b64encode(hmac.new(secret.encode(), body, hashlib.sha256).digest()).decode()


def item(body: bytes, settings: TypeformSettings) -> Item:
    """The one event of a delivery, or why it cannot be one."""
    came = read_json(Item(body, "body", UNREAD))
    return came if came.rejected is not None else _item(came, came.value, settings)


def items_of_file(file: IO[bytes], settings: TypeformSettings, form: str | None = None) -> Iterator[Item]:
    """The responses of a file: pages of the Responses API (``{"items": […]}``), their items, or webhook deliveries.

    Files are not signed: whoever reads them in vouches for them.

    Args:
        file: gzip or not.
        settings: of this connector.
        form: whose responses those are that do not say so themselves, as the API's do not.

    Raises:
        UsageError: such a response, and neither ``form`` nor a single known form. It is not guessed: with another id of
            the form, responses that came by webhook would count twice.
    """
    if form is not None and settings.forms and form not in settings.forms:
        raise UsageError(f"--form {form} is not in `[typeform] forms`: add it there, or name another")
    if form is None and len(settings.forms) == 1:
        form = settings.forms[0]
    for row in rows_of_file(file, "items"):
        if row.rejected is not None:
            yield row
        elif isinstance(row.value, dict) and "form_response" not in row.value:
            yield _of_api(row, row.value, settings, form)
        else:
            yield _item(row, row.value, settings)


def _item(came: Item, delivery: Any, settings: TypeformSettings) -> Item:
    try:
        payload = read(delivery, settings)
    except ValueError as error:
        return came.refused("malformed", f"no delivery of the documented shape: {error}")
    if settings.forms and payload.form not in settings.forms:
        detail = "the form is not in `[typeform] forms`: add it there, or switch its webhook off"
        return came.refused("unknown_form", detail)
    return came.read_as(payload.event)


def _of_api(row: Item, response: dict[str, Any], settings: TypeformSettings, form: str | None) -> Item:
    """An item of the Responses API, read as the webhook would have sent it."""
    token = next((t for t in (_text(response.get(n)) for n in ("token", "response_id", "landing_id")) if t), None)
    if token is None:
        return row.refused("malformed", "no response of the API: `token` is missing")
    form = _text(response.get("form_id")) or form
    if form is None:
        raise UsageError(
            f"{row.place}: a response that does not name its form. Say which with `--form ID` (it stands in the form's "
            "address), or name the one form in `[typeform] forms`"
        )
    kind = response.get("response_type")
    finished = kind == "completed" if isinstance(kind, str) else _usable_time(response.get("submitted_at")) is not None
    delivery = {
        "event_type": "form_response" if finished else "form_response_partial",
        "form_response": {**response, "form_id": form, "token": token},
    }
    found = _item(row, delivery, settings)
    if found.value is not None and any(_untyped(answer) for answer in _list(response.get("answers"))):
        found.value["revision"] = -1
    return found


def read(delivery: Any, settings: TypeformSettings) -> Payload:
    """A webhook delivery as a door-form event.

    Raises:
        ValueError: it is not of the documented shape; says which field, and no value.
    """
    kind = _object(delivery).get("event_type")
    if kind not in ("form_response", "form_response_partial"):
        raise ValueError("`event_type` is neither form_response nor form_response_partial")
    response = _object(delivery.get("form_response"))
    form, token = _required(response, "form_id"), _required(response, "token")
    hidden = Carried(_object(response.get("hidden")), settings.hidden)
    fields = _fields(_object(response.get("definition")))
    answers: list[dict[str, Any]] = []
    unknown: list[dict[str, Any]] = []
    given = response.get("answers") or []
    for answer in given if isinstance(given, list) else [given]:
        found = _answers(_object(answer), fields, settings)
        if found is not None:
            answers += found
        elif isinstance(answer, dict):
            unknown.append({name: content for name, content in answer.items() if name != "answer_url"})
        else:
            unknown.append({"type": type(answer).__name__})
    customer, courier = hidden.person("customer_id"), hidden.person("courier_id")
    # An unfilled `courier` with nobody else beside it is still an agent's form.
    agent = courier is not None or (hidden.filled("courier_id") and customer is None)
    event: dict[str, Any] = {
        "type": "response",
        "response_id": f"typeform:{form}:{token}",
        "occurred_at": _occurred_at(response),
        "respondent": "agent" if agent else "customer",
        "survey_id": form,
        "source": "typeform",
        "answers": answers,
        "partial": kind == "form_response_partial",
        "customer_id": customer,
        "courier_id": courier,
    }
    for name in ("delivery_id", "exposure_id"):
        link = hidden.link(name)
        if link is not None:
            event[name] = link
    language = next((text for text in hidden.values("language") if isinstance(text, str)), None)
    if language is not None:
        event["language"] = language[:35]
    event["extra"] = _extra(response, unknown)
    if not event["partial"] and any(_scale_of_field(field) for field in fields.values()):
        event["revision"] = 1
    return Payload(form, event)


def _untyped(answer: Any) -> bool:
    return not _text(_object(_object(answer).get("field")).get("type"))


def _extra(response: dict[str, Any], unknown: list[dict[str, Any]]) -> dict[str, Any]:
    """What an analyst may want besides the answers; hidden fields of unknown meaning are not among it."""
    variables = {}
    for variable in _list(response.get("variables")):
        name, kind = _object(variable).get("key"), _object(variable).get("type")
        if isinstance(name, str) and kind in ("number", "text") and kind in variable:
            variables[name] = variable[kind]
    extra = {
        "landed_at": response.get("landed_at"),
        # The API gives 0 for a form that scores nothing, the webhook nothing.
        "score": _object(response.get("calculated")).get("score") or None,
        "variables": variables or None,
        "unknown_answers": unknown or None,
    }
    return {name: value for name, value in extra.items() if value is not None}


def _fields(form: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The questions of a form's definition by their ids, those inside of groups too."""
    found: dict[str, dict[str, Any]] = {}
    pending = _list(form.get("fields"))[:]
    while pending:
        field = _object(pending.pop())
        if _text(field.get("id")):
            found[field["id"]] = field
        pending += _list(_object(field.get("properties")).get("fields"))
    return found


def _scale_of_field(field: dict[str, Any]) -> tuple[float, float] | None:
    """The ends of a question's scale, where the form's definition says how many steps it has.

    Stars begin with 1; an opinion scale with 0, unless ``start_at_one``.
    """
    kind, properties = field.get("type"), _object(field.get("properties"))
    steps, at_one = properties.get("steps"), properties.get("start_at_one")
    if kind not in _SCALES or isinstance(steps, bool) or not isinstance(steps, int) or not 2 <= steps <= _MOST_STEPS:
        return None
    low = 1.0 if kind == "rating" or at_one is True else 0.0
    return low, low + steps - 1


def _answers(
    answer: dict[str, Any], fields: dict[str, dict[str, Any]], settings: TypeformSettings
) -> list[dict[str, Any]] | None:
    """The answers of one answered field (none for personal data); None where type or value is not as documented."""
    kind = _text(answer.get("type"))
    field = _object(answer.get("field"))
    field_id = _text(field.get("id"))
    asked = fields.get(field_id, {})
    field_type = _text(field.get("type")) or _text(asked.get("type"))
    if kind in _PERSONAL or field_type in _PERSONAL_FIELDS:
        return []
    name = next((n for n in (_text(field.get("ref")), field_id) if 0 < len(n) <= _ID_CHARACTERS), None)
    if name is None:
        return None
    question: dict[str, Any] = {"question": name}
    value = answer.get(kind)
    if kind == "text" and isinstance(value, str):
        return [question | {"kind": "text", "text": value.rstrip()[:_TEXT_CHARACTERS]}]
    if kind == "boolean" and isinstance(value, bool):
        return [question | {"kind": "boolean", "value": float(value)}]
    if kind == "number" and isinstance(value, int | float) and not isinstance(value, bool):
        return _scored(question, value, field_type, _scale(name, field_id, field_type, asked, settings))
    if kind in ("choice", "choices") and isinstance(value, dict):
        return [question | {"kind": "choice", "label": label[:_TEXT_CHARACTERS]} for label in _labels(value)] or None
    return None


def _scale(
    name: str, field_id: str, field_type: str, asked: dict[str, Any], settings: TypeformSettings
) -> tuple[float, float] | None:
    """A question's own scale: by the settings, by its form's definition, else the one for all; None: not known."""
    if field_type == "nps":
        return 0.0, 10.0
    own = settings.questions.get(name) or settings.questions.get(field_id)
    if own is not None:
        return own.low, own.high
    if field_type not in _SCALES:
        return None
    found = _scale_of_field(asked)
    if found is None and settings.rating_low is not None and settings.rating_high is not None:
        return settings.rating_low, settings.rating_high
    return found


def _scored(
    question: dict[str, Any], number: float, field_type: str, scale: tuple[float, float] | None
) -> list[dict[str, Any]] | None:
    try:
        scored = question | {"kind": _NAMES.get(field_type, "number"), "value": float(number)}
    except OverflowError:
        return None
    return [scored if scale is None else scored | {"low": scale[0], "high": scale[1]}]


def _labels(choice: dict[str, Any]) -> list[str]:
    """Labels, failing those refs, failing those ids; and what was typed as "other". The arrays need not be parallel."""
    found: list[str] = []
    for one, several in (("label", "labels"), ("ref", "refs"), ("id", "ids")):
        candidates = [choice.get(one), *_list(choice.get(several))]
        found = [label for label in candidates if isinstance(label, str) and label]
        if found:
            break
    if isinstance(choice.get("other"), str) and choice["other"]:
        # An "other" choice may carry the id of its option, but no label: then the words alone are the answer.
        found = [*(found if choice.get("label") or choice.get("labels") else []), choice["other"]]
    return found


def _occurred_at(response: dict[str, Any]) -> str:
    """``submitted_at``, on a partial delivery ``landed_at``; without the spaces that some have (``…T05: 18: 14Z``)."""
    for name in ("submitted_at", "landed_at"):
        text = _usable_time(response.get(name))
        if text is not None:
            return text if len(text.split(None, 1)) == 1 else _SPACES.sub(r"\1", text).replace(" ", "T", 1)
    raise ValueError("`submitted_at` and `landed_at` are missing")


def _usable_time(text: Any) -> str | None:
    usable = isinstance(text, str) and text.strip() and not text.startswith(_NEVER_SUBMITTED)
    return text.strip() if usable else None


def _required(response: dict[str, Any], name: str) -> str:
    value = response.get(name)
    if not isinstance(value, str) or not value:
        raise ValueError(f"`form_response.{name}` is missing")
    return value


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
