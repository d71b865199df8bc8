"""Who was drawn? Customers, delivery agents, zones, or blocks of a zone and a time: whom sentences speak of.

Rows are always people; units are what was assigned to a version, and what the n of a figure counts.
"""

from __future__ import annotations

from typing import Literal

from analysis import LedgerChange
from edgeloop.store.rows import Estimate
from reports import numbers
from reports.language import t, tn

Unit = Literal["subject", "courier", "zone", "zone_time"]


def of(change: LedgerChange) -> Unit:
    """What a change's versions were given to."""
    if change.unit == "zone_time":
        return "zone_time"
    if change.by_zone:
        return "zone"
    return "courier" if change.unit == "courier" else "subject"


def counted(e: Estimate, unit: Unit, n: int | None) -> str:
    """How many an arm's figure rests on: ``1,204 customers``, ``60 delivery agents``, ``14 days``."""
    return _counted(e, unit, n or 0, numbers.count(n or 0))


def both(e: Estimate, unit: Unit) -> str:
    """How many the figures of both arms rest on: ``60 and 62 delivery agents``."""
    old, new = e.n_control or 0, e.n_treated or 0
    return _counted(e, unit, old + new, t("{old} and {new}", old=numbers.count(old), new=numbers.count(new)))


def _counted(e: Estimate, unit: Unit, k: int, told: str) -> str:
    if e.grade == "before_after":
        return tn("{n} day", "{n} days", k, n=told)
    if unit == "zone":
        return tn("{n} zone", "{n} zones", k, n=told)
    if unit == "zone_time":
        return tn("{n} block", "{n} blocks", k, n=told)
    if unit == "courier" or e.respondent == "agent":
        return tn("{n} delivery agent", "{n} delivery agents", k, n=told)
    if e.response_control is not None:
        return tn("{n} customer who answered", "{n} customers who answered", k, n=told)
    return tn("{n} customer", "{n} customers", k, n=told)


def title(unit: Unit) -> str:
    """As the head of a column."""
    return {
        "subject": t("Customers"),
        "courier": t("Delivery agents"),
        "zone": t("Zones"),
        "zone_time": t("Blocks of a zone and a time"),
    }[unit]


def drawn(unit: Unit) -> str:
    """That chance gave each its version; a clause."""
    return {
        "subject": t("customers were assigned at random"),
        "courier": t("delivery agents were assigned at random"),
        "zone": t("zones were assigned at random"),
        "zone_time": t("blocks of a zone and a time were assigned at random"),
    }[unit]


def one_makes(unit: Unit, *, new: bool, share: str) -> str:
    """That one of them makes many of a version's requests; a sentence."""
    if unit == "courier":
        if new:
            return t("One delivery agent makes {share} of the requests to the new version.", share=share)
        return t("One delivery agent makes {share} of the requests to the old version.", share=share)
    if new:
        return t("One customer makes {share} of the requests to the new version.", share=share)
    return t("One customer makes {share} of the requests to the old version.", share=share)


def hold_back(unit: Unit, name: str) -> str:
    """To keep some on the old version, in the imperative."""
    if unit == "courier":
        return t("Hold back 5\N{NO-BREAK SPACE}% of the delivery agents from “{name}”", name=name)
    if unit in ("zone", "zone_time"):
        return t("Hold back some zones from “{name}”", name=name)
    return t("Hold back 5\N{NO-BREAK SPACE}% of the customers from “{name}”", name=name)


def meet_the_worse(unit: Unit, n: int) -> str:
    """What a month of not rolling back costs."""
    if unit == "courier":
        return t("Each month {n} delivery agents work with the version that did worse", n=numbers.about(n))
    return t("Each month {n} customers meet the version that did worse", n=numbers.about(n))


def miss_the_better(unit: Unit, n: int) -> str:
    """What a month of not promoting costs."""
    if unit == "courier":
        return t("Each month {n} delivery agents go without the better version", n=numbers.about(n))
    return t("Each month {n} customers go without the better version", n=numbers.about(n))


def unusable(unit: Unit, n: int) -> str:
    """What a month of data in doubt costs."""
    if unit == "courier":
        return t("Each month the data of {n} delivery agents cannot be used", n=numbers.about(n))
    return t("Each month {n} customers’ data cannot be used", n=numbers.about(n))


def not_as_planned(unit: Unit, p: float) -> str:
    """That a version has too few or too many; a clause."""
    if unit == "courier":
        return t(
            "delivery agents are not shared out over the versions as planned (p {p})", p=numbers.p_value(p)
        )  # fmt: skip
    return t("customers are not shared out over the versions as planned (p {p})", p=numbers.p_value(p))


def not_as_planned_over_all(unit: Unit, p: float) -> str:
    """The same of all stages together."""
    if unit == "courier":
        return t(
            "delivery agents are not shared out over the versions as planned, over all stages (p {p})",
            p=numbers.p_value(p),
        )
    return t("customers are not shared out over the versions as planned, over all stages (p {p})", p=numbers.p_value(p))


def met_both(unit: Unit, share: float, most: float) -> str:
    """That too many met both versions; a clause."""
    told = {"share": numbers.percent(share), "most": numbers.percent(most, 0)}
    if unit == "courier":
        return t("{share} of the delivery agents had both versions (at most {most})", **told)
    return t("{share} of the customers met both versions (at most {most})", **told)


def unlike_before(unit: Unit, metric: str) -> str:
    """That the arms differed before; a clause."""
    if unit == "courier":
        return t(
            "the delivery agents of both versions differed in “{metric}” before they had the change", metric=metric
        )  # fmt: skip
    return t("the customers of both versions differed in “{metric}” before they met the change", metric=metric)


def check(unit: Unit, name: str) -> str | None:
    """What a check of the draw is called; None of others."""
    if unit == "courier":
        return {
            "srm": t("Delivery agents shared out as planned"),
            "srm_combined": t("Delivery agents shared out as planned, all stages"),
            "crossovers": t("Delivery agents who had both versions"),
            "met_before": t("Delivery agents who had the new version in an earlier stage"),
        }.get(name)
    return {
        "srm": t("Customers shared out as planned"),
        "srm_combined": t("Customers shared out as planned, all stages"),
        "crossovers": t("Customers who met both versions"),
        "met_before": t("Customers who met the new version in an earlier stage"),
    }.get(name)


def alike_before(unit: Unit, metric: str) -> str:
    """What the check of the time before is called."""
    if unit == "courier":
        return t("Delivery agents alike in {metric} before the change", metric=metric)
    return t("Customers alike in {metric} before the change", metric=metric)


def agents_untold(unit: Unit, metrics: str, *, at_once: bool = False) -> str:
    """Why a question that delivery agents answered has no effect; ``at_once``: everybody was switched."""
    if at_once:
        return t(
            "Of delivery agents’ {metrics} no effect can be told: everybody changed at once, and only customers’ "
            "figures are followed from day to day.",
            metrics=metrics,
        )
    if unit == "subject":
        return t(
            "Of delivery agents’ {metrics} no effect can be told: customers were assigned, not agents, and an agent "
            "meets both versions.",
            metrics=metrics,
        )
    return t("Of delivery agents’ {metrics} no effect is estimated yet.", metrics=metrics)
