"""Reminders and escalations: the ladder, one message for each cause, a sender that dies, servers that refuse."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec
import pytest

from connectors import mail, slack
from edgeloop.app import reminders
from edgeloop.app.cli import run
from edgeloop.app.reminders import Due, addresses, due, remind
from edgeloop.app.schedule import Schedule
from edgeloop.clock import DAY_US, HOUR_US
from edgeloop.errors import UsageError
from edgeloop.home import Home
from edgeloop.roles import DutySettings, RoleSettings
from edgeloop.settings import EscalationSettings, Settings, SlackSettings, load
from edgeloop.store.actions import LEASE_US, Action, Answer
from edgeloop.store.sqlite import SqliteStore
from tests.fakes import FixedClock, at
from tests.mailbox import Mailbox, hanging_up, mail_server
from tests.test_actions_store import action

ASKED = at("2026-04-03T06:00:00Z")
LADDER = {"owner": 2, "deputy": 4, "feedback_integrator": 7}
ROLES = {
    "devops_lead": RoleSettings(
        name="Ana Pires", address="ana@example.org", deputy="Tom Berg", deputy_address="tom@example.org"
    ),
    "feedback_integrator": RoleSettings(name="Ines Vogt", address="Ines Vogt <ines@example.org>"),
    "product_manager": RoleSettings(name="Per Lund", address="per@example.org"),
}


def asked(number: int = 0, **fields: object) -> Action:
    return action(number, occurred_at=ASKED, due="2026-04-10", **fields)


# The ladder, as dates on a calendar.


@pytest.mark.parametrize(
    ("now", "told"),
    [
        ("2026-04-03T06:00:00Z", ["asked owner"]),
        ("2026-04-05T05:59:59Z", ["asked owner"]),
        ("2026-04-05T06:00:00Z", ["asked owner", "unanswered owner"]),
        ("2026-04-07T06:00:00Z", ["asked owner", "unanswered owner", "unanswered deputy"]),
        (
            "2026-04-20T06:00:00Z",
            ["asked owner", "unanswered owner", "unanswered deputy", "unanswered feedback_integrator"],
        ),
    ],
)
def test_who_is_told_of_what_nobody_answers(now: str, told: list[str]) -> None:
    assert [f"{d.cause} {d.rung}" for d in due([asked()], LADDER, {}, at(now), "Europe/Berlin")] == told


@pytest.mark.parametrize(
    ("now", "told"),
    [
        ("2026-04-11T12:00:00Z", []),
        ("2026-04-12T21:59:59Z", []),
        ("2026-04-12T22:00:00Z", ["overdue owner"]),  # two days after the end of the 10th in Berlin
        ("2026-04-14T22:00:00Z", ["overdue owner", "overdue deputy"]),
        ("2026-04-17T22:00:00Z", ["overdue owner", "overdue deputy", "overdue feedback_integrator"]),
    ],
)
def test_who_is_told_of_what_is_late(now: str, told: list[str]) -> None:
    accepted = asked(state="accepted", accepted_at=ASKED + 1)
    assert [f"{d.cause} {d.rung}" for d in due([accepted], LADDER, {}, at(now), "Europe/Berlin")] == told


def test_days_count_from_when_the_owner_was_told_and_closed_actions_rest() -> None:
    one = asked()
    late = at("2026-04-08T06:00:00Z")
    told = list(due([one], LADDER, {one.action_id: late - DAY_US}, late, "UTC"))
    assert [(d.cause, d.rung) for d in told] == [("asked", "owner")]
    for state in ("done", "dropped"):
        assert list(due([asked(state=state)], LADDER, {}, late + 99 * DAY_US, "UTC")) == []


def test_where_mail_goes() -> None:
    settings = Settings(roles=ROLES, decisions={"promote": DutySettings(responsible="product_manager")})
    one = asked()
    assert addresses(settings, Due(one, "asked", "owner")) == ("ana@example.org", "per@example.org")
    assert addresses(settings, Due(one, "unanswered", "owner")) == ("ana@example.org",)
    assert addresses(settings, Due(one, "unanswered", "deputy")) == ("tom@example.org",)
    assert addresses(settings, Due(one, "overdue", "feedback_integrator")) == ("Ines Vogt <ines@example.org>",)
    assert addresses(settings, Due(one, "overdue", "it_lead")) == ()


# Sending, over real servers.


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.chdir(tmp_path)
    made = Home(tmp_path / "home")
    made.create()
    with closing(SqliteStore(made.store)) as store:
        store.add_actions([asked()], "report")
    return made


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Mailbox]:
    with mail_server("none", tmp_path) as found:
        yield found


def settings_of(box: Mailbox | None = None, webhook: str = "", **fields: Any) -> Settings:
    made = Settings(timezone="Europe/Berlin", roles=ROLES, slack=SlackSettings(webhook=webhook), **fields)
    return made if box is None else msgspec.structs.replace(made, mail=box.settings)


def notices(home: Home) -> list[tuple[Any, ...]]:
    with closing(SqliteStore(home.store)) as store:
        sql = "SELECT cause, rung, channel, state, attempts, repeats FROM notices ORDER BY occurred_at, rung"
        return list(store._db.execute(sql))


def answer(home: Home, state: Any, at_us: int) -> None:
    with closing(SqliteStore(home.store)) as store:
        step = Answer(action_id=asked().action_id, occurred_at=at_us, state=state, who="ana", reason="why not")
        store.move_action(step)


def test_each_cause_is_told_once_through_the_weeks(home: Home, box: Mailbox) -> None:
    settings, clock = settings_of(box), FixedClock(ASKED)
    sent: list[tuple[int, str, str]] = []
    for hour in range(0, 24 * 30, 6):
        clock.now = ASKED + hour * HOUR_US
        if hour == 24 * 6:
            answer(home, "accepted", clock.now)
        sent += [(hour // 24, told.cause, told.rung) for told in remind(home, settings, clock=clock)]
        assert remind(home, settings, clock=clock) == []
    assert sent == [
        (0, "asked", "owner"),
        (2, "unanswered", "owner"),
        (4, "unanswered", "deputy"),
        (9, "overdue", "owner"),
        (11, "overdue", "deputy"),
        (14, "overdue", "feedback_integrator"),
    ]
    assert [e.rcpt_tos for e in box.envelopes] == [
        ["ana@example.org"], ["ana@example.org"], ["tom@example.org"],
        ["ana@example.org"], ["tom@example.org"], ["ines@example.org"],
    ]  # fmt: skip
    first, last = box.messages[0], box.messages[-1]
    assert first["Subject"] == "Asked by 10 April 2026: Promote “Shorter <ETA> window” to everybody"
    text = first.get_content().replace("\r\n", "\n")
    assert f"edgeloop actions accept {asked().action_id}" in text
    assert "Why: It lifted conversion." in text
    assert "Owner: Ana Pires" in text
    assert "You get this as the feedback integrator." in last.get_content()
    assert len({m["Message-ID"] for m in box.messages}) == 6
    assert not [row for row in notices(home) if "@" in str(row)]


def test_who_is_asked_late_has_not_failed_to_answer(home: Home, box: Mailbox) -> None:
    clock = FixedClock(ASKED + 30 * DAY_US)
    assert [t.cause for t in remind(home, settings_of(box), clock=clock)] == ["asked"]
    clock.now += 2 * DAY_US
    assert [(t.cause, t.rung) for t in remind(home, settings_of(box), clock=clock)] == [("unanswered", "owner")]


def test_an_owner_without_address_is_said_and_the_ladder_goes_on(home: Home, box: Mailbox) -> None:
    settings = msgspec.structs.replace(settings_of(box), roles={"feedback_integrator": ROLES["feedback_integrator"]})
    clock = FixedClock(ASKED + 8 * DAY_US)
    told = remind(home, settings, clock=clock)
    assert [(t.cause, t.rung, t.outcome) for t in told] == [
        ("asked", "owner", "no address"),
        ("unanswered", "owner", "no address"),
        ("unanswered", "feedback_integrator", "sent"),
    ]
    assert told[0].detail == "[roles.devops_lead] names nobody with an address"
    assert len(box.messages) == 1


def test_a_refusal_is_tried_again_later(home: Home, box: Mailbox) -> None:
    settings, clock = settings_of(box), FixedClock(ASKED)
    box.says = "451 try later"
    (told,) = remind(home, settings, clock=clock)
    assert (told.outcome, "451" in told.detail) == ("not sent", True)
    assert remind(home, settings, clock=clock) == []
    box.says = "250 taken"
    clock.now += HOUR_US
    assert [t.outcome for t in remind(home, settings, clock=clock)] == ["sent"]
    assert notices(home) == [("asked", "owner", "mail", "sent", 2, 0)]


class DiedError(BaseException):
    """The process ended here."""


def test_a_sender_that_dies_before_its_note_repeats_once(home: Home, box: Mailbox, monkeypatch: Any) -> None:
    settings, clock = settings_of(box), FixedClock(ASKED)

    def die(*_: object) -> None:
        raise DiedError

    with monkeypatch.context() as patch:
        patch.setattr(SqliteStore, "end_notice", die)
        for _ in range(4):
            with pytest.raises(DiedError) if len(box.messages) < 2 else closing(home_is_there()):
                remind(home, settings, clock=clock)
            clock.now += LEASE_US
    assert len(box.messages) == 2
    assert box.messages[0]["Message-ID"] == box.messages[1]["Message-ID"]
    assert remind(home, settings, clock=clock) == []
    assert notices(home) == [("asked", "owner", "mail", "sending", 2, 1)]


class home_is_there:  # noqa: N801
    def close(self) -> None: ...


def test_one_that_dies_before_it_sends_sends_once(home: Home, box: Mailbox, monkeypatch: Any) -> None:
    settings, clock = settings_of(box), FixedClock(ASKED)

    def die(*_: object) -> None:
        raise DiedError

    with monkeypatch.context() as patch:
        patch.setattr(mail, "send", die)
        with pytest.raises(DiedError):
            remind(home, settings, clock=clock)
    assert remind(home, settings, clock=clock) == []
    clock.now += LEASE_US
    assert [t.outcome for t in remind(home, settings, clock=clock)] == ["sent"]
    assert len(box.messages) == 1


def test_many_at_once_send_one(home: Home, box: Mailbox) -> None:
    settings, clock = settings_of(box), FixedClock(ASKED)
    told: list[Any] = []
    gate = threading.Barrier(5)

    def go() -> None:
        gate.wait()
        told.extend(remind(home, settings, clock=clock))

    threads = [threading.Thread(target=go) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(box.messages) == 1
    assert [t.outcome for t in told] == ["sent"]


# Slack.


class Hook:
    """What a webhook got, and what it answers: statuses in turn, the last for ever."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.answers: list[tuple[int, dict[str, str]]] = [(200, {})]
        self.url = ""


@contextmanager
def hook_server() -> Iterator[Hook]:
    hook = Hook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            hook.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            status, headers = hook.answers[min(len(hook.bodies), len(hook.answers)) - 1]
            if status == 0:  # hangs up
                self.close_connection = True
                return
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, *args: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    hook.url = f"http://127.0.0.1:{server.server_port}/services/T000/B000/s3cret"
    try:
        yield hook
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_slack_gets_the_same_text_without_live_markup(home: Home, box: Mailbox) -> None:
    with hook_server() as hook:
        told = remind(home, settings_of(box, hook.url), clock=FixedClock(ASKED))
        assert [(t.channel, t.outcome) for t in told] == [("mail", "sent"), ("slack", "sent")]
        assert remind(home, settings_of(box, hook.url), clock=FixedClock(ASKED + 1)) == []
        (body,) = hook.bodies
    assert list(body) == ["text"]
    assert "Promote “Shorter &lt;ETA&gt; window” to everybody" in body["text"]
    assert "@" not in body["text"]


def test_slacks_three_letters_and_nothing_else_are_escaped() -> None:
    assert slack.escaped("<!channel> & <@U1> *b* &lt;") == "&lt;!channel&gt; &amp; &lt;@U1&gt; *b* &amp;lt;"


@pytest.mark.parametrize(
    ("answers", "waits", "ends"),
    [
        ([(200, {})], [], ""),
        ([(503, {}), (200, {})], [0.5], ""),
        ([(429, {"Retry-After": "3"}), (500, {}), (200, {})], [3.0, 1.0], ""),
        ([(500, {})], [0.5, 1.0], "answered 500"),
        ([(429, {"Retry-After": "3600"})], [], "answered 429"),
        ([(404, {})], [], "answered 404"),
        ([(302, {"Location": "http://127.0.0.1:9/"})], [], "answered 302"),
    ],
)
def test_a_busy_webhook_is_tried_again_with_pauses(answers: Any, waits: list[float], ends: str) -> None:
    slept: list[float] = []
    with hook_server() as hook:
        hook.answers = answers
        if not ends:
            slack.send(hook.url, "hello", sleep=slept.append)
        else:
            with pytest.raises(slack.SlackError, match=ends) as raised:
                slack.send(hook.url, "hello", sleep=slept.append)
            assert "s3cret" not in str(raised.value)
            assert not raised.value.unsure
    assert slept == waits


def test_a_webhook_that_hangs_up_may_have_taken_it(home: Home) -> None:
    with hook_server() as hook:
        hook.answers = [(0, {})]
        clock = FixedClock(ASKED)
        outcomes = []
        for _ in range(5):
            outcomes += [t.outcome for t in remind(home, settings_of(None, hook.url), clock=clock)]
            clock.now += LEASE_US
        assert outcomes == ["not sent"] * 2
        assert len(hook.bodies) == 2


def test_a_proxy_that_refuses_has_passed_nothing_on(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def refuse() -> None:
            for _ in range(slack.TRIES):
                with server.accept()[0] as connection:
                    asked.append(connection.recv(4_096))
                    connection.sendall(b"HTTP/1.1 503 no\r\nContent-Length: 0\r\n\r\n")

        thread = threading.Thread(target=refuse, daemon=True)
        thread.start()
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{server.getsockname()[1]}")
        with pytest.raises(slack.SlackError, match="cannot be reached") as raised:
            slack.send("https://hooks.example.org/services/s3cret", "x", sleep=lambda _: None)
        thread.join(5)
    assert not raised.value.unsure
    assert [line.split(b" ")[0] for line in asked] == [b"CONNECT"] * slack.TRIES


def test_nobody_there_and_no_address() -> None:
    with pytest.raises(slack.SlackError, match="cannot be reached") as raised:
        slack.send("http://127.0.0.1:9/services/s3cret", "x", sleep=lambda _: None)
    assert "s3cret" not in str(raised.value)
    with hook_server() as hook:
        slack.send(hook.url, "x" * 9_000)
        assert len(hook.bodies[0]["text"]) == slack.MOST_TEXT


def test_the_webhook_is_in_no_log(caplog: pytest.LogCaptureFixture) -> None:
    with hook_server() as hook, caplog.at_level("DEBUG"):
        slack.send(hook.url, "x")
    assert "s3cret" not in "".join(r.getMessage() for r in caplog.records if r.name.startswith("httpx"))


# The command and the schedule.


def write_settings(home: Home, box: Mailbox, more: str = "") -> None:
    (home.path / "edgeloop.toml").write_text(
        f'[mail]\nhost = "127.0.0.1"\nport = {box.settings.port}\nsecurity = "none"\nsender = "edgeloop@example.org"\n'
        f'[roles.devops_lead]\nname = "Ana Pires"\naddress = "ana@example.org"\n{more}'
    )


def test_the_command_says_what_it_sent_and_shows_no_address(
    home: Home, box: Mailbox, capsys: pytest.CaptureFixture[str]
) -> None:
    write_settings(home, box)
    assert run(["actions", "remind", "--dry-run", "--json", "--home", str(home.path)]) == 0
    dry = json.loads(capsys.readouterr().out)
    assert (dry[0]["outcome"], len(box.messages), notices(home)) == ("would be sent", 0, [])
    assert run(["actions", "remind", "--home", str(home.path)]) == 0
    assert [e.rcpt_tos for e in box.envelopes] == [["ana@example.org"]]
    (home.path / "edgeloop.toml").write_text((home.path / "edgeloop.toml").read_text().split("[roles")[0])
    with closing(SqliteStore(home.store)) as store:
        store.add_actions([asked(1)], "report")
    assert run(["actions", "remind", "--home", str(home.path)]) == 3  # now nobody holds any role
    captured = capsys.readouterr()
    assert "[roles.feedback_integrator] names nobody" in captured.out
    assert "@" not in captured.out + captured.err
    assert len(box.messages) == 1
    (home.path / "SIMULATED").write_text("")
    assert run(["actions", "remind", "--home", str(home.path)]) == 1


def test_the_schedule_reminds_every_ten_minutes_and_after_a_month_was_made(home: Home) -> None:
    clock, told = FixedClock(ASKED), []
    fails: list[Callable[[], None]] = []

    def tell() -> None:
        told.append(clock.now)
        for fail in fails:
            fail()

    schedule = Schedule(home, Settings(), clock, lambda: True, lambda _m: True, tell)
    for minute in range(25):
        clock.now = ASKED + minute * 60_000_000
        schedule.remind()
    assert [(us - ASKED) // 60_000_000 for us in told] == [0, 10, 20]

    def fail() -> None:
        raise RuntimeError("no")

    fails.append(fail)
    clock.now += HOUR_US
    schedule.remind()
    assert len(told) == 4


def test_the_schedule_sends_by_itself(home: Home, box: Mailbox) -> None:
    schedule = Schedule(home, settings_of(box), FixedClock(ASKED), lambda: True)
    schedule.remind()
    assert [m["To"] for m in box.messages] == ["ana@example.org"]


# Settings.


@pytest.mark.parametrize(
    ("toml", "says"),
    [
        ("[roles.boss]\nname = 'X'", "boss.*no role.*data_engineer"),
        ("[roles.devops_lead]\nadress = 'x@y.z'", "adress"),
        ("[roles.devops_lead]\naddress = 'so wrong'", r"devops_lead\] address is no address"),
        ("[roles.devops_lead]\ndeputy_address = 'x@example.org'", "no deputy"),
        ("[decisions.fire]\naccountable = 'it_lead'", "fire.*no kind of decision.*roll_back"),
        ("[decisions.promote]\naccountable = 'ceo'", "ceo.*no role"),
        ("[escalation]\nladder = {owner = 0}", "owner = 0"),
        ("[escalation]\nladder = {boss = 3}", "boss"),
        ("[slack]\nwebhook = 'http://hooks.example.org/x'", "https://"),
        ("[slack]\nwebhook = 'https://[hooks.example.org/x'", "https://"),
        ("[slack]\nwebhook = 'https://[so wrong]/'", "https://"),
        ("[mail]\nto = ['jana@example.org', 'so wrong']", r"\[mail\] to, entry 2 of 2, is no address"),
        ("[mail]\nreply_to = 'so wrong'", r"\[mail\] reply_to is no address"),
    ],
)
def test_wrong_settings_are_named(tmp_path: Path, toml: str, says: str) -> None:
    (tmp_path / "edgeloop.toml").write_text(toml)
    with pytest.raises(UsageError, match=says) as raised:
        load(tmp_path, {})
    assert "so wrong" not in str(raised.value)
    assert "hooks.example.org/x" not in str(raised.value)


def test_the_ladder_and_the_secret_come_from_the_environment_too(tmp_path: Path) -> None:
    (tmp_path / "hook").write_text("https://hooks.example.org/services/x\n")
    environ = {
        "EDGELOOP_ESCALATION_LADDER": "owner=3, it_lead=9",
        "EDGELOOP_SLACK_WEBHOOK_FILE": str(tmp_path / "hook"),
    }
    found = load(tmp_path, environ)
    assert found.escalation == EscalationSettings(ladder={"owner": 3, "it_lead": 9})
    assert found.slack.webhook == "https://hooks.example.org/services/x"
    with pytest.raises(UsageError, match="EDGELOOP_ESCALATION_LADDER"):
        load(tmp_path, {"EDGELOOP_ESCALATION_LADDER": "owner=soon"})


def test_the_settings_are_printed_without_addresses(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    (home.path / "edgeloop.toml").write_text(
        "[roles.it_lead]\nname='Bo'\naddress='bo@example.org'\ndeputy='Di'\ndeputy_address='di@example.org'\n"
        "[slack]\nwebhook='https://hooks.example.org/s3cret'\n[mail]\nto=['bo@example.org', 'di@example.org']\n"
        "[decisions.promote]\naccountable='it_lead'\n"
    )
    for flags in ([], ["--json"]):
        assert run(["config", *flags, "--home", str(home.path)]) == 0
        out = capsys.readouterr().out
        assert "Bo" in out
        assert "@" not in out
        assert "s3cret" not in out
        assert "roles.it_lead" in out
        assert "(2 set)" in out
        assert "decisions.promote" in out


def test_the_module_asks_nothing_where_no_channel_is_set(home: Home) -> None:
    assert reminders.remind(home, Settings(roles=ROLES), clock=FixedClock(ASKED + 99 * DAY_US)) == []


def test_a_server_that_hangs_up_before_the_message_has_not_taken_it(home: Home, box: Mailbox) -> None:
    clock = FixedClock(ASKED)
    with hanging_up("MAIL") as port:
        own = msgspec.structs.replace(box.settings, port=port)
        for _ in range(3):
            remind(home, msgspec.structs.replace(settings_of(box), mail=own), clock=clock)
            clock.now += 2 * LEASE_US
    assert [told.outcome for told in remind(home, settings_of(box), clock=clock)] == ["sent"]
    assert len(box.messages) == 1


def test_a_title_of_encoded_words_stops_no_other_notice(home: Home, box: Mailbox) -> None:
    with closing(SqliteStore(home.store)) as store:
        title = "=?utf-8?q?=ff?="
        store.add_actions([asked(1, title=title, asked=f"Promote {title}")], "report")
    told = remind(home, settings_of(box), clock=FixedClock(ASKED))
    assert sorted(one.outcome for one in told if one.cause == "asked") == ["sent", "sent"]
    assert any("= ?utf-8?q?=ff?=" in str(message["Subject"]) for message in box.messages)
