"""What the real servers share: free ports, and children that start, end, stand still and do not outlive the tests."""

from __future__ import annotations

import ctypes
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

_DIES_WITH_PARENT = 1  # prctl(2), PR_SET_PDEATHSIG
_libc = ctypes.CDLL(None)
_LOG_LINES = 25


def free_ports(count: int) -> list[int]:
    """Different ports of loopback that nobody listens on now."""
    with ExitStack() as stack:
        # All are held until all are found, so that none is found twice.
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


def free_port() -> int:
    """A port that nobody listens on now."""
    return free_ports(1)[0]


def die_with_parent() -> None:
    """To be run in a child before its program: it is killed when the thread that started it ends."""
    _libc.prctl(_DIES_WITH_PARENT, signal.SIGKILL)


def wait_until(
    ready: Callable[[], bool],
    what: str,
    seconds: float,
    log: Path | None = None,
    process: subprocess.Popen[bytes] | None = None,
) -> None:
    """Wait for something; what its log says where it does not come, or its process ended instead."""
    until = time.monotonic() + seconds
    while not ready():
        ended = process is not None and process.poll() is not None
        if ended or time.monotonic() > until:
            why = f"ended with {process.returncode}" if process and ended else f"did not come within {seconds:.0f} s"
            raise TimeoutError(f"{what} {why}\n{tail(log) if log else ''}")
        time.sleep(0.05)


def tail(log: Path) -> str:
    """The last lines of a log."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-_LOG_LINES:]) if log.exists() else ""


def answers(port: int) -> bool:
    """Whether something listens."""
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def nobody() -> tuple[int, int] | None:
    """User and group for a server that refuses to run as root, or None where we are not root."""
    if os.getuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            found = pwd.getpwnam(name)
            return found.pw_uid, found.pw_gid
    return None


class Server:
    """A process in a folder of its own, on ports that stay the same. Start it from the thread that outlives it.

    A context manager: starts it, and at the end kills it and removes its folder.
    """

    what = "the server"
    up_s = 60.0

    def __init__(self, user: tuple[int, int] | None = None) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="edgeloop-real-"))
        self.log = self.folder / "server.log"
        self.process: subprocess.Popen[bytes] | None = None
        self._user = user
        self._made = False

    # What a server says of itself

    def make(self) -> None:
        """Make its data, once, before the first start."""
        raise NotImplementedError

    def command(self) -> list[str]:
        """What runs it."""
        raise NotImplementedError

    def ready(self) -> bool:
        """Whether it takes work."""
        raise NotImplementedError

    def first_start(self) -> None:
        """What is to be done when it runs for the first time."""

    stop_signal = signal.SIGTERM

    # Life

    def run(self, command: Sequence[str]) -> subprocess.Popen[bytes]:
        """Run a program of the server as its user; it is killed when the tests end, however they end."""
        bound = [*_bound(self._user), *command]
        with self.log.open("ab") as log:
            return subprocess.Popen(bound, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder)

    def run_through(self, command: Sequence[str]) -> None:
        """Run a program to its end.

        Raises:
            RuntimeError: it failed; with the last lines of the log.
        """
        if code := self.run(command).wait():
            raise RuntimeError(f"{Path(command[0]).name} of {self.what} ended with {code}\n{tail(self.log)}")

    def start(self) -> Self:
        """Start it, and wait until it takes work."""
        if self.process is not None:
            raise RuntimeError(f"{self.what} runs already")
        fresh = not self._made
        if fresh:
            self.make()
            self._made = True
        self.process = self.run(self.command())
        try:
            wait_until(self.ready, self.what, self.up_s, self.log, self.process)
            if fresh:
                self.first_start()
        except BaseException:
            self.kill()
            raise
        return self

    def stop(self) -> None:
        """Stop it as an operator would."""
        self._end(self.stop_signal)

    def kill(self) -> None:
        """Kill it."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Start it again on the same ports and data; one that still runs is stopped before."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Let it stand still: it keeps its connections and answers nobody."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def _signal(self, which: signal.Signals) -> None:
        if self.process is None:
            raise RuntimeError(f"{self.what} does not run")
        self.process.send_signal(which)

    def _end(self, how: signal.Signals) -> None:
        if self.process is not None:
            self.process.send_signal(how)
            self.process.send_signal(signal.SIGCONT)  # one that stands still hears nothing but SIGKILL
            self.process.wait(60)
            self.process = None

    def close(self) -> None:
        """End it and remove its folder."""
        try:
            self.kill()
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _tb: TracebackType | None
    ) -> None:
        self.close()


def _bound(user: tuple[int, int] | None) -> list[str]:
    # Not `preexec_fn`: it forks this process with its threads. Where there is no setpriv, `close` alone ends it.
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        return []
    become = [] if user is None else [f"--reuid={user[0]}", f"--regid={user[1]}", "--clear-groups"]
    return [setpriv, *become, "--pdeathsig", "KILL", "--"]
