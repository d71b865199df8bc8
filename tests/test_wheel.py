"""The built wheel works outside the checkout: nothing it needs was left behind."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [
            sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index", "--no-build-isolation",
            "--wheel-dir", str(out), str(ROOT),
        ],
        check=True,
    )  # fmt: skip
    (path,) = out.glob("*.whl")
    return path


def test_it_holds_the_rooms_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert tops == {"edgeloop", "connectors", "streams", "analysis", "reports", "edgeloop-0.1.0.dist-info"}
    assert any(name.endswith(".j2") for name in names), "the report's templates"
    assert "edgeloop/py.typed" in names


def test_it_runs_the_demo_in_a_fresh_environment(wheel: Path, tmp_path: Path) -> None:
    environment = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
    python = environment / "bin" / "python"
    subprocess.run([str(python), "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", str(wheel)], check=True)
    # The dependencies come from the environment of the tests, so that this needs no network; a path file inside a
    # path file is not followed, so the checkout itself stays out of sight.
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    site = environment / "lib" / version / "site-packages"
    (site / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"] + "\n", encoding="utf-8")
    where = subprocess.run(
        [str(python), "-c", "import analysis; print(analysis.__file__)"],
        check=True, capture_output=True, text=True, cwd=tmp_path,
    ).stdout  # fmt: skip
    assert str(environment) in where

    run = subprocess.run(
        [str(environment / "bin" / "edgeloop"), "demo", "--scale", "0.1"],
        capture_output=True, text=True, cwd=tmp_path, env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    (report,) = (tmp_path / ".edgeloop-demo" / "reports").glob("2026-03.html")
    assert str(Path(".edgeloop-demo") / "reports" / "2026-03.html") in run.stdout + run.stderr
    assert report.stat().st_size > 10_000
