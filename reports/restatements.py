"""How far did last month's figures move since its report? What was printed, beside the same month estimated again now.

Both come from this month's freeze: the printed rows from its manifest, the new ones from its tables, which know what
arrived since and whose windows are complete by now.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from analysis import Analysis
from edgeloop.store.freeze import PrintedMonth, PrintedRow
from edgeloop.store.rows import Estimate, Verdict
from reports import foreign, numbers, words
from reports.findings import Restated, RestatedVerdict, Restatements
from reports.language import t, tn

MOST_SHOWN = 12
_LATE = "late data"
Key = tuple[str, int, str, str]


def restatements(printed: PrintedMonth | None, again: Analysis | None, this: Analysis) -> Restatements:
    """The section.

    Args:
        printed: what last month's report said; None where it has none.
        again: last month estimated from this month's freeze.
        this: this month's, whose bridge has the bar "late data" of the headline.
    """
    if printed is None or again is None:
        text = t("Last month has no final report, so nothing could move since.")
        return Restatements(standing=text, summary=text)
    titles = {c.change_id: c.title for c in again.changes}
    then = {_key(row): _estimate(row) for row in printed.rows if row.decision_low is not None or row.endless}
    now = {_key(e): e for e in again.estimates if e.dimension == "all" and e.decision_low is not None}
    pairs = [(key, then.get(key), now.get(key)) for key in sorted({*then, *now})]
    moved = [pair for pair in pairs if _shown(pair[1]) != _shown(pair[2])]
    moved.sort(key=lambda pair: (-_distance(pair[1], pair[2]), pair[0]))
    rows = tuple(_row(key, a, b, titles, printed.redefined) for key, a, b in moved)
    verdicts = _verdicts(printed, again, titles)
    summary = _summary(len(pairs), len(moved), len(verdicts))
    if printed.redefined:
        labels = numbers.joined([foreign.quoted(words.label(name)) for name in printed.redefined])
        summary += " " + t("Defined otherwise since then: {metrics}.", metrics=labels)
    return Restatements(
        standing=_standing(this, len(verdicts)) or summary,
        summary=summary,
        caption=_caption(len(rows)),
        shown=min(len(rows), MOST_SHOWN),
        rows=rows,
        verdicts=verdicts,
    )


def _key(row: PrintedRow | Estimate) -> Key:
    return (row.change_id, row.stage, row.metric, row.respondent or "")


def _estimate(row: PrintedRow) -> Estimate:
    """The row as an estimate, for the words that tell estimates."""
    told = {name: getattr(row, name) for name in row.__struct_fields__ if name != "endless"}
    if row.endless in ("low", "both"):
        told["decision_low"] = -math.inf
    if row.endless in ("high", "both"):
        told["decision_high"] = math.inf
    return Estimate(freeze_id="", month="", model_id="", to_version="", unit="", **told)


def _shown(e: Estimate | None) -> tuple[str, str]:
    if e is None or e.effect is None:
        return "", ""
    return words.effect(e, e.effect), words.between(e)


def _distance(then: Estimate | None, now: Estimate | None) -> float:
    """The move in half widths of the printed interval; what is told only once moved furthest."""
    if then is None or now is None or then.effect is None or now.effect is None:
        return float("inf")
    half = ((then.decision_high or 0.0) - (then.decision_low or 0.0)) / 2
    return abs(now.effect - then.effect) / half if half > 0 else 0.0


def _row(
    key: Key, then: Estimate | None, now: Estimate | None, titles: Mapping[str, str], redefined: Sequence[str]
) -> Restated:
    change_id, stage, metric, respondent = key
    notes = []
    if then is None:
        notes.append(t("not told in the report"))
    if now is None:
        notes.append(t("cannot be told any more"))
    if metric in redefined:
        notes.append(t("the metric is defined otherwise now"))
    if respondent == "agent":
        notes.append(t("of delivery agents"))
    difference = ""
    if then is not None and now is not None and then.effect is not None and now.effect is not None:
        difference = words.effect(now, now.effect - then.effect)
    return Restated(
        change_id=change_id,
        change=titles.get(change_id, change_id),
        stage=stage,
        metric=metric,
        label=words.capital(words.label(metric)),
        printed=_shown(then)[0],
        printed_between=_shown(then)[1],
        now=_shown(now)[0],
        now_between=_shown(now)[1],
        moved=difference,
        notes=tuple(notes),
    )


def _verdicts(printed: PrintedMonth, again: Analysis, titles: Mapping[str, str]) -> tuple[RestatedVerdict, ...]:
    then = {row.change_id: row.verdict for row in printed.rows if row.verdict is not None}
    now = {e.change_id: e.verdict for e in again.estimates if e.verdict is not None}
    return tuple(
        RestatedVerdict(
            change_id=change,
            change=titles.get(change, change),
            printed=_verdict(then.get(change)),
            now=_verdict(now.get(change)),
        )
        for change in sorted({*then, *now})
        if then.get(change) != now.get(change)
    )


def _verdict(found: Verdict | None) -> str:
    return t("no verdict") if found is None else words.verdict(found)


def _summary(told: int, moved: int, verdicts: int) -> str:
    if not moved and not verdicts:
        return t("Last month’s figures stand as its report had them.")
    figures = tn(
        "Of {told} figures of last month {moved} is another now than in its report.",
        "Of {told} figures of last month {moved} are others now than in its report.",
        moved,
        told=numbers.count(told),
        moved=numbers.count(moved),
    )
    if not verdicts:
        return figures + " " + t("No verdict would be another.")
    return figures + " " + _others(verdicts)


def _caption(rows: int) -> str:
    if rows <= MOST_SHOWN:
        return t("Figures that moved")
    return t(
        "Figures that moved: the {shown} that moved furthest of {rows}; all are in the CSV",
        shown=numbers.count(MOST_SHOWN),
        rows=numbers.count(rows),
    )


def _others(verdicts: int) -> str:
    return tn(
        "One verdict would be another now.",
        "{count} verdicts would be others now.",
        verdicts,
        count=numbers.count(verdicts),
    )


def _standing(this: Analysis, verdicts: int) -> str:
    """How far the headline of last month moved; empty where the bridge does not tell."""
    bar = next((b for b in this.bridge if b.bar == _LATE), None)
    metric = next((m for m in this.metrics if bar is not None and m.name == bar.metric), None)
    if bar is None or metric is None:
        return ""
    written = words.effect(
        Estimate(
            freeze_id="", month="", change_id="", model_id="", to_version="", unit="", metric=metric.name,
            metric_kind=metric.kind, window_h=1.0 if metric.window_us else None,
        ),
        bar.value,
    )  # fmt: skip
    label = words.label(metric.name)
    if not any(c in "123456789" for c in written):
        text = t("Last month’s “{metric}” is as its report had it.", metric=label)
    else:
        text = t("Last month’s “{metric}” moved by {difference} since its report.", metric=label, difference=written)
    return f"{text} {_others(verdicts)}" if verdicts else text
