"""Where the sealed pages of a key lie, and which of them a time or a delivery needs.

An outcome meets the exposures of its delivery months back, and a courier has thousands of entries by then. Each
page says of which deliveries its entries are, so that the others are not read. It says so with a Bloom filter: *no* is
certain, and of a page of 32 deliveries *yes* is wrong one time in twenty.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from zlib import crc32

import msgspec

from streams.entries import Carried, Entry, Outcome, Shown

_SPAN = struct.Struct("<qqqI")
_MARKS_BYTES = _SPAN.size
"""As long as the rest, so that a directory is never as long as one without marks would be (see `pack_directory`)."""
_MARKED = struct.Struct(f"{_SPAN.format}{_MARKS_BYTES}s")
_PLACES = 8 * _MARKS_BYTES
_ANY = (1 << _PLACES) - 1
"""Of a page that was sealed before pages had marks."""
_WITH_MARKS = b"\x01"


class Span(msgspec.Struct, frozen=True, gc=False):
    """A sealed page: the times of its entries, where it lies, how many entries it has, and of which deliveries."""

    first_us: int
    last_us: int
    rowid: int
    n: int
    marks: int
    """See `marks_of`."""

    @classmethod
    def of(cls, rowid: int, entries: Sequence[Entry]) -> Span:
        """Of a page that lies there."""
        times = [entry.at_us for entry in entries]
        return cls(min(times), max(times), rowid, len(entries), marks_of(_deliveries(entries)))

    def meets(self, first_us: int, last_us: int) -> bool:
        """Whether it may have an entry in a span of time."""
        return self.first_us <= last_us and self.last_us >= first_us

    def may_be_of(self, marks: int) -> bool:
        """Whether it may have an entry of the one delivery that these are the marks of."""
        return self.marks & marks == marks


def marks_of(deliveries: Iterable[str]) -> int:
    """Three bits of 224 for each delivery."""
    marks = 0
    for delivery_id in deliveries:
        rest = crc32(delivery_id.encode())
        for _ in range(3):
            rest, place = divmod(rest, _PLACES)
            marks |= 1 << place
    return marks


def pack_directory(spans: Sequence[Span]) -> bytes:
    """Spans, then one byte that tells them from those of before there were marks: 28 bytes each and nothing behind."""
    if not spans:
        return b""
    packed = b"".join(
        _MARKED.pack(span.first_us, span.last_us, span.rowid, span.n, span.marks.to_bytes(_MARKS_BYTES, "little"))
        for span in spans
    )
    return packed + _WITH_MARKS


def unpack_directory(packed: bytes) -> tuple[Span, ...]:
    """The inverse of `pack_directory`; a page without marks may be of any delivery."""
    if len(packed) % _SPAN.size == 0:
        return tuple(Span(first, last, rowid, n, _ANY) for first, last, rowid, n in _SPAN.iter_unpack(packed))
    return tuple(
        Span(first, last, rowid, n, int.from_bytes(marks, "little"))
        for first, last, rowid, n, marks in _MARKED.iter_unpack(packed[: -len(_WITH_MARKS)])
    )


def _deliveries(entries: Sequence[Entry]) -> set[str]:
    return {
        entry.delivery_id
        for entry in entries
        if isinstance(entry, Shown | Carried | Outcome) and entry.delivery_id is not None
    }
