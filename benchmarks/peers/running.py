"""Runs one engine on the load and measures it: progress, processor time, memory. The same for peers and ours."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import threading
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.spine import family, pss_mb
from tests.real.process import die_with_parent

_LOOK_S = 0.05
_MEMORY_EVERY_S = 0.25
_STALLED_S = 90.0
_END_S = 60.0
_TICK = os.sysconf("SC_CLK_TCK")


class Task(NamedTuple):
    """What an engine is to do, and in how many processes or threads."""

    bootstrap: str
    prefix: str
    expect: int
    parallel: int
    folder: Path
    """Empty, and gone afterwards."""
    window_h: float
    grace_h: float
    matches: Path | None = None

    @property
    def group(self) -> str:
        """A consumer group that nobody else has: its folder is as new."""
        return f"{self.prefix}{self.folder.name}"


class Progress(NamedTuple):
    """What an engine has done so far; times by the monotonic clock."""

    records: int = 0
    joined: int = 0
    first: float = 0.0
    at: float = 0.0
    dropped: int = 0


class Measured(NamedTuple):
    """One run."""

    parallel: int
    progress: Progress
    cpu_s: float
    peak_mb: float

    @property
    def rate(self) -> float:
        """Records per second, from the first to the last."""
        return self.progress.records / max(self.progress.at - self.progress.first, _LOOK_S)

    @property
    def cpu_of_million(self) -> float:
        """Processor seconds per million records, starting and ending included."""
        return self.cpu_s / self.progress.records * 1e6


class EngineError(Exception):
    """An engine ended, stood still, or took in something else than the load."""


class Running(ABC):
    """An engine's processes."""

    def __init__(self, name: str, commands: Sequence[Sequence[str]], folder: Path, environ: dict[str, str]) -> None:
        self._name = name
        self._errors = [folder / f"stderr-{n}" for n in range(len(commands))]
        self.processes: list[subprocess.Popen[bytes]] = []
        for command, errors in zip(commands, self._errors, strict=True):
            with errors.open("wb") as file:
                started = subprocess.Popen(
                    command,
                    stdout=subprocess.PIPE,
                    stderr=file,
                    env=os.environ | environ,
                    preexec_fn=die_with_parent,
                )
                self.processes.append(started)

    @abstractmethod
    def progress(self) -> Progress:
        """How far they are, together."""

    def servers(self) -> Sequence[int]:
        """Process ids of servers that work for this engine alone; their time and memory count too."""
        return ()

    def check(self) -> None:
        """Raise where a process failed."""
        for process, errors in zip(self.processes, self._errors, strict=True):
            if process.poll():
                raise EngineError(f"{self._name} ended with {process.returncode}:\n{_tail(errors)}")

    def stalled(self, progress: Progress, expect: int) -> EngineError:
        """What to raise where nothing moves."""
        said = "\n".join(_tail(errors) for errors in self._errors)
        return EngineError(
            f"{self._name} stood still for {_STALLED_S:.0f} s at {progress.records:,} of {expect:,} records:\n{said}"
        )

    def end(self) -> None:
        """Those that do not end by themselves are told to, then made to."""
        for process in self.processes:
            if process.poll() is None:
                process.terminate()
        until = time.monotonic() + _END_S
        for process in self.processes:
            try:
                process.wait(max(until - time.monotonic(), 0.1))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdout is not None:
                process.stdout.close()


class Telling(Running):
    """Processes that tell their counts on stdout (`benchmarks.peers.meter`)."""

    def __init__(self, name: str, commands: Sequence[Sequence[str]], task: Task, environ: dict[str, str]) -> None:
        super().__init__(name, commands, task.folder, environ)
        self._expect = task.expect
        self._told: list[dict[str, Any]] = [{} for _ in commands]
        self._readers = [
            threading.Thread(target=self._read, args=(number,), daemon=True) for number in range(len(commands))
        ]
        for reader in self._readers:
            reader.start()

    def _read(self, number: int) -> None:
        for line in self.processes[number].stdout or ():
            if line.startswith(b"{"):
                self._told[number] = json.loads(line)

    def progress(self) -> Progress:
        """What they told last, taken together."""
        return together([one for one in self._told if one])

    def end(self) -> None:
        """The same, and their last words are heard."""
        if len(self.processes) == 1 and self.progress().records >= self._expect:
            with suppress(subprocess.TimeoutExpired):  # it knows how many records there are, and ends by itself
                self.processes[0].wait(_END_S)
        for process in self.processes:
            if process.poll() is None:
                process.terminate()
        for reader in self._readers:
            reader.join(_END_S)
        super().end()


def together(told: Sequence[Mapping[str, Any]]) -> Progress:
    """The progress of processes that share a consumer group.

    A partition that went from one to another counts as far as either got: what the second read again is no new record.
    """
    if not told:
        return Progress()
    positions: dict[str, int] = {}
    for one in told:
        for partition, position in one.get("positions", {}).items():
            positions[partition] = max(position, positions.get(partition, 0))
    return Progress(
        records=sum(positions.values()) if positions else sum(one["records"] for one in told),
        joined=sum(one["joined"] for one in told),
        first=min(one["first"] for one in told),
        at=max(one["at"] for one in told),
        dropped=sum(one.get("dropped", 0) for one in told),
    )


class Runner(ABC):
    """An engine of the table."""

    name: str
    joins = True
    """Whether it joins at all."""

    @abstractmethod
    def prepare(self) -> None:
        """Fetch and build what it needs, once."""

    @abstractmethod
    def start(self, task: Task) -> Running:
        """Start it."""


def measure(runner: Runner, task: Task) -> Measured:
    """Run an engine until it has the whole load.

    Raises:
        EngineError: it did not.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    running = runner.start(task)
    servers_before = _cpu_of(running.servers())
    peak, looked_at = 0.0, 0.0
    try:
        progress, moved_at = Progress(), time.monotonic()
        while progress.records < task.expect:
            running.check()
            now = time.monotonic()
            found = running.progress()
            if found.records != progress.records:
                moved_at = now
            elif now - moved_at > _STALLED_S:
                raise running.stalled(found, task.expect)
            progress = found
            if now - looked_at > _MEMORY_EVERY_S:
                looked_at = now
                roots = [process.pid for process in running.processes] + list(running.servers())
                peak = max(peak, sum(pss_mb(pid) for root in roots for pid in family(root)))
            time.sleep(_LOOK_S)
    finally:
        running.end()
    servers = _cpu_of(running.servers()) - servers_before
    progress = running.progress()
    if progress.records != task.expect:
        raise EngineError(f"{runner.name} took in {progress.records:,} records of {task.expect:,}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Measured(task.parallel, progress, cpu + servers, peak)


def fresh_folder(parent: Path, name: str) -> Path:
    """A folder whose name no run had before."""
    folder = parent / f"{name}-{uuid.uuid4().hex[:8]}"
    folder.mkdir()
    return folder


def _cpu_of(servers: Sequence[int]) -> float:
    """Processor seconds of servers, of those below them, and of those that ended and were waited for."""
    ticks = 0
    for server in servers:
        for pid in family(server):
            try:
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            ticks += sum(int(fields[n]) for n in ((11, 12, 13, 14) if pid == server else (11, 12)))
    return ticks / _TICK


def _tail(path: Path) -> str:
    return "\n".join(path.read_text(errors="replace").splitlines()[-15:])
