"""Does the edge keep its budget? Latency, errors and features per model; parity, sync and rollbacks."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from analysis import LedgerChange
from edgeloop.clock import DAY_US
from edgeloop.months import Month
from reports import numbers
from reports.findings import Health, Line, Mark, ModelHealth, State, Week
from reports.voices import within

P95_TARGET_MS = 500.0
ERROR_TARGET = 0.01
PARITY_TARGET = 0.999
MOST_FEATURES = 10
NO_DATA = "no data"


def health(
    exposures: pd.DataFrame,
    profiles: pd.DataFrame,
    telemetry: pd.DataFrame,
    changes: Sequence[LedgerChange],
    month: Month,
) -> Health:
    """The section."""
    this = within(exposures, month)
    models = tuple(
        _model(str(model), exposures, changes, month) for model in sorted(this["model_id"].dropna().unique())
    )
    return Health(_summary(models), models, _lines(profiles, telemetry, changes, month))


def p95(exposures: pd.DataFrame) -> float | None:
    """The 95th percentile of inference time in ms."""
    known = exposures["latency_ms"].dropna()
    return float(np.quantile(known.to_numpy(dtype=np.float64), 0.95)) if len(known) else None


def parity(profiles: pd.DataFrame, end_us: int) -> float | None:
    """The share of customers held on both sides whose every edge site has the cloud's version at that moment."""
    known = profiles[profiles["occurred_at"] < end_us].sort_values(["occurred_at", "profile_id"], kind="stable")
    cloud = known[known["side"] == "cloud"].groupby("subject")["profile_version"].last()
    edge = known[known["side"] == "edge"].groupby(["subject", "site"], dropna=False)["profile_version"].last()
    both = edge.reset_index().join(cloud.rename("cloud"), on="subject", how="inner")
    if both.empty:
        return None
    same = (both["profile_version"] == both["cloud"]).groupby(both["subject"]).all()
    return float(same.mean())


def weeks(
    frame: pd.DataFrame, month: Month, figure: Callable[[pd.DataFrame], float | None], show: Callable[[float], str]
) -> tuple[Week, ...]:
    """A figure per seven days from the start of the month before; the last week ends with the month."""
    begin = month.previous().start_us
    made = []
    for start in range(begin, month.end_us, 7 * DAY_US):
        end = min(start + 7 * DAY_US, month.end_us)
        if end - start < 3 * DAY_US:  # a stump of a week would swing for want of data alone
            continue
        rows = frame[(frame["occurred_at"] >= start) & (frame["occurred_at"] < end)]
        value = figure(rows) if len(rows) else None
        made.append(
            Week(start, numbers.short_day(start, month.timezone), value, NO_DATA if value is None else show(value))
        )
    return tuple(made) if any(week.value is not None for week in made) else ()


def milliseconds(value: float) -> str:
    """``412 ms``."""
    return f"{numbers.count(value)}{numbers.NO_BREAK}ms"


def under(value: float | None, target: float) -> State:
    """Whether a figure keeps below its target."""
    if value is None:
        return "unknown"
    return "met" if value <= target else "missed"


def _model(model: str, exposures: pd.DataFrame, changes: Sequence[LedgerChange], month: Month) -> ModelHealth:
    own = exposures[exposures["model_id"] == model]
    this, before = within(own, month), within(own, month.previous())
    late, errors, features = p95(this), _errors(this), _features(this)
    late_before, errors_before = p95(before), _errors(before)
    return ModelHealth(
        model_id=model,
        exposures=numbers.count(len(this)),
        p95=NO_DATA if late is None else milliseconds(late),
        p95_before=NO_DATA if late_before is None else milliseconds(late_before),
        p95_state=under(late, P95_TARGET_MS),
        errors=NO_DATA if errors is None else numbers.percent(errors, 2),
        errors_before=NO_DATA if errors_before is None else numbers.percent(errors_before, 2),
        errors_state=under(errors, ERROR_TARGET),
        features="not told" if features is None else numbers.count(features),
        features_state=under(features, MOST_FEATURES),
        weeks=weeks(own, month, p95, milliseconds),
        marks=tuple(
            Mark(change.start_us, change.to_version)
            for change in changes
            if change.model_id == model and month.previous().start_us <= change.start_us < month.end_us
        ),
    )


def _errors(exposures: pd.DataFrame) -> float | None:
    return float(exposures["error"].notna().mean()) if len(exposures) else None


def _features(exposures: pd.DataFrame) -> float | None:
    known = exposures["features"].dropna()
    return float(known.max()) if len(known) else None


def _summary(models: Sequence[ModelHealth]) -> str:
    if not models:
        return "No model was asked for anything this month."
    late = [m.model_id for m in models if m.p95_state == "missed"]
    failing = [m.model_id for m in models if m.errors_state == "missed"]
    heavy = [m.model_id for m in models if m.features_state == "missed"]
    parts = []
    if late:
        parts.append(f"{numbers.joined(late)} slower than {milliseconds(P95_TARGET_MS)}")
    if failing:
        parts.append(f"{numbers.joined(failing)} above {numbers.percent(ERROR_TARGET, 0)} errors")
    if heavy:
        parts.append(f"{numbers.joined(heavy)} with more than {MOST_FEATURES} features")
    return (
        f"Outside the budget: {'; '.join(parts)}." if parts else "Every model that told its figures keeps its budget."
    )


def _lines(
    profiles: pd.DataFrame, telemetry: pd.DataFrame, changes: Sequence[LedgerChange], month: Month
) -> tuple[Line, ...]:
    share = parity(profiles, month.end_us)
    target = numbers.percent(PARITY_TARGET)
    parity_text = (
        "Unknown: no profile is known on both sides, cloud and edge."
        if share is None
        else f"{numbers.percent(share, 2)} of customers have the same profile version in the cloud and at the edge "
        f"(target {target})."
    )
    rolled = [c for c in changes if c.kind == "rollback" and month.start_us <= c.start_us < month.end_us]
    titles = numbers.joined([f"“{c.title}”" for c in rolled])
    return (
        Line("Profile parity", parity_text),
        Line("Sync delay", _sync(within(telemetry, month))),
        Line("Rollbacks", f"{len(rolled)} this month: {titles}." if rolled else "None declared this month."),
    )


def _sync(telemetry: pd.DataFrame) -> str:
    known = telemetry[telemetry["message_sent_at"].notna() & telemetry["message_delivered_at"].notna()]
    if known.empty:
        return "Unknown: no edge site told when a message was sent and delivered."
    seconds = (known["message_delivered_at"] - known["message_sent_at"]).to_numpy(dtype=np.float64) / 1e6
    return (
        f"95 of 100 messages reached the edge within {numbers.number(float(np.quantile(seconds, 0.95)), 1)} s "
        f"({numbers.count(len(known))} messages)."
    )
