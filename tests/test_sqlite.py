"""One file, several that open it at once."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

_OPEN = """
import sys, time
from pathlib import Path
from edgeloop.store.sqlite import SqliteStore
time.sleep(max(0.0, float(sys.argv[2]) - time.time()))
SqliteStore(Path(sys.argv[1])).close()
"""


@pytest.mark.slow
def test_several_that_open_a_new_store_at_once_all_open_it(tmp_path: Path) -> None:
    for n in range(3):
        at = str(time.time() + 2.0)
        command = [sys.executable, "-c", _OPEN, str(tmp_path / f"{n}.sqlite"), at]
        opened = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(4)]
        for one in opened:
            _, said = one.communicate(timeout=60)
            assert one.returncode == 0, said
