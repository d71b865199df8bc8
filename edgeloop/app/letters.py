"""The month's report by mail: what is sent, and a note of it, so that the schedule sends each final report once.

A process that dies in the middle of sending leaves the note at `sending`, and so does a conversation that breaks off:
the server may have the message or not. It is sent once more, under the same message id, and after a second such end
nobody but a person sends it.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from connectors import mail
from edgeloop.app.report_files import JSON, PAGE, PDF, file_of, replace_file
from edgeloop.clock import Clock, SystemClock, iso
from edgeloop.errors import EdgeloopError, UsageError
from edgeloop.home import Home
from edgeloop.settings import Settings

if TYPE_CHECKING:  # the services load it only when there is something to send
    import reports

MOST_TRIES = 72
"""One an hour, as the schedule tries: three days."""
_BY_HAND = "`edgeloop report --month {} --mail` sends it by hand"


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """The file ``reports/YYYY-MM.mail.json``: what became of the mail of a month. No address is in it."""

    state: Literal["due", "sending", "sent", "given up"]
    freeze_id: str = ""
    page_sha256: str = ""
    at: str = ""
    """When it was sent, RFC 3339 in UTC."""
    addresses: int = 0
    refused: int = 0
    tries: int = 0
    cut_off: int = 0
    """How often sending it broke off, so that nobody knows whether it arrived."""


def wanted(settings: Settings) -> bool:
    """Whether the schedule mails reports."""
    return bool(settings.mail.host and settings.mail.to)


def note_of(home: Home, month: str) -> Note | None:
    """What became of a month's mail; None: nothing was ever due."""
    path = _path(home, month)
    try:
        return msgspec.json.decode(path.read_bytes(), type=Note)
    except FileNotFoundError:
        return None
    except msgspec.DecodeError as error:
        raise EdgeloopError(f"{path} is damaged: remove it. {_BY_HAND.format(month)}") from error


def is_due(home: Home, month: str) -> bool:
    """Whether a final report waits to be sent."""
    note = note_of(home, month)
    return note is not None and note.state in ("due", "sending")


def mark_due(home: Home, month: str) -> None:
    """Note, before the final report is made, that it is to be sent: whatever ends the process then, it will be."""
    if not is_due(home, month):
        _write(home, month, Note(state="due"))


def send_due(home: Home, settings: Settings, month: str, clock: Clock | None = None) -> int:
    """Send a report that is due; to how many addresses the server refused it.

    Raises:
        EdgeloopError: it was not sent. It stays due, unless it was tried too often.
    """
    note = note_of(home, month)
    if note is None or note.state not in ("due", "sending"):
        return 0
    cut_off = note.cut_off + (note.state == "sending")
    if cut_off > 1:
        _write(home, month, msgspec.structs.replace(note, state="given up", cut_off=cut_off))
        raise EdgeloopError(
            f"mailing the report of {month} broke off twice, and it may have arrived. " + _BY_HAND.format(month)
        )
    trying = msgspec.structs.replace(note, state="sending", tries=note.tries + 1, cut_off=cut_off)
    _write(home, month, trying)
    try:
        return send_report(home, settings, month, clock, trying)
    except EdgeloopError as error:
        if isinstance(error, mail.MailError) and error.unsure:
            raise  # as if this process had ended: the server may have it, so it is tried once more at most
        gives_up = trying.tries >= MOST_TRIES
        _write(home, month, msgspec.structs.replace(trying, state="given up" if gives_up else "due"))
        raise


def send_report(
    home: Home, settings: Settings, month: str, clock: Clock | None = None, note: Note | None = None
) -> int:
    """Send a month's report as it was written last, and note it; to how many addresses the server refused it.

    Raises:
        UsageError: no server or nobody to send to is set. EdgeloopError: there is no report, or the server took it for
            nobody.
    """
    if not settings.mail.to:
        raise UsageError("nobody is named to mail the report to: [mail] to (EDGELOOP_MAIL_TO) names them")
    import reports

    record, page, files = _content(home, month)
    told = reports.mail.letter(record)
    digest = hashlib.sha256(page).hexdigest()
    message = mail.Mail(
        to=settings.mail.to,
        subject=told.subject,
        text=told.text,
        html=told.html,
        attachments=files,
        key=f"report-{record.freeze_id}-{digest[:12]}",
    )
    refused = mail.send(message, settings.mail)
    sent = msgspec.structs.replace(
        note or Note(state="sent"),
        state="sent",
        freeze_id=record.freeze_id,
        page_sha256=digest,
        at=iso((clock or SystemClock()).now_us() // 1_000_000 * 1_000_000),
        addresses=len(settings.mail.to),
        refused=len(refused),
    )
    _write(home, month, sent)
    return len(refused)


def _content(home: Home, month: str) -> tuple[reports.Record, bytes, tuple[mail.Attachment, ...]]:
    import reports

    page, pdf = file_of(home, month, PAGE), file_of(home, month, PDF)
    try:
        content = page.read_bytes()
        record = msgspec.json.decode(file_of(home, month, JSON).read_bytes(), type=reports.Record)
        printed = pdf.read_bytes() if pdf.exists() else b""
    except (OSError, msgspec.DecodeError) as error:
        raise EdgeloopError(
            f"the report of {month} cannot be read to be mailed: `edgeloop report --month {month}` writes it anew"
        ) from error
    files = [mail.Attachment(page.name, content, "text/html")]
    if printed:
        files.append(mail.Attachment(pdf.name, printed, "application/pdf"))
    return record, content, tuple(files)


def _path(home: Home, month: str) -> Path:
    return file_of(home, month, ".mail.json")


def _write(home: Home, month: str, note: Note) -> None:
    path = _path(home, month)
    try:
        home.reports.mkdir(exist_ok=True)
        replace_file(path, msgspec.json.format(msgspec.json.encode(note)) + b"\n")
    except OSError as error:
        raise EdgeloopError(
            f"cannot write {path}: {error.strerror}. Is the disk of the home full, or may it only be read?"
        ) from error
