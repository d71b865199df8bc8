"""Events in our own form: NDJSON or a JSON array, plain or gzip, from a request or a file."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import re
import zlib
from collections.abc import Iterator
from typing import IO, Any, NamedTuple

import msgspec

from connectors.intake import UNREAD, Item, Rejected, read
from edgeloop.sealing import HEAD_BYTES, Whole, readable_detail

LINE_BYTES = 20 * 1024 * 1024
"""A longer line, or element of an array in a file, is a dead letter."""
_CHUNK_BYTES = 1024 * 1024
_PACKED_BYTES = 64 * 1024
"""Of a packed body at a time: what stands behind a member is copied."""
_MOST_MEMBERS = 10_000
_GZIP = b"\x1f\x8b"
_BOM = b"\xef\xbb\xbf"
# No JSON begins so, and each line of such a file would be a dead letter of its own.
_NO_TEXT = {
    b"PK\x03\x04": ("a zip file", "unpack it first"),
    b"(\xb5/\xfd": ("a zstd file", "unpack it first"),
    b"\xfd7zXZ\0": ("an xz file", "unpack it first"),
    b"BZh": ("a bzip2 file", "unpack it first"),
    b"7z\xbc\xaf": ("a 7z file", "unpack it first"),
    b"PAR1": ("a Parquet file", "write it as NDJSON first"),
    b"SQLite format 3\0": ("an SQLite database", "write its rows as NDJSON first"),
    b"\xff\xfe": ("UTF-16 text", "write it as UTF-8 first"),
    b"\xfe\xff": ("UTF-16 text", "write it as UTF-8 first"),
}
_ARRAY = re.compile(rb"\s*\[\s*(?:\{|\]|$)")
# A string that ends, a bracket or comma, or the quote of a string that does not end in what has been read so far.
_TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+"|[\[\]{},"]', re.DOTALL)
_array = msgspec.json.Decoder(list[msgspec.Raw])


class Line(NamedTuple):
    """A line of a file; of one over `LINE_BYTES` only the beginning, and what is known of the whole."""

    content: bytes
    whole: Whole | None = None


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
    body = body.removeprefix(_BOM)
    begins_with = body.lstrip()[:1]
    if begins_with == b"[":
        try:
            elements = _array.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            if _ARRAY.match(body):  # what is wrong in one element is wrong in no other
                yield from _elements(body, io.BytesIO())
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
    return _item(raw.removeprefix(_BOM), place)


def items_of_file(file: IO[bytes]) -> Iterator[Item]:
    """The events of a file: NDJSON, or a JSON array of objects; gzip or not. Memory is bounded by one event.

    A broken gzip file gives what could be read of it, and then one item that says so. A file that is known to be no
    text at all is one item.
    """
    return until_damage(_items(file))


def items_of_part(file: IO[bytes], first_line: int) -> Iterator[Item]:
    """The events of a later part of an NDJSON file that is not packed, which begins with a line of that number."""
    return until_damage(_numbered(file, file.readline(LINE_BYTES + 1), first_line))


def in_lines(file: IO[bytes]) -> bool:
    """Whether a file, at its beginning, looks like NDJSON that is not packed: only such a file has parts."""
    begin = file.read(_CHUNK_BYTES).removeprefix(_BOM).lstrip()
    file.seek(0)
    return begin.startswith(b"{")


def until_damage(items: Iterator[Item]) -> Iterator[Item]:
    """The items of a file, and where it turns out to be damaged one more that says after which place."""
    after = "its beginning"
    try:
        for item in items:
            after = item.place
            yield item
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        detail = f"the gzip file breaks off or is damaged after {after}: {type(error).__name__}"
        yield Item(b"", f"after {after}", rejected=Rejected("broken_gzip", detail))
    except OSError as error:
        why = type(error).__name__ if error.errno is None else os.strerror(error.errno)
        detail = f"the file cannot be read any further after {after}: {why}"
        yield Item(b"", f"after {after}", rejected=Rejected("unreadable", detail))


def lines(file: IO[bytes]) -> Iterator[Line]:
    """The lines of a file without their ends, unpacked where it is gzip (several members too)."""
    stream = _opened(file)
    yield from _lines(stream, stream.readline(LINE_BYTES + 1))


def too_long(line: Line, place: str) -> Item:
    """What becomes of a line over `LINE_BYTES`."""
    return _too_long(line.content, place, line.whole)


def _items(file: IO[bytes]) -> Iterator[Item]:
    stream = _opened(file)
    first = 1
    begin = stream.readline(LINE_BYTES + 1)
    while begin.isspace():
        first += 1
        begin = stream.readline(LINE_BYTES + 1)
    if _ARRAY.match(begin):
        yield from _elements(begin, stream)
        return
    for magic, (kind, what_to_do) in _NO_TEXT.items():
        if begin.startswith(magic):
            whole = _whole(_to_the_end(begin, stream))
            rejected = Rejected("no_text", f"the file is {kind}, no JSON: {what_to_do}")
            yield Item(begin[:HEAD_BYTES], "line 1", rejected=rejected, whole=whole)
            return
    yield from _numbered(stream, begin, first)


def _numbered(stream: IO[bytes], begin: bytes, first: int) -> Iterator[Item]:
    for number, line in enumerate(_lines(stream, begin), start=first):
        if line.whole is not None:
            yield too_long(line, f"line {number}")
        elif line.content.strip():
            yield Item(line.content, f"line {number}", UNREAD)


def _lines(stream: IO[bytes], line: bytes) -> Iterator[Line]:
    while line:
        whole = _whole(_to_its_end(line, stream)) if len(line) > LINE_BYTES else None
        too_long = whole is not None and whole.size > LINE_BYTES
        yield Line(line.rstrip(b"\r\n"), whole if too_long else None)
        line = stream.readline(LINE_BYTES + 1)


def _whole(chunks: Iterator[bytes]) -> Whole:
    digest, size = hashlib.sha256(), 0
    for chunk in chunks:
        digest.update(chunk)
        size += len(chunk)
    return Whole(digest.hexdigest(), size)


def _to_its_end(line: bytes, stream: IO[bytes]) -> Iterator[bytes]:
    """A line and what of it is still in the stream, without the end of the line, which may come in two parts."""
    while True:
        if line.endswith(b"\n"):
            yield line[:-1].removesuffix(b"\r")
            return
        yield line[:-1]
        more = stream.readline(_CHUNK_BYTES)
        if not more:
            yield line[-1:]
            return
        line = line[-1:] + more


def _to_the_end(begin: bytes, stream: IO[bytes]) -> Iterator[bytes]:
    while begin:
        yield begin
        begin = stream.read(_CHUNK_BYTES)


def _elements(buffer: bytes, stream: IO[bytes]) -> Iterator[Item]:
    """The elements of the array that begins in the buffer and goes on in the stream.

    What breaks the array itself ends it: one item says where, and everything before is taken.
    """
    begin = at = buffer.index(b"[") + 1
    depth = index = 0
    while True:
        token = _TOKEN.search(buffer, at)
        if token is None or token[0] == b'"':
            at = len(buffer) if token is None else token.start()
            if len(buffer) - begin > LINE_BYTES:
                whole = _whole(_to_the_end(buffer[begin:], stream))
                yield _too_long(buffer[begin:], f"index {index}", whole, "; the array is not read any further")
                return
            more = stream.read(_CHUNK_BYTES)
            if not more:
                yield _broken(buffer[begin:], index, "the array breaks off here")
                return
            buffer, at, begin = buffer[begin:] + more, at - begin, 0
            continue
        at = token.end()
        if token[0] in b"[{":
            depth += 1
        elif token[0] in b"]}" and depth:
            depth -= 1
        elif token[0] == b"}":
            yield _broken(buffer[begin:], index, "the brackets do not match; the array is not read any further")
            return
        elif not depth:
            element = buffer[begin : token.start()].strip()
            if element or index or token[0] == b",":
                yield _item(element, f"index {index}")
            begin = at
            index += 1
            if token[0] == b"]":
                rest = (buffer[at:] + stream.read(_CHUNK_BYTES)).strip()
                if rest:
                    yield _broken(rest, index, "what stands after the end of the array is not read")
                return


def _opened(file: IO[bytes]) -> IO[bytes]:
    """The content of a file: unpacked where it is gzip, without a byte order mark."""
    head = file.read(len(_GZIP))
    stream: Any = _Rewound(head, file)
    if head == _GZIP:
        stream = gzip.GzipFile(fileobj=stream)
    begin = stream.read(len(_BOM))
    return _Rewound(begin.removeprefix(_BOM), stream)  # type: ignore[return-value]


def _item(raw: bytes, place: str) -> Item:
    return read(Item(raw, place, UNREAD))


def _broken(raw: bytes, index: int, detail: str) -> Item:
    return Item(raw, f"index {index}", rejected=Rejected("malformed", detail))


def _too_long(raw: bytes, place: str, whole: Whole | None, consequence: str = "") -> Item:
    detail = f"it is longer than {LINE_BYTES:,} bytes{consequence}"
    return Item(raw[: min(LINE_BYTES, HEAD_BYTES)], place, rejected=Rejected("too_long", detail), whole=whole)


def _why(error: Exception) -> str:
    return "nested too deep" if isinstance(error, RecursionError) else readable_detail(error)


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
