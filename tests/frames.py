"""Tables of a small company, written down event by event, in the shape that a freeze hands to `analysis`."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd

from edgeloop.clock import DAY_US, HOUR_US
from edgeloop.months import Month

MARCH = Month.parse("2026-03", "UTC")
T0 = MARCH.start_us
LATER = T0 + 90 * DAY_US
"""An ``as_of`` at which every window of March has long closed."""

COLUMNS: dict[str, tuple[str, ...]] = {
    "exposures": (
        "exposure_id", "subject", "occurred_at", "occurred_at_raw", "received_at", "touchpoint", "model_id",
        "model_version", "arm", "rollout_id", "latency_ms", "error", "fallback", "features", "placement", "site",
        "device", "zone", "segment", "delivery_id", "courier", "profile_version", "energy_mj", "revision", "anonymous",
        "extra",
    ),
    "engagement": (
        "event_id", "subject", "occurred_at", "occurred_at_raw", "received_at", "name", "source", "value", "currency",
        "delivery_id", "exposure_id", "revision", "anonymous", "extra",
    ),
    "responses": (
        "response_id", "subject", "occurred_at", "occurred_at_raw", "received_at", "respondent", "survey_id", "source",
        "delivery_id", "exposure_id", "language", "partial", "revision", "anonymous", "extra",
    ),
    "answers": (
        "response_id", "subject", "respondent", "survey_id", "source", "occurred_at", "position", "question", "kind",
        "value", "low", "high", "label", "text",
    ),
    "changes": (
        "change_id", "model_id", "occurred_at", "occurred_at_raw", "received_at", "to_version", "kind", "from_version",
        "title", "rollout_id", "ended_at", "allocation", "unit", "assignment", "planned_units", "planned_stages",
        "zones", "features", "shares_capacity", "owner", "note", "revision", "anonymous", "extra", "cluster", "strata",
        "block_h", "starts",
    ),
}  # fmt: skip


def at(days: float = 0.0, hours: float = 0.0) -> int:
    """µs since the epoch, counted from midnight of 1 March 2026 UTC."""
    return T0 + round(days * DAY_US) + round(hours * HOUR_US)


def frames(**rows: list[dict[str, Any]]) -> dict[str, pd.DataFrame]:
    """The five tables with those rows; what a row does not say is absent."""
    return {table: pd.DataFrame(rows.get(table, []), columns=list(columns)) for table, columns in COLUMNS.items()}


def trial(
    seed: int = 1,
    *,
    n: int = 4_000,
    days: float = 14.0,
    start: float = 0.0,
    share: float = 0.5,
    event: tuple[float, float] = (0.2, 0.2),
    spend: tuple[float, float] | None = None,
    score: tuple[float, float] | None = None,
    rollout_id: str | None = "r1",
    prefix: str = "s",
) -> dict[str, pd.DataFrame]:
    """A drawn trial of ``eta``: people enter evenly over the days, v2 with probability ``share``.

    ``event`` is each arm's (control, new) probability of an engagement within a day; ``spend`` the mean of its value;
    ``score`` the mean of an answer that two in five give.
    """
    rng = np.random.default_rng(seed)
    new = (rng.random(n) < share).astype(int)
    entry = at(start) + (rng.random(n) * days * DAY_US).astype(np.int64)
    subject = np.array([f"{prefix}{i:05d}" for i in range(n)])
    exposures = pd.DataFrame(
        {"exposure_id": [f"{prefix}x{i:05d}" for i in range(n)], "subject": subject, "occurred_at": entry,
         "anonymous": 0, "model_id": "eta", "model_version": np.where(new, "v2", "v1"),
         "arm": np.where(new, "canary", "stable"), "rollout_id": rollout_id}
    )  # fmt: skip
    did = rng.random(n) < np.array(event)[new]
    value = rng.gamma(1.0, np.array(spend)[new]) if spend else np.full(n, np.nan)
    engagement = pd.DataFrame(
        {"event_id": [f"{prefix}e{i:05d}" for i in range(n)], "subject": subject, "occurred_at": entry + HOUR_US,
         "name": "rebooked", "value": value, "currency": "EUR" if spend else None, "anonymous": 0}
    )[did]  # fmt: skip
    tables = frames() | {"exposures": exposures, "engagement": engagement}
    if score is not None:
        answer = np.clip(np.rint(rng.normal(np.array(score)[new], 1.0)), 1, 5)
        tables["answers"] = pd.DataFrame(
            {"response_id": subject, "subject": subject, "respondent": "customer", "survey_id": "csat",
             "source": "form", "occurred_at": entry + DAY_US, "question": "overall", "kind": "rating", "value": answer}
        )[rng.random(n) < 0.4]  # fmt: skip
    return {name: frame.reindex(columns=list(COLUMNS[name])) for name, frame in tables.items()}


def together(*parts: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """The tables of several parts in one."""
    return {
        name: pd.concat([part[name].astype(object) for part in parts if len(part[name])] or [frames()[name]])
        .infer_objects()
        .reset_index(drop=True)
        for name in COLUMNS
    }


class World:
    """Collects events; every method names only what the test is about. Moments are days after 1 March."""

    def __init__(self) -> None:
        self.rows: dict[str, list[dict[str, Any]]] = {table: [] for table in COLUMNS}

    def expose(
        self, subject: str, day: float, arm: str | None = "stable", version: str | None = None, **more: Any
    ) -> None:
        """One exposure to ``eta`` in rollout ``r1``: v1 in the stable arm, v2 in any other."""
        row = {
            "exposure_id": f"x{len(self.rows['exposures']):06d}", "subject": subject, "occurred_at": at(day),
            "touchpoint": "card", "model_id": "eta", "model_version": version or ("v1" if arm == "stable" else "v2"),
            "arm": arm, "rollout_id": "r1", "anonymous": 0,
        }  # fmt: skip
        self.rows["exposures"].append(row | more)

    def engage(self, subject: str, day: float, name: str = "rebooked", value: float | None = None, **more: Any) -> None:
        """One engagement event."""
        row = {
            "event_id": f"e{len(self.rows['engagement']):06d}", "subject": subject, "occurred_at": at(day),
            "name": name, "source": "app", "value": value, "anonymous": 0,
        }  # fmt: skip
        self.rows["engagement"].append(row | more)

    def answer(self, subject: str, day: float, value: float | None, kind: str = "rating", **more: Any) -> None:
        """One answer of a customer to ``csat/overall``."""
        row = {
            "response_id": f"a{len(self.rows['answers']):06d}", "subject": subject, "respondent": "customer",
            "survey_id": "csat", "source": "typeform", "occurred_at": at(day), "position": 0, "question": "overall",
            "kind": kind, "value": value,
        }  # fmt: skip
        self.rows["answers"].append(row | more)

    def declare(self, day: float = 0.0, kind: str = "canary", **more: Any) -> None:
        """One change of ``eta`` from v1 to v2 in rollout ``r1``."""
        row: dict[str, Any] = {
            "change_id": f"c{len(self.rows['changes'])}", "model_id": "eta", "occurred_at": at(day), "kind": kind,
            "from_version": "v1", "to_version": "v2", "rollout_id": "r1", "unit": "subject", "shares_capacity": 0,
        }  # fmt: skip
        row |= more
        for name in ("allocation", "zones", "features", "strata"):
            row[name] = json.dumps(row[name]) if row.get(name) else None
        self.rows["changes"].append(row)

    def declare_design(self, design: str) -> None:
        """Without arms, over eight zones z0 to z7: ``zone``, ``zone_time``, or ``switch`` (see `meets_new`)."""
        if design == "switch":
            self.declare(HALF_DAY, kind="switch", rollout_id=None)
        elif design == "zone_time":
            self.declare(0, kind="staged", unit="zone_time", zones=[f"z{i}" for i in range(8)], assignment="random")
        else:
            self.declare(HALF_DAY, kind="staged", unit="zone", zones=[f"z{i}" for i in range(4)], assignment="random")

    def in_order(self) -> World:
        """The same with all rows by their time, as a freeze has them."""
        for rows in self.rows.values():
            rows.sort(key=lambda row: row["occurred_at"])
        return self

    def tables(self) -> dict[str, pd.DataFrame]:
        """Everything collected."""
        return frames(**self.rows)


HALF_DAY = 14.0
"""Of four weeks: when everybody, or the first four zones, change."""


def meets_new(design: str, day: float, zone: int) -> bool:
    """Whether somebody meets the new version under a design of `World.declare_design`."""
    if design == "switch":
        return day >= HALF_DAY
    if design == "zone_time":
        return (int(day) * 7 + zone * 5 + int(day) // 3) % 2 == 0
    return day >= HALF_DAY and zone < 4


__all__ = ["COLUMNS", "LATER", "MARCH", "T0", "World", "at", "frames", "meets_new", "together", "trial"]
