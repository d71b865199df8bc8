"""Edge gateways: they collect exposures, go offline for hours, and deliver late, shuffled, with duplicates.

Two of them have wrong clocks, which the door corrects by ``Edgeloop-Sent-At``; one is off by less than it corrects.
"""

from __future__ import annotations

import gzip
import random
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np

from connectors import MOST_EVENTS
from edgeloop.app.simulator.cast import DEVICES, END_US, HUBS, START_US, ZONES
from edgeloop.app.simulator.world import Asked, Bools, Ints, World, energy_mj, latency_ms
from edgeloop.clock import HOUR_US, SECOND_US, iso

CLOCK_OFF_US = {2: 47 * 60 * SECOND_US, 6: -3 * HOUR_US, 8: 20 * SECOND_US}
"""Hub → how far its clock is ahead."""
DUPLICATES = 0.02
NAMELESS = 0.004
"""Exposures whose template was never filled in."""
_UPLOAD_EVERY_US = 8 * HOUR_US
_BROKEN_EVERY = 60
"""Every so many uploads one holds lines that cannot be taken."""
_NOBODY = ("undefined", "{{cid}}", "", None)


@dataclass(frozen=True)
class Sending:
    """One request to the door."""

    at_us: int
    path: str
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
    events: int = 1


def customer_id(number: int) -> str:
    """The company's own id of a customer."""
    return f"C-{number:06d}"


def courier_id(number: int) -> str:
    """The company's own id of a delivery agent."""
    return f"K-{number:04d}"


def nameless(world: World) -> dict[str, Bools]:
    """Model → which exposures reach the door without a customer."""
    rng = np.random.default_rng((world.seed, 1))
    return {a.rollout.model_id: rng.random(len(a.at)) < NAMELESS for a in world.asked}


def uploads(world: World) -> Iterator[Sending]:
    """Every batch of every gateway."""
    rng = random.Random(f"devices {world.seed}")
    hub_of: list[Ints] = []
    events: list[dict[str, Any]] = []
    for asked in world.asked:
        events += _exposures(world, asked, nameless(world)[asked.rollout.model_id], rng)
        hub_of.append(world.hub[world.customer[asked.delivery]])
    hub = np.concatenate(hub_of)
    at = np.concatenate([asked.at for asked in world.asked])
    encode = msgspec.json.Encoder().encode
    count = 0
    for number in range(len(HUBS)):
        mine = np.flatnonzero(hub == number)
        times = _upload_times(rng)
        slot = np.searchsorted(np.array(times), at[mine])
        off = CLOCK_OFF_US.get(number, 0)
        batches: dict[int, list[dict[str, Any]]] = {}
        for row, upload in zip(mine.tolist(), slot.tolist(), strict=True):
            event = events[row]
            event["occurred_at"] = iso(int(at[row]) + off)
            batches.setdefault(upload, []).append(event)
            if rng.random() < DUPLICATES and upload + 1 < len(times):
                batches.setdefault(upload + 1, []).append(event)
        for upload, batch in sorted(batches.items()):
            rng.shuffle(batch)
            lines = [encode(event) for event in batch]
            count += 1
            if count % _BROKEN_EVERY == 0:
                lines += _broken(rng, times[upload])
            # The network takes a moment, so a corrected time is late by as much.
            sent_at = times[upload] + off - rng.randrange(100_000, 900_000)
            headers = {"Edgeloop-Sent-At": iso(sent_at), "Content-Encoding": "gzip"}
            for begin in range(0, len(lines), MOST_EVENTS):
                part = lines[begin : begin + MOST_EVENTS]
                body = gzip.compress(b"\n".join(part), compresslevel=1, mtime=0)
                yield Sending(times[upload], "/v1/events", body, headers, len(part))


def _upload_times(rng: random.Random) -> list[int]:
    """When a gateway gets through; the last time is after the simulated months."""
    times = []
    now = START_US + rng.randrange(_UPLOAD_EVERY_US)
    while now < END_US:
        times.append(now)
        now += round(_UPLOAD_EVERY_US * rng.uniform(0.7, 1.3))
        if rng.random() < 0.03:  # no connection: up to a day and a half of silence
            now += round(rng.uniform(10, 36) * HOUR_US)
    times.append(END_US + rng.randrange(5 * 60, 25 * 60) * SECOND_US)
    return times


def _exposures(world: World, asked: Asked, nobody: Bools, rng: random.Random) -> list[dict[str, Any]]:
    rollout = asked.rollout
    customer = world.customer[asked.delivery]
    labelled = world.in_rollout(asked) & rollout.randomised
    columns = zip(
        customer.tolist(), asked.delivery.tolist(), world.courier[asked.delivery].tolist(),
        world.canary(asked).tolist(), labelled.tolist(), world.holdout(asked).tolist(),
        latency_ms(world, asked).tolist(), energy_mj(world, asked).tolist(),
        asked.failed.tolist(), asked.fell_back.tolist(), nobody.tolist(), world.hub[customer].tolist(),
        world.zone(customer).tolist(), world.device(customer).tolist(), world.new_customer[customer].tolist(),
        strict=True,
    )  # fmt: skip
    found = []
    for (
        who,
        delivery,
        courier,
        new,
        in_rollout,
        held,
        latency,
        energy,
        failed,
        fell_back,
        unknown,
        hub,
        zone,
        device,
        fresh,
    ) in columns:
        version = rollout.new if new else rollout.old
        event: dict[str, Any] = {
            "type": "exposure",
            "exposure_id": str(uuid.UUID(int=rng.getrandbits(128), version=4)),
            "customer_id": rng.choice(_NOBODY) if unknown else customer_id(who),
            "courier_id": courier_id(courier),
            "touchpoint": rollout.touchpoint,
            "model_id": rollout.model_id,
            "model_version": version.name,
            "arm": "holdout" if held else "canary" if new and in_rollout else "stable",
            "latency_ms": latency,
            "energy_mj": energy,
            "features": version.features,
            "placement": "edge",
            "site": HUBS[hub],
            "device": DEVICES[device],
            "zone": ZONES[zone],
            "segment": "new" if fresh else "returning",
            "delivery_id": f"D-{delivery:07d}",
        }
        if in_rollout:
            event["rollout_id"] = rollout.rollout_id
        if failed:
            event["error"] = "inference timed out"
        if fell_back:
            event["fallback"] = True
        found.append(event)
    return found


def _broken(rng: random.Random, at_us: int) -> list[bytes]:
    """Lines as a crashed or misconfigured gateway sends them."""
    ahead = {
        "type": "exposure", "exposure_id": f"ahead-{rng.getrandbits(64):x}", "customer_id": "C-000001",
        "occurred_at": iso(at_us + 400 * 24 * HOUR_US), "touchpoint": "app_card", "model_id": "eta-promise",
        "model_version": "3.1",
    }  # fmt: skip
    return [
        b'{"type":"exposure","exposure_id":"cut-off-%x","customer_id":"C-0000' % rng.getrandbits(64),
        msgspec.json.encode(ahead),
        msgspec.json.encode({"type": "heartbeat", "customer_id": "C-000002", "n": rng.getrandbits(32)}),
    ]
