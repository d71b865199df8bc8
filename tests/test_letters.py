"""The month's report by mail: once by the schedule whatever ends it, and by hand as often as somebody asks."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec
import pytest

from edgeloop.app import letters
from edgeloop.app.cli import run
from edgeloop.app.letters import Note, note_of
from edgeloop.app.schedule import due_months, main
from edgeloop.errors import EdgeloopError
from edgeloop.home import Home
from edgeloop.months import Month
from edgeloop.settings import MailSettings, Settings, load
from tests import small_company as company
from tests.fakes import FixedClock, at
from tests.mailbox import Mailbox, mail_server
from tests.test_mail import silent

MARCH = company.MONTH
CLOCK = FixedClock(at("2026-04-03T06:00:00Z"))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return company.make(tmp_path_factory.mktemp("made") / "home")


@pytest.fixture
def box() -> Iterator[Mailbox]:
    with mail_server() as running:
        yield running


@pytest.fixture
def home(made: Path, tmp_path: Path) -> Home:
    """A copy with March's events and no freeze."""
    shutil.copytree(made, tmp_path / "home")
    return Home(tmp_path / "home")


def set_mail(home: Home, own: MailSettings) -> Settings:
    """Write the server into the home's settings."""
    to = ", ".join(f'"{one}"' for one in own.to)
    with (home.path / "edgeloop.toml").open("a", encoding="utf-8") as file:
        file.write(
            f'[mail]\nhost = "{own.host}"\nport = {own.port}\nsecurity = "none"\nsender = "{own.sender}"\nto = [{to}]\n'
            f"timeout_s = {own.timeout_s}\n"
        )
    return load(home.path, {})


def make(home: Home) -> int:
    """What the schedule runs in a process of its own."""
    return main([str(home.path), MARCH])


def test_the_schedule_makes_the_month_and_mails_it_once(home: Home, box: Mailbox) -> None:
    set_mail(home, box.settings)
    assert make(home) == 0
    assert make(home) == 0
    (message,) = box.messages
    assert box.envelopes[0].rcpt_tos == ["jana@example.org", "ops@example.org"]
    page = (home.reports / f"{MARCH}.html").read_bytes()
    (file,) = message.iter_attachments()
    assert (file.get_filename(), file.get_payload(decode=True)) == (f"{MARCH}.html", page)
    html = message.get_body(("html",))
    assert html is not None
    assert "One-tap rebooking" in html.get_content()
    note = note_of(home, MARCH)
    assert note is not None
    assert (note.state, note.addresses, note.refused, note.tries) == ("sent", 2, 0, 1)
    assert note.freeze_id == json.loads((home.freezes / MARCH / "manifest.json").read_bytes())["freeze_id"]
    assert b"example.org" not in (home.reports / f"{MARCH}.mail.json").read_bytes()


def test_what_is_not_sent_is_tried_again_and_the_report_is_there(
    home: Home, box: Mailbox, capfd: pytest.CaptureFixture[str]
) -> None:
    settings = set_mail(home, box.settings)
    box.says = "451 come back"
    assert make(home) == 1
    said = capfd.readouterr().err
    assert "the report is written, but not mailed" in said
    assert "jana@" not in said
    page = home.reports / f"{MARCH}.html"
    written = page.stat().st_mtime_ns
    later = at("2026-12-03T12:00:00Z")
    march = Month.parse(MARCH, settings.timezone)
    assert march in due_months(home, settings, later)
    box.says = "250 taken"
    assert make(home) == 0
    assert len(box.messages) == 1
    assert page.stat().st_mtime_ns == written
    assert march not in due_months(home, settings, later)


def test_without_a_server_nothing_is_due(home: Home) -> None:
    assert make(home) == 0
    assert note_of(home, MARCH) is None


def test_a_report_made_by_hand_is_not_mailed_by_the_schedule(home: Home, box: Mailbox) -> None:
    set_mail(home, box.settings)
    for command in ("freeze", "report"):
        assert run([command, "--month", MARCH, "--home", str(home.path)]) == 0
    assert make(home) == 0
    assert box.messages == []


def test_it_gives_up_after_three_days(home: Home, box: Mailbox) -> None:
    settings = set_mail(home, box.settings)
    assert make(home) == 0
    box.says = "550 never"
    letters._write(home, MARCH, Note(state="due", tries=letters.MOST_TRIES - 1))
    with pytest.raises(EdgeloopError):
        letters.send_due(home, settings, MARCH)
    note = note_of(home, MARCH)
    assert note is not None
    assert (note.state, note.tries) == ("given up", letters.MOST_TRIES)
    assert letters.send_due(home, settings, MARCH) == 0
    assert len(box.messages) == 1


def test_ended_in_the_middle_it_is_sent_once_more_under_the_same_id_and_then_never(home: Home, box: Mailbox) -> None:
    settings = set_mail(home, box.settings)
    assert make(home) == 0
    # As a process leaves it that ended after the server had the message, and before it was noted.
    letters._write(home, MARCH, Note(state="sending", tries=1))
    assert make(home) == 0
    assert len({m["Message-ID"] for m in box.messages}) == 1
    assert len(box.messages) == 2
    letters._write(home, MARCH, Note(state="sending", tries=2, cut_off=1))
    with pytest.raises(EdgeloopError, match="broke off twice"):
        letters.send_due(home, settings, MARCH, CLOCK)
    assert len(box.messages) == 2
    assert make(home) == 0


def test_a_server_that_hangs_up_after_the_message_gets_it_twice_at_most(home: Home) -> None:
    taken: list[bytes] = []
    with hanging_up(taken) as port:
        own = MailSettings(host="127.0.0.1", port=port, security="none", sender="a@b", to=("c@d",), timeout_s=5.0)
        settings = set_mail(home, own)
        assert [make(home) for _ in range(3)] == [1, 1, 1]
        assert letters.send_due(home, settings, MARCH) == 0
    assert len(taken) == 2
    note = note_of(home, MARCH)
    assert note is not None
    assert note.state == "given up"


@contextmanager
def hanging_up(taken: list[bytes]) -> Iterator[int]:
    """A server that takes the whole message, and then hangs up instead of saying so."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    talk(server.accept()[0])

        def talk(connection: socket.socket) -> None:
            with connection, connection.makefile("rwb") as wire:
                wire.write(b"220 ready\r\n")
                wire.flush()
                for line in wire:
                    if line.upper().startswith(b"DATA"):
                        wire.write(b"354 go on\r\n")
                        wire.flush()
                        whole = b""
                        while not whole.endswith(b"\r\n.\r\n"):
                            whole += wire.readline()
                        taken.append(whole)
                        return
                    wire.write(b"250 fine\r\n")
                    wire.flush()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        thread.join(5)


@pytest.mark.slow
def test_a_kill_while_it_is_sent_is_noted(home: Home) -> None:
    """The server greets and then says nothing; the process that waits for it is killed, twice."""
    with silent(b"220 ready\r\n") as port:
        settings = set_mail(
            home,
            MailSettings(host="127.0.0.1", port=port, security="none", sender="a@b", to=("c@d",), timeout_s=60.0),
        )
        for cut_off in (0, 1):
            command = [sys.executable, "-m", "edgeloop.app.schedule", str(home.path), MARCH]
            process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
            end = time.monotonic() + 120
            while (n := note_of(home, MARCH)) is None or (n.state, n.cut_off) != ("sending", cut_off):
                assert time.monotonic() < end
                assert process.poll() is None
                time.sleep(0.05)
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
    with pytest.raises(EdgeloopError, match="broke off twice"):
        letters.send_due(home, settings, MARCH)
    note = note_of(home, MARCH)
    assert note is not None
    assert note.state == "given up"


@pytest.mark.slow
def test_a_stop_while_it_is_printed_leaves_no_browser(home: Home, tmp_path: Path) -> None:
    chromium = tmp_path / "chromium"
    chromium.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/part && mv {tmp_path}/part {tmp_path}/pid\nexec sleep 60\n")
    chromium.chmod(0o755)
    with (home.path / "edgeloop.toml").open("a", encoding="utf-8") as file:
        file.write(f'[publish]\npdf = true\nchromium = "{chromium}"\n')
    command = [sys.executable, "-m", "edgeloop.app.schedule", str(home.path), MARCH]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    end = time.monotonic() + 120
    while not (tmp_path / "pid").exists():
        assert time.monotonic() < end
        assert process.poll() is None
        time.sleep(0.05)
    process.terminate()
    assert process.wait(10) == 128 + signal.SIGTERM
    browser = (tmp_path / "pid").read_text().strip()
    found = subprocess.run(["ps", "-o", "stat=", "-p", browser], capture_output=True, text=True, check=False).stdout
    assert not found.strip() or found.startswith("Z")


class Ran:
    """`edgeloop report --month 2026-03` with more flags."""

    def __init__(self, home: Home, capsys: pytest.CaptureFixture[str], *flags: str) -> None:
        capsys.readouterr()
        self.code = run(["report", "--month", MARCH, *flags, "--home", str(home.path), "--json"])
        said = capsys.readouterr()
        self.told = json.loads(said.out)[0] if said.out else {}
        self.err = said.err


def test_by_hand_it_is_sent_each_time(home: Home, box: Mailbox, capsys: pytest.CaptureFixture[str]) -> None:
    set_mail(home, box.settings)
    for n in (1, 2):
        ran = Ran(home, capsys, "--mail")
        assert (ran.code, ran.told["mailed"], ran.told["refused"]) == (0, 2, 0)
        assert len(box.messages) == n
    assert str(box.messages[0]["Subject"]).startswith("Provisional: Finch Parcels, March 2026: ")
    box.refuses = {"ops@example.org": "550 gone"}
    ran = Ran(home, capsys, "--mail")
    assert (ran.code, ran.told["refused"]) == (3, 1)
    assert "mailed to 1 of 2 addresses" in ran.err


def test_by_hand_what_fails_is_said(home: Home, box: Mailbox, capsys: pytest.CaptureFixture[str]) -> None:
    ran = Ran(home, capsys, "--mail")
    assert ran.code == 2
    assert "[mail] to" in ran.err
    set_mail(home, msgspec.structs.replace(box.settings, port=1))
    ran = Ran(home, capsys, "--mail")
    assert ran.code == 1
    assert "cannot be reached" in ran.err
    assert (home.reports / f"{MARCH}.html").exists()


@pytest.mark.slow
def test_the_pdf_goes_with_it_where_it_is_made(
    home: Home, box: Mailbox, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    set_mail(home, box.settings)
    with (home.path / "edgeloop.toml").open("a") as file:
        file.write("[publish]\npdf = true\n")
    assert make(home) == 0
    files = list(box.messages[0].iter_attachments())
    assert [f.get_filename() for f in files] == [f"{MARCH}.html", f"{MARCH}.pdf"]
    company.add(home.path, [company._event("one-more", {"customer_id": "C-0001"}, company.BEGIN, "order_placed", 1.0)])
    shutil.rmtree(home.freezes)
    monkeypatch.setenv("PATH", "/nowhere")
    ran = Ran(home, capsys)  # another page, and no browser: the old print is of another page and goes
    assert ran.code == 0
    assert "no Chromium" in ran.err
    assert not (home.reports / f"{MARCH}.pdf").exists()
    assert Ran(home, capsys, "--pdf").code == 3
