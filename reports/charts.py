"""Where does each mark of a figure go? Geometry only; the templates draw it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import msgspec

from reports import numbers, punctuation
from reports.findings import BridgeBar, Change, Effect, Mark, Scale, Segment, Week
from reports.language import t

INTERVAL_WIDTH, INTERVAL_EDGE = 220.0, 12.0
BAR_WIDTH = 520.0
FALL_WIDTH, FALL_EDGE = 300.0, 8.0


class Interval(msgspec.Struct, frozen=True):
    """A dot and its interval in px; ``cut_low`` and ``cut_high``: it goes on beyond the picture."""

    zero: float
    dot: float
    low: float
    high: float
    cut_low: bool
    cut_high: bool
    left: str
    right: str


class Dot(msgspec.Struct, frozen=True):
    """A point of a line."""

    x: float
    y: float
    text: str


class Chart(msgspec.Struct, frozen=True):
    """A line; ``runs`` are its unbroken pieces as SVG points, ``marks`` (x, label, label's row)."""

    width: float
    height: float
    runs: tuple[str, ...]
    dots: tuple[Dot, ...]
    last: Dot | None
    goal_y: float | None
    marks: tuple[tuple[float, str, int], ...]


class Piece(msgspec.Struct, frozen=True):
    """A piece of a diverging bar; ``kind`` is low, middle or high."""

    x: float
    width: float
    kind: str
    step: int
    label: str
    share: str


class Step(msgspec.Struct, frozen=True):
    """A step of the waterfall in px; ``before`` and ``after`` are where the line to its neighbours stands."""

    x: float
    width: float
    before: float
    after: float
    low: float | None
    high: float | None


def limits(changes: Iterable[Change]) -> dict[Scale, float]:
    """The half-width of each scale, one for the whole page; from decided rows, so that noise does not flatten them."""
    drawn = [e for change in changes for e in change.effects]
    found: dict[Scale, float] = {}
    for rows in ([e for e in drawn if e.direction != "early"], drawn):
        own: dict[Scale, float] = {}
        for e in rows:
            own[e.scale] = max([own.get(e.scale, 0.0), *_finite(e)])
        for scale, value in own.items():
            found.setdefault(scale, nice(value))
    return found


def split_limit(parts: Iterable[Segment]) -> float:
    """The half-width of one table of segments, which have fewer customers and so wider intervals than the whole."""
    return nice(max((value for part in parts for value in _finite(part)), default=0.0))


def _finite(e: Effect | Segment) -> list[float]:
    """How far a row reaches, at its ends or, where it has none, at its middle."""
    return [abs(e.effect if value is None else value) for value in (e.low, e.high)]


def nice(value: float) -> float:
    """The next of 1, 1.5, 2, 3, 4, 5, 6, 8 × a power of ten."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next((round(step * power, 12) for step in (1, 1.5, 2, 3, 4, 5, 6, 8, 10) if step * power >= value), value)


def interval(e: Effect | Segment, limit: float) -> Interval:
    """The picture of one row."""
    half = INTERVAL_WIDTH / 2 - INTERVAL_EDGE
    zero = INTERVAL_WIDTH / 2

    def x(value: float) -> float:
        return round(zero + max(-1.0, min(1.0, value / limit)) * half, 1)

    low, high = (-math.inf if e.low is None else e.low), (math.inf if e.high is None else e.high)
    return Interval(zero, x(e.effect), x(low), x(high), low < -limit, high > limit, _end(e, -limit), _end(e, limit))


def _end(e: Effect | Segment, value: float) -> str:
    shown = value * 100 if e.scale == "points" else value
    digits = next((d for d in range(numbers.MOST_DIGITS) if math.isclose(round(shown, d), shown)), numbers.MOST_DIGITS)
    text = numbers.signed(shown, digits)
    return t("{number}\N{NO-BREAK SPACE}pp", number=text) if e.scale == "points" and value > 0 else text


def line(
    weeks: Sequence[Week],
    *,
    width: float,
    height: float,
    pad: float = 4.0,
    goal: float | None = None,
    from_zero: bool = False,
    marks: Sequence[Mark] = (),
    top: float = 0.0,
) -> Chart:
    """A line over weeks; gaps stay gaps.

    Args:
        goal: drawn where it lies near the values, and always with ``from_zero``.
        top: room above the line for the marks' labels.
    """
    known = [week.value for week in weeks if week.value is not None]
    if not known:
        return Chart(width, height, (), (), None, None, ())
    low, high = (0.0, max(known)) if from_zero else (min(known), max(known))
    shown_goal = goal if goal is not None and (from_zero or goal <= high + (high - low)) else None
    if shown_goal is not None:
        low, high = min(low, shown_goal), max(high, shown_goal)
    if high == low:
        low, high = low - 1, high + 1
    begin, end = weeks[0].at_us, max(weeks[-1].at_us, weeks[0].at_us + 1)

    def px(at_us: int) -> float:
        return round(pad + (at_us - begin) / (end - begin) * (width - 2 * pad), 1)

    def py(value: float) -> float:
        return round(height - pad - (value - low) / (high - low) * (height - 2 * pad - top), 1)

    runs: list[list[Dot]] = [[]]
    for week in weeks:
        if week.value is None:
            runs.append([])
        else:
            runs[-1].append(Dot(px(week.at_us), py(week.value), f"{week.day}{punctuation.colon()}{week.shown}"))
    dots = [dot for run in runs for dot in run]
    return Chart(
        width,
        height,
        tuple(" ".join(f"{dot.x},{dot.y}" for dot in run) for run in runs if run),
        tuple(dots),
        dots[-1],
        None if shown_goal is None else py(shown_goal),
        tuple((min(px(mark.at_us), width - pad), mark.label, i % 2) for i, mark in enumerate(marks)),
    )


def waterfall(bars: Sequence[BridgeBar]) -> tuple[Step, ...]:
    """Each step where the one before ended. The scale is the changes' own: the months are marks, not bars from 0."""
    ends = [v for b in bars for v in (b.start, b.end, b.low, b.high) if v is not None]
    if not ends:
        return ()
    low, high = min(ends), max(ends)
    if high == low:
        low, high = low - 1, high + 1

    def x(value: float) -> float:
        return round(FALL_EDGE + (value - low) / (high - low) * (FALL_WIDTH - 2 * FALL_EDGE), 1)

    return tuple(
        Step(
            x=min(x(b.start), x(b.end)),
            width=max(round(abs(x(b.end) - x(b.start)), 1), 1.5),
            before=x(b.start),
            after=x(b.end),
            low=None if b.low is None else x(b.low),
            high=None if b.high is None else x(b.high),
        )
        for b in bars
    )


def diverging(counts: Sequence[tuple[str, int]]) -> tuple[Piece, ...]:
    """Answers per point of the scale, low ones to the left of the middle, high ones to the right."""
    total = sum(n for _, n in counts)
    if not total:
        return ()
    k = len(counts)
    shares = [n / total for _, n in counts]
    kinds = ["middle" if 2 * i == k - 1 else "low" if 2 * i < k - 1 else "high" for i in range(k)]
    left = sum(s * {"low": 1.0, "middle": 0.5, "high": 0.0}[kind] for s, kind in zip(shares, kinds, strict=True))
    x = (1 - left) * BAR_WIDTH / 2
    made = []
    for i, ((label, _), share, kind) in enumerate(zip(counts, shares, kinds, strict=True)):
        width = share * BAR_WIDTH / 2
        outer = 2 if abs(2 * i - (k - 1)) > k / 2 else 1
        made.append(Piece(round(x, 1), round(width, 1), kind, outer, label, numbers.percent(share, 0)))
        x += width
    return tuple(made)
