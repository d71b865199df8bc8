"""What does the report say? From a freeze and its analysis to the findings; the same freeze gives the same."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import msgspec
import pandas as pd

from analysis import Analysis, Metric
from edgeloop.months import Month
from edgeloop.store.facts import NoGoal, RolledBackAfter
from edgeloop.store.freeze import Freeze, Manifest
from edgeloop.store.rows import Estimate, Verdict
from reports import (
    asking,
    bridge,
    changes,
    decisions,
    feedback,
    followup,
    foreign,
    glossary,
    health,
    language,
    numbers,
    people,
    promoted,
    punctuation,
    reading,
    reasons,
    strip,
    themes,
    tied,
    trust,
    voices,
    words,
)
from reports.changes import ChangeRows
from reports.findings import (
    Brand,
    Bridge,
    Decision,
    Findings,
    FollowUp,
    Health,
    Indicator,
    Line,
    Restatements,
    Trust,
    UseRow,
    Voice,
)
from reports.gathered import open_guards, strength
from reports.language import t, tn
from reports.parts import noted, part
from reports.restatements import restatements
from reports.settled import over
from reports.verdicts import TOLD

_MOST_WORDS = 10
_MOST_SIZED = 3
"""Changes whose sizes stand in the three lines; the rest are below."""


def build(
    freeze: Freeze, analysis: Analysis, again: Analysis | None = None, read: reading.Read | None = None
) -> Findings:
    """The month's findings, in the language of the freeze's ``look``.

    Args:
        freeze: the month's.
        analysis: of it.
        again: last month estimated from this freeze, where its manifest has what was printed of it.
        read: what was read of the freeze, where it was.
    """
    with language.speaking(freeze.manifest.look.locale), noted() as failures:
        findings = _build(freeze, told(analysis), None if again is None else told(again), read or reading.read(freeze))
        return msgspec.structs.replace(findings, failures=tuple(failures))


def told(analysis: Analysis) -> Analysis:
    """The same with None for every figure that is none (NaN), and infinity only as the end of an interval."""
    return replace(analysis, estimates=[_finite(e) for e in analysis.estimates])


_ENDS = frozenset({"effect", "decision", "always", "lift"})
"""Intervals of an estimate, whose ends may be infinite: ``effect_low``, ``effect_high`` …"""


def _finite(e: Estimate) -> Estimate:
    wrong: dict[str, Any] = {}
    for name in e.__struct_fields__:
        value = getattr(e, name)
        if not isinstance(value, float) or math.isfinite(value):
            continue
        interval, _, end = name.rpartition("_")
        if math.isnan(value) or interval not in _ENDS or end not in ("low", "high"):
            wrong[name] = None
    return msgspec.structs.replace(e, **wrong) if wrong else e


def _build(freeze: Freeze, analysis: Analysis, again: Analysis | None, read: reading.Read) -> Findings:
    manifest, month, frames = freeze.manifest, freeze.month, read.frames
    exposures, answers, attributions = frames["exposures"], frames["answers"], frames["answer_credits"]
    zone, titles = month.timezone, {c.change_id: c.title for c in analysis.changes}
    effects, asking_for = t("Did it help?"), t("Decisions asked")
    use, voice = t("Is the feedback used?"), t("What people said")
    gathered = part(
        effects,
        lambda: changes.gather(
            analysis.changes,
            analysis.estimates,
            {m.name for m in analysis.metrics if m.lower_is_better},
            {m.name: m.currency for m in analysis.metrics if m.currency is not None},
            analysis.metrics,
            analysis.checks,
            analysis.rulings,
            analysis.promoted,
            over(analysis.changes, exposures, manifest.as_of_us, zone),
        ),
        _none,
        key="changes",
    )
    asked = part(
        asking_for,
        lambda: decisions.decisions(
            gathered, manifest.as_of_us, month, exposures, manifest.responsibility, analysis.known
        ),
        _none,
        key="decisions",
    )
    last_actions, followed = part(
        t("Last month’s actions"),
        lambda: _followed(frames.get("actions"), analysis, gathered, month, manifest.as_of_us),
        lambda why: (why, []),
        key="actions",
    )
    found, done = part(
        use,
        lambda: (
            feedback.uses(answers, attributions, analysis, month, manifest.freeze_id),
            feedback.done_actions(frames.get("actions")),
        ),
        lambda _: ([], None),
        key="uses",
    )
    reported = manifest.reported
    headline = next((m for m in analysis.metrics if m.headline), None)
    ends = {b.bar: b.value for b in analysis.bridge if math.isfinite(b.value)}
    said, voices_notes = part(
        voice,
        lambda: _voices(answers, exposures, attributions, gathered, analysis, manifest, month),
        lambda why: ((), (why,)),
        key="voices",
    )
    name, previous = numbers.month(month.name), numbers.month(month.previous().name)
    look = manifest.look
    restated = part(
        t("Last month’s report, now"),
        lambda: restatements(manifest.printed_month, again, analysis),
        lambda why: Restatements(summary=why),
        key="restatements",
    )
    drawn, strip_note = part(
        t("Against target"),
        lambda: _strip(
            frames,
            read.parity,
            (feedback.row("", found, done), feedback.row("", reported, done) if reported else None),
            freeze,
            headline,
            (ends["month 0"], ends["month 1"]) if {"month 0", "month 1"} <= set(ends) else None,
        ),
        lambda why: ((), why),
        key="strip",
    )
    blocks, changes_notes = part(
        effects,
        lambda: (changes.changes(gathered, zone), changes.notes(gathered)),
        lambda why: ((), (why,)),
        key="effects",
    )
    return Findings(
        language=look.locale,
        brand=Brand(foreign.plain(look.brand_name or manifest.company, 60), look.brand_colour, look.logo),
        company=foreign.plain(manifest.company, 60),
        month=name,
        previous_month=previous,
        freeze_id=manifest.freeze_id,
        code_version=manifest.code_version,
        as_of=numbers.moment(manifest.as_of_us, manifest.timezone),
        simulated=manifest.simulated,
        title=part(t("In three lines"), lambda: _title(asked, gathered, name), lambda _: name, key="title"),
        standing=f"{_standing(freeze)} {restated.standing}".strip(),
        brief=part(
            t("In three lines"),
            lambda: _brief(gathered, asked),
            lambda why: (Line(t("In three lines"), why),),
            key="brief",
        ),
        strip=drawn,
        strip_note=strip_note,
        decisions=tuple(asked),
        decisions_note=decisions.note(),
        nothing_asked="" if asked else decisions.nothing(gathered),
        last_actions=last_actions,
        followups=tuple(followed),
        changes=blocks,
        open_tests=part(t("Still open"), lambda: changes.open_tests(gathered), lambda _: (), key="open tests"),
        promoted=part(
            t("This year’s promoted changes"),
            lambda: promoted.promoted(
                manifest.promoted,
                gathered,
                headline,
                month.name[:4],
                first=manifest.previous is None,
                known=analysis.known,
                as_of_us=manifest.as_of_us,
            ),
            str,
            key="promoted",
        ),
        changes_notes=changes_notes,
        bridge=part(
            t("From last month to this month"),
            lambda: bridge.bridge(analysis, gathered, name, previous, zone),
            Bridge,
            key="bridge",
        ),
        voices=said,
        voices_notes=voices_notes,
        feedback=part(
            use,
            lambda: feedback.feedback(
                found,
                reported,
                done,
                titles,
                month,
                asking.unused(answers, found, analysis, month),
                asking.asks(
                    answers,
                    exposures,
                    attributions,
                    gathered,
                    analysis,
                    manifest.metrics,
                    month,
                ),
                people.holders(manifest),
                decisions.due_date(manifest.as_of_us, zone),
            ),
            feedback.untold,
            key="feedback",
        ),
        health=part(
            t("Edge health"),
            lambda: health.health(exposures, read.parity[month.end_us], frames["telemetry"], analysis.changes, month),
            lambda why: Health(why, (), ()),
            key="health",
        ),
        trust=part(
            t("Can you trust this?"),
            lambda: trust.trust(analysis.checks, titles, frames, manifest, month, gathered),
            lambda why: Trust(why, (), ()),
            key="trust",
        ),
        restatements=restated,
        method=part(t("Method and glossary"), glossary.method, lambda _: (), key="method"),
        glossary=part(t("Glossary"), glossary.glossary, lambda _: (), key="glossary"),
    )


def _none(_: str) -> list[Any]:
    return []


def _followed(
    actions: pd.DataFrame | None,
    analysis: Analysis,
    gathered: Sequence[ChangeRows],
    month: Month,
    as_of_us: int,
) -> tuple[str, list[FollowUp]]:
    found = followup.followups(actions, analysis, gathered, month, as_of_us)
    return followup.summary(found), found


def _voices(
    answers: pd.DataFrame,
    exposures: pd.DataFrame,
    attributions: pd.DataFrame,
    gathered: Sequence[ChangeRows],
    analysis: Analysis,
    manifest: Manifest,
    month: Month,
) -> tuple[tuple[Voice, ...], tuple[str, ...]]:
    together = tied.tied(analysis.words, analysis.changes, attributions, month)
    said = tuple(
        msgspec.structs.replace(
            voice,
            themes=themes.themes(analysis.words, voice.key, manifest.responsibility, together),
            themes_note=themes.note(analysis.words, voice.key),
        )
        for voice in voices.voices(answers, exposures, attributions, gathered, month)
    )
    return said, voices.notes(said)


def _strip(
    frames: Mapping[str, pd.DataFrame],
    parity: Mapping[int, float | None],
    used: tuple[UseRow, UseRow | None],
    freeze: Freeze,
    headline: Metric | None,
    figures: tuple[float, float] | None,
) -> tuple[tuple[Indicator, ...], str]:
    drawn = strip.strip(
        frames,
        parity,
        used,
        freeze.month,
        as_of_us=freeze.manifest.as_of_us,
        since_us=freeze.manifest.since_us,
        headline=headline,
        figures=figures,
        whole_second_sources=freeze.manifest.whole_second_sources,
    )
    return drawn, strip.note(freeze.month, drawn)


def _title(asked: Sequence[Decision], gathered: Sequence[ChangeRows], month: str) -> str:
    """The verdict in a sentence: by name where that takes at most ten words, else by number."""
    if not gathered:
        return t("No model version changed in {month}", month=month)
    if not asked and any(own.over or isinstance(own.after, RolledBackAfter) for own in gathered):
        return t("Nothing to decide for {month}: what was tried is no longer in use", month=month)
    if not asked and any(own.after or own.promoted for own in gathered):
        return t("Nothing to decide for {month}: what was tested is promoted", month=month)
    if not asked:
        return t("Nothing to decide yet for {month}", month=month)
    urgent = [d for d in asked if d.verdict != "keep testing"] or list(asked)
    titles = {own.anchor: own.title for own in gathered}
    groups: dict[Verdict, list[str]] = {}
    for d in urgent:
        groups.setdefault(d.verdict, []).append(titles[d.anchor])
    named = punctuation.semicolon().join(TOLD[verdict].asked(numbers.joined(own)) for verdict, own in groups.items())
    if _words_in(named) <= _MOST_WORDS and len(named) <= _LONGEST_TITLE:
        return words.capital(named)
    counted = [
        TOLD[verdict].asked(tn("one change", "{n} changes", len(own), n=numbers.count(len(own))))
        for verdict, own in groups.items()
    ]
    told = punctuation.semicolon().join(counted)
    if _words_in(told) > _MOST_WORDS:  # the most urgent speak, and the rest stands below
        told = punctuation.semicolon().join(counted[:2])
    return words.capital(told)


def _words_in(text: str) -> int:
    """Signs that stand alone, as French ones do, are no words."""
    return len(re.findall(r"\w\S*", text))


_LONGEST_TITLE = 110
"""Characters: ten words can be long ones."""


def _standing(freeze: Freeze) -> str:
    as_of = numbers.day(freeze.manifest.as_of_us, freeze.manifest.timezone)
    if freeze.manifest.provisional:
        return t("Provisional, with data up to {day}.", day=as_of)
    return t("Final, with data up to {day}.", day=as_of)


def _brief(gathered: Sequence[ChangeRows], asked: Sequence[Decision]) -> tuple[Line, ...]:
    """What changed, by how much, what to do."""
    labels = t("What changed"), t("By how much"), t("What to do")
    if not gathered:
        return (
            Line(labels[0], t("No version change is declared or seen in the exposures of this month.")),
            Line(labels[1], t("There is nothing to compare.")),
            Line(labels[2], t("Declare the next change before it starts, so that its effect can be told.")),
        )
    told = {own.change.change_id for own in gathered}
    sized = [
        reasons.promoted(own.after, own.metrics)
        for own in gathered
        if own.after is not None and not (isinstance(own.after, RolledBackAfter) and own.after.change_id in told)
    ]
    for own in gathered:
        e = own.deciding() or _waiting(own)
        if e is not None:
            sized.append(words.sentence(own.title, e, own.currency(e)) + ".")
        elif own.verdict == "roll back" or reasons.rules(own, NoGoal) is not None:  # without a range
            sized.append(f"{own.title}{punctuation.colon()}{reasons.ruling(own)}")
    return (
        Line(labels[0], _changed(gathered)),
        Line(labels[1], " ".join(sized[:_MOST_SIZED]) or _nothing_sized(asked)),
        Line(labels[2], _to_do(asked) or decisions.nothing(gathered)),
    )


def _waiting(own: ChangeRows) -> Estimate | None:
    """The clearest better goal of a change that only its guardrails keep from being promoted."""
    waits = open_guards(own)
    better = set() if waits is None or own.promoted is not None else {*waits.better}
    return max((e for e in own.rows if e.metric in better and own.direction(e) == "better"), key=strength, default=None)


def _nothing_sized(asked: Sequence[Decision]) -> str:
    if asked and all(d.verdict == "repair the data first" for d in asked):
        return t("Nothing can be said of any effect before the data is repaired.")
    return t("No effect is clear yet.")


def _changed(gathered: Sequence[ChangeRows]) -> str:
    n, titles = len(gathered), [own.title for own in gathered]
    if n > _MOST_SIZED + 1:
        rest = n - _MOST_SIZED
        more = tn("{n} more", "{n} more", rest, n=numbers.count(rest))
        titles = [*titles[:_MOST_SIZED], more]
    return tn(
        "One model change: {titles}.",
        "{n} model changes: {titles}.",
        n,
        n=numbers.count(n),
        titles=numbers.joined(titles),
    )


def _to_do(asked: Sequence[Decision]) -> str:
    if not asked:
        return ""
    told = [t("{action}: {owner}, by {day}.", action=d.action, owner=d.owner, day=d.by) for d in asked[:_MOST_SIZED]]
    rest = len(asked) - _MOST_SIZED
    if rest > 0:
        told.append(tn("{n} more decision below.", "{n} more decisions below.", rest, n=numbers.count(rest)))
    return " ".join(told)
