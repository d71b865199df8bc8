"""Several workers on one PostgreSQL store, and a server that goes away."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from edgeloop.errors import HomeError
from edgeloop.store.base import StaleStateError, StoreUnavailableError
from edgeloop.store.postgres import PostgresReader, PostgresStore
from edgeloop.store.writes import Writes
from tests.real.certificates import Certificates
from tests.real.postgres import PASSWORD, Postgres
from tests.real.process import free_port
from tests.stores import AT_US, IDENTITIES, TOPIC, batch, changed, exposure, head, letter, write

pytestmark = pytest.mark.slow


class Aside(threading.Thread):
    """A call in a thread of its own; what it raised comes out of ``end``."""

    def __init__(self, call: Callable[[], object]) -> None:
        super().__init__(daemon=True)
        self._call = call
        self._error: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self._call()
        except BaseException as error:
            self._error = error

    def end(self) -> None:
        """Wait for it."""
        self.join(30)
        assert not self.is_alive(), "it never ended"
        if self._error is not None:
            raise self._error


@pytest.fixture
def store(database_url: str) -> Iterator[PostgresStore]:
    with closing(PostgresStore(database_url)) as opened:
        yield opened


@pytest.fixture
def other(database_url: str, store: PostgresStore) -> Iterator[PostgresStore]:
    with closing(PostgresStore(database_url)) as opened:
        yield opened


# Locks.


def test_a_claim_waits_for_a_common_shard_and_for_no_other(store: PostgresStore, other: PostgresStore) -> None:
    order: list[str] = []

    def claim_common() -> None:
        with other.claim([5, 2]) as waited_us:
            order.append("second")
            assert waited_us > 200_000
            assert other.shard_versions()[2] == 1, "it sees what the first one wrote"

    with store.claim([2, 3]), other.claim([1, 4, 63]) as waited_us:
        assert waited_us < 5_000_000
    with store.claim([2, 3]), store.transaction({2: 0, 3: 0}):
        waiting = Aside(claim_common)
        time.sleep(0.4)
        order.append("first")
    waiting.end()
    assert order == ["first", "second"]


def test_a_transaction_without_a_claim_waits_too_and_is_stale_then(store: PostgresStore, other: PostgresStore) -> None:
    def write_stale() -> None:
        with other.transaction({3: 0, 2: 0}):
            pytest.fail("it was stale")

    with store.claim([2]), store.transaction({2: 0}):
        waiting = Aside(write_stale)
        time.sleep(0.3)
    with pytest.raises(StaleStateError, match="2"):
        waiting.end()
    assert store.shard_versions()[2:4] == [1, 0]


def test_no_two_wait_for_each_other_whatever_the_order(database_url: str) -> None:
    """Shards, dead letters, offsets and counters in common, each asked for in another order."""
    rounds = 25

    def work(seed: int) -> None:
        rng = random.Random(seed)
        with closing(PostgresStore(database_url)) as store:
            for n in range(rounds):
                shards = rng.sample(range(8), 4)
                with store.claim(shards):
                    versions = store.shard_versions()
                    writes = batch(store)
                    writes.dead_letters += [letter(m) for m in rng.sample(range(n, n + 20), 10)]
                    # Offsets unseen here are put without question, as by a pass.
                    writes.next_offsets |= {(TOPIC, m): 1 for m in rng.sample(range(6), 3)}
                    writes.duplicates.update(dict.fromkeys(writes.next_offsets, 1))
                    writes.counters.update({(f"c{m}", ""): 1 for m in rng.sample(range(6), 6)})
                    with store.transaction({shard: versions[shard] for shard in shards}) as transaction:
                        transaction.set_counter("a", n)
                        transaction.apply(writes, IDENTITIES)
                        transaction.count({("b", ""): 1})

    for worker in [Aside(lambda seed=seed: work(seed)) for seed in range(3)]:  # type: ignore[misc]
        worker.end()
    with closing(PostgresReader(database_url)) as reader:
        assert reader.query("SELECT sum(version) FROM shards")[1] == [(3 * rounds * 4,)]
        assert reader.query("SELECT name, value FROM counters WHERE name <> 'a' ORDER BY name")[1] == [
            ("b", 3 * rounds),
            *((f"c{m}", 3 * rounds) for m in range(6)),
        ]
        assert reader.query("SELECT sum(duplicates) FROM offsets")[1] == [(3 * rounds * 3,)]


def test_of_two_that_wait_for_each_other_one_is_told_to_try_again(store: PostgresStore, other: PostgresStore) -> None:
    store.set_meta("a", "")
    store.set_meta("b", "")

    def put_b_then_a() -> None:
        with other.transaction() as transaction:
            transaction.set_meta("b", "2")
            met.wait(10)
            transaction.set_meta("a", "2")

    met = threading.Barrier(2)
    failed = []
    aside = Aside(put_b_then_a)
    try:
        with store.transaction() as transaction:
            transaction.set_meta("a", "1")
            met.wait(10)
            transaction.set_meta("b", "1")
    except StaleStateError as error:
        failed.append(error)
    try:
        aside.end()
    except StaleStateError as error:
        failed.append(error)
    assert len(failed) == 1
    assert store.meta("a") == store.meta("b") != ""


def test_of_two_that_drain_a_partition_without_a_shard_one_is_late(store: PostgresStore, other: PostgresStore) -> None:
    def drain(worker: PostgresStore, before: int | None, after: int, meanwhile: Callable[[], None]) -> None:
        with worker.claim([]), worker.transaction({}) as transaction:
            seen = worker.offsets().get((TOPIC, 0))
            assert (None if seen is None else seen.next_offset) == before
            meanwhile()
            writes = batch(worker)
            writes.dead_letters.append(letter(after))
            writes.next_offsets[TOPIC, 0] = after
            transaction.apply(writes, IDENTITIES)

    with pytest.raises(StaleStateError, match="partition"):
        drain(store, None, 8, lambda: drain(other, None, 5, lambda: None))
    with pytest.raises(StaleStateError, match="partition"):
        drain(store, 5, 9, lambda: drain(other, 5, 7, lambda: None))
    drain(store, 7, 9, lambda: None)
    assert store.offsets()[TOPIC, 0].next_offset == 9
    assert len(store._rows("SELECT 1 FROM dead_letters")) == 3


def test_a_context_made_inside_a_claim_outlives_it(store: PostgresStore, other: PostgresStore) -> None:
    with store.claim([1]):
        number = store.new_context(b"x")
        assert other.contexts() == {number: b"x"}
    assert store.contexts() == {number: b"x"}


def test_what_is_not_claimed_is_not_written(store: PostgresStore) -> None:
    with pytest.raises(RuntimeError, match=r"\[2\]"), store.claim([1]), store.transaction({1: 0, 2: 0}):
        pytest.fail("shard 2 is not held")
    with store.claim([1]), pytest.raises(RuntimeError, match="open already"), store.claim([2]):
        pytest.fail("one at a time")
    assert store.shard_versions()[1:3] == [0, 0]


# What goes away.


def test_a_worker_that_stands_still_loses_its_shards(database_url: str, store: PostgresStore) -> None:
    with closing(PostgresStore(database_url, idle_in_transaction_s=0.3)) as paused:
        with paused.claim([1]):
            time.sleep(0.8)
            with store.claim([1]) as waited_us, store.transaction({1: 0}):
                assert waited_us < 2_000_000
            with pytest.raises(StoreUnavailableError):
                paused.heads({"a": 1})
        assert paused.shard_versions()[1] == 1


def test_a_connection_cut_in_a_claim_is_not_replaced_within_it(store: PostgresStore, other: PostgresStore) -> None:
    def cut() -> None:
        (pid,) = store._rows("SELECT pg_backend_pid()")[0]
        assert other._rows("SELECT pg_terminate_backend(%s)", (pid,)) == [(True,)]

    def work() -> None:
        with store.claim([1]):
            cut()
            with pytest.raises(StoreUnavailableError):
                store.shard_versions()
            with pytest.raises(StoreUnavailableError, match="in the middle"):
                store.offsets()
            with store.transaction({1: 0}):
                pytest.fail("nothing is held any more")

    with pytest.raises(StoreUnavailableError):
        work()
    assert store.shard_versions()[1] == 0
    cut()
    with pytest.raises(StoreUnavailableError):
        store.meta("rules")
    assert store.meta("rules") is None
    writes = batch(store)
    writes.heads.append(head("k", 3))
    write(store, writes)
    assert store.heads({"k": 3}) == {"k": head("k", 3)}


def test_a_server_that_was_killed_is_found_again() -> None:
    with Postgres() as server:
        url = server.create_database()
        with closing(PostgresStore(url)) as store, closing(PostgresReader(url)) as reader:
            writes = batch(store)
            rowid = writes.insert("exposures", exposure())
            with store.claim([1]), store.transaction({1: 0}) as transaction:
                transaction.apply(writes, {})
            server.kill()
            for _ in range(2):
                with pytest.raises(StoreUnavailableError) as failed:
                    store.offsets()
                assert PASSWORD not in str(failed.value)
                with pytest.raises(StoreUnavailableError):
                    reader.query("SELECT 1")
            with pytest.raises(StoreUnavailableError), store.claim([1]):
                pytest.fail("nothing is held")
            server.restart()
            assert store.row("exposures", rowid) == exposure()
            assert store.new_batch() > writes.batch
            with store.claim([1]), store.transaction({1: 1}):
                pass
            assert reader.query("SELECT version FROM shards WHERE shard = 1")[1] == [(2,)]


# What cannot be opened.


def _refused(url: str) -> str:
    with pytest.raises(HomeError) as refused:
        PostgresStore(url)
    assert PASSWORD not in str(refused.value)
    assert "sesame" not in str(refused.value)
    assert "[store] url" in str(refused.value)
    return str(refused.value)


def test_what_the_server_refuses_is_said_without_the_password(postgres_server: Postgres, database_url: str) -> None:
    assert "password" in _refused(postgres_server.url("postgres", password="sesame"))
    assert "password" in _refused(postgres_server.url("postgres", user="stranger"))
    assert "CREATE DATABASE" in _refused(postgres_server.url("nowhere"))
    assert "TLS" in _refused(f"{database_url}?sslmode=require")
    with pytest.raises(StoreUnavailableError) as failed:
        PostgresStore(f"postgresql://u:sesame@127.0.0.1:{free_port()}/x?connect_timeout=2")
    assert "sesame" not in str(failed.value)


@pytest.mark.parametrize(
    "url",
    [
        "sesame",
        "mysql://u:sesame@h/d",
        "postgresql://u:open sesame@h/d",
        "postgresql://u:open/sesame@h/d",
        "postgresql://u:open#sesame@h/d",
        "postgresql://u:1234/sesame@127.0.0.1/d",
        "postgresql://u:open%zzsesame@h/d",
        "postgresql://u:sesame@h/d?unknown=1",
    ],
)
def test_an_address_that_is_none_is_refused_without_a_word_of_it(url: str) -> None:
    assert "%40" in _refused(url)


def test_the_name_lacks_the_password(store: PostgresStore, database_url: str, postgres_server: Postgres) -> None:
    database = database_url.rpartition("/")[2]
    assert store.name == f"postgresql://edgeloop@127.0.0.1:{postgres_server.port}/{database}"


def test_tls_is_checked_where_it_is_asked_for(tmp_path: Path) -> None:
    with Postgres(tls=True) as server:
        url = server.create_database()
        with closing(PostgresStore(url)) as store:
            assert store._rows("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()") == [(True,)]
        with closing(PostgresReader(url)) as reader:
            assert reader.query("SELECT count(*) FROM exposures")[1] == [(0,)]
        assert "sslrootcert" in _refused(server.url("postgres", sslrootcert=str(tmp_path / "none.pem")))
        other = Certificates(tmp_path / "other")
        assert "sslrootcert" in _refused(server.url("postgres", sslrootcert=str(other.ca)))


# What text cannot hold.


def test_a_nul_does_not_stop_a_batch(store: PostgresStore) -> None:
    first = batch(store)
    kept = first.insert("exposures", exposure(1))
    write(store, first)
    writes = batch(store)
    plain = writes.insert("exposures", exposure(2))
    odd = writes.insert("exposures", changed(exposure(3), error="a\0b", subject="\0", extra='{"a":"\\u0000"}'))
    writes.replace("exposures", kept, changed(exposure(1), error="\0"))
    writes.superseded.append(("exposure", "k\0", "e\0", "ab", 1, AT_US))
    writes.dead_letters.append(letter(1, source="s\0"))
    write(store, writes)
    assert store.row("exposures", plain) == exposure(2)
    assert store.row("exposures", odd) == changed(
        exposure(3), error="a\ufffdb", subject="\ufffd", extra='{"a":"\\u0000"}'
    )
    assert store.row("exposures", kept) == changed(exposure(1), error="\ufffd")
    assert [event_id for _, _, event_id in store.superseded("k\0")] == ["e\ufffd"]
    assert store._rows("SELECT source FROM dead_letters") == [("s\ufffd",)]


def test_a_cell_of_the_wrong_kind_is_an_error_and_writes_nothing(store: PostgresStore) -> None:
    writes = batch(store)
    writes.insert("exposures", exposure(1))
    writes.insert("exposures", changed(exposure(2), received_at=-(2**62)))
    with pytest.raises(psycopg.DataError):
        write(store, writes)
    assert store._rows("SELECT count(*) FROM exposures") == [(0,)]
    write(store, Writes(store.new_batch()))
