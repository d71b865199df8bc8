"""What do this year's promoted changes add up to? Of the headline: of those that are done, and of those only asked."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

from analysis import LedgerChange, Metric
from edgeloop.store.freeze import Promoted
from edgeloop.store.rows import Estimate
from reports import numbers, words
from reports.gathered import ChangeRows
from reports.language import t, tn
from reports.settled import Version, settled

_Z = 1.96


def promoted(
    earlier: Sequence[Promoted],
    gathered: Sequence[ChangeRows],
    headline: Metric | None,
    year: str,
    *,
    first: bool,
    known: Sequence[LedgerChange] = (),
    as_of_us: int = 0,
) -> str:
    """The sum in a sentence or two; what a report asks to promote is promoted only once everybody has it.

    Args:
        earlier: of the year's earlier final reports, by month; the latest figure of a change counts.
        first: no earlier final report is known, so that nothing can be said of the months before.
        known: every change there is, which tells what was done.
        as_of_us: up to when.
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
    done = _done(latest, gathered, known, as_of_us)
    made = [
        _sum(sizes, headline, shape, year, done=told)
        for told in (True, False)
        if (sizes := [size for change_id, size in latest.items() if (change_id in done) == told])
    ]
    if not made:
        none = t(
            "No change that was promoted this year has an estimate of {what}, so nothing adds up yet.",
            what=words.label(headline.name),
        )
        return f"{none} {missing}".strip()
    warning = t("What was picked because it did well did, on average, a little less well than it seems.")
    return " ".join(part for part in (*made, warning, missing) if part)


def _done(
    changes: Collection[str], gathered: Sequence[ChangeRows], known: Sequence[LedgerChange], as_of_us: int
) -> set[str]:
    """Those of the changes whose version everybody has got."""
    done = {own.change.change_id for own in gathered if own.promoted is not None}
    by_id = {c.change_id: c for c in (*known, *(own.change for own in gathered))}
    for change_id in changes:
        change = by_id.get(change_id)
        if change is None:
            continue
        version = Version(change.model_id, change.from_version, change.to_version)
        event = settled(version, [c for c in known if c.full_switch], change.start_us, as_of_us)
        stage = settled(version, [c for c in known if not c.full_switch], change.start_us, as_of_us)
        if any(e is not None and e.what == "promoted" for e in (event, stage)):
            done.add(change_id)
    return done


def _sum(
    sizes: Sequence[tuple[float, float, float]], headline: Metric, shape: Estimate | None, year: str, *, done: bool
) -> str:
    """What (effect, low, high) of some changes add up to, in a sentence."""
    total = math.fsum(effect for effect, _, _ in sizes)
    # Of one change the interval of its section; of several the distances of their ends, as those of independent errors.
    below = math.hypot(*(effect - low for effect, low, _ in sizes))
    above = math.hypot(*(high - effect for effect, _, high in sizes))
    row = Estimate(
        freeze_id="", month="", change_id="", model_id="", to_version="", metric=headline.name,
        metric_kind=headline.kind, unit="subject", effect=total, decision_low=total - below,
        decision_high=total + above,
        window_h=shape.window_h if shape is not None else headline.window_us / 3_600_000_000,
    )  # fmt: skip
    n = len(sizes)
    told = {
        "n": numbers.count(n),
        "year": year,
        "sum": words.effect(row, total),
        "what": words.label(headline.name),
        "range": words.between(row),
    }
    if done:
        return tn(
            "The one change promoted in {year} adds {sum} to {what} ({range}).",
            "The {n} changes promoted in {year} add up to {sum} of {what} ({range}), if effects neither fade nor meet.",
            n,
            **told,
        )
    return tn(
        "One change is asked to be promoted, and not promoted yet: it would add {sum} to {what} ({range}).",
        "{n} changes are asked to be promoted, and not promoted yet: they would add up to {sum} of {what} ({range}), "
        "if effects neither fade nor meet.",
        n,
        **told,
    )


def _ends(p: Promoted) -> tuple[float, float]:
    if p.low is not None and p.high is not None:
        return p.low, p.high
    half = _Z * (p.se or 0.0)
    return p.effect - half, p.effect + half
