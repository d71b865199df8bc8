"""What do this year's promoted changes add up to? Of the headline: final reports' promotions and this month's."""

from __future__ import annotations

import math
from collections.abc import Sequence

from analysis import Metric
from edgeloop.store.freeze import Promoted
from edgeloop.store.rows import Estimate
from reports import numbers, words
from reports.gathered import ChangeRows
from reports.language import t, tn

_Z = 1.96


def promoted(
    earlier: Sequence[Promoted], gathered: Sequence[ChangeRows], headline: Metric | None, year: str, *, first: bool
) -> str:
    """The sum in a sentence or two.

    Args:
        earlier: of the year's earlier final reports, by month; the latest figure of a change counts.
        first: no earlier final report is known, so that nothing can be said of the months before.
    """
    if headline is None:
        return ""
    latest = {p.change_id: (p.effect, *_ends(p)) for p in earlier if p.metric == headline.name}
    shape: Estimate | None = None
    for own in gathered:
        e = next((e for e in own.rows if e.metric == headline.name), None)
        shape = shape or e
        if own.verdict == "promote" and e is not None and e.effect is not None and e.decided_by is not None:
            latest[own.change.change_id] = (e.effect, e.decision_low or 0.0, e.decision_high or 0.0)
    missing = t("Reports of earlier months are not in this freeze.") if first else ""
    if not latest:
        none = t(
            "No change that was promoted this year has an estimate of {what}, so nothing adds up yet.",
            what=words.label(headline.name),
        )
        return f"{none} {missing}".strip()
    total = math.fsum(effect for effect, _, _ in latest.values())
    # Of one change the interval of its section; of several the distances of their ends, as those of independent errors.
    below = math.hypot(*(effect - low for effect, low, _ in latest.values()))
    above = math.hypot(*(high - effect for effect, _, high in latest.values()))
    row = Estimate(
        freeze_id="", month="", change_id="", model_id="", to_version="", metric=headline.name,
        metric_kind=headline.kind, unit="subject", effect=total, decision_low=total - below,
        decision_high=total + above,
        window_h=shape.window_h if shape is not None else headline.window_us / 3_600_000_000,
    )  # fmt: skip
    n = len(latest)
    said = tn(
        "The one change promoted in {year} adds {sum} to {what} ({range}).",
        "The {n} changes promoted in {year} add up to {sum} of {what} ({range}), if effects neither fade nor meet.",
        n,
        n=numbers.count(n),
        year=year,
        sum=words.effect(row, total),
        what=words.label(headline.name),
        range=words.between(row),
    )
    warning = t("What was picked because it did well did, on average, a little less well than it seems.")
    return " ".join(part for part in (said, warning, missing) if part)


def _ends(p: Promoted) -> tuple[float, float]:
    if p.low is not None and p.high is not None:
        return p.low, p.high
    half = _Z * (p.se or 0.0)
    return p.effect - half, p.effect + half
