"""Taking one long NDJSON file in by several processes at once, each with lines of its own.

A helper is ``python -m edgeloop.app.ingest_parts HOME FILE BEGIN END FIRST_LINE``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import IO, cast

import msgspec

from connectors import is_document, native
from edgeloop.app.crew import Teller, run_crew
from edgeloop.app.ingest import IngestReport, ingest_items
from edgeloop.clock import SystemClock
from edgeloop.home import Home
from edgeloop.settings import load

WORTH_PARTS_BYTES = 64 << 20
"""From so long a file on, what a second process saves is more than its start takes."""
MOST_PARTS = 4
"""More would wait for each other: all append to one log."""
_CHUNK_BYTES = 1 << 20
_LINES_TRIED = 64
"""An object written over more lines is read as broken where a part ends inside it."""


class Part(msgspec.Struct, frozen=True):
    """Whole lines of a file, from byte ``begin`` to before ``end``."""

    begin: int
    end: int
    first_line: int


class Window:
    """A file of which only a part can be read."""

    def __init__(self, file: IO[bytes], part: Part) -> None:
        file.seek(part.begin)
        self._file = file
        self._left = part.end - part.begin

    def read(self, size: int = -1) -> bytes:
        """As of a file."""
        return self._counted(self._file.read(self._left if size < 0 else min(size, self._left)))

    read1 = read

    def readline(self, size: int = -1) -> bytes:
        """As of a file."""
        return self._counted(self._file.readline(self._left if size < 0 else min(size, self._left)))

    def _counted(self, found: bytes) -> bytes:
        self._left -= len(found)
        return found


def parts_of(file: IO[bytes], size: int, count: int) -> list[Part]:
    """The file in so many parts of about one length (fewer where lines are very long)."""
    edges = [0]
    for i in range(1, count):
        file.seek(max(size * i // count, edges[-1]))
        edges.append(min(_edge(file), size))
    edges.append(size)
    parts: list[Part] = []
    line = 1
    for begin, end in pairwise(edges):
        if begin < end:
            parts.append(Part(begin, end, line))
            if end < size:
                line += sum(chunk.count(b"\n") for chunk in _chunks(file, begin, end))
    return parts


def _edge(file: IO[bytes]) -> int:
    """Where the next line begins that is an object; the next line, where none of those that follow is."""
    first = 0
    for _ in range(_LINES_TRIED):
        while (rest := file.readline(_CHUNK_BYTES)) and not rest.endswith(b"\n"):
            pass
        at = file.tell()
        first = first or at
        line = file.readline(_CHUNK_BYTES)
        file.seek(at)
        if not line or is_document(line):
            return at
    return first


def ingest_in_parts(home: Home, path: Path, report: IngestReport, progress: Callable[[int, int], None] | None) -> bool:
    """Take a file in by several processes, where it is long enough and has lines; whether it was taken."""
    count = min(os.cpu_count() or 1, MOST_PARTS)
    if count == 1 or not path.is_file() or path.stat().st_size < WORTH_PARTS_BYTES:
        return False
    with path.open("rb") as file:
        if not native.in_lines(file):
            return False
        parts = parts_of(file, path.stat().st_size, count)
    arguments = [(str(home.path), str(path), str(p.begin), str(p.end), str(p.first_line)) for p in parts]
    for of_part in run_crew(__name__, arguments, IngestReport, progress):
        report.add(of_part)
    return True


def _chunks(file: IO[bytes], begin: int, end: int) -> Iterator[bytes]:
    file.seek(begin)
    while begin < end:
        chunk = file.read(min(_CHUNK_BYTES, end - begin))
        begin += len(chunk)
        yield chunk


def main(folder: str, name: str, begin: str, end: str, first_line: str) -> int:
    """One part; the exit code."""
    home, path = Home(Path(folder)), Path(name)
    part = Part(int(begin), int(end), int(first_line))
    teller: Teller[IngestReport] = Teller()

    def work() -> IngestReport:
        report = IngestReport()
        with path.open("rb") as file:
            window = cast("IO[bytes]", Window(file, part))
            items = native.items_of_file(window, part.first_line)
            ingest_items(
                home,
                load(home.path),
                items,
                path.name,
                "events",
                report,
                SystemClock(),
                lambda: teller.progress(file.tell() - part.begin, part.end - part.begin),
            )
        return report

    return teller.run(work)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
