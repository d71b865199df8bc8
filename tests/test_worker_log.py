"""What may happen to Kafka's topics behind a worker's back: right rows, or an end that says what is lost."""

from __future__ import annotations

import itertools
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from os import environ
from pathlib import Path

import pytest
from kafka import TopicPartition

from tests.pipeline import Body, entry
from tests.real.company import Company, WorkerProcess, ready
from tests.real.kafka import Broker
from tests.real.process import wait_until
from tests.test_worker import append_in_pieces, some_worlds

pytestmark = pytest.mark.slow


@pytest.fixture
def company(kafka_broker: Broker, topic_prefix: str, tmp_path: Path) -> Iterator[Company]:
    with Company(kafka_broker, topic_prefix, tmp_path) as made:
        made.create_topics(2)
        yield made


def ended(worker: WorkerProcess) -> int:
    return worker.process.wait(60)


def edgeloop(company: Company, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "edgeloop", *words, "--home", str(company.home.path)],
        env=environ | company.environment | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_aborted_transactions_leave_gaps_and_no_rows(company: Company) -> None:
    bodies, never = some_worlds(31, 4), some_worlds(32, 2)
    rng = random.Random(31)
    producer = company.broker.producer(transactional_id=f"{company.prefix}tx", enable_idempotence=True, acks="all")
    producer.init_transactions()
    kept, dropped = iter(bodies), iter(never)

    def send(source: Iterator[Body], n: int, end: Callable[[], None]) -> int:
        producer.begin_transaction()
        sent = 0
        for body in itertools.islice(source, n):
            record = entry(body)
            producer.send(company.prefix + record.topic, key=record.key.encode(), value=record.value)
            sent += 1
        producer.flush()
        end()
        return sent

    worker = company.start_worker()
    while send(kept, rng.randrange(1, 60), producer.commit_transaction):
        send(dropped, rng.randrange(1, 20), producer.abort_transaction)
    send(iter(never), 5, producer.abort_transaction)  # nothing comes behind these
    producer.close()
    company.wait_until_drained()
    assert worker.end() == 0
    found = company.counts()
    assert found.base + found.superseded + found.duplicates == len(bodies)
    assert found.drained > len(bodies), "there were no gaps"
    company.expect_tables(bodies)


def test_a_topic_made_anew_ends_the_worker(company: Company) -> None:
    append_in_pieces(company, some_worlds(33, 2), random.Random(33))
    worker = company.start_worker()
    company.wait_until_drained()
    company.broker.delete_topic(f"{company.prefix}engagement.events")
    company.broker.create_topic(f"{company.prefix}engagement.events", 2)
    assert ended(worker) == 1
    assert "engagement.events/" in worker.said
    assert "made anew" in worker.said
    again = company.start_worker()
    assert ended(again) == 1
    assert "engagement.events" in again.said


def test_records_deleted_before_they_were_drained_are_named_and_can_be_given_up(company: Company) -> None:
    bodies = some_worlds(34, 3)
    append_in_pieces(company, bodies, random.Random(34))
    first = company.start_worker()
    company.wait_until_drained()
    assert first.end() == 0
    stored = dict(company.offsets())
    append_in_pieces(company, some_worlds(35, 3), random.Random(35))
    partition = TopicPartition(f"{company.prefix}edge.exposures", 0)
    seen = stored["edge.exposures", 0]
    with company.broker.admin() as admin:
        admin.delete_records({partition: seen + 7})
    second = company.start_worker()
    assert ended(second) == 1
    assert f"edge.exposures/0: the tables hold records up to {seen - 1}" in second.said
    assert f"records {seen} to {seen + 6} were deleted" in second.said
    skipped = edgeloop(company, "topics", "skip", "edge.exposures/0", "--to", str(seen + 7), "--yes")
    assert skipped.returncode == 0, skipped.stderr
    third = company.start_worker()
    company.wait_until_drained()
    assert third.end() == 0


def test_a_worker_of_other_rules_refuses_and_a_recompute_lets_it_in(company: Company) -> None:
    bodies = some_worlds(36, 3)
    append_in_pieces(company, bodies, random.Random(36))
    old = company.start_worker()
    company.wait_until_drained()
    rules = {"EDGELOOP_ATTRIBUTION_CREDIT_RULE": "linear"}
    new = company.start_worker(**rules)
    assert ended(new) == 1
    assert "credit_rule was last_touch and is linear" in new.said
    assert "edgeloop recompute" in new.said
    refused = edgeloop(company, "recompute", **rules)
    assert refused.returncode == 1, "a recompute beside a worker of the same home"
    assert old.end() == 0
    done = edgeloop(company, "recompute", **rules)
    assert done.returncode == 0, done.stderr
    late = company.start_worker()
    assert ended(late) == 1, "a worker of the old rules went on"
    again = company.start_worker(**rules)
    wait_until(lambda: ready(again), "a worker", 60, again.log)
    assert again.end() == 0


def test_without_topics_it_says_what_to_do(company: Company) -> None:
    bare = company.start_worker(EDGELOOP_KAFKA_TOPIC_PREFIX="nothing.")
    assert ended(bare) == 1
    assert "edgeloop topics create" in bare.said
