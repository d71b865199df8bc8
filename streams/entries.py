"""What a worker remembers of the events of one join key: small records, appended one after the other.

An entry holds what attribution reads of an event and where its rows are, so that a batch never reads the wide tables
back, except to tell two bodies of one id apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from zlib import crc32

import msgspec

KINDS = ("exposure", "response", "engagement", "profile", "telemetry", "change")
KIND_NUMBERS = {name: number for number, name in enumerate(KINDS)}
EXPOSURE = KIND_NUMBERS["exposure"]
RESPONSE = KIND_NUMBERS["response"]
ENGAGEMENT = KIND_NUMBERS["engagement"]


class Context(msgspec.Struct, frozen=True, array_like=True):
    """What was shown where: the same for very many exposures, so that an entry holds only its number."""

    model_id: str
    model_version: str
    touchpoint: str
    arm: str | None
    rollout_id: str | None


class _Entry(msgspec.Struct, array_like=True, gc=False):
    pass


class Shown(_Entry, tag=0):
    """An exposure that outcomes of this key can be credited to."""

    exposure_id: str
    at_us: int
    rowid: int
    context: int
    delivery_id: str | None


class Unseen(_Entry, tag=1):
    """An event that attribution does not look at: not shown, of nobody, or of another type."""

    kind: int
    id: str
    at_us: int
    rowid: int


class Asked(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One outcome: an engagement event, or one answer of a response."""

    suffix: str
    """Of the outcome's id, after the event's."""
    name: str
    value: float | None
    currency: str | None


class Outcome(_Entry, tag=2):
    """An engagement event or a response."""

    kind: int
    id: str
    at_us: int
    rowid: int
    source: str
    agent: bool
    """Whether a delivery agent answered, who is matched on what it carried."""
    matchable: bool
    """False for an outcome of nobody we know: it keeps its unattributed rows."""
    delivery_id: str | None
    link: str | None
    asked: list[Asked]
    answers_rowid: int = 0
    answers: int = 0
    attributions_rowid: int = 0
    attributions: int = 0
    ignored: bool = False
    """Whether its link names no shown exposure of its own key."""

    @property
    def respondent(self) -> str:
        """As the tables call it."""
        return "agent" if self.agent else "customer"

    @property
    def outcome_type(self) -> str:
        """As the tables call it."""
        return "answer" if self.kind == RESPONSE else "engagement"


class Carried(_Entry, tag=3):
    """On a courier's key: an exposure that is stored under its customer's key."""

    exposure_id: str
    at_us: int
    subject: str
    context: int | None
    """None where it was not shown."""
    delivery_id: str | None
    revision: int
    raw_us: int
    body_sha256: bytes

    @property
    def rank(self) -> tuple[int, int, bytes]:
        """Of several customers' exposures with one id the smallest stands for it (docs/meaning.md, Same id again)."""
        return (-self.revision, self.raw_us, self.body_sha256)


class Gone(_Entry, tag=4):
    """On a courier's key: it no longer carries a customer's exposure."""

    exposure_id: str
    at_us: int
    subject: str


class Lost(_Entry, tag=5):
    """The hash of a body that lost, so that a second delivery of it is a duplicate."""

    kind: int
    id: str
    at_us: int
    body_sha256: bytes


Entry = Shown | Unseen | Outcome | Carried | Gone | Lost
Identified = Shown | Unseen | Outcome

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[list[Entry]] = msgspec.msgpack.Decoder(list[Entry])
_ARRAY_32 = b"\xdd"


def pack(entries: Sequence[Entry]) -> bytes:
    """The entries one after the other, without the head of the list, so that more can be appended."""
    packed = _encoder.encode(entries)
    n = len(entries)
    return packed[1 if n < 16 else 3 if n < 1 << 16 else 5 :]


def unpack(packed: bytes | bytearray, n: int) -> list[Entry]:
    """The inverse of `pack`, of all that was appended."""
    return _decoder.decode(_ARRAY_32 + n.to_bytes(4, "big") + packed)


def identity_hash(kind: int, event_id: str) -> bytes:
    """Four bytes that say "may be known"; the entries say whether it is."""
    return crc32(event_id.encode(), kind).to_bytes(4, "little")


def link_hash(exposure_id: str) -> bytes:
    """The same for an exposure that an outcome names and nobody has seen yet."""
    return crc32(exposure_id.encode(), 101).to_bytes(4, "little")


def carried_hash(exposure_id: str) -> bytes:
    """The same for an exposure on a courier's key."""
    return crc32(exposure_id.encode(), 102).to_bytes(4, "little")


def id_of(entry: Identified) -> tuple[int, str]:
    """(kind, id): identity within the key."""
    return (EXPOSURE, entry.exposure_id) if isinstance(entry, Shown) else (entry.kind, entry.id)
