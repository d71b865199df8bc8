"""What is each unit's value? Outcomes inside the windows of the people of two arms, summed per person and per unit."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from analysis.entry import Arm, Cohort
from analysis.frames import ABSENT, BoolArray, Exposures, Frames, Outcomes
from analysis.groups import stable_order, starts
from analysis.inside import NOWHERE, Inside
from analysis.metrics import Metric
from analysis.moments import FloatArray, IntArray
from edgeloop.clock import DAY_US


@dataclass(frozen=True, slots=True, eq=False)
class Crowd:
    """The people of two arms in one numbering, control first: arrays have one element per person.

    ``unit`` numbers the units of both arms from 0; ``treated`` and ``unit_day`` have one element per unit.
    """

    person: IntArray
    at: IntArray
    row: IntArray
    unit: IntArray
    treated: BoolArray
    unit_day: IntArray
    closes_us: int | IntArray
    """The last moment that a window may reach, of all or of each person."""
    clustered: bool
    n_control: int
    """People of the control arm."""
    inside: Inside = NOWHERE
    """The cluster and the stratum of each person."""

    @classmethod
    def of(cls, control: Arm, treated: Arm) -> Crowd:
        """Two arms as one."""
        units = (control.n_units, treated.n_units)
        return cls(
            person=np.concatenate([control.person, treated.person]),
            at=np.concatenate([control.at, treated.at]),
            row=np.concatenate([control.row, treated.row]),
            unit=np.concatenate([control.unit, treated.unit + units[0]]),
            treated=np.repeat([False, True], units),
            unit_day=np.concatenate([control.unit_day, treated.unit_day]),
            closes_us=control.closes_us,
            clustered=control.clustered,
            n_control=len(control.person),
            inside=control.inside.joined(treated.inside),
        )

    def __len__(self) -> int:
        return len(self.person)

    @property
    def person_treated(self) -> BoolArray:
        """Which people are in the treated arm."""
        return np.arange(len(self.person)) >= self.n_control

    def complete(self, window_us: int) -> BoolArray:
        """Which people have their whole window behind them."""
        done: BoolArray = self.at <= self.closes_us - window_us
        return done


@dataclass(frozen=True, slots=True, eq=False)
class Values:
    """One metric's numerator ``y`` and denominator ``d`` per person of a crowd, and who ``counted`` is.

    ``did`` are the people with the event, a sum other than 0, an answer, or an exposure with the mark.
    """

    y: FloatArray
    d: FloatArray
    counted: BoolArray
    did: BoolArray
    left_out: int = 0
    """Values in another currency."""
    outcomes: tuple[IntArray, IntArray] | None = None
    """Of answers: (row of the outcomes, position in the crowd) of each that is in ``y``."""


class Joining(Protocol):
    """Joins outcomes to a crowd."""

    crowd: Crowd

    def of(self, outcomes: Outcomes, name: str, from_us: int, to_us: int) -> tuple[IntArray, IntArray]:
        """(row of the outcomes, position in the crowd) with from ≤ outcome − entry ≤ to, of one name."""
        ...


class Matcher:
    """The outcomes of a crowd in which everybody is once: joined by person alone."""

    def __init__(self, crowd: Crowd, n_people: int) -> None:
        self.crowd = crowd
        self._position = np.full(n_people, ABSENT, dtype=np.int64)
        self._position[crowd.person] = np.arange(len(crowd))
        self._kept: dict[tuple[int, str], tuple[IntArray, IntArray, IntArray]] = {}
        self._exposures: tuple[Cohort, IntArray, IntArray] | None = None

    def position(self, person: IntArray) -> IntArray:
        """Where people are in the crowd; −1 for others."""
        found: IntArray = self._position[person]
        return found

    def of(self, outcomes: Outcomes, name: str, from_us: int, to_us: int) -> tuple[IntArray, IntArray]:
        """(row of the outcomes, position in the crowd) with from ≤ outcome − entry ≤ to, of one name."""
        rows, position, lag = self._joined(outcomes, name)
        inside = (lag >= from_us) & (lag <= to_us)
        return rows[inside], position[inside]

    def exposures(self, x: Exposures, cohort: Cohort) -> tuple[IntArray, IntArray]:
        """(row, position in the crowd) of all exposures to the model in the stage of the two arms' people."""
        kept = self._exposures
        if kept is None or kept[0] is not cohort:
            rows = cohort.rows[x.customers(cohort.rows)]
            position = self.position(x.subject.codes[rows])
            there = position != ABSENT
            kept = self._exposures = (cohort, rows[there], position[there])
        return kept[1], kept[2]

    def forget(self) -> None:
        """Drop what was joined; who asks again, joins again."""
        self._kept.clear()
        self._exposures = None

    def _joined(self, outcomes: Outcomes, name: str) -> tuple[IntArray, IntArray, IntArray]:
        kept = self._kept.get((id(outcomes), name))
        if kept is None:
            span = outcomes.span(name)
            position = self._position[outcomes.person[span]]
            rows = np.flatnonzero(position != ABSENT)
            position = position[rows]
            rows += span.start
            kept = self._kept[id(outcomes), name] = (rows, position, outcomes.lag(rows, self.crowd.at[position]))
        return kept


class RepeatedMatcher:
    """The outcomes of a crowd in which people are several times: an outcome counts for each entry it follows."""

    def __init__(self, crowd: Crowd, n_people: int) -> None:
        self.crowd = crowd
        by_time = np.argsort(crowd.at, kind="stable")
        self._order = by_time[stable_order(crowd.person[by_time])]
        self._at = crowd.at[self._order]
        self._begins = starts(crowd.person + 1, n_people + 1)[1:]  # nobody (−1) comes first
        self._kept: dict[tuple[int, str, int, int], tuple[IntArray, IntArray]] = {}

    def of(self, outcomes: Outcomes, name: str, from_us: int, to_us: int) -> tuple[IntArray, IntArray]:
        """(row of the outcomes, position in the crowd) with from ≤ outcome − entry ≤ to, of one name."""
        kept = self._kept.get((id(outcomes), name, from_us, to_us))
        if kept is None:
            kept = self._kept[id(outcomes), name, from_us, to_us] = self._joined(outcomes, name, from_us, to_us)
        return kept

    def _joined(self, outcomes: Outcomes, name: str, from_us: int, to_us: int) -> tuple[IntArray, IntArray]:
        span = outcomes.span(name)
        person = outcomes.person[span]
        entered = np.flatnonzero(self._begins[person + 1] > self._begins[person])
        rows, person = span.start + entered, person[entered]
        # The earliest entry that may have caused it, and one past the latest.
        earliest, latest = outcomes.reach(rows, from_us, to_us)
        first, after = self._place(person, earliest), self._place(person, latest + 1)
        times = np.maximum(after - first, 0)
        begins = np.repeat(first - np.concatenate([[0], np.cumsum(times)[:-1]]), times) if len(rows) else first
        found = self._order[begins + np.arange(len(begins))]
        return np.repeat(rows, times), found

    def _place(self, person: IntArray, moment: IntArray) -> IntArray:
        """The place of each person's first entry at or after a moment: bisection inside everybody's own entries.

        People come in order, so that their entries lie side by side in memory; over all entries at once each search
        would begin somewhere else.
        """
        low, high = self._begins[person], self._begins[person + 1]
        for _ in range(int((high - low).max(initial=0)).bit_length()):
            middle = (low + high) // 2
            earlier = (low < high) & (self._at[np.minimum(middle, len(self._at) - 1)] < moment)
            low = np.where(earlier, middle + 1, low)
            high = np.where(earlier, high, middle)
        return low


def outcome_values(frames: Frames, matcher: Joining, metric: Metric) -> Values:
    """Shares and sums count everyone (none = 0); answers count who answered, Σ answers' values / Σ answers."""
    crowd, n = matcher.crowd, len(matcher.crowd)
    outcomes = outcomes_of(frames, metric)
    rows, position = matcher.of(outcomes, metric.key, metric.after_us, metric.window_us)
    complete = crowd.complete(metric.window_us)
    kept = complete[position]
    rows, position = rows[kept], position[kept]
    if metric.source == "share":
        did = np.bincount(position, minlength=n) >= metric.at_least
        return Values(did.astype(np.float64), np.ones(n), complete, did & complete)
    value, left_out = outcomes.value[rows], 0
    if metric.source == "sum":
        has, wanted = ~np.isnan(value), _in_currency(outcomes, rows, metric.currency)
        left_out = int(np.count_nonzero(has & ~wanted))
        position, value = position[has & wanted], value[has & wanted]
    y = np.bincount(position, weights=value, minlength=n).astype(np.float64)
    if metric.per:
        _, below = matcher.of(outcomes, metric.per, metric.after_us, metric.window_us)
        times = np.bincount(below[complete[below]], minlength=n).astype(np.float64)
        return Values(y, times, complete, y != 0, left_out)
    if metric.source == "sum":
        return Values(y, np.ones(n), complete, y != 0, left_out)
    answers = np.bincount(position, minlength=n).astype(np.float64)
    return Values(y, answers, answers > 0, answers > 0, outcomes=(rows, position))


def wanted_values(frames: Frames, matcher: Joining, metric: Metric) -> tuple[IntArray, BoolArray] | None:
    """(position in the crowd, whether it is in the metric's figure) of each value inside a window; None: all are.

    A sum leaves out what has another or no currency and what has no number, a question what is of another kind.
    """
    if metric.source == "sum":
        _, position, wanted = _events(frames, matcher, metric)
        return position, wanted
    outcomes = outcomes_of(frames, metric)
    if metric.source != "answer" or outcomes.others is None:
        return None
    _, kept = matcher.of(outcomes, metric.key, metric.after_us, metric.window_us)
    _, others = matcher.of(outcomes.others, metric.key, metric.after_us, metric.window_us)
    return np.concatenate([kept, others]), np.repeat([True, False], [len(kept), len(others)])


def events_of_sum(frames: Frames, matcher: Joining, metric: Metric) -> tuple[FloatArray, IntArray, IntArray]:
    """(value, time in µs, position in the crowd) of each event that a sum is made of."""
    rows, position, wanted = _events(frames, matcher, metric)
    kept = matcher.crowd.complete(metric.window_us)[position] & wanted
    outcomes = outcomes_of(frames, metric)
    return outcomes.value[rows[kept]], outcomes.at[rows[kept]], position[kept]


def _events(frames: Frames, matcher: Joining, metric: Metric) -> tuple[IntArray, IntArray, BoolArray]:
    """(row, position in the crowd, whether it is in the figure) of each event of a sum inside a window."""
    outcomes = outcomes_of(frames, metric)
    rows, position = matcher.of(outcomes, metric.key, metric.after_us, metric.window_us)
    return rows, position, ~np.isnan(outcomes.value[rows]) & _in_currency(outcomes, rows, metric.currency)


def answer_rows(frames: Frames, metric: Metric, values: Values) -> IntArray | None:
    """The rows of the table ``answers`` that a figure is made of, each once; None where it is not made of answers."""
    if values.outcomes is None:
        return None
    rows, _ = values.outcomes
    found: IntArray = np.unique(outcomes_of(frames, metric).row[rows])
    return found


def only(values: Values, kept: BoolArray) -> Values:
    """The same with the outcomes of some people of the crowd alone, where a figure leaves the others out."""
    if values.outcomes is None:
        return values
    rows, position = values.outcomes
    return replace(values, outcomes=(rows[kept[position]], position[kept[position]]))


def exposure_values(matcher: Joining, position: IntArray, marked: FloatArray) -> Values:
    """Σ marked exposures / Σ exposures of each person.

    Args:
        position: per exposure whose it is in the crowd.
        marked: per exposure what is averaged: 1 or 0, or NaN where it does not count.
    """
    n = len(matcher.crowd)
    kept = ~np.isnan(marked)
    position, value = position[kept], marked[kept]
    y = np.bincount(position, weights=value, minlength=n).astype(np.float64)
    d = np.bincount(position, minlength=n).astype(np.float64)
    return Values(y, d, d > 0, y > 0)


def before_values(
    frames: Frames, matcher: Matcher, metric: Metric, first_us: IntArray
) -> tuple[FloatArray, BoolArray] | None:
    """(covariate per person, who has a history) from the days before each person first met the change.

    Args:
        first_us: each person's first exposure to the change in any stage, shape (people,).

    None where the metric has no covariate.
    """
    settings = metric.covariate
    own = settings.source == "same"
    if settings.source == "none" or metric.per or (own and metric.source not in ("share", "sum")):
        return None
    crowd, n = matcher.crowd, len(matcher.crowd)
    window = round(settings.window_days * DAY_US)
    history = frames.first_seen[crowd.person] < first_us
    if settings.source == "exposure":
        return _exposures_before(frames, matcher, settings.name, first_us, window, history)
    outcomes = frames.profiles if settings.source == "profile" else frames.engagement
    name = metric.key if own else settings.name
    rows, position = matcher.of(outcomes, name, -(1 << 62), 0)
    lag = outcomes.lag(rows, first_us[position])
    inside = (lag < 0) & (lag >= -window)
    rows, position = rows[inside], position[inside]
    value = outcomes.value[rows]
    if own and metric.source == "share":
        x = (np.bincount(position, minlength=n) > 0).astype(np.float64)
        return x, history
    if own:
        wanted = ~np.isnan(value) & _in_currency(outcomes, rows, metric.currency)
        position, value = position[wanted], value[wanted]
    else:
        value = np.where(np.isnan(value), 1.0, value)
    x = np.bincount(position, weights=value, minlength=n).astype(np.float64)
    if settings.source == "profile":
        times = np.bincount(position, minlength=n)
        return x / np.maximum(times, 1), times > 0
    return x, history


def before_sums(frames: Frames, matcher: Matcher, metric: Metric, first_us: IntArray, days: float) -> FloatArray:
    """Each person's sum of a metric's values in the days before it first met the change, shape (people,)."""
    outcomes = outcomes_of(frames, metric)
    rows, position = matcher.of(outcomes, metric.key, -(1 << 62), 0)
    lag = outcomes.lag(rows, first_us[position])
    kept = (lag < 0) & (lag >= -round(days * DAY_US)) & ~np.isnan(outcomes.value[rows])
    kept &= _in_currency(outcomes, rows, metric.currency)
    weights = outcomes.value[rows[kept]]
    return np.bincount(position[kept], weights=weights, minlength=len(matcher.crowd)).astype(np.float64)


def exposure_marks(x: Exposures, metric: Metric, rows: IntArray) -> FloatArray:
    """What a metric averages of some exposures: the field, or whether it is above a threshold; NaN: absent."""
    values, threshold = x.fields[metric.key][rows], metric.settings.threshold
    return values if threshold is None else np.where(np.isnan(values), np.nan, values > threshold)


def outcomes_of(frames: Frames, metric: Metric) -> Outcomes:
    """Where the metric's outcomes are."""
    if metric.respondent == "agent":
        return frames.agent_answers
    return frames.answers if metric.source == "answer" else frames.engagement


def _exposures_before(
    frames: Frames, matcher: Matcher, field: str, first_us: IntArray, window_us: int, history: BoolArray
) -> tuple[FloatArray, BoolArray] | None:
    """The mean of a numeric field over the person's exposures of the days before."""
    x, n = frames.exposures, len(matcher.crowd)
    values = x.fields.get(field)
    if values is None:
        return None
    known = np.flatnonzero((x.subject.codes != ABSENT) & ~np.isnan(values))
    position = matcher.position(x.subject.codes[known])
    known, position = known[position != ABSENT], position[position != ABSENT]
    lag = x.at[known] - first_us[position]
    inside = (lag < 0) & (lag >= -window_us)
    known, position = known[inside], position[inside]
    times = np.bincount(position, minlength=n)
    total = np.bincount(position, weights=values[known], minlength=n).astype(np.float64)
    return total / np.maximum(times, 1), history & (times > 0)


def _in_currency(outcomes: Outcomes, rows: IntArray, currency: str | None) -> BoolArray:
    codes = outcomes.currency.codes[rows]
    wanted = ABSENT if currency is None else outcomes.currency.code(currency)
    return codes == wanted if wanted is not None else np.zeros(len(codes), dtype=bool)
