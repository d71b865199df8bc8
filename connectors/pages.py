"""Files that vendors' list calls were saved to: pages, rows one a line, or an array of either; gzip or not."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import IO, Any

import msgspec

from connectors.intake import Item, read
from connectors.native import items_of_file
from connectors.no_numbers import decoded

_PAGE_BYTES = 64 * 1024 * 1024
"""Of a document written over several lines; it is held in memory until it ends."""
_TEXT = re.compile(rb'"(?:[^"\\]++|\\.)*+"')
_encoder = msgspec.json.Encoder()


def rows_of_file(file: IO[bytes], rows: str) -> Iterator[Item]:
    """Every row of a file; a page is an object with a list of them under ``rows``.

    A document may be written over several lines. What is no page is given as it is, for the connector to judge.
    """
    for document in _documents(file):
        inside = document.value.get(rows) if isinstance(document.value, dict) else None
        if not isinstance(inside, list):
            yield document
            continue
        for i, row in enumerate(inside):
            yield Item(encoded(row, document.raw), f"{document.place}, row {i}", value=row)


def encoded(row: Any, instead: bytes) -> bytes:
    """A row as bytes of its own, for a dead letter of it alone; else the bytes it came in."""
    try:
        return _encoder.encode(row)
    except (RecursionError, OverflowError, ValueError):
        return instead


def _documents(file: IO[bytes]) -> Iterator[Item]:
    """The items of a file, with those lines joined that are one document only together."""
    pending: list[Item] = []
    depth = size = 0
    for item in map(read, items_of_file(file)):
        malformed = item.rejected is not None and item.rejected.reason == "malformed"
        if pending and ((item.rejected is not None and not malformed) or _begins(item)):
            yield from pending
            pending = []
        if not pending and not (malformed and item.raw.lstrip().startswith(b"{") and item.place.startswith("line ")):
            yield item
            continue
        if not pending:
            depth = size = 0
        pending.append(item)
        depth += _depth(item.raw)
        size += len(item.raw)
        if depth <= 0 or size > _PAGE_BYTES:
            yield from _joined(pending)
            pending = []
    yield from pending


def _joined(pending: list[Item]) -> list[Item]:
    raw = b"\n".join(item.raw for item in pending)
    try:
        return [Item(raw, pending[0].place, value=decoded(raw)[0])]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return pending


def _begins(item: Item) -> bool:
    """Whether a line is a document of its own: a broken line before it must not take it along."""
    return isinstance(item.value, dict) and item.raw.startswith(b"{")


def _depth(line: bytes) -> int:
    bare = _TEXT.sub(b"", line)
    return bare.count(b"{") + bare.count(b"[") - bare.count(b"}") - bare.count(b"]")
