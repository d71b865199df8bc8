"""Sentences are held to a table of the test's own: signs of low and high × grade × enough data → what may be said.

The expectation uses no wording of ours. Each finding goes through the whole page, and the same judge must refuse the
page of a finding whose signs were flipped after the page was written.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path

import pytest

import reports
from analysis import Analysis, LedgerChange, Stage
from edgeloop.store import facts
from edgeloop.store.facts import AnyFact, FewDays, Ruled
from edgeloop.store.freeze import Freeze
from edgeloop.store.rows import Estimate
from tests import report_fixture as fixture

FINDINGS = 2_000
EACH = 50
"""Findings on one page."""

# What a sentence may say of a finding, and the words that no other finding may have.
SAID = {
    ("randomised", "up"): "lifted",
    ("randomised", "down"): "lowered",
    ("labelled", "up"): "was followed by a rise in",
    ("labelled", "down"): "was followed by a fall in",
    ("quasi", "up"): "was followed by a rise in",
    ("quasi", "down"): "was followed by a fall in",
    ("before_after", "up"): "was followed by a rise in",
    ("before_after", "down"): "was followed by a fall in",
}
NOTHING = ("No clear change in anything that was measured.", "Not enough data to say anything yet.")
EVERY = {*SAID.values(), *NOTHING}
CAUSAL = re.compile(r"\b(lifted|lowered|caused|improved|raised|reduced|increased|decreased|led to)\b")


@dataclass(frozen=True)
class Finding:
    """One change with one metric; ``n`` says whether there is enough data."""

    low: float
    high: float
    grade: str
    enough: bool
    kind: str
    lower_is_better: bool

    @property
    def way(self) -> str:
        """From the signs alone."""
        if self.low > 0 and self.high > 0:
            return "up"
        if self.low < 0 and self.high < 0:
            return "down"
        return "flat"

    @property
    def flipped(self) -> Finding:
        """The same with both signs turned."""
        return Finding(-self.high, -self.low, self.grade, self.enough, self.kind, self.lower_is_better)


@dataclass(frozen=True)
class Block:
    """What the page says of one change."""

    summary: str
    row: str
    picture: str


def allowed(f: Finding) -> str:
    """The one thing that may be said."""
    if not f.enough:
        return NOTHING[1]
    return NOTHING[0] if f.way == "flat" else SAID[f.grade, f.way]


def complaints(f: Finding, block: Block) -> list[str]:
    """What is wrong with a block, by the table alone."""
    wanted, found = allowed(f), []
    if wanted not in block.summary:
        found.append(f"{wanted!r} is not said")
    found += [f"{other!r} is said" for other in EVERY - {wanted} if other in block.summary + block.row]
    if f.grade != "randomised" and CAUSAL.search(block.summary + block.row):
        found.append("a causal verb without a draw")
    sure = "too early" if not f.enough else "not clear" if f.way == "flat" else "clear"
    side = {"up": "better", "down": "worse", "flat": ""}[f.way] if f.enough else ""
    if f.lower_is_better and side:
        side = {"better": "worse", "worse": "better"}[side]
    if sure == "too early":
        if "Too early to tell" not in block.row:
            found.append("it is not called too early")
    else:
        if not block.picture.endswith(f"; {sure}"):
            found.append(f"the picture does not say {sure!r}")
        told = re.search(r"● clear (better|worse)", block.row)
        if (told[1] if told else "") != side:
            found.append(f"the side is not {side!r}")
    size = re.search(r"(?:by|of) ([\d.,]+)[^(]*\(range ([\d.,]+) to ([\d.,]+)\)", block.summary)
    if (size is not None) != (f.enough and f.way != "flat"):
        found.append("a size where there is none, or none where there is one")
    if size is not None:
        least, most = sorted((abs(f.low), abs(f.high)))
        factor = 100 if f.kind in ("proportion",) else 1
        middle = (least + most) / 2
        for text, value in zip(size.groups(), (middle, least, most), strict=True):
            if abs(float(text.replace(",", "")) - value * factor) > 0.051 * max(1.0, value * factor * 0.01):
                found.append(f"{text} is printed for {value * factor}")
    counts = re.search(
        r"(more|fewer|less|higher|lower|to neutral|to detractor)\b",
        block.row.split("|")[-1].replace("fewer than 1", ""),
    )
    if counts is not None and f.enough and f.way != "flat":
        upward = counts[1] in ("more", "higher", "to neutral")
        if upward != (f.way == "up"):
            found.append(f"{counts[1]!r} in practice")
    if "significant" in (block.summary + block.row).lower():
        found.append("significant")
    return found


class Blocks(HTMLParser):
    """The blocks of a page by the id of their article."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: dict[str, dict[str, list[str]]] = {}
        self._own: dict[str, list[str]] | None = None
        self._in: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = dict(attrs)
        if tag == "article" and (told.get("id") or "").startswith("change-"):
            self._own = self.found.setdefault(str(told["id"]), {"summary": [], "row": [], "picture": []})
        if tag == "p":
            self._in.append("summary" if told.get("class") == "finding" else "aside")
        elif tag in ("table", "title"):
            self._in.append("row" if tag == "table" else "picture")
        if tag == "td" and told.get("data-label") == "In practice":
            self._add("| ")

    def handle_endtag(self, tag: str) -> None:
        if tag == "article":
            self._own = None
        if tag in ("p", "table", "title") and self._in:
            self._in.pop()

    def handle_data(self, data: str) -> None:
        self._add(data)

    def _add(self, data: str) -> None:
        if self._own is not None and self._in and self._in[-1] in self._own:
            self._own[self._in[-1]].append(data)

    def block(self, anchor: str) -> Block:
        """What is said of one change."""
        texts = {name: " ".join(" ".join(parts).split()) for name, parts in self.found[anchor].items()}
        return Block(**texts)


def drawn(rng: random.Random) -> Finding:
    """Intervals of every kind: wide, narrow, touching 0, and a hair beside it."""
    near = rng.choice([rng.random(), rng.random() * 0.02, 0.0, 1e-7])
    low = rng.choice([-1, 1]) * near
    high = low + rng.choice([rng.random() * 1.5, rng.random() * 0.01, 0.0])
    kind = rng.choice(["proportion", "mean", "nps"])
    factor = 0.2 if kind == "proportion" else 20.0 if kind == "nps" else 1.0
    grade = rng.choice(["randomised", "labelled", "quasi", "before_after"])
    return Finding(low * factor, high * factor, grade, rng.random() < 0.8, kind, rng.random() < 0.3)


@pytest.fixture(scope="module")
def freeze(tmp_path_factory: pytest.TempPathFactory) -> Freeze:
    return fixture.write(tmp_path_factory.mktemp("sentences") / "f", {})


def page(freeze: Freeze, findings: list[Finding]) -> Iterator[tuple[Finding, Block]]:
    """Each finding with what the page says of it."""
    metrics = freeze.manifest.metrics
    worse = "support_contacted"  # the one metric of the fixture of which less is better
    assert metrics[worse].direction == "down"
    changes, estimates = [], []
    for i, f in enumerate(findings):
        changes.append(
            LedgerChange(
                change_id=f"c{i}", model_id="m", to_version="2", from_version="1", kind="canary", declared=True,
                stages=(Stage(1, fixture.at(3, 2)),), last_us=fixture.at(3, 30), title=f"Change {i}",
            )
        )  # fmt: skip
        estimates.append(
            Estimate(
                freeze_id="f", month="2026-03", change_id=f"c{i}", model_id="m", from_version="1", to_version="2",
                metric=worse if f.lower_is_better else "liked", metric_kind=f.kind, unit="subject", window_h=72.0,
                grade=f.grade,  # type: ignore[arg-type]
                n_control=900, n_treated=900, control=0.5, treated=0.5, effect=(f.low + f.high) / 2, se=0.1,
                decision_low=f.low, decision_high=f.high, decided_by="fixed" if f.enough else None,
                facts=(FewDays(4, 7),),
            )
        )  # fmt: skip
    from analysis import Metric

    known = [
        Metric("liked", "proportion", "share", "liked", 1, role="goal", headline=True),
        Metric(worse, "proportion", "share", worse, 1, lower_is_better=True, role="goal"),
    ]
    html = reports.render(reports.build(freeze, Analysis(changes, estimates, [], known)))
    blocks = Blocks(html)
    for i, f in enumerate(findings):
        yield f, blocks.block(f"change-c{i}")


def test_two_thousand_random_findings_say_what_their_signs_allow(freeze: Freeze) -> None:
    rng = random.Random(20260301)
    seen = set()
    flips = 0
    for _ in range(FINDINGS // EACH):
        findings = [drawn(rng) for _ in range(EACH)]
        for f, block in page(freeze, findings):
            assert complaints(f, block) == [], (f, block)
            seen.add(allowed(f))
            if f.enough and f.way != "flat":  # the judge is no rubber stamp: turned signs are another finding
                assert complaints(f.flipped, block), (f, block)
                flips += 1
    assert seen == EVERY
    assert flips > FINDINGS / 4


@pytest.mark.parametrize("side", ["low", "high"])
def test_one_flipped_sign_is_noticed_too(freeze: Freeze, side: str) -> None:
    """A finding whose one end is turned is no longer clear, and a page that calls it clear is refused."""
    rng = random.Random(7)
    findings = [f for f in (drawn(rng) for _ in range(200)) if f.enough and f.way != "flat"][:EACH]
    for f, block in page(freeze, findings):
        low, high = (-f.low, f.high) if side == "low" else (f.low, -f.high)
        low, high = sorted((low, high))
        turned = Finding(low, high, f.grade, f.enough, f.kind, f.lower_is_better)
        if turned.way != f.way:
            assert complaints(turned, block), (f, block)


def test_the_judge_imports_no_wording(tmp_path: Path) -> None:
    """Only the whole page is imported: no function that words a finding."""
    source = Path(__file__).read_text(encoding="utf-8")
    assert not re.search(r"^(from reports|import reports\.)", source, re.MULTILINE)


# What a decision says of what clearly went the other way: verdict, what the roll back rests on, the role of the other.
# The last part is the test's own reading of the table of verdicts in docs/meaning.md.
AGAINST = {
    ("roll back", "worse", "goal"): "“liked” went the wanted way, but a goal that is clearly worse (“disliked”) comes "
    "before every gain: the rules do not weigh goals against each other and know no middle way.",
    ("roll back", "worse", "guardrail"): "“liked” went the wanted way, but is no goal: a goal that is clearly "
    "worse (“disliked”) decides, and the rules know no middle way.",
    ("roll back", "worse", "watch"): "“liked” went the wanted way, but is no goal: a goal that is clearly worse "
    "(“disliked”) decides, and the rules know no middle way.",
    ("roll back", "guardrail breached", "goal"): "“liked” went the wanted way, but a broken limit (“disliked”) comes "
    "before every gain: the rules know no middle way.",
    ("promote", "better", "guardrail"): "“liked” went the wrong way, but inside the limits that are set: the rules ask "
    "no more of a guardrail.",
    ("promote", "better", "watch"): "“liked” went the wrong way, but is neither goal nor guardrail: by the rules "
    "nothing else decides.",
}  # fmt: skip


def card(
    freeze: Freeze,
    verdict: str,
    cause: str,
    role: str,
    *,
    other: str,
    ranged: bool = True,
    guard: str | None = "cleared",
) -> str:
    """What the decision's card says where ``disliked`` decides and ``liked`` moves the ``other`` way.

    ``ranged``: whether the metric that decides has an interval; rare events have none.
    """
    from analysis import Metric

    change = LedgerChange(
        change_id="c", model_id="m", to_version="2", from_version="1", kind="canary", declared=True,
        stages=(Stage(1, fixture.at(3, 2)),), last_us=fixture.at(3, 30), title="Change",
    )  # fmt: skip
    sign = -1 if verdict == "roll back" else 1

    def row(metric: str, middle: float, *, ranged: bool, guard: str | None = None) -> Estimate:
        return Estimate(
            freeze_id="f", month="2026-03", change_id="c", model_id="m", from_version="1", to_version="2",
            metric=metric, metric_kind="proportion", unit="subject", window_h=72.0, grade="randomised", n_control=900,
            n_treated=900, control=0.5, treated=0.5, effect=middle, se=0.01,
            decision_low=middle - 0.04 if ranged else None, decision_high=middle + 0.04 if ranged else None,
            decided_by="fixed", verdict=verdict, guard=guard,  # type: ignore[arg-type]
        )  # fmt: skip

    way = {"against": -sign, "along": sign, "unclear": 0}[other]
    estimates = [
        row("disliked", sign * 0.1, ranged=ranged),
        row("liked", way * 0.1, ranged=True, guard=guard if role == "guardrail" else None),
    ]
    known = [
        Metric("disliked", "proportion", "share", "disliked", 1, role="goal", headline=True),
        Metric("liked", "proportion", "share", "liked", 1, role=role),  # type: ignore[arg-type]
    ]
    because: dict[str, AnyFact] = {
        "worse": facts.Worse(("disliked",), () if ranged else ("disliked",)),
        "guardrail breached": facts.Breached(("disliked",)),
        "better": facts.Better(("disliked",)),
    }
    ruled = Ruled(verdict, 1, (because[cause],))  # type: ignore[arg-type]
    html = reports.render(reports.build(freeze, Analysis([change], estimates, [], known, rulings={"c": ruled})))
    found = re.search(r'<li class="decision .*?<p>(.*?)</p>', html, re.DOTALL)
    assert found is not None
    return " ".join(re.sub("<[^>]+>", "", found[1]).split())


@pytest.mark.parametrize(("verdict", "cause", "role"), AGAINST)
@pytest.mark.parametrize("other", ["against", "along", "unclear"])
def test_a_decision_names_what_went_the_other_way_and_the_rule(
    freeze: Freeze, verdict: str, cause: str, role: str, other: str
) -> None:
    told = card(freeze, verdict, cause, role, other=other)
    assert ("lowered" if verdict == "roll back" else "lifted") in told
    assert (f"Against that, {AGAINST[verdict, cause, role]}" in told) == (other == "against"), told
    assert told.count("Against that") == (other == "against")


@pytest.mark.parametrize("cause", ["worse", "guardrail breached"])
def test_a_roll_back_without_a_range_names_it_too(freeze: Freeze, cause: str) -> None:
    told = card(freeze, "roll back", cause, "goal", other="against", ranged=False)
    assert told.count(f"Against that, {AGAINST['roll back', cause, 'goal']}") == 1, told


@pytest.mark.parametrize("guard", ["open", "no data", None])
def test_a_limit_is_called_kept_only_where_it_is_cleared(freeze: Freeze, guard: str | None) -> None:
    told = card(freeze, "promote", "better", "guardrail", other="against", guard=guard)
    assert "inside the limits" not in told
    assert "it is not shown yet that the limits that are set are kept" in told
