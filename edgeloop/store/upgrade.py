"""A store of an older schema: moved away, and an empty one in its place, for the log fills it anew.

What no log holds (the estimates and checks of months past, and what people answered) is copied over.
"""

from __future__ import annotations

import os
from pathlib import Path

import apsw
import msgspec

from edgeloop.errors import HomeError
from edgeloop.events import STORED_TOPICS
from edgeloop.log.local import LocalLog
from edgeloop.sqlite import BUSY_MS, transaction
from edgeloop.store.engine import FIRST_IN_PLACE
from edgeloop.store.schema import ACTION_HISTORY, ACTIONS, BRIDGE, CHECKS, ESTIMATES, NOTICES, Cell
from edgeloop.store.sqlite import SqliteStore

_KEPT = (ESTIMATES, CHECKS, BRIDGE, ACTIONS, ACTION_HISTORY, NOTICES)
_RULES = "rules"


def moved_to(path: Path, schema: int) -> Path:
    """Where a store of an older schema goes."""
    return path.with_name(f"{path.stem}.schema-{schema}{path.suffix}")


def upgrade(path: Path, log: LocalLog, *, rules: str) -> Path | None:
    """Put an empty store of this schema in the place of an older one; where that is now, or None where it is no older.

    The rules of the old tables are the new one's, under this version of the attribution code; what the old ones did not
    know is as in ``rules``, those in force (JSON): nothing is in the new tables yet. The caller keeps every drain away.
    Interrupted anywhere, the next call does the rest.

    Raises:
        HomeError: the log cannot fill a store anew, or another program has the old one open; nothing was changed.
    """
    fresh = path.with_name(f".{path.name}.new")
    if not path.exists():
        if fresh.exists():  # interrupted between the two renamings
            fresh.replace(path)
        return None
    db = apsw.Connection(str(path))
    try:
        db.set_busy_timeout(BUSY_MS)
        schema = db.pragma("user_version")
        if not 0 < schema < FIRST_IN_PLACE:  # newer ones are brought forward when they are opened
            return None
        _refuse_log(path, db, log)
        for leftover in (fresh, fresh.with_name(f"{fresh.name}-wal"), fresh.with_name(f"{fresh.name}-shm")):
            leftover.unlink(missing_ok=True)
        _fill(fresh, db, msgspec.json.decode(rules))
        _close_for_good(path, db)
    finally:
        db.close()
    old = moved_to(path, schema)
    _link(path, old)
    fresh.replace(path)
    return old


def _refuse_log(path: Path, db: apsw.Connection, log: LocalLog) -> None:
    """Raise unless the log holds every record that the old store had seen."""
    what = f"{path} was made by an older version of Edgeloop and has to be filled anew from the log"
    starts, ends, topic_ids = log.start_offsets(), log.end_offsets(), log.topic_ids()
    # Dead letters are deleted after a while, from the table too.
    pruned = [f"{topic}/{part}" for (topic, part), start in sorted(starts.items()) if start and topic in STORED_TOPICS]
    if pruned:
        raise HomeError(
            f"{what}, but the log no longer begins with its first record (pruned: {', '.join(pruned)}). Go on with the "
            "version of Edgeloop that made it, or take what the log still holds to a new home (`edgeloop replay "
            "--export FILE`, then `edgeloop replay FILE` there)"
        )
    for topic, part, offset, cluster_id, topic_id in db.execute(
        "SELECT topic, partition, next_offset, cluster_id, topic_id FROM offsets"
    ):
        if (cluster_id, topic_id) != (log.cluster_id, topic_ids.get(topic)):
            raise HomeError(f"{what}, but it was filled from another log than the one here. Put the right log back")
        if offset > ends.get((topic, part), 0):
            raise HomeError(
                f"{what}, but of {topic}/{part} the log ends at {ends.get((topic, part), 0)} and the store has seen up "
                f"to {offset}. Restore the log from its backup before anything is appended"
            )


def _fill(fresh: Path, old: apsw.Connection, in_force: dict[str, object]) -> None:
    SqliteStore(fresh).close()
    db = apsw.Connection(str(fresh))
    try:
        with transaction(db):
            for table in _KEPT:
                there = {name for _, name, *_ in old.execute(f"PRAGMA table_info({table.name})")}
                names = [f'"{name}"' for name in table.names if name in there]
                if names:
                    rows: list[tuple[Cell, ...]] = list(old.execute(f"SELECT {', '.join(names)} FROM {table.name}"))
                    marks = ", ".join("?" * len(names))
                    db.executemany(f"INSERT INTO {table.name}({', '.join(names)}) VALUES ({marks})", rows)
            for (value,) in old.execute("SELECT value FROM meta WHERE name = ?", (_RULES,)):
                rules = in_force | msgspec.json.decode(value) | {"code_version": in_force["code_version"]}
                told = msgspec.json.encode(rules, order="sorted").decode()
                db.execute("INSERT INTO meta VALUES (?, ?)", (_RULES, told))
    finally:
        db.close()


def _close_for_good(path: Path, db: apsw.Connection) -> None:
    """Bring everything into the one file: a log of writes left beside it would be taken for the new store's."""
    try:
        left = db.pragma("journal_mode", "delete")
    except apsw.BusyError:
        left = "wal"
    if left != "delete":
        raise HomeError(
            f"{path} was made by an older version of Edgeloop and has to be moved away, but another program has it "
            "open: close that, then run this again"
        )


def _link(path: Path, old: Path) -> None:
    """Give the file its second name, by which it stays when the new store takes the first."""
    if old.exists():
        if old.samefile(path):
            return
        raise HomeError(f"{path} has to be moved to {old}, and that is there already: move that elsewhere")
    try:
        os.link(path, old)
    except OSError:  # not every disk knows two names; for a moment there is no store then
        path.rename(old)
