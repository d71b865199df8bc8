"""Power lost between log and store: the start stops with the range of what is gone, or goes on without loss."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from edgeloop.home import Home
from edgeloop.log.local import LocalLog
from tests.chaos.load import Feeder, command, worlds
from tests.chaos.power import copies, goes_on_or_stops
from tests.pipeline import counts, entry

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ever")]


def power_lost(tmp_path: Path, *, count: int, seed: int) -> None:
    """Copy so often in the middle of work; both ends, stopping and going on, must have been met."""
    home = Home(tmp_path / "home")
    home.create()
    with Feeder(home.path, seed=seed, per_s=300) as feeder:
        made = copies(home.path, feeder, tmp_path, count=count, seed=seed)
    went_on = [goes_on_or_stops(copy) for copy in made]
    assert any(went_on), "no copy went on: nothing was shown of that"
    assert not all(went_on), "no copy had its store ahead of its log: nothing was shown of that"


def test_power_lost(tmp_path: Path) -> None:
    power_lost(tmp_path, count=6, seed=5)


@pytest.mark.parametrize("words", [["process"], ["up", "--port", "0"]], ids=["process", "up"])
def test_a_log_that_lost_its_end_is_named(tmp_path: Path, words: list[str]) -> None:
    """The log from its backup, the store as it went on: the start stops, and says which records are gone."""
    home = Home(tmp_path / "home")
    home.create()
    exposures = [body for body in next(worlds(1, 90)) if body["type"] == "exposure"]
    log = LocalLog(home.log, partitions=1)
    log.append([entry(body) for body in exposures[:-7]])
    log.close()
    shutil.copyfile(home.log, tmp_path / "backup")
    log = LocalLog(home.log)
    log.append([entry(body) for body in exposures[-7:]])
    log.close()
    subprocess.run(command(home.path, "process"), check=True, capture_output=True)
    before = counts(home.path)
    shutil.copyfile(tmp_path / "backup", home.log)
    ran = subprocess.run(command(home.path, *words), check=False, capture_output=True, text=True, timeout=60)
    assert ran.returncode == 1, ran.stderr
    gone = f"{len(exposures) - 7} to {len(exposures) - 1}"
    assert gone in " ".join(ran.stderr.split())
    assert "edge.exposures/0" in ran.stderr
    assert counts(home.path) == before
