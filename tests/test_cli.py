"""The command line as a person meets it: what is printed where, exit codes, and errors that say what to do."""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from edgeloop.app.cli import run

GOOD = (
    '{"type":"exposure","exposure_id":"x-1","customer_id":"C-42","occurred_at":"2026-10-05T09:00:00Z",'
    '"touchpoint":"app_card","model_id":"eta","model_version":"2.1","arm":"canary","rollout_id":"r"}\n'
    '{"type":"engagement","event_id":"g-1","customer_id":"C-42","occurred_at":"2026-10-05T18:30:00Z",'
    '"name":"order_placed","value":31.5,"currency":"EUR","source":"app"}\n'
)
BAD = 'nonsense\n{"type":"exposure"}\n' + '{"type":"x"}\n' * 12


@dataclass
class Ran:
    code: int
    out: str
    err: str


class Shell:
    """Runs commands in one home."""

    def __init__(self, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.home = home
        self._capsys = capsys

    def __call__(self, *arguments: str) -> Ran:
        code = run([*arguments, "--home", str(self.home)])
        captured = self._capsys.readouterr()
        return Ran(code, captured.out, captured.err)


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.chdir(tmp_path)
    return Shell(tmp_path / "home", capsys)


def write(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_the_five_minutes_of_the_readme(shell: Shell, tmp_path: Path) -> None:
    assert shell("ingest", write(tmp_path / "a.ndjson", GOOD)).code == 0
    processed = shell("process")
    assert (processed.code, processed.out) == (0, "")
    assert "2 records" in processed.err
    rows = json.loads(shell("sql", "SELECT * FROM attributions", "--json").out)
    assert [(r["outcome_name"], r["model_version"], r["credit"], r["value"]) for r in rows] == [
        ("order_placed", "2.1", 1.0, 31.5)
    ]
    assert "C-42" not in json.dumps(rows)
    report = shell("report", "--month", "2026-10")
    assert report.code == 0
    assert Path(report.out.strip()).read_text(encoding="utf-8").startswith("<!")
    again = shell("ingest", str(tmp_path / "a.ndjson"))
    assert again.code == 0
    shell("process")
    assert len(json.loads(shell("sql", "SELECT * FROM attributions", "--json").out)) == 1


def test_bad_lines_are_named_kept_sealed_and_exit_3(shell: Shell, tmp_path: Path) -> None:
    ran = shell("ingest", write(tmp_path / "bad.ndjson", BAD + GOOD))
    assert ran.code == 3
    assert "taken in: 2 events; 14 dead letters" in ran.err
    assert "bad.ndjson, line 1: this is no JSON" in ran.err
    assert "bad.ndjson, line 2: `exposure_id` is missing" in ran.err
    assert "… and 4 more" in ran.err
    (told,) = json.loads(shell("ingest", str(tmp_path / "bad.ndjson"), "--json").out)
    assert (told["accepted"], told["dead_letters"]) == (2, 14)
    listed = json.loads(shell("dead-letters", "--json").out)
    assert len(listed) == 14
    moments = [line.split("\t")[4] for line in shell("dead-letters").out.splitlines()[1:]]
    assert moments == [letter["received"] for letter in listed], "RFC 3339 in the table as in the JSON"
    shell("process")
    assert json.loads(shell("dead-letters", "list", "--json").out) == listed, "the same before and after processing"
    (nonsense,) = [letter for letter in listed if letter["place"] == "line 1"]
    shown = shell("dead-letters", "show", nonsense["id"][:8])
    assert shown.out == "nonsense\n"
    assert shell("dead-letters", "show", "zzz").code == 2


def test_nothing_that_is_said_steers_a_terminal(shell: Shell, tmp_path: Path) -> None:
    name = "a\x1b]0;owned\x07\nedgeloop: all is well\u202e.ndjson"
    missing = shell("ingest", name)
    read = shell("ingest", write(tmp_path / name, BAD))
    for ran, said in ((missing, "cannot read a ]0;owned "), (read, "a ]0;owned ")):
        assert said in ran.err
        assert all(line.isprintable() for line in ran.err.splitlines())
        assert not any(line.startswith("edgeloop: all is well") for line in ran.err.splitlines())
    assert "No such file" in missing.err
    assert "line 1: this is no JSON" in read.err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("ingest",), "name at least one file"),
        (("ingest", "missing.ndjson"), "cannot read missing.ndjson: No such file"),
        (("ingest", "x", "--from", "zendesk"), "mixpanel"),
        (("sql",), "--help"),
        (("uplift",), "--month"),
        (("frobnicate",), "Unknown command"),
        (("report", "--month", "March"), "write it as YYYY-MM"),
        (("process", "--frob"), "--frob"),
        (("serve", "--port", "70000"), "65535"),
        (("up", "--port", "-1"), "--port"),
        (("simulate", "--scale", "0"), "--scale"),
        (("demo", "--scale", "nan"), "--scale"),
    ],
)
def test_wrong_use_is_2_and_says_what_to_do(shell: Shell, arguments: tuple[str, ...], says: str) -> None:
    ran = shell(*arguments)
    assert ran.code == 2
    assert says in ran.err
    assert ran.out == ""
    assert "Traceback" not in ran.err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("process",), "no Edgeloop home"),
        (("sql", "SELECT 1"), "edgeloop process"),
        (("report", "--month", "2026-10"), "edgeloop process"),
        (("dead-letters",), "no Edgeloop home"),
    ],
)
def test_without_a_home_it_says_how_to_get_one(shell: Shell, arguments: tuple[str, ...], says: str) -> None:
    ran = shell(*arguments)
    assert ran.code == 1
    assert says in ran.err
    assert not shell.home.exists(), "looking must not make anything"


def test_sql_reads_only_and_names_what_is_wrong(shell: Shell, tmp_path: Path) -> None:
    shell("ingest", write(tmp_path / "a.ndjson", GOOD))
    shell("process")
    for statement in ("DELETE FROM attributions", "CREATE TABLE t(x)", "PRAGMA user_version = 9"):
        ran = shell("sql", statement)
        assert (ran.code, "read-only" in ran.err) == (2, True), statement
    assert "no such table: nope" in shell("sql", "SELECT * FROM nope").err
    assert shell("sql", "SELECT 1 AS one, NULL AS two WHERE 0").out == "one\ttwo\n"


def test_every_view_runs_in_the_standard_librarys_sqlite(shell: Shell, tmp_path: Path) -> None:
    shell("ingest", write(tmp_path / "a.ndjson", GOOD))
    shell("process")
    named = {row["table"] for row in json.loads(shell("tables", "--json").out) if row["kind"] == "view"}
    assert named == {"version_daily", "version_outcomes_daily", "version_answers", "unattributed", "freshness"}
    db = sqlite3.connect(shell.home / "store.sqlite")
    for view in sorted(named):
        db.execute(f"SELECT * FROM {view}").fetchall()
    assert db.execute("SELECT exposures, subjects FROM version_daily").fetchall() == [(1, 1)]
    db.close()


def test_config_shows_everything_but_secrets(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGELOOP_TYPEFORM_SECRET", "hush-hush")
    monkeypatch.setenv("EDGELOOP_DOOR_PORT", "9999")
    ran = shell("config", "--json")
    values = {(r["section"], r["key"]): r["value"] for r in json.loads(ran.out)}
    assert values["typeform", "secret"] == "(set)"
    assert values["door", "port"] == "9999"
    assert "hush-hush" not in ran.out + ran.err


def test_a_wrong_setting_names_itself(shell: Shell) -> None:
    shell.home.mkdir()
    (shell.home / "edgeloop.toml").write_text("[attribution]\nwindow = 3\n")
    ran = shell("config")
    assert ran.code == 2
    assert "window" in ran.err
    assert "edgeloop.toml" in ran.err


@pytest.mark.parametrize(
    ("variable", "address", "command"),
    [
        ("EDGELOOP_STORE_URL", "postgresql://who:hush@127.0.0.1:{}/edge", "changes"),
        ("EDGELOOP_STORE_URL", "postgresql://who:hush@127.0.0.1:{}/edge", "process"),
        ("EDGELOOP_KAFKA_BOOTSTRAP", "127.0.0.1:{}", "process"),
    ],
)
def test_a_server_that_does_not_answer_is_nothing_to_report_to_us(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, address: str, command: str
) -> None:
    shell("ingest", write(tmp_path / "a.ndjson", GOOD))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    monkeypatch.setenv(variable, address.format(port))
    ran = shell(command)
    assert ran.code == 1
    assert str(port) in ran.err
    assert "Try again" in ran.err
    assert "unexpected" not in ran.err
    assert "hush" not in ran.err


def test_a_month_without_a_change_says_so(shell: Shell, tmp_path: Path) -> None:
    shell("ingest", write(tmp_path / "a.ndjson", GOOD))
    shell("process")
    ran = shell("uplift", "--month", "2026-05", "--json")
    assert (ran.code, json.loads(ran.out)) == (0, [])
    assert "no change touches 2026-05: `edgeloop changes`" in ran.err


def test_keys_are_shown_once(shell: Shell) -> None:
    made = shell("keys", "create", "--name", "hub 7")
    listed = shell("keys", "list", "--json")
    assert json.loads(listed.out)[0]["name"] == "hub 7"
    assert made.out.strip() not in listed.out


def test_other_rules_are_refused_and_what_to_do_is_said(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shell("ingest", write(tmp_path / "a.ndjson", GOOD))
    shell("process")
    monkeypatch.setenv("EDGELOOP_ATTRIBUTION_CREDIT_RULE", "linear")
    ran = shell("process")
    assert ran.code == 1
    assert "credit_rule was last_touch and is linear" in ran.err


def test_a_lost_end_of_the_log_is_noticed(shell: Shell, tmp_path: Path) -> None:
    shell("ingest", write(tmp_path / "a.ndjson", GOOD))
    shell("process")
    db = sqlite3.connect(shell.home / "log.sqlite")
    db.execute("UPDATE ends SET next_offset = 0")
    db.commit()
    db.close()
    ran = shell("process")
    assert ran.code == 1
    assert "records 0 to 0 are gone" in ran.err


def test_a_lost_key_is_not_replaced_in_silence(shell: Shell, tmp_path: Path) -> None:
    shell("ingest", write(tmp_path / "a.ndjson", GOOD))
    (shell.home / "keys" / "pseudonym.key").unlink()
    ran = shell("ingest", str(tmp_path / "a.ndjson"))
    assert ran.code == 1
    assert "from your backup" in ran.err


def test_a_simulated_home_takes_no_real_traffic(shell: Shell, tmp_path: Path) -> None:
    shell.home.mkdir()
    (shell.home / "SIMULATED").touch()
    for command in (("ingest", write(tmp_path / "a.ndjson", GOOD)), ("serve",), ("keys", "create")):
        ran = shell(*command)
        assert ran.code == 1
        assert "simulation" in ran.err


def test_a_frozen_month_stays_frozen(shell: Shell, tmp_path: Path) -> None:
    later = GOOD.replace("x-1", "x-2").replace("g-1", "g-2").replace("2026-10", "2026-11")
    shell("ingest", write(tmp_path / "a.ndjson", GOOD + later))
    shell("process")
    assert shell("freeze", "--month", "2026-10").code == 0
    ran = shell("freeze", "--month", "2026-10")
    assert ran.code == 2
    assert "never edited" in ran.err
    assert "not over" in shell("freeze", "--month", "2027-12").err


@pytest.mark.slow
def test_output_that_nobody_reads_to_the_end_is_no_error(shell: Shell, tmp_path: Path) -> None:
    shell("ingest", write(tmp_path / "a.ndjson", GOOD))
    shell("process")
    many = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000) SELECT i FROM n"
    command = f"{sys.executable} -m edgeloop sql '{many}' --home {shell.home} | head -1; echo ${{PIPESTATUS[0]}}"
    ran = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["i", "0"]
    assert ran.stderr == ""


@pytest.mark.slow
def test_a_file_of_the_users_that_hides_a_room_is_named(tmp_path: Path) -> None:
    (tmp_path / "analysis.py").write_text("x = 1\n")
    ran = subprocess.run(
        [sys.executable, "-m", "edgeloop", "tables"], cwd=tmp_path, capture_output=True, text=True, check=False,
        env=os.environ,
    )  # fmt: skip
    assert ran.returncode == 1
    assert "analysis.py hides Edgeloop's own analysis/" in ran.stderr
    assert "Traceback" not in ran.stderr
