"""A small company's home, made through `ingest` and `process`: two months, one canary that helps, and its answers.

Everybody is drawn from fixed seeds, so what the tests expect of it can be computed anew from the same events.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from edgeloop.app.cli import run
from edgeloop.clock import iso, to_us

CUSTOMERS = 600
MONTH = "2026-03"
NEW = frozenset(np.random.default_rng(5).permutation(CUSTOMERS)[: CUSTOMERS // 2].tolist())
"""The numbers of the customers who were drawn for the new version."""
BEGIN = datetime(2026, 3, 2, 8, tzinfo=UTC)
HOSTILE = '=HYPERLINK("http://evil.example","win")'
"""A site's name that a spreadsheet would run."""


def events() -> list[dict[str, Any]]:
    """The events in the order in which they happened."""
    rng = np.random.default_rng(20260302)
    made: list[dict[str, Any]] = [
        {
            "type": "change", "change_id": "rebook-2.1", "occurred_at": _time(BEGIN - timedelta(hours=1)),
            "model_id": "rebook", "from_version": "2.0", "to_version": "2.1", "kind": "canary",
            "rollout_id": "rebook-march", "unit": "subject", "assignment": "random",
            "allocation": {"2.0": 0.5, "2.1": 0.5}, "title": "One-tap rebooking",
        }
    ]  # fmt: skip
    for i in range(CUSTOMERS):
        who = {"customer_id": f"C-{i:04d}"}
        new = i in NEW
        history = float(np.round(rng.gamma(4, 8), 2))
        at = BEGIN + timedelta(days=i % 14, minutes=i)
        made.append(_event(f"h-{i}", who, at - timedelta(days=5), "order_placed", history))
        made.append(
            {
                "type": "exposure", "exposure_id": f"x-{i}", **who, "occurred_at": _time(at), "touchpoint": "app_card",
                "model_id": "rebook", "model_version": "2.1" if new else "2.0", "arm": "canary" if new else "stable",
                "rollout_id": "rebook-march", "zone": "north" if i % 3 else "south", "courier_id": f"D-{i % 7}",
                "latency_ms": float(np.round(rng.gamma(6, 40), 1)), "features": 9, "fallback": i % 50 == 0,
                "site": HOSTILE if i == 1 else "-hub 7",
            }
        )  # fmt: skip
        if rng.random() < (0.34 if new else 0.20):
            made.append(_event(f"r-{i}", who, at + timedelta(hours=2), "slot_rebooked"))
        if rng.random() < 0.9:
            value = float(np.round(0.9 * history + rng.gamma(4, 1) + (2.0 if new else 0.0), 2))
            made.append(_event(f"o-{i}", who, at + timedelta(hours=20), "order_placed", value))
        if rng.random() < 0.25:
            made.append(_answer(i, who, at + timedelta(days=1), int(np.clip(round(rng.normal(4.2, 0.8)), 1, 5))))
    # Somebody of a month later: the windows of all others are over.
    made.append(_event("late", {"customer_id": "C-late"}, datetime(2026, 4, 20, tzinfo=UTC), "order_placed", 10.0))
    return sorted(made, key=lambda event: str(event["occurred_at"]))


def make(home: Path) -> Path:
    """The home with its tables filled."""
    home.mkdir(parents=True, exist_ok=True)
    (home / "edgeloop.toml").write_text('company = "Finch Parcels"\ntimezone = "Europe/Berlin"\n', encoding="utf-8")
    add(home, events())
    return home


def add(home: Path, more: list[dict[str, Any]]) -> None:
    """Take in more events, and drain them into the tables."""
    file = home / "events.ndjson"
    file.write_bytes(b"".join(msgspec.json.encode(event) + b"\n" for event in more))
    for arguments in (["ingest", str(file)], ["process"]):
        code = run([*arguments, "--home", str(home)])
        assert code == 0, arguments
    file.unlink()


def _event(name: str, who: dict[str, str], at: datetime, what: str, value: float | None = None) -> dict[str, Any]:
    made: dict[str, Any] = {
        "type": "engagement", "event_id": name, **who, "occurred_at": _time(at), "name": what, "source": "app",
    }  # fmt: skip
    return made if value is None else {**made, "value": value, "currency": "EUR"}


def _answer(i: int, who: dict[str, str], at: datetime, value: int) -> dict[str, Any]:
    return {
        "type": "response", "response_id": f"s-{i}", **who, "occurred_at": _time(at), "respondent": "customer",
        "survey_id": "delivery", "source": "app",
        "answers": [
            {"question": "csat", "kind": "csat", "value": value, "low": 1, "high": 5},
            {"question": "why", "kind": "text", "text": "+1 very good"},
        ],
    }  # fmt: skip


def _time(at: datetime) -> str:
    return iso(to_us(at))


def make_frozen(home: Path) -> Path:
    """The home with March frozen."""
    make(home)
    assert run(["freeze", "--month", MONTH, "--home", str(home)]) == 0
    return home
