"""One definition of a customer: who came without a usable id is in no figure, on no page, one more of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from analysis import analyse
from analysis.customers import customers
from edgeloop.metrics import MetricSettings
from reports import reading, strip
from reports.asking import answered_of_met
from reports.decisions import _Met
from tests.frames import LATER, MARCH, World, frames
from tests.report_fixture import write

GOAL = {"orders": MetricSettings(role="goal", headline=True, event="order")}


def half_without_an_id() -> World:
    """Twenty customers who all order, and as many exposures of a client that misspells their id, in both months."""
    world = World()
    for month in (-28.0, 0.0):
        for i in range(20):
            for name, anonymous in ((f"s{i}", 0), (f"nobody{month}{i}", 1)):
                world.expose(name, month + 3 + i / 10, arm=None, version="v1", rollout_id=None, anonymous=anonymous)
                world.engage(name, month + 3.5 + i / 10, "order", anonymous=anonymous)
            world.answer(f"s{i}", month + 4 + i / 10, 5.0)
    return world.in_order()


def test_which_rows_are_of_customers() -> None:
    tables = frames(exposures=[{"subject": "a", "anonymous": 0}, {"subject": "b", "anonymous": 1}, {"anonymous": 0}])
    assert customers(tables["exposures"]).tolist() == [True, False, False]
    assert customers(tables["exposures"].drop(columns="anonymous")).tolist() == [True, True, False]


def test_strip_bridge_and_counts_agree(tmp_path: Path) -> None:
    tables = half_without_an_id().tables()
    conversions = strip._Conversions(tables["exposures"], tables["engagement"], "order", 72 * 3_600_000_000, ())
    assert conversions.of(MARCH.start_us, MARCH.end_us, LATER) == (1.0, 20), "not half of forty"
    found = analyse(tables, MARCH, freeze_id="f", as_of_us=LATER, metrics=GOAL)
    assert {b.bar: b.value for b in found.bridge}["month 1"] == pytest.approx(1.0)
    freeze = write(tmp_path / "freeze", tables, as_of_us=LATER, metrics=GOAL, timezone="UTC")
    read = reading.read(freeze).frames
    assert int(read["exposures"]["subject"].notna().sum()) == 40
    assert len(read["exposures"]) == 80, "requests are requests, whoever asked"
    assert _Met(read["exposures"], MARCH)._sizes["subject"] == {("eta", "v1"): 20}
    assert answered_of_met("customer", read["answers"], read["exposures"], MARCH) == (20, 20)
