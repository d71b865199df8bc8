"""JSON, CSV and mail of the month: all of the findings, and nothing in them that acts, steers or runs over."""

from __future__ import annotations

import csv
import io
import json
import re
import zipfile
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pandas as pd
import pytest

import reports
from connectors import mail
from edgeloop.app.publish import Rendered, rendered
from edgeloop.app.report_files import JSON, PAGE, TABLES
from edgeloop.settings import MailSettings
from reports.bounded import MOST_CHARACTERS, bounded, text
from reports.language import spoken
from scripts.make_reference import DOCS
from tests import report_fixture as fixture
from tests.mailbox import mail_server
from tests.test_report import Page

FORMULA = "=cmd|'/C calc'!A0"
TURNED = "safe\u202egnp.exe\u202c\u2066\u200f"
LONG = "A very long answer. " * 5_000  # 100,000 characters
EVIL = {
    "script": fixture.HOSTILE,
    "formula": FORMULA,
    "plus": "+1+1",
    "at": "@SUM(A1)",
    "spaced": "\t\r\n =1+1",
    "full width": "＝1+1",
    "turned": TURNED,
    "long": LONG,
    "quotes": 'a "quoted", comma; semicolon\r\nBcc: victim@example.org',
    "svg": '<svg onload="alert(1)"><style>*{display:none}</style></svg>{% raw %}{{ x }}',
}
RISKY = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def made(folder: Path, tables: dict[str, Any]) -> Rendered:
    freeze = fixture.write(folder, tables)
    return rendered(freeze, fixture.analysed(freeze), None)


@pytest.fixture(scope="module")
def month(tmp_path_factory: pytest.TempPathFactory) -> Rendered:
    return made(tmp_path_factory.mktemp("month") / "f", fixture.frames())


@pytest.fixture(scope="module", params=[0, 4, 8])
def evil(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Rendered:
    """A month in which every text that anybody may choose is hostile; each word is in a title in one of them."""
    turned = [*EVIL.values(), *EVIL.values()][request.param :]
    tables = fixture.frames(remark=turned[4])
    changes = tables["changes"]
    changes["title"], changes["owner"] = turned[:3], [turned[3], *turned[:2]]
    more = changes.iloc[[0]].assign(change_id="more", rollout_id="more", model_id="route-order", title=turned[3])
    tables["changes"] = pd.concat([changes, more], ignore_index=True)
    return made(tmp_path_factory.mktemp("evil") / "f", tables)


def files_of(content: bytes) -> dict[str, list[list[str]]]:
    with zipfile.ZipFile(io.BytesIO(content)) as packed:
        assert packed.testzip() is None
        return {name: list(csv.reader(io.StringIO(packed.read(name).decode("utf-8-sig"), newline=""))) for name in
                packed.namelist()}  # fmt: skip


def test_json_holds_all_findings_and_reads_back(month: Rendered) -> None:
    assert msgspec.json.decode(month.files[JSON], type=reports.Record) == month.record
    head = msgspec.json.decode(month.files[JSON], type=reports.Head)  # as a program of another version reads it
    assert (head.schema, head.month, head.freeze_id) == ("edgeloop.report/1", "2026-03", "2026-03-0123456789ab")
    assert head.title == "Roll back “Bigger promotion card”; promote “One-tap rebooking”"
    verdicts = {c.title: c.verdict for c in head.changes}
    assert verdicts == {
        "One-tap rebooking": "promote", "Bigger promotion card": "roll back", "Shorter ETA window": "keep testing",
    }  # fmt: skip
    assert {c.start for c in head.changes} == {"2026-03-02T00:00:00Z", "2026-03-10T00:00:00Z"}


def test_json_is_as_its_schema_says(month: Rendered) -> None:
    schema = json.loads((DOCS / "schemas" / "report.json").read_text(encoding="utf-8"))
    jsonschema.validate(json.loads(month.files[JSON]), schema)
    broken = json.loads(month.files[JSON])
    broken["findings"]["decisions"][0]["verdict"] = "perhaps"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(broken, schema)


def test_every_list_of_the_findings_is_a_table(month: Rendered) -> None:
    files, f = files_of(month.files[TABLES]), month.record.findings
    told = dict(files["month.csv"][1:])
    assert told["title"] == f.title
    assert told["trust.summary"] == f.trust.summary
    assert len(files["decisions.csv"]) == 1 + len(f.decisions)
    effects = [dict(zip(files["changes_effects.csv"][0], row, strict=True)) for row in files["changes_effects.csv"][1:]]
    drawn = [(c.change_id, c.title, e) for c in f.changes for e in c.effects]
    assert [(r["changes.change_id"], r["changes.title"], r["metric"]) for r in effects] == [
        (c, title, e.metric) for c, title, e in drawn
    ]
    assert [tuple(float(r[n]) if r[n] else None for n in ("low", "effect", "high")) for r in effects] == [
        (e.low, e.effect, e.high) for _, _, e in drawn
    ]
    counts = [(q.label, label, str(n)) for v in f.voices for q in v.questions for label, n in q.counts]
    assert [(row[2], row[4], row[5]) for row in files["voices_questions_counts.csv"][1:]] == counts
    assert len(files["health_models_weeks.csv"]) == 1 + sum(len(m.weeks) for m in f.health.models)
    assert files["restatements_rows.csv"][1:] == []
    assert "change_id" in files["restatements_rows.csv"][0]
    exact = [dict(zip(files["estimates.csv"][0], row, strict=True)) for row in files["estimates.csv"][1:]]
    whole = [r for r in exact if r["decision_low"] and r["dimension"] == "all"]
    shown = {(c, e.metric): e.effect for c, _, e in drawn if e.low is not None or e.high is not None}
    assert {(r["change_id"], r["metric"]): float(r["effect"]) for r in whole} == shown


def test_a_table_is_rfc_4180_in_utf_8_that_excel_knows(month: Rendered) -> None:
    with zipfile.ZipFile(io.BytesIO(month.files[TABLES])) as packed:
        for name in packed.namelist():
            content = packed.read(name)
            assert content.startswith(b"\xef\xbb\xbf")
            assert content.endswith(b"\r\n")
            assert b"\n" not in content.replace(b"\r\n", b"")
            lines = list(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline="")))
            assert {len(line) for line in lines} == {len(lines[0])}
            assert len(set(lines[0])) == len(lines[0])
            assert re.fullmatch(r"[a-z_]+\.csv", name)


def test_the_same_freeze_gives_the_same_bytes(month: Rendered, tmp_path: Path) -> None:
    assert made(tmp_path / "again", fixture.frames()).files == month.files


def test_an_empty_month_has_them_too(tmp_path: Path) -> None:
    empty = made(tmp_path / "empty", {})
    assert files_of(empty.files[TABLES])["decisions.csv"][1:] == []
    letter = reports.mail.letter(empty.record)
    assert "No decision is asked this month." in letter.text
    assert "No decision is asked this month." in letter.html


def test_the_mail_has_the_verdict_and_each_decision(month: Rendered) -> None:
    letter = reports.mail.letter(month.record)
    f = month.record.findings
    page = Page(letter.html)
    assert letter.subject == f"Simulated data: Provisional: Finch Parcels, March 2026: {f.title}"
    for words in (
        f.title,
        f.standing,
        *(part for d in f.decisions for part in (d.action, d.why, d.owner, d.by, d.sure)),
    ):
        assert words in letter.text
        assert " ".join(words.split()) in page.text  # which reads a no-break space as any other
    assert f.freeze_id in letter.text
    assert len(page.all("h1")) == 1
    assert all(attrs.get("scope") == "row" for attrs in page.all("th"))
    assert not {"script", "img", "link", "style", "a", "form"} & {tag for tag, _ in page.tags}
    assert "http" not in letter.html
    assert len(letter.html) < 20_000


def test_the_mail_is_in_the_language_of_its_report(month: Rendered) -> None:
    assert month.record.language == "en"
    german = reports.mail.letter(msgspec.structs.replace(month.record, language="de"))
    assert Page(german.html).all("html")[0]["lang"] == "de"
    assert spoken() == "en"


def cells(content: bytes) -> list[str]:
    return [cell for rows in files_of(content).values() for row in rows for cell in row]


def is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def test_no_cell_is_a_formula(evil: Rendered) -> None:
    for cell in cells(evil.files[TABLES]):
        assert is_number(cell) or not cell.lstrip().startswith(RISKY), cell[:50]
        assert is_number(cell) or not cell.startswith(RISKY), cell[:50]


def test_every_text_is_bounded_and_turns_nothing(evil: Rendered) -> None:
    letter = reports.mail.letter(evil.record)
    texts: list[str] = []

    def walk(value: object) -> None:
        if isinstance(value, dict):
            for item in value.values():
                walk(item)
        elif isinstance(value, list):
            for item in value:
                walk(item)
        elif isinstance(value, str):
            texts.append(value)

    walk(msgspec.json.decode(evil.files[JSON]))
    assert len(texts) > 200
    for one in (*texts, letter.subject, letter.text.replace("\n", ""), evil.files[PAGE].decode().replace("\n", "")):
        assert not re.search("[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]", one)
    assert max(map(len, texts)) <= MOST_CHARACTERS
    assert len(evil.files[PAGE]) < 300_000
    assert len(evil.files[JSON]) < 300_000
    assert len(letter.html) < 100_000
    estimates = {"estimates.csv", "checks.csv"}
    assert sum(len(c) for name, rows in files_of(evil.files[TABLES]).items() if name not in estimates for r in rows
               for c in r) < 300_000  # fmt: skip


def test_nothing_of_it_acts_in_page_or_mail(evil: Rendered) -> None:
    letter = reports.mail.letter(evil.record)
    for html in (evil.files[PAGE].decode(), letter.html):
        page = Page(html)
        assert not {"script", "img", "form", "iframe", "object"} & {tag for tag, _ in page.tags}
        assert not any(name.startswith("on") for _, attrs in page.tags for name in attrs)
        assert len(page.all("h1")) == 1
    assert {tag for tag, _ in Page(letter.html).tags}.isdisjoint({"svg", "style"})


def test_it_goes_through_a_server_and_no_header_is_its(evil: Rendered) -> None:
    letter = reports.mail.letter(evil.record)
    with mail_server() as box:
        mail.send(
            mail.Mail(to=box.settings.to, subject=letter.subject, text=letter.text, html=letter.html), box.settings
        )
        (message,) = box.messages
    assert box.envelopes[0].rcpt_tos == ["jana@example.org", "ops@example.org"]
    assert message["Bcc"] is None
    assert len(message["Subject"]) <= mail.MOST_SUBJECT


class Framed(msgspec.Struct, frozen=True):
    """As the page has the company's logo."""

    logo: str
    name: str


def test_a_picture_of_the_settings_stays_whole() -> None:
    framed = bounded(Framed("data:image/png;base64," + "A" * 60_000, "A" * 60_000))
    assert (len(framed.logo), len(framed.name)) == (60_022, MOST_CHARACTERS)


def test_bounded_keeps_what_is_fine() -> None:
    settings = MailSettings(host="Zürich\u00a0−1 %", to=("a", "b\x00c"), timeout_s=3.0)
    assert bounded(settings) == MailSettings(host="Zürich\u00a0−1 %", to=("a", "b c"), timeout_s=3.0)
    assert text("x" * 9_000) == "x" * (MOST_CHARACTERS - 1) + "…"
    assert text("x" * MOST_CHARACTERS) == "x" * MOST_CHARACTERS
