"""``edgeloop replay --export``: the records of a home's log as NDJSON, for another home."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, cast

import msgspec

from edgeloop.app.replay import TOPICS, Head, Kept, RefusedRecordError, record_of
from edgeloop.clock import to_us
from edgeloop.errors import EdgeloopError, UsageError
from edgeloop.home import Home
from edgeloop.log.local import LocalLog

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
        path: a new file, readable by its owner only: what customers wrote is in it.
        topic: only this one.
        since: only what the log took from then on (RFC 3339, or a date in UTC) …
        until: … and before then.
        progress: told how many of how many records are written.

    Raises:
        UsageError: the file is there already, or a time or topic is none. EdgeloopError: it cannot be written.
    """
    home.require()
    if not home.log.exists():
        raise UsageError(f"there is no log at {home.log}: nothing was ever taken in here")
    if topic is not None and topic not in TOPICS:
        raise UsageError(f"no such topic: {topic}; one of {', '.join(TOPICS)}")
    since_us, until_us = _moment("--since", since), _moment("--until", until)
    done = Exported(str(path))
    log = LocalLog(home.log, read_only=True)
    try:
        # As it is now: a door may append faster than this writes.
        ends = {tp: end for tp, end in sorted(log.end_offsets().items()) if topic in (None, tp[0])}
        total = sum(ends.values())
        with _new_file(path) as file:
            file.write(msgspec.json.encode(Head.of(home)) + b"\n")
            for (name, partition), end in ends.items():
                start = 0
                while start < end and len(chunk := log.read(name, partition, start, _AT_ONCE, _BYTES)):
                    if start == 0:
                        done.before_the_log += chunk.offsets[0]
                    start = chunk.offsets[-1] + 1
                    wanted = [
                        (offset, value)
                        for offset, appended_us, value in zip(
                            chunk.offsets, chunk.appended_us, chunk.values, strict=True
                        )
                        if offset < end
                        and (since_us is None or appended_us >= since_us)
                        and (until_us is None or appended_us < until_us)
                    ]
                    odd = [offset for offset, value in wanted if not _fits_a_line(name, value)]
                    keys = dict(zip(odd, log.keys(name, partition, odd), strict=True))
                    for offset, value in wanted:
                        kept = keys.get(offset)
                        line = value if kept is None else msgspec.json.encode(Kept(name, kept, value))
                        file.write(line + b"\n")
                    done.records += len(wanted)
                    done.kept_as_bytes += len(odd)
                    if progress is not None:
                        progress(done.records, total)
    finally:
        log.close()
    return done


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
