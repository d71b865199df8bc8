"""What does an estimate's reason say? The parts that analysis wrote, read back and said in the report's language.

`analysis.rows` joins the parts of a reason with ``; ``. What is not known here is shown as it was written.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from edgeloop.store.rows import Estimate, Verdict
from reports import foreign, numbers, words
from reports.language import t

_NUMBER = r"(-?[\d.]+(?:e[+-]?\d+)?)"
_BOUNDS = re.compile(rf"if the arms' silent differ, between {_NUMBER} and {_NUMBER} \(Lee\)")
_TIPS = re.compile(rf"undone if the new version's silent scored {_NUMBER} (lower|higher) than its weights say")
_PLAIN = re.compile(rf"weighted for who answers; unweighted {_NUMBER}")
_GUARD = re.compile(rf"guardrail (breach|cleared|open)(?:: harm up to {_NUMBER} is not ruled out)?")
_ROLLED_BACK = re.compile(r"(?:^|; )roll back: (guardrail breached|worse): ([^;]+)")
_DIFFER = re.compile(rf"the effects differ between \w+s \(p = {_NUMBER}\)")


class Silent(NamedTuple):
    """What those who did not answer could do to a weighted effect, in the metric's unit."""

    low: float
    high: float
    tips: float | None
    """How much lower (below 0: higher) the new version's silent would have to score to undo the effect."""


def parts(e: Estimate) -> list[str]:
    """The parts of a reason; the first is the one that counts."""
    return [part for part in (e.reason or "").split("; ") if part]


def silent(e: Estimate) -> Silent | None:
    """Bounds and tipping point of a question; None where none were told."""
    found = _BOUNDS.search(e.reason or "")
    if found is None:
        return None
    tips = _TIPS.search(e.reason or "")
    x = None if tips is None else float(tips[1]) * (1 if tips[2] == "lower" else -1)
    return Silent(float(found[1]), float(found[2]), x)


def unweighted(e: Estimate) -> float | None:
    """The plain difference beside a weighted one."""
    found = _PLAIN.search(e.reason or "")
    return None if found is None else float(found[1])


def guard(e: Estimate) -> tuple[str, float | None] | None:
    """(``breach``, ``cleared`` or ``open``; the harm that is not ruled out); None where it is no guardrail."""
    found = _GUARD.search(e.reason or "")
    return None if found is None else (found[1], None if found[2] is None else float(found[2]))


def differs(e: Estimate) -> bool:
    """Of a segment's row: whether the effects of its dimension differ."""
    return _DIFFER.search(e.reason or "") is not None


def left_out(e: Estimate) -> str:
    """That values in other currencies are not in a sum; empty where none are."""
    found = re.search(r"(?:^|; )([^;]*) only; (\d+) values in another currency left out", e.reason or "")
    if found is None:
        return ""
    n = numbers.count(int(found[2]))
    if found[1] == "values without a currency":
        return t("values without a currency only; {n} in a currency left out", n=n)
    return t("{currency} only; {n} values in another currency left out", currency=found[1], n=n)


def ruling(rows: Sequence[Estimate], verdict: Verdict) -> str:
    """Why the verdict is what it is, as a sentence; empty where no row says so, or where the figures say it better."""
    for e in rows:
        whole = e.reason or ""
        start = whole.find(f"; {verdict}: ")
        if start < 0:
            continue
        why = whole[start + len(verdict) + 4 :]
        for pattern, say in _RULINGS:
            found = pattern.match(why)
            if found is not None:
                return say(found)
    return ""


def rolled_back_by(rows: Sequence[Estimate]) -> tuple[str, tuple[str, ...]] | None:
    """(``guardrail`` or ``goal``, the metrics that a roll back rests on); None where no row tells."""
    for e in rows:
        found = _ROLLED_BACK.search(e.reason or "")
        if found is not None:
            return ("guardrail" if found[1] == "guardrail breached" else "goal"), tuple(found[2].split(", "))
    return None


def said(reason: str) -> str:
    """One part, or the parts of a floor, in words without a full stop."""
    text = reason.removeprefix("repair the data first: ").removeprefix("not enough data: ")
    for pattern, say in _KNOWN:
        found = pattern.match(text)
        if found is not None:
            return say(found)
    return text


def floor(e: Estimate) -> str:
    """Why a row may not decide."""
    reason = (e.reason or "").removeprefix("not enough data: ")
    for pattern, say in _KNOWN:
        found = pattern.match(reason)
        if found is not None:
            return say(found)
    return said(parts(e)[0]) if parts(e) else t("not enough data")


def _n(text: str) -> str:
    return numbers.count(int(text))


def _p(text: str) -> str:
    return numbers.p_value(float(text))


def _metrics(text: str) -> str:
    return numbers.joined([foreign.quoted(words.label(name)) for name in text.split(", ")])


_RULINGS: list[tuple[re.Pattern[str], Callable[[re.Match[str]], str]]] = [
    (
        re.compile(r"guardrail breached: ([^;]+)"),
        lambda m: t("It broke the limit of {metrics}.", metrics=_metrics(m[1])),
    ),
    (
        re.compile(r"worse: ([^;]+)"),  # where no range says it, for there are too few events for one
        lambda m: t(
            "It made {metrics} worse: too few events for a range, yet more apart than chance puts them.",
            metrics=_metrics(m[1]),
        ),
    ),
    (
        re.compile(r"guardrails not cleared yet: ([^;]+)"),
        lambda m: t("That {metrics} kept their limits is not shown yet.", metrics=_metrics(m[1])),
    ),
    (
        re.compile(r"guardrails that cannot be cleared: ([^;]+)"),
        lambda m: t("That {metrics} kept their limits cannot be shown in time.", metrics=_metrics(m[1])),
    ),
    (
        re.compile(r"every goal's whole range is smaller than what is worth acting on"),
        lambda _: t("Whatever it did is smaller than what is worth acting on."),
    ),
    (
        re.compile(r"none of a size worth acting on could be shown"),
        lambda _: t("No effect of a size worth acting on could be shown, and none would show within four weeks."),
    ),
    (
        re.compile(r"(\d+) of (\d+) full entry days with complete windows"),
        lambda m: t("So far {n} of {needed} full days have complete windows.", n=_n(m[1]), needed=_n(m[2])),
    ),
]


_KNOWN: list[tuple[re.Pattern[str], Callable[[re.Match[str]], str]]] = [
    (
        re.compile(r"(\d+) and (\d+) people answered \(control, new version\); (\d+) in each are needed"),
        lambda m: t("{old} and {new} people answered; {needed} in each are needed",
                    old=_n(m[1]), new=_n(m[2]), needed=_n(m[3])),
    ),
    (
        re.compile(
            r"(\d+) and (\d+) people with the event \(control, new version\); "
            r"(\d+) in each and (\d+) in both are needed"
        ),
        lambda m: t("{old} and {new} people with the event; {each} in each and {both} together are needed",
                    old=_n(m[1]), new=_n(m[2]), each=_n(m[3]), both=_n(m[4])),
    ),
    (
        re.compile(
            r"(\d+) and (\d+) people with a sum \(control, new version\); (\d+) in each and (\d+) in both are needed"
        ),
        lambda m: t("{old} and {new} people with a sum; {each} in each and {both} together are needed",
                    old=_n(m[1]), new=_n(m[2]), each=_n(m[3]), both=_n(m[4])),
    ),
    (
        re.compile(r"(\d+) of (\d+) full entry days with complete windows"),
        lambda m: t("{n} of {needed} full days with complete windows", n=_n(m[1]), needed=_n(m[2])),
    ),
    (
        re.compile(r"(\d+) complete days before the switch, (\d+) are needed to judge (\d+) after it"),
        lambda m: t("{n} complete days before the switch, {needed} are needed to judge {after} after it",
                    n=_n(m[1]), needed=_n(m[2]), after=_n(m[3])),
    ),
    (
        re.compile(r"(\d+) possible assignments; (\d+) are needed for a test"),
        lambda m: t("{n} possible assignments; {needed} are needed for a test", n=_n(m[1]), needed=_n(m[2])),
    ),
    (re.compile(r"it has not begun yet"), lambda _: t("it has not begun yet")),
    (re.compile(r"nothing varie[sd]"), lambda _: t("nothing varies in what was measured")),
    (
        re.compile(r"nobody in either arm has a complete window yet"),
        lambda _: t("nobody in either arm has a complete window yet"),
    ),
    (re.compile(r"no event or answer in any window"), lambda _: t("no event or answer in any window")),
    (
        re.compile(r"no day after the switch is complete yet"),
        lambda _: t("no day after the switch is complete yet"),
    ),
    (
        re.compile(r"nothing is known of the days before the switch"),
        lambda _: t("nothing is known of the days before the switch"),
    ),
    (re.compile(r"no goal has data yet"), lambda _: t("no goal has data yet")),
    (
        re.compile(r"who got the new version was chosen, not drawn"),
        lambda _: t("who got the new version was chosen, not drawn, so the arms cannot be compared"),
    ),
    (
        re.compile(r"no rollout_id and no declared random assignment"),
        lambda _: t("nothing says that customers were drawn at random, so the arms cannot be compared"),
    ),
    (
        re.compile(r"the rollout's arms are not labelled"),
        lambda _: t("nothing says which of the versions side by side is the old one"),
    ),
    (
        re.compile(r"the rollout has no arm named stable"),
        lambda _: t("the rollout has no arm named stable to compare with"),
    ),
    (
        re.compile(rf"units are not shared out as declared, over all stages \(p = {_NUMBER}\)"),
        lambda m: t("customers are not shared out over the versions as planned, over all stages (p {p})", p=_p(m[1])),
    ),
    (
        re.compile(rf"units are not shared out as declared \(p = {_NUMBER}\)"),
        lambda m: t("customers are not shared out over the versions as planned (p {p})", p=_p(m[1])),
    ),
    (
        re.compile(r"the arms' share changes from day to day"),
        lambda _: t("the versions’ shares change from day to day"),
    ),
    (
        re.compile(r"(\d[\d.]*)% of the units met two arms \(at most (\d+)%\)"),
        lambda m: t("{share} of the customers met both versions (at most {most})",
                    share=numbers.percent(float(m[1]) / 100), most=numbers.percent(int(m[2]) / 100, 0)),
    ),
    (
        re.compile(r"an arm was silent on (\d+) days while the other spoke"),
        lambda m: t("one version was silent on {n} days while the other was in use", n=_n(m[1])),
    ),
    (
        re.compile(r"the arms differed in (.+?) before they met the change"),
        lambda m: t("the customers of both versions differed in “{metric}” before they met the change",
                    metric=words.label(m[1])),
    ),
    (
        re.compile(r"only (\d+)% of the outcomes meet an exposure \((\d+)% in the weeks before\)"),
        lambda m: t("only {share} of the outcomes can be joined to an exposure ({before} in the weeks before)",
                    share=numbers.percent(int(m[1]) / 100, 0), before=numbers.percent(int(m[2]) / 100, 0)),
    ),
]  # fmt: skip
