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
PAINT = {
    "interval": (250, 0, 250), "trend": (0, 250, 250), "sentiment": (250, 250, 0), "spark": (0, 250, 0),
    "fall": (250, 0, 0),
}  # fmt: skip
"""Kind of chart → the colour it is filled with on paper."""
HEADINGS = "h2:not(.quiet), h3, h4, caption, thead th, thead th small"
SCALE = 1.5
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
    page, told = opened(browser, pages[name], 1000)
    # axe runs in a copy without the policy: the policy forbids every script, axe's too.
    context = browser.new_context(bypass_csp=True)
    copy = context.new_page()
    copy.goto(pages[name].as_uri())
    for width, scheme in VIEWS:
        for each in (page, copy):
            each.set_viewport_size({"width": width, "height": 900})
            each.emulate_media(color_scheme=scheme)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate(TOO_WIDE) == [], (width, scheme)
        found = Axe().run(copy, options={"resultTypes": ["violations"]})
        assert found.response["violations"] == [], found.generate_report()
    assert told == []
    context.close()
    page.close()


@pytest.mark.parametrize("name", NAMES)
def test_at_four_hundred_percent_only_tables_scroll(browser: Browser, pages: dict[str, Path], name: str) -> None:
    page, _ = opened(browser, pages[name], ZOOMED)
    assert page.evaluate("document.documentElement.scrollWidth") <= ZOOMED
    assert page.evaluate(TOO_WIDE) == []
    page.close()


@pytest.mark.parametrize("name", NAMES)
def test_by_keyboard_everything_is_reached_and_seen(browser: Browser, pages: dict[str, Path], name: str) -> None:
    page, _ = opened(browser, pages[name], 1000)
    wanted = page.evaluate("document.querySelectorAll('a[href], [tabindex=\"0\"]').length")
    assert wanted >= 2  # the two files beside it
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
    links = page.locator("a[href^='#change-']")
    assert links.count() or name in ("nothing", "one version")
    for first in links.all()[:1]:
        target = (first.get_attribute("href") or "").removeprefix("#")
        first.focus()
        page.keyboard.press("Enter")
        assert page.evaluate("location.hash") == f"#{target}"
        assert -1 <= page.evaluate(f"document.getElementById('{target}').getBoundingClientRect().top") < 900
    page.close()


def printed(browser: Browser, path: Path) -> tuple[pypdfium2.PdfDocument, dict[str, int], list[str]]:
    """The page on A4 as Chromium prints it, its charts filled with `PAINT`; how many charts of each kind it has, and
    its headings."""
    html = path.read_text(encoding="utf-8")
    start = html.index("<meta http-equiv")
    html = html[:start] + html[html.index(">", start) + 1 :]  # the policy would refuse the paint
    paint = "".join(
        f"svg.{kind}{{background:rgb{colour}!important}}svg.{kind} *{{opacity:0}}" for kind, colour in PAINT.items()
    )
    painted = path.with_name(f"{path.stem}-painted.html")
    painted.write_text(html.replace("</style>", f"{paint}</style>", 1), encoding="utf-8")
    page, _ = opened(browser, painted, 1000)
    counts = {kind: page.evaluate(f"document.querySelectorAll('svg.{kind}').length") for kind in PAINT}
    headings = page.evaluate(f"[...document.querySelectorAll('{HEADINGS}')].map(e => e.textContent.trim())")
    document = pypdfium2.PdfDocument(io.BytesIO(page.pdf(prefer_css_page_size=True, print_background=True)))
    page.close()
    return document, counts, [" ".join(heading.split()) for heading in headings if heading and not heading.isdigit()]


def rastered(sheet: Any) -> Any:
    """Red, green and blue of each dot."""
    return np.asarray(sheet.render(scale=SCALE).to_numpy())[:, :, :3][:, :, ::-1].astype(np.int16)


def pieces(images: list[Any], kind: str) -> list[int]:
    """How high each piece of a chart of this kind is, in dots."""
    found: list[int] = []
    for image in images:
        marked = (np.abs(image - np.array(PAINT[kind], dtype=np.int16)).max(axis=2) < 40).sum(axis=1) > 20
        edges = np.flatnonzero(np.diff(np.concatenate([[0], marked.astype(int), [0]])))
        found += [int(high) for high in edges[1::2] - edges[::2]]
    return found


@pytest.mark.parametrize("name", NAMES)
def test_on_paper_no_chart_is_cut_and_no_heading_stands_alone(
    browser: Browser, pages: dict[str, Path], name: str
) -> None:
    """Each chart is filled with a colour that nothing else has, and lies whole on one sheet: as high as the others of
    its kind. A chart cut by the end of a page would leave two lower pieces."""
    document, counts, headings = printed(browser, pages[name])
    assert sum(counts.values()) > 0 or name == "nothing"
    assert 2 <= len(document) <= 24
    images = [rastered(sheet) for sheet in document]
    edge = round(8 / 25.4 * 72 * SCALE)  # margins are 16 mm and 15 mm; 8 mm of every edge are white
    for i, (sheet, image) in enumerate(zip(document, images, strict=True)):
        width, height = sheet.get_size()
        assert (round(width), round(height)) == (595, 842)
        ink = image.min(axis=2) < 128
        for side in (ink[:edge], ink[-edge:], ink[:, :edge], ink[:, -edge:]):
            assert not side.any(), f"page {i + 1} prints into its margin"
        lines = [line.strip() for line in sheet.get_textpage().get_text_bounded().splitlines() if line.strip()]
        assert lines, f"page {i + 1} is empty"
        if i + 1 < len(document):
            assert not any(lines[-1].endswith(heading) for heading in headings), f"page {i + 1} ends: {lines[-1]!r}"
    for kind, n in counts.items():
        found = pieces(images, kind)
        assert len(found) == n, (kind, n, found)
        assert not found or max(found) - min(found) <= 3, (kind, found)


def test_a_cut_chart_would_be_found(browser: Browser, pages: dict[str, Path]) -> None:
    """A chart that is higher than a sheet is cut, and leaves more pieces than there are charts."""
    broken = pages["everything"].with_name("broken.html")
    html = pages["everything"].read_text(encoding="utf-8")
    tall = "svg.sentiment{height:300mm!important;width:100mm!important;max-width:none!important}"
    broken.write_text(html.replace("</style>", f"{tall}</style>", 1), encoding="utf-8")
    document, counts, _ = printed(browser, broken)
    images = [rastered(sheet) for sheet in document]
    assert len(pieces(images, "sentiment")) > counts["sentiment"]
    assert len(pieces(images, "fall")) == counts["fall"]


def test_a_rich_month_fills_its_sheets(browser: Browser, pages: dict[str, Path]) -> None:
    """The first decision stands on the first sheet, and four changes with fifteen rows that say nothing take no more
    than eleven sheets (a reader was given thirteen)."""
    document, _, _ = printed(browser, pages["everything"])
    assert len(document) <= 11
    first = document[0].get_textpage().get_text_bounded()
    assert "Decisions asked" in first
    assert "Roll back" in first[first.index("Decisions asked") :]
    lowest = np.flatnonzero((rastered(document[0]).min(axis=2) < 200).any(axis=1))[-1]
    assert lowest / rastered(document[0]).shape[0] > 0.85
