"""The state of one join key: an index of ids, and entries in pages, most of which a batch never looks at.

The *head* holds the index and the open page, to which entries are appended without reading those before them. A full
page is sealed and lies apart; the head keeps the times it spans and the deliveries it is of, so that only pages inside
a window, or of a delivery that is named, are read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec

from edgeloop.store.writes import Head, Writes
from streams.directory import Span, pack_directory, unpack_directory
from streams.entries import Carried, Entry, Gone, Identified, Lost, Outcome, Shown, carried_hash, id_of, pack, unpack
from streams.marks import Marks, holds

PAGE_ENTRIES = 32
_MANY_IDS = 4_096
"""From so many bytes of the index on, `Marks` are faster than a search."""
_NONE_LOST: frozenset[tuple[int, str, bytes]] = frozenset()
_NONE_DIRTY: frozenset[int] = frozenset()
_OVERHEAD_BYTES = 900
"""About what a key costs in memory beside its bytes."""
_SPAN_BYTES = 220
OPEN, FRESH = -1, -2
"""Places beside the numbers of sealed pages: the open page, and what this batch adds to it."""

_encode = msgspec.msgpack.Encoder().encode

ReadPage = Callable[[int], bytes]


class Delta(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What one batch appended to one key."""

    key: str
    n: int
    twins: bool
    ids: bytes
    entries: bytes


class Waiting(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What a batch tells a courier's key, in the form in which it can be appended unread.

    ``delta.ids`` has a hash for each entry, in order; ``delta.twins`` says that one id is there twice.
    """

    delta: Delta
    first_us: int
    last_us: int


_waiting: msgspec.msgpack.Decoder[Waiting] = msgspec.msgpack.Decoder(Waiting)


class KeyState:
    """The state of one key, and what the batch at hand adds to it."""

    __slots__ = (
        "_by_id", "_dirty", "_ids_before", "_marks", "_packed", "_pages", "counted", "entries", "first_outcome_us",
        "first_us", "fresh", "ids", "key", "last_outcome_us", "last_us", "lost", "n", "shard", "slot", "spans", "twins",
        "unflushed",
    )  # fmt: skip

    def __init__(self, key: str, shard: int, head: Head | int) -> None:
        self.key = key
        self.shard = shard
        self.fresh: list[Entry] = []
        # Empty containers that nearly every key goes without are shared: two sets weigh as much as ten entries.
        self.lost: set[tuple[int, str, bytes]] | frozenset[tuple[int, str, bytes]] = _NONE_LOST
        """(kind, id, hash) of bodies that lost; complete after `known`."""
        self.unflushed = False
        """Whether something is in deltas that is not in the head yet."""
        self._pages: dict[int, list[Entry]] = {}
        self._dirty: frozenset[int] = _NONE_DIRTY
        self._packed: Sequence[tuple[Delta, int, int]] = ()
        self._by_id: dict[tuple[int, str], tuple[int, Identified]] | None = None
        self._marks: Marks | None = None
        if isinstance(head, int):
            self.slot = head
            self.n = 0
            self.first_us, self.last_us = 0, 0
            self.first_outcome_us: int | None = None
            self.last_outcome_us: int | None = None
            self.twins = False
            self.ids = bytearray()
            self.entries = bytearray()
            self.spans: Sequence[Span] = ()
        else:
            self.slot = head.slot
            self.n = head.n
            self.first_us, self.last_us = head.first_us, head.last_us
            self.first_outcome_us, self.last_outcome_us = head.first_outcome_us, head.last_outcome_us
            self.twins = bool(head.twins)
            self.ids = bytearray(head.ids)
            self.entries = bytearray(head.entries)
            self.spans = unpack_directory(head.directory)
        self._ids_before = len(self.ids)
        self.counted = 0
        """How many bytes the cache counts for it."""

    @property
    def size(self) -> int:
        """About how many bytes of memory it takes."""
        marks = 0 if self._marks is None else self._marks.size
        return _OVERHEAD_BYTES + len(self.ids) + marks + len(self.entries) + _SPAN_BYTES * len(self.spans)

    def absorb(self, delta: Delta) -> None:
        """Take in what an earlier batch appended."""
        self._span(unpack(delta.entries, delta.n))
        self.n += delta.n
        self.twins = self.twins or delta.twins
        self.ids += delta.ids
        self.entries += delta.entries
        self._ids_before = len(self.ids)
        self.unflushed = True

    # Asking

    def may_know(self, short_hash: bytes) -> bool:
        """Whether an id may be among the key's; rarely yes for one that is not."""
        if len(self.ids) < _MANY_IDS:
            return short_hash in self.ids
        if self._marks is None or self._marks.full:
            self._marks = Marks(self.ids)
        return short_hash in self._marks and holds(self.ids, short_hash)

    def load(self, first_us: int, last_us: int, read: ReadPage, marks: int = 0) -> None:
        """Make the entries of a span of time available; with the marks of a delivery those of the delivery alone."""
        for place, span in enumerate(self.spans):
            if place not in self._pages and span.meets(first_us, last_us) and span.may_be_of(marks):
                self._pages[place] = unpack(read(span.rowid), span.n)
        if self.n and OPEN not in self._pages and self.first_us <= last_us and self.last_us >= first_us:
            self._pages[OPEN] = unpack(self.entries, self.n)

    def load_whole(self) -> bool:
        """Make every entry available, where no page of them was sealed; whether that is so."""
        if self.spans:
            return False
        if self.n and OPEN not in self._pages:
            self._pages[OPEN] = unpack(self.entries, self.n)
        return True

    def load_all(self, read: ReadPage) -> bool:
        """Make every entry available; whether there were more than before."""
        before = len(self._pages)
        for place, span in enumerate(self.spans):
            if place not in self._pages:
                self._pages[place] = unpack(read(span.rowid), span.n)
        if self.n and OPEN not in self._pages:
            self._pages[OPEN] = unpack(self.entries, self.n)
        return len(self._pages) > before

    def loaded(self) -> list[tuple[int, list[Entry]]]:
        """(place, entries) of what is available, in the order of arrival."""
        if not self.spans:  # the most keys by far
            open_page = self._pages.get(OPEN)
            return [(FRESH, self.fresh)] if open_page is None else [(OPEN, open_page), (FRESH, self.fresh)]
        sealed = sorted(place for place in self._pages if place != OPEN)
        found = [(place, self._pages[place]) for place in sealed]
        if OPEN in self._pages:
            found.append((OPEN, self._pages[OPEN]))
        found.append((FRESH, self.fresh))
        return found

    def known(self, kind: int, event_id: str, read: ReadPage) -> tuple[int, Identified] | None:
        """Where the entry of an id is, and the entry."""
        if self._by_id is None:
            self.load_all(read)
            self._by_id = {}
            lost: set[tuple[int, str, bytes]] = set()
            self.lost = lost
            for place, entries in self.loaded():
                for entry in entries:
                    if isinstance(entry, Lost):
                        lost.add((entry.kind, entry.id, entry.body_sha256))
                    elif not isinstance(entry, Carried | Gone):
                        self._by_id[id_of(entry)] = (place, entry)
        return self._by_id.get((kind, event_id))

    # Changing

    def add(self, entry: Entry, *short_hashes: bytes) -> None:
        """Append an entry, and what it may be asked for by."""
        self.fresh.append(entry)
        for short_hash in short_hashes:
            self.remember(short_hash)
        if self._by_id is not None:
            if isinstance(entry, Lost):
                self.lost |= {(entry.kind, entry.id, entry.body_sha256)}
            elif not isinstance(entry, Carried | Gone):
                self._by_id[id_of(entry)] = (FRESH, entry)

    def add_new(self, entry: Identified, short_hash: bytes) -> None:
        """`add`, of an entry whose id was just asked for."""
        self.fresh.append(entry)
        self.ids += short_hash
        if self._marks is not None:
            self._marks.add(short_hash)
        if self._by_id is not None:
            self._by_id[id_of(entry)] = (FRESH, entry)

    def add_packed(self, delta: Delta, first_us: int, last_us: int) -> None:
        """Append entries of carried exposures that nothing here need look at, as they were packed elsewhere."""
        self._packed = (*self._packed, (delta, first_us, last_us))
        self.ids += delta.ids
        if self._marks is not None:
            self._marks.add(delta.ids)

    def unpack_added(self) -> None:
        """Make what was added packed available with the rest."""
        if self._packed:
            added = [entry for delta, _, _ in self._packed for entry in unpack(delta.entries, delta.n)]
            self.fresh = added + self.fresh
            self._packed = ()

    def remember(self, short_hash: bytes) -> None:
        """Put a short hash into the index."""
        self.ids += short_hash
        if self._marks is not None:
            self._marks.add(short_hash)

    def replace(self, place: int, old: Identified, new: Identified) -> None:
        """Put an entry in the place of another of the same id."""
        entries = self.fresh if place == FRESH else self._pages[place]
        entries[next(i for i, entry in enumerate(entries) if entry is old)] = new
        self.touch(place)
        if self._by_id is not None:
            self._by_id[id_of(new)] = (place, new)

    def touch(self, place: int) -> None:
        """Note that entries of a page were changed."""
        if place != FRESH:
            self._dirty |= {place}

    def append_fresh(self) -> Delta | None:
        """Append what the batch added to the open page; the delta, or None where the key must be settled at once."""
        fresh, dirty = self.fresh, self._dirty
        if dirty and OPEN in dirty:
            before = self._pages[OPEN]
            self.entries = bytearray(pack(before))
            self._span(before)
        n = len(fresh)
        body = pack(fresh) if fresh else b""
        self._span(fresh)
        if self._packed:
            for delta, first_us, last_us in self._packed:
                self.first_us = min(self.first_us, first_us) if self.n + n else first_us
                self.last_us = max(self.last_us, last_us) if self.n + n else last_us
                n += delta.n
                body += delta.entries
            self._packed = ()
        self.n += n
        self.entries += body
        delta = Delta(self.key, n, self.twins, bytes(self.ids[self._ids_before :]), body)
        self._ids_before = len(self.ids)
        self.fresh = []
        if dirty or self.n > 4 * PAGE_ENTRIES:
            return None
        if self._pages or self._by_id is not None:
            self._forget_decoded()
        self.unflushed = self.unflushed or bool(n or delta.ids)
        return delta

    def settle(self, writes: Writes) -> Head:
        """The head to store, after `append_fresh`; seals what no longer fits the open page."""
        for place in self._dirty - {OPEN}:
            entries = self._pages[place]
            rowid = self.spans[place].rowid
            writes.replace("state_pages", rowid, (pack(entries),))
            self.spans = (*self.spans[:place], Span.of(rowid, entries), *self.spans[place + 1 :])
            for entry in entries:
                if type(entry) is Outcome:
                    self._span_outcome(entry.at_us)
        if self.n > PAGE_ENTRIES:
            self._seal(writes)
        if self._pages or self._by_id is not None:
            self._forget_decoded()
        self.unflushed = False
        return Head(
            slot=self.slot,
            key=self.key,
            batch=writes.batch,
            n=self.n,
            first_us=self.first_us,
            last_us=self.last_us,
            first_outcome_us=self.first_outcome_us,
            last_outcome_us=self.last_outcome_us,
            twins=self.twins,
            ids=bytes(self.ids),
            directory=pack_directory(self.spans),
            entries=bytes(self.entries),
        )

    def _seal(self, writes: Writes) -> None:
        entries = unpack(self.entries, self.n)
        whole = self.n - self.n % PAGE_ENTRIES
        sealed: list[Span] = []
        for begin in range(0, whole, PAGE_ENTRIES):
            page = entries[begin : begin + PAGE_ENTRIES]
            sealed.append(Span.of(writes.insert("state_pages", (pack(page),)), page))
        self.spans = (*self.spans, *sealed)
        left = entries[whole:]
        self.n = len(left)
        self.entries = bytearray(pack(left)) if left else bytearray()
        times = [entry.at_us for entry in left]
        self.first_us, self.last_us = (min(times), max(times)) if times else (0, 0)

    def _span(self, entries: Sequence[Entry]) -> None:
        """Widen the times of the open page, and of all outcomes, by entries of it."""
        for entry in entries:
            at_us = entry.at_us
            if self.n == 0 and entry is entries[0]:
                self.first_us = self.last_us = at_us
            elif at_us > self.last_us:
                self.last_us = at_us
            elif at_us < self.first_us:
                self.first_us = at_us
            if type(entry) is Outcome:
                self._span_outcome(at_us)

    def _span_outcome(self, at_us: int) -> None:
        if self.first_outcome_us is None or self.last_outcome_us is None:
            self.first_outcome_us = self.last_outcome_us = at_us
        elif at_us > self.last_outcome_us:
            self.last_outcome_us = at_us
        elif at_us < self.first_outcome_us:
            self.first_outcome_us = at_us

    def _forget_decoded(self) -> None:
        self._pages = {}
        self._dirty = _NONE_DIRTY
        self._by_id = None
        self.lost = _NONE_LOST


def shown_by_model(shown: Sequence[Shown], models: Mapping[int, str]) -> dict[str, list[Shown]]:
    """What each model showed, of exposures that a customer's outcomes can be credited to."""
    of_model: dict[str, list[Shown]] = {}
    for entry in shown:
        of_model.setdefault(models[entry.context], []).append(entry)
    return of_model


def carried_in(state: KeyState, models: Mapping[int, str]) -> dict[str, list[Carried]]:
    """The same that a delivery agent's answers can be credited to.

    A courier's key may see one exposure id from two customers, or one exposure again: then everything must have been
    made available, and the order of bodies decides which stands for the id.
    """
    carried: list[Carried] = []
    standing: dict[str, dict[str, Carried]] = {}
    for _, entries in state.loaded():
        for entry in entries:
            if type(entry) is Carried:
                if state.twins:
                    standing.setdefault(entry.exposure_id, {})[entry.subject] = entry
                else:
                    carried.append(entry)
            elif type(entry) is Gone:
                standing.get(entry.exposure_id, {}).pop(entry.subject, None)
    carried += [min(same_id.values(), key=lambda c: c.rank) for same_id in standing.values() if same_id]
    of_model: dict[str, list[Carried]] = {}
    for winner in carried:
        if winner.context is not None:
            of_model.setdefault(models[winner.context], []).append(winner)
    return of_model


def pack_waiting(courier: str, items: Sequence[Carried | Gone]) -> bytes:
    """What waits for a courier's key until its own lock is taken."""
    hashes = [carried_hash(item.exposure_id) for item in items]
    times = [item.at_us for item in items]
    twins = len(set(hashes)) < len(hashes)
    return _encode(Waiting(Delta(courier, len(items), twins, b"".join(hashes), pack(items)), min(times), max(times)))


def unpack_waiting(packed: bytes) -> Waiting:
    """The inverse of `pack_waiting`."""
    return _waiting.decode(packed)
