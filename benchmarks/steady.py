"""How soon an event is in the tables under steady traffic: ``python -m benchmarks.steady --seconds 600``.

Starts a broker, a store and workers, produces at a steady rate, and prints how long it took from the producer's send to
the commit of the rows (percentiles), how many batches were refused, and whether the workers' memory grew.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import threading
import time
from collections.abc import Iterable
from pathlib import Path

from benchmarks.peers.load import door_lines, log_entries, producer_of
from edgeloop.log.base import Entry
from tests.real.company import Company, WorkerProcess
from tests.real.kafka import Broker
from tests.real.postgres import Postgres

_LOOK_S = 0.01
_EVERY = 50
"""Of so many events one is timed."""
_MEMORY_S = 5.0


class Watch:
    """Notes when offsets are passed in the store."""

    def __init__(self, company: Company) -> None:
        self._company = company
        self._sent: list[tuple[str, int, int, float]] = []
        self._lock = threading.Lock()
        self._ending = False
        self.took_s: list[float] = []
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def sent(self, topic: str, partition: int, offset: int, at: float) -> None:
        """A timed event is at this place, and was sent then."""
        with self._lock:
            self._sent.append((topic, partition, offset, at))

    def end(self) -> None:
        """Wait for the last."""
        self._ending = True
        self._thread.join()

    def _run(self) -> None:
        while True:
            try:
                reader = self._company.reader()
                break
            except Exception:
                time.sleep(0.2)
        while not (self._ending and not self._sent):
            rows = reader.query("SELECT topic, partition, next_offset FROM offsets")[1]
            now = time.monotonic()
            stored = {(topic, partition): offset for topic, partition, offset in rows}
            with self._lock:
                waiting = []
                for probe in self._sent:
                    if stored.get(probe[:2], 0) > probe[2]:
                        self.took_s.append(now - probe[3])
                    else:
                        waiting.append(probe)
                self._sent = waiting
            time.sleep(_LOOK_S)
        reader.close()


async def produce(company: Company, blocks: Iterable[list[Entry]], per_s: float, watch: Watch) -> None:
    """Send at a rate, some dozens at a time."""
    producer = producer_of(company.broker.bootstrap)
    await producer.start()
    timed: set[asyncio.Task[None]] = set()

    async def send_timed(event: Entry, at: float) -> None:
        place = await producer.send_and_wait(company.prefix + event.topic, key=event.key.encode(), value=event.value)
        watch.sent(event.topic, place.partition, place.offset, at)

    begin = time.monotonic()
    for number, event in enumerate(event for block in blocks for event in block):
        if number % _EVERY == 0:
            await asyncio.sleep(max(0.0, begin + number / per_s - time.monotonic()))
            task = asyncio.create_task(send_timed(event, time.monotonic()))
            timed.add(task)
            task.add_done_callback(timed.discard)
        else:
            await producer.send(company.prefix + event.topic, key=event.key.encode(), value=event.value)
    await asyncio.gather(*timed)
    await producer.stop()


def memory_mb(worker: WorkerProcess) -> float:
    """Resident memory of a worker now."""
    lines = Path(f"/proc/{worker.process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))


def main() -> None:
    """Start, produce, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--per-s", type=float, default=5_000)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--store", choices=("postgres", "sqlite"), default="postgres")
    arguments = parser.parse_args()
    events = round(arguments.per_s * arguments.seconds)
    with tempfile.TemporaryDirectory() as temporary, Broker(heap_mb=1024) as broker, Postgres() as postgres:
        url = postgres.create_database() if arguments.store == "postgres" else ""
        company = Company(broker, "steady.", Path(temporary), url)
        company.create_topics(4)
        workers = [company.start_worker() for _ in range(arguments.workers)]
        memory: list[list[float]] = []
        watch = Watch(company)
        stop = threading.Event()

        def look() -> None:
            while not stop.wait(_MEMORY_S):
                memory.append([memory_mb(worker) for worker in workers])

        looking = threading.Thread(target=look)
        looking.start()
        time.sleep(5)
        begin = time.monotonic()
        asyncio.run(produce(company, log_entries(door_lines(events)), arguments.per_s, watch))
        took = time.monotonic() - begin
        watch.end()
        stop.set()
        looking.join()
        cuts = statistics.quantiles(watch.took_s, n=1_000)
        rate = events / took
        print(f"{events:,} events in {took:.0f} s ({rate:,.0f}/s), {arguments.workers} workers, {arguments.store}")
        told = ", ".join(f"p{p} {cuts[round(p * 10) - 1]:.2f} s" for p in (50, 95, 99, 99.9))
        print(f"send to commit: {told}, longest {max(watch.took_s):.2f} s, of {len(watch.took_s):,}")
        for name in ("failed_batches", "refused_batches", "unavailable", "assignments", "batches"):
            print(f"{name}: {[worker.metric(f'{name}_total') for worker in workers]}")
        for number in range(arguments.workers):
            of_worker = [sample[number] for sample in memory]
            quarter = max(1, len(of_worker) // 4)
            warm, last = max(of_worker[quarter : 2 * quarter] or of_worker), max(of_worker[-quarter:])
            grown = last / warm - 1
            print(f"worker {number + 1}: {warm:.0f} MB in the second quarter, {last:.0f} MB in the last ({grown:+.0%})")
        company.close()


if __name__ == "__main__":
    main()
