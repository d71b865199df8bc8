"""What does each version cost on the device? Features, latency, errors and energy, against budget and last month."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from edgeloop.months import Month
from reports import foreign, numbers
from reports.findings import Complexity
from reports.health import ERROR_TARGET, MOST_FEATURES, P95_TARGET_MS, milliseconds, p95, under
from reports.language import t, tn
from reports.voices import within

MOST_VERSIONS = 20


def complexity(exposures: pd.DataFrame, month: Month) -> tuple[Complexity, ...]:
    """Every version that was asked this month, by model; of more than 20 those asked most."""
    this, before = within(exposures, month), within(exposures, month.previous())
    keys = ["model_id", "model_version"]
    asked = this.groupby(keys, observed=True, sort=True).size()
    kept = asked.sort_values(ascending=False, kind="stable").head(MOST_VERSIONS).index
    old = dict(iter(before.groupby(keys, observed=True)))
    made = []
    for (model, version), rows in this.groupby(keys, observed=True, sort=True):
        if (model, version) in kept:
            made.append(_version(str(model), str(version), rows, old.get((model, version))))
    return tuple(sorted(made, key=lambda m: (m.model_id, m.version)))


def summary(models: Sequence[Complexity]) -> str:
    """How many versions are outside the budget."""
    if not models:
        return t("No model was asked for anything this month.")
    out = sum("missed" in (m.p95_state, m.errors_state, m.features_state) for m in models)
    if not out:
        return t("Every version that told its figures keeps the budget.")
    return tn(
        "{n} of {all} versions is outside the budget of 500\N{NO-BREAK SPACE}ms, "
        "1\N{NO-BREAK SPACE}% errors and 10 features.",
        "{n} of {all} versions are outside the budget of 500\N{NO-BREAK SPACE}ms, "
        "1\N{NO-BREAK SPACE}% errors and 10 features.",
        out,
        n=numbers.count(out),
        all=numbers.count(len(models)),
    )


def energy(exposures: pd.DataFrame) -> float | None:
    """Millijoules per exposure that told them."""
    known = exposures["energy_mj"].dropna()
    return float(known.mean()) if len(known) else None


def errors(exposures: pd.DataFrame) -> float | None:
    """The share of exposures that failed."""
    return float(exposures["error"].notna().mean()) if len(exposures) else None


def features(exposures: pd.DataFrame) -> float | None:
    """The most features that a request read."""
    known = exposures["features"].dropna()
    return float(known.max()) if len(known) else None


def millijoules(value: float | None) -> str:
    """``3.2 mJ``."""
    return t("not told") if value is None else f"{numbers.number(value, 1)}{numbers.NO_BREAK}mJ"


def _version(model: str, version: str, rows: pd.DataFrame, before: pd.DataFrame | None) -> Complexity:
    late, failed, read = p95(rows), errors(rows), features(rows)
    known = rows["latency_ms"].dropna()
    return Complexity(
        model_id=foreign.name(model),
        version=foreign.name(version),
        exposures=numbers.count(len(rows)),
        new=before is None,
        features=t("not told") if read is None else numbers.count(read),
        features_state=under(read, MOST_FEATURES),
        p50=milliseconds(float(np.median(known.to_numpy(dtype=np.float64)))) if len(known) else t("not told"),
        p95=t("not told") if late is None else milliseconds(late),
        p95_before=_before(before, lambda x: None if (v := p95(x)) is None else milliseconds(v)),
        p95_state=under(late, P95_TARGET_MS),
        errors=t("not told") if failed is None else numbers.percent(failed, 2),
        errors_before=_before(before, lambda x: None if (v := errors(x)) is None else numbers.percent(v, 2)),
        errors_state=under(failed, ERROR_TARGET),
        energy=millijoules(energy(rows)),
        energy_before=_before(before, lambda x: None if (v := energy(x)) is None else millijoules(v)),
    )


def _before(rows: pd.DataFrame | None, show: Callable[[pd.DataFrame], str | None]) -> str:
    return (show(rows) or "") if rows is not None else ""
