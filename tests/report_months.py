"""Eight kinds of month as small real freezes: everything, nothing, one version, twelve, a first month, one under
repair, names from right to left and long ones, and answers of delivery agents only.

Tables are drawn from seeded numpy, the analysis is the product's own, and each month takes well under two seconds.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import reports
from edgeloop.clock import DAY_US, HOUR_US, SECOND_US
from edgeloop.metrics import metrics_in_force
from edgeloop.store.freeze import Freeze, Promoted
from reports.findings import Findings
from tests.report_fixture import analysed, at, write

Frames = dict[str, pd.DataFrame]
END = at(4, 1)
_REMARKS = {
    1: "Nobody rang, the card said delivered and the parcel was at the depot.",
    2: "Came three hours after the promised time.",
    3: "Fine, but the code of the locker came late.",
    4: "Slot moved with one tap, good.",
    5: "Friendly courier, right on time, thank you.",
}
_NO_GUARDRAILS = {name: {"role": "off"} for name in ("error_rate", "over_budget", "latency_p95")}
_ARABIC = "نافذة وصول أقصر للتسليم في المساء"
_HEBREW = "חלון הגעה קצר יותר"
_LONG = "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft" * 3
"""One word of 240 letters."""


@dataclass(frozen=True)
class Rollout:
    """A model whose new version some customers get; ``events`` are name → (share under old, under new)."""

    model: str
    title: str
    events: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    begins: int = at(3, 2)
    share: float = 0.5
    declared_share: float | None = 0.5
    new: str = "2.1"
    old: str = "2.0"
    owner: str | None = None
    csat: tuple[float, float] | None = None
    slow: float = 1.0
    zone_effect: tuple[str, str, float] | None = None
    """Event, zone and the share there under the new version."""
    lasts: float = 1.0
    """What is left of each effect after a week."""
    switch: bool = False
    features: int = 8
    planned: int | None = None


@dataclass(frozen=True)
class World:
    """A company's months: ``since`` is when its data begins."""

    rollouts: Sequence[Rollout]
    people: int = 2_400
    since: int = at(2, 1)
    zones: tuple[str, ...] = ("north", "south", "west")
    touchpoint: str = "app_card"
    background: Mapping[str, float] = field(default_factory=lambda: {"order_placed": 0.05, "complaint": 0.02})
    each: int = 3
    answer: float = 0.2
    remarks: Mapping[int, str] = field(default_factory=lambda: _REMARKS)
    survey: str = "delivery"


def frames(world: World, seed: int) -> Frames:
    """Its tables."""
    rng = np.random.default_rng(seed)
    shown = pd.concat([_shown(rng, world, r) for r in world.rollouts])
    shown = shown.sort_values(["occurred_at", "exposure_id"], ignore_index=True)
    shown["received_at"] = shown["occurred_at"] + 40 * SECOND_US
    return frames_of(rng, world, shown, _changes(world.rollouts))


def frames_of(rng: np.random.Generator, world: World, shown: pd.DataFrame, changes: pd.DataFrame) -> Frames:
    """The tables of what a world's people did with these exposures, and its declared changes."""
    engagement = _engagement(rng, world, shown)
    answers = _answers(rng, world, shown)
    return {
        "exposures": shown,
        "engagement": engagement,
        "answers": answers,
        "responses": _responses(answers),
        "changes": changes,
        "attributions": _attributions(engagement, answers, shown),
    }


def _shown(rng: np.random.Generator, world: World, r: Rollout) -> pd.DataFrame:
    person = np.repeat(np.arange(world.people), world.each)
    when = rng.integers(world.since, END - 3 * HOUR_US, len(person))
    drawn = (rng.random(world.people) < r.share)[person]
    begun = when >= r.begins
    new = begun if r.switch else begun & drawn
    error = rng.random(len(person)) < 0.001
    return pd.DataFrame(
        {
            "exposure_id": [f"x-{r.model}-{i:06d}" for i in range(len(person))],
            "subject": [f"customer{p:05d}" for p in person],
            "touchpoint": world.touchpoint,
            "model_id": r.model,
            "model_version": np.where(new, r.new, r.old),
            "arm": np.where(new & (not r.switch), "canary", "stable"),
            "rollout_id": [f"{r.model}-{r.new}" if on and not r.switch else None for on in begun],
            "latency_ms": np.round(rng.gamma(6, 20 * r.slow, len(person)), 1),
            "error": ["timeout" if failed else None for failed in error],
            "fallback": error.astype(float),
            "features": float(r.features),
            "zone": np.array(world.zones, dtype=object)[person % len(world.zones)],
            "courier": [f"courier{p % 40:03d}" for p in person],
            "occurred_at": when,
        }
    )


def _engagement(rng: np.random.Generator, world: World, shown: pd.DataFrame) -> pd.DataFrame:
    parts = []

    def add(name: str, hit: pd.DataFrame) -> None:
        value: Any = np.nan
        if name == "order_placed":
            value = np.round(rng.gamma(4, 9, len(hit)), 2)
        parts.append(
            pd.DataFrame(
                {
                    "subject": hit["subject"],
                    "name": name,
                    "source": "mixpanel",
                    "value": value,
                    "currency": "EUR" if name == "order_placed" else None,
                    "occurred_at": hit["occurred_at"] + rng.integers(SECOND_US, 50 * HOUR_US, len(hit)),
                }
            )
        )

    for r in world.rollouts:
        own = shown[shown["model_id"] == r.model]
        new = (own["model_version"] == r.new).to_numpy()
        for name, (before, after) in r.events.items():
            share: Any = np.where(new, after, before)
            if r.zone_effect is not None and r.zone_effect[0] == name:
                share = np.where(new & (own["zone"] == r.zone_effect[1]).to_numpy(), r.zone_effect[2], share)
            weeks = np.maximum(own["occurred_at"].to_numpy() - r.begins, 0) // (7 * DAY_US)
            share = before + (share - before) * r.lasts**weeks
            add(name, own[rng.random(len(own)) < share])
    for name, share in world.background.items():
        add(name, shown[rng.random(len(shown)) < share])
    columns = ["subject", "name", "source", "value", "currency", "occurred_at"]
    if not parts:
        return pd.DataFrame({name: pd.Series(dtype=object) for name in (*columns, "event_id", "received_at")})
    made = pd.concat(parts)
    made = made.sort_values(["occurred_at", "subject", "name"], ignore_index=True)
    made["event_id"] = [f"mixpanel:{i:06d}" for i in range(len(made))]
    made["received_at"] = made["occurred_at"] + 5 * SECOND_US
    return made


def _answers(rng: np.random.Generator, world: World, shown: pd.DataFrame) -> pd.DataFrame:
    parts = []
    for r in world.rollouts:
        if r.csat is None:
            continue
        own = shown[shown["model_id"] == r.model]
        own = own[rng.random(len(own)) < world.answer]
        mean = np.where(own["model_version"] == r.new, r.csat[1], r.csat[0])
        parts.append(_rated(rng, own["subject"], own["occurred_at"] + DAY_US, mean, world, "customer"))
    agents = shown.drop_duplicates("courier")
    if world.answer:
        when = pd.Series(rng.integers(at(3, 3), at(3, 30), len(agents)), index=agents.index)
        parts.append(_rated(rng, agents["courier"], when, np.full(len(agents), 3.7), world, "agent"))
    if not parts:
        return pd.DataFrame(columns=["response_id", "subject", "respondent", "survey_id", "question", "kind", "value",
                                     "low", "high", "text", "position", "occurred_at", "source"])  # fmt: skip
    return pd.concat(parts).sort_values(["occurred_at", "response_id", "position"], ignore_index=True)


def _rated(
    rng: np.random.Generator, who: pd.Series, when: pd.Series, mean: Any, world: World, side: str
) -> pd.DataFrame:
    survey = world.survey if side == "customer" else "courier pulse"
    score = np.clip(np.round(rng.normal(mean, 0.9)), 1, 5)
    ids = [f"typeform:{survey[:20]}:{side}:{i:05d}" for i in range(len(who))]
    shared = {"response_id": ids, "subject": who.to_numpy(), "occurred_at": when.to_numpy(), "respondent": side}
    rating = pd.DataFrame(
        {**shared, "position": 0, "question": "csat", "kind": "csat", "value": score, "low": 1.0, "high": 5.0}
    )
    said = [world.remarks[int(s)] for s in score]
    text = pd.DataFrame({**shared, "position": 1, "question": "why", "kind": "text", "text": said})
    both = pd.concat([rating, text[rng.random(len(text)) < 0.3]])
    return both.assign(survey_id=survey, source="typeform")


def _responses(answers: pd.DataFrame) -> pd.DataFrame:
    made = answers.drop_duplicates("response_id")[["response_id", "subject", "respondent", "survey_id", "occurred_at"]]
    return made.assign(source="typeform", received_at=made["occurred_at"] + SECOND_US)


def _changes(rollouts: Sequence[Rollout]) -> pd.DataFrame:
    rows = []
    for r in rollouts:
        if not r.title:
            continue
        share = r.declared_share
        rows.append(
            {
                "change_id": f"{r.model}-{r.new}", "model_id": r.model, "from_version": r.old, "to_version": r.new,
                "kind": "switch" if r.switch else "canary", "title": r.title, "owner": r.owner, "unit": "subject",
                "planned_units": r.planned,
                "rollout_id": None if r.switch else f"{r.model}-{r.new}", "assignment": None if r.switch else "random",
                "allocation": None if r.switch or share is None else json.dumps({r.old: 1 - share, r.new: share}),
                "occurred_at": r.begins, "received_at": r.begins,
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


def _attributions(engagement: pd.DataFrame, answers: pd.DataFrame, shown: pd.DataFrame) -> pd.DataFrame:
    """Last touch: engagement inside 72 h, answers inside 14 days."""
    outcomes = []
    if len(engagement):
        outcomes.append(
            engagement[["subject", "occurred_at", "value"]].assign(
                outcome_id="e:" + engagement["event_id"], outcome_type="engagement", outcome_name=engagement["name"],
                respondent="customer", within=72 * HOUR_US,
            )
        )  # fmt: skip
    if len(answers):
        outcomes.append(
            answers[["subject", "occurred_at", "value", "respondent"]].assign(
                outcome_id="a:" + answers["response_id"] + "/" + answers["question"], outcome_type="answer",
                outcome_name=answers["survey_id"] + "/" + answers["question"], within=14 * DAY_US,
            )
        )  # fmt: skip
    every = pd.concat(outcomes).sort_values("occurred_at", kind="stable", ignore_index=True)
    every["occurred_at"] = every["occurred_at"].astype("int64")
    touch = shown[["subject", "courier", "occurred_at", "exposure_id", "model_id", "model_version"]]
    touch = touch.assign(shown_at=touch["occurred_at"])
    found = []
    for side, key in (("customer", "subject"), ("agent", "courier")):
        own = touch.drop(columns="courier" if side == "customer" else "subject").rename(columns={key: "subject"})
        asked = every[every["respondent"] == side]
        if len(asked):
            found.append(pd.merge_asof(asked, own, on="occurred_at", by="subject"))
    made = pd.concat(found)
    missed = made["exposure_id"].isna() | (made["occurred_at"] - made["shown_at"] > made["within"])
    made.loc[missed, ["model_id", "exposure_id"]] = ""
    made.loc[missed, "model_version"] = None
    made = made.assign(credit=np.where(missed, 0.0, 1.0), credit_rule="last_touch", matched_by="window")
    return made.drop(columns=["within", "shown_at"]).sort_values(["occurred_at", "outcome_id"], ignore_index=True)


def _profiles(people: int) -> pd.DataFrame:
    who = np.repeat([f"customer{p:05d}" for p in range(people)], 2)
    side = np.tile(["cloud", "edge"], people)
    stale = (np.arange(2 * people) % 1999 == 1) & (side == "edge")
    return pd.DataFrame(
        {
            "profile_id": [f"p{i:06d}" for i in range(2 * people)], "subject": who, "side": side, "site": "hub-1",
            "profile_version": np.where(stale, "6", "7"), "occurred_at": at(2, 20), "received_at": at(2, 20),
        }
    )  # fmt: skip


def _telemetry() -> pd.DataFrame:
    n = 200
    sent = at(3, 5) + np.arange(n) * HOUR_US
    return pd.DataFrame(
        {
            "telemetry_id": [f"t{i:04d}" for i in range(n)], "site": "hub-1", "kind": "message",
            "message_sent_at": sent, "message_delivered_at": sent + (np.arange(n) % 20) * SECOND_US,
            "occurred_at": sent, "received_at": sent,
        }
    )  # fmt: skip


def _everything(folder: Path) -> Freeze:
    prompt = Rollout(
        "rebook-prompt", "One-tap rebooking", {"slot_rebooked": (0.10, 0.36)}, owner="Amara Nwosu, product",
        csat=(4.0, 4.02), zone_effect=("slot_rebooked", "west", 0.56), lasts=0.5,
    )  # fmt: skip
    card = Rollout(
        "promo-card", "Bigger promotion card", {"card_opened": (0.10, 0.17), "complaint": (0.02, 0.02)},
        owner="Jana Ortiz, CRM", csat=(4.05, 3.4), begins=at(3, 4),
    )  # fmt: skip
    quiet = Rollout("quiet-hours", "Fewer messages at night", {}, begins=at(3, 24), share=0.05, declared_share=0.05)
    eta = Rollout("eta-promise", "Shorter ETA window", {}, switch=True, begins=at(3, 10), slow=2.6, features=12)
    world = World((prompt, card, quiet, eta), people=5_000, since=at(1, 4))
    tables = frames(world, 21) | {"profiles": _profiles(world.people), "telemetry": _telemetry()}
    return write(
        folder,
        tables,
        metrics=metrics_in_force(
            {
                "slot_rebooked": {"worth": 1.4},
                "complaint": {"worth": -6.0},
                "error_rate": {"margin": 0.02},
                "over_budget": {"margin": 0.03},
            }
        ),
        printed={"conversion": 0.0605},
        previous="2026-02-aaaaaaaaaaaa",
        promoted=[Promoted(month="2026-01", change_id="eta-1.9", metric="conversion", effect=0.012, se=0.004)],
    )


def _nothing(folder: Path) -> Freeze:
    return write(folder, {}, metrics=metrics_in_force({}))


def _one_version(folder: Path) -> Freeze:
    tables = frames(World((Rollout("eta-promise", "", begins=at(5, 1), csat=(4.1, 4.1)),), people=1_500), 12)
    return write(folder, tables, metrics=metrics_in_force({}))


def _twelve(folder: Path) -> Freeze:
    rollouts = [
        Rollout(
            f"model-{i:02d}", f"Change number {i} of the spring",
            {"slot_rebooked": (0.2, (0.2, 0.07, 0.4, 0.2)[i % 4])},
            begins=at(3, 1 + i), new=f"{i}.1", old=f"{i}.0", planned=400,
        )
        for i in range(1, 13)
    ]  # fmt: skip
    return write(folder, frames(World(rollouts, people=1_500, each=2), 13), metrics=metrics_in_force(_NO_GUARDRAILS))


def _first(folder: Path) -> Freeze:
    prompt = Rollout("rebook-prompt", "One-tap rebooking", {"slot_rebooked": (0.1, 0.2)}, begins=at(3, 25))
    tables = frames(World((prompt,), people=900, since=at(3, 16)), 14)
    return write(folder, tables, metrics=metrics_in_force({}), since_us=at(3, 16), as_of_us=at(4, 2))


def _repair(folder: Path) -> Freeze:
    prompt = Rollout("rebook-prompt", "One-tap rebooking", {"slot_rebooked": (0.1, 0.2)}, share=0.4, csat=(4.0, 4.0))
    sound = Rollout("promo-card", "Bigger promotion card", {"card_opened": (0.10, 0.17)})
    tables = frames(World((prompt, sound)), 15)
    # The source of answers and events broke: from the 22nd on two of three name people whom nobody knows.
    for name in ("engagement", "answers"):
        table = tables[name]
        lost = (table["occurred_at"] >= at(3, 22)) & (np.arange(len(table)) % 3 > 0)
        table.loc[lost & (table.get("respondent") != "agent"), "subject"] = "nobody-known"
    tables["responses"] = _responses(tables["answers"])
    tables["attributions"] = _attributions(tables["engagement"], tables["answers"], tables["exposures"])
    return write(folder, tables, metrics=metrics_in_force({}), counts={"dead_letters:no known type": 4_210})


def _names(folder: Path) -> Freeze:
    rollouts = (
        Rollout("eta-promise", _ARABIC, {"slot_rebooked": (0.1, 0.2)}, owner=f"دانا الخطيب {_LONG}", csat=(4.0, 3.4)),
        Rollout("promo-card", _LONG, {"card_opened": (0.10, 0.17)}, owner=_LONG),
        Rollout("m" * 120, f"{_HEBREW} – {_LONG}", {_LONG[:120]: (0.1, 0.2)}, new="2.1-" + "z" * 80),
    )
    remarks = dict.fromkeys(range(1, 6), f"وصل الطرد متأخراً ساعتين {_LONG}")
    world = World(rollouts, zones=("وسط المدينة", _LONG, "south"), touchpoint=_LONG[:90], remarks=remarks, people=1_800)
    tables = frames(world, 16)
    tables["answers"]["survey_id"] = tables["answers"]["survey_id"] + _LONG[:150]
    return write(folder, tables, metrics=metrics_in_force(_NO_GUARDRAILS), company=f"شركة البريد السريع {_LONG}")


def _agents_only(folder: Path) -> Freeze:
    prompt = Rollout("route-hints", "Route hints on the handheld", {})
    tables = frames(World((prompt,), people=900, background={}), 17)
    return write(folder, tables, metrics=metrics_in_force({}))


MONTHS: dict[str, Callable[[Path], Freeze]] = {
    "everything": _everything,
    "nothing": _nothing,
    "one version": _one_version,
    "twelve changes": _twelve,
    "first month": _first,
    "under repair": _repair,
    "names": _names,
    "agents only": _agents_only,
}


def findings(name: str, folder: Path) -> Findings:
    """What a month's report says."""
    freeze = MONTHS[name](folder)
    return reports.build(freeze, analysed(freeze))
