"""Does an effect change from week to week? What the page and its decisions say of it."""

from __future__ import annotations

from reports import foreign, words
from reports.gathered import ChangeRows
from reports.language import t


def told(own: ChangeRows, metric: str | None = None) -> list[str]:
    """A sentence for each clear effect that does, or for that on one metric."""
    made = []
    for check in own.checks:
        if not check.check.startswith("novelty:") or check.state != "warn" or check.value is None:
            continue
        e = next((e for e in own.rows if e.metric == check.check.removeprefix("novelty:")), None)
        if e is not None and metric not in (None, e.metric):
            continue
        if e is None or own.direction(e) not in ("better", "worse") or e.stage != check.stage:
            continue
        what, slope = foreign.quoted(words.label(e.metric)), words.effect(e, check.value)
        # Away from no change it grows, whichever side it is on.
        grows = (check.value > 0) == ((e.effect or 0.0) > 0)
        made.append(_told(what, slope, grows=grows, harm=own.direction(e) == "worse"))
    return made


def _told(what: str, slope: str, *, grows: bool, harm: bool) -> str:
    if grows and harm:
        return t("The harm to {what} still grows from week to week ({slope} a week).", what=what, slope=slope)
    if grows:
        return t("The effect on {what} still grows from week to week ({slope} a week).", what=what, slope=slope)
    if harm:
        return t(
            "The harm to {what} wears off from week to week ({slope} a week): people may be getting used to what is "
            "new.",
            what=what,
            slope=slope,
        )
    return t(
        "The effect on {what} wears off from week to week ({slope} a week): it may be the charm of what is new.",
        what=what,
        slope=slope,
    )
