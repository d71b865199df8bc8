"""The page for everybody, in a real Chromium: axe finds nothing, any width, any zoom, by keyboard, and on paper."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pypdfium2  # type: ignore[import-untyped]
import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from playwright.sync_api import Browser, Page, sync_playwright

import reports
from tests import report_months
from tests.report_fixture import analysed
from tests.test_report_months import hostile

pytestmark = pytest.mark.slow

NAMES = [*report_months.MONTHS, "hostile"]
VIEWS: list[tuple[int, Any]] = [(1000, "light"), (1000, "dark"), (360, "light")]
ZOOMED = 320
"""CSS px of a screen of 1280 at 400 %."""
# What is wider than the page and does not scroll by itself; what is hidden for readers of screens is no layout.
TOO_WIDE = """() => {
  const w = document.documentElement.clientWidth, bad = [];
  for (const e of document.querySelectorAll('body *')) {
    if (['.wide', 'svg', '.sr', '.quiet', 'thead'].some(s => e.closest(s))) continue;
    const box = e.getBoundingClientRect();
    if (box.width && (box.right > w + 1 || box.left < -1)) bad.push(e.tagName + '.' + e.className + ' ' + box.right);
  }
  return bad;
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.fail("no chromium on the PATH: the report is checked in a real browser; install the package `chromium`")
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    made = {}
    for name in NAMES:
        freeze = hostile(folder / "h") if name == "hostile" else report_months.MONTHS[name](folder / name)
        made[name] = folder / f"{name}.html"
        made[name].write_text(reports.render(reports.build(freeze, analysed(freeze))), encoding="utf-8")
    return made


def opened(browser: Browser, path: Path, width: int, scheme: Any = "light") -> tuple[Page, list[str]]:
    """The page, and what went wrong or was asked of the network while it loaded."""
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    told: list[str] = []
    page.on("console", lambda message: told.append(message.text))
    page.on("pageerror", lambda error: told.append(str(error)))
    page.on("dialog", lambda dialog: told.append(dialog.message))
    page.on("request", lambda request: told.append(request.url) if request.url != path.as_uri() else None)
    page.goto(path.as_uri())
    return page, told


@pytest.mark.parametrize("name", NAMES)
def test_axe_finds_nothing_and_nothing_leaves(browser: Browser, pages: dict[str, Path], name: str) -> None:
    for width, scheme in VIEWS:
        page, told = opened(browser, pages[name], width, scheme)
        assert told == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate(TOO_WIDE) == [], (width, scheme)
        # axe runs in a copy without the policy: the policy forbids every script, axe's too.
        copy = browser.new_context(
            bypass_csp=True, viewport={"width": width, "height": 900}, color_scheme=scheme
        ).new_page()
        copy.goto(pages[name].as_uri())
        found = Axe().run(copy, options={"resultTypes": ["violations", "incomplete"]})
        assert found.response["violations"] == [], found.generate_report()
        copy.context.close()
        page.close()


@pytest.mark.parametrize("name", NAMES)
def test_at_four_hundred_percent_only_tables_scroll(browser: Browser, pages: dict[str, Path], name: str) -> None:
    page, _ = opened(browser, pages[name], ZOOMED)
    assert page.evaluate("document.documentElement.scrollWidth") <= ZOOMED
    assert page.evaluate(TOO_WIDE) == []
    page.close()


@pytest.mark.parametrize("name", ["everything", "names"])
def test_by_keyboard_everything_is_reached_and_seen(browser: Browser, pages: dict[str, Path], name: str) -> None:
    page, _ = opened(browser, pages[name], 1000)
    wanted = page.evaluate("document.querySelectorAll('a[href], [tabindex=\"0\"]').length")
    assert wanted > 3
    seen = []
    for _ in range(wanted):
        page.keyboard.press("Tab")
        seen.append(
            page.evaluate(
                """() => { const e = document.activeElement, s = getComputedStyle(e), b = e.getBoundingClientRect();
                return [e.outerHTML.slice(0, 80), s.outlineStyle, parseFloat(s.outlineWidth),
                        b.top >= -1 && b.bottom <= innerHeight + 1]; }"""
            )
        )
    order = page.evaluate(
        "[...document.querySelectorAll('a[href], [tabindex=\"0\"]')].map(e => e.outerHTML.slice(0, 80))"
    )
    assert [html for html, *_ in seen] == order
    assert all(style == "solid" and width >= 2 and inside for _, style, width, inside in seen), seen
    first = page.locator("a[href^='#change-']").first
    target = (first.get_attribute("href") or "").removeprefix("#")
    first.focus()
    page.keyboard.press("Enter")
    assert page.evaluate("location.hash") == f"#{target}"
    assert -1 <= page.evaluate(f"document.getElementById('{target}').getBoundingClientRect().top") < 900
    page.close()


def printed(browser: Browser, path: Path) -> pypdfium2.PdfDocument:
    """The page on A4, as Chromium prints it."""
    page, _ = opened(browser, path, 1000)
    pdf = page.pdf(prefer_css_page_size=True, print_background=False)
    page.close()
    return pypdfium2.PdfDocument(io.BytesIO(pdf))


@pytest.mark.parametrize("name", ["everything"])
def test_on_paper_nothing_is_cut_and_no_heading_stands_alone(
    browser: Browser, pages: dict[str, Path], name: str
) -> None:
    document = printed(browser, pages[name])
    page, _ = opened(browser, pages[name], 1000)
    kinds = "h2:not(.quiet), h3, h4, caption, thead th, thead th small"
    headings = page.evaluate(f"[...document.querySelectorAll('{kinds}')].map(e => e.textContent.trim())")
    page.close()
    assert 4 <= len(document) <= 14
    for i, sheet in enumerate(document):
        width, height = sheet.get_size()
        assert (round(width), round(height)) == (595, 842)
        ink = np.asarray(sheet.render(scale=1.5, grayscale=True).to_numpy()).squeeze() < 128
        edge = round(8 / 25.4 * 72 * 1.5)  # margins are 16 mm and 15 mm; 8 mm of every edge are white
        for side in (ink[:edge], ink[-edge:], ink[:, :edge], ink[:, -edge:]):
            assert not side.any(), f"page {i + 1} prints into its margin"
        text = sheet.get_textpage()
        lines = [line.strip() for line in text.get_text_bounded().splitlines() if line.strip()]
        assert lines, f"page {i + 1} is empty"
        if i + 1 < len(document):
            alone = [h for h in headings if h and lines[-1].endswith(" ".join(h.split()))]
            assert not alone, f"page {i + 1} ends with {lines[-1]!r}"


@pytest.mark.parametrize("name", ["everything"])
def test_charts_are_whole_on_paper(browser: Browser, pages: dict[str, Path], name: str) -> None:
    """Each chart is filled with a colour that nothing else has, and lies whole on one sheet: as high as on the others
    of its kind. A chart cut by the end of a page would leave two lower pieces."""
    page, _ = opened(browser, pages[name], 1000)
    kinds = {"interval": (250, 0, 250), "trend": (0, 250, 250), "sentiment": (250, 250, 0), "spark": (0, 250, 0)}
    counts = {kind: page.evaluate(f"document.querySelectorAll('svg.{kind}').length") for kind in kinds}
    html = pages[name].read_text(encoding="utf-8")
    paint = "".join(
        f"svg.{kind}{{background:rgb{colour}!important;outline:2px solid rgb{colour}}}svg.{kind} *{{opacity:0}}"
        for kind, colour in kinds.items()
    )
    painted = pages[name].with_name(f"{name}-painted.html")
    start = html.index("<meta http-equiv")
    html = html[:start] + html[html.index(">", start) + 1 :]
    painted.write_text(html.replace("</style>", f"{paint}</style>", 1), encoding="utf-8")
    copy, _ = opened(browser, painted, 1000)
    document = pypdfium2.PdfDocument(io.BytesIO(copy.pdf(prefer_css_page_size=True, print_background=True)))
    for kind, colour in kinds.items():
        heights = []
        for sheet in document:
            image = np.asarray(sheet.render(scale=2).to_numpy())[:, :, :3][:, :, ::-1]
            marked = (np.abs(image.astype(int) - np.array(colour)).max(axis=2) < 40).sum(axis=1) > 20
            edges = np.flatnonzero(np.diff(np.concatenate([[0], marked.astype(int), [0]])))
            heights += list(edges[1::2] - edges[::2])
        assert counts[kind] == 0 or len(heights) == counts[kind], (kind, counts[kind], heights)
        if heights:
            assert max(heights) - min(heights) <= 3, (kind, heights)
    copy.close()
    page.close()
