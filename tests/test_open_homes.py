"""A home that everybody may look into (mode 0755): its databases are closed to others."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path

from edgeloop.home import Home
from edgeloop.log.base import Entry
from edgeloop.log.local import LocalLog
from edgeloop.store.sqlite import SqliteStore


def modes(home: Home) -> dict[str, int]:
    return {path.name: path.stat().st_mode & 0o777 for path in home.path.glob("*.sqlite*")}


def test_databases_are_closed_to_others_when_they_are_made_and_when_they_are_opened(tmp_path: Path) -> None:
    umask = os.umask(0o022)
    try:
        home = Home(tmp_path)
        home.path.chmod(0o755)
        home.create()
        for _ in range(2):
            with closing(LocalLog(home.log)) as log, closing(SqliteStore(home.store)):
                log.append([Entry("edge.exposures", "s", b"{}")])
                found = modes(home)
            assert {"log.sqlite", "log.sqlite-wal", "store.sqlite"} <= found.keys()
            assert {mode & 0o007 for mode in found.values()} == {0}
            assert {mode & 0o040 for mode in found.values()} == {0o040}, "a group may be meant to read"
            for path in home.path.glob("*.sqlite*"):  # as an older version left them
                path.chmod(0o644)
    finally:
        os.umask(umask)
