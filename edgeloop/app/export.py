"""``edgeloop replay --export``: the records of a home's log as NDJSON, for another home."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, NamedTuple, cast

import msgspec

from edgeloop.app.replay import TOPICS, Head, Kept, RefusedRecordError, record_of
from edgeloop.clock import to_us
from edgeloop.errors import EdgeloopError, UsageError
from edgeloop.events import BACKFILL
from edgeloop.home import Home
from edgeloop.log.base import Chunk, LogUnavailableError, SearchableLog
from edgeloop.log.opening import has_log, open_log
from edgeloop.settings import Settings

_AT_ONCE = 2_000
_BYTES = 16 << 20


class Exported(msgspec.Struct):
    """What was written."""

    file: str
    records: int = 0
    kept_as_bytes: int = 0
    """Records that are no events of their topic."""
    before_the_log: int = 0
    """Records that the log had once and does not hold any more."""


def export_log(
    home: Home,
    settings: Settings,
    path: Path,
    *,
    topic: str | None = None,
    since: str | None = None,
    until: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Exported:
    """Write what the log holds now, partition by partition, gzip where the name ends in ``.gz``.

    Args:
        home: its log is read.
        settings: they say where the log is.
        path: a new file, readable by its owner only: what customers wrote is in it.
        topic: only this one.
        since: only what the log took from then on (RFC 3339, or a date in UTC) …
        until: … and before then.
        progress: told how many of how many records are written.

    Raises:
        UsageError: the file is there already, or a time or topic is none. EdgeloopError: it cannot be written.
    """
    home.require()
    if not has_log(home, settings):
        raise UsageError(f"there is no log at {home.log}: nothing was ever taken in here")
    if topic is not None and topic.removeprefix(BACKFILL) not in TOPICS:
        raise UsageError(f"no such topic: {topic}; one of {', '.join(TOPICS)}")
    window = _Window(_moment("--since", since), _moment("--until", until))
    done = Exported(str(path))
    with closing(open_log(home, settings, read_only=True)) as log:
        try:
            # As it is now: a door may append faster than this writes.
            ends = {tp: end for tp, end in sorted(log.end_offsets().items()) if _wanted(topic, tp[0])}
            starts = log.start_offsets()
            done.before_the_log = sum(starts[tp] for tp in ends)
            total = sum(end - starts[tp] for tp, end in ends.items())
            with _new_file(path) as file:
                file.write(msgspec.json.encode(Head.of(home)) + b"\n")
                for tp, end in ends.items():
                    start = starts[tp] if window.since_us is None else log.offset_at(*tp, window.since_us)
                    while start < end:
                        chunk = log.read(*tp, start, _AT_ONCE, _BYTES)
                        if chunk.next_offset == start:
                            break
                        start = chunk.next_offset
                        _write(file, log, chunk, end, window, done)
                        if progress is not None:
                            progress(done.records, total)
        except LogUnavailableError as error:
            raise EdgeloopError(f"{error} Nothing is left of {path}; run the same again") from error
    return done


class _Window(NamedTuple):
    """From when to before when the log took a record, in µs; None is without an end."""

    since_us: int | None
    until_us: int | None

    def holds(self, appended_us: int) -> bool:
        after = self.since_us is None or appended_us >= self.since_us
        return after and (self.until_us is None or appended_us < self.until_us)


def _wanted(topic: str | None, name: str) -> bool:
    return name.removeprefix(BACKFILL) in TOPICS if topic is None else name == topic


def _write(file: IO[bytes], log: SearchableLog, chunk: Chunk, end: int, window: _Window, done: Exported) -> None:
    # Backfilled events are the same events; where the file is replayed, nothing of today waits behind them.
    topic = chunk.topic.removeprefix(BACKFILL)
    wanted = [
        (offset, value)
        for offset, appended_us, value in zip(chunk.offsets, chunk.appended_us, chunk.values, strict=True)
        if offset < end and window.holds(appended_us)
    ]
    odd = [offset for offset, value in wanted if not _fits_a_line(topic, value)]
    keys = dict(zip(odd, log.keys(chunk.topic, chunk.partition, odd), strict=True))
    for offset, value in wanted:
        kept = keys.get(offset)
        line = value if kept is None else msgspec.json.encode(Kept(topic, kept, value))
        file.write(line + b"\n")
    done.records += len(wanted)
    done.kept_as_bytes += len(odd)


def _fits_a_line(topic: str, value: bytes) -> bool:
    if b"\n" in value or b"\r" in value:
        return False
    try:
        record_of(topic, value)
    except RefusedRecordError:
        return False
    return True


@contextmanager
def _new_file(path: Path) -> Iterator[IO[bytes]]:
    """A file that is there under its name only once it is whole and on disk."""
    if path.exists():
        raise UsageError(f"{path} is there already: choose another name, or remove it")
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                if path.name.endswith(".gz"):
                    # Without a name and a time inside, the same log gives the same bytes.
                    with gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0) as packed:
                        yield cast("IO[bytes]", packed)
                else:
                    yield file
                file.flush()
                os.fsync(file.fileno())
            part.rename(path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise EdgeloopError(
            f"cannot write {path}: {error.strerror}. Nothing is left of it; the log is as it was"
        ) from error


def _moment(flag: str, text: str | None) -> int | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            if len(text) > len("2026-10-05"):
                raise ValueError("no zone")
            moment = moment.replace(tzinfo=UTC)
        return to_us(moment)
    except ValueError as error:
        raise UsageError(f"{flag}: write a date (2026-10-05, in UTC) or a time with its zone, not {text!r}") from error
