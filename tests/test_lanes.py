"""Several processes draining one home give the tables of one; several taking one file in give its events once."""

from __future__ import annotations

import io
import random
import shutil
from pathlib import Path
from typing import IO, cast

import msgspec
import pytest

from connectors import native
from edgeloop.app import ingest_parts, lanes
from edgeloop.app.ingest import ingest_files
from edgeloop.app.ingest_parts import Window, parts_of
from edgeloop.app.process import process
from edgeloop.errors import EdgeloopError
from edgeloop.home import Home
from edgeloop.log.local import LocalLog
from edgeloop.settings import Settings, WorkerSettings
from edgeloop.store.reader import SqliteReader
from edgeloop.store.sqlite import SqliteStore
from streams import Drained, Lane
from tests.pipeline import entry, tables
from tests.worlds import shuffled_with_duplicates, world

WORLDS = 40


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose log holds many small worlds, each with join keys of its own."""
    home = Home(tmp_path_factory.mktemp("lanes") / "home")
    home.create()
    log = LocalLog(home.log)
    for number in range(WORLDS):
        rng = random.Random(number)
        bodies = shuffled_with_duplicates(rng, world(rng, 200), 0.1)
        for body in bodies:
            for field in ("subject", "courier"):
                if field in body:
                    body[field] = f"{number}-{body[field]}"
        log.append([entry(body) for body in bodies])
    log.close()
    return home.path


@pytest.mark.slow
@pytest.mark.parametrize("of", [2, 3, 4])
def test_lanes_give_the_tables_of_one_process(filled: Path, tmp_path: Path, of: int) -> None:
    """Three lanes share no divisor with four partitions: they meet in shards, and must read again."""
    one, many = tmp_path / "one", tmp_path / "many"
    shutil.copytree(filled, one)
    shutil.copytree(filled, many)
    alone = process(Home(one), Settings())
    together = process(Home(many), Settings(worker=WorkerSettings(lanes=of)))
    assert together == alone
    assert alone.records > 8_000
    assert tables(many) == tables(one)
    reader = SqliteReader(many / "store.sqlite")
    ((waiting, deltas),) = reader.query(
        "SELECT (SELECT count(*) FROM dirty_keys), (SELECT count(*) FROM state_deltas)"
    )[1]
    reader.close()
    assert (waiting, deltas) == (0, 0)


@pytest.mark.slow
def test_a_lane_that_fails_says_why(filled: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    shutil.copytree(filled, home)
    store = SqliteStore(home / "store.sqlite")
    store.set_meta("rules", "{}")
    store.close()
    with (home / "lock").open("w") as lock, pytest.raises(EdgeloopError, match="under other rules"):
        lanes.run_lanes(Home(home), 2, lock.fileno(), None)


def test_every_partition_and_shard_is_of_one_lane() -> None:
    for of in (1, 2, 3, 4):
        every = [Lane(number, of) for number in range(of)]
        assert sorted(shard for lane in every for shard in lane.shards) == list(range(64))
        assert all(sum(lane.has_partition(p) for lane in every) == 1 for p in range(12))


def test_a_short_backlog_is_drained_alone_and_a_long_one_by_a_power_of_two(monkeypatch: pytest.MonkeyPatch) -> None:
    class Waiting:
        def __init__(self, records: int, partitions: int) -> None:
            self.records = records
            self.partitions = partitions

        def lag(self) -> int:
            return self.records

    def chosen(records: int, cores: int, **settings: int) -> int:
        monkeypatch.setattr(lanes.os, "cpu_count", lambda: cores)
        return lanes.lanes_for(Settings(), cast("lanes.Drain", Waiting(records, settings.get("partitions", 4))))

    assert chosen(1_000, 8) == 1
    assert chosen(10_000_000, 1) == 1
    assert chosen(10_000_000, 2) == 2
    assert chosen(10_000_000, 16) == 4
    assert chosen(10_000_000, 16, partitions=6) == 2
    assert chosen(10_000_000, 16, partitions=3) == 1


def exposure(number: int) -> bytes:
    return msgspec.json.encode(
        {
            "type": "exposure", "exposure_id": f"e{number}", "occurred_at": "2026-01-01T00:00:00Z",
            "customer_id": f"C-{number % 50}", "touchpoint": "app", "model_id": "eta", "model_version": "1",
        }
    )  # fmt: skip


@pytest.mark.parametrize("count", [1, 2, 3, 7])
@pytest.mark.parametrize("ends", [b"", b"\n"])
def test_parts_hold_every_line_once_under_its_number(count: int, ends: bytes) -> None:
    rng = random.Random(count)
    lines = [b"x" * rng.randrange(0, 30) for _ in range(200)]
    content = b"\n".join(lines) + ends
    file = io.BytesIO(content)
    found: list[tuple[str, bytes]] = []
    for part in parts_of(file, len(content), count):
        window = cast("IO[bytes]", Window(file, part))
        found += [(item.place, item.raw) for item in native.items_of_file(window, part.first_line)]
    assert found == [(f"line {n}", line) for n, line in enumerate(lines, start=1) if line]


@pytest.mark.slow
def test_a_long_file_is_taken_in_by_parts_and_bad_lines_keep_their_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [exposure(number) for number in range(3_000)]
    lines[10], lines[2_900] = b"{", b'{"type":"exposure"}'
    path = tmp_path / "events.ndjson"
    path.write_bytes(b"\n".join(lines) + b"\n")
    monkeypatch.setattr(ingest_parts, "WORTH_PARTS_BYTES", 1_000)
    monkeypatch.setattr(ingest_parts.os, "cpu_count", lambda: 3)
    shown: list[tuple[int, int]] = []
    home = Home(tmp_path / "home")
    report = ingest_files(home, Settings(), [path], "events", lambda done, total: shown.append((done, total)))
    assert (report.accepted, report.dead_letters) == (2_998, 2)
    assert report.by_type == {"exposure": 2_998}
    assert [problem.split(":")[0] for problem in report.problems] == [
        "events.ndjson, line 11",
        "events.ndjson, line 2901",
    ]
    assert shown[-1] == (path.stat().st_size, path.stat().st_size)
    assert process(home, Settings()) == Drained(3_000, 0)
    reader = SqliteReader(home.store)
    ((rows, ids),) = reader.query("SELECT count(*), count(DISTINCT exposure_id) FROM exposures")[1]
    reader.close()
    assert (rows, ids) == (2_998, 2_998)
