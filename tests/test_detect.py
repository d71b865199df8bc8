"""Version changes that nobody declared: each rule of "Changes, when not declared" as the days that it is about."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis.change import LedgerChange
from analysis.detect import Shown, detect
from edgeloop.clock import DAY_US, HOUR_US
from tests.frames import at

COLUMNS = ("model_id", "model_version", "occurred_at", "rollout_id", "arm", "subject", "zone")


class Days:
    """Exposures of the model ``eta``, so many people a day."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    def show(self, version: str, first: float, last: float, n: int = 60, **more: Any) -> Days:
        for day in np.arange(first, last, 1.0):
            self.rows += [
                {"model_id": "eta", "model_version": version, "occurred_at": at(float(day)) + i * 1_000_000 + HOUR_US,
                 "subject": f"s{i}", **more}
                for i in range(n)
            ]  # fmt: skip
        return self

    def found(self, timezone: str = "UTC") -> list[LedgerChange]:
        rng = np.random.default_rng(1)
        frame = pd.DataFrame(self.rows).reindex(columns=list(COLUMNS))
        return detect(Shown.of(frame.sample(frac=1, random_state=rng).reset_index(drop=True)), timezone)


def test_no_exposures_and_one_version_are_no_change() -> None:
    assert detect(Shown.of(pd.DataFrame(columns=list(COLUMNS))), "UTC") == []
    assert Days().show("v1", 0, 20).found() == []


def test_a_full_switch_begins_at_midnight_of_its_first_day() -> None:
    (change,) = Days().show("v1", 0, 10).show("v2", 10, 20).found()
    assert (change.kind, change.from_version, change.to_version) == ("switch", "v1", "v2")
    assert change.stages[0].start_us == at(10)
    assert change.change_id == "auto:eta/2026-03-11/v2"
    assert change.refusal is None
    assert not change.declared


def test_midnight_is_the_companys() -> None:
    (change,) = Days().show("v1", 0, 10).show("v2", 10, 20).found("Europe/Berlin")
    assert change.stages[0].start_us == at(10) - HOUR_US


@pytest.mark.parametrize(("people", "others", "live"), [(20, 60, True), (19, 60, False), (20, 4_000, False)])
def test_a_version_is_live_from_20_people_and_half_a_percent(people: int, others: int, live: bool) -> None:
    days = Days().show("v1", 0, 8).show("v1", 8, 10, n=others).show("v2", 8, 10, n=people)
    assert bool(days.found()) is live


def test_a_version_that_was_away_for_28_days_and_comes_back_is_a_rollback() -> None:
    found = Days().show("v1", 0, 5).show("v2", 5, 40).show("v1", 40, 50).found()
    assert [(c.kind, c.to_version) for c in found] == [("switch", "v2"), ("rollback", "v1")]
    assert Days().show("v1", 0, 5).show("v2", 5, 30).show("v1", 30, 50).found()[1:] == [], "away for 25 days only"


def test_a_slow_switch_is_none() -> None:
    days = Days().show("v1", 0, 10).show("v1", 10, 15, n=30).show("v2", 10, 20)
    assert [c.kind for c in days.found()] == ["mixed"]


def test_within_three_days_is_a_switch() -> None:
    days = Days().show("v1", 0, 10).show("v1", 10, 12, n=30).show("v2", 10, 20)
    assert [c.kind for c in days.found()] == ["switch"]


def test_zone_after_zone_is_staged() -> None:
    days = Days().show("v1", 0, 10, zone="north").show("v1", 0, 20, zone="south").show("v2", 10, 20, zone="north")
    (change,) = days.found()
    assert (change.kind, change.stages[0].zones, change.refusal) == ("staged", ("north",), None)


def test_labelled_arms_without_a_draw_are_refused() -> None:
    days = Days().show("v1", 0, 20, arm="stable").show("v2", 10, 20, arm="canary")
    (change,) = days.found()
    assert change.kind == "canary"
    assert "no rollout_id" in (change.refusal.english if change.refusal else "")


def test_unlabelled_side_by_side_is_refused() -> None:
    (change,) = Days().show("v1", 0, 20).show("v2", 10, 20).found()
    assert change.kind == "mixed"
    assert "mixed, unlabelled" in (change.refusal.english if change.refusal else "")


def test_holdouts_and_rollouts_are_not_looked_at() -> None:
    days = Days().show("v1", 0, 20).show("v2", 10, 20, arm="holdout").show("v3", 10, 20, rollout_id="r")
    assert days.found() == []


def test_from_is_the_version_of_most_exposures_in_the_week_before() -> None:
    days = Days().show("v0", 0, 4, n=200).show("v1", 4, 12).show("v2", 12, 20)
    assert {c.to_version: c.from_version for c in days.found()} == {"v1": "v0", "v2": "v1"}


def test_it_is_over_when_it_is_shown_no_more() -> None:
    days = Days().show("v1", 0, 30, arm="stable").show("v2", 10, 14, arm="canary")
    (change,) = days.found()
    assert change.last_us == at(14)
    assert change.last_us - change.start_us == 4 * DAY_US
