"""What is asked of whom? A decision per verdict, with its owner, its date and what waiting costs."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from zoneinfo import ZoneInfo

import pandas as pd

from edgeloop.clock import from_us
from edgeloop.months import Month
from edgeloop.roles import Responsibility
from edgeloop.store.rows import Estimate, Verdict
from reports import numbers, words
from reports.changes import ORDER, ChangeRows
from reports.findings import Decision
from reports.owners import owner_of

WORKING_DAYS, WORKING_DAYS_ROLL_BACK = 5, 1
NOTE = (
    "The owner is the change’s own where it names one, else the role that answers for such work. The date is five "
    "working days after the data’s own date, one for a roll back; public holidays are not counted."
)
_ACTIONS: dict[str, str] = {
    "roll back": "Roll back “{}”",
    "repair the data first": "Repair the data of “{}” first",
    "promote": "Promote “{}” to everybody",
    "stop, no effect": "Stop “{}”: no effect",
    "keep testing": "Keep testing “{}”",
}


_HOLD_BACK = "Hold back 5 % of the customers from “{}”"


def decisions(
    gathered: Sequence[ChangeRows],
    as_of_us: int,
    month: Month,
    exposures: pd.DataFrame,
    table: Responsibility = Responsibility(),  # noqa: B008 -- frozen
) -> list[Decision]:
    """The most urgent first; ``table`` says who answers for what."""
    made = []
    for own in gathered:
        e = next((e for e in (*own.rows, *own.others) if e.verdict is not None), None)
        if e is None or e.verdict is None:
            continue
        verdict = e.verdict
        deciding = own.deciding()
        days = WORKING_DAYS_ROLL_BACK if verdict == "roll back" else WORKING_DAYS
        owner = owner_of(verdict, own.change.owner, table)
        due = working_days_after(_date(as_of_us, month.timezone), days)
        made.append(
            Decision(
                verdict=verdict,
                title=own.change.title,
                action=(_HOLD_BACK if _held_back(own, verdict) else _ACTIONS[verdict]).format(own.change.title),
                anchor=own.anchor,
                why=_why(own, verdict, deciding),
                owner=owner.name,
                role=owner.line,
                by=numbers.weekday_text(due),
                sure=_sure(own, verdict, deciding),
                waiting=_waiting(own, verdict, deciding, _met(exposures, own, month)),
                change_id=own.change.change_id,
                role_key=owner.role,
                due=due.isoformat(),
            )
        )
    return sorted(made, key=lambda d: ORDER.index(d.verdict))


def working_days_after(start: dt.date, n: int) -> dt.date:
    """The n-th Monday-to-Friday day after ``start``."""
    current = start
    while n:
        current += dt.timedelta(days=1)
        n -= current.weekday() < 5
    return current


def _date(us: int, timezone: str) -> dt.date:
    return from_us(us).astimezone(ZoneInfo(timezone)).date()


def _held_back(own: ChangeRows, verdict: Verdict) -> bool:
    """Nobody is left to compare with, so nothing else can be learnt."""
    return verdict == "keep testing" and own.grade == "before_after"


def _why(own: ChangeRows, verdict: Verdict, deciding: Estimate | None) -> str:
    if deciding is not None:
        text = words.capital(words.sentence("it", deciding, own.currency(deciding))) + "."
        if verdict == "roll back":
            also = [words.label(e.metric) for e in own.rows if own.direction(e) == "better"]
            if also:
                quoted = numbers.joined([f"“{label}”" for label in also])
                text += f" Against that, {quoted} went the wanted way; that does not make up for it."
        return text
    reasons = [e.reason for e in (*own.rows, *own.others) if e.verdict is not None and e.reason]
    if verdict == "repair the data first":
        return words.capital(reasons[0].split("; ")[0].removeprefix("repair the data first: ")) + "."
    if _held_back(own, verdict):
        return "Everybody changed at once: nobody kept the old version, so only before and after can be compared."
    if not own.rows or all(own.direction(e) == "early" for e in own.rows):
        return "There is not enough data yet to say anything."
    return "No clear change so far in anything that was measured."


def _sure(own: ChangeRows, verdict: Verdict, deciding: Estimate | None) -> str:
    if verdict == "repair the data first":
        return "Data in doubt: no effect can be believed until it is repaired"
    if deciding is None:
        early = not own.rows or all(own.direction(e) == "early" for e in own.rows)
        return (
            "Too early: the least amount of data is not reached" if early else "Not clear: the ranges include no change"
        )
    basis = "customers were assigned at random"
    if deciding.grade != "randomised":
        basis = "but the comparison has a known weakness"
    answered = ", though only those who answered are counted" if deciding.response_control is not None else ""
    return f"Clear: the whole range lies on one side of no change; {basis}{answered}"


def _met(exposures: pd.DataFrame, own: ChangeRows, month: Month) -> Mapping[str, int]:
    """Version → customers who met it in the month."""
    at = exposures["occurred_at"]
    inside = (exposures["model_id"] == own.change.model_id) & (at >= month.start_us) & (at < month.end_us)
    met = exposures[inside].groupby("model_version")["subject"].nunique()
    return {str(version): int(n) for version, n in met.items()}


def _waiting(own: ChangeRows, verdict: Verdict, deciding: Estimate | None, met: Mapping[str, int]) -> str:
    new, old = met.get(own.change.to_version, 0), met.get(own.change.from_version or "", 0)
    if verdict == "roll back":
        if deciding is not None and deciding.metric_kind == "proportion":
            return f"{_counts(deciding, new)}, of the {numbers.count(new)} who meet the new version"
        return f"Each month {numbers.about(new)} customers meet the version that did worse"
    if verdict == "promote" and deciding is not None:
        if deciding.metric_kind == "proportion" or words.is_sum(deciding):
            text = _counts(deciding, old, own.currency(deciding), waiting_for_it=True)
            return f"{text}, of the {numbers.count(old)} still on the old version"
        return f"Each month {numbers.about(old)} customers go without the better version"
    if verdict == "repair the data first":
        return f"Each month {numbers.about(new + old)} customers’ data cannot be used"
    if verdict == "keep testing":
        days = [e.days_left for e in own.rows if e.days_left is not None]
        return f"Nothing that can be shown; at least {max(days)} days more" if days else "Nothing that can be shown yet"
    return "Nothing that can be shown"


def _counts(e: Estimate, customers: int, currency: str | None = None, *, waiting_for_it: bool = False) -> str:
    """What a month of not acting adds up to; ``waiting_for_it``: the effect is what these customers go without."""
    total = (e.effect or 0.0) * customers * (-1 if waiting_for_it else 1)
    size = numbers.about(total)
    if words.is_sum(e):
        unit = f" {currency}" if currency else " in value"
        return f"Each month {size}{unit} {'more' if total > 0 else 'less'} of “{words.label(e.metric)}”"
    return f"Each month {size} {'more' if total > 0 else 'fewer'} customers with “{words.label(e.metric)}”"
