"""What the documents show works as it is written: README's five minutes, and each kind of change."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.make_example import FILE, events
from tests.test_pipe_designs import edgeloop

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.slow


def blocks(document: str, language: str) -> list[str]:
    """The fenced blocks of a language."""
    text = (ROOT / document).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def test_the_example_is_what_its_script_makes() -> None:
    assert [json.loads(line) for line in FILE.read_bytes().splitlines()] == list(events())


def test_every_kind_of_change_is_taken_and_listed(tmp_path: Path) -> None:
    lines = [line for block in blocks("docs/changes.md", "json") for line in block.splitlines()]
    assert {json.loads(line)["kind"] for line in lines} == {"canary", "staged", "switch", "rollback"}
    assert {json.loads(line).get("unit") for line in lines} == {None, "courier", "zone", "zone_time"}
    (tmp_path / "changes.ndjson").write_text("\n".join(lines), encoding="utf-8")
    edgeloop(tmp_path / "home", "ingest", str(tmp_path / "changes.ndjson"))
    edgeloop(tmp_path / "home", "process")
    known = json.loads(edgeloop(tmp_path / "home", "changes", "--json"))
    declared = {change["change_id"] for change in known if change["declared"]}
    assert declared >= {"eta-oct", "route-oct", "slot-oct", "slot-zones-1", "dispatch-oct", "promo-switch"}


def test_the_readme_s_first_test_ends_in_a_verdict(tmp_path: Path) -> None:
    """The first block of README's five minutes, by a shell in the project's folder."""
    (first,) = [block for block in blocks("README.md", "sh") if "first-test" in block]
    (tmp_path / "bin").mkdir()
    command = tmp_path / "bin" / "edgeloop"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m edgeloop "$@"\n', encoding="utf-8")
    command.chmod(0o755)
    environ = {"PATH": f"{command.parent}:{os.environ['PATH']}", "EDGELOOP_HOME": str(tmp_path / "home")}
    run = subprocess.run(
        ["sh", "-e", "-c", first], cwd=ROOT, env=environ, capture_output=True, text=True, check=False
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    rows = [line.split("\t") for line in run.stdout.splitlines() if line.startswith("prompt-oct")]
    assert {row[-1] for row in rows} == {"roll back"}
    assert "edgeloop freeze --month 2026-10" in run.stderr
    page = (tmp_path / "home" / "reports" / "2026-10.html").read_text(encoding="utf-8")
    assert "<h1>Roll back “Louder prompt”" in page
