"""How fast is the door beside a route that does nothing? Ratios of one run: the same server, client and machine.

``python -m benchmarks.door`` starts two servers as processes of their own, one with an empty Starlette route and one
with a door on a new home, and sends the same bytes to both in turns. An answer of the door means that the log has it on
disk. CPU is the server's process alone.
"""

from __future__ import annotations

import argparse
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from connectors.typeform import sign
from edgeloop.app import api_keys
from edgeloop.app.door import create_app
from edgeloop.app.serve import listen, server_of
from edgeloop.clock import SystemClock
from edgeloop.home import Home
from edgeloop.log.local import LocalLog
from edgeloop.settings import Settings, TypeformSettings

_SECRET = "of the benchmark"
_BATCH = 500
_CUSTOMERS = 50_000
_TICKS_A_S = os.sysconf("SC_CLK_TCK")


class Measured(msgspec.Struct, frozen=True):
    """What one round gave."""

    rate: float
    """Requests a second."""
    cpu_us: float
    """Of the server, a request."""


async def _empty(request: Request) -> Response:
    await request.body()
    return PlainTextResponse("ok")


def _serve(kind: str, folder: str, descriptor: str) -> None:
    bound = socket.socket(fileno=int(descriptor))
    if kind == "empty":
        routes = [Route("/{path:path}", _empty, methods=["GET", "POST"])]
        server_of(Starlette(routes=routes)).run(sockets=[bound])
        return
    home = Home(Path(folder))
    settings = Settings(typeform=TypeformSettings(secret=_SECRET))
    with closing(LocalLog(home.log)) as log:
        server_of(create_app(home, settings, log, SystemClock())).run(sockets=[bound])


@contextmanager
def _server(kind: str, home: Home) -> Iterator[tuple[int, int]]:
    """Its port and process id."""
    with closing(listen("127.0.0.1", 0)) as bound:
        command = [sys.executable, "-m", "benchmarks.door", "--serve", kind, str(home.path), str(bound.fileno())]
        process = subprocess.Popen(command, pass_fds=[bound.fileno()])
        try:
            yield bound.getsockname()[1], process.pid
        finally:
            process.terminate()
            process.wait()


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_A_S


def _send(port: int, messages: Sequence[bytes]) -> None:
    with socket.create_connection(("127.0.0.1", port)) as connection, connection.makefile("rb") as answers:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for message in messages:
            connection.sendall(message)
            status = answers.readline()
            if b" 20" not in status[:13]:
                raise RuntimeError(status.decode(errors="replace"))
            length = 0
            while (header := answers.readline()) != b"\r\n":
                name, _, value = header.partition(b":")
                if name.lower() == b"content-length":
                    length = int(value)
            answers.read(length)


def _round(port: int, pid: int, messages: Sequence[bytes], connections: int) -> Measured:
    threads = [
        threading.Thread(target=_send, args=(port, messages[i::connections]), daemon=True) for i in range(connections)
    ]
    cpu, began = _cpu_s(pid), time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.perf_counter() - began
    return Measured(len(messages) / took, (_cpu_s(pid) - cpu) / len(messages) * 1e6)


def _post(path: str, body: bytes, *headers: str) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def _exposure(n: int) -> bytes:
    return msgspec.json.encode(
        {
            "type": "exposure", "exposure_id": f"x-{n}", "customer_id": f"C-{n % _CUSTOMERS}",
            "occurred_at": "2026-10-05T09:00:00.123Z", "touchpoint": "app_card", "model_id": "eta-promise",
            "model_version": "2.1", "arm": "canary", "rollout_id": "eta-oct", "latency_ms": 12.5, "zone": "z7",
        }
    )  # fmt: skip


def _survey(n: int) -> bytes:
    answer = {"type": "number", "number": 9, "field": {"id": "1", "ref": "nps", "type": "opinion_scale"}}
    response = {
        "form_id": "f", "token": f"t{n}", "submitted_at": "2026-10-05T09:00:00Z", "hidden": {"cid": f"C-{n}"},
        "answers": [answer, {"type": "text", "text": "quick and kind", "field": {"id": "2", "ref": "why"}}],
    }  # fmt: skip
    return msgspec.json.encode({"event_id": "e", "event_type": "form_response", "form_response": response})


def workloads(key: str, requests: int) -> dict[str, tuple[list[bytes], int, int]]:
    """Name → messages, connections, events a request."""
    shown = f"Authorization: Bearer {key}"
    surveys = [_survey(n) for n in range(requests)]
    batches = max(1, requests // 10)
    lines = [b"\n".join(_exposure(k * _BATCH + i) for i in range(_BATCH)) for k in range(batches)]
    return {
        "GET /livez, one connection": ([b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"] * requests, 1, 0),
        "one event, 16 connections": (
            [_post("/v1/events", _exposure(n + 10**8), shown) for n in range(requests)], 16, 1,
        ),
        "signed Typeform, 16 connections": (
            [_post("/hooks/typeform", body, f"Typeform-Signature: {sign(body, _SECRET)}") for body in surveys], 16, 1,
        ),
        f"batches of {_BATCH}, 8 connections": ([_post("/v1/events", body, shown) for body in lines], 8, _BATCH),
    }  # fmt: skip


def main() -> None:
    """Print a table of medians."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--requests", type=int, default=2_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--serve", nargs=3, metavar=("KIND", "HOME", "DESCRIPTOR"), help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.serve:
        _serve(*chosen.serve)
        return
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder) / "home")
        home.create()
        loads = workloads(api_keys.create(home, "benchmark"), chosen.requests)
        with _server("empty", home) as empty, _server("door", home) as door:
            for port, _ in (empty, door):
                _send(port, [b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"])
            print(
                f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores; medians of {chosen.rounds} rounds in turns\n"
            )
            print("| workload | empty route/s | door/s | ratio | events/s | CPU of the door, µs | ratio of CPU |")
            print("|---|---|---|---|---|---|---|")
            for name, (messages, connections, events) in loads.items():
                rounds = [
                    (_round(*empty, messages, connections), _round(*door, messages, connections))
                    for _ in range(chosen.rounds)
                ]
                nothing, ours = (statistics.median(pair[i].rate for pair in rounds) for i in (0, 1))
                ratio = statistics.median(pair[1].rate / pair[0].rate for pair in rounds)
                cpu = [statistics.median(pair[i].cpu_us for pair in rounds) for i in (0, 1)]
                each = f"{cpu[1] / max(events, 1):,.1f} {'an event' if events > 1 else 'a request'}"
                print(
                    f"| {name} | {nothing:,.0f} | {ours:,.0f} | {ratio:.2f} | {ours * events:,.0f} | {each} "
                    f"| {cpu[0] / cpu[1]:.2f} |"
                )


if __name__ == "__main__":
    main()
