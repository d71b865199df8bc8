"""Somebody who answers twice has two answers, with a covariate as without one."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.test_pipe_designs import estimates, iso

BEGIN = datetime(2026, 3, 2, 8, tzinfo=UTC)
SETTINGS = """
[metrics.csat]
role = "goal"
headline = true
window_h = 72
"""
COVARIATE = 'covariate = {source = "engagement", name = "order_placed", window_days = 28}\n'


def world() -> Iterator[dict[str, Any]]:
    """Half of the new arm answers twice, and of those who order more, more are content; the versions do not differ."""
    rng = np.random.default_rng(16)
    yield {
        "type": "change", "change_id": "c", "model_id": "m", "from_version": "1", "to_version": "2", "kind": "canary",
        "occurred_at": iso(BEGIN - timedelta(hours=1)), "unit": "subject",
        "rollout_id": "r", "assignment": "random",
    }  # fmt: skip
    for i in range(800):
        at, new, orders = BEGIN + timedelta(minutes=17 * i), bool(rng.random() < 0.5), int(rng.poisson(1.5))
        who = {"customer_id": f"C-{i}"}
        shown = {"type": "exposure", "touchpoint": "app_card", "model_id": "m", **who}
        yield shown | {"exposure_id": f"b-{i}", "occurred_at": iso(at - timedelta(days=20)), "model_version": "1"}
        for j in range(orders):
            yield {
                "type": "engagement", "event_id": f"o-{i}-{j}", "name": "order_placed", "source": "app", **who,
                "occurred_at": iso(at - timedelta(days=3 + j)),
            }  # fmt: skip
        yield shown | {"exposure_id": f"x-{i}", "occurred_at": iso(at), "model_version": "2" if new else "1",
                       "arm": "canary" if new else "stable", "rollout_id": "r"}  # fmt: skip
        score = int(np.clip(2 + orders + rng.integers(-1, 2), 1, 5))
        for j in range(2 if new and i % 2 else 1):
            yield {
                "type": "response", "response_id": f"r-{i}-{j}", "survey_id": "s", "source": "app", **who,
                "respondent": "customer", "occurred_at": iso(at + timedelta(hours=2 + j)),
                "answers": [{"question": "csat", "kind": "csat", "value": score, "low": 1, "high": 5}],
            }  # fmt: skip


@pytest.mark.slow
def test_a_covariate_moves_the_interval_not_the_figure(tmp_path: Path) -> None:
    found = []
    for name, covariate in (("plain", ""), ("adjusted", COVARIATE)):
        (tmp_path / name).mkdir()
        rows = estimates(tmp_path / name, SETTINGS + covariate, world(), "2026-03")
        found.append([r for r in rows if r["metric"] == "csat"])
    rows = [{row["estimator"]: row for row in rows} for rows in found]
    assert [set(r) for r in rows] == [{"weighted", "ratio"}, {"weighted", "cuped"}]
    plain, adjusted = rows[0]["ratio"], rows[1]["cuped"]
    assert abs(adjusted["effect"] - plain["effect"]) < 2 * plain["se"]
    assert adjusted["se"] < 0.9 * plain["se"], "orders before say much of the score"
    assert adjusted["effect_low"] < 0 < adjusted["effect_high"]
