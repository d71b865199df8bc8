"""Which change event settled a version? A switch to it, a stage that gives it everybody, a way back, or an end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import msgspec
import pandas as pd

from analysis import LedgerChange, local_date
from edgeloop.store.facts import NotInUse

What = Literal["promoted", "rolled back", "ended"]


class Version(msgspec.Struct, frozen=True):
    """The version of a model that is in question, and the one before it."""

    model_id: str
    from_version: str | None
    to_version: str


class Settled(msgspec.Struct, frozen=True):
    """What happened to a version, when, and the change that it belongs to."""

    what: What
    at_us: int
    change: LedgerChange


def settled(version: Version, known: Sequence[LedgerChange], after_us: int, until_us: int) -> Settled | None:
    """The first event that settled a version in (after, until], or None.

    Args:
        version: what is in question.
        known: every change there is, declared or found.
        after_us: when it was asked about, or began.
        until_us: up to when the world is known.
    """
    events = [e for change in known for e in _events(version, change) if after_us < e.at_us <= until_us]
    # Of two at the same moment, the switch says more than the end of the rollout that it ends.
    return min(events, key=lambda e: (e.at_us, e.what == "ended", e.change.change_id), default=None)


_LIVE = 0.005
"""Of a model's people: a version that fewer of them meet is not in use; a few old clients linger on."""


def over(listed: Sequence[LedgerChange], exposures: pd.DataFrame, until_us: int, timezone: str) -> dict[str, NotInUse]:
    """change_id → that it ended and that nobody has met its version since, of changes of a part of the people.

    Args:
        exposures: at least occurred_at (µs), model_id, model_version and subject.
        until_us: up to when the world is known.
    """
    made = {}
    for change in listed:
        end_us = change.end_us
        if change.full_switch or end_us is None or end_us > until_us:
            continue
        since = exposures[exposures["model_id"].eq(change.model_id) & exposures["occurred_at"].ge(end_us)]
        new = since.loc[since["model_version"].eq(change.to_version), "subject"].nunique()
        if new <= _LIVE * since["subject"].nunique():
            made[change.change_id] = NotInUse(str(local_date(end_us - 1, timezone)))
    return made


def _events(version: Version, change: LedgerChange) -> Iterator[Settled]:
    if change.model_id != version.model_id:
        return
    wanted, before = version.to_version, version.from_version
    if change.full_switch:
        if change.to_version == wanted and change.kind == "switch":
            yield Settled("promoted", change.start_us, change)
        elif change.to_version != wanted and change.from_version in (wanted, None):
            back = change.kind == "rollback" or change.to_version == before
            if back or change.from_version == wanted:
                yield Settled("rolled back" if back else "ended", change.start_us, change)
        return
    if change.to_version != wanted:
        return
    for stage in change.stages:
        weights = {name: weight for name, weight in (stage.allocation or {}).items() if weight > 0}
        if set(weights) == {wanted} and not stage.zones:
            yield Settled("promoted", stage.start_us, change)
        elif weights and wanted not in weights:
            yield Settled("rolled back", stage.start_us, change)
    if change.end_us is not None:
        yield Settled("ended", change.end_us, change)
