"""How a command speaks: data on stdout, progress and words about it on stderr."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol
from zoneinfo import ZoneInfo

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from edgeloop.clock import from_us, iso
from edgeloop.outside_text import printable

_CONTROLS = dict.fromkeys((*range(32), *range(127, 160)), " ")
_err = Console(stderr=True, highlight=False)


def say(text: str) -> None:
    """A line about what happens, on stderr, where nothing in it steers a terminal.

    Further lines, as a database's error has, are indented: none passes for a line of ours.
    """
    _err.print("\n  ".join(printable(line) for line in text.split("\n")), markup=False, soft_wrap=True)


def counted(n: int, one: str, many: str | None = None) -> str:
    """So many of a thing: ``1 event``, ``1,962 events``; ``many`` where it is not ``one`` and an s."""
    return f"{n:,} {one if n == 1 else many or one + 's'}"


def print_json(rows: object) -> None:
    """Findings as JSON on stdout, an array of objects unless given otherwise."""
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(rows)).decode() + "\n")


def print_rows(names: Sequence[str], rows: Sequence[Sequence[object]], *, as_json: bool) -> None:
    """A table: JSON objects, aligned columns in a terminal, or tab-separated text in a pipe."""
    if as_json:
        print_json([dict(zip(names, map(_plain, row), strict=True)) for row in rows])
    elif sys.stdout.isatty():
        table = Table(box=None, pad_edge=False, header_style="bold")
        for i, name in enumerate(names):
            numeric = bool(rows) and all(isinstance(row[i], int | float) or row[i] is None for row in rows)
            table.add_column(printable(name), justify="right" if numeric else "left", overflow="fold")
        for row in rows:
            table.add_row(*(printable(_text(cell)) for cell in row))
        Console(highlight=False, markup=False).print(table)
    else:
        for line in (names, *rows):
            sys.stdout.write("\t".join(_text(cell).translate(_CONTROLS) for cell in line) + "\n")
        sys.stdout.flush()  # in a file with both streams, what is said about the table comes after it


def say_problems(problems: Sequence[str], dead_letters: int, kept: str) -> None:
    """The first dead letters of a command, how many more there are, and where they are kept."""
    for line in problems:
        say(f"  {line}")
    if dead_letters > len(problems):
        say(f"  … and {dead_letters - len(problems):,} more")
    if dead_letters:
        say(f"{kept} is kept sealed: `edgeloop dead-letters list`")


def time_text(us: int | None) -> str:
    """A time for people, or a dash."""
    return "–" if us is None else iso(us)


def local_text(us: int | None, timezone: str) -> str:
    """A time as the company's clocks show it, to the second, with its offset from UTC; or a dash."""
    return "–" if us is None else from_us(us).astimezone(ZoneInfo(timezone)).isoformat(" ", "seconds")


def _plain(cell: object) -> object:
    return f"({len(cell)} bytes)" if isinstance(cell, bytes) else cell


def _text(cell: object) -> str:
    if cell is None:
        return ""
    if isinstance(cell, float):
        return f"{cell:.6g}"
    return str(_plain(cell))


class Bar(Protocol):
    """Shows how far something is: called with (done, total)."""

    def __call__(self, done: int, total: int, /) -> None: ...


@contextmanager
def progress_bars() -> Iterator[Any]:
    """A maker of progress bars by name, on stderr; silent where stderr is no terminal."""
    with Progress(
        TextColumn("{task.description:<28}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=_err,
        disable=not _err.is_terminal,
    ) as progress:
        tasks: dict[str, Any] = {}

        def bar(name: str) -> Bar:
            def show(done: int, total: int) -> None:
                if name not in tasks:
                    tasks[name] = progress.add_task(name, total=max(total, 1))
                progress.update(tasks[name], completed=done, total=max(total, 1))

            return show

        yield bar
