"""Events that keep coming while processes are killed, and a reader that keeps counting."""

from __future__ import annotations

import itertools
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import msgspec

from edgeloop.home import Home
from edgeloop.log.base import Entry, Log, LogUnavailableError
from edgeloop.log.local import LocalLog
from tests.pipeline import COUNTS, Body, Counts, counts, entry
from tests.worlds import shuffled_with_duplicates, world

_KEYS = ("subject", "courier", "site", "model_id")


def command(home: Path, *words: str) -> list[str]:
    """The command line of `edgeloop` on a home."""
    return [sys.executable, "-m", "edgeloop", *words, "--home", str(home)]


def worlds(seed: int, size: int) -> Iterator[list[Body]]:
    """Worlds without end, each with join keys of its own."""
    for number in itertools.count():
        rng = random.Random(f"{seed} {number}")
        bodies = shuffled_with_duplicates(rng, world(rng, size, mixed_keys=rng.random() < 0.2), 0.1)
        for body in bodies:
            body |= {field: f"{seed}-{number}-{body[field]}" for field in _KEYS if field in body}
        yield bodies


class Feeder:
    """Appends to a home's log at about ``per_s`` events a second, a piece at a time, until it is told to stop.

    Pieces of several worlds lie between each other, one event in twenty comes again much later, and now and then a
    record comes that no event can be read from. Senders that pause are paused between two appends, never inside one.
    """

    def __init__(self, home: Path, *, seed: int, per_s: int, log: Log | None = None) -> None:
        self._rng = random.Random(seed)
        self._open: list[list[Body]] = []
        self._worlds = worlds(seed, 90)
        self._past: list[Body] = []
        self._log = log or LocalLog(Home(home).log)
        self._per_s = per_s
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._feed, name="feeder")
        self._failed: BaseException | None = None
        self.between_appends = threading.Lock()
        self.bodies: list[Body] = []
        """Every event appended, as often as it was."""
        self.undecodable = 0
        """Records appended beside them that no event can be read from."""
        self.tried_again = 0
        """Appends that were not taken, and tried again."""

    def burst(self, events: int) -> None:
        """Append so many at once, more or less, beside what comes steadily."""
        with self.between_appends:
            self._append([body for _ in range(events // 90) for body in next(self._worlds)])

    def __enter__(self) -> Feeder:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()
        for bodies in self._open:
            self._append(bodies)
        self._log.close()
        if self._failed is not None:
            raise self._failed

    def _feed(self) -> None:
        try:
            while not self._stopped.is_set():
                with self.between_appends:
                    piece = self._piece()
                    self._append(piece)
                self._stopped.wait(len(piece) / self._per_s)
        except BaseException as error:  # told where the feeder is left
            self._failed = error

    def _piece(self) -> list[Body]:
        rng = self._rng
        while len(self._open) < 5:
            self._open.append(next(self._worlds))
        chosen = rng.choice(self._open)
        size = rng.randrange(1, 60)
        piece, chosen[:] = chosen[:size], chosen[size:]
        self._open = [bodies for bodies in self._open if bodies]
        self._past += rng.sample(piece, k=min(2, len(piece)))
        return piece + rng.choices(self._past, k=len(piece) // 20)

    def _append(self, bodies: list[Body]) -> None:
        self._until_taken([entry(body) for body in bodies])
        self.bodies += bodies
        if self._rng.random() < 0.05:
            topic = self._rng.choice(("edge.exposures", "engagement.events"))
            self._until_taken([msgspec.structs.replace(entry(bodies[0]), topic=topic, value=b'{"type":"expo')])
            self.undecodable += 1

    def _until_taken(self, entries: list[Entry]) -> None:
        """A sender tries again, all of it: a log that is away may have taken a part."""
        while True:
            try:
                return self._log.append(entries)
            except LogUnavailableError:
                self.tried_again += 1
                self._stopped.wait(0.2)


class Counting:
    """A reader in a loop: `edgeloop sql` as an analyst would call it, and between its calls the store itself.

    Every read sees the count identity hold, and never fewer records drained than the one before.
    """

    def __init__(self, home: Path) -> None:
        self._home = home
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._loop, args=(read,)) for read in (self._ask, self._look)]
        self.asked: list[Counts] = []
        """What `edgeloop sql` answered."""
        self.looked: list[Counts] = []
        """What the store itself held."""
        self.wrong: list[object] = []

    def __enter__(self) -> Counting:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()
        if kind is None:
            assert not self.wrong, self.wrong[:3]
            assert self.asked, "no `edgeloop sql` ended in this time: nothing was shown"
            assert self.looked, "no read ended in this time: nothing was shown"
            progress(f"{len(self.asked)} answers of `edgeloop sql` and {len(self.looked)} reads beside, all balanced")

    def _loop(self, read: Any) -> None:
        try:
            while not self._stopped.is_set():
                read()
        except BaseException as error:  # told where the reader is left
            self.wrong.append(error)

    def _ask(self) -> None:
        ran = subprocess.run(command(self._home, "sql", COUNTS, "--json"), capture_output=True, text=True, check=False)
        if ran.returncode:
            self.wrong.append((ran.returncode, ran.stderr))
            return
        (found,) = msgspec.json.decode(ran.stdout, type=list[Counts])
        self._note(self.asked, found)

    def _look(self) -> None:
        self._note(self.looked, counts(self._home))
        time.sleep(0.02)

    def _note(self, reads: list[Counts], found: Counts) -> None:
        if not found.balanced or (reads and found.drained < reads[-1].drained):
            self.wrong.append((reads[-1:], found))
        reads.append(found)


def startup_s(home: Path) -> float:
    """How long `edgeloop process` takes where there is hardly anything to do, here and now."""
    subprocess.run(command(home, "process"), check=False, capture_output=True)
    begin = time.monotonic()
    ran = subprocess.run(command(home, "process"), check=False, capture_output=True, text=True)
    assert ran.returncode in (0, 3), ran.stderr
    return time.monotonic() - begin


class Load(Protocol):
    """What keeps a home busy."""

    def burst(self, events: int) -> None:
        """Send so many more at once."""
        ...


Moment = Callable[[subprocess.Popen[bytes]], float]
"""Waits for something to happen in a process; how many seconds after that it is to be killed."""


def any_time(rng: random.Random, first_s: float, last_s: float) -> Moment:
    """So long after the start, whatever it does then."""
    return lambda _process: rng.uniform(first_s, last_s)


def after_commit(home: Path, load: Load, rng: random.Random) -> Moment:
    """When it has committed something, and has got more to do."""

    def wait(process: subprocess.Popen[bytes]) -> float:
        before, patience = counts(home).drained, time.monotonic() + 60
        while process.poll() is None and counts(home).drained == before:
            assert time.monotonic() < patience, "nothing was committed for a minute"
            time.sleep(0.002)
        load.burst(500)
        return rng.uniform(0.0, 0.1)

    return wait


def kill_again_and_again(
    home: Path, load: Load, words: Sequence[str], *, kills: int, moments: Sequence[Moment]
) -> None:
    """Start an `edgeloop` command until it was killed so many times before it had ended, at these moments by turns."""
    killed, started = 0, 0
    while killed < kills:
        started += 1
        assert started < 5 * kills + 10, "it ends before it can be killed: feed it more"
        load.burst(2_000)
        before = counts(home).drained
        process = subprocess.Popen(command(home, *words), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        try:
            _, errors = process.communicate(timeout=moments[killed % len(moments)](process))
        except subprocess.TimeoutExpired:
            killed += 1
            process.kill()
            process.communicate()
            progress(f"kill {killed} of {kills}: {counts(home).drained - before} records committed since the start")
        else:
            assert process.returncode in (0, 3), errors.decode()
        finally:
            process.kill()


def progress(text: str) -> None:
    """One line on standard error, shown by `pytest -s` (`make chaos`)."""
    print(f"  {text}", file=sys.stderr, flush=True)
