"""What a worker remembers of one join key, packed by time bucket.

An entry holds what deciding about the next delivery of the same id takes (hash, rank, correction), where its rows are
(rowids), and what attribution reads of it, so that a batch never reads the wide tables back.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from edgeloop.clock import DAY_US, to_us
from edgeloop.events import Engagement, Event, Exposure, Response
from streams.attribution import Touch

BUCKET_US = 28 * DAY_US
"""Longer than the longest default window, so that an outcome and its causes lie in at most two buckets."""


class Body(msgspec.Struct, array_like=True, frozen=True):
    """Of one delivered body, what decides which of several wins (docs/meaning.md, Same id again)."""

    hash: bytes
    raw_us: int
    revision: int
    partial: bool
    correction_us: int

    @classmethod
    def of(cls, event: Event, body_hash: bytes) -> Body:
        partial = isinstance(event, Response) and event.partial
        return cls(body_hash, event.raw_us, event.revision, partial, event.correction_us)

    @property
    def rank(self) -> tuple[bool, int, int, bytes]:
        """The smaller wins: final over partial, highest revision, earliest raw time, smallest hash."""
        return (self.partial, -self.revision, self.raw_us, self.hash)

    @property
    def clock_rank(self) -> tuple[int, int]:
        """Among deliveries of one body, the smaller tells the time: smallest correction, then the earlier."""
        return (abs(self.correction_us), self.correction_us)


class Asked(msgspec.Struct, array_like=True, frozen=True):
    """One outcome: an engagement event, or one answer of a response."""

    outcome_id: str
    name: str
    value: float | None
    currency: str | None


class Entry(msgspec.Struct, array_like=True, kw_only=True):
    """One stored event of a key. ``kind`` is the event type; touches and outcomes have more than the others."""

    kind: str
    id: str
    at_us: int
    rowid: int
    body: Body
    losers: list[bytes] = []
    """Hashes of bodies that lost, so that a second delivery of one is a duplicate."""
    touch: Touch | None = None
    """Of an exposure that was shown and can match on this key."""
    courier: str | None = None
    """Of an exposure: the delivery agent whose key it touches too."""
    courier_touch: Touch | None = None
    """Of an exposure with a courier: the same, for matching on the courier's key (an anonymous customer's too)."""
    outcomes: list[Asked] = []
    source: str = ""
    respondent: str = "customer"
    delivery_id: str | None = None
    link: str | None = None
    matchable: bool = True
    """False for an outcome of nobody we know: it keeps its unattributed rows."""
    answer_rowids: list[int] = []
    attribution_rowids: list[int] = []

    @property
    def key(self) -> tuple[str, str]:
        """Identity within the join key."""
        return (self.kind, self.id)


class Carried(msgspec.Struct, array_like=True, frozen=True):
    """On a courier's key: an exposure that is stored under its customer's key."""

    subject: str
    exposure_id: str
    body: Body
    touch: Touch | None

    @property
    def at_us(self) -> int:
        """When it happened, the device's clock corrected."""
        return self.body.raw_us + self.body.correction_us


class Bucket(msgspec.Struct, array_like=True):
    """The packed content of one state row."""

    entries: list[Entry]
    carried: list[Carried]


_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Bucket] = msgspec.msgpack.Decoder(Bucket)


def bucket_of(at_us: int) -> int:
    """The number of the time bucket."""
    return at_us // BUCKET_US


class KeyState:
    """The entries of one join key; remembers which buckets changed."""

    def __init__(self, key: str, rows: Iterable[tuple[int, bytes]] = ()) -> None:
        self.key = key
        self.entries: dict[tuple[str, str], Entry] = {}
        self._carried: dict[str, dict[str, Carried]] = {}  # exposure id → customer's key → exposure
        self._dirty: set[int] = set()
        self._stored: set[int] = set()
        for number, blob in rows:
            self._stored.add(number)
            bucket = _decoder.decode(blob)
            for entry in bucket.entries:
                self.entries[entry.key] = entry
            for carried in bucket.carried:
                self._carried.setdefault(carried.exposure_id, {})[carried.subject] = carried

    def put(self, entry: Entry) -> None:
        """Add or replace an entry."""
        old = self.entries.get(entry.key)
        if old is not None:
            self._dirty.add(bucket_of(old.at_us))
        self.entries[entry.key] = entry
        self._dirty.add(bucket_of(entry.at_us))

    def touch_bucket(self, entry: Entry) -> None:
        """Note that an entry was changed in place (not its time)."""
        self._dirty.add(bucket_of(entry.at_us))

    def carried(self, exposure_id: str) -> Iterable[Carried]:
        """The exposures of that id that this courier carried; more than one where customers share an id."""
        return self._carried.get(exposure_id, {}).values()

    def put_carried(self, carried: Carried) -> None:
        """Add or replace an exposure of this courier."""
        self.drop_carried(carried.subject, carried.exposure_id)
        self._carried.setdefault(carried.exposure_id, {})[carried.subject] = carried
        self._dirty.add(bucket_of(carried.at_us))

    def drop_carried(self, subject: str, exposure_id: str) -> None:
        """Forget an exposure of this courier."""
        old = self._carried.get(exposure_id, {}).pop(subject, None)
        if old is not None:
            self._dirty.add(bucket_of(old.at_us))

    def packed(self) -> Iterator[tuple[int, bytes | None]]:
        """(bucket, blob, or None where nothing is left) of every bucket that changed."""
        if not self._dirty:
            return
        buckets: dict[int, Bucket] = {number: Bucket([], []) for number in self._dirty}
        for entry in self.entries.values():
            bucket = buckets.get(bucket_of(entry.at_us))
            if bucket is not None:
                bucket.entries.append(entry)
        for same_id in self._carried.values():
            for carried in same_id.values():
                bucket = buckets.get(bucket_of(carried.at_us))
                if bucket is not None:
                    bucket.carried.append(carried)
        for number in sorted(buckets):
            bucket = buckets[number]
            if bucket.entries or bucket.carried:
                yield number, _encoder.encode(bucket)
            elif number in self._stored:
                yield number, None

    def own_touches(self) -> list[Touch]:
        """What a customer's outcomes on this key can be credited to."""
        return [e.touch for e in self.entries.values() if e.touch is not None]

    def carried_touches(self) -> list[Touch]:
        """What a delivery agent's answers on this key can be credited to.

        A courier's key may see one exposure id from two customers; the order of bodies decides which stands for it.
        """
        winners = (min(c.values(), key=lambda carried: carried.body.rank) for c in self._carried.values() if c)
        return [winner.touch for winner in winners if winner.touch is not None]


def entry_of(event: Event, kind: str, body: Body, rowid: int, outcomes: list[Asked]) -> Entry:
    """The entry of an event about to be stored."""
    entry = Entry(kind=kind, id=event.id, at_us=to_us(event.occurred_at), rowid=rowid, body=body)
    if isinstance(event, Exposure):
        touch = _touch(event, entry.at_us) if event.shown else None
        entry.touch = None if event.anonymous else touch
        entry.courier = event.courier
        entry.courier_touch = touch if event.courier else None
    elif isinstance(event, Response | Engagement):
        entry.outcomes = outcomes
        entry.source = event.source
        entry.delivery_id = event.delivery_id
        entry.link = event.exposure_id
        entry.matchable = not event.anonymous
        if isinstance(event, Response):
            entry.respondent = event.respondent
    return entry


def _touch(event: Exposure, at_us: int) -> Touch:
    return Touch(
        at_us=at_us,
        exposure_id=event.exposure_id,
        model_id=event.model_id,
        model_version=event.model_version,
        touchpoint=event.touchpoint,
        arm=event.arm,
        rollout_id=event.rollout_id,
        delivery_id=event.delivery_id,
    )
