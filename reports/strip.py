"""Where do we stand? Conversion, satisfaction, answers used, latency and parity: this month, last month, target."""

from __future__ import annotations

import math
from collections import Counter

import pandas as pd

from edgeloop.clock import HOUR_US
from edgeloop.months import Month
from reports import numbers, words
from reports.findings import Indicator, State, UseRow
from reports.health import P95_TARGET_MS, PARITY_TARGET, milliseconds, p95, parity, under, weeks
from reports.language import t
from reports.voices import FEWEST_ANSWERS, score, shown_score, within

CONVERSION_WINDOW_US = 72 * HOUR_US
USUAL_CONVERSION = "order_placed"
NOTE = (
    "Lines run by week over the two months that this freeze holds; six months need more freezes. "
    "They describe, and say nothing of causes."
)


def strip(
    exposures: pd.DataFrame,
    engagement: pd.DataFrame,
    answers: pd.DataFrame,
    profiles: pd.DataFrame,
    used: tuple[UseRow, UseRow | None],
    month: Month,
    as_of_us: int,
) -> tuple[Indicator, ...]:
    """The rows; ``used`` are this month's answers and last month's, where its report counted them."""
    return (
        _conversion(exposures, engagement, month, as_of_us),
        _satisfaction(answers, month),
        _used(*used, len(within(answers, month.previous()))),
        _latency(exposures, month),
        _parity(profiles, month),
    )


def headline_event(engagement: pd.DataFrame) -> str | None:
    """``order_placed`` where it occurs, else the commonest."""
    counts = Counter(engagement["name"].dropna().astype(str))
    if USUAL_CONVERSION in counts:
        return USUAL_CONVERSION
    return min(counts, key=lambda name: (-counts[name], name), default=None)


def conversion(
    exposures: pd.DataFrame, engagement: pd.DataFrame, name: str, span: tuple[int, int], as_of_us: int
) -> tuple[float, int] | None:
    """(share, customers): of those met in the span, who did it within 72 h of their first exposure there.

    Customers whose 72 h are not over are left out.
    """
    x = exposures[(exposures["occurred_at"] >= span[0]) & (exposures["occurred_at"] < span[1])]
    x = x[x["arm"] != "holdout"]
    first = x.groupby("subject")["occurred_at"].min()
    first = first[first + CONVERSION_WINDOW_US <= as_of_us]
    if first.empty:
        return None
    done = engagement[engagement["name"] == name]
    lag = done["occurred_at"] - done["subject"].map(first)
    converted = done[(lag >= 0) & (lag <= CONVERSION_WINDOW_US)]["subject"].nunique()
    return converted / len(first), len(first)


def _conversion(exposures: pd.DataFrame, engagement: pd.DataFrame, month: Month, as_of_us: int) -> Indicator:
    name = headline_event(engagement)
    if name is None:
        return Indicator(
            "Conversion", "no engagement was recorded", "unknown", "unknown", "above last month", "unknown"
        )
    before = month.previous()
    now = conversion(exposures, engagement, name, (month.start_us, month.end_us), as_of_us)
    then = conversion(exposures, engagement, name, (before.start_us, before.end_us), as_of_us)
    state: State = "unknown"
    if now and then:
        state = _moved(now, then)

    def share(rows: pd.DataFrame) -> float | None:
        span = int(rows["occurred_at"].min()), int(rows["occurred_at"].max()) + 1
        found = conversion(exposures, engagement, name, span, as_of_us)
        return found[0] if found else None

    return Indicator(
        name="Conversion",
        meaning=f"customers with {words.label(name)} within 72 h of meeting a model",
        this="unknown" if now is None else numbers.percent(now[0]),
        previous="unknown" if then is None else numbers.percent(then[0]),
        target="above last month",
        state=state,
        weeks=weeks(exposures, month, share, numbers.percent),
    )


def _moved(now: tuple[float, int], then: tuple[float, int]) -> State:
    """Up, down, or no more than chance (|z| < 1.96; many customers are in both months, which makes that cautious)."""
    (p1, n1), (p0, n0) = now, then
    error = math.sqrt(p1 * (1 - p1) / n1 + p0 * (1 - p0) / n0)
    if abs(p1 - p0) < 1.96 * error or p1 == p0:
        return "level"
    return "met" if p1 > p0 else "missed"


def _satisfaction(answers: pd.DataFrame, month: Month) -> Indicator:
    own = answers[(answers["respondent"] == "customer") & answers["value"].notna()]
    own = own[own["kind"].isin(("csat", "rating", "nps"))]
    this = within(own, month)
    if this.empty:
        meaning = "no customer gave a score this month"
        return Indicator("Satisfaction", meaning, "unknown", "unknown", "none set", "unknown")
    counts = Counter(zip(this["survey_id"].astype(str), this["question"].astype(str), strict=True))
    survey, question = min(counts, key=lambda key: (-counts[key], key))
    asked = own[(own["survey_id"] == survey) & (own["question"] == question)]
    kind = str(asked["kind"].iloc[0])

    def mean(rows: pd.DataFrame) -> float | None:
        return score(rows["value"], kind) if len(rows) >= FEWEST_ANSWERS else None

    now, then = mean(within(asked, month)), mean(within(asked, month.previous()))
    return Indicator(
        name="Satisfaction",
        meaning=f"{words.label(f'{survey}/{question}')}, customers who answered",
        this="too few answers" if now is None else shown_score(now, kind),
        previous="too few answers" if then is None else shown_score(then, kind),
        target="none set",
        state="unknown" if now is None else "no target",
        weeks=weeks(asked, month, mean, lambda value: shown_score(value, kind)),
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


def _latency(exposures: pd.DataFrame, month: Month) -> Indicator:
    now, then = p95(within(exposures, month)), p95(within(exposures, month.previous()))
    return Indicator(
        name="Latency",
        meaning="95 of 100 inferences are faster than this, all models",
        this="unknown" if now is None else milliseconds(now),
        previous="unknown" if then is None else milliseconds(then),
        target=f"{milliseconds(P95_TARGET_MS)} at most",
        state=under(now, P95_TARGET_MS),
        weeks=weeks(exposures, month, p95, milliseconds),
        goal=P95_TARGET_MS,
    )


def _parity(profiles: pd.DataFrame, month: Month) -> Indicator:
    now, then = parity(profiles, month.end_us), parity(profiles, month.start_us)
    state: State = "unknown" if now is None else "met" if now >= PARITY_TARGET else "missed"
    return Indicator(
        name="Profile parity",
        meaning="same profile version in the cloud and at the edge, at the month’s end",
        this="unknown" if now is None else numbers.percent(now, 2),
        previous="unknown" if then is None else numbers.percent(then, 2),
        target=f"{numbers.percent(PARITY_TARGET)} at least",
        state=state,
    )
