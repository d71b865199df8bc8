"""Estimates as a table for people: the figures, and the reason in a word. `--json` has every column."""

from __future__ import annotations

from collections.abc import Sequence

from analysis import ALL_METRICS
from edgeloop.store.rows import Estimate

_COLUMNS = ("change", "metric", "n old", "n new", "old", "new", "effect", "95 % interval", "p", "says", "verdict")
_AFTER_A_SWITCH = {
    "lies wholly above 0": "higher after",
    "lies wholly below 0": "lower after",
    "holds 0": "no clear change",
}


def _says(estimate: Estimate) -> str | None:
    """The reason in brief; `--json` has all of it."""
    if estimate.metric == ALL_METRICS:
        return estimate.reason
    brief = (estimate.reason or "").split(";")[0].split(":")[0].removeprefix("the deciding interval ")
    return _AFTER_A_SWITCH.get(brief, brief)


def estimates_table(estimates: Sequence[Estimate]) -> tuple[Sequence[str], list[Sequence[object]]]:
    """Column names and rows."""
    return _COLUMNS, [
        (
            e.change_id, e.metric, e.n_control, e.n_treated, e.control, e.treated, e.effect,
            None if e.effect_low is None else f"{e.effect_low:.3g} to {e.effect_high:.3g}", e.p, _says(e), e.verdict,
        )
        for e in estimates
    ]  # fmt: skip
