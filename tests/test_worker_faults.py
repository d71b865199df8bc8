"""Short forms of what `make chaos` does for long: whatever is killed or paused, the tables are what the events mean."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.chaos import workers
from tests.chaos.workers import Scene

pytestmark = pytest.mark.slow


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with Scene(tmp_path, seed=7) as made:
        yield made


@pytest.mark.parametrize("fault", [workers.workers_killed, workers.broker_killed, workers.database_killed])
def test_killed(scene: Scene, fault: Callable[[Scene, int], None]) -> None:
    fault(scene, 2)


def test_workers_come_and_go(scene: Scene) -> None:
    workers.workers_come_and_go(scene, 4)


def test_a_paused_worker_goes_on_with_what_it_remembers(scene: Scene) -> None:
    workers.worker_paused(scene)


def test_partitions_added_under_load(scene: Scene) -> None:
    workers.partitions_added(scene)
