"""`edgeloop report verify`: what was published, what the freeze gives, and who changed which of them."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from edgeloop.app.cli import run
from tests import small_company as company
from tests.test_restatements import late


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = company.make_frozen(tmp_path_factory.mktemp("published") / "home")
    assert run(["report", "--month", company.MONTH, "--home", str(home)]) == 0
    return home


@pytest.fixture
def home(published: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    shutil.copytree(published, tmp_path / "home")
    return tmp_path / "home"


class Verified:
    """Exit code, lines by check, and what was said."""

    def __init__(self, home: Path, capsys: pytest.CaptureFixture[str], *arguments: str) -> None:
        capsys.readouterr()
        self.code = run(["report", "verify", *arguments, "--home", str(home), "--json"])
        said = capsys.readouterr()
        self.err = said.err
        self.lines: list[dict[str, Any]] = json.loads(said.out) if said.out else []

    def states(self) -> dict[str, str]:
        return {line["check"]: line["state"] for line in self.lines}

    def what(self, check: str) -> str:
        return next(line["what"] for line in self.lines if line["check"] == check)


ALL_WELL = dict.fromkeys(("code", "freeze", "tables", "report", "json", "csv", "feedback", "workshop"), "ok")


def test_as_published(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = Verified(home, capsys, "--month", company.MONTH)
    assert (found.code, found.states()) == (0, ALL_WELL)
    manifest = json.loads((home / "freezes" / company.MONTH / "manifest.json").read_bytes())
    assert manifest["freeze_id"] in found.what("freeze")


def test_a_file_from_a_mail(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy = tmp_path / "as it came.html"
    shutil.copy(home / "reports" / f"{company.MONTH}.html", copy)
    found = Verified(home, capsys, str(copy))
    assert (found.code, found.states()) == (0, {k: ALL_WELL[k] for k in ("code", "freeze", "tables", "report")})
    copy.write_bytes(copy.read_bytes().replace(b"<h1>Keep testing", b"<h1>Promote"))
    found = Verified(home, capsys, str(copy))
    assert (found.code, found.states()["report"]) == (3, "fail")
    line = next(i for i, text in enumerate(copy.read_bytes().split(b"\n"), 1) if b"<h1>Promote" in text)
    assert f"first in line {line}" in found.what("report")


@pytest.mark.parametrize(
    ("ending", "check"),
    [(".html", "report"), (".json", "json"), (".csv.zip", "csv"), (".feedback.json", "feedback"),
     ("-workshop.html", "workshop")],
)  # fmt: skip
def test_one_byte(home: Path, ending: str, check: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = home / "reports" / f"{company.MONTH}{ending}"
    content = bytearray(path.read_bytes())
    content[-min(40, len(content) // 2)] ^= 1
    path.write_bytes(content)
    found = Verified(home, capsys, "--month", company.MONTH)
    assert (found.code, found.states()) == (3, {**ALL_WELL, check: "fail"})


def test_a_table_that_is_another(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = home / "freezes" / company.MONTH / "engagement.parquet"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    found = Verified(home, capsys, "--month", company.MONTH)
    assert (found.code, found.states()) == (3, {"code": "ok", "freeze": "ok", "tables": "fail"})
    assert "engagement.parquet" in found.what("tables")
    path.unlink()
    assert Verified(home, capsys, "--month", company.MONTH).code == 3


def test_a_manifest_that_was_changed(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = home / "freezes" / company.MONTH / "manifest.json"
    path.write_text(path.read_text().replace("Finch Parcels", "Finch Parcel"))
    found = Verified(home, capsys, "--month", company.MONTH)
    assert (found.code, found.states()) == (3, {"code": "ok", "freeze": "fail", "tables": "ok"})


def test_a_freeze_of_an_older_version_has_the_hash_of_what_it_says(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = home / "freezes" / company.MONTH / "manifest.json"
    said = json.loads(path.read_bytes())
    del said["printed_month"]
    told = json.dumps({**said, "freeze_id": ""}, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    said["freeze_id"] = f"{company.MONTH}-{hashlib.sha256(told.encode()).hexdigest()[:12]}"
    path.write_text(json.dumps(said))
    assert run(["report", "--month", company.MONTH, "--home", str(home)]) == 0
    found = Verified(home, capsys, "--month", company.MONTH)
    assert (found.code, found.states()) == (0, ALL_WELL)


def test_another_version_made_it(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = home / "reports" / f"{company.MONTH}.html"
    path.write_bytes(path.read_bytes().replace(b'content="Edgeloop ', b'content="Edgeloop 9.9+', 1))
    found = Verified(home, capsys, "--month", company.MONTH)
    assert (found.code, found.states()) == (3, {**ALL_WELL, "code": "warn", "report": "fail"})
    assert "made by Edgeloop 9.9+" in found.what("code")


def test_what_lies_beside_it_may_be_missing(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "reports" / f"{company.MONTH}.json").unlink()
    found = Verified(home, capsys, "--month", company.MONTH)
    assert (found.code, found.states()) == (0, {**ALL_WELL, "json": "warn"})


def test_a_provisional_one_that_was_replaced(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(home / "freezes" / company.MONTH)
    assert run(["report", "--month", company.MONTH, "--home", str(home)]) == 0
    assert Verified(home, capsys, "--month", company.MONTH).code == 0
    company.add(home, late())
    assert run(["uplift", "--month", company.MONTH, "--home", str(home)]) == 0
    found = Verified(home, capsys, "--month", company.MONTH)
    assert found.code == 1
    assert "the next look replaces a provisional one" in found.err


def test_nothing_to_compare(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = tmp_path / "page.html"
    other.write_text("<!doctype html><title>A page</title>")
    assert Verified(home, capsys, str(other)).code == 1
    assert Verified(home, capsys, str(tmp_path / "none.html")).code == 1
    assert Verified(home, capsys, "--month", "2026-01").code == 1
    assert Verified(home, capsys, "--month", "March").code == 2
    assert Verified(home, capsys).code == 2
    assert Verified(home, capsys, str(other), "--month", company.MONTH).code == 2
