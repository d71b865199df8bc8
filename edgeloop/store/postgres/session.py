"""A connection to PostgreSQL that says in words what failed, and that is made anew after it was lost."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import psycopg
from psycopg import errors
from psycopg.conninfo import conninfo_to_dict

from edgeloop.errors import HomeError
from edgeloop.store.base import StaleStateError, StoreUnavailableError

OLDEST_SERVER = 140_000
CONTRACT_SCHEMA, ENGINE_SCHEMA = "public", "edgeloop"
Connection = psycopg.Connection[tuple[object, ...]]

_PARAMETERS = {
    "connect_timeout": "10",
    # A machine that is gone says nothing: after half a minute of silence it is taken for gone.
    "keepalives": "1",
    "keepalives_idle": "20",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "35000",
    "application_name": "edgeloop",
    "client_encoding": "UTF8",
}
_SESSION = {
    "search_path": f"{CONTRACT_SCHEMA}, {ENGINE_SCHEMA}",
    "TimeZone": "UTC",
    "DateStyle": "ISO, YMD",
    "lock_timeout": "0",
    "statement_timeout": "0",
    "default_transaction_isolation": "read committed",
    # Tables here fill and empty within minutes. What was planned for an empty one, or is guessed of it, must not last.
    "plan_cache_mode": "force_custom_plan",
    "jit": "off",
    "tcp_keepalives_idle": "20",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
}
GONE = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    errors.IdleInTransactionSessionTimeout,
    errors.ReadOnlySqlTransaction,  # a standby, where the primary was before
)
AGAIN = (errors.SerializationFailure, errors.DeadlockDetected)
# What the server says no to for good; libpq gives words only, no code.
_REFUSALS: tuple[tuple[str, str], ...] = (
    (
        r"password|authentication failed|pg_hba|role .* does not exist|not permitted to log in",
        "Set the right user and password",
    ),
    (r"database .* does not exist", "Make the database first (`CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0`)"),
    (r"permission denied", "Let the user connect to that database (`GRANT CONNECT ON DATABASE … TO …`)"),
    (r"SSL|certificate", "See whether the server speaks TLS, and whether sslmode and sslrootcert are right"),
    (r"invalid .* value", "Mend what follows the `?`"),
)
_BROKEN_OFF = re.compile(r"SSL SYSCALL|SSL error: unexpected eof|SSL connection has been closed", re.IGNORECASE)
_MESSAGE_LENGTH = 300


class Address:
    """Where a database is. Its password is in no message and no name."""

    def __init__(self, url: str) -> None:
        """``url`` is ``postgresql://user:password@host:port/database?…``.

        Raises:
            HomeError: it is no such address.
        """
        scheme, _, rest = url.partition("://")
        # Of the parser's own words none are shown: they quote pieces of the password.
        parameters: Mapping[str, object] = {}
        if scheme in ("postgresql", "postgres") and not set("/?#") & set(rest.rpartition("@")[0]):
            try:
                parameters = conninfo_to_dict(url)
            except psycopg.Error:
                parameters = {}
        if not parameters:
            raise HomeError(
                "`[store] url` is not of the form postgresql://user:password@host:port/database?sslmode=…; in user and "
                "password, write what is neither letter nor digit percent-encoded (`@` is %40, `/` is %2F)"
            )
        self._parameters = {**_PARAMETERS, **{name: str(value) for name, value in parameters.items()}}
        self._secrets = [
            secret for name in ("password", "sslpassword") if (secret := self._parameters.get(name)) is not None
        ]
        user, host, port, database = (self._parameters.get(n, "") for n in ("user", "host", "port", "dbname"))
        self.name = f"postgresql://{user and f'{user}@'}{host}{port and f':{port}'}/{database}"

    def as_user(self, user: str, password: str) -> Address:
        """The same database for another user."""
        other = copy.copy(self)
        other._parameters = {**self._parameters, "user": user, "password": password}
        other._secrets = [*self._secrets, password]
        host, port, database = (self._parameters.get(n, "") for n in ("host", "port", "dbname"))
        other.name = f"postgresql://{user}@{host}{port and f':{port}'}/{database}"
        return other

    def connect(self, settings: Mapping[str, str]) -> Connection:
        """A connection that commits each statement by itself, with our settings and these.

        Raises:
            HomeError: the server refuses us. StoreUnavailableError: it does not answer.
        """
        try:
            db: Connection = psycopg.connect(**self._parameters, autocommit=True)  # type: ignore[arg-type]
        except psycopg.Error as error:
            self._raise_refused(error)
            raise StoreUnavailableError(f"{self.name} does not answer: {self.words(error)}") from None
        try:
            if db.info.server_version < OLDEST_SERVER:
                raise HomeError(
                    f"{self.name} is PostgreSQL {db.info.server_version // 10_000}; Edgeloop needs "
                    f"{OLDEST_SERVER // 10_000} or newer"
                )
            wanted = {**_SESSION, **settings}
            db.execute(
                "SELECT set_config(name, value, false) FROM unnest(%s::text[], %s::text[]) AS s(name, value)",
                (list(wanted), list(wanted.values())),
            )
        except BaseException as error:
            db.close()
            if isinstance(error, GONE):
                raise StoreUnavailableError(f"{self.name} does not answer: {self.words(error)}") from None
            raise
        return db

    def words(self, error: BaseException) -> str:
        """What PostgreSQL says, in one line and without the password."""
        said = error.diag.message_primary if isinstance(error, psycopg.Error) else None
        words = " ".join((said or str(error)).split())
        for secret in self._secrets:
            if secret:
                words = words.replace(secret, "…")
        return words[:_MESSAGE_LENGTH]

    def _raise_refused(self, error: psycopg.Error) -> None:
        words = self.words(error)
        if _BROKEN_OFF.search(words):
            return
        for pattern, advice in _REFUSALS:
            if re.search(pattern, words, re.IGNORECASE):
                raise HomeError(f"cannot open the store {self.name} (`[store] url`): {words}. {advice}") from None


class Session:
    """At most one connection at a time; a lost one is replaced at the next use, with nothing kept of it."""

    def __init__(
        self, address: Address, settings: Mapping[str, str], begin: Callable[[Connection], None] | None = None
    ) -> None:
        """``begin`` is called with every new connection before anything else is done with it."""
        self.address = address
        self._settings = settings
        self._begin = begin
        self._db: Connection | None = None
        self.pinned = False
        """Whether a transaction is open: what is lost then is not replaced, because its locks are lost too."""

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """The connection, for some statements; what PostgreSQL raises of them comes out in our words.

        Raises:
            StoreUnavailableError: it was lost; the next use makes another.
            StaleStateError: others were in the way; trying again is right.
        """
        db = self._db
        if self.pinned and (db is None or db.closed):
            raise StoreUnavailableError(f"{self.address.name} was lost in the middle of a transaction")
        try:
            if db is None or db.closed:
                db = self._db = self._connect()
            yield db
        except AGAIN as error:
            raise StaleStateError(f"{self.address.name}: {self.address.words(error)}") from error
        except GONE as error:
            self.close()
            raise StoreUnavailableError(f"{self.address.name}: {self.address.words(error)}") from error
        except errors.InsufficientPrivilege as error:
            raise HomeError(
                f"{self.address.name}: {self.address.words(error)}. The user of `[store] url` has to own the tables"
            ) from error

    def rollback(self) -> None:
        """End an open transaction as if it had not been; a connection that cannot even do that is closed."""
        db = self._db
        self.pinned = False
        if db is None or db.closed:
            return
        try:
            db.execute("ROLLBACK")
        except psycopg.Error:
            self.close()

    def close(self) -> None:
        """Close the connection."""
        db, self._db = self._db, None
        if db is not None:
            db.close()

    def _connect(self) -> Connection:
        db = self.address.connect(self._settings)
        if self._begin is not None:
            try:
                self._begin(db)
            except BaseException:
                db.close()
                raise
        return db
