"""What does the report say? From a freeze and its analysis to the findings; the same freeze gives the same."""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from analysis import Analysis
from edgeloop.store.freeze import Freeze
from edgeloop.store.rows import Verdict
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
    strip,
    themes,
    tied,
    trust,
    voices,
    words,
)
from reports.changes import ChangeRows
from reports.findings import Brand, Decision, Findings, Line
from reports.language import t, tn
from reports.restatements import restatements
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
    with language.speaking(freeze.manifest.look.locale):
        return _build(freeze, analysis, again, read or reading.read(freeze))


def _build(freeze: Freeze, analysis: Analysis, again: Analysis | None, read: reading.Read) -> Findings:
    manifest, month, frames = freeze.manifest, freeze.month, read.frames
    exposures, answers, attributions = frames["exposures"], frames["answers"], frames["answer_credits"]
    gathered = changes.gather(
        analysis.changes,
        analysis.estimates,
        {m.name for m in analysis.metrics if m.lower_is_better},
        {m.name: m.currency for m in analysis.metrics if m.currency is not None},
        analysis.metrics,
        analysis.checks,
        analysis.rulings,
    )
    asked = decisions.decisions(gathered, manifest.as_of_us, month, exposures, manifest.responsibility, analysis.known)
    followed = followup.followups(frames.get("actions"), analysis, gathered, month, manifest.as_of_us)
    found = feedback.uses(answers, attributions, analysis, month, manifest.freeze_id)
    done = feedback.done_actions(frames.get("actions"))
    reported = manifest.reported
    headline = next((m for m in analysis.metrics if m.headline), None)
    ends = {b.bar: b.value for b in analysis.bridge}
    together = tied.tied(analysis.words, analysis.changes, attributions, month)
    said = tuple(
        msgspec.structs.replace(
            voice,
            themes=themes.themes(analysis.words, voice.key, manifest.responsibility, together),
            themes_note=themes.note(analysis.words, voice.key),
        )
        for voice in voices.voices(answers, exposures, attributions, gathered, month)
    )
    name, previous = numbers.month(month.name), numbers.month(month.previous().name)
    look = manifest.look
    restated = restatements(manifest.printed_month, again, analysis)
    drawn = strip.strip(
        frames,
        read.parity,
        (feedback.row("", found, done), feedback.row("", reported, done) if reported else None),
        month,
        as_of_us=manifest.as_of_us,
        since_us=manifest.since_us,
        headline=headline,
        figures=(ends["month 0"], ends["month 1"]) if "month 1" in ends else None,
        whole_second_sources=manifest.whole_second_sources,
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
        title=_title(asked, gathered, name),
        standing=f"{_standing(freeze)} {restated.standing}",
        brief=_brief(gathered, asked),
        strip=drawn,
        strip_note=strip.note(month, drawn),
        decisions=tuple(asked),
        decisions_note=decisions.note(),
        last_actions=followup.summary(followed),
        followups=tuple(followed),
        changes=changes.changes(gathered, month.timezone),
        open_tests=changes.open_tests(gathered),
        promoted=promoted.promoted(
            manifest.promoted, gathered, headline, month.name[:4], first=manifest.previous is None
        ),
        changes_notes=changes.notes(gathered),
        bridge=bridge.bridge(analysis, gathered, name, previous, month.timezone),
        voices=said,
        voices_notes=voices.notes(said),
        feedback=feedback.feedback(
            found,
            reported,
            done,
            {c.change_id: c.title for c in analysis.changes},
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
            decisions.due_date(manifest.as_of_us, month.timezone),
        ),
        health=health.health(exposures, read.parity[month.end_us], frames["telemetry"], analysis.changes, month),
        trust=trust.trust(
            analysis.checks,
            {c.change_id: c.title for c in analysis.changes},
            frames,
            manifest,
            month,
            gathered,
        ),
        restatements=restated,
        method=glossary.method(),
        glossary=glossary.glossary(),
    )


def _title(asked: Sequence[Decision], gathered: Sequence[ChangeRows], month: str) -> str:
    """The verdict in a sentence: by name where that takes at most ten words, else by number."""
    if not gathered:
        return t("No model version changed in {month}", month=month)
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
    sized = []
    for own in gathered:
        e = own.deciding()
        if e is not None:
            sized.append(words.sentence(own.title, e, own.currency(e)) + ".")
    return (
        Line(labels[0], _changed(gathered)),
        Line(labels[1], " ".join(sized[:_MOST_SIZED]) or _nothing_sized(asked)),
        Line(labels[2], _to_do(asked)),
    )


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
        return t("Nothing is asked: no change can be judged yet.")
    told = [t("{action}: {owner}, by {day}.", action=d.action, owner=d.owner, day=d.by) for d in asked[:_MOST_SIZED]]
    rest = len(asked) - _MOST_SIZED
    if rest > 0:
        told.append(tn("{n} more decision below.", "{n} more decisions below.", rest, n=numbers.count(rest)))
    return " ".join(told)
