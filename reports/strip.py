"""Where do we stand? Conversion, satisfaction, answers used, latency and parity: this month, last month, target."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence

import numpy as np
import pandas as pd

from analysis import Metric, coarse_stamps, customers, lag
from edgeloop.clock import HOUR_US
from edgeloop.months import Month
from reports import numbers, words
from reports.findings import Indicator, State, UseRow
from reports.health import (
    P95_TARGET_MS,
    PARITY_TARGET,
    line_begins,
    milliseconds,
    p95,
    slow_models,
    told_slow,
    under,
    weeks,
)
from reports.language import t
from reports.voices import FEWEST_ANSWERS, score, shown_score, within

CONVERSION_WINDOW_US = 72 * HOUR_US
USUAL_CONVERSION = "order_placed"
MOST_SLOW = 2
"""Models that are named in the row of latency."""


def strip(
    frames: Mapping[str, pd.DataFrame],
    same: Mapping[int, float | None],
    used: tuple[UseRow, UseRow | None],
    month: Month,
    *,
    as_of_us: int,
    since_us: int,
    headline: Metric | None,
    figures: tuple[float, float] | None,
    whole_second_sources: Collection[str] = (),
) -> tuple[Indicator, ...]:
    """The rows.

    Args:
        same: parity of profiles at the month's begin and end.
        used: this month's answers and last month's, where its report counted them.
        since_us: what happened before is not in the freeze.
        figures: the headline's figures of last month and of this one, as the bridge has them.
        whole_second_sources: whose stamps have a tolerance (`edgeloop.tolerance`).
    """
    exposures, begin = frames["exposures"], line_begins(month, since_us)
    asked = headline if headline is not None and headline.source == "share" else None
    shares = figures if asked is not None else None
    return (
        _conversion(exposures, frames["engagement"], month, as_of_us, begin, asked, shares, whole_second_sources),
        _satisfaction(frames["answers"], month, begin),
        _used(*used, len(within(frames["answers"], month.previous()))),
        _latency(exposures, month, begin),
        _parity(same[month.end_us], same[month.start_us]),
    )


def note(month: Month, drawn: Sequence[Indicator]) -> str:
    """What the lines show; empty where there is none."""
    seen = [week.at_us for indicator in drawn for week in indicator.weeks if week.value is not None]
    if not seen:
        return ""
    begin = numbers.day(min(seen), month.timezone)
    return t(
        "Lines run by week from {day}: what the freeze holds whole of the last six months. They describe, and say "
        "nothing of causes.",
        day=begin,
    )


def headline_event(engagement: pd.DataFrame) -> str | None:
    """``order_placed`` where it occurs, else the commonest."""
    counts = {str(name): int(n) for name, n in engagement["name"].value_counts().items() if n}
    if USUAL_CONVERSION in counts:
        return USUAL_CONVERSION
    return min(counts, key=lambda name: (-counts[name], name), default=None)


class _Conversions:
    """Of spans of time: who, of those met in it, did something within the window from their first exposure there.

    Customers and times are those of the estimates: nobody anonymous, and the tolerance of the source.
    """

    def __init__(
        self,
        exposures: pd.DataFrame,
        engagement: pd.DataFrame,
        name: str,
        window_us: int,
        whole_second_sources: Collection[str],
    ) -> None:
        shown = customers(exposures) & (exposures["arm"] != "holdout").to_numpy(dtype=bool, na_value=True)
        met = exposures.loc[shown, ["occurred_at", "subject"]].sort_values("occurred_at", kind="stable")
        codes, people = pd.factorize(met["subject"])
        self._at, self._who, self._people = met["occurred_at"].to_numpy(dtype=np.int64), codes, len(people)
        done = engagement[customers(engagement) & (engagement["name"] == name).to_numpy(dtype=bool, na_value=False)]
        coarse = coarse_stamps(done, whole_second_sources)
        by, doers = pd.factorize(done["subject"])
        who = pd.Index(people).get_indexer(pd.Index(doers))[by]
        self._did, self._did_at = who[who >= 0], done["occurred_at"].to_numpy(dtype=np.int64)[who >= 0]
        self._coarse = coarse[who >= 0]
        self._window_us = window_us

    def of(self, start_us: int, end_us: int, as_of_us: int) -> tuple[float, int] | None:
        """(share, customers) of [start, end); those whose windows are not over are left out."""
        rows = slice(*np.searchsorted(self._at, (start_us, end_us)).tolist())
        never = np.iinfo(np.int64).max
        first = np.full(self._people, never)
        first[self._who[rows][::-1]] = self._at[rows][::-1]  # of several rows of a person the first is set last
        over = first <= min(as_of_us - self._window_us, never - 1)
        n = int(np.count_nonzero(over))
        if not n:
            return None
        after = lag(self._did_at, first[self._did], self._coarse)
        hit = over[self._did] & (after >= 0) & (after <= self._window_us)
        converted = np.zeros(self._people, dtype=bool)
        converted[self._did[hit]] = True
        return int(np.count_nonzero(converted)) / n, n


def _conversion(
    exposures: pd.DataFrame,
    engagement: pd.DataFrame,
    month: Month,
    as_of_us: int,
    begin: int,
    headline: Metric | None,
    figures: tuple[float, float] | None,
    whole_second_sources: Collection[str],
) -> Indicator:
    name = headline.key if headline is not None else headline_event(engagement)
    target, unknown = t("above last month"), t("unknown")
    if name is None:
        return Indicator(t("Conversion"), t("no engagement was recorded"), unknown, unknown, target, "unknown")
    window_us = headline.window_us if headline is not None else CONVERSION_WINDOW_US

    conversions = _Conversions(exposures, engagement, name, window_us, whole_second_sources)

    def of(start: int, end: int) -> tuple[float, int] | None:
        return conversions.of(start, end, as_of_us)

    before = month.previous()
    now, then = of(month.start_us, month.end_us), of(before.start_us, before.end_us)
    state: State = _moved(now, then) if now and then else "unknown"

    def share(rows: pd.DataFrame) -> float | None:
        found = of(int(rows["occurred_at"].min()), int(rows["occurred_at"].max()) + 1)
        return found[0] if found else None

    shown = (then[0] if then else None, now[0] if now else None) if figures is None else figures
    return Indicator(
        name=t("Conversion"),
        meaning=t(
            "customers with “{what}” within {hours}\N{NO-BREAK SPACE}h of meeting a model",
            what=words.label(name),
            hours=numbers.count(window_us / HOUR_US),
        ),
        this=unknown if shown[1] is None else numbers.percent(shown[1], 2),
        previous=unknown if shown[0] is None else numbers.percent(shown[0], 2),
        target=target,
        state=state,
        weeks=weeks(exposures[["occurred_at"]], month, share, numbers.percent, begin),
    )


def _moved(now: tuple[float, int], then: tuple[float, int]) -> State:
    """Up, down, or no more than chance (|z| < 1.96; many customers are in both months, which makes that cautious)."""
    (p1, n1), (p0, n0) = now, then
    error = math.sqrt(p1 * (1 - p1) / n1 + p0 * (1 - p0) / n0)
    if abs(p1 - p0) < 1.96 * error or p1 == p0:
        return "level"
    return "met" if p1 > p0 else "missed"


def _satisfaction(answers: pd.DataFrame, month: Month, begin: int) -> Indicator:
    own = answers[(answers["respondent"] == "customer") & answers["value"].notna()]
    own = own[own["kind"].isin(("csat", "rating", "nps"))]
    this = within(own, month)
    if this.empty:
        meaning, unknown = t("no customer gave a score this month"), t("unknown")
        return Indicator(t("Satisfaction"), meaning, unknown, unknown, t("none set"), "unknown")
    counts = Counter(zip(this["survey_id"].astype(str), this["question"].astype(str), strict=True))
    survey, question = min(counts, key=lambda key: (-counts[key], key))
    asked = own[(own["survey_id"] == survey) & (own["question"] == question)]
    kind = str(asked["kind"].iloc[0])

    def mean(rows: pd.DataFrame) -> float | None:
        return score(rows["value"], kind) if len(rows) >= FEWEST_ANSWERS else None

    now, then = mean(within(asked, month)), mean(within(asked, month.previous()))
    return Indicator(
        name=t("Satisfaction"),
        meaning=t("{question}, customers who answered", question=words.label(f"{survey}/{question}")),
        this=t("too few answers") if now is None else shown_score(now, kind),
        previous=t("too few answers") if then is None else shown_score(then, kind),
        target=t("none set"),
        state="unknown" if now is None else "no target",
        weeks=weeks(asked, month, mean, lambda value: shown_score(value, kind), begin),
    )


def _used(now: UseRow, then: UseRow | None, earlier: int) -> Indicator:
    """``earlier`` are last month's answers, told where no report counted how far they got."""
    previous = t("{n} collected", n=numbers.count(earlier)) if earlier else t("none collected")
    if then is not None and then.collected:
        previous = t("{used} of {all}", used=numbers.count(then.named), all=numbers.count(then.collected))
    return Indicator(
        name=t("Answers used"),
        meaning=t("answers named in a decision of this report, of all collected"),
        this=t("{used} of {all}", used=numbers.count(now.named), all=numbers.count(now.collected))
        if now.collected
        else t("none collected"),
        previous=previous,
        target=t("all"),
        state="unknown" if not now.collected else "met" if now.named == now.collected else "missed",
    )


def _latency(exposures: pd.DataFrame, month: Month, begin: int) -> Indicator:
    exposures = exposures[["occurred_at", "model_id", "latency_ms"]]
    now, then = p95(within(exposures, month)), p95(within(exposures, month.previous()))
    slow = slow_models(within(exposures, month))
    state = under(now, P95_TARGET_MS)
    return Indicator(
        name=t("Latency"),
        meaning=t("95 of 100 inferences are faster than this, all models"),
        this=t("unknown") if now is None else milliseconds(now),
        previous=t("unknown") if then is None else milliseconds(then),
        target=t("{target} at most", target=milliseconds(P95_TARGET_MS)),
        state="partly" if state == "met" and slow else state,
        weeks=weeks(exposures, month, p95, milliseconds, begin),
        goal=P95_TARGET_MS,
        missed_by=t("missed by {models}", models=told_slow(slow, MOST_SLOW)) if slow else "",
    )


def _parity(now: float | None, then: float | None) -> Indicator:
    state: State = "unknown" if now is None else "met" if now >= PARITY_TARGET else "missed"
    return Indicator(
        name=t("Profile parity"),
        meaning=t("same profile version in the cloud and at the edge, at the month’s end"),
        this=t("unknown") if now is None else numbers.percent(now, 2),
        previous=t("unknown") if then is None else numbers.percent(then, 2),
        target=t("{target} at least", target=numbers.percent(PARITY_TARGET)),
        state=state,
    )
