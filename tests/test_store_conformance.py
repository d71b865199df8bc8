"""What every store keeps to: the protocols of edgeloop/store/base.py, for SQLite and for PostgreSQL."""

from __future__ import annotations

import contextlib
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from edgeloop.clock import iso, to_us
from edgeloop.log.partitioner import SHARDS
from edgeloop.store.base import StaleStateError, Store, StoredOffset, slot_of
from edgeloop.store.gone_letters import gone_by_day, gone_by_reason
from edgeloop.store.rows import Check, Estimate
from edgeloop.store.schema import DEAD_LETTERS, ESTIMATES
from edgeloop.store.writes import BATCH_BITS, Writes
from tests.stores import AT_US, STORES, TOPIC, Place, batch, each_place, exposure, head, letter, write

place = pytest.fixture(params=STORES)(each_place)


# Facts and numbers.


def test_facts_are_remembered_and_forgotten(place: Place) -> None:
    store, other = place.store(), place.store()
    assert store.meta("rules") is None
    store.set_meta("rules", "a")
    store.set_meta("rules", "b")
    assert other.meta("rules") == "b"
    with store.transaction() as transaction:
        transaction.set_meta("rules", "c")
        transaction.set_meta("horizon", "d")
        assert store.meta("rules") == "c"
        assert other.meta("rules") == "b"
    with store.transaction() as transaction:
        transaction.drop_meta("rules")
    assert (other.meta("rules"), other.meta("horizon")) == (None, "d")


def test_no_batch_number_is_given_twice(place: Place) -> None:
    store, other = place.store(), place.store()
    numbers = [store.new_batch(), other.new_batch(), store.new_batch()]
    assert numbers == sorted(set(numbers))
    with store.claim([1]):
        numbers.append(store.new_batch())
    assert other.new_batch() > max(numbers)


def test_a_context_keeps_its_number(place: Place) -> None:
    store, other = place.store(), place.store()
    first = store.new_context(b"a\0")
    second = other.new_context(b"b")
    assert first != second
    assert other.new_context(b"a\0") == first
    assert store.contexts() == other.contexts() == {first: b"a\0", second: b"b"}


# Transactions.


def test_a_transaction_raises_the_versions_of_its_shards(place: Place) -> None:
    store, other = place.store(), place.store()
    assert store.shard_versions() == [0] * SHARDS
    with store.claim({3, 60}) as waited_us:
        assert waited_us >= 0
        with store.transaction({60: 0, 3: 0}) as transaction:
            transaction.apply(Writes(9), {})
    assert other.shard_versions() == [1 if shard in (3, 60) else 0 for shard in range(SHARDS)]
    with other.transaction({3: 1}):
        pass
    assert store.shard_versions()[3] == 2


def test_what_was_read_before_another_wrote_is_refused(place: Place) -> None:
    store, other = place.store(), place.store()
    with other.transaction({7: 0}):
        pass
    writes = batch(store)
    writes.insert("exposures", exposure())
    with pytest.raises(StaleStateError, match="7"), store.transaction({6: 0, 7: 0}) as transaction:
        transaction.apply(writes, {})
    assert store.shard_versions()[6:8] == [0, 1]
    assert place.rows("SELECT count(*) FROM exposures") == [(0,)]


def test_an_exception_leaves_nothing_behind(place: Place) -> None:
    store = place.store()
    writes = batch(store)
    writes.insert("exposures", exposure())
    writes.heads.append(head("s0", 4))
    writes.deltas.append((4, b"d"))
    writes.inbox.append(("c", 4, b"i"))
    writes.superseded.append(("exposure", "s0", "e0", "ab", 1, AT_US))
    writes.dead_letters.append(letter(1))
    writes.next_offsets[TOPIC, 0] = 9
    writes.counters["batches", ""] = 1

    def break_off() -> None:
        with store.claim([4]), store.transaction({4: 0}) as transaction:
            transaction.apply(writes, {TOPIC: ("c", "t")})
            transaction.set_meta("rules", "x")
            transaction.set_counter("last_commit_us", 5)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        break_off()
    assert store.shard_versions()[4] == 0
    assert (store.offsets(), store.deltas([4]), store.waiting([4], 9), store.meta("rules")) == ({}, [], [], None)
    assert store.heads({"s0": 4}) == {"s0": slot_of("s0", 4)}
    for table in ("exposures", "superseded", "dead_letters", "counters"):
        assert place.rows(f"SELECT count(*) FROM {table}") == [(0,)]


def test_a_claim_without_a_transaction_changes_nothing_and_lets_go(place: Place) -> None:
    store, other = place.store(), place.store()
    with store.claim([1, 2]):
        store.heads({"k": 1})
    with other.transaction({1: 0, 2: 0}):
        pass
    with store.claim([1]):
        assert store.shard_versions()[1:3] == [1, 1]
        with store.transaction({1: 1}):
            pass
        # What follows in the block is no longer held, but works.
        assert store.shard_versions()[1] == 2


# What a batch writes.


def test_rows_are_found_by_their_numbers(place: Place) -> None:
    store = place.store()
    writes = batch(store)
    rows = [exposure(n, latency_ms=n + 0.5, fallback=n == 1, extra={"ä": n}, revision=n) for n in range(3)]
    numbers = [writes.insert("exposures", row) for row in rows]
    assert numbers[0] == writes.batch << BATCH_BITS
    page = writes.insert("state_pages", (b"page\0",))
    writes.delete("exposures", numbers[1], 1)
    write(store, writes)
    assert store.row("exposures", numbers[0]) == rows[0]
    assert store.row("exposures", numbers[2]) == rows[2]
    assert store.page(page) == b"page\0"
    with pytest.raises(ValueError, match="not enough values"):
        store.row("exposures", numbers[1])
    assert place.rows("SELECT exposure_id, fallback, extra FROM exposures ORDER BY exposure_id") == [
        ("e0", 0, '{"ä":0}'),
        ("e2", 0, '{"ä":2}'),
    ]


@pytest.mark.parametrize("taken_back", [(), (0,), (1, 2)], ids=str)
def test_rows_are_adopted_in_their_order_and_taken_back_one_by_one(place: Place, taken_back: tuple[int, ...]) -> None:
    store = place.store()
    writes = batch(store)
    rows = [exposure(n) for n in range(3)]
    writes.adopt({"exposures": rows, "engagement": []})
    for number in taken_back:
        assert writes.take_back("exposures", writes.first_rowid + number) == rows[number]
        with pytest.raises(LookupError, match="before"):
            writes.take_back("exposures", writes.first_rowid + number)
    after = writes.insert("exposures", exposure(3))
    write(store, writes)
    assert rows == [exposure(n) for n in range(3)], "the caller's list stays as it was"
    assert store.row("exposures", after) == exposure(3)
    assert place.rows("SELECT exposure_id FROM exposures ORDER BY rowid") == [
        (f"e{n}",) for n in range(4) if n not in taken_back
    ]
    for number in {0, 1, 2} - set(taken_back):
        assert store.row("exposures", writes.first_rowid + number) == rows[number]


def test_rows_are_replaced_in_place_and_deleted_by_ranges(place: Place) -> None:
    store = place.store()
    first = batch(store)
    numbers = [first.insert("exposures", exposure(n)) for n in range(10)]
    for name in ("exposures", "answers"):
        assert not first.deleted[name]
    write(store, first)
    second = batch(store)
    second.replace("exposures", numbers[3], exposure(3, error="timeout"))
    second.replace("exposures", numbers[9], exposure(9, error="late"))
    second.delete("exposures", numbers[0], 2)
    second.delete("exposures", numbers[5], 3)
    new = second.insert("exposures", exposure(10))
    second.replace("exposures", new, exposure(11))
    write(store, second)
    assert store.row("exposures", numbers[3]) == exposure(3, error="timeout")
    assert store.row("exposures", new) == exposure(11)
    found = place.rows("SELECT exposure_id, error FROM exposures ORDER BY rowid")
    assert found == [
        ("e2", None), ("e3", "timeout"), ("e4", None), ("e8", None), ("e9", "late"), ("e11", None),
    ]  # fmt: skip


def test_a_transaction_may_write_more_than_once(place: Place) -> None:
    store = place.store()
    first, second = batch(store), batch(store)
    first.heads.append(head("k", 1))
    first.dead_letters.append(letter(1))
    first.insert("exposures", exposure(1))
    second.heads.append(head("k", 1, n=9))
    second.dead_letters.append(letter(2))
    second.insert("exposures", exposure(2))
    with store.transaction() as transaction:
        transaction.apply(first, {})
        transaction.apply(second, {})
    assert store.heads({"k": 1}) == {"k": head("k", 1, n=9)}
    assert place.rows("SELECT count(*) FROM dead_letters") == place.rows("SELECT count(*) FROM exposures") == [(2,)]


def test_heads_are_found_by_key_even_where_their_slot_was_taken(place: Place) -> None:
    store = place.store()
    slot = slot_of("mine", 9)
    assert store.heads({"mine": 9}) == {"mine": slot}
    writes = batch(store)
    writes.heads += [head("another's", 9, slot), head("last\0ü😀", 63)]
    write(store, writes)
    assert store.heads({"mine": 9}) == {"mine": slot + 1}
    writes = batch(store)
    mine = head(
        "mine", 9, slot + 1, first_outcome_us=-(2**63), last_outcome_us=2**63 - 1, twins=True, entries=b"e" * 9_000
    )
    writes.heads.append(mine)
    write(store, writes)
    found = store.heads({"mine": 9, "none": 9, "last\0ü😀": 63})
    assert found == {"mine": mine, "none": slot_of("none", 9), "last\0ü😀": head("last\0ü😀", 63)}
    writes = batch(store)
    writes.heads.append(head("mine", 9, slot + 1, n=3, ids=b""))
    write(store, writes)
    assert store.heads({"mine": 9}) == {"mine": head("mine", 9, slot + 1, n=3, ids=b"")}
    assert store.has_slot(slot + 1)
    assert not store.has_slot(slot + 2)
    assert store.keys_after(-1, 2) == [(slot, "another's"), (slot + 1, "mine")]
    assert store.keys_after(slot + 1, 2) == [(slot_of("last\0ü😀", 63), "last\0ü😀")]
    assert (store.count_keys(-1), store.count_keys(slot)) == ((0, 3), (1, 3))
    writes = batch(store)
    writes.deleted["state_heads"].append((slot, slot))
    write(store, writes)
    assert not store.has_slot(slot)


def test_deltas_come_in_order_until_they_are_settled(place: Place) -> None:
    store = place.store()
    for number in (1, 2, 3):
        writes = Writes(number)
        writes.deltas += [(8, b"%d" % number), (9, b"x\0")]
        write(store, writes)
    assert store.deltas([8]) == [(1, b"1"), (2, b"2"), (3, b"3")]
    assert len(store.deltas([8, 9, 10])) == 6
    writes = batch(store)
    writes.settled.append(8)
    writes.deltas.append((8, b"after"))
    write(store, writes)
    assert [packed for _, packed in store.deltas([8])] == [b"after"]


def test_what_waits_is_given_whole_for_each_key(place: Place) -> None:
    store = place.store()
    assert store.waiting_shards(range(SHARDS)) == []
    writes = batch(store)
    writes.inbox += [("a", 2, b"1"), ("b", 2, b"2"), ("a", 2, b"3\0"), ("c", 5, b"4"), ("d", 6, b"5")]
    write(store, writes)
    assert store.waiting_shards([6, 2, 3, 5]) == [2, 5, 6]
    some = store.waiting([2, 5], 1)
    assert {key for _, key, _ in some} < {"a", "b", "c"}
    every = store.waiting([2, 5], 9)
    assert sorted((key, item) for _, key, item in every) == [("a", b"1"), ("a", b"3\0"), ("b", b"2"), ("c", b"4")]
    assert [number for number, _, _ in every] == sorted(number for number, _, _ in every)
    assert len(some) == sum(key == some[0][1] for _, key, _ in every)
    writes = batch(store)
    writes.worked_off += [number for number, key, _ in every if key != "b"]
    write(store, writes)
    assert [(key, item) for _, key, item in store.waiting(range(SHARDS), 9)] == [("b", b"2"), ("d", b"5")]


def test_the_outbox_keeps_the_order_until_it_was_published(place: Place) -> None:
    store = place.store()
    assert store.outbox(range(SHARDS), 9) == []
    for number in (1, 2):
        writes = batch(store)
        writes.updates += [(4, "k\0", b"\xff%d" % number), (5, "other", b"")]
        write(store, writes)
    found = store.outbox([4], 9)
    assert [(key, body) for _, key, body in found] == [("k\0", b"\xff1"), ("k\0", b"\xff2")]
    assert store.outbox([4, 5], 1) == found[:1]
    writes = batch(store)
    writes.published.append(found[0][0])
    writes.updates.append((4, "last", b"x"))
    write(store, writes)
    assert [key for _, key, _ in store.outbox(range(SHARDS), 9)] == ["other", "k\0", "other", "last"]


def test_offsets_move_and_duplicates_add_up(place: Place) -> None:
    store = place.store()
    for offset, duplicates in ((5, 2), (9, 1)):
        writes = batch(store)
        writes.next_offsets |= {(TOPIC, 1): offset, (TOPIC, 0): 1}
        writes.duplicates[TOPIC, 1] = duplicates
        writes.last_sha256[TOPIC, 1] = b"%d" % offset
        write(store, writes)
    assert store.offsets() == {
        (TOPIC, 0): StoredOffset(1, "cluster", "topic-id"),
        (TOPIC, 1): StoredOffset(9, "cluster", "topic-id", b"9"),
    }
    assert place.rows("SELECT partition, duplicates FROM offsets ORDER BY partition") == [(0, 0), (1, 3)]


def test_counters_add_up_and_moments_are_put(place: Place) -> None:
    store = place.store()
    for _ in range(2):
        with store.transaction() as transaction:
            transaction.count({("dead_letters", "not JSON"): 2, ("batches", ""): 1, ("never", ""): 0})
            transaction.count({("batches", ""): 1})
            transaction.set_counter("last_commit_us", 2**62)
    found = place.rows("SELECT name, label, value FROM counters ORDER BY name")
    assert found == [("batches", "", 4), ("dead_letters", "not JSON", 4), ("last_commit_us", "", 2**62)]


def test_a_dead_letter_is_kept_once_and_for_a_while(place: Place) -> None:
    store = place.store()
    for letters in ([letter(2), letter(1), letter(2)], [letter(1), letter(3, "log:edge.exposures/0", AT_US - 1)]):
        writes = batch(store)
        writes.dead_letters += letters
        write(store, writes)
    columns = ", ".join(DEAD_LETTERS.names)
    assert sorted(place.rows(f"SELECT {columns} FROM dead_letters")) == [
        letter(1), letter(2), letter(3, "log:edge.exposures/0", AT_US - 1),
    ]  # fmt: skip
    assert store.delete_dead_letters(AT_US, [TOPIC], "UTC") == 1
    assert store.delete_dead_letters(AT_US, [TOPIC], "UTC") == 0
    assert store.delete_dead_letters(AT_US + 1, [TOPIC], "UTC") == 2
    assert place.rows("SELECT label, value FROM counters WHERE name = 'pruned'") == [("dead_letters", 1)]
    with contextlib.closing(place.reader()) as reader:
        assert gone_by_reason(reader) == {"not JSON": 3}
        assert gone_by_day(reader) == {iso(AT_US)[:10]: 3}


def test_dead_letters_deleted_by_two_at_once_are_counted_once(place: Place) -> None:
    store = place.store()
    writes = batch(store)
    writes.dead_letters += [letter(n, f"log:{TOPIC}/0" if n % 2 else "http", AT_US - 1 - n) for n in range(5_000)]
    writes.dead_letters += [letter(n, received_us=AT_US + n) for n in range(5_000, 5_100)]
    write(store, writes)

    def delete(connection: Store) -> int:
        deleted = 0
        while n := connection.delete_dead_letters(AT_US, [TOPIC], "Asia/Tokyo"):
            assert n <= 1_000, "a transaction that others wait for"
            deleted += n
        return deleted

    with ThreadPoolExecutor(2) as two:
        by_each = list(two.map(delete, [place.store(), place.store()]))
    assert sum(by_each) == 5_000
    assert place.rows("SELECT count(*) FROM dead_letters") == [(100,)]
    assert place.rows("SELECT label, value FROM counters WHERE name = 'pruned'") == [("dead_letters", 2_500)]
    assert gone_by_reason(place.reader()) == {"not JSON": 5_000}


def test_a_dead_letter_may_say_any_time(place: Place) -> None:
    store = place.store()
    writes = batch(store)
    writes.dead_letters += [letter(1, received_us=to_us(datetime(1, 1, 1, tzinfo=UTC)))]
    write(store, writes)
    assert store.delete_dead_letters(AT_US, [TOPIC], "America/New_York") == 1
    assert gone_by_day(place.reader()) == {"0001-01-01": 1}


def test_bodies_that_lost_are_found_by_key_and_deleted(place: Place) -> None:
    store = place.store()
    writes = batch(store)
    writes.superseded += [("exposure", "k", f"e{n}", "ab", n, AT_US) for n in range(3)]
    writes.superseded.append(("exposure", "other", "e", "ab", 0, AT_US))
    write(store, writes)
    store.index_superseded()
    store.index_superseded()
    found = store.superseded("k")
    assert sorted((kind, event_id) for _, kind, event_id in found) == [("exposure", f"e{n}") for n in range(3)]
    writes = batch(store)
    for number, _, event_id in found:
        if event_id != "e1":
            writes.delete("superseded", number, 1)
    with store.transaction() as transaction:
        transaction.apply(writes, {})
        transaction.drop_superseded_index()
    assert [event_id for _, _, event_id in store.superseded("k")] == ["e1"]


def test_estimates_stand_in_place_of_those_before(place: Place) -> None:
    store = place.store()
    estimate = Estimate(
        freeze_id="f", month="2026-01", change_id="c", model_id="m", to_version="2", metric="x", metric_kind="mean",
        unit="subject", n_control=3, lift=-0.1, p=float("nan"), verdict="promote",
    )  # fmt: skip
    check = Check(freeze_id="f", month="2026-01", change_id="c", check="srm", value=0.5, state="ok")
    store.write_estimates("f", [estimate, estimate], [check])
    store.write_estimates("f", [estimate], [])
    columns = ", ".join(f'"{name}"' for name in ESTIMATES.names)
    (found,) = place.rows(f"SELECT {columns} FROM estimates")
    assert dict(zip(ESTIMATES.names, found, strict=True))["lift"] == -0.1
    assert found[ESTIMATES.names.index("n_control")] == 3
    assert found[ESTIMATES.names.index("p")] is None
    assert place.rows('SELECT "check" FROM checks') == []


def test_it_is_there_after_it_was_closed(place: Place) -> None:
    store = place.store()
    number = store.new_batch()
    with store.transaction({1: 0}) as transaction:
        transaction.set_meta("rules", "x")
    store.close()
    again = place.store()
    assert again.new_batch() > number
    assert (again.meta("rules"), again.shard_versions()[1], again.free_bytes() >= 0) == ("x", 1, True)
    assert "sqlite" in again.name or "postgresql://" in again.name
