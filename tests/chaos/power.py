"""The files of a home as a loss of power may leave them: log and store of two moments, unsynced writes dropped."""

from __future__ import annotations

import itertools
import os
import random
import shutil
import signal
import struct
import subprocess
import time
from pathlib import Path
from typing import Literal, get_args

import msgspec

from edgeloop.home import Home
from edgeloop.log.local import LocalLog
from edgeloop.settings import AttributionSettings
from edgeloop.store.reader import SqliteReader
from edgeloop.store.sqlite import SqliteStore
from tests.chaos.load import Feeder, command, progress, startup_s
from tests.pipeline import COUNTS, counts, expect, logged, tables

Order = Literal["log first", "store first"]
Dropped = Literal["nothing", "the store's tail", "the log's tail"]

_WAL_HEADER = 32
_FRAME_HEADER = 24
# https://www.sqlite.org/walformat.html, WAL-Index Header and Checkpoint Information, in the machine's own byte order
_PAGE_SIZE_AT, _FRAMES_AT, _ATTEMPTED_AT = 14, 16, 128


class Copy(msgspec.Struct, frozen=True):
    """A home copied in the middle of work, and how."""

    home: Path
    order: Order
    dropped: Dropped


def copies(home: Path, feeder: Feeder, into: Path, *, count: int, seed: int) -> list[Copy]:
    """Copy a home so often at random moments while `edgeloop process` starts on it again and again."""
    rng = random.Random(seed)
    startup = startup_s(home)
    reader = SqliteReader(
        Home(home).store
    )  # while somebody reads, the write-ahead log outlives the process that wrote it
    reader.query(COUNTS)  # SQLite opens the file at the first question
    ways = itertools.cycle(itertools.product(get_args(Order), get_args(Dropped)))
    made = [Copy(into / f"copy {number}", *way) for number, way in zip(range(count), ways, strict=False)]
    for copy in made:
        feeder.burst(300)
        process = _start(home)
        time.sleep(rng.uniform(0.7 * startup, startup + 0.2))
        source, target = Home(home), Home(copy.home)
        shutil.copytree(source.keys, target.keys)
        pairs = [(source.log, target.log), (source.store, target.store)]
        for original, file in pairs if copy.order == "log first" else reversed(pairs):
            tail = copy.dropped == f"the {file.stem}'s tail"
            with feeder.between_appends:
                _copy_stopped(process, original, file, rng if tail else None)
            # Long enough for some of what arrives meanwhile to be drained.
            process = process if process.poll() is None else _start(home)
            feeder.burst(90)
            time.sleep(rng.uniform(0.0, startup + 0.2))
        process.kill()
        process.wait()
    reader.close()
    return made


def _start(home: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command(home, "process"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _copy_stopped(process: subprocess.Popen[bytes], original: Path, file: Path, tail: random.Random | None) -> None:
    """Copy one database while nobody writes: a file and its write-ahead log of two moments is what no disk holds."""
    process.send_signal(signal.SIGSTOP)
    try:
        if process.poll() is None:
            _, status = os.waitpid(process.pid, os.WUNTRACED)
            if not os.WIFSTOPPED(status):
                process.returncode = os.waitstatus_to_exitcode(status)
        for suffix in ("", "-wal", "-shm"):
            if Path(f"{original}{suffix}").exists():
                # Not in this process: closing the file would drop the locks of the feeder's connection to it.
                subprocess.run(["cp", f"{original}{suffix}", f"{file}{suffix}"], check=True)
    finally:
        process.send_signal(signal.SIGCONT)
    index, wal = Path(f"{file}-shm"), Path(f"{file}-wal")
    if tail is not None and wal.exists() and index.exists():
        _drop_unsynced(wal, index.read_bytes(), tail)
    index.unlink(missing_ok=True)


def _drop_unsynced(wal: Path, index: bytes, rng: random.Random) -> None:
    """Cut the write-ahead log off anywhere after what a checkpoint has carried over (that was synced before)."""
    (page_size,) = struct.unpack_from("=H", index, _PAGE_SIZE_AT)
    frames, attempted = (struct.unpack_from("=I", index, at)[0] for at in (_FRAMES_AT, _ATTEMPTED_AT))
    frame = _FRAME_HEADER + (65_536 if page_size == 1 else page_size)
    first, last = _WAL_HEADER + attempted * frame, _WAL_HEADER + frames * frame
    if first < last <= wal.stat().st_size:
        os.truncate(wal, rng.randrange(first, last))


def goes_on_or_stops(copy: Copy) -> bool:
    """Start from the copy. Either the store is ahead of the log, and `edgeloop process` stops with the range that is
    gone; or it goes on, and the tables are what the copy's log means. Whether it went on."""
    log, store = LocalLog(Home(copy.home).log), SqliteStore(Home(copy.home).store)
    ends = log.end_offsets()
    stored = {place: found.next_offset for place, found in store.offsets().items()}
    log.close()
    store.close()
    gone = {place: (ends[place], seen - 1) for place, seen in stored.items() if seen > ends[place]}
    ran = subprocess.run(command(copy.home, "process"), check=False, capture_output=True, text=True)
    progress(f"{copy.order}, {copy.dropped} dropped, {len(gone)} ranges gone: exit {ran.returncode}")
    if gone:
        assert ran.returncode == 1, (copy, gone, ran.stderr)
        words = " ".join(ran.stderr.split())
        assert any(
            f"{topic}/{partition}" in words and f"{first} to {last}" in words
            for (topic, partition), (first, last) in gone.items()
        ), (copy, gone, words)
        return False
    assert ran.returncode in (0, 3), (copy, ran.stderr)
    bodies, undecodable = logged(copy.home)
    counted = counts(copy.home)
    assert counted.balanced, (copy, counted)
    assert counted.drained == len(bodies) + undecodable, (copy, counted)
    expect(tables(copy.home), bodies, AttributionSettings())
    return True
