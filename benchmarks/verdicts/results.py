"""What came of each world, and how often is the word right? Rates per design, each with its Monte Carlo interval."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from scipy import stats

from benchmarks.verdicts import hold, pipe
from benchmarks.verdicts.truth import Truth, truths
from benchmarks.verdicts.worlds import draw

SWITCHES = ("switch", "rollback")


@dataclass(frozen=True, slots=True)
class Version:
    """One new version: what is true, and what was said (``None``: no verdict)."""

    truth: Truth
    verdict: str | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """One world's."""

    number: int
    design: str
    versions: tuple[Version, ...]
    contradictions: tuple[hold.Contradiction, ...]
    cpu_s: float


def outcome(number: int) -> Outcome:
    """Draw a world, run it through the pipe, and hold what is said to what is true."""
    begun = time.process_time()
    world = draw(number)
    known = truths(world)
    try:
        told = pipe.told(world)
    except Exception as error:  # whatever ends a month's page is a finding
        where = traceback.extract_tb(error.__traceback__)[-1]
        what = f"{type(error).__name__} at {where.filename.rpartition('/')[2]}:{where.lineno}: {error}"
        crash = hold.Contradiction("crash", "", what[:300])
        versions = tuple(Version(t, None) for t in known)
        return Outcome(number, world.design, versions, (crash,), time.process_time() - begun)
    said = {span["to_version"]: span["verdict"] for span in told.record["changes"] if span["kind"] not in SWITCHES} or {
        span["to_version"]: span["verdict"] for span in told.record["changes"]
    }
    versions = tuple(Version(t, said.get(t.to_version)) for t in known)
    found = tuple(hold.contradictions(world, told))
    return Outcome(number, world.design, versions, found, time.process_time() - begun)


@dataclass(frozen=True, slots=True)
class Rate:
    """A row of the table: of the versions that it is about, how many were told so."""

    key: str
    what: str
    least: float | None
    most: float | None
    about: Callable[[Truth], bool]
    said: tuple[str | None, ...]

    @property
    def required(self) -> str:
        """In words."""
        if self.least is not None:
            return f"at least {_percent(self.least)}"
        return f"at most {_percent(self.most)}" if self.most is not None else ""

    def holds(self, share: float) -> bool:
        """Whether a measured share does."""
        return (self.least is None or share >= self.least) and (self.most is None or share <= self.most)


RATES: tuple[Rate, ...] = (
    Rate("harm", "harm beyond a margin: promoted", None, 0.02, lambda t: bool(t.beyond), ("promote",)),
    Rate("null_up", "nothing differs: promoted", None, 0.05, lambda t: t.null, ("promote",)),
    Rate("null_down", "nothing differs: rolled back", None, 0.05, lambda t: t.null, ("roll back",)),
    Rate("failure", "total failure: rolled back", 0.99, None, lambda t: t.provable, ("roll back",)),
    Rate("failure_few", "total failure that the design cannot show: rolled back", None, None,
         lambda t: bool(t.failed) and not t.provable, ("roll back",)),
    Rate("gain", "a gain of the plan's size: promoted", 0.80, None, lambda t: t.gain == 1, ("promote",)),
    Rate("gain_twice", "a gain of twice that: promoted", 0.97, None, lambda t: t.gain == 2, ("promote",)),
    Rate("gain_few", "a gain that the floors may not let through: promoted", None, None, lambda t: t.below,
         ("promote",)),
    Rate("stopped", "a gain of either size: stop, no effect", None, 0.03, lambda t: t.gain > 0,
         ("stop, no effect",)),
    Rate("blocked", "fine data: repair the data first", None, 0.01, lambda t: t.fine, ("repair the data first",)),
    Rate("lost", "one arm's sums lost their currency: promoted or rolled back", None, 0.05, lambda t: t.lost,
         ("promote", "roll back")),
    Rate("silent", "no verdict at all", None, 0.0, lambda t: True, (None,)),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Measured:
    """How many of how many, with the 95 % Monte Carlo (Wilson) interval, and the worlds that did wrong."""

    y: int
    n: int
    worlds: tuple[int, ...]

    @property
    def share(self) -> float:
        """Of those counted."""
        return self.y / self.n

    @property
    def interval(self) -> tuple[float, float]:
        """Of the share."""
        found = stats.binomtest(self.y, self.n).proportion_ci(method="wilson")
        return float(found.low), float(found.high)


def measured(rate: Rate, of: Iterable[Outcome]) -> Measured | None:
    """None where no version is what the row is about."""
    hits, wrong, n = 0, [], 0
    for o in of:
        for v in o.versions:
            if not rate.about(v.truth):
                continue
            n += 1
            hit = v.verdict in rate.said
            hits += hit
            if hit == (rate.least is None):
                wrong.append(o.number)
    return Measured(hits, n, tuple(wrong)) if n else None


def contradicting(of: Sequence[Outcome]) -> dict[str, list[int]]:
    """Kind → the worlds that have it."""
    found: dict[str, list[int]] = {}
    for o in of:
        for kind in sorted({c.kind for c in o.contradictions}):
            found.setdefault(kind, []).append(o.number)
    return dict(sorted(found.items(), key=lambda item: -len(item[1])))


def _percent(share: float) -> str:
    return f"{100 * share:g} %"
