"""Writes docs/examples/first-test.ndjson: an invented test of one prompt, large enough for a verdict.

1,000 customers in fourteen days of October 2026, half of them with the new version: its prompt is louder, and fewer
order. Always the same file (the seed is fixed).
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

FILE = Path(__file__).resolve().parents[1] / "docs" / "examples" / "first-test.ndjson"
BEGIN = datetime(2026, 10, 5, tzinfo=UTC)
DAYS, CUSTOMERS = 14, 1_000
ORDERS = {"2.0": 0.34, "2.1": 0.20}
"""Who orders within a day of the prompt."""


def _time(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def events() -> Iterator[dict[str, Any]]:
    """The declared change, then of each customer the exposure, perhaps an order, perhaps an answer."""
    rng = np.random.default_rng(20261005)
    yield {
        "type": "change", "change_id": "prompt-oct", "occurred_at": _time(BEGIN), "model_id": "prompt",
        "from_version": "2.0", "to_version": "2.1", "kind": "canary", "rollout_id": "prompt-oct",
        "allocation": {"2.0": 0.5, "2.1": 0.5}, "planned_units": CUSTOMERS, "title": "Louder prompt",
    }  # fmt: skip
    for i in range(CUSTOMERS):
        at = BEGIN + timedelta(days=i % DAYS, hours=7, seconds=int(rng.integers(0, 50_000)))
        version = "2.1" if rng.random() < 0.5 else "2.0"
        who = {"customer_id": f"C-{i:04d}"}
        yield {
            "type": "exposure", "exposure_id": f"x-{i}", **who, "occurred_at": _time(at), "touchpoint": "app_card",
            "model_id": "prompt", "model_version": version, "arm": {"2.0": "stable", "2.1": "canary"}[version],
            "rollout_id": "prompt-oct", "latency_ms": int(rng.gamma(9, 20)),
        }  # fmt: skip
        if rng.random() < ORDERS[version]:
            yield {
                "type": "engagement", "event_id": f"o-{i}", **who, "name": "order_placed", "source": "app",
                "occurred_at": _time(at + timedelta(minutes=int(rng.integers(2, 1_200)))),
                "value": round(float(rng.gamma(6, 5)), 2), "currency": "EUR",
            }  # fmt: skip
        if rng.random() < 0.15:
            yield {
                "type": "response", "response_id": f"r-{i}", **who, "respondent": "customer", "survey_id": "delivery",
                "source": "app", "occurred_at": _time(at + timedelta(hours=6)),
                "answers": [
                    {"question": "csat", "kind": "csat", "value": int(rng.integers(2, 6)), "low": 1, "high": 5}
                ],
            }  # fmt: skip


def main() -> None:
    """Write the file."""
    FILE.parent.mkdir(exist_ok=True)
    encode = msgspec.json.Encoder().encode
    FILE.write_bytes(b"".join(encode(event) + b"\n" for event in events()))


if __name__ == "__main__":
    main()
