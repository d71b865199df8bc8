"""The seven event types as they stand in the log, their topics, keys and identity (docs/contract.md, Events).

A sender writes the *door form*: the same fields with raw ``customer_id`` / ``courier_id`` instead of the pseudonyms
``subject`` / ``courier``, and without the door's stamps. ``door_schema`` and ``log_schema`` give a JSON Schema of each.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from hashlib import sha256 as _sha256
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import msgspec
from msgspec import Meta

from edgeloop.clock import to_us
from edgeloop.personal_names import without_ids

Timestamp = Annotated[datetime, Meta(tz=True)]
Id = Annotated[str, Meta(min_length=1, max_length=512)]
Slug = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:-]*$", max_length=128)]
Text = Annotated[str, Meta(max_length=100_000)]
Currency = Annotated[str, Meta(pattern=r"^[A-Z]{3}$")]
LARGEST_INTEGER = 2**53
"""Beyond it JSON readers disagree, and beyond 2**63 the stores have no column for it."""

Inside = Literal["touchpoint", "placement", "site", "device", "zone", "segment", "courier"]
"""A field of exposures that says where or for whom one was: what people can be drawn inside of."""
RESERVED_ARMS = ("stable", "canary", "holdout")


class _Event(msgspec.Struct, kw_only=True, omit_defaults=True, tag_field="type"):
    """Common to all: the moment it happened, the door's stamps, and what the sender added of its own."""

    topic: ClassVar[str]
    key_field: ClassVar[str]
    id_field: ClassVar[str]

    v: Annotated[int, Meta(ge=1, le=LARGEST_INTEGER)] = 1
    occurred_at: Timestamp
    occurred_at_raw: Timestamp | None = None
    """The device's own time, where the door corrected it; absent where it did not."""
    received_at: Timestamp | None = None
    revision: Annotated[int, Meta(ge=-LARGEST_INTEGER, le=LARGEST_INTEGER)] = 0
    anonymous: bool = False
    """No usable id came with it: stored under a pseudonym of its own, never matched."""
    extra: dict[str, Any] = {}

    @property
    def key(self) -> str:
        """The join key (``subject``, or ``site`` / ``model_id`` for telemetry and changes)."""
        value: str = getattr(self, self.key_field)
        return value

    @property
    def id(self) -> str:
        """The id under which a second delivery is recognised."""
        value: str = getattr(self, self.id_field)
        return value


class Exposure(_Event, tag="exposure"):
    """A gateway asked a model for a personalisation; logged in every arm, before the answer is known."""

    topic = "edge.exposures"
    key_field = "subject"
    id_field = "exposure_id"

    exposure_id: Id
    subject: Id
    touchpoint: Id
    model_id: Id
    model_version: Id
    arm: Slug | None = None
    rollout_id: Id | None = None
    latency_ms: Annotated[float, Meta(ge=0)] | None = None
    error: Text | None = None
    fallback: bool | None = None
    features: Annotated[int, Meta(ge=0, le=LARGEST_INTEGER)] | None = None
    placement: Literal["edge", "cloud"] | None = None
    site: Id | None = None
    device: Id | None = None
    zone: Id | None = None
    segment: Id | None = None
    delivery_id: Id | None = None
    courier: Id | None = None
    profile_version: Id | None = None
    energy_mj: Annotated[float, Meta(ge=0)] | None = None

    @property
    def shown(self) -> bool:
        """Whether a person can have seen it: not held out, not fallen back, not failed."""
        return self.arm != "holdout" and not self.fallback and not self.error


AnswerKind = Literal["nps", "csat", "ces", "rating", "choice", "boolean", "number", "text"]


class Answer(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One answered question. ``value`` is the number of it (a boolean's 1 or 0); ``text`` is free text, scrubbed."""

    question: Id
    kind: AnswerKind
    value: float | None = None
    low: float | None = None
    high: float | None = None
    label: Text | None = None
    text: Text | None = None


LARGEST_NPS = 10


def has_its_kind(answer: Answer) -> bool:
    """Whether the value is one that its kind has: 1 or 0 of a boolean, 0 to 10 of nps, any of the others."""
    value = answer.value
    if value is None or answer.kind not in ("boolean", "nps"):
        return True
    return value in (0.0, 1.0) if answer.kind == "boolean" else 0 <= value <= LARGEST_NPS


def is_on_its_scale(answer: Answer) -> bool:
    """Whether the value lies on the question's scale, where both its ends are given."""
    if answer.value is None or answer.low is None or answer.high is None:
        return True
    return answer.low <= answer.value <= answer.high


class Response(_Event, tag="response"):
    """One person's answers to one survey."""

    topic = "feedback.responses"
    key_field = "subject"
    id_field = "response_id"

    response_id: Id
    subject: Id
    respondent: Literal["customer", "agent"]
    survey_id: Id
    source: Id
    answers: list[Answer]
    delivery_id: Id | None = None
    exposure_id: Id | None = None
    language: Annotated[str, Meta(max_length=35)] | None = None
    partial: bool = False


class Engagement(_Event, tag="engagement"):
    """Something a customer did."""

    topic = "engagement.events"
    key_field = "subject"
    id_field = "event_id"

    event_id: Id
    subject: Id
    name: Id
    source: Id
    value: float | None = None
    currency: Currency | None = None
    delivery_id: Id | None = None
    exposure_id: Id | None = None


class Profile(_Event, tag="profile"):
    """The version of a customer's profile that the cloud, or one edge site, holds."""

    topic = "profile.versions"
    key_field = "subject"
    id_field = "profile_id"

    profile_id: Id
    subject: Id
    side: Literal["cloud", "edge"]
    profile_version: Id
    site: Id | None = None
    fields: dict[str, Any] = {}


class Telemetry(_Event, tag="telemetry"):
    """What an edge site tells of itself."""

    topic = "edge.telemetry"
    key_field = "site"
    id_field = "telemetry_id"

    telemetry_id: Id
    site: Id
    kind: Literal["route_update", "message", "profile_sync", "device"]
    message_id: Id | None = None
    message_sent_at: Timestamp | None = None
    message_delivered_at: Timestamp | None = None
    battery: float | None = None
    cpu: float | None = None
    free_mb: float | None = None
    energy_mj: Annotated[float, Meta(ge=0)] | None = None


class Change(_Event, tag="change"):
    """A model went from one version to another, or a stage of that began."""

    topic = "model.changes"
    key_field = "model_id"
    id_field = "change_id"

    change_id: Id
    model_id: Id
    to_version: Id
    kind: Literal["canary", "staged", "switch", "rollback"]
    from_version: Id | None = None
    title: Text | None = None
    rollout_id: Id | None = None
    ended_at: Timestamp | None = None
    allocation: dict[str, Annotated[float, Meta(ge=0)]] = {}
    unit: Literal["subject", "courier", "zone", "zone_time"] = "subject"
    assignment: Literal["random", "chosen"] | None = None
    planned_units: Annotated[int, Meta(ge=1, le=LARGEST_INTEGER)] | None = None
    planned_stages: Annotated[int, Meta(ge=1, le=LARGEST_INTEGER)] | None = None
    zones: list[Id] = []
    features: list[Id] = []
    shares_capacity: bool = False
    owner: Text | None = None
    note: Text | None = None
    cluster: Inside | None = None
    """The field whose values are the clusters that units were drawn inside of: those of one are not independent."""
    strata: list[Inside] = []
    """The fields within whose values the draw was made, with shares that may differ from one to the next."""
    block_h: Annotated[float, Meta(gt=0, le=8_784)] | None = None
    """Of zones by time: hours of a block, in which a zone has one version."""
    starts: Timestamp | None = None
    """When the first block starts; the others follow one another. Absent: when the change begins."""


Event = Exposure | Response | Engagement | Profile | Telemetry | Change

EVENT_TYPES: dict[str, type[Event]] = {
    "exposure": Exposure,
    "response": Response,
    "engagement": Engagement,
    "profile": Profile,
    "telemetry": Telemetry,
    "change": Change,
}
STORED_TOPICS: tuple[str, ...] = tuple(cls.topic for cls in EVENT_TYPES.values())
BACKFILL = "backfill."
"""Before a topic's name: the same events, years of them perhaps, which must not delay those of today."""
BACKFILL_TOPICS: tuple[str, ...] = tuple(BACKFILL + topic for topic in STORED_TOPICS)
_TYPES = {cls.topic: name for name, cls in EVENT_TYPES.items()}
TYPES_OF_TOPICS: dict[str, str] = _TYPES | {BACKFILL + topic: name for topic, name in _TYPES.items()}
DEAD_LETTERS_TOPIC = "dead.letters"
ALERTS_TOPIC = "loop.alerts"
UPDATES_TOPIC = "attribution.updates"

OTHER_TIMES = {"telemetry": ("message_sent_at", "message_delivered_at"), "change": ("ended_at", "starts")}
"""Times of a type beside the moment it happened; all of them may be absent."""
STAMPS = frozenset({"occurred_at_raw", "received_at", "anonymous"})
"""What only a door may set."""

_decoder: msgspec.json.Decoder[Event] = msgspec.json.Decoder(Event)
_encoder = msgspec.json.Encoder()
_canonical = msgspec.json.Encoder(order="sorted").encode


decode: Callable[[bytes], Event] = _decoder.decode
"""The event of one log record. (The decoder's own method: a function around it costs a tenth of the time.)

Raises:
    msgspec.DecodeError: not JSON, or (``msgspec.ValidationError``) not an event of the contract.
"""


def encode(event: Event) -> bytes:
    """The log record of an event."""
    return _encoder.encode(event)


def hide_people(event: Event) -> None:
    """Take out of what the contract does not know what stands under names for a person's id.

    A door has done so already; producers of a company's own, and older versions, have not.
    """
    if event.extra:
        event.extra = without_ids(event.extra)
    if type(event) is Profile and event.fields:
        event.fields = without_ids(event.fields)


def event_type(event: Event) -> str:
    """The contract's name of the event's type, e.g. ``exposure``."""
    return str(type(event).__struct_config__.tag)


class Stamps(NamedTuple):
    """The times of an event in µs, and the sha256 of its canonical body."""

    at_us: int
    raw_us: int
    received_us: int | None
    body_sha256: bytes


def stamped(event: Event) -> Stamps:
    """When an event happened, and which words it is."""
    return Stamps(*times_us(event), body_sha256(event))


def times_us(event: Event) -> tuple[int, int, int | None]:
    """When it happened, the same by the sender's own clock, and when a door took it in."""
    at_us = to_us(event.occurred_at)
    raw, received = event.occurred_at_raw, event.received_at
    return at_us, at_us if raw is None else to_us(raw), None if received is None else to_us(received)


def body_sha256(event: Event) -> bytes:
    """Of the canonical body: the sender's words without the door's stamps, keys sorted, compact UTF-8 JSON."""
    at, raw, received = event.occurred_at, event.occurred_at_raw, event.received_at
    event.received_at = None
    if raw is not None:
        event.occurred_at, event.occurred_at_raw = raw, None
    digest = _sha256(_canonical(event)).digest()
    event.received_at = received
    if raw is not None:
        event.occurred_at, event.occurred_at_raw = at, raw
    return digest


def log_schema(name: str) -> dict[str, Any]:
    """JSON Schema (2020-12) of an event type as it stands in the log."""
    cls = EVENT_TYPES[name]
    (_,), components = msgspec.json.schema_components([cls], ref_template="#/$defs/{name}")
    root = components.pop(cls.__name__)
    schema: dict[str, Any] = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"{name} (log form)",
        **root,
    }
    if components:
        schema["$defs"] = components
    return schema


def door_schema(name: str) -> dict[str, Any]:
    """JSON Schema (2020-12) of an event type as a sender writes it."""
    cls = EVENT_TYPES[name]
    schema = log_schema(name)
    schema["title"] = f"{name} (door form)"
    properties: dict[str, Any] = {k: v for k, v in schema["properties"].items() if k not in STAMPS}
    required: list[str] = [k for k in schema["required"] if k not in STAMPS]
    raw_id: dict[str, Any] = {"anyOf": [{"type": "string"}, {"type": "integer"}, {"type": "null"}]}
    if cls.key_field == "subject":
        del properties["subject"]
        required.remove("subject")
        properties["customer_id"] = {
            **raw_id,
            "description": "raw customer id; leaves the door only as a pseudonym",
        }
    if name in ("exposure", "response"):
        properties.pop("courier", None)
        properties["courier_id"] = {
            **raw_id,
            "description": "raw delivery agent id; leaves the door only as a pseudonym",
        }
    if name == "response":
        number = schema["$defs"]["Answer"]["properties"]["value"]
        schema["$defs"]["Answer"]["properties"]["value"] = {"anyOf": [*number["anyOf"], {"type": "boolean"}]}

        # A door takes true and false too, as the value of a boolean.
        def rule(name: str, holds: Any, then: str, must: Any) -> dict[str, Any]:
            return {"if": {"properties": {name: holds}, "required": [name]}, "then": {"properties": {then: must}}}

        schema["$defs"]["Answer"]["allOf"] = [
            rule("value", {"type": "boolean"}, "kind", {"const": "boolean"}),
            rule("kind", {"const": "boolean"}, "value", {"enum": [True, False, 0, 1, None]}),
            rule("kind", {"const": "nps"}, "value", {"minimum": 0, "maximum": LARGEST_NPS}),
        ]
    return schema | {"properties": properties, "required": required}
