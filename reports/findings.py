"""The month's findings as data: what the report says, before anyone decides how it looks. No HTML in here.

Texts are plain sentences, escaped by the renderer; numbers meant for reading are text already.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from edgeloop.store.freeze import FeedbackUse
from edgeloop.store.rows import Grade, Verdict
from reports.words import Certainty, Direction

Scale = Literal["points", "score", "nps", "sum", "ms"]
Role = Literal["goal", "guardrail", "watch"]
BarKind = Literal["figure", "late", "calendar", "mix", "version", "interaction", "unexplained"]
State = Literal["met", "partly", "missed", "level", "no target", "unknown"]
"""``partly``: met over all, and missed by a part."""
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
    missed_by: str = ""
    """The parts that miss the target, with their figures."""


class Effect(msgspec.Struct, frozen=True, kw_only=True):
    """One metric of one change; ``low`` and ``high`` are the deciding interval, absolute (None: no end)."""

    metric: str
    label: str
    meaning: str
    scale: Scale
    n_control: str
    n_treated: str
    of_control: str = ""
    """``n_control`` with what it counts: customers, delivery agents, zones, days."""
    of_treated: str = ""
    of_both: str = ""
    control: str
    treated: str
    control_before: str = ""
    """The arms' figures before the start, where the effect is a difference of differences."""
    treated_before: str = ""
    effect: float
    low: float | None
    high: float | None
    difference: str
    between: str
    lift: str
    direction: Direction
    certainty: Certainty
    words: str
    size: str
    money: str = ""
    """What the size is worth, where the metric has a price."""
    role: Role = "goal"
    guard: str = ""
    """Of a guardrail: whether the harm that it forbids is ruled out."""
    answered: str = ""
    """Of a question: how many of each arm answered."""
    notes: tuple[str, ...]
    decided: bool = False
    """Without a range, yet told by a bound that needs none."""

    @property
    def shown(self) -> bool:
        """Whether it has a row: what is only watched has one where it is clear."""
        return self.role != "watch" or self.direction in ("better", "worse")


class Segment(msgspec.Struct, frozen=True, kw_only=True):
    """One part of the customers, of a metric whose effect differs between the parts."""

    name: str
    n: str
    scale: Scale
    effect: float
    low: float | None
    high: float | None
    difference: str
    between: str
    direction: Direction
    certainty: Certainty

    @property
    def label(self) -> str:
        """As an interval row is named."""
        return self.name


class Split(msgspec.Struct, frozen=True):
    """A metric that a change did not move alike for everybody; ``more``: how many parts are not shown."""

    anchor: str
    metric: str
    dimension: str
    parts: tuple[Segment, ...]
    more: int = 0
    of: str = ""
    """What the n of the parts count."""


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One version change and what it did."""

    anchor: str
    change_id: str
    title: str
    design: str
    grade: Grade | None
    verdict: Verdict | None
    promoted: str = ""
    """Where a version that was tested went to everybody: of the test and of the switch, instead of a verdict."""
    summary: str
    effects: tuple[Effect, ...]
    unclear: str = ""
    """The line that names the metrics without a clear difference; empty where every one is clear or too early."""
    splits: tuple[Split, ...] = ()
    notes: tuple[str, ...]


class OpenTest(msgspec.Struct, frozen=True):
    """A change that still runs; ``left`` says for how many days more at least."""

    anchor: str
    title: str
    left: str


class BridgeBar(msgspec.Struct, frozen=True):
    """One step of the bridge in printed units: from ``start`` to ``end`` on the metric's scale, ``shown`` as text.

    ``hatched``: units were not assigned at random. ``low`` and ``high``: where the bar could end, None: not estimated.
    """

    kind: BarKind
    label: str
    start: float
    end: float
    shown: str
    between: str = ""
    low: float | None = None
    high: float | None = None
    hatched: bool = False
    anchor: str = ""


class Bridge(msgspec.Struct, frozen=True):
    """From last month to this month; without bars ``summary`` says why there are none."""

    summary: str
    metric: str = ""
    bars: tuple[BridgeBar, ...] = ()
    notes: tuple[str, ...] = ()


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
    change_id: str = ""
    role_key: str = ""
    """The role that is reminded, by its key in the settings."""
    due: str = ""
    """The date of ``by``, YYYY-MM-DD."""


FollowState = Literal["done", "late", "dropped", "accepted", "waiting"]


class FollowUp(msgspec.Struct, frozen=True, kw_only=True):
    """An action of an earlier report: what became of it, and what was measured afterwards."""

    action_id: str
    title: str
    verdict: Verdict
    asked: str
    owner: str
    by: str
    state: FollowState
    became: str
    """What people said of it."""
    followed: str
    """What the data shows of it; empty where it shows nothing."""
    measured: tuple[str, ...]
    followed_by: str | None = None
    """The change event that it is matched to, by its change_id."""


class VersionScore(msgspec.Struct, frozen=True):
    """Answers to one question, credited to one version."""

    model_id: str
    version: str
    n: str
    score: str


class ArmScore(msgspec.Struct, frozen=True):
    """Answers of everybody who entered one version of a comparison, plain and weighted to all who entered."""

    change: str
    version: str
    n: str
    response: str
    plain: str
    weighted: str


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """A question asked of one side. ``counts``: (point of the scale, answers), lowest first; empty: no picture."""

    label: str
    metric: str
    n: str
    score: str
    previous: str
    counts: tuple[tuple[str, int], ...]
    versions: tuple[VersionScore, ...]
    arms: tuple[ArmScore, ...] = ()
    too_few: str


class Quote(msgspec.Struct, frozen=True):
    """What one person wrote, scrubbed at the door and bounded."""

    text: str
    score: str


class Theme(msgspec.Struct, frozen=True, kw_only=True):
    """What remarks are about; ``change`` is against last month, ``owner`` the role that answers for it."""

    key: str
    name: str
    n: str
    change: str
    mood: str
    owner: str
    began: str = ""
    """The changes that went live in about the week from which on it grew; empty where none is known."""
    quotes: tuple[Quote, ...]


class Voice(msgspec.Struct, frozen=True, kw_only=True):
    """What customers said, or what delivery agents said."""

    key: Literal["customer", "agent"]
    title: str
    response: str
    questions: tuple[Question, ...]
    themes: tuple[Theme, ...] = ()
    themes_note: str = ""
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


class UseRow(msgspec.Struct, frozen=True, kw_only=True):
    """How far some answers got; each number is part of the one before. ``acted`` None: actions are not recorded."""

    label: str
    of: str = ""
    """Whose answers they are, where the label does not say it."""
    collected: int
    joined: int
    counted: int
    named: int
    acted: int | None
    decisions: str = ""
    """The decisions that name them."""


class Unused(msgspec.Struct, frozen=True, kw_only=True):
    """A question that no estimate counts, or no decision names."""

    label: str
    of: str
    n: int
    why: str
    do: str
    role: str
    counted: bool
    mend: bool
    """Whether somebody has to do something about it; words beside a score need nothing."""
    by: str = ""
    due: str = ""
    """The date of ``by``, YYYY-MM-DD; both empty where there is nothing to mend."""


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """Something worth asking next month, by the rule that found it."""

    rule: Literal["blocked", "no question", "theme", "response rate", "not asked"]
    what: str
    why: str
    role: str
    by: str = ""
    due: str = ""
    """The date of ``by``, YYYY-MM-DD."""


class Feedback(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the feedback was used: from the door to a decision, and to what was done."""

    headline: str
    notes: tuple[str, ...]
    sides: tuple[UseRow, ...]
    sources: tuple[UseRow, ...]
    questions: tuple[UseRow, ...]
    last: tuple[UseRow, ...]
    """The month before as its report counted it, and what was done since; empty where that is not known."""
    last_summary: str
    unused: tuple[Unused, ...]
    asks: tuple[Ask, ...]
    dates_note: str = ""
    """How the dates of both came about."""
    definitions: tuple[Line, ...]
    uses: tuple[FeedbackUse, ...]
    """The counts that all the others are sums of."""


LineState = Literal["ok", "needs a person", "not known"]


class ChecklistLine(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a pillar's checklist, filled from the data."""

    what: str
    target: str
    figure: str
    state: LineState
    who: str


PillarKey = Literal["data", "model", "feedback"]


class Pillar(msgspec.Struct, frozen=True, kw_only=True):
    """One of the three things that fail at once, and its checklist."""

    key: PillarKey
    title: str
    lines: tuple[ChecklistLine, ...]


class Incident(msgspec.Struct, frozen=True, kw_only=True):
    """Something that went wrong in the month and wants an explanation."""

    kind: Literal["data", "quiet", "sync", "refused", "rollback", "budget"]
    at_us: int
    when: str
    what: str
    detail: str
    who: str
    open: bool
    """Not over, as far as the data tells."""


class Complexity(msgspec.Struct, frozen=True, kw_only=True):
    """What one version costs on the device; ``before`` are texts of the month before, empty for a new version."""

    model_id: str
    version: str
    exposures: str
    new: bool
    features: str
    features_state: State
    p50: str
    p95: str
    p95_before: str
    p95_state: State
    errors: str
    errors_before: str
    errors_state: State
    energy: str
    energy_before: str


class AgendaItem(msgspec.Struct, frozen=True, kw_only=True):
    """One item of the meeting; ``at`` is the minute it begins."""

    at: int
    minutes: int
    what: str
    lines: tuple[str, ...]
    who: str


class Workshop(msgspec.Struct, frozen=True, kw_only=True):
    """The pack for the monthly meeting: one hour, three checklists, what went wrong, what the models cost."""

    language: str
    brand: Brand
    company: str
    month: str
    previous_month: str
    freeze_id: str
    code_version: str
    as_of: str
    simulated: bool
    title: str
    standing: str
    agenda: tuple[AgendaItem, ...]
    pillars: tuple[Pillar, ...]
    incidents: tuple[Incident, ...]
    models: tuple[Complexity, ...]
    models_summary: str
    failures: tuple[Line, ...] = ()
    """The parts that could not be made."""


class Trust(msgspec.Struct, frozen=True):
    """Whether the data behind all this holds."""

    summary: str
    lines: tuple[Line, ...]
    checks: tuple[CheckRow, ...]
    passed: str = ""
    """How many checks more found nothing."""


class Brand(msgspec.Struct, frozen=True):
    """Whose report it is; ``colour`` (``#rrggbb``) and ``logo`` (a ``data:`` URI) are empty where none is set."""

    name: str
    colour: str = ""
    logo: str = ""


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

    language: str = "en"
    brand: Brand
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
    nothing_asked: str = ""
    """Why no decision is asked; empty where one is."""
    last_actions: str
    followups: tuple[FollowUp, ...] = ()
    changes: tuple[Change, ...]
    open_tests: tuple[OpenTest, ...] = ()
    promoted: str = ""
    """What this year's promoted changes add up to."""
    changes_notes: tuple[str, ...]
    bridge: Bridge
    voices: tuple[Voice, ...]
    voices_notes: tuple[str, ...]
    feedback: Feedback
    health: Health
    trust: Trust
    restatements: Restatements = Restatements()
    method: tuple[Line, ...]
    glossary: tuple[Line, ...]
    failures: tuple[Line, ...] = ()
    """The parts that could not be made; what stands in their places says so too."""

    def failed(self, part: str) -> str:
        """What is said of a part that could not be made, by its name; empty where it was."""
        return next((line.text for line in self.failures if line.label == part), "")
