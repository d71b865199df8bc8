"""What may be said of a result? Words from the deciding interval and the grade, and from nothing else.

A causal verb is used only where units were assigned at random; everywhere else a change "was followed by" something.
"""

from __future__ import annotations

import re
from typing import Literal

from edgeloop.store.rows import Estimate
from reports import numbers

Direction = Literal["better", "worse", "unclear", "early"]
Certainty = Literal["clear", "not clear", "too early", "data in doubt"]

_QUESTIONS = {"csat": "satisfaction", "nps": "promoter score", "ces": "ease", "rating": "rating"}
CUSTOMERS = 10_000
"""Practical sizes are told per so many customers."""


def direction(e: Estimate, *, lower_is_better: bool = False) -> Direction:
    """Which way the deciding interval lies; one that touches 0 decides nothing."""
    low, high = e.decision_low, e.decision_high
    if e.decided_by is None or low is None or high is None:
        return "early"
    if low <= 0 <= high:
        return "unclear"
    return "better" if (low > 0) != lower_is_better else "worse"


def certainty(found: Direction, *, doubted: bool = False) -> Certainty:
    """How sure, in words; ``doubted``: the data behind it has to be repaired first."""
    if doubted:
        return "data in doubt"
    if found == "early":
        return "too early"
    return "not clear" if found == "unclear" else "clear"


def verb(e: Estimate) -> str:
    """What the change did to the metric."""
    found = direction(e)
    if found == "early":
        return "not enough data"
    if found == "unclear":
        return "no clear change"
    if e.grade == "randomised":
        return "lifted" if found == "better" else "lowered"
    return f"was followed by a {'rise' if found == 'better' else 'fall'} in"


def sentence(subject: str, e: Estimate, currency: str | None = None) -> str:
    """One sentence, without its full stop, on what ``subject`` did to one metric; ``currency`` is of a sum."""
    said, what = verb(e), noun(e)
    low, high = e.decision_low, e.decision_high
    if said == "not enough data" or low is None or high is None:
        return f"{subject}: not enough data on {what}"
    if said == "no clear change":
        return f"{subject}: no clear change in {what}"
    near, far = sorted((abs(low), abs(high)))
    digits = _digits(e, near, far)
    size = numbers.number(abs(_scaled(e, e.effect if e.effect is not None else (low + high) / 2)), digits)
    span = f"{numbers.number(_scaled(e, near), digits)} to {numbers.number(_scaled(e, far), digits)}"
    by = "by" if e.grade == "randomised" else "of"
    return f"{subject} {said} {what} {by} {size}{_unit(e, currency)} (range {span})"


def practical(e: Estimate, currency: str | None = None) -> str:
    """The size in counts, where it is clear; else nothing."""
    found = direction(e)
    if found not in ("better", "worse") or e.decision_low is None or e.decision_high is None:
        return ""
    size = e.effect if e.effect is not None else (e.decision_low + e.decision_high) / 2
    more = size > 0
    if e.metric_kind == "quantile":
        return ""
    if is_share(e):
        way, whom = "more" if more else "fewer", "customers" if e.metric_kind == "proportion" else "requests"
        return f"{numbers.about(size * CUSTOMERS)} {way} of {numbers.count(CUSTOMERS)} {whom} ({_span(e)})"
    if e.metric_kind == "nps":
        moved = "from detractor to neutral" if more else "from neutral to detractor"
        return f"as if {numbers.about(size)} of 100 who answered had gone {moved}"
    if is_sum(e):
        unit, way = f" {currency}" if currency else "", "more" if more else "less"
        span = _span(e)
        return f"{numbers.about(size * CUSTOMERS)}{unit} {way} per {numbers.count(CUSTOMERS)} customers ({span})"
    return f"as if {numbers.about(size * 100)} of 100 who answered had scored one point {'higher' if more else 'lower'}"


def label(metric: str) -> str:
    """A metric's short name: ``slot rebooked``, ``satisfaction (home survey)``."""
    if "/" in metric:
        survey, question = metric.split("/", 1)
        of = "" if "survey" in survey.lower() else " survey"
        return f"{_QUESTIONS.get(question.lower()) or _spaced(question)} ({_spaced(survey)}{of})"
    if metric.endswith(":value"):
        return f"{_spaced(metric.removesuffix(':value'))}, value per customer"
    return _QUESTIONS.get(metric.lower()) or _spaced(metric)


def noun(e: Estimate) -> str:
    """The metric as something that can rise or fall: ``the share of customers with “slot rebooked”``."""
    if e.metric_kind == "proportion":
        return f"the share of customers with “{label(e.metric)}”"
    if e.metric_kind == "ratio" and is_share(e):
        return f"the share of requests with “{label(e.metric)}”"
    if is_sum(e):
        return f"the value of “{_spaced(e.metric.removesuffix(':value'))}” per customer"
    return label(e.metric)


def figure(e: Estimate, value: float | None) -> str:
    """An arm's own figure."""
    if value is None:
        return ""
    if is_share(e):
        return numbers.percent(value)
    if e.metric_kind == "quantile":
        return f"{numbers.number(value, 0)}{numbers.NO_BREAK}ms"
    return numbers.number(value, 0 if e.metric_kind == "nps" else 2)


def effect(e: Estimate, value: float) -> str:
    """A difference between the arms, or one end of its interval."""
    bounds = [v for v in (e.decision_low, e.decision_high) if v is not None]
    digits = _digits(e, value, *bounds)
    if e.metric_kind == "quantile":
        return f"{numbers.signed(value, digits)}{numbers.NO_BREAK}ms"
    return numbers.points(value, digits) if is_share(e) else numbers.signed(value, digits)


def between(e: Estimate) -> str:
    """The deciding interval, with its unit once."""
    if e.decision_low is None or e.decision_high is None:
        return ""
    low, high = effect(e, e.decision_low), effect(e, e.decision_high)
    unit = low.partition(numbers.NO_BREAK)[2]
    return f"{low.removesuffix(numbers.NO_BREAK + unit) if unit else low} to {high}"


def is_share(e: Estimate) -> bool:
    """Whether the metric is a share, of customers or of requests."""
    # Only metrics of exposures have no window; a ratio of engagement is an amount per event.
    return e.metric_kind == "proportion" or (e.metric_kind == "ratio" and e.window_h is None)


def is_sum(e: Estimate) -> bool:
    """Whether the metric is a sum per customer, not a score."""
    answered = e.response_control is not None or e.respondent == "agent" or "/" in e.metric
    return e.metric_kind == "mean" and not answered


def _span(e: Estimate) -> str:
    """The deciding interval per so many customers, from small to large."""
    ends = sorted(abs(bound) * CUSTOMERS for bound in (e.decision_low or 0.0, e.decision_high or 0.0))
    return " to ".join(numbers.about(end).removeprefix("about ") for end in ends)


def _scaled(e: Estimate, value: float) -> float:
    return value * 100 if is_share(e) else value


def _digits(e: Estimate, *values: float) -> int:
    return numbers.digits_for([_scaled(e, v) for v in values], 2 if e.metric_kind == "mean" else 1)


def _unit(e: Estimate, currency: str | None) -> str:
    if is_sum(e):
        return f" {currency}" if currency else ""
    if e.metric_kind == "quantile":
        return " ms"
    return " percentage points" if is_share(e) else " points"


def _spaced(name: str) -> str:
    return re.sub(r"[_\-.]+", " ", name).strip() or name


def capital(text: str) -> str:
    """With a capital letter at the start."""
    return text[:1].upper() + text[1:]
