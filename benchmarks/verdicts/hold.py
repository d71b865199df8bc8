"""Do a report's sentences, verdicts, intervals and rows say the same? Every way in which they do not, by name.

It reads what programs read (the record as JSON, the rows of ``estimates``) and the page, and knows of the world its
settings alone: which way is better, margins, what is worth acting on, what was assigned, what was declared.
"""

from __future__ import annotations

import html
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.verdicts.figures import Money, Score
from benchmarks.verdicts.pipe import Told
from benchmarks.verdicts.worlds import Metric, World

Row = Mapping[str, Any]
LEVEL = 0.05
ENDLESS = re.compile(r"\d(?:[,.\u00a0\u202f]?\d){15,}|∞|\b(?:nan|inf)\b")
"""Of a number in words: more digits than anything measured has, or no end at all."""
RANGE = re.compile(r"\(range ([\d.,]+|∞) to ([\d.,]+|∞)\)")
CLEAR = ("better", "worse")
LIMIT_KEPT, LIMIT_BROKEN = "within its limit", "limit broken"


@dataclass(frozen=True, slots=True)
class Contradiction:
    """What contradicts itself: the kind of it, of which change, and both sides in words."""

    kind: str
    change: str
    what: str


@dataclass(frozen=True, slots=True)
class Block:
    """A change's block on the page with what belongs to it."""

    change: Row
    rows: Mapping[str, Row]
    """Of the deciding stage and everybody, by metric."""
    decision: Row | None
    span: Row

    @property
    def effects(self) -> list[Row]:
        """As on the page."""
        return list(self.change["effects"])

    @property
    def texts(self) -> str:
        """Everything that is said of the change, in one."""
        said = [self.change["summary"], self.change["unclear"], *self.change["notes"], self.change["design"]]
        if self.decision is not None:
            said += [self.decision[name] for name in ("why", "sure", "waiting", "action")]
        return " ".join(said)


def contradictions(world: World, told: Told) -> list[Contradiction]:
    """Everything found; empty where the report holds together."""
    found: list[Contradiction] = []
    blocks = list(_blocks(told))
    for block in blocks:
        name = str(block.change["change_id"])
        for check in CHECKS:
            found += [Contradiction(kind, name, what) for kind, what in check(world, block)]
    found += [Contradiction(kind, "", what) for kind, what in _whole(world, told, blocks)]
    return found


def _blocks(told: Told) -> Iterator[Block]:
    findings = told.record["findings"]
    for change in findings["changes"]:
        own = [e for e in told.estimates if e["change_id"] == change["change_id"] and e["dimension"] == "all"]
        decides = [e for e in own if e["verdict"] is not None]
        # Of a question two rows stand beside each other; the one with the family's p decides.
        rows: dict[str, Row] = {}
        for e in decides:
            if e["metric"] not in rows or e["decision_low"] is not None:
                rows[e["metric"]] = e
        decision = next((d for d in findings["decisions"] if d["change_id"] == change["change_id"]), None)
        span = next(s for s in told.record["changes"] if s["change_id"] == change["change_id"])
        yield Block(change, rows, decision, span)


Found = Iterator[tuple[str, str]]
Check = Callable[[World, Block], Found]


def _rows_agree(world: World, b: Block) -> Found:
    """p, interval and SE of one row say the same about 0."""
    for name, e in b.rows.items():
        low, high, p = e["decision_low"], e["decision_high"], e["p_adjusted"]
        if e["decided_by"] is not None and _deny(p, low, high):
            yield "interval and p", f"{name}: deciding interval {low:.4g} to {high:.4g}, adjusted p {p:.3g}"
        if e["effect"] is None:
            continue
        for ends in (("effect_low", "effect_high"), ("decision_low", "decision_high")):
            first, last = (e[end] for end in ends)
            slack = 1e-9 + 1e-6 * abs(e["effect"])
            if first is not None and last is not None and not first - slack <= e["effect"] <= last + slack:
                yield "effect outside", f"{name}: {e['effect']:.4g} outside {first:.4g} to {last:.4g}"
        first, last = e["effect_low"], e["effect_high"]
        if e["p"] is None:
            continue
        if _deny(e["p"], first, last):
            yield "interval and p", f"{name}: 95 % interval {first:.4g} to {last:.4g}, p {e['p']:.3g}"
        if e["se"]:
            z = abs(e["effect"]) / e["se"]
            if (e["p"] <= LEVEL and z < 1.0) or (e["p"] > 0.2 and z > 4):
                yield "SE and p", f"{name}: {z:.1f} standard errors from 0, p {e['p']:.3g}"
        # Of too few days alone p and interval hold (hundreds can enter on one): they are there, and decide nothing.
        days = any(fact["fact"] == "few_days" for fact in e["facts"][:1])
        early = str(e["reason"]).startswith("not enough data") and not days
        if e["decided_by"] is None and e["p"] < LEVEL and early:
            yield "p below a floor", f"{name}: p {e['p']:.2g} of what may not decide: {e['reason'].split(';')[0]}"


def _deny(p: float | None, low: float | None, high: float | None) -> bool:
    """Whether one of p and interval excludes 0 and the other does not."""
    if p is None or low is None or high is None or math.isclose(p, LEVEL, rel_tol=1e-6):
        return False
    return (p <= LEVEL) != (low > 0 or high < 0)


def _levels_agree(world: World, b: Block) -> Found:
    """The two arms' figures differ by the effect beside them, or the figures before stand there too."""
    for effect in b.effects:
        e = b.rows.get(effect["metric"])
        if e is None or e["control"] is None or e["treated"] is None or e["effect"] is None:
            continue
        beyond = next((f for f in e["facts"] if f["fact"] == "shares_beyond"), None)
        if beyond is not None:
            # The p95s of four samples differ by their own luck; what is compared are the shares that the row names, and
            # the effect in ms has their sign.
            apart = beyond["treated"] - beyond["control"] - beyond["treated_before"] + beyond["control_before"]
            named = any("share of requests above" in note for note in effect["notes"])
            if not named or (abs(apart) > 1e-9 and (apart > 0) != (e["effect"] > 0)):
                yield "levels and effect", f"{effect['metric']}: shares {apart:+.4f} beside {effect['difference']}"
            continue
        apart = e["treated"] - e["control"]
        told = [value for key, value in effect.items() if "before" in key and value]
        if e["control_before"] is not None and e["treated_before"] is not None and len(told) == 2:
            apart -= e["treated_before"] - e["control_before"]
        off = abs(apart - e["effect"])
        if off > 0.25 * max(abs(e["effect"]), e["se"] or 0.0) + 1e-9:
            yield (
                "levels and effect",
                f"{effect['metric']}: {effect['control']} → {effect['treated']} beside {effect['difference']}",
            )


def _direction(e: Row, up: bool) -> str:
    low, high = e["decision_low"], e["decision_high"]
    if e["decided_by"] is None or low is None or high is None:
        return "early"
    if low <= 0 <= high:
        return "unclear"
    return "better" if (low > 0) == up else "worse"


def _words_agree(world: World, b: Block) -> Found:
    """The words of a row say what its deciding interval says."""
    ups = {m.name: m.up for m in world.metrics}
    doubted = b.change["verdict"] == "repair the data first"
    for effect in b.effects:
        e = b.rows.get(effect["metric"])
        if e is None:
            yield "row missing", f"{effect['metric']} is on the page and not among the deciding rows"
            continue
        name, wanted = effect["metric"], _direction(e, ups.get(effect["metric"], True))
        said = effect["direction"]
        if said != ("early" if doubted else wanted):
            yield "direction", f"{name}: {said}, and the interval says {wanted}"
        verb, raised = effect["words"], (e["effect"] or 0.0) > 0
        rose = verb.startswith("lifted") or "rise" in verb
        fell = verb.startswith("lowered") or "fall" in verb
        if not doubted and wanted in CLEAR and (rose, fell) != (raised, not raised):
            yield "verb", f"{name}: “{verb}” of {effect['difference']}"
        if (rose or fell) and wanted not in CLEAR:
            yield "verb", f"{name}: “{verb}” where nothing is clear"
        if e["grade"] != "randomised" and verb in ("lifted", "lowered"):
            yield "verb", f"{name}: “{verb}” of a {e['grade']} comparison"
    for text in (b.change["summary"], b.decision["why"] if b.decision else ""):
        for low, high in RANGE.findall(text):
            if not any(_same_range(e, low, high) for e in b.rows.values()):
                yield "two intervals", f"“range {low} to {high}” is no row's deciding interval"


def _same_range(e: Row, low: str, high: str) -> bool:
    ends = [e["decision_low"], e["decision_high"]]
    if None in ends:
        return False
    for scale in (1.0, 100.0):
        near, far = sorted(abs(end) * scale for end in ends)
        if _as_printed(low, near) and _as_printed(high, far):
            return True
    return False


def _as_printed(text: str, value: float) -> bool:
    if text == "∞":
        return math.isinf(value)
    number = text.replace(",", "")
    digits = len(number.partition(".")[2])
    return abs(float(number) - value) <= 0.51 * 10**-digits


def _verdicts_agree(world: World, b: Block) -> Found:
    """Row, block, decision and head of the file give one verdict."""
    given = {e["verdict"] for e in b.rows.values()} | {b.change["verdict"], b.span["verdict"]}
    if b.decision is not None:
        given.add(b.decision["verdict"])
    if len(given - {None}) > 1:
        yield "two verdicts", ", ".join(sorted(str(v) for v in given))


def _ruling_agrees(world: World, b: Block) -> Found:
    """A verdict has the rows that it needs, and none that forbids it."""
    verdict, texts = b.change["verdict"], b.texts
    effects = {e["metric"]: e for e in b.effects}
    guards = [e for e in effects.values() if e["role"] == "guardrail"]
    goals = [e for e in effects.values() if e["role"] == "goal"]
    broken = [e["metric"] for e in guards if e["guard"].startswith(LIMIT_BROKEN)]
    if verdict == "promote":
        if not any(e["direction"] == "better" for e in goals):
            yield "promote without a gain", "no goal's interval lies on the better side"
        for e in goals:
            if e["direction"] == "worse":
                yield "promote with a loss", f"{e['metric']} is worse"
        for m in world.metrics:
            if m.role == "guardrail" and m.name in _seen(b, m) and not _kept(effects.get(m.name)):
                said = effects[m.name]["guard"] if m.name in effects else "it has no row"
                yield "promote with an open limit", f"{m.name}: {said or 'no word of its limit'}"
    if broken and verdict != "roll back":
        yield "limit broken, no roll back", f"{', '.join(broken)} and {verdict}"
    if verdict == "roll back":
        lost = [e["metric"] for e in goals if e["direction"] == "worse"]
        rare = "too few events for a range" in texts
        if not broken and not lost and not rare:
            yield "roll back without a cause", b.decision["why"] if b.decision else b.change["summary"]
        if "broke the limit" in texts and not broken:
            yield "limit broken, row silent", b.decision["why"] if b.decision else b.change["summary"]
    if verdict == "stop, no effect":
        yield from _stops(world, b)


def _seen(b: Block, m: Metric) -> set[str]:
    """A guardrail of which the data holds nothing has no row anywhere."""
    nothing = m.source in ("share", "error") and m.kind.figure(m.levels[0]) == 0.0 == m.effect(1)
    return set() if nothing else {m.name}


def _kept(effect: Row | None) -> bool:
    return effect is not None and effect["guard"].startswith(LIMIT_KEPT)


def _stops(world: World, b: Block) -> Found:
    """*Stop, no effect* needs each goal's interval inside what is worth acting on."""
    metrics = {m.name: m for m in world.metrics}
    for e in b.rows.values():
        m = metrics.get(e["metric"])
        if m is None or m.role != "goal":
            continue
        size = practical_of(m, e)
        if e["decided_by"] is None or e["decision_low"] is None:
            yield "stop of what is not known", f"{m.name}: {str(e['reason']).split(';')[0]}"
        elif size is not None and not (-size <= e["decision_low"] and e["decision_high"] <= size):
            between = f"{e['decision_low']:.4g} to {e['decision_high']:.4g}"
            yield "stop of what may matter", f"{m.name}: {between}, and {size:.4g} is worth acting on"


def practical_of(m: Metric, e: Row) -> float | None:
    """The smallest effect worth acting on (docs/contract.md, metrics)."""
    if m.practical is not None:
        return m.practical
    if isinstance(m.kind, Score):
        return 3.0 if m.kind.nps else 0.1
    if m.source in ("share", "money"):
        return 0.02 * abs(e["control"]) if e["control"] is not None else None
    return m.margin


def _limits_agree(world: World, b: Block) -> Found:
    """What is said of a limit fits the figure beside it, and is said of guardrails alone."""
    metrics = {m.name: m for m in world.metrics}
    for effect in b.effects:
        m, e, said = metrics.get(effect["metric"]), b.rows.get(effect["metric"]), effect["guard"]
        if m is None or e is None or e["effect"] is None:
            continue
        if said and m.role != "guardrail":
            yield "limit of no guardrail", f"{m.name}: {said}"
        if m.role != "guardrail" or m.margin is None:
            continue
        harm = -e["effect"] if m.up else e["effect"]
        if said.startswith(LIMIT_KEPT) and harm >= m.margin:
            yield "limit kept beside harm", f"{m.name}: {effect['difference']} and a limit of {m.margin:.4g}"
        if said.startswith(LIMIT_BROKEN) and harm <= m.margin:
            yield "limit broken beside none", f"{m.name}: {effect['difference']} and a limit of {m.margin:.4g}"
    if b.decision is not None and "inside the limits" in b.decision["why"]:
        for effect in b.effects:
            if effect["role"] == "guardrail" and effect["direction"] == "worse" and not _kept(effect):
                yield "inside the limits", f"{effect['metric']}: {effect['guard'] or 'no word of its limit'}"


def _nothing_clear(world: World, b: Block) -> Found:
    """That nothing is clear is not said beside a row that is."""
    shown = [e for e in b.effects if e["direction"] in CLEAR]
    decides = [e for e in shown if e["role"] != "watch"]
    texts = [b.change["summary"]]
    if b.decision is not None:
        texts += [b.decision["why"], b.decision["sure"]]
    for text in texts:
        spoken_of = [e for e in decides if e["role"] == "goal"] if "goals’ ranges" in text else decides
        if "ranges include no change" in text and spoken_of:
            yield "ranges include no change", f"{spoken_of[0]['metric']} is {spoken_of[0]['direction']}"
        if "No clear change" in text and "anything that was measured" in text and shown:
            yield "no clear change", f"{shown[0]['metric']} is {shown[0]['direction']}"
        if "one side of no change" in text and not shown:
            yield "whole range on one side", text
        if "Not enough data to say anything" in text and any(e["direction"] != "early" for e in b.effects):
            yield "not enough data", text


def _people_agree(world: World, b: Block) -> Found:
    """Who is said to have been assigned, and how, is who was."""
    texts, crowd = b.texts, world.crowd
    if crowd.cluster in ("courier", "zone", "block") and re.search(r"customers (were|are) (assigned|drawn)", texts):
        yield "wrong people", "customers were assigned"
    drawn = crowd.cluster != "day" and any(c.get("assignment") == "random" for c in crowd.declared)
    if b.span["kind"] in ("switch", "rollback"):
        drawn = crowd.design == "canary then switch"
    # Labels alone are as drawn where the sample ratio and the days before both say so: the row's grade tells.
    drawn |= crowd.design in ("labels only", "ramp, undeclared") and b.change["grade"] == "randomised"
    if not drawn and re.search(r"(assigned|drawn) at random", texts):
        yield "at random of what nobody declared", b.change["design"]


def _whole(world: World, told: Told, blocks: list[Block]) -> Found:
    """What concerns the month: numbers without end, what the page leaves out, one version asked for twice."""
    findings = told.record["findings"]
    for where, value in _leaves(findings):
        if isinstance(value, float) and not math.isfinite(value):
            yield "endless number", f"{where}: {value}"
        elif isinstance(value, str) and not where.endswith(("freeze_id", "anchor")) and ENDLESS.search(value):
            yield "endless number", f"{where}: {value[:120]}"
    for e in told.estimates:
        if ENDLESS.search(str(e["reason"])):
            yield "endless number", f"reason of {e['metric']}: {str(e['reason'])[:120]}"
    asked: dict[str, dict[str, str]] = {}
    for b in blocks:
        if b.decision is not None:
            asked.setdefault(str(b.span["to_version"]), {})[str(b.decision["verdict"])] = str(b.decision["action"])
        for text in (b.change["summary"], *((b.decision["action"], b.decision["why"]) if b.decision else ())):
            if text and html.escape(text, quote=False) not in told.page and html.escape(text) not in told.page:
                yield "not on the page", text[:120]
    for version, actions in asked.items():
        if len(actions) > 1:
            yield "asked twice", f"{version}: {' / '.join(sorted(actions.values()))}"


def _leaves(value: Any, where: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _leaves(item, f"{where}.{key}")
    elif isinstance(value, list | tuple):
        for i, item in enumerate(value):
            yield from _leaves(item, f"{where}[{i}]")
    else:
        yield where, value


CHECKS: tuple[Check, ...] = (
    _rows_agree, _levels_agree, _words_agree, _verdicts_agree, _ruling_agrees, _limits_agree, _nothing_clear,
    _people_agree,
)  # fmt: skip

__all__ = ["CHECKS", "Contradiction", "Money", "contradictions", "practical_of"]
