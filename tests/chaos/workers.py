"""Workers, brokers and databases that are killed while events keep coming; in the end the tables are the oracle's."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from tests.chaos.load import Feeder
from tests.real.company import Company, WorkerProcess, ready
from tests.real.kafka import Broker
from tests.real.postgres import Postgres
from tests.real.process import wait_until

PER_S = 400
_SESSION_S = 10.0


class Scene:
    """A company under load, with servers of its own that may be killed."""

    def __init__(self, folder: Path, *, seed: int, partitions: int | Callable[[str], int] = 4) -> None:
        self.rng = random.Random(seed)
        self._open = ExitStack()
        self.broker = self._open.enter_context(Broker())
        self.postgres = self._open.enter_context(Postgres())
        self.company = Company(self.broker, "c.", folder, self.postgres.create_database())
        self._open.callback(self.company.close)
        self.company.create_topics(partitions)
        self._log = self.company.log()
        self._open.callback(self._log.close)
        self.feeder = Feeder(self.company.home.path, seed=seed, per_s=PER_S, log=self._log)

    def __enter__(self) -> Scene:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def worker(self) -> WorkerProcess:
        """One more worker, when it has joined."""
        worker = self.company.start_worker()
        wait_until(lambda: ready(worker), "a worker", 90, worker.log)
        return worker

    def pause(self, low_s: float, high_s: float) -> None:
        """Some time."""
        time.sleep(self.rng.uniform(low_s, high_s))

    def end(self, seconds: float = 180.0) -> None:
        """Wait for all that was sent; nothing is lost, nothing is there twice, every row is right."""
        self.company.wait_until_drained(seconds)
        counted = self.company.counts()
        assert counted.drained >= len(self.feeder.bodies) + self.feeder.undecodable
        if not self.feeder.tried_again:  # what a sender tried again may be in twice
            assert counted.drained == len(self.feeder.bodies) + self.feeder.undecodable
            assert counted.dead_letters == self.feeder.undecodable
        self.company.expect(self.feeder.bodies)


def workers_killed(scene: Scene, kills: int) -> None:
    """Two workers; one of them is killed, and another comes in its place, again and again."""
    with scene.feeder:
        workers = [scene.worker(), scene.worker()]
        for _ in range(kills):
            scene.pause(0.1, 3.0)
            place = scene.rng.randrange(2)
            workers[place].process.kill()
            workers[place].process.wait()
            workers[place] = scene.company.start_worker()
            scene.pause(0.5, 2.5)
    scene.end()


def broker_killed(scene: Scene, kills: int) -> None:
    """The only broker is killed and comes again; senders and the worker wait for it, or try again."""
    with scene.feeder:
        scene.worker()
        for _ in range(kills):
            scene.pause(1.0, 4.0)
            scene.broker.kill()
            scene.pause(0.0, 3.0)
            scene.broker.restart()
    scene.end()


def database_killed(scene: Scene, kills: int) -> None:
    """PostgreSQL is killed and comes again."""
    with scene.feeder:
        workers = [scene.worker(), scene.worker()]
        for _ in range(kills):
            scene.pause(0.5, 4.0)
            scene.postgres.kill()
            scene.pause(0.0, 3.0)
            scene.postgres.restart()
    scene.end()
    assert [worker.process.poll() for worker in workers] == [None, None], "a worker ended for a database that came back"


def workers_come_and_go(scene: Scene, changes: int) -> None:
    """Workers join and leave, as an operator scales them."""
    with scene.feeder:
        workers = [scene.worker()]
        for _ in range(changes):
            scene.pause(0.5, 3.0)
            if len(workers) > 1 and (len(workers) == 3 or scene.rng.random() < 0.5):
                leaving = workers.pop(scene.rng.randrange(len(workers)))
                wait_until(lambda leaving=leaving: ready(leaving), "a worker", 90, leaving.log)  # type: ignore[misc]
                assert leaving.end() == 0, leaving.said
            else:
                workers.append(scene.company.start_worker())
    scene.end()


def worker_paused(scene: Scene) -> None:
    """A worker stands still for longer than its session, then goes on with what it remembers."""
    with scene.feeder:
        first, _ = scene.worker(), scene.worker()
        scene.pause(3.0, 4.0)
        first.process.send_signal(signal.SIGSTOP)
        scene.pause(_SESSION_S + 4, _SESSION_S + 6)
        first.process.send_signal(signal.SIGCONT)
        scene.pause(5.0, 6.0)
    scene.end()
    assert first.process.poll() is None


def partitions_added(scene: Scene) -> None:
    """Topics grow under load: keys change their partitions, and nothing else."""
    with scene.feeder:
        scene.worker()
        scene.worker()
        scene.pause(2.0, 3.0)
        for topic, total in (("edge.exposures", 6), ("engagement.events", 8)):
            scene.broker.add_partitions(scene.company.prefix + topic, total)
        scene.pause(14.0, 16.0)
    scene.end()
