"""What is asked of whom? A decision per verdict, with its owner, its date and what waiting costs."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from zoneinfo import ZoneInfo

import pandas as pd

from analysis import ALL_METRICS, LedgerChange
from edgeloop.clock import from_us
from edgeloop.months import Month
from edgeloop.roles import Responsibility
from edgeloop.store import facts
from edgeloop.store.rows import Estimate, Verdict
from reports import foreign, novelty, numbers, reasons, units, words
from reports.findings import Decision
from reports.gathered import ChangeRows, days_left, strength
from reports.language import t, tn
from reports.owners import owner_of
from reports.parts import part
from reports.settled import Version, settled
from reports.verdicts import ORDER, TOLD, WORKING_DAYS
from reports.voices import within

_UNDONE_BY_ENDING: tuple[Verdict, ...] = ("roll back", "stop, no effect")
"""What is asked only of a version that somebody meets."""
_MOST_MOVED = 2
"""Of a full switch, the clear changes that its decision names."""


def nothing(gathered: Sequence[ChangeRows]) -> str:
    """Why nothing is asked."""
    if any(own.after or own.promoted or own.over or own.verdict for own in gathered):
        return t("No decision is asked: what the figures ask for is done already.")
    return t("No decision is asked: no change of this month can be judged by its figures.")


def note() -> str:
    """How owners and dates came about."""
    return t(
        "The owner is the change’s own where it names one, else the role that answers for such work. The date is five "
        "working days after the data’s own date, one for a roll back; public holidays are not counted."
    )


def action_text(verdict: Verdict, title: str, *, hold_back: units.Unit | None = None) -> str:
    """What is asked, in the imperative; ``hold_back``: of what some are to keep the old version."""
    name = foreign.name(title)
    if hold_back is not None:
        return units.hold_back(hold_back, name)
    return TOLD[verdict].action(name)


def decisions(
    gathered: Sequence[ChangeRows],
    as_of_us: int,
    month: Month,
    exposures: pd.DataFrame,
    table: Responsibility = Responsibility(),  # noqa: B008 -- frozen
    known: Sequence[LedgerChange] = (),
) -> list[Decision]:
    """The most urgent first; ``table`` says who answers for what.

    What was done already, as far as the changes of ``known`` tell, is not asked.
    """
    met = _Met(exposures, month)
    made = []
    for own in gathered:
        verdict = own.verdict
        if verdict is None:
            continue
        if _is_done(own, verdict, known, as_of_us):
            continue
        deciding = own.deciding()
        owner = owner_of(verdict, own.change.owner, table)
        due = due_date(as_of_us, month.timezone, verdict)
        made.append(
            Decision(
                verdict=verdict,
                title=foreign.name(own.change.title),
                action=action_text(verdict, own.change.title, hold_back=own.unit if _held_back(own, verdict) else None),
                anchor=own.anchor,
                why=part(own.title, partial(_why, own, verdict, deciding), str, key="a decision"),
                owner=owner.name,
                role=owner.line,
                by=numbers.weekday_text(due),
                sure=part(own.title, partial(_sure, own, verdict, deciding), str, key="a decision"),
                waiting=part(
                    own.title,
                    partial(_waiting, own, verdict, deciding, met.of(own)),
                    str,
                    key="a decision",
                ),
                change_id=own.change.change_id,
                role_key=owner.role,
                due=due.isoformat(),
            )
        )
    return sorted(made, key=lambda d: ORDER.index(d.verdict))


def _is_done(own: ChangeRows, verdict: Verdict, known: Sequence[LedgerChange], as_of_us: int) -> bool:
    """Whether the version went to everybody, or back, after the change began, so that nothing is left to ask."""
    change = own.change
    if own.promoted is not None and "promoted" in TOLD[verdict].settled_by:
        return True
    version = Version(change.model_id, change.from_version, change.to_version)
    if own.over is not None and verdict in _UNDONE_BY_ENDING:
        return True
    event = settled(version, [c for c in known if not c.full_switch or c.declared], change.tried_us, as_of_us)
    if event is None or change.full_switch:
        return False
    return event.what in TOLD[verdict].settled_by


def due_date(as_of_us: int, timezone: str, verdict: Verdict | None = None) -> dt.date:
    """By when what a report asks is to be done; without a ``verdict``: what is no decision."""
    days = WORKING_DAYS if verdict is None else TOLD[verdict].working_days
    return working_days_after(_date(as_of_us, timezone), days)


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
    text = _rests_on(own, verdict, deciding)
    if verdict == "repair the data first":
        return text
    return " ".join([text, *(missing for missing in reasons.silent(own) if missing not in text)])


def _rests_on(own: ChangeRows, verdict: Verdict, deciding: Estimate | None) -> str:
    if deciding is not None:
        text = words.capital(words.sentence(t("it"), deciding, own.currency(deciding))) + "."
        broken = [reasons.ruling(own)] if reasons.rules(own, facts.Breached) is not None else []
        return " ".join([text, *broken, *_against(own, verdict, deciding), *novelty.told(own, deciding.metric)])
    told = [e for e in (*own.rows, *own.others) if e.verdict is not None and e.facts]
    if verdict == "repair the data first" and own.ruling is not None:
        return words.capital(reasons.said(own.ruling, own.unit)) + "."
    if _held_back(own, verdict):
        return " ".join(
            [
                t("Everybody changed at once: nobody kept the old version, so only before and after can be compared."),
                *(words.capital(words.sentence(t("it"), e, own.currency(e))) + "." for e in _moved(own)[:_MOST_MOVED]),
            ]
        )
    ruled = reasons.ruling(own)
    if ruled and verdict == "roll back":
        return " ".join([ruled, *_against(own, verdict, None)])
    better = max(_better_goals(own), key=strength, default=None)
    if better is not None and ruled:
        return words.capital(words.sentence(t("it"), better, own.currency(better))) + f". {ruled}"
    if ruled:
        return ruled
    refused = next((e for e in told if e.metric == ALL_METRICS and e.grade is None), None)
    if refused is not None:
        return words.capital(reasons.floor(refused, own.unit)) + "."
    if not own.rows or all(own.direction(e) == "early" for e in own.rows):
        return t("There is not enough data yet to say anything.")
    if _moved(own):
        return t("No goal has moved clearly so far.")
    return t("No clear change so far in anything that was measured.")


def _against(own: ChangeRows, verdict: Verdict, deciding: Estimate | None) -> list[str]:
    """What clearly went the other way, and why it does not decide, by the rows of the table of verdicts.

    Row 1 asks for a roll back whatever else got better, and row 6 promotes only where no goal got worse: no row weighs
    one goal against another, and none lies between the two.
    """
    if verdict == "roll back":
        gains = [e for e in own.rows if own.direction(e) == "better"]
        found = reasons.rolled_back_by(own)
        cause, metrics = found or ("goal", () if deciding is None else (deciding.metric,))
        if not gains or not metrics:
            return []
        told = {"gains": _named([e.metric for e in gains]), "losses": _named(metrics)}
        if cause == "guardrail":
            return [
                t(
                    "Against that, {gains} went the wanted way, but a broken limit ({losses}) comes before every gain: "
                    "the rules know no middle way.",
                    **told,
                )
            ]
        if any(own.role(e) == "goal" for e in gains):
            return [
                t(
                    "Against that, {gains} went the wanted way, but a goal that is clearly worse ({losses}) comes "
                    "before every gain: the rules do not weigh goals against each other and know no middle way.",
                    **told,
                )
            ]
        return [
            tn(
                "Against that, {gains} went the wanted way, but is no goal: a goal that is clearly worse ({losses}) "
                "decides, and the rules know no middle way.",
                "Against that, {gains} went the wanted way, but are no goals: a goal that is clearly worse ({losses}) "
                "decides, and the rules know no middle way.",
                len(gains),
                **told,
            )
        ]
    made = []
    lost = [e for e in own.rows if own.direction(e) == "worse"]
    limits = [e for e in lost if own.role(e) == "guardrail"]
    untold = [e.metric for e in limits if e.guard != "cleared"]
    if untold:
        made.append(
            t(
                "Against that, {losses} went the wrong way, and it is not shown yet that the limits that are set are "
                "kept.",
                losses=_named(untold),
            )
        )
    limited = [e.metric for e in limits if e.guard == "cleared"]
    if limited:
        made.append(
            t(
                "Against that, {losses} went the wrong way, but inside the limits that are set: the rules ask no more "
                "of a guardrail.",
                losses=_named(limited),
            )
        )
    watched = [e.metric for e in lost if own.role(e) == "watch"]
    if watched:
        made.append(
            tn(
                "Against that, {losses} went the wrong way, but is neither goal nor guardrail: by the rules nothing "
                "else decides.",
                "Against that, {losses} went the wrong way, but are neither goals nor guardrails: by the rules nothing "
                "else decides.",
                len(watched),
                losses=_named(watched),
            )
        )
    return made


def _named(metrics: Sequence[str]) -> str:
    return numbers.joined([foreign.quoted(words.label(metric)) for metric in metrics])


def _moved(own: ChangeRows) -> list[Estimate]:
    """What clearly moved, the strongest first."""
    return sorted((e for e in own.rows if own.direction(e) in ("better", "worse")), key=strength, reverse=True)


def _better_goals(own: ChangeRows) -> list[Estimate]:
    return [e for e in own.rows if own.direction(e) == "better" and own.role(e) == "goal"]


def _sure(own: ChangeRows, verdict: Verdict, deciding: Estimate | None) -> str:
    if verdict == "repair the data first":
        return t("Data in doubt: no effect can be believed until it is repaired")
    if reasons.rules(own, facts.NoGoal) is not None:
        return t("No goal was measured, so there is nothing to be sure of")
    if deciding is None:
        if verdict == "roll back":
            return t("Clear: a bound that chance rarely crosses, however often one looks, is crossed")
        if not own.rows or all(own.direction(e) == "early" for e in own.rows):
            return t("Too early: the least amount of data is not reached")
        if own.before_after and _moved(own):
            return t("Not clear: before and after alone rule out no other cause")
        if _better_goals(own):
            return t("The effect is clear; that nothing got worse is not")
        if reasons.small_throughout(own):
            return t("Clear: the whole range lies inside what is too small to act on")
        if _moved(own):
            return t("Not clear: the goals’ ranges include no change")
        return t("Not clear: the ranges include no change")
    return t("Clear: the whole range lies on one side of no change; {how}", how=_how(own, deciding))


def _how(own: ChangeRows, deciding: Estimate) -> str:
    """What the comparison rests on; a clause."""
    drawn, answered = deciding.grade == "randomised", deciding.response_control is not None
    if drawn and answered:
        return t("{drawn}, though only those who answered are counted", drawn=units.drawn(own.unit))
    if drawn:
        return units.drawn(own.unit)
    if deciding.grade == "labelled" and answered:
        return t(
            "but nobody declared that it was drawn who gets which version, and only those who answered are counted"
        )
    if deciding.grade == "labelled":
        return t("but nobody declared that it was drawn who gets which version")
    if answered:
        return t("but the comparison has a known weakness, and only those who answered are counted")
    return t("but the comparison has a known weakness")


class _Met:
    """Who meets which version of which model at the month's end: customers, and delivery agents, by what they met last.

    Where a change is over and its version in nobody's hands, all who met either version are on the old one.
    """

    def __init__(self, exposures: pd.DataFrame, month: Month) -> None:
        columns = ["model_id", "model_version"]
        this = within(exposures[["occurred_at", *columns, "subject", "courier"]], month)
        this = this.sort_values("occurred_at", kind="stable")
        self._sizes = {
            who: this[[*columns, who]]
            .dropna()
            .drop_duplicates(["model_id", who], keep="last")
            .groupby(columns, observed=True)
            .size()
            .to_dict()
            for who in ("subject", "courier")
        }
        self._this = this

    def of(self, own: ChangeRows) -> _Meeting:
        """A change's versions: the people whom its metrics are of, and what was drawn."""
        people, drawn = (
            tuple(
                int(self._sizes[who].get((own.change.model_id, version or ""), 0))
                for version in (own.change.from_version, own.change.to_version)
            )
            for who in ("subject", "courier" if own.unit == "courier" else "subject")
        )
        who = "courier" if own.unit == "courier" else "subject"
        versions = (own.change.from_version, own.change.to_version)
        met = self._this.loc[(self._this["model_id"] == own.change.model_id), ["model_version", who]]
        either = int(met.loc[met["model_version"].isin(versions), who].nunique())
        if own.over is not None:
            return _Meeting(sum(people), 0, sum(drawn), 0, either)
        return _Meeting(people[0], people[1], drawn[0], drawn[1], either)


@dataclass(frozen=True, slots=True)
class _Meeting:
    """Customers, and units, who met the old and the new version; a zone's units are its customers."""

    old: int
    new: int
    old_units: int
    new_units: int
    units: int
    """Who met either: less than the sum of both where some met both."""


def _waiting(own: ChangeRows, verdict: Verdict, deciding: Estimate | None, met: _Meeting) -> str:
    new, old = met.new, met.old
    if verdict == "roll back":
        if deciding is not None and deciding.metric_kind == "proportion":
            size = _counts(deciding, new)
            return t("{cost}, of the {n} who meet the new version", cost=size, n=numbers.count(new))
        return units.meet_the_worse(own.unit, met.new_units)
    if verdict == "promote" and deciding is not None:
        if deciding.metric_kind == "proportion" or words.is_sum(deciding):
            size = _counts(deciding, old, own.currency(deciding), waiting_for_it=True)
            return t("{cost}, of the {n} still on the old version", cost=size, n=numbers.count(old))
        return units.miss_the_better(own.unit, met.old_units)
    if verdict == "repair the data first":
        return units.unusable(own.unit, met.units)
    if verdict == "keep testing":
        days = days_left(own)
        if days is None:
            return t("Nothing that can be shown yet")
        return t("Nothing that can be shown; {days}", days=words.days_more(days))
    return t("Nothing that can be shown")


def _counts(e: Estimate, customers: int, currency: str | None = None, *, waiting_for_it: bool = False) -> str:
    """What a month of not acting adds up to; ``waiting_for_it``: the effect is what these customers go without."""
    total = (e.effect or 0.0) * customers * (-1 if waiting_for_it else 1)
    told = {"size": numbers.about(total), "what": words.label(e.metric), "currency": currency}
    if words.is_sum(e) and currency:
        if total > 0:
            return t("Each month {size} {currency} more of “{what}”", **told)
        return t("Each month {size} {currency} less of “{what}”", **told)
    if words.is_sum(e):
        if total > 0:
            return t("Each month {size} in value more of “{what}”", **told)
        return t("Each month {size} in value less of “{what}”", **told)
    if total > 0:
        return t("Each month {size} more customers with “{what}”", **told)
    return t("Each month {size} fewer customers with “{what}”", **told)
