"""Did it help everybody alike? Only where the effects differ; what was looked at and does not differ stays unsaid."""

from __future__ import annotations

from edgeloop.store import facts
from edgeloop.store.rows import Estimate
from reports import foreign, numbers, reasons, units, words
from reports.findings import Segment, Split
from reports.gathered import ChangeRows, end, scale, strength
from reports.language import t

MOST_SPLITS, MOST_PARTS = 4, 8


def splits(own: ChangeRows) -> tuple[Split, ...]:
    """The metrics × dimensions of a change whose gate is open, those with the clearest parts first."""
    groups: dict[tuple[str, str], list[Estimate]] = {}
    for e in own.parted:
        if (
            reasons.of(e, facts.Differ) is not None
            and e.effect is not None
            and e.decision_low is not None
            and e.decision_high is not None
        ):
            groups.setdefault((e.metric, e.dimension), []).append(e)
    ranked = sorted(groups.items(), key=lambda item: (-max(strength(e) for e in item[1]), item[0]))
    return tuple(
        _split(own, str(i), metric, dimension, rows)
        for i, ((metric, dimension), rows) in enumerate(ranked[:MOST_SPLITS])
    )


def _split(own: ChangeRows, anchor: str, metric: str, dimension: str, rows: list[Estimate]) -> Split:
    shown = sorted(rows, key=lambda e: (-((e.n_control or 0) + (e.n_treated or 0)), e.segment))[:MOST_PARTS]
    parts = tuple(_part(own, e) for e in sorted(shown, key=lambda e: (-(e.effect or 0.0), e.segment)))
    return Split(
        anchor,
        words.capital(words.label(metric)),
        words.dimension(dimension),
        parts,
        len(rows) - len(parts),
        units.title(own.unit),
    )


def _part(own: ChangeRows, e: Estimate) -> Segment:
    found = own.direction(e)
    return Segment(
        name=_name(e.segment),
        n=numbers.count((e.n_control or 0) + (e.n_treated or 0)),
        scale=scale(e),
        effect=e.effect or 0.0,
        low=end(e.decision_low),
        high=end(e.decision_high),
        difference=words.effect(e, e.effect or 0.0),
        between=words.between(e),
        direction=found,
        certainty=words.certainty(found),
    )


def _name(value: str) -> str:
    ours = {"other": t("all others"), "unknown": t("not known"), "new": t("new"), "returning": t("returning")}
    return ours.get(value) or foreign.name(value, 60)
