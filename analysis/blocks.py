"""Which blocks of time were drawn in a switchback? Declared, or read off the moments at which zones changed version.

A zone's runs tell little alone: two blocks of one version in a row are one run, quiet hours hide when a run began, and
a stage or month cuts the last one. Over all zones the changes lie on one grid, and the widest that holds them all is
that of the blocks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.frames import BoolArray
from analysis.groups import ranks
from analysis.moments import IntArray
from edgeloop.clock import DAY_US, HOUR_US

BIN_US = HOUR_US // 2  # clocks differ by half hours
_HOURS = (168, 84, 72, 48, 36, 24, 12, 8, 6, 4, 3, 2, 1, 0.5)
EXPLAINED = 0.98  # of the changes of version: a late gateway may hide a few
BY_CHANCE = 1e-3  # a grid that as many changes at any moments would meet more often is none
MOST_PARTS = 8  # of a day
WASHOUT_US = HOUR_US  # at the beginning of a block, when the other version's effect goes on
WASHOUT_SHARE = 0.25  # of a block at most
MIXED = 0.25  # of a block's exposures that carry the other version: nobody can say which one it had
SAME_BLOCKS = 8  # zones that agree in so many blocks were not drawn apart


@dataclass(frozen=True, slots=True)
class Grid:
    """Where blocks begin: at ``starts`` (µs after the beginning of a period) of every period, by UTC or a wall clock.

    ``of_zone`` shifts a zone's grid, where zones change at moments of their own.
    """

    period_us: int
    starts: tuple[int, ...]
    timezone: str | None = None
    of_zone: tuple[tuple[int, int], ...] = ()

    def place(self, at: IntArray, zone: IntArray) -> tuple[IntArray, IntArray, IntArray]:
        """(number of the block, µs since it began, its length) of moments; blocks are numbered in order of time."""
        clock = local(at, self.timezone) if self.timezone else at
        if self.of_zone:
            own = np.zeros(max(int(zone.max(initial=0)), max(z for z, _ in self.of_zone)) + 1, dtype=np.int64)
            for z, shift in self.of_zone:
                own[z] = shift
            clock = clock - own[zone]
        starts = np.array(self.starts, dtype=np.int64)
        since = clock - starts[0]
        period, inside = since // self.period_us, since % self.period_us
        edges = starts - starts[0]
        part = np.searchsorted(edges, inside, side="right") - 1
        lengths = np.diff(np.append(edges, self.period_us))
        return period * len(starts) + part, inside - edges[part], lengths[part]


@dataclass(frozen=True, slots=True, eq=False)
class Blocks:
    """The blocks of a stage; ``of`` is the block of each row, −1 where it counts in none.

    ``early`` is that of rows in a block's washout, −1 of all others.
    ``zone`` and ``treated`` have one element per block; zones that change together are one.
    """

    of: IntArray
    early: IntArray
    zone: IntArray
    treated: BoolArray
    known: bool = True
    """The draw is known: otherwise a block is a run of one version, and no other draw can be told."""
    cut: int = 0
    """Blocks left out because the stage or the month begins or ends inside them."""
    mixed: int = 0
    """Blocks left out because both versions were met in them."""
    washout_us: int = WASHOUT_US


def declared_grid(block_h: float, starts_us: int) -> Grid:
    """Blocks of one length, one after the other."""
    return Grid(round(block_h * HOUR_US), (starts_us,))


def local(at: IntArray, timezone: str) -> IntArray:
    """What a wall clock shows, as µs."""
    moments = pd.DatetimeIndex(pd.to_datetime(at, unit="us", utc=True)).tz_convert(timezone).tz_localize(None)
    return moments.to_numpy(dtype="datetime64[us]").astype(np.int64)


def find_grid(zone: IntArray, at: IntArray, new: BoolArray, timezone: str) -> Grid | None:
    """The widest grid on which zones changed version; None where there is none, or too few changes to tell.

    Args:
        zone: code of each exposure's zone, ascending in time, shape (exposures,).
        at: when it was.
        new: whether it carries the new version.
        timezone: of the company, for blocks that follow its clock where that is put back or forward.
    """
    found: list[tuple[float, int, Grid]] = []
    for clock, name in ((at, None), (local(at, timezone), timezone)):
        of, first, last = _changes(zone, clock, new)
        for order, grid in enumerate((_common(first, last), _apart(of, first, last), _parts(first, last))):
            if grid is not None:
                length = grid.period_us / len(grid.starts)
                found.append((length, -order, Grid(grid.period_us, grid.starts, name, grid.of_zone)))
    return max(found, key=lambda f: f[:2])[2] if found else None


def blocks(zone: IntArray, at: IntArray, new: BoolArray, grid: Grid | None, span: tuple[int, int]) -> Blocks:
    """The blocks of a stage [from, until) with exposures; without a grid a zone's runs of one version."""
    if grid is None:
        return _runs(zone, at, new)
    number, since, length = grid.place(at, zone)
    washout = np.minimum(WASHOUT_US, (length * WASHOUT_SHARE).astype(np.int64))
    whole = (at - since >= span[0]) & (at - since + length <= span[1])
    width = int(number.max(initial=0) - number.min(initial=0)) + 1
    key = zone * width + (number - number.min(initial=0))
    cell = ranks(key, int(key.max(initial=0)) + 1)
    n = int(cell.max(initial=-1)) + 1
    seen = np.bincount(cell, minlength=n)
    share = np.bincount(cell, weights=new, minlength=n) / np.maximum(seen, 1)
    complete = np.ones(n, dtype=bool)
    complete[cell[~whole]] = False
    clear = (share <= MIXED) | (share >= 1 - MIXED)
    treated = share > 0.5
    place = np.zeros(n, dtype=np.int64)
    place[cell] = key
    of_zone = place // width
    # Where what is whole and clear has one version, nothing else can be compared; zones that keep one say nothing.
    kept = next(k for k in (complete & clear, clear, np.ones(n, dtype=bool)) if _both(treated[k]) or k.all())
    inside = kept & np.isin(of_zone, _turning(of_zone[kept], treated[kept]))
    kept = inside if inside.any() else kept
    drawn, unit = _together(of_zone[kept], place[kept] % width, treated[kept])
    of_cell = np.full(n, -1, dtype=np.int64)
    of_cell[kept] = unit
    late = since >= washout
    of, early = np.where(late, of_cell[cell], -1), np.where(late, -1, of_cell[cell])
    arm = np.zeros(len(drawn), dtype=bool)
    arm[unit] = treated[kept]
    cut = int(np.count_nonzero(~complete & ~kept))
    mixed = int(np.count_nonzero(complete & ~clear & ~kept))
    return Blocks(of, early, drawn, arm, True, cut, mixed, int(washout.max(initial=0)))


def _both(treated: BoolArray) -> bool:
    return bool(treated.any() and not treated.all())


def _turning(zone: IntArray, treated: BoolArray) -> IntArray:
    """The zones with blocks of both versions."""
    found: IntArray = np.intersect1d(zone[treated], zone[~treated])
    return found


def _together(zone: IntArray, number: IntArray, treated: BoolArray) -> tuple[IntArray, IntArray]:
    """(stratum per draw, draw per block): zones whose blocks are all alike in so many were drawn once for all."""
    patterns: list[dict[int, bool]] = []
    group = np.zeros(int(zone.max(initial=0)) + 1, dtype=np.int64)
    for z in np.unique(zone).tolist():
        own = dict(zip(number[zone == z].tolist(), treated[zone == z].tolist(), strict=True))
        for i, other in enumerate(patterns):
            common = own.keys() & other.keys()
            both = {own[b] for b in common}
            if len(common) >= SAME_BLOCKS and len(both) > 1 and all(own[b] == other[b] for b in common):
                group[z] = i
                other.update(own)
                break
        else:
            group[z] = len(patterns)
            patterns.append(own)
    width = int(number.max(initial=0)) + 1
    key, unit = np.unique(group[zone] * width + number, return_inverse=True)
    return (key // width).astype(np.int64), unit.astype(np.int64)


def _runs(zone: IntArray, at: IntArray, new: BoolArray) -> Blocks:
    """A zone's spans of one version, by the half hour."""
    z, bins, arm, cell = _binned(zone, at, new)
    begins = np.concatenate([[True], (z[1:] != z[:-1]) | (arm[1:] != arm[:-1])]) if len(z) else np.zeros(0, dtype=bool)
    run = np.cumsum(begins) - 1
    of = run[cell]
    start = bins[begins] * BIN_US
    late = at >= start[of] + WASHOUT_US
    return Blocks(np.where(late, of, -1), np.where(late, -1, of), z[begins], arm[begins], known=False)


def _binned(zone: IntArray, at: IntArray, new: BoolArray) -> tuple[IntArray, IntArray, BoolArray, IntArray]:
    """(zone, half hour, most exposures carry the new version) of each half hour with exposures; each row's place."""
    if len(at) == 0:
        nothing = np.zeros(0, dtype=np.int64)
        return nothing, nothing, nothing.astype(bool), nothing
    bins = at // BIN_US
    first = int(bins.min())
    width = int(bins.max()) - first + 1
    key, cell = np.unique(zone * width + (bins - first), return_inverse=True)
    share = np.bincount(cell, weights=new) / np.bincount(cell)
    return key // width, key % width + first, share > 0.5, cell


def _changes(zone: IntArray, at: IntArray, new: BoolArray) -> tuple[IntArray, IntArray, IntArray]:
    """(zone, first, last half hour in which the next block can have begun) of each change of version."""
    z, bins, arm, _ = _binned(zone, at, new)
    turned = np.flatnonzero((z[1:] == z[:-1]) & (arm[1:] != arm[:-1]))
    return z[turned], bins[turned] + 1, bins[turned + 1]


def _phase(first: IntArray, last: IntArray, period: int) -> tuple[int, float, float]:
    """(phase in half hours that explains most changes, the share explained, the logarithm of how likely by chance).

    A change is explained where the grid begins a block between the last half hour of the old and the first of the new
    version; one that is as wide as the period says nothing.
    """
    width = last - first + 1
    told = width < period
    n = int(np.count_nonzero(told))
    if n == 0:
        return 0, 1.0, 0.0
    hits = np.zeros(period + 1, dtype=np.int64)
    begin = first[told] % period
    end = begin + width[told]
    np.add.at(hits, begin, 1)
    np.add.at(hits, np.minimum(end, period), -1)
    over = end > period
    hits[0] += int(np.count_nonzero(over))
    np.add.at(hits, end[over] - period, -1)
    counts = np.cumsum(hits[:-1])
    best = int(np.argmax(counts))
    chance = float(np.log(width[told] / period).sum()) + math.log(period)
    return best, float(counts[best]) / n, chance


def _common(first: IntArray, last: IntArray) -> Grid | None:
    """The longest blocks that all zones begin at once."""
    for hours in _HOURS:
        period = round(hours * HOUR_US / BIN_US)
        phase, share, chance = _phase(first, last, period)
        if share >= EXPLAINED and chance <= math.log(BY_CHANCE):
            return Grid(period * BIN_US, (phase * BIN_US,))
    return None


def _apart(zone: IntArray, first: IntArray, last: IntArray) -> Grid | None:
    """The longest blocks that each zone begins at a moment of its own."""
    zones = np.unique(zone).tolist()
    for hours in _HOURS:
        period = round(hours * HOUR_US / BIN_US)
        found = [_phase(first[zone == z], last[zone == z], period) for z in zones]
        chance = sum(min(c, 0.0) for _, _, c in found)
        if found and min(share for _, share, _ in found) >= EXPLAINED and chance <= math.log(BY_CHANCE):
            shifts = tuple((z, phase * BIN_US) for z, (phase, _, _) in zip(zones, found, strict=True))
            return Grid(period * BIN_US, (0,), of_zone=shifts)
    return None


def _parts(first: IntArray, last: IntArray) -> Grid | None:
    """Parts of the day of unequal length, the same every day: the fewest moments that explain the changes."""
    period = DAY_US // BIN_US
    told = (last - first + 1) < period
    begins, ends = first[told], last[told]
    width = ends - begins + 1
    starts: list[int] = []
    allowed = int((1 - EXPLAINED) * len(begins))
    while len(begins) > allowed:
        if len(starts) == MOST_PARTS:
            return None
        phase, _, _ = _phase(begins, ends, period)
        starts.append(phase)
        explained = (phase - begins) % period <= ends - begins
        begins, ends = begins[~explained], ends[~explained]
    if not starts:
        return None
    chance = float(np.log(np.minimum(1.0, len(starts) * width / period)).sum()) + len(starts) * math.log(period)
    return Grid(DAY_US, tuple(s * BIN_US for s in sorted(starts))) if chance <= math.log(BY_CHANCE) else None
