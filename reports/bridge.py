"""How did last month become this month? The bridge as printed: its bars sum to the last digit that is shown.

Each bar is rounded for itself, and what is unexplained is what then remains (docs/meaning.md, "The bridge").
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from analysis import Analysis, Metric
from edgeloop.store.rows import Bar, Estimate
from reports import foreign, numbers, words
from reports.findings import BarKind, Bridge, BridgeBar
from reports.gathered import ChangeRows
from reports.language import t

_KINDS: dict[str, BarKind] = {
    "calendar": "calendar", "mix": "mix", "version": "version", "interaction": "interaction",
}  # fmt: skip
_SHARE_DIGITS, _SCORE_DIGITS = 2, 2


def bridge(analysis: Analysis, gathered: Sequence[ChangeRows], month: str, previous: str, timezone: str) -> Bridge:
    """The section; ``month`` and ``previous`` as printed, ``timezone`` the company's."""
    bars = analysis.bridge
    ends = {b.bar: b for b in bars}
    if "month 0" not in ends or "month 1" not in ends:
        return Bridge(_missing(analysis, previous))
    if not all(math.isfinite(b.value) for b in bars):
        return Bridge(t("There is no bridge: one of its figures could not be computed."))
    metric = next((m for m in analysis.metrics if m.name == bars[0].metric), None)
    made = _Printed(bars[0].metric, metric)
    titles = _Changes(gathered, analysis)
    steps = [b for b in bars if b.bar in ("calendar", "mix", "version", "interaction")]
    start, end = made.units(ends["month 0"].value), made.units(ends["month 1"].value)
    drawn: list[BridgeBar] = []
    if "late data" in ends:
        late = made.units(ends["late data"].value)
        drawn.append(made.total(t("{month}, as reported then", month=previous), start - late))
        drawn.append(made.step("late", t("Late data"), start - late, start, None))
    drawn.append(made.total(t("{month}, as known now", month=previous) if "late data" in ends else previous, start))
    at = start
    for b in steps:
        after = at + made.units(b.value)
        own = titles.rows.get(b.change_id or "")
        drawn.append(made.step(_KINDS[b.bar], _label(b, titles), at, after, b, own, hatched=titles.hatched(b)))
        at = after
    drawn.append(made.step("unexplained", t("Not explained"), at, end, ends["unexplained"]))
    drawn.append(made.total(month, end))
    return Bridge(
        _summary(made, ends, steps, (month, previous)),
        words.capital(made.label),
        tuple(drawn),
        (*_notes(analysis, bars, titles, made), *_untold(analysis, previous, timezone)),
    )


class _Changes:
    """What the bridge knows of the changes behind its bars, also of those that ended before the month."""

    def __init__(self, gathered: Sequence[ChangeRows], analysis: Analysis) -> None:
        self.rows = {own.change.change_id: own for own in gathered}
        self._titles = {c.change_id: c.title for c in analysis.known}
        self._tests = {fact.change_id: fact for fact in analysis.promoted.values()} | dict(analysis.promoted)

    def title(self, change_id: str) -> str:
        """In quotation marks."""
        own = self.rows.get(change_id)
        if own is not None:
            return own.title
        known = self._titles.get(change_id)
        return foreign.name(change_id) if known is None else foreign.quoted(known)

    def hatched(self, b: Bar) -> bool:
        """Whether the bar rests on a comparison without a draw."""
        if b.bar != "version":
            return False
        own, test = self.rows.get(b.change_id or ""), self._tests.get(b.change_id or "")
        e = None if own is None or own.after is not None else _of(own, b.metric)
        if e is not None and e.grade is not None:
            return e.grade != "randomised"
        if test is not None:
            return test.grade != "randomised"
        return own is not None and own.grade != "randomised"


def _noun(name: str, metric: Metric | None) -> str:
    if metric is not None and metric.kind == "proportion":
        return words.share_of_customers(name)
    return words.value_per_customer(name) if metric is not None and metric.source == "sum" else words.score(name)


class _Printed:
    """A metric's figures in whole units of the last digit that is printed."""

    def __init__(self, name: str, metric: Metric | None) -> None:
        kind = metric.kind if metric is not None else "mean"
        self.share = kind == "proportion"
        self.digits = 1 if kind == "nps" else _SHARE_DIGITS if self.share else _SCORE_DIGITS
        self.currency = metric.currency if metric is not None else None
        self.label = words.label(name)
        self.noun = _noun(name, metric)
        self.counted = metric is not None and metric.source in ("share", "sum")

    def units(self, value: float) -> int:
        """Rounded to what is printed."""
        return round(value * (100 if self.share else 1) * 10.0**self.digits)

    def figure(self, units: float) -> str:
        """A month's figure."""
        value = units / 10.0**self.digits
        if self.share:
            return numbers.percent(value / 100, self.digits)
        return numbers.money(value, self.currency, self.digits) if self.currency else numbers.number(value, self.digits)

    def difference(self, units: float) -> str:
        """What a bar adds."""
        return self._with_unit(self._signed(units))

    def _with_unit(self, text: str) -> str:
        return t("{number}\N{NO-BREAK SPACE}pp", number=text) if self.share else text

    def _rounded(self, end: float) -> float:
        return self.units(end) if math.isfinite(end) else end

    def _signed(self, units: float) -> str:
        return numbers.signed(units / 10.0**self.digits, self.digits)

    def total(self, label: str, at: int) -> BridgeBar:
        """A month."""
        return BridgeBar("figure", label, at, at, self.figure(at))

    def step(
        self,
        kind: BarKind,
        label: str,
        start: int,
        end: int,
        bar: Bar | None,
        own: ChangeRows | None = None,
        *,
        hatched: bool = False,
    ) -> BridgeBar:
        """A bar from where the one before ended."""
        low = high = None
        between = ""
        if bar is not None and bar.low is not None and bar.high is not None:
            between = numbers.span(bar.low, bar.high, lambda end: self._signed(self._rounded(end)), self._with_unit)
            low, high = (start + self.units(v) if math.isfinite(v) else None for v in (bar.low, bar.high))
        return BridgeBar(
            kind,
            label,
            start,
            end,
            self.difference(end - start),
            between,
            low,
            high,
            hatched,
            own.anchor if own is not None else "",
        )


def _label(b: Bar, titles: _Changes) -> str:
    if b.bar == "calendar":
        return t("Calendar: working days, Saturdays, Sundays")
    if b.bar == "mix":
        return t("Mix: other zones, touchpoints, newcomers")
    if b.bar == "interaction":
        names = [titles.title(part) for part in (b.change_id or "").split(" × ")]
        return t("{changes} together, beyond the sum", changes=numbers.joined(names))
    return titles.title(b.change_id or "")


def _of(own: ChangeRows, metric: str) -> Estimate | None:
    return next((e for e in (*own.rows, *own.others) if e.metric == metric), None)


def _summary(
    made: _Printed,
    ends: dict[str, Bar],
    steps: Sequence[Bar],
    months: tuple[str, str],
) -> str:
    change = made.units(ends["month 1"].value) - made.units(ends["month 0"].value)
    told = {
        "what": words.capital(made.noun),
        "before": made.figure(made.units(ends["month 0"].value)),
        "after": made.figure(made.units(ends["month 1"].value)),
        "difference": made.difference(change),
        "month": months[0],
        "previous": months[1],
    }
    said = (
        t("{what} stayed at {after} from {previous} to {month}.", **told)
        if change == 0
        else t("{what} went from {before} in {previous} to {after} in {month} ({difference}).", **told)
    )
    versions = [b for b in steps if b.bar in ("version", "interaction")]
    if not versions:
        return said + " " + t("No part of that can be put down to a version change.")
    of_versions = sum(made.units(b.value) for b in versions)
    rest = change - of_versions
    return (
        said
        + " "
        + t(
            "Version changes account for {versions}, everything else for {rest}.",
            versions=made.difference(of_versions),
            rest=made.difference(rest),
        )
    )


def _notes(analysis: Analysis, bars: Sequence[Bar], titles: _Changes, made: _Printed) -> tuple[str, ...]:
    text = []
    if analysis.unnamed:
        names = numbers.joined([titles.title(change_id) for change_id in analysis.unnamed])
        text.append(t("Without an estimate, and so in what is not explained: {changes}.", changes=names))
    if any(titles.hatched(b) for b in bars):
        text.append(t("Hatched: not assigned at random, so the bar may hold other causes."))
    ends = {b.bar: b for b in bars}
    if made.counted and "total" in ends and "volume" in ends:
        total, volume = ends["total"].value, ends["volume"].value
        told = {"total": numbers.signed(total, 0), "volume": numbers.signed(volume, 0), "what": made.label}
        if made.share:
            text.append(
                t(
                    "Over the whole month that is {total} customers with “{what}”, of which {volume} because more or "
                    "fewer customers met a model.",
                    **told,
                )
            )
        else:
            text.append(
                t(
                    "Over the whole month that is {total} {currency} of “{what}”, of which {volume} because more or "
                    "fewer customers met a model.",
                    currency=made.currency or "",
                    **told,
                )
            )
    return tuple(text)


def _untold(analysis: Analysis, previous: str, timezone: str) -> tuple[str, ...]:
    if analysis.untold_us is None:
        return ()
    text = t(
        "New and returning customers are not told apart: the data begin on {day}, less than 28 days before {month}.",
        day=numbers.day(analysis.untold_us, timezone),
        month=previous,
    )
    return (text,)


def _missing(analysis: Analysis, previous: str) -> str:
    if not any(m.headline for m in analysis.metrics):
        return t("There is no bridge: nothing was recorded of the headline metric.")
    return t(
        "There is no bridge from {previous}: one of the two months has no customer whose window is over.",
        previous=previous,
    )
