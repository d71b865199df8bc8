"""Which answers does each estimate count? By their place in the table, so that nobody has to join them once more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from analysis.designs import StageOutcome
from analysis.moments import IntArray


@dataclass(frozen=True, slots=True, eq=False)
class Counted:
    """The answers behind one figure of one change; ``rows`` are ascending places in the table ``answers``."""

    change_id: str
    stage: int
    metric: str
    respondent: str
    rows: IntArray = field(repr=False)


def counted(change_id: str, stages: Sequence[StageOutcome]) -> list[Counted]:
    """One per question and stage of which the estimates have an effect."""
    return [
        Counted(change_id, stage.stage.number, r.metric.name, r.metric.respondent, r.answers)
        for stage in stages
        for r in stage.results
        if r.answers is not None and r.effect is not None and not r.beside
    ]
