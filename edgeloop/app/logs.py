"""Logs of the services: one event per line, as JSON or as text, with fields from a fixed list and nothing else.

What a sender, a vendor or a library wrote may hold a person's data, so no such text gets through: of a foreign record
only its logger and place are shown, of an exception its type and place. The words of our own errors are shown, because
they never hold values of the input.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Literal, TypedDict, Unpack

import msgspec

from edgeloop.attempts import FAILED
from edgeloop.clock import iso
from edgeloop.errors import EdgeloopError
from edgeloop.log.base import LogUnavailableError
from edgeloop.outside_text import printable

Value = str | int | float | bool
_LONGEST_TEXT = 500
_ROOT = Path(__file__).resolve().parents[2]
_ROOMS = frozenset({"edgeloop", "connectors", "streams", "analysis", "reports"})
_KEY = "edgeloop_fields"
# Constant texts of libraries, in our words; everything else of theirs stays out.
_KNOWN = {
    "Exception in ASGI application\n": "a request failed inside the door",
    "Invalid HTTP request received.": "something came in that is no HTTP request",
    FAILED: "a part of the month failed, and the rest went on without it",
}


class Fields(TypedDict, total=False):
    """Every field that a line may have beside time, level and event; a checker holds callers to it."""

    address: str
    """Our own, as host:port."""
    records: int
    dead_letters: int
    seconds: float
    wait_s: float
    """Until the next try."""
    failures: int
    """In a row."""
    month: str
    detail: str
    """Words of our own about an error, without values of the input."""
    error: str
    """The type of an exception."""
    place: str
    """Where in the code, as file:line and function."""
    logger: str
    """The library that wrote the record."""


FIELDS = frozenset(Fields.__annotations__)


def note(to: logging.Logger, level: int, event: str, /, **fields: Unpack[Fields]) -> None:
    """Log an event. ``event`` is a constant: what changes from one to the next goes into fields."""
    shown = "".join(f" {name}={value}" for name, value in fields.items())
    to.log(level, "%s%s", event, shown, extra={_KEY: (event, fields)}, stacklevel=2)


def note_failure(
    to: logging.Logger, event: str, failure: BaseException, level: int = logging.ERROR, /, **fields: Unpack[Fields]
) -> None:
    """Log an event and the exception behind it: type, place, and its words where they are ours."""
    told: Fields = {**of_exception(failure), **fields}
    shown = "".join(f" {name}={value}" for name, value in told.items())
    to.log(level, "%s%s", event, shown, extra={_KEY: (event, told)}, stacklevel=2)


def of_exception(failure: BaseException) -> Fields:
    """What may be said of an exception."""
    told: Fields = {"error": type(failure).__name__}
    frames = traceback.extract_tb(failure.__traceback__)
    if frames:
        ours = [frame for frame in frames if _ours(frame.filename)]
        frame = (ours or frames)[-1]
        told["place"] = _place(frame.filename, frame.lineno or 0, frame.name)
    if isinstance(failure, EdgeloopError | LogUnavailableError):
        told["detail"] = str(failure)
    return told


class _Line(logging.Formatter):
    """Turns a record into the fields that may be shown."""

    def told(self, record: logging.LogRecord) -> dict[str, Value]:
        event, fields = self._read(record)
        line: dict[str, Value] = {
            "time": iso(round(record.created * 1_000_000)),
            "level": record.levelname.lower(),
            "event": event,
        }
        for name, value in fields.items():
            if name in FIELDS and isinstance(value, str | int | float):
                line[name] = _printable(value) if isinstance(value, str) else value
        return line

    def _read(self, record: logging.LogRecord) -> tuple[str, dict[str, object]]:
        own = getattr(record, _KEY, None)
        if own is not None:
            event, fields = own
            return event, dict(fields)
        told: dict[str, object] = {
            "logger": record.name,
            "place": _place(record.pathname, record.lineno, record.funcName or ""),
        }
        if record.exc_info and record.exc_info[1] is not None:
            told.update(of_exception(record.exc_info[1]))
        known = _KNOWN.get(record.msg) if isinstance(record.msg, str) else None
        return known or f"a library's {record.levelname.lower()}", told


class JsonLine(_Line):
    """One JSON object per record."""

    def format(self, record: logging.LogRecord) -> str:
        return msgspec.json.encode(self.told(record)).decode()


class TextLine(_Line):
    """The same for people: time, level, event, then ``name=value``."""

    def format(self, record: logging.LogRecord) -> str:
        told = self.told(record)
        head = f"{told.pop('time')} {told.pop('level')}: {told.pop('event')}"
        text = " ".join([head, *(f"{name}={value}" for name, value in told.items())])
        return printable(text)


class Repeated(logging.Filter):
    """A library says the same from the same place once a minute: asyncio cries at each connection it cannot take."""

    _EVERY_S = 60.0

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._now = now
        self._said: dict[tuple[str, str, int, str], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to show a record."""
        if hasattr(record, _KEY):
            return True
        failure = record.exc_info[1] if record.exc_info else None
        cause = record.name, record.pathname, record.lineno, type(failure).__name__
        now = self._now()
        if cause in self._said and now - self._said[cause] < self._EVERY_S:
            return False
        self._said[cause] = now
        return True


def configure(log_format: Literal["auto", "json", "text"]) -> None:
    """Send every record of this process to stderr: as JSON unless stderr is a terminal, or as the setting says."""
    as_json = log_format == "json" or (log_format == "auto" and not sys.stderr.isatty())
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLine() if as_json else TextLine())
    handler.addFilter(Repeated())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("edgeloop").setLevel(logging.INFO)
    logging.captureWarnings(True)
    # What nobody caught would be printed with its message.
    sys.excepthook = _uncaught
    threading.excepthook = lambda args: _uncaught(args.exc_type, args.exc_value, args.exc_traceback)


def _uncaught(kind: type[BaseException], failure: BaseException | None, _where: TracebackType | None) -> None:
    note_failure(logging.getLogger(__name__), "something failed that nobody expected", failure or kind())


def _printable(text: str) -> str:
    return text[:_LONGEST_TEXT].encode(errors="replace").decode()


def _ours(path: str) -> bool:
    file = Path(path)
    return file.is_relative_to(_ROOT) and file.relative_to(_ROOT).parts[0] in _ROOMS


def _place(path: str, line: int, function: str) -> str:
    """``file:line function``, the file from its package on: a full path may hold a person's name."""
    parts = Path(path).parts
    if _ours(path):
        short = Path(path).relative_to(_ROOT).as_posix()
    elif "site-packages" in parts:
        short = "/".join(parts[len(parts) - parts[::-1].index("site-packages") :])
    else:
        short = parts[-1] if parts else "?"
    return f"{short}:{line} {function}"
