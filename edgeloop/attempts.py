"""What if a part of the month fails? It is logged with its traceback, and the rest goes on without it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

from edgeloop.errors import EdgeloopError

T = TypeVar("T")
FAILED = "a part of the month failed: %s"
"""As logged; a constant, so that services may show it."""
_log = logging.getLogger(__name__)


def attempt(what: str, make: Callable[[], T], instead: Callable[[Exception], T]) -> T:
    """What ``make`` gives, or what stands in its place where it raises.

    Args:
        what: the part, for the log: no text of a person.

    Raises:
        EdgeloopError: passed on, for it says what a person has to do.
    """
    try:
        return make()
    except EdgeloopError:
        raise
    except Exception as failure:
        _log.exception(FAILED, what)
        return instead(failure)
