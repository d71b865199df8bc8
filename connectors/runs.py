"""Lines that are no objects: a run of them is one dead letter, or a wrong file makes as many as it has lines."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from connectors.intake import UNREAD, Item, Rejected, read
from edgeloop.sealing import WHOLE_BYTES

LONGEST_RUN = 10_000
_MAY_BE_AN_OBJECT = frozenset(b"{[\0\xef")
"""First bytes of an object, of an array of them, of padding and of a byte order mark."""


def in_runs(items: Iterable[Item]) -> Iterator[Item]:
    """The items, those that follow one another and are no objects as one (``line 3 to 7``).

    A run has at most `LONGEST_RUN` of them, and at most the bytes that a dead letter keeps whole.
    """
    run: list[Item] = []
    size = 0
    for item in items:
        if item.raw[:1] == b"{" or not _no_object(item):
            if run:
                yield _one(run)
                run, size = [], 0
            yield item
            continue
        if len(run) >= LONGEST_RUN or (run and size + len(item.raw) >= WHOLE_BYTES):
            yield _one(run)
            run, size = [], 0
        run.append(item)
        size += len(item.raw) + 1
    if run:
        yield _one(run)


def _no_object(item: Item) -> bool:
    unread = item.value is UNREAD or (item.rejected is not None and item.rejected.reason == "malformed")
    return unread and item.whole is None and bool(begin := item.raw.lstrip()[:1]) and begin[0] not in _MAY_BE_AN_OBJECT


def _one(run: list[Item]) -> Item:
    if len(run) == 1:
        return run[0]
    raw = b"\n".join(item.raw for item in run)
    kind, _, last = run[-1].place.rpartition(" ")
    same = kind and run[0].place.rpartition(" ")[0] == kind
    place = f"{run[0].place} to {last if same else run[-1].place}"
    if any(read(item).rejected is None for item in run):
        return Item(raw, place)  # JSON, and no event
    return Item(raw, place, rejected=Rejected("malformed", f"none of these {len(run):,} lines is JSON"))
