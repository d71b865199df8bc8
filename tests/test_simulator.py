"""The simulation is reproducible, and what it plants is what it says it plants."""

from __future__ import annotations

import base64
import gzip
import hashlib
import hmac
import json
import shutil
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stdnum import iban, luhn

from edgeloop.app.simulator import drive, simulate
from edgeloop.app.simulator.behaviour import Lived, live
from edgeloop.app.simulator.cast import CUSTOMER_FORM, END_US, ETA, ROLLOUTS, SLOT
from edgeloop.app.simulator.devices import CLOCK_OFF_US, Sending, nameless, uploads
from edgeloop.app.simulator.drive import planted
from edgeloop.app.simulator.truth import change_truths
from edgeloop.app.simulator.vendors import Vendors
from edgeloop.app.simulator.world import World, make_world
from edgeloop.clock import DAY_US, HOUR_US, to_us
from edgeloop.errors import EdgeloopError, HomeError
from edgeloop.home import Home

SCALE = 0.02


@pytest.fixture(scope="module")
def world() -> World:
    return make_world(3, SCALE)


@pytest.fixture(scope="module")
def batches(world: World) -> list[Sending]:
    return list(uploads(world))


def vendors_of(world: World) -> Vendors:
    return Vendors(world, lived_in(world), "secret")


def lived_in(world: World) -> Lived:
    return live(world, {a.rollout.model_id: world.canary(a) for a in world.asked})


def lines(sending: Sending) -> list[dict[str, Any]]:
    found = []
    for line in gzip.decompress(sending.body).split(b"\n"):
        try:
            found.append(json.loads(line))
        except json.JSONDecodeError:
            found.append({"type": "broken"})
    return found


def us(text: str) -> int:
    return to_us(datetime.fromisoformat(text))


def test_the_same_seed_sends_the_same_bytes(world: World, batches: list[Sending], tmp_path: Path) -> None:
    again = make_world(3, SCALE)
    assert [s.body for s in uploads(again)] == [s.body for s in batches]
    first, second = vendors_of(world), vendors_of(again)
    assert [s.body for s in first.typeform()] == [s.body for s in second.typeform()]
    files = [v.mixpanel(tmp_path) and [p.read_bytes() for p in sorted(tmp_path.iterdir())] for v in (first, second)]
    assert files[0] == files[1]
    assert [s.body for s in uploads(make_world(4, SCALE))] != [s.body for s in batches]


def test_gateways_deliver_late_shuffled_and_twice(batches: list[Sending]) -> None:
    ids: list[str] = []
    delays, unordered, several = [], 0, 0
    for batch in batches:
        events = [e for e in lines(batch) if e["type"] == "exposure" and not e["exposure_id"].startswith("ahead")]
        sent = us(batch.headers["Edgeloop-Sent-At"])
        times = [us(e["occurred_at"]) for e in events]
        delays += [sent - t for t in times]
        unordered += times != sorted(times)
        several += len(times) > 3
        ids += [e["exposure_id"] for e in events]
    assert min(delays) > -2_000_000, "nothing is sent before it happened, by the device's own clock"
    assert max(delays) > 12 * HOUR_US
    assert unordered > 0.8 * several > 0
    assert 0.01 < 1 - len(set(ids)) / len(ids) < 0.03


def test_some_clocks_are_wrong(batches: list[Sending]) -> None:
    offs = {round((us(b.headers["Edgeloop-Sent-At"]) - b.at_us) / 60e6) for b in batches}
    assert {round(off / 60e6) for off in CLOCK_OFF_US.values()} <= offs


def test_responses_are_signed(world: World) -> None:
    for sending in vendors_of(world).typeform():
        wanted = base64.b64encode(hmac.new(b"secret", sending.body, hashlib.sha256).digest()).decode()
        assert sending.headers["Typeform-Signature"] == f"sha256={wanted}"


def test_the_unhappy_answer_more() -> None:
    """Apart from failed deliveries too, so that no covariate explains it away."""
    world = make_world(1, 0.3)
    everybody = lived_in(replace(world, u=world.u | {"answers": np.zeros(len(world.customer))})).answers
    assert len(everybody.csat) == len(world.customer)
    unhappy = (everybody.csat <= 2) & ~world.failed
    answered = np.zeros(len(world.customer), dtype=bool)
    answered[lived_in(world).answers.delivery] = True
    assert answered[unhappy].mean() > 1.7 * answered[(everybody.csat >= 4) & ~world.failed].mean()


def test_personal_data_is_real_in_form() -> None:
    found = planted(1, 0.3)
    cards = [p for p in found if len("".join(filter(str.isdigit, p))) == 16 and not p.startswith("DE")]
    ibans = [p for p in found if p.startswith("DE")]
    assert len(cards) > 3
    assert len(ibans) > 3
    assert all(luhn.is_valid(card.replace(" ", "")) for card in cards)
    assert all(iban.is_valid(number) for number in ibans)
    assert sum("@" in p for p in found) > 10
    assert "C-000007" in found


def test_nothing_happens_before_its_cause(world: World) -> None:
    lived = lived_in(world)
    shown = {a.rollout.model_id: dict(zip(a.delivery.tolist(), a.at.tolist(), strict=True)) for a in world.asked}
    delivered = dict(enumerate(world.at.tolist()))
    causes = {
        "card_opened": [shown["eta-promise"], shown["rebooking-prompt"]],
        "slot_rebooked": [shown["slot-offer"], shown["rebooking-prompt"]],
        "order_placed": [delivered],
        "complaint": [delivered],
    }
    for events in lived.events:
        cause = causes[events.name].pop(0)
        assert len(events.at) > 0
        assert all(at > cause[d] for d, at in zip(events.delivery.tolist(), events.at.tolist(), strict=True))
    assert not any(causes.values())
    assert (lived.answers.at > world.at[lived.answers.delivery]).all()


def test_arms_are_drawn_per_customer_and_stay(world: World) -> None:
    for asked in world.asked:
        if asked.rollout.share is None:
            continue
        new = world.canary(asked)
        after = asked.at >= asked.rollout.start_us
        customer = world.customer[asked.delivery]
        steady = after & ~asked.stale
        for who in np.unique(customer[steady])[:200]:
            assert len(set(new[steady & (customer == who)].tolist())) == 1
        assert not new[~after].any()


def test_truth_by_brute_force(world: World) -> None:
    """The truth of the slot canary once more, with loops, by its definition."""
    as_of = END_US + HOUR_US
    unnamed = nameless(world)
    (truth,) = [c for c in change_truths(world, unnamed, as_of) if c.change_id == SLOT.change_id]
    slot = next(a for a in world.asked if a.rollout is SLOT)
    entry: dict[int, int] = {}
    for row in np.argsort(slot.at, kind="stable").tolist():
        if slot.at[row] >= SLOT.start_us and not unnamed[SLOT.model_id][row]:
            entry.setdefault(int(world.customer[slot.delivery[row]]), int(slot.at[row]))
    actual = {a.rollout.model_id: world.canary(a) for a in world.asked}
    figures = []
    for version in (False, True):
        new = actual | {SLOT.model_id: np.where(slot.at >= SLOT.start_us, version, actual[SLOT.model_id])}
        lived = live(world, new)
        hits: dict[str, set[int]] = {}
        for events in lived.events:
            for delivery, at in zip(events.delivery.tolist(), events.at.tolist(), strict=True):
                who = int(world.customer[delivery])
                if who in entry and entry[who] <= at <= entry[who] + 72 * HOUR_US:
                    hits.setdefault(events.name, set()).add(who)
        complete = {who for who, at in entry.items() if at + 72 * HOUR_US <= as_of}
        scores = [
            csat
            for delivery, at, csat in zip(
                lived.answers.delivery.tolist(), lived.answers.at.tolist(), lived.answers.csat.tolist(), strict=True
            )
            for who in [int(world.customer[delivery])]
            if who in entry and entry[who] + 14 * DAY_US <= as_of and entry[who] <= at <= entry[who] + 14 * DAY_US
        ]
        share = {name: len(hits[name] & complete) / len(complete) for name in hits}
        figures.append((share, sum(scores) / len(scores), len(complete)))
    for name in ("slot_rebooked", "order_placed", "card_opened", "complaint"):
        assert truth.metrics[name].n == figures[0][2]
        assert truth.metrics[name].effect == pytest.approx(figures[1][0][name] - figures[0][0][name], abs=1e-12)
    assert truth.metrics[f"{CUSTOMER_FORM}/csat"].effect == pytest.approx(figures[1][1] - figures[0][1], abs=1e-12)
    assert truth.metrics["slot_rebooked"].effect > 0.03


def test_effect_and_trend_are_what_before_and_after_shows(world: World) -> None:
    """The switch as it was lived, with loops: the weeks after it less as many before it."""
    unnamed = nameless(world)
    (truth,) = [c for c in change_truths(world, unnamed, END_US) if c.change_id == ETA.change_id]
    assert truth.trend is not None
    asked = next(a for a in world.asked if a.rollout is ETA)
    lived = lived_in(world)
    span = 28 * DAY_US
    shares = []
    for begin in (ETA.start_us - span, ETA.start_us):
        entry: dict[int, int] = {}
        for row in np.argsort(asked.at, kind="stable").tolist():
            if begin <= asked.at[row] < begin + span and not unnamed[ETA.model_id][row]:
                entry.setdefault(int(world.customer[asked.delivery[row]]), int(asked.at[row]))
        complete = {who for who, at in entry.items() if at + 72 * HOUR_US <= begin + span}
        hits: dict[str, set[int]] = {name: set() for name in ("card_opened", "slot_rebooked", "order_placed")}
        for events in lived.events:
            for delivery, at in zip(events.delivery.tolist(), events.at.tolist(), strict=True):
                who = int(world.customer[delivery])
                if events.name in hits and who in complete and entry[who] <= at <= entry[who] + 72 * HOUR_US:
                    hits[events.name].add(who)
        shares.append({name: len(people) / len(complete) for name, people in hits.items()})
    before, after = shares
    for name in before:
        shown = truth.metrics[name].effect + truth.trend[name]
        assert shown == pytest.approx(after[name] - before[name], abs=1e-12)
    assert truth.trend["order_placed"] != 0, "the other changes and chance moved it"


def test_every_change_has_its_truth() -> None:
    world = make_world(1, 0.1)
    truths = change_truths(world, nameless(world), END_US)
    assert [t.change_id for t in truths] == [r.change_id for r in ROLLOUTS]
    by_id = {t.change_id: t for t in truths}
    assert by_id["rebooking-canary"].metrics["card_opened"].effect > 0.1
    assert by_id["rebooking-canary"].metrics[f"{CUSTOMER_FORM}/csat"].effect < -0.3
    assert by_id["eta-switch"].grade == "before_after"
    assert [t.change_id for t in truths if t.trend is not None] == ["eta-switch"]


@pytest.mark.slow
def test_everything_passes_the_real_door_but_what_is_broken_on_purpose(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    report = simulate(home, seed=3, scale=0.005)
    small = make_world(3, 0.005)
    sent = [line for batch in uploads(small) for line in lines(batch)]
    broken = [e for e in sent if e["type"] != "exposure" or e["exposure_id"].startswith("ahead")]
    responses = list(vendors_of(small).typeform())
    assert report.records == {
        "dead.letters": len(broken),
        "edge.exposures": len(sent) - len(broken),
        "engagement.events": report.engagement_from_exports,
        "feedback.responses": len(responses),
        "model.changes": len(ROLLOUTS),
    }
    assert len(broken) > 10
    assert report.events_over_http == len(sent) + len(responses) + len(ROLLOUTS)
    with pytest.raises(HomeError, match="a simulation already"):
        simulate(home, seed=4, scale=0.005)


def test_settings_of_a_person_are_not_replaced(tmp_path: Path) -> None:
    settings = tmp_path / "edgeloop.toml"
    settings.write_text('company = "Mine"\n', encoding="utf-8")
    with pytest.raises(HomeError, match="would replace"):
        simulate(Home(tmp_path), scale=0.005)
    assert settings.read_text(encoding="utf-8") == 'company = "Mine"\n'
    assert not Home(tmp_path).simulated


@pytest.mark.slow
def test_a_door_that_does_not_open_is_said_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drive.sys, "executable", shutil.which("false"))
    with pytest.raises(EdgeloopError, match="does not answer"):
        simulate(Home(tmp_path / "home"), scale=0.005)
