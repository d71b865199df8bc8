"""Mail by the company's own server: a message with text, HTML and attachments, over SMTP.

Names and subjects may come from data: what reaches a header is one line without control characters. No error holds an
address, a user name, a password or a server's own words, so that all of them may be logged.
"""

from __future__ import annotations

import contextlib
import io
import math
import smtplib
import socket
import ssl
import time
from collections.abc import Callable
from datetime import UTC, datetime
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import make_msgid
from typing import Any

import msgspec

from edgeloop.addresses import address, one_line
from edgeloop.errors import EdgeloopError, UsageError
from edgeloop.settings import MailSettings

MOST_SUBJECT = 200
_MOST_NAME = 120
_STEPS, _LONGEST_S = 4, 120.0
"""A conversation of ten steps may take as long as four of them may, and never longer than this."""
_ANSWERED = (smtplib.SMTPResponseException, smtplib.SMTPRecipientsRefused, smtplib.SMTPNotSupportedError)
"""The server said no: it does not have the message."""


class MailError(EdgeloopError):
    """A message was not sent; ``again``: the same may go through later, without a person doing anything.

    ``unsure``: the conversation broke off after the message had begun, so it may have been taken.
    """

    def __init__(self, text: str, *, again: bool) -> None:
        super().__init__(text)
        self.again = again
        self.unsure = False


class Attachment(msgspec.Struct, frozen=True):
    """A file with a message; ``media`` such as ``text/html``."""

    name: str
    content: bytes
    media: str


class Mail(msgspec.Struct, frozen=True, kw_only=True):
    """A message. Of the two forms of the body a reader's program shows one: ``html`` where it can."""

    to: tuple[str, ...]
    subject: str
    text: str
    html: str = ""
    attachments: tuple[Attachment, ...] = ()
    key: str = ""
    """Names the message for good, so that one sent twice is one to programs that look for that; empty: random."""


def composed(mail: Mail, own: MailSettings) -> EmailMessage:
    """The message as it goes over the wire.

    Raises:
        UsageError: an address is none, or nobody is named.
    """
    sender = _address("[mail] sender", own.sender)
    if not mail.to:
        raise UsageError("the mail is addressed to nobody: name somebody in [mail] to")
    message = EmailMessage(policy=SMTP)
    message["From"] = sender
    message["To"] = [_address("an address to send to", to) for to in mail.to]
    if own.reply_to:
        message["Reply-To"] = _address("[mail] reply_to", own.reply_to)
    message["Subject"] = one_line(mail.subject, MOST_SUBJECT)
    message["Date"] = datetime.now(UTC)
    message["Message-ID"] = _message_id(mail.key, sender.domain)
    message["Auto-Submitted"] = "auto-generated"  # so that no absence note answers it (RFC 3834)
    # Quoted-printable: lines of any length and any letter pass every server.
    message.set_content(mail.text, cte="quoted-printable")
    if mail.html:
        message.add_alternative(mail.html, subtype="html", cte="quoted-printable")
    for file in mail.attachments:
        main, _, sub = file.media.partition("/")
        name = one_line(file.name, _MOST_NAME).replace("/", "_")
        message.add_attachment(file.content, maintype=main, subtype=sub, filename=name)
    return message


def send(mail: Mail, own: MailSettings) -> tuple[str, ...]:
    """Send it once; the addresses of ``mail.to`` that the server refused while it took the message for others.

    Args:
        mail: what to send.
        own: the server and who sends; each step of the conversation may take ``timeout_s``, and all of it four times
            that, 120 s at most (finding the server's name is the system's and not in it).

    Raises:
        UsageError: a setting or an address is wrong. MailError: the server took it for nobody, or no message can be
            made of it.
    """
    if not own.host:
        raise UsageError("no mail server is set: [mail] host (EDGELOOP_MAIL_HOST) names it")
    try:
        message = composed(mail, own)
        message.as_bytes()  # some of it is looked at only here
    except (ValueError, MessageError) as error:
        raise MailError("no message can be made of this text: its title or a name cannot be", again=False) from error
    where = f"the mail server {own.host}:{own.port}"
    until = time.monotonic() + _whole_s(own.timeout_s)
    server: _Server | None = None
    try:
        with contextlib.closing(_connected(own, str(message["From"].addresses[0].domain))) as server:
            refused = server.send_message(message)
            with contextlib.suppress(smtplib.SMTPException, OSError):
                server.quit()  # it has the message: what goes wrong now is nobody's loss
    except (smtplib.SMTPException, OSError) as error:
        told = _told(error, where, own, late=time.monotonic() >= until)
        told.unsure = server is not None and server.begun and not isinstance(error, _ANSWERED)
        raise told from error
    return tuple(to for to in mail.to if address(to).addr_spec in refused)


def _whole_s(step_s: float) -> float:
    """How long a whole conversation may take whose steps may take so long each."""
    return min(_STEPS * step_s, _LONGEST_S)


class _Server(smtplib.SMTP):
    """Ends when its time is over, and knows whether the message itself was begun: before that a server cannot have
    taken it."""

    begun = False
    _until = math.inf

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        """As smtplib's, but a name's addresses share the time; what is on top of it (TLS) has what is left."""
        self._until = time.monotonic() + _whole_s(timeout)
        failure: OSError | None = None
        for family, kind, protocol, _, place in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            tried = socket.socket(family, kind, protocol)
            try:
                tried.settimeout(self._left_s())
                tried.connect(place)
            except OSError as error:
                tried.close()
                failure = error
            else:
                tried.settimeout(self._left_s())
                return tried
        raise failure or OSError("the name has no address")

    def send(self, s: Any) -> None:
        if self.sock is not None:
            self.sock.settimeout(self._left_s())
        super().send(s)

    def getreply(self) -> tuple[int, bytes]:
        if self.file is None and self.sock is not None:
            self.file = io.BufferedReader(_Reader(self.sock, self._left_s))
        return super().getreply()

    def data(self, msg: Any) -> tuple[int, bytes]:
        self.begun = True
        return super().data(msg)

    def _left_s(self) -> float:
        """For the next step; once the time is over next to nothing, so that it fails as one that took too long."""
        return max(min(float(self.timeout), self._until - time.monotonic()), 0.001)


class _TlsServer(smtplib.SMTP_SSL, _Server):
    """The same, TLS from the first byte."""


class _Reader(io.RawIOBase):
    """What a server says; each piece may take what is left, so that one who says a letter a second ends too."""

    def __init__(self, sock: socket.socket, left_s: Callable[[], float]) -> None:
        self._sock, self._left_s = sock, left_s

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._sock.settimeout(self._left_s())
        return self._sock.recv_into(buffer)


def _connected(own: MailSettings, domain: str) -> _Server:
    context = ssl.create_default_context(cafile=own.ca_file or None)
    # Our domain as our name: the machine's would be looked up in the DNS, and told to others.
    if own.security == "tls":
        server: _Server = _TlsServer(own.host, own.port, domain, timeout=own.timeout_s, context=context)
    else:
        server = _Server(own.host, own.port, domain, timeout=own.timeout_s)
    try:
        if own.security == "starttls":
            server.starttls(context=context)
        if own.username:
            server.login(own.username, own.password)
    except BaseException:
        server.close()
        raise
    return server


def _told(error: Exception, where: str, own: MailSettings, *, late: bool) -> MailError:
    """What went wrong and what to do, in our words; ``late``: the time for all of it is over."""
    if isinstance(error, ssl.SSLCertVerificationError):
        text = (
            f"the certificate of {where} is not to be trusted: is the name right, and does [mail] ca_file name its CA?"
        )
        return MailError(text, again=False)
    if isinstance(error, ssl.SSLError):
        text = (
            f"{where} does not speak TLS as [mail] security = {own.security!r} asks: 465 is for tls, 587 for starttls"
        )
        return MailError(text, again=False)
    if isinstance(error, FileNotFoundError):
        return MailError("[mail] ca_file names no file that can be read", again=False)
    if isinstance(error, TimeoutError) or isinstance(error.__context__, TimeoutError):
        if late:
            text = f"{where} was not done with one message within {_whole_s(own.timeout_s):g} s: is it overloaded?"
            return MailError(text, again=True)
        return MailError(f"{where} did not answer within {own.timeout_s:g} s: is it up, is the port open?", again=True)
    if isinstance(error, socket.gaierror):
        return MailError(f"{where} is not known by that name: is [mail] host right?", again=True)
    if isinstance(error, smtplib.SMTPNotSupportedError):
        lacks = "STARTTLS, or no sign-in" if own.security == "starttls" else "sign-in, or not here"
        text = f"{where} offers no {lacks}: is [mail] security = {own.security!r} right for this port?"
        return MailError(text, again=False)
    if isinstance(error, smtplib.SMTPAuthenticationError):
        again = 400 <= error.smtp_code < 500
        text = f"{where} refuses the sign-in ({error.smtp_code}): are [mail] username and password right?"
        return MailError(text, again=again)
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        codes = sorted({code for code, _ in error.recipients.values()})
        text = f"{where} takes mail for none of the addresses ({', '.join(map(str, codes))}): are they right?"
        return MailError(text, again=all(400 <= code < 500 for code in codes))
    if isinstance(error, smtplib.SMTPSenderRefused):
        text = f"{where} refuses mail from [mail] sender ({error.smtp_code}): may that user send as it?"
        return MailError(text, again=400 <= error.smtp_code < 500)
    if isinstance(error, smtplib.SMTPServerDisconnected):
        return MailError(f"{where} hung up: is [mail] security = {own.security!r} right for this port?", again=True)
    if isinstance(error, smtplib.SMTPResponseException):
        text = f"{where} does not take the message ({error.smtp_code}): is it too large, or is there a limit?"
        return MailError(text, again=400 <= error.smtp_code < 500)
    reason = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
    return MailError(f"{where} cannot be reached: {reason}. Are [mail] host and port right, is it up?", again=True)


def _message_id(key: str, domain: str) -> str:
    if not key:
        return make_msgid(domain=domain)
    safe = "".join(c if c.isascii() and c.isalnum() else "-" for c in key)
    return f"<{safe[:120]}.edgeloop@{domain}>"


def _address(what: str, text: str) -> Address:
    try:
        return address(text)
    except ValueError as error:
        raise UsageError(f"{what} is no address of mail: {error}") from error
