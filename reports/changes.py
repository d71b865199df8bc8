"""Did it help? One block per change, one row per metric, those first of which most can be said."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from analysis import ALL_METRICS, LedgerChange
from edgeloop.store.rows import Estimate, Grade
from reports import numbers, words
from reports.findings import Change, Effect, Scale

ORDER = ("roll back", "repair the data first", "promote", "stop, no effect", "keep testing")
_DIRECTIONS: tuple[words.Direction, ...] = ("worse", "better", "unclear", "early")
_HOW = {
    "switch": "switched for everybody at once",
    "rollback": "rolled back for everybody at once",
    "staged": "brought in by stages",
    "mixed": "in use beside the old one, without labelled arms",
}


@dataclass(frozen=True, slots=True)
class ChangeRows:
    """A change with its rows of the stage that decides; ``others`` are the rest."""

    change: LedgerChange
    rows: tuple[Estimate, ...]
    others: tuple[Estimate, ...]
    lower_is_better: Collection[str]
    currencies: Mapping[str, str]

    @property
    def verdict(self) -> str | None:
        """What is asked, if anything."""
        return next((e.verdict for e in self.rows if e.verdict is not None), None)

    @property
    def before_after(self) -> bool:
        """Whether there is nothing but before and after."""
        return self.grade == "before_after"

    @property
    def grade(self) -> Grade | None:
        """How far the comparison carries."""
        return next((e.grade for e in (*self.rows, *self.others) if e.grade is not None), None)

    @property
    def anchor(self) -> str:
        """Where its block is on the page."""
        return "change-" + "".join(c if c.isascii() and c.isalnum() else "-" for c in self.change.change_id)

    def direction(self, e: Estimate) -> words.Direction:
        """Which way, and whether that is wanted."""
        return words.direction(e, lower_is_better=e.metric in self.lower_is_better)

    def currency(self, e: Estimate) -> str | None:
        """Of a sum."""
        return self.currencies.get(e.metric) if words.is_sum(e) else None

    def deciding(self) -> Estimate | None:
        """The row that a verdict of roll back or promote rests on: the strongest of its direction."""
        wanted = {"roll back": "worse", "promote": "better"}.get(self.verdict or "")
        return max((e for e in self.rows if self.direction(e) == wanted), key=strength, default=None)


def gather(
    changes: Sequence[LedgerChange],
    estimates: Sequence[Estimate],
    lower_is_better: Collection[str],
    currencies: Mapping[str, str],
) -> list[ChangeRows]:
    """The changes that touch the month, the one that asks most of the reader first."""
    made = []
    for change in changes:
        own = [e for e in estimates if e.change_id == change.change_id and e.dimension == "all"]
        shown = [e for e in own if _has_interval(e)]
        made.append(
            ChangeRows(change, tuple(shown), tuple(e for e in own if not _has_interval(e)), lower_is_better, currencies)
        )
    return sorted(made, key=lambda c: (_rank(c), c.change.start_us, c.change.change_id))


def changes(gathered: Sequence[ChangeRows], timezone: str) -> tuple[Change, ...]:
    """The blocks of the section."""
    return tuple(_change(own, timezone) for own in gathered)


def notes(gathered: Sequence[ChangeRows]) -> tuple[str, ...]:
    """What holds for the section as a whole."""
    if not gathered:
        return ("No model version changed this month, as far as declarations and exposures tell.",)
    still = [own.change.title for own in gathered if own.change.end_us is None and not own.before_after]
    text = []
    if still:
        text.append(f"Still open: {numbers.joined([f'“{title}”' for title in still])}.")
    text.append("Differences between segments and the sum of this year’s promoted effects are not estimated yet.")
    return tuple(text)


def strength(e: Estimate) -> float:
    """|effect| in standard errors."""
    return abs(e.effect or 0.0) / e.se if e.se else 0.0


def _has_interval(e: Estimate) -> bool:
    return e.decision_low is not None and e.decision_high is not None and e.effect is not None


def _rank(own: ChangeRows) -> int:
    verdict = own.verdict or next((e.verdict for e in own.others if e.verdict is not None), None)
    return ORDER.index(verdict) if verdict else len(ORDER)


def _change(own: ChangeRows, timezone: str) -> Change:
    verdict = next((e.verdict for e in (*own.rows, *own.others) if e.verdict is not None), None)
    doubted = verdict == "repair the data first"
    rows = sorted(own.rows, key=lambda e: (_DIRECTIONS.index(own.direction(e)), -strength(e), e.metric))
    return Change(
        anchor=own.anchor,
        change_id=own.change.change_id,
        title=own.change.title,
        design=_design(own, timezone),
        grade=own.grade,
        verdict=verdict,
        summary=_summary(own, rows, doubted=doubted),
        effects=tuple(_effect(own, e, doubted=doubted) for e in rows),
        notes=_notes(own),
    )


def _design(own: ChangeRows, timezone: str) -> str:
    change = own.change
    since = numbers.day(change.start_us, timezone)
    when = f"since {since}" if change.end_us is None else f"{since} to {numbers.day(change.end_us - 1, timezone)}"
    versions = f"{change.from_version or 'earlier version unknown'} → {change.to_version}"
    how = _HOW.get(change.kind, "new and old side by side")
    if own.before_after:
        how += ", so only before and after can be compared"
    elif any(e.grade == "randomised" for e in own.rows):
        how += ", assigned at random"
    elif any(e.grade == "quasi" for e in own.rows):
        how += ", but the comparison has a known weakness"
    found = "" if change.declared else " · found in the exposures, not declared"
    return f"{change.model_id} {versions} · {when} · {how}{found}"


def _summary(own: ChangeRows, rows: Sequence[Estimate], *, doubted: bool) -> str:
    if doubted:
        return "The data behind this comparison does not hold, so nothing is said of its effect."
    told = [e for e in rows if own.direction(e) in ("better", "worse")]
    if told:
        said = [words.sentence("", e, own.currency(e)).strip() for e in told[:3]]
        rest = len(told) - 3
        more = f"; {rest} more below" if rest > 0 else ""
        return f"“{own.change.title}” {numbers.joined(said)}{more}."
    if not rows:
        why = next((e.reason for e in own.others if e.metric == ALL_METRICS and e.reason), None)
        return f"No effect can be told: {(why or 'no metric has an interval').split('; ')[0]}."
    if all(own.direction(e) == "early" for e in rows):
        return "Not enough data to say anything yet."
    return "No clear change in anything that was measured."


def _scale(e: Estimate) -> Scale:
    if words.is_share(e):
        return "points"
    if e.metric_kind == "nps":
        return "nps"
    if e.metric_kind == "quantile":
        return "ms"
    return "sum" if words.is_sum(e) else "score"


def _meaning(own: ChangeRows, e: Estimate) -> str:
    hours = f" within {numbers.count(e.window_h)} h" if e.window_h and e.window_h <= 96 else ""
    days = f" within {numbers.count((e.window_h or 0) / 24)} days" if e.window_h and e.window_h > 96 else ""
    if e.metric_kind == "proportion":
        text = f"share of customers{hours}{days}"
    elif e.metric_kind == "ratio":
        text = "share of the requests to the model"
    elif e.metric_kind == "quantile":
        text = "of the requests to the model"
    elif words.is_sum(e):
        text = f"{own.currency(e) or 'sum'} per customer{hours}{days}"
    else:
        text = f"{'promoter score' if e.metric_kind == 'nps' else 'mean score'} of those who answered{hours}{days}"
    return text + ("; less is better" if e.metric in own.lower_is_better else "")


def _effect(own: ChangeRows, e: Estimate, *, doubted: bool) -> Effect:
    found = own.direction(e)
    low, high, effect = e.decision_low or 0.0, e.decision_high or 0.0, e.effect or 0.0
    remarks = []
    if e.response_control is not None and e.response_treated is not None:
        how = "weighted to everyone who entered" if e.estimator == "weighted" else "respondents only, unweighted"
        remarks.append(
            f"{numbers.percent(e.response_control)} and {numbers.percent(e.response_treated)} answered; {how}"
        )
    remarks += [part for part in (e.reason or "").split("; ") if "left out" in part]
    if found == "early":
        remarks.insert(0, _floor(e))
    return Effect(
        metric=e.metric,
        label=words.capital(words.label(e.metric)),
        meaning=_meaning(own, e),
        scale=_scale(e),
        n_control=numbers.count(e.n_control or 0),
        n_treated=numbers.count(e.n_treated or 0),
        control=words.figure(e, e.control),
        treated=words.figure(e, e.treated),
        effect=effect,
        low=low,
        high=high,
        difference=words.effect(e, effect),
        between=words.between(e),
        lift="" if e.lift is None or found == "early" else numbers.lift(e.lift),
        direction="early" if doubted else found,
        certainty=words.certainty(found, doubted=doubted),
        words="not enough data" if doubted else words.verb(e),
        size="" if doubted else words.practical(e, own.currency(e)),
        notes=tuple(remarks),
    )


def _floor(e: Estimate) -> str:
    parts = (e.reason or "").removeprefix("not enough data: ").replace(" (control, new version)", "").split("; ")
    return "; ".join(parts[:2] if parts[1:2] and parts[1].endswith("needed") else parts[:1])


def _notes(own: ChangeRows) -> tuple[str, ...]:
    text = []
    unseen = [words.label(e.metric) for e in own.others if e.respondent == "agent"]
    if unseen:
        text.append(
            f"Of delivery agents’ {numbers.joined(unseen)} no effect can be told: customers were assigned, not agents, "
            "and an agent meets both versions."
        )
    early = [e for e in own.others if e.effect is not None]
    if early:
        stages = numbers.joined([str(n) for n in sorted({e.stage for e in early})])
        text.append(f"Figures of stage {stages} are not shown: the verdict rests on the largest stage.")
    days = [e.days_left for e in own.rows if e.days_left is not None]
    if days:
        text.append(f"At least {max(days)} more days until an effect worth acting on would show.")
    return tuple(text)
