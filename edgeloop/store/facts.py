"""Why is a figure, a check or a verdict as it is? Typed facts, and the English sentence of each.

Analysis states facts, ``estimates.facts`` keeps them as JSON, ``estimates.reason`` is their English, and the report
says them in its own language. Nobody reads a sentence back.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import msgspec

from edgeloop.verdicts import Verdict as Verdict

FewOf = Literal["answer", "event", "no event", "sum", "mark", "no mark", "unit"]
GuardState = Literal["breach", "cleared", "open", "no data"]
Direction = Literal["better", "worse", "unclear"]
What = Literal[
    "blocks unknown",
    "capped",
    "chosen",
    "days are units",
    "described",
    "failed",
    "labels alone",
    "mixed",
    "no allocation",
    "no clean base",
    "no complete day after",
    "no complete window",
    "no control",
    "no goal data",
    "no outcome",
    "no stable arm",
    "not begun",
    "not drawn",
    "not identifiable",
    "nothing before",
    "nothing varies",
    "nothing varied before",
    "respondents only",
    "same capacity",
    "skew",
    "small throughout",
    "unlabelled arms",
    "unlabelled stable",
    "unweighted beside",
    "zones not drawn",
]
_SAID: Mapping[What, str] = {
    "blocks unknown": (
        "the blocks of time cannot be told from when zones changed version, so nothing says what else could have been "
        "drawn: declare block_h and starts on the change"
    ),
    "capped": "capped",
    "chosen": "who got the new version was chosen, not drawn, so the arms cannot be compared",
    "days are units": "n are days",
    "described": "for description: the test before decides",
    "labels alone": (
        "labelled as drawn: nobody declared an allocation or a random assignment, and nothing else shows that the arms "
        "were drawn"
    ),
    "failed": "not computed: the program failed on this change; its log has the error",
    "mixed": (
        "mixed, unlabelled: both versions were in use without labelled arms, so nothing says who was to get which"
    ),
    "no allocation": (
        "no allocation was declared, so the arms' share over the days was tested instead of the sample ratio"
    ),
    "no clean base": (
        "no zone that still has the old version, or none of which the days before the first stage are known: nothing "
        "to compare this stage with"
    ),
    "no complete day after": "not enough data: no day after the switch is complete yet",
    "no complete window": "not enough data: nobody in either arm has a complete window yet",
    "no control": "before and after: nobody kept the old version, so other causes are not ruled out",
    "no goal data": "not enough data: no goal has data yet",
    "no outcome": "not enough data: no event or answer in any window",
    "no stable arm": "the rollout has no arm named stable to compare with",
    "not begun": "not enough data: it has not begun yet",
    "not drawn": "no rollout_id and no declared random assignment, so nothing says that the arms can be compared",
    "not identifiable": (
        "not identifiable: customers were assigned, not delivery agents, and an agent meets both versions"
    ),
    "nothing before": "not enough data: nothing is known of the days before the switch",
    "nothing varies": "not enough data: nothing varies",
    "nothing varied before": "nothing varied on the days before the switch",
    "respondents only": "respondents only, unweighted",
    "same capacity": "arms compete for the same capacity",
    "skew": "interval and p corrected for skew between arms of unequal size",
    "small throughout": "every goal's whole range is smaller than what is worth acting on",
    "unlabelled arms": "the rollout's arms are not labelled, so nothing says which version is the stable one",
    "unlabelled stable": (
        "the arms are not labelled and no random assignment was declared, so nothing says which version is the stable "
        "one"
    ),
    "unweighted beside": "unweighted: the weighted figure decides",
    "zones not drawn": "zones were not drawn at random",
}
_FEW: Mapping[FewOf, str] = {
    "answer": "people answered",
    "event": "people with the event",
    "no event": "people without the event",
    "sum": "people with a sum",
    "mark": "units with a marked request",
    "no mark": "units with a request that is not marked",
    "unit": "units with a value",
}


def _tag(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


class Fact(msgspec.Struct, frozen=True, tag_field="fact", tag=_tag):
    """One fact; ``english`` is its sentence, without a full stop."""

    @property
    def english(self) -> str:
        """In English, as ``estimates.reason`` has it."""
        raise NotImplementedError


class Said(Fact, frozen=True):
    """A fact without figures."""

    what: What

    @property
    def english(self) -> str:
        """In English."""
        return _SAID[self.what]


class Few(Fact, frozen=True):
    """Too few of something in the arms: ``each`` are needed in each, ``both`` in the two together."""

    of: FewOf
    control: int
    treated: int
    each: int
    both: int | None = None

    @property
    def english(self) -> str:
        """In English."""
        needed = f"{self.each} in each" if self.both is None else f"{self.each} in each and {self.both} in total"
        return (
            f"not enough data: {self.control} and {self.treated} {_FEW[self.of]} (control, new version); "
            f"{needed} are needed"
        )


class Bound(Fact, frozen=True):
    """Too few of something for an interval, yet a bound that needs none has decided.

    ``cleared``: harm above ``margin`` is ruled out; ``breach``: it is shown; ``worse``: of a goal, that it is worse.
    """

    of: FewOf
    control: int
    treated: int
    state: Literal["breach", "cleared", "worse"]
    margin: float | None = None

    @property
    def english(self) -> str:
        """In English."""
        above = "" if self.margin is None else f" above {self.margin:.3g}"
        shown = {
            "cleared": f"harm{above} is ruled out",
            "breach": f"harm{above} is shown",
            "worse": "more apart than chance puts them",
        }[self.state]
        return f"{self.control} and {self.treated} {_FEW[self.of]} (control, new version): {shown}"


class ArmWithout(Fact, frozen=True):
    """One arm has no figure of a metric, though so many of it are there that some should: ``version`` is silent.

    ``answer``: nobody of it answered; ``value``: none of its exposures has ``field``.
    """

    of: Literal["answer", "value"]
    field: str
    version: str
    control: int
    treated: int

    @property
    def english(self) -> str:
        """In English."""
        if self.of == "answer":
            return f"{self.control} and {self.treated} answers (control, new version): none of {self.version}"
        return (
            f"{self.control} and {self.treated} units with a value (control, new version): {self.version} sends no "
            f"{self.field}"
        )


class NoGoal(Fact, frozen=True):
    """No goal was measured: none of these ``events`` arrived from either version."""

    events: tuple[str, ...]

    @property
    def english(self) -> str:
        """In English."""
        return f"no goal was measured: no {' or '.join(self.events)} arrived from either version; check that it is sent"


class FewDays(Fact, frozen=True):
    """Too few full entry days whose windows are complete."""

    days: int
    needed: int

    @property
    def english(self) -> str:
        """In English."""
        return f"not enough data: {self.days} of {self.needed} full entry days with complete windows"


class FewDraws(Fact, frozen=True):
    """Too few possible assignments for a permutation test."""

    possible: int
    needed: int

    @property
    def english(self) -> str:
        """In English."""
        return f"not enough data: {self.possible} possible assignments; {self.needed} are needed for a test"


class FewDaysBefore(Fact, frozen=True):
    """Too few complete days before a switch to judge those after it."""

    days: int
    needed: int
    after: int

    @property
    def english(self) -> str:
        """In English."""
        return (
            f"not enough data: {self.days} complete days before the switch, {self.needed} are needed to judge "
            f"{self.after} after it"
        )


class OneSided(Fact, frozen=True):
    """Zones or blocks have one version only."""

    of: Literal["zones", "blocks"]
    control: int
    treated: int

    @property
    def english(self) -> str:
        """In English."""
        return f"{self.control} {self.of} have the old version and {self.treated} the new one: nothing to compare"


class SampleRatio(Fact, frozen=True):
    """Units are not shared out as declared; ``seen``: each version's units and its planned share (0 to 1)."""

    p: float
    combined: bool = False
    seen: tuple[tuple[str, int, float], ...] = ()

    @property
    def silent(self) -> tuple[str, ...]:
        """Versions that were planned and that no unit met."""
        return tuple(name for name, n, planned in self.seen if n == 0 and planned > 0)

    @property
    def english(self) -> str:
        """In English."""
        over = ", over all stages" if self.combined else ""
        told = f"units are not shared out as declared{over} (p = {self.p:.1e})"
        total = sum(n for _, n, _ in self.seen)
        parts = [f"no exposure of {name} arrived" for name in self.silent]
        parts += [f"{n} of {name}, {n / total:.1%}, planned {planned:.1%}" for name, n, planned in self.seen if total]
        return f"{told}: {', '.join(parts)}" if parts else told


class TurnedRound(Fact, frozen=True):
    """The declaration says from a version to another, but the stable arm carries the second."""

    declared_from: str
    declared_to: str

    @property
    def english(self) -> str:
        """In English."""
        return (
            f"the declaration says from {self.declared_from} to {self.declared_to}, but the stable arm carries "
            f"{self.declared_to}: send the change again turned round"
        )


class ShareDrift(Fact, frozen=True):
    """The arms' share changes from day to day; ``declare``: the event to send for each stage, where it was ramped."""

    p: float
    declare: str | None = None

    @property
    def english(self) -> str:
        """In English."""
        remedy = f"; if it was ramped, declare each stage: {self.declare}" if self.declare else ""
        return f"the arms' share changes from day to day (p = {self.p:.1e}){remedy}"


class FoundStage(Fact, frozen=True):
    """A stage that nobody declared: the local date it began on, and the new versions' share of the people in it."""

    since: str
    share: float

    @property
    def english(self) -> str:
        """In English."""
        return (
            f"stage found in the exposures, not declared: since {self.since} with {self.share:.0%} of the people on a "
            "new version"
        )


class Crossovers(Fact, frozen=True):
    """Too many units met two arms."""

    share: float
    most: float

    @property
    def english(self) -> str:
        """In English."""
        return f"{self.share:.1%} of the units met two arms (at most {self.most:.0%})"


class ArmSilent(Fact, frozen=True):
    """One arm was silent on days on which the other spoke."""

    days: int

    @property
    def english(self) -> str:
        """In English."""
        return f"an arm was silent on {self.days} days while the other spoke"


class PrePeriod(Fact, frozen=True):
    """The arms differed before anybody met the change."""

    metric: str
    p: float

    @property
    def english(self) -> str:
        """In English."""
        return f"the arms differed in {self.metric} before they met the change (p = {self.p:.1e})"


class KnownBefore(Fact, frozen=True):
    """More people of one arm had been met before the change: shares of the control and of the new version's arm."""

    control: float
    treated: float
    p: float

    @property
    def english(self) -> str:
        """In English."""
        return (
            f"{self.control:.1%} of the control's and {self.treated:.1%} of the new version's people had been met "
            f"before the change (p = {self.p:.1e}): is one version sending other ids?"
        )


class DrawnTogether(Fact, frozen=True):
    """Who got this change depends on who got another: the figure carries this share of the other's effect."""

    change: str
    share: float

    @property
    def english(self) -> str:
        """In English."""
        return (
            f"who got this change depends on who got {self.change}: its figures carry {abs(self.share):.0%} of that "
            "one's effect; draw the two independently"
        )


class PreTrend(Fact, frozen=True):
    """Zones of the new version were moving away from the others before the start: ``weekly`` in the metric's unit."""

    metric: str
    weekly: float
    p: float

    @property
    def english(self) -> str:
        """In English."""
        return (
            f"zones of the new version moved away from the others in {self.metric} before the start, by "
            f"{self.weekly:+.3g} a week (p = {self.p:.1e})"
        )


class LeftOutUnevenly(Fact, frozen=True):
    """A metric leaves out more in one arm: people with something left out, ``of`` those with anything there."""

    metric: str
    control: int
    treated: int
    of_control: int
    of_treated: int
    p: float

    @property
    def english(self) -> str:
        """In English."""
        return (
            f"{self.metric} leaves something out for {self.control} of {self.of_control} and {self.treated} of "
            f"{self.of_treated} people who have it (control, new version; p = {self.p:.1e})"
        )


class LoggedUnlike(Fact, frozen=True):
    """One arm logs its events differently.

    ``unit``: the median event is worth ``treated`` in the new version and ``control`` in the old one; ``twice``: these
    shares of the events repeat another one of the same person and value within two seconds.
    """

    metric: str
    what: Literal["unit", "twice"]
    control: float
    treated: float

    @property
    def ratio(self) -> float:
        """The new version's times the old one's; of repeats the difference of the shares."""
        return self.treated / self.control if self.what == "unit" and self.control else self.treated - self.control

    @property
    def english(self) -> str:
        """In English."""
        if self.what == "unit":
            return (
                f"the median event of {self.metric} is worth {self.control:.4g} in the old version and "
                f"{self.treated:.4g} in the new one: send both in the same unit (euros or cents)"
            )
        return (
            f"{self.control:.0%} of the events of {self.metric} in the old version and {self.treated:.0%} in the new "
            "one repeat another of the same person and value within two seconds: send each event once, with one id"
        )


class AnonymousArms(Fact, frozen=True):
    """More exposures of one arm lack a usable id."""

    control: int
    treated: int
    of_control: int
    of_treated: int
    p: float

    @property
    def english(self) -> str:
        """In English."""
        return (
            f"{self.control} of {self.of_control} and {self.treated} of {self.of_treated} exposures have no usable id "
            f"(control, new version; p = {self.p:.1e})"
        )


class Joined(Fact, frozen=True):
    """Fewer outcomes meet an exposure than usual; shares."""

    share: float
    usual: float

    @property
    def english(self) -> str:
        """In English."""
        return f"only {self.share:.0%} of the outcomes meet an exposure ({self.usual:.0%} in the weeks before)"


class Breached(Fact, frozen=True):
    """Guardrails whose limit is broken."""

    metrics: tuple[str, ...]

    @property
    def english(self) -> str:
        """In English."""
        return f"guardrail breached: {', '.join(self.metrics)}"


class Worse(Fact, frozen=True):
    """Goals that are clearly worse; ``rare``: those of them that are told by an e-value, without an interval."""

    metrics: tuple[str, ...]
    rare: tuple[str, ...] = ()

    @property
    def english(self) -> str:
        """In English."""
        return f"worse: {', '.join(self.metrics)}"


class Better(Fact, frozen=True):
    """Goals that are clearly better; ``quasi``: the comparison has a known weakness."""

    metrics: tuple[str, ...]
    quasi: bool = False

    @property
    def english(self) -> str:
        """In English."""
        return f"better: {', '.join(self.metrics)}" + ("; the comparison has a known weakness" if self.quasi else "")


class GuardsOpen(Fact, frozen=True):
    """Guardrails neither cleared nor breached beside better goals; ``days``: at least so many until they can be."""

    metrics: tuple[str, ...]
    days: int | None = None
    better: tuple[str, ...] = ()

    @property
    def english(self) -> str:
        """In English."""
        gains = f"better: {', '.join(self.better)}, but " if self.better else ""
        told = "" if self.days is None else f"; at least {self.days} more days"
        return f"{gains}guardrails not cleared yet: {', '.join(self.metrics)}{told}"


class Undecided(Fact, frozen=True):
    """Nothing is decided; ``days``: at least so many until an effect of the practical size would show."""

    days: int | None = None

    @property
    def english(self) -> str:
        """In English."""
        return "nothing decided yet" + ("" if self.days is None else f"; at least {self.days} more days")


class PromotedAfter(Fact, frozen=True):
    """A switch that ends a change measured before: when, after which test, and what that showed of one metric.

    ``low`` and ``high`` are the deciding interval, None where an end does not exist; rare events have neither.
    """

    what: ClassVar[str] = "promoted"

    change_id: str
    day: str
    """YYYY-MM-DD, in the company's zone."""
    metric: str
    effect: float
    low: float | None
    high: float | None
    grade: str

    @property
    def english(self) -> str:
        """In English."""
        test = "a random test" if self.grade == "randomised" else "a test"
        low, high = (
            ("-∞" if self.low is None else f"{self.low:.3g}"),
            ("∞" if self.high is None else f"{self.high:.3g}"),
        )
        ends = f"{low} to {high}"
        if self.low is None and self.high is None:
            ends = "no range can be told"
        return (
            f"{self.what} on {self.day} after {test} ({self.change_id}): {self.metric} {self.effect:+.3g} "
            f"({ends}); nothing is asked again"
        )


class RolledBackAfter(PromotedAfter, frozen=True):
    """The same of a way back to the version before: the change that it ends was measured, so it is not asked about."""

    what: ClassVar[str] = "rolled back"


class OneUnit(Fact, frozen=True):
    """One unit makes a large part of the requests that a figure is of: ``share`` of those of its version."""

    share: float
    treated: bool

    @property
    def english(self) -> str:
        """In English."""
        return f"one unit makes {self.share:.0%} of the requests of the {'new' if self.treated else 'old'} version"


class NotInUse(Fact, frozen=True):
    """A change is over and nobody meets its version any more; ``day``: of its end, YYYY-MM-DD in the company's zone."""

    day: str

    @property
    def english(self) -> str:
        """In English."""
        return f"over since {self.day}, and nobody meets the new version any more"


class NotShown(Fact, frozen=True):
    """Undecided at the end: ``smallest`` is the effect that this sample shows in 80 of 100 cases, in the metric's unit.

    ``days``: at least so many more at this pace for the practical size; ``units``: so many in both arms together.
    """

    metric: str
    smallest: float | None = None
    practical: float | None = None
    units: int | None = None
    days: int | None = None

    @property
    def english(self) -> str:
        """In English."""
        parts = [f"not shown: {self.metric}"]
        if self.smallest is not None:
            parts.append(f"an effect of {self.smallest:.3g} would have shown in 80 of 100 cases")
        if self.practical is not None and self.units is not None:
            parts.append(f"{self.practical:.3g} would take {self.units} units")
        if self.days is not None:
            parts.append(f"at least {self.days} more days")
        return "; ".join(parts)


class HoldBack(Fact, frozen=True):
    """Nothing can be compared unless some units keep the old version."""

    @property
    def english(self) -> str:
        """In English."""
        return "hold back 5 % of the units to compare with"


class Regressed(Fact, frozen=True):
    """Of a full switch: the daily series beside it, declared ones that do not vary, and whether the season is there."""

    names: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    season: bool = False

    @property
    def english(self) -> str:
        """In English."""
        parts = [f"beside it {', '.join(self.names)}"] if self.names else []
        if self.absent:
            parts.append(f"without {', '.join(self.absent)}: no days before the switch on which it varies")
        if self.season:
            parts.append("with the season of the year")
        return ", ".join(parts)


class Unadjusted(Fact, frozen=True):
    """The effect without adjustment for the days before."""

    effect: float

    @property
    def english(self) -> str:
        """In English."""
        return f"without adjustment for the days before {self.effect:.4g}"


class LeftOut(Fact, frozen=True):
    """Values in another currency (None: in any) that a sum leaves out."""

    currency: str | None
    n: int

    @property
    def english(self) -> str:
        """In English."""
        return f"{self.currency or 'values without a currency'} only; {self.n} values in another currency left out"


class Guardrail(Fact, frozen=True):
    """A guardrail's state; harm up to ``harm`` is not ruled out, more than ``margin`` is forbidden, in its unit."""

    state: GuardState
    harm: float | None = None
    margin: float | None = None
    days: int | None = None

    @property
    def english(self) -> str:
        """In English."""
        if self.state != "open":
            return f"guardrail {self.state}"
        seen = f": harm up to {self.harm:.3g} is not ruled out" if self.harm is not None else ""
        return f"guardrail open{seen}"


class Weighted(Fact, frozen=True):
    """Weighted for who answers; the plain difference beside."""

    unweighted: float | None
    design_effect: float

    @property
    def english(self) -> str:
        """In English."""
        plain = "" if self.unweighted is None else f" for who answers; unweighted {self.unweighted:.3g}"
        return f"weighted{plain}; design effect {self.design_effect:.2f}"


class Silent(Fact, frozen=True):
    """What those who did not answer could do: Lee's bounds, and how much lower (below 0: higher) undoes the effect."""

    low: float
    high: float
    tips: float | None = None

    @property
    def english(self) -> str:
        """In English."""
        text = f"if the arms' silent differ, between {self.low:.3g} and {self.high:.3g} (Lee)"
        if self.tips is None:
            return text
        way = "lower" if self.tips > 0 else "higher"
        return f"{text}; undone if the new version's silent scored {abs(self.tips):.3g} {way} than its weights say"


class Superiority(Fact, frozen=True):
    """The chance that an answer of the new version is higher than one of the old, with its interval."""

    value: float
    low: float
    high: float

    @property
    def english(self) -> str:
        """In English."""
        return f"the new version scores higher with chance {self.value:.1%} ({self.low:.1%}–{self.high:.1%})"


class TopTwo(Fact, frozen=True):
    """The share of the two best answers in each arm."""

    control: float
    treated: float

    @property
    def english(self) -> str:
        """In English."""
        return f"top two answers {self.control:.1%} → {self.treated:.1%}"


class Draws(Fact, frozen=True):
    """How many assignments the design could have drawn; more than `MOST_COUNTED` are that many."""

    possible: int
    of: Literal["zones", "blocks"]

    def __post_init__(self) -> None:
        """No number of hundreds of digits is kept or printed."""
        msgspec.structs.force_setattr(self, "possible", min(self.possible, MOST_COUNTED))

    @property
    def english(self) -> str:
        """In English."""
        return f"{in_words(self.possible)} possible assignments of {self.of}"


class Synthetic(Fact, frozen=True):
    """A row beside: the zones with the new version beside a mix of ``zones`` others that went like them before.

    ``misfit``: how far the mix lay off before the start; ``p``: its rank among ``placebos`` of untreated zones.
    """

    zones: int
    misfit: float
    p: float
    placebos: int

    @property
    def english(self) -> str:
        """In English."""
        return (
            f"synthetic control, for description: beside a mix of {self.zones} zones, off by {self.misfit:.3g} before "
            f"the start; p is the rank among {self.placebos} placebos; the difference in differences decides"
        )


class ZonesLeftOut(Fact, frozen=True):
    """Zones that had met the new version before the first stage."""

    n: int

    @property
    def english(self) -> str:
        """In English."""
        return f"{self.n} zones had the new version before the first stage and are left out"


class SharesBeyond(Fact, frozen=True):
    """What a difference of differences of quantiles is tested by: the shares of requests above one threshold.

    The effect is what they differ by, told in the values' unit; between two samples of p95s it can be another figure.
    """

    threshold: float
    control: float
    treated: float
    control_before: float
    treated_before: float

    @property
    def english(self) -> str:
        """In English."""
        return (
            f"tested as the share of requests above {self.threshold:.6g}: {self.control:.2%} and {self.treated:.2%} "
            f"(control, new version), before the start {self.control_before:.2%} and {self.treated_before:.2%}"
        )


class BlocksLeftOut(Fact, frozen=True):
    """Blocks that the stage or the month cuts, and blocks in which both versions were met."""

    cut: int
    mixed: int

    @property
    def english(self) -> str:
        """In English."""
        parts = []
        if self.cut:
            parts.append(f"{self.cut} blocks that begin before or end after what is compared left out")
        if self.mixed:
            parts.append(f"{self.mixed} blocks in which both versions were met left out")
        return ", ".join(parts)


class NoCourier(Fact, frozen=True):
    """Customers left out because their entry names no courier."""

    n: int

    @property
    def english(self) -> str:
        """In English."""
        return f"{self.n} customers without a courier left out"


class Clusters(Fact, frozen=True):
    """Units hang together in clusters, so many of (control, new version); ``of`` is a field of exposures."""

    of: str
    control: int
    treated: int

    @property
    def english(self) -> str:
        """In English."""
        return (
            f"{self.of}s are clusters, {self.control} and {self.treated} of them (control, new version): the interval "
            "is of what differs between them"
        )


class FewClusters(Fact, frozen=True):
    """An arm lies in too few clusters to tell how they differ; ``of`` is a field of exposures."""

    of: str
    control: int
    treated: int
    needed: int

    @property
    def english(self) -> str:
        """In English."""
        return (
            f"not enough data: {self.control} and {self.treated} {self.of}s (control, new version); {self.needed} in "
            "each are needed, because those of one are not independent"
        )


class Strata(Fact, frozen=True):
    """Differences inside so many strata, weighted by their size; ``left_out``: units whose stratum one arm lacks."""

    of: tuple[str, ...]
    n: int
    left_out: int = 0

    @property
    def english(self) -> str:
        """In English."""
        lost = f", {self.left_out} units of strata that one arm lacks left out" if self.left_out else ""
        return f"compared inside {self.n} strata of {' and '.join(self.of)}, weighted by their size{lost}"


class NotInside(Fact, frozen=True):
    """Customers left out: ``unplaced`` whose entry does not say where, ``one_sided`` whose stratum one arm lacks."""

    of: tuple[str, ...]
    unplaced: int
    one_sided: int

    @property
    def english(self) -> str:
        """In English."""
        parts = []
        if self.unplaced:
            parts.append(f"{self.unplaced} customers without a {' or '.join(self.of)} left out")
        if self.one_sided:
            parts.append(f"{self.one_sided} customers of strata that one arm lacks left out")
        return ", ".join(parts)


class Alone(Fact, frozen=True):
    """A stage that stands on its own; the verdict rests on another."""

    stage: int

    @property
    def english(self) -> str:
        """In English."""
        return f"shown on its own: the verdict rests on stage {self.stage}"


class Decided(Fact, frozen=True):
    """Where the deciding interval lies, and what that means; ``named``: a design in which better and worse are said."""

    direction: Direction
    side: Literal["above", "below", "holds 0"]
    lower_is_better: bool = False
    named: bool = True

    @property
    def english(self) -> str:
        """In English."""
        word = {"unclear": "no clear change"}.get(self.direction, self.direction)
        text = f"{word}: " if self.named else ""
        if self.side == "holds 0":
            return f"{text}the deciding interval holds 0"
        less = ", and less is better" if self.lower_is_better else ""
        return f"{text}the deciding interval lies wholly {self.side} 0{less}"


class NoInterval(Fact, frozen=True):
    """Nothing varies, so there is no interval."""

    @property
    def english(self) -> str:
        """In English."""
        return "no interval: nothing varies"


class OnlyLooking(Fact, frozen=True):
    """A segment that may not decide: its dimension's effects do not differ (``p``), or there is no other (None)."""

    dimension: str
    p: float | None = None

    @property
    def english(self) -> str:
        """In English."""
        if self.p is None:
            return "for looking only: no other segment to compare with"
        return f"for looking only: no sign that {self.dimension}s differ (p = {self.p:.2g})"


class Differ(Fact, frozen=True):
    """A segment's word, where its dimension's effects differ."""

    direction: Direction
    dimension: str
    p: float

    @property
    def english(self) -> str:
        """In English."""
        word = {"unclear": "no clear change"}.get(self.direction, self.direction)
        return f"{word}; the effects differ between {self.dimension}s (p = {self.p:.2g})"


class Ruled(Fact, frozen=True):
    """A change's verdict, the row of the table that gave it (docs/meaning.md, "Verdicts"), and what it rests on."""

    verdict: Verdict
    row: int
    because: tuple[AnyFact, ...] = ()

    @property
    def why(self) -> str:
        """What it rests on, in English."""
        return ", ".join(fact.english for fact in self.because)

    @property
    def english(self) -> str:
        """In English."""
        return f"{self.verdict}: {self.why}" if self.because else self.verdict


AnyFact = (
    Said
    | Few
    | Bound
    | ArmWithout
    | NoGoal
    | FewDays
    | FewDraws
    | FewDaysBefore
    | OneSided
    | SampleRatio
    | TurnedRound
    | ShareDrift
    | FoundStage
    | Crossovers
    | ArmSilent
    | PrePeriod
    | KnownBefore
    | DrawnTogether
    | PreTrend
    | LeftOutUnevenly
    | LoggedUnlike
    | AnonymousArms
    | Joined
    | Breached
    | Worse
    | Better
    | GuardsOpen
    | Undecided
    | NotShown
    | PromotedAfter
    | RolledBackAfter
    | NotInUse
    | OneUnit
    | HoldBack
    | Regressed
    | Unadjusted
    | LeftOut
    | Guardrail
    | Weighted
    | Silent
    | Superiority
    | TopTwo
    | Draws
    | ZonesLeftOut
    | SharesBeyond
    | Synthetic
    | BlocksLeftOut
    | NoCourier
    | Clusters
    | FewClusters
    | Strata
    | NotInside
    | Alone
    | Decided
    | NoInterval
    | OnlyLooking
    | Differ
    | Ruled
)
"""Every kind of fact; ``fact`` in its JSON is the kind's name."""

_MOST_DIGITS = 6
MOST_COUNTED = 10**18


def in_words(n: int) -> str:
    """A count as it is, or where it is beyond all use its order of magnitude: ``more than 10^12``."""
    digits = len(str(n))
    return str(n) if digits <= _MOST_DIGITS else f"more than 10^{digits - 1}"


def english(facts: Sequence[Fact]) -> str:
    """Facts as one text, joined by ``; ``."""
    return "; ".join(fact.english for fact in facts)


def encoded(facts: Sequence[AnyFact]) -> str | None:
    """Facts as JSON, None without any."""
    return msgspec.json.encode(tuple(facts)).decode() if facts else None


def decoded(text: str | None) -> tuple[AnyFact, ...]:
    """The inverse of `encoded`.

    Raises:
        msgspec.ValidationError: a kind of fact that this version does not know.
    """
    found: Any = msgspec.json.decode(text, type=tuple[AnyFact, ...]) if text else ()
    return tuple(found)
