"""A part that fails says so in its place, and the rest of the month is printed."""

from __future__ import annotations

import importlib
import logging
import math
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

import analysis
import reports
from analysis import Analysis
from edgeloop.app.publish import rendered
from edgeloop.store.freeze import Freeze, PrintedMonth, PrintedRow
from reports.numbers import span
from tests.report_fixture import analysed, frames, write

SECTIONS = {
    "reports.changes.gather": "Did it help?",
    "reports.changes.changes": "Did it help?",
    "reports.changes.open_tests": "Still open",
    "reports.decisions.decisions": "Decisions asked",
    "reports.followup.followups": "Last month’s actions",
    "reports.feedback.uses": "Is the feedback used?",
    "reports.feedback.feedback": "Is the feedback used?",
    "reports.asking.asks": "Is the feedback used?",
    "reports.voices.voices": "What people said",
    "reports.tied.tied": "What people said",
    "reports.restatements.restatements": "Last month’s report, now",
    "reports.strip.strip": "Against target",
    "reports.build._title": "In three lines",
    "reports.build._brief": "In three lines",
    "reports.promoted.promoted": "This year’s promoted changes",
    "reports.bridge.bridge": "From last month to this month",
    "reports.health.health": "Edge health",
    "reports.trust.trust": "Can you trust this?",
    "reports.glossary.method": "Method and glossary",
    "reports.glossary.glossary": "Glossary",
}
PACK = {
    "reports.complexity.complexity": "Model complexity review",
    "reports.incidents.incidents": "Incidents",
    "reports.checklist.data_pillar": "Data and integration health",
    "reports.checklist.model_pillar": "Model and compute alignment",
    "reports.checklist.feedback_pillar": "Measurement and feedback",
    "reports.agenda.agenda": "Agenda",
}
BUILD_NAMES = {"reports.restatements.restatements": "reports.build.restatements"}


@pytest.fixture(scope="module")
def month(tmp_path_factory: pytest.TempPathFactory) -> tuple[Freeze, Analysis]:
    freeze = write(tmp_path_factory.mktemp("month") / "freeze", frames())
    return freeze, analysed(freeze)


def broken(monkeypatch: pytest.MonkeyPatch, target: str) -> None:
    def raises(*_: Any, **__: Any) -> Any:
        raise OverflowError("cannot convert float infinity to integer")

    module, name = BUILD_NAMES.get(target, target).rsplit(".", 1)
    monkeypatch.setattr(importlib.import_module(module), name, raises)


def unescaped(page: str) -> str:
    return re.sub(r"&#39;", "'", page)


@pytest.mark.failing_parts
@pytest.mark.parametrize(("target", "title"), SECTIONS.items(), ids=SECTIONS)
def test_each_section_may_fail(
    target: str,
    title: str,
    month: tuple[Freeze, Analysis],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    broken(monkeypatch, target)
    with caplog.at_level(logging.ERROR):
        made = rendered(*month, None)
    page = unescaped(made.files[".html"].decode())
    assert title in {line.label for line in made.record.findings.failures}
    assert "This part could not be made, for the program failed on it (OverflowError)." in page
    for anchor in ("summary", "decisions", "actions", "effects", "bridge", "voices", "feedback", "health", "trust"):
        assert page.count(f'<section id="{anchor}"') == 1
    assert any(record.exc_info for record in caplog.records)  # with its traceback
    assert msgspec.json.decode(made.files[".json"], type=reports.Record).findings.failures


@pytest.mark.failing_parts
@pytest.mark.parametrize(("target", "title"), PACK.items(), ids=PACK)
def test_each_part_of_the_pack_may_fail(
    target: str, title: str, month: tuple[Freeze, Analysis], monkeypatch: pytest.MonkeyPatch
) -> None:
    broken(monkeypatch, target)
    pack = unescaped(rendered(*month, None).files["-workshop.html"].decode())
    assert f"<strong>{title}</strong>: This part could not be made" in pack


@pytest.mark.failing_parts
@pytest.mark.parametrize("name", ["decisions", "effects", "bridge", "voices", "health", "trust", "method"])
def test_a_template_may_fail(name: str, month: tuple[Freeze, Analysis], monkeypatch: pytest.MonkeyPatch) -> None:
    known = importlib.import_module("reports.render")._environment()
    template = known.get_template(f"sections/{name}.html.j2")
    monkeypatch.setattr(template, "root_render_func", lambda *_: 1 / 0)
    page = rendered(*month, None).files[".html"].decode()
    assert "the program failed on it (ZeroDivisionError)" in page
    assert page.count("<section id=") == 10


@pytest.mark.failing_parts
@pytest.mark.parametrize("target", ["reports.changes._summary", "reports.decisions._why"])
def test_one_change_does_not_end_the_others(
    target: str, month: tuple[Freeze, Analysis], monkeypatch: pytest.MonkeyPatch
) -> None:
    module, name = target.rsplit(".", 1)
    real = getattr(importlib.import_module(module), name)

    def raises(own: Any, *more: Any, **named: Any) -> Any:
        if own.change.model_id == "promo-card":
            raise ValueError("cannot convert float NaN to integer")
        return real(own, *more, **named)

    monkeypatch.setattr(importlib.import_module(module), name, raises)
    found = rendered(*month, None).record.findings
    assert len(found.changes) == 3
    assert len(found.decisions) == 3
    told = [c.summary for c in found.changes] + [d.why for d in found.decisions]
    assert sum("could not be made" in text for text in told) == 1


@pytest.mark.failing_parts
def test_a_change_whose_estimate_fails_is_refused_and_the_others_are_judged(
    month: tuple[Freeze, Analysis], monkeypatch: pytest.MonkeyPatch
) -> None:
    from analysis import estimates

    real = estimates.measure

    def measure(frames: Any, times: Any, change: Any, *more: Any, **named: Any) -> Any:
        if change.model_id == "promo-card":
            raise FloatingPointError
        return real(frames, times, change, *more, **named)

    monkeypatch.setattr(estimates, "measure", measure)
    freeze, whole = month
    found = analysed(freeze)
    verdicts = {e.change_id: e.verdict for e in found.estimates if e.verdict is not None}
    before = {e.change_id: e.verdict for e in whole.estimates if e.verdict is not None}
    changed = {change for change in before if verdicts[change] != before[change]}
    assert len(changed) == 1
    row = next(e for e in found.estimates if e.change_id in changed)
    assert (row.metric, row.effect, row.verdict) == (analysis.ALL_METRICS, None, "keep testing")
    assert "the program failed on this change" in str(row.reason)
    assert "the program failed on this change" in rendered(freeze, found, None).files[".html"].decode()


def endless(found: Analysis, low: float, high: float) -> Analysis:
    """Every interval of the month with these ends, and every version's bar."""
    rows = [
        e
        if e.decision_low is None
        else msgspec.structs.replace(e, decision_low=low, decision_high=high, effect_low=low, effect_high=high)
        for e in found.estimates
    ]
    bars = [
        msgspec.structs.replace(b, low=low, high=high) if b.bar in ("version", "unexplained") else b
        for b in found.bridge
    ]
    return Analysis(
        found.changes, rows, found.checks, found.metrics, bars, found.unnamed, found.words, found.known, found.counted,
        found.rulings, found.untold_us,
    )  # fmt: skip


@pytest.mark.parametrize(("low", "high"), [(-math.inf, math.inf), (0.01, math.inf), (-math.inf, -0.01)])
@pytest.mark.parametrize("language", ["en", "de", "fr", "pt"])
def test_an_interval_without_an_end_is_words_everywhere(
    low: float, high: float, language: str, month: tuple[Freeze, Analysis], tmp_path: Path
) -> None:
    freeze, found = month
    look = msgspec.structs.replace(freeze.manifest.look, locale=language)
    spoken = write(tmp_path / "freeze", frames(), look=look)
    made = rendered(spoken, endless(found, low, high), None)
    assert made.record.findings.failures == ()
    letter = reports.mail.letter(made.record)
    texts = [letter.text, letter.html, *(made.files[name].decode() for name in (".html", "-workshop.html", ".json"))]
    texts.append(made.files[".csv.zip"].decode(errors="replace"))  # stored, not deflated
    for text in texts:
        assert "∞" not in text
        assert not re.search(r"(?<![\w-])[-+]?(inf|Infinity|nan|NaN)(?![\w-])", text)
    bars = [b for b in made.record.findings.bridge.bars if b.kind == "version"]
    assert bars
    assert {(b.low is None, b.high is None) for b in bars} == {(math.isinf(low), math.isinf(high))}
    assert all(b.between for b in bars)
    msgspec.json.decode(made.files[".json"], type=reports.Record)


def test_a_figure_that_is_none_is_told_as_absent(month: tuple[Freeze, Analysis]) -> None:
    freeze, found = month
    rows = [
        msgspec.structs.replace(e, effect=math.nan, se=math.nan, p=math.nan, lift=math.inf) for e in found.estimates
    ]
    bars = [msgspec.structs.replace(b, value=math.nan) for b in found.bridge]
    broken = Analysis(
        found.changes, rows, found.checks, found.metrics, bars, found.unnamed, found.words, found.known, found.counted,
        found.rulings, found.untold_us,
    )  # fmt: skip
    made = rendered(freeze, broken, None)
    assert made.record.findings.failures == ()
    assert "one of its figures could not be computed" in made.record.findings.bridge.summary
    for name in (".html", ".json", "-workshop.html"):
        assert not re.search(r"\b(nan|NaN|Infinity)\b", made.files[name].decode())


def test_a_span_in_words() -> None:
    def write(value: float) -> str:
        return f"{value:+.1f}"

    assert span(0.4, 1.2, write, lambda text: f"{text} pp") == "+0.4 to +1.2 pp"
    assert span(0.4, math.inf, write, lambda text: f"{text} pp") == "+0.4 pp or more"
    assert span(-math.inf, -0.4, write) == "-0.4 or less"
    assert span(-math.inf, math.inf, write, lambda text: f"{text} pp") == "no end on either side"


def test_what_is_left_is_endless_beside_an_endless_bar() -> None:
    from analysis.bridge.bars import Delta, _around

    sure, endless_ = Delta(0.1, (0.0, 0.2), 0.05), Delta(0.1, (-math.inf, math.inf), 0.05)
    assert _around(1.0, [(0.5, sure)]) != (-math.inf, math.inf)
    assert _around(1.0, [(0.5, sure), (0.5, endless_)]) == (-math.inf, math.inf)


def test_an_endless_row_of_last_month_is_told_as_it_was(month: tuple[Freeze, Analysis], tmp_path: Path) -> None:
    """JSON has no infinity: the manifest keeps which ends are missing, so that the row has not moved."""
    _, found = month
    endless_ = endless(found, -math.inf, math.inf)
    rows = [
        PrintedRow(
            change_id=e.change_id, stage=e.stage, metric=e.metric, metric_kind=e.metric_kind, respondent=e.respondent,
            window_h=e.window_h, response_control=e.response_control, grade=e.grade, effect=e.effect, se=e.se,
            decided_by=e.decided_by, verdict=e.verdict, endless="both",
        )
        for e in endless_.estimates
        if e.dimension == "all" and e.decision_low is not None
    ]  # fmt: skip
    printed = PrintedMonth(freeze_id="2026-02-0", code_version="0.1.0", rows=rows)
    again = write(tmp_path / "freeze", frames(), printed_month=printed)
    assert rows
    kept = Freeze(again.path).manifest.printed_month
    assert kept is not None
    assert {row.endless for row in kept.rows} == {"both"}
    restated = rendered(again, found, endless_).record.findings.restatements
    assert restated.rows == ()
