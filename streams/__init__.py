"""The join: pure attribution, the batch step around it, and the drain that carries the log into the store."""

from __future__ import annotations

from streams.attribution import Rules
from streams.drain import ONLY_LANE, Drain, Drained, Lane, Progress
from streams.fingerprint import difference, fingerprint
from streams.passes import UnfinishedPassError
from streams.pruning import prune, prune_is_unfinished, pruned_to
from streams.recomputing import recompute
from streams.steps import LogMismatchError, RulesMismatchError

__all__ = [
    "ONLY_LANE",
    "Drain",
    "Drained",
    "Lane",
    "LogMismatchError",
    "Progress",
    "Rules",
    "RulesMismatchError",
    "UnfinishedPassError",
    "difference",
    "fingerprint",
    "prune",
    "prune_is_unfinished",
    "pruned_to",
    "recompute",
]
