"""``edgeloop prune``: what happened before the horizon leaves the tables and the state, key by key.

An id goes or stays as a whole, by the time of the body that stands for it: with an exposure, a response or an event go
the bodies that lost against it, its answers and its attributions. What stays is attributed as if the rest had never
been. Declared changes stay, all of them: the ledger may need any stage that still runs.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from edgeloop.errors import HomeError
from edgeloop.horizon import Horizon
from edgeloop.store.base import Store, StoreTransaction
from edgeloop.store.schema import ANSWERS, ATTRIBUTIONS, EVENT_TABLES, SUPERSEDED
from edgeloop.store.writes import Writes
from streams.attribution import Rules
from streams.batch import Batch
from streams.entries import (
    EXPOSURE,
    KINDS,
    Carried,
    Entry,
    Gone,
    Lost,
    Outcome,
    Shown,
    carried_hash,
    id_of,
    identity_hash,
    link_hash,
)
from streams.fingerprint import RULES
from streams.passes import PRUNE, Progress, refuse_unfinished, run_pass, standing
from streams.state import KeyState

HORIZON = "horizon"
"""Name in the store's ``meta`` of the horizon that every key was pruned to."""


def prune(store: Store, horizon: Horizon, progress: Progress | None = None) -> int:
    """Delete what happened before the horizon; how many join keys were looked at.

    Everything that was read from the log must have been worked in, couriers' keys too, and doors and worker must refuse
    what is older by now. The caller keeps every drain away.

    Raises:
        UnfinishedPassError: a recompute is to end first.
    """
    refuse_unfinished(store, besides=PRUNE)
    # The rules of the tables, not those of the settings, which may be others by the time an interrupted prune goes on.
    rules = store.meta(RULES)
    if rules is None:
        raise HomeError(f"nothing was ever drained into {store.name}: run `edgeloop process` first")
    target = msgspec.json.encode(horizon).decode()
    store.index_superseded()
    return run_pass(
        store, PRUNE, target, msgspec.json.decode(rules, type=Rules), _Prune(store, horizon, target), progress
    )


def pruned_to(store: Store) -> Horizon | None:
    """How far a store was pruned."""
    told = store.meta(HORIZON)
    return None if told is None else msgspec.json.decode(told, type=Horizon)


def prune_is_unfinished(store: Store) -> bool:
    """Whether a prune was begun and did not end."""
    return standing(store, PRUNE) is not None


class _Prune:
    def __init__(self, store: Store, horizon: Horizon, target: str) -> None:
        self._store = store
        self._target = target
        self._horizon_us = horizon.us
        self._first_us = [horizon.first_us(kind) for kind in KINDS]

    def wants(self, state: KeyState) -> bool:
        return (state.n > 0 and state.first_us < self._horizon_us) or any(
            span.first_us < self._horizon_us for span in state.spans
        )

    def take(self, batch: Batch, state: KeyState, writes: Writes) -> bool:
        entries = [entry for _, of_page in state.loaded() for entry in of_page]
        kept = self._kept(entries)
        if len(kept) == len(entries):
            return False
        staying = {id(entry) for entry in kept}
        gone = [entry for entry in entries if id(entry) not in staying]
        self._delete(state.key, gone, writes)
        for span in state.spans:
            writes.delete("state_pages", span.rowid, 1)
        if not kept and not self._store.has_slot(state.slot + 1):
            writes.deleted["state_heads"].append((state.slot, state.slot))
            return False
        # An empty head before another one stays: a key that found its slot taken is looked for behind it.
        self._rebuild(batch, state, kept, gone, writes)
        return False

    def end(self, transaction: StoreTransaction) -> None:
        transaction.set_meta(HORIZON, self._target)
        transaction.drop_superseded_index()

    def _kept(self, entries: Sequence[Entry]) -> list[Entry]:
        """What stays, in order: of a courier's key only what it carries now."""
        carried: dict[tuple[str, str], Carried | Gone] = {}
        ids: set[tuple[int, str]] = set()
        for entry in entries:
            if isinstance(entry, Carried | Gone):
                carried[entry.exposure_id, entry.subject] = entry
            elif not isinstance(entry, Lost) and self._stays(id_of(entry)[0], entry.at_us):
                ids.add(id_of(entry))
        kept: list[Entry] = []
        for entry in entries:
            if isinstance(entry, Carried):
                stays = carried[entry.exposure_id, entry.subject] is entry and self._stays(EXPOSURE, entry.at_us)
            elif isinstance(entry, Gone):
                stays = False
            else:
                stays = ((entry.kind, entry.id) if isinstance(entry, Lost) else id_of(entry)) in ids
            if stays:
                kept.append(entry)
        return kept

    def _stays(self, kind: int, at_us: int) -> bool:
        first_us = self._first_us[kind]
        return first_us is None or at_us >= first_us

    def _delete(self, key: str, gone: Sequence[Entry], writes: Writes) -> None:
        lost = {(KINDS[entry.kind], entry.id) for entry in gone if isinstance(entry, Lost)}
        if lost:
            for rowid, kind, event_id in self._store.superseded(key):
                if (kind, event_id) in lost:
                    writes.delete(SUPERSEDED.name, rowid, 1)
                    writes.counters["pruned", SUPERSEDED.name] += 1
        for entry in gone:
            if isinstance(entry, Carried | Gone | Lost):
                continue
            table = EVENT_TABLES[KINDS[id_of(entry)[0]]].name
            writes.delete(table, entry.rowid, 1)
            writes.counters["pruned", table] += 1
            if isinstance(entry, Outcome):
                writes.delete(ANSWERS.name, entry.answers_rowid, entry.answers)
                writes.delete(ATTRIBUTIONS.name, entry.attributions_rowid, entry.attributions)

    def _rebuild(
        self, batch: Batch, state: KeyState, kept: Sequence[Entry], gone: Sequence[Entry], writes: Writes
    ) -> None:
        rebuilt = KeyState(state.key, state.shard, state.slot)
        for entry in kept:
            if isinstance(entry, Carried):
                rebuilt.add(entry, carried_hash(entry.exposure_id))
            elif isinstance(entry, Lost | Gone):
                rebuilt.add(entry)
            elif isinstance(entry, Outcome) and entry.ignored and entry.link is not None:
                rebuilt.add(entry, identity_hash(*id_of(entry)), link_hash(entry.link))
            else:
                rebuilt.add(entry, identity_hash(*id_of(entry)))
        carried = [entry.exposure_id for entry in kept if isinstance(entry, Carried)]
        rebuilt.twins = len(set(carried)) < len(carried)
        # No outcome that stays had anything that goes in its window or of its delivery's reach, but it may have named
        # the exposure itself; and one that stood for its id on a courier's key may leave the place to another.
        ids = {entry.exposure_id for entry in gone if isinstance(entry, Shown | Carried)}
        if ids and (state.twins or any(isinstance(entry, Outcome) and entry.link in ids for entry in kept)):
            batch.recompute(rebuilt)
        rebuilt.append_fresh()
        writes.heads.append(rebuilt.settle(writes))
