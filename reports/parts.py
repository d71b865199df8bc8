"""What does the page say where a part of it could not be made? That, in the part's own place and under the title."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

from edgeloop.attempts import attempt
from reports.findings import Line
from reports.language import t

T = TypeVar("T")
_failed: ContextVar[list[Line] | None] = ContextVar("failed", default=None)


@contextmanager
def noted() -> Iterator[list[Line]]:
    """Inside, the parts that fail are noted in the list."""
    found: list[Line] = []
    token = _failed.set(found)
    try:
        yield found
    finally:
        _failed.reset(token)


def part(name: str, make: Callable[[], T], instead: Callable[[str], T], *, key: str = "") -> T:
    """A part of the findings or of the page, or what says in its place that it failed.

    Args:
        name: as the page calls it.
        instead: of the sentence that says so.
        key: as the log calls it; else the name.
    """

    def failed(failure: Exception) -> T:
        text = t(
            "This part could not be made, for the program failed on it ({error}). The rest stands without it.",
            error=type(failure).__name__,
        )
        found = _failed.get()
        if found is not None:
            found.append(Line(name, text))
        return instead(text)

    return attempt(key or name, make, failed)
