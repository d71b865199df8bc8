"""The months of the tests, byte for byte: today, on any Python, in any place, and under any seed of hashes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests import goldens

ROOT = Path(__file__).resolve().parents[1]
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
# Two places that are never on one day together, languages of the system that write numbers otherwise, and two seeds.
PLACES = (
    {"TZ": "Pacific/Kiritimati", "LC_ALL": "de_DE.UTF-8", "LANG": "de_DE.UTF-8", "PYTHONHASHSEED": "0"},
    {"TZ": "Pacific/Pago_Pago", "LC_ALL": "C", "LANG": "C", "PYTHONHASHSEED": "4294967295", "PYTHONUTF8": "0"},
)
WRITE = """
import sys
from pathlib import Path
from tests import goldens

out = Path(sys.argv[1])
for i, name in enumerate(goldens.MONTHS):
    for file, content in goldens.month(name, out / f"freeze{i}").items():
        (out / file).write_bytes(content)
"""
NEEDED = "import babel, jinja2, msgspec, numpy, pandas, pyarrow, scipy, sklearn, statsmodels"


@pytest.mark.parametrize("name", goldens.MONTHS)
def test_a_month_is_as_it_was(name: str, tmp_path: Path) -> None:
    made = goldens.month(name, tmp_path / "freeze")
    told = [goldens.difference(file, content, golden(file)) for file, content in made.items()]
    assert not any(told), "\n".join(filter(None, told))


def golden(file: str) -> bytes:
    path = goldens.FOLDER / file
    return path.read_bytes() if path.exists() else b""


def test_there_is_a_golden_of_every_month_and_no_other() -> None:
    wanted = {f"{name.replace(' ', '-')}{ending}" for name in goldens.MONTHS for ending in goldens.ENDINGS}
    assert {path.name for path in goldens.FOLDER.iterdir()} == wanted
    assert all(path.stat().st_size < 300_000 for path in goldens.FOLDER.iterdir())


def test_a_difference_says_where_and_how_to_renew() -> None:
    told = goldens.difference("nothing.html", b"<p>\n<b>one</b>\n", b"<p>\n<b>two</b>\n")
    assert "in line 2" in told
    assert "golden: <b>two</b>\n  now:    <b>one</b>" in told
    assert goldens.RENEW in told
    assert goldens.difference("nothing.html", b"same", b"same") == ""
    assert "golden: (the end)" in goldens.difference("x", b"a\nb", b"a\n")


def written(python: str, folder: Path, **environment: str) -> None:
    """The goldens as a process of its own makes them; it must be quick, so it runs with its own code alone."""
    folder.mkdir()
    told = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    run = subprocess.run(
        [python, "-c", WRITE, str(folder)],
        env={**told, "PYTHONPATH": str(ROOT), **environment},
        cwd=folder,
        capture_output=True,
        timeout=180,
        check=False,
        text=True,
    )
    assert run.returncode == 0, run.stderr


def compare(folder: Path) -> None:
    files = sorted(path.name for path in goldens.FOLDER.iterdir())
    told = [goldens.difference(file, (folder / file).read_bytes(), golden(file)) for file in files]
    assert files
    assert not any(told), "\n".join(filter(None, told))


@pytest.mark.slow
@pytest.mark.parametrize("place", PLACES, ids=[place["TZ"] for place in PLACES])
def test_the_same_bytes_anywhere(tmp_path: Path, place: dict[str, str]) -> None:
    written(sys.executable, tmp_path / "made", **place)
    compare(tmp_path / "made")


def another_python() -> str | None:
    """Another Python that has the product's libraries; ``EDGELOOP_OTHER_PYTHON`` names one outright."""
    named = os.environ.get("EDGELOOP_OTHER_PYTHON")
    if named:
        return named
    own = f"{sys.version_info.major}.{sys.version_info.minor}"
    for version in PYTHONS:
        found = shutil.which(f"python{version}") if version != own else None
        if found and subprocess.run([found, "-c", NEEDED], capture_output=True, check=False).returncode == 0:
            return found
    return None


@pytest.mark.slow
def test_the_same_bytes_on_another_python(tmp_path: Path) -> None:
    python = another_python()
    if python is None:
        pytest.skip(
            "no other Python here has the product's libraries: `python3.13 -m venv DIR && DIR/bin/pip install -r "
            "requirements.lock`, then EDGELOOP_OTHER_PYTHON=DIR/bin/python"
        )
    written(python, tmp_path / "made", **PLACES[1])
    compare(tmp_path / "made")
