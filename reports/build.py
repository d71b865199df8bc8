"""What does the report say? From a freeze and its analysis to the findings; the same freeze gives the same."""

from __future__ import annotations

from collections.abc import Sequence

from analysis import Analysis
from edgeloop.store.freeze import Freeze
from reports import changes, decisions, glossary, health, numbers, strip, trust, voices, words
from reports.changes import ChangeRows
from reports.findings import Decision, Findings, Line
from reports.language import t
from reports.restatements import restatements

_MOST_WORDS = 10
_TITLES = {
    "roll back": "roll back {}",
    "repair the data first": "repair the data of {}",
    "promote": "promote {}",
    "stop, no effect": "stop {}",
    "keep testing": "keep testing {}",
}


def build(freeze: Freeze, analysis: Analysis, again: Analysis | None = None) -> Findings:
    """The month's findings.

    Args:
        freeze: the month's.
        analysis: of it.
        again: last month estimated from this freeze, where its manifest has what was printed of it.
    """
    manifest, month = freeze.manifest, freeze.month
    frames = freeze.frames()
    exposures, answers, attributions = frames["exposures"], frames["answers"], frames["attributions"]
    gathered = changes.gather(
        analysis.changes,
        analysis.estimates,
        {m.name for m in analysis.metrics if m.lower_is_better},
        {m.name: m.currency for m in analysis.metrics if m.currency is not None},
    )
    asked = decisions.decisions(gathered, manifest.as_of_us, month, exposures)
    used = trust.used_answers(gathered)
    funnels = trust.funnels(answers, attributions, used, month)
    before = trust.funnels(answers, attributions, used, month.previous())
    restated = restatements(manifest.printed_month, again, analysis)
    return Findings(
        company=manifest.company,
        month=numbers.month(month.name),
        previous_month=numbers.month(month.previous().name),
        freeze_id=manifest.freeze_id,
        code_version=manifest.code_version,
        as_of=numbers.moment(manifest.as_of_us, manifest.timezone),
        simulated=manifest.simulated,
        title=_title(asked, gathered, numbers.month(month.name)),
        standing=f"{_standing(freeze)} {restated.standing}",
        brief=_brief(gathered, asked),
        strip=strip.strip(
            exposures, frames["engagement"], answers, frames["profiles"], (funnels, before), month, manifest.as_of_us
        ),
        strip_note=strip.NOTE,
        decisions=tuple(asked),
        decisions_note=decisions.NOTE,
        last_actions="No actions are recorded yet, so there is nothing to follow up from last month.",
        changes=changes.changes(gathered, month.timezone),
        changes_notes=changes.notes(gathered),
        bridge=(
            "The month bridge is not estimated by this version: how much of the change from last month comes from "
            "version changes, the mix of customers or the calendar is not told apart."
        ),
        voices=voices.voices(answers, exposures, attributions, month),
        voices_notes=(
            "Themes, weighted scores and questions for next month are not estimated by this version.",
            "Scores by version describe the answers credited to each; the fair comparison is under “Did it help?”.",
        ),
        health=health.health(exposures, frames["profiles"], frames["telemetry"], analysis.changes, month),
        trust=trust.trust(
            funnels, analysis.checks, {c.change_id: c.title for c in analysis.changes}, frames, manifest, month
        ),
        restatements=restated,
        method=glossary.METHOD,
        glossary=glossary.GLOSSARY,
    )


def _title(asked: Sequence[Decision], gathered: Sequence[ChangeRows], month: str) -> str:
    """The verdict in a sentence: by name where that takes at most ten words, else by number."""
    if not gathered:
        return f"No model version changed in {month}"
    if not asked:
        return f"Nothing to decide yet for {month}"
    urgent = [d for d in asked if d.verdict != "keep testing"] or list(asked)
    titles = {own.anchor: own.change.title for own in gathered}
    groups: dict[str, list[str]] = {}
    for d in urgent:
        groups.setdefault(d.verdict, []).append(titles[d.anchor])
    named = "; ".join(_TITLES[v].format(numbers.joined([f"“{t}”" for t in own])) for v, own in groups.items())
    if len(named.split()) <= _MOST_WORDS:
        return words.capital(named)
    told = {v: _TITLES[v].format("one change" if len(own) == 1 else f"{len(own)} changes") for v, own in groups.items()}
    return words.capital("; ".join(told.values()))


def _standing(freeze: Freeze) -> str:
    as_of = numbers.day(freeze.manifest.as_of_us, freeze.manifest.timezone)
    if freeze.manifest.provisional:
        return t("Provisional, with data up to {day}.", day=as_of)
    return t("Final, with data up to {day}.", day=as_of)


def _brief(gathered: Sequence[ChangeRows], asked: Sequence[Decision]) -> tuple[Line, ...]:
    """What changed, by how much, what to do."""
    if not gathered:
        return (
            Line("What changed", "No version change is declared or seen in the exposures of this month."),
            Line("By how much", "There is nothing to compare."),
            Line("What to do", "Declare the next change before it starts, so that its effect can be told."),
        )
    titles = [f"“{own.change.title}”" for own in gathered]
    several = f"{len(titles)} model changes: " if len(titles) > 1 else "One model change: "
    sized = []
    for own in gathered:
        e = own.deciding()
        if e is not None:
            sized.append(words.sentence(f"“{own.change.title}”", e, own.currency(e)) + ".")
    do = [f"{d.action}: {d.owner}, by {d.by}." for d in asked]
    return (
        Line("What changed", several + numbers.joined(titles) + "."),
        Line("By how much", " ".join(sized) or "No effect is clear yet."),
        Line("What to do", " ".join(do) if do else "Nothing is asked: no change can be judged yet."),
    )
