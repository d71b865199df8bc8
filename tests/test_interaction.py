"""Changes on the same people: the saturated model, independence of the draws, and what goes into the checks."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm

from analysis import Analysis, analyse
from analysis.estimators.interaction import independence, joint_model
from analysis.moments import cells
from edgeloop.clock import DAY_US, HOUR_US
from edgeloop.metrics import MetricSettings
from edgeloop.store.facts import DrawnTogether
from tests.frames import COLUMNS, LATER, MARCH, at, frames

ORDERS = {"orders": MetricSettings(role="goal", headline=True, event="order")}


def test_the_saturated_model_is_ols_with_hc2() -> None:
    rng = np.random.default_rng(1)
    a, b = (rng.random(2_000) < 0.4).astype(int), (rng.random(2_000) < 0.6).astype(int)
    y = rng.gamma(1 + a + 0.5 * b + 0.7 * a * b)
    model = joint_model((cells(y, y, 2 * a + b, 4)[:2], cells(y, y, 2 * a + b, 4)[2:]))
    fit = sm.OLS(y, np.column_stack([np.ones_like(y), a, b, a * b])).fit(cov_type="HC2")
    assert model is not None
    for term, i in ((model.a, 1), (model.b, 2), (model.both, 3)):
        assert term.effect == pytest.approx(fit.params[i], rel=1e-9)
        assert term.se == pytest.approx(fit.bse[i], rel=1e-9)
        assert term.p == pytest.approx(fit.pvalues[i], rel=1e-7)
        assert term.interval() == pytest.approx(tuple(fit.conf_int()[i]), rel=1e-7)


def test_a_cell_with_few_units_has_no_model() -> None:
    cell = np.repeat([0, 1, 2, 3], [500, 500, 500, 99])
    y = np.arange(len(cell), dtype=float)
    assert joint_model((cells(y, y, cell, 4)[:2], cells(y, y, cell, 4)[2:])) is None


def test_independence_is_pearsons() -> None:
    from scipy.stats import chi2_contingency

    counts = np.array([[120, 80], [90, 130]])
    assert independence(counts) == pytest.approx(chi2_contingency(counts, correction=False).pvalue)
    assert independence(np.array([[5, 0], [7, 0]])) is None


def two_changes(seed: int, *, both: float = 0.0, same_draw: float = 0.5, n: int = 6_000) -> dict[str, pd.DataFrame]:
    """``eta`` and ``slot`` on the same people; each adds 5 points to an order, both together ``both`` more.

    ``same_draw`` have the same arm in both: 0.5 where the two were drawn independently.
    """
    rng = np.random.default_rng(seed)
    a = rng.random(n) < 0.5
    b = np.where(rng.random(n) < same_draw, a, ~a)
    subject = np.array([f"s{i:05d}" for i in range(n)])
    entry = {m: at(0) + (rng.random(n) * 12 * DAY_US).astype(np.int64) for m in ("eta", "slot")}
    exposures = [
        pd.DataFrame({"exposure_id": [f"{model}{s}" for s in subject], "subject": subject, "occurred_at": entry[model],
                      "anonymous": 0, "model_id": model, "model_version": np.where(new, "v2", "v1"),
                      "arm": np.where(new, "canary", "stable"), "rollout_id": f"{model}-r"})
        for model, new in (("eta", a), ("slot", b))
    ]  # fmt: skip
    did = rng.random(n) < 0.2 + 0.05 * a + 0.05 * b + both * (a & b)
    events = pd.DataFrame({"event_id": subject, "subject": subject, "name": "order", "anonymous": 0,
                           "occurred_at": np.maximum(entry["eta"], entry["slot"]) + HOUR_US})[did]  # fmt: skip
    tables = frames() | {"exposures": pd.concat(exposures, ignore_index=True), "engagement": events}
    return {name: frame.reindex(columns=list(COLUMNS[name])) for name, frame in tables.items()}


def run(tables: dict[str, pd.DataFrame]) -> Analysis:
    return analyse(tables, MARCH, freeze_id="f", as_of_us=LATER, metrics=ORDERS)


def checks(found: Analysis, begin: str) -> dict[tuple[str, str], tuple[str, float | None]]:
    return {(c.change_id, c.check): (c.state, c.value) for c in found.checks if c.check.startswith(begin)}


ETA, SLOT = "auto:eta/eta-r/v2", "auto:slot/slot-r/v2"


def test_an_interaction_is_found_from_both_sides() -> None:
    found = checks(run(two_changes(1, both=0.12)), "interaction:")
    assert set(found) == {(ETA, f"interaction:orders:{SLOT}"), (SLOT, f"interaction:orders:{ETA}")}
    for state, value in found.values():
        assert state == "warn"
        assert value == pytest.approx(0.12, abs=0.05)


def test_changes_that_only_add_up_are_seldom_warned_of() -> None:
    warned = [checks(run(two_changes(seed, n=3_000)), "interaction:")[ETA, f"interaction:orders:{SLOT}"][0]
              for seed in range(40)]  # fmt: skip
    assert warned.count("warn") <= 5


def test_draws_that_go_together_are_warned_of() -> None:
    assert {s for s, _ in checks(run(two_changes(2, same_draw=0.56)), "overlap:").values()} == {"warn"}
    free = checks(run(two_changes(2)), "overlap:")
    assert {s for s, _ in free.values()} == {"ok"}
    assert {v for _, v in free.values()} == {6_000.0}


@pytest.mark.parametrize("same_draw", [0.8, 1.0, 0.1])
def test_draws_that_cannot_be_told_apart_are_no_verdict(same_draw: float) -> None:
    """With one hash for both each effect is the sum of both, and the worse of two is promoted with the better."""
    found = run(two_changes(2, same_draw=same_draw))
    assert {s for s, _ in checks(found, "overlap:").values()} == {"block"}
    assert {r.verdict for r in found.rulings.values()} == {"repair the data first"}
    for change, other in ((ETA, SLOT), (SLOT, ETA)):
        (fact,) = [f for f in found.rulings[change].because if isinstance(f, DrawnTogether)]
        assert fact.change == other
        assert fact.share == pytest.approx(2 * same_draw - 1, abs=0.05)


def test_two_draws_on_partly_the_same_people_carry_less() -> None:
    """Of 6,000 people a sixth met both: what either figure carries of the other is a tenth, which is a warning."""
    tables = two_changes(2, same_draw=0.8)
    other = (tables["exposures"]["model_id"] == "slot") & (tables["exposures"]["subject"] > "s01000")
    tables["exposures"].loc[other, "subject"] = "t" + tables["exposures"].loc[other, "subject"]
    assert {s for s, _ in checks(run(tables), "overlap:").values()} == {"warn"}


def test_changes_that_share_nobody_have_no_check() -> None:
    tables = two_changes(3)
    other = tables["exposures"]["model_id"] == "slot"
    tables["exposures"].loc[other, "subject"] = "t" + tables["exposures"].loc[other, "subject"]
    assert checks(run(tables), "overlap:") == {}
