"""The store's tables in SQLite: the contract's, and the engine's own beside them, made new or brought up to date."""

from __future__ import annotations

from pathlib import Path

import apsw

from edgeloop.errors import HomeError
from edgeloop.log.partitioner import SHARDS
from edgeloop.store.schema import SCHEMA_NUMBER, TABLES, Kind, Table
from edgeloop.store.views import VIEWS

_TYPES: dict[Kind, str] = {
    "text": "TEXT",
    "int": "INTEGER",
    "real": "REAL",
    "bool": "INTEGER",
    "time": "INTEGER",
    "json": "TEXT",
    "blob": "BLOB",
}
_HEAD_COLUMNS = """slot INTEGER PRIMARY KEY, key TEXT NOT NULL, batch INTEGER NOT NULL, n INTEGER NOT NULL,
  first_us INTEGER NOT NULL, last_us INTEGER NOT NULL, first_outcome_us INTEGER, last_outcome_us INTEGER,
  twins INTEGER NOT NULL, ids BLOB NOT NULL, directory BLOB NOT NULL, entries BLOB NOT NULL"""
# Tables with a rowid throughout: a row of a WITHOUT ROWID table spills to pages of its own from 1 KB on.
_ENGINE = f"""
CREATE TABLE meta(name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE shards(shard INTEGER PRIMARY KEY, version INTEGER NOT NULL);
WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < {SHARDS - 1})
  INSERT INTO shards SELECT i, 0 FROM n;
CREATE TABLE state_heads({_HEAD_COLUMNS});
CREATE TABLE state_pages(entries BLOB NOT NULL);
CREATE TABLE state_deltas(shard INTEGER NOT NULL, batch INTEGER NOT NULL, packed BLOB NOT NULL);
CREATE INDEX state_deltas_shard ON state_deltas(shard);
CREATE TABLE contexts(number INTEGER PRIMARY KEY, packed BLOB NOT NULL UNIQUE);
CREATE TABLE dirty_keys(key TEXT NOT NULL, shard INTEGER NOT NULL, item BLOB NOT NULL);
CREATE TABLE counters(name TEXT NOT NULL, label TEXT NOT NULL, value INTEGER NOT NULL, PRIMARY KEY(name, label))
  WITHOUT ROWID;
"""
_KEYS: dict[str, str] = {
    "offsets": "CREATE UNIQUE INDEX offsets_key ON offsets(topic, partition)",
    "dead_letters": "CREATE UNIQUE INDEX dead_letters_key ON dead_letters(dead_letter_id)",
    "actions": "CREATE UNIQUE INDEX actions_key ON actions(action_id)",
    "notices": "CREATE UNIQUE INDEX notices_key ON notices(action_id, cause, rung, channel)",
}


_STEPS: dict[int, str] = {
    4: """CREATE TABLE actions("action_id" TEXT, "month" TEXT, "change_id" TEXT, "model_id" TEXT, "from_version" TEXT,
  "to_version" TEXT, "verdict" TEXT, "title" TEXT, "asked" TEXT, "why" TEXT, "role" TEXT, "owner" TEXT,
  "occurred_at" INTEGER, "due" TEXT, "state" TEXT, "accepted_at" INTEGER, "closed_at" INTEGER, "reason" TEXT);
CREATE UNIQUE INDEX actions_key ON actions(action_id);
CREATE TABLE action_history("action_id" TEXT, "occurred_at" INTEGER, "state" TEXT, "who" TEXT, "reason" TEXT);
CREATE TABLE notices("action_id" TEXT, "cause" TEXT, "rung" TEXT, "channel" TEXT, "state" TEXT, "attempts" INTEGER,
  "repeats" INTEGER, "occurred_at" INTEGER);
CREATE UNIQUE INDEX notices_key ON notices(action_id, cause, rung, channel)""",
    5: """ALTER TABLE estimates ADD COLUMN "role" TEXT;
ALTER TABLE estimates ADD COLUMN "source" TEXT;
ALTER TABLE estimates ADD COLUMN "guard" TEXT;
ALTER TABLE estimates ADD COLUMN "control_before" REAL;
ALTER TABLE estimates ADD COLUMN "treated_before" REAL;
ALTER TABLE estimates ADD COLUMN "facts" TEXT;
ALTER TABLE changes ADD COLUMN "cluster" TEXT;
ALTER TABLE changes ADD COLUMN "strata" TEXT;
ALTER TABLE changes ADD COLUMN "block_h" REAL;
ALTER TABLE changes ADD COLUMN "starts" INTEGER""",
}
"""What leads from the schema before to each number, where nothing has to be filled anew from the log."""
FIRST_IN_PLACE = min(_STEPS) - 1
"""Stores from this schema on are brought forward where they are; older ones are filled anew."""


class OldSchemaError(HomeError):
    """The store was made by an older version, and is to be filled anew from the log."""


def prepare(db: apsw.Connection, path: Path) -> None:
    """Make every table in a new file, and what is missing in one of a schema that needs no refill.

    Raises:
        OldSchemaError: made by an older version. HomeError: made by a newer one.
    """
    found = db.pragma("user_version")
    if found == SCHEMA_NUMBER:
        return
    if found > SCHEMA_NUMBER:
        raise HomeError(
            f"{path} has store schema {found}, this version of Edgeloop knows {SCHEMA_NUMBER}: install a newer one"
        )
    if found >= FIRST_IN_PLACE:
        for number in range(found + 1, SCHEMA_NUMBER + 1):
            db.execute(_STEPS[number])
        _make_views(db)
        db.pragma("user_version", SCHEMA_NUMBER)
        return
    if found != 0:
        raise OldSchemaError(
            f"{path} has store schema {found}, this version of Edgeloop has {SCHEMA_NUMBER}: "
            "`edgeloop process` fills it anew from the log"
        )
    db.execute(_ENGINE)
    for table in TABLES:
        db.execute(_ddl(table))
        if table.name in _KEYS:
            db.execute(_KEYS[table.name])
    _make_views(db)
    db.pragma("user_version", SCHEMA_NUMBER)


def _make_views(db: apsw.Connection) -> None:
    for view in VIEWS:
        db.execute(f"DROP VIEW IF EXISTS {view.name}")
        db.execute(f"CREATE VIEW {view.name} AS {view.sql}")


def _ddl(table: Table) -> str:
    columns = ", ".join(f'"{c.name}" {_TYPES[c.kind]}' for c in table.columns)
    return f"CREATE TABLE {table.name}({columns})"
