"""`/reports` over HTTP: who may read, what is listed, what is never found, and that nothing in it acts."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import sync_playwright

import reports
from edgeloop.app import api_keys
from edgeloop.app.archive import listed, timeline
from edgeloop.app.cli import run
from edgeloop.home import Home
from edgeloop.settings import PublishSettings, Settings
from tests import small_company as company
from tests.test_door import Served, serving
from tests.test_report import Page
from tests.test_restatements import april, late, shell

HOSTILE = "<script>alert(1)</script> \u202e{{ 7 * 7 }}"
PUBLIC = Settings(publish=PublishSettings(public=True))


@pytest.fixture(scope="module")
def two_months(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with March reported for good and April as it looks now, after late data."""
    home = company.make_frozen(tmp_path_factory.mktemp("two") / "home")
    shell(home, "report", "--month", company.MONTH)
    company.add(home, [*april(), *late()])
    shell(home, "report", "--month", "2026-04")
    return home


@pytest.fixture
def door(two_months: Path, tmp_path: Path) -> Iterator[Served]:
    shutil.copytree(two_months / "reports", tmp_path / "home" / "reports")
    with serving(tmp_path / "home", PUBLIC) as served:
        yield served


def test_the_months_are_listed_with_what_they_said(door: Served, two_months: Path) -> None:
    answer = door.client.get("/reports")
    assert answer.status_code == 200
    page = Page(answer.text)
    titles = {
        m: json.loads((two_months / "reports" / f"{m}.json").read_bytes())["title"] for m in ("2026-03", "2026-04")
    }
    assert titles == {"2026-03": "Keep testing “One-tap rebooking”", "2026-04": "Roll back “One-tap rebooking”"}
    assert page.text.index(titles["2026-04"]) < page.text.index(titles["2026-03"])
    hrefs = [a["href"] for a in page.all("a")]
    assert hrefs == [
        f"reports/{m}{ending}" for m in ("2026-04", "2026-03") for ending in (".html", ".html", ".csv.zip", ".json")
    ]
    for href in hrefs:
        assert door.client.get(f"/{href}").status_code == 200
    (row,) = timeline(listed(door.home)).rows
    assert (row.start, row.end) == ("2026-03-02", "")
    assert (row.change.title, row.verdicts) == ("One-tap rebooking", ("roll back", "keep testing"))
    assert "● keep testing" in page.text
    assert "▼ roll back" in page.text
    assert "provisional" in page.text
    assert all(attrs.get("scope") in ("col", "row") for attrs in page.all("th"))
    assert len(page.all("h1")) == 1


def test_files_are_what_lies_in_the_home(door: Served) -> None:
    for ending, media in (
        (".html", "text/html; charset=utf-8"), (".json", "application/json"), (".csv.zip", "application/zip"),
    ):  # fmt: skip
        answer = door.client.get(f"/reports/2026-03{ending}")
        assert answer.content == (door.home.reports / f"2026-03{ending}").read_bytes()
        assert answer.headers["content-type"] == media
        assert ("attachment" in answer.headers.get("content-disposition", "")) == (ending == ".csv.zip")
    assert door.client.get("/reports/2026-03.pdf").status_code == 404
    (door.home.reports / "2026-03.pdf").write_bytes(b"%PDF-1.4")
    assert door.client.get("/reports/2026-03.pdf").headers["content-type"] == "application/pdf"
    assert ">PDF</a>" in door.client.get("/reports").text


@pytest.mark.parametrize("path", ["/reports", "/reports/2026-03.html", "/reports/2026-03.json", "/reports/nothing"])
def test_no_page_may_do_anything(door: Served, path: str) -> None:
    answer = door.client.get(path)
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; ")
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert "script-src" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "private" in answer.headers["cache-control"]
    if answer.headers["content-type"].startswith("text/html"):
        style = answer.text.split("<style>", 1)[1].split("</style>", 1)[0]
        digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
        assert f"style-src 'sha256-{digest}'" in policy
        page = Page(answer.text)
        assert not {"script", "form", "img", "link"} & {tag for tag, _ in page.tags}
        assert not any(name == "style" or name.startswith("on") for _, attrs in page.tags for name in attrs)


OUTSIDE = [
    "/reports/..%2fkeys%2fapi-keys.json", "/reports/%2e%2e/keys/api-keys.json", "/reports/../keys/api-keys.json",
    "/reports/2026-03.html%00.json", "/reports/2026-03.html/", "/reports//2026-03.html", "/reports/2026-13.html",
    "/reports/2026-03.mail.json", "/reports/.2026-03.html.1.part", "/reports/2026-03.htm", "/reports/%2fetc%2fpasswd",
    "/reports/%D9%A2%D9%A0%D9%A2%D9%A6-03.html", "/reports/2026-02.html", "/reports/2026-03.html%0a", "/reports/..",
    "/reports/2026-03",
]  # fmt: skip


@pytest.mark.parametrize("path", OUTSIDE)
def test_nothing_else_is_found(door: Served, path: str) -> None:
    (door.home.reports / "2026-03.mail.json").write_text("{}")
    secret = door.home.path / "secret.html"
    secret.write_text("a secret of the home")
    (door.home.reports / "2026-02.html").symlink_to(secret)
    # As it is: clients tidy a path before they send it.
    connection = http.client.HTTPConnection(door.client.base_url.host, door.client.base_url.port, timeout=10)
    connection.request("GET", path)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    assert answer.status in (307, 404), content[:200]
    assert b"secret" not in content
    assert "2026-02" not in door.client.get("/reports").text


def test_who_has_it_gets_304(door: Served) -> None:
    for path in ("/reports", "/reports/2026-03.html"):
        first = door.client.get(path)
        for tag in (first.headers["etag"], "W/" + first.headers["etag"], f'"other", {first.headers["etag"]}', "*"):
            again = door.client.get(path, headers={"If-None-Match": tag})
            assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", first.headers["etag"])
        assert door.client.get(path, headers={"If-None-Match": '"other"'}).status_code == 200
        head = door.client.head(path)
        assert (head.status_code, head.content, head.headers["etag"]) == (200, b"", first.headers["etag"])
    changed = first.headers["last-modified"]
    assert door.client.get(path, headers={"If-Modified-Since": changed}).status_code == 304
    for other in ("Thu, 01 Jan 1970 00:00:00 GMT", "yesterday", "Thu, 99 Jan 1970 00:00:00 GMT"):
        assert door.client.get(path, headers={"If-Modified-Since": other}).status_code == 200
    page = door.home.reports / "2026-03.html"
    page.write_bytes(page.read_bytes() + b"\n")
    assert door.client.get(path, headers={"If-None-Match": first.headers["etag"]}).status_code == 200


@pytest.mark.parametrize("path", ["/reports", "/reports/2026-03.html", "/reports/2026-03.json", "/reports/nothing"])
def test_only_who_shows_a_persons_key_may_read(two_months: Path, tmp_path: Path, path: str) -> None:
    shutil.copytree(two_months / "reports", tmp_path / "home" / "reports")
    with serving(tmp_path / "home", Settings()) as door:
        person = api_keys.create(door.home, "jana", kind="person")
        basic, wrong, sender = (
            base64.b64encode(f"jana:{key}".encode()).decode() for key in (person, "el_wrong", door.key)
        )
        shown = {"Bearer el_wrong", f"Basic {wrong}", f"Bearer {door.key}", f"Basic {sender}"}
        for header in (b"Basic \xff", b"Bearer \xff", "Basic !", f"Digest {person}", f"Basic {person}", *sorted(shown)):
            answer = door.client.get(path, headers={"Authorization": header})
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"].startswith("Basic ")
            assert "rebooking" not in answer.text
        assert door.client.get(path).status_code == 401
        found = 404 if path.endswith("nothing") else 200
        for header in (f"Bearer {person}", f"Basic {basic}"):
            assert door.client.get(path, headers={"Authorization": header}).status_code == found
        stopped = door.client.get(path, headers={"Authorization": "Bearer el_guess"})
        assert (stopped.status_code, int(stopped.headers["retry-after"]) > 0) == (429, True)
        assert door.client.get(path, headers={"Authorization": f"Bearer {person}"}).status_code == found


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1000, 360])
def test_archive_and_mail_in_a_browser(two_months: Path, tmp_path: Path, scheme: Any, width: int) -> None:
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert path is not None, "no chromium on the PATH: install the package `chromium`"
    record = msgspec.json.decode((two_months / "reports" / "2026-04.json").read_bytes(), type=reports.Record)
    (tmp_path / "mail.html").write_text(reports.mail.letter(record).html, encoding="utf-8")
    shutil.copytree(two_months / "reports", tmp_path / "home" / "reports")
    with serving(tmp_path / "home", PUBLIC) as door, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        for url in (f"{door.client.base_url}/reports", (tmp_path / "mail.html").as_uri()):
            page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
            complaints: list[str] = []
            asked: list[str] = []
            page.on("console", lambda message, to=complaints: to.append(message.text))
            page.on("request", lambda request, to=asked: to.append(request.url))
            page.goto(url)
            assert (complaints, [one for one in asked if not one.endswith("/favicon.ico")]) == ([], [url])
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            found = Axe().run(page).response["violations"]
            assert [v["id"] for v in found] == [], found
            page.close()
        page = browser.new_page()
        page.goto(f"{door.client.base_url}/reports")
        page.click("text=Roll back “One-tap rebooking”")
        assert page.url.endswith("/reports/2026-04.html")
        assert page.locator("h1").inner_text() == "Roll back “One-tap rebooking”"
        background = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert background == "rgb(253, 252, 250)", "the header's policy refused the page's own style"
        with page.expect_download() as download:
            page.click("text=2026-04.csv.zip")
        assert Path(download.value.path()).read_bytes() == (door.home.reports / "2026-04.csv.zip").read_bytes()
        browser.close()


def test_a_home_without_reports(tmp_path: Path) -> None:
    with serving(tmp_path / "home", PUBLIC) as door:
        assert "There is no report yet." in door.client.get("/reports").text


def test_hostile_and_broken_files_are_listed_and_inert(door: Served) -> None:
    path = door.home.reports / "2026-04.json"
    said = json.loads(path.read_bytes())
    said["title"] = said["changes"][0]["title"] = said["changes"][0]["verdict"] = HOSTILE
    path.write_text(json.dumps(said))
    (door.home.reports / "2026-03.json").write_text("{")
    (door.home.reports / "2026-01.html").write_text("of an older version")
    (door.home.reports / "2025-12.html").write_text("of a newer one")
    (door.home.reports / "2025-12.json").write_text(json.dumps({**said, "schema": "edgeloop.report/9"}))
    page = Page(door.client.get("/reports").text)
    assert not {"script"} & {tag for tag, _ in page.tags}
    assert "{{ 7 * 7 }}" in page.text
    for month in ("2026-03", "2026-01", "2025-12"):
        assert f"Report of {month}" in page.text


def test_many_months_and_changes_are_bounded(door: Served) -> None:
    said = json.loads((door.home.reports / "2026-03.json").read_bytes())
    span = said["changes"][0]
    for n in range(30):
        month = f"{2023 + n // 12}-{n % 12 + 1:02d}"
        spans = [{**span, "change_id": f"c{n}-{i}", "start": f"{month}-{i + 1:02d}T00:00:00Z"} for i in range(9)]
        head = {**said, "month": month, "changes": spans}
        (door.home.reports / f"{month}.json").write_text(json.dumps(head))
        (door.home.reports / f"{month}.html").write_text("x")
    found = timeline(listed(door.home))
    assert len(found.months) == 12
    assert found.months[0] == "2026-04"
    assert len(found.rows) == 60
    assert [r.change.start for r in found.rows] == sorted((r.change.start for r in found.rows), reverse=True)
    assert len(listed(door.home)) == 32
    assert len(door.client.get("/reports").content) < 300_000


def test_a_day_is_the_companys(door: Served) -> None:
    path = door.home.reports / "2026-04.json"
    said = json.loads(path.read_bytes())
    said["changes"][0] |= {"start": "2026-03-31T22:00:00Z", "end": "2026-04-30T21:59:59Z"}
    path.write_text(json.dumps(said))
    assert said["timezone"] == "Europe/Berlin"
    assert [(r.start, r.end) for r in timeline(listed(door.home)).rows] == [("2026-04-01", "2026-04-30")]


def test_the_services_do_not_load_the_statistics_for_it() -> None:
    code = "import sys, edgeloop.app.up, edgeloop.app.serve; print({'analysis', 'reports'} & {*sys.modules} or 'none')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env={**os.environ})
    assert done.stdout.strip() == "none"


def test_the_head_that_is_read_is_the_one_that_is_written(two_months: Path) -> None:
    from edgeloop.app.archive import Head, Span

    for ours, theirs in ((Head, reports.Head), (Span, msgspec.structs.fields(reports.Head)[-1].type.__args__[0])):
        written = {f.name: f.type for f in msgspec.structs.fields(theirs)}
        for field in msgspec.structs.fields(ours):
            if field.name != "changes":
                assert written[field.name] == field.type, field.name


def test_the_door_says_where_they_are(door: Served) -> None:
    assert "href=reports" in door.client.get("/").text
    assert api_keys.read(door.home)
    assert run(["keys", "list", "--home", str(door.home.path)]) == 0
    assert isinstance(door.home, Home)
