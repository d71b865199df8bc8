"""Kafka's default partitioner, so that a team's own producer and ours put a key in the same place.

Murmur2, 32 bits, seed 0x9747b28c, as in Apache Kafka's ``org.apache.kafka.common.utils.Utils.murmur2``.
"""

from __future__ import annotations

from functools import lru_cache

SHARDS = 64
_MASK = 0xFFFFFFFF
_M = 0x5BD1E995
_SEED = 0x9747B28C


def murmur2(data: bytes) -> int:
    """The unsigned 32-bit hash."""
    length = len(data)
    h = (_SEED ^ length) & _MASK
    whole = length & ~3
    for i in range(0, whole, 4):
        k = int.from_bytes(data[i : i + 4], "little") * _M & _MASK
        k = (k ^ (k >> 24)) * _M & _MASK
        h = (h * _M & _MASK) ^ k
    rest = data[whole:]
    if rest:
        h = (h ^ int.from_bytes(rest, "little")) * _M & _MASK
    h = (h ^ (h >> 13)) * _M & _MASK
    return h ^ (h >> 15)


@lru_cache(maxsize=262_144)
def _positive(key: str) -> int:
    return murmur2(key.encode()) & 0x7FFFFFFF


def partition(key: str, partitions: int) -> int:
    """The partition of a key among so many."""
    return _positive(key) % partitions


def shard(key: str) -> int:
    """The shard (0–63) that excludes two workers from one join key, whatever partition the key came in."""
    return _positive(key) % SHARDS
