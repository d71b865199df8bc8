"""Bringing a database to the layout of this version: made whole where it is empty, else step by step.

The first one who opens the database does it, in one transaction under a lock; the others wait and find it done.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from psycopg import errors, sql

from edgeloop.errors import HomeError
from edgeloop.store.postgres import ddl
from edgeloop.store.postgres.session import ENGINE_SCHEMA, Connection
from edgeloop.store.schema import SCHEMA_NUMBER

_NUMBER, _READER = "schema", "reader_role"


class Step(msgspec.Struct, frozen=True):
    """What leads from the layout before to one number."""

    number: int
    sql: str


STEPS: tuple[Step, ...] = (
    Step(
        3,
        'CREATE TABLE bridge("freeze_id" text COLLATE "C", "month" text COLLATE "C", "metric" text COLLATE "C", '
        '"bar" text COLLATE "C", "change_id" text COLLATE "C", "value" double precision, "low" double precision, '
        '"high" double precision)',
    ),
    Step(
        4,
        'CREATE TABLE actions("action_id" text COLLATE "C", "month" text COLLATE "C", "change_id" text COLLATE "C", '
        '"model_id" text COLLATE "C", "from_version" text COLLATE "C", "to_version" text COLLATE "C", '
        '"verdict" text COLLATE "C", "title" text COLLATE "C", "asked" text COLLATE "C", '
        '"why" text COLLATE "C", "role" text COLLATE "C", '
        '"owner" text COLLATE "C", "occurred_at" timestamptz, "due" text COLLATE "C", "state" text COLLATE "C", '
        '"accepted_at" timestamptz, "closed_at" timestamptz, "reason" text COLLATE "C", PRIMARY KEY (action_id)); '
        'CREATE TABLE action_history("action_id" text COLLATE "C", "occurred_at" timestamptz, '
        '"state" text COLLATE "C", "who" text COLLATE "C", "reason" text COLLATE "C"); '
        'CREATE TABLE notices("action_id" text COLLATE "C", "cause" text COLLATE "C", "rung" text COLLATE "C", '
        '"channel" text COLLATE "C", "state" text COLLATE "C", "attempts" bigint, "repeats" bigint, '
        '"occurred_at" timestamptz, PRIMARY KEY (action_id, cause, rung, channel))',
    ),
    Step(
        5,
        'ALTER TABLE estimates ADD COLUMN "role" text COLLATE "C", ADD COLUMN "source" text COLLATE "C", '
        'ADD COLUMN "guard" text COLLATE "C", '
        'ADD COLUMN "control_before" double precision, ADD COLUMN "treated_before" double precision, '
        'ADD COLUMN "facts" text COLLATE "C"; '
        'ALTER TABLE changes ADD COLUMN "cluster" text COLLATE "C", ADD COLUMN "strata" text COLLATE "C", '
        'ADD COLUMN "block_h" double precision, ADD COLUMN "starts" timestamptz',
    ),
)
"""In ascending order, up to ``SCHEMA_NUMBER``; databases of number 2 and later are brought forward by them."""


def prepare(
    db: Connection, name: str, reader_role: str, steps: Sequence[Step] = STEPS, number: int = SCHEMA_NUMBER
) -> None:
    """Make or change the tables where that is due; two questions where it is not.

    Args:
        db: commits by itself.
        name: what an error calls the database.
        reader_role: gets the right to read (made if we may make roles; empty: nobody does).
        steps: what there is to bring an older layout forward.
        number: the layout of this version.

    Raises:
        HomeError: a newer version made the database, or it is not ours to make tables in.
    """
    try:
        if _is_prepared(db, name, reader_role, number):
            return
        with db.transaction():
            db.execute("SELECT pg_advisory_xact_lock(%s)", (ddl.ADVISORY_LOCK,))
            if _is_prepared(db, name, reader_role, number):
                return
            found = _number(db)
            if found is None:
                _refuse_encoding(db, name)
                for statement in ddl.tables():
                    _run(db, statement)
            else:
                for step in steps:
                    if step.number > found:
                        _run(db, step.sql)
            if found != number:
                for statement in ddl.views_and_comments():
                    _run(db, statement)
                _set_meta(db, _NUMBER, str(number))
            _let_read(db, reader_role)
    except errors.InsufficientPrivilege as error:
        raise HomeError(
            f"cannot open the store {name}: {error.diag.message_primary}. The user of `[store] url` has to own the "
            "database (`ALTER DATABASE … OWNER TO …`) and the tables in it"
        ) from error
    except (errors.DuplicateTable, errors.DuplicateSchema, errors.DuplicateObject) as error:
        raise HomeError(
            f"cannot make the tables in {name}: {error.diag.message_primary}, and it is not Edgeloop's. Give Edgeloop "
            "a database of its own"
        ) from error


def is_made(db: Connection) -> bool:
    """Whether there are tables of ours; who may not read them can ask that too."""
    found = db.execute("SELECT FROM pg_tables WHERE schemaname = %s AND tablename = 'meta'", (ENGINE_SCHEMA,))
    return bool(found.fetchall())


def _is_prepared(db: Connection, name: str, reader_role: str, number: int) -> bool:
    found = _number(db)
    if found is None or found < number:
        return False
    if found > number:
        raise HomeError(
            f"{name} has store schema {found}, this version of Edgeloop knows {number}: install a newer one"
        )
    return not _wants_reader(db, reader_role)


def _number(db: Connection) -> int | None:
    """The layout's number; None where there is none."""
    value = _meta(db, _NUMBER) if is_made(db) else None
    return None if value is None else int(value)


def _wants_reader(db: Connection, role: str) -> bool:
    """Whether the role is still to be given its rights, and can be."""
    if not role or _meta(db, _READER) == role:
        return False
    ((can,),) = db.execute(
        "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = %s)"
        " OR EXISTS (SELECT FROM pg_roles WHERE rolname = current_user AND (rolcreaterole OR rolsuper))",
        (role,),
    ).fetchall()
    return bool(can)


def _let_read(db: Connection, role: str) -> None:
    if not role:
        return
    try:
        with db.transaction():
            if not db.execute("SELECT FROM pg_roles WHERE rolname = %s", (role,)).fetchall():
                _run(db, f"CREATE ROLE {ddl.quoted_name(role)} NOLOGIN")
    except (errors.DuplicateObject, errors.UniqueViolation):  # made for another database of the server meanwhile
        pass
    except errors.InsufficientPrivilege:  # who may make roles can do it later, and the next to open gives the rights
        return
    for statement in ddl.grants(role):
        _run(db, statement)
    _set_meta(db, _READER, role)


def _refuse_encoding(db: Connection, name: str) -> None:
    ((encoding,),) = db.execute("SHOW server_encoding").fetchall()
    if encoding != "UTF8":
        raise HomeError(
            f"{name} holds text as {encoding}, which lacks most letters. Make a database with `CREATE DATABASE … "
            "ENCODING 'UTF8' TEMPLATE template0`"
        )


def _meta(db: Connection, name: str) -> str | None:
    rows = db.execute(f"SELECT value FROM {ENGINE_SCHEMA}.meta WHERE name = %s", (name,)).fetchall()
    return str(rows[0][0]) if rows else None


def _set_meta(db: Connection, name: str, value: str) -> None:
    db.execute(
        f"INSERT INTO {ENGINE_SCHEMA}.meta VALUES (%s, %s) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        (name, value),
    )


def _run(db: Connection, statement: str) -> None:
    db.execute(sql.SQL(statement))
