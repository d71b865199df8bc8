"""The schedule inside ``edgeloop up``: a month that is over is frozen, reported and mailed, once; people are reminded.

The work runs in a process of its own, so that the door answers as fast as before and a stop need not wait for it:
``python -m edgeloop.app.schedule HOME MONTH``.
"""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from zoneinfo import ZoneInfo

from edgeloop.app import letters
from edgeloop.app.logs import configure, note, note_failure
from edgeloop.app.reminders import remind
from edgeloop.clock import HOUR_US, Clock, from_us, to_us
from edgeloop.errors import EdgeloopError
from edgeloop.home import Home
from edgeloop.months import Month
from edgeloop.settings import ScheduleSettings, Settings, load
from edgeloop.store.freeze import MANIFEST
from edgeloop.store.opening import on_postgres, open_reader
from edgeloop.store.schema import EVENT_TABLES

_log = logging.getLogger("edgeloop.app.schedule")  # __name__ is "__main__" in the process of its own

_EVERY_S = 30.0
_TRY_AGAIN_US = HOUR_US
_REMIND_EVERY_US = HOUR_US // 6
_END_S = 5.0


def due_us(month: Month, when: ScheduleSettings) -> int:
    """When a month is frozen and reported: on that day and hour of the month after, in its own zone."""
    first = from_us(month.end_us).astimezone(ZoneInfo(month.timezone))
    return to_us(first.replace(day=when.report_day, hour=when.report_hour, minute=0, second=0, microsecond=0))


def due_months(home: Home, settings: Settings, now_us: int) -> list[Month]:
    """The months that are due and lack a final freeze, the report of it or its mail, oldest first.

    They begin with the last frozen one, so that what was frozen by hand stays as it is; where none is frozen, with the
    first month in which anything was received.
    """
    month = Month.of(now_us, settings.timezone).previous()
    if due_us(month, settings.schedule) > now_us:
        month = month.previous()
    frozen = [path.parent.name for path in home.freezes.glob(f"????-??/{MANIFEST}")]
    first_us = Month.parse(max(frozen), settings.timezone).start_us if frozen else first_received_us(home, settings)
    found: list[Month] = []
    while first_us is not None and month.end_us > first_us:
        if not is_reported(home, month) or (letters.wanted(settings) and letters.is_due(home, month.name)):
            found.append(month)
        month = month.previous()
    return found[::-1]


def is_reported(home: Home, month: Month) -> bool:
    """Whether there is a final freeze and a report made after it (an earlier one was a look at the running month)."""
    try:
        frozen = (home.freezes / month.name / MANIFEST).stat().st_mtime_ns
        return report_of(home, month).stat().st_mtime_ns >= frozen
    except FileNotFoundError:
        return False


def report_of(home: Home, month: Month) -> Path:
    """Where a month's report is."""
    return home.reports / f"{month.name}.html"


def first_received_us(home: Home, settings: Settings) -> int | None:
    """When about the first stored event was received, or None where nothing is stored."""
    if not on_postgres(home, settings) and not home.store.exists():
        return None
    reader = open_reader(home, settings)
    try:
        rows = [
            row
            for table in EVENT_TABLES.values()
            for row in reader.query(f"SELECT received_at FROM {table.name} ORDER BY rowid LIMIT 1")[1]
        ]
    finally:
        reader.close()
    return min((us for (us,) in rows if isinstance(us, int)), default=None)


class Schedule:
    """Looks now and then whether a month is due, while the worker has drained everything."""

    def __init__(
        self,
        home: Home,
        settings: Settings,
        clock: Clock,
        drained: Callable[[], bool],
        make: Callable[[Month], bool] | None = None,
        tell: Callable[[], None] | None = None,
    ) -> None:
        self._home = home
        self._settings = settings
        self._clock = clock
        self._drained = drained
        self._make = make or self._in_its_own_process
        self._tell = tell or self._remind
        self._not_before_us = 0
        self._remind_at_us = 0
        self._thread = threading.Thread(target=self._run, name="schedule", daemon=True)
        self._stopping = threading.Event()
        self._starting = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """End at once; a month that is being made is made again at the next start."""
        self._stopping.set()
        with self._starting:
            if self._child is not None:
                self._child.terminate()
        self._thread.join(_END_S)

    def tick(self) -> None:
        """Make every month that is due now; after one that could not be made, try again in an hour."""
        now_us = self._clock.now_us()
        if now_us < self._not_before_us or not self._drained():
            return
        try:
            for month in due_months(self._home, self._settings, now_us):
                if not self._make(month):
                    self._not_before_us = now_us + _TRY_AGAIN_US
                    return
                self._remind_at_us = 0  # it may have asked somebody
        except Exception as error:  # the door and the worker go on without it
            self._not_before_us = now_us + _TRY_AGAIN_US
            note_failure(_log, "the schedule failed and tries again in an hour", error)

    def remind(self) -> None:
        """Tell people what is due now and then, and at once after a month was made."""
        now_us = self._clock.now_us()
        if now_us < self._remind_at_us:
            return
        self._remind_at_us = now_us + _REMIND_EVERY_US
        try:
            self._tell()
        except Exception as error:  # the door and the worker go on without it
            note_failure(_log, "the reminders failed; next try in ten minutes", error)

    def _remind(self) -> None:
        if not self._home.store.exists():
            return
        for one in remind(self._home, self._settings, clock=self._clock):
            if one.outcome != "sent":
                note(_log, logging.WARNING, "a notice about an action could not be sent", detail=one.detail)

    def _run(self) -> None:
        while not self._stopping.is_set():
            self.tick()
            self.remind()
            self._stopping.wait(_EVERY_S if self._drained() else 1.0)

    def _in_its_own_process(self, month: Month) -> bool:
        # -P: a file of the user's own in the current folder must not hide one of the rooms.
        command = [sys.executable, "-P", "-m", "edgeloop.app.schedule", str(self._home.path), month.name]
        with self._starting:
            if self._stopping.is_set():
                return False
            self._child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)  # noqa: S603
        return self._child.wait() == 0


def make_month(home: Home, settings: Settings, month: Month) -> None:
    """What of a month is still to do: its freeze, its report, and the mail of it.

    Raises:
        FreezeError: as far as the store knows, the month is not over. UnsentError: only its mail is missing.
    """
    from edgeloop.app.monthly import freeze_month, report_month

    if not is_reported(home, month):
        if letters.wanted(settings):
            letters.mark_due(home, month.name)
        if not (home.freezes / month.name).exists():
            freeze_month(home, settings, month)
        path = report_month(home, settings, month)
        if settings.publish.pdf:
            _print(path, settings, month)
    if letters.wanted(settings) and letters.is_due(home, month.name):
        _mail(home, settings, month)


class UnsentError(EdgeloopError):
    """The report is written, and its mail is not sent."""


def _print(path: Path, settings: Settings, month: Month) -> None:
    from edgeloop.app.pdf import print_pdf

    try:
        print_pdf(path, settings.publish)
    except (EdgeloopError, OSError) as error:  # the page is there; the month does not wait for paper
        note_failure(_log, "the report was not printed as PDF", error, logging.WARNING, month=month.name)


def _mail(home: Home, settings: Settings, month: Month) -> None:
    try:
        refused = letters.send_due(home, settings, month.name)
    except EdgeloopError as error:
        raise UnsentError(str(error)) from error
    if refused:
        event = "the report is mailed, and the server refused some addresses: see [mail] to"
        note(_log, logging.WARNING, event, month=month.name, failures=refused)
    else:
        note(_log, logging.INFO, "the report is mailed", month=month.name)


def main(arguments: list[str]) -> int:
    """Make one month in this process; its exit code."""
    home = Home(Path(arguments[0]))
    settings = load(home.path)
    configure(settings.service.log_format)
    month = Month.parse(arguments[1], settings.timezone)
    try:
        make_month(home, settings, month)
    except UnsentError as error:
        note_failure(_log, "the report is written, but not mailed; next try in an hour", error, month=month.name)
        return 1
    except EdgeloopError as error:
        note_failure(
            _log, "the month cannot be made yet; next try in an hour", error, logging.WARNING, month=month.name
        )
        return 1
    except Exception as error:
        note_failure(_log, "the month could not be made; next try in an hour", error, month=month.name)
        return 1
    note(_log, logging.INFO, "the month is frozen and its report written", month=month.name)
    return 0


if __name__ == "__main__":
    # The default ends a process without `finally`, and the browser that prints would stay.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    sys.exit(main(sys.argv[1:]))
