"""The report as PDF by a real Chromium: A4, whole, silent; and what is said where it cannot be."""

from __future__ import annotations

import os
import stat
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pypdfium2
import pytest

import reports
from edgeloop.app.pdf import NoBrowserError, browser, print_pdf
from edgeloop.errors import EdgeloopError
from edgeloop.settings import PublishSettings
from tests import report_fixture as fixture

OWN = PublishSettings()
A4 = (595, 842)


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("a report of März")
    freeze = fixture.write(folder / "freeze", fixture.frames(remark=fixture.HOSTILE))
    path = folder / "2026-03.html"
    path.write_text(reports.render(reports.build(freeze, fixture.analysed(freeze))), encoding="utf-8")
    return path


@pytest.mark.slow
def test_every_page_is_a4_and_has_something_on_it(page_file: Path) -> None:
    path = print_pdf(page_file, OWN)
    assert path == page_file.with_suffix(".pdf")
    document = pypdfium2.PdfDocument(path)
    try:
        texts = []
        for page in document:
            assert tuple(round(side) for side in page.get_size()) == A4
            text = page.get_textpage()
            texts.append(text.get_text_range())
            text.close()
            picture = page.render(scale=0.5).to_numpy()
            inked = float((picture.min(axis=2) < 200).mean())
            assert inked > 0.005, "a page without anything on it"
    finally:
        document.close()
    whole = " ".join(" ".join(texts).split())
    assert "Roll back" in whole
    assert "Jana Ortiz, CRM" in whole
    assert "<script>alert(1)" in whole
    assert "2026-03-0123456789ab" in whole
    assert not [p for p in path.parent.iterdir() if p.suffix == ".part"]


class Heard(BaseHTTPRequestHandler):
    """Counts who asks."""

    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.slow
def test_nothing_is_fetched_even_by_a_page_that_asks(tmp_path: Path) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Heard) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        page = tmp_path / "page.html"
        address = f"http://127.0.0.1:{server.server_port}"
        page.write_text(
            f"<!doctype html><h1>Here</h1><img src='{address}/i'><link rel=stylesheet href='{address}/c'>"
            f"<script>fetch('{address}/js'); fetch('http://localhost:{server.server_port}/name')</script>"
            f"<iframe src='{address}/f'></iframe>"
        )
        path = print_pdf(page, OWN)
        server.shutdown()
        thread.join()
    document = pypdfium2.PdfDocument(path)
    text = document[0].get_textpage()
    assert "Here" in text.get_text_range()
    text.close()
    document.close()
    assert Heard.asked == []


def program(folder: Path, body: str) -> PublishSettings:
    """Settings with a program that does this instead."""
    path = folder / "chrome"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return PublishSettings(chromium=str(path))


def test_one_that_hangs_is_ended_with_its_children(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text("<p>x")
    own = program(tmp_path, f"sleep 60 & echo $! > {tmp_path}/child; wait")
    began = time.monotonic()
    with pytest.raises(EdgeloopError, match="did not print within 1 s and was ended"):
        print_pdf(page, own, within_s=1.0)
    assert time.monotonic() - began < 10
    child = int((tmp_path / "child").read_text())
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(child)], capture_output=True, text=True, check=False).stdout
    assert not state.strip() or state.startswith("Z")
    assert not page.with_suffix(".pdf").exists()


def test_one_that_prints_nothing(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text("<p>x")
    with pytest.raises(EdgeloopError, match="printed nothing"):
        print_pdf(page, program(tmp_path, "exit 3"))


def test_it_gets_a_profile_of_its_own_and_none_of_our_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGELOOP_MAIL_PASSWORD", "sesame")
    page = tmp_path / "page.html"
    page.write_text("<p>x")
    own = program(tmp_path, f'echo "$@" > {tmp_path}/said; env >> {tmp_path}/said; exit 1')
    with pytest.raises(EdgeloopError):
        print_pdf(page, own)
    said = (tmp_path / "said").read_text()
    assert "--user-data-dir=" in said
    assert "sesame" not in said
    assert ("--no-sandbox" in said) == (os.geteuid() == 0)


def test_none_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NoBrowserError, match="install it"):
        browser(OWN)
    with pytest.raises(NoBrowserError, match="is no program"):
        browser(PublishSettings(chromium="/nowhere/chrome"))
