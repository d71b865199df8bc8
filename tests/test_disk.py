"""A disk that is full and one that may only be read: words, an exit code, nothing half done, and it goes on after."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw
import httpx
import pytest

from edgeloop.app.process import process
from edgeloop.errors import HomeError
from edgeloop.home import Home
from edgeloop.log.base import Entry, LogUnavailableError
from edgeloop.log.local import LocalLog
from edgeloop.settings import Settings
from edgeloop.sqlite import connect_read_only
from edgeloop.store.sqlite import SqliteStore
from tests.chaos.load import command
from tests.chaos.senders import free_port
from tests.pipeline import tables
from tests.test_bad_input import Ran, events
from tests.test_door import SETTINGS as DOOR
from tests.test_door import Served, exposure, serving

_MB = 1_000_000


def run(home: Path, *words: str) -> Ran:
    ran = subprocess.run(
        command(home, *words), capture_output=True, text=True, check=False, cwd=home.parent, timeout=60
    )
    assert "Traceback" not in ran.stderr, ran.stderr
    return Ran(ran.returncode, ran.stdout, ran.stderr)


class Disk:
    """A small file system in memory."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def mounted(self, options: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{options}", self.path], check=True)

    def fill(self) -> None:
        """Leave no room."""
        with (self.path / "ballast").open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4_096))
            except OSError:
                pass

    def free(self) -> None:
        (self.path / "ballast").unlink()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    path = tmp_path / "disk"
    path.mkdir()
    if shutil.which("mount") is None:
        pytest.skip("no mount here")
    ran = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24m,mode=700", "tmpfs", path], capture_output=True, check=False
    )
    if ran.returncode != 0:
        pytest.skip("mounting is not permitted here")
    try:
        yield Disk(path)
    finally:
        subprocess.run(["umount", "-l", path], check=True)


@contextmanager
def served(home: Path) -> Iterator[Callable[[bytes], httpx.Response]]:
    """`edgeloop serve` on a home; gives what posts to it."""
    key = run(home, "keys", "create").out.strip()
    port = free_port()
    process = subprocess.Popen(command(home, "serve", "--port", str(port)), stderr=subprocess.DEVNULL)
    client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30, trust_env=False)
    try:
        while True:
            try:
                client.get("/livez")
                break
            except httpx.ConnectError:
                assert process.poll() is None
        yield lambda body: client.post("/v1/events", content=body, headers={"Authorization": f"Bearer {key}"})
    finally:
        client.close()
        process.terminate()
        process.wait(30)


@pytest.mark.slow
def test_a_door_on_a_full_disk_answers_503_and_takes_events_again_once_there_is_room(disk: Disk) -> None:
    home = disk.path / "home"
    with served(home) as post:
        assert post(events(0, 10)).status_code == 202
        disk.fill()
        body = events(10, 2_000)
        answer = post(body)
        while answer.status_code == 202:  # what the log file still had room for
            body = body.replace(b'"g-', b'"g-g')
            answer = post(body)
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
        before = logged_ids(home)
        assert not any(f'"{name}"' in body.decode() for name in before), "nothing of what was refused"
        disk.free()
        assert post(body).status_code == 202
        assert sorted(logged_ids(home)) == sorted(before + [json.loads(line)["event_id"] for line in body.splitlines()])


def logged_ids(home: Path) -> list[str]:
    log = LocalLog(home / "log.sqlite", read_only=True)
    values = [
        value for p in range(log.partitions("engagement.events"))
        for value in log.read("engagement.events", p, 0, 1_000_000, 1 << 30).values
    ]  # fmt: skip
    log.close()
    return [json.loads(value)["event_id"] for value in values]


@pytest.mark.slow
def test_ingest_on_a_full_disk_says_that_what_came_before_is_in(disk: Disk, tmp_path: Path) -> None:
    home = disk.path / "home"
    source = tmp_path / "many.ndjson"
    source.write_bytes(events(0, 120_000))
    ran = run(home, "ingest", str(source))
    assert (ran.code, ran.out) == (1, "")
    assert "disk is full. Events up to there are in; run the same again" in ran.err
    there = len(logged_ids(home))
    assert 5_000 <= there < 120_000
    disk.mounted("size=200m")
    assert run(home, "ingest", str(source)).code == 0
    run(home, "process")
    assert json.loads(run(home, "sql", "SELECT count(*) AS n FROM engagement", "--json").out) == [{"n": 120_000}]


@pytest.mark.slow
def test_process_on_a_full_disk_names_the_store_and_goes_on_after(disk: Disk, tmp_path: Path) -> None:
    home = disk.path / "home"
    source = tmp_path / "some.ndjson"
    source.write_bytes(events(0, 52_000))
    assert run(home, "ingest", str(source)).code == 0
    for _ in range(2):
        ran = run(home, "process")
        assert ran.code == 1
        assert f"{home / 'store.sqlite'}" in ran.err
        assert "full" in ran.err
    assert run(home, "sql", "SELECT count(*) FROM engagement").code == 0
    disk.mounted("size=200m")
    assert run(home, "process").code == 0
    other = tmp_path / "other"
    shutil.copytree(home / "keys", other / "keys")
    shutil.copy(home / "log.sqlite", other / "log.sqlite")
    assert run(other, "process").code == 0
    assert tables(home) == tables(other)


@pytest.mark.slow
def test_a_new_home_on_a_full_disk(disk: Disk) -> None:
    disk.fill()
    source = disk.path.parent / "a.ndjson"
    source.write_bytes(events(0, 1))
    ran = run(disk.path / "home", "ingest", str(source))
    assert ran.code == 1
    assert f"cannot write {disk.path / 'home' / 'keys' / 'pseudonym.key'}: No space left on device" in ran.err
    assert not list((disk.path / "home").rglob("*key*.*[0-9]")), "no half a key is left"
    disk.free()
    assert run(disk.path / "home", "ingest", str(source)).code == 0


READING = (
    (("sql", "SELECT count(*) AS n FROM engagement"), "100"),
    (("tables",), "engagement"),
    (("changes",), "change"),
    (("dead-letters", "list"), "malformed"),
)
WRITING = (
    ("ingest", "{file}"),
    ("process",),
    ("serve", "--port", "0"),
    ("keys", "create"),
    ("freeze", "--month", "2026-02"),
    ("uplift", "--month", "2026-02"),
    ("dead-letters", "replay", "--all"),
    ("replay", "{export}"),
)


@pytest.mark.slow
@pytest.mark.parametrize("left", ["closed", "open"])
def test_a_home_that_may_only_be_read(disk: Disk, tmp_path: Path, left: str) -> None:
    home = disk.path / "home"
    source = tmp_path / "a.ndjson"
    source.write_bytes(events(0, 100) + b"nonsense\n")
    assert run(home, "ingest", str(source)).code == 3
    assert run(home, "process").code == 0
    assert run(home, "replay", "--export", str(tmp_path / "all.gz")).code == 0
    if left == "open":
        # As in a copy of a home at work: the log between its files, and nobody who has it open.
        crash = "import apsw, os, sys; db = apsw.Connection(sys.argv[1])"
        crash += "; db.execute(\"INSERT INTO meta VALUES ('crash', 'now')\"); os._exit(0)"
        subprocess.run([sys.executable, "-c", crash, str(home / "store.sqlite")], check=True)
        (home / "store.sqlite-shm").unlink()
        assert (home / "store.sqlite-wal").stat().st_size
    disk.mounted("ro")
    try:
        for words, says in READING:
            ran = run(home, *words)
            if left == "open" and words[0] != "tables":
                assert ran.code == 1
                assert "Copy the whole home to a disk that can be written" in ran.err
            else:
                assert ran.code == 0, (words, ran.err)
                assert says in ran.out
        for words in WRITING:
            filled = [word.format(file=source, export=tmp_path / "all.gz") for word in words]
            ran = run(home, *filled)
            assert ran.code == 1, (words, ran)
            assert str(home) in ran.err or "store.sqlite" in ran.err, (words, ran.err)
            assert "unexpected" not in ran.err, (words, ran.err)
        if left == "closed":
            assert run(home, "replay", "--export", str(tmp_path / "again.gz")).code == 0
            assert gzip.decompress((tmp_path / "again.gz").read_bytes()) == gzip.decompress(
                (tmp_path / "all.gz").read_bytes()
            )
    finally:
        disk.mounted("rw")
    assert run(home, "process").code == 0, "and afterwards as ever"


# The same without a disk of one's own: SQLite is told how large a file may become.


def bounded(monkeypatch: pytest.MonkeyPatch, place: type[Any], pages: int) -> None:
    opened = place.__init__

    def init(self: Any, *args: Any, **named: Any) -> None:
        opened(self, *args, **named)
        self._db.execute(f"PRAGMA max_page_count = {pages}")

    monkeypatch.setattr(place, "__init__", init)


def until_full(log: LocalLog, entries: list[Entry]) -> int:
    """How many were taken, appended again and again until the log said that there is no room."""
    taken = 0
    while True:
        try:
            log.append(entries)
        except LogUnavailableError as error:
            said = str(error)
            break
        taken += len(entries)
    assert "log.sqlite did not take 50 records: database or disk is full" in said
    return taken


def test_a_log_without_room_takes_all_or_nothing(tmp_path: Path) -> None:
    log = LocalLog(tmp_path / "log.sqlite", partitions=2)
    log._db.execute("PRAGMA max_page_count = 40")
    some = [Entry("edge.exposures", f"k{n}", b"x" * 500) for n in range(50)]
    taken = until_full(log, some)
    assert taken > 0
    assert sum(log.end_offsets().values()) == taken
    log._db.execute("PRAGMA max_page_count = 4000")
    log.append(some)
    read = [log.read("edge.exposures", p, 0, 10_000, 1 << 30) for p in range(2)]
    assert [list(chunk.offsets) for chunk in read] == [list(range(len(chunk))) for chunk in read], "no gap"
    assert sum(map(len, read)) == taken + 50
    log.close()


def test_a_door_whose_log_has_no_room(tmp_path: Path) -> None:
    real = LocalLog(tmp_path / "real.sqlite")
    with serving(tmp_path / "home", DOOR) as door:
        posts_through(door, real)
    real.close()


def posts_through(door: Served, real: LocalLog) -> None:
    door.log.append = real.append  # type: ignore[method-assign]
    real._db.execute("PRAGMA max_page_count = 60")
    n = 0
    while (answer := door.post([exposure(n + i) for i in range(100)])).status_code == 202:
        n += 100
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    assert n > 0
    assert sum(real.end_offsets().values()) == n
    assert door.client.get("/livez").status_code == 200
    assert door.client.get("/readyz").status_code == 503
    real._db.execute("PRAGMA max_page_count = 6000")
    assert door.post([exposure(n + i) for i in range(100)]).status_code == 202
    assert sum(real.end_offsets().values()) == n + 100


def test_a_store_without_room_is_named_and_filled_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = Home(tmp_path / "home")
    home.create()
    source = tmp_path / "a.ndjson"
    source.write_bytes(events(0, 20_000))
    assert run(home.path, "ingest", str(source)).code == 0
    with monkeypatch.context() as patch:
        bounded(patch, SqliteStore, 200)
        with pytest.raises(HomeError, match=r"store\.sqlite could not be written: its disk is full"):
            process(home, Settings())
    assert process(home, Settings()).records > 0
    other = Home(tmp_path / "other")
    shutil.copytree(home.keys, other.keys)
    shutil.copy(home.log, other.log)
    process(other, Settings())
    assert tables(home.path) == tables(other.path)


def test_a_closed_database_can_be_read_where_nothing_can_be_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "log.sqlite"
    LocalLog(path).close()
    connection = apsw.Connection
    refused: list[str] = []

    class ReadOnlyDisk:
        """As on such a disk: without its two files a WAL database does not open, unless nothing can change it."""

        def __new__(cls, name: str, flags: int) -> Any:
            if "immutable=1" not in name:
                refused.append(name)
                raise apsw.CantOpenError("unable to open database file")
            return connection(name, flags=flags)

    class LateReadOnlyDisk(ReadOnlyDisk):
        def __new__(cls, name: str, flags: int) -> Any:
            return super().__new__(cls, name, flags) if "immutable" in name else Broken()

    class Broken:
        def set_busy_timeout(self, _ms: int) -> None: ...

        def execute(self, _sql: str) -> None:
            raise apsw.CantOpenError("unable to open database file")

    monkeypatch.setattr(apsw, "Connection", LateReadOnlyDisk)
    with pytest.raises(apsw.CantOpenError):
        connect_read_only(path)  # the disk can be written: it is something else
    monkeypatch.setattr(os, "access", lambda _path, mode: mode != os.W_OK)
    db = connect_read_only(path)
    assert db.pragma("user_version") == 1
    db.close()
    path.with_name("log.sqlite-wal").write_bytes(b"x")
    with pytest.raises(HomeError, match="was not closed before"):
        connect_read_only(path)
