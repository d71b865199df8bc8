"""Files that vendors' list calls were saved to: pages, rows one a line, or an array of either; gzip or not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import IO, Any

import msgspec

from connectors.documents import documents_of_file
from connectors.intake import Item, read

_PAGE_BYTES = 64 * 1024 * 1024
"""Of one page; it is held in memory until it ends."""
_encoder = msgspec.json.Encoder()


def rows_of_file(file: IO[bytes], rows: str) -> Iterator[Item]:
    """Every row of a file; a page is an object with a list of them under ``rows``.

    What is no page is given as it is, for the connector to judge.
    """
    for document in map(read, documents_of_file(file, longest=_PAGE_BYTES)):
        inside = document.value.get(rows) if isinstance(document.value, dict) else None
        if not isinstance(inside, list):
            yield document
            continue
        yield from rows_of_page(document, inside, f"{document.place}, ")


def rows_of_page(page: Item, rows: Sequence[Any], before: str) -> Iterator[Item]:
    """Each row of a page as an item of its own (``row 0`` with ``before`` before it)."""
    no_numbers = page.no_numbers  # of all of it: counted once, with the first row
    for i, row in enumerate(rows):
        yield Item(encoded(row, page.raw), f"{before}row {i}", value=row, no_numbers=no_numbers)
        no_numbers = 0


def encoded(row: Any, instead: bytes) -> bytes:
    """A row as bytes of its own, for a dead letter of it alone; else the bytes it came in."""
    try:
        return _encoder.encode(row)
    except (RecursionError, OverflowError, ValueError):
        return instead
