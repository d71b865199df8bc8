"""What customers do, given which versions they were shown: engagement and answers, from the world's own numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgeloop.app.simulator.cast import ETA, PROMO, REBOOKING, SLOT, Rollout
from edgeloop.app.simulator.world import Bools, Floats, Ints, World
from edgeloop.clock import HOUR_US, SECOND_US

OPENED, REBOOKED, REDEEMED = "card_opened", "slot_rebooked", "offer_redeemed"
ORDERED, COMPLAINED = "order_placed", "complaint"
CSAT, NPS, WHY = "csat", "nps", "why"

_OPEN_ETA, _OPEN_PROMPT = 0.30, 0.35
_REBOOK_SLOT, _REBOOK_PROMPT = 0.15, 0.30
_REDEEM = 0.12
_ORDER, _COMPLAIN = 0.16, 0.025
_COMPLAIN_FAILED = 0.05
_SATISFACTION = 4.05
_FAILED_HURTS = 0.9
_ANSWER = 0.055
_ANSWER_UNHAPPY = 0.055
"""More for each point under the usual rating: the unhappy answer more."""


@dataclass(frozen=True, eq=False)
class Events:
    """Engagement: one element per event."""

    name: str
    delivery: Ints
    at: Ints
    value: Floats | None = None


@dataclass(frozen=True, eq=False)
class Answers:
    """Customers' answered surveys: one element per response."""

    delivery: Ints
    at: Ints
    csat: Ints
    nps: Ints


@dataclass(frozen=True, eq=False)
class Lived:
    """Everything that customers did under one set of versions."""

    events: tuple[Events, ...]
    answers: Answers


def live(world: World, new: dict[str, Bools]) -> Lived:
    """Let the customers live with ``new`` (model → per exposure whether it shows the new version)."""
    models = [_Shown(world, rollout, new[rollout.model_id]) for rollout in (ETA, SLOT, REBOOKING, PROMO)]
    eta, slot, prompt, offer = models
    u = world.u
    opens_eta = eta.seen & (u["opened_eta"] < _OPEN_ETA + eta.adds("opened"))
    opens_prompt = prompt.seen & (u["opened_prompt"] < _OPEN_PROMPT + prompt.adds("opened"))
    books_slot = slot.seen & (u["rebooked_slot"] < _REBOOK_SLOT + slot.adds("rebooked"))
    books_prompt = prompt.seen & (u["rebooked_prompt"] < _REBOOK_PROMPT + prompt.adds("rebooked"))
    redeems = offer.seen & (u["redeemed"] < _REDEEM + offer.adds("redeemed"))
    orders = u["ordered"] < _ORDER + sum(model.adds("ordered") for model in models)
    complains = u["complained"] < _COMPLAIN + _COMPLAIN_FAILED * world.failed
    events = (
        _events(OPENED, opens_eta, eta.at, u["delay_open"], 2 * HOUR_US),
        _events(OPENED, opens_prompt, prompt.at, u["delay_open"], 2 * HOUR_US),
        _events(REBOOKED, books_slot, slot.at, u["delay_rebook"], 6 * HOUR_US),
        _events(REBOOKED, books_prompt, prompt.at, u["delay_rebook"], 6 * HOUR_US),
        _events(REDEEMED, redeems, offer.at, u["delay_redeem"], 48 * HOUR_US),
        _events(ORDERED, orders, world.at, u["delay_order"], 48 * HOUR_US, world.amount),
        _events(COMPLAINED, complains, world.at, u["delay_order"], 24 * HOUR_US),
    )
    satisfaction = sum(model.adds("satisfaction") for model in models)
    return Lived(events, _answers(world, np.asarray(satisfaction)))


class _Shown:
    """One model over all deliveries: whether something was shown, when, and what its version adds."""

    def __init__(self, world: World, rollout: Rollout, new: Bools) -> None:
        (asked,) = (a for a in world.asked if a.rollout is rollout)
        n = len(world.customer)
        shown = ~(asked.failed | asked.fell_back | world.holdout(asked))
        self._rollout = rollout
        self.at = np.zeros(n, dtype=np.int64)
        self.at[asked.delivery] = asked.at
        self.seen = np.zeros(n, dtype=bool)
        self.seen[asked.delivery] = shown
        self._new = np.zeros(n, dtype=bool)
        self._new[asked.delivery] = new

    def adds(self, what: str) -> Floats:
        """What the version shown adds to a chance (or to the rating) at each delivery."""
        added: Floats = self.seen * np.where(
            self._new, getattr(self._rollout.new, what), getattr(self._rollout.old, what)
        )
        return added


def _events(name: str, does: Bools, after: Ints, delay: Floats, longest_us: int, value: Floats | None = None) -> Events:
    delivery = np.flatnonzero(does)
    # Mixpanel stamps whole seconds; at least two after the cause, so that no event seems to precede it.
    at = (after[delivery] + 2 * SECOND_US + delay[delivery] ** 2 * longest_us).astype(np.int64) // SECOND_US * SECOND_US
    return Events(name, delivery, at, None if value is None else value[delivery])


def _answers(world: World, effect: Floats) -> Answers:
    feels = _SATISFACTION + effect + world.mood[world.customer] + world.noise - _FAILED_HURTS * world.failed
    csat = np.rint(feels).clip(1, 5).astype(np.int64)
    chance = _ANSWER + _ANSWER_UNHAPPY * (_SATISFACTION - csat).clip(0) + 0.07 * world.failed
    delivery = np.flatnonzero(world.u["answers"] < chance)
    nps = np.rint(feels[delivery] * 2.3 - 1.2 + world.u["nps"][delivery] * 2).clip(0, 10).astype(np.int64)
    at = world.at[delivery] + ((1 + world.u["delay_answer"][delivery] * 20) * HOUR_US).astype(np.int64)
    return Answers(delivery, at // SECOND_US * SECOND_US, csat[delivery], nps)
