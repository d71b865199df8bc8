"""Which rows belong to which change? The changes of the month with their estimates, most urgent first."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from analysis import LedgerChange, Metric
from edgeloop.store import facts
from edgeloop.store.facts import NotInUse, PromotedAfter, RolledBackAfter, Ruled
from edgeloop.store.rows import Check, Estimate, Grade, Verdict
from reports import foreign, units, words
from reports.findings import Role, Scale
from reports.verdicts import ORDER

ROLES: tuple[Role, ...] = ("goal", "guardrail", "watch")


@dataclass(frozen=True, slots=True)
class ChangeRows:
    """A change with its rows of the stage that decides; ``others`` are the rest, ``parted`` those of segments."""

    change: LedgerChange
    rows: tuple[Estimate, ...]
    others: tuple[Estimate, ...]
    lower_is_better: Collection[str]
    currencies: Mapping[str, str]
    parted: tuple[Estimate, ...] = ()
    metrics: Mapping[str, Metric] = field(default_factory=dict)
    checks: tuple[Check, ...] = ()
    ruling: Ruled | None = None
    """The verdict and what it rests on."""
    after: PromotedAfter | None = None
    """Of a switch that ends a change measured before: what that showed."""
    promoted: PromotedAfter | None = None
    """Of a change that such a switch ended."""
    over: NotInUse | None = None
    """Of a change that ended, and whose version nobody meets any more."""

    @property
    def verdict(self) -> Verdict | None:
        """What is asked, if anything: the change's, whether or not one of its metrics has an interval."""
        if self.ruling is not None:
            return self.ruling.verdict
        return next((e.verdict for e in (*self.rows, *self.others) if e.verdict is not None), None)

    @property
    def unit(self) -> units.Unit:
        """What was drawn."""
        return units.of(self.change)

    @property
    def before_after(self) -> bool:
        """Whether there is nothing but before and after."""
        return self.grade == "before_after"

    @property
    def grade(self) -> Grade | None:
        """How far the comparison carries."""
        return next((e.grade for e in (*self.rows, *self.others) if e.grade is not None), None)

    @property
    def anchor(self) -> str:
        """Where its block is on the page."""
        return "change-" + "".join(c if c.isascii() and c.isalnum() else "-" for c in self.change.change_id)

    @property
    def title(self) -> str:
        """In quotation marks."""
        return foreign.quoted(self.change.title)

    def direction(self, e: Estimate) -> words.Direction:
        """Which way, and whether that is wanted."""
        return words.direction(e, lower_is_better=e.metric in self.lower_is_better)

    def currency(self, e: Estimate) -> str | None:
        """Of a sum."""
        return self.currencies.get(e.metric) if words.is_sum(e) else None

    def role(self, e: Estimate) -> Role:
        """What the metric may decide."""
        if e.role is not None:
            return e.role
        metric = self.metrics.get(e.metric)
        return "goal" if metric is None else metric.role

    def question(self, e: Estimate) -> str:
        """``SURVEY/QUESTION`` of a metric of answers: a configured one has a name of its own."""
        metric = self.metrics.get(e.metric)
        return e.metric if metric is None else metric.key

    def deciding(self) -> Estimate | None:
        """The row that a verdict of roll back or promote rests on: the strongest of those that the ruling names.

        None where it names none that its interval shows, as a guardrail that is broken by a bound of its own.
        """
        wanted = {"roll back": "worse", "promote": "better"}.get(self.verdict or "")
        named = self.named()
        return max(
            (e for e in self.rows if self.direction(e) == wanted and (e.metric in named or not named)),
            key=lambda e: (-ROLES.index(self.role(e)), strength(e)),
            default=None,
        )

    def named(self) -> frozenset[str]:
        """The metrics that a roll back or a promotion rests on; empty where the ruling names none."""
        found = self.ruling.because if self.ruling is not None else ()
        return frozenset(
            name for f in found if isinstance(f, facts.Breached | facts.Worse | facts.Better) for name in f.metrics
        )


def gather(
    changes: Sequence[LedgerChange],
    estimates: Sequence[Estimate],
    lower_is_better: Collection[str],
    currencies: Mapping[str, str],
    metrics: Sequence[Metric] = (),
    checks: Sequence[Check] = (),
    rulings: Mapping[str, Ruled] = MappingProxyType({}),
    promoted: Mapping[str, PromotedAfter] = MappingProxyType({}),
    over: Mapping[str, NotInUse] = MappingProxyType({}),
) -> list[ChangeRows]:
    """The changes that touch the month, the one that asks most of the reader first."""
    made = []
    for change in changes:
        own = [e for e in estimates if e.change_id == change.change_id]
        whole = [e for e in own if e.dimension == "all"]
        made.append(
            ChangeRows(
                replace(change, title=foreign.plain(change.title, foreign.NAME_LENGTH)),
                tuple(e for e in whole if _decides(e)),
                tuple(e for e in whole if not _decides(e)),
                lower_is_better,
                currencies,
                tuple(e for e in own if e.dimension != "all"),
                {m.name: m for m in metrics},
                tuple(c for c in checks if c.change_id == change.change_id),
                rulings.get(change.change_id),
                promoted.get(change.change_id),
                next(
                    (
                        fact
                        for fact in promoted.values()
                        if fact.change_id == change.change_id and not isinstance(fact, RolledBackAfter)
                    ),
                    None,
                ),
                over.get(change.change_id),
            )
        )
    return sorted(made, key=lambda c: (_rank(c), c.change.start_us, c.change.change_id))


def days_left(own: ChangeRows) -> int | None:
    """Days until an effect worth acting on would show: the headline's, else the goals' longest.

    Where only guardrails are waited for, those until the last of them could be cleared.
    """
    waits = open_guards(own)
    if waits is not None:
        return waits.days
    told = [e for e in own.rows if e.days_left is not None and own.role(e) == "goal"]
    first = [e for e in told if (m := own.metrics.get(e.metric)) is not None and m.headline]
    return max((e.days_left or 0 for e in first or told), default=None)


def open_guards(own: ChangeRows) -> facts.GuardsOpen | None:
    """The guardrails that a change with a better goal still waits for."""
    found = own.ruling.because if own.ruling is not None else ()
    return next((f for f in found if isinstance(f, facts.GuardsOpen)), None)


def strength(e: Estimate) -> float:
    """|effect| in standard errors."""
    return abs(e.effect or 0.0) / e.se if e.se else 0.0


def scale(e: Estimate) -> Scale:
    """Which rows are drawn on the same scale."""
    if words.is_share(e):
        return "points"
    if e.metric_kind == "nps":
        return "nps"
    if e.metric_kind == "quantile":
        return "ms"
    return "sum" if words.is_sum(e) or e.metric_kind == "ratio" else "score"


def end(value: float | None) -> float | None:
    """An end of a deciding interval; None where few zones allow none: no draw of them is as rare as its level."""
    return None if value is None or math.isinf(value) else value


def _decides(e: Estimate) -> bool:
    """Whether a row is of the stage that decides and has a figure: an interval, or a floor that it misses."""
    if e.verdict is not None and any(isinstance(fact, facts.ArmWithout) for fact in e.facts[:1]):
        return True
    if e.effect is None:
        return False
    if e.decision_low is not None and e.decision_high is not None:
        return True
    few = any(isinstance(fact, facts.Few | facts.Bound) for fact in e.facts[:1])
    return e.verdict is not None and (e.guard is not None or few)


def _rank(own: ChangeRows) -> int:
    verdict = own.verdict
    return ORDER.index(verdict) if verdict else len(ORDER)
