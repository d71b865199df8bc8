"""What several test files share: one demo, run once a session at full size with its own seed."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass

import msgspec
import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

from edgeloop.home import Home

# `make test` must find the same every time, so only the long run draws anew; a failure prints the blob that repeats it.
for _name, _examples in {"quick": 15, "default": 60, "chaos": 2_000}.items():
    hypothesis_settings.register_profile(
        _name,
        max_examples=_examples,
        derandomize=_name != "chaos",
        deadline=None,
        print_blob=True,
        suppress_health_check=[HealthCheck.too_slow],
    )
hypothesis_settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


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
