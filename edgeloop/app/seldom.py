"""One log line a minute for one cause: whoever can make a door complain must not fill its disk with it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Unpack

from edgeloop.app.logs import Fields, note, note_failure

AT_MOST_EVERY_S = 60.0


class Seldom:
    """Notes an event at once, and then once a minute at most, with how often it was since."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._told: dict[str, float] = {}
        self._missed: dict[str, int] = {}

    def note(self, to: logging.Logger, level: int, event: str, /, **fields: Unpack[Fields]) -> None:
        """As `edgeloop.app.logs.note`; ``failures`` counts those that were not told."""
        if self._due(event):
            note(to, level, event, **self._counted(event, fields))

    def note_failure(self, to: logging.Logger, event: str, failure: BaseException, /, **fields: Unpack[Fields]) -> None:
        """As `edgeloop.app.logs.note_failure`, at level error."""
        if self._due(event):
            note_failure(to, event, failure, logging.ERROR, **self._counted(event, fields))

    def _due(self, event: str) -> bool:
        now = self._now()
        if event in self._told and now - self._told[event] < AT_MOST_EVERY_S:
            self._missed[event] = self._missed.get(event, 0) + 1
            return False
        self._told[event] = now
        return True

    def _counted(self, event: str, fields: Fields) -> Fields:
        missed = self._missed.pop(event, 0)
        return {**fields, "failures": missed + 1} if missed else fields
