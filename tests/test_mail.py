"""Mail over a real server: what arrives, what is refused, and that nothing anybody wrote reaches a header."""

from __future__ import annotations

import base64
import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors import mail
from connectors.mail import Attachment, Mail, MailError
from edgeloop.addresses import address, one_line
from edgeloop.errors import UsageError
from edgeloop.settings import MailSettings, load
from tests.mailbox import PASSWORD, USER, free_port, hanging_up, mail_server, slow

TO = ("jana@example.org", "Ops Büro <ops@example.org>")
PLAIN = MailSettings(host="127.0.0.1", security="none", sender="Edgeloop <edgeloop@example.org>")


def letter(**changes: object) -> Mail:
    sent = Mail(
        to=TO,
        subject="Roll back “Bigger promotion card”",
        text="Zürich: −1.2 pp\n.\nA line that is a dot alone\n" + "long " * 400,
        html="<p>Zürich: <b>−1.2 pp</b></p>",
        attachments=(Attachment("2026-03.html", b"<!doctype html>\n<p>all of it", "text/html"),),
    )
    return msgspec.structs.replace(sent, **changes)


@pytest.mark.parametrize("security", ["none", "starttls", "tls"])
@pytest.mark.parametrize("sign_in", [False, True])
@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")  # the server's, also inside TLS
def test_a_message_arrives_whole(tmp_path: Path, security: str, sign_in: bool) -> None:
    with mail_server(security, tmp_path, sign_in=sign_in) as box:  # type: ignore[arg-type]
        assert mail.send(letter(), box.settings) == ()
        (message,) = box.messages
        assert box.secure == [security != "none"]
    assert box.envelopes[0].rcpt_tos == ["jana@example.org", "ops@example.org"]
    assert box.envelopes[0].mail_from == "edgeloop@example.org"
    assert message["Subject"] == "Roll back “Bigger promotion card”"
    assert str(message["To"]) == "jana@example.org, Ops Büro <ops@example.org>"
    assert (str(message["From"]), str(message["Reply-To"])) == ("Edgeloop <edgeloop@example.org>", "data@example.org")
    assert message["Auto-Submitted"] == "auto-generated"
    text, html = message.get_body(("plain",)), message.get_body(("html",))
    assert text is not None
    assert text.get_content().replace("\r\n", "\n") == letter().text + "\n"
    assert html is not None
    assert html.get_content().strip() == letter().html
    (file,) = message.iter_attachments()
    assert (file.get_filename(), file.get_content_type()) == ("2026-03.html", "text/html")
    assert file.get_payload(decode=True) == letter().attachments[0].content
    wire = box.envelopes[0].content or b""
    assert max(map(len, wire.splitlines())) <= 998


def test_the_same_key_is_the_same_message_id() -> None:
    ids = [mail.composed(letter(key="report 2026-03\r\nBcc: x@example.org"), PLAIN)["Message-ID"] for _ in range(2)]
    assert ids == ["<report-2026-03--Bcc--x-example-org.edgeloop@example.org>"] * 2
    other = [mail.composed(letter(), PLAIN)["Message-ID"] for _ in range(2)]
    assert len(set(other)) == 2
    assert all(own.endswith("@example.org>") for own in other)


HOSTILE = "x\r\nBcc: victim@example.org\r\n\r\n<script>\u202e\x00\x0b\u2028end"


def test_no_header_can_be_smuggled_in() -> None:
    with mail_server() as box:
        names = (f'"{HOSTILE}" <jana@example.org>',)
        with pytest.raises(UsageError, match="no address of mail"):
            mail.send(letter(to=names), box.settings)
        file = Attachment(HOSTILE + "/../../etc/passwd", b"x", "text/csv")
        mail.send(letter(subject=HOSTILE, attachments=(file,)), box.settings)
        (message,) = box.messages
    assert box.envelopes[0].rcpt_tos == ["jana@example.org", "ops@example.org"]
    assert message["Bcc"] is None
    assert message["Subject"] == "x Bcc: victim@example.org <script> end"
    (got,) = message.iter_attachments()
    assert got.get_filename() == "x Bcc: victim@example.org <script> end_.._.._etc_passwd"


@given(st.text(max_size=400), st.text(max_size=400))
def test_whatever_a_subject_or_a_name_is_the_headers_are_ours(subject: str, name: str) -> None:
    sent = Mail(to=("jana@example.org",), subject=subject, text=subject, attachments=(Attachment(name, b"", "a/b"),))
    wire = mail.composed(sent, PLAIN).as_bytes()
    head = wire.split(b"\r\n\r\n", 1)[0]
    lines = [line for line in head.split(b"\r\n") if not line.startswith((b" ", b"\t"))]
    assert [line.split(b":")[0] for line in lines] == [
        b"From", b"To", b"Subject", b"Date", b"Message-ID", b"Auto-Submitted", b"MIME-Version", b"Content-Type",
    ]  # fmt: skip
    assert b"\n" not in head.replace(b"\r\n", b"")


@given(st.text(max_size=300))
def test_an_address_is_one_or_is_refused(text: str) -> None:
    with contextlib.suppress(ValueError):
        found = address(text)
        assert found.addr_spec.isascii()
        assert found.addr_spec.count("@") == 1
        assert not set("\r\n<>, ") & set(found.addr_spec)
        assert found.display_name.isprintable()


@pytest.mark.parametrize(
    "text",
    ["", "jana", "jana@", "@example.org", "a b@example.org", "jana@exämple.org", "a@b,c@d", "a@b\nBcc: c@d", "a..b@c.d",
     "<a@b> <c@d>x", "=?utf-8?q?x?=@example.org"],
)  # fmt: skip
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(ValueError):
        address(text)


def word_of(text: str) -> str:
    """What a header's decoder turns into the text (RFC 2047)."""
    return f"=?utf-8?b?{base64.b64encode(text.encode()).decode()}?="


@pytest.mark.parametrize(
    "word",
    [word_of("\r\nReply-To: x@evil.example"), word_of("\r\nContent-Type: text/html\r\n\r\n<a href=//evil>"),
     "=?utf-8?q?x=0AReply-To:_x@evil.example=0A=0A<a>?=", "=?utf-8?q?=ff?=",
     "=\u202e?utf-8?q?=0ABcc:_x@evil.example?="],
)  # fmt: skip
@pytest.mark.parametrize("around", ["{}", "Promote {} é"])
def test_no_encoded_word_is_decoded_into_a_header(word: str, around: str) -> None:
    text = around.format(word)
    with mail_server() as box:
        name = "".join(c for c in word if c not in "<>")[:90]
        own = msgspec.structs.replace(box.settings, sender=f'"{name}" <edgeloop@example.org>')
        mail.send(letter(subject=text, attachments=(Attachment(text, b"x", "text/csv"),)), own)
        (message,) = box.messages
    assert message["Reply-To"] == "data@example.org"
    assert message["Bcc"] is None
    assert message.get_content_type() == "multipart/mixed"
    assert "= ?utf-8?" in str(message["Subject"])
    (got,) = message.iter_attachments()
    assert "= ?utf-8?" in (got.get_filename() or "")


def test_a_text_that_no_message_can_hold_is_an_error_of_mail() -> None:
    error = fails(PLAIN, letter(text="half a letter: \ud800"))
    assert not error.again
    assert not error.unsure


def test_one_line_is_bounded() -> None:
    assert one_line("a\u202eb\nc\x00d", 10) == "a b c d"
    assert one_line("x" * 100_000, 20) == "x" * 19 + "…"


def fails(own: MailSettings, sent: Mail | None = None) -> MailError:
    with pytest.raises(MailError) as caught:
        mail.send(sent or letter(), own)
    text = str(caught.value)
    for secret in (PASSWORD, USER, "jana", "ops@", "sesame"):
        assert secret not in text
    return caught.value


def test_one_of_two_refused_is_told_and_the_other_has_it() -> None:
    with mail_server() as box:
        box.refuses = {"ops@example.org": "550 no such user sesame"}
        assert mail.send(letter(), box.settings) == ("Ops Büro <ops@example.org>",)
        assert len(box.messages) == 1


@pytest.mark.parametrize(("reply", "again"), [("550 no such user", False), ("450 greylisted", True)])
def test_all_refused(reply: str, again: bool) -> None:
    with mail_server() as box:
        box.refuses = dict.fromkeys(("jana@example.org", "ops@example.org"), reply)
        error = fails(box.settings)
        assert reply[:3] in str(error)
        assert error.again is again
        assert box.messages == []


@pytest.mark.parametrize(("reply", "again"), [("552 too large, sesame", False), ("451 come back", True)])
def test_the_message_refused(reply: str, again: bool) -> None:
    with mail_server() as box:
        box.says = reply
        error = fails(box.settings)
        assert reply[:3] in str(error)
        assert error.again is again


def test_a_wrong_password(tmp_path: Path) -> None:
    with mail_server("starttls", tmp_path, sign_in=True) as box:
        error = fails(msgspec.structs.replace(box.settings, password="sesame"))
        assert "sign-in (535)" in str(error)
        assert not error.again


@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")
def test_a_certificate_of_strangers_is_refused_before_the_password_is_said(tmp_path: Path) -> None:
    for security in ("starttls", "tls"):
        with mail_server(security, tmp_path / security, sign_in=True) as box:  # type: ignore[arg-type]
            error = fails(msgspec.structs.replace(box.settings, ca_file=""))
            assert "certificate" in str(error)
            assert box.messages == []


def test_a_server_without_starttls_gets_nothing() -> None:
    with mail_server() as box:
        error = fails(msgspec.structs.replace(box.settings, security="starttls"))
        assert "STARTTLS" in str(error)
        assert box.messages == []


def test_tls_where_the_server_speaks_plainly() -> None:
    with mail_server() as box:
        error = fails(msgspec.structs.replace(box.settings, security="tls"))
        assert "does not speak TLS" in str(error)


def test_nobody_listens() -> None:
    error = fails(msgspec.structs.replace(PLAIN, port=free_port()))
    assert "cannot be reached: Connection refused" in str(error)
    assert error.again


def test_an_unknown_name() -> None:
    assert "not known by that name" in str(fails(msgspec.structs.replace(PLAIN, host="mail.invalid")))


@pytest.mark.parametrize(("at", "unsure"), [("EHLO", False), ("MAIL", False), ("RCPT", False), ("DATA", True)])
def test_before_the_message_is_begun_nothing_can_have_been_taken(at: str, unsure: bool) -> None:
    with hanging_up(at) as port:
        error = fails(msgspec.structs.replace(PLAIN, port=port, timeout_s=5.0))
    assert error.unsure is unsure
    assert error.again


@contextlib.contextmanager
def silent(greeting: bytes = b"") -> Iterator[int]:
    """A port that accepts, says the greeting and then nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        held: list[socket.socket] = []

        def hold() -> None:
            with contextlib.suppress(OSError):
                while True:
                    held.append(server.accept()[0])
                    held[-1].sendall(greeting)

        thread = threading.Thread(target=hold, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        thread.join(5)
        for each in held:
            each.close()


@pytest.mark.parametrize(("greeting", "security"), [(b"", "none"), (b"220 ready\r\n", "none"), (b"", "tls")])
def test_a_server_that_says_nothing(greeting: bytes, security: str) -> None:
    with silent(greeting) as port:
        began = time.monotonic()
        error = fails(msgspec.structs.replace(PLAIN, port=port, timeout_s=0.5, security=security))
        assert time.monotonic() - began < 5
    assert "did not answer within 0.5 s" in str(error)
    assert error.again


def test_a_slow_server_has_time_for_every_step() -> None:
    with slow(0.1) as port:
        assert mail.send(letter(), msgspec.structs.replace(PLAIN, port=port, timeout_s=5.0)) == ()


@pytest.mark.parametrize(("pause_s", "by_letter"), [(0.15, False), (0.05, True)])
def test_a_server_that_is_slow_at_every_step_has_time_for_four(pause_s: float, by_letter: bool) -> None:
    many = letter(to=tuple(f"person-{i}@example.org" for i in range(20)))  # each of them a step
    with slow(pause_s, by_letter=by_letter) as port:
        began = time.monotonic()
        error = fails(msgspec.structs.replace(PLAIN, port=port, timeout_s=0.6), many)
        took_s = time.monotonic() - began
    assert 2.3 < took_s < 2.4 + 1.0, "the time for all of it, and what a busy machine adds"
    assert "was not done with one message within 2.4 s" in str(error)
    assert error.again
    assert not error.unsure, "the message was not begun"


def test_settings_are_needed_and_checked(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="EDGELOOP_MAIL_HOST"):
        mail.send(letter(), MailSettings())
    for environ, said in (
        ({"EDGELOOP_MAIL_HOST": "mail.example.org", "EDGELOOP_MAIL_SECURITY": "none", "EDGELOOP_MAIL_SENDER": "a@b"},
         "on this machine"),
        ({"EDGELOOP_MAIL_HOST": "mail.example.org"}, "sender is not"),
        ({"EDGELOOP_MAIL_TO": "jana@example.org,ops"}, "to, entry 2 of 2, is no address"),
        ({"EDGELOOP_MAIL_SENDER": "a@b\r\nBcc: c@d"}, "line break"),
        ({"EDGELOOP_MAIL_USERNAME": "jürgen"}, r"\[mail\] username has letters outside ASCII"),
        ({"EDGELOOP_MAIL_PASSWORD": "grüße"}, r"\[mail\] password has letters outside ASCII"),
        ({"EDGELOOP_MAIL_HOST": "mail..example.org", "EDGELOOP_MAIL_SENDER": "a@b"}, r"\[mail\] host is no name"),
    ):  # fmt: skip
        with pytest.raises(UsageError, match=said) as caught:
            load(tmp_path, environ)
        assert not any(text in str(caught.value) for text in ("ops", "jana", "c@d", "ü", "\\xfc"))
    (tmp_path / "word").write_text(PASSWORD + "\n")
    own = load(tmp_path, {
        "EDGELOOP_MAIL_HOST": "localhost", "EDGELOOP_MAIL_SECURITY": "none", "EDGELOOP_MAIL_SENDER": "a@b",
        "EDGELOOP_MAIL_PASSWORD_FILE": os.fspath(tmp_path / "word"), "EDGELOOP_MAIL_TO": "a@b, c@d",
    }).mail  # fmt: skip
    assert (own.password, own.to, own.port) == (PASSWORD, ("a@b", "c@d"), 587)
