"""Who enters a world, when, and which version do they meet? One generator of entries per design."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.verdicts.figures import Ints, Rng
from edgeloop.clock import DAY_US, HOUR_US
from edgeloop.months import Month

MONTH = Month.parse("2026-03", "UTC")
HELD_OUT = -1
MOST = 16_000
"""Entries of one world, about."""
WEEK_US = 7 * DAY_US


def at(days: float) -> int:
    """µs since the epoch, counted in days from the beginning of the month."""
    return MONTH.start_us + round(days * DAY_US)


@dataclass(frozen=True, slots=True, eq=False)
class Entries:
    """First exposures, one element per row in every array.

    ``version`` is 0 for the old one, −1 for those held out; ``counts`` says which stand in the comparison that decides
    (of staged changes before and after, see ``after``); ``cell`` numbers the spans whose noise they share (zone × week,
    zone × block, day); ``until`` is the end of the stage, block or span that the entry belongs to.
    """

    person: Ints
    at: Ints
    version: Ints
    stage: Ints
    zone: Ints
    courier: Ints
    cell: Ints
    after: npt.NDArray[np.bool_]
    counts: npt.NDArray[np.bool_]
    until: Ints

    def __len__(self) -> int:
        return len(self.person)


@dataclass(frozen=True, slots=True, eq=False)
class Crowd:
    """A design with the people who enter it; ``told`` are the numbers that were drawn, for whoever reads a world."""

    design: str
    entries: Entries
    versions: tuple[str, ...]
    starts: tuple[int, ...]
    """Of the stages."""
    stop_us: int
    """When intake stops."""
    ended_us: int | None
    closes_us: int
    """The last moment that a window of the deciding entries may reach."""
    as_of_us: int
    declared: tuple[dict[str, Any], ...]
    cluster: str = "person"
    """``person``, ``courier``, ``zone`` or ``block``: what was assigned."""
    assignments: float = np.inf
    """How many ways the draw could have fallen, where a permutation tests it."""
    rollout: str | None = "r1"
    labelled: bool = True
    told: dict[str, Any] = field(default_factory=dict)

    @property
    def span_us(self) -> int:
        """How long the deciding comparison takes entries."""
        e = self.entries
        chosen = e.at[e.counts & e.after]
        return int(chosen.max() - chosen.min()) if len(chosen) else 0


def _times(rng: Rng) -> tuple[float, float, int | None, int]:
    """(start, stop) in days, a declared end and the freeze's as_of: intake often ends before the month does."""
    start = float(rng.uniform(-9, 7))
    most = 31.0 - start
    days = float(rng.uniform(3, 6)) if rng.random() < 0.04 else float(rng.uniform(10, most))
    stop = start + days if rng.random() < 0.5 else 31.0
    ended = at(stop) if stop < 31 and rng.random() < 0.5 else None
    return start, stop, ended, at(31 + float(rng.choice([2.2, 5.0, 15.0])))


def _share(rng: Rng) -> float:
    """The new version's share of the two: from 1:50 to 1:1, now and then the larger part."""
    odds = float(np.exp(rng.uniform(np.log(1 / 50), 0)))
    return 1 / (1 + odds) if rng.random() < 0.08 else odds / (1 + odds)


def _size(rng: Rng, share: float) -> int:
    n = int(np.exp(rng.uniform(np.log(400), np.log(MOST))))
    return min(MOST, max(n, round(60 / min(share, 1 - share))))


def _same(n: int, value: int = 0) -> Ints:
    return np.full(n, value, dtype=np.int64)


def _plain(
    n: int, when: Ints, version: Ints, until: int, *, courier: Ints | None = None, stage: Ints | None = None
) -> Entries:
    """Entries of one comparison of people."""
    return Entries(
        person=np.arange(n, dtype=np.int64), at=when, version=version, stage=_same(n, 1) if stage is None else stage,
        zone=np.arange(n, dtype=np.int64) % 3, courier=_same(n) if courier is None else courier, cell=_same(n),
        after=np.ones(n, dtype=bool), counts=version != HELD_OUT, until=_same(n, until),
    )  # fmt: skip


def _uniform(rng: Rng, n: int, start: int, stop: int) -> Ints:
    return np.asarray(start + np.floor(rng.random(n) * (stop - start)), dtype=np.int64)


def _change(**more: Any) -> dict[str, Any]:
    row: dict[str, Any] = {
        "model_id": "eta", "from_version": "v1", "to_version": "v2", "kind": "canary", "rollout_id": "r1",
        "title": "Shorter window",
    }  # fmt: skip
    return row | more


def _canary(rng: Rng, *, design: str) -> Crowd:
    start, stop, ended, as_of = _times(rng)
    share = _share(rng)
    n = _size(rng, share)
    held = float(rng.uniform(0.1, 0.25)) if rng.random() < 0.08 else 0.0
    version = (rng.random(n) < share).astype(np.int64)
    version[rng.random(n) < held] = HELD_OUT
    allocation = {"v1": (1 - held) * (1 - share), "v2": (1 - held) * share} | ({"holdout": held} if held else {})
    declared: tuple[dict[str, Any], ...] = ()
    if design == "declared":
        told = {} if rng.random() < 0.15 else {"allocation": allocation}
        declared = (_change(change_id="c1", occurred_at=at(start), ended_at=ended, assignment="random", **told),)
    else:
        ended = None
    entries = _plain(n, _uniform(rng, n, at(start), at(stop)), version, at(stop))
    return Crowd(
        design, entries, ("v1", "v2"), (at(start),), at(stop), ended, min(ended or as_of, as_of), as_of, declared,
        told={"start": start, "stop": stop, "people": n, "share": share, "held out": held},
    )  # fmt: skip


def _labels(rng: Rng) -> Crowd:
    return _canary(rng, design="labels only")


def _declared(rng: Rng) -> Crowd:
    return _canary(rng, design="declared")


def _couriers(rng: Rng) -> Crowd:
    start, stop, ended, as_of = _times(rng)
    k = int(np.exp(rng.uniform(np.log(16), np.log(240))))
    new = max(4, round(k * float(rng.choice([0.5, 0.5, 0.3, 0.15]))))
    size = np.exp(rng.normal(0, float(rng.choice([0.2, 0.6])), k))
    n = int(np.exp(rng.uniform(np.log(1_000), np.log(12_000))))
    courier = rng.choice(k, n, p=size / size.sum()).astype(np.int64)
    treated = np.zeros(k, dtype=np.int64)
    treated[rng.permutation(k)[:new]] = 1
    change = _change(
        change_id="c1", occurred_at=at(start), ended_at=ended, assignment="random", unit="courier",
        allocation={"v1": 1 - new / k, "v2": new / k},
    )  # fmt: skip
    entries = _plain(n, _uniform(rng, n, at(start), at(stop)), treated[courier], at(stop), courier=courier)
    return Crowd(
        "by courier", entries, ("v1", "v2"), (at(start),), at(stop), ended, min(ended or as_of, as_of), as_of,
        (change,), cluster="courier",
        told={"start": start, "stop": stop, "people": n, "couriers": k, "with the new version": new},
    )  # fmt: skip


def _three(rng: Rng) -> Crowd:
    start, stop, ended, as_of = _times(rng)
    share = float(rng.uniform(0.08, 0.33))
    n = max(int(np.exp(rng.uniform(np.log(1_500), np.log(MOST)))), round(150 / share))
    draw = rng.random(n)
    version = np.where(draw < share, 1, np.where(draw < 2 * share, 2, 0)).astype(np.int64)
    allocation = {"v1": 1 - 2 * share, "v2": share, "v3": share}
    declared = tuple(
        _change(
            change_id=f"c{i}", occurred_at=at(start), ended_at=ended, assignment="random", allocation=allocation,
            to_version=v, title=title,
        )
        for i, v, title in ((1, "v2", "Shorter window"), (2, "v3", "Warmer words"))
    )  # fmt: skip
    entries = _plain(n, _uniform(rng, n, at(start), at(stop)), version, at(stop))
    return Crowd(
        "three arms", entries, ("v1", "v2", "v3"), (at(start),), at(stop), ended, min(ended or as_of, as_of), as_of,
        declared, told={"start": start, "stop": stop, "people": n, "share of each": share},
    )  # fmt: skip


def _ramp(rng: Rng, *, told: bool) -> Crowd:
    shares = [(0.05, 0.2, 0.5), (0.1, 0.5), (0.05, 0.25), (0.02, 0.1, 0.5)][int(rng.integers(4))]
    edges = np.linspace(float(rng.uniform(-4, 2)), 31.0, len(shares) + 1)
    edges[1:-1] = np.round(edges[1:-1])
    pool = int(np.exp(rng.uniform(np.log(1_500), np.log(MOST / len(shares)))))
    luck, visits = rng.random(pool), float(rng.uniform(0.5, 1.0))
    parts: list[tuple[Ints, Ints, Ints, Ints, Ints]] = []
    for i, share in enumerate(shares):
        person = np.flatnonzero(rng.random(pool) < visits).astype(np.int64)
        begin, end = at(edges[i]), at(edges[i + 1])
        when = _uniform(rng, len(person), begin, end)
        version = (luck[person] < share).astype(np.int64)
        parts.append((person, when, version, _same(len(person), i + 1), _same(len(person), end)))
    person, when, version, stage, until = (np.concatenate(column) for column in zip(*parts, strict=True))
    n, as_of = len(person), at(31 + float(rng.choice([2.2, 5.0])))
    entries = Entries(
        person, when, version, stage, person % 3, _same(n), _same(n), np.ones(n, dtype=bool), stage == len(shares),
        until,
    )  # fmt: skip
    declared = tuple(
        _change(
            change_id=f"c1-{i + 1}", occurred_at=at(edges[i]), assignment="random", planned_stages=len(shares),
            allocation={"v1": 1 - share, "v2": share},
        )
        for i, share in enumerate(shares)
    )  # fmt: skip
    starts = tuple(at(edge) for edge in edges[:-1])
    return Crowd(
        "ramp" if told else "ramp, undeclared", entries, ("v1", "v2"), starts, at(31), None, as_of, as_of,
        declared if told else (), told={"shares": shares, "days": edges.round(1).tolist(), "people": pool},
    )  # fmt: skip


def _ramp_declared(rng: Rng) -> Crowd:
    return _ramp(rng, told=True)


def _ramp_undeclared(rng: Rng) -> Crowd:
    return _ramp(rng, told=False)


def _zone_sizes(rng: Rng, zones: int) -> npt.NDArray[np.float64]:
    """People of each zone as shares of all: alike, or up to 1:40."""
    return np.exp(rng.uniform(0, float(rng.choice([0.1, 1.5, np.log(40)])), zones))


def _staged(rng: Rng, *, steps: int) -> Crowd:
    zones = int(np.exp(rng.uniform(np.log(4 if steps == 1 else 6), np.log(41))))
    most = zones - 1 if steps == 1 else zones - 2
    treated = int(min(most, max(steps, rng.integers(1, max(2, zones // 2) + 1))))
    size = _zone_sizes(rng, zones)
    order = rng.permutation(zones)
    small = bool(rng.random() < 0.2)
    if small:
        order = np.argsort(size, kind="stable")
    days = float(rng.uniform(9, 25)) if steps == 1 else float(rng.uniform(16, 26))
    edges = 31 - days + days * np.arange(steps + 1) / steps
    counts = np.unique(np.linspace(0, treated, steps + 1).round().astype(int))[1:]
    edges = 31 - days + days * np.arange(len(counts) + 1) / len(counts)
    before = float(rng.uniform(1.0, 2.0)) * days
    begin, end, as_of = at(31 - days - before), at(31.0), at(31 + float(rng.choice([2.2, 5.0])))
    n = int(np.exp(rng.uniform(np.log(1_500), np.log(MOST))))
    zone = rng.choice(zones, n, p=size / size.sum()).astype(np.int64)
    when = np.sort(_uniform(rng, n, begin, end))
    from_us = np.full(zones, np.iinfo(np.int64).max)
    done = 0
    for i, count in enumerate(counts):
        from_us[order[done:count]] = at(edges[i])
        done = int(count)
    version = (when >= from_us[zone]).astype(np.int64)
    after = when >= at(edges[0])
    week = (when - begin) // WEEK_US
    random = bool(rng.random() < 0.6) and not small
    rows = tuple(
        _change(
            change_id=f"c1-{i + 1}", occurred_at=at(edges[i]), kind="staged", unit="zone",
            zones=[f"z{z:02d}" for z in sorted(order[:count].tolist())], assignment="random" if random else "chosen",
        )
        for i, count in enumerate(counts)
    )  # fmt: skip
    rollout = "r1" if len(counts) > 1 or rng.random() < 0.4 else None
    rows = tuple(row | {"rollout_id": rollout} for row in rows)
    until = np.where(after, end, at(edges[0]))
    entries = Entries(
        np.arange(n, dtype=np.int64), when, version, np.ones(n, dtype=np.int64), zone, _same(n),
        zone * 100 + week, after, ~after | (when >= at(edges[-2])), until.astype(np.int64),
    )  # fmt: skip
    return Crowd(
        "staged by zone" if len(counts) == 1 else "staged in steps", entries, ("v1", "v2"),
        tuple(at(e) for e in edges[:-1]), end, None, as_of, as_of, rows, cluster="zone",
        assignments=float(math.comb(zones, int(counts[-1]))), rollout=rollout, labelled=False,
        told={"zones": zones, "treated by step": counts.tolist(), "days": edges.round(1).tolist(), "people": n,
              "largest to smallest zone": round(float(size.max() / size.min()), 1), "smallest treated": small,
              "assignment": "random" if random else "chosen"},
    )  # fmt: skip


def _staged_once(rng: Rng) -> Crowd:
    return _staged(rng, steps=1)


def _staged_steps(rng: Rng) -> Crowd:
    return _staged(rng, steps=int(rng.integers(2, 4)))


def _switchback(rng: Rng) -> Crowd:
    zones, hours = int(rng.integers(2, 9)), int(rng.choice([4, 6, 12, 24]))
    days = float(rng.integers(10, 25))
    start = float(rng.integers(0, int(31 - days) + 1))
    per_zone = int(days * 24 // hours)
    declared = bool(rng.random() < 0.5)
    if rng.random() < 0.5:
        drawn = np.stack([rng.permutation(np.arange(per_zone) % 2) for _ in range(zones)])
    else:
        drawn = (rng.random((zones, per_zone)) < 0.5).astype(np.int64)
    size = _zone_sizes(rng, zones)
    n = int(np.exp(rng.uniform(np.log(2_000), np.log(MOST))))
    zone = rng.choice(zones, n, p=size / size.sum()).astype(np.int64)
    when = np.sort(_uniform(rng, n, at(start), at(start + per_zone * hours / 24)))
    block = (when - at(start)) // (hours * HOUR_US)
    version = drawn[zone, block].astype(np.int64)
    until = at(start) + (block + 1) * hours * HOUR_US
    fresh = (when - at(start)) % (hours * HOUR_US) < HOUR_US  # the first hour of a block, left out
    as_of, stop = at(31 + float(rng.choice([2.2, 5.0]))), at(start + per_zone * hours / 24)
    row = _change(
        change_id="c1", occurred_at=at(start), kind="staged", unit="zone_time", assignment="random",
        zones=[f"z{z:02d}" for z in range(zones)],
    )  # fmt: skip
    if declared:
        row["ended_at"] = stop
    entries = Entries(
        np.arange(n, dtype=np.int64), when, version, np.ones(n, dtype=np.int64), zone, _same(n),
        zone * 10_000 + block, np.ones(n, dtype=bool), ~fresh, until.astype(np.int64),
    )  # fmt: skip
    closes = min(stop, as_of) if declared else as_of
    return Crowd(
        "switchback", entries, ("v1", "v2"), (at(start),), stop, stop if declared else None, closes, as_of, (row,),
        cluster="block", assignments=float(2.0 ** min(zones * per_zone - zones, 200)),
        told={"zones": zones, "block h": hours, "days": days, "start": start, "people": n, "end declared": declared},
    )  # fmt: skip


def _switch(rng: Rng) -> Crowd:
    before, after = int(rng.integers(60, 100)), int(rng.integers(8, 26))
    start = 31 - after
    per_day = float(np.exp(rng.uniform(np.log(15), np.log(120))))
    n = int(rng.poisson(per_day * (before + after)))
    when = np.sort(_uniform(rng, n, at(start - before), at(31)))
    late = when >= at(start)
    as_of = at(31 + float(rng.choice([2.2, 5.0])))
    entries = Entries(
        np.arange(n, dtype=np.int64), when, late.astype(np.int64), np.ones(n, dtype=np.int64),
        np.arange(n, dtype=np.int64) % 3, _same(n), (when - at(start - before)) // DAY_US, late,
        np.ones(n, dtype=bool), np.where(late, at(31), at(start)).astype(np.int64),
    )  # fmt: skip
    row = _change(change_id="c1", occurred_at=at(start), kind="switch", rollout_id=None)
    return Crowd(
        "full switch", entries, ("v1", "v2"), (at(start),), at(31), None, as_of, as_of, (row,), cluster="day",
        rollout=None, labelled=False, told={"days before": before, "days after": after, "people a day": per_day},
    )  # fmt: skip


def _canary_then_switch(rng: Rng) -> Crowd:
    start, turn = float(rng.uniform(-9, 2)), float(rng.uniform(15, 26))
    share = _share(rng)
    n = _size(rng, share)
    stop, as_of = 31.0, at(31 + float(rng.choice([2.2, 5.0])))
    first = int(n * (turn - start) / (stop - start))
    when = np.concatenate([_uniform(rng, first, at(start), at(turn)), _uniform(rng, n - first, at(turn), at(stop))])
    late = np.arange(n) >= first
    version = np.where(late, 1, rng.random(n) < share).astype(np.int64)
    entries = Entries(
        np.arange(n, dtype=np.int64), when, version, np.where(late, 2, 1).astype(np.int64),
        np.arange(n, dtype=np.int64) % 3, _same(n), _same(n), np.ones(n, dtype=bool), ~late,
        np.where(late, at(stop), at(turn)).astype(np.int64),
    )  # fmt: skip
    rows = (
        _change(change_id="c1", occurred_at=at(start), assignment="random", allocation={"v1": 1 - share, "v2": share}),
        _change(change_id="c2", occurred_at=at(turn), kind="switch"),
    )
    return Crowd(
        "canary then switch", entries, ("v1", "v2"), (at(start), at(turn)), at(stop), at(turn), at(turn), as_of, rows,
        told={"start": start, "switched": turn, "people": n, "share": share},
    )  # fmt: skip


DESIGNS: dict[str, Callable[[Rng], Crowd]] = {
    "declared": _declared,
    "labels only": _labels,
    "by courier": _couriers,
    "ramp": _ramp_declared,
    "ramp, undeclared": _ramp_undeclared,
    "three arms": _three,
    "staged by zone": _staged_once,
    "staged in steps": _staged_steps,
    "switchback": _switchback,
    "full switch": _switch,
    "canary then switch": _canary_then_switch,
}
"""In the order of the table; a world's design is that of its number modulo their number."""
