"""Kafka's default partitioner, so that a team's own producer and ours put a key in the same place.

Murmur2, 32 bits, seed 0x9747b28c, as in Apache Kafka's ``org.apache.kafka.common.utils.Utils.murmur2``; computed for
many keys at once, because one at a time in Python it costs as much as everything else that is done to an event.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

SHARDS = 64
_M = np.uint32(0x5BD1E995)
_SEED = 0x9747B28C
_POSITIVE = np.uint32(0x7FFFFFFF)

_Words = npt.NDArray[np.uint32]


def murmur2(data: bytes) -> int:
    """The unsigned 32-bit hash."""
    return int(_murmur2(np.frombuffer(data, np.uint8).reshape(1, -1))[0])


def murmur2_of(keys: Sequence[str]) -> list[int]:
    """The positive 31-bit hash of each key, as the partitioner takes it."""
    encoded = [key.encode() for key in keys]
    by_length: dict[int, list[int]] = {}
    for i, data in enumerate(encoded):
        by_length.setdefault(len(data), []).append(i)
    found = np.empty(len(keys), np.uint32)
    for length, places in by_length.items():
        alike = encoded if len(places) == len(encoded) else [encoded[i] for i in places]
        hashes = _murmur2(np.frombuffer(b"".join(alike), np.uint8).reshape(len(places), length))
        found[places] = hashes & _POSITIVE
    hashed: list[int] = found.tolist()
    return hashed


def partition(key: str, partitions: int) -> int:
    """The partition of a key among so many."""
    return murmur2_of([key])[0] % partitions


def shard(key: str) -> int:
    """The shard (0–63) that excludes two workers from one join key, whatever partition the key came in."""
    return murmur2_of([key])[0] % SHARDS


def _murmur2(data: npt.NDArray[np.uint8]) -> _Words:
    """Of each row; all rows have one length."""
    rows, length = data.shape
    whole = length & ~3
    h = np.full(rows, (_SEED ^ length) & 0xFFFFFFFF, np.uint32)
    if whole:
        words = np.ascontiguousarray(data[:, :whole]).view("<u4")
        for i in range(whole // 4):
            k = words[:, i] * _M
            h = h * _M ^ (k ^ k >> np.uint32(24)) * _M
    if length > whole:
        rest = np.zeros((rows, 4), np.uint8)
        rest[:, : length - whole] = data[:, whole:]
        h = (h ^ rest.view("<u4")[:, 0]) * _M
    h = (h ^ h >> np.uint32(13)) * _M
    mixed: _Words = h ^ h >> np.uint32(15)
    return mixed
