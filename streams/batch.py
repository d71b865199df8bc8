"""One batch of events against the state of their keys: what to write, computed without touching anything.

The same step serves the local log and Kafka, SQLite and PostgreSQL. It holds to the meaning whatever the batch
contains, because every decision is by rank and never by arrival (docs/meaning.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol
from zlib import crc32

import msgspec
import numpy as np

from edgeloop.clock import SECOND_US
from edgeloop.log.base import TopicPartition
from edgeloop.log.partitioner import SHARDS, murmur2_of
from edgeloop.store.bodies import sha256_of
from edgeloop.store.schema import ANSWERS, ATTRIBUTIONS, EVENT_TABLES, INSERT_COLUMNS, Row
from edgeloop.store.writes import Writes
from streams.attribution import Cause, Rules, attribute, last_touches
from streams.available import Available, Changed, Reach
from streams.cache import Contexts
from streams.entries import (
    EXPOSURE,
    KINDS,
    Asked,
    Carried,
    Gone,
    Identified,
    Lost,
    Outcome,
    Shown,
    carried_hash,
    id_of,
    identity_hash,
    link_hash,
    unpack,
)
from streams.prepare import Prepared
from streams.state import FRESH, KeyState, pack_waiting, unpack_waiting
from streams.updates import outcome_id, removals_of, updates_of

_TABLES = [EVENT_TABLES[kind].name for kind in KINDS]
"""By the number of the kind."""
LATENESS_BOUNDS_S = (60, 600, 3_600, 21_600, 86_400, 259_200, 604_800, 1_209_600, 2_419_200)
_LATENESS_LABELS = (*map(str, LATENESS_BOUNDS_S), "+Inf")
_LATENESS_BOUNDS_US = np.array(LATENESS_BOUNDS_S) * SECOND_US


class StoredRows(Protocol):
    """Where a batch reads what no head holds."""

    def page(self, rowid: int) -> bytes:
        """A sealed page of a key's state."""
        ...

    def row(self, table: str, rowid: int) -> Row:
        """A stored row, in the order of ``INSERT_COLUMNS``."""
        ...


class Body(msgspec.Struct, frozen=True):
    """Of one delivered body, what decides which of several wins (docs/meaning.md, Same id again)."""

    sha256: bytes
    raw_us: int
    revision: int
    partial: bool
    correction_us: int

    @classmethod
    def of_row(cls, kind: str, stored: Row) -> Body:
        """Of a row of an event type, in the order of ``INSERT_COLUMNS``."""
        cells = msgspec.convert(dict(zip(INSERT_COLUMNS[EVENT_TABLES[kind].name], stored, strict=True)), _BodyCells)
        return cls(
            sha256_of(kind, stored),
            cells.occurred_at_raw,
            cells.revision,
            bool(cells.partial),
            cells.occurred_at - cells.occurred_at_raw,
        )

    @property
    def rank(self) -> tuple[bool, int, int, bytes]:
        """The smaller wins: final over partial, highest revision, earliest raw time, smallest hash."""
        return (self.partial, -self.revision, self.raw_us, self.sha256)

    @property
    def clock_rank(self) -> tuple[int, int]:
        """Among deliveries of one body, the smaller tells the time: smallest correction, then the earlier."""
        return (abs(self.correction_us), self.correction_us)


class _BodyCells(msgspec.Struct):
    occurred_at: int
    occurred_at_raw: int
    revision: int
    partial: int | bool = False


class Batch:
    """Takes events key by key, then `finish`es with everything to write but the states."""

    def __init__(
        self, rules: Rules, writes: Writes, contexts: Contexts, stored: StoredRows, *, updates: bool = False
    ) -> None:
        """``updates``: whether outcomes that change are put into the outbox."""
        self._updates = updates
        self._rules = rules
        self._writes = writes
        self._contexts = contexts
        self._stored = stored
        self._changed: Changed | None = None
        """Of the key at hand."""
        self._inbox: dict[str, list[Carried | Gone]] = {}
        self._reach = Reach(rules)

    def take(self, state: KeyState, events: Sequence[Prepared]) -> None:
        """Work all events of one key in: key by key, so that a key's state is at hand for all that is done with it.

        Their rows are in the writes already (`Writes.adopt`); that of an event which does not become one of the key's
        is taken back.
        """
        first_rowid, page, may_know, add = self._writes.first_rowid, self._stored.page, state.may_know, state.add_new
        had_outcomes = state.last_outcome_us is not None
        for event in events:
            kind, event_id, entry, courier = event.kind, event.id, event.entry, event.courier
            entry.rowid += first_rowid
            short_hash = crc32(event_id.encode(), kind).to_bytes(4, "little")  # identity_hash, without the call
            if may_know(short_hash):
                known = state.known(kind, event_id, page)
                if known is not None:
                    self._again(state, known, event, self._writes.take_back(_TABLES[kind], entry.rowid))
                    continue
            add(entry, short_hash)
            if type(entry) is Shown:
                if had_outcomes:
                    self._note_new(state, entry)
            elif type(entry) is Outcome:
                if event.answers:
                    self._insert_answers(entry, event.answers)
                self._changes()
            if courier is not None and event.carried is not None:
                self._inbox.setdefault(courier, []).append(event.carried)
        self._settle(state)

    def take_inbox(self, state: KeyState, packed: Sequence[bytes]) -> None:
        """Work in all that changed of the exposures that a courier carried, oldest first."""
        for item in packed:
            self._take_waiting(state, item)
        self._settle(state)

    def _take_waiting(self, state: KeyState, packed: bytes) -> None:
        waiting = unpack_waiting(packed)
        delta = waiting.delta
        hashes = [delta.ids[i : i + 4] for i in range(0, len(delta.ids), 4)]
        if (
            state.last_outcome_us is None
            and not delta.twins
            and not state.twins
            and not any(map(state.may_know, hashes))
        ):
            state.add_packed(delta, waiting.first_us, waiting.last_us)
            return
        state.unpack_added()
        for short_hash, item in zip(hashes, unpack(delta.entries, delta.n), strict=True):
            if not isinstance(item, Carried | Gone):
                raise TypeError("only what was carried waits for a courier's key")
            if state.may_know(short_hash):
                self._note_twins(state, item)
                state.add(item)
            else:
                state.add(item, short_hash)
            if type(item) is Carried and state.last_outcome_us is not None:
                self._note_new(state, item)

    def _settle(self, state: KeyState) -> None:
        """Compute the attributions that changed."""
        changed, self._changed = self._changed, None
        if changed is not None:
            self._attribute(state, changed)

    def finish(self) -> None:
        """Put what couriers' keys are told, and the counts, into the writes."""
        hashes = murmur2_of(list(self._inbox))
        self._writes.inbox += [
            (courier, key_hash % SHARDS, pack_waiting(courier, items))
            for (courier, items), key_hash in zip(self._inbox.items(), hashes, strict=True)
        ]

    def recompute(self, state: KeyState) -> None:
        """Compute every outcome of a key anew, whatever changed."""
        state.load_all(self._stored.page)
        touches = Available(state, self._rules, self._contexts.models)
        for place, entries in state.loaded():
            for entry in entries:
                if type(entry) is Outcome:
                    causes = self._causes(state, entry, self._rules.tolerance_us(entry.source), touches)
                    state.touch(place)
                    self._write_attributions(state, entry, causes)

    # One event

    def _insert_answers(self, entry: Outcome, answers: Sequence[Row]) -> None:
        rowids = [self._writes.insert(ANSWERS.name, answer) for answer in answers]
        entry.answers_rowid, entry.answers = (rowids[0], len(rowids)) if rowids else (0, 0)

    def _again(self, state: KeyState, known: tuple[int, Identified], event: Prepared, row: Row) -> None:
        """An id that is there already: a duplicate, a better body, or a worse one; ``row`` is the event's."""
        place, entry = known
        kind, origin = event.kind, event.origin
        table = _TABLES[kind]
        stored = self._writes.pending(table, entry.rowid) or self._stored.row(table, entry.rowid)
        before, now = Body.of_row(KINDS[kind], stored), Body.of_row(KINDS[kind], row)
        event_id = id_of(entry)[1]
        if now.sha256 == before.sha256:
            self._count_duplicate(origin)
            if now.clock_rank < before.clock_rank:
                self._restore(state, place, entry, event, row, stored)
        elif (kind, event_id, now.sha256) in state.lost:
            self._count_duplicate(origin)
        elif now.rank < before.rank:
            self._supersede(state, kind, event_id, before)
            self._restore(state, place, entry, event, row, stored)
        else:
            self._supersede(state, kind, event_id, now)

    def _restore(self, state: KeyState, place: int, old: Identified, event: Prepared, row: Row, stored: Row) -> None:
        """Put the event in the place of the one known under its id, all its rows included."""
        kind, event_id = id_of(old)
        new = event.entry
        new.rowid = old.rowid
        self._writes.replace(_TABLES[kind], old.rowid, row)
        if isinstance(new, Outcome) and isinstance(old, Outcome):
            self._writes.delete(ANSWERS.name, old.answers_rowid, old.answers)
            self._insert_answers(new, event.answers)
            if self._updates:
                gone = {asked.suffix for asked in old.asked} - {asked.suffix for asked in new.asked}
                of_gone = [outcome_id(old, suffix) for suffix in sorted(gone)]
                self._writes.updates += removals_of(state.shard, state.key, of_gone, self._writes.batch)
            new.attributions_rowid, new.attributions = old.attributions_rowid, old.attributions
            new.ignored = old.ignored
            self._changes().outcomes.add((kind, event_id))
        state.replace(place, old, new)
        for entry in (old, new):
            if isinstance(entry, Shown):
                self._note(state, entry)
        if kind == EXPOSURE:
            was_with = stored[_COURIER]
            if isinstance(was_with, str) and was_with != event.courier:
                self._inbox.setdefault(was_with, []).append(Gone(event_id, old.at_us, state.key))
            if event.courier is not None and event.carried is not None:
                self._inbox.setdefault(event.courier, []).append(event.carried)

    def _supersede(self, state: KeyState, kind: int, event_id: str, loser: Body) -> None:
        state.add(Lost(kind, event_id, loser.raw_us, loser.sha256))
        self._writes.superseded.append(
            (KINDS[kind], state.key, event_id, loser.sha256.hex(), loser.revision, loser.raw_us)
        )
        self._writes.counters["superseded", KINDS[kind]] += 1

    def _count_duplicate(self, origin: TopicPartition) -> None:
        self._writes.duplicates[origin] += 1
        self._writes.counters["duplicates", origin[0]] += 1

    # What changed

    def _changes(self) -> Changed:
        if self._changed is None:
            self._changed = Changed()
        return self._changed

    def _note(self, state: KeyState, exposure: Shown | Carried) -> None:
        changed = self._changes()
        changed.exposure(exposure.exposure_id, exposure.at_us, exposure.delivery_id)
        # An exposure that was there before may be named by any outcome; a new one only where a link waits for it.
        changed.everywhere = changed.everywhere or state.may_know(link_hash(exposure.exposure_id))

    def _note_new(self, state: KeyState, exposure: Shown | Carried) -> None:
        """A new exposure: does it come into the window, or under the name, of an outcome that is stored?"""
        first, last = state.first_outcome_us, state.last_outcome_us
        if first is None or last is None:
            return
        inside = first - self._reach.of_exposure_us(exposure.delivery_id) <= exposure.at_us <= last + SECOND_US
        if inside or state.may_know(link_hash(exposure.exposure_id)):
            self._note(state, exposure)

    def _note_twins(self, state: KeyState, item: Carried | Gone) -> None:
        """One id from two customers is one touch here, so a change of either may bring in or push out the other."""
        state.twins = True
        state.load_all(self._stored.page)
        for _, entries in state.loaded():
            for entry in entries:
                if isinstance(entry, Carried) and entry.exposure_id == item.exposure_id:
                    self._note(state, entry)
        self._changes().everywhere = True

    # Attribution

    def _attribute(self, state: KeyState, changed: Changed) -> None:
        changed.times.sort()
        self._reach.make_available(state, changed, self._stored.page)
        touches = Available(state, self._rules, self._contexts.models)
        only_new = not (changed.times or changed.ids or changed.outcomes)
        for place, entries in [(FRESH, state.fresh)] if only_new else state.loaded():
            for entry in list(entries):
                if type(entry) is not Outcome:
                    continue
                tolerance_us = self._rules.tolerance_us(entry.source)
                if place != FRESH and not self._reach.affects(changed, entry, tolerance_us):
                    continue
                causes = self._causes(state, entry, tolerance_us, touches)
                state.touch(place)
                self._write_attributions(state, entry, causes)

    def _causes(
        self, state: KeyState, entry: Outcome, tolerance_us: int, touches: Available
    ) -> list[Cause[Shown]] | list[Cause[Carried]]:
        if not entry.matchable:
            return []
        link = entry.link
        window_us, reach_us = self._reach.windows_us[entry.kind], self._reach.deliveries_us[entry.kind]
        if link is None and touches.few and not entry.agent:
            return last_touches(
                touches.shown, self._contexts.models,
                at_us=entry.at_us, window_us=window_us, reach_us=reach_us, tolerance_us=tolerance_us,
                delivery_id=entry.delivery_id,
            )  # fmt: skip
        if link is not None:
            found = touches.by_model(agent=entry.agent).named(link)
            short_hash = carried_hash(link) if entry.agent else identity_hash(EXPOSURE, link)
            if found is None and state.may_know(short_hash) and state.load_all(self._stored.page):
                touches.look_again()
                found = touches.by_model(agent=entry.agent).named(link)
            if found is None and not state.may_know(link_hash(link)):
                state.remember(link_hash(link))
            ignored = found is None
            self._writes.counters["ignored_links", ""] += ignored - entry.ignored
            entry.ignored = ignored
        return attribute(
            touches.by_model(agent=entry.agent),
            at_us=entry.at_us,
            window_us=window_us,
            reach_us=reach_us,
            tolerance_us=tolerance_us,
            delivery_id=entry.delivery_id,
            exposure_id=link,
            rules=self._rules,
        )

    def _write_attributions(
        self, state: KeyState, entry: Outcome, causes: list[Cause[Shown]] | list[Cause[Carried]]
    ) -> None:
        writes, key = self._writes, state.key
        if entry.attributions:
            writes.counters["reattributed_outcomes", ""] += len(entry.asked)
            writes.delete(ATTRIBUTIONS.name, entry.attributions_rowid, entry.attributions)
        rows = [attribution for asked in entry.asked for attribution in self._rows(key, entry, asked, causes)]
        if self._updates:
            writes.updates += updates_of(state.shard, key, rows, writes.batch)
        for i, attribution in enumerate(rows):
            rowid = writes.insert(ATTRIBUTIONS.name, attribution)
            if i == 0:
                entry.attributions_rowid = rowid
        entry.attributions = len(rows)

    def _rows(
        self, key: str, entry: Outcome, asked: Asked, causes: list[Cause[Shown]] | list[Cause[Carried]]
    ) -> list[Row]:
        """The attribution rows of one outcome, in the column order of ``attributions``."""
        name, outcome_type, asked_name = outcome_id(entry, asked.suffix), entry.outcome_type, asked.name
        value, currency = asked.value, asked.currency
        respondent, rule, at_us = entry.respondent, self._rules.credit_rule, entry.at_us
        if not causes:
            return [
                (
                    name, outcome_type, asked_name, "", "", key, respondent, at_us, value, currency,
                    None, None, None, None, 0.0, rule, None, None,
                )
            ]  # fmt: skip
        rows: list[Row] = []
        known = self._contexts.known
        for cause in causes:
            touch = cause.touch
            assert touch.context is not None  # noqa: S101 - what was not shown is no touch
            context = known[touch.context]
            rows.append(
                (
                    name, outcome_type, asked_name, cause.model_id, touch.exposure_id, key, respondent, at_us,
                    value, currency, context.model_version, context.arm, context.rollout_id,
                    context.touchpoint, cause.credit, rule, cause.matched_by, (at_us - touch.at_us) / SECOND_US,
                )
            )  # fmt: skip
        return rows

    def count_lateness(self, lateness_us: Sequence[int]) -> None:
        """Count how long after they happened events were received."""
        counters = self._writes.counters
        buckets = np.searchsorted(_LATENESS_BOUNDS_US, np.array(lateness_us, np.int64))
        for label, n in zip(_LATENESS_LABELS, np.bincount(buckets, minlength=len(_LATENESS_LABELS)), strict=True):
            if n:
                counters["lateness", label] += int(n)
        counters["lateness_seconds", ""] += sum(lateness_us) // SECOND_US


_COURIER = INSERT_COLUMNS[EVENT_TABLES["exposure"].name].index("courier")
