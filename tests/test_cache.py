"""A worker's memory of its keys beside another worker's writing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from edgeloop.log.partitioner import SHARDS, murmur2_of
from edgeloop.store.base import slot_of
from edgeloop.store.sqlite import SqliteStore
from edgeloop.store.writes import Writes
from streams.cache import StateCache
from streams.entries import Unseen

KEY = "customer-1"
SHARD = murmur2_of([KEY])[0] % SHARDS


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    opened = SqliteStore(tmp_path / "store.sqlite")
    yield opened
    opened.close()


def append(store: SqliteStore, cache: StateCache, event_id: str) -> None:
    states, versions = cache.states({KEY: SHARD})
    writes = Writes(store.new_batch())
    packing = cache.packing(writes)
    states[KEY].add(Unseen(3, event_id, 1, writes.first_rowid), b"abcd")
    packing.add(states[KEY])
    packing.finish()
    with store.transaction(versions) as transaction:
        transaction.apply(writes, {})
    cache.committed(versions)


def written_by_another(store: SqliteStore) -> None:
    with store.transaction({SHARD: store.shard_versions()[SHARD]}):
        pass


def test_a_key_without_a_head_keeps_its_slot_when_its_shard_was_written_by_another(store: SqliteStore) -> None:
    cache = StateCache(store)
    append(store, cache, "a")
    written_by_another(store)
    states, _ = cache.states({KEY: SHARD})
    assert states[KEY].slot == slot_of(KEY, SHARD)
    assert states[KEY].n == 1


def test_what_two_workers_append_to_one_key_is_all_found_after_a_flush(store: SqliteStore) -> None:
    one, other = StateCache(store), StateCache(store)
    for number in range(3):
        append(store, one, f"one-{number}")
        append(store, other, f"other-{number}")
    writes = Writes(store.new_batch())
    versions = one.flush(writes, [SHARD])
    with store.transaction(versions) as transaction:
        transaction.apply(writes, {})
    states, _ = StateCache(store).states({KEY: SHARD})
    states[KEY].load_all(store.page)
    found = {entry.id for _, entries in states[KEY].loaded() for entry in entries if isinstance(entry, Unseen)}
    assert found == {f"{who}-{number}" for who in ("one", "other") for number in range(3)}


def test_a_key_that_was_only_asked_for_keeps_its_slot(store: SqliteStore) -> None:
    cache = StateCache(store, cache_bytes=0)
    cache.states({KEY: SHARD})
    cache.committed({})
    states, _ = cache.states({KEY: SHARD})
    assert states[KEY].slot == slot_of(KEY, SHARD)


def test_what_is_counted_is_what_states_take_however_they_came_and_went(store: SqliteStore) -> None:
    cache = StateCache(store)
    for number in range(300):
        append(store, cache, f"event-{number}")
    writes = Writes(store.new_batch())
    versions = cache.flush(writes, [SHARD])
    with store.transaction(versions) as transaction:
        transaction.apply(writes, {})
    cache.committed(versions)
    state = cache._states[KEY]
    assert cache._bytes == state.counted == state.size
    written_by_another(store)
    cache.load()
    assert cache._bytes == 0
