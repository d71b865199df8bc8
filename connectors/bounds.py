"""How many events one request may hold: what a body of a few bytes can cost must not hang on who sends it."""

from __future__ import annotations

from itertools import islice

from connectors.intake import Item
from connectors.native import items_of_body

MOST_EVENTS = 10_000
"""Of one request; a day of a busy shop is some requests more."""
_MOST_LINES = 20 * MOST_EVENTS
"""Empty ones too: looking at each costs time."""
_MOST_COMMAS = 50 * MOST_EVENTS
"""In an array: it has at most as many elements, and so many are found within some 50 ms."""
_BLANKS = b"\xef\xbb\xbf \t\r\n"


class TooManyError(Exception):
    """More than `MOST_EVENTS` in one request."""

    def __init__(self) -> None:
        super().__init__(f"more than {MOST_EVENTS:,} events in one request")


def events_of_body(body: bytes) -> list[Item]:
    """The events of a request, as `items_of_body` gives them.

    Raises:
        TooManyError: they are too many. It is found before they are worked on.
    """
    is_array = body.lstrip(_BLANKS).startswith(b"[")
    if body.count(b"\n") > _MOST_LINES or (is_array and body.count(b",") > _MOST_COMMAS):
        raise TooManyError
    items = list(islice(items_of_body(body), MOST_EVENTS + 1))
    if len(items) > MOST_EVENTS:
        raise TooManyError
    return items
