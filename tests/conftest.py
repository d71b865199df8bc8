"""What several test files share: one demo, run once a session at full size with its own seed."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass

import msgspec
import pytest

from edgeloop.home import Home


@dataclass(frozen=True)
class Demo:
    """A demo that ran: its home, what it printed, and found against planted."""

    home: Home
    stderr: str
    findings: list[dict[str, object]]


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    path = tmp_path_factory.mktemp("demo") / "home"
    run = subprocess.run(
        [sys.executable, "-m", "edgeloop", "demo", "--home", str(path), "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return Demo(Home(path), run.stderr, msgspec.json.decode(run.stdout))
