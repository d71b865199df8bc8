"""Clocks that were never set: refused at the door, told by the doctor, and no end of a month that has them already."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from analysis.draws import Draws
from connectors import Intake, Item
from edgeloop.app.cli import run as edgeloop
from edgeloop.app.doctor import examine
from edgeloop.app.process import process
from edgeloop.clock import from_us, to_us
from edgeloop.events import decode, encode
from edgeloop.home import Home
from edgeloop.log.base import Entry
from edgeloop.log.local import LocalLog
from edgeloop.settings import DoorSettings, Settings
from tests.fakes import FixedClock, at

NOW = at("2026-11-02T12:00:00Z")
OLD = Settings(door=DoorSettings(earliest=datetime(1, 1, 1, tzinfo=UTC).date()))
"""As a version that knew no bound."""


def exposure(n: int, occurred_at: str, **more: Any) -> dict[str, Any]:
    arm, version = ("stable", "1.0") if n % 2 == 0 else ("canary", "2.0")
    return {
        "type": "exposure", "exposure_id": f"x-{n}", "customer_id": f"C-{n}", "occurred_at": occurred_at,
        "touchpoint": "app_card", "model_id": "eta", "model_version": version, "arm": arm, "rollout_id": "eta-oct",
        **more,
    }  # fmt: skip


def add(home: Home, events: list[dict[str, Any]], settings: Settings, sent_at_us: int | None = None) -> None:
    home.create()
    log = LocalLog(home.log, clock=FixedClock(NOW))
    intake = Intake(home, FixedClock(NOW), settings=settings.door)
    items = [Item(msgspec.json.encode(event), f"line {i}", event) for i, event in enumerate(events, 1)]
    log.append(intake.take(items, source="http", sent_at_us=sent_at_us)[1])
    log.close()
    process(home, settings)


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/New_York"])
@pytest.mark.parametrize("unset", ["0001-01-01T00:00:00Z", "1970-01-01T00:03:00Z"])
def test_a_store_that_has_them_already_still_has_its_month(
    tmp_path: Path, zone: str, unset: str, capsys: pytest.CaptureFixture[str]
) -> None:
    home = Home(tmp_path / "home")
    good = [exposure(n, f"2026-10-{1 + n % 20:02d}T08:00:00Z") for n in range(40)]
    add(home, [*good, *(exposure(101 + 2 * n, unset) for n in range(300))], OLD)
    (home.path / "edgeloop.toml").write_text(f'timezone = "{zone}"\n')
    where = ["--home", str(home.path)]
    assert edgeloop(["uplift", "--month", "2026-10", "--json", *where]) == 0
    rows = msgspec.json.decode(capsys.readouterr().out)
    assert {row["n_control"] + row["n_treated"] for row in rows if row["metric"] == "error_rate"} == {40}
    assert edgeloop(["report", "--month", "2026-10", *where]) == 0
    assert edgeloop(["changes", "--json", *where]) == 0
    capsys.readouterr()
    said = [finding.what for finding in examine(home) if finding.check == "device clocks"]
    assert said == ["rows of the tables are stamped before 2015-01-01 (300 of exposures): no month counts them"]


def test_the_case_that_was_handed_in(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    case = Path("../shared/cases/zero-time.ndjson").resolve()
    if not case.exists():
        pytest.skip("the handed cases are not here")
    home = tmp_path / "home"
    home.mkdir()
    (home / "edgeloop.toml").write_text('timezone = "Europe/Berlin"\n')
    where = ["--home", str(home)]
    assert edgeloop(["ingest", str(case), *where]) == 3
    assert "line 5: `occurred_at` lies before 2015-01-01" in capsys.readouterr().err
    assert edgeloop(["process", *where]) == 0
    assert edgeloop(["uplift", "--month", "2026-10", *where]) == 0
    assert edgeloop(["report", "--month", "2026-10", *where]) == 0


def test_the_doctor_counts_clocks_at_the_epoch_by_device(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    unset = [exposure(n, "1970-01-01T00:00:09Z", device=("locker", "handheld")[n > 2], site="hub 7") for n in range(5)]
    add(home, [exposure(50, "2026-10-01T08:00:00Z"), *unset], Settings())
    add(home, [exposure(60, "1970-01-01T00:00:00Z", device="scale")], Settings(), sent_at_us=60_000_000)
    said = [finding.what for finding in examine(home) if finding.check == "device clocks"]
    assert said == [
        "5 events were refused whose clock stood before 2015-01-01 (locker at hub 7: 3, handheld at hub 7: 2)",
        "1 of the latest events came from clocks before 2015-01-01, and `Edgeloop-Sent-At` set them right (scale: 1)",
    ]


def test_a_record_of_another_producer_is_refused_by_the_drain_and_stays_so(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    add(home, [exposure(1, "2026-10-01T08:00:00Z")], Settings())
    log = LocalLog(home.log, clock=FixedClock(NOW))
    event = decode(log.read("edge.exposures", *_first(log), 1, 1).values[0])
    event.occurred_at, event.exposure_id = from_us(0), "x-other"  # type: ignore[union-attr]
    log.append([Entry(event.topic, event.key, encode(event))])
    log.close()
    assert process(home, Settings()).dead_letters == 1
    assert edgeloop(["dead-letters", "replay", "--all", "--home", str(home.path)]) == 3


def _first(log: LocalLog) -> tuple[int, int]:
    return next((p, 0) for (topic, p), end in log.end_offsets().items() if topic == "edge.exposures" and end)


def test_draws_of_a_day_are_counted_without_a_table_of_draws_and_days() -> None:
    rng = np.random.default_rng(7)
    n, n_days = 500, 30
    group, stratum = rng.integers(0, 2, n), rng.integers(0, 3, n)
    days = np.array([to_us(datetime(2026, 3, 1, tzinfo=UTC) + timedelta(days=i)) for i in range(n_days + 1)])
    rows = rng.integers(0, n, 4_000)
    at_us = days[0] + rng.integers(0, int(days[-1] - days[0]), len(rows))
    nobody = rng.random(n) < 0.1
    of_entry = np.where(nobody, -1, np.arange(n))
    draws = Draws(group, np.zeros(n, np.int64), stratum, 3, of_entry)

    class Cohort:  # what `seen` reads of one
        def __init__(self) -> None:
            self.days, self.row_group, self.row_key = days, group[rows], rows
            self.entries = type("Entries", (), {"key": np.arange(n)})

    wanted = np.zeros((3, n_days), dtype=np.int64)
    day = np.searchsorted(days, at_us, side="right") - 1
    for draw, i in {(int(d), int(i)) for d, i in zip(rows, day, strict=True) if group[d] == 1 and not nobody[d]}:
        wanted[stratum[draw], i] += 1
    assert (draws.seen(Cohort(), at_us, 1) == wanted).all()  # type: ignore[arg-type]
