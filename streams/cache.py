"""The states that a worker keeps in memory, each valid only at the shard version it was read at.

Heads are written long after what was appended to them: each batch stores *deltas*, a few rows for thousands of keys,
and a flush later writes every changed head once. A crash loses nothing, because the deltas are read again at start.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from operator import attrgetter

import msgspec

from edgeloop.events import Exposure
from edgeloop.log.partitioner import SHARDS, murmur2_of
from edgeloop.store.base import Store
from edgeloop.store.writes import Head, Writes
from streams.entries import Context
from streams.state import Delta, KeyState

CACHE_BYTES = 72 << 20
SHARDS_AT_ONCE = 4
UNFLUSHED_BYTES = 32 << 20
"""Of deltas; from so many on, the heads are written."""

_encoder = msgspec.msgpack.Encoder()
_what = attrgetter(*Context.__struct_fields__)
_deltas: msgspec.msgpack.Decoder[list[Delta]] = msgspec.msgpack.Decoder(list[Delta])
_contexts: msgspec.msgpack.Decoder[Context] = msgspec.msgpack.Decoder(Context)


class Contexts:
    """The numbers of what was shown where."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._numbers: dict[tuple[str, str, str, str | None, str | None], int] = {}
        self.known = _Known(store)
        """The context of each number."""
        self.models = _Models(self.known)
        """The model of each number."""

    def number(self, event: Exposure) -> int:
        """The number of an exposure's context, a new one if need be."""
        what = _what(event)
        number = self._numbers.get(what)
        if number is None:
            context = Context(*what)
            number = self._numbers[what] = self._store.new_context(_encoder.encode(context))
            self.known[number] = context
            self.models[number] = context.model_id
        return number


class _Known(dict[int, Context]):
    def __init__(self, store: Store) -> None:
        super().__init__()
        self._store = store

    def __missing__(self, number: int) -> Context:
        self.update((n, _contexts.decode(packed)) for n, packed in self._store.contexts().items())
        return dict.__getitem__(self, number)


class _Models(dict[int, str]):
    def __init__(self, contexts: Mapping[int, Context]) -> None:
        super().__init__()
        self._contexts = contexts

    def __missing__(self, number: int) -> str:
        model = self[number] = self._contexts[number].model_id
        return model


class Packing:
    """Puts what a batch added to states into its writes: heads at once, deltas of a shard together."""

    def __init__(self, cache: StateCache, writes: Writes) -> None:
        self._cache = cache
        self._writes = writes
        self._deltas: defaultdict[int, list[Delta]] = defaultdict(list)

    def add(self, state: KeyState) -> None:
        """One state."""
        delta = self._cache.add(state, self._writes)
        if delta is not None:
            self._deltas[state.shard].append(delta)

    def finish(self) -> None:
        """After the last."""
        self._writes.deltas += [(shard, _encoder.encode(deltas)) for shard, deltas in self._deltas.items()]
        self._cache.unflushed_rows += len(self._deltas)


class StateCache:
    """States by key, bounded in bytes."""

    def __init__(
        self,
        store: Store,
        shards: Collection[int] = range(SHARDS),
        *,
        cache_bytes: int = CACHE_BYTES,
        unflushed_bytes: int = UNFLUSHED_BYTES,
    ) -> None:
        self.shards = frozenset(shards)
        """Those whose deltas this worker flushes."""
        self._store = store
        self._cache_bytes = cache_bytes
        self._unflushed_limit = unflushed_bytes
        self._states: dict[str, KeyState] = {}
        self._bytes = 0
        self._versions: dict[int, int] = {}
        self._deltas: dict[str, list[tuple[int, Delta]]] = {}
        self._unflushed: dict[str, KeyState] = {}
        self._new_slots: set[int] = set()
        """Of keys that the store has no head of yet."""
        self._unflushed_bytes = 0
        self.unflushed_rows = 0

    def shards_of(self, keys: Iterable[str]) -> dict[str, int]:
        """The shard of each key."""
        found: dict[str, int] = {}
        missing: list[str] = []
        cached = self._states
        for key in keys:
            state = cached.get(key)
            if state is None:
                missing.append(key)
            else:
                found[key] = state.shard
        for key, key_hash in zip(missing, murmur2_of(missing), strict=True):
            found[key] = key_hash % SHARDS
        return found

    def states(self, shards: Mapping[str, int]) -> tuple[dict[str, KeyState], dict[int, int]]:
        """The state of each key (with its shard), and the versions of their shards as they were read."""
        now = self._refresh()
        wanted = set(shards.values())
        found: dict[str, KeyState] = {}
        missing: dict[str, int] = {}
        cached = self._states
        for key, shard in shards.items():
            state = cached.get(key)
            if state is None:
                missing[key] = shard
            else:
                found[key] = state
        if missing:
            unread = set(missing.values()) - self._versions.keys()
            if unread:
                self._read(unread, now)
            self._get(missing, found)
        return found, {shard: now[shard] for shard in wanted}

    def packing(self, writes: Writes) -> Packing:
        """What takes the states of a batch, one by one, into its writes."""
        return Packing(self, writes)

    def add(self, state: KeyState, writes: Writes) -> Delta | None:
        """Append what a batch added to a state; the delta, if it is not settled at once."""
        delta = state.append_fresh()
        if delta is None:
            writes.heads.append(self._settled(state, writes))
            self._unflushed.pop(state.key, None)
            return None
        if not (delta.n or delta.ids):
            return None
        self._unflushed[state.key] = state
        size = len(delta.entries) + len(delta.ids)
        state.counted += size
        self._bytes += size
        self._unflushed_bytes += size
        return delta

    def committed(self, versions: Mapping[int, int]) -> None:
        """Note that a transaction over shards at these versions went through, and make room."""
        for shard, version in versions.items():
            self._versions[shard] = version + 1
        if self._bytes > self._cache_bytes:
            for key in [key for key, state in self._states.items() if not state.unflushed]:
                self._drop(key)
                if self._bytes <= self._cache_bytes // 2:
                    break

    @property
    def full(self) -> bool:
        """Whether it is time to flush."""
        return (
            self._unflushed_bytes > self._unflushed_limit
            or self.unflushed_rows > 20_000
            or (self._bytes > self._cache_bytes and bool(self._unflushed))
        )

    @property
    def unflushed(self) -> bool:
        """Whether anything stands in deltas only."""
        return bool(self._unflushed or self._deltas)

    def flush(self, writes: Writes, shards: Collection[int]) -> dict[int, int]:
        """Put every head of some shards that deltas changed into the writes; these shards' versions.

        A few shards at a time, because the heads of all are as much again as the whole cache.
        """
        now = self._refresh()
        self._read(set(shards) - self._versions.keys(), now)
        waiting = list(self._deltas)
        hashes = murmur2_of(waiting)
        of_shards = {key: h % SHARDS for key, h in zip(waiting, hashes, strict=True) if h % SHARDS in shards}
        self._get(of_shards, {})
        for key in [key for key, state in self._unflushed.items() if state.shard in shards]:
            state = self._unflushed.pop(key)
            self._new_slots.discard(state.slot)
            writes.heads.append(self._settled(state, writes))
        writes.settled += sorted(shards)
        if not self._unflushed:
            self._unflushed_bytes = self.unflushed_rows = 0
        return {shard: now[shard] for shard in shards}

    @property
    def held(self) -> list[list[int]]:
        """The shards that this worker knows, in groups to flush at a time."""
        known = sorted(self.shards | self._versions.keys())
        return [known[i : i + SHARDS_AT_ONCE] for i in range(0, len(known), SHARDS_AT_ONCE)]

    def forget(self) -> None:
        """Drop everything, after a transaction that did not go through: memory is ahead of the store."""
        self._states = {}
        self._bytes = 0
        self._versions = {}
        self._deltas = {}
        self._unflushed = {}
        self._new_slots = set()
        self._unflushed_bytes = self.unflushed_rows = 0

    def load(self) -> None:
        """Read the deltas that a worker before this one left."""
        self._read(self.shards - self._versions.keys(), self._refresh())

    def _drop(self, key: str) -> None:
        state = self._states.pop(key)
        self._bytes -= state.counted
        # The key may be asked for again before it has a head: then its slot is not another's.
        self._new_slots.discard(state.slot)

    def _settled(self, state: KeyState, writes: Writes) -> Head:
        head = state.settle(writes)
        self._count(state)
        return head

    def _count(self, state: KeyState) -> None:
        """Count a state as it is now, in the place of what was counted for it before."""
        size = state.size
        self._bytes += size - state.counted
        state.counted = size

    def _refresh(self) -> list[int]:
        """The shards' versions now; what is known of a shard at another version is dropped."""
        now = self._store.shard_versions()
        stale = {shard for shard, version in self._versions.items() if now[shard] != version}
        if stale:
            for key in [key for key, state in self._states.items() if state.shard in stale]:
                self._drop(key)
                self._unflushed.pop(key, None)
            known = list(self._deltas)
            for key, h in zip(known, murmur2_of(known), strict=True):
                if h % SHARDS in stale:
                    del self._deltas[key]
            for shard in stale:
                del self._versions[shard]
            self._read(stale, now)
        return now

    def _read(self, shards: Collection[int], now: Sequence[int]) -> None:
        """Begin to know shards: what their heads do not hold yet."""
        if shards:
            for batch, packed in self._store.deltas(shards):
                for delta in _deltas.decode(packed):
                    self._deltas.setdefault(delta.key, []).append((batch, delta))
            for shard in shards:
                self._versions[shard] = now[shard]

    def _get(self, shards: Mapping[str, int], found: dict[str, KeyState]) -> None:
        """Add the states of keys that are not in memory to ``found``, and to memory."""
        taken = self._new_slots
        for key, head in self._store.heads(shards).items():
            batch = 0
            if isinstance(head, int):
                while head in taken:
                    head += 1
                taken.add(head)
            else:
                batch = head.batch
            state = KeyState(key, shards[key], head)
            if self._deltas:
                for number, delta in self._deltas.pop(key, ()):
                    if number > batch:
                        state.absorb(delta)
                if state.unflushed:
                    self._unflushed[key] = state
            found[key] = self._states[key] = state
            self._count(state)
