"""Which changes ran on the same people, and did they meddle with each other? (docs/meaning.md, "Overlapping changes")

For two changes with randomised arms on customers: everybody who entered the deciding stage of both. The outcome is
counted from the later of the two entries, because before it only one of them could act.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from analysis.checks import Finding, State
from analysis.effects import StageData
from analysis.estimators.interaction import JointModel, independence, joint_model
from analysis.frames import ABSENT, Frames
from analysis.metrics import Metric
from analysis.moments import IntArray, cells
from analysis.srm import ALARM_P
from analysis.values import Crowd, Matcher, outcome_values
from analysis.verdict import ALPHA
from edgeloop.store.facts import DrawnTogether

MOST_CARRIED = 0.2  # of another change's effect, in a figure that is still this one's
LEAST_BOTH = 400  # people who entered both; fewer cannot fill four cells


@dataclass(frozen=True, slots=True, eq=False)
class Randomised:
    """A change with randomised arms on customers, in the stage that decides."""

    change_id: str
    data: StageData


@dataclass(frozen=True, slots=True)
class Interaction:
    """Two changes and one metric; ``proven`` at α over all pairs and goals of the month."""

    changes: tuple[str, str]
    stages: tuple[int, int]
    metric: Metric
    model: JointModel
    proven: bool


def overlaps(frames: Frames, changes: Sequence[Randomised]) -> dict[str, list[Finding]]:
    """Per change ``overlap:OTHER`` of every other that met the same people.

    Where the two draws are not independent (p < 0.001) the effect of each carries some of the other's: of its own
    people, the part that met the other's new version in the one arm less that in the other. From a fifth on that
    blocks, as with two changes drawn by one hash, which cannot be told apart; below it warns.
    """
    checks: dict[str, list[Finding]] = {}
    for one, two in combinations(changes, 2):
        both = _both(frames, one.data, two.data)
        if both is None:
            continue
        first, second = both.arms
        counts = np.bincount(2 * first + second, minlength=4).reshape(2, 2)
        p = independence(counts)
        for change, beside, table in ((one, two, counts), (two, one, counts.T)):
            carried = _carried(table, change.data.customers.crowd)
            state: State = "no data" if p is None else "warn" if p < ALARM_P else "ok"
            said = None
            if state == "warn" and abs(carried) >= MOST_CARRIED:
                state, said = "block", DrawnTogether(beside.change_id, carried)
            number = change.data.cohort.stage.number
            finding = Finding(f"overlap:{beside.change_id}", number, state, float(len(first)), p, said)
            checks.setdefault(change.change_id, []).append(finding)
    return checks


def _carried(table: np.ndarray, crowd: Crowd) -> float:
    """How much more of the other's new version the people of this one's new version met, as a part of everybody.

    Args:
        table: people who entered both, by this change's arm and the other's, shape (2, 2).
    """
    entered = np.bincount(crowd.person_treated, minlength=2)
    old, new = table[:, 1] / np.maximum(entered, 1)
    return float(new - old)


def interactions(
    frames: Frames, changes: Sequence[Randomised], metrics: Sequence[Metric]
) -> tuple[list[Interaction], dict[str, list[Finding]]]:
    """The month's interactions, and per change the findings that belong into ``checks``.

    ``interaction:METRIC:OTHER`` warns where the two together do other than the sum of both.
    """
    goals = [m for m in metrics if m.role == "goal" and m.source in ("share", "sum") and m.respondent == "customer"]
    found: list[Interaction] = []
    checks: dict[str, list[Finding]] = {}
    for one, two in combinations(changes, 2):
        both = _both(frames, one.data, two.data)
        if both is None:
            continue
        first, second = both.arms
        matcher = Matcher(both.crowd, len(frames.exposures.subject.labels))
        for metric in goals:
            values = outcome_values(frames, matcher, metric)
            kept = values.counted
            of_cell = cells(values.y[kept], np.ones(int(kept.sum())), (2 * first + second)[kept], 4)
            model = joint_model((of_cell[:2], of_cell[2:]))
            if model is not None and model.both.se:
                stages = one.data.cohort.stage.number, two.data.cohort.stage.number
                found.append(Interaction((one.change_id, two.change_id), stages, metric, model, False))
    tests = len(found)
    found = [Interaction(i.changes, i.stages, i.metric, i.model, i.model.both.p * tests <= ALPHA) for i in found]
    for i in found:
        for own, other, stage in ((*i.changes, i.stages[0]), (*i.changes[::-1], i.stages[1])):
            name = f"interaction:{i.metric.name}:{other}"
            checks.setdefault(own, []).append(
                Finding(name, stage, "warn" if i.proven else "ok", i.model.both.effect, i.model.both.p)
            )
    return found, checks


@dataclass(frozen=True, slots=True, eq=False)
class _Both:
    """Those who entered both changes: each one's position among the people of either, in the order of the first's."""

    one: StageData
    two: StageData
    of_one: IntArray
    of_two: IntArray

    @property
    def arms(self) -> tuple[IntArray, IntArray]:
        """Everybody's arm (0 or 1) in the first change and in the second."""
        pairs = ((self.one, self.of_one), (self.two, self.of_two))
        first, second = (data.customers.crowd.person_treated[of].astype(np.int64) for data, of in pairs)
        return first, second

    @property
    def crowd(self) -> Crowd:
        """A crowd of the first change's arms that enters at the later entry."""
        a, b, n = self.one.customers.crowd, self.two.customers.crowd, len(self.of_one)
        treated = a.person_treated[self.of_one]
        return Crowd(
            person=a.person[self.of_one],
            at=np.maximum(a.at[self.of_one], b.at[self.of_two]),
            row=a.row[self.of_one],
            unit=np.arange(n),
            treated=treated,
            unit_day=np.zeros(n, dtype=np.int64),
            closes_us=min(self.one.cohort.closes_us, self.two.cohort.closes_us),
            clustered=False,
            n_control=int(np.count_nonzero(~treated)),
        )


def _both(frames: Frames, one: StageData, two: StageData) -> _Both | None:
    """None where they are few or the stages share no time."""
    a, b = one.customers.crowd, two.customers.crowd
    begins = max(one.cohort.stage.start_us, two.cohort.stage.start_us)
    if begins >= min(one.cohort.until_us, two.cohort.until_us):
        return None
    where = np.full(len(frames.exposures.subject.labels), ABSENT, dtype=np.int64)
    where[b.person] = np.arange(len(b))
    there = where[a.person]
    kept = np.flatnonzero(there != ABSENT)  # a's order: its old version first
    return _Both(one, two, kept, there[kept]) if len(kept) >= LEAST_BOTH else None
