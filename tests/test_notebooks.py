"""The notebooks run from top to bottom on a small company's home, and say what the estimates say."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest

from tests.small_company import CUSTOMERS, MONTH, NEW, events, make_frozen

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def company(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_frozen(tmp_path_factory.mktemp("company") / "home")


# In a process of its own: what the kernel's client leaves open is no fault of the notebook.
EXECUTE = """
import sys
import nbformat
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient

path = sys.argv[1]
notebook = nbformat.read(path, as_version=4)
manager = AsyncKernelManager(kernel_name="python3", transport="ipc")  # TCP warns
manager.kernel_spec.argv[0] = sys.executable  # whatever kernels somebody has installed
NotebookClient(notebook, timeout=60, km=manager).execute()
nbformat.write(notebook, path)
"""


Run = Callable[[str, str], tuple[Any, Any]]


@pytest.fixture
def run(company: Path, tmp_path: Path) -> Run:
    """Runs a notebook and one more cell, whose printed JSON it gives; and the notebook as it then is."""

    def run(name: str, question: str) -> tuple[Any, Any]:
        notebook: Any = nbformat.read(ROOT / "docs" / "notebooks" / name, as_version=4)
        notebook.cells.append(nbformat.v4.new_code_cell(f"import json\nprint(json.dumps({question}))"))
        nbformat.write(notebook, tmp_path / name)
        environment = {
            **os.environ,
            "EDGELOOP_HOME": str(company),
            "PYTHONPATH": str(ROOT),
            "IPYTHONDIR": str(tmp_path / "ipython"),
            "PYTHONWARNINGS": "error::FutureWarning",
        }
        ran = subprocess.run(
            [sys.executable, "-c", EXECUTE, name],
            cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
        assert ran.returncode == 0, ran.stderr
        executed: Any = nbformat.read(tmp_path / name, as_version=4)
        (told,) = executed.cells[-1].outputs
        return json.loads(told["text"]), executed

    return run


def test_they_are_stored_without_outputs() -> None:
    assert [path.name for path in NOTEBOOKS] == ["answers.ipynb", "uplift.ipynb"]
    for path in NOTEBOOKS:
        notebook: Any = nbformat.read(path, as_version=4)
        nbformat.validate(notebook)
        assert notebook.metadata.kernelspec.name == "python3"
        for cell in notebook.cells:
            assert cell.cell_type == "markdown" or (cell.outputs, cell.execution_count) == ([], None)


def test_uplift_by_hand_is_the_estimate(run: Run) -> None:
    figures = ["n_control", "n_treated", "control", "treated", "effect", "se", "effect_low", "effect_high", "p"]
    (row, by_hand, month), notebook = run(
        "uplift.ipynb",
        f"[row[{figures}].astype(float).tolist(), by_hand.frame().iloc[0][{figures}].astype(float).tolist(), month]",
    )
    assert month == MONTH
    assert row == pytest.approx(by_hand, rel=1e-9)
    who = [int(event["event_id"][2:]) in NEW for event in events() if event.get("name") == "slot_rebooked"]
    half = CUSTOMERS // 2
    assert by_hand[:4] == [half, half, who.count(False) / half, who.count(True) / half]
    assert all(cell.outputs for cell in notebook.cells if cell.cell_type == "code" and cell.source[-1] != ")")


def test_answers_are_counted_once_and_by_version(run: Run) -> None:
    responses = [event for event in events() if event["type"] == "response"]
    (n, means, met), _ = run(
        "answers.ipynb",
        "[len(answers), [old, new, *[float(chosen[chosen['model_version'] == v]['value'].mean()) for v in (old, new)]],"
        " rate.agg(['size', 'sum']).values.tolist()]",
    )
    assert n == 2 * len(responses)
    sides = [
        [r["answers"][0]["value"] for r in responses if (int(r["response_id"][2:]) in NEW) == new]
        for new in (False, True)
    ]
    assert means[:2] == ["2.0", "2.1"]
    assert met == [[CUSTOMERS // 2, len(side)] for side in sides]
    # An answer is credited where the exposure was shown: a fallback was not.
    fallen = {int(e["exposure_id"][2:]) for e in events() if e.get("fallback")}
    shown = [r for r in responses if int(r["response_id"][2:]) not in fallen]
    assert len(shown) < len(responses)
    for mean, new in zip(means[2:], (False, True), strict=True):
        values = [r["answers"][0]["value"] for r in shown if (int(r["response_id"][2:]) in NEW) == new]
        assert mean == pytest.approx(sum(values) / len(values))
