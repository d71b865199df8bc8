"""The schedule of `edgeloop up`: each month once, when it is due in the company's zone, also after a pause."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from edgeloop.app.process import process
from edgeloop.app.schedule import Schedule, due_months, due_us, is_reported, report_of
from edgeloop.clock import HOUR_US, iso
from edgeloop.home import Home
from edgeloop.log.local import LocalLog
from edgeloop.months import Month
from edgeloop.settings import ScheduleSettings, Settings
from edgeloop.store.freeze import Freeze
from tests.fakes import FixedClock, at
from tests.pipeline import entry
from tests.test_metrics_endpoint import engagement

SETTINGS = Settings(timezone="Europe/Berlin")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A home whose events were received from 15 December to 1 March."""
    monkeypatch.chdir(tmp_path)
    made = Home(tmp_path / "home")
    made.create()
    (made.path / "edgeloop.toml").write_text('timezone = "Europe/Berlin"\n')
    receive(made, "2025-12-15T12:00:00Z", "2026-01-15T12:00:00Z", "2026-02-15T12:00:00Z", "2026-03-01T12:00:00Z")
    return made


def receive(home: Home, *times: str) -> None:
    log = LocalLog(home.log)
    log.append([entry(engagement(at(text) // HOUR_US, at(text), at(text))) for text in times])
    log.close()
    process(home, SETTINGS)


class Maker:
    """Stands in for making a month; leaves what a real one would, unless it is to fail."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.made: list[str] = []
        self.fails: set[str] = set()

    def __call__(self, month: Month) -> bool:
        self.made.append(month.name)
        if month.name in self.fails:
            return False
        leave(self.home, month.name)
        return True


def leave(home: Home, name: str, *, report: bool = True) -> None:
    folder = home.freezes / name
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text("{}")
    if report:
        home.reports.mkdir(exist_ok=True)
        (home.reports / f"{name}.html").write_text("<!doctype html>")


def scheduled(home: Home, now: str, maker: Any = None) -> tuple[Schedule, FixedClock, Maker]:
    clock, made = FixedClock(at(now)), maker or Maker(home)
    return Schedule(home, SETTINGS, clock, lambda: True, made), clock, made


@pytest.mark.parametrize(
    ("month", "day", "hour", "due"),
    [
        ("2026-01", 3, 6, "2026-02-03T05:00:00Z"),
        ("2026-03", 3, 6, "2026-04-03T04:00:00Z"),  # summer time by then
        ("2026-02", 1, 0, "2026-02-28T23:00:00Z"),
        ("2025-12", 28, 23, "2026-01-28T22:00:00Z"),
    ],
)
def test_when_a_month_is_due(month: str, day: int, hour: int, due: str) -> None:
    when = ScheduleSettings(report_day=day, report_hour=hour)
    assert iso(due_us(Month.parse(month, "Europe/Berlin"), when)) == due


def test_each_month_once_as_the_clock_passes(home: Home) -> None:
    leave(home, "2025-12")
    schedule, clock, maker = scheduled(home, "2026-01-20T00:00:00Z")
    for now, made in (
        ("2026-02-03T04:59:59Z", []),
        ("2026-02-03T05:00:00Z", ["2026-01"]),
        ("2026-02-03T05:01:00Z", ["2026-01"]),
        ("2026-03-03T04:59:00Z", ["2026-01"]),
        ("2026-03-03T05:00:00Z", ["2026-01", "2026-02"]),
    ):
        clock.now = at(now)
        schedule.tick()
        assert maker.made == made, now


def test_after_a_pause_every_month_since_the_last_frozen_one_in_order(home: Home) -> None:
    leave(home, "2025-12")
    schedule, _, maker = scheduled(home, "2026-04-20T00:00:00Z")
    schedule.tick()
    assert maker.made == ["2026-01", "2026-02", "2026-03"]


def test_where_none_is_frozen_it_begins_with_the_first_that_received_anything(home: Home) -> None:
    schedule, _, maker = scheduled(home, "2026-02-20T00:00:00Z")
    schedule.tick()
    assert maker.made == ["2025-12", "2026-01"]


def test_what_was_frozen_by_hand_lacks_its_report_alone_and_older_ones_stay_as_they_are(home: Home) -> None:
    leave(home, "2026-01", report=False)
    assert [month.name for month in due_months(home, SETTINGS, at("2026-02-20T00:00:00Z"))] == ["2026-01"]
    leave(home, "2026-02")
    assert due_months(home, SETTINGS, at("2026-03-20T00:00:00Z")) == []


def test_a_provisional_freeze_and_an_older_report_are_none(home: Home) -> None:
    leave(home, "2025-12")
    leave(home, "2026-01.provisional")
    january = Month.parse("2026-01", "Europe/Berlin")
    (home.reports / "2026-01.html").write_text("as it looked while the month ran")
    assert not is_reported(home, january)
    leave(home, "2026-01", report=False)
    os.utime(report_of(home, january), (0, 0))
    assert not is_reported(home, january)
    os.utime(report_of(home, january))
    assert is_reported(home, january)


def test_nothing_is_due_in_an_empty_home(tmp_path: Path) -> None:
    empty = Home(tmp_path / "empty")
    empty.create()
    schedule, _, maker = scheduled(empty, "2026-04-20T00:00:00Z")
    schedule.tick()
    assert maker.made == []


def test_a_month_that_cannot_be_made_is_tried_again_in_an_hour_and_the_later_ones_wait(home: Home) -> None:
    leave(home, "2025-12")
    schedule, clock, maker = scheduled(home, "2026-04-20T00:00:00Z")
    maker.fails = {"2026-02"}
    schedule.tick()
    assert maker.made == ["2026-01", "2026-02"]
    clock.now += HOUR_US - 1
    schedule.tick()
    assert maker.made == ["2026-01", "2026-02"]
    clock.now += 1
    maker.fails = set()
    schedule.tick()
    assert maker.made == ["2026-01", "2026-02", "2026-02", "2026-03"]


def test_it_waits_until_the_log_is_drained(home: Home) -> None:
    is_drained = threading.Event()
    maker = Maker(home)
    schedule = Schedule(home, SETTINGS, FixedClock(at("2026-02-20T00:00:00Z")), is_drained.is_set, maker)
    schedule.tick()
    assert maker.made == []
    is_drained.set()
    schedule.tick()
    assert maker.made


def test_an_error_of_any_kind_is_logged_and_not_the_end(home: Home, caplog: pytest.LogCaptureFixture) -> None:
    def broken(_month: Month) -> bool:
        raise ValueError("C-42")

    schedule, _, _ = scheduled(home, "2026-02-20T00:00:00Z", broken)
    schedule.tick()
    assert "the schedule failed and tries again in an hour error=ValueError" in caplog.text
    assert "C-42" not in caplog.text


@pytest.mark.slow
def test_a_real_month_is_frozen_and_reported_in_a_process_of_its_own(home: Home, capfd: Any) -> None:
    clock = FixedClock(at("2026-03-20T00:00:00Z"))
    schedule = Schedule(home, SETTINGS, clock, lambda: True)
    schedule.tick()
    for name in ("2025-12", "2026-01", "2026-02"):
        freeze = Freeze(home.freezes / name)
        assert not freeze.manifest.provisional
        assert freeze.manifest.timezone == "Europe/Berlin"
        assert report_of(home, freeze.month).read_text(encoding="utf-8").startswith("<!")
    assert Freeze(home.freezes / "2026-02").manifest.previous == Freeze(home.freezes / "2026-01").manifest.freeze_id
    assert capfd.readouterr().err.count('"event":"the month is frozen and its report written"') == 3
    clock.now = at("2026-04-20T00:00:00Z")  # nothing was received after March's end, as far as the store knows
    schedule.tick()
    assert not (home.freezes / "2026-03").exists()
    line = capfd.readouterr().err
    assert "the month cannot be made yet" in line
    assert "2026-03 is not over" in line


@pytest.mark.slow
def test_a_stop_ends_the_month_that_is_being_made(home: Home, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    endless = tmp_path / "endless"
    endless.write_text("#!/bin/sh\nexec sleep 600\n")
    endless.chmod(0o755)
    children: list[subprocess.Popen[bytes]] = []
    real = subprocess.Popen

    def started(*args: Any, **named: Any) -> subprocess.Popen[bytes]:
        children.append(real(*args, **named))
        return children[-1]

    monkeypatch.setattr(subprocess, "Popen", started)
    monkeypatch.setattr(sys, "executable", str(endless))
    schedule = Schedule(home, SETTINGS, FixedClock(at("2026-02-20T00:00:00Z")), lambda: True)
    schedule.start()
    while not children:
        time.sleep(0.01)
    began = time.monotonic()
    schedule.stop()
    assert time.monotonic() - began < 4
    assert children[0].poll() is not None
