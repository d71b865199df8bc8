"""Events in our own form: NDJSON or a JSON array, plain or gzip, from a request or a file."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from typing import IO

import msgspec

from connectors.intake import Item, Rejected

LINE_BYTES = 20 * 1024 * 1024
"""A longer line is a dead letter."""
_GZIP = b"\x1f\x8b"
_NOT_JSON = Rejected("malformed", "this is no JSON")
_decoder = msgspec.json.Decoder()
_array = msgspec.json.Decoder(list[msgspec.Raw])


def items_of_body(body: bytes) -> Iterator[Item]:
    """The events of a request: a JSON array (``index 0`` …), or NDJSON (``line 1`` …)."""
    if body.lstrip()[:1] == b"[":
        try:
            elements = _array.decode(body)
        except msgspec.DecodeError as error:
            yield Item(body, "body", rejected=Rejected("malformed", f"no valid JSON array: {error}"))
            return
        for i, element in enumerate(elements):
            yield _item(bytes(element), f"index {i}")
        return
    for number, line in enumerate(body.split(b"\n"), start=1):
        if line.strip():
            yield _item(line, f"line {number}")


def items_of_file(file: IO[bytes]) -> Iterator[Item]:
    """The events of an NDJSON file, gzip or not; memory is bounded by one line.

    A broken gzip file gives what could be read of it, and then one item that says so.
    """
    number = 0
    try:
        for line in lines(file):
            number += 1
            if len(line) > LINE_BYTES:
                rejected = Rejected("too_long", f"the line is longer than {LINE_BYTES:,} bytes")
                yield Item(line[:LINE_BYTES], f"line {number}", rejected=rejected)
            elif line.strip():
                yield _item(line.rstrip(b"\r\n"), f"line {number}")
    except (EOFError, OSError, zlib.error) as error:
        detail = f"the gzip file breaks off or is damaged after line {number}: {type(error).__name__}"
        yield Item(b"", f"line {number + 1}", rejected=Rejected("broken_gzip", detail))


def lines(file: IO[bytes]) -> Iterator[bytes]:
    """The lines of a file, unpacked where it is gzip (several members too); one over `LINE_BYTES` comes cut."""
    head = file.read(2)
    stream: IO[bytes] = _Rewound(head, file)  # type: ignore[assignment]
    if head == _GZIP:
        stream = gzip.GzipFile(fileobj=stream)  # type: ignore[assignment]
    while line := stream.readline(LINE_BYTES + 1):
        if len(line) > LINE_BYTES and not line.endswith(b"\n"):
            while (rest := stream.readline(LINE_BYTES)) and not rest.endswith(b"\n"):
                pass
        yield line


def _item(raw: bytes, place: str) -> Item:
    try:
        return Item(raw, place, value=_decoder.decode(raw))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return Item(raw, place, rejected=_NOT_JSON)


class _Rewound:
    """A stream with its first bytes put back, for files that cannot seek (standard input)."""

    def __init__(self, head: bytes, file: IO[bytes]) -> None:
        self._head = head
        self._file = file

    def read(self, size: int = -1) -> bytes:
        head, self._head = self._head, b""
        if not head:
            return self._file.read(size)
        if size < 0:
            return head + self._file.read()
        if len(head) > size:
            head, self._head = head[:size], head[size:]
            return head
        return head + self._file.read(size - len(head))

    def readline(self, size: int = -1) -> bytes:
        head, self._head = self._head, b""
        if not head:
            return self._file.readline(size)
        end = head.find(b"\n") + 1
        if end:
            head, self._head = head[:end], head[end:]
            return head
        return head + self._file.readline(size - len(head) if size >= 0 else -1)

    def seekable(self) -> bool:
        return False
