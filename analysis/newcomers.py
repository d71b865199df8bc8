"""Can new customers be told from returning ones? Only where the data reach four weeks back (docs/meaning.md)."""

from __future__ import annotations

from edgeloop.clock import DAY_US

KNOWN_US = 28 * DAY_US  # a customer seen in the four weeks before the entry is a returning one


def told_apart(begins_us: int, first_us: int) -> bool:
    """Whether everybody who enters at ``first_us`` or later has four weeks before that in the data.

    Where not, the first to enter are "new" because nobody was recorded before them, and later ones are not.

    Args:
        begins_us: when the data begin; see `analysis.frames.Frames`.
    """
    return begins_us <= first_us - KNOWN_US
