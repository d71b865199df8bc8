"""Did it help? One block per change, one row per metric, those first of which most can be said."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from functools import partial

from analysis import ALL_METRICS
from edgeloop.store import facts
from edgeloop.store.rows import Estimate
from reports import foreign, novelty, numbers, punctuation, reasons, segments, units, words
from reports.findings import Change, Effect, OpenTest
from reports.gathered import ROLES, ChangeRows, days_left, end, gather, open_guards, scale, strength
from reports.language import t, tn
from reports.parts import part
from reports.verdicts import TOLD

__all__ = ["ChangeRows", "changes", "gather", "notes", "open_tests"]

_DIRECTIONS: tuple[words.Direction, ...] = ("worse", "better", "unclear", "early")


def changes(gathered: Sequence[ChangeRows], timezone: str) -> tuple[Change, ...]:
    """The blocks of the section."""
    return tuple(
        part(own.title, partial(_change, own, timezone), partial(_untold, own), key="a change") for own in gathered
    )


def _untold(own: ChangeRows, why: str) -> Change:
    """The block of a change that cannot be told."""
    return Change(
        anchor=own.anchor,
        change_id=foreign.plain(own.change.change_id),
        title=foreign.name(own.change.title),
        design="",
        grade=own.grade,
        verdict=own.verdict,
        summary=why,
        effects=(),
        notes=(),
    )


def notes(gathered: Sequence[ChangeRows]) -> tuple[str, ...]:
    """What holds for the section as a whole."""
    if not gathered:
        return (t("No model version changed this month, as far as declarations and exposures tell."),)
    return ()


def open_tests(gathered: Sequence[ChangeRows]) -> tuple[OpenTest, ...]:
    """The comparisons that still run, and for how long they should."""
    made = []
    for own in gathered:
        if own.change.end_us is not None or own.before_after or own.change.full_switch or own.promoted:
            continue
        days, verdict = days_left(own), own.verdict
        if verdict == "repair the data first":
            left = words.verdict(verdict)
        elif verdict != "keep testing":
            left = t("decide now")
        elif reasons.rules(own, facts.NoGoal) is not None:
            left = t("no goal was measured")
        elif days is None and reasons.silent(own):
            left = t("send what is missing")
        elif days is None:
            left = t("how many days more cannot be told")
        else:
            left = words.days_more(days)
        made.append(OpenTest(own.anchor, foreign.name(own.change.title), left))
    return tuple(made)


def _change(own: ChangeRows, timezone: str) -> Change:
    verdict = own.verdict
    doubted = verdict == "repair the data first"
    rows = sorted(
        own.rows,
        key=lambda e: (
            _DIRECTIONS.index(own.direction(e)), ROLES.index(own.role(e)), -strength(e), e.metric,
        ),
    )  # fmt: skip
    return Change(
        anchor=own.anchor,
        change_id=foreign.plain(own.change.change_id),
        title=foreign.name(own.change.title),
        design=_design(own, timezone),
        grade=own.grade,
        verdict=verdict,
        promoted=_promoted(own),
        summary=" ".join(
            [
                _summary(own, rows, doubted=doubted),
                *([reasons.not_in_use(own.over)] if own.over is not None else []),
            ]
        ),
        effects=(effects := tuple(_effect(own, e, doubted=doubted) for e in rows)),
        unclear=_unclear(effects),
        splits=() if doubted else segments.splits(own),
        notes=_notes(own, doubted=doubted),
    )


def _promoted(own: ChangeRows) -> str:
    """What stands instead of a verdict where the version is with everybody, so that nothing is asked."""
    if own.after is not None:
        back = isinstance(own.after, facts.RolledBackAfter)
        return t("rolled back after a test") if back else t("promoted after a test")
    settled = own.verdict is None or "promoted" in TOLD[own.verdict].settled_by
    return t("given to everybody") if own.promoted is not None and settled else ""


def _unclear(effects: Sequence[Effect]) -> str:
    names = [foreign.quoted(words.label(e.metric)) for e in effects if e.shown and e.direction == "unclear"]
    return t("No clear difference: {metrics}.", metrics=numbers.joined(names)) if names else ""


def _design(own: ChangeRows, timezone: str) -> str:
    change = own.change
    since = numbers.day(change.tried_us, timezone)
    if change.end_us is None:
        when = t("since {day}", day=since)
    else:
        when = t("{first} to {last}", first=since, last=numbers.day(change.end_us - 1, timezone))
    before = foreign.name(change.from_version) if change.from_version else t("earlier version unknown")
    versions = f"{foreign.name(change.model_id)} {before} → {foreign.name(change.to_version)}"
    parts = [versions, when, _how(own)]
    found = [stage for stage in change.stages if stage.found is not None]
    if found:
        days = numbers.joined([numbers.day(stage.start_us, timezone) for stage in found])
        parts.append(t("stages found where the versions’ shares step, from {days}", days=days))
    if not change.declared:
        parts.append(t("found in the exposures, not declared"))
    return " · ".join(parts)


def _how(own: ChangeRows) -> str:
    kind = own.change.kind
    if kind == "switch":
        return t("switched for everybody at once, so only before and after can be compared")
    if kind == "rollback":
        return t("rolled back for everybody at once, so only before and after can be compared")
    if kind == "mixed":
        return t("in use beside the old one, without labelled arms")
    drawn = any(e.grade == "randomised" for e in own.rows)
    weak = not drawn and any(e.grade == "quasi" for e in own.rows)
    if kind == "staged":
        if drawn:
            return t("brought in by stages; {drawn}", drawn=units.drawn(own.unit))
        return t("brought in by stages; the comparison has a known weakness") if weak else t("brought in by stages")
    if drawn:
        if own.unit == "zone_time":
            return t("new and old in turn; {drawn}", drawn=units.drawn(own.unit))
        return t("new and old side by side; {drawn}", drawn=units.drawn(own.unit))
    if any(e.grade == "labelled" for e in own.rows):
        return t("new and old side by side by their labels; nobody declared that it was drawn who gets which")
    if weak:
        return t("new and old side by side, but the comparison has a known weakness")
    return t("new and old side by side")


def _summary(own: ChangeRows, rows: Sequence[Estimate], *, doubted: bool) -> str:
    if own.after is not None:
        return reasons.promoted(own.after, own.metrics)
    if doubted:
        return t("The data behind this comparison does not hold, so nothing is said of its effect.")
    told = [e for e in rows if own.direction(e) in ("better", "worse")]
    broken = reasons.rules(own, facts.Breached)
    if broken is not None and not any(e.metric in broken.metrics for e in told):
        return reasons.ruling(own)
    if told:
        said = [
            words.sentence(t("it") if i else own.title, e, own.currency(e)) for i, e in enumerate(told[:3])
        ]  # fmt: skip
        rest = len(told) - 3
        if rest > 0:
            said.append(tn("{n} more below", "{n} more below", rest, n=numbers.count(rest)))
        return punctuation.semicolon().join(said) + "."
    unmeasured = reasons.rules(own, facts.NoGoal) is not None
    ruled = reasons.ruling(own) if own.verdict in ("roll back", "not shown") or unmeasured else ""
    if ruled:
        return ruled
    if not rows:
        why = next((e for e in own.others if e.metric == ALL_METRICS and e.facts), None)
        why = why or next((e for e in own.others if e.facts and e.respondent != "agent"), None)
        return t(
            "No effect can be told: {why}.", why=reasons.floor(why, own.unit) if why else t("no metric has an interval")
        )
    if all(own.direction(e) == "early" for e in rows):
        return t("Not enough data to say anything yet.")
    return t("No clear change in anything that was measured.")


def _meaning(own: ChangeRows, e: Estimate) -> str:
    if e.metric_kind == "quantile":
        text = t("of the requests to the model")
    elif e.metric_kind == "ratio" and words.is_share(e):
        text = t("share of the requests to the model")
    else:
        text = _of_people(own, e)
    return t("{meaning}; less is better", meaning=text) if e.metric in own.lower_is_better else text


def _of_people(own: ChangeRows, e: Estimate) -> str:
    hours = e.window_h or 0.0
    n = numbers.count(hours if hours <= 96 else hours / 24)
    window = t("{n}\N{NO-BREAK SPACE}h", n=n) if hours <= 96 else t("{n} days", n=n)
    if e.metric_kind == "proportion":
        return t("share of customers within {window}", window=window)
    if e.metric_kind == "ratio":
        return t("per event, within {window}", window=window)
    if words.is_sum(e):
        currency = own.currency(e)
        if currency:
            return t("{currency} per customer within {window}", currency=currency, window=window)
        return t("sum per customer within {window}", window=window)
    if e.metric_kind == "nps":
        return t("promoter score of those who answered within {window}", window=window)
    return t("mean score of those who answered within {window}", window=window)


def _effect(own: ChangeRows, e: Estimate, *, doubted: bool) -> Effect:
    found = own.direction(e)
    metric = own.metrics.get(e.metric)
    currency = own.currency(e) or next(iter(sorted(set(own.currencies.values()))), None)
    effect = e.effect or 0.0
    bound = not doubted and bool(e.facts) and isinstance(e.facts[0], facts.Bound)
    return Effect(
        metric=e.metric,
        label=words.capital(words.label(e.metric)),
        meaning=_meaning(own, e),
        scale=scale(e),
        n_control=numbers.count(e.n_control or 0),
        n_treated=numbers.count(e.n_treated or 0),
        of_control=units.counted(e, own.unit, e.n_control),
        of_treated=units.counted(e, own.unit, e.n_treated),
        of_both=units.both(e, own.unit),
        control=words.figure(e, e.control),
        treated=words.figure(e, e.treated),
        control_before=words.figure(e, e.control_before),
        treated_before=words.figure(e, e.treated_before),
        effect=effect,
        low=end(e.decision_low),
        high=end(e.decision_high),
        difference=words.effect(e, effect),
        between=words.between(e),
        lift=numbers.lift(e.lift) if e.lift is not None and found in ("better", "worse") else "",
        direction="early" if doubted else found,
        certainty="clear" if bound else words.certainty(found, doubted=doubted),
        words=t("not enough data") if doubted else _guard(e) or t("worse") if bound else words.verb(e),
        size="" if doubted else words.practical(e, own.currency(e)),
        money="" if doubted or metric is None else words.worth(e, metric.settings.worth, currency),
        role=own.role(e),
        guard="" if doubted or own.role(e) != "guardrail" else _guard(e),
        answered=_answered(e),
        notes=_remarks(own, e, found, doubted=doubted),
        decided=bound,
    )


def _guard(e: Estimate) -> str:
    found = reasons.of(e, facts.Guardrail)
    state = e.guard or (None if found is None else found.state)
    if state is None:
        return ""
    visible = None if found is None else found.harm
    if state == "breach":
        return t("limit broken")
    if state == "cleared":
        return t("within its limit")
    if visible is None:
        return t("not yet shown to be within its limit")
    # Tested as the share of requests above the old version's own figure; of a full switch by the days' own figures.
    if e.metric_kind == "quantile" and e.grade != "before_after":
        return t(
            "not yet shown to be within its limit: {size} more of the requests above the old version’s figure are not "
            "ruled out",
            size=numbers.percent(abs(visible)),
        )
    # The harm is turned so that positive is worse; its size is what matters.
    return t("not yet shown to be within its limit: harm up to {size} is not ruled out", size=_size(e, visible))


def _size(e: Estimate, value: float) -> str:
    text = words.effect(e, abs(value))
    return text.removeprefix("+")


def _answered(e: Estimate) -> str:
    if e.response_control is None or e.response_treated is None:
        return ""
    old, new = numbers.percent(e.response_control), numbers.percent(e.response_treated)
    return t("{old} and {new} answered", old=old, new=new)


def _remarks(own: ChangeRows, e: Estimate, found: words.Direction, *, doubted: bool) -> tuple[str, ...]:
    made = []
    if found == "early":
        made.append(words.capital(reasons.floor(e, own.unit) if doubted else reasons.early(own, e)))
    plain = reasons.unweighted(e)
    if plain is not None:
        made.append(t("Weighted to everybody who entered; unweighted {difference}", difference=words.effect(e, plain)))
    elif e.response_control is not None and found != "early":
        made.append(t("Only those who answered, unweighted"))
    made += _silent(e, found) if not doubted else []
    beyond = reasons.of(e, facts.SharesBeyond)
    if beyond is not None:
        made.append(
            t(
                "Compared by the share of requests above {figure}: before {old_before} and {new_before}, then {old} "
                "and {new}",
                figure=words.figure(e, beyond.threshold),
                old_before=numbers.percent(beyond.control_before, 2),
                new_before=numbers.percent(beyond.treated_before, 2),
                old=numbers.percent(beyond.control, 2),
                new=numbers.percent(beyond.treated, 2),
            )
        )
    made += _regressed(e) if found != "early" else []
    left_out = reasons.left_out(e)
    if left_out:
        made.append(words.capital(left_out))
    return tuple(made)


def _regressed(e: Estimate) -> list[str]:
    """What explains the days of a full switch, beside other models."""
    known = reasons.of(e, facts.Regressed)
    if known is None:
        return []
    made = []
    if known.names:
        names = numbers.joined([foreign.quoted(name) for name in known.names])
        made.append(t("What {names} explain from day to day is taken out", names=names))
    if known.absent:
        names = numbers.joined([foreign.quoted(name) for name in known.absent])
        made.append(t("Not taken out, for they did not vary or were not sent: {names}", names=names))
    if known.season:
        made.append(t("The season of the year is taken out"))
    return made


def _silent(e: Estimate, found: words.Direction) -> list[str]:
    """What those who did not answer could change, in plain words."""
    known = reasons.of(e, facts.Silent)
    if known is None or found == "early":
        return []
    made = []
    if known.low != known.high:
        low, high = words.effect(e, known.low), words.effect(e, known.high)
        made.append(
            t("If other people answer in one version than in the other: between {low} and {high}", low=low, high=high)
        )
    if known.tips is not None and found in ("better", "worse"):
        size = _size(e, known.tips)
        if known.tips > 0:
            made.append(
                t(
                    "Undone only if those who met the new version and stayed silent would score {size} lower than "
                    "people like them who answered",
                    size=size,
                )
            )
        else:
            made.append(
                t(
                    "Undone only if those who met the new version and stayed silent would score {size} higher than "
                    "people like them who answered",
                    size=size,
                )
            )
    return made


def _notes(own: ChangeRows, *, doubted: bool) -> tuple[str, ...]:
    text = (
        []
        if doubted
        else [*novelty.told(own), *_together(own), *_quiet(own), *_unranged(own), *_one_unit(own), *_inside(own)]
    )
    if not doubted:
        text += reasons.silent(own)
    if own.promoted is not None:
        day = numbers.date_text(dt.date.fromisoformat(own.promoted.day))
        text.insert(0, t("Promoted on {day}: everybody has this version since.", day=day))
    if own.after is not None:
        text.insert(0, t("The test decided: before and after are not compared again, and nothing is asked."))
    unseen = [foreign.quoted(words.label(e.metric)) for e in own.others if e.respondent == "agent"]
    if unseen:
        text.append(units.agents_untold(own.unit, numbers.joined(unseen), at_once=own.change.full_switch))
    deciding = {e.stage for e in own.rows}
    early = {e.stage for e in own.others if e.effect is not None} - deciding
    if early and deciding:
        stages = numbers.joined([str(n) for n in sorted(early)])
        text.append(
            tn(
                "The verdict rests on stage {deciding}; the figures of stage {stages} are not shown.",
                "The verdict rests on stage {deciding}; the figures of stages {stages} are not shown.",
                len(early),
                stages=stages,
                deciding=numbers.joined([str(n) for n in sorted(deciding)]),
            )
        )
    days = days_left(own)
    if days is not None:
        left = words.days_more(days)
        text.append(
            t("Until an effect worth acting on would show: {days}.", days=left)
            if open_guards(own) is None
            else t("Until the limits could be shown to be kept: {days}.", days=left)
        )
    return tuple(text)


def _one_unit(own: ChangeRows) -> list[str]:
    """Who makes so many of the requests that their figures are that unit's more than the others'."""
    found = {f for e in (*own.rows, *own.others) for f in e.facts if isinstance(f, facts.OneUnit)}
    return [
        units.one_makes(own.unit, new=f.treated, share=numbers.percent(f.share, 0))
        for f in sorted(found, key=lambda f: -f.share)[:1]
    ]


def _inside(own: ChangeRows) -> list[str]:
    """What customers were drawn inside of: of the whole change, as its headline has it."""
    made = []
    row = next((e for e in own.rows if reasons.of(e, facts.Strata) or reasons.of(e, facts.Clusters)), None)
    if row is None:
        return []
    strata, clusters = reasons.of(row, facts.Strata), reasons.of(row, facts.Clusters)
    if strata is not None:
        made.append(
            tn(
                "Drawn in strata ({fields}): the versions are compared inside {n} of them, weighted by size.",
                "Drawn in strata ({fields}): the versions are compared inside {n} of them, weighted by size.",
                strata.n,
                fields=numbers.joined([words.dimension(field) for field in strata.of]),
                n=numbers.count(strata.n),
            )
        )
    if clusters is not None:
        made.append(
            t(
                "Drawn inside clusters ({field}), of which {old} have the old version and {new} the new one: the "
                "ranges are of what differs between clusters, because people of one are not independent.",
                field=words.dimension(clusters.of),
                old=numbers.count(clusters.control),
                new=numbers.count(clusters.treated),
            )
        )
    left = reasons.of(row, facts.NotInside)
    if left is not None:
        made.append(
            t(
                "Left out: {unplaced} customers of whom nobody says where they were, and {one_sided} where only one "
                "version was.",
                unplaced=numbers.count(left.unplaced),
                one_sided=numbers.count(left.one_sided),
            )
        )
    return made


def _quiet(own: ChangeRows) -> list[str]:
    """What is only watched and of which nothing can be said: named, without a row each."""
    made = []
    watched = [e for e in own.rows if own.role(e) == "watch"]
    for found in ("unclear", "early"):
        names = [words.label(e.metric) for e in watched if own.direction(e) == found]
        if not names:
            continue
        what = numbers.joined([foreign.quoted(label) for label in names])
        if found == "unclear":
            made.append(t("Only watched, and no clear change: {what}.", what=what))
        else:
            made.append(t("Only watched, and too early to tell: {what}.", what=what))
    return made


def _unranged(own: ChangeRows) -> list[str]:
    """Guardrails without a range have no row of their own, and are named."""
    open_ones = [
        reasons.levels(own, e.metric)
        for e in own.others
        if own.role(e) == "guardrail" and e.guard in ("open", "no data") and e.control is not None
    ]
    if not open_ones:
        return []
    return [
        tn(
            "Guardrail without a range, not yet shown to be within its limit: {what}.",
            "Guardrails without a range, not yet shown to be within their limits: {what}.",
            len(open_ones),
            what=numbers.joined(open_ones),
        )
    ]


def _together(own: ChangeRows) -> list[str]:
    """Other changes of the month that met the same customers and do not go with this one."""
    told = []
    for check in own.checks:
        if check.state == "warn" and check.check.startswith("overlap:"):
            told.append(
                t(
                    "Who got this change depends on who got “{other}”, so each effect carries some of the other.",
                    other=foreign.name(check.check.removeprefix("overlap:")),
                )
            )
        elif check.state == "warn" and check.check.startswith("interaction:"):
            rest = check.check.removeprefix("interaction:")
            metric = next((m for m in own.metrics if rest.startswith(f"{m}:")), None)
            if metric is not None:
                told.append(
                    t(
                        "Together with “{other}” the effect on “{metric}” is not the sum of both.",
                        other=foreign.name(rest.removeprefix(f"{metric}:")),
                        metric=words.label(metric),
                    )
                )
    return told
