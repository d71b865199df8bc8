"""The month's findings as data: what the report says, before anyone decides how it looks. No HTML in here.

Texts are plain sentences, escaped by the renderer; numbers meant for reading are text already.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from edgeloop.store.rows import Grade, Verdict
from reports.words import Certainty, Direction

Scale = Literal["points", "score", "nps", "sum", "ms"]
State = Literal["met", "missed", "level", "no target", "unknown"]
CheckState = Literal["ok", "warn", "block", "no data"]


class Line(msgspec.Struct, frozen=True):
    """A labelled sentence."""

    label: str
    text: str


class Week(msgspec.Struct, frozen=True):
    """One week of a line; ``value`` None where nothing was seen."""

    at_us: int
    day: str
    value: float | None
    shown: str


class Mark(msgspec.Struct, frozen=True):
    """A version change on a line."""

    at_us: int
    label: str


class Indicator(msgspec.Struct, frozen=True):
    """One row of the strip against target."""

    name: str
    meaning: str
    this: str
    previous: str
    target: str
    state: State
    weeks: tuple[Week, ...] = ()
    goal: float | None = None
    """The target on the scale of ``weeks``."""


class Effect(msgspec.Struct, frozen=True, kw_only=True):
    """One metric of one change; ``low`` and ``high`` are the deciding interval, on the absolute scale."""

    metric: str
    label: str
    meaning: str
    scale: Scale
    n_control: str
    n_treated: str
    control: str
    treated: str
    effect: float
    low: float
    high: float
    difference: str
    between: str
    lift: str
    direction: Direction
    certainty: Certainty
    words: str
    size: str
    notes: tuple[str, ...]


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One version change and what it did."""

    anchor: str
    change_id: str
    title: str
    design: str
    grade: Grade | None
    verdict: Verdict | None
    summary: str
    effects: tuple[Effect, ...]
    notes: tuple[str, ...]


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody is asked to do."""

    verdict: Verdict
    title: str
    action: str
    anchor: str
    why: str
    owner: str
    role: str
    by: str
    sure: str
    waiting: str


class VersionScore(msgspec.Struct, frozen=True):
    """Answers to one question, credited to one version."""

    model_id: str
    version: str
    n: str
    score: str


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """A question asked of one side. ``counts``: (point of the scale, answers), lowest first; empty: no picture."""

    label: str
    metric: str
    n: str
    score: str
    previous: str
    counts: tuple[tuple[str, int], ...]
    versions: tuple[VersionScore, ...]
    too_few: str


class Quote(msgspec.Struct, frozen=True):
    """What one person wrote, scrubbed at the door and bounded."""

    text: str
    score: str


class Voice(msgspec.Struct, frozen=True, kw_only=True):
    """What customers said, or what delivery agents said."""

    key: Literal["customer", "agent"]
    title: str
    response: str
    questions: tuple[Question, ...]
    quotes: tuple[Quote, ...]
    quotes_note: str


class ModelHealth(msgspec.Struct, frozen=True, kw_only=True):
    """One model against its budget."""

    model_id: str
    exposures: str
    p95: str
    p95_before: str
    p95_state: State
    errors: str
    errors_before: str
    errors_state: State
    features: str
    features_state: State
    weeks: tuple[Week, ...]
    marks: tuple[Mark, ...]


class Health(msgspec.Struct, frozen=True):
    """Edge health against target."""

    summary: str
    models: tuple[ModelHealth, ...]
    lines: tuple[Line, ...]


class CheckRow(msgspec.Struct, frozen=True):
    """A check of the data behind a change, in words."""

    change: str
    check: str
    result: str
    state: CheckState


class Funnel(msgspec.Struct, frozen=True):
    """Answers of one side, from the door to a decision."""

    side: str
    collected: int
    joined: int
    used: int


class Trust(msgspec.Struct, frozen=True):
    """Whether the data behind all this holds."""

    summary: str
    funnels: tuple[Funnel, ...]
    lines: tuple[Line, ...]
    checks: tuple[CheckRow, ...]


class Restated(msgspec.Struct, frozen=True, kw_only=True):
    """One figure of last month's report and the same figure now; empty where it was, or is, not told."""

    change_id: str
    change: str
    stage: int
    metric: str
    label: str
    printed: str
    printed_between: str
    now: str
    now_between: str
    moved: str
    notes: tuple[str, ...]


class RestatedVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """A verdict of last month's report that would be another now."""

    change_id: str
    change: str
    printed: str
    now: str


class Restatements(msgspec.Struct, frozen=True, kw_only=True):
    """What became of last month's figures since its report; ``shown`` rows are on the page, all are in CSV and JSON."""

    standing: str = ""
    """A sentence for under the title."""
    summary: str = ""
    caption: str = ""
    shown: int = 0
    rows: tuple[Restated, ...] = ()
    """Those that moved, the furthest first."""
    verdicts: tuple[RestatedVerdict, ...] = ()


class Findings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the page says, in its order."""

    company: str
    month: str
    previous_month: str
    freeze_id: str
    code_version: str
    as_of: str
    simulated: bool
    title: str
    standing: str
    brief: tuple[Line, ...]
    strip: tuple[Indicator, ...]
    strip_note: str
    decisions: tuple[Decision, ...]
    decisions_note: str
    last_actions: str
    changes: tuple[Change, ...]
    changes_notes: tuple[str, ...]
    bridge: str
    voices: tuple[Voice, ...]
    voices_notes: tuple[str, ...]
    health: Health
    trust: Trust
    restatements: Restatements = Restatements()
    method: tuple[Line, ...]
    glossary: tuple[Line, ...]
