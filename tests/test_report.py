"""The page: its order, its honesty about what is missing, and that nothing anybody wrote can act in it."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import pandas as pd
import pytest

import reports
from analysis import Analysis
from edgeloop.months import Month
from edgeloop.store.rows import Estimate
from reports.findings import Findings
from reports.voices import voices
from tests import report_fixture as fixture

ORDER = ["summary", "decisions", "actions", "effects", "bridge", "voices", "feedback", "health", "trust", "method"]


class Page(HTMLParser):
    """Tags with their attributes, and the text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def all(self, name: str) -> list[dict[str, str | None]]:
        return [attrs for tag, attrs in self.tags if tag == name]

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


@pytest.fixture(scope="module")
def month(tmp_path_factory: pytest.TempPathFactory) -> tuple[Findings, str, Analysis]:
    freeze = fixture.write(tmp_path_factory.mktemp("freeze") / "2026-03", fixture.frames())
    analysis = fixture.analysed(freeze)
    findings = reports.build(freeze, analysis)
    return findings, reports.render(findings), analysis


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> tuple[Findings, str]:
    freeze = fixture.write(tmp_path_factory.mktemp("freeze") / "empty", {})
    findings = reports.build(freeze, fixture.analysed(freeze))
    return findings, reports.render(findings)


def test_the_title_is_the_verdict(month: tuple[Findings, str, Analysis]) -> None:
    findings = month[0]
    assert findings.title == "Roll back “Bigger promotion card”; promote “One-tap rebooking”"
    assert len(findings.title.split()) <= 10


def test_decisions_say_who_and_when(month: tuple[Findings, str, Analysis]) -> None:
    back, promote, hold = month[0].decisions
    assert (back.verdict, back.owner, back.by) == ("roll back", "Jana Ortiz, CRM", "Friday 17 April")
    assert (promote.verdict, promote.owner, promote.by) == ("promote", "DevOps lead", "Thursday 23 April")
    assert hold.verdict == "keep testing"
    assert hold.action == "Hold back 5\u00a0% of the customers from “Shorter ETA window”"
    assert "nobody kept the old version" in hold.why
    assert "lowered the satisfaction score" in back.why
    assert re.search(r"about [\d,]+ fewer customers", promote.waiting)


def test_before_and_after_keeps_testing_and_has_no_causal_verb(month: tuple[Findings, str, Analysis]) -> None:
    change = next(c for c in month[0].changes if c.title == "Shorter ETA window")
    assert change.verdict == "keep testing"
    assert not re.search(r"lifted|lowered", change.summary)
    assert "Before" in month[1]


def test_every_interval_is_the_deciding_one(month: tuple[Findings, str, Analysis]) -> None:
    findings, _, analysis = month
    shown = [(c.change_id, e) for c in findings.changes for e in c.effects]
    drawn = {(change, e.metric): (e.low, e.high) for change, e in shown if e.low is not None}
    # Too few events for an interval: the row says so, and nothing is drawn.
    assert all(e.direction == "early" and e.between == "" for _, e in shown if e.low is None)
    wanted = {
        (e.change_id, e.metric): (e.decision_low, e.decision_high)
        for e in analysis.estimates
        if e.decision_low is not None and e.dimension == "all"
    }
    assert drawn == wanted


def test_sections_in_order_and_structure(month: tuple[Findings, str, Analysis], empty: tuple[Findings, str]) -> None:
    for html in (month[1], empty[1]):
        page = Page(html)
        assert [attrs["id"] for attrs in page.all("section")] == ORDER
        assert len(page.all("h1")) == 1
        assert all(attrs.get("scope") in ("col", "row") for attrs in page.all("th"))
        ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
        assert len(ids) == len(set(ids))
        for attrs in page.all("svg"):
            assert attrs["aria-labelledby"] in ids
        for attrs in page.all("a"):
            assert (attrs["href"] or "").removeprefix("#") in {*ids, "2026-03.csv.zip", "2026-03.json"}
        assert "significant" not in page.text


def test_an_empty_month_says_so(empty: tuple[Findings, str]) -> None:
    text = Page(empty[1]).text
    assert empty[0].title == "No model version changed in March 2026"
    for sentence in (
        "No decision is asked",
        "No report before this one asked for anything",
        "There is no bridge",
        "No answers from customers arrived this month.",
        "No answers from delivery agents arrived this month.",
        "Unknown: no profile is known on both sides",
        "there was nothing to check",
    ):
        assert sentence in text
    assert "nan" not in text.lower().split()


def test_nothing_runs_and_nothing_is_fetched(month: tuple[Findings, str, Analysis]) -> None:
    html = month[1]
    page = Page(html)
    assert not {"script", "img", "link", "iframe", "object", "form"} & {tag for tag, _ in page.tags}
    assert not any(name == "style" or name.startswith("on") for _, attrs in page.tags for name in attrs)
    assert "http://" not in html
    assert "https://" not in html
    policy = next(a["content"] for a in page.all("meta") if a.get("http-equiv") == "Content-Security-Policy") or ""
    style = html.split("<style>", 1)[1].split("</style>", 1)[0]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy.startswith("default-src 'none'; ")
    assert f"'sha256-{digest}'" in policy
    assert "unsafe" not in policy
    assert "url(" not in style
    assert "@import" not in style


def test_small_enough(month: tuple[Findings, str, Analysis]) -> None:
    assert len(month[1].encode()) < 300_000


def test_same_freeze_same_bytes(tmp_path: Path, month: tuple[Findings, str, Analysis]) -> None:
    freeze = fixture.write(tmp_path / "again", fixture.frames())
    assert reports.render(reports.build(freeze, fixture.analysed(freeze))) == month[1]


def test_hostile_text_is_inert(tmp_path: Path) -> None:
    tables = fixture.frames(remark=fixture.HOSTILE)
    tables["changes"]["title"] = fixture.HOSTILE
    freeze = fixture.write(tmp_path / "hostile", tables)
    html = reports.render(reports.build(freeze, fixture.analysed(freeze)))
    page = Page(html)
    assert not {"script", "img"} & {tag for tag, _ in page.tags}
    assert len(page.all("h1")) == 1
    assert "{{ 7 * 7 }}" in page.text
    assert "<script>alert(1)" in page.text


def test_quotes_are_bounded_and_two_a_side(month: tuple[Findings, str, Analysis]) -> None:
    for voice in month[0].voices:
        assert 0 < len(voice.quotes) <= 2
        assert all(len(quote.text) <= 200 for quote in voice.quotes)


def test_a_quote_has_the_score_of_who_wrote_it() -> None:
    """Also where an app numbers each person's responses from 1."""
    march = Month.parse("2026-03", "UTC")
    rows = [
        (who, position, kind, value, high, text)
        for who, stars, text in (("a" * 26, 1.0, "it came two hours late"), ("b" * 26, 5.0, "the courier was so kind"))
        for position, kind, value, high, text in ((0, "csat", stars, 5.0, None), (1, "text", None, None, text))
    ]
    answers = pd.DataFrame(rows, columns=["subject", "position", "kind", "value", "high", "text"]).assign(
        response_id="1", respondent="customer", survey_id="s", question="q", low=1.0, label=None,
        occurred_at=march.start_us,
    )  # fmt: skip
    exposures = pd.DataFrame(columns=["occurred_at", "subject", "courier"])
    attributions = pd.DataFrame(
        columns=["occurred_at", "outcome_type", "outcome_name", "respondent", "model_id", "value", "credit"]
    )
    said, _ = voices(answers, exposures, attributions, (), march)
    assert [(quote.text, quote.score) for quote in said.quotes] == [
        ("it came two hours late", "gave 1 of 5"),
        ("the courier was so kind", "gave 5 of 5"),
    ]


def test_few_answers_get_no_score(tmp_path: Path) -> None:
    tables = fixture.frames()
    answers = tables["answers"]
    customers = answers[(answers["respondent"] == "customer") & (answers["kind"] == "csat")]
    tables["answers"] = customers[customers["occurred_at"] >= fixture.at(3, 5)].head(12)
    freeze = fixture.write(tmp_path / "few", tables)
    question = reports.build(freeze, fixture.analysed(freeze)).voices[0].questions[0]
    assert question.too_few == "too few answers (n\u00a0=\u00a012)"
    assert (question.score, question.counts, question.versions) == ("", (), ())


def test_a_promoter_question_is_counted_in_its_three_groups(tmp_path: Path) -> None:
    tables = fixture.frames()
    answers = tables["answers"]
    asked = (answers["respondent"] == "customer") & (answers["kind"] == "csat")
    answers.loc[asked, ["kind", "low", "high"]] = ["nps", 0.0, 10.0]
    answers.loc[asked, "value"] = answers.loc[asked, "value"] * 2
    freeze = fixture.write(tmp_path / "nps", tables)
    question = reports.build(freeze, fixture.analysed(freeze)).voices[0].questions[0]
    assert [label for label, _ in question.counts] == ["0–6", "7–8", "9–10"]
    assert f"{sum(n for _, n in question.counts):,}" == question.n


def test_what_followed_a_switch_is_not_called_its_effect(tmp_path: Path) -> None:
    freeze = fixture.write(tmp_path / "switch", fixture.frames())
    sound = fixture.analysed(freeze)

    def moved(e: Estimate) -> Estimate:
        if e.grade != "before_after" or e.metric != "slot_rebooked":
            return e
        return msgspec.structs.replace(e, decision_low=-0.02, decision_high=-0.01, effect=-0.015, decided_by="fixed")

    findings = reports.build(freeze, Analysis(sound.changes, [moved(e) for e in sound.estimates], sound.checks))
    change = next(c for c in findings.changes if c.grade == "before_after")
    assert "was followed by a fall in the share of customers with “slot rebooked” of 1.5 percentage" in change.summary
    assert not re.search(r"lifted|lowered", change.summary)
    assert change.change_id not in {d.anchor.removeprefix("change-") for d in findings.decisions}


def test_data_in_doubt_silences_the_words(tmp_path: Path) -> None:
    freeze = fixture.write(tmp_path / "doubt", fixture.frames())
    sound = fixture.analysed(freeze)

    def doubted(e: Estimate) -> Estimate:
        if e.verdict is None:
            return e
        reason = "repair the data first: units are not shared out as declared (p = 1.0e-09)"
        return msgspec.structs.replace(e, grade="quasi", verdict="repair the data first", reason=reason)

    analysis = Analysis(sound.changes, [doubted(e) for e in sound.estimates], sound.checks)
    findings = reports.build(freeze, analysis)
    assert {d.owner for d in findings.decisions} == {"Data engineer", "Jana Ortiz, CRM"}
    told = [c for c in findings.changes if c.verdict]
    assert {e.words for c in told for e in c.effects} == {"not enough data"}
    assert {e.certainty for c in told for e in c.effects} == {"data in doubt"}
    assert not re.search(r"lifted|lowered", " ".join(line.text for line in findings.brief))
    assert not re.search(r"lifted|lowered", Page(reports.render(findings)).text)
