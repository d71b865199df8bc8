"""Whether the intervals of many demos hold is decided rightly, and every way it can fail fails."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from edgeloop.app.demo import Found
from scripts import demo_seeds
from scripts.demo_seeds import Tally, by_change_and_metric, judged, main, tally, verdicts


def found(**fields: Any) -> Found:
    base: dict[str, Any] = {
        "change_id": "slot", "title": "Slots", "metric": "order_placed", "grade": "randomised", "planted": 0.1,
        "found": 0.1, "low": 0.0, "high": 0.2, "inside": True, "verdict": "promote", "expected_verdict": "promote",
    }  # fmt: skip
    return Found(**(base | fields))


@pytest.mark.parametrize(
    ("inside", "total", "holds"),
    [
        (89, 100, False),
        (90, 100, True),
        (95, 100, True),
        (99, 100, True),
        (100, 100, False),
        (198, 200, True),
        (199, 200, False),
        (179, 200, False),
        (0, 0, False),
    ],
)
def test_ninety_to_ninety_nine_in_a_hundred(inside: int, total: int, holds: bool) -> None:
    assert Tally(inside, total).holds() is holds


def test_only_randomised_engagement_with_an_interval_is_judged() -> None:
    rows = [
        found(),
        found(inside=False, metric="complaint"),
        found(metric="csat", inside=False),
        found(grade="before_after", inside=False),
        found(grade="quasi", inside=False),
        found(grade=None, inside=None, refused="not built"),
        found(inside=None),
    ]
    assert judged(rows) == rows[:2]
    assert tally(rows) == Tally(1, 2)
    assert by_change_and_metric([*rows, found()]) == {
        ("slot", "order_placed"): Tally(2, 2),
        ("slot", "complaint"): Tally(0, 1),
    }


def test_a_verdict_a_refusal_and_neither_are_told_apart() -> None:
    rows = [found(), found(change_id="ramp", verdict=None, refused="not built"), found(change_id="eta", verdict=None)]
    assert verdicts(rows) == {"slot": "promote", "ramp": "refused", "eta": "none"}


@pytest.mark.parametrize(("outside", "code"), [(0, 1), (1, 0), (2, 0), (3, 1)])
def test_the_exit_code_is_the_share_over_all_seeds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], outside: int, code: int
) -> None:
    """Of 20 seeds with one metric each, 1 or 2 outside are 95 and 90 %."""
    monkeypatch.setattr(demo_seeds, "run", lambda seed, scale: [found(inside=seed > outside)])
    assert main([]) == code
    out, err = capsys.readouterr()
    assert f"slot\torder_placed\t{20 - outside} of 20" in out
    assert f"{20 - outside} of 20 randomised engagement effects" in err
    assert [line.split("\t")[0] for line in out.splitlines()[1:21]] == [str(seed) for seed in range(1, 21)]
    assert ("slot order_placed" in out) == (outside > 0)


def test_what_a_check_blocked_is_said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(demo_seeds, "run", lambda seed, scale: [found(grade="quasi")])
    assert main(["--seeds", "2"]) == 1, "nothing to judge is no success"
    assert "not judged: 2 of slot" in capsys.readouterr().err


def test_a_demo_that_fails_is_named_and_ends_the_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = []

    def fails(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        asked.append(command)
        return subprocess.CompletedProcess(command, 1, "", "no room\n")

    monkeypatch.setattr(demo_seeds.subprocess, "run", fails)
    assert main(["--at-once", "1"]) == 1
    assert "the demo of seed 1 failed with 1: no room" in capsys.readouterr().err
    assert len(asked) < 20, "what has not begun is not begun"
    assert asked[0][:4] == [sys.executable, "-m", "edgeloop", "demo"]


@pytest.mark.slow
def test_a_seed_is_a_whole_demo() -> None:
    rows = demo_seeds.run(5, 0.1)
    assert {row.change_id for row in rows} == {"eta-switch", "slot-canary", "rebooking-canary", "promo-ramp"}
    assert len(judged(rows)) >= 3, "most lie below a floor at a tenth of the demo's size"
