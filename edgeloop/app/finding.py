"""What a check of ``edgeloop doctor`` gives, and what it is given."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal

import msgspec

from edgeloop.clock import Clock
from edgeloop.home import Home
from edgeloop.log.base import SearchableLog
from edgeloop.log.opening import on_kafka
from edgeloop.settings import Settings
from edgeloop.store.base import Reader

State = Literal["ok", "warn", "fail"]


class Finding(msgspec.Struct, frozen=True):
    """One line of the doctor."""

    state: State
    check: str
    what: str
    do: str = ""
    """What to do; empty where nothing is wrong."""


class Patient:
    """What the checks look at."""

    def __init__(self, home: Home, settings: Settings, clock: Clock) -> None:
        self.home = home
        self.settings = settings
        self.now_us = clock.now_us()
        self.on_kafka = on_kafka(home, settings)
        self.log: SearchableLog | None = None
        """Open, where there is a sound one."""
        self.store: Reader | None = None
        """Open, where there is a sound one of this version."""


Check = Callable[[Patient], Iterator[Finding]]
