"""How an answer of `edgeloop sql` is shown: a table a person can read, JSON, or CSV that a spreadsheet may open."""

from __future__ import annotations

import csv
import math
import re
import shutil
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import IO

import msgspec

from edgeloop.app.output import print_json, print_rows, say
from edgeloop.app.sql import SEALED, Answer
from edgeloop.clock import iso
from edgeloop.outside_text import printable
from edgeloop.store.schema import Kind

ROWS_ON_A_TERMINAL = 200
_RECORDS_ON_A_TERMINAL = 20
_WIDEST = 40  # a column folds before it takes more of a line than this
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # full width: Excel in East Asia
_INSIDE = re.compile(r'([;\t\r\n][\s"]*)(?=[=+\-@＝＋－＠])')
"""Where a cell begins for a program that separates by something else: Excel's is ``;`` in half of Europe."""


def print_answer(answer: Answer, *, as_json: bool, as_csv: bool) -> None:
    """Rows on stdout; what a terminal leaves out is said on stderr."""
    if as_json:
        print_json([dict(zip(_unique(answer.names), map(_json, row), strict=True)) for row in answer.rows])
    elif as_csv:
        print_csv(answer.names, answer.rows)
    elif not sys.stdout.isatty():
        print_rows(answer.names, [tuple(map(_exact, row)) for row in answer.rows], as_json=False)
    else:
        _print_for_people(answer)
    if answer.sealed:
        say(f"dead_letters.sealed is empty here: {SEALED}")


def print_csv(names: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """RFC 4180 with a header, UTF-8, lines end in LF; numbers at full precision, absent values empty.

    Text that a spreadsheet would take for a formula (it begins with ``= + - @``, spaces aside, a tab or a line end)
    gets an apostrophe before it, also inside after a ``;``, a tab or a line end. Numbers stay numbers, negative ones
    too.
    """
    write_csv(sys.stdout, names, rows, line_end="\n")
    sys.stdout.flush()  # in a file with both streams, what is said about the table comes after it


def write_csv(out: IO[str], names: Sequence[str], rows: Iterable[Sequence[object]], *, line_end: str) -> None:
    """The same into a file of text that is opened with ``newline=""``."""
    writer = csv.writer(out, lineterminator=line_end)
    writer.writerow([_csv(name) for name in names])
    for row in rows:
        writer.writerow([_csv(cell) for cell in row])


def _print_for_people(answer: Answer) -> None:
    rows = [tuple(_readable(kind, cell) for kind, cell in zip(answer.kinds, row, strict=True)) for row in answer.rows]
    if not rows:
        print_rows(answer.names, rows, as_json=False)
        say("no rows")
        return
    limit = ROWS_ON_A_TERMINAL
    width = shutil.get_terminal_size().columns
    if _width(answer.names, rows) <= width:
        print_rows(answer.names, rows[:limit], as_json=False)
    else:
        limit = _RECORDS_ON_A_TERMINAL
        _print_records(answer.names, rows[:limit], width)
    if answer.more or len(rows) > limit:
        say(f"the first {min(limit, len(rows))} rows; --csv, --json or a pipe gives all of them, LIMIT or WHERE fewer")


def _print_records(names: Sequence[str], rows: Sequence[Sequence[object]], width: int) -> None:
    """One line per cell, for rows too wide for the terminal; absent values are left out."""
    column = max(map(len, names))
    for number, row in enumerate(rows, start=1):
        sys.stdout.write(f"── {number} ".ljust(min(width, 60), "─") + "\n")
        for name, cell in zip(names, row, strict=True):
            if cell is not None:
                sys.stdout.write(f"{name.ljust(column)}  {_line(cell)}\n")
    sys.stdout.flush()


def _width(names: Sequence[str], rows: Sequence[Sequence[object]]) -> int:
    """How wide the table is where no column folds that is narrower than the widest allowed."""
    few = rows[:ROWS_ON_A_TERMINAL]
    cells = (max(len(name), *(len(_line(row[i])) for row in few)) for i, name in enumerate(names))
    return sum(min(width, _WIDEST) + 1 for width in cells)


def _readable(kind: Kind | None, cell: object) -> object:
    """A time as RFC 3339, text in one line; numbers as they are."""
    if kind == "time" and isinstance(cell, int):
        with suppress(OverflowError):  # outside of Python's calendar
            return iso(cell)
    return cell if cell is None or isinstance(cell, int | float) else _line(cell)


def _line(cell: object) -> str:
    """A cell as text in one line, without characters that steer a terminal."""
    if cell is None:
        return ""
    if isinstance(cell, float):
        return f"{cell:.6g}"
    if isinstance(cell, bytes):
        return f"({len(cell)} bytes)"
    return printable(str(cell))


def _exact(cell: object) -> object:
    """A number with all of its digits: what reads a pipe goes on computing with it."""
    return str(cell).removesuffix(".0") if isinstance(cell, float) else cell


def _json(cell: object) -> object:
    return f"({len(cell)} bytes)" if isinstance(cell, bytes) else cell


def _csv(cell: object) -> object:
    if isinstance(cell, bool):
        return "true" if cell else "false"
    if isinstance(cell, float) and not math.isfinite(cell):
        return None  # a spreadsheet takes "inf" for a text; an end that is missing is empty, as in JSON
    if cell is None or isinstance(cell, int | float):
        return cell
    if isinstance(cell, bytes):
        return f"({len(cell)} bytes)"
    text = cell if isinstance(cell, str) else msgspec.json.encode(cell, enc_hook=str).decode()
    text = _INSIDE.sub(r"\1'", text)
    return f"'{text}" if text.startswith(_FORMULA) or text.lstrip().startswith(_FORMULA) else text


def _unique(names: Sequence[str]) -> list[str]:
    """Names as keys: of columns with one name the later ones are numbered, so that none is lost."""
    found: list[str] = []
    for name in names:
        key, number = name, 2
        while key in found:
            key, number = f"{name}_{number}", number + 1
        found.append(key)
    return found
