"""What happened in a world? Its tables, as a freeze holds them, from seeded numpy.

Everybody's outcomes are drawn from the level of the version that their entry met, so that the world's true effects are
those of its parameters. What was there before the start is drawn at the old level and lies before the first entry.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.verdicts.crowd import HELD_OUT, at
from benchmarks.verdicts.figures import Floats, Ints, Latency, Money, Rng, Score, Share
from benchmarks.verdicts.worlds import Metric, World
from edgeloop.clock import DAY_US, HOUR_US, SECOND_US

SAME_SECOND_US = SECOND_US
"""Sources that stamp whole seconds are given one (docs/meaning.md, Which exposures can have caused an outcome)."""
ENGAGEMENT_WINDOW_US, ANSWER_WINDOW_US = 72 * HOUR_US, 14 * DAY_US
LOST_CURRENCY = 0.4
"""Of the new version's sums, where it lost the currency."""


def tables(world: World) -> dict[str, pd.DataFrame]:
    """All tables that hold anything."""
    exposures = _exposures(world)
    engagement = _engagement(world)
    answers = _answers(world)
    made = {
        "exposures": exposures,
        "engagement": engagement,
        "answers": answers,
        "responses": _responses(answers),
        "changes": _changes(world),
        "attributions": _attributions(exposures, engagement, answers),
    }
    return {name: frame for name, frame in made.items() if len(frame)}


def since_us(world: World) -> int:
    """From when on the tables hold anything: some days before the first entry."""
    return int(world.crowd.entries.at.min()) - (40 * DAY_US if world.history else 0)


def _subjects(person: Ints) -> np.ndarray:
    return np.char.mod("customer%06d", person).astype(object)


def _levels(world: World, m: Metric) -> Floats:
    """The level of each entry, with the noise of its cluster and cell."""
    e = world.crowd.entries
    level = np.asarray(m.levels, dtype=np.float64)[np.maximum(e.version, 0)]
    if not (m.between or m.shock):
        return level
    rng = world.generator(_seed_of(m, 7))
    cluster = {"courier": e.courier, "zone": e.zone, "block": e.zone}.get(world.crowd.cluster)
    noise = np.zeros(len(e))
    if cluster is not None and m.between:
        noise += m.between * rng.choice([-1.0, 1.0], int(cluster.max(initial=0)) + 1)[cluster]
    if m.shock:
        names, place = np.unique(e.cell, return_inverse=True)
        noise += m.shock * rng.choice([-1.0, 1.0], len(names))[place]
    noisy = level + noise * m.levels[0]  # by how the old version's figure differs, under both versions
    low, high = m.kind.bounds
    return np.clip(noisy, low, high)


def _seed_of(m: Metric, part: int) -> int:
    return part * 1_000 + sum(m.name.encode())


def _exposures(world: World) -> pd.DataFrame:
    crowd, e = world.crowd, world.crowd.entries
    rng = world.generator(1)
    extra = rng.poisson(world.more, len(e))
    of = np.concatenate([np.arange(len(e)), np.repeat(np.arange(len(e)), extra)])
    room = np.minimum(e.until[of] - e.at[of], 5 * DAY_US)
    later = np.floor(rng.random(len(of)) * np.maximum(room - 1, 0)).astype(np.int64)
    later[: len(e)] = 0
    when = e.at[of] + later
    version, person = e.version[of], e.person[of]
    started = when >= crowd.starts[0]
    labelled = started & (e.stage[of] == e.stage[of].min()) if crowd.design == "canary then switch" else started
    arm = np.full(len(of), "stable", dtype=object)
    names = ["stable", "canary", "warm"]
    for v in range(1, len(crowd.versions)):
        arm[(version == v) & labelled] = names[v]
    arm[version == HELD_OUT] = "holdout"
    if not crowd.labelled:
        arm[:] = None if crowd.cluster in ("zone", "block") else "stable"
    rollout = np.full(len(of), None, dtype=object)
    if crowd.rollout is not None:
        rollout[labelled] = crowd.rollout
    label = np.array(crowd.versions, dtype=object)[np.maximum(version, 0)]
    columns: dict[str, Any] = {
        "subject": _subjects(person), "occurred_at": when, "model_version": label, "arm": arm, "rollout_id": rollout,
        "zone": np.char.mod("z%02d", e.zone[of]).astype(object),
        "courier": np.char.mod("courier%04d", e.courier[of]).astype(object) if crowd.cluster == "courier" else None,
        "latency_ms": np.nan, "error": None, "anonymous": np.zeros(len(of), dtype=bool),
    }  # fmt: skip
    for m in world.metrics:
        if m.source == "latency" or (m.source == "slow" and not np.isfinite(columns["latency_ms"]).all()):
            kind = m.kind if isinstance(m.kind, Latency) else m.kind.of  # type: ignore[attr-defined]
            columns["latency_ms"] = kind.draw(world.generator(2), _levels(world, m)[of])
        if m.source == "error":
            assert isinstance(m.kind, Share)
            failed = m.kind.draw(world.generator(3), _levels(world, m)[of])
            columns["error"] = np.where(failed & (version != HELD_OUT), "timeout", None)
    if "anonymous" in world.quirks:
        lost = rng.random(len(of)) < 0.02
        columns["anonymous"] = lost
        columns["subject"] = np.where(lost, np.char.mod("nobody%07d", np.arange(len(of))).astype(object),
                                      columns["subject"])  # fmt: skip
    frame = pd.DataFrame(columns)
    before = _history(world, frame.columns)
    frame = pd.concat([before, frame], ignore_index=True) if len(before) else frame
    frame = frame.sort_values("occurred_at", kind="stable", ignore_index=True)
    frame["fallback"] = frame["error"].notna()
    return frame.assign(
        exposure_id=np.char.mod("x%07d", np.arange(len(frame))).astype(object), touchpoint="app_card", model_id="eta",
        received_at=frame["occurred_at"] + SECOND_US,
    )  # fmt: skip


def _known(world: World) -> tuple[Ints, Ints]:
    """(person, their first entry) of those who were there before, each once."""
    e = world.crowd.entries
    if not world.history or world.crowd.cluster in ("zone", "block", "day"):
        return e.person[:0], e.at[:0]
    first = np.full(int(e.person.max(initial=0)) + 1, np.iinfo(np.int64).max)
    np.minimum.at(first, e.person, e.at)
    rng = world.generator(4)
    people = np.flatnonzero((first < np.iinfo(np.int64).max) & (rng.random(len(first)) < world.history))
    return people.astype(np.int64), first[people]


def _history(world: World, columns: pd.Index) -> pd.DataFrame:
    person, first = _known(world)
    rng = world.generator(5)
    when = first - HOUR_US - np.floor(rng.random(len(person)) * 25 * DAY_US).astype(np.int64)
    when = np.minimum(when, world.crowd.starts[0] - HOUR_US)
    made = pd.DataFrame(
        {"subject": _subjects(person), "occurred_at": when, "model_version": "v1", "arm": "stable", "rollout_id": None,
         "zone": "z00", "courier": None, "latency_ms": np.nan, "error": None, "anonymous": False}
    )  # fmt: skip
    if world.crowd.cluster == "courier":
        made["courier"] = "courier0000"
    return made[list(columns)] if len(made) else made


def _engagement(world: World) -> pd.DataFrame:
    e, crowd = world.crowd.entries, world.crowd
    parts = []
    whole = "whole seconds" in world.quirks
    for m in world.metrics:
        if m.source not in ("share", "money"):
            continue
        rng = world.generator(_seed_of(m, 11))
        level = _levels(world, m)
        if "other people" in world.quirks and isinstance(m.kind, Share):
            level = np.where(e.version == 1, np.clip(level * 0.6, 0, 1), level)
        delay = np.floor(rng.random(len(e)) * (m.window_us - 2 * SECOND_US)).astype(np.int64) + SECOND_US
        when = e.at + delay
        if whole and m.headline:
            quick = np.where(e.version > 0, rng.uniform(0.05, 1.0, len(e)), rng.uniform(0.2, 4.0, len(e)))
            when = e.at + (quick * SECOND_US).astype(np.int64)
        value, did = _drawn(rng, m, level)
        parts.append(_events(m, e.person[did], when[did], value[did], e.version[did], world, rng))
        person, first = _known(world)
        if len(person):
            before = np.full(len(person), m.levels[0])
            if "other people" in world.quirks and isinstance(m.kind, Share):
                new = np.zeros(int(e.person.max()) + 1, dtype=bool)
                new[e.person[e.version == 1]] = True
                before = np.where(new[person], np.clip(before * 0.6, 0, 1), before)
            value, did = _drawn(rng, m, before)
            when = first - HOUR_US - np.floor(rng.random(len(person)) * 13 * DAY_US).astype(np.int64)
            parts.append(
                _events(m, person[did], when[did], value[did], np.zeros(did.sum(), dtype=np.int64), world, rng)
            )
    if not parts:
        return pd.DataFrame()
    made = pd.concat(parts, ignore_index=True).sort_values("occurred_at", kind="stable", ignore_index=True)
    if whole:
        made["occurred_at"] = made["occurred_at"] // SECOND_US * SECOND_US
    made = made[made["occurred_at"] <= crowd.as_of_us].reset_index(drop=True)
    return made.assign(
        event_id=np.char.mod("mixpanel:%07d", np.arange(len(made))).astype(object),
        source="mixpanel" if whole else "app", received_at=made["occurred_at"] + SECOND_US, anonymous=False,
    )  # fmt: skip


def _drawn(rng: Rng, m: Metric, level: Floats) -> tuple[Floats, np.ndarray]:
    if isinstance(m.kind, Money):
        value = m.kind.draw(rng, level)
        return value, value > 0
    assert isinstance(m.kind, Share)
    did = m.kind.draw(rng, level)
    return np.full(len(level), np.nan), did


def _events(m: Metric, person: Ints, when: Ints, value: Floats, version: Ints, world: World, rng: Rng) -> pd.DataFrame:
    currency = np.full(len(person), "EUR" if m.source == "money" else None, dtype=object)
    if any(f.scenario == "no currency" and f.metric == m.name for f in world.effects):
        currency[(version == 1) & (rng.random(len(person)) < LOST_CURRENCY)] = None
    return pd.DataFrame(
        {"subject": _subjects(person), "name": m.name, "value": value, "currency": currency, "occurred_at": when}
    )


def _answers(world: World) -> pd.DataFrame:
    e, parts = world.crowd.entries, []
    for position, m in enumerate(m for m in world.metrics if m.source == "answers"):
        assert isinstance(m.kind, Score)
        rng = world.generator(_seed_of(m, 13))
        told = (rng.random(len(e)) < m.answer) & (e.version != HELD_OUT)
        value = m.kind.draw(rng, _levels(world, m))
        when = e.at + np.floor(rng.random(len(e)) * (m.window_us - 2 * SECOND_US)).astype(np.int64) + SECOND_US
        kept = told & (when <= world.crowd.as_of_us)
        points = m.kind.points
        parts.append(
            pd.DataFrame(
                {"subject": _subjects(e.person[kept]), "occurred_at": when[kept], "respondent": "customer",
                 "survey_id": "home", "question": m.name, "kind": "nps" if m.kind.nps else "rating",
                 "value": value[kept], "low": points[0], "high": points[-1], "position": position}
            )
        )  # fmt: skip
    if not parts:
        return pd.DataFrame()
    made = pd.concat(parts, ignore_index=True).sort_values("occurred_at", kind="stable", ignore_index=True)
    return made.assign(response_id=np.char.mod("form:%07d", np.arange(len(made))).astype(object), source="form")


def _responses(answers: pd.DataFrame) -> pd.DataFrame:
    if not len(answers):
        return answers
    made = answers[["response_id", "subject", "respondent", "survey_id", "occurred_at", "source"]]
    return made.assign(received_at=made["occurred_at"] + SECOND_US, anonymous=False)


def _changes(world: World) -> pd.DataFrame:
    rows = []
    for row in world.crowd.declared:
        made = {"planned_units": world.plan if row["kind"] == "canary" else None, **row}
        made["received_at"] = made["occurred_at"]
        for name in ("allocation", "zones"):
            made[name] = json.dumps(made[name]) if made.get(name) else None
        rows.append(made)
    return pd.DataFrame(rows)


def _attributions(exposures: pd.DataFrame, engagement: pd.DataFrame, answers: pd.DataFrame) -> pd.DataFrame:
    """Last touch: each outcome with the latest shown exposure of its person inside the window, or with none."""
    parts = []
    shown = exposures[exposures["error"].isna() & (exposures["arm"] != "holdout") & ~exposures["anonymous"]]
    shown = shown[["subject", "occurred_at", "exposure_id", "model_id", "model_version", "arm", "rollout_id"]]
    touch = shown.assign(touched_at=shown["occurred_at"]).astype({"subject": object})
    if len(engagement):
        parts.append(
            engagement.assign(
                outcome_id="e:" + engagement["event_id"], outcome_type="engagement", outcome_name=engagement["name"],
                respondent=None, window=ENGAGEMENT_WINDOW_US,
                slack=np.where(engagement["source"] == "mixpanel", SAME_SECOND_US, 0),
            )
        )  # fmt: skip
    if len(answers):
        parts.append(
            answers.assign(
                outcome_id="a:" + answers["response_id"] + "/" + answers["question"], outcome_type="answer",
                outcome_name=answers["survey_id"] + "/" + answers["question"], window=ANSWER_WINDOW_US, slack=0,
            )
        )  # fmt: skip
    if not parts:
        return pd.DataFrame()
    wanted = ["subject", "occurred_at", "outcome_id", "outcome_type", "outcome_name", "respondent", "value", "window",
              "slack"]  # fmt: skip
    outcomes = pd.concat([part[wanted] for part in parts], ignore_index=True)
    outcomes["happened_at"] = outcomes["occurred_at"]
    outcomes["occurred_at"] = outcomes["occurred_at"] + outcomes["slack"]
    outcomes = outcomes.sort_values("occurred_at", kind="stable").astype({"subject": object})
    found = pd.merge_asof(outcomes, touch, on="occurred_at", by="subject")
    near = found["touched_at"].notna() & (found["happened_at"] - found["touched_at"] <= found["window"])
    for name in ("exposure_id", "model_id"):
        found[name] = found[name].where(near, "")
    for name in ("model_version", "arm", "rollout_id"):
        found[name] = found[name].where(near, None)
    return found.assign(
        occurred_at=found["happened_at"], credit=near.astype(float), credit_rule="last_touch", matched_by="window",
        lag_s=(found["happened_at"] - found["touched_at"]) / SECOND_US,
    ).sort_values(["occurred_at", "outcome_id"], ignore_index=True)  # fmt: skip


__all__ = ["at", "since_us", "tables"]
