"""What is a random world? Its design and people, its metrics, and what the new version truly does to each of them.

A world is a function of the seed and its number. Sizes come first; margins and effects are then chosen so that the
sample could, or could just not, show them (`power`), because a fuzzer of effects that nobody could see finds nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from benchmarks.verdicts import SEED, power
from benchmarks.verdicts.crowd import DESIGNS, HELD_OUT, Crowd
from benchmarks.verdicts.figures import Floats, Ints, Kind, Latency, Money, Rng, Score, Share, Slow, level_for
from benchmarks.verdicts.power import Arm, Sample
from edgeloop.clock import HOUR_US
from edgeloop.metrics import Covariate, MetricSettings

Role = Literal["goal", "guardrail", "watch"]
Source = Literal["share", "money", "answers", "error", "latency", "slow"]
Scenario = Literal["null", "gain", "gain and harm", "harm", "failure", "loss", "within", "no currency"]
SCENARIOS: dict[Scenario, float] = {
    "null": 0.20, "gain": 0.32, "gain and harm": 0.14, "harm": 0.04, "failure": 0.16, "loss": 0.06, "within": 0.05,
    "no currency": 0.03,
}  # fmt: skip
FLOORS = {"share": (25, 150), "error": (25, 150), "slow": (25, 150), "money": (50, 150), "answers": (30, 60)}
"""Least marks in each arm and in both together (docs/meaning.md, Floors)."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric of a world; ``levels`` has one element per version, the old one first.

    ``between`` is how much clusters differ for good and ``shock`` how much their cells (weeks, blocks, days) do, as
    shares of the figure; ``answer`` is the share who answer.
    """

    name: str
    role: Role
    source: Source
    kind: Kind
    up: bool
    window_us: int
    levels: tuple[float, ...]
    answer: float = 1.0
    between: float = 0.0
    shock: float = 0.0
    margin: float | None = None
    practical: float | None = None
    headline: bool = False

    def effect(self, version: int) -> float:
        """True effect of a version, absolute."""
        return self.kind.figure(self.levels[version]) - self.kind.figure(self.levels[0])

    def gain(self, version: int) -> float:
        """The same turned so that positive is better."""
        return self.effect(version) if self.up else -self.effect(version)

    @property
    def settings(self) -> MetricSettings:
        """As the company configured it."""
        of: dict[Source, dict[str, Any]] = {
            "share": {"event": self.name},
            "money": {"event": self.name, "kind": "mean"},
            "answers": {"source": "answers", "event": f"home/{self.name}",
                        "kind": "nps" if isinstance(self.kind, Score) and self.kind.nps else "mean"},
            "error": {"source": "exposures", "event": "error", "kind": "ratio"},
            "latency": {"source": "exposures", "event": "latency_ms", "kind": "quantile"},
            "slow": {"source": "exposures", "event": "latency_ms", "kind": "ratio",
                     "threshold": self.kind.threshold if isinstance(self.kind, Slow) else None},
        }  # fmt: skip
        return MetricSettings(
            role=self.role, headline=self.headline, direction="up" if self.up else "down",
            window_h=max(self.window_us / HOUR_US, 1.0), margin=self.margin, practical_size=self.practical,
            covariate=Covariate(), **of[self.source],
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Effects:
    """What one version was drawn to do; ``size`` counts in effects of the plan, ``promised`` is the plan's power."""

    scenario: Scenario
    size: float = 0.0
    promised: float = 0.0
    metric: str = ""
    """That fails or is harmed."""


@dataclass(frozen=True, slots=True, eq=False)
class World:
    """Everything that was drawn; events follow from ``seed`` alone."""

    number: int
    crowd: Crowd
    metrics: tuple[Metric, ...]
    effects: tuple[Effects, ...]
    """Per new version, the first of them is versions[1]."""
    plan: int | None
    more: float
    """Further exposures of an entry, on average."""
    history: float
    """The share of people who were there before."""
    quirks: frozenset[str] = field(default_factory=frozenset)
    samples: tuple[dict[str, Sample], ...] = ()

    @property
    def design(self) -> str:
        """Its name."""
        return self.crowd.design

    def generator(self, what: int) -> Rng:
        """For one part of its events."""
        return np.random.default_rng([SEED, self.number, what])


def draw(number: int) -> World:
    """The world of that number."""
    rng = np.random.default_rng([SEED, number, 0])
    names = list(DESIGNS)
    crowd = DESIGNS[names[number % len(names)]](rng)
    more = float(rng.choice([0.2, 1.0, 2.5])) if len(crowd.entries) < 6_000 else 0.3
    metrics = _metrics(rng, crowd)
    declares = bool(crowd.declared) and crowd.cluster in ("person", "courier")
    wanted = declares and rng.random() < 0.7
    plan = _plan(crowd, metrics) if wanted else None
    world = World(
        number, crowd, tuple(metrics), (), plan, more, float(rng.choice([0.0, 0.7])), frozenset(_quirks(rng, crowd))
    )
    effects = []
    for version in range(1, len(crowd.versions)):
        world, found = _with_effects(rng, world, version)
        effects.append(found)
    samples = tuple({m.name: sample_of(world, m, v) for m in world.metrics} for v in range(1, len(crowd.versions)))
    return replace(world, effects=tuple(effects), samples=samples)


def _quirks(rng: Rng, crowd: Crowd) -> Iterator[str]:
    if crowd.cluster == "person" and crowd.design != "three arms" and rng.random() < 0.06:
        yield "whole seconds"
    if rng.random() < 0.05:
        yield "anonymous"
    if crowd.design == "labels only" and rng.random() < 0.12:
        yield "other people"


def _metrics(rng: Rng, crowd: Crowd) -> list[Metric]:
    windows = [w for w in (24, 48, 72) if w * HOUR_US <= crowd.span_us / 3] or [24]
    longer = [w for w in (72, 120, 336) if w * HOUR_US <= crowd.span_us / 3] or [24]
    latency = Latency(float(rng.uniform(60, 260)), float(rng.uniform(0.15, 0.6)))
    clustered = crowd.cluster != "person"
    between = float(rng.choice([0.0, 0.1, 0.25])) if crowd.cluster in ("courier", "zone", "block") else 0.0
    shock = float(rng.choice([0.0, 0.04])) if clustered and crowd.cluster != "courier" else 0.0

    def made(name: str, role: Role, source: Source, kind: Kind, up: bool, **more: Any) -> Metric:
        hours = int(rng.choice(longer if source == "answers" else windows))
        level = kind.neutral
        requests = source in ("error", "latency", "slow")
        noisy = source in ("share", "money", "error")
        room = 1.0 if not isinstance(kind, Share) else min(1.0, (1 - kind.p) / max(kind.p, 1e-9)) * 0.45
        return Metric(
            name, role, source, kind, up, 0 if requests else hours * HOUR_US, (level,) * len(crowd.versions),
            answer=float(rng.uniform(0.1, 0.6)) if source == "answers" else 1.0,
            between=min(between, room) if noisy else 0.0, shock=min(shock, room) if noisy else 0.0, **more,
        )  # fmt: skip

    def base() -> float:
        if rng.random() < 0.6:
            return float(rng.uniform(0.04, 0.6))
        return float(1 / (1 + np.exp(-rng.uniform(-6.9, 6.9))))

    def goal(headline: bool) -> Metric:
        draw = rng.random()
        name = "booked" if headline else "returned"
        if draw < 0.5 or (draw < 0.66 and not headline):
            return made(name, "goal", "share", Share(base()), bool(rng.random() < 0.8), headline=headline)
        if draw < 0.68:
            kind = Money(float(rng.uniform(0.05, 0.6)), float(rng.uniform(10, 80)), float(rng.choice([0.7, 2.0, 5.0])))
            return made("spend" if headline else "tips", "goal", "money", kind, True, headline=headline)
        if draw < 0.8:
            kind_ = Score(float(rng.uniform(2.8, 4.8)), float(rng.uniform(0.7, 1.4)))
            return made("csat" if headline else "ease", "goal", "answers", kind_, True, headline=headline)
        if draw < 0.88:
            return made("nps" if headline else "again", "goal", "answers",
                        Score(float(rng.uniform(6.5, 9)), float(rng.uniform(1.5, 3)), nps=True), True,
                        headline=headline)  # fmt: skip
        if draw < 0.95 or not headline:
            return made("error_rate", "goal", "error", Share(float(rng.uniform(0.02, 0.3))), False, headline=headline)
        return made("latency_p95", "goal", "latency", latency, False, headline=headline)

    found = [goal(True)]
    if rng.random() < 0.25:
        found.append(goal(False))
    guards = {
        "complaint": lambda: made("complaint", "guardrail", "share", Share(_rare(rng)), False),
        "on_time": lambda: made("on_time", "guardrail", "share", Share(1 - _rare(rng)), True),
        "error_rate": lambda: made("error_rate", "guardrail", "error", Share(_rare(rng)), False),
        "over_budget": lambda: made("over_budget", "guardrail", "slow",
                                    Slow(latency, latency.figure(1.0) * float(rng.uniform(0.9, 1.6))), False),
        "latency_p95": lambda: made("latency_p95", "guardrail", "latency", latency, False),
        "csat": lambda: made("csat", "guardrail", "answers",
                             Score(float(rng.uniform(2.8, 4.8)), float(rng.uniform(0.7, 1.4))), True),
        "basket": lambda: made("basket", "guardrail", "money",
                               Money(float(rng.uniform(0.1, 0.6)), float(rng.uniform(10, 80)), 2.0), True),
    }  # fmt: skip
    taken = {m.name for m in found}
    free = [name for name in guards if name not in taken]
    n_guards = int(rng.choice([0, 1, 2, 3], p=[0.1, 0.35, 0.35, 0.2]))
    found += [guards[name]() for name in rng.choice(free, n_guards, replace=False).tolist()]
    if rng.random() < 0.3:
        found.append(made("card_opened", "watch", "share", Share(base()), True))
    return found


def _rare(rng: Rng) -> float:
    return float(rng.choice([0.0, np.exp(rng.uniform(np.log(0.001), np.log(0.12)))], p=[0.2, 0.8]))


def _plan(crowd: Crowd, metrics: list[Metric]) -> int:
    """Units of the whole test with complete windows, a little less so that it is surely reached."""
    if crowd.cluster == "courier":
        return max(2, math.floor(0.97 * len(np.unique(crowd.entries.courier))))
    e, longest = crowd.entries, max(m.window_us for m in metrics)
    complete = e.counts & (e.at <= crowd.closes_us - longest)
    return max(2, math.floor(0.97 * int(np.count_nonzero(complete))))


def sample_of(world: World, metric: Metric, version: int) -> Sample:
    """The sample that one version's effect on a metric rests on."""
    crowd, e = world.crowd, world.crowd.entries
    closes = np.where(e.after, crowd.closes_us, crowd.starts[0])
    if crowd.cluster in ("person", "courier"):
        closes = np.minimum(closes, e.until) if len(crowd.starts) > 1 else closes
    complete = e.counts & (e.at <= closes - metric.window_us)
    each = metric.answer * ((1 + world.more) if metric.window_us == 0 else 1.0)
    cluster = {"courier": e.courier, "zone": e.zone, "block": e.cell, "day": e.cell}.get(crowd.cluster)
    new = e.version == version
    if crowd.cluster == "zone":  # who has the new version at the end
        ever = np.zeros(int(e.zone.max(initial=0)) + 1, dtype=bool)
        ever[e.zone[new]] = True
        new = ever[e.zone]
    old = ~new & (e.version == 0) if crowd.cluster != "zone" else ~new

    def arm(who: np.ndarray) -> Arm:
        rows = float(np.count_nonzero(who)) * each
        if cluster is None or not who.any():
            return Arm(np.zeros(0), rows, np.zeros(0, dtype=np.int64), 0.0)
        names, n = np.unique(cluster[who], return_counts=True)
        _, cells = np.unique(e.cell[who], return_counts=True)
        total = float(n.sum())
        return Arm(n / total, rows, names.astype(np.int64), float(np.sum((cells / total) ** 2)))

    before = None
    late = complete & e.after
    if crowd.cluster == "zone":
        early = complete & ~e.after
        before = (arm(early & old), arm(early & new))
    elif crowd.cluster == "day":
        late = complete
    arms = arm(late & old), arm(late & new)
    people = int(np.count_nonzero(late & old)), int(np.count_nonzero(late & new))
    exact = crowd.cluster in ("zone", "block", "day")
    whole = np.count_nonzero(late & (e.version != HELD_OUT))
    units = int(whole)
    if crowd.cluster == "courier":
        units = len(np.unique(e.courier[late]))
    elif crowd.design == "three arms":
        units = int(whole) if world.plan else sum(people)
    return Sample(arms, before, units, world.plan or power.UNDECLARED, exact, crowd.assignments, people)


def promise(world: World, version: int, level: float, *, as_true: bool = False) -> float:
    """The chance that docs/meaning.md's rules promote, with the headline at ``level`` and nothing else moved.

    Args:
        as_true: the others as they truly are.
    """
    goals = [m for m in world.metrics if m.role == "goal"]
    tests = len(goals) * (len(world.crowd.versions) - 1)
    chance = 1.0
    for m in world.metrics:
        sample = sample_of(world, m, version)
        levels = m.levels[0], m.levels[version] if as_true and not m.headline else m.levels[0]
        if m.headline:
            if not floors_kept(m, sample, (m.levels[0], level)):
                return 0.0
            chance *= power.shown(sample, m.kind, (m.levels[0], level), m.between, m.shock, tests=tests, up=m.up)
        elif m.role == "goal":
            chance *= 1 - power.ALPHA / 2 / tests
        elif m.role == "guardrail":
            if m.margin is None:
                return 0.0
            chance *= power.cleared(sample, m.kind, levels, m.between, m.shock, margin=m.margin, up=m.up)
    return chance


def floors_kept(m: Metric, sample: Sample, levels: tuple[float, float]) -> bool:
    """Whether so many marks are expected that a floor is hardly ever missed."""
    if m.source == "latency":
        return min(arm.rows for arm in sample.arms) >= 1_000
    least, both = FLOORS[m.source]
    marks = [arm.rows * m.kind.marked(level) for arm, level in zip(sample.arms, levels, strict=True)]
    return min(marks) >= least + 3.5 * math.sqrt(least) and sum(marks) >= both + 3.5 * math.sqrt(both)


def _tested(world: World) -> bool:
    """Whether the design can promote at all: enough ways to draw, a week of entries, a comparison beside."""
    crowd = world.crowd
    longest = max(m.window_us for m in world.metrics)
    return (
        crowd.cluster != "day" and crowd.assignments >= 100 and crowd.span_us >= 8.5 * 24 * HOUR_US
        and crowd.closes_us - crowd.entries.at[crowd.entries.counts & crowd.entries.after].min(initial=crowd.closes_us)
        - longest >= 8.5 * 24 * HOUR_US
    )  # fmt: skip


def _with_effects(rng: Rng, world: World, version: int) -> tuple[World, Effects]:
    """The world with margins, the plan's size and the version's true levels."""
    scenario: Scenario = str(rng.choice(list(SCENARIOS), p=list(SCENARIOS.values())))  # type: ignore[assignment]
    if world.quirks & {"whole seconds", "other people"}:
        scenario = "null"
    if version == 1:
        world = _with_margins(rng, world, version, generous=scenario in ("gain", "gain and harm", "within"))
    by_name = {m.name: m for m in world.metrics}
    head = next(m for m in world.metrics if m.headline)
    guards = [m for m in world.metrics if m.role == "guardrail"]
    size, promised = 0.0, 0.0
    level = head.levels[0]
    wanted = float(rng.uniform(0.82, 0.95))
    found = _size_for(world, head, version, wanted) if _tested(world) else None
    if found is None:
        practical = head.practical or max(0.02 * abs(head.kind.figure(head.levels[0])), 1e-4)
    else:
        practical = abs(head.kind.figure(found) - head.kind.figure(head.levels[0]))
    if version == 1:
        by_name[head.name] = head = replace(head, practical=practical)
    if scenario in ("gain", "gain and harm", "within"):
        size = float(rng.choice([1.0, 2.0])) if scenario != "within" else 1.5
        step = (head.practical or practical) * size
        made = level_for(head.kind, step if head.up else -step)
        if made is None and size == 2.0:
            size, step = 1.0, step / 2
            made = level_for(head.kind, step if head.up else -step)
        if made is None or (found is None and world.crowd.cluster not in ("zone", "day", "block")):
            scenario, size = ("null" if scenario == "gain" else "harm"), 0.0
        if made is not None and scenario not in ("null", "harm"):
            level = made
    world = _set(world, by_name[head.name])
    harmed = ""
    if scenario in ("gain and harm", "harm") and guards:
        harmed, world = _harm(rng, world, guards, version, 1.2, 5.0)
    elif scenario == "within" and guards:
        harmed, world = _harm(rng, world, guards, version, 0.15, 0.4)
    elif scenario == "failure":
        harmed, world = _failure(rng, world, version)
        if harmed != head.name and rng.random() < 0.5 and found is not None:
            level = found
    elif scenario == "loss":
        step = (head.practical or practical) * float(rng.uniform(1.0, 3.0))
        made = level_for(head.kind, -step if head.up else step)
        if made is None:
            scenario = "null"
        else:
            level, harmed = made, head.name
    if scenario in ("gain and harm", "harm", "within", "failure") and not harmed:
        scenario, size = ("null", 0.0) if level == head.levels[0] else ("gain", size or 1.0)
    if scenario == "no currency":
        money = [m for m in world.metrics if m.source == "money"]
        if money and world.crowd.cluster in ("person", "courier"):
            harmed = money[0].name
        else:
            scenario = "null"
    if harmed != head.name or scenario == "loss":
        world = _moved(world, head.name, version, level)
    planned = level_for(head.kind, (head.practical or practical) * (1 if head.up else -1))
    if _tested(world) and planned is not None:
        promised = promise(world, version, planned)
    return world, Effects(scenario, size, promised, harmed)


def _size_for(world: World, head: Metric, version: int, wanted: float) -> float | None:
    """The headline's level at which the rules promote with that chance; None where no level is large enough.

    Neither the smallest effects (no power) nor the largest (nobody is left without the event) will do.
    """

    def enough(effect: float) -> bool:
        level = level_for(head.kind, effect if head.up else -effect)
        return level is not None and promise(world, version, level) >= wanted

    most = _room(head, better=True)
    low = 0.0
    for high in most * np.geomspace(1e-3, 1, 22):
        if enough(float(high)):
            break
        low = float(high)
    else:
        return None
    least, found = low, float(high)
    for _ in range(12):
        middle = (least + found) / 2
        least, found = (least, middle) if enough(middle) else (middle, found)
    return level_for(head.kind, found if head.up else -found)


def _room(m: Metric, *, better: bool) -> float:
    """How far the figure can move at most, its noise included."""
    figure = m.kind.figure(m.levels[0])
    up = m.up == better
    if isinstance(m.kind, Share):
        noise = m.between + m.shock
        return max((1 - figure * (1 + noise)) if up else figure * (1 - noise), 0.0) * 0.98
    low, high = m.kind.bounds
    return abs(m.kind.figure(high if up else low) - figure) * 0.9


def _with_margins(rng: Rng, world: World, version: int, *, generous: bool) -> World:
    """Each guardrail's margin: what the sample could surely clear, or a part of it."""
    for m in world.metrics:
        if m.role != "guardrail":
            continue
        least = _least_margin(world, m, version)
        factor = float(rng.uniform(1.05, 2.0)) if generous else float(rng.uniform(0.3, 2.0))
        small = {"share": 0.002, "error": 0.002, "slow": 0.004, "money": 0.2, "answers": 0.05, "latency": 5.0}[m.source]
        world = _set(world, replace(m, margin=max(least * factor, small)))
    return world


def _least_margin(world: World, m: Metric, version: int) -> float:
    """The smallest margin of which a sample without harm is cleared in 99.5 of 100."""
    sample = sample_of(world, m, version)
    levels = m.levels[0], m.levels[0]
    low, high = 0.0, max(abs(m.kind.figure(m.levels[0])), 1.0) * (1 if m.source != "answers" else 2)
    if m.source == "latency":
        high = m.kind.figure(1.0) * 0.8
    for _ in range(24):
        middle = (low + high) / 2
        power_at = power.cleared(sample, m.kind, levels, m.between, m.shock, margin=middle, up=m.up)
        low, high = (low, middle) if power_at >= 0.995 else (middle, high)
    return high


def _harm(rng: Rng, world: World, guards: list[Metric], version: int, least: float, most: float) -> tuple[str, World]:
    """One guardrail worse by so many margins."""
    for m in [next(g for g in world.metrics if g.name == guards[int(i)].name) for i in rng.permutation(len(guards))]:
        room = _room(m, better=False)
        margin = m.margin or 0.0
        if room <= 0 or margin <= 0:
            continue
        if room < 1.3 * least * margin:
            if least < 1:
                continue
            margin = room / 2.0
            m = replace(m, margin=margin)
        harm = min(margin * float(np.exp(rng.uniform(np.log(least), np.log(most)))), room)
        level = level_for(m.kind, -harm if m.up else harm)
        if level is None:
            continue
        return m.name, _moved(_set(world, m), m.name, version, level)
    return "", world


def _failure(rng: Rng, world: World, version: int) -> tuple[str, World]:
    """A metric fails for most people, or for everybody, where it was healthy before."""
    able = [m for m in world.metrics if m.role != "watch" and m.source in ("share", "error", "slow", "answers")]
    able = [m for m in able if m.role == "guardrail" or m.source == "share"]
    for m in [able[int(i)] for i in rng.permutation(len(able))]:
        whole = bool(rng.random() < 0.4)
        others = [m.levels[v] != m.levels[0] for v in range(1, len(m.levels))]
        if any(others):
            continue
        if isinstance(m.kind, Share):
            healthy = (
                float(rng.choice([0.0, 0.003, 0.02, 0.1])) if m.role == "guardrail" else float(rng.uniform(0.02, 0.15))
            )
            failing = 1.0 if whole else float(rng.uniform(0.75, 1.0))
            old, new = (1 - healthy, 1 - failing) if m.up else (healthy, failing)
            if m.up and m.role == "goal":
                old = float(rng.uniform(0.7, 0.95))
            kept = replace(m, kind=Share(old), between=0.0, shock=0.0, levels=(old,) * len(m.levels))
            if m.role == "goal":
                kept = replace(kept, practical=0.02)
            elif m.margin is None or abs(new - old) < m.margin + 0.5:
                kept = replace(kept, margin=float(rng.uniform(0.005, 0.1)))
            return m.name, _moved(_set(world, kept), m.name, version, new)
        if isinstance(m.kind, Slow):
            level = 12.0
            if m.kind.figure(level) - m.kind.figure(1.0) < 0.6:
                continue
            kept = replace(m, margin=min(m.margin or 0.1, 0.1))
            return m.name, _with_latency(_moved(_set(world, kept), m.name, version, level), version, level)
        if isinstance(m.kind, Score):
            harm = 2.2 if not m.kind.nps else 110.0
            level = level_for(m.kind, -harm)
            if level is None:
                continue
            kept = replace(m, margin=min(m.margin or 0.1, 0.2 if not m.kind.nps else 10.0))
            return m.name, _moved(_set(world, kept), m.name, version, level)
    return "", world


def _moved(world: World, name: str, version: int, level: float) -> World:
    """With one metric's level of one version; latencies are one field, whatever is made of them."""
    m = next(m for m in world.metrics if m.name == name)
    levels = tuple(level if v == version else old for v, old in enumerate(m.levels))
    world = _set(world, replace(m, levels=levels))
    return _with_latency(world, version, level) if m.source in ("latency", "slow") else world


def _with_latency(world: World, version: int, level: float) -> World:
    for m in world.metrics:
        if m.source in ("latency", "slow"):
            levels = tuple(level if v == version else old for v, old in enumerate(m.levels))
            world = _set(world, replace(m, levels=levels))
    return world


def _set(world: World, metric: Metric) -> World:
    return replace(world, metrics=tuple(metric if m.name == metric.name else m for m in world.metrics))


__all__ = ["Effects", "Floats", "Ints", "Metric", "World", "draw", "floors_kept", "promise", "sample_of"]
