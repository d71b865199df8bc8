"""A pass over every join key of a store: some thousand keys a transaction, going on where it was interrupted.

How far it is stands in the store's ``meta`` under the pass's name, and moves in the transaction of the rows. While it
stands there nobody drains, because half of the keys are another's half.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import msgspec

from edgeloop.errors import EdgeloopError
from edgeloop.log.partitioner import SHARDS
from edgeloop.store.base import Store, StoreTransaction
from edgeloop.store.schema import ATTRIBUTIONS
from edgeloop.store.writes import Writes
from streams.attribution import Rules
from streams.batch import Batch
from streams.cache import Contexts, StateCache
from streams.state import KeyState

RECOMPUTE, PRUNE = "recompute", "prune"
"""Names of the passes: in ``meta``, and as commands."""
KEYS_AT_ONCE = 4_000
THINGS_AT_ONCE = 200_000
"""Entries looked at and rows made in one transaction; one key alone may be more."""

Progress = Callable[[int, int], None]
"""Called with (keys done, keys in all)."""


class UnfinishedPassError(EdgeloopError):
    """A pass over all keys was interrupted, and must end before anything else."""


class Standing(msgspec.Struct, frozen=True):
    """How far a pass is, as ``meta`` holds it."""

    target: str
    """What it makes, as JSON: another target is another pass."""
    after: int = -1
    """The slot of the last key done; slots ascend, those of one shard lie together."""


class Work(Protocol):
    """What a pass does."""

    def wants(self, state: KeyState) -> bool:
        """Whether there is anything to do on a key, by its head alone."""
        ...

    def take(self, batch: Batch, state: KeyState, writes: Writes) -> bool:
        """Work on one key, all of whose entries are available; whether its state is to be written as it is now."""
        ...

    def end(self, transaction: StoreTransaction) -> None:
        """Write what is true once every key is done."""
        ...


def standing(store: Store, name: str) -> Standing | None:
    """How far the pass of that name is, if one was begun."""
    found = store.meta(name)
    return None if found is None else msgspec.json.decode(found, type=Standing)


def refuse_unfinished(store: Store, besides: str | None = None) -> None:
    """Raise where a pass (of another name than ``besides``) was begun and did not end.

    Raises:
        UnfinishedPassError: with the command to run.
    """
    for name in (RECOMPUTE, PRUNE):
        if name != besides and store.meta(name) is not None:
            raise UnfinishedPassError(
                f"a {name} is unfinished in {store.name}: run `edgeloop {name}` again, it goes on where it was"
            )


def run_pass(store: Store, name: str, target: str, rules: Rules, work: Work, progress: Progress | None = None) -> int:
    """Take every key, from the first or from where a pass to the same target was; how many were taken now.

    Raises:
        UnfinishedPassError: another pass is to end first.
    """
    refuse_unfinished(store, besides=name)
    cache = StateCache(store)
    _flush(store, cache)
    before = standing(store, name)
    if before is None or before.target != target:
        before = Standing(target)
        store.set_meta(name, msgspec.json.encode(before).decode())
    with store.claim(range(SHARDS)):
        pass  # batches in flight have ended; those to come see that this pass is on
    after = before.after
    done, total = store.count_keys(after)
    contexts = Contexts(store)
    taken = 0
    while keys := store.keys_after(after, KEYS_AT_ONCE):
        shards = cache.shards_of(key for _, key in keys)
        with store.claim(set(shards.values())):
            states, versions = cache.states(shards)
            writes = Writes(store.new_batch())
            batch = Batch(rules, writes, contexts, store)
            packing = cache.packing(writes)
            things = n = 0
            for slot, key in keys:
                state = states[key]
                after = slot
                n += 1
                if not work.wants(state):
                    continue
                state.load_all(store.page)
                things += sum(len(entries) for _, entries in state.loaded())
                if work.take(batch, state, writes):
                    packing.add(state)
                if things + len(writes.inserted[ATTRIBUTIONS.name]) >= THINGS_AT_ONCE:
                    break
            packing.finish()
            with store.transaction(versions) as transaction:
                transaction.apply(writes, {})
                transaction.set_meta(name, msgspec.json.encode(Standing(target, after)).decode())
        # Nothing that was looked at once is looked at again.
        cache.forget()
        done += n
        taken += n
        if progress is not None:
            progress(done, total)
    with store.transaction() as transaction:
        work.end(transaction)
        transaction.drop_meta(name)
    return taken


def _flush(store: Store, cache: StateCache) -> None:
    """Write the heads of keys that stand in deltas only: a pass goes by the heads."""
    cache.load()
    for shards in cache.held if cache.unflushed else ():
        with store.claim(shards):
            writes = Writes(store.new_batch())
            versions = cache.flush(writes, shards)
            with store.transaction(versions) as transaction:
                transaction.apply(writes, {})
        cache.committed(versions)
    cache.forget()
