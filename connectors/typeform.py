"""Typeform webhooks: signature, and one response of a form as our ``response`` event.

Shapes and rules: Typeform's developer pages "Example payload" and "Secure your webhooks".
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from connectors.intake import Item, Rejected
from edgeloop.settings import TypeformSettings

SIGNATURE_HEADER = "Typeform-Signature"
_PREFIX = "sha256="
# Answers that are personal data or money, whatever the question was meant for.
_PERSONAL = frozenset({"email", "phone_number", "url", "file_url", "payment", "date"})
_SCALES = frozenset({"rating", "opinion_scale"})
_NAMES = {"nps": "nps", "rating": "rating", "opinion_scale": "rating"}
_SPACES = re.compile(r"\s+")


class Payload(msgspec.Struct, frozen=True):
    """A delivery: its form, and the door-form event of it."""

    form: str
    event: dict[str, Any]


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
    try:
        payload = read(msgspec.json.decode(body), settings)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return Item(body, "body", rejected=Rejected("malformed", "this is no JSON"))
    except (KeyError, TypeError, ValueError) as error:
        detail = f"no form_response of the documented shape: {type(error).__name__}"
        return Item(body, "body", rejected=Rejected("malformed", detail))
    if settings.forms and payload.form not in settings.forms:
        detail = "the form is not in `[typeform] forms`: add it there, or switch its webhook off"
        return Item(body, "body", rejected=Rejected("unknown_form", detail))
    return Item(body, "body", value=payload.event)


def read(delivery: dict[str, Any], settings: TypeformSettings) -> Payload:
    """A webhook delivery as a door-form event.

    Raises:
        KeyError, TypeError, ValueError: it is not of the documented shape.
    """
    partial = delivery["event_type"] == "form_response_partial"
    if not partial and delivery["event_type"] != "form_response":
        raise ValueError("event_type")
    response = delivery["form_response"]
    form, token = _text(response["form_id"]), _text(response["token"])
    hidden: dict[str, Any] = response.get("hidden") or {}
    types = {f.get("id"): f.get("type") for f in (response.get("definition") or {}).get("fields") or []}
    answers: list[dict[str, Any]] = []
    unknown: list[str] = []
    for answer in response.get("answers") or []:
        found = _answers(answer, types, settings)
        if found is None:
            unknown.append(_text(answer.get("type", "")))
        else:
            answers += found
    agent = bool(hidden.get("courier"))
    event: dict[str, Any] = {
        "type": "response",
        "response_id": f"typeform:{form}:{token}",
        "occurred_at": _time(response.get("submitted_at") or response["landed_at"]),
        "respondent": "agent" if agent else "customer",
        "survey_id": form,
        "source": "typeform",
        "answers": answers,
        "partial": partial,
        "customer_id": hidden.get("cid"),
        "courier_id": hidden.get("courier"),
    }
    for name in ("delivery_id", "exposure_id"):
        if isinstance(hidden.get(name), str) and hidden[name]:
            event[name] = hidden[name]
    if isinstance(hidden.get("language"), str):
        event["language"] = hidden["language"][:35]
    extra = {
        "landed_at": response.get("landed_at"),
        "score": (response.get("calculated") or {}).get("score"),
        "ending": (response.get("ending") or {}).get("ref"),
        "unknown_answers": sorted(unknown) or None,
    }
    event["extra"] = {name: value for name, value in extra.items() if value is not None}
    return Payload(form, event)


def _answers(answer: dict[str, Any], types: dict[Any, Any], settings: TypeformSettings) -> list[dict[str, Any]] | None:
    """The answers of one answered field (none for personal data); None for a type nobody has documented."""
    field = answer["field"]
    question = {"question": _text(field.get("ref") or field["id"])}
    kind = answer["type"]
    if kind in _PERSONAL:
        return []
    if kind == "text":
        return [question | {"kind": "text", "text": str(answer["text"]).rstrip("\n")}]
    if kind == "boolean":
        return [question | {"kind": "boolean", "value": 1.0 if answer["boolean"] else 0.0}]
    if kind == "number":
        field_type = field.get("type") or types.get(field.get("id"))
        scored: dict[str, Any] = question | {
            "kind": _NAMES.get(str(field_type), "number"),
            "value": float(answer["number"]),
        }
        if field_type in _SCALES:
            scored |= {"low": settings.rating_low, "high": settings.rating_high}
        elif field_type == "nps":
            scored |= {"low": 0.0, "high": 10.0}
        return [scored]
    if kind == "choice":
        return [question | {"kind": "choice", "label": label} for label in _labels(answer["choice"])]
    if kind == "choices":
        return [question | {"kind": "choice", "label": label} for label in _labels(answer["choices"])]
    return None


def _labels(choice: dict[str, Any]) -> Sequence[str]:
    """Labels, what was typed under "other", or failing those the refs; the arrays need not be parallel."""
    labels = [choice["label"]] if "label" in choice else list(choice.get("labels") or choice.get("refs") or [])
    if choice.get("other"):
        labels.append(choice["other"])
    return [_text(label) for label in labels]


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("text")
    return value


def _time(value: Any) -> str:
    """The time without the spaces that some deliveries have in it (``…T05: 18: 14Z``)."""
    return _SPACES.sub("", _text(value))
