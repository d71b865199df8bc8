"""Which questions did nobody use, and what is worth asking next month? By rules that the text states."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import pandas as pd

from analysis import Analysis
from edgeloop.metrics import MetricSettings
from edgeloop.months import Month
from edgeloop.store.freeze import FeedbackUse
from edgeloop.store.rows import Estimate
from reports import foreign, numbers, themes, units, words
from reports.feedback import DECIDING_ROLES, SIDES, question_label, side_title
from reports.findings import Ask, Unused
from reports.gathered import ChangeRows
from reports.language import t, tn
from reports.voices import FEWEST_ANSWERS, within

THEME_LEAST, THEME_LEAST_REMARKS = 10, 30
"""Remarks of a theme this month, and remarks in all of each month, before a growth is told."""
Z = 1.96
COURIER_LEAST = 30
"""Exposures of a model with a courier, before its couriers are worth asking."""
MOST = 12
SCALED = ("nps", "csat", "ces", "rating", "number", "boolean")
_PEOPLE = {"customer": "subject", "agent": "courier"}
_SOURCES = {"answers": "customer", "agent_answers": "agent"}


def unused(answers: pd.DataFrame, found: Sequence[FeedbackUse], analysis: Analysis, month: Month) -> tuple[Unused, ...]:
    """Questions of this month and the one before that no decision names, those no estimate counts first."""
    this, before = within(answers, month), within(answers, month.previous())
    n_before, numeric = _keys(before), set(_keys(this[this["value"].notna()]))
    scaled = {key[:2] for key in numeric}
    wanted = sorted({*_keys(this), *n_before})
    made = []
    for key in wanted:
        own = [u for u in found if (u.respondent, u.survey_id, u.question) == key]
        n, joined, counted, named = (
            sum(getattr(u, step) for u in own) for step in ("collected", "joined", "counted", "named")
        )
        if named:
            continue
        if not n:
            why, do, role = _not_answered(n_before[key])
        elif key not in numeric:
            why, do, role = _words_only(beside=key[:2] in scaled)
        elif not joined:
            why, do, role = _not_tied()
        elif not counted:
            why, do, role = _not_counted(key[0], analysis)
        else:
            why, do, role = _not_named(key, analysis)
        made.append(
            Unused(
                label=question_label(key[1], key[2]), of=side_title(key[0]), n=n, why=why, do=do, role=role,
                counted=counted > 0, mend=not n or key in numeric or key[:2] not in scaled,
            )
        )  # fmt: skip
    return tuple(sorted(made, key=lambda u: (not u.mend, u.counted, -u.n, u.of, u.label))[:MOST])


def asks(
    answers: pd.DataFrame,
    exposures: pd.DataFrame,
    attributions: pd.DataFrame,
    gathered: Sequence[ChangeRows],
    analysis: Analysis,
    configured: dict[str, MetricSettings],
    month: Month,
) -> tuple[Ask, ...]:
    """What to ask next month: a decision that lacks answers first, then goals, themes, response rates, agents."""
    return (
        *_blocked(gathered, analysis),
        *_goals(configured, analysis),
        *_themes(answers, analysis, month),
        *_response(answers, exposures, month),
        *_agents(exposures, attributions, month),
    )[:MOST]


def answered_of_met(side: str, answers: pd.DataFrame, exposures: pd.DataFrame, month: Month) -> tuple[int, int]:
    """(people who met a model in the month and answered in it, people who met one)."""
    met = within(exposures[["occurred_at", _PEOPLE[side]]], month)[_PEOPLE[side]].dropna().drop_duplicates()
    told = within(answers[answers["respondent"] == side], month)
    return int(met.isin(set(told["subject"].dropna())).sum()), len(met)


def _keys(answers: pd.DataFrame) -> Counter[tuple[str, str, str]]:
    """(side, survey, question) → answers."""
    columns = (answers[name].astype(str) for name in ("respondent", "survey_id", "question"))
    return Counter(zip(*columns, strict=True))


def higher(now: tuple[int, int], then: tuple[int, int]) -> bool:
    """Whether the share k/n of now is above that of then, by more than chance: z > 1.96, pooled."""
    (k1, n1), (k0, n0) = now, then
    if not n1 or not n0:
        return False
    pooled = (k1 + k0) / (n1 + n0)
    error = math.sqrt(pooled * (1 - pooled) * (1 / n1 + 1 / n0))
    return error > 0 and (k1 / n1 - k0 / n0) / error > Z


def grew(now: tuple[int, int], then: tuple[int, int]) -> bool:
    """Whether k of n remarks now are enough, and a higher share than then, to tell that a theme grew."""
    return min(now[1], then[1]) >= THEME_LEAST_REMARKS and now[0] >= THEME_LEAST and higher(now, then)


def _not_answered(before: int) -> tuple[str, str, str]:
    why = tn(
        "Nobody answered it this month; {n} did the month before.",
        "Nobody answered it this month; {n} did the month before.",
        before,
        n=numbers.count(before),
    )
    return why, t("Ask it again, or take it out of the plan."), "feedback_collector"


def _words_only(*, beside: bool) -> tuple[str, str, str]:
    """``beside``: the same survey asks for a number too."""
    do = (
        t("Nothing to mend: the score asked beside it counts.")
        if beside
        else t("Put a question on a scale beside it where a decision needs a figure.")
    )
    return t("Words and choices only: they are read for their themes, no estimate counts them."), do, "data_analyst"


def _not_tied() -> tuple[str, str, str]:
    return (
        t("None could be tied to a version: the senders met none in the days before, or the link lost their id."),
        t("Check that the survey’s link carries the id, and ask sooner after a delivery."),
        "feedback_collector",
    )


def _not_counted(side: str, analysis: Analysis) -> tuple[str, str, str]:
    if not analysis.changes:
        return (
            t("No version changed this month, so there was no estimate to count them in."),
            t("Keep asking: the next change is compared with them."),
            "data_analyst",
        )
    if side == "agent" and all(units.of(change) == "subject" for change in analysis.changes):
        return (
            t("Customers were assigned to the versions, not delivery agents, so no effect on agents can be told."),
            t("Assign couriers or zones in the next change that touches them."),
            "data_science_lead",
        )
    if side == "agent":
        return (
            t("None came from a delivery agent who was compared, within the window after meeting the change."),
            t("Ask agents who work with the change, sooner after they do."),
            "feedback_collector",
        )
    return (
        t("None came from somebody who was compared, within the window after meeting the change."),
        t("Ask people who meet the change, sooner after they do."),
        "feedback_collector",
    )


def _not_named(key: tuple[str, str, str], analysis: Analysis) -> tuple[str, str, str]:
    made_of = {
        m.name
        for m in analysis.metrics
        if m.source == "answer" and (m.respondent, m.key) == (key[0], f"{key[1]}/{key[2]}") and m.role in DECIDING_ROLES
    }
    if not made_of:
        return (
            t("It is counted, but no goal and no guardrail is made of it, so it can decide nothing."),
            t("Make it a goal or a guardrail, or stop asking."),
            "data_analyst",
        )
    rows = [e for e in analysis.estimates if _is_of(e, key[0]) and e.metric in made_of and e.verdict is not None]
    few = [e for e in rows if e.decided_by is None and min(e.n_control or 0, e.n_treated or 0) < FEWEST_ANSWERS]
    if few:
        e = max(few, key=lambda e: (min(e.n_control or 0, e.n_treated or 0), e.change_id))
        return (
            t(
                "Too few to decide: {old} and {new} people answered in the two versions, {least} in each are needed.",
                old=numbers.count(e.n_control or 0),
                new=numbers.count(e.n_treated or 0),
                least=numbers.count(FEWEST_ANSWERS),
            ),
            t("Ask more of the people who meet the change."),
            "feedback_collector",
        )
    if any(e.verdict == "repair the data first" for e in rows):
        return (
            t("The data behind the comparison have to be repaired first."),
            t("Repair them; the answers then count."),
            "data_engineer",
        )
    return (
        t("The comparison is not yet fit to decide: too few days, or nothing but before and after."),
        t("Keep asking."),
        "data_analyst",
    )


def _is_of(e: Estimate, side: str) -> bool:
    return e.dimension == "all" and (e.respondent or "customer") == side


def _blocked(gathered: Sequence[ChangeRows], analysis: Analysis) -> list[Ask]:
    """Decisions that keep testing while a goal or guardrail made of a question has too few answers."""
    wanted = [m for m in analysis.metrics if m.source == "answer" and m.role in DECIDING_ROLES]
    made = []
    for own in gathered:
        rows = [e for e in (*own.rows, *own.others) if e.dimension == "all"]
        if not any(e.verdict == "keep testing" for e in rows) or own.before_after:
            continue
        for metric in wanted:
            told = [e for e in rows if (e.metric, e.respondent) == (metric.name, metric.respondent) and e.verdict]
            if any(e.decided_by is not None for e in told) or (not told and metric.respondent == "agent"):
                continue
            n = max(((e.n_control or 0, e.n_treated or 0) for e in told), key=min, default=(0, 0))
            if min(n) >= FEWEST_ANSWERS:
                continue
            asked = foreign.name(words.label(metric.key))
            made.append(
                Ask(
                    rule="blocked",
                    what=t("Ask more people who meet {change} about {question}.", change=own.title,
                           question=asked),
                    why=t(
                        "The decision waits: {old} and {new} people answered in the two versions, {least} in each "
                        "are needed.",
                        old=numbers.count(n[0]), new=numbers.count(n[1]), least=numbers.count(FEWEST_ANSWERS),
                    ),
                    role="feedback_collector",
                )
            )  # fmt: skip
    return made


def _goals(configured: dict[str, MetricSettings], analysis: Analysis) -> list[Ask]:
    """Goals and guardrails that are to be answered, and that no answer can measure."""
    there = {m.name for m in analysis.metrics}
    made = []
    for side in SIDES:
        missing = sorted(
            name
            for name, m in configured.items()
            if _SOURCES.get(m.source) == side and m.role in DECIDING_ROLES and name not in there
        )
        if missing:
            named = numbers.joined([foreign.quoted(words.label(name)) for name in missing])
            made.append(
                Ask(
                    rule="no question",
                    what=t("Ask delivery agents a question that measures {goals}.", goals=named)
                    if side == "agent"
                    else t("Ask customers a question that measures {goals}.", goals=named),
                    why=t("It is set as a goal or guardrail, and no survey asks it: it can decide nothing."),
                    role="feedback_collector",
                )
            )
    return made


def _themes(answers: pd.DataFrame, analysis: Analysis, month: Month) -> list[Ask]:
    """Themes of which the share among remarks grew, and no question on a scale is about."""
    scaled = within(answers, month)
    scaled = scaled[scaled["kind"].isin(SCALED)]
    made = []
    for side in analysis.words.sides if analysis.words is not None else ():
        n, before = side.this.n, side.before.n
        own = scaled[scaled["respondent"] == side.respondent]
        asked = {f"{s}/{q}".casefold() for s, q in zip(own["survey_id"], own["question"], strict=True)}
        for theme in side.themes:
            if grew((theme.this.n, n), (theme.before.n, before)) and not any(
                theme.name in question for question in asked
            ):
                what = t("Ask for a score on “{theme}”.", theme=themes.title(theme.name, theme.title))
                why = _grew(side.respondent, theme.this.n / n, theme.before.n / before)
                made.append(Ask(rule="theme", what=what, why=why, role=theme.owner.casefold().replace(" ", "_")))
    return made


def _grew(side: str, now: float, then: float) -> str:
    shares = {"now": numbers.percent(now, 0), "then": numbers.percent(then, 0)}
    if side == "agent":
        return t(
            "{now} of delivery agents’ remarks are about it, {then} the month before; no question asks for a score.",
            **shares,
        )
    return t(
        "{now} of customers’ remarks are about it, {then} the month before; no question asks for a score.", **shares
    )


def _response(answers: pd.DataFrame, exposures: pd.DataFrame, month: Month) -> list[Ask]:
    """Sides that answer less than the month before."""
    made = []
    for side in SIDES:
        now = answered_of_met(side, answers, exposures, month)
        then = answered_of_met(side, answers, exposures, month.previous())
        if not higher(then, now):
            continue
        what = (
            t("Ask delivery agents shorter, or at another moment: fewer answer.")
            if side == "agent"
            else t("Ask customers shorter, or at another moment: fewer answer.")
        )
        why = t(
            "{now} of those who met a model answered, {then} the month before.",
            now=numbers.percent(now[0] / now[1]),
            then=numbers.percent(then[0] / then[1]),
        )
        made.append(Ask(rule="response rate", what=what, why=why, role="feedback_collector"))
    return made


def _agents(exposures: pd.DataFrame, attributions: pd.DataFrame, month: Month) -> list[Ask]:
    """Models that delivery agents carry, and of which no answer of theirs is tied to any version."""
    x = within(exposures[["occurred_at", "model_id", "courier"]], month)
    carried = x[x["courier"].notna()].groupby("model_id", observed=True).size()
    a = within(attributions[attributions["outcome_type"] == "answer"], month)
    told = set(a[(a["respondent"] == "agent") & (a["credit"] > 0)]["model_id"].dropna().astype(str))
    silent = sorted(str(m) for m, n in carried.items() if n >= COURIER_LEAST and str(m) not in told)
    if not silent:
        return []
    return [
        Ask(
            rule="not asked",
            what=tn(
                "Ask delivery agents about {models}, which they carry.",
                "Ask delivery agents about {models}, which they carry.",
                len(silent),
                models=numbers.joined([foreign.name(model) for model in silent]),
            ),
            why=t("No answer of theirs this month is tied to any of its versions."),
            role="feedback_collector",
        )
    ]
