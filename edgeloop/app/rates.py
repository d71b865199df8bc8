"""How many events a second a sender's key may send: a bucket a key, which a large batch may leave in debt."""

from __future__ import annotations

import math
import time
from collections.abc import Callable


class Rates:
    """The buckets of one door, by key."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._buckets: dict[str, tuple[float, float]] = {}
        """When it was looked at, and how many events it had then."""

    def wait_s(self, key: str, rate: int) -> int:
        """In how many seconds the key may send again; 0 is now. ``rate`` is in events a second, 0 without a bound."""
        left = self._left(key, rate) if rate else 1.0
        return 0 if left > 0 else max(1, math.ceil(-left / rate))

    def spend(self, key: str, rate: int, events: int) -> None:
        """Note what a key sent. A batch of more than a second's events is taken, and paid off by waiting."""
        if rate:
            self._buckets[key] = (self._now(), self._left(key, rate) - events)

    def _left(self, key: str, rate: int) -> float:
        now = self._now()
        at, left = self._buckets.get(key, (now, float(rate)))
        return min(float(rate), left + (now - at) * rate)
