"""As whom is the database asked what others wrote? As somebody who may read the tables and nothing else, or not at all.

Powers that a session only gave up it can take back, inside one statement too (`set_config`, then a function that runs
SQL). So the session itself begins as such a user: the one of ``[store] reader_url``, or one that is made for it, a
member of the reading role whose password is new for each session and good for some minutes.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from psycopg import errors, sql

from edgeloop.errors import HomeError
from edgeloop.store.postgres.migrations import is_made
from edgeloop.store.postgres.session import CONTRACT_SCHEMA, Address, Connection
from edgeloop.store.schema import DEAD_LETTERS, TABLES

_MAKING = 0x6564_6765_7265_6164
"""The advisory lock of who makes a reader; beside that of the tables."""
_PASSWORD_MIN = 5
_LONGEST_NAME = 63


def connect_reading(address: Address, reader_url: str, reader_role: str, limits: Mapping[str, str]) -> Connection:
    """A session of somebody who may only read.

    Args:
        address: the store's own.
        reader_url: of such a user; empty: one is made, where the store's own user may.
        reader_role: whose powers that one has.
        limits: settings of the session.

    Raises:
        HomeError: there is no such user, or it may do more. StoreUnavailableError: the server does not answer.
    """
    if reader_url:
        db = Address(reader_url).connect(limits)
        _refuse_empty(db, address)
    else:
        db = _own_reader(address, reader_role, limits)
    more = _more_than_reading(db)
    if more is not None:
        db.close()
        raise HomeError(
            f"`edgeloop sql` connects as somebody who may only read, and {more}. As an administrator: CREATE ROLE "
            f"analyst LOGIN PASSWORD '…' IN ROLE {reader_role or 'edgeloop_reader'}; then set "
            "EDGELOOP_STORE_READER_URL (or …_FILE) to postgresql://analyst:…@host/database"
        )
    return db


def _refuse_empty(db: Connection, address: Address) -> None:
    if not is_made(db):
        db.close()
        raise HomeError(f"there are no tables in {address.name} yet: run `edgeloop process` first")


def _own_reader(address: Address, role: str, limits: Mapping[str, str]) -> Connection:
    """A session of a user made for reading; of the store's own where it may only read or can make nobody."""
    with address.connect({}) as own:
        _refuse_empty(own, address)
        if role and _more_than_reading(own) is not None:
            # One at a time, until connected: two that alter one role at once are refused by the server, and the second
            # password would end the first before its use. The session's end gives the lock back.
            own.execute("SELECT pg_advisory_lock(%s)", (_MAKING,))
            reader = _with_new_password(own, address, role)
            if reader is not None:
                try:
                    return reader.connect(limits)
                except errors.InsufficientPrivilege as error:
                    raise HomeError(f"{address.name}: its reader is not ours to be: {address.words(error)}") from None
    return address.connect(limits)


def _with_new_password(db: Connection, address: Address, role: str) -> Address | None:
    """Of a user of this database that is in the reading role and in no other; None where we may not make it."""
    ((number,),) = db.execute("SELECT oid::text FROM pg_database WHERE datname = current_database()").fetchall()
    end = f"_sql_{number}"
    name = role.encode()[: _LONGEST_NAME - len(end)].decode(errors="ignore") + end
    password = secrets.token_urlsafe(32)
    until = datetime.now(UTC) + timedelta(minutes=_PASSWORD_MIN)
    # Hashed here: the server may log what it is told.
    hashed = db.pgconn.encrypt_password(password.encode(), name.encode(), b"scram-sha-256").decode()
    try:
        if not db.execute("SELECT FROM pg_roles WHERE rolname = %s", (name,)).fetchall():
            db.execute(sql.SQL("CREATE ROLE {} LOGIN IN ROLE {}").format(sql.Identifier(name), sql.Identifier(role)))
    except (errors.InsufficientPrivilege, errors.UndefinedObject):
        return None
    try:
        db.execute(
            sql.SQL("ALTER ROLE {} LOGIN PASSWORD {} VALID UNTIL {}").format(
                sql.Identifier(name), hashed, until.isoformat()
            )
        )
    except errors.InsufficientPrivilege as error:
        raise HomeError(f"{address.name}: {name} is not ours to connect as: {address.words(error)}") from None
    return address.as_user(name, password)


def _more_than_reading(db: Connection) -> str | None:
    """What the user of a session, or anybody that it can become, may do besides; None: nothing."""
    names = [f"{CONTRACT_SCHEMA}.{table.name}" for table in TABLES]
    rows = db.execute(
        "SELECT session_user, r.rolname FROM pg_roles AS r WHERE pg_has_role(session_user, r.oid, 'MEMBER') AND"
        " (r.rolsuper OR r.rolcreaterole OR has_column_privilege(r.oid, %s, 'sealed', 'SELECT')"
        " OR EXISTS (SELECT FROM unnest(%s::text[]) AS t(name)"
        " WHERE has_table_privilege(r.oid, name, 'INSERT, UPDATE, DELETE, TRUNCATE')))",
        (f"{CONTRACT_SCHEMA}.{DEAD_LETTERS.name}", names),
    ).fetchall()
    if not rows:
        return None
    user, role = rows[0]
    through = "" if user == role else f" (as {role})"
    return f"{user}{through} may write the tables or open what is sealed"
