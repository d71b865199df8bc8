"""`edgeloop worker`: real Kafka, real processes, both stores; the tables are always what the events mean."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edgeloop.clock import DAY_US, SystemClock
from edgeloop.events import DEAD_LETTERS_TOPIC, UPDATES_TOPIC
from edgeloop.home import SEALING_KEY
from edgeloop.log.base import Entry
from edgeloop.sealing import Sealer, encode
from edgeloop.store.schema import ATTRIBUTIONS
from tests.chaos.load import worlds
from tests.pipeline import Body, entry, in_order, tables_of
from tests.real.company import Company, ready, records
from tests.real.kafka import Broker
from tests.real.process import wait_until

pytestmark = pytest.mark.slow

Made = Callable[..., Company]


@pytest.fixture(params=["sqlite", "postgres"])
def company(
    request: pytest.FixtureRequest, kafka_broker: Broker, topic_prefix: str, tmp_path: Path
) -> Iterator[Company]:
    url = request.getfixturevalue("database_url") if request.param == "postgres" else ""
    with Company(kafka_broker, topic_prefix, tmp_path, url) as made:
        yield made


def some_worlds(seed: int, n: int) -> list[Body]:
    of_worlds = worlds(seed, 90)
    return [body for _ in range(n) for body in next(of_worlds)]


def append_in_pieces(company: Company, bodies: list[Body], rng: random.Random, most: int = 200) -> None:
    log = company.log()
    start = 0
    while start < len(bodies):
        size = rng.randrange(1, most)
        log.append([entry(body) for body in bodies[start : start + size]])
        start += size
    log.close()


def test_shuffled_events_give_the_oracles_tables(company: Company) -> None:
    company.create_topics(4)
    bodies = some_worlds(1, 12)
    random.Random(1).shuffle(bodies)
    append_in_pieces(company, bodies, random.Random(2))
    worker = company.start_worker()
    company.wait_until_drained()
    assert worker.end() == 0, worker.said
    company.expect(bodies)


def test_three_workers_over_four_and_six_partitions(company: Company) -> None:
    company.create_topics(lambda name: 6 if name in ("engagement.events", "feedback.responses") else 4)
    bodies = some_worlds(3, 15)
    random.Random(3).shuffle(bodies)
    half = len(bodies) // 2
    append_in_pieces(company, bodies[:half], random.Random(4))
    workers = [company.start_worker() for _ in range(3)]
    for worker in workers:
        wait_until(lambda worker=worker: ready(worker), "a worker", 60, worker.log)  # type: ignore[misc]
    append_in_pieces(company, bodies[half:], random.Random(5), most=30)
    company.wait_until_drained()
    assert [worker.end() for worker in workers] == [0, 0, 0]
    company.expect(bodies)


def test_a_second_worker_goes_on_where_the_first_was_killed(company: Company) -> None:
    company.create_topics(4)
    bodies = some_worlds(6, 10)
    append_in_pieces(company, bodies[: len(bodies) // 2], random.Random(6))
    first = company.start_worker()
    wait_until(lambda: (first.metric("records_total") or 0) > 0, "the first batch", 60, first.log)
    first.process.kill()
    first.process.wait()
    append_in_pieces(company, bodies[len(bodies) // 2 :], random.Random(7))
    second = company.start_worker()
    company.wait_until_drained()
    assert second.end() == 0
    company.expect(bodies)


def test_told_to_stop_at_any_moment_of_its_start_it_ends_at_once(company: Company) -> None:
    company.create_topics(4)
    bodies = some_worlds(9, 3)
    append_in_pieces(company, bodies, random.Random(9))
    workers = [company.start_worker() for _ in range(3)]  # each makes the groups of the others begin anew
    begun = [time.monotonic()] * 3
    for n, worker in enumerate(workers):
        wait_until(lambda worker=worker: "joins its group" in worker.said, "a worker", 60, worker.log)  # type: ignore[misc]
        time.sleep(0.3 * n)
        begun[n] = time.monotonic()
        worker.process.send_signal(signal.SIGTERM)
    for worker, at in zip(workers, begun, strict=True):
        assert worker.process.wait(60) == 0, worker.said
        assert time.monotonic() - at < 30, "it waited for something that does not come"
    last = company.start_worker()
    wait_until(lambda: ready(last), "a worker", 60, last.log)
    company.wait_until_drained()
    assert last.end() == 0
    company.expect(bodies)


def test_unreadable_records_are_dead_letters_and_a_partition_of_nothing_else_is_paused(company: Company) -> None:
    company.create_topics(1)
    bodies = some_worlds(8, 2)
    append_in_pieces(company, bodies, random.Random(8))
    log = company.log()
    log.append([Entry("edge.exposures", f"k{n}", b'{"type":') for n in range(1_200)])
    worker = company.start_worker()
    company.wait_until_drained()
    wait_until(lambda: (worker.metric("alerts_total") or 0) == 1, "an alert", 20, worker.log)
    log.append([Entry("edge.exposures", "k", b"more")])
    log.close()
    time.sleep(1.0)
    assert company.counts().dead_letters == 1_200
    assert "partition paused: edge.exposures/0" in worker.said
    assert worker.end() == 0
    company.expect(bodies)


def test_updates_say_of_every_outcome_what_the_table_says(company: Company) -> None:
    company.create_topics(4)
    bodies = some_worlds(9, 6)
    random.Random(9).shuffle(bodies)
    worker = company.start_worker(EDGELOOP_WORKER_UPDATES="true", EDGELOOP_WORKER_GATHER_MS="0")
    append_in_pieces(company, bodies, random.Random(10), most=60)
    company.wait_until_drained()
    # What a stop leaves in the outbox the next worker publishes; here there is none.
    wait_until(lambda: company.count("outbox") == 0, "an empty outbox", 60)
    assert worker.end() == 0
    latest: dict[tuple[str, str], dict[str, Any]] = {}
    for update in records(company, UPDATES_TOPIC):
        key = (update["subject"], update["outcome_id"])
        if key not in latest or update["revision"] >= latest[key]["revision"]:
            latest[key] = update
    told = [tuple(row[name] for name in ATTRIBUTIONS.names) for update in latest.values() for row in update["rows"]]
    assert in_order(told) == tables_of(company.reader())["attributions"]
    assert len(latest) > 100


def test_a_batch_that_fails_three_times_in_a_row_ends_the_worker(company: Company) -> None:
    company.create_topics(2)
    bodies = some_worlds(11, 3)
    append_in_pieces(company, bodies[:100], random.Random(11))
    worker = company.start_worker()
    company.wait_until_drained()
    before = company.offsets()
    company.execute("ALTER TABLE exposures RENAME TO exposures_elsewhere")
    append_in_pieces(company, bodies[100:], random.Random(12))
    assert worker.process.wait(60) == 1
    assert worker.said.count("a batch failed") >= 3
    assert company.offsets() == before, "offsets moved without their rows"
    company.execute("ALTER TABLE exposures_elsewhere RENAME TO exposures")
    again = company.start_worker()
    company.wait_until_drained()
    assert again.end() == 0
    company.expect(bodies)


def test_dead_letters_that_were_kept_long_enough_go(company: Company) -> None:
    company.create_topics(2)
    bodies = some_worlds(13, 2)
    append_in_pieces(company, bodies, random.Random(13))
    sealer = Sealer(company.home.secret(SEALING_KEY))
    now_us = SystemClock().now_us()
    letters = [
        sealer.dead_letter(
            reason="invalid",
            detail="d",
            source="http",
            place=f"{days} {n}",
            received_us=now_us - days * DAY_US,
            raw=b"{",
        )
        for days in (31, 29)
        for n in range(20)
    ]
    log = company.log()
    log.append([Entry(DEAD_LETTERS_TOPIC, one.dead_letter_id, encode(one)) for one in letters])
    log.close()
    workers = [company.start_worker(), company.start_worker()]
    company.wait_until_drained()
    for worker in workers:
        wait_until(lambda worker=worker: ready(worker), "a worker", 60, worker.log)  # type: ignore[misc]
    for worker in workers:
        assert worker.end() == 0, worker.said
    workers = [company.start_worker(), company.start_worker()]
    for worker in workers:
        wait_until(lambda worker=worker: ready(worker), "a worker", 60, worker.log)  # type: ignore[misc]
    wait_until(lambda: company.count("dead_letters") == 20, "the old ones' end", 60, workers[0].log)
    assert [worker.end() for worker in workers] == [0, 0]
    assert company.count("dead_letters") == 20
    company.expect(bodies)
