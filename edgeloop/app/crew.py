"""Several processes of our own that share a piece of work: they start together, tell how far they are, end together.

A helper is a module of ours run by ``python -m``; it tells in lines of JSON on stdout. It dies with the process that
started it, so that a killed command leaves nobody working behind it.
"""

from __future__ import annotations

import ctypes
import os
import selectors
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Generic, TypeVar

import msgspec

from edgeloop.errors import EdgeloopError

_DIES_WITH_PARENT = 1  # prctl(2), PR_SET_PDEATHSIG

R = TypeVar("R")


class Said(msgspec.Struct, Generic[R], omit_defaults=True):
    """A line of a helper; the last one has its result or what went wrong."""

    done: int = 0
    total: int = 0
    result: R | None = None
    error: str | None = None


def run_crew(
    module: str,
    arguments: Sequence[Sequence[str]],
    result: type[R],
    progress: Callable[[int, int], None] | None = None,
    inherited: Sequence[int] = (),
) -> list[R]:
    """Run a module once for each list of arguments, all at once; their results in that order.

    Args:
        module: what to run.
        arguments: of each helper.
        result: the type of its result.
        progress: called with what all have done, and have to do, together.
        inherited: file descriptors that helpers keep open (a lock).

    Raises:
        EdgeloopError: a helper failed; the others were ended.
    """
    decoder = msgspec.json.Decoder(Said[result])  # type: ignore[valid-type]
    command = [sys.executable, "-P", "-m", module]
    running = [
        subprocess.Popen([*command, *own], stdout=subprocess.PIPE, pass_fds=inherited)  # noqa: S603
        for own in arguments
    ]
    last: list[Said[R]] = [Said() for _ in running]
    try:
        with selectors.DefaultSelector() as selector:
            for number, process in enumerate(running):
                if process.stdout is not None:
                    selector.register(process.stdout, selectors.EVENT_READ, number)
            while selector.get_map():
                for key, _ in selector.select():
                    line = key.fileobj.readline()  # type: ignore[union-attr]
                    if not line:
                        selector.unregister(key.fileobj)
                        continue
                    last[key.data] = said = decoder.decode(line)
                    if said.error is not None:
                        raise EdgeloopError(said.error)
                    if progress is not None:
                        progress(sum(s.done for s in last), sum(s.total for s in last))
        codes = [process.wait() for process in running]
    finally:
        for process in running:
            if process.poll() is None:
                process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()
    results = [said.result for said in last]
    if any(codes) or None in results:
        ended = next((code for code in codes if code), 0)
        raise EdgeloopError(f"a helper ({module}) ended with {ended} before it was done. Run the same again")
    return [found for found in results if found is not None]


class Teller(Generic[R]):
    """A helper's voice."""

    def __init__(self) -> None:
        self._parent = os.getppid()
        self._last = Said[R]()
        # Ctrl-C goes to every process of a terminal; the one that started this helper ends it.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        # Where the system can do it; elsewhere `progress` notices.
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_DIES_WITH_PARENT, signal.SIGKILL)

    def progress(self, done: int, total: int) -> None:
        """How far it is."""
        if os.getppid() != self._parent:
            raise EdgeloopError("the process that this helper belongs to is gone")
        self._tell(Said(done, total))

    def run(self, work: Callable[[], R]) -> int:
        """Do the work and tell its result; the exit code."""
        try:
            result = work()
        except EdgeloopError as error:
            self._tell(Said(self._last.done, self._last.total, error=str(error)))
            return error.exit_code
        self._tell(Said(self._last.done, self._last.total, result=result))
        return 0

    def _tell(self, said: Said[R]) -> None:
        self._last = said
        sys.stdout.buffer.write(msgspec.json.encode(said) + b"\n")
        sys.stdout.buffer.flush()
