"""The pack in a real Chromium: accessible in every dress, silent, and on A4 with no table cut."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pypdfium2
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser

import reports
from tests import report_fixture as fixture
from tests.test_report_browser import browser as browser  # the same one

pytestmark = pytest.mark.slow

MARGIN_MM = (16, 15)
MM = 72 / 25.4


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The pack of a full month with hostile words, and of an empty one."""
    folder = tmp_path_factory.mktemp("workshop")
    made = {}
    for name, tables in (("full", fixture.frames(remark=fixture.HOSTILE)), ("empty", {})):
        freeze = fixture.write(folder / name, tables)
        analysis = fixture.analysed(freeze)
        findings = reports.build(freeze, analysis)
        made[name] = folder / f"{name}.html"
        pack = reports.render_workshop(reports.workshop(freeze, analysis, findings))
        made[name].write_text(pack, encoding="utf-8")
    made["report"] = folder / "report.html"
    freeze = fixture.write(folder / "report", fixture.frames())
    made["report"].write_text(reports.render(reports.build(freeze, fixture.analysed(freeze))), encoding="utf-8")
    return made


@pytest.mark.parametrize("name", ["full", "empty"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1000, 360])
def test_axe_finds_nothing_and_nothing_is_asked_for(
    browser: Browser, files: dict[str, Path], name: str, scheme: str, width: int
) -> None:
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)  # type: ignore[arg-type]
    asked: list[str] = []
    said: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: said.append(message.text))
    page.on("dialog", lambda dialog: said.append(dialog.message))
    page.goto(files[name].as_uri())
    assert asked == [files[name].as_uri()]
    assert said == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert background == ("rgb(253, 252, 250)" if scheme == "light" else "rgb(20, 24, 28)"), "the style was refused"
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    page.close()


def test_the_report_s_own_section_is_accessible(browser: Browser, files: dict[str, Path]) -> None:
    for width in (1000, 360):
        page = browser.new_page(viewport={"width": width, "height": 900})
        page.goto(files["report"].as_uri())
        found = Axe().run(page, context={"include": [["#feedback"]]})
        assert found.violations_count == 0, found.generate_report()
        page.close()


@pytest.fixture(scope="module")
def pages(browser: Browser, files: dict[str, Path]) -> Iterator[pypdfium2.PdfDocument]:
    page = browser.new_page()
    page.goto(files["full"].as_uri())
    document = pypdfium2.PdfDocument(page.pdf(prefer_css_page_size=True))
    page.close()
    yield document
    document.close()


def test_a4_and_nothing_reaches_into_the_margins(pages: pypdfium2.PdfDocument) -> None:
    for page in pages:
        width, height = page.get_size()
        assert (round(width / MM), round(height / MM)) == (210, 297)
        ink = page.render(scale=2, grayscale=True).to_numpy().squeeze() < 200
        down, across = (int(mm * MM * 2) - 2 for mm in MARGIN_MM)
        inside = np.zeros_like(ink)
        inside[down:-down, across:-across] = True
        assert ink.any()
        assert not (ink & ~inside).any()


def test_each_checklist_is_whole_on_one_page_and_no_heading_ends_one(pages: pypdfium2.PdfDocument) -> None:
    texts = [page.get_textpage().get_text_bounded() for page in pages]
    headings = ("Checklist: Data", "Checklist: Model", "Checklist: Measurement", "Incidents", "Model complexity review")
    ends = {
        "Checklist: Data": "Comparisons stopped",
        "Checklist: Model": "Rollbacks, each",
        "Checklist: Measurement": "Last month’s actions",
    }
    for first, last in ends.items():
        own = [text for text in texts if first in text]
        assert len(own) == 1
        assert last in own[0].split(first, 1)[1]
    for text in texts:
        lines = [line for line in text.splitlines() if line.strip()]
        assert not lines[-1].startswith(headings)
        assert not lines[-1].startswith(("What", "Minute", "Model and version"))  # a head without its rows
    assert len(texts) <= 5
