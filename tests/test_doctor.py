"""`edgeloop doctor` names what is wrong with a home, says what to do, exits 3 for it, and changes nothing."""

from __future__ import annotations

import fcntl
import hashlib
import json
import shutil
from contextlib import closing
from pathlib import Path

import pytest
from msgspec.structs import replace

from edgeloop.app import api_keys, doctor, doctor_data
from edgeloop.app.cli import run
from edgeloop.app.doctor import examine
from edgeloop.app.finding import Finding
from edgeloop.app.process import process
from edgeloop.clock import iso
from edgeloop.events import STORED_TOPICS
from edgeloop.home import Home
from edgeloop.log.base import Entry
from edgeloop.log.local import LocalLog
from edgeloop.roles import ROLES
from edgeloop.settings import Settings
from edgeloop.sqlite import connect
from edgeloop.store.actions import LEASE_US, Notice
from edgeloop.store.schema import SCHEMA_NUMBER
from edgeloop.store.sqlite import SqliteStore
from tests.fakes import FixedClock, at
from tests.pipeline import entry
from tests.test_actions_store import action
from tests.test_metrics_endpoint import engagement

NOW = at("2026-02-03T12:00:00Z")
EVENTS = 60


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A sound home with events in its log and its tables."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EDGELOOP_TYPEFORM_SECRET", "s")
    monkeypatch.setenv("EDGELOOP_ZIGPOLL_TOKEN", "t")
    made = Home(tmp_path / "home")
    made.create()
    append(made, EVENTS)
    process(made, Settings())
    api_keys.create(made, "gateway")
    return made


def append(home: Home, count: int, *, at_us: int = NOW) -> None:
    log = LocalLog(home.log, clock=FixedClock(at_us))
    log.append([entry(engagement(n, at_us, at_us, subject=f"{n:026d}")) for n in range(count)])
    log.close()


def findings(home: Home, now_us: int = NOW) -> dict[str, list[Finding]]:
    found: dict[str, list[Finding]] = {}
    for finding in examine(home, FixedClock(now_us)):
        assert finding.state == "ok" or finding.do, f"{finding} says not what to do"
        found.setdefault(finding.check, []).append(finding)
    return found


def wrong(home: Home, now_us: int = NOW) -> list[tuple[str, str]]:
    return [(f.state, f.check) for of_check in findings(home, now_us).values() for f in of_check if f.state != "ok"]


def contents(home: Home) -> dict[str, str]:
    """Every file with the hash of what is in it; the shared memory of SQLite is no content."""
    return {
        str(path.relative_to(home.path)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in home.path.rglob("*")
        if path.is_file() and not path.name.endswith(("-shm", "-wal"))
    }


def test_a_sound_home(home: Home) -> None:
    assert wrong(home) == []
    assert run(["doctor", "--home", str(home.path)]) == 0
    assert {"versions", "settings", "home", "keys", "disk", "log", "store", "rules", "offsets", "lag", "dead letters",
            "amounts", "clock", "device clocks", "worker", "wal", "senders", "typeform", "zigpoll", "roles",
            "reminders", "mail"} == set(findings(home))  # fmt: skip


def test_it_changes_nothing(home: Home) -> None:
    before = contents(home)
    findings(home)
    assert contents(home) == before


def test_without_a_home_it_makes_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor", "--home", str(tmp_path / "none")]) == 0
    assert "there is no home at" in capsys.readouterr().out
    assert not (tmp_path / "none").exists()


def test_an_empty_home_is_sound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    empty = Home(tmp_path / "empty")
    empty.create()
    before = contents(empty)
    assert wrong(empty) == [("warn", "senders"), ("warn", "typeform"), ("warn", "zigpoll")]
    assert contents(empty) == before


def test_json_is_an_array_of_findings_and_a_failure_exits_3(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    (home.keys / "pseudonym.key").unlink()
    assert run(["doctor", "--json", "--home", str(home.path)]) == 3
    rows = json.loads(capsys.readouterr().out)
    assert {tuple(row) for row in rows} == {("state", "check", "what", "do")}
    (failed,) = [row for row in rows if row["state"] == "fail"]
    assert failed["check"] == "keys"
    assert "pseudonym.key is missing" in failed["what"]
    assert "backup" in failed["do"]


def test_an_old_sqlite(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "OLDEST_SQLITE", (99, 0, 0))
    assert wrong(home) == [("fail", "versions")]


@pytest.mark.parametrize("text", ["[door]\nprot = 1\n", "company = ", 'timezone = "Nowhere"\n'])
def test_settings_that_cannot_be_read_are_a_finding_and_not_the_end(home: Home, text: str) -> None:
    (home.path / "edgeloop.toml").write_text(text)
    assert run(["doctor", "--home", str(home.path)]) == 3
    (finding,) = findings(home)["settings"]
    assert finding.state == "fail"
    assert "edgeloop.toml" in finding.what
    assert findings(home)["log"][0].state == "ok"


@pytest.mark.parametrize("name", ["pseudonym.key", "dead-letters.key", "api-keys.json"])
def test_a_key_that_others_can_read(home: Home, name: str) -> None:
    (home.keys / name).chmod(0o640)
    assert wrong(home) == [("fail", "keys")]


@pytest.mark.parametrize("text", ["not hexadecimal", "abcdef0123", ""], ids=["words", "short", "empty"])
def test_a_damaged_key(home: Home, text: str) -> None:
    (home.keys / "dead-letters.key").write_text(text)
    assert wrong(home) == [("fail", "keys")]
    assert not text or text not in str(findings(home))


def test_a_home_that_others_can_enter(home: Home) -> None:
    home.path.chmod(0o755)
    assert wrong(home) == [("warn", "home")]


def test_little_space_and_too_little(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    free_mb = shutil.disk_usage(home.path).free / 1e6
    monkeypatch.setenv("EDGELOOP_SERVICE_MIN_FREE_MB", str(free_mb / 2))
    assert wrong(home) == [("warn", "disk")]
    monkeypatch.setenv("EDGELOOP_SERVICE_MIN_FREE_MB", str(free_mb * 2))
    assert wrong(home) == [("fail", "disk")]


def test_a_log_that_is_none(home: Home) -> None:
    home.log.write_bytes(b"no database " * 1_000)
    assert wrong(home) == [("fail", "log")]


def test_an_empty_file_is_no_log_and_is_not_made_one(home: Home) -> None:
    home.log.write_bytes(b"")
    (home.path / "log.sqlite-wal").unlink(missing_ok=True)
    assert wrong(home) == [("fail", "log")]
    assert home.log.stat().st_size == 0


def test_a_log_and_a_store_of_a_newer_version(home: Home) -> None:
    for path in (home.log, home.store):
        db = connect(path, synchronous="FULL")
        db.pragma("user_version", 99)
        db.close()
    assert wrong(home) == [("fail", "log"), ("fail", "store")]
    assert "schema 99" in findings(home)["store"][0].what


def test_a_store_of_an_older_version_is_filled_anew(home: Home) -> None:
    db = connect(home.store, synchronous="FULL")
    db.pragma("user_version", SCHEMA_NUMBER - 1)
    db.close()
    assert wrong(home) == [("warn", "store")]
    assert "edgeloop process" in findings(home)["store"][0].do


@pytest.mark.parametrize("which", ["log", "store"])
def test_damage_inside_a_database(home: Home, which: str) -> None:
    path: Path = getattr(home, which)
    db = connect(path, synchronous="FULL")
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    ((page,),) = db.execute("PRAGMA page_size")
    ((root,),) = db.execute(
        "SELECT rootpage FROM sqlite_schema WHERE name = ?", ("records" if which == "log" else "engagement",)
    )
    db.close()
    with path.open("r+b") as file:
        file.seek((root - 1) * page)
        file.write(b"\xff" * page)
    found = findings(home)
    assert ("fail", which) in [(f.state, f.check) for f in found[which]]
    assert "damaged" in found[which][0].what


def test_a_large_database_is_not_searched(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_data, "_CHECKED_BYTES", 1_000)
    assert wrong(home) == []
    assert "too large" in findings(home)["log"][0].what


def test_reports_that_could_not_be_mailed_or_printed(home: Home) -> None:
    settings = home.path / "edgeloop.toml"
    server = '[mail]\nhost = "localhost"\nsecurity = "none"\nsender = "a@b"\n'
    settings.write_text(server)
    assert wrong(home) == [("warn", "mail")]
    assert findings(home)["mail"][0].what == "nobody gets the month's report by mail"
    settings.write_text(server + 'to = ["c@d"]\n[publish]\npdf = true\nchromium = "/nowhere/chrome"\n')
    assert wrong(home) == [("warn", "pdf")]
    home.reports.mkdir()
    (home.reports / "2026-03.mail.json").write_text('{"state": "given up"}')
    (home.reports / "2026-02.mail.json").write_text('{"state": "sent"}')
    assert wrong(home) == [("warn", "mail"), ("warn", "pdf")]
    assert "2026-03" in findings(home)["mail"][0].what
    (home.reports / "2026-03.mail.json").write_text("{")
    assert wrong(home)[0][1] in ("mail", "reports")


def test_other_rules(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGELOOP_ATTRIBUTION_CREDIT_RULE", "linear")
    assert wrong(home) == [("fail", "rules")]
    (finding,) = findings(home)["rules"]
    assert "credit_rule was last_touch and is linear" in finding.what


def test_a_log_that_lost_its_end(home: Home) -> None:
    db = connect(home.log, synchronous="FULL")
    ((place, end),) = db.execute("SELECT place, next_offset FROM ends ORDER BY next_offset DESC LIMIT 1")
    db.execute("UPDATE ends SET next_offset = next_offset - 3 WHERE place = ?", (place,))
    db.close()
    assert wrong(home) == [("fail", "offsets")]
    assert f"records {end - 3} to {end - 1} are gone" in findings(home)["offsets"][0].what


def test_the_store_of_another_log(home: Home) -> None:
    home.log.unlink()
    for path in home.path.glob("log.sqlite-*"):
        path.unlink()
    append(home, EVENTS)
    assert set(wrong(home)) == {("fail", "offsets")}
    assert "another log" in findings(home)["offsets"][0].what


def test_lag_is_a_warning_once_it_is_old(home: Home) -> None:
    append(home, 7)
    (fresh,) = findings(home, NOW + 299_000_000)["lag"]
    assert fresh.state == "ok"
    assert "7 records" in fresh.what
    assert wrong(home, NOW + 301_000_000) == [("warn", "lag")]


def test_dead_letters_in_the_log_and_in_the_table(home: Home) -> None:
    topic = STORED_TOPICS[0]
    log = LocalLog(home.log, clock=FixedClock(NOW))
    log.append([Entry(topic, "k", b"no event"), Entry(topic, "k", b"neither")])
    log.close()
    process(home, Settings())
    assert wrong(home) == [("warn", "dead letters")]
    assert "2 are kept sealed" in findings(home)["dead letters"][0].what


def test_a_clock_before_what_was_received(home: Home) -> None:
    assert wrong(home, NOW - 299_000_000) == []
    assert wrong(home, NOW - 301_000_000) == [("fail", "clock")]
    assert iso(NOW) in findings(home, NOW - 301_000_000)["clock"][0].what


def test_a_simulation_has_a_clock_of_its_own(home: Home) -> None:
    (home.path / "SIMULATED").touch()
    assert wrong(home, NOW - 10**12) == []


def test_who_drains_the_home(home: Home) -> None:
    assert "no process" in findings(home)["worker"][0].what
    with (home.path / "consumer.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert "a process drains" in findings(home)["worker"][0].what
    process(home, Settings())  # the doctor kept no lock


def test_a_wal_that_grew(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    log = LocalLog(home.log)
    log.append([entry(engagement(1, NOW, NOW))])
    monkeypatch.setattr(doctor_data, "_LARGE_WAL_BYTES", 1_000)
    assert ("warn", "wal") in wrong(home)
    log.close()


def test_what_senders_and_vendors_need(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EDGELOOP_TYPEFORM_SECRET")
    monkeypatch.delenv("EDGELOOP_ZIGPOLL_TOKEN")
    (home.keys / "api-keys.json").unlink()
    assert wrong(home) == [("warn", "senders"), ("warn", "typeform"), ("warn", "zigpoll")]
    (home.keys / "api-keys.json").write_text("{")
    (home.keys / "api-keys.json").chmod(0o600)
    assert ("fail", "senders") in wrong(home)


def test_no_secret_is_shown(home: Home, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGELOOP_TYPEFORM_SECRET", "very-secret")
    run(["doctor", "--json", "--home", str(home.path)])
    shown = capsys.readouterr().out
    assert "very-secret" not in shown
    assert (home.keys / "pseudonym.key").read_text().strip() not in shown


def asked_of(home: Home, role: str, number: int) -> None:
    with closing(SqliteStore(home.store)) as store:
        store.add_actions([action(number, role=role)], "report")


def test_which_roles_nobody_holds(home: Home) -> None:
    (found,) = findings(home)["roles"]
    assert found.what == "nobody holds " + ", ".join(ROLES)
    assert "[roles.data_engineer]" in found.do or "[roles.devops_lead]" in found.do
    asked_of(home, "it_lead", 1)
    assert wrong(home) == [("warn", "roles"), ("warn", "reminders")]
    assert "asked something of it_lead" in findings(home)["roles"][0].what
    held = "".join(f'[roles.{role}]\nname = "X"\naddress = "x@example.org"\n' for role in ROLES)
    slack = '[slack]\nwebhook = "https://hooks.example.org/s3cret"\n'
    (home.path / "edgeloop.toml").write_text(held + slack)
    assert wrong(home) == []
    (home.path / "edgeloop.toml").write_text(slack + '[roles.it_lead]\nname = "Bo"\n')
    assert wrong(home) == []
    what = findings(home)["roles"][0].what
    assert "it_lead" not in what
    assert "devops_lead" in what


def test_mail_that_reaches_nobody_and_notices_that_are_stuck(home: Home) -> None:
    asked_of(home, "it_lead", 1)
    mail = '[mail]\nhost = "localhost"\nsecurity = "none"\nsender = "edgeloop@example.org"\nto = ["bo@example.org"]\n'
    (home.path / "edgeloop.toml").write_text(mail + '[roles.it_lead]\nname = "Bo"\n')
    assert wrong(home) == [("warn", "reminders")]
    assert "no address of it_lead" in findings(home)["reminders"][0].what
    (home.path / "edgeloop.toml").write_text(mail + '[roles.it_lead]\nname = "Bo"\naddress = "bo@example.org"\n')
    assert wrong(home) == []
    with closing(SqliteStore(home.store)) as store:
        row = Notice(
            action_id="a", cause="asked", rung="owner", channel="mail", state="sending", attempts=1, repeats=0,
            occurred_at=NOW,
        )  # fmt: skip
        for hours in range(4):
            at_us = NOW + hours * 86_400_000_000
            assert store.begin_notice(replace(row, occurred_at=at_us))
            store.end_notice(replace(row, state="waiting", occurred_at=at_us))
    (stuck,) = findings(home)["reminders"]
    assert (stuck.state, "refused 3 times" in stuck.what) == ("warn", True)
    with closing(SqliteStore(home.store)) as store:
        for ago in (2 * LEASE_US, LEASE_US):  # its sender died twice
            assert store.begin_notice(replace(row, action_id="b", occurred_at=NOW - ago))
    assert len(findings(home)["reminders"]) == 2
    cut_off = findings(home)["reminders"][1]
    assert (cut_off.state, "broke off twice" in cut_off.what) == ("warn", True)
    assert "@" not in str(findings(home))
