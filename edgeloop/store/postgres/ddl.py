"""The statements that make the tables: the contract's in ``public``, the engine's own in a schema of their own."""

from __future__ import annotations

from collections.abc import Iterator

from edgeloop.log.partitioner import SHARDS
from edgeloop.store.postgres.session import CONTRACT_SCHEMA, ENGINE_SCHEMA
from edgeloop.store.schema import (
    ACTIONS,
    ANSWERS,
    ATTRIBUTIONS,
    DEAD_LETTERS,
    EVENT_TABLES,
    NOTICES,
    OFFSETS,
    SUPERSEDED,
    TABLES,
    Kind,
    Table,
)
from edgeloop.store.views import POSTGRES, views

VIEWS = views(POSTGRES)
ADVISORY_LOCK = 0x6564_6765_6C6F_6F70
"""Held while tables are made or changed."""

_TYPES: dict[Kind, str] = {
    "text": 'text COLLATE "C"',
    "int": "bigint",
    "real": "double precision",
    "bool": "smallint",
    "time": "timestamptz",
    "json": 'text COLLATE "C"',
    "blob": "bytea",
}
_NUMBERED = (*EVENT_TABLES.values(), ANSWERS, ATTRIBUTIONS)
"""Whose row numbers the writer makes."""
_COUNTED = (SUPERSEDED, DEAD_LETTERS)
"""Whose row numbers the database makes."""
_LARGE = tuple(table for table in _NUMBERED if any(column.name == "occurred_at" for column in table.columns))
_ROWID = "the row's number: ascending as the rows came, and the same as long as the row is there"
# A few rows, each written again and again: room for the new one beside the old, and cleaning before it gets far.
_HOT = "fillfactor = 20, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500"
# Rows that come and go in bulk.
_PASSING = (
    "autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,"
    " autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 20000"
)
_PASSING_BLOBS = f"{_PASSING}, toast.autovacuum_vacuum_scale_factor = 0, toast.autovacuum_vacuum_threshold = 5000"
# Keys are bytes: a database can compare them as they are, and text cannot hold every one of them.
_HEADS = """slot bigint PRIMARY KEY, key bytea NOT NULL, batch bigint NOT NULL, n bigint NOT NULL,
  first_us bigint NOT NULL, last_us bigint NOT NULL, first_outcome_us bigint, last_outcome_us bigint,
  twins smallint NOT NULL, ids bytea NOT NULL, directory bytea NOT NULL, entries bytea NOT NULL"""
_ENGINE = f"""
CREATE TABLE {ENGINE_SCHEMA}.meta(name text COLLATE "C" PRIMARY KEY, value text NOT NULL);
CREATE TABLE {ENGINE_SCHEMA}.shards(shard int PRIMARY KEY, version bigint NOT NULL) WITH ({_HOT});
INSERT INTO {ENGINE_SCHEMA}.shards SELECT i, 0 FROM generate_series(0, {SHARDS - 1}) AS i;
CREATE SEQUENCE {ENGINE_SCHEMA}.batches;
CREATE TABLE {ENGINE_SCHEMA}.state_heads({_HEADS}) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05,
  toast.autovacuum_vacuum_scale_factor = 0.05);
CREATE TABLE {ENGINE_SCHEMA}.state_pages(entries bytea NOT NULL, rowid bigint PRIMARY KEY);
CREATE TABLE {ENGINE_SCHEMA}.state_deltas(shard int NOT NULL, batch bigint NOT NULL, packed bytea NOT NULL,
  rowid bigint GENERATED ALWAYS AS IDENTITY, PRIMARY KEY (shard, rowid)) WITH ({_PASSING_BLOBS});
CREATE TABLE {ENGINE_SCHEMA}.contexts(number int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  packed bytea NOT NULL UNIQUE);
CREATE TABLE {ENGINE_SCHEMA}.dirty_keys(key bytea NOT NULL, shard int NOT NULL, item bytea NOT NULL,
  rowid bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY) WITH ({_PASSING_BLOBS});
CREATE INDEX dirty_keys_key ON {ENGINE_SCHEMA}.dirty_keys(shard, key);
CREATE TABLE {ENGINE_SCHEMA}.outbox(shard int NOT NULL, key bytea NOT NULL, body bytea NOT NULL,
  rowid bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY) WITH ({_PASSING_BLOBS});
CREATE TABLE {ENGINE_SCHEMA}.counters(name text COLLATE "C", label text COLLATE "C", value bigint NOT NULL,
  PRIMARY KEY (name, label)) WITH ({_HOT});
"""
# Packed already, or sealed: trying to make them smaller is work for nothing.
_PACKED = {
    f"{ENGINE_SCHEMA}.state_heads": ("ids", "directory", "entries"),
    f"{ENGINE_SCHEMA}.state_pages": ("entries",),
    f"{ENGINE_SCHEMA}.state_deltas": ("packed",),
    f"{ENGINE_SCHEMA}.dirty_keys": ("item",),
    f"{CONTRACT_SCHEMA}.{DEAD_LETTERS.name}": ("sealed",),
}
_COMMENTS = {
    "meta": "what the store remembers of itself",
    "shards": "a lock for each part of the join keys, and how often it was written",
    "state_heads": "the state of each join key",
    "state_pages": "older parts of the states",
    "state_deltas": "what the heads do not hold yet, by batch",
    "contexts": "what was shown where, by number",
    "dirty_keys": "what waits for couriers' keys",
    "outbox": "changed outcomes that are not published yet",
    "counters": "what the workers count",
}
TEMPORARY = f"""
CREATE TEMPORARY TABLE heads_in (LIKE {ENGINE_SCHEMA}.state_heads INCLUDING STORAGE) ON COMMIT DELETE ROWS;
CREATE TEMPORARY TABLE dead_letters_in ON COMMIT DELETE ROWS
  AS SELECT {", ".join(DEAD_LETTERS.names)} FROM {CONTRACT_SCHEMA}.{DEAD_LETTERS.name} WITH NO DATA;
"""
"""A connection's own: where rows wait that may meet others of the same key."""


def tables() -> Iterator[str]:
    """Make every table in an empty database."""
    yield f"CREATE SCHEMA {ENGINE_SCHEMA}"
    yield _ENGINE
    for table in TABLES:
        yield _table(table)
    for table in _LARGE:
        yield f"CREATE INDEX {table.name}_occurred_at ON {CONTRACT_SCHEMA}.{table.name} USING brin (occurred_at)"
    yield f"ALTER TABLE {CONTRACT_SCHEMA}.{ATTRIBUTIONS.name} SET (autovacuum_vacuum_scale_factor = 0.05)"
    for name, columns in _PACKED.items():
        yield f"ALTER TABLE {name} " + ", ".join(f"ALTER COLUMN {c} SET STORAGE EXTERNAL" for c in columns)


def views_and_comments() -> Iterator[str]:
    """Make the views anew, and say of everything what it is."""
    for view in VIEWS:
        # Not replaced in place, which takes no column away and none in between.
        yield f"DROP VIEW IF EXISTS {CONTRACT_SCHEMA}.{view.name}"
        yield f"CREATE VIEW {CONTRACT_SCHEMA}.{view.name} AS {view.sql}"
        yield f"COMMENT ON VIEW {CONTRACT_SCHEMA}.{view.name} IS {_quoted(view.comment)}"
        for column in view.columns:
            yield f'COMMENT ON COLUMN {CONTRACT_SCHEMA}.{view.name}."{column.name}" IS {_quoted(column.comment)}'
    for table in TABLES:
        name = f"{CONTRACT_SCHEMA}.{table.name}"
        yield f"COMMENT ON TABLE {name} IS {_quoted(table.comment)}"
        for column in table.columns:
            yield f'COMMENT ON COLUMN {name}."{column.name}" IS {_quoted(column.comment)}'
        if table in _NUMBERED or table in _COUNTED:
            yield f"COMMENT ON COLUMN {name}.rowid IS {_quoted(_ROWID)}"
    for engine_table, comment in _COMMENTS.items():
        yield f"COMMENT ON TABLE {ENGINE_SCHEMA}.{engine_table} IS {_quoted(comment)}"


def grants(role: str) -> Iterator[str]:
    """Let a role read tables and views, and of dead letters all but the sealed bytes."""
    quoted = quoted_name(role)
    yield f"GRANT USAGE ON SCHEMA {CONTRACT_SCHEMA} TO {quoted}"
    open_names = [table.name for table in TABLES if table is not DEAD_LETTERS] + [view.name for view in VIEWS]
    yield f"GRANT SELECT ON {', '.join(f'{CONTRACT_SCHEMA}.{name}' for name in open_names)} TO {quoted}"
    told = ", ".join(f'"{column.name}"' for column in DEAD_LETTERS.columns if column.kind != "blob")
    yield f"GRANT SELECT ({told}) ON {CONTRACT_SCHEMA}.{DEAD_LETTERS.name} TO {quoted}"


def quoted_name(name: str) -> str:
    """An identifier as SQL writes it."""
    return '"' + name.replace('"', '""') + '"'


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _table(table: Table) -> str:
    columns = [f'"{column.name}" {_TYPES[column.kind]}' for column in table.columns]
    if table in _NUMBERED:
        columns.append("rowid bigint PRIMARY KEY")
    if table in _COUNTED:
        columns.append("rowid bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY")
    if table is DEAD_LETTERS:
        columns.append("UNIQUE (dead_letter_id)")
    if table is OFFSETS:
        columns.append("PRIMARY KEY (topic, partition)")
    if table is ACTIONS:
        columns.append("PRIMARY KEY (action_id)")
    if table is NOTICES:
        columns.append("PRIMARY KEY (action_id, cause, rung, channel)")
    options = f" WITH ({_HOT})" if table is OFFSETS else ""
    return f"CREATE TABLE {CONTRACT_SCHEMA}.{table.name}({', '.join(columns)}){options}"
