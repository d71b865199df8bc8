"""Everything that anybody may write is hostile, from the door on: inert and bounded in whatever shows it.

One home through `ingest`, `process`, `freeze` and `report`; then its page, pack, JSON, CSV, mail, `/reports` and
`/actions` are read as a browser, a spreadsheet and a program would.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

import reports
from edgeloop.app.door import create_app
from edgeloop.app.report_files import JSON, PAGE, TABLES, WORKSHOP
from edgeloop.home import Home
from edgeloop.settings import PublishSettings, Settings
from tests import small_company as company
from tests.fakes import FixedClock, MemoryLog
from tests.test_actions_page import NOW, Site
from tests.test_door import listening
from tests.test_renderings import FORMULA, RISKY, cells, is_number
from tests.test_report import Page
from tests.test_report_months import HOSTILE
from tests.test_restatements import shell

TITLE = f"{FORMULA}<script>alert(1)</script>\u202e{{{{ 7 * 7 }}}}<h1>owned</h1>"
OWNER = "@SUM(A1)\u2066<svg onload=alert(2)><style>*{display:none}</style></svg>"
TEXTS = (*HOSTILE, FORMULA, "+1+1", "＝1+1", "\t=1+1", "x" * 100_000, f"{HOSTILE[0]} {'long word ' * 9_900}")
TURNS = re.compile("[\u061c\u200f\u202a-\u202e\u2066\u2067\ufeff]")


def events() -> list[dict[str, Any]]:
    """A company's events, in which all free text is one of the corpus."""
    made = company.events()
    for i, event in enumerate(made):
        if event["type"] == "change":
            event |= {"title": TITLE, "owner": OWNER}
        if event["type"] == "exposure":
            event |= {"zone": HOSTILE[6][:60] if i % 2 else FORMULA, "touchpoint": HOSTILE[3][:60]}
        if event["type"] == "response":
            event["survey_id"] = "<b>=1+1</b>"
            event["answers"][1]["text"] = TEXTS[i % len(TEXTS)]
    return made


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hostile") / "home"
    folder.mkdir()
    (folder / "edgeloop.toml").write_text('company = "<i>Finch"\n[metrics.slot_rebooked]\nheadline = true\n')
    company.add(folder, events())
    shell(folder, "freeze", "--month", company.MONTH)
    shell(folder, "report", "--month", company.MONTH)
    return folder


@pytest.fixture(scope="module")
def site(home: Path) -> Iterator[Site]:
    clock = FixedClock(NOW)
    settings = Settings(company=HOSTILE[0], publish=PublishSettings(public=True))
    with listening(create_app(Home(home), settings, MemoryLog(), clock)) as address:
        made = Site(Home(home), clock, address)
        with made.opened:
            made.sign_in()
            yield made


def content(home: Path, ending: str) -> bytes:
    return (home / "reports" / f"{company.MONTH}{ending}").read_bytes()


def inert(html: str, *, forms: bool = False) -> Page:
    """What was hostile is text in it, of no effect and bounded."""
    page = Page(html)
    refused = {"script", "img", "iframe", "object", "embed", "base", "link"} | (set() if forms else {"form", "input"})
    assert not refused & {tag for tag, _ in page.tags}
    assert not any(name.startswith("on") for _, attrs in page.tags for name in attrs)
    assert len(page.all("h1")) == 1
    assert not TURNS.search(html)
    assert "x" * 300 not in html
    assert "long word " * 60 not in html
    assert "7 * 7" in page.text or "cmd|" in page.text, "the corpus did not get so far"
    assert len(html.encode()) < 300_000
    return page


def test_the_page_and_the_pack(home: Path) -> None:
    for ending in (PAGE, WORKSHOP):
        page = inert(content(home, ending).decode())
        assert len(page.all("style")) == 1


def test_json_is_bounded_and_turns_nothing(home: Path) -> None:
    texts: list[str] = []

    def walk(value: object) -> None:
        for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            walk(item)
        if isinstance(value, str):
            texts.append(value)

    walk(msgspec.json.decode(content(home, JSON)))
    assert any("cmd|" in text for text in texts)
    assert max(map(len, texts)) <= 4_000
    assert not any(TURNS.search(text) or re.search("[\x00-\x1f\x7f-\x9f]", text) for text in texts)
    assert len(content(home, JSON)) < 300_000


def test_no_cell_is_a_formula(home: Path) -> None:
    found = cells(content(home, TABLES))
    assert any("cmd|" in cell for cell in found)
    for cell in found:
        assert is_number(cell) or not cell.lstrip().startswith(RISKY), cell[:50]
        assert len(cell) < 10_000


def test_the_mail(home: Path) -> None:
    letter = reports.mail.letter(msgspec.json.decode(content(home, JSON), type=reports.Record))
    inert(letter.html)
    assert {tag for tag, _ in Page(letter.html).tags}.isdisjoint({"svg", "style"})
    assert not re.search(r"[\r\n]", letter.subject)
    assert not TURNS.search(letter.subject + letter.text)


@pytest.mark.parametrize("path", ["/reports", "/actions"])
def test_what_is_served(site: Site, path: str) -> None:
    answer = site.client.get(path)
    assert answer.status_code == 200
    inert(answer.text, forms=path == "/actions")
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"
