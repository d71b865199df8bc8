"""A worker that starts while store or brokers are away: it waits, says so once a minute, and its pages say for what."""

from __future__ import annotations

import http.server
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import msgspec

from edgeloop.app.logs import note
from edgeloop.log.base import LogUnavailableError
from edgeloop.store.base import StoreUnavailableError

_log = logging.getLogger(__name__)

_AGAIN_S = 2.0
_TOLD_EVERY_S = 60.0


def wait_for(look: Callable[[], None], bound: socket.socket, stopping: threading.Event) -> bool:
    """Wait until ``look`` no longer raises that store or log do not answer; whether it did before the stop.

    Args:
        look: connects to both.
        bound: a socket that listens; meanwhile ``/livez`` and ``/readyz`` are answered on it.
        stopping: ends the wait.
    """
    told, told_at, answers = "", 0.0, False
    said: list[str] = []
    with ExitStack() as pages:
        while not stopping.is_set():
            try:
                look()
            except (LogUnavailableError, StoreUnavailableError) as error:
                said[:] = [str(error)]
                now = time.monotonic()
                if said[0] != told or now - told_at >= _TOLD_EVERY_S:
                    note(_log, logging.WARNING, "the worker waits and tries again", detail=said[0])
                    told, told_at = said[0], now
                if not answers:
                    answers = True
                    pages.enter_context(_answered(bound, said))
                stopping.wait(_AGAIN_S)
            else:
                if told:
                    note(_log, logging.INFO, "the worker goes on")
                return True
        return False


@contextmanager
def _answered(bound: socket.socket, said: list[str]) -> Iterator[None]:
    """Answer on a socket what the worker waits for."""

    class Pages(http.server.BaseHTTPRequestHandler):
        timeout = 5.0

        def do_GET(self) -> None:
            alive = self.path.partition("?")[0] == "/livez"
            conditions = [{"name": "worker", "ok": False, "says": said[0]}]
            body = b"alive\n" if alive else msgspec.json.encode({"ready": False, "conditions": conditions})
            self.send_response(200 if alive else 503)
            self.send_header("Content-Type", "text/plain" if alive else "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_words: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(bound.getsockname()[:2], Pages, bind_and_activate=False)
    server.socket.close()
    server.socket = bound.dup()  # closed with the server; who bound it closes its own
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.2,), name="waiting pages", daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
