"""Senders of one `edgeloop up`: they post batches over HTTP, and send a batch again until it is taken."""

from __future__ import annotations

import random
import socket
import subprocess
import threading
import time
from collections import Counter
from pathlib import Path

import httpx

from edgeloop.events import STAMPS
from tests.chaos.load import command, worlds
from tests.pipeline import Body
from tests.worlds import DAY, micros, stamp

_EARLIER = 6 * 365 * DAY
"""A door refuses what is ahead of its clock, and worlds are of 2026."""
_BATCH = 40


def free_port() -> int:
    """A port that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def door_form(body: Body) -> Body:
    """What a sender would have sent, so that the door makes such a body of it."""
    sent = {name: value for name, value in body.items() if name not in STAMPS | {"subject", "courier"}}
    sent["occurred_at"] = stamp(micros(body["occurred_at"]) - _EARLIER)
    if "subject" in body and not body.get("anonymous"):
        sent["courier_id" if body.get("respondent") == "agent" else "customer_id"] = body["subject"]
    if "courier" in body:
        sent["courier_id"] = body["courier"]
    return sent


def known_by(body: Body) -> tuple[str, str, int]:
    """By what an event is recognised on both sides of the door."""
    kind = body["type"]
    return kind, body["event_id" if kind == "engagement" else f"{kind}_id"], micros(body["occurred_at"])


class Senders:
    """Two senders that post as long as the block lasts, the batch at hand until it is answered 2xx."""

    def __init__(self, home: Path, *, port: int, seed: int, per_s: int) -> None:
        made = subprocess.run(command(home, "keys", "create"), capture_output=True, text=True, check=True)
        self._key = made.stdout.strip()
        self._url = f"http://127.0.0.1:{port}/v1/events"
        self._per_s = per_s
        self._extra = 0
        self._stopped = threading.Event()
        self._abandoned = False
        self._answered = threading.Event()
        self._threads = [threading.Thread(target=self._send, args=(2 * seed + number,)) for number in range(2)]
        self._lock = threading.Lock()
        self._failed: list[BaseException] = []
        self.taken: Counter[tuple[str, str, int]] = Counter()
        """The events that were answered as accepted, once for each time the sender sent them on purpose."""
        self.tries = 0
        self.batches = 0

    def burst(self, events: int) -> None:
        """Send so many as fast as the door takes them, then go on as before."""
        with self._lock:
            self._extra += events

    def after_answer(self, _process: object) -> float:
        """A moment to kill the door: as soon as it has answered that a batch is taken."""
        self._answered.clear()
        assert self._answered.wait(60), "the door answered nothing for a minute"
        return 0.0

    def __enter__(self) -> Senders:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._abandoned = kind is not None
        self.stop()

    def stop(self) -> None:
        """End once the batches at hand are answered: somebody has to have opened the door."""
        self._stopped.set()
        for thread in self._threads:
            thread.join()
        if self._failed:
            raise self._failed[0]

    def _send(self, seed: int) -> None:
        rng = random.Random(seed)
        try:
            with httpx.Client(headers={"Authorization": f"Bearer {self._key}"}, timeout=20.0) as client:
                for bodies in worlds(seed, 90):
                    for begin in range(0, len(bodies), _BATCH):
                        batch = [door_form(body) for body in bodies[begin : begin + _BATCH]]
                        self._post(client, batch)
                        if self._stopped.is_set():
                            return
                        self._pause(rng, len(batch))
        except BaseException as error:  # told where the senders are left
            self._failed.append(error)

    def _post(self, client: httpx.Client, batch: list[Body]) -> None:
        """Also after the end was asked for: a batch that may be in the log is sent until the answer is there."""
        while not self._abandoned:
            self.tries += 1
            try:
                answer = client.post(self._url, json=batch)
            except httpx.TransportError:
                time.sleep(0.02)
                continue
            if answer.is_success:
                break
            assert answer.status_code == 503, answer.text
            time.sleep(0.02)
        else:
            return
        self._answered.set()
        results = answer.json()["results"]
        with self._lock:
            self.batches += 1
            self.taken.update(
                known_by(body) for body, result in zip(batch, results, strict=True) if result["status"] == "accepted"
            )

    def _pause(self, rng: random.Random, sent: int) -> None:
        with self._lock:
            hurry = self._extra > 0
            self._extra -= sent if hurry else 0
        if not hurry:
            self._stopped.wait(rng.uniform(0.5, 1.5) * len(self._threads) * sent / self._per_s)
