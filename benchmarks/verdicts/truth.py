"""What is true of a world, and what may be said of it? From its drawn parameters, never from the product."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.verdicts.power import Sample
from benchmarks.verdicts.worlds import FLOORS, Effects, Metric, World, floors_kept

HALF = 0.5
"""Of a share, of a scale: worse by that much more than the limit is total failure."""
LEAST_PEOPLE = 100
"""In each arm, for total failure to be asked for."""
PROMISED = 0.8
SWITCH_DAYS = 75
"""Days before a full switch from which on its placebo test surely has its 40 dates and 56 days."""


@dataclass(frozen=True, slots=True)
class Truth:
    """What is true of one new version.

    ``beyond``: guardrails worse by more than their margin, and goals worse by more than is worth acting on.
    ``failed``: what fails for at least half more than its limit, seen by enough people; ``provable``: and the design
    can show it. ``gain``: 1 and 2 for an effect of the plan's size and of twice that, where the plan promised 80 %;
    ``below``: but too little of something is expected, so that by the contract's floors a row may not decide.
    """

    version: int
    to_version: str
    null: bool
    beyond: tuple[str, ...]
    failed: str
    provable: bool
    gain: int
    promised: float
    fine: bool
    """Nothing is wrong with the data."""
    below: bool
    lost: bool
    """One arm's sums lost their currency."""

    def words(self) -> str:
        """As printed for whoever reads a world."""
        parts = []
        if self.null:
            parts.append("nothing differs")
        if self.beyond:
            parts.append(f"worse beyond what is allowed: {', '.join(self.beyond)}")
        if self.failed:
            parts.append(f"{self.failed} fails" + ("" if self.provable else ", which this design cannot show"))
        if self.gain:
            size = "the plan's size" if self.gain == 1 else "twice the plan's size"
            parts.append(f"a gain of {size}")
        if self.below:
            parts.append("a gain that the floors may not let through")
        if not self.fine:
            parts.append("the data are not fine" + (": sums of one arm lost their currency" if self.lost else ""))
        return f"{self.to_version}: {'; '.join(parts) or 'something else'} (power {self.promised:.2f})"


def truths(world: World) -> list[Truth]:
    """One for each new version."""
    return [_truth(world, v, effects, world.samples[v - 1]) for v, effects in enumerate(world.effects, start=1)]


def _truth(world: World, version: int, effects: Effects, samples: dict[str, Sample]) -> Truth:
    fine = effects.scenario != "no currency" and "other people" not in world.quirks
    still = all(m.levels[version] == m.levels[0] for m in world.metrics)
    beyond = tuple(m.name for m in world.metrics if _beyond(m, version))
    failed = next((m.name for m in world.metrics if _fails(m, version, samples[m.name])), "")
    gain = int(effects.size) if effects.scenario == "gain" and effects.size in (1.0, 2.0) else 0
    unharmed = all(m.levels[version] == m.levels[0] for m in world.metrics if not m.headline and m.role != "watch")
    promised = bool(gain) and unharmed and effects.promised >= PROMISED and not beyond
    decided = all(_decidable(m, version, samples[m.name]) for m in world.metrics)
    return Truth(
        version=version,
        to_version=world.crowd.versions[version],
        null=still and fine,
        beyond=beyond,
        failed=failed,
        provable=bool(failed) and _provable(world),
        gain=gain if promised and decided else 0,
        promised=effects.promised,
        fine=fine,
        below=promised and not decided,
        lost=effects.scenario == "no currency",
    )


def _decidable(m: Metric, version: int, sample: Sample) -> bool:
    """Whether the floors (docs/meaning.md) surely let a row decide, at the levels that are true.

    The plan is drawn at its own size: twice that can leave too few people with the event, or without it. Guardrails of
    shares have an exact test below the floors; answers, sums and quantiles stay open there.
    """
    if m.headline or (m.role == "guardrail" and m.source in ("answers", "money", "latency")):
        return floors_kept(m, sample, (m.levels[0], m.levels[version]))
    return True


def _beyond(m: Metric, version: int) -> bool:
    harm = -m.gain(version)
    if m.role == "guardrail":
        return m.margin is not None and harm > m.margin * (1 + 1e-9)
    if m.role != "goal" or harm <= 0:
        return False
    return harm >= 0.999 * (m.practical or _default_practical(m))


def _default_practical(m: Metric) -> float:
    if m.source == "answers":
        return 3.0 if getattr(m.kind, "nps", False) else 0.1
    return 0.02 * abs(m.kind.figure(m.levels[0]))


def _fails(m: Metric, version: int, sample: Sample) -> bool:
    limit = (m.margin or 0.0) if m.role == "guardrail" else 0.0
    if m.role == "watch" or m.source not in ("share", "error", "slow", "answers"):
        return False
    whole = 1.0
    if m.source == "answers":
        whole = 200.0 if getattr(m.kind, "nps", False) else 4.0
    rows = min(min(arm.rows for arm in sample.arms), *(float(n) for n in sample.people))
    return -m.gain(version) >= limit + HALF * whole * 0.999 and rows >= LEAST_PEOPLE


def _provable(world: World) -> bool:
    """Whether so clear a failure can be told from the luck of the draw."""
    crowd = world.crowd
    if crowd.cluster == "day":
        return int(crowd.told["days before"]) >= SWITCH_DAYS
    guards = max(1, sum(m.role == "guardrail" for m in world.metrics))
    return crowd.assignments >= 20 * guards


__all__ = ["FLOORS", "Truth", "truths"]
