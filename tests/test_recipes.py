"""Every block of docs/recipes.md runs as it stands, and the effect by hand is the effect of `edgeloop uplift`."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import psycopg
import pytest

from edgeloop.app.cli import run
from tests.small_company import CUSTOMERS, MONTH, events, make_frozen

ROOT = Path(__file__).resolve().parents[1]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCKS = BLOCK.findall((ROOT / "docs" / "recipes.md").read_text(encoding="utf-8"))

pytestmark = pytest.mark.slow


def blocks(language: str) -> list[str]:
    return [text for name, text in BLOCKS if name == language]


@pytest.fixture(scope="module")
def company(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the home as ``.edgeloop``, as a person would stand beside it."""
    folder = tmp_path_factory.mktemp("company")
    make_frozen(folder / ".edgeloop")
    return folder


def environment(folder: Path) -> dict[str, str]:
    """With `edgeloop` on the path."""
    tools = folder / "bin"
    tools.mkdir(exist_ok=True)
    command = tools / "edgeloop"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m edgeloop "$@"\n')
    command.chmod(0o755)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("EDGELOOP_")}
    return {**kept, "PATH": f"{tools}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}


def ran(arguments: list[str], folder: Path) -> str:
    done = subprocess.run(
        arguments, cwd=folder, env=environment(folder), capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_all_blocks_are_of_a_kind_that_is_run() -> None:
    assert {name for name, _ in BLOCKS} == {"sh", "python", "sql"}
    assert [len(blocks(name)) for name in ("sh", "python", "sql")] == [3, 7, 3]


def test_shell_then_python(company: Path) -> None:
    out = ran(["bash", "-e", "-o", "pipefail", "-c", "\n".join(blocks("sh"))], company)
    assert "order_placed" in out
    assert (company / "version_daily.csv").read_text().count("\n") > 10
    assert json.loads((company / "unattributed.json").read_text())
    assert (company / "lake" / "exposures" / "_delta_log").is_dir()

    figures = (
        "json.dumps([share.frame().iloc[0].to_dict(), adjusted.frame().iloc[0].to_dict(), plain.se, "
        "by_zone.frame().iloc[0].to_dict()])"
    )
    program = "\n".join([*blocks("python"), "import json", f"print({figures})"])
    told = ran([sys.executable, "-W", "error", "-c", program], company)
    share, adjusted, plain_se, by_zone = json.loads(told.splitlines()[-1])
    estimates = json.loads(ran(["edgeloop", "uplift", "--month", MONTH, "--json"], company))
    (row,) = [e for e in estimates if e["metric"] == "slot_rebooked" and e["segment"] == "all"]
    for name in ("n_control", "n_treated", "control", "treated", "effect", "se", "effect_low", "effect_high", "p"):
        assert share[name] == pytest.approx(row[name], rel=1e-9), name
    assert share["n_control"] + share["n_treated"] == CUSTOMERS
    assert "z = -1.3109, p = 0.1899" in told
    assert (by_zone["estimator"], by_zone["strata"]) == ("difference_in_means+strata", 2)
    assert adjusted["estimator"] == "cuped"
    assert adjusted["se"] < 0.8 * plain_se, "what people ordered before tells much of what they order after"
    assert re.search(rf"canary +{CUSTOMERS // 2}", told), "the lake has everybody"


@pytest.mark.skipif(shutil.which("psql") is None, reason="psql is not installed")
def test_psql(company: Path, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "events.ndjson"
    file.write_bytes(b"".join(msgspec.json.encode(event) + b"\n" for event in events()))
    monkeypatch.setenv("EDGELOOP_STORE_URL", database_url)
    home = str(tmp_path / "home")
    assert run(["ingest", str(file), "--home", home]) == 0
    assert run(["process", "--home", home]) == 0
    with psycopg.connect(database_url, autocommit=True) as db:
        db.execute("DROP ROLE IF EXISTS recipes")
        db.execute("CREATE ROLE recipes LOGIN PASSWORD 'recipes' IN ROLE edgeloop_reader")
    address = re.sub(r"//[^@]*@", "//recipes:recipes@", database_url)

    def psql(statement: str) -> str:
        return ran(["psql", address, "-X", "-v", "ON_ERROR_STOP=1", "--csv", "-c", statement], tmp_path)

    daily, answers, copied = (psql(block.strip()) for block in blocks("sql"))
    assert sum(int(line.split(",")[2]) for line in daily.splitlines()[1:]) == CUSTOMERS
    assert answers.splitlines()[0] == "respondent,outcome_name,model_version,answers,mean"
    assert {line.split(",")[2] for line in answers.splitlines()[1:]} == {"2.0", "2.1"}
    assert copied.startswith("COPY ")
    assert (tmp_path / "outcomes.csv").read_text().startswith("day,model_id,")
