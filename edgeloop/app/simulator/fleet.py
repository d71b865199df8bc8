"""What the fleet service tells each night: messages and routes with their delays, devices, and profiles on both sides.

One site has a bad line for three days in March: its messages come up to an hour and a half late, and its copies of
profiles only afterwards. Now and then a copy is lost, and the edge keeps an old one. Drawn apart, so that everything
else is as it would be without it.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, get_args

import msgspec
import numpy as np

from edgeloop.app.simulator.cast import END_US, HUBS, START_US, local_us
from edgeloop.app.simulator.devices import Sending, customer_id
from edgeloop.app.simulator.world import Bools, Floats, Ints, World, energy_mj
from edgeloop.clock import DAY_US, HOUR_US, SECOND_US, iso

BAD_LINE_SITE = HUBS[6]
BAD_LINE_US = local_us("2026-03-17 00:00"), local_us("2026-03-20 00:00")

Kind = Literal["route_update", "message", "profile_sync"]
KINDS: tuple[Kind, ...] = get_args(Kind)
_SENT_AT_H: dict[Kind, tuple[float, ...]] = {
    "route_update": (5.5, 12.5),
    "message": (9.0, 14.0, 18.0),
    "profile_sync": (4.0,),
}
"""The middle of the hours at which each site is sent one, by the day."""
_DELAY_S, _DELAY_SPREAD = 2.5, 0.6
_PATCHY, _PATCHY_S = 0.025, (15.0, 55.0)
_VERY_LATE, _VERY_LATE_S = 0.003, (120.0, 1_200.0)
_BAD_LINE_S = (900.0, 5_400.0)
_APP_SHARE = 1 / 3
"""Customers whose profile the edge keeps a copy of."""
_CHANGES_PER_DAY = 0.2 / 30
_COPY_S, _COPY_SPREAD = 40.0, 0.8
_LOST = 0.0015
"""Changes of a profile that never reach the edge."""
_MOST_AT_ONCE = 2_000


@dataclass(frozen=True, eq=False)
class Fleet:
    """Messages to sites (``kind`` an index into ``KINDS``, ``site`` into ``HUBS``), and changes of profiles.

    Times are µs. A profile's ``version`` counts from 1; ``copied`` is when the edge has it, −1: never.
    """

    kind: Ints
    site: Ints
    sent: Ints
    delivered: Ints
    customer: Ints
    version: Ints
    changed: Ints
    copied: Ints


def make_fleet(world: World) -> Fleet:
    """Draw it, for the customers of a world."""
    rng = np.random.default_rng((world.seed, 3))
    days = round((END_US - START_US) / DAY_US)
    hours = [(k, h) for k, kind in enumerate(KINDS) for h in _SENT_AT_H[kind]]
    day, site, which = (a.ravel() for a in np.indices((days, len(HUBS), len(hours))))
    kind = np.array([k for k, _ in hours])[which]
    hour = np.array([h for _, h in hours])[which] + rng.uniform(-1.5, 1.5, len(which))
    sent = _milliseconds(START_US + day * DAY_US + hour * HOUR_US)
    delivered = _milliseconds(sent + _delay_s(rng, site, sent) * SECOND_US)

    app = np.flatnonzero(rng.random(world.customers) < _APP_SHARE)
    times = rng.poisson(_CHANGES_PER_DAY * days, len(app))
    customer = np.concatenate([app, np.repeat(app, times)])
    first = START_US + rng.uniform(1, 6, len(app)) * HOUR_US
    later = START_US + rng.uniform(0.5, days, int(times.sum())) * DAY_US
    changed = _milliseconds(np.concatenate([first, later]))
    order = np.lexsort((changed, customer))
    customer, changed = customer[order], changed[order]
    begins = np.flatnonzero(np.r_[True, customer[1:] != customer[:-1]])
    version = np.arange(len(customer)) - np.repeat(begins, np.diff(np.r_[begins, len(customer)])) + 1
    copied = changed + rng.lognormal(np.log(_COPY_S), _COPY_SPREAD, len(changed)) * SECOND_US
    # After a bad line the copies come in the order of the changes.
    begin, end = BAD_LINE_US
    held = (world.hub[customer] == HUBS.index(BAD_LINE_SITE)) & (changed >= begin) & (changed < end)
    copied = np.where(held, end + 600 * SECOND_US + (changed - begin) / 100, copied)
    lost = (rng.random(len(changed)) < _LOST) & (version > 1)
    return Fleet(kind, site, sent, delivered, customer, version, changed, np.where(lost, -1, _milliseconds(copied)))


def _delay_s(rng: np.random.Generator, site: Ints, sent: Ints) -> Floats:
    n = len(sent)
    seconds = rng.lognormal(np.log(_DELAY_S), _DELAY_SPREAD, n)
    luck = rng.random(n)
    seconds = np.where(luck < _PATCHY, rng.uniform(*_PATCHY_S, n), seconds)
    seconds = np.where(luck < _VERY_LATE, rng.uniform(*_VERY_LATE_S, n), seconds)
    return np.where(bad_line(site, sent), rng.uniform(*_BAD_LINE_S, n), seconds)


def bad_line(site: Ints, at: Ints) -> Bools:
    """Which messages were sent over the bad line."""
    begin, end = BAD_LINE_US
    there: Bools = (site == HUBS.index(BAD_LINE_SITE)) & (at >= begin) & (at < end)
    return there


def nightly(world: World, fleet: Fleet) -> Iterator[Sending]:
    """One request a night, with what was known by then; in parts where there is much."""
    encode = msgspec.json.Encoder().encode
    told = sorted(_events(world, fleet), key=lambda event: event[0])
    begin = 0
    times = np.array([at for at, _ in told])
    for night in [*range(START_US + DAY_US, END_US, DAY_US), END_US]:
        end = int(np.searchsorted(times, night))
        for part in range(begin, end, _MOST_AT_ONCE):
            lines = [encode(event) for _, event in told[part : min(part + _MOST_AT_ONCE, end)]]
            body = gzip.compress(b"\n".join(lines), compresslevel=1, mtime=0)
            # Its clock is right, and what it tells of is of the edge's and the cloud's own clocks.
            headers = {"Edgeloop-Sent-At": iso(night), "Content-Encoding": "gzip"}
            yield Sending(night, "/v1/events", body, headers, len(lines))
        begin = end


def _events(world: World, fleet: Fleet) -> Iterator[tuple[int, dict[str, Any]]]:
    """(when it is known, event)"""
    rows = zip(fleet.kind.tolist(), fleet.site.tolist(), fleet.sent.tolist(), fleet.delivered.tolist(), strict=True)
    for n, (kind, site, sent, delivered) in enumerate(rows):
        event = _telemetry(f"M-{n:06d}", HUBS[site], KINDS[kind], delivered)
        stamps = {"message_sent_at": iso(sent), "message_delivered_at": iso(delivered)}
        yield delivered, event | {"message_id": f"M-{n:06d}"} | stamps
    yield from _devices(world)
    sites = world.hub[fleet.customer]
    profiles = zip(
        fleet.customer.tolist(), fleet.version.tolist(), fleet.changed.tolist(), fleet.copied.tolist(), sites.tolist(),
        strict=True,
    )  # fmt: skip
    for n, (who, version, changed, copied, site) in enumerate(profiles):
        held = {"type": "profile", "customer_id": customer_id(who), "profile_version": f"p{version}"}
        yield changed, held | {"profile_id": f"cloud-{n:06d}", "side": "cloud", "occurred_at": iso(changed)}
        if copied >= 0:
            edge = {"profile_id": f"edge-{n:06d}", "side": "edge", "site": HUBS[site], "occurred_at": iso(copied)}
            yield copied, held | edge


def _devices(world: World) -> Iterator[tuple[int, dict[str, Any]]]:
    """Each site's gateway, every evening: charge and load as shares, and the energy its models took that day."""
    rng = np.random.default_rng((world.seed, 4))
    days = round((END_US - START_US) / DAY_US)
    energy = np.zeros((days + 1, len(HUBS)))
    for asked in world.asked:
        on = (asked.at - START_US) // DAY_US
        np.add.at(energy, (on, world.hub[world.customer[asked.delivery]]), energy_mj(world, asked))
    for day in range(days):
        at = START_US + day * DAY_US + 22 * HOUR_US
        for site, hub in enumerate(HUBS):
            figures = {
                "battery": round(float(rng.uniform(0.15, 0.6)), 2),
                "cpu": round(float(rng.uniform(0.2, 0.7)), 2),
                "free_mb": round(float(rng.uniform(300, 900)), 1),
                "energy_mj": round(float(energy[day, site]), 1),
            }
            yield at, _telemetry(f"G-{day:02d}-{site:02d}", hub, "device", at) | figures


def _telemetry(name: str, site: str, kind: str, at: int) -> dict[str, Any]:
    return {"type": "telemetry", "telemetry_id": name, "site": site, "kind": kind, "occurred_at": iso(at)}


def _milliseconds(us: Floats | Ints) -> Ints:
    rounded: Ints = us.astype(np.int64) // 1_000 * 1_000
    return rounded
