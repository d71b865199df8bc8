"""Estimates as a table for people: the figures, and the reason in a word. `--json` has every column."""

from __future__ import annotations

from collections.abc import Sequence

from analysis import ALL_METRICS
from edgeloop.store import facts
from edgeloop.store.rows import Estimate

_COLUMNS = ("change", "metric", "n old", "n new", "old", "new", "effect", "95 % interval", "p", "says", "verdict")


def _says(e: Estimate) -> str | None:
    """The reason in brief; `--json` has all of it."""
    if e.metric == ALL_METRICS or not e.facts:
        return e.reason
    match e.facts[0]:
        case facts.Decided(side="holds 0"):
            return "no clear change"
        case facts.Decided(direction=direction, named=True):
            return direction
        case facts.Decided(side=side):
            return "higher after" if side == "above" else "lower after"
        case first:
            return first.english.split(";")[0].split(":")[0]


def estimates_table(estimates: Sequence[Estimate]) -> tuple[Sequence[str], list[Sequence[object]]]:
    """Column names and rows."""
    return _COLUMNS, [
        (
            e.change_id, e.metric, e.n_control, e.n_treated, e.control, e.treated, e.effect,
            None if e.effect_low is None else f"{e.effect_low:.3g} to {e.effect_high:.3g}", e.p, _says(e), e.verdict,
        )
        for e in estimates
    ]  # fmt: skip
