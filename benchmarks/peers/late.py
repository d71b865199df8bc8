"""The late scenario: what each engine loses and gets wrong when devices were offline. Truth by brute force.

20,000 exposures and 10,000 outcomes of 2,000 customers over 30 days. Of the exposures 10 % arrive hours to 9 days late,
nearly all after their outcomes; 5 % of all events are delivered twice; 5 % of the outcomes arrive up to a day late, so
that newer exposures came first. Everything is appended in order of arrival while the engine runs: what is replayed from
a full topic hides the lateness, because engines then read both topics by time.

The question is last touch: per outcome and model, the last exposure within 72 h before it. Kafka Streams, Quix and
Faust's table emit every pair, and their users reduce the pairs by outcome and model. Both ways of that are scored:

* ``latest``: the pair with the latest exposure stands. It takes knowing that pairs come out of order.
* ``last``: the pair that was emitted last stands, as a compacted topic or an upsert has it.

*Lost* are matches of the truth that were not produced, *wrong* those produced that are not in the truth (an outcome
with another exposure than the true one is both). *Repeats* are pairs emitted more than once: whoever sums pairs instead
of reducing them counts these again.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import msgspec

from edgeloop.events import Engagement, Event, Exposure, encode
from edgeloop.log.base import Entry

EXPOSED, OUTCOMES, CUSTOMERS = 20_000, 10_000, 2_000
WINDOW_H = 72.0
_START = datetime(2026, 3, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)
_HOUR_MS = 3_600_000
_DAYS = 30
_LATE, _MOST_LATE_H = 0.10, 9 * 24
_TWICE = 0.05
_LATE_OUTCOMES = 0.05
_MODELS = ("eta-promise", "slot-offer", "rebooking")


class Arrival(NamedTuple):
    """An event, and when the log took it."""

    at_ms: int
    event: Exposure | Engagement


class Match(NamedTuple):
    """One outcome is credited to one exposure of one model."""

    outcome: str
    model: str
    exposure: str


class Pair(NamedTuple):
    """What a peer emitted, in the order in which it did."""

    outcome: str
    model: str
    exposure: str
    exposure_ms: int

    @property
    def match(self) -> Match:
        """Without the time."""
        return Match(self.outcome, self.model, self.exposure)


class Score(NamedTuple):
    """Against a truth of so many matches."""

    matches: int
    lost: int
    wrong: int


def arrivals(
    exposed: int = EXPOSED, outcomes: int = OUTCOMES, customers: int = CUSTOMERS, *, seed: int = 11
) -> list[Arrival]:
    """All deliveries, in order of arrival."""
    rng = random.Random(seed)
    keys = [f"{rng.getrandbits(130):026x}"[:26].translate(_TO_BASE32) for _ in range(customers)]
    found: list[Arrival] = []

    def deliver(event: Exposure | Engagement, late_ms: int) -> None:
        at = round((event.occurred_at - _START) / _MS) + late_ms
        found.append(Arrival(at, event))
        if rng.random() < _TWICE:
            found.append(Arrival(at + rng.randrange(1, 24 * _HOUR_MS), event))

    for n in range(exposed):
        late = rng.randrange(_HOUR_MS, _MOST_LATE_H * _HOUR_MS) if rng.random() < _LATE else rng.randrange(2_000)
        deliver(
            Exposure(
                exposure_id=f"x-{n:06d}",
                subject=rng.choice(keys),
                occurred_at=_moment(rng),
                touchpoint="app_card",
                model_id=rng.choice(_MODELS),
                model_version="2.0",
                arm="canary",
            ),
            late,
        )
    for n in range(outcomes):
        late = rng.randrange(_HOUR_MS, 24 * _HOUR_MS) if rng.random() < _LATE_OUTCOMES else rng.randrange(2_000)
        deliver(
            Engagement(
                event_id=f"g-{n:06d}",
                subject=rng.choice(keys),
                occurred_at=_moment(rng),
                name="order_placed",
                source="app",
                value=20.0,
                currency="EUR",
            ),
            late,
        )
    return sorted(found, key=lambda arrival: arrival.at_ms)


def truth(events: Iterable[Event], window_h: float = WINDOW_H) -> set[Match]:
    """Of every outcome and model the last exposure within the window before it; equal times by id.

    Each exposure is held against each outcome of its customer. The same id again counts once.
    """
    once = {(type(event), event.id): event for event in events}
    exposures: dict[str, list[Exposure]] = {}
    for event in once.values():
        if isinstance(event, Exposure):
            exposures.setdefault(event.subject, []).append(event)
    window = timedelta(hours=window_h)
    found = set()
    for outcome in once.values():
        if not isinstance(outcome, Engagement):
            continue
        last: dict[str, Exposure] = {}
        for one in exposures.get(outcome.subject, ()):
            if outcome.occurred_at - window <= one.occurred_at <= outcome.occurred_at:
                so_far = last.get(one.model_id)
                if so_far is None or (one.occurred_at, one.exposure_id) > (so_far.occurred_at, so_far.exposure_id):
                    last[one.model_id] = one
        found |= {Match(outcome.event_id, model, one.exposure_id) for model, one in last.items()}
    return found


def latest(pairs: Iterable[Pair]) -> list[Match]:
    """Of each outcome and model the pair with the latest exposure."""
    return _reduced(pairs, lambda new, old: (new.exposure_ms, new.exposure) > (old.exposure_ms, old.exposure))


def last(pairs: Iterable[Pair]) -> list[Match]:
    """Of each outcome and model the pair that was emitted last."""
    return _reduced(pairs, lambda _new, _old: True)


def score(true: set[Match], produced: Sequence[Match]) -> Score:
    """Lost and wrong; a match produced twice is wrong once, even where it is true."""
    times = Counter(produced)
    right = len(true & times.keys())
    return Score(len(true), len(true) - right, len(produced) - right)


def repeats(pairs: Sequence[Pair]) -> int:
    """How many pairs were emitted again."""
    return len(pairs) - len({pair.match for pair in pairs})


def read_pairs(matches: Path) -> list[Pair]:
    """What the processes of a peer wrote beside this path.

    The processes have customers of their own, so that the order between their files means nothing.
    """
    decode = msgspec.json.Decoder(tuple[str, str, str, int]).decode
    return [
        Pair(*decode(line))
        for path in sorted(matches.parent.glob(f"{matches.name}.*"))
        for line in path.read_bytes().splitlines()
    ]


def entry(arrival: Arrival) -> Entry:
    """Its log record."""
    return Entry(arrival.event.topic, arrival.event.key, encode(arrival.event))


def _reduced(pairs: Iterable[Pair], replaces: Callable[[Pair, Pair], bool]) -> list[Match]:
    stands: dict[tuple[str, str], Pair] = {}
    for pair in pairs:
        key = (pair.outcome, pair.model)
        so_far = stands.get(key)
        if so_far is None or replaces(pair, so_far):
            stands[key] = pair
    return [pair.match for pair in stands.values()]


def _moment(rng: random.Random) -> datetime:
    return _START + timedelta(milliseconds=rng.randrange(_DAYS * 24 * _HOUR_MS))


_TO_BASE32 = str.maketrans("0189", "ghij")
