"""Group commit: what concurrent requests want to append goes to disk in one commit; each learns when it is there."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from edgeloop.log.base import Entry, Log, LogUnavailableError

_log = logging.getLogger(__name__)

MAX_WAITING_ENTRIES = 200_000
"""Beyond so much not yet on disk, requests are refused (503) instead of piling up in memory."""


class AppendQueue:
    """Appends for an event loop; the log's own call runs in a thread, one at a time."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._waiting: list[tuple[Sequence[Entry], asyncio.Future[None]]] = []
        self._entries = 0
        self._writer: asyncio.Task[None] | None = None

    async def append(self, entries: Sequence[Entry]) -> None:
        """Return once the entries are durable.

        Raises:
            LogUnavailableError: they are not, and the sender must try again.
        """
        if not entries:
            return
        if self._entries + len(entries) > MAX_WAITING_ENTRIES:
            raise LogUnavailableError("too much is waiting to be written")
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((entries, done))
        self._entries += len(entries)
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write())
        await done

    async def _write(self) -> None:
        while self._waiting:
            group, self._waiting = self._waiting, []
            entries = [entry for wanted, _ in group for entry in wanted]
            self._entries -= len(entries)
            failure: Exception | None = None
            try:
                await asyncio.to_thread(self._log.append, entries)
            except Exception as error:  # whatever it was, nobody may be told that it is durable
                failure = error
                # An error of our own may name what it failed on; the log's own errors name the file at most.
                known = isinstance(error, LogUnavailableError)
                _log.error(
                    "%d records could not be appended: %s", len(entries), error if known else type(error).__name__
                )
            for _, done in group:
                if done.cancelled():  # the client went away; its events are in all the same
                    continue
                if failure is None:
                    done.set_result(None)
                else:
                    done.set_exception(LogUnavailableError(str(failure)))
