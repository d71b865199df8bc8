"""What may be said of a result? Words from the deciding interval and the grade, and from nothing else.

A causal verb is used only where units were assigned at random; everywhere else a change "was followed by" something.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Literal

from edgeloop.store.rows import Estimate, Verdict
from reports import foreign, numbers
from reports.language import t, tn
from reports.verdicts import TOLD

Direction = Literal["better", "worse", "unclear", "early"]
Certainty = Literal["clear", "not clear", "too early", "data in doubt"]

LONGEST_WAIT_DAYS = 365
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
        return t("not enough data")
    if found == "unclear":
        return t("no clear change")
    if e.grade == "randomised":
        return t("lifted") if found == "better" else t("lowered")
    return t("was followed by a rise in") if found == "better" else t("was followed by a fall in")


def sentence(subject: str, e: Estimate, currency: str | None = None) -> str:
    """One sentence, without its full stop, on what ``subject`` did to one metric; ``currency`` is of a sum."""
    found, what = direction(e), noun(e)
    low, high = e.decision_low, e.decision_high
    if found == "early" or low is None or high is None:
        return t("{subject}: not enough data on {what}", subject=subject, what=what)
    if found == "unclear":
        return t("{subject}: no clear change in {what}", subject=subject, what=what)
    near, far = sorted((abs(low), abs(high)))
    digits = _digits(e, near, far)
    size = _sized(e, abs(_scaled(e, _middle(e))), digits, currency)
    ends = numbers.span(near, far, lambda value: numbers.number(_scaled(e, value), digits))
    told = {"subject": subject, "what": what, "size": size, "range": ends}
    if e.grade == "randomised":
        if found == "better":
            return t("{subject} lifted {what} by {size} (range {range})", **told)
        return t("{subject} lowered {what} by {size} (range {range})", **told)
    if found == "better":
        return t("{subject} was followed by a rise in {what} of {size} (range {range})", **told)
    return t("{subject} was followed by a fall in {what} of {size} (range {range})", **told)


def practical(e: Estimate, currency: str | None = None) -> str:
    """The size in counts, where it is clear; else nothing."""
    if direction(e) not in ("better", "worse") or e.metric_kind == "quantile":
        return ""
    size = _middle(e)
    told = {"size": numbers.about(size * CUSTOMERS), "all": numbers.count(CUSTOMERS), "range": _span(e, CUSTOMERS)}
    if e.metric_kind == "proportion":
        if size > 0:
            return t("{size} more of {all} customers ({range})", **told)
        return t("{size} fewer of {all} customers ({range})", **told)
    if is_share(e):
        if size > 0:
            return t("{size} more of {all} requests ({range})", **told)
        return t("{size} fewer of {all} requests ({range})", **told)
    if e.metric_kind == "nps":
        if size > 0:
            return t("as if {size} of 100 who answered had gone from detractor to neutral", size=numbers.about(size))
        return t("as if {size} of 100 who answered had gone from neutral to detractor", size=numbers.about(size))
    if is_sum(e):
        told["size"] = _of_currency(told["size"], currency)
        if size > 0:
            return t("{size} more per {all} customers ({range})", **told)
        return t("{size} less per {all} customers ({range})", **told)
    if e.metric_kind == "ratio":  # an amount per event, whose unit nobody has named
        return ""
    scored = numbers.about(size * 100)
    if size > 0:
        return t("as if {size} of 100 who answered had scored one point higher", size=scored)
    return t("as if {size} of 100 who answered had scored one point lower", size=scored)


def worth(e: Estimate, each: float | None, currency: str | None) -> str:
    """What the size is worth in money, where one unit of the metric has a price and the size is clear.

    Args:
        each: the money that one unit of the metric is worth; below 0 for what costs.
    """
    if each is None or direction(e) not in ("better", "worse") or e.metric_kind == "quantile":
        return ""
    total = _middle(e) * CUSTOMERS * each
    size = _of_currency(numbers.about(total), currency)
    told = {"size": size, "all": numbers.count(CUSTOMERS), "range": _span(e, CUSTOMERS * each)}
    if total > 0:
        return t("at the worth set for one: {size} more per {all} customers ({range})", **told)
    return t("at the worth set for one: {size} less per {all} customers ({range})", **told)


def label(metric: str) -> str:
    """A metric's short name: ``slot rebooked``, ``satisfaction (home survey)``."""
    if "/" in metric:
        survey, question = metric.split("/", 1)
        return _of_survey(_question(question), survey)
    if metric.endswith(":value"):
        return t("{metric}, value per customer", metric=_spaced(metric.removesuffix(":value")))
    return _known(metric.lower()) or _question(metric)


def noun(e: Estimate) -> str:
    """The metric, with its article, as what rises or falls: ``the share of customers with “slot rebooked”``."""
    if e.metric_kind == "proportion":
        return share_of_customers(e.metric)
    if is_share(e):
        rates = {"error_rate": t("the error rate"), "over_budget": t("the share of requests over budget")}
        return rates.get(e.metric) or t("the share of requests with “{metric}”", metric=label(e.metric))
    return value_per_customer(e.metric) if is_sum(e) else score(e.metric)


def share_of_customers(metric: str) -> str:
    """What rises or falls of a share: its customers with the event."""
    return t("the share of customers with “{metric}”", metric=label(metric))


def value_per_customer(metric: str) -> str:
    """What rises or falls of a sum."""
    return t("the value of “{metric}” per customer", metric=label(metric.removesuffix(":value")))


def score(metric: str) -> str:
    """What rises or falls of answers and of figures without events: ``the satisfaction score (home survey)``.

    Catalogues give each its article; of a name that is not ours no language knows it, so it stands in quotation marks.
    """
    survey, _, question = metric.rpartition("/")
    known = {
        "csat": t("the satisfaction score"),
        "nps": t("the promoter score"),
        "ces": t("the ease score"),
        "rating": t("the rating"),
        "agent_rating": t("the agent rating"),
        "latency_p95": t("the p95 latency"),
    }.get(question.lower())
    if known is None:
        return t("the metric “{metric}”", metric=label(metric))
    return _of_survey(known, survey) if survey else known


def figure(e: Estimate, value: float | None) -> str:
    """An arm's own figure."""
    if value is None:
        return ""
    if is_share(e):
        return numbers.percent(value)
    if e.metric_kind == "quantile":
        return t("{number}\N{NO-BREAK SPACE}ms", number=numbers.number(value, 0))
    return numbers.number(value, 0 if e.metric_kind == "nps" else 2)


def effect(e: Estimate, value: float) -> str:
    """A difference between the arms, or one end of its interval."""
    return _with_unit(e, _signed(e, value))


def size(e: Estimate, value: float, currency: str | None = None) -> str:
    """The size of a difference without its sign: ``3.1 percentage points``."""
    return _sized(e, abs(_scaled(e, value)), _digits(e, value), currency)


def between(e: Estimate) -> str:
    """The deciding interval, with its unit once."""
    if e.decision_low is None or e.decision_high is None:
        return ""
    return numbers.span(
        e.decision_low, e.decision_high, lambda value: _signed(e, value), lambda text: _with_unit(e, text)
    )


def days_more(n: int) -> str:
    """How long a test must go on; what nobody waits for has no number."""
    if n > LONGEST_WAIT_DAYS:
        return t("more than a year at this pace")
    return tn("at least {n} day more", "at least {n} days more", n, n=numbers.count(n))


def verdict(found: Verdict) -> str:
    """A verdict, in small letters."""
    return TOLD[found].name()


def sure(found: Certainty) -> str:
    """A certainty."""
    return {
        "clear": t("clear"),
        "not clear": t("not clear"),
        "too early": t("too early"),
        "data in doubt": t("data in doubt"),
    }[found]


def side(found: Direction) -> str:
    """Whether what is clear is wanted."""
    return {"better": t("better"), "worse": t("worse")}.get(found, "")


def is_share(e: Estimate) -> bool:
    """Whether the metric is a share, of customers or of requests."""
    # Only metrics of exposures have no window; a ratio of engagement is an amount per event.
    return e.metric_kind == "proportion" or (e.metric_kind == "ratio" and e.window_h is None)


def is_sum(e: Estimate) -> bool:
    """Whether the metric is a sum per customer, not a score."""
    answered = e.response_control is not None or e.respondent == "agent" or "/" in e.metric or e.metric in _SCORES
    return e.metric_kind == "mean" and not answered


def capital(text: str) -> str:
    """With a capital letter at the start."""
    return text[:1].upper() + text[1:]


_SCORES = frozenset({"csat", "ces", "agent_rating"})
"""Of the pack, those that are means of answers; of others their response rates say so."""


def _middle(e: Estimate) -> float:
    return e.effect if e.effect is not None else ((e.decision_low or 0.0) + (e.decision_high or 0.0)) / 2


def _span(e: Estimate, each: float) -> str:
    """The deciding interval times so much, from small to large, without signs."""
    low, high = sorted(abs(bound * each) for bound in (e.decision_low or 0.0, e.decision_high or 0.0))
    return numbers.span(low, high, _bound)


def _bound(value: float) -> str:
    return t("fewer than 1") if 0 < value < 0.5 else numbers.rough(value)


def _scaled(e: Estimate, value: float) -> float:
    return value * 100 if is_share(e) else value


def _digits(e: Estimate, *values: float) -> int:
    return numbers.digits_for([_scaled(e, v) for v in values], 2 if e.metric_kind == "mean" else 1)


def _signed(e: Estimate, value: float) -> str:
    bounds = [v for v in (e.decision_low, e.decision_high) if v is not None]
    return numbers.signed(_scaled(e, value), _digits(e, value, *bounds))


def _with_unit(e: Estimate, number: str) -> str:
    if e.metric_kind == "quantile":
        return t("{number}\N{NO-BREAK SPACE}ms", number=number)
    return t("{number}\N{NO-BREAK SPACE}pp", number=number) if is_share(e) else number


def _sized(e: Estimate, size: float, digits: int, currency: str | None) -> str:
    """The size in a sentence."""
    number, n = numbers.number(size, digits), Decimal(f"{size:.{digits}f}")
    if is_sum(e):
        return _of_currency(number, currency)
    if e.metric_kind == "quantile":
        return t("{number}\N{NO-BREAK SPACE}ms", number=number)
    if is_share(e):
        return tn("{number} percentage point", "{number} percentage points", n, number=number)
    return number if e.metric_kind == "ratio" else tn("{number} point", "{number} points", n, number=number)


def _of_currency(number: str, currency: str | None) -> str:
    return t("{number} {currency}", number=number, currency=currency) if currency else number


def _of_survey(question: str, survey: str) -> str:
    told = {"question": question, "survey": _spaced(survey)}
    if "survey" in survey.lower():
        return t("{question} ({survey})", **told)
    return t("{question} ({survey} survey)", **told)


def _question(name: str) -> str:
    kinds = {"csat": t("satisfaction"), "nps": t("promoter score"), "ces": t("ease"), "rating": t("rating")}
    return kinds.get(name.lower()) or _spaced(name)


def _known(metric: str) -> str | None:
    """The pack's own metrics, which every language has a word for."""
    return {
        "conversion": t("conversion"),
        "slot_rebooked": t("slot rebooked"),
        "complaint": t("complaint"),
        "revenue": t("revenue"),
        "repeat_order": t("repeat order"),
        "agent_rating": t("agent rating"),
        "card_opened": t("card opened"),
        "latency_p95": t("latency p95"),
        "over_budget": t("over budget"),
        "error_rate": t("error rate"),
    }.get(metric)


def _spaced(name: str) -> str:
    return foreign.name(re.sub(r"[_\-.]+", " ", name).strip() or name, 60)


def dimension(name: str) -> str:
    """What parts customers, or what they were drawn inside of."""
    return {
        "touchpoint": t("touchpoint"),
        "zone": t("zone"),
        "device": t("device"),
        "segment": t("customer segment"),
        "site": t("site"),
        "courier": t("delivery agent"),
        "placement": t("edge or cloud"),
        "customer": t("new or returning"),
    }.get(name, name)
