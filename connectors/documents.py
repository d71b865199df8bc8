"""One reader for every file of JSON: what its documents are, however its writer put them side by side.

One a line (LF or CRLF), an array on one line or over many, objects written over several lines, objects joined without
a line's end, a byte order mark, gzip, and NUL bytes between them (space set aside that was never written). What is
broken costs itself and nothing else: reading goes on at the next object. Of a file at most one document is held, of up
to ``longest`` bytes, and what was read ahead (a chunk, or half as much as the document has so far).
"""

from __future__ import annotations

import gzip
import hashlib
import os
import re
import zlib
from collections.abc import Iterator
from typing import IO, Any

import msgspec

from connectors.intake import UNREAD, Item, Rejected
from connectors.no_numbers import decoded
from edgeloop.sealing import HEAD_BYTES, Whole

LINE_BYTES = 20 * 1024 * 1024
"""A longer line, object or element of an array is a dead letter."""
CHUNK_BYTES = 1024 * 1024
BOM = b"\xef\xbb\xbf"
_GZIP = b"\x1f\x8b"
_MOST_JOINED = 8
"""Lines that one object was ever seen broken over inside a text, where a line's end may not stand."""
_MOST_TRIES = 8
_MOST_RESTARTS = 64
_DEEPEST = 100
"""Deeper is no event, and a line that opens an object and never closes it is read once for each line inside it."""
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
_LONGEST_MAGIC = max(map(len, _NO_TEXT))
_BLANKS = b" \t\r\0\x1e,"
_BETWEEN = re.compile(rb"[ \t\r\n\0\x1e]*+")
_ON_THE_LINE = re.compile(rb"[ \t\r\0\x1e]*+(?:,[ \t\r\0\x1e]*+)?")
_COMMA_BEHIND = re.compile(rb"[ \t\r]*+,")
_ARRAY = re.compile(rb"\[[ \t\r\0]*+(?:[{\]\n]|\Z)")
_OBJECT = re.compile(rb'\{\s*"')
# Where an object may end: a bracket with another document, or the end of what it stands in, behind it.
_MAY_END = re.compile(rb"\}(?=[\s\0\x1e]*+(?:,[\s\0\x1e]*+)?(?:[{\[\]\n]|\xef|\Z))")
# A text that ends on its line, a bracket, or the quote of a text that does not end in what has been read so far.
_TOKEN = re.compile(rb'"(?:[^"\\\n]++|\\[^\n])*+"|["\[\]{}]')
_SCALAR = re.compile(rb'(?:"(?:[^"\\\n]++|\\[^\n])*+"|[^,\]"\n])*+')
_OPENING = {ord("}"): ord("{"), ord("]"): ord("[")}
_valid = msgspec.json.Decoder(msgspec.Raw).decode
_QUOTE, _OBJECT_BEGINS, _ARRAY_BEGINS, _ARRAY_ENDS, _COMMA, _COLON, _LINE_ENDS = map(ord, '"{[],:\n')


def documents_of_file(file: IO[bytes], first_line: int = 1, longest: int | None = None) -> Iterator[Item]:
    """The documents of a file, unpacked where it is gzip, each with its place (``line 3``, ``index 0``).

    A damaged file gives what could be read of it, and then one item that says where. NUL bytes between documents are
    skipped, and one item at the end has their number. A file that is known to be no text at all is one item.

    Args:
        file: at its beginning, or at the beginning of a line.
        first_line: the number of that line.
        longest: bytes that one document may have; `LINE_BYTES` where none is given.
    """
    after = "its beginning"
    try:
        reader = _Reader(file, first_line, LINE_BYTES if longest is None else longest)
        for item in reader.items():
            after = item.place
            yield item
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        detail = f"the gzip file breaks off or is damaged after {after}: {type(error).__name__}"
        yield Item(b"", f"after {after}", rejected=Rejected("broken_gzip", detail))
    except OSError as error:
        why = type(error).__name__ if error.errno is None else os.strerror(error.errno)
        detail = f"the file cannot be read any further after {after}: {why}"
        yield Item(b"", f"after {after}", rejected=Rejected("unreadable", detail))


def is_document(raw: bytes) -> bool:
    """Whether it is one JSON document, numbers that are none aside."""
    try:
        _valid(raw)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        pass
    else:
        return True
    try:
        decoded(raw)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return False
    return True


class _Reader:
    def __init__(self, file: IO[bytes], first_line: int, longest: int) -> None:
        head = file.read(len(_GZIP))
        stream: Any = _Rewound(head, file)
        if head == _GZIP:
            stream = gzip.GzipFile(fileobj=stream)
        # One read of the system's at a time: of a file that breaks off nothing that could be read is lost.
        self._read = stream.read1
        self._data = b""
        self._at = 0
        self._line = first_line
        self._objects = 0
        """Documents before this one on its line."""
        self._any = False
        self._ended = False
        self._failure: Exception | None = None
        self._longest = longest
        self._stopped: int | None = None
        """From the beginning of the object that was looked at last: where it turned out to be none."""
        self._padding = self._paddings = self._padded_line = 0

    def items(self) -> Iterator[Item]:
        """Every document.

        Raises:
            OSError, EOFError, zlib.error: what ended the file before its end, after what could be read.
        """
        while len(self._data) < _LONGEST_MAGIC and self._more():
            pass
        for magic, (kind, what_to_do) in _NO_TEXT.items():
            if self._data.startswith(magic):
                head = self._data[:HEAD_BYTES]
                rejected = Rejected("no_text", f"the file is {kind}, no JSON: {what_to_do}")
                yield Item(head, "line 1", rejected=rejected, whole=self._hashed_to_the_end())
                return
        while True:
            if not self._objects:
                yield from self._lines()
            line = self._line
            begin = self._next()
            if begin is None:
                break
            if begin == _OBJECT_BEGINS and self._line != line:
                continue  # lines again, perhaps
            if begin == _OBJECT_BEGINS:
                yield self._object(self._place())
            elif begin == _ARRAY_BEGINS and self._is_array():
                yield from self._array()
            else:
                yield self._rest_of_line(self._place())
            self._any = True
        if self._padding:
            places = "" if self._paddings == 1 else f" in {self._paddings:,} places"
            detail = (
                f"{self._padding:,} NUL bytes{places} were skipped: a writer set the space aside and did not fill it. "
                "What stands around them was read"
            )
            yield Item(b"", f"line {self._padded_line}", rejected=Rejected("padding", detail))
        if self._failure is not None:
            raise self._failure

    def _lines(self) -> Iterator[Item]:
        """The lines from here that are one object each, which nearly all are; stops before any other."""
        data, at, line = self._data, self._at, self._line
        while True:
            end = data.find(b"\n", at)
            if end < 0:
                self._at, self._line = at, line
                if len(data) - at > CHUNK_BYTES or not self._more():
                    return
                data, at = self._data, self._at
                continue
            text = data[at:end]
            if text[:1] == b"{":
                try:
                    _valid(text)
                except (msgspec.DecodeError, UnicodeError, RecursionError):
                    break
                if text[-1:] == b"\r":
                    text = text[:-1]
                if len(text) > self._longest:
                    break
                self._any = True
                yield Item(text, f"line {line}", UNREAD)
            elif text and text != b"\r":
                break
            line += 1
            at = end + 1
        self._at, self._line = at, line

    def _more(self) -> bool:
        """Read on, dropping what lies before the place reached; whether there was more."""
        if self._ended:
            return False
        held = self._data[self._at :]
        wanted = max(CHUNK_BYTES, len(held) // 2)
        parts = [held]
        try:
            while wanted > 0 and (part := self._read(wanted)):
                parts.append(part)
                wanted -= len(part)
        except (EOFError, gzip.BadGzipFile, zlib.error, OSError) as error:
            self._failure = error
            self._ended = True
        else:
            self._ended = wanted > 0
        self._data, self._at = b"".join(parts), 0
        return len(self._data) > len(held)

    def _byte(self, offset: int = 0) -> int | None:
        """The byte so far from here; None behind the end."""
        while self._at + offset >= len(self._data):
            if not self._more():
                return None
        return self._data[self._at + offset]

    def _go(self, count: int) -> None:
        lines = self._data.count(b"\n", self._at, self._at + count)
        if lines:
            self._line += lines
            self._objects = 0
        self._at += count

    def _next(self) -> int | None:
        """Skip what stands between documents; the byte that the next one begins with, None at the end."""
        while True:
            begin = self._byte()
            if begin is None:
                return None
            if begin == BOM[0] and self._byte(2) is not None and self._data.startswith(BOM, self._at):
                self._at += len(BOM)
                continue
            found = _BETWEEN.match(self._data, self._at)
            length = 0 if found is None else found.end() - self._at
            if not length:
                return begin
            padding = self._data.count(b"\0", self._at, self._at + length)
            if padding:
                self._padded_line = self._padded_line or self._line
                self._padding += padding
                self._paddings += 1
            self._go(length)

    def _place(self) -> str:
        self._objects += 1
        return f"line {self._line}" if self._objects == 1 else f"line {self._line}, object {self._objects}"

    def _is_array(self) -> bool:
        if self._byte(1) is None:
            return True
        return _ARRAY.match(self._data, self._at) is not None

    def _object(self, place: str, *, in_array: bool = False) -> Item:
        """The object that begins here. What stands right behind it and is no document says that it is none either."""
        size = self._size()
        if 0 < size <= self._longest:
            raw = self._data[self._at : self._at + size]
            over_lines, good = b"\n" in raw, is_document(raw)
            if not over_lines and not good and (restart := self._restart(1, self._at + size, None, in_array)):
                self._go(restart)
                return Item(raw[:restart].rstrip(_BLANKS), place, UNREAD)
            if good if over_lines else self._ends_well(size, in_array):
                self._go(size)
                if not in_array:
                    self._skip_comma()
                return Item(raw, place, UNREAD)
        return self._broken(place, in_array=in_array)

    def _ends_well(self, offset: int, in_array: bool) -> bool:
        while True:
            behind = (_BETWEEN if in_array else _ON_THE_LINE).match(self._data, self._at + offset)
            end = offset if behind is None else behind.end() - self._at
            if self._at + end < len(self._data) or not self._more():
                break
        begin = self._byte(end)
        if in_array:
            return begin is None or begin in (_COMMA, _ARRAY_ENDS, _OBJECT_BEGINS)
        return begin is None or begin in (_LINE_ENDS, _OBJECT_BEGINS, _ARRAY_BEGINS, BOM[0])

    def _skip_comma(self) -> None:
        behind = _COMMA_BEHIND.match(self._data, self._at)
        if behind is not None:
            self._go(behind.end() - self._at)

    def _size(self) -> int:
        """How many bytes the object (or array) that begins here has; 0 where it does not end, or is none."""
        self._stopped = None
        return self._size_at_a_likely_end(self._at) or self._size_by_brackets()

    def _size_at_a_likely_end(self, begin: int, end: int | None = None) -> int:
        ends = _MAY_END.finditer(self._data, begin, len(self._data) if end is None else end)
        for _, found in zip(range(_MOST_TRIES), ends, strict=False):
            try:
                _valid(self._data[begin : found.end()])
            except (msgspec.DecodeError, UnicodeError, RecursionError):
                continue
            return found.end() - begin
        return 0

    def _size_by_brackets(self) -> int:
        stack = bytearray()
        offset = 0
        while True:
            token = _TOKEN.search(self._data, self._at + offset)
            if token is None:
                offset = len(self._data) - self._at
            else:
                begin = token.start()
                kind = self._data[begin]
                if kind == _QUOTE and token.end() - begin == 1:
                    if self._data.find(b"\n", begin) >= 0:
                        return 0
                    token, offset = None, begin - self._at
                elif kind in (_OBJECT_BEGINS, _ARRAY_BEGINS):
                    if (stack and not self._may_begin(begin, stack[-1])) or len(stack) == _DEEPEST:
                        self._stopped = begin - self._at
                        return 0
                    stack.append(kind)
                elif kind != _QUOTE:
                    if stack.pop() != _OPENING[kind]:
                        return 0
                    if not stack:
                        return token.end() - self._at
            if token is not None:
                offset = token.end() - self._at
            elif len(self._data) - self._at > self._longest or not self._more():
                return 0

    def _may_begin(self, at: int, inside: int) -> bool:
        """Whether a value may begin here, by what stands before it."""
        before = self._before(at)
        return before == _COLON if inside == _OBJECT_BEGINS else before in (_ARRAY_BEGINS, _COMMA)

    def _before(self, at: int) -> int:
        at -= 1
        while at > self._at and self._data[at] in b" \t\r\n":
            at -= 1
        return self._data[at]

    def _broken(self, place: str, *, in_array: bool) -> Item:
        """What begins here and is no object, to where reading can go on: the next object on the line, or its end."""
        stopped = self._stopped
        looked_at = 1
        while True:
            end = self._data.find(b"\n", self._at)
            line_ends = end if end >= 0 else len(self._data)
            restart = self._restart(looked_at, line_ends, stopped, in_array)
            if restart:
                raw = self._data[self._at : self._at + restart].rstrip(_BLANKS)
                self._go(restart)
                return Item(raw, place, UNREAD)
            if end >= 0 or len(self._data) - self._at > self._longest:
                break
            looked_at = max(1, line_ends - self._at - 1)
            if not self._more():
                break
        if not in_array:
            joined = self._joined()
            if joined is not None:
                return Item(joined, place, UNREAD)
        ended = self._ended and end < 0
        item = self._rest_of_line(place, in_array=in_array)
        if in_array and ended and item.whole is None:
            return Item(item.raw, place, rejected=Rejected("malformed", "the array breaks off here"))
        return item

    def _restart(self, begin: int, line_ends: int, stopped: int | None, in_array: bool) -> int:
        """How far from here another object begins on this line that a broken one stands before; 0 where none does."""
        found = _OBJECT.finditer(self._data, self._at + begin, line_ends)
        for _, other in zip(range(_MOST_RESTARTS), found, strict=False):
            before = self._before(other.start())
            if before == _COMMA and in_array:
                comma = self._data.rindex(b",", self._at, other.start())
                before = 0 if self._before(comma) == ord("}") else before
            if before not in (_COLON, _COMMA, _ARRAY_BEGINS) and self._size_at_a_likely_end(other.start()):
                return other.start() - self._at
        if stopped and self._at + stopped < line_ends and self._before(self._at + stopped) == _COMMA:
            return stopped if self._size_at_a_likely_end(self._at + stopped) else 0
        return 0

    def _joined(self) -> bytes | None:
        """An object whose lines were broken inside a text, joined; None where they are none together."""
        parts: list[bytes] = []
        offset = size = 0
        while len(parts) < _MOST_JOINED and size <= self._longest:
            end = self._data.find(b"\n", self._at + offset)
            if end < 0:
                if len(self._data) - self._at <= self._longest and self._more():
                    continue
                end = len(self._data)
            part = self._data[self._at + offset : end].rstrip(b"\r")
            if not part or (parts and _OBJECT.match(part)):
                return None
            parts.append(part)
            size += len(part)
            offset = min(end + 1, len(self._data)) - self._at
            if len(parts) > 1 and part.endswith(b"}") and is_document(b"".join(parts)):
                self._go(offset)
                return b"".join(parts)
        return None

    def _rest_of_line(self, place: str, *, in_array: bool = False) -> Item:
        """What stands from here to the end of the line, whatever it is."""
        while (end := self._data.find(b"\n", self._at)) < 0 and len(self._data) - self._at <= self._longest + 2:
            if not self._more():
                break
        if end >= 0 or self._ended:
            raw = self._data[self._at : end if end >= 0 else len(self._data)]
            without_end = raw.removesuffix(b"\r") if end >= 0 else raw
            if len(without_end) <= self._longest:
                self._go(len(raw) + (end >= 0))
                return Item(raw.rstrip(b"\r"), place, UNREAD)
        raw = self._data[self._at : self._at + min(self._longest, HEAD_BYTES)]
        whole = self._hashed_to_the_line_end()
        rest = "; the array is not read any further" if in_array and self._byte() is None else ""
        detail = f"it is longer than {self._longest:,} bytes{rest}"
        return Item(raw, place, rejected=Rejected("too_long", detail), whole=whole)

    def _hashed_to_the_line_end(self) -> Whole:
        digest, size = hashlib.sha256(), 0
        held = b""
        """A carriage return that may belong to the end of the line."""
        while True:
            end = self._data.find(b"\n", self._at)
            part = held + self._data[self._at : end if end >= 0 else len(self._data)]
            held = b""
            if part.endswith(b"\r"):
                part, held = part[:-1], b"\r"
            digest.update(part)
            size += len(part)
            if end >= 0:
                self._at = end + 1
                self._line += 1
                self._objects = 0
                return Whole(digest.hexdigest(), size)
            self._at = len(self._data)
            if not self._more():
                digest.update(held)
                return Whole(digest.hexdigest(), size + len(held))

    def _hashed_to_the_end(self) -> Whole:
        digest, size = hashlib.sha256(), 0
        while True:
            digest.update(self._data[self._at :])
            size += len(self._data) - self._at
            self._at = len(self._data)
            if not self._more():
                return Whole(digest.hexdigest(), size)

    def _array(self) -> Iterator[Item]:
        """The elements of the array that begins here."""
        before = f"line {self._line}, " if self._any else ""
        self._go(1)
        index = 0
        after_comma = False
        while True:
            begin = self._next()
            place = f"{before}index {index}"
            if begin is None:
                yield Item(b"", place, rejected=Rejected("malformed", "the array breaks off here"))
                return
            if begin in (_ARRAY_ENDS, _COMMA):
                if after_comma or (begin == _COMMA and not index):
                    yield Item(b"", place, rejected=Rejected("malformed", "nothing stands before or behind a comma"))
                    index += 1
                self._go(1)
                after_comma = begin == _COMMA
                self._objects = max(self._objects, 1)
                if begin == _ARRAY_ENDS:
                    self._skip_comma()
                    return
                continue
            is_object = begin == _OBJECT_BEGINS
            item = self._object(place, in_array=True) if is_object else self._other_element(place, begin)
            yield item
            if item.rejected is not None and self._byte() is None:
                return
            after_comma = False
            index += 1

    def _other_element(self, place: str, begin: int) -> Item:
        if begin == _ARRAY_BEGINS:
            size = self._size_by_brackets()
            if not 0 < size <= self._longest:
                return self._broken(place, in_array=True)
        else:
            while (found := _SCALAR.match(self._data, self._at)) and found.end() == len(self._data):
                if len(self._data) - self._at > self._longest or not self._more():
                    break
            size = 0 if found is None else found.end() - self._at
            if not 0 < size <= self._longest:
                return self._rest_of_line(place, in_array=True)
        raw = self._data[self._at : self._at + size]
        self._go(size)
        return Item(raw.strip(), place, UNREAD)


class _Rewound:
    """A stream with its first bytes put back, for files that cannot seek (standard input)."""

    def __init__(self, head: bytes, file: IO[bytes]) -> None:
        self._head = head
        self._file = file
        self._read1 = getattr(file, "read1", file.read)

    def read(self, size: int = -1) -> bytes:
        """As of a file, though the first bytes come alone."""
        return self._begin(size) or self._file.read(size)

    def read1(self, size: int = -1) -> bytes:
        """As of a file: what one read gives."""
        found: bytes = self._begin(size) or self._read1(size)
        return found

    def _begin(self, size: int) -> bytes:
        head = self._head if size < 0 else self._head[:size]
        self._head = self._head[len(head) :]
        return head

    def seekable(self) -> bool:
        """No."""
        return False
