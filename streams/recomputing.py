"""``edgeloop recompute``: the attributions of every key under other rules, as if they had always been in force."""

from __future__ import annotations

from edgeloop.store.base import Store, StoreTransaction
from edgeloop.store.writes import Writes
from streams.attribution import Rules
from streams.batch import Batch
from streams.fingerprint import RULES, difference, fingerprint
from streams.passes import RECOMPUTE, Progress, refuse_unfinished, run_pass, standing
from streams.state import KeyState


class _Recompute:
    def __init__(self, target: str) -> None:
        self._target = target

    def wants(self, state: KeyState) -> bool:
        return state.last_outcome_us is not None

    def take(self, batch: Batch, state: KeyState, _writes: Writes) -> bool:
        batch.recompute(state)
        return True

    def end(self, transaction: StoreTransaction) -> None:
        transaction.set_meta(RULES, self._target)


def recompute(store: Store, rules: Rules, progress: Progress | None = None) -> int | None:
    """Make the tables what they are under these rules; how many keys were computed, or None where nothing was to do.

    What waits for couriers' keys goes on waiting: the next drain works it in, under these rules then. The caller keeps
    every drain away.

    Raises:
        UnfinishedPassError: a prune is to end first.
    """
    refuse_unfinished(store, besides=RECOMPUTE)
    target = fingerprint(rules)
    before = store.meta(RULES)
    if standing(store, RECOMPUTE) is None and (before is None or difference(before, target) is None):
        return None
    return run_pass(store, RECOMPUTE, target, rules, _Recompute(target), progress)
