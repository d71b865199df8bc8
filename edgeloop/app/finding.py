"""What a check of ``edgeloop doctor`` gives, and what it is given."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal

import msgspec

from edgeloop.clock import Clock
from edgeloop.home import Home
from edgeloop.log.local import LocalLog
from edgeloop.settings import Settings
from edgeloop.store.sqlite import Reader

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
        self.log: LocalLog | None = None
        """Open, where there is a sound one."""
        self.store: Reader | None = None
        """Open, where there is a sound one of this version."""


Check = Callable[[Patient], Iterator[Finding]]
