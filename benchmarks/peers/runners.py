"""The peers as runners of the table: how each is installed and started."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.peers.running import EngineError, Runner, Running, Task, Telling

ROOT = Path(__file__).resolve().parents[2]
_BENCH = ROOT / ".bench"
_JAVA = Path(__file__).parent / "java"


def _arguments(task: Task, folder: Path, *, ends_itself: bool) -> list[str]:
    found = ["--bootstrap", task.bootstrap, "--prefix", task.prefix, "--group", task.group, "--folder", str(folder)]
    found += ["--window-h", str(task.window_h), "--grace-h", str(task.grace_h)]
    if ends_itself:
        found += ["--expect", str(task.expect)]
    if task.matches is not None:
        found += ["--matches", str(task.matches)]
    return found


class PythonPeer(Runner):
    """A module of this package, one process each for as many as are asked for."""

    def __init__(self, name: str, module: str, *options: str, python: Path | None = None, joins: bool = True) -> None:
        self.name = name
        self.joins = joins
        self._module = module
        self._options = options
        self._python = str(python or sys.executable)

    def prepare(self) -> None:
        """The environment that runs us has all it needs."""

    def start(self, task: Task) -> Running:
        """Start the processes; each has a folder of its own."""
        commands = []
        for number in range(task.parallel):
            folder = task.folder / str(number)
            folder.mkdir()
            told = _arguments(task, folder, ends_itself=task.parallel == 1)
            commands.append([self._python, "-m", f"benchmarks.peers.{self._module}", *self._options, *told])
        return Telling(self.name, commands, task, {"PYTHONPATH": str(ROOT)})


class Quix(PythonPeer):
    """Quix Streams, in an environment of its own: it wants other versions of our libraries."""

    def __init__(self) -> None:
        super().__init__("quix", "quix", python=_BENCH / "quix" / "bin" / "python")

    def prepare(self) -> None:
        """Make the environment from the hashed lock, anew when that changed."""
        lock = Path(__file__).parent / "quix.lock"

        def make() -> None:
            _run([sys.executable, "-m", "venv", "--clear", str(_BENCH / "quix")])
            _run([self._python, "-m", "pip", "install", "-q", "--require-hashes", "--no-deps", "-r", str(lock)])

        _once(_BENCH / "quix", [lock], make)


class KafkaStreams(Runner):
    """Kafka Streams: one JVM, with as many stream threads as are asked for.

    ``exactly_once``: every match is a record of a topic, once, as ours are rows; otherwise it is an object in memory.
    """

    _libs = _BENCH / "java" / "libs"
    _classes = _BENCH / "java" / "classes"

    def __init__(self, *, exactly_once: bool = False) -> None:
        self.name = "kafka_streams_eos" if exactly_once else "kafka_streams"
        self._exactly_once = exactly_once

    def prepare(self) -> None:
        """Fetch the jars and compile, anew when the source changed."""
        for tool in ("java", "javac", "mvn"):
            if shutil.which(tool) is None:
                raise EngineError(
                    f"kafka_streams: {tool} is missing. Run: apt-get install openjdk-17-jdk-headless maven"
                )
        pom, source = _JAVA / "pom.xml", _JAVA / "WindowedJoin.java"

        def make() -> None:
            goal = ["dependency:copy-dependencies", f"-DoutputDirectory={self._libs}"]
            _run(["mvn", "-q", "-B", "-f", str(pom), *goal])
            _run(["javac", "-Xlint:all", "-Werror", "-cp", f"{self._libs}/*", "-d", str(self._classes), str(source)])

        _once(_BENCH / "java", [pom, source], make)

    def start(self, task: Task) -> Running:
        """Start the JVM with the collector for throughput; 2 GB are more than it needs."""
        told = _arguments(task, task.folder / "state", ends_itself=True)
        path = f"{self._classes}:{self._libs}/*"
        quiet = "-Dorg.slf4j.simpleLogger.defaultLogLevel=error"
        command = [
            "java",
            "-Xmx2g",
            "-XX:+UseParallelGC",
            quiet,
            "-cp",
            path,
            "WindowedJoin",
            "--threads",
            str(task.parallel),
            "--exactly-once",
            "yes" if self._exactly_once else "no",
            *told,
        ]
        return Telling(self.name, [command], task, {})


def _once(folder: Path, sources: Sequence[Path], make: Callable[[], None]) -> None:
    """Make what a folder holds unless it was made from these very sources; the mark is written last."""
    digest = hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()
    mark = folder / ".made-from"
    if mark.exists() and mark.read_text() == digest:
        return
    print(f"preparing {folder.relative_to(ROOT)} (only this first time) …", file=sys.stderr)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    make()
    mark.write_text(digest)


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stdout + done.stderr)[-2_000:]
        raise EngineError(f"{command[0]} ended with {done.returncode}:\n{said}")
