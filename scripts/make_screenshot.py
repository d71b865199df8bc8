"""Writes the pictures of docs: the demo's report (`make demo` first) and docs/report, one of each kind of month.

By a real Chromium. A picture has 256 colours at most, so that it is small; `--months` leaves the demo out, `--designs`
all but the months of `tests/design_months.py`.
"""

from __future__ import annotations

import shutil
import struct
import sys
import tempfile
import zlib
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import pypdfium2  # type: ignore[import-untyped]
from playwright.sync_api import Browser, sync_playwright

import reports
from tests import design_months, report_months
from tests.report_fixture import analysed

ROOT = Path(__file__).resolve().parents[1]
DEMO = ROOT / ".edgeloop-demo" / "reports" / "2026-03.html"
FOLDER = ROOT / "docs" / "report"
WIDTH, HEIGHT = 1080, 1500
COLOURS = 256
Scheme = Literal["light", "dark"]
Pixels = npt.NDArray[np.uint8]


def main() -> None:
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    months_only = bool({"--months", "--designs"} & {*sys.argv[1:]})
    if chromium is None or not (months_only or DEMO.exists()):
        sys.exit("needs chromium and the demo's report: run `make demo`, and `make test` once for chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        if not months_only:
            shoot(browser, DEMO, ROOT / "docs" / "report.png")
            shoot(browser, DEMO, ROOT / "docs" / "report-dark.png", scheme="dark")
        if "--designs" not in sys.argv[1:]:
            of_months(browser)
        of_designs(browser)
        browser.close()


def of_designs(browser: Browser) -> None:
    """Of each month of another design the top of its page, and what it says of each change."""
    with tempfile.TemporaryDirectory() as made:
        for name, make in design_months.MONTHS.items():
            plain = name.replace(" ", "-")
            page = Path(made) / f"{plain}.html"
            freeze = make(Path(made) / plain)
            page.write_text(reports.render(reports.build(freeze, analysed(freeze))), encoding="utf-8")
            shoot(browser, page, FOLDER / f"{plain}.png", height=1200)
            if name != "no change":
                shoot(browser, page, FOLDER / f"{plain}-effects.png", height=900, at="#effects")


def of_months(browser: Browser) -> None:
    """Of each kind of month the top of its page; of the fullest also the rest, dark, on a telephone and on paper."""
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as made:
        for name, make in report_months.MONTHS.items():
            plain = name.replace(" ", "-")
            page = Path(made) / f"{plain}.html"
            freeze = make(Path(made) / plain)
            page.write_text(reports.render(reports.build(freeze, analysed(freeze))), encoding="utf-8")
            shoot(browser, page, FOLDER / f"{plain}.png", height=1200)
        everything, nothing = (Path(made) / f"{name}.html" for name in ("everything", "nothing"))
        shoot(browser, everything, FOLDER / "everything-dark.png", height=1200, scheme="dark")
        shoot(browser, everything, FOLDER / "everything-360.png", width=360, height=1500)
        shoot(browser, Path(made) / "names.html", FOLDER / "names-360.png", width=360, height=1500)
        shoot(browser, everything, FOLDER / "everything-effects.png", height=1200, at="#effects")
        shoot(browser, everything, FOLDER / "everything-bridge.png", height=1200, at="#bridge")
        shoot(browser, Path(made) / "under-repair.html", FOLDER / "under-repair-effects.png", height=900, at="#effects")
        shoot(browser, nothing, FOLDER / "nothing-whole.png", width=760, height=None)
        paper(browser, everything, FOLDER / "everything-paper.png")


def shoot(
    browser: Browser,
    page: Path,
    to: Path,
    *,
    width: int = WIDTH,
    height: int | None = HEIGHT,
    scheme: Scheme = "light",
    at: str | None = None,
) -> None:
    """One picture of ``height`` CSS px from the element ``at`` or the top on; None is the whole page."""
    tab = browser.new_page(viewport={"width": width, "height": height or HEIGHT}, color_scheme=scheme)
    tab.goto(page.as_uri())
    if at is not None:
        tab.locator(at).evaluate("e => e.scrollIntoView()")
    to.write_bytes(small(tab.screenshot(full_page=height is None)))
    tab.close()


def paper(browser: Browser, page: Path, to: Path) -> None:
    """The first sheet of A4, as it is printed."""
    tab = browser.new_page()
    tab.goto(page.as_uri())
    sheet = pypdfium2.PdfDocument(tab.pdf(prefer_css_page_size=True, print_background=False))[0]
    pixels = np.asarray(sheet.render(scale=1.3).to_numpy())[:, :, 2::-1]
    to.write_bytes(packed(np.ascontiguousarray(pixels)))
    tab.close()


def small(png: bytes) -> bytes:
    """A PNG of Chromium (8 bits, no palette, not interlaced) with a palette."""
    return packed(pixels_of(png))


def pixels_of(png: bytes) -> Pixels:
    """Rows × columns × (red, green, blue) of a PNG as Chromium writes it (W3C PNG, filters 0 to 4)."""
    at, data, width, height, channels = 8, b"", 0, 0, 3
    while at < len(png):
        (size,), kind = struct.unpack(">I", png[at : at + 4]), png[at + 4 : at + 8]
        body = png[at + 8 : at + 8 + size]
        if kind == b"IHDR":
            width, height, _, colour = struct.unpack(">IIBB", body[:10])
            channels = {2: 3, 6: 4}[colour]
        data += body if kind == b"IDAT" else b""
        at += 12 + size
    raw = np.frombuffer(zlib.decompress(data), dtype=np.uint8).reshape(height, 1 + width * channels)
    lines = np.zeros((height, width, channels), dtype=np.uint8)
    before = np.zeros((width, channels), dtype=np.uint8)
    for y in range(height):
        line = raw[y, 1:].reshape(width, channels).copy()
        if raw[y, 0] == 1:
            line = np.cumsum(line, axis=0, dtype=np.uint8)
        elif raw[y, 0] == 2:
            line += before
        elif raw[y, 0] in (3, 4):
            line = _by_neighbours(line, before, paeth=raw[y, 0] == 4)
        lines[y] = before = line
    return lines[:, :, :3]


def _by_neighbours(line: Pixels, above: Pixels, *, paeth: bool) -> Pixels:
    made = line.astype(int)
    up = above.astype(int)
    left, corner = np.zeros(line.shape[1], dtype=int), np.zeros(line.shape[1], dtype=int)
    for x in range(len(made)):
        if paeth:
            guess = left + up[x] - corner
            a, b, c = abs(guess - left), abs(guess - up[x]), abs(guess - corner)
            told = np.where((a <= b) & (a <= c), left, np.where(b <= c, up[x], corner))
        else:
            told = (left + up[x]) // 2
        left = made[x] = (made[x] + told) % 256
        corner = up[x]
    return made.astype(np.uint8)


def packed(pixels: Pixels) -> bytes:
    """A PNG of at most `COLOURS`; any other becomes the nearest of them."""
    height, width, _ = pixels.shape
    flat = pixels.astype(np.int64).reshape(-1, 3) @ np.array([65536, 256, 1])
    colours, index, counts = np.unique(flat, return_inverse=True, return_counts=True)
    rgb = np.stack([colours >> 16, colours >> 8 & 255, colours & 255], axis=1)
    # The commonest of each shade first, so that a rare hue is not lost among the greys of letters' edges.
    order = np.argsort(-counts, kind="stable")
    _, first = np.unique((rgb[order] >> 4) @ np.array([256, 16, 1]), return_index=True)
    kept = order[np.sort(first)][:COLOURS]
    nearest = np.array([int(((rgb[kept] - one) ** 2).sum(axis=1).argmin()) for one in rgb], dtype=np.uint8)
    rows = np.concatenate([np.zeros((height, 1), np.uint8), nearest[index].reshape(height, width)], axis=1)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in (
            (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)),
            (b"PLTE", rgb[kept].astype(np.uint8).tobytes()),
            (b"IDAT", zlib.compress(rows.tobytes(), 9)),
            (b"IEND", b""),
        )
    )


if __name__ == "__main__":
    main()
