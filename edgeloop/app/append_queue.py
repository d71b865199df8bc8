"""Group commit: what concurrent requests want to append goes to disk in one commit; each learns when it is there."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from edgeloop.app.seldom import Seldom
from edgeloop.log.base import Entry, Log, LogUnavailableError

_log = logging.getLogger(__name__)

MAX_WAITING_ENTRIES = 200_000
MAX_WAITING_BYTES = 64_000_000
"""Beyond so much waiting for the append in flight, requests are refused (503) instead of piling up in memory."""


class AppendQueue:
    """Appends for an event loop; the log's own call runs in a thread, one at a time.

    ``on_append`` is called in the event loop each time that something new is durable. What waits may hold so many bytes
    of records; one request alone is taken whatever its size, or it would be refused for ever.
    """

    def __init__(
        self,
        log: Log,
        on_append: Callable[[], None] | None = None,
        *,
        max_waiting_bytes: int = MAX_WAITING_BYTES,
    ) -> None:
        self._log = log
        self._on_append = on_append
        self._max_waiting_bytes = max_waiting_bytes
        self._seldom = Seldom()
        self._waiting: list[tuple[Sequence[Entry], asyncio.Future[None]]] = []
        self._entries = 0
        self._bytes = 0
        self._writer: asyncio.Task[None] | None = None

    async def append(self, entries: Sequence[Entry]) -> None:
        """Return once the entries are durable.

        Raises:
            LogUnavailableError: they are not, and the sender must try again.
        """
        if not entries:
            return
        size = sum(len(entry.value) for entry in entries)
        too_much = self._entries + len(entries) > MAX_WAITING_ENTRIES or self._bytes + size > self._max_waiting_bytes
        if self._waiting and too_much:
            raise LogUnavailableError("too much is waiting to be written")
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((entries, done))
        self._entries += len(entries)
        self._bytes += size
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write())
        await done

    async def _write(self) -> None:
        while self._waiting:
            group, self._waiting = self._waiting, []
            entries = [entry for wanted, _ in group for entry in wanted]
            self._entries = self._bytes = 0
            failure: Exception | None = None
            try:
                await asyncio.to_thread(self._log.append, entries)
            except Exception as error:  # whatever it was, nobody may be told that it is durable
                failure = error
                self._seldom.note_failure(_log, "records could not be appended", error, records=len(entries))
            else:
                if self._on_append is not None:
                    self._on_append()
            for _, done in group:
                if done.cancelled():  # the client went away; its events are in all the same
                    continue
                if failure is None:
                    done.set_result(None)
                else:
                    done.set_exception(LogUnavailableError(str(failure)))
