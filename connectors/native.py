"""Events in our own form: NDJSON or a JSON array, plain or gzip, from a request or a file."""

from __future__ import annotations

import io
import re
import zlib
from collections.abc import Iterator
from typing import IO

import msgspec

from connectors.documents import BOM, CHUNK_BYTES, documents_of_file, is_document
from connectors.intake import UNREAD, Item, read

_PACKED_BYTES = 64 * 1024
"""Of a packed body at a time: what stands behind a member is copied."""
_MOST_MEMBERS = 10_000
_ARRAY = re.compile(rb"\s*\[\s*(?:\{|\]|$)")
_array = msgspec.json.Decoder(list[msgspec.Raw])


class UnpackError(Exception):
    """A gzip body that is none, that breaks off, or that is too large; ``too_large`` says which."""

    def __init__(self, sentence: str, *, too_large: bool = False) -> None:
        super().__init__(sentence)
        self.too_large = too_large


def unpacked(body: bytes, limit: int) -> bytes:
    """A gzip body of one or more members, unpacked; of a bomb no more than ``limit`` bytes are ever made.

    Raises:
        UnpackError: no gzip, broken off, something else behind it, or larger than the limit.
    """
    parts: list[bytes] = []
    room = limit + 1
    members = at = 0
    while at < len(body):
        members += 1
        if members > _MOST_MEMBERS:
            raise UnpackError(f"more than {_MOST_MEMBERS:,} gzip members", too_large=True)
        unpack = zlib.decompressobj(wbits=31)
        while not unpack.eof:
            if at >= len(body):
                raise UnpackError("the gzip body breaks off: send it again")
            chunk = body[at : at + _PACKED_BYTES]
            try:
                part = unpack.decompress(chunk, room)
            except zlib.error as error:
                raise UnpackError("the body is no gzip, though Content-Encoding says so") from error
            parts.append(part)
            room -= len(part)
            if room <= 0:
                raise UnpackError(f"more than {limit:,} bytes after unpacking", too_large=True)
            at += len(chunk) - len(unpack.unused_data)
        while (padding := body[at : at + _PACKED_BYTES]).startswith(b"\0"):  # writers may pad with zeros
            at += len(padding) - len(padding.lstrip(b"\0"))
    return b"".join(parts)


def items_of_body(body: bytes) -> Iterator[Item]:
    """The events of a request: a JSON array (``index 0`` …), or NDJSON (``line 1`` …).

    One object written over several lines counts as an array of one. An array is read element by element where it is not
    valid as a whole, and a body that begins like one and is none line by line.
    """
    body = body.removeprefix(BOM)
    begins_with = body.lstrip()[:1]
    if begins_with == b"[":
        try:
            elements = _array.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            if _ARRAY.match(body):  # what is wrong in one element is wrong in no other
                yield from documents_of_file(io.BytesIO(body))
                return
        else:
            for i, element in enumerate(elements):
                yield Item(bytes(element), f"index {i}", UNREAD)
            return
    lines_of_body = body.split(b"\n")
    if begins_with == b"{" and _item(next(line for line in lines_of_body if line.strip()), "").rejected is not None:
        whole = _item(body, "index 0")
        if whole.rejected is None:
            yield whole
            return
    for number, line in enumerate(lines_of_body, start=1):
        if line.strip():
            yield Item(line, f"line {number}", UNREAD)


def item_of_event(raw: bytes, place: str) -> Item:
    """One event's own bytes, whatever surrounded them when they came."""
    return _item(raw.removeprefix(BOM), place)


def items_of_file(file: IO[bytes], first_line: int = 1) -> Iterator[Item]:
    """The events of a file, or of a part of one that begins with the line of that number (`documents_of_file`)."""
    return documents_of_file(file, first_line)


def in_lines(file: IO[bytes]) -> bool:
    """Whether a file, at its beginning, looks like NDJSON that is not packed: only such a file has parts."""
    begin = file.read(CHUNK_BYTES).removeprefix(BOM).lstrip()
    file.seek(0)
    first, _, _ = begin.partition(b"\n")
    return first.startswith(b"{") and is_document(first)


def _item(raw: bytes, place: str) -> Item:
    return read(Item(raw, place, UNREAD))
