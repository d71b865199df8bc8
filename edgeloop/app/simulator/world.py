"""Everything that chance decides, drawn once.

So the same customers, with the same random numbers, can live under any versions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgeloop.app.simulator.cast import DEVICES, END_US, HUBS, PROMO, ROLLOUTS, START_US, ZONES, Rollout, Stage
from edgeloop.clock import DAY_US, HOUR_US, SECOND_US

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

CUSTOMERS = 12_000
COURIERS = 60
DELIVERIES_PER_DAY = 0.055
"""Per customer."""
FAILED_SHARE = 0.16
SLOT_SHARE = 0.42
FALLBACK_SHARE = 0.01
ERROR_SHARE = 0.005
STALE_SHARE = 0.002
"""Exposures of a rollout from a device that still had the other arm's configuration."""
OFFER_SHARE = 0.8
"""Collections from a locker at which it asks for an offer."""


@dataclass(frozen=True, eq=False)
class Asked:
    """The exposures of one model, one per element: which delivery, when, and what chance says of each."""

    rollout: Rollout
    delivery: Ints
    at: Ints
    latency: Floats
    """Multiplies the version's median latency."""
    failed: Bools
    fell_back: Bools
    stale: Bools


@dataclass(frozen=True, eq=False)
class World:
    """Customers, deliveries and the uniform numbers (0–1) that behaviour compares its chances with.

    Arrays per customer: ``hub``, ``new_customer``, ``mood`` (rating points), ``arm`` and ``held`` (change → uniform).
    Arrays per delivery, ordered by time: ``customer``, ``courier``, ``at`` (µs), ``failed``, ``noise`` (rating
    points), ``u`` (purpose → uniform), ``amount`` (EUR).
    """

    customers: int
    hub: Ints
    new_customer: Bools
    mood: Floats
    arm: dict[str, Floats]
    held: dict[str, Floats]
    customer: Ints
    courier: Ints
    at: Ints
    failed: Bools
    noise: Floats
    u: dict[str, Floats]
    amount: Floats
    asked: tuple[Asked, ...]
    courier_mood: Floats
    seed: int

    def zone(self, customer: Ints) -> Ints:
        """The zone of each customer's hub, as an index into ``ZONES``."""
        return self.hub[customer] % len(ZONES)

    def device(self, customer: Ints) -> Ints:
        """The kind of device, as an index into ``DEVICES``."""
        return _device(self.hub, customer)

    def in_rollout(self, asked: Asked, stage: Stage | None = None) -> Bools:
        """Which exposures carry the rollout's label (of a switch: came after it); with ``stage`` those inside it."""
        rollout = asked.rollout
        begin, end = (rollout.start_us, None) if stage is None else (stage.start_us, stage.end_us)
        inside: Bools = asked.at >= begin
        if end is not None:
            inside &= asked.at < end
        if rollout.zones:
            reached = np.isin(ZONES, rollout.zones)
            inside &= reached[self.zone(self.customer[asked.delivery])]
        return inside

    def holdout(self, asked: Asked) -> Bools:
        """Which exposures are held out: asked for, and nothing is shown."""
        held: Bools = self.held[asked.rollout.change_id][self.customer[asked.delivery]] < asked.rollout.holdout
        return held & self.in_rollout(asked)

    def canary(self, asked: Asked) -> Bools:
        """Which exposures report the new version: by the customer's draw, the same in every stage, or after the switch.

        What a holdout reports is what it would have been shown.
        """
        rollout = asked.rollout
        share = np.zeros(len(asked.at))
        for stage in rollout.stages:
            share[asked.at >= stage.start_us] = stage.share
        chosen = self.arm[rollout.change_id][self.customer[asked.delivery]] < share
        return (chosen ^ asked.stale) & self.in_rollout(asked)


def latency_ms(world: World, asked: Asked) -> Floats:
    """How long each exposure's inference took, as it is told."""
    new, old = asked.rollout.new, asked.rollout.old
    return np.round(asked.latency * np.where(world.canary(asked), new.latency_ms, old.latency_ms), 1)


def energy_mj(world: World, asked: Asked) -> Floats:
    """What each exposure's inference took from the device, as it is told: the longer and the heavier, the more."""
    new, old = asked.rollout.new, asked.rollout.old
    return np.round(latency_ms(world, asked) * np.where(world.canary(asked), new.watts, old.watts), 1)


_PURPOSES = (
    "opened_eta", "opened_prompt", "rebooked_slot", "rebooked_prompt", "ordered", "complained", "answers", "partial",
    "writes", "delay_open", "delay_rebook", "delay_order", "delay_answer", "text", "personal", "nps",
)  # fmt: skip
_OFFER_PURPOSES = ("redeemed", "delay_redeem")


def make_world(seed: int, scale: float) -> World:
    """Draw everything; ``scale`` 1 is 12,000 customers."""
    rng = np.random.default_rng(seed)
    # Offers and holdouts are drawn apart, so that everything else is as it would be without them.
    apart = np.random.default_rng((seed, 2))
    customers = max(60, round(CUSTOMERS * scale))
    couriers = max(12, round(COURIERS * min(1.0, scale * 2)))
    hub = rng.integers(0, len(HUBS), customers)
    days = (END_US - START_US) / DAY_US
    n = int(rng.poisson(customers * DELIVERIES_PER_DAY * days))
    customer = rng.integers(0, customers, n)
    # Deliveries between 8 and 21 h, and few on Sundays.
    day = rng.integers(0, round(days), n)
    sunday = (day + 3) % 7 == 6  # 1 January 2026 is a Thursday
    day = np.where(sunday & (rng.random(n) < 0.8), day - rng.integers(1, 4, n), day).clip(0)
    at = START_US + day * DAY_US + (rng.uniform(8, 21, n) * HOUR_US).astype(np.int64)
    order = np.argsort(at, kind="stable")
    customer, at = customer[order], at[order]
    failed = rng.random(n) < FAILED_SHARE
    has_slot = rng.random(n) < SLOT_SHARE
    everyone = np.arange(n)
    collects = (_device(hub, customer) == DEVICES.index("locker")) & ~failed
    which = {
        "eta-promise": everyone,
        "slot-offer": everyone[has_slot],
        "rebooking-prompt": everyone[failed],
        "promo-offer": everyone[collects & (apart.random(n) < OFFER_SHARE)],
    }
    # The promise is shown some hours before, the slot offer a day before, the prompt minutes after the failed attempt,
    # the offer on the locker's screen while it opens.
    lead = {
        "eta-promise": lambda k: -rng.uniform(1, 8, k) * HOUR_US,
        "slot-offer": lambda k: -rng.uniform(18, 40, k) * HOUR_US,
        "rebooking-prompt": lambda k: rng.uniform(0.05, 0.6, k) * HOUR_US,
        "promo-offer": lambda k: -apart.uniform(0.01, 0.03, k) * HOUR_US,
    }
    asked = []
    for rollout in ROLLOUTS:
        delivery = which[rollout.model_id]
        k = len(delivery)
        draw = _stream(rollout, rng, apart)
        moment = (at[delivery] + lead[rollout.model_id](k)).astype(np.int64)
        inside = (moment >= START_US) & (moment < END_US)
        draws = draw.lognormal(0.0, 0.32, k), draw.random(k), draw.random(k), draw.random(k)
        latency, error, fallback, stale = (x[inside] for x in draws)
        asked.append(
            Asked(
                rollout,
                delivery[inside],
                moment[inside] // 1_000 * 1_000,
                latency,
                error < ERROR_SHARE,
                fallback < FALLBACK_SHARE,
                stale < STALE_SHARE if rollout.randomised else np.zeros(int(inside.sum()), dtype=bool),
            )
        )
    return World(
        customers=customers,
        hub=hub,
        new_customer=rng.random(customers) < 0.3,
        mood=rng.normal(0, 0.35, customers),
        arm={rollout.change_id: _stream(rollout, rng, apart).random(customers) for rollout in ROLLOUTS},
        held={rollout.change_id: apart.random(customers) for rollout in ROLLOUTS},
        customer=customer,
        courier=(hub[customer] * (couriers // len(HUBS) or 1) + rng.integers(0, couriers // len(HUBS) or 1, n)),
        at=at // SECOND_US * SECOND_US,
        failed=failed,
        noise=rng.normal(0, 0.8, n),
        u={purpose: rng.random(n) for purpose in _PURPOSES} | {purpose: apart.random(n) for purpose in _OFFER_PURPOSES},
        amount=np.round(rng.lognormal(3.3, 0.55, n), 2),
        asked=tuple(asked),
        courier_mood=rng.normal(0, 0.4, couriers),
        seed=seed,
    )


def _device(hub: Ints, customer: Ints) -> Ints:
    return (hub[customer] * 7 + customer) % len(DEVICES)


def _stream(rollout: Rollout, rng: np.random.Generator, apart: np.random.Generator) -> np.random.Generator:
    return apart if rollout is PROMO else rng
