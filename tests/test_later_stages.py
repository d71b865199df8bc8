"""What breaks in a later stage of a ramp is seen, although the fuller stage before it went well."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.test_pipe_designs import estimates, iso

BEGIN, SECOND = datetime(2026, 3, 2, tzinfo=UTC), datetime(2026, 3, 16, tzinfo=UTC)
A_DAY = 120
pytestmark = pytest.mark.slow


def world(*, errors: float = 0.0, orders: float = 0.45) -> Iterator[dict[str, Any]]:
    """Half get the new version, which sells more; from 16 March nine in ten, with these errors and orders."""
    rng = np.random.default_rng(31)
    for number, (start, new) in enumerate(((BEGIN, 0.5), (SECOND, 0.9)), 1):
        yield {
            "type": "change", "change_id": f"c-{number}", "model_id": "m", "from_version": "1", "to_version": "2",
            "kind": "canary", "occurred_at": iso(start), "rollout_id": "r", "allocation": {"1": 1 - new, "2": new},
        }  # fmt: skip
        for i in range(14 * A_DAY):
            at, late = start + timedelta(minutes=12 * i), bool(rng.random() < new)
            who = {"customer_id": f"C-{number}-{i}"}
            failed = late and number == 2 and rng.random() < errors
            yield {
                "type": "exposure", "exposure_id": f"x-{number}-{i}", **who, "occurred_at": iso(at),
                "touchpoint": "app_card", "model_id": "m", "model_version": "2" if late else "1", "rollout_id": "r",
                "arm": "canary" if late else "stable", "latency_ms": float(rng.normal(120, 10)),
                **({"error": "oom"} if failed else {}),
            }  # fmt: skip
            if rng.random() < ((0.45 if number == 1 else orders) if late else 0.3):
                yield {
                    "type": "engagement", "event_id": f"o-{number}-{i}", **who, "name": "order_placed",
                    "source": "app", "occurred_at": iso(at + timedelta(hours=3)), "value": 20.0, "currency": "EUR",
                }  # fmt: skip


@pytest.mark.parametrize(
    ("harm", "verdict", "stage"),
    [
        ({}, "promote", 1),
        ({"errors": 0.1}, "roll back", 2),
        ({"orders": 0.1}, "roll back", 2),
    ],
    ids=["well throughout", "errors under load", "orders fall"],
)
def test_the_stage_that_shows_harm_decides(tmp_path: Path, harm: dict[str, float], verdict: str, stage: int) -> None:
    rows = estimates(tmp_path, "", world(**harm), "2026-03")
    assert {row["verdict"] for row in rows} - {None} == {verdict}
    assert {row["stage"] for row in rows if row["decided_by"] is not None} == {stage}
    if "errors" in harm:
        (errors,) = [row for row in rows if row["metric"] == "error_rate" and row["stage"] == stage]
        assert errors["guard"] == "breach"
