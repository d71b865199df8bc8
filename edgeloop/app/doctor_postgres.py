"""The doctor's checks of a PostgreSQL store: the connection, the layout of its tables, and who else may read them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any

from edgeloop.app.finding import Finding, Patient
from edgeloop.store.opening import open_reader
from edgeloop.store.postgres.ddl import quoted_name
from edgeloop.store.postgres.migrations import is_made
from edgeloop.store.postgres.session import CONTRACT_SCHEMA, ENGINE_SCHEMA, Address, Session
from edgeloop.store.schema import DEAD_LETTERS, SCHEMA_NUMBER, TABLES
from edgeloop.store.views import VIEWS

_SETTINGS = {"default_transaction_read_only": "on"}
_SEALED = [column.name for column in DEAD_LETTERS.columns if column.kind == "blob"]
_OPEN = [table.name for table in TABLES if table is not DEAD_LETTERS] + [view.name for view in VIEWS]
_READABLE = """SELECT name FROM unnest(%s::text[]) AS t(name)
WHERE NOT (has_schema_privilege(%s, %s, 'USAGE') AND has_table_privilege(%s, name, 'SELECT'))"""
_WRITABLE = """SELECT name FROM unnest(%s::text[]) AS t(name) WHERE has_table_privilege(%s, name, 'INSERT')
OR has_table_privilege(%s, name, 'UPDATE') OR has_table_privilege(%s, name, 'DELETE')"""
_SEES_SEALED = "SELECT bool_or(has_column_privilege(%s, %s, name, 'SELECT')) FROM unnest(%s::text[]) AS t(name)"


def check_database(patient: Patient) -> Iterator[Finding]:
    """The database answers, its layout is of this version, and the readers' role may read and nothing else.

    From here on the tables can be asked, where they are there.

    Raises:
        HomeError: the server refuses us. StoreUnavailableError: it does not answer.
    """
    store = patient.settings.store
    address = Address(store.url)
    with closing(Session(address, _SETTINGS)) as session:
        ((version,),) = _rows(session, "SELECT current_setting('server_version')")
        yield Finding("ok", "database", f"PostgreSQL {version} answers at {address.name}")
        with session.connection() as db:
            made = is_made(db)
        if not made:
            yield Finding("ok", "store", "no tables yet: `edgeloop process` or `edgeloop worker` makes them")
            return
        ((number,),) = _rows(session, f"SELECT value::int FROM {ENGINE_SCHEMA}.meta WHERE name = 'schema'")
        said = f"the tables have schema {number}"
        if number > SCHEMA_NUMBER:
            what = f"{said}, this version of Edgeloop knows {SCHEMA_NUMBER}"
            yield Finding("fail", "store", what, "install a newer version")
            return
        if number < SCHEMA_NUMBER:
            what = f"{said}, this version of Edgeloop has {SCHEMA_NUMBER}"
            yield Finding("warn", "store", what, "`edgeloop process` or `edgeloop worker` brings them forward")
            return
        yield Finding("ok", "store", said)
        yield _reader_role(session, store.reader_role)
    patient.store = open_reader(patient.home, patient.settings)


def _reader_role(session: Session, role: str) -> Finding:
    if not role:
        return Finding("ok", "reader role", "none is set: the tables are this user's alone")
    if not _rows(session, "SELECT FROM pg_roles WHERE rolname = %s", role):
        do = (
            f"`CREATE ROLE {quoted_name(role)}` by somebody who may; the next `edgeloop process` or worker lets it read"
        )
        return Finding("warn", "reader role", f"there is no role {role}: analysts cannot read", do)
    tables = [f"{CONTRACT_SCHEMA}.{name}" for name in _OPEN]
    letters = f"{CONTRACT_SCHEMA}.{DEAD_LETTERS.name}"
    ((sees_sealed,),) = _rows(session, _SEES_SEALED, role, letters, _SEALED)
    writable = _rows(session, _WRITABLE, [*tables, letters], role, role, role)
    if sees_sealed or writable:
        what = f"{role} may do more than read: " + ", ".join(
            [*(["see dead letters' sealed bytes"] if sees_sealed else []), *(f"change {name}" for (name,) in writable)]
        )
        do = f"take back what it was granted beyond SELECT, and SELECT on {letters}; it must be no superuser or owner"
        return Finding("fail", "reader role", what, do)
    hidden = [name for (name,) in _rows(session, _READABLE, tables, role, CONTRACT_SCHEMA, role)]
    if hidden:
        others = f" and {len(hidden) - 1} more" if len(hidden) > 1 else ""
        do = (
            f"GRANT USAGE ON SCHEMA {CONTRACT_SCHEMA} TO {quoted_name(role)}; "
            f"GRANT SELECT ON {', '.join(hidden)} TO {quoted_name(role)}"
        )
        return Finding("warn", "reader role", f"{role} may not read {hidden[0]}{others}", do)
    return Finding("ok", "reader role", f"{role} may read, and nothing else")


def _rows(session: Session, sql: str, *bindings: str | Sequence[str]) -> list[tuple[Any, ...]]:
    with session.connection() as db:
        return db.execute(sql, bindings or None).fetchall()
