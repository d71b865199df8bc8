"""Which verdicts do changes of known size get, and how often is a harmful one promoted?

Changes with the goals and guardrails of the pack, planned to be read after 28 days. *Month's end*: what the month's
report says, all kinds of change being one month's family. *Daily*: each change alone; somebody looks every day and
acts on the first promote or roll back, and if there is none on what the last day says; *told to stop early* are those
that some earlier look would have ended with "stop, no effect" or "not shown". *Right* is promote for what helps, either
of these two for what does nothing, roll back for what harms: the headline falls by its practical size or more, or a
guardrail by more than its margin. *Wrong* is another verdict that ends the test, *missed* being those of them that say
that no effect was shown; *undecided* is keep testing, or repair. A change that *trades* makes the headline better and
another goal worse: the table of verdicts promotes it where only the former has been decided, and rolls it back where
the latter has, which counts as right here. Trades were set apart from harm, and the plan of answers mended
(CHANGELOG), after a first quick run of 50 changes of each kind, in which 4.75 % of harmful changes and trades
together were promoted at 20,000 people.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal

import numpy as np

from analysis.judge import judge
from benchmarks.calibration.pack import DAYS, trial
from benchmarks.calibration.scenario import Row, Scenario, Tally, Target, add, percent
from edgeloop.store.rows import Verdict

if TYPE_CHECKING:
    from benchmarks.calibration.record import ScenarioFigures

Truth = Literal["helps", "nothing", "harms", "trades"]
RIGHT: dict[Truth, Verdict] = {
    "helps": "promote", "nothing": "stop, no effect", "harms": "roll back", "trades": "roll back",
}  # fmt: skip
ENDS: tuple[Verdict, ...] = ("promote", "roll back", "stop, no effect", "not shown")
UNDECIDED: tuple[Verdict, ...] = ("stop, no effect", "not shown")
"""What ends a test of which nothing was shown; both are right where there is nothing."""
MOST_PROMOTED = 0.01


@dataclass(frozen=True, slots=True)
class Change:
    """What a new version does to which metric, and what that makes of it."""

    key: str
    what: str
    effects: Mapping[str, float]
    truth: Truth


@dataclass(frozen=True, slots=True)
class Size:
    """People in the 28 days, and the new version's share of them."""

    key: str
    units: int
    share: float

    @property
    def what(self) -> str:
        """As printed."""
        return f"{self.units:,} people, " + ("50/50" if self.share == 0.5 else f"{percent(self.share)} canary")


def _of_conversion(effect: float) -> Change:
    truth: Truth = "nothing" if abs(effect) < 0.02 else "helps" if effect > 0 else "harms"
    what = f"conversion {100 * effect:+g} %".replace("-", "−") if effect else "nothing"
    return Change(f"conversion{effect:+g}", what, {"conversion": effect}, truth)


def _but(truth: Truth, key: str, what: str, **harm: float) -> Change:
    return Change(key, f"conversion +10 %, but {what}", {"conversion": 0.1, **harm}, truth)


CHANGES = [
    *(_of_conversion(e) for e in (-0.2, -0.1, -0.05, -0.02, 0.0, 0.01, 0.02, 0.05, 0.1, 0.2)),
    _but("harms", "budget", "2 points more over the time budget (margin 1)", over_budget=0.02),
    _but("harms", "errors", "1 point more errors (margin 0.5)", error_rate=0.01),
    _but("trades", "complaints", "complaints 1 → 1.5 %", complaint=0.5),
    _but("trades", "csat", "CSAT −0.3", csat=-0.3),
]
SIZES = [
    Size("small", 4_000, 0.5),
    Size("middle", 20_000, 0.5),
    Size("large", 100_000, 0.5),
    Size("canary", 100_000, 0.05),
]


def month_end(rng: np.random.Generator, sets: int, *, size: Size) -> Tally:
    """Months with one change of each kind, read once when the plan is reached."""
    tally: Tally = {}
    for _ in range(sets):
        drawn = [trial(rng, size.units, share=size.share, effects=c.effects, planned=size.units) for c in CHANGES]
        looks = [t.look(DAYS) for t in drawn]
        for change, judged in zip(CHANGES, judge(looks), strict=True):
            _count(tally, change, judged.ruling.verdict)
    return tally


def daily(rng: np.random.Generator, sets: int, *, size: Size) -> Tally:
    """One change of each kind, looked at every day; tallied too is who was told to stop before the last day."""
    tally: Tally = {}
    for _ in range(sets):
        for change in CHANGES:
            drawn = trial(rng, size.units, share=size.share, effects=change.effects, planned=size.units)
            verdict: Verdict = "keep testing"
            early = False
            for day in range(1, DAYS + 1):
                verdict = judge([drawn.look(day)])[0].ruling.verdict
                if verdict in ("promote", "roll back"):
                    break
                early = early or (verdict in UNDECIDED and day < DAYS)
            _count(tally, change, verdict)
            add(tally, f"{change.key}:early", early)
    return tally


def _count(tally: Tally, change: Change, verdict: Verdict) -> None:
    right = verdict == RIGHT[change.truth] or (change.truth == "nothing" and verdict in UNDECIDED)
    found = "undecided" if verdict not in ENDS else "right" if right else "wrong"
    for name in ("right", "wrong", "undecided"):
        add(tally, f"{change.key}:{name}", name == found)
    add(tally, f"{change.key}:missed", found == "wrong" and verdict in UNDECIDED)
    add(tally, f"{change.key}:promoted", verdict == "promote")
    if change.truth in ("harms", "trades"):
        add(tally, change.truth, verdict == "promote")


LOOKS = {"month": "month's end", "daily": "daily"}
_RUNS = {"month": (month_end, 1_000, 20), "daily": (daily, 100, 5)}
_COLUMNS = ("right", "wrong", "missed", "undecided", "promoted")


def _scenario(look: str, size: Size) -> Scenario:
    run, sets, piece = _RUNS[look]
    what = f"verdicts, {size.what}, {LOOKS[look]}"
    rows = [
        Row("harms", f"{what}: harmful changes promoted", Target(0.0, MOST_PROMOTED)),
        Row("trades", f"{what}: changes promoted that trade another goal away", None),
    ]
    return Scenario(_name(look, size), what, sets, piece, rows, partial(run, size=size))


def _name(look: str, size: Size) -> str:
    return f"verdicts_{look}_{size.key}"


SCENARIOS: list[Scenario] = [_scenario(look, size) for look in LOOKS for size in SIZES]


def table(figures: Mapping[str, ScenarioFigures]) -> str:
    """Right, wrong and undecided by size and sample, one table per way of looking."""
    lines: list[str] = []
    for look, title in LOOKS.items():
        there = [size for size in SIZES if _name(look, size) in figures]
        if not there:
            continue
        counts = sorted({figures[_name(look, size)].sets for size in there})
        early = ["told to stop early"] if look == "daily" else []
        head = ["the new version brings", "it", "people", "right", "wrong", "of these missed", "undecided", "promoted"]
        columns = [*_COLUMNS, "early"] if early else _COLUMNS
        lines += [
            f"### {title.capitalize()}: verdicts in % of {' or '.join(f'{n:,}' for n in counts)} changes each",
            "",
            f"| {' | '.join([*head, *early])} |",
            f"|{'---|' * len([*head, *early])}",
        ]
        for change in CHANGES:
            for size in there:
                rows = figures[_name(look, size)].rows
                shares = [f"{100 * rows[f'{change.key}:{column}'].share:.1f}" for column in columns]
                lines.append(f"| {change.what} | {change.truth} | {size.what} | {' | '.join(shares)} |")
        lines.append("")
    return "\n".join(lines)
