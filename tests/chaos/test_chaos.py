"""The long editions: 30 kills of each under load, 50 copies of files in the middle of work (`make chaos`).

On Kafka and PostgreSQL: 30 kills of workers, 5 of the broker, 5 of the database, 10 workers that come or go.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from edgeloop.home import Home
from tests.chaos import workers
from tests.chaos.workers import Scene
from tests.test_crash import killed_under_load, up_killed_under_load
from tests.test_power_loss import power_lost

pytestmark = [pytest.mark.chaos, pytest.mark.slow]

KILLS = 30


@pytest.mark.parametrize("killed", [killed_under_load, up_killed_under_load], ids=["process", "up"])
def test_killed_thirty_times(tmp_path: Path, killed: Callable[..., None]) -> None:
    home = Home(tmp_path / "home")
    home.create()
    killed(home.path, kills=KILLS, seed=1)


@pytest.mark.parametrize("seed", range(5))
def test_power_lost_fifty_times(tmp_path: Path, seed: int) -> None:
    power_lost(tmp_path, count=10, seed=seed)


@pytest.mark.parametrize(
    ("fault", "times"),
    [
        (workers.workers_killed, 30),
        (workers.broker_killed, 5),
        (workers.database_killed, 5),
        (workers.workers_come_and_go, 10),
    ],
    ids=["workers", "broker", "database", "come and go"],
)
def test_kafka_and_postgresql(tmp_path: Path, fault: Callable[[Scene, int], None], times: int) -> None:
    with Scene(tmp_path, seed=times) as scene:
        fault(scene, times)
