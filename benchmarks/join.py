"""One join, several engines, one broker: ``python -m benchmarks.join`` prints what each makes of the same load.

The load goes to Kafka once (`benchmarks.peers.load`). Each engine reads it from the beginning in a consumer group of
its own and joins exposures with engagement by customer within 7 days. Matches are counted in the process and not
produced, except those of ``kafka_streams_eos``, which are records of a topic, each once; ours are rows of the store.
Each runs once with one process (or thread) and once with two, and the better one is shown. The broker works on the same
cores and is not counted.

A second table shows what each loses and gets wrong when devices were offline (`benchmarks.peers.late`).
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks.peers.late_runs import LateRow, late_rows
from benchmarks.peers.load import Pairs, create_topics, door_lines, log_entries, produce
from benchmarks.peers.meter import PAIRS_WINDOW_H
from benchmarks.peers.ours import Ours
from benchmarks.peers.runners import KafkaStreams, PythonPeer, Quix
from benchmarks.peers.running import EngineError, Measured, Runner, Task, fresh_folder, measure
from tests.real.kafka import Broker
from tests.real.postgres import Postgres

_REFERENCE = "kafka_streams"
_GRACE_H = 24.0
_PREFIX = "load."


def runners(postgres: Postgres | None) -> list[Runner]:
    """Every engine of the table, in its order; those on PostgreSQL only where there is a server."""
    found: list[Runner] = [
        PythonPeer("raw", "raw", joins=False),
        PythonPeer("faust_plain", "faust_plain", joins=False),
        PythonPeer("faust_cython", "faust_plain", "--cython", joins=False),
        PythonPeer("faust_table", "faust_table", "--cython"),
        Quix(),
        KafkaStreams(),
        KafkaStreams(exactly_once=True),
        Ours("ours_sqlite"),
    ]
    return found if postgres is None else [*found, Ours("ours_postgres", postgres)]


_JAVA = (_REFERENCE, "kafka_streams_eos")
NAMES = ("raw", "faust_plain", "faust_cython", "faust_table", "quix", *_JAVA, "ours_sqlite", "ours_postgres")


def main() -> None:
    """Start what is needed, produce, run, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=600_000)
    parser.add_argument("--peers", help=f"of {','.join(NAMES)}; all by default")
    parser.add_argument("--parallel", default="1,2", help="numbers of processes or threads to try")
    parser.add_argument("--couriers", action="store_true", help="exposures name their courier, a second key for ours")
    parser.add_argument("--no-late", action="store_true", help="leave the late scenario out")
    parser.add_argument("--only-late", action="store_true", help="nothing but the late scenario")
    parser.add_argument("--folder", type=Path, help="where to work; a temporary folder by default")
    arguments = parser.parse_args()
    wanted = arguments.peers.split(",") if arguments.peers else list(NAMES)
    if unknown := [name for name in wanted if name not in NAMES]:
        parser.error(f"--peers: {unknown[0]!r} is none of {', '.join(NAMES)}")
    parallel = [int(number) for number in arguments.parallel.split(",")]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=arguments.folder)))
        postgres = stack.enter_context(Postgres()) if "ours_postgres" in wanted else None
        engines = [engine for engine in runners(postgres) if engine.name in wanted]
        for engine in engines:
            engine.prepare()
        broker = stack.enter_context(Broker(heap_mb=1024))
        if not arguments.only_late:
            _throughput(engines, broker, folder, arguments.events, parallel, couriers=arguments.couriers)
        if not arguments.no_late:
            _print_late(late_rows([engine for engine in engines if engine.joins], broker, folder))


def _throughput(
    engines: Sequence[Runner], broker: Broker, folder: Path, events: int, parallel: Sequence[int], *, couriers: bool
) -> None:
    create_topics(broker, _PREFIX)
    pairs = Pairs(PAIRS_WINDOW_H)
    print(f"producing {events:,} records …", file=sys.stderr)
    blocks = pairs.watch(log_entries(door_lines(events, couriers=couriers)))
    sent = asyncio.run(produce(broker.bootstrap, _PREFIX, blocks))
    true_pairs = pairs.count()
    best: dict[str, Measured] = {}
    for engine in engines:
        for number in parallel:
            print(f"{engine.name} with {number} …", file=sys.stderr)
            own = fresh_folder(folder, engine.name)
            task = Task(broker.bootstrap, _PREFIX, sent, number, own, PAIRS_WINDOW_H, _GRACE_H)
            try:
                found = measure(engine, task)
            except EngineError as error:
                print(error, file=sys.stderr)
                continue
            print(f"{engine.name} with {number}: {found.rate:,.0f}/s", file=sys.stderr)
            if engine.name not in best or found.rate > best[engine.name].rate:
                best[engine.name] = found
    reference = best.get(_REFERENCE)
    print(f"\n{os.cpu_count()} cores, {sent:,} records, {true_pairs:,} pairs within {PAIRS_WINDOW_H:.0f} h")
    print(f"{'':<18}{'with':>6}{'records/s':>12}{'CPU s/million':>15}{'peak MB':>10}{'of Streams':>12}{'pairs':>9}")
    for engine in engines:
        if engine.name not in best:
            print(f"{engine.name:<18}  failed")
            continue
        found = best[engine.name]
        ratio = f"{found.rate / reference.rate:.2f}" if reference else ""
        joined = f"{found.progress.joined / true_pairs:.1%}" if found.progress.joined else ""
        print(
            f"{engine.name:<18}{found.parallel:>6}{found.rate:>12,.0f}{found.cpu_of_million:>15.1f}"
            f"{found.peak_mb:>10,.0f}{ratio:>12}{joined:>9}"
        )


def _print_late(rows: Sequence[LateRow]) -> None:
    if not rows:
        return
    print(f"\nlate arrivals, {rows[0].latest.matches:,} true matches")
    print(f"{'':<28}{'latest: lost':>14}{'wrong':>8}{'last: lost':>14}{'wrong':>8}{'repeats':>10}")
    for row in rows:
        print(
            f"{row.name:<28}{row.latest.lost:>14,}{row.latest.wrong:>8,}{row.last.lost:>14,}{row.last.wrong:>8,}"
            f"{row.repeats:>10,}"
        )


if __name__ == "__main__":
    main()
