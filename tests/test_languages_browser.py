"""The page and the pack in each language, in a real Chromium that speaks another: quotation marks, labels, no cell
overflows."""

from __future__ import annotations

import io
from pathlib import Path

import msgspec
import pypdfium2  # type: ignore[import-untyped]
import pytest
from playwright.sync_api import Browser, Page

import reports
from edgeloop.store.freeze import Look
from reports.language import LANGUAGES
from tests import report_months
from tests.report_fixture import analysed
from tests.test_report_browser import browser as browser  # the same one

pytestmark = pytest.mark.slow

ELSEWHERE = {"en": "fr-FR", "de": "en-US", "fr": "de-DE", "pt": "de-DE"}
"""Language of the page → the one of the browser that shows it."""
QUOTED = {
    "en": ("“Slotmoved,‘inonetap’,good.”", '"“" "”" "‘" "’"'),
    "de": ("„Slotmoved,‚inonetap‘,good.“", '"„" "“" "‚" "‘"'),
    "fr": ("«Slotmoved,“inonetap”,good.»", '"«\u00a0" "\u00a0»" "“" "”"'),
    "pt": ("“Slotmoved,‘inonetap’,good.”", '"“" "”" "‘" "’"'),
}
"""What is printed, without spaces, and the marks with theirs."""
SPACED = {"en": ": ", "de": ": ", "fr": "\u00a0: ", "pt": ": "}
WIDTHS = {"a4": 680, "tablet": 740, "telephone": 360, "desktop": 1000}
"""CSS px; 180 mm, what an A4 sheet has between its margins, are 680."""
# Every cell whose own text is drawn beside its box; of a table that scrolls too, and of words that may not wrap.
BESIDE = """() => [...document.querySelectorAll('td, tbody th')].filter(cell => {
  const box = cell.getBoundingClientRect(), range = document.createRange();
  if (!box.width || cell.closest('.sr')) return false;
  range.selectNodeContents(cell);
  return [...range.getClientRects()].some(r => r.width > 2 && (r.right > box.right + 1 || r.left < box.left - 1));
}).map(cell => cell.className + ' ' + cell.textContent.trim())"""

# Every word or number of a cell that stands on two lines and has no sign to be parted at.
PARTED = r"""() => {
  const found = [], range = document.createRange();
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node; node = walker.nextNode();) {
    if (!node.parentElement.closest('td, th') || node.parentElement.closest('.sr, svg, code')) continue;
    for (const word of node.data.matchAll(/[^\s\/\u2010-\u2014-]+/g)) {
      range.setStart(node, word.index);
      range.setEnd(node, word.index + word[0].length);
      if (new Set([...range.getClientRects()].map(r => Math.round(r.top))).size > 1) found.push(word[0]);
    }
  }
  return found;
}"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Path]:
    """Page and pack of the fullest month, in each language."""
    folder = tmp_path_factory.mktemp("languages")
    freeze = report_months.MONTHS["everything"](folder / "f")
    analysis, manifest = analysed(freeze), freeze.manifest
    found = {}
    for language in LANGUAGES:
        freeze.manifest = msgspec.structs.replace(manifest, look=Look(locale=language))
        findings = reports.build(freeze, analysis)
        pack = reports.render_workshop(reports.workshop(freeze, analysis, findings))
        for name, html in (("page", reports.render(findings)), ("pack", pack)):
            found[language, name] = folder / f"{name}-{language}.html"
            found[language, name].write_text(html, encoding="utf-8")
    return found


def opened(browser: Browser, path: Path, language: str, width: int = 1000) -> Page:
    page = browser.new_page(viewport={"width": width, "height": 900}, locale=ELSEWHERE[language])
    page.goto(path.as_uri())
    return page


@pytest.mark.parametrize("language", LANGUAGES)
def test_quotation_marks_are_the_page_s_not_the_browser_s(
    browser: Browser, made: dict[tuple[str, str], Path], language: str
) -> None:
    """Read off the paper, where what a style sheet adds is text too; one quotation holds another."""
    page = opened(browser, made[language, "page"], language)
    own = page.locator("q", has_text="Slot moved").first
    own.evaluate("e => { e.innerHTML = 'Slot moved, <q style=\"display:inline\">in one tap</q>, good.' }")
    own.locator("q").evaluate("e => Object.assign(e.style, {display: 'inline', padding: 0, border: 0})")
    own.evaluate("e => { document.body.replaceChildren(e) }")
    document = pypdfium2.PdfDocument(io.BytesIO(page.pdf()))
    told = "".join(document[0].get_textpage().get_text_bounded().split())
    assert (told, page.evaluate("getComputedStyle(document.querySelector('q')).quotes")) == QUOTED[language]
    page.close()


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_label_of_a_cell_has_the_colon_of_the_language(
    browser: Browser, made: dict[tuple[str, str], Path], language: str
) -> None:
    page = opened(browser, made[language, "pack"], language, WIDTHS["telephone"])
    first = page.locator(".checklist td[data-label]").first
    content = first.evaluate("e => getComputedStyle(e, '::before').content")
    assert content == f'"{first.get_attribute("data-label")}{SPACED[language]}"'
    page.close()


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", ["page", "pack"])
@pytest.mark.parametrize("size", WIDTHS)
def test_no_cell_s_text_stands_beside_it(
    browser: Browser, made: dict[tuple[str, str], Path], language: str, name: str, size: str
) -> None:
    page = opened(browser, made[language, name], language, WIDTHS[size])
    page.emulate_media(media="print" if size == "a4" else "screen")
    assert page.evaluate("document.documentElement.lang") == language
    assert page.evaluate("document.documentElement.scrollWidth") <= WIDTHS[size]
    assert page.evaluate(BESIDE) == []
    page.close()


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("size", ["a4", "tablet", "desktop"])
def test_no_word_of_a_table_is_parted(
    browser: Browser, made: dict[tuple[str, str], Path], language: str, size: str
) -> None:
    """A column that takes more than its own leaves its neighbour a letter or two a line."""
    page = opened(browser, made[language, "page"], language, WIDTHS[size])
    page.emulate_media(media="print" if size == "a4" else "screen")
    assert page.evaluate(PARTED) == []
    page.close()


def test_a_word_longer_than_its_cell_is_broken_not_cut(browser: Browser, made: dict[tuple[str, str], Path]) -> None:
    """As a company's own language may have them: on paper the state's column is narrow."""
    page = opened(browser, made["de", "pack"], "de", WIDTHS["a4"])
    page.emulate_media(media="print")
    states = page.locator(".checklist .state")
    low = states.first.bounding_box()
    states.evaluate_all("all => all.forEach(e => { e.textContent = '☐ Klärungsbedürftigkeitsfeststellung' })")
    high = states.first.bounding_box()
    assert page.evaluate(BESIDE) == []
    assert low is not None
    assert high is not None
    assert high["height"] > low["height"]
    page.close()
