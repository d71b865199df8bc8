"""How far after an outcome may its cause seem to lie? By source: some stamp whole seconds, rounded down.

The credits and the estimates ask here, so that they agree on who acted after an exposure (docs/meaning.md).
"""

from __future__ import annotations

from collections.abc import Collection

from edgeloop.clock import SECOND_US

TOLERANCE_US = SECOND_US


def tolerance_us(source: str, whole_second_sources: Collection[str]) -> int:
    """The tolerance of one source's stamps."""
    return TOLERANCE_US if source in whole_second_sources else 0
