"""Writes docs/report.png and docs/report-dark.png from the demo's report (`make demo` first), by a real Chromium."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Literal

from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parents[1]
REPORT = ROOT / ".edgeloop-demo" / "reports" / "2026-03.html"
WIDTH, HEIGHT = 1080, 1500
SCHEMES: tuple[tuple[Literal["light", "dark"], str], ...] = (("light", "report.png"), ("dark", "report-dark.png"))


def main() -> None:
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None or not REPORT.exists():
        sys.exit("needs chromium and the demo's report: run `make demo`, and `make test` once for chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for scheme, name in SCHEMES:
            page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme=scheme)
            page.goto(REPORT.as_uri())
            page.screenshot(path=ROOT / "docs" / name)
        browser.close()


if __name__ == "__main__":
    main()
