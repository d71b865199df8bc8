"""Sends a simulated world through the real doors: HTTP over a socket, signed webhooks, an export file.

Each request says what time it is (see ``timed_door``), so many run at once and the outcome does not depend on how
fast this machine is.
"""

from __future__ import annotations

import secrets
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import msgspec

from edgeloop.app import api_keys
from edgeloop.app.ingest import ingest_files
from edgeloop.app.serve import listen
from edgeloop.app.simulator.behaviour import live
from edgeloop.app.simulator.cast import (
    AGENT_FORM,
    COMPANY,
    CUSTOMER_FORM,
    NOW_HEADER,
    REPORT_MONTH,
    ROLLOUTS,
    START_US,
    TIMEZONE,
)
from edgeloop.app.simulator.devices import Sending, courier_id, customer_id, nameless, uploads
from edgeloop.app.simulator.fleet import make_fleet, nightly
from edgeloop.app.simulator.pillars import bad_line_of, months_of
from edgeloop.app.simulator.staff import roles_text
from edgeloop.app.simulator.truth import Truth, change_truths, overlaps
from edgeloop.app.simulator.vendors import Vendors
from edgeloop.app.simulator.world import make_world
from edgeloop.clock import SimulatedClock, iso
from edgeloop.errors import EdgeloopError, HomeError
from edgeloop.home import Home
from edgeloop.log.local import LocalLog
from edgeloop.settings import FILE_NAME, load

TRUTH_FILE = "truth.json"
_AT_ONCE = 8

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Pause:
    """A moment of simulated time: once all that happened before it was sent, ``act`` is called."""

    at_us: int
    act: Callable[[], None]


class SimulationReport(msgspec.Struct, frozen=True):
    """What was sent, and what the log holds of it."""

    home: str
    requests: int
    events_over_http: int
    engagement_from_exports: int
    records: dict[str, int]
    """Topic → records, duplicates included; ``dead.letters`` are what no door could take."""
    truth: str


def simulate(
    home: Home, *, seed: int, scale: float = 1.0, progress: Progress | None = None, pause: Pause | None = None
) -> SimulationReport:
    """Fill a new home with three months of an invented company, and write its truth.json.

    Args:
        home: a new home; it is marked as simulated, and its settings are written.
        seed: of every random number.
        scale: 1 is 12,000 customers and about 180,000 events.
        progress: called with (what, done, total).
        pause: what is done with the home on the way.

    Raises:
        HomeError: the home holds events, a simulation, or settings already. EdgeloopError: the door failed.
    """
    _require_new(home)
    home.mark_simulated()
    secret = secrets.token_hex(16)
    _write_settings(home, secret)
    settings = load(home.path, {})
    world = make_world(seed, scale)
    vendors = Vendors(world, live(world, {a.rollout.model_id: world.canary(a) for a in world.asked}), secret)
    fleet = make_fleet(world)
    sendings = [*uploads(world), *vendors.typeform(), *_declarations(), *nightly(world, fleet)]
    sendings.sort(key=lambda sending: sending.at_us)
    clock = SimulatedClock(START_US)
    key = api_keys.create(home, "edge gateways", clock)
    exported = sent = pulled = 0
    moments = [pause.at_us, None] if pause is not None else [None]
    with _door(home) as address, tempfile.TemporaryDirectory() as folder:  # the exports hold raw ids: not in the home
        files = vendors.mixpanel(Path(folder))
        for moment in moments:
            begin = sent
            sent = len(sendings) if moment is None else sum(sending.at_us < moment for sending in sendings)
            _send(address, key, sendings[begin:sent], _of_all(progress, begin, len(sendings)))
            while pulled < len(files) and (moment is None or files[pulled][0] < moment):
                clock.set_us(files[pulled][0])
                exported += ingest_files(home, settings, [files[pulled][1]], "mixpanel", clock=clock).accepted
                pulled += 1
                if progress is not None:
                    progress("Mixpanel exports", pulled, len(files))
            if pause is not None and moment is not None:
                pause.act()
    as_of_us = max(sendings[-1].at_us, files[-1][0])
    unnamed = nameless(world)
    changes = change_truths(world, unnamed, as_of_us)
    truth = Truth(
        seed, scale, REPORT_MONTH, changes, overlaps(world, unnamed), months_of(world, fleet), bad_line_of(fleet)
    )
    path = home.path / TRUTH_FILE
    path.write_bytes(msgspec.json.format(msgspec.json.encode(truth)) + b"\n")
    return SimulationReport(
        home=str(home.path),
        requests=len(sendings),
        events_over_http=sum(s.events for s in sendings),
        engagement_from_exports=exported,
        records=_records(home),
        truth=str(path),
    )


def planted(seed: int, scale: float) -> list[str]:
    """Every piece of personal data that a simulation sends, raw ids included, for a search afterwards."""
    world = make_world(seed, scale)
    vendors = Vendors(world, live(world, {a.rollout.model_id: world.canary(a) for a in world.asked}), "unused")
    for _ in vendors.typeform():
        pass
    with tempfile.TemporaryDirectory() as folder:
        vendors.mixpanel(Path(folder))
    ids = [customer_id(n) for n in range(world.customers)] + [courier_id(n) for n in range(len(world.courier_mood))]
    return sorted({*vendors.remarks.planted, *ids})


def _declarations() -> Iterator[Sending]:
    for rollout in ROLLOUTS:
        moments = {at for stage in rollout.stages for at in (stage.start_us, stage.end_us) if at is not None}
        for at in sorted(moments):
            told = rollout.declarations(at)
            # The team declares some minutes after it went live.
            yield Sending(at + 600_000_000, "/v1/events", msgspec.json.encode(told), events=len(told))


def _require_new(home: Home) -> None:
    """Two companies in one home would be told apart by nothing, and settings written by a person are not ours."""
    if home.simulated and home.log.exists():
        raise HomeError(
            f"{home.path} holds a simulation already; delete that folder, or choose another with --home DIR"
        )
    if not home.simulated and (home.path / FILE_NAME).exists():
        raise HomeError(
            f"{home.path / FILE_NAME} holds settings that a simulation would replace; "
            "simulate into a home of its own with --home DIR"
        )


def _records(home: Home) -> dict[str, int]:
    log = LocalLog(home.log)
    try:
        ends = log.end_offsets()
    finally:
        log.close()
    counts: dict[str, int] = {}
    for (topic, _), end in sorted(ends.items()):
        counts[topic] = counts.get(topic, 0) + end
    return {topic: n for topic, n in counts.items() if n}


def _write_settings(home: Home, secret: str) -> None:
    text = f"""company = "{COMPANY}"
timezone = "{TIMEZONE}"

[typeform]
secret = "{secret}"
forms = ["{CUSTOMER_FORM}", "{AGENT_FORM}"]

[metrics.offer_redeemed]
role = "goal"
event = "offer_redeemed"

{roles_text()}"""
    (home.path / FILE_NAME).write_text(text, encoding="utf-8")


def _of_all(progress: Progress | None, before: int, total: int) -> Callable[[int], None]:
    """A listener for the requests of one leg of the way."""
    return lambda done: None if progress is None else progress("requests to the door", before + done, total)


def _send(address: str, key: str, sendings: list[Sending], progress: Callable[[int], None]) -> None:
    """Send everything, several at once, roughly in the order of time."""
    waiting = iter(sendings)
    lock = threading.Lock()
    done = 0

    def worker() -> None:
        nonlocal done
        # A client of one connection each: a shared pool looks at all its connections on every request.
        with httpx.Client(base_url=address, timeout=60, trust_env=False) as client:
            while True:
                with lock:
                    sending = next(waiting, None)
                if sending is None:
                    return
                headers = sending.headers | {NOW_HEADER: iso(sending.at_us)}
                if sending.path == "/v1/events":
                    headers["Authorization"] = f"Bearer {key}"
                answer = client.post(sending.path, content=sending.body, headers=headers)
                if answer.status_code != 202:
                    raise EdgeloopError(
                        f"the door answered {answer.status_code} to {sending.path}: {answer.text[:200]}"
                    )
                with lock:
                    done += 1
                    if done % 50 == 0 or done == len(sendings):
                        progress(done)

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for worked in [pool.submit(worker) for _ in range(_AT_ONCE)]:
            worked.result()


@contextmanager
def _door(home: Home) -> Iterator[str]:
    """The real door on a free port of this machine, in a process of its own."""
    with listen("127.0.0.1", 0) as bound:
        bound.listen(64)  # requests wait for the process to come up
        address = f"http://127.0.0.1:{bound.getsockname()[1]}"
        command = [sys.executable, "-m", "edgeloop.app.simulator.timed_door", str(home.path), str(bound.fileno())]
        process = subprocess.Popen(command, pass_fds=[bound.fileno()])  # noqa: S603 - this interpreter, our own words
    # Ours is closed: should that process end, senders learn it at once instead of waiting for an answer.
    try:
        yield address
    except httpx.TransportError as error:
        raise EdgeloopError(
            f"the door of the simulation at {address} does not answer ({type(error).__name__}); its own words are "
            f"above, if it had any. Simulate again into a new home"
        ) from error
    finally:
        process.terminate()
        process.wait(30)
