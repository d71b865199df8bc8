"""How does each pillar stand? A checklist filled from the data: what, target, this month's figure, state, owner.

``ok`` means that the target is met; ``needs a person`` that somebody has to look; ``not known`` that the data does not
tell.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from analysis import Analysis
from edgeloop.clock import DAY_US
from edgeloop.months import Month
from edgeloop.roles import Responsibility
from reports import complexity, numbers, people
from reports.asking import answered_of_met, higher
from reports.feedback import SIDES, side_title
from reports.findings import ChecklistLine, Complexity, Findings, Incident, LineState, Pillar, PillarKey
from reports.health import PARITY_TARGET
from reports.language import t, tn
from reports.trust import unmatched
from reports.voices import within

WORSE = 1.10
"""A figure without a target of its own needs a person from ten per cent above last month's."""


def titles() -> dict[PillarKey, str]:
    """What each is called."""
    return {
        "data": t("Data and integration health"),
        "model": t("Model and compute alignment"),
        "feedback": t("Measurement and feedback"),
    }


def data_pillar(
    frames: Mapping[str, pd.DataFrame],
    same: float | None,
    analysis: Analysis,
    incidents: Sequence[Incident],
    refused: Mapping[str, int],
    month: Month,
    holders: Mapping[str, str],
) -> Pillar:
    """Data and integration health; ``same`` is the parity of profiles at the month's end."""
    before = month.previous()
    now, then = (_sync(within(frames["telemetry"], m)) for m in (month, before))
    late, late_before = (_late(frames, m) for m in (month, before))
    lost, lost_before = (unmatched(within(frames["attributions"], m)) for m in (month, before))
    n_refused = sum(n for day, n in refused.items() if day.startswith(month.name))
    quiet = sum(i.kind == "quiet" for i in incidents)
    in_time = "needs a person" if any(i.kind == "sync" for i in incidents) else _not_worse(now, then)
    blocks = len({c.change_id for c in analysis.checks if c.state == "block"})
    lines = (
        _line(
            t("Messages reach the edge in time (p95)"),
            t("not slower than last month"),
            _with_before(_seconds(now), _seconds(then)),
            in_time,
            people.who("data_engineer", holders),
        ),
        _line(
            t("Profile parity, cloud and edge"),
            t("{share} at least", share=numbers.percent(PARITY_TARGET)),
            t("unknown") if same is None else numbers.percent(same, 2),
            _state(None if same is None else same >= PARITY_TARGET),
            people.who("crm_manager", holders, "it_lead"),
        ),
        _line(
            t("Events more than a day late"),
            t("not more than last month"),
            _with_before(_share(late), _share(late_before)),
            _state(None if not late[1] else not higher(late, late_before)),
            people.who("operations_lead", holders),
        ),
        _line(
            t("Sources that went quiet"),
            t("none"),
            numbers.count(quiet),
            _state(quiet == 0 if len(frames["exposures"]) else None),
            people.who("data_engineer", holders, "it_lead"),
        ),
        _line(
            t("Inputs that could not be taken"),
            t("none"),
            numbers.count(n_refused),
            _state(n_refused == 0),
            people.who("data_engineer", holders),
        ),
        _line(
            t("Outcomes tied to no model version"),
            t("not more than last month"),
            _with_before(_share(lost), _share(lost_before)),
            _state(None if not lost[1] else not higher(lost, lost_before)),
            people.who("data_engineer", holders),
        ),
        _line(
            t("Comparisons stopped by their data"),
            t("none"),
            numbers.count(blocks),
            _state(blocks == 0 if analysis.changes else None),
            people.who("data_engineer", holders, "data_analyst"),
        ),
    )
    return Pillar(key="data", title=titles()["data"], lines=lines)


def model_pillar(
    exposures: pd.DataFrame,
    analysis: Analysis,
    models: Sequence[Complexity],
    month: Month,
    holders: Mapping[str, str],
) -> Pillar:
    """Model and compute alignment."""
    energy, energy_before = (
        complexity.energy(within(exposures[["occurred_at", "energy_mj"]], m)) for m in (month, month.previous())
    )
    begun = [c for c in analysis.changes if month.start_us <= c.start_us < month.end_us]
    abrupt = [c for c in begun if c.kind in ("switch", "mixed")]
    rolled = [c for c in begun if c.kind == "rollback"]
    lines = (
        _of_versions(
            t("Latency p95 of each version"), t("500\N{NO-BREAK SPACE}ms at most"), [m.p95_state for m in models],
            people.who("product_manager", holders, "edge_systems_engineer"),
        ),
        _of_versions(
            t("Errors of each version"), t("1\N{NO-BREAK SPACE}% at most"), [m.errors_state for m in models],
            people.who("devops_lead", holders),
        ),
        _of_versions(
            t("Features of each version"), t("5 to 10"), [m.features_state for m in models],
            people.who("data_science_lead", holders, "product_manager"),
        ),
        _line(
            t("Energy per exposure"),
            t("not more than last month"),
            _with_before(complexity.millijoules(energy), complexity.millijoules(energy_before)),
            _not_worse(energy, energy_before),
            people.who("edge_systems_engineer", holders),
        ),
        _line(
            t("New versions brought in for everybody at once"),
            t("none: by canary or in stages"),
            t("{n} of {all}", n=numbers.count(len(abrupt)), all=numbers.count(len(begun))),
            _state(not abrupt if begun else None),
            people.who("devops_lead", holders),
        ),
        _line(
            t("Rollbacks, each explained"),
            t("explained"),
            numbers.count(len(rolled)),
            "needs a person" if rolled else "ok",
            people.who("devops_lead", holders),
        ),
    )  # fmt: skip
    return Pillar(key="model", title=titles()["model"], lines=lines)


def feedback_pillar(
    findings: Findings,
    analysis: Analysis,
    frames: Mapping[str, pd.DataFrame],
    responsibility: Responsibility,
    open_actions: int | None,
    month: Month,
    holders: Mapping[str, str],
) -> Pillar:
    """Measurement and feedback."""
    u, before = findings.feedback, month.previous()
    collected, joined, named = (sum(getattr(r, step) for r in u.sides) for step in ("collected", "joined", "named"))
    silent = [r.label for r in u.sides if not r.collected]
    rates = {
        side: tuple(answered_of_met(side, frames["answers"], frames["exposures"], m) for m in (month, before))
        for side in SIDES
    }
    known = {side: pair for side, pair in rates.items() if pair[0][1] and pair[1][1]}
    fell = [side for side, (now, then) in known.items() if higher(then, now)]
    asked = {e.change_id: e.verdict for e in analysis.estimates if e.verdict is not None}
    nobody = [c for c in analysis.changes if c.change_id in asked and not _named(c.owner, asked[c.change_id],
                                                                                 responsibility)]  # fmt: skip
    lines = (
        _line(
            t("Answers of customers and of delivery agents"),
            t("both sides are heard"),
            numbers.joined([f"{numbers.count(r.collected)} ({r.label})" for r in u.sides]),
            _state(not silent),
            people.who("feedback_collector", holders),
        ),
        _line(
            t("Response rate"),
            t("not lower than last month"),
            numbers.joined([f"{_share(now)} ({side_title(side)})" for side, (now, _) in known.items()]) or t("unknown"),
            _state(None if not known else not fell),
            people.who("feedback_collector", holders),
        ),
        _line(
            t("Answers tied to a version"),
            t("all"),
            t("{n} of {all}", n=numbers.count(joined), all=numbers.count(collected)),
            _state(None if not collected else joined == collected),
            people.who("data_analyst", holders),
        ),
        _line(
            t("Answers named in a decision"),
            t("some of every question on a scale"),
            t("{n} of {all}", n=numbers.count(named), all=numbers.count(collected)),
            _state(None if not collected else not any(q.mend for q in u.unused)),
            people.who("feedback_integrator", holders),
        ),
        _line(
            t("Questions worth asking next month"),
            t("none left out of the plan"),
            numbers.count(len(u.asks)),
            _state(not u.asks),
            people.who("feedback_collector", holders),
        ),
        _line(
            t("Decisions with a person who answers for them"),
            t("all"),
            t("{n} of {all}", n=numbers.count(len(asked) - len(nobody)), all=numbers.count(len(asked))),
            _state(not nobody if asked else None),
            people.who("feedback_integrator", holders),
        ),
        _line(
            t("Last month’s actions"),
            t("done, or dropped with a reason"),
            t("none recorded")
            if open_actions is None
            else tn("{n} still open", "{n} still open", open_actions, n=numbers.count(open_actions)),
            _state(None if open_actions is None else open_actions == 0),
            people.who("feedback_integrator", holders),
        ),
    )
    return Pillar(key="feedback", title=titles()["feedback"], lines=lines)


def _named(owner: str | None, verdict: str, responsibility: Responsibility) -> bool:
    """Whether a person is known: the change's own owner, or who holds the role that answers for such a decision."""
    return bool(owner) or responsibility.holder(responsibility.duty(verdict).accountable) is not None


def _line(what: str, target: str, figure: str, state: LineState, who: str) -> ChecklistLine:
    return ChecklistLine(what=what, target=target, figure=figure, state=state, who=who)


def _state(met: bool | None) -> LineState:
    if met is None:
        return "not known"
    return "ok" if met else "needs a person"


def _not_worse(now: float | None, then: float | None) -> LineState:
    return _state(None if now is None or then is None else now <= WORSE * then)


def _of_versions(what: str, target: str, states: Sequence[str], who: str) -> ChecklistLine:
    known = [state for state in states if state != "unknown"]
    met = sum(state == "met" for state in known)
    figure = t("{n} of {all} keep it", n=numbers.count(met), all=numbers.count(len(known))) if known else t("unknown")
    return _line(what, target, figure, _state(met == len(known) if known else None), who)


def _with_before(now: str, then: str) -> str:
    """One word where neither is known."""
    return (
        now
        if now == then and now in (t("unknown"), t("not told"))
        else t("{now}, last month {then}", now=now, then=then)
    )


def _share(part: tuple[int, int]) -> str:
    return numbers.percent(part[0] / part[1]) if part[1] else t("unknown")


def _seconds(value: float | None) -> str:
    return t("unknown") if value is None else f"{numbers.number(value, 1)}{numbers.NO_BREAK}s"


def _sync(telemetry: pd.DataFrame) -> float | None:
    """The p95 of seconds from sending to delivery."""
    known = telemetry[telemetry["message_sent_at"].notna() & telemetry["message_delivered_at"].notna()]
    if known.empty:
        return None
    seconds = (known["message_delivered_at"] - known["message_sent_at"]).to_numpy(dtype=np.float64) / 1e6
    return float(np.quantile(seconds, 0.95))


def _late(frames: Mapping[str, pd.DataFrame], month: Month) -> tuple[int, int]:
    """(events received more than a day after they happened, events)."""
    late = seen = 0
    for table in ("exposures", "responses", "engagement"):
        rows = within(frames[table][["occurred_at", "received_at"]], month)
        seen += len(rows)
        late += int((rows["received_at"] - rows["occurred_at"] > DAY_US).sum())
    return late, seen
