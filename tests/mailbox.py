"""A real mail server for tests: aiosmtpd on a free port, which keeps what it takes and refuses what it is told to."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any, Literal

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword

from edgeloop.settings import MailSettings
from tests.real.certificates import Certificates

Security = Literal["starttls", "tls", "none"]
USER, PASSWORD = "edgeloop", "a pass phrase"


class Mailbox:
    """What arrived, and what the server is to say: ``refuses`` address → reply, ``says`` after the data."""

    def __init__(self) -> None:
        self.envelopes: list[Envelope] = []
        self.refuses: dict[str, str] = {}
        self.says = "250 taken"
        self.secure: list[bool] = []
        self.settings = MailSettings()

    @property
    def messages(self) -> list[EmailMessage]:
        """What was taken, parsed."""
        parsed = [message_from_bytes(e.content or b"", policy=policy.default) for e in self.envelopes]  # type: ignore[arg-type]
        return [m for m in parsed if isinstance(m, EmailMessage)]

    async def handle_RCPT(self, _server: SMTP, _session: Any, envelope: Envelope, to: str, _options: list[str]) -> str:  # noqa: N802
        if to in self.refuses:
            return self.refuses[to]
        envelope.rcpt_tos.append(to)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, _session: Any, envelope: Envelope) -> str:  # noqa: N802
        if self.says.startswith("2"):
            self.envelopes.append(envelope)
            self.secure.append(
                server.transport is not None and server.transport.get_extra_info("sslcontext") is not None
            )
        return self.says


def _sign_in(_server: SMTP, _session: Any, _envelope: Envelope, _mechanism: str, data: Any) -> AuthResult:
    good = isinstance(data, LoginPassword) and (data.login, data.password) == (USER.encode(), PASSWORD.encode())
    return AuthResult(success=good, handled=False)


def free_port() -> int:
    """A port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def mail_server(security: Security = "none", folder: Path | None = None, *, sign_in: bool = False) -> Iterator[Mailbox]:
    """A server on loopback; its settings are in ``mailbox.settings``. TLS needs a folder for its certificates."""
    mailbox = Mailbox()
    options: dict[str, Any] = {}
    certificates = Certificates(folder / "certificates") if security != "none" and folder is not None else None
    if certificates is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificates.server, certificates.server_key)
        options["ssl_context" if security == "tls" else "tls_context"] = context
        if security == "starttls":
            options["require_starttls"] = True
    if sign_in:
        options |= {"auth_required": True, "auth_require_tls": security == "starttls", "authenticator": _sign_in}
    controller = Controller(mailbox, hostname="127.0.0.1", port=free_port(), **options)
    controller.start()
    mailbox.settings = MailSettings(
        host="127.0.0.1",
        port=controller.port,
        security=security,
        username=USER if sign_in else "",
        password=PASSWORD if sign_in else "",
        ca_file=str(certificates.ca) if certificates is not None else "",
        sender="Edgeloop <edgeloop@example.org>",
        reply_to="data@example.org",
        timeout_s=5.0,
        to=("jana@example.org", "Ops Büro <ops@example.org>"),
    )
    try:
        yield mailbox
    finally:
        controller.stop()


@contextlib.contextmanager
def hanging_up(at: str) -> Iterator[int]:
    """The port of a server that takes every command, and hangs up instead of answering the one that begins so."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    talk(server.accept()[0])

        def talk(connection: socket.socket) -> None:
            with connection, connection.makefile("rwb", buffering=0) as wire:
                wire.write(b"220 ready\r\n")
                for line in wire:
                    if line.upper().startswith(at.encode()):
                        return
                    wire.write(b"250 fine\r\n")

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        thread.join(5)


@contextlib.contextmanager
def slow(pause_s: float, *, by_letter: bool = False) -> Iterator[int]:
    """The port of a server that takes every message, with a pause before each answer, or before each of its letters."""
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while not over.is_set():
                with contextlib.suppress(OSError):
                    talk(server.accept()[0])

        def answer(wire: Any, text: bytes) -> None:
            for piece in [bytes([letter]) for letter in text] if by_letter else [text]:
                if over.wait(pause_s):
                    return
                wire.write(piece)

        def talk(connection: socket.socket) -> None:
            with connection, connection.makefile("rwb", buffering=0) as wire:
                answer(wire, b"220 ready\r\n")
                text = False
                for line in wire:
                    if text and line != b".\r\n":
                        continue
                    text = not text and line.upper().startswith(b"DATA")
                    answer(wire, b"354 go on\r\n" if text else b"250 fine\r\n")

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            over.set()
            server.shutdown(socket.SHUT_RDWR)
            thread.join(5)
