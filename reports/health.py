"""Does the edge keep its budget? Latency, errors and features per model; parity, sync and rollbacks."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from analysis import LedgerChange
from edgeloop.clock import DAY_US
from edgeloop.months import Month
from reports import foreign, numbers
from reports.findings import Health, Line, Mark, ModelHealth, State, Week
from reports.language import t, tn
from reports.voices import within

P95_TARGET_MS = 500.0
ERROR_TARGET = 0.01
PARITY_TARGET = 0.999
MOST_FEATURES = 10
MOST_MODELS = 20
MONTHS_OF_A_LINE = 6


def health(
    exposures: pd.DataFrame,
    same: float | None,
    telemetry: pd.DataFrame,
    changes: Sequence[LedgerChange],
    month: Month,
) -> Health:
    """The section; ``same`` is the parity of profiles at the month's end."""
    recent = exposures.loc[
        exposures["occurred_at"] >= month.previous().start_us,
        ["occurred_at", "model_id", "latency_ms", "error", "features"],
    ]
    counts = within(recent[["occurred_at", "model_id"]], month).groupby("model_id", observed=True).size()
    used = sorted(counts.index, key=lambda model: (-int(counts[model]), str(model)))[:MOST_MODELS]
    models = tuple(_model(str(model), recent[recent["model_id"] == model], changes, month) for model in sorted(used))
    this = within(recent, month)
    return Health(_summary(models, p95(this), slow_models(this)), models, _lines(same, telemetry, changes, month))


def p95(exposures: pd.DataFrame) -> float | None:
    """The 95th percentile of inference time in ms."""
    known = exposures["latency_ms"].dropna()
    return float(np.quantile(known.to_numpy(dtype=np.float64), 0.95)) if len(known) else None


def slow_models(exposures: pd.DataFrame) -> list[tuple[str, float]]:
    """(model, p95 in ms) of those that miss the target, the slowest first."""
    known = exposures.loc[exposures["latency_ms"].notna(), ["model_id", "latency_ms"]]
    found = [(str(model), p95(own)) for model, own in known.groupby("model_id", observed=True)]
    slow = [(model, late) for model, late in found if late is not None and under(late, P95_TARGET_MS) == "missed"]
    return sorted(slow, key=lambda pair: (-pair[1], pair[0]))


def told_slow(slow: Sequence[tuple[str, float]], most: int = MOST_MODELS) -> str:
    """Models with their figures, joined: ``eta (p95 554 ms)``."""
    told = [
        t("{model} (p95\N{NO-BREAK SPACE}{value})", model=foreign.name(m), value=milliseconds(late))
        for m, late in slow[:most]
    ]
    rest = len(slow) - most
    if rest > 0:
        told.append(tn("{n} more", "{n} more", rest, n=numbers.count(rest)))
    return numbers.joined(told)


def parity(profiles: pd.DataFrame, end_us: int) -> float | None:
    """The share of customers held on both sides whose every edge site has the cloud's version at that moment."""
    known = _in_order(profiles[profiles["occurred_at"] < end_us])
    cloud = known[known["side"] == "cloud"].groupby("subject", observed=True)["profile_version"].last()
    edge = (
        known[known["side"] == "edge"]
        .groupby(["subject", "site"], dropna=False, observed=True)["profile_version"]
        .last()
    )
    both = edge.reset_index().join(cloud.rename("cloud"), on="subject", how="inner")
    if both.empty:
        return None
    same = (both["profile_version"] == both["cloud"]).groupby(both["subject"]).all()
    return float(same.mean())


def _in_order(profiles: pd.DataFrame) -> pd.DataFrame:
    """By time and id, as a freeze has them."""
    at, ids = profiles["occurred_at"].to_numpy(), profiles["profile_id"]
    tied = np.flatnonzero(at[1:] == at[:-1])
    if (at[1:] >= at[:-1]).all() and (ids.iloc[tied].to_numpy() <= ids.iloc[tied + 1].to_numpy()).all():
        return profiles
    return profiles.sort_values(["occurred_at", "profile_id"], kind="stable")


def line_begins(month: Month, since_us: int) -> int:
    """Where lines begin: with the first whole month that a freeze holds, of the last six."""
    first = month.previous()
    for _ in range(MONTHS_OF_A_LINE - 2):
        if first.previous().start_us < since_us:
            break
        first = first.previous()
    return first.start_us


def weeks(
    frame: pd.DataFrame,
    month: Month,
    figure: Callable[[pd.DataFrame], float | None],
    show: Callable[[float], str],
    begin: int | None = None,
) -> tuple[Week, ...]:
    """A figure per seven days from ``begin`` (the start of the month before); the last week ends with the month."""
    begin = month.previous().start_us if begin is None else begin
    made = []
    for start in range(begin, month.end_us, 7 * DAY_US):
        end = min(start + 7 * DAY_US, month.end_us)
        if end - start < 3 * DAY_US:  # a stump of a week would swing for want of data alone
            continue
        rows = frame[(frame["occurred_at"] >= start) & (frame["occurred_at"] < end)]
        value = figure(rows) if len(rows) else None
        made.append(
            Week(start, numbers.short_day(start, month.timezone), value, t("no data") if value is None else show(value))
        )
    known = [i for i, week in enumerate(made) if week.value is not None]
    return tuple(made[known[0] :]) if known else ()


def milliseconds(value: float) -> str:
    """``412 ms``."""
    return t("{number}\N{NO-BREAK SPACE}ms", number=numbers.count(value))


def under(value: float | None, target: float) -> State:
    """Whether a figure keeps below its target."""
    if value is None:
        return "unknown"
    return "met" if value <= target else "missed"


def _model(model: str, own: pd.DataFrame, changes: Sequence[LedgerChange], month: Month) -> ModelHealth:
    this, before = within(own, month), within(own, month.previous())
    late, errors, features = p95(this), _errors(this), _features(this)
    late_before, errors_before = p95(before), _errors(before)
    return ModelHealth(
        model_id=foreign.name(model),
        exposures=numbers.count(len(this)),
        p95=t("no data") if late is None else milliseconds(late),
        p95_before=t("no data") if late_before is None else milliseconds(late_before),
        p95_state=under(late, P95_TARGET_MS),
        errors=t("no data") if errors is None else numbers.percent(errors, 2),
        errors_before=t("no data") if errors_before is None else numbers.percent(errors_before, 2),
        errors_state=under(errors, ERROR_TARGET),
        features=t("not told") if features is None else numbers.count(features),
        features_state=under(features, MOST_FEATURES),
        weeks=weeks(own, month, p95, milliseconds),
        marks=tuple(
            Mark(change.start_us, foreign.name(change.to_version, 16))
            for change in changes
            if change.model_id == model and month.previous().start_us <= change.start_us < month.end_us
        ),
    )


def _errors(exposures: pd.DataFrame) -> float | None:
    return float(exposures["error"].notna().mean()) if len(exposures) else None


def _features(exposures: pd.DataFrame) -> float | None:
    known = exposures["features"].dropna()
    return float(known.max()) if len(known) else None


def _summary(models: Sequence[ModelHealth], overall: float | None, slow: Sequence[tuple[str, float]]) -> str:
    if not models:
        return t("No model was asked for anything this month.")
    failing = numbers.joined([m.model_id for m in models if m.errors_state == "missed"])
    heavy = numbers.joined([m.model_id for m in models if m.features_state == "missed"])
    said, parts = [], []
    if slow and overall is not None:
        told = {"overall": milliseconds(overall), "target": milliseconds(P95_TARGET_MS), "models": told_slow(slow)}
        if under(overall, P95_TARGET_MS) == "met":
            said.append(
                t("Latency is met overall (p95 {overall} of {target} at most), but missed by {models}.", **told)
            )
        else:
            said.append(t("Latency is missed overall (p95 {overall} of {target} at most), and by {models}.", **told))
    if failing:
        parts.append(t("{models} above {target} errors", models=failing, target=numbers.percent(ERROR_TARGET, 0)))
    if heavy:
        parts.append(t("{models} with more than {n} features", models=heavy, n=numbers.count(MOST_FEATURES)))
    if parts:
        said.append(t("Outside the budget: {what}.", what="; ".join(parts)))
    return " ".join(said) or t("Every model that told its figures keeps its budget.")


def _lines(
    share: float | None, telemetry: pd.DataFrame, changes: Sequence[LedgerChange], month: Month
) -> tuple[Line, ...]:
    if share is None:
        same = t("Unknown: no profile is known on both sides, cloud and edge.")
    else:
        same = t(
            "{share} of customers have the same profile version in the cloud and at the edge (target {target}).",
            share=numbers.percent(share, 2),
            target=numbers.percent(PARITY_TARGET),
        )
    rolled = [c for c in changes if c.kind == "rollback" and month.start_us <= c.start_us < month.end_us]
    back = t("None declared this month.")
    if rolled:
        titles = numbers.joined([foreign.quoted(c.title) for c in rolled])
        n = len(rolled)
        back = tn("{n} this month: {titles}.", "{n} this month: {titles}.", n, n=numbers.count(n), titles=titles)
    return (
        Line(t("Profile parity"), same),
        Line(t("Sync delay"), _sync(within(telemetry, month))),
        Line(t("Rollbacks"), back),
    )


def _sync(telemetry: pd.DataFrame) -> str:
    known = telemetry[telemetry["message_sent_at"].notna() & telemetry["message_delivered_at"].notna()]
    if known.empty:
        return t("Unknown: no edge site told when a message was sent and delivered.")
    seconds = (known["message_delivered_at"] - known["message_sent_at"]).to_numpy(dtype=np.float64) / 1e6
    n = len(known)
    return tn(
        "95 of 100 messages reached the edge within {seconds} s ({n} message).",
        "95 of 100 messages reached the edge within {seconds} s ({n} messages).",
        n,
        seconds=numbers.number(float(np.quantile(seconds, 0.95)), 1),
        n=numbers.count(n),
    )
