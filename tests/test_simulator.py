"""The simulation is reproducible, and what it plants is what it says it plants."""

from __future__ import annotations

import base64
import gzip
import hashlib
import hmac
import json
import shutil
from collections import Counter
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats
from stdnum import iban, luhn

from edgeloop.app.simulator import drive, simulate
from edgeloop.app.simulator.behaviour import Lived, live
from edgeloop.app.simulator.cast import (
    END_US,
    ETA,
    PROMO,
    REBOOKING,
    ROLLOUTS,
    SLOT,
    ZONES,
    Rollout,
)
from edgeloop.app.simulator.devices import CLOCK_OFF_US, Sending, nameless, uploads
from edgeloop.app.simulator.drive import Pause, planted
from edgeloop.app.simulator.fleet import make_fleet, nightly
from edgeloop.app.simulator.truth import change_truths, overlaps
from edgeloop.app.simulator.vendors import Vendors
from edgeloop.app.simulator.world import World, make_world
from edgeloop.clock import DAY_US, HOUR_US, to_us
from edgeloop.errors import EdgeloopError, HomeError
from edgeloop.home import Home
from edgeloop.log.local import LocalLog

SCALE = 0.02
METRIC = {"order_placed": "conversion"}


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
        "offer_redeemed": [shown["promo-offer"]],
    }
    for events in lived.events:
        cause = causes[events.name].pop(0)
        assert len(events.at) > 0
        assert all(at > cause[d] for d, at in zip(events.delivery.tolist(), events.at.tolist(), strict=True))
    assert not any(causes.values())
    assert (lived.answers.at > world.at[lived.answers.delivery]).all()


def test_arms_are_drawn_per_customer_and_stay(world: World) -> None:
    """In a stage everybody keeps an arm, and from stage to stage nobody loses the new version."""
    for asked in world.asked:
        if not asked.rollout.randomised:
            continue
        new = world.canary(asked)
        inside = world.in_rollout(asked)
        assert not new[~inside].any()
        customer = world.customer[asked.delivery]
        steady = np.flatnonzero(inside & ~asked.stale)
        steady = steady[np.argsort(asked.at[steady], kind="stable")]
        starts = [stage.start_us for stage in asked.rollout.stages]
        for who in np.unique(customer[steady]):
            rows = steady[customer[steady] == who]
            assert (np.diff(new[rows].astype(int)) >= 0).all()
            met = set(zip(np.searchsorted(starts, asked.at[rows], side="right").tolist(), new[rows], strict=True))
            assert len(met) == len({stage for stage, _ in met})


def test_a_ramp_reaches_its_share_of_customers_stage_by_stage_in_its_zones_only() -> None:
    world = make_world(2, 1.0)
    (asked,) = [a for a in world.asked if a.rollout is PROMO]
    new, customer = world.canary(asked), world.customer[asked.delivery]
    zone = np.array(ZONES)[world.zone(customer)]
    assert not new[~np.isin(zone, ["north", "east"])].any()
    shares = []
    for stage in PROMO.stages:
        rows = world.in_rollout(asked, stage) & ~asked.stale
        assert set(zone[rows]) == {"north", "east"}
        units = {int(c): bool(n) for c, n in zip(customer[rows], new[rows], strict=True)}
        low, high = (float(stats.binom.ppf(q, len(units), stage.share)) for q in (0.0005, 0.9995))
        assert low <= sum(units.values()) <= high
        shares.append(sum(units.values()) / len(units))
    assert shares == sorted(shares)
    assert 0 < shares[0] < 0.03
    assert shares[-1] > 0.4


def test_a_ramp_is_declared_stage_by_stage_and_each_end_once_it_is_there() -> None:
    moments = sorted({at for s in PROMO.stages for at in (s.start_us, s.end_us) if at is not None})
    told = [[(e["change_id"], e.get("revision", 0)) for e in PROMO.declarations(at)] for at in moments]
    assert told == [
        [("promo-ramp", 0)],
        [("promo-ramp", 1), ("promo-ramp-2", 0)],
        [("promo-ramp-2", 1), ("promo-ramp-3", 0)],
    ]
    latest = {e["change_id"]: e for at in moments for e in PROMO.declarations(at)}
    assert [e["allocation"]["2.0"] for e in latest.values()] == [0.01, 0.1, 0.5]
    assert {(e["rollout_id"], e["to_version"], e["kind"]) for e in latest.values()} == {
        ("promo-offer-2.0", "2.0", "staged")
    }
    assert [e.get("ended_at") for e in latest.values()] == [*(e["occurred_at"] for e in [*latest.values()][1:]), None]
    assert all(e["zones"] == ["north", "east"] for e in latest.values())


def test_labels_say_where_and_in_which_arm(batches: list[Sending]) -> None:
    """What reaches the door of the ramp and of the canary with a holdout."""
    sent = [e for batch in batches for e in lines(batch) if e["type"] == "exposure" and "arm" in e]
    ramp = [e for e in sent if e["model_id"] == PROMO.model_id]
    labelled = {e["zone"] for e in ramp if "rollout_id" in e}
    assert labelled == {"north", "east"}
    assert {e["zone"] for e in ramp if "rollout_id" not in e} == set(ZONES), "before it everywhere, elsewhere always"
    assert {e["device"] for e in ramp} == {"locker"}
    held = [e for e in sent if e["arm"] == "holdout"]
    assert {(e["model_id"], e["rollout_id"]) for e in held} == {("rebooking-prompt", "rebooking-prompt-6.0")}
    assert {e["model_version"] for e in held} == {"5.2", "6.0"}, "they report what they would have been shown"


def test_the_held_out_are_shown_nothing() -> None:
    world = make_world(4, 0.3)
    (asked,) = [a for a in world.asked if a.rollout is REBOOKING]
    held = world.holdout(asked)
    units = np.unique(world.customer[asked.delivery[world.in_rollout(asked)]])
    low, high = (float(stats.binom.ppf(q, len(units), REBOOKING.holdout)) for q in (0.0005, 0.9995))
    assert low <= len(np.unique(world.customer[asked.delivery[held]])) <= high
    assert set(world.customer[asked.delivery[held]]).isdisjoint(
        world.customer[asked.delivery[world.in_rollout(asked) & ~held]]
    )
    shown = live(world, {a.rollout.model_id: world.canary(a) for a in world.asked})
    # The second of each name is the prompt's: opened, and rebooked by it.
    for name in ("card_opened", "slot_rebooked"):
        prompt = [events for events in shown.events if events.name == name][1]
        assert len(prompt.delivery) > 100
        assert not np.isin(prompt.delivery, asked.delivery[held]).any()


def test_overlapping_changes_share_customers_and_not_their_draw() -> None:
    world = make_world(1, 1.0)
    found = {o.changes: o for o in overlaps(world, nameless(world))}
    pair = found["slot-canary", "rebooking-canary"]
    assert pair.customers == sum(pair.arms.values()) > 2_500
    assert pair.ended_at is None
    counted = np.array(list(pair.arms.values())).reshape(2, 2)
    assert stats.chi2_contingency(counted).pvalue > 0.001
    assert set(found) == {
        ("slot-canary", "rebooking-canary"), ("slot-canary", "promo-ramp"), ("rebooking-canary", "promo-ramp"),
    }  # fmt: skip


def test_overlap_by_brute_force(world: World) -> None:
    unnamed = nameless(world)
    met: list[dict[int, str]] = []
    for rollout in (SLOT, REBOOKING):
        (asked,) = [a for a in world.asked if a.rollout is rollout]
        new, held = world.canary(asked), world.holdout(asked)
        first: dict[int, str] = {}
        for row in np.argsort(asked.at, kind="stable").tolist():
            if asked.at[row] >= rollout.start_us and not unnamed[rollout.model_id][row] and not held[row]:
                version = rollout.new if new[row] else rollout.old
                first.setdefault(int(world.customer[asked.delivery[row]]), version.name)
        met.append(first)
    (pair,) = [o for o in overlaps(world, unnamed) if o.changes == ("slot-canary", "rebooking-canary")]
    both = met[0].keys() & met[1].keys()
    assert pair.customers == len(both)
    assert {k: n for k, n in pair.arms.items() if n} == Counter(f"{met[0][who]} + {met[1][who]}" for who in both)


@pytest.mark.parametrize(("rollout", "number"), [(SLOT, 1), (REBOOKING, 1), (PROMO, 2), (PROMO, 3)])
def test_truth_by_brute_force(rollout: Rollout, number: int) -> None:
    """The truth once more, with loops, by its definition."""
    world = make_world(3, 0.06)
    as_of = END_US + HOUR_US
    unnamed = nameless(world)
    (truth,) = [c for c in change_truths(world, unnamed, as_of) if c.change_id == rollout.change_id]
    metrics = truth.metrics if truth.stages is None else truth.stages[number - 1].metrics
    stage = rollout.stages[number - 1]
    closes = min(as_of, stage.end_us or as_of)
    (asked,) = [a for a in world.asked if a.rollout is rollout]
    customer = world.customer[asked.delivery]
    inside = (asked.at >= stage.start_us) & (asked.at < closes)
    if rollout.zones:
        inside &= np.isin(np.array(ZONES)[world.zone(customer)], rollout.zones)
    held = world.held[rollout.change_id] < rollout.holdout
    entry: dict[int, int] = {}
    for row in np.argsort(asked.at, kind="stable").tolist():
        if inside[row] and not unnamed[rollout.model_id][row] and not held[customer[row]]:
            entry.setdefault(int(customer[row]), int(asked.at[row]))
    actual = {a.rollout.model_id: world.canary(a) for a in world.asked}
    figures = []
    for version in (False, True):
        lived = live(world, actual | {rollout.model_id: np.where(inside, version, actual[rollout.model_id])})
        hits: dict[str, set[int]] = {}
        for events in lived.events:
            for delivery, at in zip(events.delivery.tolist(), events.at.tolist(), strict=True):
                who = int(world.customer[delivery])
                if who in entry and entry[who] <= at <= entry[who] + 72 * HOUR_US:
                    hits.setdefault(METRIC.get(events.name, events.name), set()).add(who)
        complete = {who for who, at in entry.items() if at + 72 * HOUR_US <= closes}
        scores = [
            csat
            for delivery, at, csat in zip(
                lived.answers.delivery.tolist(), lived.answers.at.tolist(), lived.answers.csat.tolist(), strict=True
            )
            for who in [int(world.customer[delivery])]
            if who in entry and entry[who] + 14 * DAY_US <= closes and entry[who] <= at <= entry[who] + 14 * DAY_US
        ]
        share = {name: len(hits.get(name, set()) & complete) / len(complete) for name in metrics if name in hits}
        figures.append((share, sum(scores) / len(scores) if scores else None, len(complete)))
    for name in figures[1][0]:
        assert metrics[name].n == figures[0][2]
        assert metrics[name].effect == pytest.approx(figures[1][0][name] - figures[0][0].get(name, 0.0), abs=1e-12)
    headline, least = {SLOT: ("slot_rebooked", 0.03), REBOOKING: ("card_opened", 0.1), PROMO: ("offer_redeemed", 0.03)}[
        rollout
    ]
    assert metrics[headline].effect > least
    csat = metrics.get("csat")
    assert (csat is None) == (figures[0][1] is None or figures[1][1] is None)
    if csat is not None and figures[0][1] is not None and figures[1][1] is not None:
        assert csat.effect == pytest.approx(figures[1][1] - figures[0][1], abs=1e-12)


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
        hits: dict[str, set[int]] = {name: set() for name in ("card_opened", "slot_rebooked", "conversion")}
        for events in lived.events:
            for delivery, at in zip(events.delivery.tolist(), events.at.tolist(), strict=True):
                who = int(world.customer[delivery])
                name = METRIC.get(events.name, events.name)
                if name in hits and who in complete and entry[who] <= at <= entry[who] + 72 * HOUR_US:
                    hits[name].add(who)
        shares.append({name: len(people) / len(complete) for name, people in hits.items()})
    before, after = shares
    for name in before:
        shown = truth.metrics[name].effect + truth.trend[name]
        assert shown == pytest.approx(after[name] - before[name], abs=1e-12)
    assert truth.trend["conversion"] != 0, "the other changes and chance moved it"


def test_every_change_has_its_truth() -> None:
    world = make_world(1, 0.1)
    truths = change_truths(world, nameless(world), END_US)
    assert [t.change_id for t in truths] == [r.change_id for r in ROLLOUTS]
    by_id = {t.change_id: t for t in truths}
    assert by_id["rebooking-canary"].metrics["card_opened"].effect > 0.1
    assert by_id["rebooking-canary"].metrics["csat"].effect < -0.3
    assert by_id["eta-switch"].grade == "before_after"
    assert [t.change_id for t in truths if t.trend is not None] == ["eta-switch"]
    ramp = by_id["promo-ramp"]
    assert [t.change_id for t in truths if t.stages is not None] == ["promo-ramp"]
    assert ramp.stages is not None
    assert (ramp.stage, ramp.metrics) == (3, ramp.stages[2].metrics)
    assert ramp.metrics["offer_redeemed"].effect > 0.03
    assert ramp.zones == ["north", "east"]
    assert by_id["rebooking-canary"].holdout == 0.08


@pytest.mark.slow
def test_everything_passes_the_real_door_but_what_is_broken_on_purpose(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    report = simulate(home, seed=3, scale=0.005)
    small = make_world(3, 0.005)
    sent = [line for batch in uploads(small) for line in lines(batch)]
    broken = [e for e in sent if e["type"] != "exposure" or e["exposure_id"].startswith("ahead")]
    responses = list(vendors_of(small).typeform())
    declared = len(ROLLOUTS) + 4  # two more stages, and the ends of two
    told = Counter(event["type"] for sending in nightly(small, make_fleet(small)) for event in lines(sending))
    assert report.records == {
        "dead.letters": len(broken),
        "edge.exposures": len(sent) - len(broken),
        "edge.telemetry": told["telemetry"],
        "engagement.events": report.engagement_from_exports,
        "feedback.responses": len(responses),
        "model.changes": declared,
        "profile.versions": told["profile"],
    }
    assert len(broken) > 10
    assert report.events_over_http == len(sent) + len(responses) + declared + told.total()
    with pytest.raises(HomeError, match="a simulation already"):
        simulate(home, seed=4, scale=0.005)


@pytest.mark.slow
def test_at_a_pause_the_home_knows_what_was_sent_by_then_and_goes_on_alike(tmp_path: Path) -> None:
    whole, halted = (Home(tmp_path / name) for name in ("whole", "halted"))
    moment = us("2026-03-03T05:00:00+00:00")
    seen: list[dict[str, int]] = []
    stamps: list[int] = []

    def act() -> None:
        seen.append(drive._records(halted))
        log = LocalLog(halted.log)
        for (topic, partition), end in log.end_offsets().items():
            values = log.read(topic, partition, 0, end, 1 << 30).values
            stamps.extend(us(str(json.loads(value)["received_at"])) for value in values)
        log.close()

    reports = [
        simulate(whole, seed=3, scale=0.005),
        simulate(halted, seed=3, scale=0.005, pause=Pause(moment, act)),
    ]
    assert reports[0].records == reports[1].records == drive._records(halted)
    assert (whole.path / drive.TRUTH_FILE).read_bytes() == (halted.path / drive.TRUTH_FILE).read_bytes()
    assert len(seen) == 1
    assert seen[0].keys() == reports[0].records.keys()
    assert all(n < reports[0].records[topic] for topic, n in seen[0].items())
    assert moment - DAY_US < max(stamps) < moment


def test_settings_of_a_person_are_not_replaced(tmp_path: Path) -> None:
    settings = tmp_path / "edgeloop.toml"
    settings.write_text('company = "Mine"\n', encoding="utf-8")
    with pytest.raises(HomeError, match="would replace"):
        simulate(Home(tmp_path), seed=3, scale=0.005)
    assert settings.read_text(encoding="utf-8") == 'company = "Mine"\n'
    assert not Home(tmp_path).simulated


@pytest.mark.slow
def test_a_door_that_does_not_open_is_said_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drive.sys, "executable", shutil.which("false"))
    with pytest.raises(EdgeloopError, match="does not answer"):
        simulate(Home(tmp_path / "home"), seed=3, scale=0.005)
