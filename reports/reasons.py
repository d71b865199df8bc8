"""What do an estimate's facts say? Each in the report's language, and those that a section asks for by kind."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping, Sequence
from typing import TypeVar

from analysis import Metric
from edgeloop.store import facts
from edgeloop.store.facts import AnyFact, Fact
from edgeloop.store.rows import Estimate
from reports import foreign, numbers, units, words
from reports.gathered import ChangeRows
from reports.language import t, tn
from reports.units import Unit

Kind = TypeVar("Kind", bound=Fact)


def of(e: Estimate, kind: type[Kind]) -> Kind | None:
    """The row's fact of a kind, if it has one."""
    return next((fact for fact in e.facts if isinstance(fact, kind)), None)


def unweighted(e: Estimate) -> float | None:
    """The plain difference beside a weighted one."""
    found = of(e, facts.Weighted)
    return None if found is None else found.unweighted


def left_out(e: Estimate) -> str:
    """That values in other currencies are not in a sum; empty where none are."""
    found = of(e, facts.LeftOut)
    if found is None:
        return ""
    n = numbers.count(found.n)
    if found.currency is None:
        return t("values without a currency only; {n} in a currency left out", n=n)
    return t("{currency} only; {n} values in another currency left out", currency=found.currency, n=n)


def ruling(own: ChangeRows) -> str:
    """Why the verdict is what it is, in a sentence or two; empty where the figures say it better."""
    for fact in _because(own):
        text = _sentence(fact, own)
        if text:
            return text
    return ""


def silent(own: ChangeRows) -> list[str]:
    """What one version does not send, or was not asked, so that a goal or a guardrail has no figure; sentences."""
    found = [
        (e, fact)
        for e in (*own.rows, *own.others)
        if own.role(e) != "watch" and (fact := of(e, facts.ArmWithout)) is not None
    ]
    made = [
        t("{version} sends no {field}: send it.", version=foreign.name(fact.version), field=foreign.quoted(fact.field))
        for _, fact in found
        if fact.of == "value"
    ]
    made += [
        t(
            "Nobody who met {version} answered {metric}: check that they are asked.",
            version=foreign.name(fact.version),
            metric=_metrics([e.metric]),
        )
        for e, fact in found
        if fact.of == "answer"
    ]
    return list(dict.fromkeys(made))


def _because(own: ChangeRows) -> tuple[AnyFact, ...]:
    return own.ruling.because if own.ruling is not None else ()


def rules(own: ChangeRows, kind: type[Kind]) -> Kind | None:
    """The fact of a kind that the verdict rests on, if any."""
    return next((fact for fact in _because(own) if isinstance(fact, kind)), None)


def small_throughout(own: ChangeRows) -> bool:
    """Whether every goal's whole range is smaller than what is worth acting on."""
    return any(isinstance(fact, facts.Said) and fact.what == "small throughout" for fact in _because(own))


def silent_guards(own: ChangeRows, metrics: Sequence[str]) -> bool:
    """Whether one of the guardrails waits for what a version does not send, so that days bring nothing."""
    return any(e.metric in metrics and of(e, facts.ArmWithout) is not None for e in (*own.rows, *own.others))


def promoted(fact: facts.PromotedAfter, metrics: Mapping[str, Metric]) -> str:
    """That a switch ends a change measured before, and what that showed, as a sentence."""
    metric = metrics.get(fact.metric)
    row = Estimate(
        freeze_id="", month="", change_id="", model_id="", to_version="", unit="", metric=fact.metric,
        metric_kind="mean" if metric is None else metric.kind,
        window_h=1.0 if metric is None or metric.window_us else None,
        response_control=0.0 if metric is not None and metric.source == "answer" else None,
        decision_low=-math.inf if fact.low is None else fact.low,
        decision_high=math.inf if fact.high is None else fact.high,
    )  # fmt: skip
    told = {
        "day": numbers.date_text(dt.date.fromisoformat(fact.day)),
        "what": words.label(fact.metric),
        "effect": words.effect(row, fact.effect),
        "range": words.between(row),
    }
    if isinstance(fact, facts.RolledBackAfter):
        if fact.low is None and fact.high is None:
            return t("Rolled back on {day} after a test: {what} {effect} (no range can be told).", **told)
        return t("Rolled back on {day} after a test: {what} {effect} (range {range}).", **told)
    if fact.low is None and fact.high is None:
        if fact.grade == "randomised":
            return t("Promoted on {day} after a random test: {what} {effect} (no range can be told).", **told)
        return t(
            "Promoted on {day} after a test with a known weakness: {what} {effect} (no range can be told).", **told
        )
    if fact.grade == "randomised":
        return t("Promoted on {day} after a random test: {what} {effect} (range {range}).", **told)
    return t("Promoted on {day} after a test with a known weakness: {what} {effect} (range {range}).", **told)


def not_in_use(fact: facts.NotInUse) -> str:
    """That a change is over, as a sentence."""
    day = numbers.date_text(dt.date.fromisoformat(fact.day))
    return t("It ended on {day}, and nobody meets the new version any more.", day=day)


def rolled_back_by(own: ChangeRows) -> tuple[str, tuple[str, ...]] | None:
    """(``guardrail`` or ``goal``, the metrics that a roll back rests on); None where it is none."""
    for fact in _because(own):
        if isinstance(fact, facts.Breached):
            return "guardrail", fact.metrics
        if isinstance(fact, facts.Worse):
            return "goal", fact.metrics
    return None


def floor(e: Estimate, unit: Unit = "subject") -> str:
    """Why a row may not decide, or how it is decided without a range; ``unit``: what was drawn."""
    if e.facts and isinstance(e.facts[0], facts.Bound):
        return _bound(e, e.facts[0], unit)
    return said(e.facts[0], unit) if e.facts else t("not enough data")


def early(own: ChangeRows, e: Estimate) -> str:
    """What is missing for a row without a range, and that it is too early where more of the same would do.

    It would not where the draw could have fallen in too few ways. That a limit is broken or kept, and a goal worse, can
    be told without a range.
    """
    missing = floor(e, own.unit)
    grows = not e.facts or isinstance(e.facts[0], facts.Few | facts.FewDays)
    if not grows or e.guard in ("breach", "cleared") or (own.verdict == "roll back" and e.metric in own.named()):
        return missing
    return t("too early to tell: {missing}", missing=missing)


def said(fact: AnyFact, unit: Unit = "subject") -> str:
    """One fact in words, without a full stop; a repair is said by what has to be repaired."""
    match fact:
        case facts.Ruled(because=because):
            return said(because[0], unit) if because else words.verdict(fact.verdict)
        case facts.Said(what=what):
            return _without_figures(what)
        case facts.Few():
            return _few(fact)
        case facts.ArmWithout():
            return _without(fact)
        case facts.NoGoal():
            return _no_goal(fact)
        case facts.FewDays(days=days, needed=needed):
            return t(
                "{n} of {needed} full days with complete windows", n=numbers.count(days), needed=numbers.count(needed)
            )
        case facts.FewDraws(possible=possible, needed=needed):
            return t(
                "{n} possible assignments; {needed} are needed for a test",
                n=numbers.count(possible),
                needed=numbers.count(needed),
            )
        case facts.FewDaysBefore(days=days, needed=needed, after=after):
            return t(
                "{n} complete days before the switch, {needed} are needed to judge {after} after it",
                n=numbers.count(days),
                needed=numbers.count(needed),
                after=numbers.count(after),
            )
        case facts.FewClusters():
            return t(
                "{old} and {new} clusters ({field}) have the old and the new version; {needed} of each are needed",
                old=numbers.count(fact.control),
                new=numbers.count(fact.treated),
                field=words.dimension(fact.of),
                needed=numbers.count(fact.needed),
            )
        case facts.OneSided(of="zones", control=old, treated=new):
            return t(
                "{old} zones have the old version and {new} the new one: nothing to compare",
                old=numbers.count(old),
                new=numbers.count(new),
            )
        case facts.OneSided(control=old, treated=new):
            return t(
                "{old} blocks have the old version and {new} the new one: nothing to compare",
                old=numbers.count(old),
                new=numbers.count(new),
            )
        case facts.RolledBackAfter(day=day):
            return t("rolled back on {day}", day=numbers.date_text(dt.date.fromisoformat(day)))
        case facts.OneUnit(share=share, treated=True):
            return t("one of them makes {share} of the requests to the new version", share=numbers.percent(share, 0))
        case facts.OneUnit(share=share):
            return t("one of them makes {share} of the requests to the old version", share=numbers.percent(share, 0))
        case facts.NotInUse():
            return not_in_use(fact)
        case facts.PromotedAfter(day=day):
            return t("promoted on {day}", day=numbers.date_text(dt.date.fromisoformat(day)))
        case _:
            return _doubt(fact, unit) or fact.english


def _doubt(fact: AnyFact, unit: Unit) -> str:
    """What is wrong with the data; empty for other facts."""
    match fact:
        case facts.SampleRatio(p=p, combined=True):
            return units.not_as_planned_over_all(unit, p)
        case facts.SampleRatio():
            return _unlike_plan(fact, unit)
        case facts.TurnedRound(declared_from=first, declared_to=last):
            return t(
                "the declaration says from {first} to {last}, but the stable arm carries {last}: send the change again "
                "turned round",
                first=foreign.name(first),
                last=foreign.name(last),
            )
        case facts.ShareDrift(declare=line) if line:
            return t(
                "the versions’ shares change from day to day; if they were raised step by step, declare each stage: "
                "{line}",
                line=foreign.plain(line, len(line)),
            )
        case facts.ShareDrift():
            return t("the versions’ shares change from day to day")
        case facts.Crossovers(share=share, most=most):
            return units.met_both(unit, share, most)
        case facts.ArmSilent(days=days):
            return t("one version was silent on {n} days while the other was in use", n=numbers.count(days))
        case facts.PrePeriod(metric=metric):
            return units.unlike_before(unit, words.label(metric))
        case facts.KnownBefore(control=control, treated=treated):
            return t(
                "{old} of the old version’s customers had been met before the test and {new} of the new one’s, so one "
                "version may be sending other customer ids",
                old=numbers.percent(control, 1), new=numbers.percent(treated, 1),
            )  # fmt: skip
        case facts.DrawnTogether(change=other):
            return t(
                "who got it depends on who got “{other}”, so neither effect can be told from the other: draw the two "
                "independently",
                other=foreign.name(other),
            )  # fmt: skip
        case facts.PreTrend(metric=metric):
            return t(
                "zones of the new version had already been moving away from the others in “{metric}” before the start",
                metric=words.label(metric),
            )
        case facts.LeftOutUnevenly(metric=metric):
            return t(
                "“{metric}” leaves something out, such as another currency or none, or a value that is no number, "
                "for {new} of {of_new} people of the new version who have it and {old} of {of_old} of the old one",
                metric=words.label(metric),
                new=numbers.count(fact.treated),
                of_new=numbers.count(fact.of_treated),
                old=numbers.count(fact.control),
                of_old=numbers.count(fact.of_control),
            )
        case facts.LoggedUnlike(metric=metric, what="unit"):
            return t(
                "a typical event of “{metric}” is worth {old} in the old version and {new} in the new one: send both "
                "in the same unit (euros or cents)",
                metric=words.label(metric),
                old=numbers.number(fact.control, 2),
                new=numbers.number(fact.treated, 2),
            )
        case facts.LoggedUnlike(metric=metric):
            return t(
                "{old} of the events of “{metric}” in the old version and {new} in the new one repeat another event of "
                "the same person within two seconds: send each event once, with one id",
                metric=words.label(metric),
                old=numbers.percent(fact.control, 0),
                new=numbers.percent(fact.treated, 0),
            )
        case facts.AnonymousArms():
            return t(
                "{new} of {of_new} exposures of the new version have no usable id, and {old} of {of_old} of the old "
                "one",
                new=numbers.count(fact.treated),
                of_new=numbers.count(fact.of_treated),
                old=numbers.count(fact.control),
                of_old=numbers.count(fact.of_control),
            )
        case facts.Joined(share=share, usual=usual):
            return t(
                "only {share} of the outcomes can be joined to an exposure ({before} in the weeks before)",
                share=numbers.percent(share, 0),
                before=numbers.percent(usual, 0),
            )
        case _:
            return ""


def _unlike_plan(fact: facts.SampleRatio, unit: Unit) -> str:
    """What was seen of each version beside what was planned, and which one never came."""
    clause, total = units.not_as_planned(unit, fact.p), sum(n for _, n, _ in fact.seen)
    if total == 0:
        return clause
    counts = [
        t(
            "{n} with {version} ({share}; planned {planned})",
            n=numbers.count(n),
            version=foreign.name(name),
            share=numbers.percent(n / total),
            planned=numbers.percent(planned),
        )
        for name, n, planned in fact.seen
    ]
    told = t("{clause}: {counts}", clause=clause, counts=numbers.joined(counts))
    if not fact.silent:
        return told
    names = numbers.joined([foreign.name(name) for name in fact.silent])
    return t("no exposure of {version} arrived; {clause}", version=names, clause=told)


def _few(fact: facts.Few) -> str:
    told = {
        "old": numbers.count(fact.control),
        "new": numbers.count(fact.treated),
        "each": numbers.count(fact.each),
        "both": numbers.count(fact.both or 0),
    }
    if fact.of == "answer":
        return t("{old} and {new} people answered; {needed} in each are needed", needed=told.pop("each"), **told)
    if fact.of == "event":
        return t("{old} and {new} people with the event; {each} in each and {both} together are needed", **told)
    if fact.of == "no event":
        return t("{old} and {new} people without the event; {each} in each and {both} together are needed", **told)
    if fact.of == "sum":
        return t("{old} and {new} people with a sum; {each} in each and {both} together are needed", **told)
    if fact.of == "unit":
        return t("{old} and {new} with a value; {each} in each are needed", **told)
    if fact.of == "mark":
        return t("{old} and {new} with such a request; {each} in each are needed", **told)
    return t("{old} and {new} with a request that is not so; {each} in each are needed", **told)


def _bound(e: Estimate, fact: facts.Bound, unit: Unit) -> str:
    """What a test without a range shows."""
    told = {"old": numbers.count(fact.control), "new": numbers.count(fact.treated)}
    size = "" if fact.margin is None else words.size(e, fact.margin)
    if fact.state == "cleared" and fact.of in ("event", "mark") and fact.control == fact.treated == 0:
        return t("none among {n}: harm above {size} is ruled out", n=units.both(e, unit), size=size)
    counts = {
        "answer": t("{old} and {new} people answered", **told),
        "event": t("{old} and {new} people with the event", **told),
        "no event": t("{old} and {new} people without the event", **told),
        "sum": t("{old} and {new} people with a sum", **told),
        "unit": t("{old} and {new} with a value", **told),
        "mark": t("{old} and {new} with such a request", **told),
        "no mark": t("{old} and {new} with a request that is not so", **told),
    }[fact.of]
    if fact.state == "cleared":
        return t("{counts}: harm above {size} is ruled out", counts=counts, size=size)
    if fact.state == "breach":
        return t("{counts}: more than the limit ({size}) allows", counts=counts, size=size)
    return t("{counts}: more apart than chance puts them", counts=counts)


def _without(fact: facts.ArmWithout) -> str:
    told = {
        "old": numbers.count(fact.control),
        "new": numbers.count(fact.treated),
        "version": foreign.name(fact.version),
    }
    if fact.of == "answer":
        return t("{old} and {new} answers: nobody who met {version} answered", **told)
    return t("{old} and {new} with a value: {version} sends no {field}", field=foreign.quoted(fact.field), **told)


def _no_goal(fact: facts.NoGoal) -> str:
    return t(
        "no goal was measured: no {events} arrived from either version; check that it is sent",
        events=numbers.joined([foreign.quoted(name) for name in fact.events]),
    )


def _without_figures(what: facts.What) -> str:
    return {
        "not begun": t("it has not begun yet"),
        "failed": t("the program failed on this change, and its log has the error"),
        "nothing varies": t("nothing varies in what was measured"),
        "nothing varied before": t("nothing varies in what was measured"),
        "no complete window": t("nobody in either arm has a complete window yet"),
        "no outcome": t("no event or answer in any window"),
        "no complete day after": t("no day after the switch is complete yet"),
        "no clean base": t(
            "no zone is left to compare this stage with, or nothing is known of the days before the first stage"
        ),
        "nothing before": t("nothing is known of the days before the switch"),
        "no goal data": t("no goal has data yet"),
        "chosen": t("who got the new version was chosen, not drawn, so the arms cannot be compared"),
        "not drawn": t("nothing says that anybody was drawn at random, so the arms cannot be compared"),
        "mixed": t("nothing says which of the versions side by side is the old one"),
        "unlabelled arms": t("nothing says which of the versions side by side is the old one"),
        "unlabelled stable": t("nothing says which of the versions side by side is the old one"),
        "no stable arm": t("the rollout has no arm named stable to compare with"),
    }.get(what) or facts.Said(what).english


def _metrics(names: Sequence[str]) -> str:
    return numbers.joined([foreign.quoted(words.label(name)) for name in names])


def levels(own: ChangeRows, metric: str) -> str:
    """A metric in quotation marks with its figure in both arms, where these are known."""
    name = foreign.quoted(words.label(metric))
    e = next((e for e in (*own.rows, *own.others) if e.metric == metric and e.control is not None), None)
    if e is None or e.treated is None:
        return name
    return t("{metric} ({old} → {new})", metric=name, old=words.figure(e, e.control), new=words.figure(e, e.treated))


def _not_shown(fact: facts.NotShown, own: ChangeRows) -> str:
    """Neither an effect nor its absence: what would have shown, and what it would take."""
    e = next((e for e in (*own.rows, *own.others) if e.metric == fact.metric), None)
    if e is None:
        return t("No effect is shown, and none is ruled out.")
    made = [t("No effect on {metric} is shown, and none is ruled out.", metric=_metrics([fact.metric]))]
    if fact.smallest is not None:
        shown = words.size(e, fact.smallest, own.currency(e))
        made.append(t("An effect of {size} would have shown in 80 of 100 such tests.", size=shown))
    enough = fact.smallest is not None and fact.practical is not None and fact.smallest <= fact.practical
    if fact.practical is not None and fact.units is not None and not enough:
        told = {"size": words.size(e, fact.practical, own.currency(e)), "n": numbers.rough(fact.units)}
        if fact.days is None:
            made.append(
                t("For one worth acting on ({size}) it takes about {n} customers in both versions together.", **told)
            )
        else:
            made.append(
                t(
                    "For one worth acting on ({size}) it takes about {n} customers in both versions together: {days}.",
                    days=words.days_more(fact.days),
                    **told,
                )
            )
    return " ".join(made)


def _sentence(fact: AnyFact, own: ChangeRows) -> str:
    """What a ruling rests on; empty where the figures say it better."""
    match fact:
        case facts.Breached(metrics=metrics):
            return t("It broke the limit of {metrics}.", metrics=numbers.joined([levels(own, m) for m in metrics]))
        case facts.Worse(rare=rare) if rare:  # no range says it, for there are too few events for one
            return t(
                "It made {metrics} worse: too few events for a range, yet more apart than chance puts them.",
                metrics=_metrics(rare),
            )
        case facts.NoGoal():
            return words.capital(_no_goal(fact)) + "."
        case facts.GuardsOpen(metrics=metrics) if silent_guards(own, metrics):
            return " ".join(silent(own))
        case facts.GuardsOpen(metrics=metrics, days=None):
            return tn(
                "How long it takes until {metrics} is shown to keep its limit cannot be told.",
                "How long it takes until {metrics} are shown to keep their limits cannot be told.",
                len(metrics),
                metrics=_metrics(metrics),
            )
        case facts.GuardsOpen(metrics=metrics):
            return tn(
                "That {metrics} keeps its limit is not shown yet.",
                "That {metrics} keep their limits is not shown yet.",
                len(metrics),
                metrics=_metrics(metrics),
            )
        case facts.Said(what="small throughout"):
            return t("Whatever it did is smaller than what is worth acting on.")
        case facts.NotShown():
            return _not_shown(fact, own)
        case facts.FewDays(days=days, needed=needed):
            return t(
                "So far {n} of {needed} full days have complete windows.",
                n=numbers.count(days),
                needed=numbers.count(needed),
            )
        case _:
            return ""
