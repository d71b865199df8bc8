"""What a key with very many ids keeps in memory to be asked for one."""

from __future__ import annotations

import random
import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from streams.entries import Unseen
from streams.marks import Marks
from streams.state import KeyState

MANY = 50_000


def hashes(seed: int, n: int) -> list[bytes]:
    rng = random.Random(seed)
    return [rng.randbytes(4) for _ in range(n)]


@given(st.lists(st.binary(min_size=4, max_size=4)), st.lists(st.binary(min_size=4, max_size=4)))
def test_whatever_was_marked_is_found(before: list[bytes], after: list[bytes]) -> None:
    marks = Marks(b"".join(before))
    marks.add(b"".join(after))
    assert all(one in marks for one in before + after)


def test_most_of_what_was_not_marked_is_not_found() -> None:
    marks = Marks(b"".join(hashes(1, MANY)))
    assert sum(one in marks for one in hashes(2, MANY)) < MANY / 40


def test_marks_say_when_to_make_them_anew() -> None:
    marks = Marks(b"".join(hashes(1, 1_000)))
    assert not marks.full
    marks.add(b"".join(hashes(2, 4_000)))
    assert marks.full


def test_a_key_of_very_many_ids_knows_them_all_and_keeps_few_bytes_of_each() -> None:
    """A set of 50,000 ids takes four megabytes; a thousand couriers had made a worker's memory grow without end."""
    known = hashes(3, MANY)
    state = KeyState("courier", 0, 1)
    tracemalloc.start()
    for number, short_hash in enumerate(known):
        state.add_new(Unseen(4, "x", number, number), short_hash)
        assert state.may_know(short_hash)
    state.append_fresh()
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert all(map(state.may_know, known))
    assert sum(map(state.may_know, hashes(4, 1_000))) < 10
    beside_entries = size - len(state.entries)
    assert beside_entries < 12 * MANY
    assert state.size > 0.5 * size, "the cache counts what it takes"
