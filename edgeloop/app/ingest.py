"""``edgeloop ingest``: files into the log, in bounded batches, each all or nothing."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import islice
from pathlib import Path
from typing import IO, Literal

import msgspec

from connectors import Intake, Item, in_runs, mixpanel, native, summary, typeform, zigpoll
from edgeloop.clock import Clock, SystemClock
from edgeloop.errors import EdgeloopError, UsageError
from edgeloop.home import Home
from edgeloop.horizon import horizon_of
from edgeloop.log.base import Log, LogUnavailableError, largest_bytes_of
from edgeloop.log.opening import create_home, open_log
from edgeloop.settings import Settings

BATCH_ITEMS = 5_000
BATCH_BYTES = 8 << 20
_SHOWN_PROBLEMS = 10

Source = Literal["events", "mixpanel", "typeform", "zigpoll"]


class IngestReport(msgspec.Struct):
    """What became of the files."""

    accepted: int = 0
    dead_letters: int = 0
    by_type: dict[str, int] = {}
    by_reason: dict[str, int] = {}
    problems: list[str] = []
    """The first few dead letters, as ``FILE, line 3: what is wrong``."""
    no_numbers: int = 0
    """Values that were no numbers (``NaN``) and were left out."""

    def add(self, other: IngestReport) -> None:
        """Take in what became of another part."""
        self.accepted += other.accepted
        self.no_numbers += other.no_numbers
        self.dead_letters += other.dead_letters
        self.by_type = Counter(self.by_type) + Counter(other.by_type)
        self.by_reason = Counter(self.by_reason) + Counter(other.by_reason)
        self.problems += other.problems[: _SHOWN_PROBLEMS - len(self.problems)]


def ingest_files(
    home: Home,
    settings: Settings,
    files: Sequence[Path],
    source: Source,
    progress: Callable[[int, int], None] | None = None,
    *,
    clock: Clock | None = None,
    form: str | None = None,
) -> IngestReport:
    """Take every file in; what cannot be taken becomes dead letters and never stops the rest.

    ``form`` names the Typeform form of responses that do not name it themselves.

    Raises:
        UsageError: a file cannot be read, or a response's form is not known. EdgeloopError: the log takes nothing.
    """
    from edgeloop.app.ingest_parts import ingest_in_parts

    create_home(home, settings)
    with closing(open_log(home, settings)) as log:
        try:
            log.end_offsets()  # before the first of what may be millions of lines is read
        except LogUnavailableError as error:
            raise EdgeloopError(f"{error} Nothing was taken in") from error
    report = IngestReport()
    for path in files:
        if source == "events" and clock is None and ingest_in_parts(home, path, report, progress):
            continue
        with opened(path) as (file, size):
            name = "standard input" if str(path) == "-" else path.name

            def show(file: IO[bytes] = file, size: int = size) -> None:
                if progress is not None and size:
                    progress(file.tell(), size)

            items = _items(file, name, source, settings, form)
            ingest_items(home, settings, items, name, source, report, clock or SystemClock(), show)
    return report


def ingest_items(
    home: Home,
    settings: Settings,
    items: Iterator[Item],
    name: str,
    source: Source,
    report: IngestReport,
    clock: Clock,
    show: Callable[[], None],
) -> None:
    """Take the items of one file in; what became of them is added to the report.

    Raises:
        EdgeloopError: the log takes nothing.
    """
    log = open_log(home, settings)
    intake = Intake(home, clock, horizon_of(log), largest_bytes=largest_bytes_of(log), settings=settings.door)
    after = "its beginning"
    try:
        for batch in batches(in_runs(items)):
            _take(intake, log, batch, name, source, report)
            after = batch[-1].place
            show()
    except LogUnavailableError as error:
        raise EdgeloopError(
            f"{name}, after {after}: {error}. Events up to there are in; run the same again, duplicates do no harm"
        ) from error
    finally:
        log.close()


def _items(file: IO[bytes], name: str, source: Source, settings: Settings, form: str | None) -> Iterator[Item]:
    if source == "events":
        return native.items_of_file(file)
    if source == "mixpanel":
        return mixpanel.items_of_file(file, settings.mixpanel)
    if source == "zigpoll":
        return zigpoll.items_of_file(file, settings.zigpoll)
    return _named(typeform.items_of_file(file, settings.typeform, form), name)


def _named(items: Iterator[Item], name: str) -> Iterator[Item]:
    try:
        yield from items
    except UsageError as error:
        raise UsageError(f"{name}: {error}") from error


def _take(intake: Intake, log: Log, batch: list[Item], name: str, source: Source, report: IngestReport) -> None:
    door = f"file:{name}" if source == "events" else f"{source}:{name}"
    taken, entries = intake.take(batch, source=door)
    log.append(entries)
    accepted, dead = summary(taken)
    problems = (f"{name}, {one.place}: {one.rejected.detail}" for one in taken if one.rejected is not None)
    shown = list(islice(problems, _SHOWN_PROBLEMS))
    report.add(IngestReport(accepted.total(), dead.total(), accepted, dead, shown, sum(t.no_numbers for t in taken)))


def batches(items: Iterator[Item]) -> Iterator[list[Item]]:
    """The items in lists that one append takes, bounded in number and in bytes."""
    batch: list[Item] = []
    size = 0
    for item in items:
        batch.append(item)
        size += len(item.raw)
        if len(batch) >= BATCH_ITEMS or size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


@contextmanager
def opened(path: Path) -> Iterator[tuple[IO[bytes], int]]:
    """The file and its size (0 where it has none)."""
    if str(path) == "-":
        yield sys.stdin.buffer, 0
        return
    try:
        file = path.open("rb")
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    with file:
        yield file, path.stat().st_size
