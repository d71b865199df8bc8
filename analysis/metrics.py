"""Which figures are asked for? The configured metrics that this month's data can answer, and the names left over.

What occurs in the data and belongs to no configured metric is watched: per engagement name the share of units with at
least one and, where values exist, the sum per unit; per survey question with numbers its mean.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from analysis.frames import ABSENT, Frames, Outcomes
from edgeloop.clock import DAY_US, HOUR_US
from edgeloop.metrics import Covariate, MetricSettings

ENGAGEMENT_WINDOW_US = 72 * HOUR_US
ANSWER_WINDOW_US = 14 * DAY_US

Source = Literal["share", "sum", "answer", "exposure"]
Respondent = Literal["customer", "agent"]
Role = Literal["goal", "guardrail", "watch"]
_ORDER = {"share": 0, "sum": 1, "answer": 2, "exposure": 3}
_ROLES = {"goal": 0, "guardrail": 1, "watch": 2}
_OF_A_KIND = "kind:"


@dataclass(frozen=True, slots=True)
class Metric:
    """``name`` as printed; ``key`` is the engagement name, the question or the field that it is made of."""

    name: str
    kind: Literal["proportion", "mean", "nps", "ratio", "quantile"]
    source: Source
    key: str
    window_us: int
    respondent: Respondent = "customer"
    currency: str | None = None
    """Of a sum: the one currency that counts (None: values without one)."""
    role: Role = "watch"
    headline: bool = False
    lower_is_better: bool = False
    after_us: int = 0
    at_least: int = 1
    per: str = ""
    """Of a ratio of engagement: the name that is counted below the line."""
    settings: MetricSettings = field(default=MetricSettings(), compare=False)

    @property
    def order(self) -> tuple[int, bool, bool, int, str]:
        """The headline, goals, guardrails, watched ones; customers before agents; by source and name."""
        return (
            _ROLES[self.role],
            not self.headline,
            self.respondent == "agent",
            _ORDER[self.source],
            self.name,
        )

    @property
    def binary(self) -> bool:
        """Of exposures: whether one has the mark or has it not, so that the figure is a share."""
        flag = self.key in ("error", "fallback") or self.settings.threshold is not None
        return self.source == "exposure" and (flag or self.kind == "quantile")

    @property
    def covariate(self) -> Covariate:
        """What is known of a unit before."""
        return self.settings.covariate


def resolve(frames: Frames, configured: Mapping[str, MetricSettings]) -> list[Metric]:
    """The metrics of which the data holds anything, in order.

    Where no configured goal occurs in the data, the names left over are the goals, the first of them the headline:
    somebody who has configured nothing gets verdicts too.
    """
    found = [m for name, settings in configured.items() if (m := _metric(frames, name, settings)) is not None]
    explaining = {name for s in configured.values() for name in s.regressors}
    taken = {(m.source, m.key) for m in found} | _shares_of(found) | _of_names(explaining)
    rest = _left_over(frames, taken)
    if not any(m.role == "goal" for m in found):
        rest = sorted((replace(m, role="goal") for m in rest), key=lambda m: m.order)
        rest[:1] = [replace(m, headline=True) for m in rest[:1]]
    return sorted(found + rest, key=lambda m: m.order)


def awaited(configured: Mapping[str, MetricSettings]) -> tuple[str, ...]:
    """The events that configured goals are made of: the headline's, or those of all of them."""
    goals = [s for s in configured.values() if s.role == "goal" and s.source == "engagement"]
    return tuple(sorted({s.event for s in [s for s in goals if s.headline] or goals}))


def _metric(frames: Frames, name: str, s: MetricSettings) -> Metric | None:
    role: Role = "watch" if s.role == "off" else s.role
    made = Metric(
        name,
        s.kind,
        "share",
        s.event,
        round(s.window_h * HOUR_US),
        role=role,
        headline=s.headline,
        lower_is_better=s.direction == "down",
        after_us=round(s.after_h * HOUR_US),
        at_least=s.at_least,
        per=s.per,
        settings=s,
    )
    if s.source == "exposures":
        values = frames.exposures.fields.get(s.event)
        occurs = values is not None and bool(np.any(~np.isnan(values)))
        return replace(made, source="exposure", window_us=0) if occurs else None
    if s.source == "engagement":
        if frames.engagement.span(s.event) == slice(0, 0):
            return None
        if s.kind == "proportion":
            return made
        return replace(made, source="sum", currency=_main_currency(frames.engagement, s.event))
    agent = s.source == "agent_answers"
    answers = frames.agent_answers if agent else frames.answers
    question = _question(answers, s.event)
    if question is None:
        return None
    kind: Literal["nps", "mean"] = "nps" if answers.kinds[question] == "nps" else "mean"
    return replace(made, kind=kind, source="answer", key=question, respondent="agent" if agent else "customer")


def _left_over(frames: Frames, taken: set[tuple[Source, str]]) -> list[Metric]:
    rest: list[Metric] = []
    for name in frames.engagement.name.occurring():
        if ("share", name) not in taken:
            rest.append(Metric(name, "proportion", "share", name, ENGAGEMENT_WINDOW_US))
        has_value = ~np.isnan(frames.engagement.value[frames.engagement.span(name)])
        if ("sum", name) not in taken and has_value.any():
            currency = _main_currency(frames.engagement, name)
            rest.append(Metric(f"{name}:value", "mean", "sum", name, ENGAGEMENT_WINDOW_US, currency=currency))
    whose: tuple[tuple[Respondent, Outcomes], ...] = (("customer", frames.answers), ("agent", frames.agent_answers))
    for respondent, answers in whose:
        for q in answers.name.occurring():
            if not any(m == ("answer", q) for m in taken):
                kind: Literal["nps", "mean"] = "nps" if answers.kinds[q] == "nps" else "mean"
                rest.append(Metric(q, kind, "answer", q, ANSWER_WINDOW_US, respondent))
    return rest


def _shares_of(found: list[Metric]) -> set[tuple[Source, str]]:
    """A name that is configured as money or as a share is not watched as the other as well."""
    return _of_names({m.key for m in found if m.source in ("share", "sum")})


def _of_names(keys: set[str]) -> set[tuple[Source, str]]:
    shares: set[tuple[Source, str]] = {("share", key) for key in keys}
    sums: set[tuple[Source, str]] = {("sum", key) for key in keys}
    return shares | sums


def _question(answers: Outcomes, event: str) -> str | None:
    """The question of that name, or the most answered of some kinds."""
    if not event.startswith(_OF_A_KIND):
        return event if answers.name.code(event) is not None else None
    kinds = event.removeprefix(_OF_A_KIND).split(",")
    counts = np.bincount(answers.name.codes[answers.name.codes != ABSENT], minlength=len(answers.name.labels))
    asked = [(-int(counts[i]), str(q)) for i, q in enumerate(answers.name.labels) if answers.kinds[str(q)] in kinds]
    return min(asked)[1] if asked else None


def _main_currency(outcomes: Outcomes, name: str) -> str | None:
    """The currency of most of a name's values (None: most have none)."""
    span = outcomes.span(name)
    priced = outcomes.currency.codes[span][~np.isnan(outcomes.value[span])]
    counts: dict[str | None, int] = {}
    for code, n in zip(*np.unique(priced, return_counts=True), strict=True):
        label = None if code == ABSENT else str(outcomes.currency.labels[int(code)])
        counts[label] = int(n)
    return min(counts, key=lambda c: (-counts[c], c or ""), default=None)
