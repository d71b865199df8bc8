"""What the company's data tells of the health of its edge, month by month: the truth that a report must find."""

from __future__ import annotations

import msgspec
import numpy as np

from edgeloop.app.simulator.cast import TIMEZONE
from edgeloop.app.simulator.fleet import BAD_LINE_SITE, BAD_LINE_US, Fleet, bad_line
from edgeloop.app.simulator.world import World, energy_mj
from edgeloop.clock import SECOND_US, iso
from edgeloop.months import Month

_MONTHS = ("2026-02", "2026-03")


class MonthTruth(msgspec.Struct, frozen=True):
    """One month of the edge."""

    month: str
    profiles: int
    """Customers whose profile is held on both sides at the month's end."""
    parity: float
    """The share of them of whom both sides hold the same version."""
    messages: int
    delay_p95_s: float
    """95 of 100 messages, routes and profile syncs took at most so long to the edge."""
    energy_mj: dict[str, dict[str, float]]
    """Model → version → mean energy of an exposure."""


class BadLineTruth(msgspec.Struct, frozen=True):
    """A site whose messages came late for some days."""

    site: str
    started_at: str
    ended_at: str
    messages: int


def months_of(world: World, fleet: Fleet) -> list[MonthTruth]:
    """The month of the report and the one before."""
    return [_month(world, fleet, Month.parse(name, TIMEZONE)) for name in _MONTHS]


def bad_line_of(fleet: Fleet) -> BadLineTruth:
    """The incident that is planted."""
    begin, end = BAD_LINE_US
    late = int(bad_line(fleet.site, fleet.sent).sum())
    return BadLineTruth(BAD_LINE_SITE, iso(begin), iso(end), late)


def _month(world: World, fleet: Fleet, month: Month) -> MonthTruth:
    inside = (fleet.delivered >= month.start_us) & (fleet.delivered < month.end_us)
    seconds = (fleet.delivered - fleet.sent)[inside] / SECOND_US
    held, same = _parity(fleet, month.end_us)
    return MonthTruth(
        month=month.name,
        profiles=held,
        parity=same / held,
        messages=int(inside.sum()),
        delay_p95_s=float(np.quantile(seconds, 0.95)),
        energy_mj=_energy(world, month),
    )


def _parity(fleet: Fleet, end_us: int) -> tuple[int, int]:
    """(customers known on both sides, of them with the same version).

    Versions only grow, and a copy that is overtaken by a later one would leave the edge behind.
    """
    newest: dict[int, int] = {}
    copy: dict[int, int] = {}
    copied_at: dict[int, int] = {}
    rows = zip(
        fleet.customer.tolist(), fleet.version.tolist(), fleet.changed.tolist(), fleet.copied.tolist(), strict=True
    )
    for who, version, changed, copied in rows:
        if changed < end_us:
            newest[who] = version
        if 0 <= copied < end_us and copied > copied_at.get(who, -1):
            copied_at[who], copy[who] = copied, version
    return len(copy), sum(newest[who] == version for who, version in copy.items())


def _energy(world: World, month: Month) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    for asked in world.asked:
        energy, new = energy_mj(world, asked), world.canary(asked)
        inside = (asked.at >= month.start_us) & (asked.at < month.end_us)
        versions = ((asked.rollout.old.name, inside & ~new), (asked.rollout.new.name, inside & new))
        found[asked.rollout.model_id] = {name: float(energy[rows].mean()) for name, rows in versions if rows.any()}
    return found
