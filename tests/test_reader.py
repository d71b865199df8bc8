"""What a reader of printed pages stumbled over (docs/report.md), each remark held to the data of a rich month."""

from __future__ import annotations

import datetime as dt
import re
from pathlib import Path

import numpy as np
import pytest

import reports
from analysis import Analysis
from edgeloop.clock import HOUR_US, from_us
from edgeloop.store.freeze import Freeze
from edgeloop.store.rows import Estimate
from reports.findings import Findings
from tests import report_months
from tests.report_fixture import analysed, write

FIRST, LAST = dt.date(2026, 3, 1), dt.date(2026, 3, 31)


@pytest.fixture(scope="module")
def month(tmp_path_factory: pytest.TempPathFactory) -> tuple[Freeze, Analysis, Findings, str]:
    freeze = report_months.MONTHS["everything"](tmp_path_factory.mktemp("reader") / "f")
    analysis = analysed(freeze)
    findings = reports.build(freeze, analysis)
    return freeze, analysis, findings, reports.render(findings)


def text(html: str) -> str:
    return " ".join(re.sub("<[^>]+>", " ", html).split())


def tables(html: str, anchor: str, kind: str) -> list[str]:
    start = html.index(f'<article id="{anchor}"')
    return re.findall(rf'<table class="{kind} stack">.*?</table>', html[start : html.index("</article>", start)], re.S)


def unclear(e: Estimate) -> bool:
    """By the interval alone."""
    low, high = e.decision_low, e.decision_high
    return e.decided_by is not None and low is not None and high is not None and low <= 0 <= high


def test_what_is_not_clear_is_one_line_and_a_short_row_each(month: tuple[Freeze, Analysis, Findings, str]) -> None:
    _, analysis, findings, html = month
    roles = {m.name: m.role for m in analysis.metrics}
    seen = 0
    for change in findings.changes:
        own = {e.metric for e in analysis.estimates
               if e.change_id == change.change_id and e.dimension == "all" and unclear(e)}  # fmt: skip
        wanted = {e.metric: e for e in change.effects if e.metric in own and roles[e.metric] != "watch"}
        quiet = tables(html, change.anchor, "unclear")
        assert len(quiet) == bool(wanted)
        for table in quiet:
            caption = text(table[table.index("<caption") : table.index("</caption>")])
            assert caption.startswith("◐ No clear difference: “")
            assert sorted(re.findall("“(.*?)”", caption)) == sorted(e.label.lower() for e in wanted.values())
            rows = re.findall("<tr>.*?</tr>", table[table.index("<tbody>") :], re.S)
            assert len(rows) == len(wanted) == table.count("<svg")
            for row in rows:
                e = next(e for e in wanted.values() if f">{e.label} <" in row)
                for told in (e.control, e.treated, e.n_control, e.n_treated, e.difference, e.between, e.meaning):
                    assert text(told) in text(row), (told, row)
                assert text(e.guard) in text(row)
                seen += 1
        loud = " ".join(tables(html, change.anchor, "effects"))
        assert not any(f'<th scope="row">{e.label}<' in loud for e in wanted.values())
    assert seen >= 8


def late_models(freeze: Freeze) -> tuple[int, dict[str, int]]:
    """(p95 of all, p95 of each model) in the month, in ms."""
    x = freeze.frame("exposures")
    days = np.array([from_us(us + HOUR_US).date() for us in x["occurred_at"]])  # Berlin's winter time
    x = x[(days >= FIRST) & (days <= LAST) & x["latency_ms"].notna()]
    each = {str(m): round(np.percentile(own, 95)) for m, own in x.groupby(x["model_id"].astype(str))["latency_ms"]}
    return round(np.percentile(x["latency_ms"], 95)), each


def test_a_model_over_budget_is_named_where_all_keep_it(month: tuple[Freeze, Analysis, Findings, str]) -> None:
    freeze, _, findings, html = month
    overall, each = late_models(freeze)
    over = {model: late for model, late in each.items() if late > 500}
    assert overall < 500
    assert list(over) == ["eta-promise"]
    row = findings.strip[3]
    assert (row.state, row.this) == ("partly", f"{overall}\u00a0ms")
    assert row.missed_by == f"missed by eta-promise (p95\u00a0{over['eta-promise']}\u00a0ms)"
    strip = text(html[html.index('<table class="strip') : html.index('id="decisions"')])
    assert text(f"! met overall 500 ms at most {row.missed_by}") in strip
    assert findings.health.summary.startswith(
        f"Latency is met overall (p95 {overall}\u00a0ms of 500\u00a0ms at most), but missed by eta-promise "
        f"(p95\u00a0{over['eta-promise']}\u00a0ms)."
    )


@pytest.mark.parametrize(("factor", "state"), [(0.5, "met"), (4.0, "missed")])
def test_of_a_target_that_all_keep_or_none_nothing_is_split(
    month: tuple[Freeze, Analysis, Findings, str], tmp_path: Path, factor: float, state: str
) -> None:
    freeze = month[0]
    frames = {table: freeze.frame(table) for table in freeze.manifest.tables}
    frames["exposures"] = frames["exposures"].assign(latency_ms=frames["exposures"]["latency_ms"] * factor)
    other = write(tmp_path / "f", frames, metrics=freeze.manifest.metrics)
    findings = reports.build(other, analysed(other))
    _, each = late_models(other)
    over = sorted((m for m, late in each.items() if late > 500), key=lambda m: -each[m])
    assert findings.strip[3].state == state
    assert bool(findings.strip[3].missed_by) == bool(over)
    assert "met overall" not in findings.health.summary
    assert ("Latency is missed overall" in findings.health.summary) == bool(over)
    for model in over:
        assert f"{model} (p95\u00a0{each[model]}\u00a0ms)" in findings.health.summary.replace(",", "")
    if len(over) > 2:
        assert findings.strip[3].missed_by.endswith(f"and {len(over) - 2} more")


def test_everything_asked_has_somebody_and_a_day(month: tuple[Freeze, Analysis, Findings, str]) -> None:
    _, _, findings, html = month
    due = next(d.due for d in findings.decisions if d.verdict != "roll back")
    assert due == "2026-04-23", "five working days after Thursday 16 April"
    asked = [*findings.feedback.asks, *(u for u in findings.feedback.unused if u.mend)]
    assert len(asked) >= 5
    for one in asked:
        assert one.role
        assert (one.due, one.by) == (due, "Thursday 23 April")
    assert all((u.due, u.by) == ("", "") for u in findings.feedback.unused if not u.mend)
    section = html[html.index('id="feedback"') : html.index('id="health"')]
    assert text(section).count("by Thursday 23 April") == len(asked)
    assert "five working days after the data’s own date" in text(section)


def test_a_theme_that_a_change_brought_is_put_beside_it(month: tuple[Freeze, Analysis, Findings, str]) -> None:
    """The month's data: the bigger card made people unhappier, and the unhappy write of the promised time."""
    _, _, findings, html = month
    told = {theme.key: theme.began for voice in findings.voices for theme in voice.themes if theme.began}
    assert told == {
        "promise": "Grew from about the week on in which “Bigger promotion card” went live; not a measured effect."
    }
    assert told["promise"] in html
