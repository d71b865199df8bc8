"""`edgeloop process` killed at random moments and started again leaves the tables that the log means."""

from __future__ import annotations

import fcntl
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from edgeloop.home import Home
from edgeloop.settings import AttributionSettings
from edgeloop.store.reader import SqliteReader
from tests.chaos.load import Counting, Feeder, after_commit, any_time, command, kill_again_and_again, startup_s
from tests.chaos.senders import Senders, free_port, known_by
from tests.pipeline import Body, counts, expect, logged, tables

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ever")]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    made = Home(tmp_path / "home")
    made.create()
    return made.path


def killed_under_load(home: Path, *, kills: int, seed: int) -> None:
    """Kill the drain so often while events arrive and a reader counts, then let it end: the tables are the oracle's."""
    feeder, rng, startup = Feeder(home, seed=seed, per_s=500), random.Random(seed), startup_s(home)
    with feeder, Counting(home) as reads:
        moments = [any_time(rng, 0.7 * startup, 1.5 * startup), after_commit(home, feeder, rng)]
        kill_again_and_again(home, feeder, ["process"], kills=kills, moments=moments)
    seen = {found.drained for found in reads.looked}
    assert len(seen) > kills / 2, "the reader saw hardly anything change"
    ran = subprocess.run(command(home, "process"), check=False, capture_output=True, text=True)
    assert ran.returncode in (0, 3), ran.stderr
    everything_is_there(home, feeder)


def everything_is_there(home: Path, feeder: Feeder) -> None:
    """What was fed is drained and counted once, and the tables are the oracle's."""
    counted = counts(home)
    assert counted.drained == len(feeder.bodies) + feeder.undecodable
    assert counted.dead_letters == feeder.undecodable
    all_drained(home, feeder.bodies)


def all_drained(home: Path, bodies: Sequence[Body]) -> None:
    """Every record is in one place, nothing waits, and the tables are what the events mean."""
    assert counts(home).balanced
    assert waiting(home) == 0
    expect(tables(home), bodies, AttributionSettings())


def waiting(home: Path) -> int:
    """How much is left to do on couriers' keys."""
    reader = SqliteReader(home / "store.sqlite")
    ((left,),) = reader.query("SELECT count(*) FROM dirty_keys")[1]
    reader.close()
    return int(left)


def up_killed_under_load(home: Path, *, kills: int, seed: int) -> None:
    """The same with `edgeloop up` and senders that repeat what was not answered: nothing answered 2xx is lost."""
    port = free_port()
    words = ["up", "--port", str(port)]
    senders, rng, startup = Senders(home, port=port, seed=seed, per_s=400), random.Random(seed), startup_s(home)
    with senders, Counting(home):
        moments = [senders.after_answer, after_commit(home, senders, rng), any_time(rng, startup, 4 * startup)]
        kill_again_and_again(home, senders, words, kills=kills, moments=moments)
        process = subprocess.Popen(command(home, *words), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        try:
            senders.stop()
            bodies, undecodable = logged(home)
            patience = time.monotonic() + 120
            while counts(home).drained < len(bodies) or waiting(home):
                assert process.poll() is None, process.communicate()[1].decode()
                assert time.monotonic() < patience, (counts(home), len(bodies), waiting(home))
                time.sleep(0.05)
            process.terminate()
            _, errors = process.communicate(timeout=60)
            assert process.returncode == 0, errors.decode()
        finally:
            process.kill()
            process.communicate()
    assert undecodable == 0
    lost = senders.taken - Counter(known_by(body) for body in bodies)
    assert not lost, f"{lost.total()} of {senders.taken.total()} events that were answered 202 are not in the log"
    assert senders.taken.total() > 0.8 * 40 * senders.batches, "the door took hardly anything"
    all_drained(home, bodies)


def test_killed_and_started_again(home: Path) -> None:
    killed_under_load(home, kills=4, seed=11)


def test_up_killed_and_started_again(home: Path) -> None:
    up_killed_under_load(home, kills=4, seed=12)


def test_a_second_consumer_waits_and_then_is_refused(home: Path) -> None:
    with (home / "consumer.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        begin = time.monotonic()
        ran = subprocess.run(command(home, "process"), capture_output=True, text=True, check=False)
        waited_s = time.monotonic() - begin
    assert ran.returncode == 1
    assert 10 <= waited_s < 30
    first, last = ran.stderr.splitlines()
    assert "another process is draining" in first
    assert "standing by, for 10 s at most" in first
    assert "wait for it to end, then run this again" in last


def test_a_second_consumer_takes_over_when_the_first_ends(home: Path) -> None:
    with (home / "consumer.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        second = subprocess.Popen(command(home, "process"), stderr=subprocess.PIPE, text=True)
        assert second.stderr is not None
        assert "standing by" in second.stderr.readline()
        assert second.poll() is None
    _, errors = second.communicate(timeout=30)
    assert second.returncode == 0, errors
    assert "processed: 0 records" in errors


def test_a_lock_file_that_a_crash_left_stops_nothing(home: Path) -> None:
    held = "import fcntl, sys, time; f = open(sys.argv[1], 'w'); fcntl.flock(f, fcntl.LOCK_EX); print(flush=True)"
    holder = subprocess.Popen(
        [sys.executable, "-c", held + "; time.sleep(600)", home / "consumer.lock"], stdout=subprocess.PIPE
    )
    assert holder.stdout is not None
    holder.stdout.readline()
    holder.kill()
    holder.communicate()
    assert (home / "consumer.lock").exists()
    ran = subprocess.run(command(home, "process"), capture_output=True, text=True, check=False)
    assert (ran.returncode, "standing by" in ran.stderr) == (0, False)
    (home / "consumer.lock").write_text("12345\n", encoding="ascii")
    assert subprocess.run(command(home, "process"), capture_output=True, check=False).returncode == 0
