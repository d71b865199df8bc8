"""The store's interface: what a worker reads of its keys' state, and one transaction per batch.

SQLite file or PostgreSQL database, the same meaning; one conformance suite holds both to it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from hashlib import blake2b
from typing import Any, Protocol

import msgspec

from edgeloop.errors import UsageError
from edgeloop.log.base import TopicPartition
from edgeloop.store.actions import Action, Answer, Notice
from edgeloop.store.rows import Bar, Check, Estimate
from edgeloop.store.schema import Cell, Row
from edgeloop.store.writes import Head, Writes

_SLOT_BITS = 57


class StoredOffset(msgspec.Struct, frozen=True):
    """How far one partition is drained."""

    next_offset: int
    cluster_id: str
    topic_id: str
    last_sha256: bytes | None = None


class StaleStateError(Exception):
    """Another worker wrote to a shard, or drained a partition, after this one had read it."""


class StatementError(UsageError):
    """A statement is wrong, or would write where only reading is allowed."""


class StoreUnavailableError(Exception):
    """The store does not answer now; what was not committed has not happened, and trying again is right."""


def slot_of(key: str, shard: int) -> int:
    """Where the head of a key is looked for first; keys of one shard lie together."""
    digest = int.from_bytes(blake2b(key.encode(), digest_size=8).digest(), "big")
    return shard << _SLOT_BITS | digest >> 64 - _SLOT_BITS


def heads_of(keys: Mapping[str, int], read: Callable[[list[int]], Iterable[Head]]) -> dict[str, Head | int]:
    """Of each key (with its shard) the head, or the slot for a new one.

    ``read`` gives the heads that lie at ascending slots.
    """
    found: dict[str, Head | int] = {}
    wanted = {key: slot_of(key, shard) for key, shard in keys.items()}
    while wanted:
        there = {head.slot: head for head in read(sorted(wanted.values()))}
        elsewhere: dict[str, int] = {}
        for key, slot in wanted.items():
            head = there.get(slot)
            if head is None:
                found[key] = slot
            elif head.key == key:
                found[key] = head
            else:
                elsewhere[key] = slot + 1
        wanted = elsewhere
    return found


class StoreTransaction(Protocol):
    """What a batch writes under its locks."""

    def apply(self, writes: Writes, identities: Mapping[str, tuple[str, str]]) -> None:
        """Write everything; ``identities`` gives (cluster id, topic id) of each topic."""
        ...

    def set_meta(self, name: str, value: str) -> None:
        """Remember a fact."""
        ...

    def drop_meta(self, name: str) -> None:
        """Forget a fact."""
        ...

    def drop_superseded_index(self) -> None:
        """The inverse of `Store.index_superseded`."""
        ...

    def count(self, counters: Mapping[tuple[str, str], int]) -> None:
        """Raise counters by so much."""
        ...

    def set_counter(self, name: str, value: int) -> None:
        """Put a counter that tells a moment, not a number of things."""
        ...


class Store(Protocol):
    """A worker's connection; it belongs to one thread."""

    @property
    def name(self) -> str:
        """What an error calls it: a path, or an address without its password."""
        ...

    def meta(self, name: str) -> str | None:
        """A remembered fact, e.g. the rules' fingerprint."""
        ...

    def set_meta(self, name: str, value: str) -> None:
        """Remember a fact."""
        ...

    def offsets(self) -> dict[TopicPartition, StoredOffset]:
        """How far the log is drained."""
        ...

    def new_batch(self) -> int:
        """A number that no other batch of this store has or had, higher than all before; never taken back."""
        ...

    def contexts(self) -> dict[int, bytes]:
        """number → packed context, of all known."""
        ...

    def new_context(self, packed: bytes) -> int:
        """The number of a context; committed at once, so not to be asked for inside a `claim`."""
        ...

    def claim(self, shards: Collection[int]) -> AbstractContextManager[int]:
        """Hold shards from here to the end of the `transaction` begun inside, or to the end of the block without one.

        Gives how long that took to get, in µs. A store with one writer at a time holds nothing here: its `transaction`
        refuses what went stale. One in which workers write side by side locks these shards, in ascending order, so that
        what is read inside stays true.
        """
        ...

    def transaction(self, versions: Mapping[int, int] | None = None) -> AbstractContextManager[StoreTransaction]:
        """A transaction that holds the shards and raises their versions; commits unless an exception leaves it.

        Args:
            versions: shard → the version at which its state was read.

        Raises:
            StaleStateError: a shard has another version by now; nothing was written.
        """
        ...

    # What a batch reads.

    def shard_versions(self) -> list[int]:
        """The version of each shard."""
        ...

    def heads(self, keys: Mapping[str, int]) -> dict[str, Head | int]:
        """Of each key (with its shard) the head, or the slot for a new one."""
        ...

    def page(self, rowid: int) -> bytes:
        """A sealed page of a key's state."""
        ...

    def deltas(self, shards: Collection[int]) -> list[tuple[int, bytes]]:
        """(batch, packed) of what is not yet in the heads of these shards, oldest first."""
        ...

    def row(self, table: str, rowid: int) -> Row:
        """A stored row, in the order of ``INSERT_COLUMNS``; times are µs."""
        ...

    def waiting_shards(self, shards: Collection[int]) -> list[int]:
        """Those of these shards for whose couriers' keys something waits, ascending."""
        ...

    def waiting(self, shards: Collection[int], limit: int) -> list[tuple[int, str, bytes]]:
        """(rowid, courier's key, packed) of what waits for couriers' keys in these shards: of some keys, all of it."""
        ...

    def outbox(self, shards: Collection[int], limit: int) -> list[tuple[int, str, bytes]]:
        """(rowid, key of the record, body) of updates of these shards that are not published yet, oldest first."""
        ...

    # What a pass over all keys reads and deletes (streams/passes.py).

    def keys_after(self, slot: int, limit: int) -> list[tuple[int, str]]:
        """(slot, key) of the next heads, by slot."""
        ...

    def count_keys(self, slot: int) -> tuple[int, int]:
        """How many heads there are up to a slot, and in all."""
        ...

    def has_slot(self, slot: int) -> bool:
        """Whether a head lies there."""
        ...

    def index_superseded(self) -> None:
        """Make bodies that lost findable by key; only a prune looks for them."""
        ...

    def superseded(self, key: str) -> list[tuple[int, str, str]]:
        """(rowid, event type, event id) of a key's bodies that lost."""
        ...

    def delete_dead_letters(self, before_us: int, stored_topics: Collection[str], timezone: str) -> int:
        """Delete some of those received before a time, in one short transaction; how many, 0 where none is left.

        What stays of them are counts (edgeloop/store/gone_letters.py): of these topics' records, and by days of a zone.
        """
        ...

    def free_bytes(self) -> int:
        """How much of the file is free for new rows; 0 where that is the database's own business."""
        ...

    def write_estimates(
        self, freeze_id: str, estimates: Sequence[Estimate], checks: Sequence[Check], bridge: Sequence[Bar] = ()
    ) -> None:
        """Keep what analysis found for a freeze, in place of what it found before for the same one."""
        ...

    # What people are asked and answer; each call is a short transaction of its own, beside whoever drains.

    def add_actions(self, actions: Sequence[Action], who: str) -> list[Action]:
        """Keep those that are not there yet, as proposed by ``who``; which these were."""
        ...

    def move_action(self, answer: Answer) -> Action:
        """Take an answer; the action after it.

        Raises:
            NoSuchActionError: there is none of that id. IllegalStepError: no such step from its state now.
        """
        ...

    def begin_notice(self, wanted: Notice) -> bool:
        """Note, before it is sent, that a notice is being sent; False where it must not be (again) now."""
        ...

    def end_notice(self, ended: Notice) -> None:
        """Note that it was sent, or that it waits because it was refused; what was sent stays so."""
        ...

    def close(self) -> None:
        """Close the connection."""
        ...


class Reader(Protocol):
    """A read-only connection for analysts, freezes and status pages."""

    def snapshot(self) -> AbstractContextManager[None]:
        """Everything read inside sees the store as of one moment."""
        ...

    def query(self, sql: str, bindings: Sequence[Cell] = ()) -> tuple[list[str], list[tuple[Any, ...]]]:
        """Column names and rows of one statement; ``?`` stands for a binding, times come as µs.

        Raises:
            StatementError: the statement is wrong, or would write.
            StoreUnavailableError: the store does not answer now.
        """
        ...

    def pages(self, sql: str, at_once: int) -> Iterator[list[tuple[Any, ...]]]:
        """The rows of one statement, some at a time, so that memory holds no more; only inside `snapshot`.

        Raises:
            StoreUnavailableError: the store does not answer now.
        """
        ...

    def moment(self, us: int) -> str:
        """A time as an SQL literal that a time column can be compared with."""
        ...

    def day(self, column: str) -> str:
        """SQL of the UTC date of a time column, as ``YYYY-MM-DD``."""
        ...

    def close(self) -> None:
        """Close the connection."""
        ...
