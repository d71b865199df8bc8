"""`edgeloop process` killed at random moments and started again leaves the tables of a run that was left alone."""

from __future__ import annotations

import fcntl
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edgeloop.home import Home
from edgeloop.log.local import LocalLog
from edgeloop.store.sqlite import Reader
from tests.pipeline import entry, tables
from tests.worlds import shuffled_with_duplicates, world

pytestmark = pytest.mark.slow

WORLDS = 120
KILLS = 4


def command(home: Path) -> list[str]:
    return [sys.executable, "-m", "edgeloop", "process", "--home", str(home)]


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose log holds many small worlds, each with join keys of its own."""
    home = Home(tmp_path_factory.mktemp("crash") / "home")
    home.create()
    log = LocalLog(home.log)
    for number in range(WORLDS):
        rng = random.Random(number)
        bodies = shuffled_with_duplicates(rng, world(rng, 250), 0.1)
        for body in bodies:
            for field in ("subject", "courier"):
                if field in body:
                    body[field] = f"{number}-{body[field]}"
        log.append([entry(body) for body in bodies])
    log.close()
    return home.path


def test_killed_and_started_again(filled: Path, tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    shutil.copytree(filled, whole)
    shutil.copytree(filled, killed)
    begin = time.monotonic()
    subprocess.run(command(whole), check=True, capture_output=True)
    lasted = time.monotonic() - begin
    rng = random.Random(11)
    interrupted = 0
    for _ in range(KILLS):
        process = subprocess.Popen(command(killed), stderr=subprocess.DEVNULL)
        try:
            process.wait(rng.uniform(0.3, 0.9) * lasted)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            interrupted += 1
    subprocess.run(command(killed), check=True, capture_output=True)
    assert interrupted > 0, "no run was interrupted: nothing was shown"
    assert tables(killed) == tables(whole)
    reader = Reader(killed / "store.sqlite")
    ((waiting,),) = reader.query("SELECT count(*) FROM dirty_keys")[1]
    reader.close()
    assert waiting == 0


def test_a_second_consumer_is_refused(filled: Path) -> None:
    with (filled / "consumer.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        ran = subprocess.run(command(filled), capture_output=True, text=True, check=False)
    assert ran.returncode == 1
    assert "another process is draining" in ran.stderr
