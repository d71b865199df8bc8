"""Two workers between the reading and the writing of the same customers at the same moment: nobody's match is lost.

One drains the exposures, the other the outcomes. Each waits, after it has read, for the other to have read too; where
shards are held it waits in vain, and goes on. The same with the hold taken away loses matches, so the test sees it.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any
from unittest import mock

import msgspec
import pytest

from edgeloop.log.base import Chunk
from edgeloop.settings import AttributionSettings
from edgeloop.store.base import Reader, Store
from edgeloop.store.postgres import PostgresReader, PostgresStore
from edgeloop.store.reader import SqliteReader
from edgeloop.store.sqlite import SqliteStore
from streams.attribution import Rules
from streams.cache import StateCache
from streams.steps import Steps
from tests.pipeline import SEALER, Body, expect, tables_of
from tests.worlds import HOUR, micros, stamp

pytestmark = pytest.mark.slow

CUSTOMERS = 300
_BOTH_READ_S = 1.0
_IDENTITIES = {topic: ("cluster", topic) for topic in ("edge.exposures", "engagement.events")}


def shown(number: int) -> Body:
    at = stamp(micros("2026-01-15T12:00:00Z"))
    return {
        "type": "exposure", "exposure_id": f"x{number}", "subject": f"s{number}", "occurred_at": at, "received_at": at,
        "touchpoint": "card", "model_id": "eta", "model_version": "v1",
    }  # fmt: skip


def ordered(number: int) -> Body:
    at = stamp(micros("2026-01-15T12:00:00Z") + HOUR)
    return {
        "type": "engagement", "event_id": f"e{number}", "subject": f"s{number}", "occurred_at": at, "received_at": at,
        "name": "order_placed", "source": "app",
    }  # fmt: skip


def chunk(topic: str, bodies: list[Body]) -> Chunk:
    return Chunk(
        topic=topic,
        partition=0,
        start=0,
        next_offset=len(bodies),
        offsets=range(len(bodies)),
        appended_us=[0] * len(bodies),
        values=[msgspec.json.encode(body) for body in bodies],
    )


@contextmanager
def meeting_after_reading() -> Iterator[None]:
    both = threading.Barrier(2)
    read = StateCache.states

    def read_and_wait(cache: StateCache, shards: Any) -> Any:
        found = read(cache, shards)
        try:
            both.wait(_BOTH_READ_S)
        except threading.BrokenBarrierError:
            both.reset()
        return found

    with mock.patch.object(StateCache, "states", read_and_wait):
        yield


def held_by_nobody() -> AbstractContextManager[Any]:
    """Both stores without what keeps two workers of one shard apart."""
    begin, transaction = PostgresStore._begin, SqliteStore.transaction

    def unlocked(store: PostgresStore, shards: Collection[int]) -> dict[int, int]:
        begin(store, ())
        return {shard: version for shard, version in enumerate(store.shard_versions()) if shard in shards}

    postgres = mock.patch.object(PostgresStore, "_begin", unlocked)
    sqlite = mock.patch.object(SqliteStore, "transaction", lambda store, _versions=None: transaction(store, None))
    both = ExitStack()
    both.enter_context(postgres)
    both.enter_context(sqlite)
    return both


def drain_at_once(stores: list[Store], bodies: list[list[Body]]) -> None:
    """Each worker takes its topic's records, in a thread of its own."""
    failed: list[BaseException] = []

    def work(store: Store, given: Chunk) -> None:
        try:
            Steps(store, Rules.of(AttributionSettings()), SEALER, _IDENTITIES).take([given])
        except BaseException as error:
            failed.append(error)

    threads = [
        threading.Thread(target=work, args=(store, chunk(topic, of_topic)))
        for store, topic, of_topic in zip(stores, _IDENTITIES, bodies, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed, failed


def opened(kind: str, path: Path, url: str) -> tuple[Store, Reader]:
    if kind == "sqlite":
        store = SqliteStore(path)
        return store, SqliteReader(path)
    return PostgresStore(url), PostgresReader(url)


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
@pytest.mark.parametrize("held", [True, False])
def test_two_workers_of_one_customer(kind: str, held: bool, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    url = request.getfixturevalue("database_url") if kind == "postgres" else ""
    bodies = [[shown(n) for n in range(CUSTOMERS)], [ordered(n) for n in range(CUSTOMERS)]]
    first, reader = opened(kind, tmp_path / "store.sqlite", url)
    second, other = opened(kind, tmp_path / "store.sqlite", url)
    other.close()
    with meeting_after_reading(), nullcontext() if held else held_by_nobody():
        drain_at_once([first, second], bodies)
    first.close()
    second.close()
    found = tables_of(reader)
    if held:
        expect(found, [*bodies[0], *bodies[1]], AttributionSettings())
    else:
        with pytest.raises(AssertionError, match="attributions"):
            expect(found, [*bodies[0], *bodies[1]], AttributionSettings())
