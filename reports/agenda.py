"""What is spoken of, by whom, for how long? An hour, from the month's decisions, incidents, actions and questions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from reports import numbers, people
from reports.findings import AgendaItem, Complexity, Findings, Incident, Pillar
from reports.language import t, tn
from reports.verdicts import TOLD

HOUR = 60
MOST_LINES = 4


def agenda(
    findings: Findings,
    open_actions: int | None,
    incidents: Sequence[Incident],
    models: Sequence[Complexity],
    pillars: Sequence[Pillar],
    holders: Mapping[str, str],
) -> tuple[AgendaItem, ...]:
    """In the order of the meeting; decisions beyond the hour are agreed by reading.

    Args:
        open_actions: of last month, those neither done nor dropped; None: not recorded.
    """
    first = [
        _item(3, t("What the month says"), [findings.title], people.who("feedback_integrator", holders)),
        _actions(open_actions, holders),
    ]
    rest = [
        *_incidents(incidents, holders),
        *_models(models, holders),
        *_feedback(findings, holders),
        *_checklist(pillars, holders),
        _item(3, t("Owners and dates, read back"), [], people.who("feedback_integrator", holders)),
    ]
    left = HOUR - sum(item.minutes for item in (*first, *rest))
    items = [*first, *_decisions(findings, left), *rest]
    made, at = [], 0
    for item in items:
        made.append(AgendaItem(at=at, minutes=item.minutes, what=item.what, lines=item.lines, who=item.who))
        at += item.minutes
    return tuple(made)


def _item(minutes: int, what: str, lines: Sequence[str], who: str) -> AgendaItem:
    shown = list(lines[:MOST_LINES])
    if len(lines) > MOST_LINES:
        more = len(lines) - MOST_LINES
        shown.append(tn("and {n} more", "and {n} more", more, n=numbers.count(more)))
    return AgendaItem(at=0, minutes=minutes, what=what, lines=tuple(shown), who=who)


def _decisions(findings: Findings, minutes: int) -> list[AgendaItem]:
    """One item each while they fit, the most urgent first; two minutes are kept for the others."""
    asked = list(findings.decisions)
    made: list[AgendaItem] = []
    while asked:
        need = TOLD[asked[0].verdict].minutes
        last = len(asked) == 1
        if need > minutes - (0 if last else 2):
            break
        d = asked.pop(0)
        made.append(_item(need, d.action, [d.why], d.owner))
        minutes -= need
    if asked:
        made.append(
            _item(
                2,
                tn(
                    "{n} more decision, agreed by reading",
                    "{n} more decisions, agreed by reading",
                    len(asked),
                    n=numbers.count(len(asked)),
                ),
                [d.action for d in asked],
                numbers.joined(list(dict.fromkeys(d.owner for d in asked))[:3]),
            )
        )
    return made


def _actions(count: int | None, holders: Mapping[str, str]) -> AgendaItem:
    if count is None:
        text = t("Nothing is recorded of last month’s actions.")
    elif count:
        text = tn(
            "{n} action of last month is still open.",
            "{n} actions of last month are still open.",
            count,
            n=numbers.count(count),
        )
    else:
        text = t("None of last month’s actions is open.")
    minutes = 5 if count else 2
    return _item(minutes, t("Last month’s actions"), [text], people.who("feedback_integrator", holders))


def _incidents(found: Sequence[Incident], holders: Mapping[str, str]) -> list[AgendaItem]:
    if not found:
        return []
    lines = [t("{what} ({who})", what=i.what, who=i.who) for i in found]
    return [_item(min(10, 2 + 2 * len(found)), t("Incidents"), lines, people.who("operations_lead", holders))]


def _models(models: Sequence[Complexity], holders: Mapping[str, str]) -> list[AgendaItem]:
    if not models:
        return []
    out = [m for m in models if "missed" in (m.p95_state, m.errors_state, m.features_state)]
    lines = [t("{model} {version} is outside the budget", model=m.model_id, version=m.version) for m in out]
    who = people.who("data_science_lead", holders, "edge_systems_engineer")
    return [_item(6 if out else 3, t("Model complexity review"), lines, who)]


def _feedback(findings: Findings, holders: Mapping[str, str]) -> list[AgendaItem]:
    u = findings.feedback
    lines = [*(a.what for a in u.asks)]
    n = sum(q.mend for q in u.unused)
    if n:
        lines.insert(
            0,
            tn("{n} question was used by no decision", "{n} questions were used by no decision", n, n=numbers.count(n)),
        )
    who = people.who("feedback_collector", holders)
    return [_item(6, t("Feedback: what was used, what to ask next"), [u.headline, *lines], who)]


def _checklist(pillars: Sequence[Pillar], holders: Mapping[str, str]) -> list[AgendaItem]:
    lines = [line.what for pillar in pillars for line in pillar.lines if line.state == "needs a person"]
    if not lines:
        return []
    return [_item(5, t("Checklist lines that need a person"), lines, people.who("feedback_integrator", holders))]
