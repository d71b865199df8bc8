"""`make audit`: what it says where nobody can be asked for known vulnerabilities, and where somebody can."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize(
    ("answer", "code", "ends", "says"),
    [
        ("No known vulnerabilities found", 0, 0, "No known vulnerabilities found"),
        ("aiohttp 3.1 PYSEC-1 3.2", 1, 1, "PYSEC-1"),
        ("ERROR: Dependency not found on PyPI and could not be audited: x (1)", 1, 3, "could not be reached"),
        ("ERROR: ConnectionError", 1, 3, "  msgspec "),
    ],
)
def test_what_the_audit_says(tmp_path: Path, answer: str, code: int, ends: int, says: str) -> None:
    (tmp_path / "scripts").mkdir()
    for name in ("scripts/audit.sh", "requirements.lock", "requirements-dev.lock"):
        shutil.copy(ROOT / name, tmp_path / name)
    tool = tmp_path / ".venv-audit" / "bin" / "pip-audit"
    tool.parent.mkdir(parents=True)
    tool.write_text(f"#!/bin/sh\necho '{answer}'\nexit {code}\n")
    tool.chmod(0o755)
    ran = subprocess.run(["bash", "scripts/audit.sh"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == ends, ran.stderr
    assert says in ran.stdout
