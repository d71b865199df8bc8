"""Which figures, and what is each unit's value? The metrics there are without configuration.

Per engagement name the share of units with at least one (``proportion``) and, where values exist, the sum per unit
(``mean``); per survey question with numbers its mean over those who answered (``mean``, or ``nps``).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from analysis.entry import Arm
from analysis.frames import ABSENT, BoolArray, Coded, Outcomes
from analysis.lift import Sample, mean_sample, nps_sample, proportion_sample, ratio_sample
from analysis.moments import FloatArray, IntArray, Moments, cells, total
from edgeloop.clock import DAY_US, HOUR_US

ENGAGEMENT_WINDOW_US = 72 * HOUR_US
ANSWER_WINDOW_US = 14 * DAY_US

Source = Literal["share", "sum", "answer"]
Respondent = Literal["customer", "agent"]
_ORDER = {"share": 0, "sum": 1, "answer": 2}


@dataclass(frozen=True, slots=True)
class Metric:
    """``name`` as printed; ``key`` is the engagement name or the question that it is made of."""

    name: str
    kind: Literal["proportion", "mean", "nps"]
    source: Source
    key: str
    window_us: int
    respondent: Respondent = "customer"
    currency: str | None = None
    """Of a sum: the one currency that counts (None: values without one)."""

    @property
    def order(self) -> tuple[bool, int, str]:
        """Customers before agents; shares, then sums, then questions; by name."""
        return (self.respondent == "agent", _ORDER[self.source], self.name)


@dataclass(frozen=True, slots=True, eq=False)
class Matched:
    """Outcomes inside the complete people's windows, sorted by name: ``person`` is a position in the arm."""

    person: IntArray
    name: Coded
    value: FloatArray
    currency: Coded

    def of(self, name: str) -> slice:
        """Where that name's outcomes are."""
        code = self.name.code(name)
        if code is None:
            return slice(0, 0)
        begin, end = np.searchsorted(self.name.codes, [code, code + 1])
        return slice(int(begin), int(end))

    def names(self) -> list[str]:
        """The names that occur."""
        return sorted(str(self.name.labels[int(i)]) for i in np.flatnonzero(np.bincount(self.name.codes)))


@dataclass(frozen=True, slots=True)
class Figure:
    """One arm's part of one metric.

    ``moments`` are sums over units, added up from one cell per entry day. ``events`` counts the people with the event,
    with a sum other than 0, or with an answer; ``people`` those whose window is complete.
    """

    moments: Moments
    events: int
    people: int
    left_out: int = 0
    """Values in another currency."""


def match(outcomes: Outcomes, arm: Arm, window_us: int, n_people: int) -> Matched:
    """The outcomes in [entry, entry + window] of the arm's complete people, joined by person alone.

    Args:
        n_people: how many person codes there are.
    """
    complete = arm.complete(window_us)
    position = np.full(n_people, ABSENT, dtype=np.int64)
    position[arm.person[complete]] = np.flatnonzero(complete)
    found = position[outcomes.person]
    candidate = np.flatnonzero(found != ABSENT)
    person = found[candidate]
    lag = outcomes.at[candidate] - arm.at[person]
    inside = (lag >= 0) & (lag <= window_us)
    rows, person = candidate[inside], person[inside]
    order = np.argsort(outcomes.name.codes[rows], kind="stable")
    rows = rows[order]
    return Matched(
        person[order],
        Coded(outcomes.name.codes[rows], outcomes.name.labels),
        outcomes.value[rows],
        Coded(outcomes.currency.codes[rows], outcomes.currency.labels),
    )


def engagement_metrics(matched: Iterable[Matched]) -> list[Metric]:
    """The shares and sums that occur in any of these arms and stages, in order."""
    kept = list(matched)
    metrics: list[Metric] = []
    for name in sorted({name for m in kept for name in m.names()}):
        metrics.append(Metric(name, "proportion", "share", name, ENGAGEMENT_WINDOW_US))
        currencies = _currencies(kept, name)
        if currencies:
            currency = min(currencies, key=lambda c: (-currencies[c], c or ""))
            metrics.append(Metric(f"{name}:value", "mean", "sum", name, ENGAGEMENT_WINDOW_US, currency=currency))
    return sorted(metrics, key=lambda m: m.order)


def answer_metrics(matched: Iterable[Matched], outcomes: Outcomes, respondent: Respondent) -> list[Metric]:
    """The questions answered in any of these arms and stages, in order."""
    questions = sorted({name for m in matched for name in m.names()})
    return [
        Metric(q, "nps" if outcomes.kinds[q] == "nps" else "mean", "answer", q, ANSWER_WINDOW_US, respondent)
        for q in questions
    ]


def figure(metric: Metric, matched: Matched, arm: Arm) -> Figure:
    """The sums of one metric over one arm's units with complete windows.

    Shares and sums count everyone (none = 0); questions count the units that answered, Σ answers' values / Σ answers.
    """
    at = matched.of(metric.key)
    person, value = matched.person[at], matched.value[at]
    complete = arm.complete(metric.window_us)
    n = len(arm.person)
    left_out = 0
    if metric.source == "sum":
        has = ~np.isnan(value)
        wanted = _in_currency(matched, at, metric.currency)
        left_out = int(np.count_nonzero(has & ~wanted))
        person, value = person[has & wanted], value[has & wanted]
    if metric.source == "share":
        y, d = np.zeros(n), np.ones(n)
        y[person] = 1.0
        counted = complete
        events = int(np.count_nonzero(y))
    else:
        y = np.bincount(person, weights=value, minlength=n).astype(np.float64)
        answers = np.bincount(person, minlength=n).astype(np.float64)
        asked = metric.source == "answer"
        counted = answers > 0 if asked else complete
        d = answers if asked else np.ones(n)
        events = int(np.count_nonzero(answers if asked else y))
    return Figure(_unit_moments(arm, y, d, counted), events, int(np.count_nonzero(complete)), left_out)


def sample(metric: Metric, arm: Arm, moments: Moments) -> Sample | None:
    """The arm's figure and its variance per unit; None without units. A single unit has a figure and no variance."""
    if moments.n == 0:
        return None
    if moments.n == 1:
        return Sample(1, moments.y / moments.d, 0.0)
    if metric.kind == "nps" and not arm.clustered and moments.dd == moments.n:
        return nps_sample(moments)
    if metric.source == "answer" or arm.clustered:
        return ratio_sample(moments)
    return proportion_sample(moments) if metric.source == "share" else mean_sample(moments)


def _unit_moments(arm: Arm, y: FloatArray, d: FloatArray, counted: BoolArray) -> Moments:
    day = arm.unit_day
    if arm.clustered:
        unit = arm.unit[counted]
        y = np.bincount(unit, weights=y[counted], minlength=arm.n_units).astype(np.float64)
        d = np.bincount(unit, weights=d[counted], minlength=arm.n_units).astype(np.float64)
        counted = d > 0
    days = int(day.max()) + 1 if len(day) else 0
    return total(cells(y[counted], d[counted], day[counted], days))


def _currencies(matched: Iterable[Matched], name: str) -> dict[str | None, int]:
    """How many values there are per currency (None: without)."""
    counts: dict[str | None, int] = {}
    for m in matched:
        at = m.of(name)
        codes = m.currency.codes[at][~np.isnan(m.value[at])]
        for code, n in zip(*np.unique(codes, return_counts=True), strict=True):
            label = None if code == ABSENT else str(m.currency.labels[int(code)])
            counts[label] = counts.get(label, 0) + int(n)
    return counts


def _in_currency(matched: Matched, at: slice, currency: str | None) -> BoolArray:
    codes = matched.currency.codes[at]
    wanted = ABSENT if currency is None else matched.currency.code(currency)
    return codes == wanted if wanted is not None else np.zeros(len(codes), dtype=bool)
