"""Metrics as configuration: ``[metrics.NAME]`` of ``edgeloop.toml`` over a pack for last-mile delivery.

A section changes the keys it names of the pack's metric of that name, or adds a metric; ``role = "off"`` removes one.
What a metric means for estimates and verdicts is in docs/meaning.md, "Metrics".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from edgeloop.misspelt import meant, misspelt

Role = Literal["goal", "guardrail", "watch", "off"]
Source = Literal["engagement", "answers", "agent_answers", "exposures"]
MetricKind = Literal["proportion", "mean", "ratio", "quantile", "nps"]
Direction = Literal["up", "down"]


HOLIDAYS = "holidays"
"""The regressor of the settings' own dates."""
MOST_REGRESSORS = 6
"""More are not told apart by the some hundred days before a switch."""


class Covariate(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, frozen=True):
    """What was known of a unit before it met the change (CUPED): the same metric, unless a name says otherwise."""

    source: Literal["same", "engagement", "exposure", "profile", "none"] = "same"
    name: str = ""
    """Engagement name (its values, or how often where it has none), or a numeric field of exposures or profiles."""
    window_days: Annotated[float, Meta(gt=0, le=90)] = 14.0
    """Up to the unit's first exposure to the change."""


class MetricSettings(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, frozen=True):
    """One metric."""

    role: Role = "watch"
    """``goal``: a change is made for it. ``guardrail``: must not get worse. ``watch``: shown, decides nothing."""
    headline: bool = False
    """The one goal that the month bridge explains and the report begins with."""
    source: Source = "engagement"
    event: str = ""
    """Engagement name; ``SURVEY/QUESTION``, or ``kind:csat,rating`` for the most answered of these kinds; or a field of
    exposures (``latency_ms``, ``error``, ``fallback``, ``energy_mj``)."""
    kind: MetricKind = "proportion"
    """``proportion``: units with at least one; ``mean``: sum per unit, or mean of answers; ``ratio``: share of
    exposures, or Σ values / Σ events of ``per``; ``quantile``: of exposures; ``nps``: promoters less detractors."""
    per: str = ""
    """Of a ratio of engagement: the name whose events are the denominator, as ``visit`` in spend per visit."""
    window_h: Annotated[float, Meta(gt=0, le=24 * 90)] = 72.0
    """From the entry; answers have 14 days unless said otherwise."""
    after_h: Annotated[float, Meta(ge=0)] = 0.0
    """Where the window begins: what comes sooner does not count."""
    at_least: Annotated[int, Meta(ge=1)] = 1
    """Of a proportion: how many events make one."""
    threshold: float | None = None
    """Of a ratio: the share of exposures with more than this; without one, of those where the field is set."""
    quantile: Annotated[float, Meta(gt=0, lt=1)] = 0.95
    direction: Direction = "up"
    """Which way is better."""
    practical_share: Annotated[float, Meta(gt=0)] | None = None
    """The smallest effect worth acting on, as a share of control's figure (default 0.02 for proportions and money)."""
    practical_size: Annotated[float, Meta(gt=0)] | None = None
    """The same in the metric's own unit."""
    margin: Annotated[float, Meta(gt=0)] | None = None
    """The harm that a guardrail forbids, in the metric's own unit."""
    margin_share: Annotated[float, Meta(gt=0)] | None = None
    """The same as a share of control's figure."""
    worth: float | None = None
    """Money that one unit of the metric is worth, in the company's currency."""
    covariate: Covariate = Covariate()
    regressors: tuple[str, ...] = ()
    """Of a full switch: daily series that explain the metric and that no version can move. ``holidays`` (the setting of
    that name), or an engagement name: the mean of its values of the day, its number a day where it has none."""
    cap: Annotated[float, Meta(gt=0.5, lt=1)] | None = None
    """Quantile of the units' non-zero sums of the 28 days before the change, above which sums are cut."""


def _answers(kinds: str, **more: Any) -> MetricSettings:
    settings: dict[str, Any] = {"source": "answers", "event": f"kind:{kinds}", "kind": "mean", "window_h": 336.0}
    return MetricSettings(**(settings | more))


PACK: dict[str, MetricSettings] = {
    "conversion": MetricSettings(role="goal", headline=True, event="order_placed"),
    "slot_rebooked": MetricSettings(role="goal", event="slot_rebooked"),
    "complaint": MetricSettings(role="goal", event="complaint", direction="down"),
    "revenue": MetricSettings(role="goal", event="order_placed", kind="mean"),
    "repeat_order": MetricSettings(role="goal", event="order_placed", window_h=672.0, at_least=2),
    "csat": _answers("csat,rating", role="goal", margin=0.1),
    "nps": _answers("nps", role="goal", kind="nps", margin=3.0),
    "ces": _answers("ces", margin=0.1),
    "agent_rating": _answers("rating", source="agent_answers", role="guardrail", margin=0.1),
    "card_opened": MetricSettings(event="card_opened"),
    "latency_p95": MetricSettings(
        role="guardrail", source="exposures", event="latency_ms", kind="quantile", direction="down", margin=50.0
    ),
    "over_budget": MetricSettings(
        role="guardrail", source="exposures", event="latency_ms", kind="ratio", threshold=300.0, direction="down",
        margin=0.01,
    ),
    "error_rate": MetricSettings(
        role="guardrail", source="exposures", event="error", kind="ratio", direction="down", margin=0.005
    ),
}  # fmt: skip
"""For last-mile delivery; a metric of which a month holds nothing has no rows."""


def metrics_in_force(own: Mapping[str, Mapping[str, Any]]) -> dict[str, MetricSettings]:
    """The pack with a company's own sections over it, without those that are off.

    Raises:
        ValueError: a section that is wrong, or not exactly one headline, by name.
    """
    for name, section in own.items():
        if not isinstance(section, Mapping):
            raise ValueError(
                f"metrics.{name}: a metric is a section of its own, [metrics.NAME], and says its direction itself"
            )
    merged = {name: msgspec.to_builtins(metric) for name, metric in PACK.items()}
    chosen = [name for name, section in own.items() if section.get("headline")]
    if chosen:  # the company's headline takes the place of the pack's
        for section in merged.values():
            section["headline"] = False
    for name, section in own.items():
        merged[name] = {**merged.get(name, _of_source(section)), **section}
    found: dict[str, MetricSettings] = {}
    for name, section in merged.items():
        try:
            metric = msgspec.convert(section, MetricSettings)
        except msgspec.ValidationError as error:
            raise ValueError(
                misspelt(section, MetricSettings, f"metrics.{name}") or f"[metrics.{name}]: {error}"
            ) from error
        problem = _problem(metric)
        if problem and name in own and "event" not in section:
            others = [other for other in merged if other != name]
            problem += f". [metrics.{name}] is a new metric ({meant(name, others)})"
        if problem:
            raise ValueError(f"[metrics.{name}]: {problem}")
        if metric.role != "off":
            found[name] = metric
    headlines = [name for name, metric in found.items() if metric.headline]
    if len(headlines) != 1:
        raise ValueError(
            f"[metrics]: {' and '.join(headlines) or 'no goal'} {'are' if headlines else 'is'} the headline; exactly "
            "one goal has headline = true"
        )
    if found[headlines[0]].role != "goal":
        raise ValueError(f"[metrics.{headlines[0]}]: the headline must be a goal")
    return found


def _of_source(section: Mapping[str, Any]) -> dict[str, Any]:
    """What a new metric need not say: answers have a mean and 14 days."""
    return {"kind": "mean", "window_h": 336.0} if section.get("source") in ("answers", "agent_answers") else {}


def _problem(metric: MetricSettings) -> str | None:
    if not metric.event:
        return 'event is missing: an engagement name, "SURVEY/QUESTION", or a field of exposures'
    of_exposures = metric.source == "exposures"
    if of_exposures != (metric.kind in ("ratio", "quantile")) and not (metric.per and metric.kind == "ratio"):
        hint = '; a ratio of engagement needs per = "NAME"' if metric.kind == "ratio" else ""
        return f"kind {metric.kind!r} does not go with source {metric.source!r}{hint}"
    if metric.per and (metric.kind, metric.source) != ("ratio", "engagement"):
        return 'per belongs to kind = "ratio" with source = "engagement"'
    if metric.source in ("answers", "agent_answers") and metric.kind == "proportion":
        return 'answers have kind "mean" or "nps"'
    if metric.source == "engagement" and metric.kind == "nps":
        return 'kind "nps" is for answers'
    if metric.after_h >= metric.window_h:
        return "after_h must be smaller than window_h"
    if len(set(metric.regressors)) < len(metric.regressors) or not all(metric.regressors):
        return "regressors: each is named once"
    if len(metric.regressors) > MOST_REGRESSORS:
        return f"regressors: at most {MOST_REGRESSORS}"
    if metric.event in metric.regressors:
        return "regressors: a metric does not explain itself"
    if metric.covariate.source not in ("same", "none") and not metric.covariate.name:
        return "covariate.name is missing"
    if metric.role == "guardrail" and metric.margin is None and metric.margin_share is None:
        return "a guardrail needs margin or margin_share: the harm that it forbids"
    return None
