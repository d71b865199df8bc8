"""One batch of events against the state of their keys: what to write, computed without touching anything.

The same function serves the local log and Kafka, SQLite and PostgreSQL. It holds to the meaning whatever the batch
contains, because every decision is by rank and never by arrival (docs/meaning.md).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from urllib.parse import quote

import msgspec

from edgeloop.clock import SECOND_US
from edgeloop.events import Engagement, Event, Response, body_hash, event_type
from edgeloop.log.base import TopicPartition
from edgeloop.store.schema import ANSWERS, ATTRIBUTIONS, EVENT_TABLES, Row, answer_rows, row
from edgeloop.store.writes import Writes
from streams.attribution import Cause, Rules, Touches, attribute
from streams.state import Asked, Body, Carried, Entry, KeyState, entry_of

_NUMERIC_KINDS = frozenset({"nps", "csat", "ces", "rating", "boolean", "number"})


class InboxItem(msgspec.Struct, array_like=True, frozen=True):
    """For a courier's key: an exposure that it carries now, or (``carried`` None) no longer."""

    subject: str
    exposure_id: str
    carried: Carried | None


_inbox_encoder = msgspec.msgpack.Encoder()
_inbox_decoder: msgspec.msgpack.Decoder[InboxItem] = msgspec.msgpack.Decoder(InboxItem)


class _Changed:
    """Which exposures of one key changed, so that only the outcomes they can touch are computed again."""

    def __init__(self) -> None:
        self.times: list[int] = []
        self.ids: set[str] = set()
        self.outcomes: set[tuple[str, str]] = set()

    def exposure(self, exposure_id: str, at_us: int) -> None:
        self.times.append(at_us)
        self.ids.add(exposure_id)

    def affects(self, entry: Entry, first_us: int, last_us: int) -> bool:
        if entry.key in self.outcomes or (entry.link is not None and entry.link in self.ids):
            return True
        i = bisect_left(self.times, first_us)
        return i < len(self.times) and self.times[i] <= last_us


class Batch:
    """Takes events one by one, then `finish`es with everything to write."""

    def __init__(self, rules: Rules, states: Mapping[str, KeyState], writes: Writes) -> None:
        self._rules = rules
        self._states = states
        self._writes = writes
        self._changed: dict[str, _Changed] = {}

    def take(self, event: Event, origin: TopicPartition) -> None:
        """Work one event in. ``origin`` is where it was read, for the count of duplicates."""
        kind = event_type(event)
        state = self._states[event.key]
        body = Body.of(event, body_hash(event))
        known = state.entries.get((kind, event.id))
        if known is None:
            self._store(state, kind, event, body)
        elif body.hash == known.body.hash:
            self._writes.duplicates[origin] += 1
            if body.clock_rank < known.body.clock_rank:
                self._restore(state, known, kind, event, body)
        elif body.hash in known.losers:
            self._writes.duplicates[origin] += 1
        elif body.rank < known.body.rank:
            self._supersede(known, known.body, event.key)
            self._restore(state, known, kind, event, body)
        else:
            self._supersede(known, body, event.key)
            state.touch_bucket(known)

    def take_inbox(self, key: str, packed: bytes) -> None:
        """Work in what changed of an exposure that a courier carried."""
        item = _inbox_decoder.decode(packed)
        state = self._states[key]
        changed = self._changed.setdefault(key, _Changed())
        # One id from two customers is one touch here, so a change of either may bring in or push out the other.
        for carried in state.carried(item.exposure_id):
            changed.exposure(item.exposure_id, carried.at_us)
        if item.carried is None:
            state.drop_carried(item.subject, item.exposure_id)
        else:
            state.put_carried(item.carried)
            changed.exposure(item.exposure_id, item.carried.at_us)

    def finish(self) -> None:
        """Compute the attributions that changed and pack the states."""
        for key, changed in self._changed.items():
            self._attribute(self._states[key], changed)
        for key, state in self._states.items():
            self._writes.state.extend((key, number, packed) for number, packed in state.packed())

    def _store(self, state: KeyState, kind: str, event: Event, body: Body) -> None:
        rowid = self._writes.insert(EVENT_TABLES[kind].name, row(event))
        entry = entry_of(event, kind, body, rowid, _outcomes(event))
        if isinstance(event, Response):
            entry.answer_rowids = [self._writes.insert(ANSWERS.name, r) for r in answer_rows(event)]
        state.put(entry)
        self._note(state.key, entry)
        self._tell_courier(state.key, entry)

    def _restore(self, state: KeyState, known: Entry, kind: str, event: Event, body: Body) -> None:
        """Put the event in the place of the one known under its id, all its rows included."""
        self._note(state.key, known)
        self._writes.replace(EVENT_TABLES[kind].name, known.rowid, row(event))
        entry = entry_of(event, kind, body, known.rowid, _outcomes(event))
        entry.losers = known.losers
        entry.attribution_rowids = known.attribution_rowids
        if isinstance(event, Response):
            self._writes.delete(ANSWERS.name, known.answer_rowids)
            entry.answer_rowids = [self._writes.insert(ANSWERS.name, r) for r in answer_rows(event)]
        state.put(entry)
        self._note(state.key, entry)
        if known.courier is not None and known.courier != entry.courier:
            gone = InboxItem(state.key, known.id, None)
            self._writes.inbox.append((known.courier, _inbox_encoder.encode(gone)))
        self._tell_courier(state.key, entry)

    def _note(self, key: str, entry: Entry) -> None:
        """Remember what attribution an entry, new or about to go, can change."""
        if entry.kind in ("engagement", "response"):
            self._changed.setdefault(key, _Changed()).outcomes.add(entry.key)
        elif entry.touch is not None:
            self._changed.setdefault(key, _Changed()).exposure(entry.id, entry.at_us)

    def _tell_courier(self, key: str, entry: Entry) -> None:
        """An exposure with a courier touches that key too, whose lock this transaction does not hold."""
        if entry.courier is not None:
            carried = Carried(key, entry.id, entry.body, entry.courier_touch)
            self._writes.inbox.append((entry.courier, _inbox_encoder.encode(InboxItem(key, entry.id, carried))))

    def _supersede(self, known: Entry, loser: Body, key: str) -> None:
        known.losers.append(loser.hash)
        self._writes.superseded.append(
            (known.kind, key, known.id, loser.hash.hex(), loser.revision, loser.raw_us),
        )

    def _attribute(self, state: KeyState, changed: _Changed) -> None:
        changed.times.sort()
        touches = {"customer": Touches(state.own_touches()), "agent": Touches(state.carried_touches())}
        for entry in state.entries.values():
            if entry.kind not in ("engagement", "response"):
                continue
            window_us = self._rules.window_us(entry.kind)
            tolerance_us = self._rules.tolerance_us(entry.source)
            if not changed.affects(entry, entry.at_us - window_us, entry.at_us + tolerance_us):
                continue
            causes = (
                attribute(
                    touches[entry.respondent],
                    at_us=entry.at_us,
                    window_us=window_us,
                    tolerance_us=tolerance_us,
                    delivery_id=entry.delivery_id,
                    exposure_id=entry.link,
                    rules=self._rules,
                )
                if entry.matchable
                else []
            )
            self._writes.delete(ATTRIBUTIONS.name, entry.attribution_rowids)
            entry.attribution_rowids = [
                self._writes.insert(ATTRIBUTIONS.name, attribution)
                for asked in entry.outcomes
                for attribution in _rows(state.key, entry, asked, causes, self._rules)
            ]
            state.touch_bucket(entry)


def _outcomes(event: Event) -> list[Asked]:
    """What an event asks to be attributed: an engagement itself, each answer of a response, nothing of the others."""
    if isinstance(event, Engagement):
        return [Asked(f"e:{event.event_id}", event.name, event.value, event.currency)]
    if not isinstance(event, Response):
        return []
    asked: list[Asked] = []
    times: dict[str, int] = {}
    for answer in event.answers:
        n = times[answer.question] = times.get(answer.question, 0) + 1
        outcome_id = f"a:{event.response_id}/{quote(answer.question, safe='')}" + (f"#{n}" if n > 1 else "")
        value = answer.value if answer.kind in _NUMERIC_KINDS else None
        asked.append(Asked(outcome_id, f"{event.survey_id}/{answer.question}", value, None))
    return asked


def _rows(key: str, entry: Entry, asked: Asked, causes: list[Cause], rules: Rules) -> list[Row]:
    """The attribution rows of one outcome, in the column order of ``attributions``."""
    outcome_type = "engagement" if entry.kind == "engagement" else "answer"

    def cells(model_id: str, exposure_id: str, *rest: str | float | None) -> Row:
        return (
            asked.outcome_id, outcome_type, asked.name, model_id, exposure_id, key, entry.respondent, entry.at_us,
            asked.value, asked.currency, *rest,
        )  # fmt: skip

    if not causes:
        return [cells("", "", None, None, None, None, 0.0, rules.credit_rule, None, None)]
    return [
        cells(
            cause.touch.model_id, cause.touch.exposure_id, cause.touch.model_version, cause.touch.arm,
            cause.touch.rollout_id, cause.touch.touchpoint, cause.credit, rules.credit_rule, cause.matched_by,
            (entry.at_us - cause.touch.at_us) / SECOND_US,
        )
        for cause in causes
    ]  # fmt: skip
