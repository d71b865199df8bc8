"""An interval without an end: few zones, and a level that none of their assignments reaches."""

from __future__ import annotations

import math
import re
from pathlib import Path

import msgspec
import numpy as np

import reports
from analysis import Analysis
from edgeloop.app.publish import rendered
from edgeloop.metrics import MetricSettings
from edgeloop.store.freeze import Freeze
from reports import numbers
from tests.frames import World, at
from tests.report_fixture import analysed, frames, write


def endless(analysis: Analysis) -> Analysis:
    """The same where no goal's decision has an end."""
    for i, e in enumerate(analysis.estimates):
        if e.decision_low is not None and e.dimension == "all":
            e = msgspec.structs.replace(e, decision_low=-math.inf, decision_high=math.inf)
        analysis.estimates[i] = e
    return analysis


def test_the_report_of_endless_intervals_is_written_and_read_again(tmp_path: Path) -> None:
    freeze: Freeze = write(tmp_path / "freeze", frames())
    made = rendered(freeze, endless(analysed(freeze)), None)
    page = made.files[".html"].decode()
    assert "no end on either side" in page
    assert "∞" not in page
    assert not re.search(r"\binf\b", page)
    back = msgspec.json.decode(made.files[".json"], type=reports.Record)
    effects = [e for change in back.findings.changes for e in change.effects]
    assert effects
    assert {(e.low, e.high) for e in effects} == {(None, None)}


def test_infinity_is_written_with_its_sign() -> None:
    assert numbers.signed(math.inf, 1) == "+∞"
    assert numbers.signed(-math.inf, 1) == "\N{MINUS SIGN}∞"
    assert numbers.number(math.inf) == "∞"


def test_three_of_six_zones_end_no_report(tmp_path: Path) -> None:
    """Twenty assignments: no level below 5 % has an end, and the bar of the bridge had none to be rounded."""
    rng = np.random.default_rng(6)
    world = World()
    world.declare(
        8, "staged", unit="zone", assignment="random", zones=["z0", "z1", "z2"], rollout_id=None, ended_at=at(29)
    )
    for day in range(-27, 29):
        for i in range(120):
            zone = i % 6
            new = day >= 8 and zone < 3
            who = f"p{day}-{i}"
            world.expose(who, day + 0.3, "stable", "v2" if new else "v1", zone=f"z{zone}", rollout_id=None)
            if rng.random() < 0.3 + 0.02 * zone + (0.1 if new else 0.0):
                world.engage(who, day + 0.4)
    metrics = {"rebooked": MetricSettings(role="goal", headline=True, event="rebooked", window_h=24.0)}
    freeze = write(tmp_path / "freeze", world.tables(), metrics=metrics, timezone="UTC")
    found = analysed(freeze)
    bar = next(b for b in found.bridge if b.bar == "version")
    made = rendered(freeze, found, None)
    assert made.record.findings.failures == ()
    printed = next(b for b in made.record.findings.bridge.bars if b.kind == "version")
    assert (bar.low, bar.high) == (-math.inf, math.inf)
    assert (printed.low, printed.high, printed.between) == (None, None, "no end on either side")
