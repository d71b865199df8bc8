"""Which of very many short hashes may be known: two bytes for each, where a set of them takes eighty.

A key with tens of thousands of events (a courier's) is asked for an id with every event. Searching its whole index
takes longer than all the rest; a set of the index is what made a worker's memory grow with all that it ever stored.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_BITS_OF_ONE = 16
_SPREAD = 0x9E3779B1
"""Of the golden ratio: the second place of a hash has nothing to do with the first."""

_Words = npt.NDArray[np.uint32]


class Marks:
    """Two bits for each of many four-byte hashes (a Bloom filter): of those that are not there, one in seventy seems to
    be, and one in twenty when it is `full`."""

    __slots__ = ("_bits", "_left", "_mask")

    def __init__(self, hashes: bytes | bytearray) -> None:
        """Of an index: hashes one behind the other."""
        values: _Words = np.frombuffer(hashes, "<u4")
        places = 1 << (max(len(values), 1) * _BITS_OF_ONE - 1).bit_length()
        mask = np.uint32(places - 1)
        marked = np.zeros(places, np.bool_)
        marked[values & mask] = True
        marked[(values * np.uint32(_SPREAD) >> np.uint32(7)) & mask] = True
        self._bits = bytearray(np.packbits(marked, bitorder="little"))
        self._mask = places - 1
        self._left = places // (_BITS_OF_ONE // 2) - len(values)

    @property
    def full(self) -> bool:
        """Whether so many were added that it is time to make them anew, larger."""
        return self._left < 0

    @property
    def size(self) -> int:
        """How many bytes it takes."""
        return len(self._bits)

    def add(self, hashes: bytes) -> None:
        """Mark some more, one behind the other."""
        for begin in range(0, len(hashes), 4):
            for place in self._places(int.from_bytes(hashes[begin : begin + 4], "little")):
                self._bits[place >> 3] |= 1 << (place & 7)
            self._left -= 1

    def __contains__(self, short_hash: bytes) -> bool:
        """False: it is not there. True: it may be."""
        return all(
            self._bits[place >> 3] >> (place & 7) & 1 for place in self._places(int.from_bytes(short_hash, "little"))
        )

    def _places(self, value: int) -> tuple[int, int]:
        return value & self._mask, ((value * _SPREAD & 0xFFFFFFFF) >> 7) & self._mask


def holds(hashes: bytes | bytearray, short_hash: bytes) -> bool:
    """Whether an index holds a hash: every one is looked at."""
    values: _Words = np.frombuffer(hashes, "<u4")
    return bool((values == np.uint32(int.from_bytes(short_hash, "little"))).any())
